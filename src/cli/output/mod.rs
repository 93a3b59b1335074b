//! Writes a check's report down: for people, for programs, for code scanning and for test runners.
//! Decides nothing: the verdict is the report's, and no format may look cleaner than it is.

mod escape;
mod json;
mod junit;
mod sarif;
mod text;

use std::io;
use std::time::SystemTime;

use jiff::Timestamp;

use crate::domain::report::{Report, Verdict, Violation};
use crate::domain::ruleset::{Backend, Family, IPTABLES_TABLES, Kind};

/// How a report is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// For programs: `docs/schema/check.v1.json`.
    Json,
    /// For code scanning: SARIF 2.1.0.
    Sarif,
    /// For test runners: JUnit XML.
    Junit,
}

/// What a writer may choose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WriteOptions {
    /// Colour the text for people.
    pub color: bool,
    /// How many violations are written with their text; the others are only counted.
    pub limit: usize,
    /// Of the text for people, only the verdict.
    pub quiet: bool,
}

impl WriteOptions {
    /// The most violations that are written with their text, unless told otherwise.
    pub const DEFAULT_LIMIT: usize = 1_000;
}

impl Default for WriteOptions {
    fn default() -> Self {
        Self { color: false, limit: Self::DEFAULT_LIMIT, quiet: false }
    }
}

/// Writes a report, ended by a newline.
///
/// Untrusted text is escaped in every format: what is written is printable text, newlines and, if asked for,
/// colours.
///
/// # Errors
/// When `out` cannot be written to.
pub fn write(
    report: &Report,
    format: Format,
    options: &WriteOptions,
    out: &mut impl io::Write,
) -> io::Result<()> {
    let shown = Shown::new(report, options.limit);
    let rendered = match format {
        Format::Text => text::render(&shown, options),
        Format::Json => json::render(&shown)?,
        Format::Sarif => sarif::render(&shown)?,
        Format::Junit => junit::render(&shown),
    };
    out.write_all(rendered.as_bytes())?;
    out.flush()
}

/// A report and the part of its violations that is written with text.
struct Shown<'a> {
    report: &'a Report,
    verdict: Verdict,
    violations: &'a [Violation],
}

impl<'a> Shown<'a> {
    fn new(report: &'a Report, limit: usize) -> Self {
        let violations = report.violations.get(..limit).unwrap_or(&report.violations);
        Self { report, verdict: report.verdict(), violations }
    }

    /// How many violations are only counted.
    fn hidden(&self) -> u64 {
        self.report.violation_count.saturating_sub(self.violations.len() as u64)
    }

    /// "997 more unexpected rules are not listed; SHA-256 of all 1,000: ..."; none when all are.
    fn hidden_note(&self) -> Option<String> {
        let hidden = self.hidden();
        (hidden > 0).then(|| {
            format!(
                "{} {} not listed; SHA-256 of all {}: {}",
                grouped(hidden),
                if hidden == 1 { "unexpected rule is" } else { "unexpected rules are" },
                grouped(self.report.violation_count),
                escape::name(&self.report.violations_hash),
            )
        })
    }

    fn rules(&self) -> u64 {
        self.report.tables.iter().map(|table| table.rules).fold(0, u64::saturating_add)
    }
}

/// Where a violation is, in words: "iptables-nft, family ip, table filter, chain INPUT, rule 3".
fn place(violation: &Violation) -> String {
    let table = table_name(violation.backend, violation.family, &violation.table);
    match entry_name(violation) {
        Some(entry) => format!("{table}, {entry}"),
        None => table,
    }
}

fn table_name(backend: Backend, family: Family, table: &str) -> String {
    format!("{backend}, family {family}, table {}", escape::name(table))
}

fn entry_name(violation: &Violation) -> Option<String> {
    let chain = escape::name(violation.chain.as_deref()?);
    let position = violation.position.map(|number| format!(", rule {number}")).unwrap_or_default();
    Some(match violation.kind {
        Kind::Rule => format!("chain {chain}{position}"),
        Kind::Policy => format!("policy of chain {chain}"),
        Kind::Element => format!("element of {chain}"),
        Kind::Chain | Kind::Table | Kind::Set | Kind::Map | Kind::Flowtable | Kind::Object => {
            format!("{} {chain}", violation.kind.as_str())
        }
    })
}

/// The allowlist file whose patterns judge a violation, in words: "the file filter".
fn allowlist_file(violation: &Violation) -> String {
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

/// The moment in UTC, cut to what RFC 3339 can hold.
fn timestamp(time: SystemTime) -> Timestamp {
    if time < SystemTime::UNIX_EPOCH {
        return Timestamp::UNIX_EPOCH;
    }
    Timestamp::try_from(time).unwrap_or(Timestamp::MAX)
}

/// A count with its noun: "1 problem", "1,204 rules".
fn counted(count: u64, noun: &str) -> String {
    format!("{} {noun}{}", grouped(count), if count == 1 { "" } else { "s" })
}

/// "1204567" as "1,204,567".
fn grouped(number: u64) -> String {
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

    #[test]
    fn clamps_times_that_rfc_3339_cannot_hold() {
        let before = SystemTime::UNIX_EPOCH - std::time::Duration::from_secs(1);
        let far = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1 << 40);
        assert_eq!(timestamp(before).to_string(), "1970-01-01T00:00:00Z");
        assert!(timestamp(far).to_string().starts_with("9999-12-30T"));
    }
}
