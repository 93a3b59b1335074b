//! The rules of `tests/data/iptables_rules.txt`, for one family, backend and version.
//! Loads none.

use iptables_monitor::domain::rules::Family;

use super::tools::{Backend, Version};

const RULES: &str = include_str!("../../data/iptables_rules.txt");

#[derive(Clone, Debug)]
pub struct Listed {
    pub table: &'static str,
    /// What follows `-A`.
    pub specification: String,
    /// Whether it loads on Linux 6.18.
    pub loads: bool,
    first: Version,
    last: Version,
}

impl Listed {
    /// Whether this version takes the rule.
    pub fn is_taken_by(&self, version: Version) -> bool {
        self.loads && self.first <= version && version <= self.last
    }

    /// How many rules it becomes: one for each pair of addresses.
    pub fn copies(&self) -> usize {
        let words: Vec<_> = self.specification.split(' ').collect();
        let addresses = words.windows(2).filter(|pair| matches!(pair[0], "-s" | "-d"));
        addresses.map(|pair| pair[1].split(',').count()).product()
    }
}

/// The rules for one family and backend.
pub fn listed(family: Family, backend: Backend) -> Vec<Listed> {
    let (digit, address, bracket, other) = match family {
        Family::Ip => ('4', "10.0.0.1", "10.0.0.1", "10.0.0.9"),
        _ => ('6', "fd00::1", "[fd00::1]", "fd00::9"),
    };
    let mut rules = Vec::new();
    for line in RULES.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let (marks, rest) = line.split_once(' ').expect("families");
        let (table, specification) = rest.split_once(' ').expect("a table");
        let (families, versions) = marks.split_once('@').unwrap_or((marks, ""));
        let (first, last) = versions.split_once('-').unwrap_or((versions, ""));
        let bound = |text: &str, default| if text.is_empty() { default } else { Version::parse(text) };
        let only = match families.chars().last() {
            Some('n') => Some(Backend::Nft),
            Some('l') => Some(Backend::Legacy),
            _ => None,
        };
        if families.contains(digit) && only.is_none_or(|only| only == backend) {
            rules.push(Listed {
                table,
                specification: specification
                    .replace("@ADDR@", address)
                    .replace("@ADDR2@", other)
                    .replace("@BRACKET@", bracket),
                loads: !families.starts_with('!'),
                first: bound(first, Version::MIN),
                last: bound(last, Version::MAX),
            });
        }
    }
    rules
}
