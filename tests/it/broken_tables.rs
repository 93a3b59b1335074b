//! Legacy tables of structures that no iptables writes, loaded into the kernel: each is a problem of its own, and none is
//! compliant.
//!
//! *Source*: `struct ipt_replace` and `struct ipt_entry` in `include/uapi/linux/netfilter_ipv4/ip_tables.h`, and those of
//! `ip6_tables.h` and `arp_tables.h`.

use iptables_monitor::domain::rules::Family;
use iptables_monitor::host::xtables::Xtables;

use super::support::{AllowlistDir, Checked, Netns};

/// Replaces a table: `LEVEL OPTION POINTER` and, as hexadecimal, the request with room for the pointer to the counters.
const REPLACE: &str = "
import ctypes, socket, struct, sys
level, option, pointer, text = int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.stdin.read()
request = bytearray.fromhex(text)
counters = ctypes.create_string_buffer(1 << 20)
struct.pack_into('Q', request, pointer, ctypes.addressof(counters))
family = socket.AF_INET6 if level == 41 else socket.AF_INET
socket.socket(family, socket.SOCK_RAW, 255).setsockopt(level, option, bytes(request))
";

/// `XT_STANDARD_TARGET` verdicts.
const ACCEPT: i32 = -2;
const DROP: i32 = -1;
const RETURN: i32 = -5;

/// Where things stand in an entry: its length without matches and target, and `target_offset`.
fn entry_of(family: Family) -> (usize, usize) {
    match family {
        Family::Ip => (112, 88),
        Family::Ip6 => (168, 140),
        _ => (192, 164),
    }
}

/// A head of an entry, and whether it has a condition.
fn head(family: Family, is_conditional: bool) -> Vec<u8> {
    let mut head = vec![0; entry_of(family).0];
    match family {
        _ if !is_conditional => {}
        // the protocol 255, which no packet has
        Family::Ip => head[80] = 255,
        // the same, and `IP6T_F_PROTO`
        Family::Ip6 => (head[128], head[131]) = (255, 1),
        // an address of 7 bytes
        _ => (head[16], head[17]) = (7, 255),
    }
    head
}

fn entry(family: Family, is_conditional: bool, target: &[u8]) -> Vec<u8> {
    let (length, offsets) = entry_of(family);
    let mut entry = head(family, is_conditional);
    let next = u16::try_from(length + target.len()).unwrap();
    entry[offsets..offsets + 2].copy_from_slice(&u16::try_from(length).unwrap().to_ne_bytes());
    entry[offsets + 2..offsets + 4].copy_from_slice(&next.to_ne_bytes());
    [entry, target.to_vec()].concat()
}

/// `struct xt_standard_target`
fn standard(verdict: i32) -> Vec<u8> {
    let mut target = vec![0; 40];
    target[..2].copy_from_slice(&40u16.to_ne_bytes());
    target[32..36].copy_from_slice(&verdict.to_ne_bytes());
    target
}

/// `struct xt_error_target`
fn error(name: &str) -> Vec<u8> {
    let mut target = vec![0; 64];
    target[..2].copy_from_slice(&64u16.to_ne_bytes());
    target[2..7].copy_from_slice(b"ERROR");
    target[32..32 + name.len()].copy_from_slice(name.as_bytes());
    target
}

/// A table in the making.
struct Table {
    family: Family,
    name: &'static str,
    valid_hooks: u32,
    entries: Vec<Vec<u8>>,
    /// By hook: its first entry, and the one with its policy.
    hooks: Vec<Option<(usize, usize)>>,
}

impl Table {
    /// A table of the namespace, emptied.
    fn of(netns: &Netns, family: Family, name: &'static str) -> Self {
        let info = netns.within(|| Xtables::open(family).unwrap().info(name).unwrap());
        let hooks = vec![None; if family == Family::Arp { 3 } else { 5 }];
        Self { family, name, valid_hooks: info.valid_hooks, entries: Vec::new(), hooks }
    }

    fn valid(&self) -> Vec<usize> {
        (0..self.hooks.len()).filter(|hook| self.valid_hooks & 1 << hook != 0).collect()
    }

