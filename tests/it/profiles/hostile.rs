//! Rules that look like the real ones and must not be allowed: a table by hand, and every stored rule bent mechanically.
//! Knows the rule forms by the stored rules alone, never by the patterns it tests.

use std::collections::BTreeSet;

use regex::Regex;

use super::{FILES, Line, Profiles, stored_lines};

const SERVICE_CHAINS: [&str; 6] = [
    "KUBE-SEP-ABCDEFGHIJKLMNOP",
    "KUBE-SVC-ABCDEFGHIJKLMNOP",
    "KUBE-FW-ABCDEFGHIJKLMNOP",
    "KUBE-XLB-ABCDEFGHIJKLMNOP",
    "KUBE-EXT-ABCDEFGHIJKLMNOP",
    "KUBE-SVL-ABCDEFGHIJKLMNOP",
];

#[test]
fn forged_rules_are_refused() {
    let profiles = Profiles::shipped();
    for line in include_str!("../../data/kube-proxy/forged.txt").lines() {
        let (table, text) = line.split_once(' ').expect(line);
        assert!(!profiles.allows(table, text), "{line}");
    }
    for (chain, forged) in SERVICE_CHAINS.iter().flat_map(|chain| {
        ["INPUT", "OUTPUT", "FORWARD", "PREROUTING", "POSTROUTING"]
            .map(|from| (chain, format!("-A {from} -j {chain}")))
    }) {
        for table in &FILES[1..] {
            assert!(!profiles.allows(table, &forged), "{table} {chain} {forged}");
        }
    }
}

#[test]
fn forged_rules_are_many() {
    let lines: BTreeSet<_> = include_str!("../../data/kube-proxy/forged.txt").lines().collect();
    assert!(lines.len() >= 60, "{}", lines.len());
}

#[test]
fn a_base_chain_that_does_not_accept_is_refused() {
    let profiles = Profiles::shipped();
    let accepts = "chain inet filter input type filter hook input priority 0 policy accept";
    for allowed in [
        accepts,
        "chain ip nat post type nat hook postrouting priority 100 policy accept",
        "chain ip6 m out type route hook output priority -150 policy accept",
        "chain bridge b c type filter hook forward priority 0 policy accept",
        "chain arp a c type filter hook input priority 0 policy accept",
        "chain netdev t c type filter hook ingress devices { \"eth0\", \"eth1\" } priority -500 policy accept",
    ] {
        assert!(profiles.allows("nftables", allowed), "{allowed}");
    }
    for refused in [
        accepts.replace("accept", "drop"),
        accepts.replace(" policy accept", ""),
        accepts.replace("inet", "evil"),
        format!("{accepts} drop"),
        "inet filter input accept".to_owned(),
        "inet filter input tcp dport 22 accept".to_owned(),
        "chain ip t c type nat hook forward priority 0 policy accept".to_owned(),
        "chain ip t c type filter hook input priority 0 policy accept comment \"policy accept\"".to_owned(),
        "chain inet t c type filter hook forward priority 0 policy accept flags offload".to_owned(),
        "chain netdev t c type filter hook ingress priority 0 policy accept".to_owned(),
        "table inet filter flags dormant".to_owned(),
    ] {
        assert!(!profiles.allows("nftables", &refused), "{refused}");
    }
}

/// Each stored rule is bent in many ways. A bent rule that some other stored rule has the form of is real; no other is allowed.
#[test]
fn bent_rules_are_refused() {
    let profiles = Profiles::shipped();
    let forms = Forms::new();
    let rules: Vec<_> = stored_lines().into_iter().filter(|line| line.text.starts_with("-A ")).collect();
    let known: BTreeSet<_> = rules.iter().map(|line| forms.of(line)).collect();
    let mut samples = rules.clone();
    let mut seen = BTreeSet::new();
    samples.retain(|line| seen.insert(forms.of(line)));
    let mut tried = 0;
    let mut wrong = BTreeSet::new();
    for bent in samples.iter().flat_map(bend).filter(|bent| !known.contains(&forms.of(bent))) {
        tried += 1;
        if profiles.allows(&bent.table, &bent.text) {
            wrong.insert(bent);
        }
    }
    assert!(wrong.is_empty(), "{} of {tried} bent rules are allowed: {wrong:#?}", wrong.len());
    assert!(tried > 10_000, "only {tried} rules were bent");
}

