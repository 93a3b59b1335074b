//! What one rule does: whether it logs, with which prefix, and what becomes of the packet.
//! Looks at one rule alone, and takes what it does not know for something that may decide.

use super::after::Verdict;
use super::facts::Via;
use crate::domain::drops::rule_words::{Word, words};
use crate::domain::rules::Backend;

/// A rule, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::domain::drops) struct Statement {
    pub log: Option<Log>,
    pub effect: Effect,
    /// What it asks of a packet, in pieces; a rule that asks nothing has none.
    pub matches: Vec<Vec<u8>>,
    /// Among them is one whose answer changes from packet to packet.
    pub is_fickle: bool,
}

/// Where a rule logs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::domain::drops) struct Log {
    pub via: Via,
    pub prefix: Vec<u8>,
}

/// What a rule does with a packet it matches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::domain::drops) enum Effect {
    /// The packet goes on to the next rule.
    None,
    /// The rule decides.
    Decides(Verdict),
    /// It may decide, in a way that is not known.
    MayDecide,
}

/// Matches of x_tables that count, measure or throw dice.
pub(in crate::domain::drops) const FICKLE: [&str; 11] = [
    "limit",
    "hashlimit",
    "statistic",
    "recent",
    "quota",
    "connlimit",
    "connbytes",
    "time",
    "rateest",
    "nfacct",
    "bpf",
];
/// Targets of x_tables after which a packet goes on. *Source*: iptables-extensions(8), TARGET EXTENSIONS.
const PASSING: [&str; 25] = [
    "LOG",
    "NFLOG",
    "ULOG",
    "MARK",
    "CONNMARK",
    "CT",
    "NOTRACK",
    "TOS",
    "DSCP",
    "TTL",
    "HL",
    "TCPMSS",
    "CLASSIFY",
    "SECMARK",
    "CONNSECMARK",
    "TRACE",
    "SET",
    "CHECKSUM",
    "AUDIT",
    "HMARK",
    "IDLETIMER",
    "LED",
    "TEE",
    "RATEEST",
    "ECN",
];

impl Statement {
    /// Takes a judged line apart; none if it is not of the form that its backend prints.
    pub fn parse(backend: Backend, line: &[u8]) -> Option<Self> {
        let words = words(line);
        match backend {
            Backend::Nftables => native(words.get(3..)?),
            Backend::IptablesNft | Backend::IptablesLegacy | Backend::Iptables => iptables(words.get(2..)?),
            Backend::Netfilter => None,
        }
    }

    /// Whether every packet that `self` matches is matched by `later` too.
    pub fn is_covered_by(&self, later: &Self) -> bool {
        !later.is_fickle && later.matches.iter().all(|piece| self.matches.contains(piece))
    }
}

/// `-p tcp -m tcp --dport 22 -j LOG --log-prefix "x"`.
fn iptables(words: &[Word<'_>]) -> Option<Statement> {
    let target_at = words.iter().position(|word| word.is_any(&["-j", "-g"])).unwrap_or(words.len());
    let (asked, target) = words.split_at_checked(target_at)?;
    let pieces = pieces(asked);
    let named = |piece: &[Word<'_>], name: &str| matches!(piece, [option, module, ..] if option.is("-m") && module.is(name));
    Some(Statement {
        log: log_target(target),
        effect: target_effect(target),
        is_fickle: pieces.iter().any(|piece| FICKLE.iter().any(|name| named(piece, name))),
        matches: pieces.iter().filter(|piece| !named(piece, "comment")).map(|piece| joined(piece)).collect(),
    })
}

/// One piece for each option before the first `-m`, and one for each `-m` with its options.
fn pieces<'a, 'w>(words: &'a [Word<'w>]) -> Vec<&'a [Word<'w>]> {
    let mut starts = vec![];
    let mut is_in_module = false;
    for (at, word) in words.iter().enumerate() {
        let is_after_bang = at > 0 && words.get(at - 1).is_some_and(|before| before.is("!"));
        let is_bang = word.is("!") && !is_in_module;
        let is_option = word.is_any(&["-s", "-d", "-i", "-o", "-p", "-f"]) && !is_after_bang;
        is_in_module |= word.is("-m");
        if is_bang || is_option || word.is("-m") {
            starts.push(at);
        }
    }
    let ends = starts.iter().skip(1).copied().chain([words.len()]);
    starts.iter().zip(ends).filter_map(|(&start, end)| words.get(start..end)).collect()
}

