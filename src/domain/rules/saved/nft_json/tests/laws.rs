//! What must hold for every JSON: nothing is lost, nothing looks like another, no control byte gets through.
//! Knows no single rendering.
#![allow(clippy::indexing_slicing)] // a helper that fails fails its test

use proptest::prelude::*;

use super::{doubted, lines, notes, rule};
use crate::domain::rules::saved::nft_json::reader::Reader;
use crate::domain::rules::saved::nft_json::{Json, parse};

/// Rules that differ in one thing each.
const NEIGHBOURS: [&str; 42] = [
    r#"{"match":{"op":"==","left":{"payload":{"protocol":"tcp","field":"dport"}},"right":22}}"#,
    r#"{"match":{"op":"!=","left":{"payload":{"protocol":"tcp","field":"dport"}},"right":22}}"#,
    r#"{"match":{"op":">=","left":{"payload":{"protocol":"tcp","field":"dport"}},"right":22}}"#,
    r#"{"match":{"op":"==","left":{"payload":{"protocol":"tcp","field":"dport"}},"right":"22"}}"#,
    r#"{"match":{"op":"==","left":{"payload":{"protocol":"tcp","field":"sport"}},"right":22}}"#,
    r#"{"match":{"op":"==","left":{"payload":{"protocol":"udp","field":"dport"}},"right":22}}"#,
    r#"{"match":{"op":"==","left":{"payload":{"protocol":"tcp","field":"dport"}},"right":{"set":[22]}}}"#,
    r#"{"match":{"op":"==","left":{"payload":{"protocol":"tcp","field":"dport"}},"right":{"set":[22,80]}}}"#,
    r#"{"match":{"op":"==","left":{"payload":{"protocol":"tcp","field":"dport"}},"right":{"set":[{"range":[22,80]}]}}}"#,
    r#"{"match":{"op":"==","left":{"payload":{"protocol":"tcp","field":"dport"}},"right":{"range":[22,80]}}}"#,
    r#"{"match":{"op":"==","left":{"payload":{"protocol":"tcp","field":"dport"}},"right":"22-80"}}"#,
    r#"{"match":{"op":"==","left":{"payload":{"protocol":"tcp","field":"dport"}},"right":"@22"}}"#,
    r#"{"match":{"op":"==","left":{"payload":{"protocol":"tcp","field":"dport"}},"right":true}}"#,
    r#"{"match":{"op":"==","left":{"payload":{"protocol":"tcp","field":"dport"}},"right":"exists"}}"#,
    r#"{"match":{"op":"in","left":{"payload":{"protocol":"tcp","field":"flags"}},"right":"syn"}}"#,
    r#"{"match":{"op":"==","left":{"payload":{"protocol":"tcp","field":"flags"}},"right":"syn"}}"#,
    r#"{"match":{"op":"!","left":{"payload":{"protocol":"tcp","field":"flags"}},"right":"syn"}}"#,
    r#"{"match":{"op":"!=","left":{"payload":{"protocol":"tcp","field":"flags"}},"right":"syn"}}"#,
    r#"{"match":{"op":"in","left":{"payload":{"protocol":"tcp","field":"flags"}},"right":["syn","ack"]}}"#,
    r#"{"match":{"op":"==","left":{"payload":{"protocol":"tcp","field":"flags"}},"right":["syn","ack"]}}"#,
    r#"{"match":{"op":"==","left":{"&":[{"payload":{"protocol":"tcp","field":"flags"}},"syn"]},"right":"syn"}}"#,
    r#"{"match":{"op":"==","left":{"|":[{"&":[{"meta":{"key":"mark"}},1]},2]},"right":3}}"#,
    r#"{"match":{"op":"==","left":{"&":[{"|":[{"meta":{"key":"mark"}},1]},2]},"right":3}}"#,
    r#"{"match":{"op":"==","left":{"&":[{"meta":{"key":"mark"}},{"|":[1,2]}]},"right":3}}"#,
    r#"{"match":{"op":"==","left":{"payload":{"protocol":"ip","field":"saddr"}},"right":"10.0.0.0"}}"#,
    r#"{"match":{"op":"==","left":{"payload":{"protocol":"ip","field":"saddr"}},"right":"10.0.0.0/8"}}"#,
    r#"{"match":{"op":"==","left":{"payload":{"protocol":"ip","field":"saddr"}},"right":{"prefix":{"addr":"10.0.0.0","len":8}}}}"#,
    r#"{"match":{"op":"==","left":{"payload":{"protocol":"ip","field":"saddr"}},"right":{"prefix":{"addr":"10.0.0.0","len":9}}}}"#,
    r#"{"accept":null}"#,
    r#"{"drop":null}"#,
    r#"{"jump":{"target":"accept"}}"#,
    r#"{"goto":{"target":"accept"}}"#,
    r#"{"log":{"prefix":"accept"}},{"accept":null}"#,
    r#"{"log":{"prefix":"accept"}}"#,
    r#"{"log":{"prefix":"accept\" accept"}}"#,
    r#"{"log":{"group":0}}"#,
    r#"{"log":null}"#,
    r#"{"counter":null},{"drop":null}"#,
    r#"{"drop":null},{"counter":null}"#,
    r#"{"limit":{"rate":5,"burst":5,"per":"second"}}"#,
    r#"{"limit":{"rate":5,"burst":5,"per":"second","inv":true}}"#,
    r#"{"limit":{"rate":5,"burst":6,"per":"second"}}"#,
];

