//! What a counter of blocked rules says: how many were blocked while this process looked.
//! Reads no counter; an increase that nobody saw begin is no increase.

use std::time::SystemTime;

/// What the counter said once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    /// The number that the kernel gave the map; another map has another.
    pub map_id: u32,
    /// Rules that were blocked since there is this map.
    pub count: u64,
}

/// Rules that an eBPF program kept from being set, as far as this process knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blocked {
    /// What the counter said when it was last read; none if it never was.
    pub counter: Option<u64>,
    /// Rules that were blocked since it was first read.
    pub count: u64,
    /// When it was first read.
    pub since: Option<SystemTime>,
    /// When it was last read.
    pub read_at: Option<SystemTime>,
    /// When an increase was last seen.
    pub last_at: Option<SystemTime>,
    /// Why it could not be read just now.
    pub error: Option<String>,
}

/// Adds up the increases of a counter. A counter that is new, set back or replaced begins again.
#[derive(Debug)]
pub struct Tally {
    base: Option<Reading>,
    blocked: Blocked,
}

impl Default for Tally {
    /// Nothing was read yet.
    fn default() -> Self {
        let blocked =
            Blocked { counter: None, count: 0, since: None, read_at: None, last_at: None, error: None };
        Self { base: None, blocked }
    }
}

impl Tally {
    /// Takes what was read, or why nothing was, and says what is known now.
    pub fn observe(&mut self, read: Result<Reading, String>, now: SystemTime) -> &Blocked {
        let blocked = &mut self.blocked;
        blocked.error = None;
        match read {
            Ok(reading) => {
                let more = self.base.map_or(0, |base| increase(base, reading));
                blocked.count = blocked.count.saturating_add(more);
                if more > 0 {
                    blocked.last_at = Some(now);
                }
                blocked.counter = Some(reading.count);
                blocked.since.get_or_insert(now);
                blocked.read_at = Some(now);
                self.base = Some(reading);
            }
            Err(error) => blocked.error = Some(error),
        }
        blocked
    }
}

fn increase(base: Reading, now: Reading) -> u64 {
    if base.map_id == now.map_id { now.count.saturating_sub(base.count) } else { 0 }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(second: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(second)
    }

    /// The total after each reading, one a second; none is a read that failed.
    fn totals(readings: &[Option<(u32, u64)>]) -> Vec<u64> {
        let mut tally = Tally::default();
        let read = |reading: &Option<(u32, u64)>| {
            reading.map(|(map_id, count)| Reading { map_id, count }).ok_or_else(|| "gone".to_owned())
        };
        let mut seconds = 0..;
        let mut observe =
            |reading| tally.observe(read(reading), at(seconds.next().unwrap_or_default())).count;
        readings.iter().map(&mut observe).collect()
    }

    #[test]
    fn what_was_there_at_the_start_is_no_increase() {
        assert_eq!(totals(&[Some((1, 500)), Some((1, 500)), Some((1, 503)), Some((1, 504))]), [0, 0, 3, 4]);
    }

    #[test]
    fn a_read_error_is_none_and_hides_none() {
        assert_eq!(totals(&[None, Some((1, 5)), None, None, Some((1, 5)), Some((1, 6))]), [0, 0, 0, 0, 0, 1]);
        assert_eq!(totals(&[Some((1, 5)), None, Some((1, 9))]), [0, 0, 4]);
    }

    #[test]
    fn another_map_or_a_lower_number_begins_again() {
        assert_eq!(totals(&[Some((1, 5)), Some((2, 900)), Some((2, 901))]), [0, 0, 1]);
        assert_eq!(totals(&[Some((1, 5)), None, Some((2, 900)), Some((2, 901))]), [0, 0, 0, 1]);
        assert_eq!(totals(&[Some((1, 5)), Some((1, 2)), Some((1, 4))]), [0, 0, 2]);
    }

    #[test]
    fn numbers_have_an_end() {
        let max = u64::MAX;
        assert_eq!(totals(&[Some((1, 0)), Some((1, max)), Some((1, 0)), Some((1, 7))]), [0, max, max, max]);
    }

    #[test]
    fn what_is_known_says_when() {
        let mut tally = Tally::default();
        let reading = |count| Ok(Reading { map_id: 1, count });
        assert_eq!(tally.observe(Err("no map".into()), at(1)).since, None);
        tally.observe(reading(10), at(2));
        tally.observe(reading(12), at(3));
        tally.observe(reading(12), at(4));
        let expected = Blocked {
            counter: Some(12),
            count: 2,
            since: Some(at(2)),
            read_at: Some(at(4)),
            last_at: Some(at(3)),
            error: Some("no map".into()),
        };
        assert_eq!(*tally.observe(Err("no map".into()), at(5)), expected);
        assert_eq!(tally.observe(reading(12), at(6)).error, None);
    }
}
