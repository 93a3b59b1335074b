//! Which changes somebody asks to see.
//! Shows none.

use super::author::Author;
use super::history::{Change, Moment};

/// What a change must be to be shown; what is not set is no matter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChangeFilter {
    /// Of a rule that is not allowed: an unexpected one, or one that is not judged.
    pub is_unexpected: bool,
    /// In the table of this name.
    pub table: Option<String>,
    /// In the chain of this name, or the set, map or object.
    pub chain: Option<String>,
    /// By a process, or one started by a process, in whose name, executable, command line, pod or container this stands.
    pub author: Option<String>,
}

impl ChangeFilter {
    /// Whether it shows everything.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether it shows this change.
    pub fn shows(&self, change: &Change) -> bool {
        (!self.is_unexpected || !change.judged.is_allowed())
            && self.table.as_ref().is_none_or(|table| *table == change.table)
            && self.chain.as_ref().is_none_or(|chain| change.chain.as_ref() == Some(chain))
            && self.author.as_ref().is_none_or(|text| change.authors.iter().any(|author| names(author, text)))
    }

    /// The moment with the changes that are shown; none if all of them are left out. Whether changes that are only counted
    /// would be shown nobody knows.
    pub fn of(&self, mut moment: Moment) -> Option<Moment> {
        if self.is_empty() {
            return Some(moment);
        }
        moment.changes.retain(|change| self.shows(change));
        (!moment.changes.is_empty()).then_some(moment)
    }
}

fn names(author: &Author, text: &str) -> bool {
    let own = [
        Some(&author.name),
        author.executable.as_ref(),
        author.command_line.as_ref(),
        author.container.as_ref(),
    ];
    let of_parents =
        author.parents.iter().flat_map(|parent| [Some(&parent.name), parent.command_line.as_ref()]);
    let pod =
        author.pod.as_ref().and_then(|pod| pod.name.as_ref()).map(|(space, name)| format!("{space}/{name}"));
    own.into_iter().chain(of_parents).flatten().any(|has| has.contains(text))
        || pod.is_some_and(|pod| pod.contains(text))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::SystemTime;

    use super::super::author::{Ancestor, PodHint};
    use super::super::history::{Happening, Watch};
    use super::super::judged::Judged;
    use super::*;
    use crate::domain::changes::What;
    use crate::domain::rules::{Backend, Family, Kind};
    use crate::domain::verdict::Verdict;

    fn change(judged: Judged, table: &str, chain: Option<&str>, author: Author) -> Change {
        Change {
            happening: Happening::Changed(What::Added),
            backend: Backend::Nftables,
            family: Family::Inet,
            table: table.into(),
            chain: chain.map(str::to_owned),
            kind: Kind::Rule,
            position: None,
            line: Some(b"x".to_vec()),
            is_cut: false,
            judged,
            authors: vec![Arc::new(author)],
        }
    }

    fn moment() -> Moment {
        let by = |name: &str| Author::named(7, name.as_bytes());
        let shell = Ancestor { pid: 1, name: "bash".into(), command_line: Some("bash -c evil".into()) };
        let pod = PodHint { uid: "u".into(), name: Some(("kube-system".into(), "kube-proxy-x7".into())) };
        Moment {
            at: SystemTime::UNIX_EPOCH,
            watch: Watch::Watched,
            before: None,
            after: Verdict::Violations,
            untold: 3,
            rewritten: 0,
            changes: vec![
                change(
                    Judged::Unexpected,
                    "filter",
                    Some("INPUT"),
                    Author { parents: vec![shell], ..by("nft") },
                ),
                change(Judged::NotJudged, "shop", None, Author { pod: Some(pod), ..by("iptables") }),
                change(Judged::Allowed, "shop", Some("input"), by("nft")),
            ],
        }
    }

    #[test]
    fn a_change_is_shown_if_it_is_all_that_was_asked_for() {
        let shown = |filter: ChangeFilter| -> Vec<usize> {
            let all = moment().changes;
            filter.of(moment()).map_or(Vec::new(), |left| {
                left.changes
                    .iter()
                    .filter_map(|change| all.iter().position(|other| other == change))
                    .collect()
            })
        };
        let any = ChangeFilter::default;
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(shown(any()), [0, 1, 2]);
        assert_eq!(shown(ChangeFilter { is_unexpected: true, ..any() }), [0, 1]);
        assert_eq!(shown(ChangeFilter { table: text("shop"), ..any() }), [1, 2]);
        assert_eq!(shown(ChangeFilter { table: text("sho"), ..any() }), [0; 0]);
        assert_eq!(shown(ChangeFilter { chain: text("input"), ..any() }), [2]);
        assert_eq!(shown(ChangeFilter { author: text("nft"), ..any() }), [0, 2]);
        assert_eq!(shown(ChangeFilter { author: text("evil"), ..any() }), [0]);
        assert_eq!(shown(ChangeFilter { author: text("kube-system/kube-proxy"), ..any() }), [1]);
        assert_eq!(
            shown(ChangeFilter { is_unexpected: true, table: text("shop"), author: text("nft"), ..any() }),
            [0; 0]
        );
    }

    #[test]
    fn a_moment_without_changes_is_shown_only_to_who_asks_for_everything() {
        let empty = || Moment { changes: Vec::new(), ..moment() };
        assert_eq!(ChangeFilter::default().of(empty()), Some(empty()));
        assert_eq!(ChangeFilter { is_unexpected: true, ..ChangeFilter::default() }.of(empty()), None);
    }
}
