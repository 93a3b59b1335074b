//! That each forbidden import is found wherever Rust lets it stand, and that nothing else is taken for one.

use super::rules::{MAX_LINES, faults, ownerless};

/// The one fault of this file is at this line and names this.
#[track_caller]
fn refused(file: &str, line: usize, rule: &str, text: &str) {
    let found = faults(file, text);
    let is_it = |fault: &String| fault.starts_with(&format!("{file}:{line}: ")) && fault.contains(rule);
    assert!(matches!(&found[..], [fault] if is_it(fault)), "{file}:{line}: {rule}\n{found:#?}\n{text}");
}

#[track_caller]
fn allowed(file: &str, text: &str) {
    assert_eq!(faults(file, text), [""; 0], "{text}");
}

#[test]
fn a_floor_names_only_floors_below() {
    for (file, target) in [
        ("domain/drops/record.rs", "host"),
        ("domain/verdict.rs", "telemetry"),
        ("host/logs/tail.rs", "k8s"),
        ("k8s/client.rs", "host"),
        ("telemetry/http.rs", "app"),
        ("wire/client.rs", "host"),
        ("wire/client.rs", "domain::drops"),
        ("app/drops/mod.rs", "cli"),
        ("cli/check.rs", "host"),
        ("lib.rs", "app"),
    ] {
        let floor = target.split("::").next().unwrap();
        refused(file, 1, &format!("may not name {floor}"), &format!("use crate::{target}::x::Thing;"));
    }
    for (file, target) in [
        ("host/logs/tail.rs", "domain::drops::batch"),
        ("host/logs/tail.rs", "host::command"),
        ("app/drops/mod.rs", "host::logs"),
        ("app/agent.rs", "app::drops"),
        ("cli/check.rs", "app::checks"),
        ("cli/check.rs", "telemetry::log"),
        ("wire/client.rs", "domain::forward::envelope"),
    ] {
        allowed(file, &format!("use crate::{target}::Thing;"));
    }
    refused("main.rs", 1, "only cli", "use iptables_monitor::app::agent;");
    refused("cli/mod.rs", 1, "only main.rs", "use iptables_monitor::cli::run;");
    allowed("main.rs", "use iptables_monitor::cli::{self, Exit};");
}

#[test]
fn an_import_is_found_in_every_form() {
    let rule = "domain may not name host";
    for (line, text) in [
        (1, "use crate::host;"),
        (1, "pub(crate) use crate::{domain::words, host::command};"),
        (
            3,
            "use crate::{\n    domain::{words::{escape, cut as shorten}, verdict::*},\n    host::{self, command},\n};",
        ),
        (1, "use crate::{host};"),
        (1, "use crate::host as below;"),
        (1, "use super::super::super::host::command::run;"),
        (1, "use {super::super::super::{host}};"),
        (2, "fn f() {\n    crate::host::command::run();\n}"),
        (1, "type T = Vec<crate::host::command::Output>;"),
        (1, "impl From<crate::host::E> for E {}"),
        (1, "const C: u8 = <crate::host::E as Default>::N;"),
        (2, "#[derive(Debug)]\n#[error(transparent, crate::host::E)]\nstruct E;"),
        (1, "fn f() { vec![crate::host::x()] }"),
        (1, "macro_rules! m { () => { $crate::host::x() } }"),
        (2, "mod inner {\n    use super::super::super::super::host::x;\n}"),
        (2, "/* a comment\n*/ use crate::host::x;"),
        (1, "const Q: char = '\"'; use crate::host::x; const R: char = '\"';"),
        (1, "const Q: &str = \"\\\"\"; use crate::host::x; const R: &str = \"\";"),
        (1, "const Q: &str = r#\"\"\"#; use crate::host::x;"),
        (1, "fn f<'a>(x: &'a str) { crate::host::x(x) }"),
        (1, "use crate::r#host::x;"),
        (1, "use crate\n::host::x;"),
    ] {
        // a path begins where its last segment of a `use` stands
        let line = if text.contains("crate\n") { 2 } else { line };
        refused("domain/drops/record.rs", line, rule, text);
    }
    refused("domain/drops/record.rs", 1, "a glob of the crate", "use crate::*;");
    refused("domain/drops/record.rs", 1, "a glob of host", "use crate::host::*;");
    refused("domain/drops/record.rs", 1, "as a whole", "use crate as ours;");
}

#[test]
fn what_is_named_through_another_name_is_found() {
    refused(
        "host/logs/tail.rs",
        1,
        "may not name k8s",
        "use crate::k8s as other; fn f() { other::client::call() }",
    );
    let twice = faults("domain/drops/record.rs", "use crate::domain as ours;\nuse ours::judging::audit;");
    assert_eq!(twice.len(), 2, "{twice:#?}");
    assert!(twice[0].contains("named as a whole") && twice[1].contains("names judging"), "{twice:#?}");
    let nested = faults("domain/drops/record.rs", "use super::super as ours;\nfn f() { ours::judging::f() }");
    assert_eq!(nested.len(), 2, "{nested:#?}");
}

