//! What `check --compare` prints.
//! Compares nothing itself.

use std::fmt::Write as _;

use crate::app::checks::compare::{Comparison, Difference, Place};
use crate::domain::rules::wording::{entry, table_name};
use crate::domain::words::escape::{self, Printable};
use crate::domain::words::numbers::counted;

/// The comparison for people, with the text of so many differences; the others are counted.
pub(super) fn text(comparison: &Comparison, node: &str, limit: usize) -> String {
    let Comparison { programs, lines, differences, notes } = comparison;
    let (node, programs) = (escape::name(node), programs.join(", "));
    let lines = counted(*lines as u64, "line");
    let mut text = match differences.len() {
        0 => format!("EQUAL  {node}: {lines} of the kernel, and {programs} say the same\n"),
        count => format!(
            "DIFFERENT  {node}: {} between {lines} of the kernel and {programs}\n",
            counted(count as u64, "difference")
        ),
    };
    for Difference { place, kernel, tool, program } in differences.iter().take(limit) {
        let width = program.len().max("kernel".len());
        let _ = writeln!(text, "\n{}", title(place));
        for (who, line) in [("kernel", kernel), (program.as_str(), tool)] {
            let Some(line) = line else {
                let _ = writeln!(text, "  {who:width$}  says nothing");
                continue;
            };
            let Printable { text: shown, is_escaped } = escape::line(line);
            let mark = if is_escaped { "  (with escapes)" } else { "" };
            let _ = writeln!(text, "  {who:width$}  | {shown}{mark}");
        }
    }
    if let Some(more @ 1..) = differences.len().checked_sub(limit) {
        let _ = writeln!(text, "\nand {} that are not shown", counted(more as u64, "difference"));
    }
    for note in notes {
        let _ = writeln!(text, "\nnote: {}", escape::line(note.as_bytes()).text);
    }
    text
}

fn title(place: &Place) -> String {
    let table = table_name(place.backend, place.family, &place.table);
    match entry(place.kind, place.chain.as_deref(), place.position) {
        Some(entry) => format!("{table}, {entry}"),
        None => table,
    }
}
