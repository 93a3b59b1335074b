//! Tables and chains that look like iptables' own, but are not in force where their text says.
//! Rules play no part.

use iptables_monitor::domain::rules::Family;
use iptables_monitor::domain::rules::kernel::{
    Chain, ChainFault, ChainShape, Policy, TableFault, check_chain, check_table,
};

use super::kernel::{connect, restore};
use crate::support::Netns;

fn table_faults(script: &str) -> Vec<(String, Result<(), TableFault>)> {
    let netns = Netns::new();
    netns.sh(script);
    let tables = netns.within(|| connect().tables()).expect("the tables");
    tables
        .iter()
        .map(|table| {
            let check = check_table(table.family, &table.name, table.flags, table.owner.is_some());
            (format!("{} {}", table.family, String::from_utf8_lossy(&table.name)), check)
        })
        .collect()
}

fn chain_shapes(script: &str) -> Vec<(String, ChainShape)> {
    let netns = Netns::new();
    netns.sh(script);
    let chains = netns.within(|| connect().chains(None)).expect("the chains");
    let shape = |chain: &Chain| check_chain(chain.family, &chain.table, chain);
    chains.iter().map(|chain| (String::from_utf8_lossy(&chain.name).into_owned(), shape(chain))).collect()
}

fn check(script: &str, expected: ChainShape) {
    assert_eq!(chain_shapes(script)[0].1, expected, "{script}");
}

#[test]
fn the_tables_of_iptables_are_its_own() {
    for (family, tool) in [(Family::Ip, "iptables-nft"), (Family::Ip6, "ip6tables-nft")] {
        let netns = Netns::new();
        let mut script = String::new();
        for table in ["raw", "mangle", "nat", "filter", "security"] {
            script.push_str(&format!("{tool} -t {table} -N user; {tool} -t {table} -A OUTPUT; "));
        }
        script.push_str(&format!(
            "{tool} -P INPUT DROP; for c in INPUT FORWARD; do {tool} -A $c; {tool} -t security -A $c; done; \
             for c in PREROUTING INPUT POSTROUTING; do {tool} -t nat -A $c; {tool} -t mangle -A $c; done; \
             {tool} -t mangle -A FORWARD; {tool} -t raw -A PREROUTING"
        ));
        netns.sh(&script);
        let (tables, chains) = netns.within(|| {
            let mut netlink = connect();
            (netlink.tables().expect("the tables"), netlink.chains(Some(family)).expect("the chains"))
        });
        assert_eq!(tables.len(), 5);
        for table in tables {
            assert_eq!(check_table(family, &table.name, table.flags, table.owner.is_some()), Ok(()));
        }
        assert_eq!(chains.len(), 2 + 5 + 4 + 3 + 3 + 5, "{chains:?}");
        for chain in chains {
            let expected = match (&chain.table[..], &chain.name[..]) {
                (_, b"user") => ChainShape::User,
                (b"filter", b"INPUT") => ChainShape::Builtin { policy: Policy::Drop },
                _ => ChainShape::Builtin { policy: Policy::Accept },
            };
            assert_eq!(check_chain(family, &chain.table, &chain), expected, "{chain:?}");
        }
    }
}

#[test]
fn a_dormant_table_is_not_in_force() {
    let faults = table_faults("nft 'add table ip filter { flags dormant; }'");
    assert_eq!(faults, [("ip filter".to_owned(), Err(TableFault::Dormant))]);
}

#[test]
fn other_tables_are_not_those_of_iptables() {
    for table in ["inet filter", "ip other", "ip6 kube-proxy", "arp filter", "bridge nat", "netdev filter"] {
        let faults = table_faults(&format!("nft add table {table}"));
        assert_eq!(faults, [(table.to_owned(), Err(TableFault::NotIptables))]);
    }
}

#[test]
fn an_owned_table_goes_with_its_owner() {
    let netns = Netns::new();
    netns.within(|| {
        let mut writer = super::wire::Writer::open();
        writer.owned_table(Family::Ip, "filter").expect("an owned table");
        let tables = connect().tables().expect("the tables");
        assert!(tables[0].owner.is_some());
        let fault = check_table(Family::Ip, &tables[0].name, tables[0].flags, tables[0].owner.is_some());
        assert_eq!(fault, Err(TableFault::Owned));
    });
}

#[test]
fn built_in_names_need_their_hook() {
    let add =
        |table: &str, chain: &str| format!("nft add table ip {table}; nft 'add chain ip {table} {chain}'");
    check(&add("filter", "INPUT"), ChainShape::Foreign(ChainFault::Detached));
    for chain in [
        "INPUT { type filter hook forward priority 0; }",
        "INPUT { type filter hook input priority 1; }",
        "OUTPUT { type route hook output priority 0; }",
        "PREROUTING { type filter hook prerouting priority 0; }",
        "other { type filter hook input priority 0; }",
    ] {
        check(&add("filter", chain), ChainShape::Foreign(ChainFault::ForeignHook));
    }
    let output = |table: &str, kind: &str, priority: &str| {
        add(table, &format!("OUTPUT {{ type {kind} hook output priority {priority}; policy drop; }}"))
    };
    check(&output("mangle", "filter", "-150"), ChainShape::Foreign(ChainFault::ForeignHook));
    check(&output("mangle", "route", "-150"), ChainShape::Builtin { policy: Policy::Drop });
    check(&output("nat", "nat", "-101"), ChainShape::Foreign(ChainFault::ForeignHook));
    check(&output("raw", "filter", "-300"), ChainShape::Builtin { policy: Policy::Drop });
}

