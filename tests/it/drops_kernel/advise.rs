//! The advised rules are run as they are printed, log what is dropped, and can be undone without a trace; and the index
//! of rules names the very rule that logged a packet.

use std::time::{Duration, Instant};

use iptables_monitor::domain::drops::advise::{self, Survey};
use iptables_monitor::domain::drops::batch::Batch;
use iptables_monitor::domain::drops::rules::{By, Facts, Hook, RuleIndex, RuleMatch, Verdict, Via};
use iptables_monitor::domain::rules::saved::iptables_save::{self, Mode, Parser};
use iptables_monitor::domain::rules::saved::nft_json;
use iptables_monitor::domain::rules::{Backend, Entry, Family};
use iptables_monitor::host::logs::kmsg::{Kmsg, Start};
use iptables_monitor::host::netlink::nflog::{Nflog, NflogOptions};

use crate::support::packets::{kernel_log, send};
use crate::support::{Netns, wait_until};

const LIMIT: Duration = Duration::from_secs(20);

/// Hands every line of the namespace's tables to `visit`, as the real tools print them.
fn each_line(netns: &Netns, visit: &mut impl FnMut(Backend, Family, &Entry<'_>)) {
    for (backend, family, program) in [
        (Backend::IptablesNft, Family::Ip, "iptables-nft-save"),
        (Backend::IptablesNft, Family::Ip6, "ip6tables-nft-save"),
        (Backend::IptablesLegacy, Family::Ip, "iptables-legacy-save"),
    ] {
        let dump = netns.sh(program);
        let mut parser = Parser::new(Mode::Live);
        let mut sink = |item: iptables_save::Item<'_>| {
            if let iptables_save::Item::Entry(entry) = item {
                visit(backend, family, &entry);
            }
        };
        parser.push(dump.as_bytes(), &mut sink);
        parser.finish(&mut sink);
    }
    let json = netns.sh("nft -j list ruleset");
    nft_json::parse(json.as_bytes(), &mut |item| match item {
        nft_json::Item::Line(line) if !line.has_xt && line.family == Family::Inet => {
            let (table, chain) = (line.table.as_str(), line.chain.as_deref());
            let entry = Entry { kind: line.kind, table, chain, position: line.position, line: &line.line };
            visit(Backend::Nftables, line.family, &entry);
        }
        _ => {}
    })
    .expect("JSON of nft");
}

fn index(netns: &Netns) -> RuleIndex {
    let mut builder = RuleIndex::builder();
    each_line(netns, &mut |backend, family, entry| builder.line(backend, family, entry));
    builder.build()
}

fn advice(netns: &Netns, via: Via) -> String {
    let mut survey = Survey::default();
    each_line(netns, &mut |backend, family, entry| survey.line(backend, family, entry));
    advise::render(&survey, via)
}

/// All rules, without what counts.
fn rules(netns: &Netns) -> String {
    netns
        .sh("iptables-nft-save; ip6tables-nft-save; iptables-legacy-save; nft -s list ruleset")
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| line.split(" [").next().expect("split gives one at least").to_owned() + "\n")
        .collect()
}

