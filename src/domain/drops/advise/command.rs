//! The commands themselves: a rule that logs, and its undoing, for iptables and for nft.
//! Refuses every name and condition that is not a plain word, so that nothing needs quoting but our own text.

use crate::domain::drops::rule_words::{Word, words};
use crate::domain::drops::rules::Via;
use crate::domain::drops::rules::statement::{FICKLE, after_counter, verdict_at};
use crate::domain::rules::{Backend, Family};

/// *Source*: `xt_log_info.prefix` in `linux/netfilter/xt_LOG.h` has 30 bytes, one of them NUL.
const PREFIX_BYTES: usize = 29;

/// The chain that gets a rule.
#[derive(Clone, Copy)]
pub(super) struct Target<'a> {
    pub backend: Backend,
    pub family: Family,
    pub table: &'a str,
    pub chain: &'a str,
}

/// How a rule logs.
pub(super) struct Logging<'a> {
    pub via: Via,
    /// Makes its prefix different from all others.
    pub number: usize,
    /// Its prefix begins with this.
    pub name: &'a str,
}

impl Logging<'_> {
    /// `drop3-INPUT: `: as much of the chain's name as fits.
    fn prefix(&self, chain: &str) -> String {
        let front = format!("{}{}-", self.name, self.number);
        let room = PREFIX_BYTES.saturating_sub(front.len() + 2);
        let chain: String = chain.chars().take(room).collect();
        format!("{front}{chain}: ")
    }
}

/// The command that adds the rule before this position, or at the end, and the one that takes it away. `lines` are rules
/// whose conditions it has. None if anything in them is not plain.
pub(super) fn render(
    target: Target<'_>,
    before: Option<u32>,
    lines: &[&[u8]],
    logging: &Logging<'_>,
) -> Option<[String; 2]> {
    if !is_name(target.table) || !is_name(target.chain) {
        return None;
    }
    match target.backend {
        Backend::Nftables => native(target, before, lines, logging),
        Backend::IptablesNft | Backend::IptablesLegacy | Backend::Iptables => {
            iptables(target, before, lines, logging)
        }
        Backend::Netfilter => None,
    }
}

/// `iptables-nft -w -t filter -I INPUT 3 -p tcp -m limit ... -j LOG ...`, and `-D INPUT -p tcp ...`.
fn iptables(
    target: Target<'_>,
    before: Option<u32>,
    lines: &[&[u8]],
    logging: &Logging<'_>,
) -> Option<[String; 2]> {
    let Target { backend, family, table, chain } = target;
    let program = match (family, backend) {
        (Family::Ip, Backend::IptablesNft) => "iptables-nft",
        (Family::Ip, Backend::IptablesLegacy) => "iptables-legacy",
        (Family::Ip, _) => "iptables",
        (Family::Ip6, Backend::IptablesNft) => "ip6tables-nft",
        (Family::Ip6, Backend::IptablesLegacy) => "ip6tables-legacy",
        (Family::Ip6, _) => "ip6tables",
        _ => return None,
    };
    let mut asked = Vec::new();
    for line in lines {
        asked.extend(iptables_conditions(line)?);
    }
    let is_option = |word: &&String| word.len() == 2 && word.starts_with('-') && *word != "-m";
    let mut options: Vec<_> = asked.iter().filter(is_option).collect();
    options.sort();
    if options.windows(2).any(|pair| matches!(pair, [a, b] if a == b)) {
        return None;
    }
    let prefix = logging.prefix(chain);
    let log = match logging.via {
        Via::Log => format!("-j LOG --log-prefix '{prefix}'"),
        Via::Nflog(group) => {
            format!("-j NFLOG --nflog-group {group} --nflog-size 128 --nflog-prefix '{prefix}'")
        }
    };
    asked.push(format!("-m limit --limit 5/minute --limit-burst 10 {log}"));
    let rule = asked.join(" ");
    let place = before.map_or_else(|| format!("-A {chain}"), |position| format!("-I {chain} {position}"));
    let command = format!("{program} -w -t {table}");
    Some([format!("{command} {place} {rule}"), format!("{command} -D {chain} {rule}")])
}

