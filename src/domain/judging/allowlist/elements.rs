//! Which sets have their content judged: an allowlist says so by a pattern for the line of the content.
//! Judges no line.
//!
//! The content of a set that is no map is one line, `elements FAMILY TABLE SET COUNT sha256 HASH`. It is judged only where
//! someone wants that, for most sets change all the time and an allowed rule that names one trusts it.

use std::collections::BTreeSet;

use super::broken::BrokenPattern;
use super::list::{List, Pattern};

/// What such a line begins with.
const BEGINNING: &str = "elements ";

/// The sets whose content is judged.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct JudgedElements {
    /// A pattern is for no set in particular.
    are_all: bool,
    /// `elements FAMILY TABLE SET `, of each set that a pattern names.
    places: BTreeSet<String>,
}

impl JudgedElements {
    /// What the patterns of list `nftables` ask for. A broken one asks, too: nobody may believe that a set is judged that
    /// is not.
    pub fn new(patterns: &[Pattern], broken: &[BrokenPattern]) -> Self {
        let mut judged = Self::default();
        let texts = patterns.iter().filter(|pattern| pattern.list == List::Nftables).map(|p| &*p.text);
        let broken = broken.iter().filter(|broken| broken.list == Some(List::Nftables));
        for text in texts.chain(broken.map(|broken| broken.pattern.as_str())) {
            let Some(anchored) = text.strip_prefix('^') else { continue };
            let literal = literal(anchored);
            match place(&literal) {
                Some(place) => drop(judged.places.insert(place.to_owned())),
                None => judged.are_all |= literal.starts_with(BEGINNING),
            }
        }
        judged
    }

    /// Whether the content of the set is judged that this line tells of; true for any other line.
    pub fn are_judged(&self, line: &[u8]) -> bool {
        let Some(line) = str::from_utf8(line).ok().filter(|line| line.starts_with(BEGINNING)) else {
            return !line.starts_with(BEGINNING.as_bytes()) || self.are_all;
        };
        self.are_all || place(line).is_some_and(|place| self.places.contains(place))
    }
}

/// Whether a line tells the content of a set.
pub fn is_of_elements(line: &[u8]) -> bool {
    line.starts_with(BEGINNING.as_bytes())
}

/// The literal text that a pattern begins with: up to the first character that has a meaning, and without the one that a
/// repetition is about.
fn literal(pattern: &str) -> String {
    let mut text = String::new();
    let mut rest = pattern.chars();
    while let Some(next) = rest.next() {
        match next {
            '*' | '+' | '?' | '{' => {
                text.pop();
                break;
            }
            // a letter or digit behind a backslash is a class
            '\\' => match rest.next() {
                Some(escaped) if escaped.is_ascii_punctuation() => text.push(escaped),
                _ => break,
            },
            '.' | '[' | '(' | ')' | '|' | '^' | '$' => break,
            _ => text.push(next),
        }
    }
    text
}

/// `elements FAMILY TABLE SET ` at the beginning of a text; a name is one word, or quoted.
fn place(text: &str) -> Option<&str> {
    let mut rest = text.strip_prefix(BEGINNING)?;
    for _ in 0..3 {
        rest = behind_name(rest)?.strip_prefix(' ')?;
    }
    text.get(..text.len() - rest.len())
}

fn behind_name(text: &str) -> Option<&str> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find(' ')?;
        return (end > 0).then(|| text.get(end..))?;
    };
    let mut rest = quoted.chars();
    loop {
        match rest.next()? {
            '\\' => drop(rest.next()?),
            '"' => return Some(rest.as_str()),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Allowlist, PatternFile};

    fn judged(patterns: &str, line: &str) -> bool {
        let file = |list| PatternFile { list, origin: "x".into(), text: patterns.as_bytes().to_vec() };
        let elsewhere = Allowlist::parse(&[file(super::List::Global)]);
        assert!(!elsewhere.judges_elements(b"elements inet t s 0 sha256 00"), "another list decides nothing");
        Allowlist::parse(&[file(super::List::Nftables)]).judges_elements(line.as_bytes())
    }

    #[test]
    fn a_pattern_has_a_set_judged() {
        let line = "elements inet t s 3 sha256 00ff";
        for (patterns, is_judged) in [
            ("", false),
            (".*", false),
            ("^elements", false),
            ("elements inet t s ", false),
            ("^elements? ", false),
            ("^elements inet t s 3 sha256 00ff$", true),
            ("^elements inet t s \\d+ sha256 ", true),
            ("^elements inet t s ", true),
            ("^elements inet t other ", false),
            ("^set inet t s\n^elements inet t other .*\n^elements inet t s .*", true),
            // for no set in particular
            ("^elements ", true),
            ("^elements .*", true),
            ("^elements inet t .* ", true),
            ("^elements inet t s", true),
            ("^elements inet t s* ", true),
            ("^elements inet [tu] s ", true),
            ("^elements inet t.u s ", true),
            // broken
            ("^elements inet t s (", true),
            ("^elements inet t other (", false),
        ] {
            assert_eq!(judged(patterns, line), is_judged, "{patterns}");
        }
        let quoted = r#"elements inet "a b" "c\"d" 3 sha256 00ff"#;
        assert!(judged(r#"^elements inet "a b" "c\\"d" "#, quoted));
        assert!(judged(r"^elements inet t s\.v4 ", "elements inet t s.v4 1 sha256 0"));
        assert!(!judged(r"^elements inet t s\.v4 ", "elements inet t sxv4 1 sha256 0"));
        assert!(judged("", "set inet t s type ipv4_addr"), "any other line is judged");
    }
}
