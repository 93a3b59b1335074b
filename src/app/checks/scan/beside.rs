//! What acts on packets beside rules: hooks and expectations. They are read at each check, for nobody tells when they change.
//! Says what is other than it was; knows neither of the two.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::hooks::HookReader;
use super::unit::{Key, Known, Unit, Units};
use super::{Context, Hooks, expectations};
use crate::domain::changes::diff::Told;
use crate::domain::judging::audit::{Audit, Authors, Reading, Rulebook, TextBudget, compare};
use crate::domain::rules::Reason;
use crate::domain::rules::text::helpers::Helpers;

/// Text of lines that is kept, beside that of rules: a few thousand expectations.
const TEXT_BYTES: usize = 1 << 20;

/// What was read of hooks and expectations.
#[derive(Debug, Default)]
pub struct Beside {
    hooks: HookReader,
    /// As they were read well last.
    kept: Units,
    /// As they were read last.
    standing: Units,
}

impl Beside {
    /// Reads and judges both. `helpers` says which helpers rules assign, where that matters.
    pub fn read(
        &mut self,
        context: &Context<'_>,
        (book, is_full): (&Rulebook, bool),
        helpers: impl FnOnce() -> Helpers,
        told: &mut Told,
    ) {
        if context.options.hooks == Hooks::Unread {
            return;
        }
        let budget = TextBudget::new(TEXT_BYTES);
        let audit = || Audit::new(book, context.options.limit, &budget);
        let (mut hooks, mut expected) = (audit(), audit());
        self.hooks.read(context, book, &mut hooks, is_full);
        expectations::read(context, book, &mut expected, helpers);
        self.settle(Key::Hooks, hooks.seal(), told);
        self.settle(Key::Expectations, expected.seal(), told);
    }

    /// Judges what is kept by other allowlists; forgets lines whose text was not kept.
    pub fn judge_by(&mut self, book: &Rulebook, limit: usize) {
        let budget = TextBudget::new(TEXT_BYTES);
        let judged = self.kept.iter().filter_map(|(key, unit)| {
            let unit = unit.judged_by(book, limit, &budget)?;
            Some((key.clone(), Arc::new(unit)))
        });
        self.kept = judged.collect();
    }

    /// Tells what is other than it was, unless the read failed.
    fn settle(&mut self, key: Key, reading: Reading, told: &mut Told) {
        let unit = Arc::new(Unit { reading, known: Known::Nothing, left: Vec::new() });
        if !unit.has_failed()
            && let Some(former) = self.kept.insert(key.clone(), Arc::clone(&unit))
        {
            compare(&former.reading, &unit.reading, &Authors::new(&BTreeMap::new()), told);
        }
        self.standing.insert(key, unit);
    }

    /// As they were read last.
    pub fn standing(&self) -> impl Iterator<Item = &Unit> {
        self.standing.values().map(|unit| &**unit)
    }

    /// As they were read well last.
    pub fn units(&self) -> impl Iterator<Item = &Unit> {
        self.kept.values().map(|unit| &**unit)
    }

    /// Whether they changed whenever they were read.
    pub fn is_torn(&self) -> bool {
        self.standing()
            .flat_map(|unit| unit.reading.problems.reasons())
            .any(|reason| reason == Reason::TornRead)
    }
}