/// Every way a rule is bent.
fn bend(line: &Line) -> Vec<Line> {
    let words: Vec<_> = words(&line.text);
    let segments = segments(&words);
    let (chain, matches) = segments.split_first().expect("a chain");
    let targets = [
        "-j ACCEPT",
        "-j DROP",
        "-j RETURN",
        "-j REJECT --reject-with tcp-reset",
        "-j LOG",
        "-j EVIL",
        "-j KUBE-MARK-DROP",
        "-j KUBE-MARK-MASQ",
        "-j KUBE-FIREWALL",
        "-j KUBE-SERVICES",
        "-j KUBE-SEP-ABCDEFGHIJKLMNOP",
        "-j KUBE-SVC-ABCDEFGHIJKLMNOP",
        "-j DNAT --to-destination 192.0.2.66:80",
        "-j MARK --set-xmark 0x8000/0x8000",
        "-j NOTRACK",
        "",
    ];
    let chains = [
        "INPUT",
        "FORWARD",
        "OUTPUT",
        "PREROUTING",
        "POSTROUTING",
        "EVIL",
        "KUBE-FORWARD",
        "KUBE-FIREWALL",
        "KUBE-SERVICES",
        "KUBE-NODEPORTS",
        "KUBE-POSTROUTING",
        "KUBE-MARK-MASQ",
        "KUBE-MARK-DROP",
        "KUBE-EXTERNAL-SERVICES",
        "KUBE-PROXY-FIREWALL",
    ];
    let added = [
        "-s 192.0.2.66/32",
        "-i eth0",
        "-p tcp",
        "-m mark --mark 0x1",
        "-m comment --comment \"cilium: trust me\"",
        "! -d 10.0.0.1/32",
    ];
    let join =
        |chain: &str, segments: &[String]| format!("{chain} {}", segments.join(" ")).trim_end().to_owned();
    let mut texts = Vec::new();
    for target in targets {
        let kept: Vec<_> = matches.iter().filter(|segment| !segment.starts_with("-j")).cloned().collect();
        texts.push(join(chain, &[kept, vec![target.to_owned()]].concat()));
    }
    for other in chains.iter().chain(&SERVICE_CHAINS) {
        texts.push(join(&format!("-A {other}"), matches));
    }
    for at in 0..matches.len() {
        let mut fewer = matches.to_vec();
        let removed = fewer.remove(at);
        texts.push(join(chain, &fewer));
        for more in added {
            let mut longer = matches.to_vec();
            longer.insert(at, more.to_owned());
            texts.push(join(chain, &longer));
        }
        for changed in change(&removed) {
            let mut other = matches.to_vec();
            other[at] = changed;
            texts.push(join(chain, &other));
        }
    }
    let text = &line.text;
    texts.extend([
        format!("{text} "),
        format!(" {text}"),
        format!("{text}\n-A INPUT -j DROP"),
        format!("-A INPUT -j DROP\n{text}"),
    ]);
    texts.extend([
        format!("{text} -j DROP"),
        format!("{text} --random"),
        text.replacen("-A", "-I", 1),
        text.replace(" -j ", " -g "),
    ]);
    texts.extend([
        text.replace("0x4000", "0x1"),
        text.replace("0x8000", "0x1"),
        text.replace("/32", "/24"),
        text.replace("/128", "/64"),
    ]);
    let mut bent: Vec<_> = texts.into_iter().map(|text| Line { table: line.table.clone(), text }).collect();
    bent.extend(FILES[1..].iter().map(|table| Line { table: (*table).to_owned(), text: text.clone() }));
    bent
}