fn log_target(target: &[Word<'_>]) -> Option<Log> {
    let value = |option: &str| target.iter().skip_while(|word| !word.is(option)).nth(1);
    let (via, prefix) = match target {
        [_, name, ..] if name.is("LOG") => (Via::Log, "--log-prefix"),
        [_, name, ..] if name.is("NFLOG") => {
            let group = value("--nflog-group").and_then(|word| word.as_str()?.parse().ok());
            (Via::Nflog(group.unwrap_or(0)), "--nflog-prefix")
        }
        _ => return None,
    };
    Some(Log { via, prefix: value(prefix).map(|word| word.text.to_vec()).unwrap_or_default() })
}

fn target_effect(target: &[Word<'_>]) -> Effect {
    let [option, name, ..] = target else { return Effect::None };
    if option.is("-j") && name.is_any(&PASSING) {
        return Effect::None;
    }
    Effect::Decides(match name.as_str() {
        Some("ACCEPT") => Verdict::Accept,
        Some("DROP") => Verdict::Drop,
        Some("REJECT") => Verdict::Reject,
        Some("RETURN") => Verdict::Return,
        Some(
            "QUEUE" | "NFQUEUE" | "DNAT" | "SNAT" | "MASQUERADE" | "REDIRECT" | "NETMAP" | "TPROXY"
            | "SYNPROXY",
        ) => {
            return Effect::MayDecide;
        }
        _ => Verdict::Elsewhere(String::from_utf8_lossy(&name.text).into_owned()),
    })
}

/// `tcp dport 22 log prefix "x" group 5 drop`, behind family, table and chain.
fn native(words: &[Word<'_>]) -> Option<Statement> {
    let words = match words {
        [front @ .., comment, text] if comment.is("comment") && text.is_quoted => front,
        all => all,
    };
    let log_at = words.iter().position(|word| word.is("log"));
    let is_chain = |at: usize| at > 0 && words.get(at - 1).is_some_and(|word| word.is_any(&["jump", "goto"]));
    let log_at = log_at.filter(|&at| !is_chain(at));
    let (asked, behind) = match log_at {
        Some(at) => (words.get(..at)?, words.get(at..)?),
        None => words.split_at_checked(verdict_at(words))?,
    };
    let log = log_at.map(|_| log_statement(behind));
    let rest = if log.is_some() { behind.get(log_length(behind)..)? } else { behind };
    let is_fickle = asked.iter().any(|word| word.is_any(&["limit", "quota", "numgen", "count", "last"]))
        || log.is_some() && !is_verdict(rest) && !rest.is_empty();
    let asked = without_limits(asked);
    let matches = if asked.is_empty() { vec![] } else { vec![joined(&asked)] };
    Some(Statement { log, effect: native_effect(words, rest), matches, is_fickle })
}

/// Where the verdict at the end begins; the rule's length if there is none.
pub(in crate::domain::drops) fn verdict_at(words: &[Word<'_>]) -> usize {
    (0..words.len()).find(|&at| words.get(at..).is_some_and(is_verdict)).unwrap_or(words.len())
}

/// Whether these words are a verdict and nothing else.
fn is_verdict(words: &[Word<'_>]) -> bool {
    match after_counters(words) {
        [word] => word.is_any(&["accept", "drop", "return", "continue", "reject"]),
        [word, _] if word.is_any(&["jump", "goto"]) => true,
        [word, with, ..] => word.is("reject") && with.is("with"),
        [] => false,
    }
}

/// Behind `counter` or `counter name "c"`; all of the words if they do not begin so.
pub(in crate::domain::drops) fn after_counter<'a, 'w>(words: &'a [Word<'w>]) -> &'a [Word<'w>] {
    match words {
        [counter, name, object, rest @ ..]
            if counter.is("counter") && name.is("name") && object.is_quoted =>
        {
            rest
        }
        [counter, rest @ ..] if counter.is("counter") => rest,
        all => all,
    }
}

fn after_counters<'a, 'w>(words: &'a [Word<'w>]) -> &'a [Word<'w>] {
    let rest = after_counter(words);
    if rest.len() < words.len() { after_counters(rest) } else { rest }
}

fn native_effect(words: &[Word<'_>], rest: &[Word<'_>]) -> Effect {
    let verdict = after_counters(rest).first();
    let Some(verdict) = verdict.filter(|_| is_verdict(rest)) else {
        const DECIDING: [&str; 10] =
            ["vmap", "queue", "dnat", "snat", "masquerade", "redirect", "tproxy", "synproxy", "fwd", "jump"];
        let is_odd =
            |word: &Word<'_>| word.is_any(&DECIDING) || word.text.starts_with(b"json(") || word.is("xt");
        let has_verdict =
            words.iter().any(|word| word.is_any(&["accept", "drop", "reject", "return", "goto"]));
        return if has_verdict || words.iter().any(is_odd) { Effect::MayDecide } else { Effect::None };
    };
    match verdict.as_str() {
        Some("accept") => Effect::Decides(Verdict::Accept),
        Some("drop") => Effect::Decides(Verdict::Drop),
        Some("reject") => Effect::Decides(Verdict::Reject),
        Some("return") => Effect::Decides(Verdict::Return),
        Some("continue") => Effect::None,
        _ => {
            let chain = rest.last().map(|word| String::from_utf8_lossy(&word.text).into_owned());
            Effect::Decides(Verdict::Elsewhere(chain.unwrap_or_default()))
        }
    }
}

/// How many words a log statement has.
fn log_length(words: &[Word<'_>]) -> usize {
    let mut at = 1;
    while let Some(word) = words.get(at) {
        at += match word {
            word if word.is_any(&["prefix", "group", "snaplen", "queue-threshold", "level"]) => 2,
            word if word.is("flags") => {
                let is_pair = words.get(at + 1).is_some_and(|kind| kind.is_any(&["tcp", "ip"]));
                if is_pair { 3 } else { 2 }
            }
            _ => break,
        };
    }
    at.min(words.len())
}

fn log_statement(words: &[Word<'_>]) -> Log {
    let words = words.get(..log_length(words)).unwrap_or_default();
    let value = |option: &str| words.iter().skip_while(|word| !word.is(option)).nth(1);
    let group = value("group").and_then(|word| word.as_str()?.parse().ok());
    Log {
        via: group.map_or(Via::Log, Via::Nflog),
        prefix: value("prefix").map(|word| word.text.to_vec()).unwrap_or_default(),
    }
}

/// Without `counter` and `limit rate over 5/minute burst 5 packets`.
fn without_limits<'a>(words: &[Word<'a>]) -> Vec<Word<'a>> {
    let mut kept = Vec::new();
    let mut rest = words;
    while let [word, tail @ ..] = rest {
        rest = match tail {
            [rate, tail @ ..] if word.is("limit") && rate.is("rate") => {
                let tail =
                    if tail.first().is_some_and(|word| word.is("over")) { tail.get(1..) } else { Some(tail) };
                let tail = tail.unwrap_or_default();
                let has_unit = tail.first().is_some_and(|amount| !amount.text.contains(&b'/'));
                let tail = tail.get(if has_unit { 2 } else { 1 }..).unwrap_or_default();
                let has_burst = tail.first().is_some_and(|word| word.is("burst"));
                tail.get(if has_burst { 3 } else { 0 }..).unwrap_or_default()
            }
            _ if word.is("counter") => after_counter(rest),
            _ => {
                kept.push(word.clone());
                tail
            }
        };
    }
    kept
}

/// The words as one text in which no two lists of words look alike.
fn joined(words: &[Word<'_>]) -> Vec<u8> {
    let mut text = Vec::new();
    for word in words {
        text.extend_from_slice(&word.text);
        text.push(if word.is_quoted { 1 } else { 0 });
    }
    text
}

#[cfg(test)]
mod tests;
