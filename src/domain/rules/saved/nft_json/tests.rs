//! Tables of rules, declarations and documents.
//! Laws are in `laws`, real kernels and real nft in `tests/it/native.rs`.
#![allow(clippy::indexing_slicing)] // a helper that fails fails its test

mod laws;

use super::*;
use crate::domain::rules::Reason;

fn items(json: &str) -> Vec<Item> {
    let mut items = Vec::new();
    parse(json.as_bytes(), &mut |item| items.push(item)).expect("JSON of nft");
    items
}

fn lines(items: &[Item]) -> Vec<String> {
    items
        .iter()
        .filter_map(|item| match item {
            Item::Line(line) => Some(String::from_utf8(line.line.clone()).expect("ASCII")),
            _ => None,
        })
        .collect()
}

fn notes(items: &[Item]) -> Vec<String> {
    items
        .iter()
        .filter_map(|item| match item {
            Item::Problem(problem) => Some(problem.detail.clone()),
            _ => None,
        })
        .collect()
}

fn rule_items(family: &str, expr: &str) -> Vec<Item> {
    items(&format!(
        r#"{{"nftables":[{{"rule":{{"family":"{family}","table":"t","chain":"c","handle":7,"expr":[{expr}]}}}}]}}"#
    ))
}

/// The statements as we write them, without any doubt.
fn rule(expr: &str) -> String {
    let items = rule_items("inet", expr);
    assert_eq!(notes(&items), Vec::<String>::new(), "{expr}");
    lines(&items)[0].strip_prefix("inet t c ").expect("the place").to_owned()
}

/// The statements as we write them and what is told about them.
fn doubted(expr: &str) -> (String, Vec<String>) {
    let items = rule_items("inet", expr);
    (lines(&items)[0].strip_prefix("inet t c ").expect("the place").to_owned(), notes(&items))
}

