//! Reports to show: one of each verdict, and one that wants to do harm.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use iptables_monitor::domain::changes::author::{Ancestor, Author, PodHint};
use iptables_monitor::domain::changes::judged::Judged;
use iptables_monitor::domain::changes::{ChangeSet, Provenance, RuleChange, What};
use iptables_monitor::domain::judging::blocked::Blocked;
use iptables_monitor::domain::judging::report::{Evidence, Report, TableSummary, Violation};
use iptables_monitor::domain::rules::{Backend, Family, Kind, Problem, Reason};
use iptables_monitor::domain::verdict::Verdict;
use iptables_monitor::telemetry::live::{Live, Watching};

pub(super) fn empty() -> Report {
    Report {
        checked_at: SystemTime::now() - Duration::from_secs(42),
        node: "node-7".into(),
        evidence: Evidence::Kernel,
        tables: Vec::new(),
        violations: Vec::new(),
        violation_count: 0,
        violations_hash: "0".repeat(64),
        ruleset_hash: "0".repeat(64),
        problems: Vec::new(),
        blocked: None,
    }
}

fn table(backend: Backend, family: Family, name: &str, rules: u64, unexpected: u64) -> TableSummary {
    TableSummary { backend, family, table: name.into(), rules, unexpected, not_judged: 0, set_elements: 0 }
}

fn tables(unexpected: [u64; 2]) -> Vec<TableSummary> {
    let [ip, ip6] = unexpected;
    let firewalld = table(Backend::Nftables, Family::Inet, "firewalld", 33, 0);
    vec![
        table(Backend::IptablesNft, Family::Ip, "filter", 412, ip),
        table(Backend::IptablesNft, Family::Ip, "mangle", 6, 0),
        table(Backend::IptablesNft, Family::Ip, "nat", 1_192, 0),
        table(Backend::IptablesNft, Family::Ip6, "filter", 88, ip6),
        TableSummary { not_judged: 2, set_elements: 4_000, ..firewalld },
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
        provenance: None,
    }
}

