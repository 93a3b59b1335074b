//! The part of the page that tells which packets were dropped of late, and how well that is known.
//! Shows the last ones and the pairs with most of them; the status has more.

use std::net::IpAddr;
use std::time::SystemTime;

use super::super::html::Html;
use super::super::live::drops::Seen;
use super::text::{cut, moment};
use crate::domain::drops::accounting::{DropCounts, Fate};
use crate::domain::drops::record::Record;
use crate::domain::words::escape;
use crate::domain::words::moment::utc;
use crate::domain::words::numbers::{counted, grouped};

/// Rows that are shown.
const MAX_PAIRS: usize = 10;
const MAX_DROPS: usize = 50;
/// Characters of a cell that are shown.
const MAX_CELL: usize = 200;

/// The sources, the pairs with most packets, and the last packets.
pub(super) fn drops(page: &mut Html, seen: &Seen, now: SystemTime) {
    page.raw("<section aria-labelledby=\"drops\">\n<h2 id=\"drops\">Drops</h2>\n");
    sources(page, seen);
    if seen.last.is_empty() && seen.top.is_empty() {
        page.raw("<p class=\"more\">No drop was seen since ");
        moment(page, seen.since);
        page.raw(".</p>\n");
    } else {
        pairs(page, seen);
        last(page, seen, now);
    }
    page.raw("</section>\n");
}

fn sources(page: &mut Html, seen: &Seen) {
    page.raw("<ul class=\"sources\" aria-label=\"Sources\">\n");
    for (name, counts) in &seen.sources {
        page.raw("<li><b>");
        cut(page, name, MAX_CELL);
        page.raw("</b>: ").text(&counted(counts.read(), "line")).raw(" read");
        for fate in Fate::ALL {
            page.raw(", ").text(&grouped(counts.of(fate))).raw(" ").raw(fate.as_str());
        }
        lost(page, counts);
        page.raw("</li>\n");
    }
    page.raw("</ul>\n");
}

fn lost(page: &mut Html, counts: &DropCounts) {
    page.raw(if counts.lost > 0 { ", <b class=\"lost\">" } else { ", <b>" });
    page.text(&grouped(counts.lost)).raw(" lost</b>");
    if counts.gaps > 0 {
        page.raw(", <b class=\"lost\">").text(&counted(counts.gaps, "gap")).raw(" of unknown size</b>");
    }
}

fn pairs(page: &mut Html, seen: &Seen) {
    page.raw("<div class=\"sheet\"><table class=\"drops\" role=\"table\" aria-label=\"Pairs with most packets\">\n");
    columns(page, &["Most packets", "Share of the first", "Packets"]);
    page.raw("<tbody role=\"rowgroup\">\n");
    let most = seen.top.first().map_or(1, |(_, _, count)| *count);
    for (src, dst, count) in seen.top.iter().take(MAX_PAIRS) {
        page.raw("<tr role=\"row\"><td role=\"cell\">");
        cut(page, src, MAX_CELL);
        page.raw(" <i>to</i> ");
        cut(page, dst, MAX_CELL);
        page.raw("</td><td role=\"cell\" class=\"share\">");
        bar(page, *count, most);
        page.raw("</td><td role=\"cell\" class=\"count\">").text(&grouped(*count)).raw("</td></tr>\n");
    }
    page.raw("</tbody>\n</table></div>\n");
}

/// A bar whose whole length is `most`.
fn bar(page: &mut Html, count: u64, most: u64) {
    let share = u128::from(count) * 100 / u128::from(most.max(1));
    let share = share.clamp(1, 100).to_string();
    page.raw("<svg class=\"bar\" viewBox=\"0 0 100 1\" preserveAspectRatio=\"none\" aria-hidden=\"true\">");
    page.raw("<rect width=\"100\" height=\"1\" class=\"rest\"/><rect height=\"1\" width=\"").text(&share);
    page.raw("\"/></svg>");
}

fn last(page: &mut Html, seen: &Seen, now: SystemTime) {
    page.raw("<div class=\"sheet\"><table class=\"drops last\" role=\"table\" aria-label=\"Last drops\">\n");
    columns(page, &["Time", "From", "To", "Port", "Rule", "Packets"]);
    page.raw("<tbody role=\"rowgroup\">\n");
    let today = utc(now);
    for (record, count) in seen.last.iter().take(MAX_DROPS) {
        row(page, record, *count, &today);
    }
    page.raw("</tbody>\n</table></div>\n");
    if seen.last.len() > MAX_DROPS {
        page.raw("<p class=\"more\">Older drops are in <a href=\"/status\">/status</a>.</p>\n");
    }
    page.raw(
        "<p class=\"more\">Repeats within the interval are no rows of their own; the pairs count them.</p>\n",
    );
}

