//! How long to wait before a failed call is made again.
//! Knows neither the time nor chance: both are the caller's.

use std::time::Duration;

/// How soon trying again makes sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// It may work in a moment: the other side is busy, restarting or changing.
    Soon,
    /// It will not work until a person changes something.
    Slow,
}

/// No server's wish is honoured for longer: a forged or mistaken one must not silence the agent.
pub const LONGEST_WISH: Duration = Duration::from_secs(600);

impl Pace {
    /// The first and the longest pause, before chance shortens them.
    const fn bounds(self) -> (Duration, Duration) {
        match self {
            Self::Soon => (Duration::from_millis(500), Duration::from_secs(60)),
            Self::Slow => (Duration::from_secs(30), Duration::from_secs(300)),
        }
    }
}

/// The pause after so many failures in a row: doubling up to a limit, its second half left to chance.
///
/// `failures` counts from 1. `wish` is what the server asked for; the pause comes on top of it, so that many
/// clients that were told the same do not return at the same moment. `random` is any number.
pub fn delay(pace: Pace, failures: u32, wish: Option<Duration>, random: u64) -> Duration {
    let (first, longest) = pace.bounds();
    let doublings = failures.saturating_sub(1).min(16);
    let full = first.saturating_mul(1 << doublings).min(longest);
    let share = u32::try_from(random % 1024).unwrap_or(0);
    wish.unwrap_or_default().min(LONGEST_WISH) + full / 2 + full / 2 * share / 1024
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bounds(pace: Pace, failures: u32) -> (u128, u128) {
        let all: Vec<_> = (0..1024).map(|random| delay(pace, failures, None, random).as_millis()).collect();
        (*all.iter().min().unwrap(), *all.iter().max().unwrap())
    }

    #[test]
    fn doubles_up_to_a_limit_and_spreads() {
        for (pace, failures, shortest, longest) in [
            (Pace::Soon, 0, 250, 500),
            (Pace::Soon, 1, 250, 500),
            (Pace::Soon, 2, 500, 1_000),
            (Pace::Soon, 5, 4_000, 8_000),
            (Pace::Soon, 8, 30_000, 60_000),
            (Pace::Soon, u32::MAX, 30_000, 60_000),
            (Pace::Slow, 1, 15_000, 30_000),
            (Pace::Slow, 9, 150_000, 300_000),
        ] {
            let (min, max) = bounds(pace, failures);
            assert_eq!(min, shortest, "{pace:?} {failures}");
            assert!(max <= longest && max > longest * 99 / 100, "{pace:?} {failures}: {max}");
        }
    }

    #[test]
    fn a_wish_is_honoured_within_reason() {
        let wished = |seconds| delay(Pace::Soon, 1, Some(Duration::from_secs(seconds)), 7);
        assert!(wished(30) >= Duration::from_secs(30) && wished(30) < Duration::from_secs(31));
        assert!(wished(u64::MAX) < Duration::from_secs(601));
    }
}
