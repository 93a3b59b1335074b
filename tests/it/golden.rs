//! What people and programs rely on, as files in tests/golden: help, metrics, and what `check`, `history`, `why` and `drops` print of fixed inputs.
//! A difference is no fault in itself: it must be wanted. Nothing here depends on the machine, its clock or its packages.

use std::collections::BTreeMap;
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use iptables_monitor::cli::output::{Format, WriteOptions};
use iptables_monitor::host::store::history::Store;
use iptables_monitor::k8s::client::Operation;
use iptables_monitor::k8s::failure::Class;
use iptables_monitor::telemetry::metrics::Metrics;

use super::drops::world;
use super::support::fake::{Fake, Fault};
use super::support::live::Agent;
use super::support::{MONITOR, Netns};
use super::{http, output};

/// Set to anything, this variable makes the files what the program says now.
const REWRITE: &str = "MONITOR_REWRITE_GOLDEN";

/// Pages by file name.
type Pages = BTreeMap<String, String>;

fn directory(area: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(area)
}

/// Compares the pages with the files of a directory of tests/golden, which holds no others; or writes them there.
#[track_caller]
fn compare(area: &str, pages: &Pages) {
    let directory = directory(area);
    if std::env::var_os(REWRITE).is_some() {
        let _ = fs::remove_dir_all(&directory);
        fs::create_dir_all(&directory).unwrap();
        for (name, page) in pages {
            fs::write(directory.join(name), page).unwrap();
        }
        return;
    }
    let files = fs::read_dir(&directory).into_iter().flatten().map(|entry| entry.unwrap());
    let name = |entry: fs::DirEntry| entry.file_name().into_string().unwrap();
    let golden: Pages = files
        .map(name)
        .map(|name| (name.clone(), fs::read_to_string(directory.join(name)).unwrap()))
        .collect();
    let mut names: Vec<_> = golden.keys().chain(pages.keys()).collect();
    names.sort();
    names.dedup();
    let differences: Vec<_> = names
        .into_iter()
        .filter(|name| golden.get(*name) != pages.get(*name))
        .map(|name| difference(name, golden.get(name), pages.get(name)))
        .collect();
    assert!(
        differences.is_empty(),
        "{}\nIf that is wanted: {REWRITE}=1 cargo test --test it golden::, and look at what git diff tests/golden says.",
        differences.join("\n")
    );
}

/// The first line that is not the same.
fn difference(name: &str, golden: Option<&String>, page: Option<&String>) -> String {
    let (Some(golden), Some(page)) = (golden, page) else {
        let what = if page.is_some() { "is new" } else { "is a file that nothing is compared with" };
        return format!("{name} {what}");
    };
    let same = golden.lines().zip(page.lines()).take_while(|(old, new)| old == new).count();
    let line = |text: &str| text.lines().nth(same).unwrap_or("(the end)").to_owned();
    format!("{name}, line {}:\n  was: {}\n  is:  {}", same + 1, line(golden), line(page))
}

/// The program without anything of this machine's environment, in the directory of the inputs.
fn monitor(arguments: &[&str]) -> Command {
    let mut command = Command::new(MONITOR);
    command.args(arguments);
    still(&mut command);
    command
}

fn still(command: &mut Command) {
    command.current_dir(directory("input")).env_clear();
    command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("TZ", "UTC");
}

/// A command and all it says; its exit code, if that is no success.
fn page(arguments: &[&str], output: &Output) -> String {
    let mut page = format!("$ monitor {}\n", arguments.join(" "));
    page.push_str(std::str::from_utf8(&output.stdout).unwrap());
    for line in std::str::from_utf8(&output.stderr).unwrap().lines() {
        page.push_str(&format!("stderr: {line}\n"));
    }
    match output.status.code() {
        Some(0) => page,
        code => page + &format!("exit code: {code:?}\n"),
    }
}

fn run(arguments: &[&str]) -> String {
    page(arguments, &monitor(arguments).stdin(std::process::Stdio::null()).output().unwrap())
}

