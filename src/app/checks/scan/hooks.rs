//! Reads what is called at netfilter hooks beside rules: BPF programs, and functions that the kernel does not hang there for
//! rules, LSMs or IPVS. Decides nothing: which functions are known is said by `domain::rules::kernel::hooks`.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use super::nft::netlink_problem;
use super::{Context, Hooks};
use crate::domain::judging::audit::{Audit, Rulebook};
use crate::domain::rules::kernel::hooks::{Callback, Callee, HOOKS, hook_name, is_known};
use crate::domain::rules::text::hook::{self, At, Program};
use crate::domain::rules::{Backend, Entry, Family, Kind, Problem, Reason};
use crate::domain::words::error_chain::chain_of;
use crate::host::bpf::{self, NetfilterLink};
use crate::host::netlink::links;
use crate::host::netlink::nfnetlink::{HookList, Nfnetlink, NfnetlinkError};

/// What changes while it is read is read again this often.
const ATTEMPTS: u32 = 3;
/// What stands for the table of their lines.
const TABLE: &str = match Kind::Hook.group() {
    Some(group) => group,
    None => "",
};

/// What was learned of the kernel.
#[derive(Debug, Default)]
pub struct HookReader {
    /// Asking makes it look for a module each time.
    is_unlisted: bool,
}

/// One callback and where it is called.
#[derive(Debug)]
struct Found {
    family: Family,
    hook: u32,
    device: Option<Vec<u8>>,
    callback: Callback,
}

/// Which programs these are, by number; none where the kernel does not let us ask.
type Programs = BTreeMap<u32, Option<Program>>;

impl HookReader {
    /// Reads and judges what is called at every hook. A kernel without a list is asked for one only at a read of everything.
    pub fn read(&mut self, context: &Context<'_>, book: &Rulebook, audit: &mut Audit<'_>, is_full: bool) {
        if self.is_unlisted && !is_full {
            return unlisted(context, audit, NO_LIST);
        }
        for left in (0..ATTEMPTS).rev() {
            let read = list(context, book).and_then(|found| match found {
                Some(found) => Ok(Some((programs(&found)?, found))),
                None => Ok(None),
            });
            self.is_unlisted = matches!(read, Ok(None));
            match read {
                Ok(None) => return unlisted(context, audit, NO_LIST),
                Ok(Some((_, found))) if are_nameless(&found) => return unlisted(context, audit, NO_NAMES),
                Ok(Some((programs, found))) => return judge(audit, &found, &programs),
                Err(Fault::Netlink(NfnetlinkError::Interrupted { .. }) | Fault::Gone) if left > 0 => {}
                Err(fault) => return audit.problem(fault.problem()),
            }
        }
    }
}

