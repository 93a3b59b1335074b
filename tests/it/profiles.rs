//! The shipped profiles against rules that the real kube-proxy made, and against forged ones.
//! Reads no live host: every rule is made in a namespace or was captured in one.
#![allow(clippy::indexing_slicing, reason = "a test may fail by panicking")]

mod cluster;
mod hostile;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use iptables_monitor::domain::judging::allowlist::{Allowlist, List, PatternFile};
use regex::bytes::Regex;

use crate::support::{Netns, lossy};
use cluster::{Backend, Cluster};

const FILES: [&str; 7] = ["global", "nat", "mangle", "filter", "raw", "security", "nftables"];

/// What kubelet 1.20 does to one family when it starts, and what newer ones add.
/// *Source*: `syncNetworkUtil` in pkg/kubelet/kubelet_network_linux.go.
const KUBELET: &str = r#"
for family in iptables ip6tables; do
  for table in mangle nat filter; do $family -w -t $table -N KUBE-KUBELET-CANARY; done
  $family -w -t mangle -N KUBE-IPTABLES-HINT
  $family -w -t nat -N KUBE-MARK-DROP
  $family -w -t nat -A KUBE-MARK-DROP -j MARK --or-mark 0x00008000
  $family -w -t filter -N KUBE-FIREWALL
  $family -w -t filter -A KUBE-FIREWALL -m comment --comment "kubernetes firewall for dropping marked packets" -m mark --mark 0x00008000/0x00008000 -j DROP
  if [ $family = iptables ]; then
    $family -w -t filter -A KUBE-FIREWALL -m comment --comment "block incoming localnet connections" --dst 127.0.0.0/8 ! --src 127.0.0.0/8 -m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT -j DROP
  fi
  $family -w -t filter -I OUTPUT -j KUBE-FIREWALL
  $family -w -t filter -I INPUT -j KUBE-FIREWALL
  $family -w -t nat -N KUBE-MARK-MASQ
  $family -w -t nat -N KUBE-POSTROUTING
  $family -w -t nat -A KUBE-MARK-MASQ -j MARK --or-mark 0x00004000
  $family -w -t nat -I POSTROUTING -m comment --comment "kubernetes postrouting rules" -j KUBE-POSTROUTING
  $family -w -t nat -A KUBE-POSTROUTING -m mark ! --mark 0x00004000/0x00004000 -j RETURN
  $family -w -t nat -A KUBE-POSTROUTING -j MARK --xor-mark 0x00004000
  $family -w -t nat -A KUBE-POSTROUTING -m comment --comment "kubernetes service traffic requiring SNAT" -j MASQUERADE --random-fully
done
"#;

/// A rule of a dump: its table and the text that is judged.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Line {
    table: String,
    text: String,
}

/// The lines of an iptables-save dump as `iptables -S` spells them.
fn lines(save: &str) -> Vec<Line> {
    let mut table = None;
    let mut found = Vec::new();
    for line in save.lines() {
        let text = match line.split_at_checked(1) {
            None | Some(("#", _)) => continue,
            Some(("*", name)) => {
                table = Some(name.to_owned());
                continue;
            }
            Some((":", declaration)) => {
                let (chain, rest) = declaration.split_once(' ').expect(line);
                match rest.split_once(' ').expect(line).0 {
                    "-" => format!("-N {chain}"),
                    policy => format!("-P {chain} {policy}"),
                }
            }
            Some(_) if line == "COMMIT" => continue,
            Some(_) => {
                assert!(line.starts_with("-A "), "not the line of a dump: {line}");
                line.to_owned()
            }
        };
        found.push(Line { table: table.clone().expect("a table first"), text });
    }
    found
}

/// The shipped patterns of one profile, by file.
fn patterns(profile: &str) -> BTreeMap<&'static str, Vec<String>> {
    let dir = manifest_dir().join("patterns").join(profile);
    let read = |file| std::fs::read_to_string(dir.join(file)).unwrap_or_default();
    FILES.into_iter().map(|file| (file, read(file).lines().map(str::to_owned).collect())).collect()
}