/// A firewall of many kinds that drops UDP to ports 1 to 8.
fn firewall() -> Netns {
    let netns = Netns::new();
    netns.sh("iptables-nft -P FORWARD DROP
         iptables-nft -N FW
         iptables-nft -N KUBE-FIREWALL
         iptables-nft -N cali-fw
         iptables-nft -A INPUT -m comment --comment 'of kubelet; reboot' -j KUBE-FIREWALL
         iptables-nft -A INPUT -i lo -p udp -j FW
         iptables-nft -A KUBE-FIREWALL -p udp -m udp --dport 1 -m comment --comment 'no \"x\"' -j DROP
         iptables-nft -A FW -p udp -m udp --dport 2 -j DROP
         iptables-nft -A FW ! -s 192.0.2.0/24 -p udp -m multiport --dports 3,7:8 -j REJECT
         iptables-nft -A FW -p udp -m udp --dport 99 -m limit --limit 1/min -j DROP
         iptables-nft -A cali-fw -j DROP
         iptables-nft -t mangle -A PREROUTING -p udp -m udp --dport 4 -m conntrack --ctstate NEW -j DROP
         ip6tables-nft -A INPUT -p udp -m udp --dport 2 -j DROP
         iptables-legacy -A INPUT -p udp -m udp --dport 5 -j DROP
         nft add table inet t
         nft add set inet t ports '{ type inet_service; elements = { 6, 60 }; }'
         nft add chain inet t in '{ type filter hook input priority 10; }'
         nft add rule inet t in iifname '\"lo\"' udp dport @ports counter drop
         nft add rule inet t in meta l4proto udp th dport '{ 9, 11-12 }' reject
         nft add chain inet t post '{ type filter hook prerouting priority -10; policy drop; }'
         nft add rule inet t post ct state new,established,related,untracked accept");
    netns
}

/// Runs the advised commands; returns those that undo them.
fn follow(netns: &Netns, advice: &str) -> Vec<String> {
    // as a person would who pastes the whole text
    netns.sh(advice);
    advice.lines().filter_map(|line| line.strip_prefix("# undo: ").map(str::to_owned)).collect()
}

fn drop_packets(netns: &Netns) {
    (1..=9).for_each(|port| send(netns, &format!("127.0.0.1:{port}"), b"x"));
    send(netns, "[::1]:2", b"x");
}

#[test]
fn advised_log_rules_log_what_is_dropped_and_can_be_undone() {
    let _log = kernel_log();
    let netns = firewall();
    let before = rules(&netns);
    let text = advice(&netns, Via::Log);
    let undo = follow(&netns, &text);
    assert_eq!(undo.len(), 10, "{text}");
    let index = index(&netns);
    let mut kmsg = Kmsg::open(Start::End).expect("a kernel log");
    drop_packets(&netns);
    let mut found = Vec::new();
    let mut batch = Batch::default();
    // KUBE-FIREWALL's, FW's two (one of them with three ports), legacy's, mangle's, IPv6's, and two of inet t
    wait_until("every packet is in the log", LIMIT, || {
        kmsg.read(&mut batch, Instant::now() + Duration::from_millis(100)).expect("readable");
        for (line, _) in batch.lines() {
            let text = String::from_utf8_lossy(line);
            let Some((prefix, rest)) =
                text.split_once("IN=lo ").filter(|(_, rest)| rest.contains("PROTO=UDP"))
            else {
                continue;
            };
            let port = rest.split(" DPT=").nth(1).and_then(|rest| rest.split(' ').next()).expect("a port");
            let is_v6 = rest.contains("SRC=0000:");
            let family = Some(if is_v6 { Family::Ip6 } else { Family::Ip });
            let facts = Facts { family, in_dev: Some(b"lo"), ..Facts::new(Via::Log, prefix.as_bytes()) };
            match index.find(&facts) {
                RuleMatch::One(rule) => {
                    let after = rule.after.clone().expect("known");
                    found.push((
                        port.to_owned(),
                        rule.chain.clone(),
                        after.verdict.as_str(),
                        after.is_certain,
                    ));
                }
                other => panic!("{other:?} of {text}"),
            }
        }
        found.len() >= 10
    });
    found.sort();
    found.dedup();
    let expected = [
        ("1", "INPUT", "jump", true),
        ("2", "FW", "drop", true),
        ("2", "INPUT", "drop", true),
        ("3", "FW", "reject", true),
        ("4", "PREROUTING", "drop", true),
        ("5", "INPUT", "drop", true),
        ("6", "in", "drop", true),
        ("7", "FW", "reject", true),
        ("8", "FW", "reject", true),
        ("9", "in", "reject", true),
    ];
    let shown: Vec<_> = found.iter().map(|(a, b, c, d)| (a.as_str(), b.as_str(), *c, *d)).collect();
    assert_eq!(shown, expected, "{text}");
    netns.sh(&undo.join("\n"));
    assert_eq!(rules(&netns), before);
}

#[test]
fn advised_nflog_rules_log_what_is_dropped_and_can_be_undone() {
    let netns = firewall();
    let before = rules(&netns);
    let text = advice(&netns, Via::Nflog(7));
    let undo = follow(&netns, &text);
    let index = index(&netns);
    let mut nflog = netns.within(|| Nflog::open(&[7], NflogOptions::default())).expect("a free group");
    drop_packets(&netns);
    let mut found = Vec::new();
    wait_until("every packet has come", LIMIT, || {
        nflog
            .read(Instant::now() + Duration::from_millis(100), &mut |packet| {
                let hook = packet.family.and_then(|family| Hook::from_number(family, packet.hook));
                let facts = Facts { family: packet.family, hook, ..Facts::new(Via::Nflog(7), packet.prefix) };
                match index.find(&facts) {
                    RuleMatch::One(rule) => {
                        found.push((rule.table.clone(), rule.chain.clone(), rule.after.clone()))
                    }
                    other => panic!("{other:?} of {packet:?}"),
                }
            })
            .expect("readable");
        found.len() >= 10
    });
    let of = |table: &str, chain: &str| {
        let place = |entry: &&(String, String, _)| entry.0 == table && entry.1 == chain;
        found.iter().filter(place).count()
    };
    let counts = [of("filter", "INPUT"), of("filter", "FW"), of("mangle", "PREROUTING"), of("t", "in")];
    assert_eq!(counts, [3, 4, 1, 2], "{found:?}\n{text}");
    assert!(
        found.iter().all(|(_, _, after)| after.as_ref().is_some_and(|after| after.by != By::End)),
        "{found:?}"
    );
    let is_jump =
        |verdict: &Verdict| matches!(verdict, Verdict::Elsewhere(chain) if chain == "KUBE-FIREWALL");
    assert!(found.iter().any(|(_, _, after)| after.as_ref().is_some_and(|after| is_jump(&after.verdict))));
    netns.sh(&undo.join("\n"));
    assert_eq!(rules(&netns), before);
}

#[test]
fn what_was_advised_is_not_advised_again() {
    let netns = firewall();
    follow(&netns, &advice(&netns, Via::Log));
    let again = advice(&netns, Via::Log);
    let commands: Vec<_> = again.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).collect();
    // what is logged before a jump is not seen behind it
    assert!(
        matches!(commands[..], [command] if command.contains(" -I INPUT 2 -p udp -m udp --dport 1 ")),
        "{again}"
    );
}

