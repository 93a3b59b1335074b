//! Where a rule stands, in words, the same in every report.
//! Escapes the names it is given; syntax of an output format is its writer's business.

use super::{Backend, Family, Kind};
use crate::domain::words::escape;

/// A table, in words: "iptables-nft, family ip, table filter".
pub fn table_name(backend: Backend, family: Family, table: &str) -> String {
    format!("{backend}, family {family}, table {}", escape::name(table))
}

/// What a line declares in its table, in words: "chain INPUT, rule 3"; none for the table itself.
pub fn entry(kind: Kind, chain: Option<&str>, position: Option<u32>) -> Option<String> {
    let chain = escape::name(chain?);
    let position = position.map(|number| format!(", rule {number}")).unwrap_or_default();
    Some(match kind {
        Kind::Rule => format!("chain {chain}{position}"),
        Kind::Policy => format!("policy of chain {chain}"),
        Kind::Element => format!("element of {chain}"),
        Kind::Chain
        | Kind::Table
        | Kind::Set
        | Kind::Map
        | Kind::Flowtable
        | Kind::Object
        | Kind::Hook
        | Kind::Expectation => format!("{} {chain}", kind.as_str()),
    })
}
