//! Tables that kernels held, and tables that no iptables writes.

use proptest::prelude::*;

use super::entry::{ERROR, PART_HEAD};
use super::*;
use crate::domain::rules::Kind;
use crate::domain::rules::kernel::Ipsets;
use crate::domain::rules::lines::read_legacy;
use crate::domain::rules::samples::{Legacy, legacy_tables};

/// The lines of a table, or its fault.
fn lines(table: &Table<'_>) -> Result<Vec<String>, Fault> {
    let mut lines = Vec::new();
    let ipsets = Ipsets::new();
    read_legacy(table, &ipsets, |line| lines.push(String::from_utf8_lossy(line.line).into_owned()))?;
    Ok(lines)
}

#[test]
fn what_iptables_wrote_is_written_as_iptables_save_writes_it() {
    let tables = legacy_tables();
    assert_eq!(tables.len(), 3);
    for table in &tables {
        assert_eq!(lines(&table.table()), Ok(table.lines.iter().map(|line| (*line).to_owned()).collect()));
    }
}

#[test]
fn chains_and_positions_are_told() {
    let tables = legacy_tables();
    let mut seen = Vec::new();
    let ipsets = Ipsets::new();
    read_legacy(&tables[1].table(), &ipsets, |line| {
        seen.push((line.kind, String::from_utf8(line.chain.to_vec()).unwrap(), line.position));
    })
    .unwrap();
    let seen: Vec<_> =
        seen.iter().map(|(kind, chain, position)| (*kind, chain.as_str(), *position)).collect();
    assert_eq!(
        seen,
        [
            (Kind::Policy, "INPUT", None),
            (Kind::Rule, "INPUT", Some(1)),
            (Kind::Rule, "INPUT", Some(2)),
            (Kind::Policy, "FORWARD", None),
            (Kind::Policy, "OUTPUT", None),
            (Kind::Chain, "user", None),
            (Kind::Rule, "user", Some(1)),
        ]
    );
}

/// A part with its head.
fn part(name: &[u8], info: &[u8]) -> Vec<u8> {
    let mut part = vec![0; PART_HEAD];
    let size = u16::try_from(PART_HEAD + info.len()).unwrap();
    part[..2].copy_from_slice(&size.to_ne_bytes());
    part[2..2 + name.len()].copy_from_slice(name);
    [part, info.to_vec()].concat()
}

/// A table of `filter` that is built entry by entry.
#[derive(Clone)]
struct Built {
    family: Family,
    entries: Vec<Vec<u8>>,
    /// Which entry begins a hook's chain, and which one is its policy.
    hooks: Vec<(usize, usize, usize)>,
}

impl Built {
    fn new(family: Family) -> Self {
        Self { family, entries: Vec::new(), hooks: Vec::new() }
    }

    fn entry(mut self, head: &[(usize, u8)], matches: &[u8], target: &[u8]) -> Self {
        let layout = Layout::of(self.family);
        let mut bytes = vec![0; layout.size];
        head.iter().for_each(|(at, byte)| bytes[*at] = *byte);
        let to = u16::try_from(layout.size + matches.len()).unwrap();
        let next = to + u16::try_from(target.len()).unwrap();
        bytes[layout.offsets..layout.offsets + 2].copy_from_slice(&to.to_ne_bytes());
        bytes[layout.offsets + 2..layout.offsets + 4].copy_from_slice(&next.to_ne_bytes());
        self.entries.push([&bytes, matches, target].concat());
        self
    }

    fn verdict(self, verdict: i32) -> Self {
        self.entry(&[], &[], &standard_target(verdict))
    }

    fn error(self, name: &[u8], head: &[(usize, u8)]) -> Self {
        let mut field = [0; 32];
        field[..name.len()].copy_from_slice(name);
        self.entry(head, &[], &part(ERROR, &field))
    }

    /// The next entry begins the chain of a hook, so many rules before its policy.
    fn hook(mut self, hook: usize, rules: usize) -> Self {
        let first = self.entries.len();
        self.hooks.push((hook, first, first + rules));
        self
    }

    fn offset(&self, entry: usize) -> usize {
        self.entries[..entry].iter().map(Vec::len).sum()
    }

