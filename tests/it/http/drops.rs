//! Drops on the page, in the status and among the metrics.
//! Follows no log: what was seen is made up.

use std::borrow::Cow;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use iptables_monitor::domain::drops::accounting::{Accounting, Fate};
use iptables_monitor::domain::drops::recent::Recent;
use iptables_monitor::domain::drops::record::Record;
use iptables_monitor::domain::packets::packet::{Action, Packet, Protocol};
use iptables_monitor::telemetry::http::Pages;
use iptables_monitor::telemetry::live::drops::{Followed, Seen};
use iptables_monitor::telemetry::metrics::Metrics;
use serde_json::{Value, json};

use super::page::html_of;
use super::{LONG, Server, samples};

fn source(name: &str, fates: [u64; 5], lost: u64, gaps: u64) -> (String, Arc<Accounting>) {
    let accounting = Accounting::default();
    Fate::ALL.into_iter().zip(fates).for_each(|(fate, count)| accounting.add(fate, count));
    accounting.add_losses(lost, gaps, 0);
    (name.to_owned(), Arc::new(accounting))
}

fn record(age: u64, from: (&str, Option<&str>), to: (&str, Option<&str>), port: u16) -> Record {
    let mut packet = Packet::new(Cow::Borrowed(b"calico-drop:"), Action::Drop);
    packet.at = Some(SystemTime::now() - Duration::from_secs(age));
    packet.is_complete = true;
    packet.header.src = from.0.parse().ok();
    packet.header.dst = to.0.parse().ok();
    packet.header.dst_port = Some(port).filter(|port| *port > 0);
    packet.header.protocol = Some(if port > 0 { Protocol::Tcp } else { Protocol::Icmp });
    let peers = [from.1, to.1].map(|name| name.map(str::to_owned));
    let [src_peer, dst_peer] = peers;
    Record { src_peer, dst_peer, ..Record::from(&packet) }
}

fn look(recent: Recent, sources: Vec<(String, Arc<Accounting>)>) -> Followed {
    let since = SystemTime::now() - Duration::from_secs(7_200);
    Followed { since, is_all: false, recent: Arc::new(Mutex::new(recent)), sources }
}

fn quiet() -> Followed {
    look(Recent::default(), vec![source("kmsg", [0, 0, 812, 0, 0], 0, 0)])
}

fn busy() -> Followed {
    let mut recent = Recent::default();
    let web = ("10.244.1.17", Some("shop/web-7d4b9c-x2x4p"));
    let db = ("10.244.3.9", Some("shop/db-0"));
    let rule = "iptables-nft ip filter cali-tw-cali1234567 rule 4, then drop by rule 5";
    for (age, from, to, port) in [
        (90_000, web, db, 5432),
        (64, ("192.0.2.77", Some("host scanner.example")), ("10.0.0.5", Some("node node-7")), 22),
        (9, ("2001:db8:1::53", None), ("fd00:10:244:1::17", web.1), 0),
        (2, web, db, 5432),
    ] {
        let record = Record { rule: (port == 5432).then(|| rule.to_owned()), ..record(age, from, to, port) };
        recent.push(
            record,
            if port == 22 { 3 } else { 1 },
            "shop",
            if port == 22 { "node-7" } else { "shop" },
        );
    }
    recent.count("shop", "shop", 1_233);
    recent.count("shop", "node-7", 400);
    recent.count("public", "shop", 38);
    let file = source("file:/var/log/iptables.log", [4, 1_672, 98_011, 1, 0], 0, 0);
    look(recent, vec![file, source("nflog:32", [0, 12, 0, 0, 0], 7, 1)])
}

/// Nothing was seen.
pub(super) fn none() -> Seen {
    quiet().seen()
}

/// Some drops were seen.
pub(super) fn some() -> Seen {
    busy().seen()
}

/// The same where no rules are checked.
pub(super) fn only(seen: Seen) -> Seen {
    Seen { is_all: true, ..seen }
}

/// Names that want to do harm, and too much of everything.
pub(super) fn hostile() -> Seen {
    let script = "\"></td></table><script>document.title='ran'</script>\u{202e}\x1b[2J".to_owned();
    let endless = format!("{script}{}", "w".repeat(5_000));
    let mut recent = Recent::default();
    for number in 0..300 {
        let mut record =
            record(number, ("2001:db8:1111:2222:3333:4444:5555:6666", Some(&endless)), ("x", None), 0);
        record.rule = (number % 2 == 0).then(|| endless.clone());
        record.prefix.clone_from(&script);
        record.time = (number % 3 == 0).then(|| script.clone());
        record.complete = false;
        record.action = Some("accept");
        record.protocol = Some(script.clone());
        recent.push(record, u64::MAX / 1_000, &format!("{number}{endless}"), &script);
    }
    look(recent, vec![source(&endless, [u64::MAX / 10; 5], u64::MAX / 10, 9)]).seen()
}