/// The two profiles together, ready to judge.
struct Profiles(Allowlist);

impl Profiles {
    fn shipped() -> Self {
        let files: Vec<_> = all_patterns()
            .into_iter()
            .map(|(profile, file, pattern)| PatternFile {
                list: List::from_name(file).expect(file),
                origin: profile.to_owned(),
                text: pattern.into_bytes(),
            })
            .collect();
        let allowlist = Allowlist::parse(&files);
        assert!(allowlist.broken().is_empty(), "{:?}", allowlist.broken());
        Self(allowlist)
    }

    /// The lines of these that no pattern allows.
    fn refused<'a>(&self, lines: &'a [Line]) -> Vec<&'a Line> {
        lines.iter().filter(|line| !self.allows(&line.table, &line.text)).collect()
    }

    fn allows(&self, table: &str, text: &str) -> bool {
        match table {
            "nftables" => self.0.allows_native(text.as_bytes()),
            _ => self.0.allows(Some(table), text.as_bytes()),
        }
    }
}

fn manifest_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

/// Every stored dump: those captured from the real programs and those of newer rule forms.
fn stored() -> Vec<(String, String)> {
    let dir = manifest_dir().join("tests/data/kube-proxy");
    let mut found: Vec<_> = std::fs::read_dir(dir)
        .expect("tests/data/kube-proxy")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|end| end == "save"))
        .map(|path| {
            (
                path.file_name().expect("a name").display().to_string(),
                std::fs::read_to_string(&path).expect("text"),
            )
        })
        .collect();
    found.sort();
    found
}

fn stored_lines() -> Vec<Line> {
    let mut all: Vec<_> = stored().iter().flat_map(|(_, save)| lines(save)).collect();
    all.sort();
    all.dedup();
    all
}

/// Checks a dump and keeps it where a developer can copy it into tests/data/kube-proxy.
fn check(profiles: &Profiles, name: &str, save: &str) {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("kube-proxy");
    std::fs::create_dir_all(&dir).expect("a directory");
    std::fs::write(dir.join(format!("{name}.save")), save).expect("a file");
    let lines = lines(save);
    assert!(lines.iter().any(|line| line.text.starts_with("-A KUBE-SEP-")), "{name}: no endpoints\n{save}");
    let refused = profiles.refused(&lines);
    assert!(refused.is_empty(), "{name}: {refused:#?}");
}

fn real_kube_proxy(backend: Backend) {
    let profiles = Profiles::shipped();
    let mut cluster = Cluster::start(backend);
    cluster.sh(KUBELET);
    cluster.fill(&cluster::services());
    cluster.proxy(&["--cluster-cidr=10.244.0.0/16,fd00:244::/64", "--bind-address=192.0.2.10"]);
    let ready = [
        "! -s 10.244.0.0/16 -d ",
        "! -s fd00:244::/64 -d ",
        "-p sctp ",
        "-p udp ",
        "default/plain cluster IP",
        "--physdev-is-in",
        "--rcheck",
        "--dst-type LOCAL -m tcp",
        "KUBE-FW-",
        "KUBE-XLB-",
        "-j KUBE-MARK-DROP",
        "Balancing rule 1 for default/local",
        "has no local endpoints",
        "-s 198.51.100.0/25",
        "-s 203.0.113.11/32",
        "--reject-with icmp-port-unreachable",
        "--reject-with icmp6-port-unreachable",
        "KUBE-PROXY-CANARY",
        "--dst-type LOCAL -j KUBE-NODEPORTS",
        "[fd00:244:1::3]:8080",
        "--mask ffff:ffff",
        "-s ::1/128",
    ];
    let [ip, ip6] = cluster.dumps(&ready, &[]);
    check(&profiles, &format!("{}-ip", backend.name()), &ip);
    check(&profiles, &format!("{}-ip6", backend.name()), &ip6);

    cluster.proxy(&["--masquerade-all", "--nodeport-addresses=192.0.2.0/24,2001:db8::/64"]);
    let ready = [
        "-d 192.0.2.10/32 -m comment --comment \"kubernetes service nodeports",
        "-d 2001:db8::10/128 -m comment",
    ];
    let [ip, ip6] = cluster.dumps(
        &ready,
        &[
            "! -s 10.244.0.0/16",
            "! -s fd00:244::/64",
            "-j KUBE-NODEPORTS -m",
            "--dst-type LOCAL -j KUBE-NODEPORTS",
        ],
    );
    check(&profiles, &format!("{}-masquerade-all-ip", backend.name()), &ip);
    check(&profiles, &format!("{}-masquerade-all-ip6", backend.name()), &ip6);

    cluster.add(&cluster::crowd());
    let [ip, _] = cluster
        .dumps(&["default/crowd:http cluster IP"], &["--comment \"default/many:http\" -j KUBE-MARK-MASQ"]);
    check(&profiles, &format!("{}-crowd-ip", backend.name()), &ip);
}

