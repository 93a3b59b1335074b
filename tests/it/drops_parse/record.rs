//! The JSON of a packet and its schema.

use std::collections::BTreeSet;

use iptables_monitor::domain::drops::record::Record;
use serde_json::Value;

use super::*;

fn schema() -> (Value, jsonschema::Validator) {
    let schema: Value = serde_json::from_str(include_str!("../../../docs/schema/drops.v1.json")).unwrap();
    assert!(jsonschema::meta::is_valid(&schema));
    let validator = jsonschema::options().should_validate_formats(true).build(&schema).unwrap();
    (schema, validator)
}

fn records() -> Vec<Value> {
    let lines = CAPTURED.lines().filter(|line| !line.starts_with('#')).map(str::to_owned);
    let repeated = "2026-11-21T13:00:07.5Z node-1 kernel: message repeated 3 times: [ ALL4: IN=eth0 OUT=eth1 SRC=10.0.0.1 ]";
    let parsers = [parser(&[]), parser(&["ALL4:"])];
    let lines: Vec<_> = lines.chain([repeated.to_owned()]).collect();
    let packets = lines.iter().flat_map(|line| {
        parsers.iter().filter_map(|parser| match parser.parse(line.as_bytes(), None, clock()) {
            Parsed::Packet(packet) => Some(Record::from(&packet)),
            _ => None,
        })
    });
    let mut records: Vec<_> = packets.collect();
    let named = records.last_mut().expect("a record");
    named.src_peer = Some("default/client".into());
    named.dst_peer = Some("kube-system/dns".into());
    named.rule = Some("filter FORWARD 7".into());
    records.iter().map(|record| serde_json::to_value(record).unwrap()).collect()
}

#[test]
fn json_follows_its_schema() {
    let (_, validator) = schema();
    for record in records() {
        let errors: Vec<_> = validator.iter_errors(&record).map(|error| error.to_string()).collect();
        assert!(errors.is_empty(), "{errors:?}\n{record:#}");
    }
}

#[test]
fn the_schema_names_what_is_written_and_no_more() {
    let (schema, _) = schema();
    let written: BTreeSet<_> = records()
        .iter()
        .flat_map(|record| record.as_object().unwrap().keys().cloned().collect::<Vec<_>>())
        .collect();
    let named: BTreeSet<_> = schema["properties"].as_object().unwrap().keys().cloned().collect();
    assert_eq!(written, named);
}

#[test]
fn the_schema_refuses_what_is_never_written() {
    let (_, validator) = schema();
    let good = records().pop().unwrap();
    assert!(validator.is_valid(&good));
    for (key, bad) in [
        ("time", Value::from("2026-11-21T13:00:07+01:00")),
        ("action", "reject".into()),
        ("src", "10.0.0".into()),
        ("src_port", 65_536.into()),
        ("protocol", "TCP".into()),
        ("in", "".into()),
        ("ttl", 256.into()),
        ("complete", Value::Null),
        ("extra", 1.into()),
    ] {
        let mut value = good.clone();
        value[key] = bad;
        assert!(!validator.is_valid(&value), "{key}");
    }
}
