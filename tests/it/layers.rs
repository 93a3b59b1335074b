//! The architecture as a test: who may name whom, how long a file may be, what ships in the binary.

use std::fs;
use std::path::{Path, PathBuf};

/// Each layer: which others it may name, and external crates that only it may name.
const LAYERS: [(&str, &[&str], &[&str]); 6] = [
    ("domain", &["domain"], &["regex", "regex_automata", "regex_syntax", "memchr"]),
    (
        "host",
        &["host", "domain"],
        &["aya", "netlink_sys", "netlink_packet_core", "dns_lookup", "libc", "rusqlite"],
    ),
    ("k8s", &["k8s", "domain"], &["kube", "k8s_openapi", "rustls"]),
    ("telemetry", &["telemetry", "domain"], &["env_logger", "prometheus", "hyper", "hyper_util"]),
    ("app", &["app", "domain", "host", "k8s", "telemetry"], &["tokio"]),
    ("cli", &["cli", "app", "domain", "telemetry"], &["anyhow", "clap_complete", "jiff", "humantime"]),
];
/// Where a crate of another layer is named all the same, and why.
const EXCEPTIONS: [(&str, &str); 14] = [
    ("cli/watch/mod.rs", "tokio"),     // the runtime is made where the process starts
    ("cli/drops/mod.rs", "tokio"),     // the runtime is made where the process starts
    ("k8s/pod_events.rs", "jiff"),     // k8s_openapi's own times are made of it
    ("domain/drops/civil.rs", "jiff"), // log lines have dates, pure arithmetic
    ("k8s/pods.rs", "jiff"),           // a pod's times, as its API writes them
    ("cli/agent.rs", "tokio"),         // the runtime is made where the process starts
    ("k8s/client.rs", "tokio"),        // the deadline of a call
    ("cli/credential_plugin.rs", "tokio"), // the runtime is made where the process starts
    ("k8s/label.rs", "jiff"),          // the same, for an annotation
    ("k8s/list_watch.rs", "tokio"),    // pauses between calls
    ("k8s/watch_stream.rs", "tokio"),  // the longest a watch may be silent
    ("k8s/events.rs", "jiff"),         // k8s_openapi's own times are made of it
    ("telemetry/http.rs", "tokio"),    // a server waits for its clients
    ("domain/words/moment.rs", "jiff"), // a moment in words; it asks for no clock
];
const MAX_LINES: usize = 500;

fn rust_files(directory: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn layers_name_only_what_they_may() {
    let mut faults = Vec::new();
    let names = regex::Regex::new(r"\bcrate::(\w+)").unwrap();
    for (layer, may_name, _) in LAYERS {
        for file in rust_files(&root().join("src").join(layer)) {
            let shown = file.strip_prefix(root().join("src")).unwrap().display().to_string();
            let text = fs::read_to_string(&file).unwrap();
            let shipped = text.lines().take_while(|line| *line != "#[cfg(test)]");
            for (number, line) in shipped.enumerate() {
                if line.trim_start().starts_with("//") {
                    continue;
                }
                for name in names.captures_iter(line).map(|found| found[1].to_owned()) {
                    if !may_name.contains(&name.as_str()) {
                        faults.push(format!("{shown}:{}: {layer} may not name {name}", number + 1));
                    }
                }
                for (owner, _, crates) in LAYERS.iter().filter(|(owner, ..)| *owner != layer) {
                    for name in crates.iter().filter(|name| line.contains(&format!("{name}::"))) {
                        if !EXCEPTIONS.contains(&(shown.as_str(), name)) {
                            faults.push(format!("{shown}:{}: only {owner} may name {name}", number + 1));
                        }
                    }
                }
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn no_file_is_too_long() {
    let files = ["src", "tests"].iter().flat_map(|directory| rust_files(&root().join(directory)));
    let long: Vec<_> = files
        .map(|file| (fs::read_to_string(&file).unwrap().lines().count(), file))
        .filter(|(lines, _)| *lines > MAX_LINES)
        .collect();
    assert!(long.is_empty(), "{long:?}");
}

#[test]
fn unsafe_code_stands_in_one_directory() {
    let allowed = |path: &PathBuf| path.starts_with(root().join("src/host/raw"));
    for file in rust_files(&root().join("src")).iter().filter(|path| !allowed(path)) {
        assert!(!fs::read_to_string(file).unwrap().contains("unsafe {"), "{}", file.display());
    }
}

#[test]
fn every_pattern_file_is_in_the_binary() {
    use iptables_monitor::domain::judging::profiles;
    for entry in fs::read_dir(root().join("patterns")).unwrap() {
        let directory = entry.unwrap().path();
        if !directory.is_dir() {
            continue;
        }
        let name = directory.file_name().unwrap().to_str().unwrap().to_owned();
        let built_in = profiles::files(&name).unwrap_or_else(|| panic!("profile {name} is not built in"));
        let on_disk = fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().path());
        for file in on_disk.filter(|file| !file.ends_with("README.md")) {
            let text = fs::read(&file).unwrap();
            let list = file.file_name().unwrap().to_str().unwrap().to_owned();
            let found = built_in.iter().find(|built_in| built_in.list.as_str() == list);
            assert_eq!(found.map(|found| &found.text), Some(&text), "{}", file.display());
        }
    }
}
