//! Reads nf_tables: the kernel's own rules, the text iptables-nft-save prints of them, and nft for the rest.
//! Decides nothing: which text may be trusted is said by `domain::shapes`, what is allowed by the audit.

use std::time::Instant;

use super::completeness::{self, Uses};
use super::dump::{self, Generator};
use super::{Attempt, Context, ipset, native};
use crate::domain::audit::Audit;
use crate::domain::iptables_save::Item;
use crate::domain::nft_json::{BaseChains, is_text_shown};
use crate::domain::pairing::{KernelRule, KernelTable, Use};
use crate::domain::ruleset::{Backend, Entry, Family, Problem, Reason};
use crate::domain::shapes::{Chain, Shape, Table, TableFault, check_chain, check_table, classify, has_ipset};
use crate::host::command::{CommandError, Running};
use crate::host::nfnetlink::{Nfnetlink, NfnetlinkError};

/// The versions of iptables-nft-save whose printing was compared with the kernel (`domain::shapes`).
const VERIFIED_VERSIONS: [&str; 1] = ["1.8.9"];
/// What iptables-nft-save says of legacy tables, which are read by themselves.
const LEGACY_WARNINGS: [&str; 2] =
    ["# Warning: iptables-legacy tables present", "# Warning: ip6tables-legacy tables present"];

/// Reads every nf_tables table once. What goes wrong is a problem of the audit.
pub fn read(context: &Context<'_>, audit: &mut Audit<'_>) -> Attempt {
    match try_read(context, audit) {
        Ok(attempt) => attempt,
        Err(NfnetlinkError::Absent) => Attempt::default(),
        Err(NfnetlinkError::Interrupted { .. }) => Attempt { torn: true, ..Attempt::default() },
        Err(error) => {
            audit.problem(netlink_problem(&error));
            Attempt::default()
        }
    }
}

/// What a failed read over netlink is to a report.
pub(super) fn netlink_problem(error: &NfnetlinkError) -> Problem {
    let reason = match error {
        NfnetlinkError::PermissionDenied { .. } => Reason::PermissionDenied,
        NfnetlinkError::Deadline { .. } => Reason::DumpTimeout,
        _ => Reason::KernelRead,
    };
    Problem::new(reason, dump::chain_of(error))
}

/// What the kernel lists, read once for all families.
struct Inventory {
    tables: Vec<Table>,
    chains: Vec<Chain>,
}

fn try_read(context: &Context<'_>, audit: &mut Audit<'_>) -> Result<Attempt, NfnetlinkError> {
    let mut kernel = Nfnetlink::open(context.deadline().moment())?;
    let generation = kernel.generation()?;
    let inventory = Inventory { tables: kernel.tables()?, chains: kernel.chains(None)? };
    table_problems(&inventory.tables, audit);
    let mut attempt = Attempt::default();
    let mut dumps: Vec<_> = [Family::Ip, Family::Ip6]
        .into_iter()
        .filter(|&family| audit.book().covers(family))
        .filter_map(|family| IptablesDump::start(context, &inventory, family))
        .collect();
    // the programs work while this thread reads the kernel: they print only at their end
    for dump in &mut dumps {
        dump.read_kernel(&mut kernel, &inventory, audit)?;
    }
    if dumps.iter().any(|dump| dump.has_ipset) {
        ipset::check_names(context, audit);
    }
    let bases = BaseChains::new(inventory.chains.iter());
    for dump in &mut dumps {
        dump.read_text(audit, &mut attempt);
        dump.read_rest(context, audit, &mut kernel, &bases, &mut attempt)?;
    }
    if context.options.nftables {
        for table in inventory.tables.iter().filter(|table| !is_iptables(table)) {
            if audit.book().covers(table.family) {
                native::read_table(
                    context,
                    audit,
                    &mut kernel,
                    (table, &inventory.chains),
                    &bases,
                    &mut attempt,
                )?;
            }
        }
    }
    attempt.torn |= kernel.generation()? != generation;
    Ok(attempt)
}

fn is_iptables(table: &Table) -> bool {
    check_table(table.family, &table.name, 0, false) != Err(TableFault::NotIptables)
}

