//! How many changes of allowed rules are told one by one: a burst, and then a steady rate.
//! Knows nothing of rules; whoever asks counts what it is refused.

use std::time::SystemTime;

/// A token bucket.
#[derive(Clone, Debug, PartialEq)]
pub struct Budget {
    burst: f64,
    per_second: f64,
    left: f64,
    at: Option<SystemTime>,
}

impl Budget {
    /// A full budget of `burst` changes, to which `per_second` come.
    pub fn new(burst: u32, per_second: f64) -> Self {
        let burst = f64::from(burst);
        Self { burst, per_second, left: burst, at: None }
    }

    /// Whether there is room for one more change. A clock that goes back adds nothing.
    pub fn take(&mut self, now: SystemTime) -> bool {
        let since = self.at.and_then(|at| now.duration_since(at).ok()).unwrap_or_default();
        self.left = (self.left + since.as_secs_f64() * self.per_second).min(self.burst);
        self.at = Some(now);
        let has_room = self.left >= 1.0;
        if has_room {
            self.left -= 1.0;
        }
        has_room
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn taken(budget: &mut Budget, at: u64) -> usize {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(at);
        std::iter::repeat_with(|| budget.take(now)).take_while(|has_room| *has_room).count()
    }

    #[test]
    fn a_burst_and_then_a_rate() {
        let mut budget = Budget::new(100, 2.0);
        let seen: Vec<_> =
            [1_000, 1_000, 1_010, 1_011, 10, 11, 100_000].map(|at| taken(&mut budget, at)).into();
        assert_eq!(seen, [100, 0, 20, 2, 0, 2, 100]);
    }
}
