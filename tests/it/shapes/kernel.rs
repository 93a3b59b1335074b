//! Rules in a namespace: read, saved and restored.
//! Judges nothing; panics when the tools of the set-up fail.

use std::time::{Duration, Instant};

use iptables_monitor::domain::rules::Family;
use iptables_monitor::domain::rules::kernel::{Shape, classify};
use iptables_monitor::host::netlink::nfnetlink::Nfnetlink;

use super::wire::{Expr, Writer, attribute, decode};
use crate::support::{Netns, lossy};

/// A rule as the kernel keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    pub table: Vec<u8>,
    pub chain: Vec<u8>,
    pub userdata: Option<Vec<u8>>,
    pub expressions: Vec<u8>,
}

impl Kept {
    pub fn shape(&self, family: Family) -> Shape {
        classify(family, self.userdata.as_deref(), &self.expressions)
    }
}

pub fn connect() -> Nfnetlink {
    Nfnetlink::open(Instant::now() + Duration::from_secs(60)).expect("nf_tables over netlink")
}

/// Every rule of a family, chain by chain, within the calling thread's namespace.
pub fn read_here(family: Family) -> Vec<Kept> {
    let mut netlink = connect();
    let mut kept = Vec::new();
    for chain in netlink.chains(Some(family)).expect("the chains") {
        netlink
            .for_each_rule(family, &chain.table, &chain.name, |_, userdata, expressions| {
                kept.push(Kept {
                    table: chain.table.clone(),
                    chain: chain.name.clone(),
                    userdata: userdata.map(<[u8]>::to_vec),
                    expressions: expressions.to_vec(),
                });
            })
            .expect("the rules");
    }
    kept
}

pub fn read(netns: &Netns, family: Family) -> Vec<Kept> {
    netns.within(|| read_here(family))
}

/// The program of this family, such as `iptables-nft-save`.
pub fn tool(family: Family, what: &str) -> String {
    format!("{}-nft-{what}", if family == Family::Ip { "iptables" } else { "ip6tables" })
}

/// The text of iptables-nft-save, which must succeed.
pub fn save(netns: &Netns, family: Family) -> Vec<u8> {
    let output = netns.feed(&tool(family, "save"), &[], b"");
    assert!(output.status.success(), "{}: {}", output.status, lossy(&output));
    output.stdout
}

/// Whether iptables-nft-restore takes this text; its messages if not.
pub fn restore(netns: &Netns, family: Family, text: &[u8]) -> Result<(), String> {
    let output = netns.feed(&tool(family, "restore"), &["--noflush"], text);
    if output.status.success() { Ok(()) } else { Err(lossy(&output)) }
}

/// What rules of the tests name: the number of each ipset, which is all that a rule holds, is its place here.
const OBJECTS: &str = "
ipset create first hash:ip family $FAMILY timeout 0 counters skbinfo
ipset create second hash:ip,port,ip family $FAMILY timeout 0 counters skbinfo
ipset create list list:set timeout 0 counters skbinfo
ipset create cali40s:FwWFZt5wPdmIYB_Wmq4cNLE hash:net family $FAMILY
for name in a ct_state_invalid_dropped_pkts localhost_nps_accepted_pkts 0123456789012345678901234567890; do
  nfacct add $name
done";

/// A namespace with the ipsets and nfacct objects that rules name.
pub fn namespace(family: Family) -> Netns {
    let netns = Netns::new();
    let set_family = if family == Family::Ip { "inet" } else { "inet6" };
    netns.sh(&format!("FAMILY={set_family}{OBJECTS}"));
    netns
}

/// The `-A` lines of a saved text for one chain.
pub fn lines_of<'a>(text: &'a [u8], chain: &[u8]) -> Vec<&'a [u8]> {
    let start = [b"-A ", chain].concat();
    text.split(|byte| *byte == b'\n')
        .filter(|line| {
            line.strip_prefix(&start[..]).is_some_and(|rest| rest.is_empty() || rest.starts_with(b" "))
        })
        .collect()
}