/// The page without the moment it was made at.
fn undated(page: &str) -> String {
    let moment = regex::Regex::new(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z?").unwrap();
    moment.replace_all(page, "MOMENT").replace(env!("CARGO_PKG_VERSION"), "VERSION")
}

/// The commands that this help lists.
fn commands(help: &str) -> Vec<String> {
    let listed = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let names = listed.take_while(|line| !line.is_empty()).filter_map(|line| {
        let name = line.strip_prefix("  ").filter(|line| !line.starts_with(' '))?;
        name.split(' ').next()
    });
    names.filter(|name| *name != "help").map(str::to_owned).collect()
}

fn add_help(path: &[&str], pages: &mut Pages) {
    let page = run(&[path, &["--help"]].concat());
    let below = commands(&page);
    pages.insert(format!("{}.txt", [&["monitor"], path].concat().join("-")), page);
    for name in &below {
        add_help(&[path, &[name]].concat(), pages);
    }
}

#[test]
fn the_help_of_every_command() {
    let mut pages = Pages::new();
    add_help(&[], &mut pages);
    assert!(pages.len() >= 9, "{:?}", pages.keys());
    compare("help", &pages);
}

#[test]
fn what_check_says_of_saved_rules() {
    let lists = ["--node-name", "node-1", "--input", "lists", "--input6", "none"];
    let mut pages = Pages::new();
    for (name, arguments) in [
        ("both-families", &["--rules", "node.save", "--rules6", "node6.save", "--input6", "lists6"][..]),
        ("one-family", &["--rules", "node.save", "--ipv6", "false"]),
        ("native", &["--rules", "native.json", "--profile", "base"]),
        ("kube-proxy", &["--rules", "../../data/kube-proxy/nft-ip.save", "--profile", "base,kubernetes"]),
        ("cut", &["--rules", "cut.save"]),
        ("broken-lists", &["--rules", "node.save", "--input", "broken", "--input6", "lists6"]),
    ] {
        for format in ["text", "json", "sarif", "junit"] {
            let arguments = [&["check"], &lists[..], arguments, &["--format", format]].concat();
            pages.insert(format!("{name}.{format}"), undated(&run(&arguments)));
        }
    }
    let quiet = [&["check"], &lists[..], &["--rules", "node.save", "--quiet"]].concat();
    pages.insert("quiet.text".into(), run(&quiet));
    // one of everything that a report may hold, also what only a live node has
    for (name, format) in
        [("text", Format::Text), ("json", Format::Json), ("sarif", Format::Sarif), ("junit", Format::Junit)]
    {
        let options = WriteOptions { color: false, limit: WriteOptions::DEFAULT_LIMIT, quiet: false };
        let page = output::written(&output::full(), format, &options);
        pages.insert(format!("everything.{name}"), page.replace(env!("CARGO_PKG_VERSION"), "VERSION"));
    }
    compare("check", &pages);
}

/// A directory with the journal of input/journal.sql.
fn journal() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("history.db");
    let sql = fs::read_to_string(self::directory("input/journal.sql")).unwrap();
    rusqlite::Connection::open(&file).unwrap().execute_batch(&sql).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    // as the agent does when it starts
    drop(Store::open(directory.path(), 64 << 20).unwrap());
    directory
}

/// Runs with the journal, whose directory is called STATE on the page.
fn run_with(journal: &tempfile::TempDir, arguments: &[&str]) -> String {
    let path = journal.path().to_str().unwrap();
    run(&[arguments, &["--state-dir", path]].concat()).replace(path, "STATE")
}

#[test]
fn what_history_says_of_a_journal() {
    let journal = journal();
    let pages = ["text", "json"]
        .map(|format| (format!("history.{format}"), run_with(&journal, &["history", "--format", format])));
    compare("history", &pages.into());
}

