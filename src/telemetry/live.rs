//! What an agent knows beside its last report: whether changes are seen at once, and the last of them.
//! Keeps a bounded part; the journal has more.

pub mod drops;

use std::sync::Arc;
use std::time::Duration;

use crate::domain::changes::ChangeSet;

/// Sets of changes that are kept, and changes in them.
const MAX_SETS: usize = 20;
const MAX_CHANGES: usize = 100;

/// What the page shows beside the report.
#[derive(Clone, Debug)]
pub struct Live {
    /// Whether changes are seen at once.
    pub watching: Watching,
    /// The last changes, the oldest first.
    changes: Vec<Arc<ChangeSet>>,
}

/// Whether changes are seen at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watching {
    /// They are.
    pub is_on: bool,
    /// Else they are seen this often.
    pub interval: Duration,
    /// Why they are not seen at once, or what else is to be known; may be empty.
    pub detail: String,
}

impl Live {
    /// Of these changes, the oldest first, the last 20 sets, and of those the last with 100 changes in all.
    pub fn new(watching: Watching, changes: impl IntoIterator<Item = Arc<ChangeSet>>) -> Self {
        let mut changes: Vec<_> = changes.into_iter().collect();
        let mut room = MAX_CHANGES;
        let fits = |set: &&Arc<ChangeSet>| {
            let has_room = room > 0;
            room = room.saturating_sub(set.changes.len());
            has_room
        };
        let kept = changes.iter().rev().take(MAX_SETS).take_while(fits).count();
        changes.drain(..changes.len() - kept);
        Self { watching, changes }
    }

    /// The last changes, the oldest first.
    pub fn changes(&self) -> &[Arc<ChangeSet>] {
        &self.changes
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::domain::changes::judged::Judged;
    use crate::domain::changes::{RuleChange, What};
    use crate::domain::rules::{Backend, Family, Kind};
    use crate::domain::verdict::Verdict;

    fn set(untold: u64, changes: usize) -> Arc<ChangeSet> {
        let change = RuleChange {
            what: What::Added,
            backend: Backend::Nftables,
            family: Family::Ip,
            table: String::new(),
            chain: None,
            kind: Kind::Rule,
            position: None,
            line: Vec::new(),
            judged: Judged::Allowed,
            authors: Vec::new(),
        };
        let verdict = Verdict::Compliant;
        let changes = vec![change; changes];
        Arc::new(ChangeSet { at: SystemTime::UNIX_EPOCH, before: None, after: verdict, changes, untold })
    }

    fn kept(sets: Vec<Arc<ChangeSet>>) -> Vec<u64> {
        let watching = Watching { is_on: true, interval: Duration::from_secs(300), detail: String::new() };
        Live::new(watching, sets).changes().iter().map(|set| set.untold).collect()
    }

    #[test]
    fn only_the_last_changes_are_kept() {
        assert_eq!(kept((0..30).map(|number| set(number, 1)).collect()), (10..30).collect::<Vec<_>>());
        assert_eq!(kept(vec![set(1, 60), set(2, 60), set(3, 40)]), [2, 3]);
        assert_eq!(kept(vec![set(1, 1), set(2, 500)]), [2]);
        assert!(kept(Vec::new()).is_empty());
    }
}
