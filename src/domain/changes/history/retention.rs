//! What is forgotten first when the journal is full.
//! Deletes nothing; what rules are not allowed, and who brought them, goes last.

/// Fuller than this part of the limit, something is forgotten,
const HIGH: (u64, u64) = (9, 10);
/// until no more than this part is used.
const LOW: (u64, u64) = (3, 4);

/// How full the journal is, in bytes and in what it holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Bytes in use.
    pub bytes: u64,
    /// The most it may use.
    pub limit_bytes: u64,
    /// Changes of allowed rules, and moments without any change.
    pub minor: u64,
    /// Allowed rules that stand and whose text is kept.
    pub texts: u64,
    /// Allowed rules.
    pub allowed: u64,
    /// Changes of rules that are not judged, and such rules that stand no more.
    pub not_judged: u64,
    /// Changes of unexpected rules.
    pub unexpected: u64,
    /// Unexpected rules that stand no more.
    pub gone: u64,
}

/// What is forgotten, and how many of it, the oldest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forget {
    /// Changes of allowed rules, moments without any change, and allowed rules that went.
    Minor(u64),
    /// The text of allowed rules: since when they stand is still known.
    Texts(u64),
    /// Allowed rules as a whole.
    Allowed(u64),
    /// Changes of rules that are not judged, and such rules that went: a busy set makes many, and they may not push out
    /// unexpected ones.
    NotJudged(u64),
    /// Changes of unexpected rules.
    Unexpected(u64),
    /// Unexpected rules that stand no more.
    Gone(u64),
}

impl Usage {
    /// Whether there is room for the text of an allowed rule.
    pub const fn is_roomy(&self) -> bool {
        self.bytes < self.limit_bytes / 2
    }

    /// Whether something has to be forgotten.
    pub const fn is_full(&self) -> bool {
        self.bytes * HIGH.1 > self.limit_bytes * HIGH.0
    }

    /// Whether enough is forgotten.
    pub const fn is_relieved(&self) -> bool {
        self.bytes * LOW.1 <= self.limit_bytes * LOW.0
    }

    /// What to forget next; none when all that is left is rules that stand and are not allowed.
    pub fn forget(&self) -> Option<Forget> {
        // a quarter at a time, but never so little that it takes for ever
        let some = |count: u64| (count / 4).max(100);
        match *self {
            Self { minor: 1.., .. } => Some(Forget::Minor(some(self.minor))),
            Self { texts: 1.., .. } => Some(Forget::Texts(some(self.texts))),
            Self { allowed: 1.., .. } => Some(Forget::Allowed(some(self.allowed))),
            Self { not_judged: 1.., .. } => Some(Forget::NotJudged(some(self.not_judged))),
            Self { unexpected: 1.., .. } => Some(Forget::Unexpected(some(self.unexpected))),
            Self { gone: 1.., .. } => Some(Forget::Gone(some(self.gone))),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_allowed_is_forgotten_last() {
        let mut usage = Usage {
            minor: 1_000,
            texts: 3,
            allowed: 3,
            not_judged: 900,
            unexpected: 10,
            gone: 1,
            ..Usage::default()
        };
        let mut order = Vec::new();
        while let Some(forget) = usage.forget() {
            let (left, count) = match forget {
                Forget::Minor(count) => (&mut usage.minor, count),
                Forget::Texts(count) => (&mut usage.texts, count),
                Forget::Allowed(count) => (&mut usage.allowed, count),
                Forget::NotJudged(count) => (&mut usage.not_judged, count),
                Forget::Unexpected(count) => (&mut usage.unexpected, count),
                Forget::Gone(count) => (&mut usage.gone, count),
            };
            *left = left.saturating_sub(count);
            order.push(std::mem::discriminant(&forget));
        }
        order.dedup();
        let expected = [
            Forget::Minor(0),
            Forget::Texts(0),
            Forget::Allowed(0),
            Forget::NotJudged(0),
            Forget::Unexpected(0),
            Forget::Gone(0),
        ];
        assert_eq!(order, expected.map(|forget| std::mem::discriminant(&forget)));
    }

    #[test]
    fn it_forgets_from_nine_tenths_to_three_quarters() {
        let at = |bytes| Usage { bytes, limit_bytes: 1_000, ..Usage::default() };
        assert!(!at(900).is_full() && at(901).is_full());
        assert!(!at(751).is_relieved() && at(750).is_relieved());
        assert!(at(499).is_roomy() && !at(500).is_roomy());
    }
}