/// The words between chain and target, without comments.
fn iptables_conditions(line: &[u8]) -> Option<Vec<String>> {
    const BASE: [&str; 7] = ["-s", "-d", "-i", "-o", "-p", "-f", "-m"];
    let words = words(line);
    let mut rest = words.get(2..)?;
    let mut conditions = Vec::new();
    loop {
        rest = match rest {
            [] => return Some(conditions),
            [target, tail @ ..] if target.is_any(&["-j", "-g"]) => {
                let is_forged = tail.iter().any(|word| word.is_any(&["-j", "-g"]));
                return (!is_forged).then_some(conditions);
            }
            [module, comment, option, _, tail @ ..]
                if module.is("-m") && comment.is("comment") && option.is("--comment") =>
            {
                tail
            }
            [module, name, ..] if module.is("-m") && name.is_any(&FICKLE) => return None,
            [word, tail @ ..] => {
                let text = plain(word)?;
                let is_single = text.starts_with('-') && !text.starts_with("--");
                if is_single && !BASE.contains(&text) {
                    return None;
                }
                conditions.push(text.to_owned());
                tail
            }
        };
    }
}

/// `nft 'insert rule inet t in index 2 tcp dport 22 limit ... log ...'`, and its deletion by the handle that its comment
/// leads to.
fn native(
    target: Target<'_>,
    before: Option<u32>,
    lines: &[&[u8]],
    logging: &Logging<'_>,
) -> Option<[String; 2]> {
    let Target { family, table, chain, .. } = target;
    let asked = match lines {
        [] => String::new(),
        [line] => native_conditions(line)?,
        _ => return None,
    };
    let place = format!("{family} {table} {chain}");
    let add = match before {
        Some(position) => format!("insert rule {place} index {}", position.checked_sub(1)?),
        None => format!("add rule {place}"),
    };
    let group = match logging.via {
        Via::Log => String::new(),
        Via::Nflog(group) => format!(" group {group} snaplen 128"),
    };
    let prefix = logging.prefix(chain);
    let comment = format!("monitor-advise-{}", logging.number);
    let rule = format!("{asked}limit rate 5/minute burst 10 packets log prefix \"{prefix}\"{group}");
    let find = format!(r#"sed -n 's/.*comment "{comment}" # handle \([0-9]*\)$/\1/p'"#);
    Some([
        format!("nft '{add} {rule} comment \"{comment}\"'"),
        format!(r#"nft delete rule {place} handle "$(nft -a list chain {place} | {find})""#),
    ])
}

/// The words between chain and verdict, and a blank.
fn native_conditions(line: &[u8]) -> Option<String> {
    /// What changes something, counts, or cannot be written down so.
    const REFUSED: [&str; 20] = [
        "set", "add", "update", "delete", "map", "vmap", "limit", "quota", "meter", "log", "numgen", "xt",
        "count", "synproxy", "counter", "last", "notrack", "dup", "tproxy", "reset",
    ];
    let words = words(line);
    let words = match words.get(3..)? {
        [front @ .., comment, text] if comment.is("comment") && text.is_quoted => front,
        all => all,
    };
    let mut rest = words.get(..verdict_at(words))?;
    let mut text = String::new();
    while let [word, tail @ ..] = rest {
        let behind = after_counter(rest);
        if behind.len() < rest.len() && !behind.first().is_some_and(|word| word.is("name")) {
            rest = behind;
            continue;
        }
        rest = tail;
        let is_sign = word.is_any(&["==", "!=", "<", ">", "<=", ">=", "{", "}"]);
        let shown = match std::str::from_utf8(&word.text).ok()? {
            sign if is_sign => sign.to_owned(),
            quoted if word.is_quoted && is_plain(quoted) => format!("\"{quoted}\""),
            set if set.starts_with('@') && set.get(1..).is_some_and(is_name) => set.to_owned(),
            _ if word.is_any(&REFUSED) => return None,
            _ => plain(word)?.to_owned(),
        };
        text.push_str(&shown);
        text.push(' ');
    }
    Some(text)
}

fn plain<'a>(word: &'a Word<'_>) -> Option<&'a str> {
    word.as_str().filter(|text| !word.is_quoted && (is_plain(text) || *text == "!"))
}

/// Whether no shell and neither tool takes this for more than a word.
fn is_plain(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.:/,+-".contains(&byte))
}

/// Whether this is a name that neither tool takes for an option, a number or a keyword's beginning.
fn is_name(text: &str) -> bool {
    let is_letter = |byte: &u8| byte.is_ascii_alphabetic() || *byte == b'_';
    text.as_bytes().first().is_some_and(is_letter)
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_fits_the_kernel() {
        let logging = |number| Logging { via: Via::Log, number, name: "reject" };
        assert_eq!(logging(1).prefix("INPUT"), "reject1-INPUT: ");
        let long = logging(100).prefix("KUBE-A-CHAIN-OF-28-CHARACTERS");
        assert_eq!((long.len(), long.as_str()), (29, "reject100-KUBE-A-CHAIN-OF-2: "));
    }

    fn conditions(rule: &str) -> Option<String> {
        iptables_conditions(format!("-A X {rule}").as_bytes()).map(|words| words.join(" "))
    }

    #[test]
    fn takes_over_plain_conditions_only() {
        for (rule, expected) in [
            ("-j DROP", Some("")),
            (
                "-s 10.0.0.0/8 ! -i eth+ -p tcp -m tcp --dport 1:5 -j DROP",
                Some("-s 10.0.0.0/8 ! -i eth+ -p tcp -m tcp --dport 1:5"),
            ),
            ("-p tcp -m comment --comment \"a; rm\" -j DROP", Some("-p tcp")),
            ("-i e -j ACCEPT -j DROP", None),
            ("-i e$(x) -j DROP", None),
            ("-i e;x -j DROP", None),
            ("-m string --string \"a\" --algo bm -j DROP", None),
            ("-m recent --update --name a -j DROP", None),
            ("-m limit --limit 1/sec -j DROP", None),
            ("-A Y -j DROP", None),
        ] {
            assert_eq!(conditions(rule).as_deref(), expected, "{rule}");
        }
    }

    #[test]
    fn takes_over_plain_native_conditions_only() {
        for (rule, expected) in [
            ("drop", Some("")),
            (
                r#"iifname "eth0" tcp dport { 22, 80 } counter drop comment "x""#,
                Some(r#"iifname "eth0" tcp dport { 22, 80 } "#),
            ),
            ("ip saddr != @evil reject with tcp reset", Some("ip saddr != @evil ")),
            (r#"iifname "e'x" drop"#, None),
            ("meta mark set 5 drop", None),
            ("limit rate 5/second burst 5 packets drop", None),
            (r#"json({"x":1}) drop"#, None),
            ("ip saddr @e;x drop", None),
            (r#"tcp dport 47 counter name "c" drop"#, Some("tcp dport 47 ")),
            (r#"counter name "c" tcp dport 47 counter counter name "d" drop"#, Some("tcp dport 47 ")),
            (r#"counter name tcp dport map { 1 : "c" } drop"#, None),
            (r#"counter name tcp dport drop"#, None),
            (r#"limit name "l" drop"#, None),
            (r#"quota name "q" drop"#, None),
            ("notrack drop", None),
            ("udp dport 1 last drop", None),
        ] {
            let line = format!("inet t c {rule}");
            assert_eq!(native_conditions(line.as_bytes()).as_deref(), expected, "{rule}");
        }
    }

    #[test]
    fn odd_names_are_refused() {
        for chain in ["", "-j", "a b", "a;b", "a'b", "1st", "$(x)", "é"] {
            let target = Target { backend: Backend::IptablesNft, family: Family::Ip, table: "filter", chain };
            let logging = Logging { via: Via::Log, number: 1, name: "drop" };
            assert_eq!(render(target, None, &[], &logging), None, "{chain}");
        }
    }
}
