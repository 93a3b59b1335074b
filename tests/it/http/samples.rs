//! Reports to show: one of each verdict, and one that wants to do harm.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use iptables_monitor::domain::report::{Evidence, Report, TableSummary, Violation};
use iptables_monitor::domain::ruleset::{Backend, Family, Kind, Problem, Reason};

pub(super) fn empty() -> Report {
    Report {
        checked_at: SystemTime::now() - Duration::from_secs(42),
        node: "node-7".into(),
        evidence: Evidence::Kernel,
        tools: BTreeMap::from([("nft".into(), "1.0.6".into()), ("iptables-nft-save".into(), "1.8.9".into())]),
        tables: Vec::new(),
        violations: Vec::new(),
        violation_count: 0,
        violations_hash: "0".repeat(64),
        ruleset_hash: "0".repeat(64),
        problems: Vec::new(),
    }
}

fn table(backend: Backend, family: Family, name: &str, rules: u64, unexpected: u64) -> TableSummary {
    TableSummary { backend, family, table: name.into(), rules, unexpected, set_elements: 0 }
}

fn tables(unexpected: [u64; 2]) -> Vec<TableSummary> {
    let [ip, ip6] = unexpected;
    let firewalld = table(Backend::Nftables, Family::Inet, "firewalld", 33, 0);
    vec![
        table(Backend::IptablesNft, Family::Ip, "filter", 412, ip),
        table(Backend::IptablesNft, Family::Ip, "mangle", 6, 0),
        table(Backend::IptablesNft, Family::Ip, "nat", 1_192, 0),
        table(Backend::IptablesNft, Family::Ip6, "filter", 88, ip6),
        TableSummary { set_elements: 4_000, ..firewalld },
    ]
}

pub(super) fn good() -> Report {
    Report { tables: tables([0, 0]), ..empty() }
}

fn violation(chain: &str, position: u32, line: &str, pattern: &str) -> Violation {
    Violation {
        backend: Backend::IptablesNft,
        family: Family::Ip,
        table: "filter".into(),
        chain: Some(chain.into()),
        position: Some(position),
        kind: Kind::Rule,
        line: line.into(),
        suggested_pattern: Some(pattern.into()),
        printed_as: None,
        provenance: None,
    }
}

pub(super) fn bad() -> Report {
    let misprinted = Violation {
        backend: Backend::Nftables,
        printed_as: Some(b"-A INPUT -j TRUSTED".to_vec()),
        provenance: None,
        ..violation(
            "INPUT",
            3,
            "ip filter INPUT ip daddr set 10.0.0.9 jump TRUSTED",
            r"^ip filter INPUT ip daddr set 10\.0\.0\.9 jump TRUSTED$",
        )
    };
    let ssh = "-A INPUT -s fd00::/8 -p tcp -m tcp --dport 22 -j ACCEPT";
    let ssh = Violation { family: Family::Ip6, ..violation("INPUT", 1, ssh, &format!("^{ssh}$")) };
    let policy = Violation {
        kind: Kind::Policy,
        position: None,
        ..violation("FORWARD", 1, "-P FORWARD DROP", "^-P FORWARD DROP$")
    };
    let mixed = "iptables-nft holds 1692 rules and iptables-legacy 4: packets pass both";
    Report {
        tables: tables([2, 1]),
        violations: vec![misprinted, ssh, policy],
        violation_count: 3,
        problems: vec![Problem::new(Reason::MixedBackends, mixed)],
        ..empty()
    }
}

pub(super) fn unknown() -> Report {
    let incomplete = "`iptables-nft-save` stopped before the COMMIT of table nat: its exit status was 3 and its last \
                      line on stderr was:\nParsing nftables rule failed";
    Report {
        problems: vec![
            Problem::new(Reason::IncompleteDump, incomplete),
            Problem::new(Reason::MissingTool, "`nft` is not installed: native tables cannot be read"),
        ],
        ..good()
    }
}

/// Markup, escapes, endless words and too much of everything.
pub(super) fn hostile() -> Report {
    let script = "<script>document.title='ran'</script>";
    let breakout = format!("\">{script}</pre></style></title><img src=x onerror=\"document.title='ran'\">");
    let mut violations = vec![
        violation(&breakout, 1, &breakout, &breakout),
        Violation {
            line: b"-A INPUT -m comment --comment \"\x1b[2J\xe2\x80\xae\nCOMPLIANT \xff\" -j DROP".to_vec(),
            printed_as: Some(b"</pre><h1>Compliant</h1>".to_vec()),
            provenance: None,
            ..violation(&"C".repeat(255), u32::MAX, "", "")
        },
        violation("X", 4, &"x".repeat(20_000), &"y".repeat(20_000)),
    ];
    let reject = "-p tcp -j REJECT --reject-with icmp-port-unreachable";
    violations.extend((1..200).map(|number| {
        let line = format!("-A KUBE-SERVICES -d 10.0.0.{number}/32 {reject}");
        violation("KUBE-SERVICES", number, &line, &format!("^{line}$"))
    }));
    let mut tables = tables([99_000, 1]);
    tables.push(table(Backend::Nftables, Family::Bridge, &breakout.repeat(2), u64::MAX, u64::MAX));
    tables.extend(
        (0..300).map(|number| table(Backend::Nftables, Family::Inet, &format!("t{number}"), number, 0)),
    );
    let detail = format!("{breakout}\nline two \u{202e}{}", "z".repeat(5_000));
    Report {
        node: format!("node\u{202e}{breakout}"),
        tools: BTreeMap::from([(breakout.clone(), breakout.clone())]),
        tables,
        violations,
        violation_count: 99_001,
        problems: Reason::ALL.iter().map(|reason| Problem::new(*reason, detail.clone())).collect(),
        ..empty()
    }
}