#[test]
fn what_why_says_of_rules() {
    let journal = journal();
    let lists = ["--input", "lists", "--input6", "lists6"];
    let mut pages = Pages::new();
    for (name, arguments) in [
        ("allowed", &["-A INPUT -i lo -j ACCEPT"][..]),
        ("allowed-in-part", &["iptables -I INPUT -j LOG --log-prefix x"]),
        ("native", &["inet shop in jump web"]),
        ("nearest", &["-A INPUT -p tcp -m tcp --dport 22 -j ACCEPT"]),
        ("typed", &["iptables -A INPUT -p tcp --dport https -j DROP"]),
        ("other-table", &["-A POSTROUTING -j MASQUERADE"]),
        ("named-table", &["-A POSTROUTING -j MASQUERADE", "--table", "nat"]),
        ("ipv6", &["-A INPUT -j DROP", "--family", "ip6"]),
        ("undecided", &["-A INPUT -j DROP", "--input", "broken"]),
        ("control-character", &["-A INPUT -m comment --comment \u{1b}[2J -j DROP"]),
        ("not-a-rule", &["iptables -F"]),
        ("no-such-table", &["-A INPUT -j DROP", "--table", "fliter"]),
        ("copied", &["     | -A INPUT -i lo -j ACCEPT"]),
        ("typed-nft", &["nft add rule inet shop in tcp dport 22 drop"]),
        ("not-judged", &["elements inet shop admins 3 sha256 00ff"]),
    ] {
        for format in ["text", "json"] {
            let arguments = [&["why"], &lists[..], arguments, &["--format", format]].concat();
            pages.insert(format!("{name}.{format}"), undated(&run(&arguments)));
        }
    }
    for (name, rule) in [
        ("stands", "-A INPUT -s 6.6.6.6/32 -j DROP"),
        ("gone", "-A INPUT -j LOG"),
        ("not-remembered", "-A INPUT -j ACCEPT"),
    ] {
        for format in ["text", "json"] {
            let arguments = [&["why"], &lists[..], &[rule, "--format", format]].concat();
            pages.insert(format!("{name}.{format}"), run_with(&journal, &arguments));
        }
    }
    compare("why", &pages);
}

/// Rules that drop, some of which log what `input/kern.log` holds.
const RULES: &str = r#"
for program in iptables-nft ip6tables-nft; do
  $program -A INPUT -i lo -j ACCEPT
  $program -N DROPPED
  $program -A DROPPED -j LOG --log-prefix 'calico-drop: '
  $program -A DROPPED -j DROP
  $program -A INPUT -i eth0 -j DROPPED
  $program -A FORWARD -p udp -j DROP
done
iptables-nft -A INPUT -p icmp -j LOG --log-prefix 'IPTables-Dropped: '
iptables-nft -P INPUT DROP
"#;

#[test]
fn what_drops_says_of_a_log() {
    let netns = Netns::new();
    netns.sh(RULES);
    let mut pages = Pages::new();
    for (name, arguments) in [
        ("all", &["--source", "file:kern.log"][..]),
        (
            "prefix",
            &["--source", "file:kern.log", "--prefix", "calico-drop:", "--accept-prefix", "[UFW ALLOW]"],
        ),
        ("start", &["--source", "file:kern.log", "--prefix", "calico-drop:", "--prefix-position", "start"]),
        ("captured", &["--source", "file:../../data/drops/kernel.log"]),
        ("since", &["--source", "file:kern.log", "--since", "1s"]),
        ("missing", &["--source", "file:none.log"]),
    ] {
        for format in ["text", "json"] {
            let arguments = [&["drops"], arguments, &["--format", format]].concat();
            pages.insert(format!("{name}.{format}"), without_year(&within(&netns, &arguments)));
        }
    }
    for (name, arguments) in [
        ("advise.text", &["drops", "advise"][..]),
        ("advise-nflog.text", &["drops", "advise", "--nflog", "7"]),
    ] {
        pages.insert(name.into(), within(&netns, arguments));
    }
    compare("drops", &pages);
}

fn within(netns: &Netns, arguments: &[&str]) -> String {
    let mut command = netns.command(MONITOR);
    still(command.args(arguments).stdin(std::process::Stdio::null()));
    page(arguments, &command.output().unwrap())
}

