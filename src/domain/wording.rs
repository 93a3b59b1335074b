//! Places and counts in words, the same in every report.
//! Escapes the names it is given; syntax of an output format is its writer's business.

use super::escape;
use super::report::Violation;
use super::ruleset::{Backend, Family, IPTABLES_TABLES, Kind};

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

/// What a line is in its table, in words: "chain INPUT, rule 3"; none for the table itself.
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
