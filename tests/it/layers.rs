//! The architecture as a test: who may name whom, how long a file may be, what ships in the binary.
//! The rules stand in `layers/rules.rs`, and `layers/fixtures.rs` proves that each of them refuses something.

mod fixtures;
mod rules;
mod source;
mod tokens;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

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
    files.sort();
    files
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every file of `src`: its path there, and its text.
fn sources() -> Vec<(String, String)> {
    let src = root().join("src");
    let name = |path: &PathBuf| path.strip_prefix(&src).unwrap().to_str().unwrap().to_owned();
    rust_files(&src).iter().map(|path| (name(path), fs::read_to_string(path).unwrap())).collect()
}

/// The module a file is, from the root of the crate.
fn module(file: &str) -> Vec<&str> {
    let path = file.trim_end_matches(".rs");
    path.split('/').filter(|part| !["lib", "main", "mod"].contains(part)).collect()
}

/// The modules that are for tests only, with `crate` before each.
fn test_modules(sources: &[(String, String)]) -> BTreeSet<source::Path> {
    sources.iter().flat_map(|(file, text)| source::read(text, &module(file)).test_modules).collect()
}

#[test]
fn every_file_names_only_what_it_may() {
    let sources = sources();
    let for_tests = test_modules(&sources);
    let is_shipped = |file: &str| {
        let own: source::Path = ["crate"].into_iter().chain(module(file)).map(str::to_owned).collect();
        !for_tests.iter().any(|module| own.starts_with(module))
    };
    let shipped: Vec<_> = sources.iter().filter(|(file, _)| is_shipped(file)).collect();
    assert!(shipped.len() > 200 && for_tests.len() > 20, "{} files, {for_tests:?}", shipped.len());
    let mut faults: Vec<_> = shipped.iter().flat_map(|(file, text)| rules::faults(file, text)).collect();
    let used: BTreeSet<_> = shipped.iter().flat_map(|(file, text)| rules::used(file, text)).collect();
    faults.extend(rules::unused(&used));
    assert!(faults.is_empty(), "{} faults\n{}", faults.len(), faults.join("\n"));
}

/// A task or a thread that nobody would miss is started nowhere.
#[test]
fn services_start_all_tasks_and_threads() {
    const STARTS: [&str; 4] = ["tokio::spawn(", "spawn_local(", "thread::spawn(", "thread::Builder"];
    let is_of_agent = |file: &str| ["app/", "k8s/", "telemetry/"].iter().any(|floor| file.starts_with(floor));
    let has_start = |text: &str| STARTS.iter().any(|start| text.contains(start));
    let files = sources().into_iter().filter(|(file, text)| is_of_agent(file) && has_start(text));
    assert_eq!(files.map(|(file, _)| file).collect::<Vec<_>>(), ["app/service.rs"]);
}

#[test]
fn every_dependency_has_an_owner() {
    assert_eq!(rules::ownerless(&fs::read_to_string(root().join("Cargo.toml")).unwrap()), [""; 0]);
}

#[test]
fn no_file_is_too_long() {
    let files = ["src", "tests"].iter().flat_map(|directory| rust_files(&root().join(directory)));
    let fault = |file: PathBuf| {
        rules::too_long(&fs::read_to_string(&file).unwrap()).map(|rule| format!("{}: {rule}", file.display()))
    };
    assert_eq!(files.filter_map(fault).collect::<Vec<_>>(), [""; 0]);
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