fn declaration(json: &str) -> String {
    let items = items(&format!(r#"{{"nftables":[{json}]}}"#));
    assert_eq!(notes(&items), Vec::<String>::new(), "{json}");
    lines(&items).join("\n")
}

#[test]
fn statements_the_test_kernel_does_not_take() {
    for (json, expected) in [
        (r#"{"queue":null}"#, "queue"),
        (r#"{"queue":{"num":0}}"#, "queue to 0"),
        (
            r#"{"queue":{"num":{"range":[1,3]},"flags":["bypass","fanout"]}}"#,
            "queue flags bypass,fanout to 1-3",
        ),
        (r#"{"flow":{"op":"add","flowtable":"@f"}}"#, "flow add @f"),
        (r#"{"synproxy":null}"#, "synproxy"),
        (
            r#"{"synproxy":{"mss":1460,"wscale":7,"flags":["timestamp","sack-perm"]}}"#,
            "synproxy mss 1460 wscale 7 timestamp sack-perm",
        ),
        (r#"{"synproxy":"sp"}"#, r#"synproxy name "sp""#),
        (r#"{"secmark":"sm"}"#, r#"meta secmark set "sm""#),
        (r#"{"last":{"used":5}}"#, "last"),
        (r#"{"last":null}"#, "last"),
        (
            r#"{"map":{"op":"add","elem":{"payload":{"protocol":"ip","field":"saddr"}},"data":5,"map":"@m"}}"#,
            "add @m { ip saddr : 5 }",
        ),
        (r#"{"counter":{"packets":5,"bytes":7}}"#, "counter"),
        (r#"{"quota":{"val":5,"val_unit":"mbytes","used":3,"used_unit":"kbytes"}}"#, "quota 5 mbytes"),
        (r#"{"match":{"op":"==","left":{"dccp option":{"type":4}},"right":true}}"#, "dccp option 4 exists"),
        (
            r#"{"match":{"op":"==","left":{"payload":{"tunnel":"vxlan","protocol":"ip","field":"saddr"}},"right":"1.1.1.1"}}"#,
            "vxlan ip saddr 1.1.1.1",
        ),
        (
            r#"{"match":{"op":"==","left":{"&":[{"payload":{"protocol":"tcp","field":"flags"}},{"|":["syn","ack"]}]},"right":"syn"}}"#,
            "tcp flags & (syn | ack) == syn",
        ),
    ] {
        assert_eq!(rule(json), expected);
    }
}

#[test]
fn a_rule_carries_its_place_handle_and_number() {
    let json = r#"{"nftables":[
        {"metainfo":{"version":"1.0.6","release_name":"x","json_schema_version":1}},
        {"chain":{"family":"ip","table":"t","name":"c","handle":1}},
        {"rule":{"family":"ip","table":"t","chain":"c","handle":5,"expr":[{"accept":null}]}},
        {"rule":{"family":"ip","table":"t","chain":"d","handle":6,"expr":[{"drop":null}]}},
        {"rule":{"family":"ip","table":"t","chain":"c","handle":9,"comment":"a\"\\\u001b\u00e9","expr":[{"drop":null}]}}]}"#;
    let items = items(json);
    let (table, name) = ("t".to_owned(), "c".to_owned());
    assert_eq!(items[0], Item::Chain { family: Family::Ip, table, name, is_base: false });
    let Item::Line(line) = &items[3] else { panic!("{items:?}") };
    assert_eq!((line.handle, line.position, line.kind), (Some(9), Some(2), Kind::Rule));
    assert_eq!(String::from_utf8_lossy(&line.line), r#"ip t c drop comment "a\"\\\x1b\xc3\xa9""#);
    assert_eq!(items.len(), 4);
}

#[test]
fn what_is_not_known_is_shown_as_json_and_told() {
    for (json, shown) in [
        (r#"{"teleport":{"to":"mars"}}"#, r#"json({"teleport":{"to":"mars"}})"#),
        (r#""accept""#, r#"json("accept")"#),
        ("null", "json(null)"),
        (r#"{"accept":{"if":"you like"}}"#, r#"json({"accept":{"if":"you like"}})"#),
        (r#"{"drop":null,"accept":null}"#, r#"json({"accept":null,"drop":null})"#),
        (r#"{"log":{"prefix":"x","new":1}}"#, r#"json({"log":{"new":1,"prefix":"x"}})"#),
        (
            r#"{"limit":{"rate":5,"per":"second","burst":null}}"#,
            r#"json({"limit":{"burst":null,"per":"second","rate":5}})"#,
        ),
        (r#"{"jump":{"target":null}}"#, r#"json({"jump":{"target":null}})"#),
        (r#"{"counter":{"packets":1.5,"over":1e3}}"#, r#"json({"counter":{"over":1000.0,"packets":1.5}})"#),
        (r#"{"\u0007":"\u202e\u007f"}"#, r#"json({"\u0007":"\u202e\u007f"})"#),
    ] {
        let (line, notes) = doubted(json);
        assert_eq!(line, shown);
        assert_eq!(notes.len(), 1, "{json}: {notes:?}");
        assert!(notes[0].starts_with("rule 1 of inet t c: "), "{notes:?}");
    }
}

#[test]
fn a_statement_not_known_does_not_hide_the_others() {
    let (line, notes) = doubted(r#"{"drop":null},{"new":1},{"counter":null}"#);
    assert_eq!(line, r#"drop json({"new":1}) counter"#);
    assert_eq!(notes.len(), 1);
}

#[test]
fn rules_without_statements_and_unknown_keys_of_rules_are_told() {
    for json in [
        r#"{"rule":{"family":"ip","table":"t","chain":"c"}}"#,
        r#"{"rule":{"family":"ip","table":"t","chain":"c","expr":[]}}"#,
        r#"{"rule":{"family":"ip","table":"t","chain":"c","expr":[{"drop":null}],"when":"later"}}"#,
    ] {
        let items = items(&format!(r#"{{"nftables":[{json}]}}"#));
        assert_eq!((lines(&items).len(), notes(&items).len()), (1, 1), "{json}");
    }
}

#[test]
fn xt_is_marked() {
    for json in [r#"{"xt":null}"#, r#"{"xt":{"type":"match","name":"comment"}}"#] {
        let items = rule_items("ip", json);
        assert!(matches!(&items[0], Item::Line(line) if line.has_xt), "{items:?}");
    }
    let items = rule_items("ip", r#"{"accept":null}"#);
    assert!(matches!(&items[0], Item::Line(line) if !line.has_xt));
}

#[test]
fn what_nft_prints_alike_is_told() {
    let matching =
        |left: &str, right: &str| format!(r#"{{"match":{{"op":"==","left":{left},"right":{right}}}}}"#);
    for (left, right) in [
        (r#"{"meta":{"key":"iifname"}}"#, r#""@lan""#),
        (r#"{"meta":{"key":"oifname"}}"#, r#""eth\\*""#),
        (r#"{"meta":{"key":"iifname"}}"#, r#"{"set":["eth*","lo"]}"#),
        (r#"{"meta":{"key":"iifname"}}"#, r#"{"set":["*"]}"#),
        (r#"{"meta":{"key":"iif"}}"#, r#""5""#),
        (r#"{"ct":{"key":"expiration"}}"#, "5"),
        (r#"{"socket":{"key":"cgroupv2"}}"#, r#""a""#),
        (
            r#"{"concat":[{">>":[{"payload":{"protocol":"ip","field":"dscp"}},2]},{"payload":{"protocol":"ip","field":"saddr"}}]}"#,
            r#"{"set":[{"concat":["cs1","1.1.1.1"]}]}"#,
        ),
    ] {
        let (line, notes) = doubted(&matching(left, right));
        assert_eq!(notes.len(), 1, "{line}: {notes:?}");
        assert!(!line.contains("json("), "{line}");
    }
}

#[test]
fn declarations_are_lines() {
    for (json, expected) in [
        (r#"{"table":{"family":"inet","name":"t","handle":1}}"#, ""),
        (r#"{"table":{"family":"inet","name":"t","flags":["dormant"]}}"#, "table inet t flags dormant"),
        (r#"{"chain":{"family":"inet","table":"t","name":"c","handle":1}}"#, ""),
        (
            r#"{"chain":{"family":"inet","table":"t","name":"in put","handle":1,"type":"filter","hook":"input","prio":-300,"policy":"drop"}}"#,
            r#"chain inet t "in put" type filter hook input priority -300 policy drop"#,
        ),
        (
            r#"{"chain":{"family":"netdev","table":"t","name":"c","type":"filter","hook":"ingress","prio":0,"dev":["b","a"],"flags":["offload"]}}"#,
            r#"chain netdev t c type filter hook ingress devices { "a", "b" } priority 0 policy accept flags offload"#,
        ),
        (
            r#"{"set":{"family":"inet","table":"t","name":"s","handle":3,"type":["ipv4_addr","inet_service"],"flags":["interval","timeout"],"timeout":60,"gc-interval":5,"size":65535,"policy":"memory","auto-merge":true,"comment":"x","stmt":[{"counter":null}]}}"#,
            r#"set inet t s type ipv4_addr . inet_service flags interval,timeout timeout 60s gc-interval 5s size 65535 policy memory auto-merge counter comment "x""#,
        ),
        (
            r#"{"map":{"family":"inet","table":"t","name":"m","type":"ifname","map":"verdict","elem":[["lo",{"accept":null}],[{"elem":{"val":"d0","counter":{"packets":5,"bytes":6},"expires":3,"timeout":9,"comment":"c"}},{"jump":{"target":"x"}}]]}}"#,
            "map inet t m type ifname : verdict\nelement inet t m \"lo\" : accept\nelement inet t m \"d0\" counter timeout 9s comment \"c\" : jump x",
        ),
        (
            r#"{"map":{"family":"ip","table":"t","name":"m","type":"ipv4_addr","map":"ipv4_addr . inet_service","elem":[["1.1.1.1",{"concat":["2.2.2.2",80]}]]}}"#,
            "map ip t m type ipv4_addr : ipv4_addr . inet_service\nelement ip t m 1.1.1.1 : 2.2.2.2 . 80",
        ),
        (
            r#"{"map":{"family":"ip","table":"t","name":"m","type":{"typeof":{"meta":{"key":"mark"}}},"map":"counter","elem":[[5,"c"]]}}"#,
            "map ip t m typeof meta mark : counter\nelement ip t m 5 : \"c\"",
        ),
        (
            r#"{"flowtable":{"family":"inet","table":"t","name":"f","handle":2,"hook":"ingress","prio":0,"dev":["d1","d0"]}}"#,
            r#"flowtable inet t f hook ingress priority 0 devices { "d0", "d1" }"#,
        ),
        (
            r#"{"counter":{"family":"inet","table":"t","name":"c","handle":3,"packets":5,"bytes":6,"comment":"cc"}}"#,
            r#"counter inet t c comment "cc""#,
        ),
        (
            r#"{"quota":{"family":"inet","table":"t","name":"q","bytes":26214400,"used":5,"inv":true}}"#,
            "quota inet t q over 26214400 bytes",
        ),
        (
            r#"{"limit":{"family":"inet","table":"t","name":"l","rate":10,"per":"second","inv":true,"burst":7}}"#,
            "limit inet t l rate over 10/second burst 7 packets",
        ),
        (
            r#"{"ct helper":{"family":"inet","table":"t","name":"h","type":"ftp","protocol":"tcp","l3proto":"inet"}}"#,
            r#"ct helper inet t h type "ftp" protocol tcp l3proto inet"#,
        ),
        (
            r#"{"ct timeout":{"family":"inet","table":"t","name":"h","protocol":"tcp","l3proto":"ip","policy":{"established":100,"close":4}}}"#,
            "ct timeout inet t h protocol tcp l3proto ip policy { close : 4s, established : 100s }",
        ),
        (
            r#"{"ct expectation":{"family":"inet","table":"t","name":"e","protocol":"udp","dport":9876,"timeout":120000,"size":12,"l3proto":"ip"}}"#,
            "ct expectation inet t e protocol udp l3proto ip dport 9876 timeout 120000ms size 12",
        ),
        (
            r#"{"secmark":{"family":"inet","table":"t","name":"s","context":"a:b:c"}}"#,
            r#"secmark inet t s "a:b:c""#,
        ),
        (
            r#"{"synproxy":{"family":"inet","table":"t","name":"s","mss":1460,"wscale":7,"flags":["timestamp","sack-perm"]}}"#,
            "synproxy inet t s mss 1460 wscale 7 timestamp sack-perm",
        ),
    ] {
        assert_eq!(declaration(json), expected);
    }
}

#[test]
fn hidden_devices_and_strange_flags_are_told() {
    for json in [
        r#"{"chain":{"family":"netdev","table":"t","name":"c","type":"filter","hook":"ingress","prio":0,"policy":"accept"}}"#,
        r#"{"chain":{"family":"inet","table":"t","name":"c","type":"filter","hook":"ingress","prio":0,"policy":"accept"}}"#,
        r#"{"table":{"family":"inet","name":"t","handle":1,"flags":"c"}}"#,
        r#"{"chain":{"family":"inet","table":"t","name":"c","colour":"red"}}"#,
        r#"{"tunnel":{"family":"inet","table":"t","name":"c","id":5}}"#,
    ] {
        let items = items(&format!(r#"{{"nftables":[{json}]}}"#));
        assert_eq!((lines(&items).len(), notes(&items).len()), (1, 1), "{json}");
    }
}

#[test]
fn elements_of_plain_sets_are_hashed_without_regard_to_order_or_time() {
    let elements = |list: &str| {
        let json = format!(
            r#"{{"nftables":[{{"set":{{"family":"ip","table":"t","name":"s","type":"ipv4_addr","elem":{list}}}}}]}}"#
        );
        match items(&json).pop() {
            Some(Item::SetElements { count, hash, .. }) => (count, hash),
            other => panic!("{other:?}"),
        }
    };
    let one = elements(r#"["1.1.1.1",{"elem":{"val":"2.2.2.2","expires":5}}]"#);
    assert_eq!(one, elements(r#"[{"elem":{"val":"2.2.2.2","expires":4}},"1.1.1.1"]"#));
    assert_eq!((one.0, elements("[]").0, elements(r#""1.1.1.1""#).0), (2, 0, 1));
    for other in [
        r#"["1.1.1.1","2.2.2.3"]"#,
        r#"["1.1.1.1"]"#,
        r#"["1.1.1.1",{"elem":{"val":"2.2.2.2","timeout":5}}]"#,
    ] {
        assert_ne!(one.1, elements(other).1);
    }
}

#[test]
fn saved_commands_count_as_things_or_are_told() {
    let json = r#"{"nftables":[
        {"add":{"rule":{"family":"ip","table":"t","chain":"c","expr":[{"drop":null}]}}},
        {"insert":{"rule":{"family":"ip","table":"t","chain":"c","expr":[{"accept":null}]}}},
        {"add":{"map":{"family":"ip","table":"t","name":"m","type":"ifname","map":"verdict"}}},
        {"add":{"element":{"family":"ip","table":"t","name":"m","elem":[["lo",{"drop":null}]]}}}]}"#;
    let all = items(json);
    assert_eq!(notes(&all), Vec::<String>::new());
    assert_eq!(lines(&all)[..2], ["ip t c drop", "ip t c accept"]);
    assert_eq!(lines(&all)[3], r#"element ip t m "lo" : drop"#);
    assert!(matches!(&all[1], Item::Line(line) if line.position.is_none()));

    for command in ["delete", "flush", "destroy", "replace", "rename", "reset", "list"] {
        let all = items(&format!(r#"{{"nftables":[{{"{command}":{{"ruleset":null}}}}]}}"#));
        assert!(
            matches!(&all[..], [Item::Problem(problem)] if problem.reason == Reason::NotADump),
            "{all:?}"
        );
    }
    for json in [
        r#"{"rule":{"family":"decnet","table":"t","chain":"c","expr":[{"drop":null}]}}"#,
        r#"{"rule":{"family":"ip","chain":"c","expr":[{"drop":null}]}}"#,
        r#"{"gizmo":{}}"#,
        r#"{"add":{"gizmo":{}}}"#,
        "null",
        "[]",
        "{}",
        r#"{"element":{"family":"ip","table":"t","name":"s","elem":[5]}}"#,
    ] {
        let all = items(&format!(r#"{{"nftables":[{json}]}}"#));
        assert!(
            matches!(&all[..], [Item::Problem(problem)] if problem.reason == Reason::UnrenderedRule),
            "{all:?}"
        );
    }
}

#[test]
fn broken_documents_are_errors() {
    for json in [
        "",
        "{",
        "{}",
        "[]",
        r#"{"nftables":{}}"#,
        r#"{"nftables":[]"#,
        r#"{"nftables":[{"table":{"family":"ip","name":"t"}}"#,
        r#"{"nftables":[]} x"#,
        r#"{"nftables":[]}{"nftables":[]}"#,
        r#"{"nftables":[],"nftables":[]}"#,
        r#"{"nftables":[],"other":1}"#,
        r#"{"nftables":[{"table":{"family":"ip","name":"t","name":"u"}}]}"#,
    ] {
        assert!(matches!(parse(json.as_bytes(), &mut |_| {}), Err(JsonError::Syntax(_))), "{json}");
    }
    assert!(parse(r#"{"nftables":[]}"#.as_bytes(), &mut |_| {}).is_ok());
    let deep = format!(r#"{{"nftables":[{}"#, "[".repeat(100_000));
    assert!(matches!(parse(deep.as_bytes(), &mut |_| {}), Err(JsonError::Syntax(_))));
}

#[test]
fn errors_of_the_reader_carry_on() {
    struct Late;
    impl Read for Late {
        fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
            Err(std::io::ErrorKind::TimedOut.into())
        }
    }
    let result = parse(r#"{"nftables":["#.as_bytes().chain(Late), &mut |_| {});
    assert!(matches!(result, Err(JsonError::Read(error)) if error.kind() == std::io::ErrorKind::TimedOut));
}
