//! Reads all that iptables-nft manages in a family: the kernel's own rules, the text of them, and nft for the rest.
//! Reads no part of it alone, and no native table.

use std::time::Instant;

use super::completeness::{self, Uses};
use super::dump::{self, Generator};
use super::nft::Inventory;
use super::unit::{Draft, Key, Known};
use super::{Context, native};
use crate::domain::judging::audit::Audit;
use crate::domain::rules::kernel::{Chain, Shape, check_chain, classify, has_ipset};
use crate::domain::rules::pairing::{KernelRule, KernelTable, Use};
use crate::domain::rules::saved::iptables_save::{Item, Mode, Parser};
use crate::domain::rules::saved::nft_json::{BaseChains, is_text_shown};
use crate::domain::rules::shadow::{Contents, Shadow};
use crate::domain::rules::{Backend, Entry, Family, Problem, Reason};
use crate::host::netlink::nfnetlink::{Nfnetlink, NfnetlinkError};
use crate::host::process::command::{CommandError, Running};

/// The versions of iptables-nft-save whose printing was compared with the kernel (`domain::rules::kernel`).
pub(super) const VERIFIED_VERSIONS: [&str; 1] = ["1.8.9"];
/// What iptables-nft-save says of legacy tables, which are read by themselves.
pub(super) const LEGACY_WARNINGS: [&str; 2] =
    ["# Warning: iptables-legacy tables present", "# Warning: ip6tables-legacy tables present"];

/// The iptables tables of one family: the running program and what the kernel holds.
pub struct IptablesDump {
    family: Family,
    program: &'static str,
    started: Instant,
    running: Option<Result<Running, CommandError>>,
    tables: Vec<KernelTable>,
    /// Whether a rule shows names of ipsets.
    has_ipset: bool,
    /// Whether only iptables can have written what is there.
    is_plain: bool,
    shadow: Shadow,
    /// Remarks of the tool about tables it cannot print.
    remarks: Vec<Vec<u8>>,
    generator: Option<Generator>,
}

impl IptablesDump {
    /// Starts the program of this family.
    pub fn start(context: &Context<'_>, inventory: &Inventory, family: Family) -> Self {
        let tables = inventory.iptables(family);
        let tables =
            tables.iter().map(|table| KernelTable::new(family, String::from_utf8_lossy(&table.name)));
        let program = if family == Family::Ip6 { "ip6tables-nft-save" } else { "iptables-nft-save" };
        Self {
            family,
            program,
            started: Instant::now(),
            running: Some(dump::start(program, &[], &context.deadline())),
            tables: tables.collect(),
            has_ipset: false,
            is_plain: true,
            shadow: Shadow::default(),
            remarks: Vec::new(),
            generator: None,
        }
    }

    /// The unit that it is.
    pub fn key(&self) -> Key {
        Key::Iptables(self.family)
    }

    /// Whether a rule shows names of ipsets.
    pub fn has_ipset(&self) -> bool {
        self.has_ipset
    }

    /// Reads what the kernel holds.
    ///
    /// # Errors
    /// What the kernel answers.
    pub fn read_kernel(
        &mut self,
        kernel: &mut Nfnetlink,
        inventory: &Inventory,
        draft: &mut Draft<'_>,
    ) -> Result<(), NfnetlinkError> {
        let tables = inventory.iptables(self.family);
        for (index, table) in tables.iter().enumerate() {
            let mut uses = Uses::default();
            self.shadow.add_table(table);
            for chain in inventory.chains_of(&[table]) {
                uses.add_chain(chain);
                let rules = self.read_chain(kernel, chain, &mut uses, &mut draft.audit)?;
                let shape = check_chain(self.family, &table.name, chain);
                if let Some(table) = self.tables.get_mut(index) {
                    table.add_chain(String::from_utf8_lossy(&chain.name), shape, rules);
                }
            }
            let name = String::from_utf8_lossy(&table.name);
            completeness::check(&mut draft.audit, kernel, self.family, &name, uses)?;
        }
        Ok(())
    }

    fn read_chain(
        &mut self,
        kernel: &mut Nfnetlink,
        chain: &Chain,
        uses: &mut Uses,
        audit: &mut Audit<'_>,
    ) -> Result<Vec<KernelRule>, NfnetlinkError> {
        let mut rules = Vec::new();
        let mut contents = Contents::default();
        kernel.for_each_rule(self.family, &chain.table, &chain.name, |handle, userdata, exprs| {
            self.has_ipset = self.has_ipset || has_ipset(exprs);
            uses.add_rule(exprs);
            contents.add_rule(userdata, exprs);
            let standing = match classify(self.family, userdata, exprs) {
                Shape::Iptables { action } => Ok(action),
                Shape::Untrusted { reason, .. } => {
                    self.is_plain = false;
                    if !is_text_shown(self.family, userdata, exprs) {
                        audit.problem(native::unshown_text(chain, rules.len() + 1));
                    }
                    Err(reason)
                }
            };
            rules.push(KernelRule { handle, standing });
        })?;
        self.shadow.add_chain(chain, contents.finish());
        Ok(rules)
    }