    fn build(&self) -> Legacy {
        let mut hooks = Hooks { valid: 0, entry: [u32::MAX; HOOKS], underflow: [u32::MAX; HOOKS] };
        for (hook, first, policy) in &self.hooks {
            hooks.valid |= 1 << hook;
            hooks.entry[*hook] = u32::try_from(self.offset(*first)).unwrap();
            hooks.underflow[*hook] = u32::try_from(self.offset(*policy)).unwrap();
        }
        Legacy {
            family: self.family,
            name: "filter",
            hooks,
            count: u32::try_from(self.entries.len()).unwrap(),
            entries: self.entries.concat(),
            lines: Vec::new(),
        }
    }

    fn lines(&self) -> Result<Vec<String>, Fault> {
        lines(&self.build().table())
    }
}

fn standard_target(verdict: i32) -> Vec<u8> {
    part(b"", &[&verdict.to_ne_bytes()[..], &[0; 4]].concat())
}

const DROP: i32 = -1;
const ACCEPT: i32 = -2;
const RETURN: i32 = -5;

/// The lowest byte of the protocol.
const fn protocol(family: Family) -> usize {
    if matches!(family, Family::Ip6) { 128 } else { 80 }
}

const BOTH: [Family; 2] = [Family::Ip, Family::Ip6];

#[test]
fn a_table_that_iptables_could_have_written_has_no_fault() {
    for family in BOTH {
        let table = Built::new(family)
            .hook(1, 1)
            .verdict(DROP)
            .verdict(ACCEPT)
            .hook(2, 0)
            .verdict(DROP)
            .hook(3, 0)
            .verdict(ACCEPT)
            .error(b"user", &[])
            .verdict(ACCEPT)
            .verdict(RETURN)
            .error(ERROR, &[]);
        let expected = [
            "-P INPUT ACCEPT",
            "-A INPUT -j DROP",
            "-P FORWARD DROP",
            "-P OUTPUT ACCEPT",
            "-N user",
            "-A user -j ACCEPT",
        ];
        assert_eq!(table.lines(), Ok(expected.map(str::to_owned).to_vec()));
    }
}

/// INPUT, FORWARD and OUTPUT that accept.
fn accepting(family: Family) -> Built {
    Built::new(family).hook(1, 0).verdict(ACCEPT).hook(2, 0).verdict(ACCEPT).hook(3, 0).verdict(ACCEPT)
}

#[test]
fn broken_structures_are_faults() {
    for family in BOTH {
        let tcp = [(protocol(family), 6)];
        let end = |built: Built| built.error(ERROR, &[]);
        let name = || b"user".to_vec();
        for (table, expected) in [
            // found: it drops or redirects anything and read as compliant
            (
                end(Built::new(family).hook(1, 1).error(b"user", &tcp).verdict(ACCEPT)),
                Fault::HookIsError("INPUT"),
            ),
            (
                end(Built::new(family).hook(1, 1).error(b"user", &[]).verdict(ACCEPT)),
                Fault::HookIsError("INPUT"),
            ),
            (
                end(accepting(family).error(b"a", &[]).error(b"user", &tcp).verdict(RETURN)),
                Fault::HeadConditional(name()),
            ),
            (
                end(accepting(family).error(b"user", &[]).error(b"b", &[]).verdict(RETURN)),
                Fault::ChainEnd(name()),
            ),
            (end(accepting(family).error(b"user", &[]).verdict(ACCEPT)), Fault::ChainEnd(name())),
            (
                end(accepting(family).error(b"user", &[]).entry(&tcp, &[], &standard_target(RETURN))),
                Fault::ChainEnd(name()),
            ),
            (end(Built::new(family).hook(1, 0).verdict(ACCEPT).verdict(ACCEPT)), Fault::Underflow("INPUT")),
            (end(Built::new(family).hook(1, 2).verdict(DROP).verdict(ACCEPT)), Fault::Underflow("INPUT")),
            (
                end(Built::new(family).hook(1, 0).entry(&tcp, &[], &standard_target(ACCEPT))),
                Fault::PolicyConditional("INPUT"),
            ),
            (end(Built::new(family).hook(1, 0).verdict(RETURN)), Fault::PolicyVerdict("INPUT")),
            (end(Built::new(family).hook(1, 0).verdict(0)), Fault::PolicyVerdict("INPUT")),
            (
                end(Built::new(family).hook(1, 0).hook(2, 0).verdict(ACCEPT)),
                Fault::HooksShared("INPUT", "FORWARD"),
            ),
            (end(Built::new(family).verdict(ACCEPT).hook(1, 0).verdict(ACCEPT)), Fault::Stray(0)),
            (
                end(accepting(family)
                    .error(b"user", &[])
                    .verdict(RETURN)
                    .error(b"user", &[])
                    .verdict(RETURN)),
                Fault::ChainTwice(name()),
            ),
            (
                end(accepting(family).error(b"INPUT", &[]).verdict(RETURN)),
                Fault::ChainTwice(b"INPUT".to_vec()),
            ),
            (accepting(family), Fault::NoEnd),
            (accepting(family).error(b"user", &[]), Fault::ChainEnd(name())),
            (accepting(family).error(b"user", &[]).verdict(RETURN), Fault::NoEnd),
        ] {
            assert_eq!(table.lines(), Err(expected));
        }
    }
}

