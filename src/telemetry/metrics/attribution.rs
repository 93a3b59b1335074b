//! Who is said to have brought the unexpected rules, in numbers.
//! Bounds how many processes have series of their own: they choose their names themselves.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::label::{OTHER, shown};
use crate::domain::changes::author::Author;
use crate::domain::judging::report::Violation;

/// Processes with a series of their own; all others are added up.
const MAX_PROCESSES: usize = 20;

/// What is reported of who brought a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Attribution {
    /// A process, with what it ran or who started it.
    Process,
    /// The name of a process that had ended.
    Name,
    /// Nothing.
    None,
}

impl Attribution {
    pub const ALL: [Self; 3] = [Self::Process, Self::Name, Self::None];

    pub fn of(violation: &Violation) -> Self {
        let authors = violation.provenance.as_ref().map_or(&[][..], |provenance| &provenance.authors);
        let is_process = |author: &Arc<Author>| {
            author.executable.is_some() || author.command_line.is_some() || !author.parents.is_empty()
        };
        match authors {
            [] => Self::None,
            _ if authors.iter().any(is_process) => Self::Process,
            _ => Self::Name,
        }
    }

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Process => "process",
            Self::Name => "name",
            Self::None => "none",
        }
    }
}

/// The processes that have their own series, each with its parents: the first ones met, for as long as this process
/// lives.
#[derive(Debug, Default)]
pub(super) struct Processes(BTreeSet<[String; 2]>);

impl Processes {
    /// How many violations each is said to have brought.
    pub fn counts(&mut self, violations: &[Violation]) -> BTreeMap<[String; 2], u64> {
        let mut counts = BTreeMap::new();
        for violation in violations {
            let authors = violation.provenance.iter().flat_map(|provenance| &provenance.authors);
            let labels: BTreeSet<_> = authors.map(|author| self.label(author)).collect();
            for label in labels {
                *counts.entry(label).or_default() += 1;
            }
        }
        counts
    }

    fn label(&mut self, author: &Author) -> [String; 2] {
        let parents: Vec<_> = author.parents.iter().map(|parent| parent.name.as_str()).collect();
        let label = [shown(&author.name), shown(&parents.join(" < "))];
        if self.0.contains(&label) || self.0.len() < MAX_PROCESSES {
            self.0.insert(label.clone());
            return label;
        }
        [OTHER.to_owned(), OTHER.to_owned()]
    }
}
