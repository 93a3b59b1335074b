//! Alerts and dashboard, checked and tried by Prometheus' own tool.
//! Asks no Prometheus and no Grafana.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use super::{documents, read};
use crate::support::lossy;

/// The names of metrics that the agent has.
const METRICS: [&str; 14] = [
    "iptables_monitor_api_failures_total",
    "iptables_monitor_api_writes_total",
    "iptables_monitor_broken_patterns",
    "iptables_monitor_build_info",
    "iptables_monitor_check_duration_seconds_bucket",
    "iptables_monitor_checks_total",
    "iptables_monitor_label_restores_total",
    "iptables_monitor_last_check_timestamp_seconds",
    "iptables_monitor_patterns",
    "iptables_monitor_permission",
    "iptables_monitor_problems",
    "iptables_monitor_rules",
    "iptables_monitor_unexpected_rules",
    "iptables_monitor_verdict",
];

fn promtool(directory: &Path, args: &[&str]) {
    let tool = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tools/unpacked");
    let output = Command::new(tool)
        .args(["prometheus", "promtool"])
        .args(args)
        .current_dir(directory)
        .output()
        .expect("promtool");
    assert!(output.status.success(), "{args:?}\n{}", lossy(&output));
}

/// A directory with these rules as rules.yml; JSON is YAML.
fn rules(groups: &Value) -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("rules.yml");
    std::fs::write(&file, groups.to_string()).expect("a file");
    (directory, file)
}

fn assert_known(expression: &str) {
    let names = regex::Regex::new(r"\biptables_monitor_\w+").expect("a pattern");
    for name in names.find_iter(expression).map(|name| name.as_str()) {
        assert!(METRICS.contains(&name), "{name} in {expression}");
    }
}

fn alerts() -> Value {
    documents(&read("overlays/prometheus/prometheusrule.yaml"))[0]["spec"].clone()
}

#[test]
fn alerts_fire_when_they_should_and_only_then() {
    let (directory, _) = rules(&alerts());
    promtool(directory.path(), &["check", "rules", "rules.yml"]);
    let tests = include_str!("../../data/prometheus/alerts-test.yml");
    std::fs::write(directory.path().join("tests.yml"), tests).expect("a file");
    promtool(directory.path(), &["test", "rules", "tests.yml"]);
    for rule in alerts()["groups"][0]["rules"].as_array().expect("rules") {
        let name = rule["alert"].as_str().expect("an alert");
        assert!(tests.contains(&format!("alertname=\"{name}\"")), "{name} is not tested");
        assert_known(rule["expr"].as_str().expect("an expression"));
        assert!(
            rule["annotations"]["summary"].is_string() && rule["annotations"]["description"].is_string(),
            "{name}"
        );
    }
}

#[test]
fn the_dashboard_asks_for_what_there_is() {
    let dashboard: Value = serde_json::from_str(&read("grafana-dashboard.json")).expect("JSON");
    let panels = dashboard["panels"].as_array().expect("panels");
    let (mut ids, mut records) = (BTreeSet::new(), Vec::new());
    for panel in panels {
        assert!(ids.insert(panel["id"].to_string()), "{}", panel["title"]);
        assert!(!panel["title"].as_str().expect("a title").is_empty());
        assert_eq!(panel["datasource"]["uid"], "${datasource}", "{}", panel["title"]);
        for target in panel["targets"].as_array().expect("targets") {
            let expression = target["expr"].as_str().expect("an expression");
            assert_known(expression);
            let filled = expression.replace("$node", ".*").replace("$__rate_interval", "5m");
            assert!(!filled.contains('$'), "{expression}");
            records
                .push(json!({"record": format!("panel:{}:{}", panel["id"], records.len()), "expr": filled}));
        }
    }
    assert!(records.len() >= panels.len());
    let (directory, _) = rules(&json!({"groups": [{"name": "dashboard", "rules": records}]}));
    promtool(directory.path(), &["check", "rules", "rules.yml"]);
}

#[test]
fn panels_do_not_overlap() {
    let dashboard: Value = serde_json::from_str(&read("grafana-dashboard.json")).expect("JSON");
    let mut taken = BTreeSet::new();
    for panel in dashboard["panels"].as_array().expect("panels") {
        let at = |field: &str| panel["gridPos"][field].as_u64().expect("a number");
        assert!(at("x") + at("w") <= 24, "{}", panel["title"]);
        for x in at("x")..at("x") + at("w") {
            for y in at("y")..at("y") + at("h") {
                assert!(taken.insert((x, y)), "{}", panel["title"]);
            }
        }
    }
}