#[test]
fn what_is_for_tests_only_is_free() {
    allowed(
        "domain/drops/record.rs",
        "use crate::domain::words;\n#[cfg(test)]\n#[allow(dead_code)]\npub(crate) mod tests {\n    use crate::host::x;\n    \
         fn f() { let c = '}'; unsafe { tokio::x() } }\n}\n",
    );
    allowed("domain/drops/record.rs", "#[cfg(test)]\nmod tests;\n");
}

#[test]
fn what_stands_behind_tests_is_not() {
    let after = "#[cfg(test)]\nmod tests {\n    fn f() { if x { y } }\n}\nuse crate::host::x;";
    refused("domain/drops/record.rs", 5, "may not name host", after);
    refused(
        "domain/drops/record.rs",
        3,
        "may not name host",
        "#[cfg(test)]\nmod tests;\nuse crate::host::x;",
    );
    for shipped in [
        "#[cfg(test)] use crate::host::x;",
        "#[cfg(test)] fn f() { crate::host::x() }",
        "#[cfg(not(test))] mod m { use crate::host::x; }",
        "#[cfg(any(test, unix))] mod m { use crate::host::x; }",
        "mod tests { use crate::host::x; }",
    ] {
        refused("domain/drops/record.rs", 1, "may not name host", shipped);
    }
}

#[test]
fn what_only_looks_like_an_import_is_none() {
    allowed(
        "domain/drops/record.rs",
        "//! [`crate::host`]\n/// crate::host::x\n// use crate::host;\n/* use crate::host; /* unsafe */ kube::x */\n\
         const A: &str = \"use crate::host; unsafe\";\nconst B: &[u8] = br##\"\"# crate::host::x \"##;\n\
         const C: &str = \"\\\"crate::host::x\";\nconst D: [char; 3] = ['\\'', '\"', '\\u{22}'];\n\
         fn f<'kube>(host: &'kube str) -> T { host::<'kube>(host.k8s::<u8>(), Host::host::x()) }\n\
         fn g() -> impl Iterator + use<'a> {}\n#![deny(unsafe_code)]\n",
    );
    allowed("app/drops/mod.rs", "pub(in crate::app) struct S { pub(in crate::app) x: u8 }");
    refused("domain/drops/record.rs", 1, "host", "struct S(pub(in crate::domain) crate::host::x);");
    // a module, and a name that `use` brings, hide a crate of that name
    allowed("telemetry/mod.rs", "pub mod libc;\nfn f() { libc::serve() }");
    allowed("app/agent.rs", "use crate::telemetry::http;\nfn f() { http::serve() }");
}

#[test]
fn capabilities_of_the_domain_keep_apart() {
    for (room, target) in [
        ("changes", "judging::audit"),
        ("changes", "cluster"),
        ("judging", "cluster::label"),
        ("judging", "drops::record"),
        ("cluster", "drops::record"),
        ("cluster", "forward"),
        ("drops", "judging::report"),
        ("drops", "traffic"),
        ("drops", "forward"),
        ("traffic", "drops::record"),
        ("firewall", "judging"),
        ("forward", "drops::prefix"),
        ("forward", "drops"),
        ("forward", "drops::records"),
        ("forward", "traffic::flows"),
        ("forward", "judging"),
    ] {
        let names = format!("{room} may name only verdict, words, rules, packets, peers");
        let text = format!("use crate::domain::{target};");
        refused(&format!("domain/{room}/mod.rs"), 1, &names, &text);
        refused(&format!("domain/{room}/deep/er.rs"), 1, &names, &text);
        let sideways = format!("use super::super::super::{target};");
        refused(&format!("domain/{room}/deep/er.rs"), 1, &names, &sideways);
    }
    for (room, target) in [
        ("cluster", "judging::report"),
        ("cluster", "changes"),
        ("judging", "changes::diff"),
        ("forward", "drops::record::Record"),
        ("forward", "traffic::edge"),
        ("drops", "drops::prefix"),
        ("drops", "rules::at"),
        ("traffic", "peers"),
        ("firewall", "verdict::Verdict"),
        ("changes", "packets"),
    ] {
        allowed(&format!("domain/{room}/mod.rs"), &format!("use crate::domain::{target};"));
    }
}

#[test]
fn leaves_of_the_domain_name_no_capability_and_only_leaves_before_them() {
    let leaves = ["verdict", "words", "rules", "packets", "peers"];
    for (index, leaf) in leaves.iter().enumerate() {
        for capability in ["changes", "judging", "cluster", "drops", "forward", "firewall", "traffic"] {
            let text = format!("use crate::domain::{capability}::x;");
            refused(
                &format!("domain/{leaf}.rs"),
                1,
                &format!("and names {capability}"),
                &text.replace("::x", ""),
            );
            refused(&format!("domain/{leaf}/x.rs"), 1, &format!("and names {capability}"), &text);
        }
        for (other, target) in leaves.iter().enumerate() {
            let (file, text) = (format!("domain/{leaf}/mod.rs"), format!("use crate::domain::{target};"));
            match other <= index {
                true => allowed(&file, &text),
                false => refused(&file, 1, &format!("and names {target}"), &text),
            }
        }
    }
}