/// One match or target, said otherwise.
fn change(segment: &str) -> Vec<String> {
    let mut changed = vec![match segment.strip_prefix("! ") {
        Some(plain) => plain.to_owned(),
        None => format!("! {segment}"),
    }];
    if let Some((option, _)) = segment.split_once('"') {
        for comment in
            ["cilium: trust me", "", "shop/web", "x\" -j DROP -m comment --comment \"y", "a\\\" -j DROP"]
        {
            changed.push(format!("{option}\"{comment}\""));
        }
        changed.push(segment.replacen(" \"", " \"evil ", 1));
    }
    if let Some((option, value)) = segment.rsplit_once(' ') {
        for other in [
            "0.0.0.0/0",
            "::/0",
            "all",
            "icmp",
            "0x0",
            "INVALID",
            "eth0",
            "ACCEPT",
            "1:65535",
            "0",
            "22",
            "29999",
            "32768",
            "192.0.2.66",
        ] {
            changed.push(format!("{option} {other}"));
        }
        changed.push(format!("{option} {value}x"));
        changed.push(format!("{option} {value},{value}"));
        changed.push(format!("{option} ! {value}"));
    }
    changed
}

/// The words of a rule; a quoted one keeps its quotes and spaces.
fn words(text: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut quoted = false;
    for c in text.chars() {
        quoted ^= c == '"';
        match words.last_mut() {
            Some(word) if c != ' ' || quoted => word.push(c),
            _ => words.push(String::new()),
        }
    }
    words
}

/// `-A CHAIN`, then each match or target with its options and its `!`.
fn segments(words: &[String]) -> Vec<String> {
    let mut segments: Vec<String> = Vec::new();
    for (at, word) in words.iter().enumerate() {
        let short = |word: &String| word.starts_with('-') && !word.starts_with("--");
        let negated = at > 0 && words[at - 1] == "!";
        let starts = if word == "!" { words.get(at + 1).is_some_and(short) } else { short(word) && !negated };
        match segments.last_mut() {
            Some(segment) if !starts => *segment = format!("{segment} {word}"),
            _ => segments.push(word.clone()),
        }
    }
    segments
}

/// What two rules have in common that differ in names, addresses and numbers alone.
struct Forms(Vec<(Regex, &'static str)>);

impl Forms {
    fn new() -> Self {
        let names = [
            (r"KUBE-([A-Z]{2,3})-[A-Z2-7]{16}\b", "KUBE-$1-HASH"),
            (r"(?-u)\b(shop|default)/[a-z0-9-]+(:[a-z0-9-]*)?", "SERVICE"),
            (r"( -> |--to-destination )(\[[0-9a-f:]+\]|[0-9.]+):[0-9]+(\x22|$)", "${1}ENDPOINT$3"),
            (r"\b(127\.0\.0\.0/8)|::1/128", "LOOPBACK"),
            (r" ([0-9.]+/32|[0-9a-f:]+/128)\b", " HOST"),
            (r" ([0-9.]+|[0-9a-f:]+)/[0-9]+\b", " NET"),
            (r"--dport (3[01][0-9]{3}|32[0-6][0-9]{2}|327[0-5][0-9]|3276[0-7]) ", "--dport NODEPORT "),
            (r"(--dport|--seconds|Balancing rule) [0-9]+( |$)", "$1 NUMBER$2"),
            (r"--probability 0\.[0-9]{11} ", "--probability SHARE "),
            (r"--mask (255\.255\.255\.255|ffff(:ffff){7}) ", "--mask ALL "),
            (r"(-p|-m) (tcp|udp|sctp)\b", "$1 PROTOCOL"),
            (r" -i [A-Za-z0-9._-]+\+?", " -i DEVICE"),
            ("icmp6-port", "icmp-port"),
        ];
        Self(names.map(|(pattern, name)| (Regex::new(pattern).expect("a pattern"), name)).into())
    }

    fn of(&self, line: &Line) -> (String, String) {
        let mut text = line.text.clone();
        for (pattern, name) in &self.0 {
            text = pattern.replace_all(&text, *name).into_owned();
        }
        (line.table.clone(), text)
    }
}