/// Something to look at that looks like this.
pub(super) fn followed(seen: Seen) -> Followed {
    let mut recent = Recent::default();
    let names: Vec<_> = seen.top.iter().map(|(src, dst, _)| (src.clone(), dst.clone())).collect();
    let names = names.iter().cycle();
    for ((record, count), (src, dst)) in seen.last.into_iter().rev().zip(names) {
        recent.push(record, count, src, dst);
    }
    Followed { is_all: seen.is_all, ..look(recent, vec![source("kmsg", [1; 5], 0, 0)]) }
}

/// Counts something in every metric of drops.
pub(super) fn count(metrics: &Metrics) {
    let drops = metrics.drops();
    drops.told("shop", "public");
    drops.packets("shop", "public", 3);
    let (name, accounting) = source("kmsg", [1, 2, 3, 4, 5], 6, 7);
    drops.add_source(&name, accounting);
}

fn page(seen: &Seen) -> String {
    html_of(Some(&samples::good()), &samples::quiet(), Some(seen), false, false)
}

/// The cells of each row of the tables of drops.
fn rows(page: &str) -> Vec<Vec<String>> {
    let options = roxmltree::ParsingOptions { allow_dtd: true, ..Default::default() };
    let document = roxmltree::Document::parse_with_options(page, options).expect("well formed");
    let is_row = |node: &roxmltree::Node| {
        let is_ours =
            |node: roxmltree::Node| node.attribute("class").is_some_and(|class| class.starts_with("drops"));
        node.has_tag_name("tr") && node.ancestors().any(is_ours)
    };
    let text = |cell: roxmltree::Node| {
        let text = cell.descendants().filter(roxmltree::Node::is_text).filter_map(|node| node.text());
        text.collect::<String>()
    };
    let cells = |row: roxmltree::Node| {
        row.children()
            .filter(|cell| cell.has_tag_name("td") && cell.attribute("class") != Some("time"))
            .map(text)
            .collect()
    };
    document.descendants().filter(is_row).map(cells).filter(|cells: &Vec<_>| !cells.is_empty()).collect()
}

#[test]
fn the_page_tells_who_could_not_reach_whom() {
    let page = page(&some());
    let rule = "iptables-nft ip filter cali-tw-cali1234567 rule 4, then drop by rule 5";
    let database = ["shop/web-7d4b9c-x2x4p 10.244.1.17", "shop/db-0 10.244.3.9", "5432/tcp", rule, "1"];
    let ping =
        ["2001:db8:1::53", "shop/web-7d4b9c-x2x4p fd00:10:244:1::17", "icmp", "prefix calico-drop:", "1"];
    let scan =
        ["host scanner.example 192.0.2.77", "node node-7 10.0.0.5", "22/tcp", "prefix calico-drop:", "3"];
    let pairs = [["shop to shop", "", "1,236"], ["shop to node-7", "", "403"], ["public to shop", "", "38"]];
    let expected: Vec<Vec<_>> = pairs
        .iter()
        .map(|row| row.to_vec())
        .chain([database, ping, scan, database].map(|row| row.to_vec()))
        .collect();
    assert_eq!(rows(&page), expected);
    for part in [
        "<b>file:/var/log/iptables.log</b>: 99,688 lines read, 4 reported, 1,672 folded, 98,011 ignored, 1 unparsed, 0 shed, \
         <b>0 lost</b>",
        "<b>nflog:32</b>: 12 lines read, 0 reported, 12 folded, 0 ignored, 0 unparsed, 0 shed, <b class=\"lost\">7 lost</b>, \
         <b class=\"lost\">1 gap of unknown size</b>",
        "http-equiv=\"refresh\" content=\"10\"",
    ] {
        assert!(page.contains(part), "{part}\n{page}");
    }
}

#[test]
fn a_page_without_drops_says_since_when() {
    let page = page(&none());
    assert!(page.contains("No drop was seen since <time"), "{page}");
    assert!(page.contains("<b>kmsg</b>: 812 lines read"), "{page}");
    assert!(rows(&page).is_empty(), "{page}");
    let plain = html_of(Some(&samples::good()), &samples::quiet(), None, false, false);
    assert!(!plain.contains("id=\"drops\""), "{plain}");
}

#[test]
fn hostile_drops_are_bounded() {
    let page = page(&hostile());
    assert_eq!(rows(&page).len(), 10 + 50);
    assert!(
        page.contains("Older drops are in <a href=\"/status\">") && page.len() < 400_000,
        "{} bytes",
        page.len()
    );
}