pub(super) fn bad() -> Report {
    let native = Violation {
        backend: Backend::Nftables,
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
    let first_seen = SystemTime::now() - Duration::from_secs(95);
    let ssh = Violation {
        provenance: Some(Provenance { first_seen, is_older: false, authors: vec![admin()] }),
        ..ssh
    };
    let policy = Violation {
        kind: Kind::Policy,
        position: None,
        ..violation("FORWARD", 1, "-P FORWARD DROP", "^-P FORWARD DROP$")
    };
    let mixed = "iptables-nft holds 1692 rules and iptables-legacy 4: packets pass both";
    Report {
        tables: tables([2, 1]),
        violations: vec![native, ssh, policy],
        violation_count: 3,
        problems: vec![Problem::new(Reason::MixedBackends, mixed)],
        blocked: Some(Blocked {
            counter: Some(503),
            count: 3,
            since: Some(SystemTime::now() - Duration::from_secs(86_400)),
            read_at: Some(SystemTime::now()),
            last_at: None,
            error: None,
        }),
        ..empty()
    }
}

pub(super) fn unknown() -> Report {
    let miscounted = "the kernel counts 9 uses of the chains of table ip nat and handed over 8:\na rule too large for one \
                      netlink message, and all behind it in its chain, are shown by no tool; find it and split it";
    Report {
        problems: vec![
            Problem::new(Reason::CountMismatch, miscounted),
            Problem::new(Reason::UnreadTables, "ebtables-legacy tables are loaded, and nothing reads them"),
        ],
        ..good()
    }
}

pub(super) fn admin() -> Arc<Author> {
    let parent = |pid, name: &str| Ancestor { pid, name: name.into(), command_line: None };
    Arc::new(Author {
        pid: 40_871,
        name: "ip6tables".into(),
        executable: Some("/usr/sbin/xtables-nft-multi".into()),
        command_line: Some("ip6tables -I INPUT -s fd00::/8 -p tcp --dport 22 -j ACCEPT".into()),
        parents: vec![parent(40_112, "bash"), parent(40_098, "sshd"), parent(1, "systemd")],
        container: None,
        pod: None,
    })
}

fn proxy() -> Arc<Author> {
    Arc::new(Author {
        pid: 2_210,
        name: "kube-proxy".into(),
        executable: Some("/usr/local/bin/kube-proxy".into()),
        command_line: None,
        parents: Vec::new(),
        container: Some("cri-containerd-0123456789ab".into()),
        pod: Some(PodHint {
            uid: "u-1".into(),
            name: Some(("kube-system".into(), "kube-proxy-x7k2p".into())),
        }),
    })
}

fn hostile_author(breakout: &str) -> Arc<Author> {
    let parent = Ancestor { pid: 0, name: format!("\u{202e}{breakout}"), command_line: None };
    Arc::new(Author {
        pid: u32::MAX,
        name: format!("\x1b[2J{breakout}"),
        executable: Some(format!("/{breakout}/{}", "x/".repeat(2_000))),
        command_line: Some(format!("{breakout}\0{}", "y".repeat(4_096))),
        parents: vec![parent; 40],
        container: Some(breakout.into()),
        pod: Some(PodHint { uid: breakout.into(), name: Some((breakout.into(), "z".repeat(5_000))) }),
    })
}

fn change(what: What, chain: &str, line: &str, is_allowed: bool, author: Option<Arc<Author>>) -> RuleChange {
    RuleChange {
        what,
        backend: Backend::IptablesNft,
        family: Family::Ip,
        table: "nat".into(),
        chain: Some(chain.into()),
        kind: Kind::Rule,
        position: Some(1),
        line: line.into(),
        judged: if is_allowed { Judged::Allowed } else { Judged::Unexpected },
        authors: author.into_iter().collect(),
    }
}

fn set(age: u64, before: Verdict, after: Verdict, changes: Vec<RuleChange>) -> Arc<ChangeSet> {
    let at = SystemTime::now() - Duration::from_secs(age);
    Arc::new(ChangeSet { at, before: Some(before), after, changes, untold: 0 })
}

pub(super) fn watching(is_on: bool) -> Watching {
    let detail = if is_on { "" } else { "CAP_NET_ADMIN is missing: the kernel tells of no changes" };
    Watching { is_on, interval: Duration::from_secs(300), detail: detail.into() }
}

/// Nothing has changed yet, and changes are not seen at once.
pub(super) fn quiet() -> Live {
    Live::new(watching(false), [])
}

/// kube-proxy at work, and a person in between.
pub(super) fn busy() -> Live {
    let churn = || {
        let changes = (0..18).map(|number| {
            let what = if number % 3 == 0 { What::Removed } else { What::Added };
            change(what, &format!("KUBE-SVC-{number}"), "-A KUBE-SVC -j KUBE-SEP", true, Some(proxy()))
        });
        changes.collect()
    };
    let ssh = "-A INPUT -s fd00::/8 -p tcp -m tcp --dport 22 -j ACCEPT";
    let ssh = RuleChange {
        family: Family::Ip6,
        table: "filter".into(),
        ..change(What::Added, "INPUT", ssh, false, Some(admin()))
    };
    let old = change(What::Removed, "PREROUTING", "-A PREROUTING -p tcp --dport 80 -j REDIRECT", false, None);
    Live::new(
        watching(true),
        [
            set(4_000, Verdict::Violations, Verdict::Compliant, vec![old]),
            set(140, Verdict::Compliant, Verdict::Compliant, churn()),
            set(120, Verdict::Compliant, Verdict::Compliant, churn()),
            set(95, Verdict::Compliant, Verdict::Violations, vec![ssh]),
            set(20, Verdict::Violations, Verdict::Violations, churn()),
        ],
    )
}

/// Markup, escapes, endless words and too much of everything.
pub(super) fn hostile() -> Report {
    let script = "<script>document.title='ran'</script>";
    let breakout = format!("\">{script}</pre></style></title><img src=x onerror=\"document.title='ran'\">");
    let mut violations = vec![
        violation(&breakout, 1, &breakout, &breakout),
        Violation {
            line: b"-A INPUT -m comment --comment \"\x1b[2J\xe2\x80\xae\nCOMPLIANT \xff\" -j DROP".to_vec(),
            provenance: None,
            ..violation(&"C".repeat(255), u32::MAX, "", "")
        },
        violation("X", 4, &"x".repeat(20_000), &"y".repeat(20_000)),
    ];
    let reject = "-p tcp -j REJECT --reject-with icmp-port-unreachable";
    let first_seen = SystemTime::UNIX_EPOCH;
    let authors = (0..5).map(|_| hostile_author(&breakout)).collect();
    violations[1].provenance = Some(Provenance { first_seen, is_older: true, authors });
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
        tables,
        violations,
        violation_count: 99_001,
        problems: Reason::ALL.iter().map(|reason| Problem::new(*reason, detail.clone())).collect(),
        ..empty()
    }
}

/// Changes that want to do harm, and too many of them.
pub(super) fn hostile_live() -> Live {
    let breakout = "\"></code></li></ol><script>document.title='ran'</script>".to_owned();
    let endless = format!("{breakout}\x1b[2J\u{202e}{}", "w".repeat(20_000));
    let many = (0..150).map(|number| {
        let author = (number % 10 == 0).then(|| hostile_author(&breakout));
        change(What::Moved, &breakout, &endless, number > 90, author)
    });
    let many = ChangeSet {
        at: SystemTime::now() - Duration::from_secs(10),
        before: None,
        after: Verdict::Unknown,
        changes: many.collect(),
        untold: u64::MAX,
    };
    let watching = Watching { detail: format!("{endless}\n{breakout}"), ..watching(false) };
    Live::new(watching, [Arc::new(many)])
}
