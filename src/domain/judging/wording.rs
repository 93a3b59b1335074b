//! Violations and blocked rules in words, the same in every report.
//! Escapes the names it is given; syntax of an output format is its writer's business.

use super::blocked::Blocked;
use super::report::Violation;
use crate::domain::rules::wording::{entry, table_name};
use crate::domain::rules::{Backend, Family, IPTABLES_TABLES};
use crate::domain::words::escape;
use crate::domain::words::moment::utc;
use crate::domain::words::numbers::counted;

/// Where a violation is, in words: "iptables-nft, family ip, table filter, chain INPUT, rule 3".
pub fn place(violation: &Violation) -> String {
    let table = table_name(violation.backend, violation.family, &violation.table);
    match entry_name(violation) {
        Some(entry) => format!("{table}, {entry}"),
        None => table,
    }
}

/// What a violation is in its table, in words: "chain INPUT, rule 3"; none for the table itself.
pub fn entry_name(violation: &Violation) -> Option<String> {
    entry(violation.kind, violation.chain.as_deref(), violation.position)
}

/// The allowlist file whose patterns judge a line of this table, in words: "the file filter".
pub fn allowlist_file(backend: Backend, family: Family, table: &str) -> String {
    let file = match (backend, family) {
        (Backend::Nftables | Backend::Netfilter, _) | (_, Family::Arp) => {
            return "the file nftables".to_owned();
        }
        _ if IPTABLES_TABLES.contains(&table) => table,
        _ => "global",
    };
    match family {
        Family::Ip6 => format!("the file {file} of the IPv6 allowlist"),
        _ => format!("the file {file}"),
    }
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
