//! Namespaces with rules, and what the kernel holds in them.
//! Reads by itself what a legacy table is, so that a fault of the product is not repeated here.

use std::ops::Range;
use std::time::{Duration, Instant};

use iptables_monitor::domain::rules::Family;
use iptables_monitor::host::netlink::nfnetlink::Nfnetlink;
use iptables_monitor::host::xtables::{Info, Xtables, loaded_tables};

use super::state;
use super::tools::Backend;
use crate::support::Netns;

/// What rules of the list name: the number of each ipset, which is all that a rule holds, is its place in [`IPSETS`].
const OBJECTS: &str = "
ipset create first hash:ip family $FAMILY timeout 0 counters skbinfo
ipset create second hash:ip,port,ip family $FAMILY timeout 0 counters skbinfo
ipset create list list:set timeout 0 counters skbinfo
ipset create cali40s:FwWFZt5wPdmIYB_Wmq4cNLE hash:net family $FAMILY
for name in a ct_state_invalid_dropped_pkts localhost_nps_accepted_pkts 0123456789012345678901234567890; do
  nfacct add $name
done";

const ESTIMATOR: &str = "-j RATEEST --rateest-name re1 --rateest-interval 250ms --rateest-ewmalog 500ms";

pub const IPSETS: [&str; 4] = ["first", "second", "list", "cali40s:FwWFZt5wPdmIYB_Wmq4cNLE"];

/// A namespace with the ipsets, nfacct objects and the rate estimator that rules of this backend name.
pub fn namespace(backend: Backend, family: Family) -> Netns {
    let netns = Netns::new();
    let (set_family, tool) = if family == Family::Ip { ("inet", "iptables") } else { ("inet6", "ip6tables") };
    // a target makes the estimator, here one of the other backend, whose rules nobody looks at
    let other = match backend {
        Backend::Nft => "legacy",
        Backend::Legacy => "nft",
    };
    netns.sh(&format!("FAMILY={set_family}{OBJECTS}\n{tool}-{other} -w 60 -t security -A INPUT {ESTIMATOR}"));
    netns
}

/// A rule as the kernel holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    pub table: String,
    pub chain: String,
    /// The expressions, or the entry of a legacy table.
    pub bytes: Vec<u8>,
    /// The same without what is no rule: see [`state`].
    pub rule: Vec<u8>,
    pub userdata: Option<Vec<u8>>,
}

impl Kept {
    pub fn is_in(&self, other: &Self) -> bool {
        (&self.table, &self.chain) == (&other.table, &other.chain)
    }
}

/// Every rule of a family, chain by chain.
pub fn read(netns: &Netns, backend: Backend, family: Family) -> Vec<Kept> {
    netns.within(|| match backend {
        Backend::Nft => nft_rules(family),
        Backend::Legacy => legacy_tables(family).iter().flat_map(|table| table.rules(family)).collect(),
    })
}

fn nft_rules(family: Family) -> Vec<Kept> {
    let mut netlink =
        Nfnetlink::open(Instant::now() + Duration::from_secs(60)).expect("nf_tables over netlink");
    let mut kept = Vec::new();
    for chain in netlink.chains(Some(family)).expect("the chains") {
        netlink
            .for_each_rule(family, &chain.table, &chain.name, |_, userdata, expressions| {
                kept.push(Kept {
                    table: String::from_utf8_lossy(&chain.table).into_owned(),
                    chain: String::from_utf8_lossy(&chain.name).into_owned(),
                    bytes: expressions.to_vec(),
                    rule: state::without(expressions),
                    userdata: userdata.map(<[u8]>::to_vec),
                });
            })
            .expect("the rules");
    }
    kept
}

/// A legacy table of the calling thread's namespace.
#[derive(Debug)]
pub struct Table {
    pub name: String,
    pub info: Info,
    pub entries: Vec<u8>,
}

pub fn legacy_tables(family: Family) -> Vec<Table> {
    let kernel = Xtables::open(family).expect("a raw socket");
    let names = loaded_tables(family).expect("the tables");
    let table = |name: String| {
        let info = kernel.info(&name).expect("an existing table");
        let entries = kernel.entries(&name, &info).expect("an existing table");
        Table { name, info, entries: entries.as_bytes().to_vec() }
    };
    names.into_iter().map(table).collect()
}

/// `struct xt_entry_target`: size, name, revision.
pub const PART_HEAD: usize = 32;
const HOOKS: [&str; 5] = ["PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"];

impl Table {
    fn rules(&self, family: Family) -> Vec<Kept> {
        let ranges = ranges(family, &self.entries);
        let mut rules: Vec<Kept> = Vec::new();
        let mut chain = String::new();
        for range in &ranges {
            let hook = (0..5).find(|hook| {
                self.info.valid_hooks & 1 << hook != 0 && self.info.hook_entry[*hook] as usize == range.start
            });
            if let Some(hook) = hook {
                chain = HOOKS[hook].to_owned();
            }
            let bytes = &self.entries[range.clone()];
            if let Some(name) = error_name(family, bytes) {
                chain = name;
                continue;
            }
            let rule = state::of_entry(family, bytes, |to| {
                let chain = ranges.iter().position(|other| other.end == to).expect("it goes to an entry");
                let name = error_name(family, &self.entries[ranges[chain].clone()]);
                if to == range.end { String::new() } else { name.expect("it goes to a chain") }
            });
            let bytes = bytes.to_vec();
            rules.push(Kept { table: self.name.clone(), chain: chain.clone(), bytes, rule, userdata: None });
        }
        // the policy or RETURN that ends each chain
        let is_last = |at: usize| rules.get(at + 1).is_none_or(|next| !next.is_in(&rules[at]));
        let lasts: Vec<bool> = (0..rules.len()).map(is_last).collect();
        rules.into_iter().zip(lasts).filter(|(_, is_last)| !is_last).map(|(rule, _)| rule).collect()
    }
}

/// Where each entry of a table stands.
pub fn ranges(family: Family, entries: &[u8]) -> Vec<Range<usize>> {
    let [at, ..] = state::offsets(family);
    let mut ranges = Vec::new();
    let mut start = 0;
    while start < entries.len() {
        let next = usize::from(u16::from_ne_bytes([entries[start + at + 2], entries[start + at + 3]]));
        ranges.push(start..start + next);
        start += next;
    }
    ranges
}

/// The name of the chain that begins behind this entry.
fn error_name(family: Family, entry: &[u8]) -> Option<String> {
    let target = &entry[state::target_offset(family, entry)..];
    let name = target[2..].starts_with(b"ERROR\0").then(|| &target[PART_HEAD..])?;
    let length = name.iter().position(|byte| *byte == 0).expect("a name that ends");
    Some(String::from_utf8_lossy(&name[..length]).into_owned())
}
