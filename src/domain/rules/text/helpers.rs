//! Which helpers of connection tracking rules assign, by their lines: `-j CT --helper NAME` and `ct helper set "OBJECT"`.
//! Judges nothing.

use std::collections::BTreeSet;

use crate::domain::rules::{Backend, Family};

/// The helpers that rules assign.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Helpers {
    /// Of rules of iptables.
    named: BTreeSet<String>,
    /// Native objects: table, name and helper.
    objects: BTreeSet<(Table, String, String)>,
    /// Objects that native rules use; none stands for one that a map holds.
    used: BTreeSet<(Table, Option<String>)>,
}

type Table = (Family, String);

impl Helpers {
    /// Takes a line of a rule or an object.
    pub fn add(&mut self, backend: Backend, (family, table): (Family, &str), line: &str) {
        // most lines name no helper
        if !line.contains("helper") {
            return;
        }
        let words = words(line);
        if backend != Backend::Nftables {
            let mut words = words.iter().copied().skip_while(|&word| word != "-j");
            if let (Some("-j"), Some("CT")) = (words.next(), words.next())
                && let Some(name) = words.skip_while(|&word| word != "--helper").nth(1)
            {
                self.named.insert(unquoted(name).to_owned());
            }
            return;
        }
        let table = (family, table.to_owned());
        if let ["ct", "helper", _, _, object, "type", helper, ..] = words.as_slice() {
            self.objects.insert((table, unquoted(object).to_owned(), unquoted(helper).to_owned()));
            return;
        }
        let Some(at) = words.windows(3).position(|words| words == ["ct", "helper", "set"]) else { return };
        for word in words.iter().skip(at + 3) {
            if word.starts_with('"') {
                self.used.insert((table.clone(), Some(unquoted(word).to_owned())));
            } else if word.starts_with('@') {
                self.used.insert((table.clone(), None));
            }
        }
    }

    /// Whether a rule assigns this helper.
    pub fn assign(&self, helper: &[u8]) -> bool {
        let Ok(helper) = str::from_utf8(helper) else { return false };
        let is_used = |(table, object, of): &(Table, String, String)| {
            of == helper
                && [Some(object.clone()), None]
                    .into_iter()
                    .any(|object| self.used.contains(&(table.clone(), object)))
        };
        self.named.contains(helper) || self.objects.iter().any(is_used)
    }
}

/// The words of a line: a quoted one is one word, with its quotes.
fn words(line: &str) -> Vec<&str> {
    let mut words = Vec::new();
    let (mut begin, mut is_quoted, mut is_escaped) = (0, false, false);
    for (at, byte) in line.bytes().enumerate() {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if is_quoted => is_escaped = true,
            b'"' => is_quoted = !is_quoted,
            b' ' if !is_quoted => {
                words.extend(line.get(begin..at).filter(|word| !word.is_empty()));
                begin = at + 1;
            }
            _ => {}
        }
    }
    words.extend(line.get(begin..).filter(|word| !word.is_empty()));
    words
}

/// Names of helpers have nothing that is escaped; one that does is assigned by no rule we know.
fn unquoted(word: &str) -> &str {
    let word = word.trim_end_matches(',');
    word.strip_prefix('"').and_then(|word| word.strip_suffix('"')).unwrap_or(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn helpers(lines: &[(Backend, &str)]) -> Helpers {
        let mut helpers = Helpers::default();
        lines.iter().for_each(|(backend, line)| helpers.add(*backend, (Family::Inet, "t"), line));
        helpers
    }

    fn assigned(backend: Backend, lines: &[&str]) -> bool {
        let lines: Vec<_> = lines.iter().map(|&line| (backend, line)).collect();
        helpers(&lines).assign(b"ftp")
    }

    #[test]
    fn a_rule_of_iptables_names_its_helper() {
        let assigned = |line| assigned(Backend::IptablesLegacy, &[line]);
        assert!(assigned("-A PREROUTING -p tcp -m tcp --dport 21 -j CT --helper ftp"));
        assert!(assigned("-A PREROUTING -p tcp -j CT --zone 3 --helper ftp --timeout x"));
        for other in [
            "-A PREROUTING -p tcp -j CT --helper sip",
            "-A PREROUTING -m helper --helper ftp -j ACCEPT",
            "-A PREROUTING -m helper --helper ftp -j CT --zone 3",
            "-A PREROUTING -m comment --comment \"-j CT --helper ftp\" -j ACCEPT",
            "-A PREROUTING -m comment --comment \"\\\" -j CT --helper ftp\" -j ACCEPT",
            "-A PREROUTING -j CT --helper",
        ] {
            assert!(!assigned(other), "{other}");
        }
    }

    #[test]
    fn a_native_rule_names_an_object() {
        let object = "ct helper inet t h type \"ftp\" protocol tcp l3proto inet";
        let assigned = |line| assigned(Backend::Nftables, &[object, line]);
        assert!(assigned("inet t c tcp dport 21 ct helper set \"h\""));
        assert!(assigned("inet t c ct helper set tcp dport map { 21 : \"h\", 22 : \"i\" }"));
        assert!(assigned("inet t c ct helper set tcp dport map @m"));
        for other in [
            "inet t c tcp dport 21 ct helper set \"other\"",
            "inet t c tcp dport 21 ct helper \"ftp\" accept",
            "inet t c accept comment \"ct helper set \\\"h\\\"\"",
            "inet t c accept comment \"h\"",
        ] {
            assert!(!assigned(other), "{other}");
        }
        let mut elsewhere = helpers(&[(Backend::Nftables, object)]);
        elsewhere.add(Backend::Nftables, (Family::Inet, "u"), "inet u c ct helper set \"h\"");
        assert!(!elsewhere.assign(b"ftp"), "the object of another table");
    }
}