    fn add(&mut self, is_conditional: bool, target: &[u8]) -> usize {
        self.entries.push(entry(self.family, is_conditional, target));
        self.entries.len() - 1
    }

    /// The chain of a hook: these entries, and an accepting policy.
    fn chain(&mut self, hook: usize, rules: &[(bool, Vec<u8>)]) {
        let first = self.entries.len();
        for (is_conditional, target) in rules {
            self.add(*is_conditional, target);
        }
        let policy = self.add(false, &standard(ACCEPT));
        self.hooks[hook] = Some((first, policy));
    }

    /// Empty chains for all hooks that have none.
    fn rest(&mut self) {
        for hook in self.valid() {
            if self.hooks[hook].is_none() {
                self.chain(hook, &[]);
            }
        }
    }

    fn offset(&self, entry: usize) -> u32 {
        let bytes: usize = self.entries[..entry].iter().map(Vec::len).sum();
        u32::try_from(bytes).unwrap()
    }

    /// Makes the rule at this place a jump to that entry.
    fn jump(&mut self, from: usize, to: usize) {
        let verdict = i32::try_from(self.offset(to)).unwrap();
        self.entries[from] = entry(self.family, false, &standard(verdict));
    }

    fn load(&self, netns: &Netns) {
        let hooks = |of: fn((usize, usize)) -> usize| -> Vec<u32> {
            self.hooks.iter().map(|hook| hook.map_or(0, |hook| self.offset(of(hook)))).collect()
        };
        let counters =
            netns.within(|| Xtables::open(self.family).unwrap().info(self.name).unwrap()).num_entries;
        let mut request = self.name.as_bytes().to_vec();
        request.resize(32, 0);
        let count = u32::try_from(self.entries.len()).unwrap();
        let words = [vec![self.valid_hooks, count, self.offset(self.entries.len())]];
        let words =
            words.into_iter().chain([hooks(|(first, _)| first), hooks(|(_, policy)| policy), vec![counters]]);
        words.flatten().for_each(|word| request.extend(word.to_ne_bytes()));
        let pointer = request.len().next_multiple_of(8);
        request.resize(pointer + 8, 0);
        request.extend(self.entries.concat());
        let text: String = request.iter().map(|byte| format!("{byte:02x}")).collect();
        let (level, option) = match self.family {
            Family::Ip => ("0", "64"),
            Family::Ip6 => ("41", "64"),
            _ => ("0", "96"),
        };
        let output =
            netns.feed("python3", &["-c", REPLACE, level, option, &pointer.to_string()], text.as_bytes());
        let text: Vec<_> = self.entries.iter().map(Vec::len).collect();
        assert!(
            output.status.success(),
            "the kernel refuses {} {text:?} {:?}: {output:?}",
            self.family,
            self.hooks
        );
    }
}

fn tool(family: Family) -> &'static str {
    match family {
        Family::Ip => "iptables-legacy",
        Family::Ip6 => "ip6tables-legacy",
        _ => "arptables-legacy",
    }
}

/// Loads what `build` makes of an empty table and checks the node, where every line is allowed.
fn checked(family: Family, table: &'static str, build: impl FnOnce(&mut Table)) -> Checked {
    let netns = Netns::new();
    netns.sh(&format!("{} -t {table} -L", tool(family)));
    let mut made = Table::of(&netns, family, table);
    build(&mut made);
    made.load(&netns);
    let lists = AllowlistDir::new(&[("global", "^-"), ("nftables", ".")]);
    netns.check(&["--input", lists.path(), "--input6", lists.path()])
}

/// That the table is broken, and why.
#[track_caller]
fn expect(checked: &Checked, why: &str) {
    checked.expect("unknown", 3);
    assert_eq!(checked.reasons(), ["BrokenTable"], "{why}: {:#}", checked.json);
    let detail = checked.json["problems"][0]["detail"].as_str().unwrap();
    assert!(detail.contains(why), "{why}: {detail}");
}

