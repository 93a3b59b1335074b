use proptest::prelude::*;

use super::*;

fn iptables_rule(text: &str) -> Statement {
    Statement::parse(Backend::IptablesNft, format!("-A X {text}").as_bytes()).expect("a rule")
}

fn native_rule(text: &str) -> Statement {
    Statement::parse(Backend::Nftables, format!("inet t c {text}").as_bytes()).expect("a rule")
}

fn log(via: Via, prefix: &str) -> Option<Log> {
    Some(Log { via, prefix: prefix.into() })
}

#[test]
fn finds_what_iptables_rules_log() {
    for (text, expected) in [
        (r#"-p tcp -j LOG --log-prefix "drop: " --log-level 4"#, log(Via::Log, "drop: ")),
        ("-j LOG", log(Via::Log, "")),
        ("-j LOG --log-prefix -j", log(Via::Log, "-j")),
        ("-j NFLOG --nflog-prefix a --nflog-group 5 --nflog-size 128", log(Via::Nflog(5), "a")),
        ("-j NFLOG", log(Via::Nflog(0), "")),
        ("-j DROP", None),
        ("-m comment --comment LOG -j DROP", None),
        ("-m comment --comment \"-j LOG\" -j DROP", None),
        ("-p tcp", None),
    ] {
        assert_eq!(iptables_rule(text).log, expected, "{text}");
    }
}

#[test]
fn finds_what_native_rules_log() {
    for (text, expected) in [
        (r#"tcp dport 22 log prefix "drop: " drop"#, log(Via::Log, "drop: ")),
        ("log", log(Via::Log, "")),
        (r#"log prefix "a" group 5 snaplen 64 queue-threshold 2 counter drop"#, log(Via::Nflog(5), "a")),
        ("log level debug flags tcp sequence flags all drop", log(Via::Log, "")),
        ("log flags skuid group 0", log(Via::Nflog(0), "")),
        (r#"drop comment "log prefix""#, None),
        ("jump log", None),
    ] {
        assert_eq!(native_rule(text).log, expected, "{text}");
    }
}

#[test]
fn knows_what_becomes_of_a_packet() {
    let to = |chain: &str| Effect::Decides(Verdict::Elsewhere(chain.into()));
    for (text, expected) in [
        ("-j DROP", Effect::Decides(Verdict::Drop)),
        ("-p tcp -j REJECT --reject-with tcp-reset", Effect::Decides(Verdict::Reject)),
        ("-j KUBE-FIREWALL", to("KUBE-FIREWALL")),
        ("-g X", to("X")),
        ("-j MARK --set-xmark 0x1/0x1", Effect::None),
        ("-j LOG", Effect::None),
        ("-j MASQUERADE", Effect::MayDecide),
        ("-p tcp", Effect::None),
    ] {
        assert_eq!(iptables_rule(text).effect, expected, "{text}");
    }
    for (text, expected) in [
        (r#"tcp dport 22 counter drop comment "x""#, Effect::Decides(Verdict::Drop)),
        (r#"tcp dport 22 counter name "c" counter drop"#, Effect::Decides(Verdict::Drop)),
        (r#"log prefix "x" counter name "c" drop"#, Effect::Decides(Verdict::Drop)),
        (r#"counter name "c""#, Effect::None),
        ("reject with tcp reset", Effect::Decides(Verdict::Reject)),
        ("log drop", Effect::Decides(Verdict::Drop)),
        ("log limit rate 1/second burst 5 packets drop", Effect::MayDecide),
        ("jump log", to("log")),
        ("counter", Effect::None),
        ("continue", Effect::None),
        ("meta mark set 5", Effect::None),
        ("tcp dport vmap { 22 : drop }", Effect::MayDecide),
        (r#"json({"x":1})"#, Effect::MayDecide),
        ("masquerade", Effect::MayDecide),
    ] {
        assert_eq!(native_rule(text).effect, expected, "{text}");
    }
}

#[test]
fn tells_which_rule_covers_another() {
    for (first, later, expected) in [
        ("-p tcp -m limit --limit 5/min -j LOG", "-p tcp -j DROP", true),
        ("-p tcp -j LOG", "-j DROP", true),
        ("-s 10.0.0.0/8 -p tcp -m tcp --dport 22 -j LOG", "-p tcp -m tcp --dport 22 -j DROP", true),
        ("-p tcp -j LOG", "-p tcp -m comment --comment x -j DROP", true),
        ("-p tcp -j LOG", "-p udp -j DROP", false),
        ("! -i lo -j LOG", "-i lo -j DROP", false),
        ("! -i lo -j LOG", "! -i lo -j DROP", true),
        ("-p tcp -j LOG", "-p tcp -m limit --limit 5/min -j DROP", false),
        ("-m mark --mark 1 -m connmark --mark 2 -j LOG", "-m mark --mark 2 -j DROP", false),
        ("-p tcp -m tcp ! --dport 22 -j LOG", "-p tcp -m tcp --dport 22 -j DROP", false),
    ] {
        assert_eq!(iptables_rule(first).is_covered_by(&iptables_rule(later)), expected, "{first} / {later}");
    }
    for (first, later, expected) in [
        (
            r#"tcp dport 22 limit rate 5/minute burst 5 packets log prefix "x""#,
            "tcp dport 22 counter drop",
            true,
        ),
        ("tcp dport 22 log", "drop", true),
        ("tcp dport 22 log", r#"tcp dport 22 counter name "c" drop"#, true),
        ("tcp dport 22 log", "tcp dport 23 drop", false),
        ("limit rate over 10 kbytes/second log", "drop", true),
        ("tcp dport 22 log", "tcp dport 22 limit rate 1/second burst 5 packets drop", false),
        (r#"iifname "a" log"#, r#"iifname a drop"#, false),
    ] {
        assert_eq!(native_rule(first).is_covered_by(&native_rule(later)), expected, "{first} / {later}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn no_line_is_too_odd(words in proptest::collection::vec(
        "(-A|-j|-m|!|-s|log|prefix|flags|limit|rate|over|burst|reject|with|counter|drop|\"|\\\\|comment|a|[0-9]/s)", 0..12,
    )) {
        let line = words.join(" ");
        let _ = Statement::parse(Backend::Nftables, line.as_bytes());
        let _ = Statement::parse(Backend::Iptables, line.as_bytes());
    }
}