#[test]
fn jumps_land_on_the_first_entry_of_a_chain() {
    for family in BOTH {
        let jump = |to: i32, flags: u8| {
            let flags_at = if family == Family::Ip6 { 131 } else { 82 };
            Built::new(family)
                .hook(1, 1)
                .entry(&[(flags_at, flags)], &[], &standard_target(to))
                .verdict(ACCEPT)
                .error(b"user", &[])
                .verdict(DROP)
                .verdict(RETURN)
                .error(ERROR, &[])
        };
        let goto = if family == Family::Ip6 { 4 } else { 2 };
        let table = jump(0, 0);
        let offset = |entry: usize| i32::try_from(table.offset(entry)).unwrap();
        let rule = |to: i32, flags: u8| jump(to, flags).lines().map(|lines| lines[1].clone());
        assert_eq!(rule(offset(3), 0).unwrap(), "-A INPUT -j user");
        assert_eq!(rule(offset(3), goto).unwrap(), "-A INPUT -g user");
        assert_eq!(rule(offset(1), 0).unwrap(), "-A INPUT");
        assert_eq!(rule(offset(0), 0).unwrap(), "-A INPUT -j INPUT");
        for to in [offset(2), offset(4), offset(5), offset(5) + 1, i32::MAX] {
            let fault =
                Fault::Jump { chain: b"INPUT".to_vec(), position: 1, to: usize::try_from(to).unwrap() };
            assert_eq!(rule(to, 0), Err(fault.clone()));
            assert_eq!(rule(to, goto), Err(fault));
        }
        // a flag that says nothing here is not left out
        for to in [offset(1), DROP] {
            let written = rule(to, goto).unwrap();
            assert!(written.starts_with("-A INPUT --raw-head 00"), "{written}");
        }
        assert_eq!(rule(-3, 0).unwrap(), "-A INPUT --raw-verdict -3");
        assert_eq!(rule(-4, 0).unwrap(), "-A INPUT -j QUEUE");
    }
}

#[test]
fn names_that_are_no_words_are_digits() {
    let named = part(b"a\n", &[1, 2]);
    let table = Built::new(Family::Ip)
        .hook(1, 1)
        .entry(&[], &named, &named)
        .verdict(ACCEPT)
        .error(b"LOG", &[])
        .verdict(RETURN)
        .error(ERROR, &[]);
    let expected = [
        "-P INPUT ACCEPT",
        "-A INPUT --raw-match 610a 0:0102 --raw-target 610a 0:0102",
        "-N --raw-chain 4c4f47",
    ];
    assert_eq!(table.lines(), Ok(expected.map(str::to_owned).to_vec()));
}

#[test]
fn counts_and_hooks_are_compared() {
    let built = accepting(Family::Ip).error(ERROR, &[]).build();
    let table = built.table();
    assert_eq!(lines(&Table { count: 5, ..table }), Err(Fault::Count { found: 4, said: 5 }));
    let valid = table.hooks.valid;
    let hooks = |change: fn(&mut Hooks)| {
        let mut hooks = table.hooks;
        change(&mut hooks);
        lines(&Table { hooks, ..table })
    };
    assert_eq!(valid, 0b01110);
    assert_eq!(hooks(|hooks| hooks.valid |= 1), Err(Fault::HookNowhere(0)));
    assert_eq!(hooks(|hooks| hooks.valid |= 1 << 7), Err(Fault::HookNowhere(7)));
    assert_eq!(hooks(|hooks| hooks.entry[2] += 8), Err(Fault::Underflow("INPUT")));
    assert_eq!(hooks(|hooks| hooks.underflow[3] += 8), Err(Fault::Underflow("OUTPUT")));
    // a hook that is not valid has no chain, whatever stands in its place
    assert!(hooks(|hooks| hooks.entry[0] = 0).is_ok());
    assert_eq!(hooks(|hooks| hooks.valid &= !2), Err(Fault::Stray(0)));
}