#[test]
fn a_table_like_those_of_iptables_is_read() {
    for family in [Family::Ip, Family::Ip6, Family::Arp] {
        let checked = checked(family, "filter", |table| {
            table.rest();
            table.add(false, &error("user"));
            table.add(true, &standard(DROP));
            table.add(false, &standard(RETURN));
            table.add(false, &error("ERROR"));
        });
        checked.expect("compliant", 0);
        assert_eq!(checked.rules(), 1, "{:#}", checked.json);
    }
}

/// Such an entry drops what it matches, or sends it elsewhere, and reads as the head of a chain.
#[test]
fn hooks_that_begin_in_an_error_entry_are_told_in_every_table() {
    let of_ip = ["filter", "nat", "mangle", "raw", "security"];
    for family in [Family::Ip, Family::Ip6, Family::Arp] {
        for table in if family == Family::Arp { &of_ip[..1] } else { &of_ip } {
            let checked = checked(family, table, |table| {
                for hook in table.valid() {
                    table.chain(hook, &[(true, error(&format!("u{hook}"))), (true, standard(DROP))]);
                }
                table.add(false, &error("ERROR"));
            });
            expect(&checked, "begins in an ERROR entry");
        }
    }
}

/// A fault, and what makes a table that has it.
type Case = (&'static str, fn(&mut Table));

const CASES: [Case; 7] = [
    ("is not the last entry of its chain", |table| {
        let hook = table.valid()[0];
        let policy = table.add(false, &standard(ACCEPT));
        table.add(false, &standard(DROP));
        table.hooks[hook] = Some((policy, policy));
        table.rest();
        table.add(false, &error("ERROR"));
    }),
    ("the ERROR entry that begins chain b has conditions", |table| {
        table.chain(table.valid()[0], &[(false, standard(ACCEPT))]);
        table.rest();
        let head = table.add(false, &error("a"));
        table.add(true, &error("b"));
        table.add(false, &standard(RETURN));
        table.add(false, &error("ERROR"));
        table.jump(0, head + 1);
    }),
    ("where no chain begins", |table| {
        table.chain(table.valid()[0], &[(false, standard(ACCEPT))]);
        table.rest();
        let head = table.add(false, &error("a"));
        table.add(true, &standard(DROP));
        table.add(true, &standard(ACCEPT));
        table.add(false, &standard(RETURN));
        table.add(false, &error("ERROR"));
        table.jump(0, head + 2);
    }),
    ("does not end in RETURN", |table| {
        table.rest();
        table.add(false, &error("a"));
        table.add(false, &standard(DROP));
        table.add(false, &error("ERROR"));
    }),
    ("two chains are named a", |table| {
        table.rest();
        for _ in 0..2 {
            table.add(false, &error("a"));
            table.add(false, &standard(RETURN));
        }
        table.add(false, &error("ERROR"));
    }),
    ("belongs to no chain", |table| {
        let hook = table.valid()[0];
        table.add(true, &standard(DROP));
        let policy = table.add(false, &standard(ACCEPT));
        table.hooks[hook] = Some((policy, policy));
        table.rest();
        table.add(false, &error("ERROR"));
    }),
    ("no ERROR entry ends it", |table| table.rest()),
];

#[test]
fn every_other_fault_is_told_by_its_name() {
    for family in [Family::Ip, Family::Ip6, Family::Arp] {
        for (why, build) in CASES {
            expect(&checked(family, "filter", build), why);
        }
    }
}

#[test]
fn what_else_the_node_holds_is_judged_all_the_same() {
    let netns = Netns::new();
    netns.sh("iptables-legacy -L; iptables-legacy -t nat -A OUTPUT -p tcp --dport 80 -j ACCEPT; iptables-nft -A INPUT -j DROP");
    let mut table = Table::of(&netns, Family::Ip, "filter");
    table.rest();
    table.load(&netns);
    let checked = netns.check(&["--profile", "base", "--ipv6", "false"]);
    checked.expect("violations", 1);
    assert_eq!(checked.lines(), ["-A INPUT -j DROP", "-A OUTPUT -p tcp -m tcp --dport 80 -j ACCEPT"]);
    assert!(checked.reasons().contains(&"BrokenTable"), "{:#}", checked.json);
}
