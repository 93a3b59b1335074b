//! Who may name whom: floors, the rooms of `domain` and `app`, the owners of other crates, and where `unsafe` stands.
//! Judges one file at a time and reads none.

use std::collections::BTreeSet;

use super::source::{Path, read};

/// Each floor, and the floors it may name beside itself.
const FLOORS: [(&str, &[&str]); 7] = [
    ("cli", &["app", "telemetry", "domain"]),
    ("app", &["host", "k8s", "wire", "telemetry", "domain"]),
    ("host", &["domain"]),
    ("k8s", &["domain"]),
    ("wire", &["domain::forward"]),
    ("telemetry", &["domain"]),
    ("domain", &[]),
];

/// What everything in `domain` may name; each of them only those before it.
const LEAVES: [&str; 5] = ["verdict", "words", "rules", "packets", "peers"];

/// The capabilities of `domain`, and what each may name beside itself and the leaves.
const CAPABILITIES: [(&str, &[&str]); 7] = [
    ("changes", &[]),
    ("judging", &["changes"]),
    ("cluster", &["judging", "changes"]),
    ("drops", &[]),
    ("traffic", &[]),
    ("forward", &["drops::record", "traffic::edge"]),
    ("firewall", &[]),
];

/// The capabilities of `app`: they meet in `agent.rs`.
const SERVICES: [&str; 6] = ["checks", "cluster", "drops", "forward", "firewall", "traffic"];
/// What every capability of `app` may name; each of them only those before it.
const SHARED: [&str; 4] = ["ending", "api_health", "service", "peers"];
/// What joins the capabilities of `app`.
const JOINER: &str = "agent";

/// The floors and rooms that each crate of `[dependencies]` belongs to.
pub const OWNERS: [(&str, &[&str]); 32] = [
    ("anstyle", &["cli"]),
    ("anyhow", &["cli", "main"]),
    ("aya", &["host/bpf_map"]),
    ("base64", &["telemetry/page"]),
    ("clap", &["cli"]),
    ("clap_complete", &["cli"]),
    ("dns_lookup", &["host/net"]),
    ("env_logger", &["telemetry"]),
    ("http", &["k8s"]),
    ("http_body_util", &["k8s", "telemetry"]),
    ("humantime", &["cli"]),
    ("hyper", &["telemetry"]),
    ("hyper_util", &["telemetry"]),
    ("jiff", &["domain/words"]),
    ("k8s_openapi", &["k8s"]),
    ("kube", &["k8s"]),
    ("libc", &["host"]),
    ("log", &["app", "cli", "telemetry"]),
    ("memchr", &["domain"]),
    ("netlink_packet_core", &["host/netlink"]),
    ("netlink_sys", &["host/netlink"]),
    ("prometheus", &["telemetry"]),
    ("regex_automata", &["domain/judging"]),
    ("regex_syntax", &["domain/judging"]),
    ("rusqlite", &["host/store"]),
    ("rustix", &["host"]),
    ("rustls", &["k8s"]),
    ("serde", &["domain", "host", "k8s", "telemetry", "cli"]),
    ("serde_json", &["domain", "host", "k8s", "telemetry", "cli"]),
    ("sha2", &["domain"]),
    ("thiserror", &["domain", "host", "k8s", "app"]),
    ("tokio", &["app", "k8s"]),
];

/// Where a crate of others is named all the same, and why.
const EXCEPTIONS: [(&str, &str); 22] = [
    ("app/checks/allowlists", "clap"), // an enum that is an argument spells its own values
    ("app/cluster/settings", "clap"),  // the same
    ("telemetry/log", "clap"),         // the same
    ("domain/drops/civil", "jiff"),    // log lines have dates, pure arithmetic
    ("cli/drops/mod", "jiff"),         // which zone this machine is in
    ("cli/output/shown", "jiff"),      // a moment in a report
    ("cli/arguments", "rustix"),       // what this host is called
    ("cli/drops/mod", "rustix"),       // what this host is called
    ("cli/drops/table", "rustix"),     // how large the terminal is
    ("app/checks/watch", "rustix"),    // a thread that waits for the kernel is told to end
    ("app/drops", "serde"),            // where a source goes on is kept as JSON
    ("app/drops", "serde_json"),       // where a source goes on is kept as JSON
    ("app/checks/scan/contents", "sha2"), // sets are told apart by their hashes
    ("cli/output/sarif", "sha2"),      // a finding has a fingerprint
    ("host/logs/tail/place", "sha2"),  // a file is known again by how it begins
    ("telemetry/page", "sha2"),        // a style sheet is allowed by its hash
    ("telemetry/http", "tokio"),       // a server waits for its clients
    ("cli/compat", "thiserror"),       // what is wrong with an older system's variables
    ("cli/credential_plugin", "tokio"), // the runtime is made where the process starts
    ("cli/agent", "tokio"),            // the runtime is made where the process starts
    ("cli/drops/mod", "tokio"),        // the same
    ("cli/watch/mod", "tokio"),        // the same
];