/// One of many rules of a test; each stands in a chain of its own, so that texts cannot be mixed up.
pub struct Probe {
    pub chain: String,
    pub expressions: Vec<u8>,
    pub line: Vec<u8>,
}

/// The rules whose reloaded text is another rule than the kernel's: `equal` compares kernel and reloaded expressions.
///
/// All go into `table` at once, are saved, and the text is restored in another namespace.
pub fn misprinted(
    family: Family,
    table: &str,
    rules: &[Vec<u8>],
    equal: fn(&[u8], &[u8]) -> bool,
) -> Vec<String> {
    let Some(probes) = printed(family, table, rules) else {
        // Killing the tool is loud: nothing is judged by such a text.
        return match rules {
            [] | [_] => Vec::new(),
            _ => {
                let (left, right) = rules.split_at(rules.len() / 2);
                [misprinted(family, table, left, equal), misprinted(family, table, right, equal)].concat()
            }
        };
    };
    let reloaded = reload(family, table, &probes);
    let mut wrong = Vec::new();
    for (probe, again) in probes.iter().zip(reloaded) {
        let line = String::from_utf8_lossy(&probe.line).into_owned();
        match again {
            Err(message) => wrong.push(format!("{line}\n  does not reload: {message}")),
            Ok(again) if !equal(&probe.expressions, &again) => {
                wrong.push(format!(
                    "{line}\n  kernel   {:x?}\n  reloaded {:x?}",
                    decode(&probe.expressions),
                    decode(&again)
                ));
            }
            Ok(_) => {}
        }
    }
    wrong
}

/// Adds the rules, reads them back and prints them; none if the tool dies of it.
fn printed(family: Family, table: &str, rules: &[Vec<u8>]) -> Option<Vec<Probe>> {
    let netns = namespace(family);
    let mut chains = format!("*{table}\n:user - [0:0]\n:trusted - [0:0]\n");
    for index in 0..rules.len() {
        chains.push_str(&format!(":r{index} - [0:0]\n"));
    }
    chains.push_str("COMMIT\n");
    restore(&netns, family, chains.as_bytes()).expect("chains");
    netns.within(|| {
        let mut writer = Writer::open();
        for (index, rule) in rules.iter().enumerate() {
            let chain = format!("r{index}");
            // One that refers to another (`-m rateest`) may not load without it; then it has no text either.
            let _ = writer.rule(family, table, chain.as_bytes(), rule, None);
        }
    });
    let output = netns.feed(&tool(family, "save"), &["-t", table], b"");
    if !output.status.success() {
        return None;
    }
    let text = output.stdout;
    let mut probes = Vec::new();
    for kept in read(&netns, family) {
        let chain = String::from_utf8(kept.chain).expect("our names");
        let lines = lines_of(&text, chain.as_bytes());
        let line = lines.first().copied().unwrap_or_default().to_vec();
        probes.push(Probe { chain, expressions: kept.expressions, line });
    }
    Some(probes)
}

/// The expressions that each printed line makes in another namespace.
fn reload(family: Family, table: &str, probes: &[Probe]) -> Vec<Result<Vec<u8>, String>> {
    let netns = namespace(family);
    let mut script = format!("*{table}\n:user - [0:0]\n:trusted - [0:0]\n").into_bytes();
    for probe in probes {
        script.extend_from_slice(format!(":{} - [0:0]\n", probe.chain).as_bytes());
    }
    let mut whole = script.clone();
    for probe in probes {
        whole.extend_from_slice(&[&probe.line[..], b"\n"].concat());
    }
    whole.extend_from_slice(b"COMMIT\n");
    let mut messages = std::collections::HashMap::new();
    if restore(&netns, family, &whole).is_err() {
        restore(&netns, family, &[&script[..], b"COMMIT\n"].concat()).expect("chains");
        for probe in probes {
            let single = [format!("*{table}\n").as_bytes(), &probe.line[..], b"\nCOMMIT\n"].concat();
            if let Err(message) = restore(&netns, family, &single) {
                messages.insert(probe.chain.clone(), message);
            }
        }
    }
    let kept = read(&netns, family);
    probes
        .iter()
        .map(|probe| match messages.get(&probe.chain) {
            Some(message) => Err(message.clone()),
            None => kept
                .iter()
                .find(|kept| kept.chain == probe.chain.as_bytes())
                .map(|kept| kept.expressions.clone())
                .ok_or_else(|| "no rule".to_owned()),
        })
        .collect()
}