/// Why hooks could not be read.
enum Fault {
    Netlink(NfnetlinkError),
    /// A program that was listed is gone.
    Gone,
    Io(&'static str, io::Error),
}

impl From<NfnetlinkError> for Fault {
    fn from(error: NfnetlinkError) -> Self {
        Self::Netlink(error)
    }
}

impl Fault {
    fn problem(&self) -> Problem {
        match self {
            Self::Netlink(NfnetlinkError::Interrupted { .. }) | Self::Gone => Problem::new(
                Reason::TornRead,
                "what is called at netfilter hooks changed whenever it was read",
            ),
            Self::Netlink(error) => netlink_problem(error),
            Self::Io(attempt, error) => Problem::new(Reason::KernelRead, format!("{attempt}: {error}")),
        }
    }
}

/// What is called at every hook; none if the kernel does not list that.
fn list(context: &Context<'_>, book: &Rulebook) -> Result<Option<Vec<Found>>, Fault> {
    let kernel = match Nfnetlink::open(context.deadline().moment()) {
        Err(NfnetlinkError::Absent) => return Ok(None),
        kernel => kernel?,
    };
    let mut list = List { kernel, found: Vec::new(), is_listed: false };
    for (family, hooks) in HOOKS.into_iter().filter(|(family, _)| book.covers(*family)) {
        if family != Family::Netdev {
            if !list.ask(family, hooks, None)? {
                return Ok(None);
            }
            continue;
        }
        let mut asked = BTreeSet::new();
        loop {
            // a device may come, or get another name, while others are asked about
            let devices = devices()?;
            let fresh: Vec<_> = devices.into_iter().filter(|name| asked.insert(name.clone())).collect();
            if fresh.is_empty() {
                break;
            }
            for device in fresh {
                list.ask(family, hooks, Some(&device))?;
            }
        }
    }
    Ok(Some(list.found))
}

/// What was listed so far.
struct List {
    kernel: Nfnetlink,
    found: Vec<Found>,
    is_listed: bool,
}

impl List {
    /// Asks about these hooks of a family, or of a device; false if the kernel lists none at all.
    fn ask(&mut self, family: Family, hooks: &[&str], device: Option<&[u8]>) -> Result<bool, Fault> {
        for (hook, _) in (0..).zip(hooks) {
            match self.kernel.callbacks(family, hook, device)? {
                HookList::Unlisted if !self.is_listed => return Ok(false),
                HookList::Unlisted => return Err(refused()),
                HookList::NoHook | HookList::NoDevice => {}
                HookList::Listed(callbacks) => {
                    self.found.extend(callbacks.into_iter().map(|callback| Found {
                        family,
                        hook,
                        device: device.map(<[u8]>::to_vec),
                        callback,
                    }))
                }
            }
            self.is_listed = true;
        }
        Ok(true)
    }
}

fn refused() -> Fault {
    let source = io::Error::from(io::ErrorKind::InvalidInput);
    Fault::Io("listing what is called at a netfilter hook, after others were listed", source)
}

fn devices() -> Result<Vec<Vec<u8>>, Fault> {
    let names = links::names().map_err(|error| Fault::Io("listing devices, to read their hooks", error))?;
    Ok(names.into_values().collect())
}

/// Whether the kernel tells no names: it was built without them.
fn are_nameless(found: &[Found]) -> bool {
    let mut functions = found.iter().filter_map(|found| match &found.callback.callee {
        Callee::Function { name, .. } => Some(name.is_none()),
        _ => None,
    });
    functions.next().is_some_and(|is_nameless| is_nameless) && functions.all(|is_nameless| is_nameless)
}

fn programs(found: &[Found]) -> Result<Programs, Fault> {
    let mut programs = Programs::new();
    for found in found {
        let Callee::Bpf(number) = found.callback.callee else { continue };
        let program = match bpf::program(number) {
            Ok(Some(program)) => Some(program),
            Ok(None) => return Err(Fault::Gone),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => None,
            Err(error) => return Err(Fault::Io("asking which BPF program is at a netfilter hook", error)),
        };
        programs.insert(number, program);
    }
    Ok(programs)
}

fn judge(audit: &mut Audit<'_>, found: &[Found], programs: &Programs) {
    let mut known: BTreeMap<Family, BTreeSet<&[u8]>> = BTreeMap::new();
    for Found { family, hook, device, callback } in found {
        if let Callee::Function { name: Some(function), .. } = &callback.callee
            && is_known(function)
        {
            known.entry(*family).or_default().insert(function);
        }
        let program = match callback.callee {
            Callee::Bpf(number) => programs.get(&number).and_then(Option::as_ref),
            _ => None,
        };
        let at = At { family: *family, number: *hook, device: device.as_deref() };
        if let Some(line) = hook::line(at, callback, program) {
            tell(audit, *family, Some(&hook_name(*family, *hook)), &line);
        }
    }
    for (family, functions) in known {
        tell(audit, family, None, &hook::known(family, &functions));
    }
}

fn tell(audit: &mut Audit<'_>, family: Family, hook: Option<&str>, line: &str) {
    let entry = Entry { kind: Kind::Hook, table: TABLE, chain: hook, position: None, line: line.as_bytes() };
    audit.judge(Backend::Netfilter, family, &entry);
}

const NO_LIST: &str = "this kernel does not list what is called at its netfilter hooks (it is older than Linux 5.14, or has no \
                       nfnetlink_hook)";
const NO_NAMES: &str = "this kernel does not name the functions at its netfilter hooks (it has no kallsyms)";

/// Says what is not known where there is no list. BPF programs at hooks are found all the same, but not where they act.
fn unlisted(context: &Context<'_>, audit: &mut Audit<'_>, why: &str) {
    let reason = match context.options.hooks {
        Hooks::Required => Reason::HooksUnread,
        Hooks::Listed | Hooks::Unread => Reason::HooksUnlisted,
    };
    let cure = match reason {
        Reason::HooksUnread => "use another kernel, or leave out --require-hooks",
        _ => "--require-hooks makes that decide",
    };
    match bpf::netfilter_links(context.deadline().moment()) {
        Ok(links) if links.is_empty() => audit.problem(Problem::new(
            reason,
            format!("{why}: no BPF program is there, but a function of a module that drops packets would not be seen; {cure}"),
        )),
        Ok(links) => links.iter().for_each(|link| audit.problem(unplaced(link, why))),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => audit.problem(Problem::new(
            reason,
            format!(
                "{why}: a BPF program or a function of a module that drops packets there would not be seen; with CAP_SYS_ADMIN \
                 BPF programs would be; {cure}"
            ),
        )),
        Err(error) if error.kind() == io::ErrorKind::TimedOut => {
            audit.problem(Problem::new(Reason::DumpTimeout, chain_of(&error)));
        }
        Err(error) => {
            audit.problem(Problem::new(Reason::KernelRead, format!("listing BPF links: {}", chain_of(&error))));
        }
    }
}

fn unplaced(link: &NetfilterLink, why: &str) -> Problem {
    let NetfilterLink { family, hook, priority, program } = link;
    let place = match family {
        Some(family) => format!("{family} {}", hook_name(*family, *hook)),
        None => format!("hook {hook}"),
    };
    let program = match program {
        Some(Program { name, tag }) => {
            let tag = u64::from_be_bytes(*tag);
            format!("the BPF program \"{}\" with tag {tag:016x}", name.escape_ascii())
        }
        None => "a BPF program".to_owned(),
    };
    Problem::new(
        Reason::HooksUnread,
        format!(
            "{program} is at {place} priority {priority}, here or in another network namespace, and may drop or change any packet: \
             {why}, so that nothing says whose it is; detach it (bpftool link), or use a kernel that does"
        ),
    )
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::domain::judging::allowlist::{Allowlist, List as Patterns, PatternFile};
    use crate::domain::judging::audit::{InForce, Ipv6, Outcome, TextBudget, conclude};

    fn found(callee: Callee) -> Found {
        let callback = Callback { priority: -500, callee };
        Found { family: Family::Ip, hook: 1, device: None, callback }
    }

    fn function(name: Option<&str>) -> Found {
        found(Callee::Function { name: name.map(Into::into), module: None })
    }

    fn judged(found: &[Found], programs: &Programs, patterns: &str) -> Outcome {
        let file = PatternFile { list: Patterns::Nftables, origin: "n".into(), text: patterns.into() };
        let ipv4 = InForce { patterns: Arc::new(Allowlist::parse(&[file])), is_missing: false };
        let book = Rulebook { ipv4, ipv6: Ipv6::Unchecked, problems: Vec::new() };
        let budget = TextBudget::new(999);
        let mut audit = Audit::new(&book, 9, &budget);
        judge(&mut audit, found, programs);
        conclude(&book, 9, [&audit.seal()])
    }

    #[test]
    fn a_program_and_an_unknown_function_are_judged_and_known_functions_are_not() {
        let all = [
            function(Some("ipt_do_table")),
            found(Callee::Bpf(7)),
            function(Some("evil")),
            found(Callee::NfTables),
        ];
        let program = Program { name: b"evil".to_vec(), tag: [1; 8] };
        let programs: Programs = [(7, Some(program))].into();
        let outcome = judged(&all, &programs, "");
        let lines: Vec<_> =
            outcome.violations.iter().map(|violation| violation.line.escape_ascii().to_string()).collect();
        assert_eq!(lines, ["hook ip input -500 bpf evil 0101010101010101", "hook ip input -500 evil"]);
        let tables: Vec<_> =
            outcome.tables.iter().map(|table| (table.backend, table.table.as_str(), table.rules)).collect();
        assert_eq!(tables, [(Backend::Netfilter, "hooks", 0)]);
        let allowed = "^hook ip input -500 evil$\n^hook ip input -500 bpf evil 0101010101010101$";
        assert_eq!(judged(&all, &programs, allowed).violation_count, 0);
        let unidentified: Programs = [(7, None)].into();
        assert_eq!(
            judged(&all, &unidentified, allowed).violation_count,
            1,
            "a pattern for a program stands for that one"
        );
        assert_ne!(
            judged(&all, &programs, allowed).ruleset_hash,
            judged(&all[1..], &programs, allowed).ruleset_hash,
            "known functions are told when they change"
        );
    }

    #[test]
    fn a_kernel_without_names_is_told_from_a_function_without_one() {
        assert!(are_nameless(&[function(None), found(Callee::NfTables), function(None)]));
        assert!(!are_nameless(&[function(None), function(Some("x"))]));
        assert!(!are_nameless(&[found(Callee::Bpf(1))]) && !are_nameless(&[]));
    }
}