/// Where `unsafe` stands.
const RAW: &str = "host/raw/";
/// The longest file, in lines.
pub const MAX_LINES: usize = 500;

/// What is against the rules in a file of `src`, whose path is relative to that: `FILE:LINE: RULE`.
pub fn faults(file: &str, text: &str) -> Vec<String> {
    let here = Place::of(file);
    let source = read(text, &here.module());
    let mut found: Vec<(usize, String)> = Vec::new();
    if here.floor != "main" && here.floor != "lib" {
        found.extend(here.misplaced().map(|rule| (1, rule)));
    }
    for name in &source.names {
        found.extend(here.against(&name.path).map(|rule| (name.line, rule)));
    }
    if !file.starts_with(RAW) {
        let rule = || format!("unsafe stands in {RAW} only");
        found.extend(source.unsafe_lines.iter().map(|line| (*line, rule())));
    }
    found.extend(too_long(text).map(|rule| (MAX_LINES + 1, rule)));
    found.sort();
    found.dedup();
    found.into_iter().map(|(line, rule)| format!("{file}:{line}: {rule}")).collect()
}

/// What is against the rules in a file that has too many lines.
pub fn too_long(text: &str) -> Option<String> {
    let lines = text.lines().count();
    (lines > MAX_LINES).then(|| format!("{lines} lines, and no file has more than {MAX_LINES}"))
}

/// What lacks an owner among the dependencies of this Cargo.toml, and which owner has no dependency.
pub fn ownerless(manifest: &str) -> Vec<String> {
    let dependencies = dependencies(manifest);
    let is_owned = |name: &String| OWNERS.iter().any(|(owned, _)| owned == name);
    let ownerless =
        dependencies.iter().filter(|name| !is_owned(name)).map(|name| format!("{name} has no owner"));
    let is_there = |name: &str| dependencies.iter().any(|dependency| dependency == name);
    let idle =
        OWNERS.iter().filter(|(name, _)| !is_there(name)).map(|(name, _)| format!("{name} is no dependency"));
    ownerless.chain(idle).collect()
}

/// Each place that may name a crate, and that crate.
fn places() -> impl Iterator<Item = (&'static str, &'static str)> {
    let owners = OWNERS.iter().flat_map(|(owned, places)| places.iter().map(|place| (*place, *owned)));
    owners.chain(EXCEPTIONS)
}

/// The places of which this file names a crate.
pub fn used(file: &str, text: &str) -> Vec<(&'static str, &'static str)> {
    let here = Place::of(file);
    let source = read(text, &here.module());
    let named = |owned: &str| source.names.iter().any(|name| name.path[0] == owned);
    places().filter(|(place, owned)| here.is_in(place) && named(owned)).collect()
}

/// Places that may name a crate and do not: whoever moves the last use away takes the permission along.
pub fn unused(used: &BTreeSet<(&str, &str)>) -> Vec<String> {
    let idle = places().filter(|place| !used.contains(place));
    idle.map(|(place, owned)| format!("{place} may name {owned} and does not")).collect()
}

/// The names by which code knows the crates that ship.
fn dependencies(manifest: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut is_list = false;
    for line in manifest.lines().map(str::trim) {
        if let Some(header) = line.strip_prefix('[') {
            let header = header.split(']').next().unwrap_or_default();
            let (before, table) = header.split_once("dependencies").unwrap_or((header, ""));
            let ships =
                header.contains("dependencies") && !before.ends_with("dev-") && !before.ends_with("build-");
            is_list = ships && table.is_empty();
            names.extend(table.strip_prefix('.').filter(|_| ships).map(str::to_owned));
        } else if is_list && !line.is_empty() && !line.starts_with('#') {
            names.extend(line.split(['=', '.', ' ']).next().map(|name| name.trim_matches('"').to_owned()));
        }
    }
    names.iter().map(|name| name.replace('-', "_")).collect()
}

/// Where a file is.
struct Place<'a> {
    file: &'a str,
    floor: &'a str,
    /// None for the file that declares the rooms.
    room: Option<&'a str>,
}

impl<'a> Place<'a> {
    fn of(file: &'a str) -> Self {
        let stem = file.trim_end_matches(".rs");
        let mut parts = stem.split('/');
        let floor = parts.next().unwrap_or_default();
        Self { file: stem, floor, room: parts.next().filter(|room| *room != "mod") }
    }