/// A time without a year, which some logs have, is of the year that brings it nearest to now.
fn without_year(page: &str) -> String {
    let moment = regex::Regex::new(r"\d{4}(-09-03T11:38:3)").unwrap();
    moment.replace_all(page, "YEAR$1").into_owned()
}

/// The names and labels of a page of metrics, without values.
fn series(metrics: &str) -> String {
    let name = |line: &str| match line.rsplit_once(' ') {
        Some((name, _)) if !line.starts_with('#') => format!("{name}\n"),
        _ => format!("{line}\n"),
    };
    metrics.lines().map(name).collect()
}

/// Every name, and what the API server may be asked and how that may fail.
#[test]
fn the_names_and_labels_of_all_metrics() {
    let metrics = Metrics::new("0.2.0", "abc");
    metrics.check_done(&output::full(), Duration::from_millis(70));
    http::count(&metrics);
    for operation in Operation::ALL {
        metrics.api_write(operation.as_str());
        metrics.permission(operation.verb.rbac(), operation.resource.as_str(), true);
        Class::ALL.iter().for_each(|class| metrics.api_failure(operation.as_str(), class.as_str()));
    }
    compare("metrics", &Pages::from([("all.txt".into(), series(&metrics.render()))]));
}

/// What an agent serves that has a cluster, a journal and a log, where the cluster takes no Events and no watch.
#[test]
fn the_series_of_an_agent() {
    let (netns, directory) = (Netns::new(), tempfile::tempdir().unwrap());
    netns.sh(RULES);
    let listener = netns.within(|| TcpListener::bind("127.0.0.1:0").unwrap());
    let forbidden = Fault::Status(403, "", r#"{"kind": "Status", "message": "no"}"#.into());
    let fake = Fake::on(listener, &[])
        .always("/events", forbidden)
        .always("/api/v1/pods?", Fault::Text(r#"{"metadata": {"resourceVersion": "7"}, "items": []}"#.into()))
        .always("/api/v1/nodes?", Fault::Text("{}".into()))
        .always("/api/v1/services?", Fault::Text("{}".into()));
    let kubeconfig = directory.path().join("kubeconfig");
    fs::write(&kubeconfig, world::kubeconfig(&fake.address)).unwrap();
    let mut command = netns.command(MONITOR);
    command.args([
        "--sink",
        "kube",
        "--interval",
        "1h",
        "--node-name",
        "n",
        "--label-target",
        "both",
        "--events",
    ]);
    command.args([
        "--profile",
        "base",
        "--ipv6",
        "true",
        "--drops-source",
        "file:kern.log",
        "--drops-dns=false",
    ]);
    still(command.arg("--state-dir").arg(directory.path().join("state")));
    let agent = Agent::spawn(&netns, command.env("KUBECONFIG", &kubeconfig));
    let mut page = String::new();
    let golden = fs::read_to_string(self::directory("agent").join("series.txt")).unwrap_or_default();
    let mut still_since = Instant::now();
    let is_settled = || {
        let now = agent.get("/metrics").map(|page| own_series(&page)).unwrap_or_default();
        if now != page {
            (page, still_since) = (now, Instant::now());
        }
        match std::env::var_os(REWRITE) {
            None => page == golden && !page.is_empty(),
            Some(_) => !page.is_empty() && still_since.elapsed() > Duration::from_secs(10),
        }
    };
    let is_settled = within_a_minute(is_settled);
    compare("agent", &Pages::from([("series.txt".into(), page.clone())]));
    assert!(is_settled, "{}", agent.log());
}

fn within_a_minute(mut done: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + Duration::from_secs(60);
    while Instant::now() < end {
        if done() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    false
}

/// Without what is explained elsewhere.
fn own_series(page: &str) -> String {
    let is_own = |line: &&str| !line.starts_with('#');
    let commit = regex::Regex::new(r#"commit="[^"]*",version="[^"]*""#).unwrap();
    let own: String = series(page).lines().filter(is_own).map(|line| format!("{line}\n")).collect();
    commit.replace(&own, r#"commit="COMMIT",version="VERSION""#).into_owned()
}