#[test]
fn rules_that_differ_in_one_thing_are_never_alike() {
    let rendered: Vec<String> = NEIGHBOURS.iter().map(|json| doubted(json).0).collect();
    for (number, one) in rendered.iter().enumerate() {
        for (other_number, other) in rendered.iter().enumerate().skip(number + 1) {
            assert_ne!(one, other, "{} and {}", NEIGHBOURS[number], NEIGHBOURS[other_number]);
        }
    }
}

#[test]
fn the_order_of_a_set_decides_nothing() {
    let set = |list: &str| {
        rule(&format!(
            r#"{{"vmap":{{"key":{{"payload":{{"protocol":"tcp","field":"dport"}}}},"data":{{"set":[{list}]}}}}}}"#
        ))
    };
    let one = set(r#"[443,{"accept":null}],[22,{"drop":null}]"#);
    assert_eq!(one, "tcp dport vmap { 22 : drop, 443 : accept }");
    assert_eq!(one, set(r#"[22,{"drop":null}],[443,{"accept":null}]"#));
    assert_ne!(one, set(r#"[22,{"accept":null}],[443,{"drop":null}]"#));
}

fn any_json() -> impl Strategy<Value = Json> {
    let words = [
        "match", "op", "==", "in", "left", "right", "payload", "protocol", "ip", "field", "saddr", "set",
        "map", "elem", "val", "range", "prefix", "addr", "len", "concat", "|", "accept", "jump", "target",
        "log", "dnat", "ct", "key", "state", "meta", "iifname", "@s", "*", "a b", "counter", "limit", "rate",
        "data", "vmap", "xt", "mangle",
    ];
    let word = prop::sample::select(words.to_vec()).prop_map(str::to_owned);
    let leaf = prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Json::Bool),
        (-9..999_i128).prop_map(Json::Int),
        any::<f64>().prop_map(Json::Float),
        word.clone().prop_map(Json::Text),
        ".{0,5}".prop_map(Json::Text),
    ];
    leaf.prop_recursive(5, 40, 4, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Json::List),
            prop::collection::vec((word.clone(), inner), 0..4).prop_map(Json::Object),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn any_statement_is_a_line_in_printable_ascii(statement in any_json()) {
        let value = Json::Object(vec![
            ("family".to_owned(), Json::Text("inet".to_owned())),
            ("table".to_owned(), Json::Text("t\n".to_owned())),
            ("chain".to_owned(), Json::Text("c".to_owned())),
            ("expr".to_owned(), Json::List(vec![statement.clone()])),
        ]);
        let mut seen = Vec::new();
        Reader::new(&mut |item| seen.push(item)).element(&Json::Object(vec![("rule".to_owned(), value)]));
        let lines = lines(&seen);
        prop_assert_eq!(lines.len(), 1);
        prop_assert!(lines[0].bytes().all(|byte| (0x20..0x7f).contains(&byte)), "{}", lines[0]);
        prop_assert!(!lines[0].contains("json(") || !notes(&seen).is_empty());
    }

    #[test]
    fn any_element_is_a_line_or_a_problem(element in any_json()) {
        let mut seen = Vec::new();
        Reader::new(&mut |item| seen.push(item)).element(&element);
        prop_assert!(!seen.is_empty());
    }

    #[test]
    fn any_bytes_end(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
        drop(parse(bytes.as_slice(), &mut |_| {}));
    }
}
