//! What is shipped for a cluster: every file is parsed, typed, accepted by the real programs, and what the binary prints.
//! Starts no agent in a cluster.
#![allow(clippy::indexing_slicing, reason = "a test may fail by panicking")]

mod allowlists;
mod api;
mod prometheus;
mod routes;
mod typed;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use iptables_monitor::cli::compat::tailer::{TailerSettings, TailerSource};
use iptables_monitor::domain::cluster::freshness::CHECKED_AT_KEY;
use serde_json::Value;

use crate::support::{MONITOR, lossy};

const OVERLAYS: [&str; 5] = ["node-label", "report-only", "prometheus", "history", "drops"];

fn samples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("config-samples")
}

fn read(name: &str) -> String {
    std::fs::read_to_string(samples().join(name)).expect(name)
}

/// The documents of a YAML file, in order.
fn documents(text: &str) -> Vec<Value> {
    serde_saphyr::from_multiple(text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

/// Every YAML file of config-samples by its path below it.
fn yaml_files() -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut directories = vec![samples()];
    while let Some(directory) = directories.pop() {
        for path in std::fs::read_dir(&directory)
            .expect("config-samples")
            .map(|entry| entry.expect("an entry").path())
        {
            if path.is_dir() {
                directories.push(path);
            } else if path.extension().is_some_and(|end| end == "yaml") {
                let name = path.strip_prefix(samples()).expect("below").display().to_string();
                found.insert(name, std::fs::read_to_string(&path).expect("text"));
            }
        }
    }
    found
}

/// What `monitor manifests` prints.
fn manifests(args: &[&str]) -> String {
    let output = Command::new(MONITOR).arg("manifests").args(args).output().expect("the program under test");
    assert!(output.status.success(), "{args:?}\n{}", lossy(&output));
    String::from_utf8(output.stdout).expect("text")
}

fn daemonset(documents: &[Value]) -> Value {
    documents.iter().find(|document| document["kind"] == "DaemonSet").expect("a DaemonSet").clone()
}

fn arguments(daemonset: &Value) -> Vec<String> {
    let arguments = &daemonset["spec"]["template"]["spec"]["containers"][0]["args"];
    arguments
        .as_array()
        .expect("args")
        .iter()
        .map(|argument| argument.as_str().expect("text").to_owned())
        .collect()
}

/// What `kubectl kustomize` would make of config-samples with one overlay: the files it lists and its patches, all of
/// which add something.
fn kustomized(overlay: Option<&str>) -> Vec<Value> {
    let mut files = vec![PathBuf::new()];
    files.extend(overlay.map(|name| Path::new("overlays").join(name)));
    let mut objects = Vec::new();
    let mut patches = Vec::new();
    for directory in files {
        let kustomization =
            &documents(&read(directory.join("kustomization.yaml").to_str().expect("text")))[0];
        for resource in kustomization["resources"].as_array().into_iter().flatten() {
            let file = directory.join(resource.as_str().expect("a path"));
            objects.extend(documents(&read(file.to_str().expect("text"))));
        }
        for patch in kustomization["patches"].as_array().into_iter().flatten() {
            assert_eq!(patch["target"]["kind"], "DaemonSet", "{patch}");
            patches.extend(
                documents(patch["patch"].as_str().expect("a patch"))
                    .remove(0)
                    .as_array()
                    .expect("a list")
                    .clone(),
            );
        }
    }
    for object in objects.iter_mut().filter(|object| object["kind"] == "DaemonSet") {
        patches.iter().for_each(|patch| add(object, patch));
    }
    objects
}

/// RFC 6902's `add`.
fn add(object: &mut Value, patch: &Value) {
    assert_eq!(patch["op"], "add", "{patch}");
    let (parent, key) = patch["path"].as_str().and_then(|path| path.rsplit_once('/')).expect("a path");
    let parent = object.pointer_mut(parent).unwrap_or_else(|| panic!("no {parent}"));
    match parent {
        Value::Array(items) if key == "-" => items.push(patch["value"].clone()),
        Value::Object(fields) => drop(fields.insert(key.to_owned(), patch["value"].clone())),
        other => panic!("{patch} to {other}"),
    }
}

/// The order in which arguments stand is of no meaning.
fn sort_arguments(objects: &mut [Value]) {
    for object in objects.iter_mut().filter(|object| object["kind"] == "DaemonSet") {
        let arguments = &mut object["spec"]["template"]["spec"]["containers"][0]["args"];
        arguments.as_array_mut().expect("args").sort_by_key(Value::to_string);
    }
}

#[test]
fn the_binary_prints_the_samples() {
    let files = ["namespace.yaml", "rbac.yaml", "configmap.yaml", "daemonset.yaml"].map(read);
    assert_eq!(manifests(&[]), files.join("---\n"));
    for overlay in OVERLAYS.map(Some).into_iter().chain([None]) {
        let flags: Vec<_> = overlay.map(|name| ["--overlay", name]).into_iter().flatten().collect();
        let (mut printed, mut expected) = (documents(&manifests(&flags)), kustomized(overlay));
        sort_arguments(&mut printed);
        sort_arguments(&mut expected);
        assert_eq!(printed, expected, "{overlay:?}");
    }
}

#[test]
fn overlays_add_up_and_count_once() {
    let all = documents(&manifests(&[
        "--overlay",
        "node-label,report-only",
        "--overlay",
        "prometheus,report-only,history,drops",
    ]));
    let mut arguments = arguments(&daemonset(&all));
    for overlay in OVERLAYS {
        for object in kustomized(Some(overlay)).into_iter().filter(|object| object["kind"] != "DaemonSet") {
            assert_eq!(all.iter().filter(|other| **other == object).count(), 1, "{object}");
        }
    }
    let count = arguments.len();
    arguments.sort();
    arguments.dedup();
    assert_eq!(arguments.len(), count);
    assert_eq!(count, self::arguments(&daemonset(&documents(&manifests(&[])))).len() + 3);
}

#[test]
fn the_image_can_be_named() {
    let printed = documents(&manifests(&["--image", "example.org:5000/team/monitor@sha256:0123"]));
    let container = &daemonset(&printed)["spec"]["template"]["spec"]["containers"][0];
    assert_eq!(container["image"], "example.org:5000/team/monitor@sha256:0123");
    for wrong in ["", "a b", "x\n- y", "-x", "#x", "x:", "{x}"] {
        let output = Command::new(MONITOR)
            .args(["manifests", &format!("--image={wrong}")])
            .output()
            .expect("the program");
        assert_eq!(output.status.code(), Some(2), "{wrong:?}: {}", lossy(&output));
        assert!(output.stdout.is_empty(), "{wrong:?}");
    }
}

/// clap reads all arguments before those it prints the help for.
#[test]
fn the_binary_knows_the_arguments() {
    let help = Command::new(MONITOR).arg("--help").output().expect("the program under test");
    let printed = OVERLAYS.map(|overlay| daemonset(&documents(&manifests(&["--overlay", overlay]))));
    for daemonset in printed.into_iter().chain([daemonset(&documents(&read("drops-only.yaml")))]) {
        let env = daemonset["spec"]["template"]["spec"]["containers"][0]["env"].as_array().expect("env");
        let names = env.iter().filter_map(|env| env["name"].as_str());
        for name in names.filter(|name| name.starts_with("MONITOR_")) {
            assert!(lossy(&help).contains(&format!("[env: {name}=")), "{name}");
        }
        let arguments = arguments(&daemonset);
        let output =
            Command::new(MONITOR).args(&arguments).arg("--help").output().expect("the program under test");
        assert!(output.status.success(), "{arguments:?}\n{}", lossy(&output));
    }
    let output =
        Command::new(MONITOR).args(["--no-such-flag", "--help"]).output().expect("the program under test");
    assert!(!output.status.success(), "a wrong flag passes unseen");
}

/// Flags of other programs that the documents name.
const FOREIGN: [&str; 4] = ["--all", "--arg", "--comment", "--show-managed-fields"];

#[test]
fn the_documents_name_flags_that_there_are() {
    let migrating = include_str!("../../docs/migrating.md");
    let flags = regex::Regex::new(r"--[a-z][a-z0-9-]+").expect("a pattern");
    for text in [read("README.md").as_str(), migrating] {
        for flag in flags.find_iter(text).map(|flag| flag.as_str()).filter(|flag| !FOREIGN.contains(flag)) {
            let is_known = |subcommand: &str| {
                let arguments = [subcommand, flag].into_iter().filter(|argument| !argument.is_empty());
                let output =
                    Command::new(MONITOR).args(arguments).arg("--help").output().expect("the program");
                !lossy(&output).contains("unexpected argument")
            };
            assert!(
                ["", "check", "drops", "history", "manifests", "watch", "why"]
                    .iter()
                    .any(|subcommand| is_known(subcommand)),
                "{flag}"
            );
        }
    }
}

#[test]
fn the_query_for_stale_nodes_finds_them() {
    let text = read("README.md");
    let query = text.split("```sh\n").nth(1).and_then(|rest| rest.split("```").next()).expect("a query");
    let query = query.replace("kubectl get ciliumnodes -o json", "printf %s \"$NODES\"");
    let node = |name: &str, seconds: i64| {
        let at = jiff::Timestamp::now() - jiff::SignedDuration::from_secs(seconds);
        let annotations = serde_json::json!({CHECKED_AT_KEY: format!("{at:.0}")});
        serde_json::json!({"metadata": {"name": name, "annotations": annotations}})
    };
    let never = serde_json::json!({"metadata": {"name": "never"}});
    let nodes = serde_json::json!({"items": [node("fresh", 60), node("stale", 3600), never]});
    let output =
        Command::new("sh").args(["-c", &query]).env("NODES", nodes.to_string()).output().expect("sh");
    assert_eq!(lossy(&output), "stale\nnever\n", "needs jq: {query}");
}

#[test]
fn the_pod_may_do_no_more_than_it_needs() {
    for overlay in OVERLAYS.map(Some).into_iter().chain([None]) {
        let daemonset = daemonset(&kustomized(overlay));
        let pod = &daemonset["spec"]["template"]["spec"];
        let containers = pod["containers"].as_array().expect("containers");
        assert_eq!(containers.len(), 1);
        let security = &containers[0]["securityContext"];
        assert_eq!(security["capabilities"], serde_json::json!({"drop": ["ALL"], "add": ["NET_ADMIN"]}));
        assert_eq!(security["readOnlyRootFilesystem"], true);
        assert_eq!(security["allowPrivilegeEscalation"], false);
        assert_eq!(security["privileged"], false);
        assert_eq!(security["seccompProfile"]["type"], "RuntimeDefault");
        assert_eq!(pod["hostNetwork"], true);
        for power in ["hostPID", "hostIPC", "initContainers"] {
            assert!(pod.get(power).is_none(), "{power}");
        }
        let volumes = pod["volumes"].as_array().expect("volumes").iter();
        let mounts = containers[0]["volumeMounts"].as_array().expect("mounts");
        let is_read_only = |volume: &Value| {
            let mut own = mounts.iter().filter(|mount| mount["name"] == volume["name"]);
            own.all(|mount| mount["readOnly"] == true)
        };
        let writable: Vec<_> = volumes.filter(|volume| !is_read_only(volume)).collect();
        let state = serde_json::json!({"path": "/var/lib/iptables-monitor", "type": "DirectoryOrCreate"});
        match overlay {
            Some("history") => {
                assert!(writable.len() == 1 && writable[0]["hostPath"] == state, "{writable:?}")
            }
            _ => assert!(writable.is_empty(), "{writable:?}"),
        }
    }
}

#[test]
fn who_follows_drops_only_may_do_even_less() {
    let daemonset = daemonset(&documents(&read("drops-only.yaml")));
    let pod = &daemonset["spec"]["template"]["spec"];
    let container = &pod["containers"][0];
    assert_eq!(container["securityContext"]["capabilities"], serde_json::json!({"drop": ["ALL"]}));
    for power in ["hostNetwork", "hostPID", "hostIPC", "initContainers", "dnsPolicy"] {
        assert!(pod.get(power).is_none(), "{power}");
    }
    let value = |name: &str| {
        let env = container["env"].as_array().expect("env").iter().find(|env| env["name"] == name);
        env.and_then(|env| env["value"].as_str()).unwrap_or_else(|| panic!("no {name}")).to_owned()
    };
    let is_read_only = |path: &str| {
        let mounts = container["volumeMounts"].as_array().expect("mounts").iter();
        let is_above =
            |mount: &&Value| mount["mountPath"].as_str().is_some_and(|above| path.starts_with(above));
        mounts.filter(is_above).map(|mount| mount["readOnly"] == true).collect::<Vec<_>>()
    };
    assert_eq!(is_read_only(&value("IPTABLES_LOG_PATH")), [true]);
    assert_eq!(is_read_only(&value("MONITOR_STATE_DIR")), [false]);
    let port = &container["ports"][0];
    assert_eq!(port["containerPort"].to_string(), value("METRICS_SERVER_PORT"));
    for probe in ["livenessProbe", "readinessProbe"] {
        assert_eq!(container[probe]["httpGet"]["port"], port["name"], "{probe}");
    }
    let settings = TailerSettings::from_env(|name| name.starts_with("IPTABLES_LOG").then(|| value(name)));
    let settings = settings.expect("values that are of use");
    assert_eq!(settings.source, Some(TailerSource::File(value("IPTABLES_LOG_PATH").into())));
}

#[test]
fn the_journal_is_where_the_agent_writes_it() {
    let daemonset = daemonset(&kustomized(Some("history")));
    let container = &daemonset["spec"]["template"]["spec"]["containers"][0];
    let env = container["env"].as_array().expect("env");
    let directory = env.iter().find(|env| env["name"] == "MONITOR_STATE_DIR").expect("the directory");
    let mounts = container["volumeMounts"].as_array().expect("mounts");
    let mount = mounts.iter().find(|mount| mount["mountPath"] == directory["value"]).expect("a mount");
    assert!(mount.get("readOnly").is_none() && mount["name"] == "state", "{mount}");
}

#[test]
fn the_parts_fit_together() {
    let objects = kustomized(None);
    let daemonset = daemonset(&objects);
    let arguments = arguments(&daemonset);
    let value = |flag: &str| {
        let prefix = format!("--{flag}=");
        arguments.iter().find_map(|argument| argument.strip_prefix(&prefix)).expect(flag).to_owned()
    };
    let pod = &daemonset["spec"]["template"]["spec"];
    let container = &pod["containers"][0];
    for (flag, name) in [("input", "allowed-iptables-patterns"), ("input6", "allowed-ip6tables-patterns")] {
        let mounts = container["volumeMounts"].as_array().expect("mounts");
        let mount = mounts.iter().find(|mount| mount["mountPath"] == value(flag)).expect("a mount");
        assert!(mount.get("subPath").is_none(), "such a file never changes: {mount}");
        let volumes = pod["volumes"].as_array().expect("volumes");
        let volume = volumes.iter().find(|volume| volume["name"] == mount["name"]).expect("a volume");
        assert_eq!(volume["configMap"]["name"], name);
        assert!(
            objects.iter().any(|object| object["kind"] == "ConfigMap" && object["metadata"]["name"] == name)
        );
    }
    for probe in ["livenessProbe", "readinessProbe"] {
        let get = &container[probe]["httpGet"];
        let address = format!("{}:{}", get["host"].as_str().expect("a host"), get["port"]);
        assert_eq!(address, value("listen"), "{probe}");
    }
    let labels = &daemonset["spec"]["template"]["metadata"]["labels"];
    assert_eq!(&daemonset["spec"]["selector"]["matchLabels"], labels);
    for overlay in OVERLAYS {
        for object in kustomized(Some(overlay)) {
            for subject in object["subjects"].as_array().into_iter().flatten() {
                assert_eq!(subject["name"], pod["serviceAccountName"], "{object}");
                assert_eq!(subject["namespace"], daemonset["metadata"]["namespace"], "{object}");
            }
            if object["kind"] == "PodMonitor" {
                assert_eq!(&object["spec"]["selector"]["matchLabels"], labels);
            }
        }
    }
}