#[test]
fn every_rule_of_the_real_kube_proxy_through_iptables_nft_is_allowed() {
    real_kube_proxy(Backend::Nft);
}

#[test]
fn every_rule_of_the_real_kube_proxy_through_iptables_legacy_is_allowed() {
    real_kube_proxy(Backend::Legacy);
}

#[test]
fn every_stored_rule_is_allowed() {
    let profiles = Profiles::shipped();
    for (name, save) in stored() {
        let lines = lines(&save);
        let refused = profiles.refused(&lines);
        assert!(refused.is_empty(), "{name}: {refused:#?}");
    }
}

/// The forms of kube-proxies that cannot be run here are at least real rules, printed as the file has them.
#[test]
fn newer_forms_are_printed_as_stored() {
    for (backend, family) in
        ["nft", "legacy"].into_iter().flat_map(|backend| [(backend, "ip"), (backend, "ip6")])
    {
        let netns = Netns::new();
        let path = manifest_dir().join(format!("tests/data/kube-proxy/newer-{family}.save"));
        let text = std::fs::read_to_string(&path).expect("newer forms");
        netns.sh("for name in localhost_nps_accepted_pkts ct_state_invalid_dropped_pkts; do nfacct add $name; done");
        let output = netns.feed(&format!("{family}tables-{backend}-restore"), &[], text.as_bytes());
        assert!(output.status.success(), "{}", lossy(&output));
        let printed = lines(&netns.sh(&format!("{family}tables-{backend}-save")));
        let rules = |lines: Vec<Line>| {
            let mut rules: Vec<_> = lines.into_iter().filter(|line| line.text.starts_with("-A ")).collect();
            rules.sort();
            rules
        };
        assert_eq!(rules(printed), rules(lines(&text)), "{backend} {family}");
    }
}

#[test]
fn every_pattern_is_anchored_plain_and_alone_on_its_line() {
    let odd = Regex::new(r"\.[*+]|\\[^.+\[\]{}]|\(\?|\[\^|^\^?$|\s$|#|\n").expect("a pattern");
    for (profile, file, pattern) in all_patterns() {
        let place = format!("{profile}/{file}: {pattern}");
        assert!(pattern.starts_with('^') && pattern.ends_with('$') && !pattern.ends_with("\\$"), "{place}");
        assert!(!odd.is_match(pattern.as_bytes()), "{place}");
        Regex::new(&pattern).expect(&place);
    }
}

#[test]
fn every_kubernetes_pattern_matches_a_stored_rule() {
    let lines = stored_lines();
    for (profile, file, pattern) in
        all_patterns().into_iter().filter(|(profile, ..)| *profile == "kubernetes")
    {
        let regex = Regex::new(&pattern).expect("a pattern");
        let used = lines
            .iter()
            .any(|line| (file == "global" || line.table == file) && regex.is_match(line.text.as_bytes()));
        assert!(used, "nothing stored needs {profile}/{file}: {pattern}");
    }
}

fn all_patterns() -> Vec<(&'static str, &'static str, String)> {
    let of = |profile: &'static str| {
        patterns(profile).into_iter().flat_map(move |(file, patterns)| {
            patterns.into_iter().map(move |pattern| (profile, file, pattern))
        })
    };
    ["base", "kubernetes"].into_iter().flat_map(of).collect()
}