/// Adds every rule to a chain of its own and returns, as the kernel lists them, those that load and are trusted.
pub fn trusted(family: Family, table: &str, rules: impl Iterator<Item = Vec<u8>>) -> (usize, Vec<Vec<u8>>) {
    let netns = namespace(family);
    restore(
        &netns,
        family,
        format!("*{table}\n:user - [0:0]\n:trusted - [0:0]\n:probe - [0:0]\nCOMMIT\n").as_bytes(),
    )
    .expect("chains");
    let rules: Vec<_> = rules.collect();
    let loaded = netns.within(|| {
        let mut writer = Writer::open();
        rules.iter().filter(|rule| writer.rule(family, table, b"probe", rule, None).is_ok()).count()
    });
    let kept = read(&netns, family);
    assert_eq!(kept.len(), loaded);
    let trusted = kept.into_iter().filter(|rule| matches!(rule.shape(family), Shape::Iptables { .. }));
    (loaded, trusted.map(|rule| rule.expressions).collect())
}

/// The expressions with the two spellings of iptables made one: `gt X` is `X+1` to 65535, `-i +` is nothing.
/// Counters are emptied.
pub fn plain(expressions: &[u8]) -> Vec<Expr> {
    const GREATER: &[u8] = &[0, 0, 0, 4];
    const IIFNAME: &[u8] = &[0, 0, 0, 6];
    const OIFNAME: &[u8] = &[0, 0, 0, 7];
    let rule = decode(expressions);
    let mut plain = Vec::new();
    for (index, expr) in rule.iter().enumerate() {
        let is_name_load = expr.name == b"meta\0"
            && expr
                .attributes
                .iter()
                .any(|(kind, value)| *kind == 2 && [IIFNAME, OIFNAME].contains(&&value[..]));
        let is_compared = rule.get(index + 1).is_some_and(|next| next.name == b"cmp\0");
        if is_name_load && !is_compared {
            continue;
        }
        match &expr.attributes[..] {
            [_, (2, op), (3, value)] if expr.name == b"cmp\0" && op == GREATER && value.len() == 8 => {
                let from = u16::from_be_bytes([value[4], value[5]]).saturating_add(1).to_be_bytes();
                if from == [0xff; 2] {
                    let eq = [(1, &[0, 0, 0, 1][..]), (2, &[0; 4]), (3, &[6, 0, 1, 0, 0xff, 0xff, 0, 0])];
                    plain.push(Expr::new("cmp", &eq));
                    continue;
                }
                let [from, to] = [from, [0xff; 2]].map(|port| attribute(1, &port));
                let eq = [0; 4];
                plain.push(Expr::new("range", &[(1, &[0, 0, 0, 1]), (2, &eq), (3, &from), (4, &to)]));
            }
            _ if expr.name == b"counter\0" => plain.push(Expr::new("counter", &[])),
            _ => plain.push(expr.clone()),
        }
    }
    plain
}

pub fn is_equivalent(kernel: &[u8], reloaded: &[u8]) -> bool {
    plain(kernel) == plain(reloaded)
}

/// A small generator of pseudo-random numbers (xorshift64*), so that every run is the same.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16
    }

    pub fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next()).expect("64 bits") % end.max(1)
    }

    pub fn one_in(&mut self, chances: usize) -> bool {
        self.below(chances) == 0
    }
}
