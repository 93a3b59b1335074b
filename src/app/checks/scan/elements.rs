//! What the named sets of a table hold: read when all rules are judged, for the kernel may need seconds for a large set.
//! Keeps nothing between two reads.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Context;
use super::completeness::{self, Uses};
use super::native::{Declarations, judge};
use super::nft::netlink_problem;
use super::unit::{Key, Known, Unit};
use crate::domain::changes::Part;
use crate::domain::judging::audit::{Audit, Rulebook};
use crate::domain::rules::kernel::Table;
use crate::domain::rules::kernel::sets::Set;
use crate::domain::rules::text::native::constants::Names;
use crate::domain::rules::text::native::contents::{self, Contents, Hash};
use crate::domain::rules::text::native::declared;
use crate::domain::rules::text::native::elements::Shape;
use crate::domain::rules::text::native::types::Type;
use crate::domain::rules::{Backend, Kind, Problem, Reason};
use crate::host::netlink::nfnetlink::{Nfnetlink, NfnetlinkError};

/// A set that is judged and changes while it is read is read this often.
const ATTEMPTS: u32 = 4;

/// What of a table is left to read when its rules are judged.
#[derive(Debug)]
pub struct Left {
    table: Table,
    sets: Vec<Set>,
    devices: Arc<BTreeMap<u32, Vec<u8>>>,
    uses: Uses,
    /// Sets, flowtables and objects that were handed over.
    declared: usize,
    /// The generation of the rules that were judged.
    generation: u32,
}

impl Left {
    /// What is left of a table of which this many uses were counted.
    pub fn new(table: &Table, uses: Uses, declarations: &Declarations, generation: u32) -> Self {
        Self {
            sets: declarations.named_sets(table.family, &table.name).cloned().collect(),
            devices: declarations.devices(),
            declared: declarations.count(table.family, &table.name),
            table: table.clone(),
            uses,
            generation,
        }
    }

    /// Whether there is anything to read.
    pub const fn is_nothing(&self) -> bool {
        self.sets.is_empty()
    }

    /// Whether elements jump to chains, so that only they tell whether all of the table was handed over.
    pub fn has_jumps(&self) -> bool {
        self.sets.iter().any(Set::is_verdict_map)
    }

    /// Where what it is is kept.
    pub fn key(&self) -> Key {
        Key::Elements(self.table.family, self.table.name.clone())
    }

    /// The table as what may have changed.
    pub fn part(&self) -> Part {
        Part::NftTable { family: self.table.family, table: self.table.name.clone() }
    }

    /// Whether what may have changed is in the table.
    pub fn is_of(&self, part: &Part) -> bool {
        match part {
            Part::NftTable { family, table } | Part::NftChain { family, table, .. } => {
                (*family, table) == (self.table.family, &self.table.name)
            }
            Part::Legacy { .. } => false,
        }
    }

    /// Whether it is the same table, with the same sets, as another that was left.
    pub fn is_of_same(&self, other: &Self) -> bool {
        self.table.handle == other.table.handle && self.sets == other.sets
    }

    /// Whether the allowlists judge anything of it.
    pub fn is_judged_by(&self, book: &Rulebook) -> bool {
        self.sets.iter().any(|set| self.is_set_judged(book, set))
    }

    fn is_set_judged(&self, book: &Rulebook, set: &Set) -> bool {
        let Table { family, ref name, .. } = self.table;
        let line = contents::line(family, name, &set.name, (0, [0; 32]));
        set.is_map() || book.is_judged(Backend::Nftables, family, line.as_bytes())
    }

    /// Compares what the kernel counts with what it handed over, where no element jumps.
    ///
    /// # Errors
    /// What the kernel answers.
    pub fn check_rules(&self, audit: &mut Audit<'_>, kernel: &mut Nfnetlink) -> Result<(), NfnetlinkError> {
        completeness::check(audit, kernel, &self.table, self.uses, self.declared)
    }

    /// Reads and judges all of it, what allowlists judge first. What goes wrong with that is a problem; sets that nobody judges
    /// are left out where they cannot be read in time, and named.
    pub fn read(&self, context: &Context<'_>, book: &Rulebook, mut audit: Audit<'_>) -> (Unit, Vec<String>) {
        let mut omitted = Vec::new();
        match self.try_read(context, book, &mut audit, &mut omitted) {
            Ok(()) => {}
            Err(error @ NfnetlinkError::Interrupted { .. }) => audit.problem(self.torn(&error.to_string())),
            Err(error) => audit.problem(self.problem(&error)),
        }
        (Unit { reading: audit.seal(), known: Known::Nothing, left: Vec::new() }, omitted)
    }

