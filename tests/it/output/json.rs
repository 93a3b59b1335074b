//! The JSON report and its schema.

use std::collections::BTreeSet;

use super::*;

const SCHEMA: &str = include_str!("../../../docs/schema/check.v2.json");

pub(super) fn schema() -> (Value, jsonschema::Validator) {
    let schema: Value = serde_json::from_str(SCHEMA).unwrap();
    assert!(jsonschema::meta::is_valid(&schema));
    let validator = jsonschema::options().should_validate_formats(true).build(&schema).unwrap();
    (schema, validator)
}

#[test]
fn json_follows_its_schema() {
    let (_, validator) = schema();
    for report in compliant_reports().into_iter().chain(other_reports()) {
        for limit in [0, 1, 1_000] {
            let value = parsed(&report, Format::Json, &WriteOptions { limit, ..TEXT });
            let errors: Vec<_> = validator.iter_errors(&value).map(|error| error.to_string()).collect();
            assert!(errors.is_empty(), "{errors:?}\n{value:#}");
        }
    }
}

#[test]
fn the_schema_refuses_what_the_writer_never_writes() {
    let (_, validator) = schema();
    let good = parsed(&full(), Format::Json, &TEXT);
    assert!(validator.is_valid(&good));
    let refused = |pointer: &str, bad: Value| {
        let mut value = good.clone();
        *value.pointer_mut(pointer).expect(pointer) = bad;
        assert!(!validator.is_valid(&value), "{pointer}");
    };
    refused("/schema", "check.v1".into());
    refused("/verdict", "compliant".into());
    refused("/checked_at", "2026-11-21T09:34:56.789+01:00".into());
    refused("/violation_count", 0.into());
    refused("/violations_hash", "".into());
    refused("/violations/0/kind", "Rule".into());
    refused("/violations/0/position", 0.into());
    refused("/problems/0/reason", "Other".into());
    refused("/blocked_rules/since", "yesterday".into());
    refused("/violations/1/first_seen", Value::Null);
    refused("/violations/1/reported_process/pid", "71".into());
    refused("/violations/1/other_reported_processes", Value::Array(Vec::new()));
    let mut extra = good.clone();
    extra["tables"][0]["extra"] = true.into();
    assert!(!validator.is_valid(&extra));
    let mut missing = good.clone();
    missing["violations"][0].as_object_mut().unwrap().remove("chain");
    assert!(!validator.is_valid(&missing));
}

#[test]
fn the_schema_lists_what_the_types_list() {
    let (schema, _) = schema();
    let listed = |name: &str| -> BTreeSet<String> {
        let names = schema["$defs"][name]["enum"].as_array().expect(name);
        names.iter().map(|name| name.as_str().unwrap().to_owned()).collect()
    };
    let own = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<BTreeSet<_>>();
    assert_eq!(listed("backend"), own(&Backend::ALL.map(Backend::as_str)));
    assert_eq!(listed("family"), own(&Family::ALL.map(Family::as_str)));
    assert_eq!(listed("kind"), own(&Kind::ALL.map(Kind::as_str)));
    assert_eq!(listed("reason"), own(&Reason::ALL.map(Reason::as_str)));
    let indecisive = Reason::ALL.into_iter().filter(|reason| !reason.is_decisive()).map(Reason::as_str);
    assert_eq!(
        indecisive.collect::<Vec<_>>(),
        ["BrokenPattern", "BroadPattern", "MixedBackends", "HooksUnlisted"],
        "the schema names it too"
    );
}

#[test]
fn json_is_a_value_for_value_copy() {
    let value = parsed(&full(), Format::Json, &TEXT);
    for (pointer, expected) in [
        ("/verdict", Value::from("violations")),
        ("/checked_at", "2026-11-21T09:54:56.789Z".into()),
        ("/evidence", "kernel".into()),
        ("/violation_count", 1_005.into()),
        ("/violations_truncated", true.into()),
        ("/violations/0/position", 3.into()),
        ("/violations/3/chain", Value::Null),
        ("/violations/3/position", Value::Null),
        ("/violations/4/suggested_pattern", Value::Null),
        ("/problems/1/reason", "MixedBackends".into()),
        ("/tables/0/unexpected", 1_005.into()),
        ("/tables/1/unexpected", 0.into()),
        ("/tables/2/set_elements", 4_000.into()),
        ("/blocked_rules/count", 3.into()),
        ("/blocked_rules/counter", 503.into()),
        ("/blocked_rules/since", "2026-11-21T09:40:00.000Z".into()),
        ("/blocked_rules/last_at", Value::Null),
        ("/violations/1/first_seen", "2026-11-21T09:53:20.500Z".into()),
        ("/violations/1/may_be_older", false.into()),
        ("/violations/1/reported_process/pid", 71.into()),
        ("/violations/1/reported_process/executable", "/usr/sbin/xtables-nft-multi".into()),
        ("/violations/1/reported_process/parents/1/name", "sshd".into()),
        ("/violations/1/reported_process/container", "0123abcd".into()),
        ("/violations/1/reported_process/pod/name", "web".into()),
        ("/violations/1/other_reported_processes/0/name", "kube-proxy".into()),
        ("/violations/1/other_reported_processes/0/pod", Value::Null),
    ] {
        assert_eq!(value.pointer(pointer), Some(&expected), "{pointer}");
    }
    assert_eq!(value.pointer("/tables/0/set_elements"), None);
    assert_eq!(value.pointer("/tools"), None);
    assert_eq!(value.pointer("/violations/0/first_seen"), None);
    assert_eq!(value.pointer("/violations/0/line_hex"), None);
    let hex = value["violations"][4]["line_hex"].as_str().unwrap();
    assert!(hex.contains("1b5b324ae280ae0a") && hex.ends_with("ff22202d6a2044524f50"), "{hex}");
}