fn status(server: &Server) -> (u16, Value) {
    let reply = server.get("/status");
    assert_eq!(reply.header("content-type"), Some("application/json"));
    (
        reply.status,
        serde_json::from_str(&reply.body).unwrap_or_else(|error| panic!("{error}: {}", reply.body)),
    )
}

#[test]
fn the_status_has_them_while_they_are_followed() {
    let server = Server::with(samples::good());
    let before = status(&server).1;
    assert_eq!((&before["schema"], &before["drops"]), (&json!("check.v2"), &json!(null)));
    server.shared.show_drops(busy());
    let (code, after) = status(&server);
    assert_eq!((code, &after["schema"]), (200, &before["schema"]));
    let drops = &after["drops"];
    assert_eq!(
        drops["sources"][1],
        json!({"name": "nflog:32", "arrived": 19, "read": 12, "lost": 7, "gaps": 1, "reported": 0, "folded": 12,
               "ignored": 0, "unparsed": 0, "shed": 0})
    );
    assert_eq!(drops["top"][0], json!({"src": "shop", "dst": "shop", "count": 1_236}));
    assert_eq!((&drops["last"][0]["dst_port"], &drops["last"][0]["count"]), (&json!(5432), &json!(1)));
    assert_eq!(
        (&drops["last"][2]["dst_peer"], &drops["last"][2]["count"]),
        (&json!("node node-7"), &json!(3))
    );
    assert_eq!(drops["last"].as_array().map(Vec::len), Some(4));
}

/// The member `drops` as `check.v2.json` describes it, and each packet in it as `drops.v1.json` does.
#[test]
fn the_status_follows_its_schema() {
    let parsed = |text: &str| serde_json::from_str::<Value>(text).unwrap();
    let schema = parsed(include_str!("../../../docs/schema/check.v2.json"));
    assert_eq!(schema["properties"]["drops"], json!({"$ref": "#/$defs/drops"}));
    let packet = parsed(include_str!("../../../docs/schema/drops.v1.json"));
    let [drops, packet] = [json!({"$defs": schema["$defs"], "$ref": "#/$defs/drops"}), packet]
        .map(|schema| jsonschema::options().should_validate_formats(true).build(&schema).unwrap());
    for followed in [quiet(), busy()] {
        let mut value = parsed(std::str::from_utf8(&followed.seen().to_json().unwrap()).unwrap());
        drops.validate(&value).unwrap_or_else(|error| panic!("{error}\n{value:#}"));
        for record in value["last"].as_array_mut().unwrap() {
            record.as_object_mut().unwrap().remove("count").expect("a count");
            packet.validate(record).unwrap_or_else(|error| panic!("{error}\n{record:#}"));
        }
        value["sources"][0]["lost"] = (-1).into();
        assert!(!drops.is_valid(&value), "{value:#}");
    }
}

#[test]
fn following_drops_only_is_no_fault() {
    let server = Server::start(Pages::All, LONG);
    server.shared.show_drops(quiet());
    assert_eq!((server.get("/readyz").status, status(&server).0), (503, 503), "the first check is to come");
    assert_eq!(status(&server).1["error"], "no check is done yet");
    let server = Server::start(Pages::All, LONG);
    server.shared.show_drops(Followed { is_all: true, ..busy() });
    assert_eq!((server.get("/readyz").status, server.get("/healthz").status), (200, 200));
    let (code, status) = status(&server);
    assert_eq!((code, status.as_object().map(serde_json::Map::len)), (200, Some(1)), "{status}");
    let page = server.get("/").body;
    assert!(
        page.contains("<h1 id=\"verdict\">Drops are followed</h1>") && page.contains("shop/db-0"),
        "{page}"
    );
    let stopped = Server::start(Pages::All, Duration::ZERO);
    stopped.shared.show_drops(Followed { is_all: true, ..busy() });
    std::thread::sleep(Duration::from_millis(5));
    assert_eq!((stopped.get("/status").status, stopped.get("/healthz").status), (503, 503));
    assert!(stopped.get("/").body.contains("This program does nothing."));
}

#[test]
fn the_older_systems_metric_has_its_name() {
    let server = Server::with(samples::good());
    count(&server.metrics);
    let page = server.get("/metrics").body;
    assert!(page.contains("\npacket_drops_count{dst=\"public\",src=\"shop\"} 1\n"), "{page}");
    assert!(
        page.contains("\niptables_monitor_drops_packets_total{dst=\"public\",src=\"shop\"} 3\n"),
        "{page}"
    );
    count(&server.metrics);
    assert!(server.get("/metrics").body.contains("\npacket_drops_count{dst=\"public\",src=\"shop\"} 2\n"));
}
