//! From an nft command that adds a rule to the native line of that rule, where that is certain enough to show.
//! Knows few words of nft: whatever else stands in a rule is a doubt.
//!
//! *Source*: nft(8), and the native lines that [`crate::domain::rules::text::native`] writes.

use std::collections::VecDeque;

use super::words::{Misread, Words};
use super::{Typed, words};
use crate::domain::rules::Family;

const WHAT_THERE_IS: &str =
    "of nft's commands only those that add one rule are explained: nft add rule FAMILY TABLE CHAIN ...";
const NO_STATEMENT: &str = "a rule is a table, a chain and what it does: nft add rule FAMILY TABLE CHAIN ...";
const ONE_RULE: &str = "one rule is explained at a time; ask about each on its own";
/// What brings a rule.
const VERBS: [&str; 4] = ["add", "insert", "create", "replace"];
/// Words behind which a name stands, that a native line has in quotes.
const NAMED: [&str; 6] = ["iif", "oif", "iifname", "oifname", "prefix", "comment"];
/// Words that a native line has as they are typed. Where another stands, nft may take it for something else: `ssh` is 22.
const CERTAIN: [&str; 30] = [
    "tcp",
    "udp",
    "sctp",
    "dport",
    "sport",
    "ip",
    "ip6",
    "saddr",
    "daddr",
    "iif",
    "oif",
    "iifname",
    "oifname",
    "ct",
    "state",
    "new",
    "established",
    "related",
    "invalid",
    "untracked",
    "counter",
    "accept",
    "drop",
    "return",
    "continue",
    "jump",
    "goto",
    "log",
    "prefix",
    "comment",
];

/// Reads what was typed; none for what is not for nft.
///
/// # Errors
/// If it is for nft, and adds not exactly one rule.
pub fn read(text: &str) -> Result<Option<Typed>, Misread> {
    let mut first = text.split_whitespace().skip_while(|word| *word == "sudo");
    let (program, second) = (first.next().unwrap_or_default(), first.next());
    let is_program = program.rsplit('/').next() == Some("nft");
    // a line of a file for nft -f
    let is_command = VERBS.contains(&program) && second == Some("rule");
    if !is_program && !is_command {
        return Ok(None);
    }
    // nft joins its arguments with blanks; in a file for it no shell takes quotes away, nor has characters of its own
    let mut words = if is_program {
        Words(statement(&Vec::from(words(text, true)?).join(" ")))
    } else {
        Words(statement(text))
    };
    words.next_if(|word| word == "sudo");
    words.next_if(|word| word.rsplit('/').next() == Some("nft"));
    while let Some(option) = words.next_if(|word| word.starts_with('-')) {
        if matches!(
            option.as_str(),
            "-f" | "--file" | "-i" | "--interactive" | "-D" | "--define" | "-I" | "--includepath"
        ) {
            return Err(Misread::new(option, WHAT_THERE_IS));
        }
    }
    let verb = words.0.pop_front().unwrap_or_default();
    if !VERBS.contains(&verb.as_str()) || words.0.pop_front().as_deref() != Some("rule") {
        let about = if verb.is_empty() { program.to_owned() } else { verb };
        return Err(Misread::new(about, WHAT_THERE_IS));
    }
    let family = words.0.front().and_then(|word| Family::from_name(word));
    words.next_if(|_| family.is_some());
    let family = family.unwrap_or(Family::Ip);
    let place = [words.0.pop_front(), words.0.pop_front()];
    let [Some(table), Some(chain)] = place else { return Err(Misread::new(verb, NO_STATEMENT)) };
    if words.next_if(|word| matches!(word, "handle" | "position" | "index")).is_some() {
        words.0.pop_front();
    }
    if let Some(end) = words.0.iter().find(|word| matches!(word.as_str(), ";" | "}" | "\n")) {
        return Err(Misread::new(end, ONE_RULE));
    }
    if words.0.is_empty() {
        return Err(Misread::new(chain, NO_STATEMENT));
    }
    let (rule, doubt) = canonical(words.0);
    let line = format!("{family} {table} {chain} {rule}");
    Ok(Some(Typed { line, family: Some(family), doubt, ..Typed::default() }))
}

/// The words of a statement of nft; what stands in quotes is one with its quotes, and what stands in braces is one.
fn statement(text: &str) -> VecDeque<String> {
    let mut words = VecDeque::new();
    let mut word = String::new();
    let (mut is_quoted, mut depth) = (false, 0_u32);
    for letter in text.chars() {
        match letter {
            '"' => is_quoted = !is_quoted,
            '{' if !is_quoted => depth += 1,
            '}' if !is_quoted => depth = depth.saturating_sub(1),
            _ => {}
        }
        let is_inside = is_quoted || depth > 0;
        match letter {
            letter if letter.is_whitespace() && !is_inside => words.extend(taken(&mut word)),
            ';' if !is_inside => {
                words.extend(taken(&mut word));
                words.push_back(letter.to_string());
            }
            _ => word.push(letter),
        }
    }
    words.extend(taken(&mut word));
    words
}

fn taken(word: &mut String) -> Option<String> {
    (!word.is_empty()).then(|| std::mem::take(word))
}

