//! Places and counts in words, the same in every report.
//! Escapes the names it is given; syntax of an output format is its writer's business.

mod attribution;

use std::time::SystemTime;

pub use attribution::{author, command_line, compact_authors, since};

use super::judging::blocked::Blocked;
use super::judging::report::Violation;
use super::rules::{Backend, Family, IPTABLES_TABLES, Kind};
use super::words::escape;

/// Where a violation is, in words: "iptables-nft, family ip, table filter, chain INPUT, rule 3".
pub fn place(violation: &Violation) -> String {
    let table = table_name(violation.backend, violation.family, &violation.table);
    match entry_name(violation) {
        Some(entry) => format!("{table}, {entry}"),
        None => table,
    }
}

/// A table, in words: "iptables-nft, family ip, table filter".
pub fn table_name(backend: Backend, family: Family, table: &str) -> String {
    format!("{backend}, family {family}, table {}", escape::name(table))
}

/// What a violation is in its table, in words: "chain INPUT, rule 3"; none for the table itself.
pub fn entry_name(violation: &Violation) -> Option<String> {
    entry(violation.kind, violation.chain.as_deref(), violation.position)
}

/// What a line declares in its table, in words: "chain INPUT, rule 3"; none for the table itself.
pub fn entry(kind: Kind, chain: Option<&str>, position: Option<u32>) -> Option<String> {
    let chain = escape::name(chain?);
    let position = position.map(|number| format!(", rule {number}")).unwrap_or_default();
    Some(match kind {
        Kind::Rule => format!("chain {chain}{position}"),
        Kind::Policy => format!("policy of chain {chain}"),
        Kind::Element => format!("element of {chain}"),
        Kind::Chain | Kind::Table | Kind::Set | Kind::Map | Kind::Flowtable | Kind::Object => {
            format!("{} {chain}", kind.as_str())
        }
    })
}

/// The allowlist file whose patterns judge a violation, in words: "the file filter".
pub fn allowlist_file(violation: &Violation) -> String {
    let file = match violation.backend {
        Backend::Nftables => return "the file nftables".to_owned(),
        _ if IPTABLES_TABLES.contains(&violation.table.as_str()) => &violation.table,
        _ => "global",
    };
    match violation.family {
        Family::Ip6 => format!("the file {file} of the IPv6 allowlist"),
        _ => format!("the file {file}"),
    }
}

/// A count with its noun: "1 problem", "1,204 rules".
pub fn counted(count: u64, noun: &str) -> String {
    format!("{} {noun}{}", grouped(count), if count == 1 { "" } else { "s" })
}

/// A moment in UTC: "2026-11-21T10:16:24Z". Cut to the years that RFC 3339 can hold from 1970 on.
pub fn utc(time: SystemTime) -> String {
    let time = jiff::Timestamp::try_from(time.max(SystemTime::UNIX_EPOCH)).unwrap_or(jiff::Timestamp::MAX);
    format!("{time:.0}")
}

/// What is known of blocked rules: "3 rules were blocked since 2026-11-21T10:16:24Z".
pub fn blocked(blocked: &Blocked) -> String {
    let known = match blocked.since {
        Some(since) => {
            let were = if blocked.count == 1 { "was" } else { "were" };
            format!("{} {were} blocked since {}", counted(blocked.count, "rule"), utc(since))
        }
        None => "How many rules were blocked is not known".to_owned(),
    };
    match &blocked.error {
        Some(error) => {
            format!("{known}; the counter cannot be read: {}", escape::line(error.as_bytes()).text)
        }
        None => known,
    }
}

/// "1204567" as "1,204,567".
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_digits_by_three() {
        for (number, expected) in [(0, "0"), (999, "999"), (1_000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(grouped(number), expected);
        }
    }
}