fn columns(page: &mut Html, names: &[&'static str]) {
    page.raw("<thead role=\"rowgroup\"><tr role=\"row\">");
    for name in names {
        page.raw("<th scope=\"col\" role=\"columnheader\">").raw(name).raw("</th>");
    }
    page.raw("</tr></thead>\n");
}

fn row(page: &mut Html, record: &Record, count: u64, today: &str) {
    page.raw("<tr role=\"row\"><td role=\"cell\" class=\"time\">");
    time(page, record, today);
    page.raw("</td><td role=\"cell\" class=\"from\">");
    side(page, record.src_peer.as_deref(), record.src);
    page.raw("</td><td role=\"cell\" class=\"to\">");
    side(page, record.dst_peer.as_deref(), record.dst);
    page.raw("</td><td role=\"cell\" class=\"port\">");
    cut(page, &port(record), MAX_CELL);
    page.raw("</td><td role=\"cell\" class=\"by\">");
    rule(page, record);
    page.raw("</td><td role=\"cell\" class=\"count\">").text(&grouped(count)).raw("</td></tr>\n");
}

/// "10:16:24" of today, else with its date. The log's clock is the node's: UTC.
fn time(page: &mut Html, record: &Record, today: &str) {
    let Some(whole) = record.time.as_deref() else {
        page.raw("unknown");
        return;
    };
    let seconds = whole.split(['.', 'Z']).next().unwrap_or(whole);
    let shown = match (seconds.split_once('T'), today.split_once('T')) {
        (Some((date, time)), Some((now, _))) if date == now => time.to_owned(),
        _ => seconds.replace('T', " "),
    };
    page.raw("<time datetime=\"").text(whole).raw("\">").text(&shown).raw("</time>");
}

fn side(page: &mut Html, peer: Option<&str>, ip: Option<IpAddr>) {
    let ip = ip.map(|ip| ip.to_string());
    match (peer, ip) {
        (Some(peer), ip) => {
            page.raw("<b>");
            cut(page, peer, MAX_CELL);
            page.raw("</b>");
            if let Some(ip) = ip {
                page.raw(" <small>").text(&ip).raw("</small>");
            }
        }
        (None, Some(ip)) => {
            page.text(&ip);
        }
        (None, None) => {
            page.raw("unknown");
        }
    }
}

/// "443/tcp", "icmp type 3 code 1", "arp".
fn port(record: &Record) -> String {
    let protocol = record.protocol.as_deref().unwrap_or("unknown");
    match (record.dst_port, record.icmp_type, record.icmp_code) {
        (Some(port), ..) => format!("{port}/{protocol}"),
        (None, Some(kind), Some(code)) => format!("{protocol} type {kind} code {code}"),
        (None, Some(kind), None) => format!("{protocol} type {kind}"),
        _ => protocol.to_owned(),
    }
}

fn rule(page: &mut Html, record: &Record) {
    if record.action == Some("accept") {
        page.raw("<span class=\"flag\">accepted</span> ");
    }
    match &record.rule {
        Some(rule) => cut(page, rule, MAX_CELL),
        None => {
            page.raw("prefix ");
            cut(page, &escape::name(&record.prefix), MAX_CELL);
        }
    }
    if !record.complete {
        page.raw(" <span class=\"flag\">understood in part</span>");
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use super::*;
    use crate::domain::packets::packet::{Action, Packet};

    fn record() -> Record {
        Record::from(&Packet::new(Cow::Borrowed(b"drop"), Action::Drop))
    }

    #[test]
    fn ports_are_said_as_far_as_they_are_known() {
        let tcp = || Some("tcp".to_owned());
        let icmp = || Some("icmp".to_owned());
        for (dst_port, protocol, icmp_type, icmp_code, expected) in [
            (Some(443), tcp(), None, None, "443/tcp"),
            (Some(443), None, None, None, "443/unknown"),
            (None, tcp(), None, None, "tcp"),
            (None, icmp(), Some(3), Some(1), "icmp type 3 code 1"),
            (None, icmp(), Some(8), None, "icmp type 8"),
            (None, None, None, None, "unknown"),
        ] {
            assert_eq!(port(&Record { dst_port, protocol, icmp_type, icmp_code, ..record() }), expected);
        }
    }

    #[test]
    fn today_needs_no_date() {
        let shown = |at: Option<&str>| {
            let mut page = Html::default();
            time(&mut page, &Record { time: at.map(Into::into), ..record() }, "2026-11-21T14:00:00Z");
            let text = page.finish();
            text.split_once('>').map_or(text.clone(), |(_, rest)| rest.replace("</time>", ""))
        };
        assert_eq!(shown(Some("2026-11-21T10:16:24.123456Z")), "10:16:24");
        assert_eq!(shown(Some("2026-11-21T10:16:24Z")), "10:16:24");
        assert_eq!(shown(Some("2026-11-20T10:16:24.1Z")), "2026-11-20 10:16:24");
        assert_eq!(shown(None), "unknown");
    }

    #[test]
    fn bars_are_never_empty_and_never_too_long() {
        let width = |count, most| {
            let mut page = Html::default();
            bar(&mut page, count, most);
            let text = page.finish();
            let (_, rest) = text.rsplit_once("width=\"").unwrap_or_default();
            rest.split('"').next().unwrap_or_default().to_owned()
        };
        for (count, most, expected) in
            [(0, 0, "1"), (1, 1_000, "1"), (37, 100, "37"), (u64::MAX, u64::MAX, "100"), (9, 1, "100")]
        {
            assert_eq!(width(count, most), expected);
        }
    }
}
