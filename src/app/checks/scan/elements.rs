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

/// A set that changes while it is read is read again this often.
const ATTEMPTS: u32 = 3;

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
        let Table { family, ref name, .. } = self.table;
        let is_judged = |set: &Set| {
            let line = contents::line(family, name, &set.name, (0, [0; 32]));
            set.is_map() || book.is_judged(Backend::Nftables, family, line.as_bytes())
        };
        self.sets.iter().any(is_judged)
    }

    /// Compares what the kernel counts with what it handed over, where no element jumps.
    ///
    /// # Errors
    /// What the kernel answers.
    pub fn check_rules(&self, audit: &mut Audit<'_>, kernel: &mut Nfnetlink) -> Result<(), NfnetlinkError> {
        completeness::check(audit, kernel, &self.table, self.uses, self.declared)
    }

    /// Reads and judges all of it. What goes wrong is a problem.
    pub fn read(&self, context: &Context<'_>, mut audit: Audit<'_>) -> Unit {
        match self.try_read(context, &mut audit) {
            Ok(()) => {}
            Err(error @ NfnetlinkError::Interrupted { .. }) => audit.problem(self.torn(&error.to_string())),
            Err(error) => audit.problem(self.problem(&error)),
        }
        Unit { reading: audit.seal(), known: Known::Nothing, left: Vec::new() }
    }

    fn try_read(&self, context: &Context<'_>, audit: &mut Audit<'_>) -> Result<(), NfnetlinkError> {
        let mut kernel = Nfnetlink::open(context.deadline().moment())?;
        let mut uses = self.uses;
        for set in &self.sets {
            uses.add_jumps(self.read_set(context, audit, &mut kernel, set)?);
        }
        if self.has_jumps() {
            completeness::check(audit, &mut kernel, &self.table, uses, self.declared)?;
            let is_mismatch = !audit.is_without_problem();
            if is_mismatch && kernel.generation()? != self.generation {
                audit.forget(&[Reason::CountMismatch]);
                audit.problem(self.torn("the rules changed since they were read"));
            }
        }
        Ok(())
    }

    /// Reads and judges what a set holds at one moment; how many elements jump.
    fn read_set(
        &self,
        context: &Context<'_>,
        audit: &mut Audit<'_>,
        kernel: &mut Nfnetlink,
        set: &Set,
    ) -> Result<u64, NfnetlinkError> {
        let mut attempt = 1;
        loop {
            let generation = kernel.generation()?;
            let held = Held::read(context, kernel, (self, set));
            let is_torn = kernel.generation()? != generation;
            match held {
                Ok(held) if !is_torn => {
                    let jumps = held.jumps;
                    held.judge(audit, &self.table, set);
                    return Ok(jumps);
                }
                Err(error) if !is_torn && !matches!(error, NfnetlinkError::Interrupted { .. }) => {
                    return Err(error);
                }
                _ if attempt == ATTEMPTS => {
                    return Err(NfnetlinkError::Interrupted { what: "elements of a set" });
                }
                _ => attempt += 1,
            }
        }
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

/// What one set holds.
struct Held {
    /// The elements of a map, each a line that is judged.
    elements: Vec<String>,
    /// Those of a set are one line.
    hash: Hash,
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
        let mut held = Self { elements: Vec::new(), hash: Hash::default(), jumps: 0 };
        let Self { elements, hash, jumps } = &mut held;
        let mut take = |text: String| {
            if set.is_map() { elements.push(text) } else { hash.add(text) }
        };
        kernel.for_each_element(left.table.family, &left.table.name, &set.name, |element| {
            *jumps += u64::from(element.is_jump());
            texts.add(&element, &mut take);
        })?;
        texts.finish(&mut take);
        Ok(held)
    }

    fn judge(mut self, audit: &mut Audit<'_>, table: &Table, set: &Set) {
        let (family, table) = (table.family, table.name.as_slice());
        if set.is_map() {
            // the kernel lists them in the order of a hash that differs from node to node
            self.elements.sort_unstable();
            for text in &self.elements {
                let line = contents::map_line(family, table, &set.name, text);
                judge(audit, family, table, (Kind::Element, Some(&set.name)), &line);
            }
        } else {
            let (count, hash) = self.hash.finish();
            let line = contents::line(family, table, &set.name, (count, hash));
            let (table, name) = (String::from_utf8_lossy(table), String::from_utf8_lossy(&set.name));
            audit.set_elements(family, &table, &name, line.as_bytes(), count);
        }
    }
}