    /// Judges what the program prints.
    pub fn read_text(&mut self, draft: &mut Draft<'_>) {
        let Some(running) = self.running.take() else { return };
        let program = self.program;
        let audit = &mut draft.audit;
        let parser = Parser::new(Mode::Live);
        let ended =
            running.and_then(|running| dump::stream(running, parser, &mut |item| self.take(item, audit)));
        match ended {
            Ok(ended) => {
                let problems = dump::ending_problems(program, &ended, &LEGACY_WARNINGS);
                problems.into_iter().for_each(|problem| audit.problem(problem));
                // a dump without a table has no header either
                if self.tables.iter().any(KernelTable::is_printed) {
                    check_version(program, self.generator.as_ref(), audit);
                }
            }
            Err(error) => audit.problem(dump::command_problem(&error)),
        }
        draft.tool(self.generator.take());
        draft.dumps.push((program, self.started.elapsed()));
    }

    /// Remembers what the kernel holds, if changed chains can be read alone from now on.
    pub fn end(self, inventory: &Inventory, draft: &mut Draft<'_>) {
        let tables = inventory.iptables(self.family);
        let chains = inventory.chains_of(&tables);
        let is_readable = self.is_plain && !self.has_ipset && draft.audit.is_without_problem();
        if is_readable && self.shadow.compare(&tables, &chains, |_| false).is_some() {
            draft.known = Known::Chains(self.shadow);
        }
    }

    fn take(&mut self, item: Item<'_>, audit: &mut Audit<'_>) {
        match item {
            Item::Header(header) => self.generator = Generator::parse(header),
            Item::Table(name) => self.take_table(name, audit),
            Item::Entry(entry) => self.take_entry(&entry, audit),
            Item::Remark(remark) if remark.starts_with(b"# Completed on ") => {}
            Item::Remark(remark) => self.remarks.push(remark.to_vec()),
            Item::Commit => {}
            Item::Problem(problem) => audit.problem(problem),
        }
    }

    fn take_table(&mut self, name: &str, audit: &mut Audit<'_>) {
        audit.table(Backend::IptablesNft, self.family, name);
        let is_new =
            self.tables.iter_mut().find(|table| table.name() == name).is_some_and(KernelTable::print);
        if !is_new {
            let what =
                format!("{} prints table {name}, which the kernel does not have (again)", self.program);
            audit.problem(Problem::new(Reason::CountMismatch, what));
        }
    }

    fn take_entry(&mut self, entry: &Entry<'_>, audit: &mut Audit<'_>) {
        let usage = match self.tables.iter_mut().find(|table| table.name() == entry.table) {
            Some(table) => table.pair(entry),
            None => Use::Judge,
        };
        match usage {
            Use::Native => {}
            Use::Judge => audit.judge(Backend::IptablesNft, self.family, entry, None),
            Use::Mismatch(problem) => {
                audit.problem(problem);
                audit.judge(Backend::IptablesNft, self.family, entry, None);
            }
        }
    }

    /// What the text does not show, or shows as something else.
    ///
    /// # Errors
    /// What the kernel answers.
    pub fn read_rest(
        &self,
        context: &Context<'_>,
        kernel: &mut Nfnetlink,
        bases: &BaseChains,
        draft: &mut Draft<'_>,
    ) -> Result<(), NfnetlinkError> {
        self.judge_remarks(&mut draft.audit);
        for table in &self.tables {
            let missing = table.missing();
            let audit = &mut draft.audit;
            audit.table(Backend::IptablesNft, self.family, table.name());
            for (chain, kind, line) in table.declarations() {
                let line = line.as_bytes();
                let entry = Entry { kind, table: table.name(), chain: Some(chain), position: None, line };
                audit.judge(Backend::IptablesNft, self.family, &entry, None);
            }
            missing.into_iter().chain(table.chain_problems()).for_each(|problem| audit.problem(problem));
            native::read_foreign(context, draft, kernel, (self.family, table), bases)?;
        }
        Ok(())
    }

    /// A remark about a table that the kernel read explains is no news; any other is a problem.
    fn judge_remarks(&self, audit: &mut Audit<'_>) {
        for remark in &self.remarks {
            let text = String::from_utf8_lossy(remark);
            let is_explained = self.tables.iter().any(|table| {
                let names = text.contains(&format!("`{}'", table.name()));
                names && text.starts_with("# Table `") && table.native_chains().next().is_some()
            });
            if !is_explained {
                audit.problem(Problem::new(
                    Reason::UnexpectedOutput,
                    format!("{} printed: {}", self.program, remark.escape_ascii()),
                ));
            }
        }
    }
}

fn check_version(program: &str, generator: Option<&Generator>, audit: &mut Audit<'_>) {
    let version = generator.map_or("unknown", |generator| &generator.version);
    let is_nft = generator.is_some_and(|generator| generator.is_nft != Some(false));
    if !is_nft || !VERIFIED_VERSIONS.contains(&version) {
        audit.problem(Problem::new(
            Reason::UntestedTool,
            format!(
                "`{program}` is version {}: when its text may be trusted was verified for {} only; use the \
                 container image, which has it",
                version.escape_default(),
                VERIFIED_VERSIONS.join(", ")
            ),
        ));
    }
}
