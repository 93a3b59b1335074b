//! Many changes of allowed rules as one line: a kube-proxy that syncs would scroll everything else away.
//! Never adds up what is not allowed.

use std::collections::{BTreeMap, BTreeSet};

use crate::domain::changes::history::{Change, Happening};
use crate::domain::changes::wording::compact_authors;
use crate::domain::words::numbers::{counted, grouped};

/// "  213 changes of allowed rules in 12 chains: 200 added, 13 removed, by kube-proxy".
pub(super) fn of(changes: &[Change]) -> String {
    let (mut counts, mut chains, mut authors) =
        (BTreeMap::<Happening, u64>::new(), BTreeSet::new(), Vec::new());
    for change in changes {
        *counts.entry(change.happening).or_default() += 1;
        let is_new = chains.insert((change.backend, change.family, &change.table, &change.chain));
        // those of one chain have the same
        if is_new {
            authors.extend(change.authors.iter().cloned());
        }
    }
    let kinds: Vec<_> = counts
        .iter()
        .map(|(happening, count)| format!("{} {}", grouped(*count), happening.words()))
        .collect();
    let by = match compact_authors(&authors) {
        nobody if nobody.is_empty() => nobody,
        names => format!(", by {names}"),
    };
    let (all, chains) = (counted(counts.values().sum(), "change"), counted(chains.len() as u64, "chain"));
    format!("  {all} of allowed rules in {chains}: {}{by}\n", kinds.join(", "))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::domain::changes::What;
    use crate::domain::changes::author::Author;
    use crate::domain::changes::judged::Judged;
    use crate::domain::rules::{Backend, Family, Kind};

    fn change(what: What, chain: &str) -> Change {
        Change {
            happening: Happening::Changed(what),
            backend: Backend::IptablesNft,
            family: Family::Ip,
            table: "nat".into(),
            chain: Some(chain.into()),
            kind: Kind::Rule,
            position: Some(1),
            line: Some(b"-A x".to_vec()),
            is_cut: false,
            judged: Judged::Allowed,
            authors: Vec::new(),
        }
    }

    #[test]
    fn counts_by_kind_and_chain_and_names_each_author_once() {
        let author = Arc::new(Author::named(7, b"evil\x1b[2J"));
        let mut changes: Vec<_> = (0..1_200).map(|_| change(What::Added, "A")).collect();
        changes.push(Change { authors: vec![author.clone()], ..change(What::Removed, "B") });
        changes.push(Change { authors: vec![author], ..change(What::Moved, "C") });
        assert_eq!(
            of(&changes),
            "  1,202 changes of allowed rules in 3 chains: 1,200 added, 1 removed, 1 moved, by \"evil\\x{1b}[2J\"\n"
        );
        assert_eq!(of(&changes[..1]), "  1 change of allowed rules in 1 chain: 1 added\n");
    }
}
