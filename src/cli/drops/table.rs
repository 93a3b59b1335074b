//! Drops for people: one row for each kind, the most first, and what became of the log lines.
//! Reads nothing; all text of the log comes out escaped.

use std::collections::HashMap;
use std::sync::Arc;

use crate::domain::drops::accounting::{Accounting, Fate};
use crate::domain::drops::record::Record;
use crate::domain::words::escape;
use crate::domain::words::numbers::{counted, grouped};

/// Kinds that are told apart; the rest are one row.
const KINDS: usize = 10_000;

/// Packets of one kind: from, to, port and protocol, prefix, rule.
type Row = [String; 5];

/// The kinds seen so far.
#[derive(Debug)]
pub(super) struct Table {
    /// Whether only some packets are asked for.
    is_narrowed: bool,
    rows: HashMap<Row, u64>,
    other: u64,
}

/// A row is no wider where that can be.
const WIDTH: usize = 80;
/// So much of a name stays.
const NAME: usize = 10;
const HEAD: [&str; 6] = ["COUNT", "FROM", "TO", "PORT", "PREFIX", "RULE"];

impl Table {
    pub(super) fn new(is_narrowed: bool) -> Self {
        Self { is_narrowed, rows: HashMap::new(), other: 0 }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    pub(super) fn add(&mut self, record: &Record, count: u64) {
        let row = row(record);
        if self.rows.len() < KINDS || self.rows.contains_key(&row) {
            *self.rows.entry(row).or_default() += count;
        } else {
            self.other += count;
        }
    }

    /// The table with at most so many rows.
    pub(super) fn render(&self, accounts: &[(String, Arc<Accounting>)], most: usize) -> String {
        let mut rows: Vec<_> = self.rows.iter().collect();
        rows.sort_unstable_by(|a, b| b.1.cmp(a.1).then(a.0.cmp(b.0)));
        let left_out = rows.len().saturating_sub(most);
        rows.truncate(most);
        let mut cells = vec![HEAD.map(str::to_owned)];
        cells.extend(rows.iter().map(|([from, to, port, prefix, rule], count)| {
            [grouped(**count), from.clone(), to.clone(), port.clone(), prefix.clone(), rule.clone()]
        }));
        let mut text = String::new();
        if rows.is_empty() {
            text.push_str(if self.is_narrowed {
                "no such packet was logged\n"
            } else {
                "no packet was logged\n"
            });
        } else {
            columns(&cells, &mut text);
        }
        if left_out > 0 || self.other > 0 {
            text.push_str(&format!(
                "and {} more kinds, {} packets beside\n",
                grouped(left_out as u64),
                grouped(self.other)
            ));
        }
        for (source, accounting) in accounts {
            text.push_str(&account(source, accounting));
        }
        text
    }
}

fn columns(cells: &[[String; 6]], text: &mut String) {
    let widths = widths(cells);
    for row in cells {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(widths) {
            line.push_str(&format!("{:<width$}  ", cut(cell, width)));
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
}

/// How wide each column is: the widest give way until a row fits, as far as they can.
fn widths(cells: &[[String; 6]]) -> [usize; 6] {
    let most = |column: usize, of: &dyn Fn(&str) -> usize| {
        cells.iter().filter_map(|row| row.get(column)).map(|cell| of(cell)).max().unwrap_or(0)
    };
    let columns = [0, 1, 2, 3, 4, 5];
    let mut widths = columns.map(|column| most(column, &|cell| cell.chars().count()));
    let least = columns.map(|column| most(column, &|cell| least(column, cell)));
    while widths.iter().sum::<usize>() + 2 * (HEAD.len() - 1) > WIDTH {
        let can_give = widths.iter_mut().zip(least).filter(|(width, least)| **width > *least);
        let Some((widest, _)) = can_give.max_by_key(|(width, _)| **width) else { break };
        *widest -= 1;
    }
    widths
}

/// What of a cell must stay: counts, ports and addresses, and some of a name.
fn least(column: usize, cell: &str) -> usize {
    let length = cell.chars().count();
    match column {
        1 | 2 => address(cell).map_or(length, |address| length.min(address.len() + NAME)),
        4 | 5 => length.min(NAME),
        _ => length,
    }
}

/// ` (10.0.0.5)` behind a name.
fn address(cell: &str) -> Option<&str> {
    cell.ends_with(')').then(|| cell.rfind(" (").and_then(|at| cell.get(at..)))?
}

/// A cell in so many characters; an address behind a name stays.
fn cut(cell: &str, width: usize) -> String {
    let length = cell.chars().count();
    if length <= width {
        return cell.to_owned();
    }
    let end = address(cell).filter(|address| address.len() < width).unwrap_or_default();
    let name: String = cell.chars().take(width.saturating_sub(end.len() + 1)).collect();
    format!("{name}…{end}")
}

/// One record as a line.
pub(super) fn line(record: &Record, count: u64) -> String {
    let [from, to, port, prefix, rule] = row(record);
    let time = record.time.as_deref().unwrap_or("-");
    let times = if count > 1 { format!(" ({count} times)") } else { String::new() };
    let rule = if rule == "-" { String::new() } else { format!(" by {rule}") };
    format!("{time} {prefix} {from} -> {to} {port}{times}{rule}\n")
}

fn row(record: &Record) -> Row {
    let side = |peer: &Option<String>, ip: Option<std::net::IpAddr>| match (peer, ip) {
        (Some(peer), Some(ip)) => format!("{} ({ip})", shown(peer)),
        (_, Some(ip)) => ip.to_string(),
        _ => "-".to_owned(),
    };
    let protocol = record.protocol.as_deref().unwrap_or("-");
    let port = match (record.dst_port, record.icmp_type) {
        (Some(port), _) => format!("{port}/{protocol}"),
        (None, Some(kind)) => format!("type {kind}/{protocol}"),
        _ => protocol.to_owned(),
    };
    let prefix = if record.prefix.is_empty() { "-".to_owned() } else { shown(&record.prefix) };
    let rule = record.rule.clone().unwrap_or_else(|| "-".to_owned());
    [side(&record.src_peer, record.src), side(&record.dst_peer, record.dst), port, prefix, rule]
}

fn shown(text: &str) -> String {
    escape::line(text.as_bytes()).text.into_owned()
}

/// `kmsg: 120 lines arrived: 100 read (12 packets, 88 others), 20 lost`
fn account(source: &str, accounting: &Accounting) -> String {
    let counts = accounting.counts();
    let packets = counts.of(Fate::Reported) + counts.of(Fate::Folded);
    let mut parts = vec![format!("{} read", grouped(counts.read())), counted(packets, "packet")];
    for (count, what) in [
        (counts.of(Fate::Ignored), "ignored"),
        (counts.of(Fate::Unparsed), "not understood"),
        (counts.incomplete, "understood in part"),
        (counts.of(Fate::Shed), "shed"),
        (counts.lost, "lost"),
        (counts.cut, "cut"),
        (counts.gaps, "losses of unknown size"),
    ] {
        if count > 0 {
            parts.push(format!("{} {what}", grouped(count)));
        }
    }
    format!("{}: {}\n", shown(source), parts.join(", "))
}

/// Rows that fit the terminal, with room for the head and the sources.
pub(super) fn rows() -> usize {
    let size = rustix::termios::tcgetwinsize(std::io::stdout());
    size.map_or(40, |size| usize::from(size.ws_row).saturating_sub(6).max(5))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(prefix: &str, port: u16) -> Record {
        Record {
            time: Some("2026-11-21T10:00:00Z".into()),
            prefix: prefix.into(),
            action: Some("drop"),
            in_dev: None,
            out_dev: None,
            src: "10.0.0.5".parse().ok(),
            dst: "10.0.0.6".parse().ok(),
            src_port: Some(40_000),
            dst_port: Some(port),
            protocol: Some("tcp".into()),
            length: None,
            ttl: None,
            icmp_type: None,
            icmp_code: None,
            repeated: None,
            complete: true,
            src_peer: Some("shop/web-1".into()),
            dst_peer: None,
            rule: None,
        }
    }

    #[test]
    fn the_most_come_first_and_lines_are_accounted_for() {
        let mut table = Table::new(false);
        table.add(&record("a:", 80), 1);
        table.add(&record("a:", 443), 3);
        let accounting = Arc::new(Accounting::default());
        accounting.add(Fate::Reported, 2);
        accounting.add(Fate::Folded, 2);
        accounting.add_losses(5, 0, 0);
        let text = table.render(&[("kmsg".into(), accounting)], 10);
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines[0], "COUNT  FROM                   TO        PORT     PREFIX  RULE");
        assert_eq!(lines[1], "3      shop/web-1 (10.0.0.5)  10.0.0.6  443/tcp  a:      -");
        assert_eq!(lines[3], "kmsg: 4 read, 4 packets, 5 lost");
    }

    #[test]
    fn long_names_give_way_and_numbers_are_grouped() {
        let mut table = Table::new(false);
        table.add(&record("a:", 80), 1_234);
        let long = "a-very-long-prefix-of-some-rule:";
        table.add(
            &Record { src_peer: Some("monitoring/prometheus-0123456789".into()), ..record(long, 443) },
            3,
        );
        let rule = "iptables-nft filter cali-tw-0123456789a 12 (then drop by rule 13)";
        table.add(&Record { rule: Some(rule.into()), ..record("b:", 1) }, 2);
        let accounting = Arc::new(Accounting::default());
        accounting.add(Fate::Reported, 1_239);
        accounting.add(Fate::Ignored, 6_000);
        let text = table.render(&[("kmsg".into(), accounting)], 10);
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
        assert!(
            text.lines().nth(2).is_some_and(|line| line.contains("… (10.0.0.5)  10.0.0.6  443/tcp  a-ver")),
            "{text}"
        );
        assert!(
            text.contains("\n1,234  ") && text.contains("7,239 read, 1,239 packets, 6,000 ignored"),
            "{text}"
        );
        // addresses are never cut
        let v6 = "fd00:1111:2222:3333:4444:5555:6666:7777".parse().ok();
        table.add(&Record { src: v6, dst: v6, ..record(long, 53) }, 1);
        assert_eq!(table.render(&[], 10).matches("fd00:1111:2222:3333:4444:5555:6666:7777").count(), 2);
    }

    #[test]
    fn a_hostile_prefix_stays_on_its_line() {
        let text = line(&record("a\x1b[2J\nb", 80), 2);
        assert_eq!(text.matches('\n').count(), 1, "{text}");
        assert!(!text.contains('\x1b') && text.contains("(2 times)"), "{text}");
    }
}