#[test]
fn entries_of_another_format_are_faults() {
    for table in legacy_tables() {
        let whole = table.table();
        for length in 0..whole.entries.len() {
            let entries = &whole.entries[..length];
            assert!(lines(&Table { entries, ..whole }).is_err(), "{length}");
        }
        let offsets = Layout::of(table.family).offsets;
        for (at, value) in [(offsets, 0), (offsets, 0xffff), (offsets + 2, 0), (offsets + 2, 0xffff)] {
            let mut entries = table.entries.clone();
            entries[at..at + 2].copy_from_slice(&u16::to_ne_bytes(value));
            assert_eq!(
                lines(&Table { entries: &entries, ..whole }),
                Err(Fault::Malformed(0)),
                "{at} {value}"
            );
            assert_eq!(stable(table.family, &entries, |_| ()), Err(Fault::Malformed(0)), "{at} {value}");
        }
    }
}

/// Every byte that is no state.
fn kept(family: Family, entries: &[u8]) -> Vec<u8> {
    let mut kept = Vec::new();
    stable(family, entries, |bytes| kept.extend_from_slice(bytes)).unwrap();
    kept
}

#[test]
fn counters_scratch_and_what_matches_remember_are_state() {
    let limit = part(b"limit", &[1; 40]);
    for (family, state) in [(Family::Ip, 4 + 4 + 16), (Family::Ip6, 4 + 4 + 16), (Family::Arp, 4 + 16)] {
        let plain = Built::new(family).verdict(ACCEPT).verdict(DROP);
        let entries = plain.build().entries;
        assert_eq!(kept(family, &entries).len(), entries.len() - 2 * state);
        let entries = Built::new(family).entry(&[], &limit, &standard_target(DROP)).build().entries;
        let remembered = if family == Family::Arp { 0 } else { 32 };
        assert_eq!(kept(family, &entries).len(), entries.len() - state - remembered);
    }
    let table = &legacy_tables()[0];
    let mut counted = table.entries.clone();
    counted[96..112].fill(7);
    counted[92..96].fill(8);
    counted[84..88].fill(9);
    assert_eq!(kept(table.family, &counted), kept(table.family, &table.entries));
    assert_eq!(lines(&Table { entries: &counted, ..table.table() }), lines(&table.table()));
    counted[0] = 1;
    assert_ne!(kept(table.family, &counted), kept(table.family, &table.entries));
}

#[test]
fn bytes_that_nothing_reads_are_not_written() {
    let table = &legacy_tables()[1];
    let standard = Layout::of(table.family).size + PART_HEAD;
    let mut entries = table.entries.clone();
    // behind `comefrom`, behind the empty name of the standard target, behind its verdict
    for range in [148..152, standard - 20..standard - 10, standard + 4..standard + 8] {
        entries[range].fill(0x55);
    }
    assert_eq!(lines(&Table { entries: &entries, ..table.table() }), lines(&table.table()));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 1024, ..ProptestConfig::default() })]

    #[test]
    fn a_changed_byte_of_a_head_changes_the_lines(
        which in 0..2usize,
        entry in any::<prop::sample::Index>(),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let tables = legacy_tables();
        let table = &tables[which];
        let layout = Layout::of(table.family);
        let mut starts = vec![0];
        while let Some(entry) = Entry::split(layout, &table.entries[*starts.last().unwrap()..]) {
            starts.push(starts.last().unwrap() + entry.bytes.len());
        }
        starts.pop();
        let mut entries = table.entries.clone();
        let at = entry.get(&starts) + at.index(layout.head);
        prop_assume!(entries[at] != byte);
        entries[at] = byte;
        prop_assert_ne!(lines(&Table { entries: &entries, ..table.table() }), lines(&table.table()));
    }

    #[test]
    fn any_bytes_are_safe(which in 0..3usize, at in any::<prop::sample::Index>(), bytes in prop::collection::vec(any::<u8>(), 1..9)) {
        let table = &legacy_tables()[which];
        let mut entries = table.entries.clone();
        let at = at.index(entries.len() - bytes.len());
        entries[at..at + bytes.len()].copy_from_slice(&bytes);
        let _ = lines(&Table { entries: &entries, ..table.table() });
        let _ = stable(table.family, &entries, |_| ());
    }
}
