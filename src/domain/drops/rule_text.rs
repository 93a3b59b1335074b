//! The rule that logged a packet in one line: its place, and what becomes of the packet.
//! Finds no rule; [`super::rules`] does. Rule text is untrusted and comes escaped.

use super::rules::{After, By, LogRule, RuleMatch, Verdict};
use crate::domain::words::escape;

/// `iptables-nft ip filter INPUT rule 3, then drop by rule 4`; for several what they are, and that one of them it is.
pub fn described(found: &RuleMatch<'_>) -> Option<String> {
    match found {
        RuleMatch::One(rule) => {
            Some(format!("{}{}", place(rule), rule.after.as_ref().map_or_else(String::new, after)))
        }
        RuleMatch::Ambiguous { count, first } => {
            let places: Vec<_> = first.iter().map(|rule| place(rule)).collect();
            let more = if *count > places.len() { ", ..." } else { "" };
            Some(format!("ambiguous, one of {count} rules: {}{more}", places.join(", ")))
        }
        RuleMatch::None => None,
    }
}

/// Whether the packet was certainly dropped or rejected.
pub fn ends_in_drop(found: &RuleMatch<'_>) -> bool {
    let drops = |rule: &LogRule| {
        let after = rule.after.as_ref();
        after
            .is_some_and(|after| after.is_certain && matches!(after.verdict, Verdict::Drop | Verdict::Reject))
    };
    matches!(found, RuleMatch::One(rule) if drops(rule))
}

fn place(rule: &LogRule) -> String {
    let LogRule { backend, family, table, chain, position, .. } = rule;
    format!("{backend} {family} {} {} rule {position}", escape::name(table), escape::name(chain))
}

fn after(after: &After) -> String {
    let verdict = match &after.verdict {
        Verdict::Elsewhere(chain) => format!("jump to {}", escape::name(chain)),
        plain => plain.as_str().to_owned(),
    };
    let by = match after.by {
        By::Itself => String::new(),
        By::Rule(number) => format!(" by rule {number}"),
        By::Policy => " by the policy".to_owned(),
        By::End => " at the end of the chain".to_owned(),
    };
    let likely = if after.is_certain { "" } else { "likely " };
    format!(", then {likely}{verdict}{by}")
}

#[cfg(test)]
mod tests {
    use super::super::rules::{Facts, RuleIndex, Via};
    use super::*;
    use crate::domain::rules::{Backend, Entry, Family, Kind};

    fn index(lines: &[&str]) -> RuleIndex {
        let mut builder = RuleIndex::builder();
        for (position, line) in (1..).zip(lines) {
            let line = line.as_bytes();
            let entry = Entry {
                kind: Kind::Rule,
                table: "filter",
                chain: Some("INPUT"),
                position: Some(position),
                line,
            };
            builder.line(Backend::IptablesNft, Family::Ip, &entry);
        }
        builder.build()
    }

    fn text(lines: &[&str], prefix: &str) -> (Option<String>, bool) {
        let index = index(lines);
        let found = index.find(&Facts::new(Via::Log, prefix.as_bytes()));
        (described(&found), ends_in_drop(&found))
    }

    #[test]
    fn one_rule_says_what_becomes_of_the_packet() {
        let lines = ["-A INPUT -p tcp -j LOG --log-prefix \"x: \"", "-A INPUT -p tcp -j DROP"];
        let expected = "iptables-nft ip filter INPUT rule 1, then drop by rule 2";
        assert_eq!(text(&lines, "x:"), (Some(expected.to_owned()), true));
        assert_eq!(text(&lines, "y:"), (None, false));
    }

    #[test]
    fn several_rules_are_ambiguous() {
        let lines = ["-A INPUT -j LOG --log-prefix \"x: \"", "-A INPUT -j LOG --log-prefix \"x: \""];
        let (text, is_drop) = text(&lines, "x:");
        let text = text.unwrap();
        assert!(
            text.starts_with("ambiguous, one of 2 rules: iptables-nft ip filter INPUT rule 1, "),
            "{text}"
        );
        assert!(!is_drop);
    }
}
