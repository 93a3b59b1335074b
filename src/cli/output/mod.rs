//! Writes a check's report down: for people, for programs, for code scanning and for test runners.
//! Decides nothing: the verdict is the report's, and no format may look cleaner than it is.

mod junit;
mod sarif;
mod shown;
mod text;

use std::io;

use crate::domain::judging::report::{Report, json};
use shown::Shown;
pub use shown::WriteOptions;
pub(super) use shown::timestamp;

/// How a report is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// For programs: `docs/schema/check.v2.json`.
    Json,
    /// For code scanning: SARIF 2.1.0.
    Sarif,
    /// For test runners: JUnit XML.
    Junit,
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
        Format::Json => json::render(report, options.limit)?,
        Format::Sarif => sarif::render(&shown)?,
        Format::Junit => junit::render(&shown),
    };
    out.write_all(rendered.as_bytes())?;
    out.flush()
}