    fn module(&self) -> Vec<&'a str> {
        match self.file {
            "lib" | "main" => Vec::new(),
            file => file.split('/').filter(|part| *part != "mod").collect(),
        }
    }

    fn is_in(&self, place: &str) -> bool {
        self.file.strip_prefix(place).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    /// What is wrong with where the file is.
    fn misplaced(&self) -> Option<String> {
        let Self { floor, room, .. } = self;
        if !FLOORS.iter().any(|(known, _)| known == floor) {
            return Some(format!("there is no floor {floor}"));
        }
        let room = (*room)?;
        (!is_room(floor, room)).then(|| format!("{floor} has no room {room}"))
    }

    /// The rule that naming this path breaks.
    fn against(&self, path: &Path) -> Option<String> {
        match path.first().map(String::as_str) {
            Some("crate") => self.against_ours(&path.iter().skip(1).map(String::as_str).collect::<Vec<_>>()),
            Some("iptables_monitor") => {
                let is_allowed = self.floor == "main" && path.get(1).is_some_and(|floor| floor == "cli");
                (!is_allowed).then(|| "only main.rs names the library, and of it only cli".to_owned())
            }
            Some(name) => self.against_theirs(name),
            None => None,
        }
    }

    fn against_theirs(&self, name: &str) -> Option<String> {
        let (_, owners) = OWNERS.iter().find(|(owned, _)| *owned == name)?;
        let is_here = places().any(|(place, owned)| owned == name && self.is_in(place));
        (!is_here).then(|| format!("{name} belongs to {}", owners.join(", ")))
    }

    fn against_ours(&self, path: &[&str]) -> Option<String> {
        let &[floor, ref inner @ ..] = path else {
            return Some("the crate is named as a whole".to_owned());
        };
        if floor == "*" || inner.first() == Some(&"*") {
            return Some(format!(
                "a glob of {} hides what is named",
                if floor == "*" { "the crate" } else { floor }
            ));
        }
        if floor != self.floor {
            return self.against_floor(floor, inner);
        }
        match floor {
            "domain" | "app" => self.against_room(floor, inner),
            _ => None,
        }
    }

    fn against_floor(&self, floor: &str, inner: &[&str]) -> Option<String> {
        let Self { floor: here, .. } = self;
        let allowed = FLOORS.iter().find(|(name, _)| name == here).map_or(&[][..], |(_, allowed)| allowed);
        let full = [&[floor], inner].concat().join("::");
        (!allowed.iter().any(|allowed| begins(&full, allowed))).then(|| match allowed {
            [] => format!("{here} may not name {floor}"),
            _ => format!("{here} may not name {floor}, only {}", allowed.join(", ")),
        })
    }

    /// Within `domain` and within `app`.
    fn against_room(&self, floor: &str, inner: &[&str]) -> Option<String> {
        let Some(&target) = inner.first() else {
            return Some(format!("{floor} is named as a whole by one of its rooms"));
        };
        let Some(room) = self.room else {
            return Some(format!("{floor}/mod.rs declares rooms and names nothing of them"));
        };
        if room == target {
            return None;
        }
        if !is_room(floor, target) {
            return Some(format!("{floor} has no room {target}"));
        }
        let allowed = allowed(floor, room);
        let full = inner.join("::");
        (!allowed.iter().any(|allowed| begins(&full, allowed))).then(|| match allowed.as_slice() {
            [] => format!("{floor}: {room} may name no other room, and names {target}"),
            allowed => format!("{floor}: {room} may name only {}, and names {target}", allowed.join(", ")),
        })
    }
}

/// Whether the path is the allowed one, or lies in it.
fn begins(path: &str, allowed: &str) -> bool {
    path == allowed || path.strip_prefix(allowed).is_some_and(|rest| rest.starts_with("::"))
}

/// Other floors group by what they touch, and no rule needs the names.
fn is_room(floor: &str, room: &str) -> bool {
    match floor {
        "domain" => LEAVES.contains(&room) || CAPABILITIES.iter().any(|(name, _)| *name == room),
        "app" => room == JOINER || SHARED.contains(&room) || SERVICES.contains(&room),
        _ => true,
    }
}

/// What a room may name of its floor's other rooms.
fn allowed(floor: &str, room: &str) -> Vec<&'static str> {
    if floor == "app" {
        return match room {
            JOINER => [&SHARED[..], &SERVICES].concat(),
            _ if SHARED.contains(&room) => SHARED.into_iter().take_while(|shared| *shared != room).collect(),
            _ => SHARED.to_vec(),
        };
    }
    match CAPABILITIES.iter().find(|(name, _)| *name == room) {
        Some((_, more)) => [&LEAVES[..], more].concat(),
        None => LEAVES.into_iter().take_while(|leaf| *leaf != room).collect(),
    }
}
