//! The entries of legacy tables: what iptables-legacy writes is trusted, and no change of a byte that hides something is.
//! The changed bytes go to the check only, not to the kernel.

use iptables_monitor::domain::rules::Family;
use iptables_monitor::domain::rules::kernel::{Hooks, check_entries};
use iptables_monitor::host::xtables::{Info, Xtables};

use super::kernel::namespace;
use super::listed::listed;
use crate::support::{Netns, lossy};

/// The entries of a table, as the kernel holds them.
fn entries(netns: &Netns, family: Family, table: &str) -> (Info, Vec<u8>) {
    netns.within(|| {
        let kernel = Xtables::open(family).expect("a raw socket");
        let info = kernel.info(table).expect(table);
        let bytes = kernel.entries(table, &info).expect(table);
        (info, bytes)
    })
}

/// What is not trusted, as `CHAIN NUMBER: REASON`.
fn misprints(family: Family, info: &Info, bytes: &[u8]) -> Vec<String> {
    let mut found = Vec::new();
    let hooks = Hooks { valid: info.valid_hooks, entry: &info.hook_entry, underflow: &info.underflow };
    let count = check_entries(family, hooks, bytes, |misprint| {
        let chain = String::from_utf8_lossy(&misprint.chain).into_owned();
        found.push(format!("{chain} {}: {}", misprint.position.unwrap_or(0), misprint.reason));
    });
    match count {
        Ok(found) => assert_eq!(found.count, info.num_entries),
        Err(error) => found.push(error.to_string()),
    }
    found
}

fn listed_rules_are_trusted(family: Family) {
    let netns = namespace(family);
    let tool = if family == Family::Ip6 { "ip6tables" } else { "iptables" };
    // iptables-legacy itself prints nothing of these conditions, which never match
    let hidden = ["! -i +", "! -o +", "-p tcp -m tcp ! --dport 0:65535"];
    let mut tried = 0;
    for rule in listed(family).iter().filter(|rule| rule.loads) {
        let script = format!("*{}\n:user - [0:0]\n-A {}\nCOMMIT\n", rule.table, rule.specification);
        let output = netns.feed(&format!("{tool}-legacy-restore"), &[], script.as_bytes());
        // some extensions are there for nf_tables only, such as rateest of a rule that is loaded later
        if !output.status.success() {
            continue;
        }
        tried += 1;
        let (info, bytes) = entries(&netns, family, rule.table);
        let found = misprints(family, &info, &bytes);
        let is_hidden = hidden.iter().any(|hidden| rule.specification.ends_with(hidden));
        assert_eq!(found.is_empty(), !is_hidden, "{}: {found:?}\n{}", rule.specification, lossy(&output));
    }
    assert!(tried > 400, "only {tried} rules of the list load");
}

#[test]
fn listed_ip_rules_of_the_legacy_backend_are_trusted() {
    listed_rules_are_trusted(Family::Ip);
}

#[test]
fn listed_ip6_rules_of_the_legacy_backend_are_trusted() {
    listed_rules_are_trusted(Family::Ip6);
}

/// `filter` with INPUT (a jump and a source), and the user chain TRUSTED.
fn small() -> (Info, Vec<u8>) {
    let netns = Netns::new();
    netns.sh(
        "iptables-legacy -N TRUSTED; iptables-legacy -A TRUSTED -s 10.0.0.9 -j DROP
         iptables-legacy -A TRUSTED -s 10.0.0.0/8 -p tcp -i eth0 -j ACCEPT; iptables-legacy -A INPUT -j TRUSTED",
    );
    entries(&netns, Family::Ip, "filter")
}

/// Offset and length of every entry.
fn offsets(bytes: &[u8]) -> Vec<(usize, usize)> {
    let mut offsets = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let length = usize::from(u16::from_ne_bytes([bytes[at + 90], bytes[at + 91]]));
        offsets.push((at, length));
        at += length;
    }
    offsets
}

const VERDICT: usize = 112 + 32;

fn changed(bytes: &[u8], at: usize, value: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes[at..at + value.len()].copy_from_slice(value);
    bytes
}

#[test]
fn what_the_text_leaves_out_must_be_what_everybody_thinks_it_is() {
    let (info, bytes) = small();
    assert_eq!(misprints(Family::Ip, &info, &bytes), [""; 0]);
    let all = offsets(&bytes);
    // INPUT's jump and policy, FORWARD, OUTPUT, head of TRUSTED, its two rules, its return, the end of the table
    assert_eq!(all.len(), 9);
    let (jump, drop, accept, tail) = (all[0].0, all[5].0, all[6].0, all[7].0);
    let target = i32::from_ne_bytes(bytes[jump + VERDICT..jump + VERDICT + 4].try_into().unwrap());
    assert_eq!(target as usize, drop, "the jump leads to the first rule");
    let drop_all = (-1i32).to_ne_bytes();
    for (what, changed) in [
        ("a last entry that drops", changed(&bytes, tail + VERDICT, &drop_all)),
        ("a last entry with a condition", changed(&bytes, tail, &[10, 0, 0, 1])),
        ("a jump past the first rule", changed(&bytes, jump + VERDICT, &(accept as i32).to_ne_bytes())),
        ("a jump to a built-in chain", changed(&bytes, jump + VERDICT, &0i32.to_ne_bytes())),
        ("another verdict", changed(&bytes, jump + VERDICT, &(-3i32).to_ne_bytes())),
        ("not a fragment, of nothing", changed(&bytes, drop + 83, &[0x20])),
        ("not from an interface, of none", changed(&bytes, drop + 83, &[0x01])),
        ("not of a protocol, of none", changed(&bytes, drop + 83, &[0x40])),
        ("an inverted type of service", changed(&bytes, drop + 83, &[0x04])),
        ("an unknown flag", changed(&bytes, drop + 82, &[0x08])),
        ("an address beyond its mask", changed(&bytes, accept, &[10, 0, 0, 1])),
        ("an interface with a hidden tail", changed(&bytes, accept + 16 + 6, b"x")),
        ("an interface with half a mask", changed(&bytes, accept + 48, &[0])),
    ] {
        assert_ne!(misprints(Family::Ip, &info, &changed), [""; 0], "{what}");
    }
}

#[test]
fn entries_cut_anywhere_are_malformed() {
    let (info, bytes) = small();
    for length in 1..bytes.len() {
        let hooks = Hooks { valid: info.valid_hooks, entry: &info.hook_entry, underflow: &info.underflow };
        let count = check_entries(Family::Ip, hooks, &bytes[..length], |_| {});
        assert_ne!(count.map(|found| found.count), Ok(info.num_entries), "{length}");
    }
}