/// The iptables tables of one family: the running program and what the kernel holds.
struct IptablesDump {
    family: Family,
    program: &'static str,
    started: Instant,
    running: Option<Result<Running, CommandError>>,
    tables: Vec<KernelTable>,
    /// Whether a rule shows names of ipsets.
    has_ipset: bool,
    /// Remarks of the tool about tables it cannot print.
    remarks: Vec<Vec<u8>>,
    generator: Option<Generator>,
}

impl IptablesDump {
    /// Starts the program of this family, if the kernel has a table it prints.
    fn start(context: &Context<'_>, inventory: &Inventory, family: Family) -> Option<Self> {
        let tables: Vec<_> = inventory
            .tables
            .iter()
            .filter(|table| table.family == family && is_iptables(table))
            .map(|table| KernelTable::new(family, String::from_utf8_lossy(&table.name)))
            .collect();
        let program = if family == Family::Ip6 { "ip6tables-nft-save" } else { "iptables-nft-save" };
        (!tables.is_empty()).then(|| Self {
            family,
            program,
            started: Instant::now(),
            running: Some(dump::start(program, &context.deadline())),
            tables,
            has_ipset: false,
            remarks: Vec::new(),
            generator: None,
        })
    }

    fn read_kernel(
        &mut self,
        kernel: &mut Nfnetlink,
        inventory: &Inventory,
        audit: &mut Audit<'_>,
    ) -> Result<(), NfnetlinkError> {
        for table in &mut self.tables {
            let name = table.name().to_owned();
            let mut uses = Uses::default();
            let of_table = |chain: &&Chain| chain.family == self.family && chain.table == name.as_bytes();
            for chain in inventory.chains.iter().filter(of_table) {
                let mut rules = Vec::new();
                uses.add_chain(chain);
                kernel.for_each_rule(
                    self.family,
                    name.as_bytes(),
                    &chain.name,
                    |handle, userdata, exprs| {
                        self.has_ipset = self.has_ipset || has_ipset(exprs);
                        uses.add_rule(exprs);
                        let standing = match classify(self.family, userdata, exprs) {
                            Shape::Iptables { action } => Ok(action),
                            Shape::Untrusted { reason, .. } => {
                                if !is_text_shown(self.family, userdata, exprs) {
                                    audit.problem(native::unshown_text(chain, rules.len() + 1));
                                }
                                Err(reason)
                            }
                        };
                        rules.push(KernelRule { handle, standing });
                    },
                )?;
                let shape = check_chain(self.family, name.as_bytes(), chain);
                table.add_chain(String::from_utf8_lossy(&chain.name), shape, rules);
            }
            completeness::check(audit, kernel, self.family, &name, uses)?;
        }
        Ok(())
    }

    fn read_text(&mut self, audit: &mut Audit<'_>, attempt: &mut Attempt) {
        let Some(running) = self.running.take() else { return };
        let program = self.program;
        let ended = running.and_then(|running| dump::stream(running, &mut |item| self.take(item, audit)));
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
        attempt.tool(self.generator.take());
        attempt.dumps.push((program, self.started.elapsed()));
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
    fn read_rest(
        &mut self,
        context: &Context<'_>,
        audit: &mut Audit<'_>,
        kernel: &mut Nfnetlink,
        bases: &BaseChains,
        attempt: &mut Attempt,
    ) -> Result<(), NfnetlinkError> {
        self.judge_remarks(audit);
        for table in &self.tables {
            let missing = table.missing();
            audit.table(Backend::IptablesNft, self.family, table.name());
            for (chain, kind, line) in table.declarations() {
                let line = line.as_bytes();
                let entry = Entry { kind, table: table.name(), chain: Some(chain), position: None, line };
                audit.judge(Backend::IptablesNft, self.family, &entry, None);
            }
            missing.into_iter().chain(table.chain_problems()).for_each(|problem| audit.problem(problem));
            native::read_foreign(context, audit, kernel, (self.family, table), bases, attempt)?;
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

/// Tables that are loaded but not in force, or that a process owns.
fn table_problems(tables: &[Table], audit: &mut Audit<'_>) {
    for table in tables {
        let name = String::from_utf8_lossy(&table.name);
        match check_table(table.family, &table.name, table.flags, table.owner.is_some()) {
            Ok(()) | Err(TableFault::NotIptables) => {}
            Err(fault) => audit.problem(Problem::new(
                Reason::TableInactive,
                format!(
                    "table {} {}: {fault}; its rules are printed as if they were in force",
                    table.family,
                    name.escape_default()
                ),
            )),
        }
    }
}