#[test]
fn names_that_iptables_cannot_have_are_foreign() {
    let netns = Netns::new();
    restore(&netns, Family::Ip, b"*filter\n:user - [0:0]\nCOMMIT\n").expect("a table");
    let cases: [(&[u8], bool); 13] = [
        (b"KUBE-SERVICES", true),
        (b"abcdefghijklmnopqrstuvwxyz01", true),
        (b"f2b-sshd.1:x/y", true),
        (b"abcdefghijklmnopqrstuvwxyz012", false),
        (b"LOG", false),
        (b"ACCEPT", false),
        (b"standard", false),
        (b"a b", false),
        (b"a\nCOMMIT", false),
        (b"\"x", false),
        (b"-j", false),
        (b"!x", false),
        ("é".as_bytes(), false),
    ];
    netns.within(|| {
        let mut writer = super::wire::Writer::open();
        for (name, _) in cases {
            writer.chain(Family::Ip, "filter", name).expect("the kernel takes any name");
        }
        for chain in connect().chains(Some(Family::Ip)).expect("the chains") {
            let Some((_, is_good)) = cases.iter().find(|(name, _)| *name == chain.name) else { continue };
            let shape = check_chain(Family::Ip, b"filter", &chain);
            assert_eq!(shape == ChainShape::User, *is_good, "{}", String::from_utf8_lossy(&chain.name));
        }
    });
}

/// What iptables itself refuses stays refused here.
#[test]
fn iptables_refuses_the_names_of_targets() {
    let netns = Netns::new();
    for name in [
        "LOG",
        "ACCEPT",
        "MARK",
        "SNAT",
        "NOTRACK",
        "SET",
        "CLUSTERIP",
        "ULOG",
        "LED",
        "standard",
        "-x",
        "!x",
        "a b",
    ] {
        let output = netns.try_sh(&format!("iptables-nft -N -- '{name}' || iptables-nft -N '{name}'"));
        assert!(!output.status.success(), "{name}");
        assert!(!iptables_monitor::domain::rules::kernel::is_chain_name(name.as_bytes()), "{name}");
    }
}

#[test]
fn generations_sets_and_objects_are_listed() {
    let netns = Netns::new();
    netns.within(|| {
        let mut netlink = connect();
        let before = netlink.generation().expect("the generation");
        netns.sh(
            "nft 'add table ip t; add set ip t s { type ipv4_addr; }; add counter ip t c; add chain ip t x;
                  add rule ip t x tcp dport { 22, 80 } accept'",
        );
        assert!(netlink.generation().expect("the generation") > before);
        let sets = netlink.sets(Family::Ip, b"t").expect("the sets");
        let named: Vec<_> = sets.iter().filter(|set| !set.is_anonymous()).map(|set| &set.name[..]).collect();
        assert_eq!((sets.len(), named), (2, vec![&b"s"[..]]));
        assert_eq!(netlink.objects(Family::Ip, b"t").expect("the objects")[0].name, b"c");
        // Many kernels are built without flowtables; the question is answered all the same.
        assert!(netlink.flowtables(Family::Ip, b"t").expect("the flowtables").is_empty());
    });
}

#[test]
fn a_deadline_in_the_past_reads_nothing() {
    use iptables_monitor::host::netlink::nfnetlink::{Nfnetlink, NfnetlinkError};
    let result = Nfnetlink::open(std::time::Instant::now()).expect("a socket").tables();
    assert!(matches!(result, Err(NfnetlinkError::Deadline { .. })), "{result:?}");
}

#[test]
fn without_the_capability_permission_is_denied() {
    use iptables_monitor::host::netlink::nfnetlink::NfnetlinkError;
    let result = Netns::new().within(|| {
        let kept = rustix::thread::CapabilitySets {
            effective: rustix::thread::CapabilitySet::empty(),
            permitted: rustix::thread::CapabilitySet::empty(),
            inheritable: rustix::thread::CapabilitySet::empty(),
        };
        rustix::thread::set_capabilities(None, kept).expect("capabilities can be dropped");
        connect().tables()
    });
    assert!(matches!(result, Err(NfnetlinkError::PermissionDenied { .. })), "{result:?}");
}

/// The counts of a table: what its chains say, and what its rules add up to.
fn uses(netns: &Netns, family: Family) -> (u32, u32) {
    netns.within(|| {
        let chains = connect().chains(Some(family)).expect("the chains");
        let rules = super::kernel::read_here(family);
        let added = rules
            .iter()
            .map(|rule| 1 + iptables_monitor::domain::rules::kernel::jumps(&rule.expressions))
            .sum();
        (chains.iter().map(|chain| chain.uses).sum(), added)
    })
}

#[test]
fn the_uses_of_chains_are_their_rules_and_jumps() {
    let (netns, _) = super::listed::loaded(Family::Ip);
    let (said, added) = uses(&netns, Family::Ip);
    assert_eq!(said, added);
    assert!(said > 400, "{said}");
}

/// The kernel ends a dump without an error at a rule that fills more than a message, and so do all the tools.
#[test]
fn a_rule_too_large_for_a_message_shows_in_the_uses() {
    let netns = Netns::new();
    let large = "-m u32 --u32 0=1 ".repeat(25);
    let text = format!(
        "*filter\n-A INPUT -j ACCEPT\n-A INPUT {large}-j DROP\n-A INPUT -s 1.2.3.4 -j DROP\nCOMMIT\n"
    );
    restore(&netns, Family::Ip, text.as_bytes()).expect("restored");
    assert_eq!(super::kernel::read(&netns, Family::Ip).len(), 1, "the other two are hidden");
    assert_eq!(uses(&netns, Family::Ip), (3, 1));
}