/// The rule as a native line has it, and the first word of which that is not certain.
fn canonical(words: VecDeque<String>) -> (String, Option<String>) {
    let mut doubt = None;
    let mut shown: Vec<String> = Vec::new();
    let mut before = String::new();
    for word in words {
        let text = match before.as_str() {
            named if NAMED.contains(&named) && is_plain(&word) => format!("\"{word}\""),
            _ if word.starts_with('{') => set(&word),
            _ => word.clone(),
        };
        let is_name = NAMED.contains(&before.as_str()) || matches!(before.as_str(), "jump" | "goto");
        if !is_name && !is_certain(&word) {
            doubt.get_or_insert_with(|| word.clone());
        }
        match word.as_str() {
            // nft takes it for nothing
            "==" => continue,
            "!=" => {}
            _ => before = word,
        }
        shown.push(text);
    }
    (shown.join(" "), doubt)
}

fn is_plain(word: &str) -> bool {
    !word.starts_with(['"', '{', '$', '@', '!', '=', '<', '>'])
}

/// `{22,80}` with the blanks that a native line has.
fn set(text: &str) -> String {
    let inner = text.trim_start_matches('{').trim_end_matches('}');
    let elements: Vec<_> =
        inner.split(',').map(|element| element.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    format!("{{ {} }}", elements.join(", "))
}

/// Whether a word stands in a native line as it was typed: those of the list, quoted ones, numbers and addresses. Of the
/// elements of a set the order may be another, so a set is certain only where they rise.
fn is_certain(word: &str) -> bool {
    if let Some(inner) = word.strip_prefix('{').and_then(|word| word.strip_suffix('}')) {
        let numbers: Option<Vec<u32>> = inner.split(',').map(|element| element.trim().parse().ok()).collect();
        return numbers.is_some_and(|numbers| numbers.is_sorted_by(|one, next| one < next));
    }
    CERTAIN.contains(&word)
        || matches!(word, "!=" | "==")
        || word.len() > 1 && word.starts_with('"') && word.ends_with('"')
        || word.parse::<u32>().is_ok_and(|number| number.to_string() == word)
        || word.parse::<std::net::IpAddr>().is_ok_and(|address| address.to_string() == word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_becomes_a_native_line() {
        for (typed, line) in [
            ("nft add rule inet filter input tcp dport 22 drop", "inet filter input tcp dport 22 drop"),
            (
                "sudo /usr/sbin/nft -a insert rule filter input position 4 ip saddr 1.2.3.4 drop",
                "ip filter input ip saddr 1.2.3.4 drop",
            ),
            (
                "nft 'add rule inet t c tcp dport {22,80} counter accept'",
                "inet t c tcp dport { 22, 80 } counter accept",
            ),
            ("nft add rule inet t c tcp dport { 22, 80 } accept", "inet t c tcp dport { 22, 80 } accept"),
            (
                "add rule inet t c iifname eth0 log prefix \"a b\" drop",
                "inet t c iifname \"eth0\" log prefix \"a b\" drop",
            ),
            ("nft add rule inet t c iif != lo jump other", "inet t c iif != \"lo\" jump other"),
            (
                "nft replace rule ip t c handle 7 udp dport == 53 goto x comment 'why not'",
                "ip t c udp dport 53 goto x comment \"why\" not",
            ),
        ] {
            assert_eq!(read(typed).unwrap().unwrap().line, line, "{typed}");
        }
        for other in ["inet t c accept", "iptables -A INPUT", "add something", "hello", "nftables add rule"] {
            assert_eq!(read(other), Ok(None), "{other}");
        }
    }

    #[test]
    fn what_may_be_written_otherwise_is_in_doubt() {
        let doubt = |rule: &str| read(&format!("nft add rule inet t c {rule}")).unwrap().unwrap().doubt;
        for certain in [
            "tcp dport 22 drop",
            "ip6 saddr fd00::1 counter accept",
            "iifname lo accept",
            "tcp dport { 22, 80 } drop",
        ] {
            assert_eq!(doubt(certain), None, "{certain}");
        }
        for (rule, word) in [
            ("tcp dport ssh drop", "ssh"),
            ("tcp dport { 80, 22 } drop", "{ 80, 22 }"),
            ("ip saddr 10.1.0.0/8 drop", "10.1.0.0/8"),
            ("ct state established,related accept", "established,related"),
            ("tcp dport 022 drop", "022"),
            ("meta mark 1 drop", "meta"),
        ] {
            assert_eq!(doubt(rule).as_deref(), Some(word), "{rule}");
        }
    }

    #[test]
    fn what_adds_not_one_rule_is_refused() {
        for (text, word) in [
            ("nft list ruleset", "list"),
            ("nft", "nft"),
            ("nft -f rules", "-f"),
            ("nft add table inet t", "add"),
            ("nft flush ruleset", "flush"),
            ("nft add rule inet t", "add"),
            ("nft add rule inet t c", "c"),
            ("nft add rule inet t c drop; nft flush ruleset", ";"),
            ("nft 'add rule inet t c drop; flush ruleset'", ";"),
            ("add rule inet t c drop; flush ruleset", ";"),
        ] {
            assert_eq!(read(text).map_err(|misread| misread.word), Err(word.to_owned()), "{text}");
        }
    }
}