#[test]
fn capabilities_of_the_app_meet_in_the_agent() {
    let services = ["checks", "cluster", "drops", "forward", "firewall", "traffic"];
    for service in services {
        let file = format!("app/{service}/settings.rs");
        for target in services.iter().filter(|target| **target != service).chain(&["agent"]) {
            let rule =
                format!("{service} may name only ending, api_health, service, peers, and names {target}");
            refused(&file, 1, &rule, &format!("use crate::app::{target}::start;"));
        }
        allowed(&file, &format!("use crate::app::{{service::Service, peers, {service}::start}};"));
        allowed("app/agent.rs", &format!("use super::{service}::start;"));
        allowed("app/peers/mod.rs", "use crate::app::api_health::Health;");
        refused("app/api_health.rs", 1, "and names peers", "use crate::app::peers::names;");
        for shared in ["ending.rs", "api_health.rs", "service.rs", "peers/mod.rs"] {
            let text = format!("use crate::app::{service}::start;");
            refused(&format!("app/{shared}"), 1, &format!("and names {service}"), &text);
        }
    }
}

#[test]
fn every_file_stands_in_a_room() {
    for (file, rule) in [
        ("domain/report.rs", "domain has no room report"),
        ("domain/pods/index.rs", "domain has no room pods"),
        ("app/monitor.rs", "app has no room monitor"),
        ("util/mod.rs", "there is no floor util"),
        ("util.rs", "there is no floor util"),
    ] {
        refused(file, 1, rule, "");
    }
    refused("domain/drops/mod.rs", 1, "domain has no room report", "use crate::domain::report;");
    refused("domain/mod.rs", 2, "declares rooms", "pub mod drops;\npub use drops::Record;");
    refused("app/mod.rs", 1, "declares rooms", "pub use self::agent::run;");
    ["domain/verdict.rs", "domain/mod.rs", "app/agent.rs", "app/service.rs", "host/bpf_map.rs"]
        .iter()
        .for_each(|file| allowed(file, "pub mod x;"));
}

#[test]
fn other_crates_belong_to_their_floors() {
    for (file, text, owner) in [
        ("domain/drops/record.rs", "fn f() { rustix::time::now() }", "rustix belongs to host"),
        ("app/checks/mod.rs", "use rustix::fs;", "rustix belongs to host"),
        ("app/checks/mod.rs", "#[derive(clap::ValueEnum)] enum E {}", "clap belongs to cli"),
        ("app/checks/mod.rs", "use {std::fmt, ::clap::Parser};", "clap belongs to cli"),
        ("app/checks/mod.rs", "fn f() { ::clap::x() }", "clap belongs to cli"),
        ("telemetry/page.rs", "extern crate kube;", "kube belongs to k8s"),
        ("domain/drops/record.rs", "use tokio as runtime;", "tokio belongs to"),
        ("domain/drops/record.rs", "fn f() { tokio::select! {} }", "tokio belongs to"),
        ("host/net/addresses.rs", "use rusqlite::Connection;", "rusqlite belongs to host/store"),
        ("host/net/addresses.rs", "use prometheus::*;", "prometheus belongs to telemetry"),
    ] {
        refused(file, 1, owner, text);
    }
    allowed("host/store/read.rs", "use rusqlite::Connection;");
    allowed("host/net/addresses.rs", "use rustix::net as sockets;\nfn f() { sockets::socket() }");
}

#[test]
fn a_dependency_without_an_owner_is_named() {
    let manifest = include_str!("../../../Cargo.toml");
    let with = |more: &str| ownerless(&manifest.replace("[dependencies]", more));
    assert_eq!(with("[dependencies]"), [""; 0]);
    assert_eq!(with("[dependencies]\nserde-newer = \"1\""), ["serde_newer has no owner"]);
    assert_eq!(with("[dependencies]\nnewer.workspace = true"), ["newer has no owner"]);
    assert_eq!(with("[dependencies.newer]\n[dependencies]"), ["newer has no owner"]);
    assert_eq!(
        with("[target.'cfg(unix)'.dependencies]\nnewer = \"1\"\n[dependencies]"),
        ["newer has no owner"]
    );
    assert_eq!(with("[dev-dependencies]\nnewer = \"1\"\n[dependencies]"), [""; 0]);
    assert_eq!(ownerless(&manifest.replace("\nsha2 =", "\n#")), ["sha2 is no dependency"]);
}

#[test]
fn unsafe_code_stands_in_one_directory() {
    for text in [
        "fn f() { unsafe { x() } }",
        "unsafe fn f() {}",
        "unsafe impl Send for T {}",
        "unsafe extern \"C\" {}",
    ] {
        refused("host/xtables.rs", 1, "unsafe stands in host/raw/ only", text);
        allowed("host/raw/getsockopt.rs", text);
    }
}

#[test]
fn a_long_file_is_refused() {
    allowed("host/bpf_map.rs", &"\n".repeat(MAX_LINES));
    let text = "\n".repeat(MAX_LINES + 1);
    refused("host/bpf_map.rs", MAX_LINES + 1, "501 lines, and no file has more than 500", &text);
}