#[test]
fn named_objects_are_left_out_or_named() {
    let netns = Netns::new();
    netns.sh("nft add table inet t
         nft add counter inet t c
         nft add quota inet t q '{ over 10 mbytes }'
         nft add limit inet t l '{ rate over 5/second }'
         nft add map inet t counters '{ type inet_service : counter; }'
         nft add map inet t verdicts '{ type inet_service : verdict; elements = { 5 : drop }; }'
         nft add chain inet t in '{ type filter hook input priority 10; }'
         nft add rule inet t in udp dport 1 counter name c drop comment '\"its own\"'
         nft add rule inet t in udp dport 2 quota name q drop
         nft add rule inet t in udp dport 3 limit name l drop
         nft add rule inet t in counter name udp dport map @counters drop
         nft add rule inet t in udp dport vmap @verdicts
         nft add rule inet t in udp dport vmap '{ 6 : drop, 7 : accept }'
         nft add rule inet t in udp dport 8 counter name c log prefix '\"mine \"' drop
         nft add rule inet t in udp dport 9 counter drop
         nft add rule inet t in udp dport 10 notrack drop");
    let before = rules(&netns);
    let text = advice(&netns, Via::Nflog(7));
    let undo = follow(&netns, &text);
    assert_eq!(undo.len(), 2, "{text}");
    let logs = netns.sh("nft list chain inet t in");
    for port in [1, 9] {
        let logged = format!("udp dport {port} limit rate 5/minute burst 10 packets log prefix");
        assert_eq!(logs.matches(&logged).count(), 1, "{logs}");
    }
    for rule in [2, 3, 4, 5, 6, 9] {
        let named = text.lines().find(|line| line.contains(&format!("chain in: before rule {rule},")));
        assert!(named.is_some_and(|line| line.contains("is to be made by hand")), "rule {rule}: {text}");
    }
    assert!(text.contains("before rule 7, which drops: that is logged already"), "{text}");
    netns.sh(&undo.join("\n"));
    assert_eq!(rules(&netns), before);
}