    fn try_read(
        &self,
        context: &Context<'_>,
        book: &Rulebook,
        audit: &mut Audit<'_>,
        omitted: &mut Vec<String>,
    ) -> Result<(), NfnetlinkError> {
        let mut kernel = Nfnetlink::open(context.deadline().moment())?;
        kernel.tolerate_changes();
        let (judged, others): (Vec<_>, Vec<_>) =
            self.sets.iter().partition(|set| self.is_set_judged(book, set));
        let mut uses = self.uses;
        for set in judged {
            let held = self.read_judged(context, &mut kernel, set);
            // of a set that was made anew the elements have no meaning
            let held = if self.is_as_declared(&mut kernel)? { held? } else { return Err(torn_set()) };
            uses.add_jumps(held.jumps);
            held.judge(audit, &self.table, set);
        }
        if self.has_jumps() {
            completeness::check(audit, &mut kernel, &self.table, uses, self.declared)?;
            let is_mismatch = !audit.is_without_problem();
            if is_mismatch && kernel.generation()? != self.generation {
                audit.forget(&[Reason::CountMismatch]);
                audit.problem(self.torn("the rules changed since they were read"));
            }
        }
        for set in others {
            let held = Held::read(context, &mut kernel, (self, set));
            match held.and_then(|held| Ok((held, self.is_as_declared(&mut kernel)?))) {
                Ok((held, true)) => held.judge(audit, &self.table, set),
                Ok((_, false)) => return Err(torn_set()),
                Err(error) => {
                    log::debug!("{}, which nobody judges, is left out: {error}", self.place());
                    omitted.push(String::from_utf8_lossy(&set.name).into_owned());
                }
            }
        }
        Ok(())
    }

    /// What a set holds at one moment: read without a change of anything meanwhile, or twice alike.
    fn read_judged(
        &self,
        context: &Context<'_>,
        kernel: &mut Nfnetlink,
        set: &Set,
    ) -> Result<Held, NfnetlinkError> {
        let mut before = None;
        for _ in 0..ATTEMPTS {
            kernel.was_interrupted();
            let generation = kernel.generation()?;
            let held = Held::read(context, kernel, (self, set))?;
            let is_at_once = !kernel.was_interrupted() && kernel.generation()? == generation;
            if is_at_once || before.as_ref() == Some(&held) {
                return Ok(held);
            }
            before = Some(held);
        }
        Err(torn_set())
    }

    /// Whether the table has the sets that it had when its rules were read.
    fn is_as_declared(&self, kernel: &mut Nfnetlink) -> Result<bool, NfnetlinkError> {
        let sets = kernel.sets(Some((self.table.family, &self.table.name)))?;
        let named = sets.into_iter().map(|placed| placed.what).filter(|set| !set.is_anonymous());
        Ok(named.eq(self.sets.iter().cloned()))
    }

    fn torn(&self, what: &str) -> Problem {
        Problem::new(Reason::TornRead, format!("{}: {what}", self.place()))
    }

    fn problem(&self, error: &NfnetlinkError) -> Problem {
        let Problem { reason, detail } = netlink_problem(error);
        let advice = match error {
            NfnetlinkError::Deadline { .. } => {
                "; all rules were judged before; allow more time with --dump-timeout"
            }
            _ => "",
        };
        Problem::new(reason, format!("{}: {detail}{advice}", self.place()))
    }

    /// What is being read, for a problem.
    pub fn place(&self) -> String {
        format!("what the sets of table {} {} hold", self.table.family, self.table.name.escape_ascii())
    }
}

const fn torn_set() -> NfnetlinkError {
    NfnetlinkError::Interrupted { what: "elements of a set" }
}

/// What one set holds.
#[derive(PartialEq, Eq)]
struct Held {
    /// The elements of a map, each a line that is judged.
    elements: Vec<String>,
    /// Those of a set are one line.
    hash: (u64, [u8; 32]),
    /// How many elements jump.
    jumps: u64,
}

impl Held {
    fn read(
        context: &Context<'_>,
        kernel: &mut Nfnetlink,
        (left, set): (&Left, &Set),
    ) -> Result<Self, NfnetlinkError> {
        let key = declared::key_parts(set).unwrap_or_default();
        let value = declared::value_parts(set).unwrap_or_default();
        let has_cgroups = key.iter().chain(&value).any(|part| part.of == Type::Cgroup);
        let names = Names { devices: &left.devices, cgroups: context.cgroups(has_cgroups) };
        let mut texts = Contents::new(Shape { set, key: &key, value: &value, names });
        let (mut elements, mut hash, mut jumps) = (Vec::new(), Hash::default(), 0);
        let mut take = |text: String| {
            if set.is_map() { elements.push(text) } else { hash.add(text) }
        };
        kernel.for_each_element(left.table.family, &left.table.name, &set.name, |element| {
            jumps += u64::from(element.is_jump());
            texts.add(&element, &mut take);
        })?;
        texts.finish(&mut take);
        // the kernel lists them in the order of a hash that differs from node to node
        elements.sort_unstable();
        Ok(Self { elements, hash: hash.finish(), jumps })
    }

    fn judge(self, audit: &mut Audit<'_>, table: &Table, set: &Set) {
        let (family, table) = (table.family, table.name.as_slice());
        if set.is_map() {
            for text in &self.elements {
                let line = contents::map_line(family, table, &set.name, text);
                judge(audit, family, table, (Kind::Element, Some(&set.name)), &line);
            }
        } else {
            let (count, hash) = self.hash;
            let line = contents::line(family, table, &set.name, (count, hash));
            let (table, name) = (String::from_utf8_lossy(table), String::from_utf8_lossy(&set.name));
            audit.set_elements(family, &table, &name, line.as_bytes(), count);
        }
    }
}
