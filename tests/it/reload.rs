//! Allowlists that change on disk while the agent runs: whatever the change is made with, it is in force soon, and whole.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use iptables_monitor::app::checks::allowlists::{Ipv6Mode, Keeper, Sources};
use iptables_monitor::app::checks::reload::Reload;
use iptables_monitor::domain::judging::allowlist::List;
use tokio::time::{Instant, timeout};

use super::support::{AllowlistDir, MONITOR, Netns, wait_until};

/// Far more than anything here takes on a busy machine.
const LIMIT: Duration = Duration::from_secs(60);

/// How changes are learnt of.
#[derive(Clone, Copy, Debug)]
enum By {
    Kernel,
    Comparing,
}

/// A tree to mount allowlists in, and what watches one directory of it.
struct Tree {
    root: tempfile::TempDir,
    keeper: Keeper,
    reload: Reload,
}

impl Tree {
    /// Runs `prepare` in an empty directory and watches its directory `config`.
    fn new(by: By, prepare: impl FnOnce(&Path)) -> Self {
        let root = tempfile::tempdir().unwrap();
        prepare(root.path());
        let input = root.path().join("config");
        let sources =
            Sources { input: Some(input), input6: None, profiles: Vec::new(), ipv6: Ipv6Mode::False };
        let reload = match by {
            By::Kernel => Reload::new(sources.directories()),
            By::Comparing => Reload::comparing(sources.directories()),
        };
        let mut keeper = Keeper::new(sources);
        keeper.reload();
        Self { root, keeper, reload }
    }

    /// Waits until these patterns are in force, looking only when something is heard of.
    async fn expect(&mut self, what: &str, expected: &[&str]) {
        let end = Instant::now() + LIMIT;
        let mut found = Vec::new();
        while found != expected {
            let left = end.saturating_duration_since(Instant::now());
            let heard = timeout(left, self.reload.changed()).await;
            assert!(heard.is_ok(), "{what}: not heard of; {found:?}");
            if let Some(book) = self.keeper.reload_if_changed() {
                found =
                    book.ipv4.patterns.patterns().iter().map(|pattern| pattern.text.to_string()).collect();
            }
        }
    }
}

fn write(path: impl AsRef<Path>, text: &str) {
    fs::write(path, text).unwrap();
}

fn config(root: &Path, text: &str) -> PathBuf {
    let directory = root.join("config");
    fs::create_dir_all(&directory).unwrap();
    write(directory.join("filter"), text);
    directory
}

/// The lists of the tests' ConfigMaps, in the order they are read.
const LISTS: [&str; 2] = ["nat", "filter"];

/// As kubelet publishes a new version of a ConfigMap.
fn publish(mount: &Path, generation: usize, text: &str) {
    let name = format!("..{generation}");
    fs::create_dir_all(mount.join(&name)).unwrap();
    for list in LISTS {
        write(mount.join(&name).join(list), text);
    }
    let old = fs::read_link(mount.join("..data")).ok();
    symlink(&name, mount.join("..data_tmp")).unwrap();
    fs::rename(mount.join("..data_tmp"), mount.join("..data")).unwrap();
    for list in LISTS {
        drop(symlink(Path::new("..data").join(list), mount.join(list)));
    }
    if let Some(old) = old {
        fs::remove_dir_all(mount.join(old)).unwrap();
    }
}

type Step = fn(&Path);

/// What is there at the start, and what is then done to it; afterwards the only pattern is `^new$`.
const CHANGES: [(&str, Step, Step); 15] = [
    (
        "an edit in place",
        |root| drop(config(root, "^old$")),
        |root| write(root.join("config/filter"), "^new$"),
    ),
    (
        "an edit in place, closed late",
        |root| drop(config(root, "^old$")),
        |root| {
            let mut file = fs::File::create(root.join("config/filter")).unwrap();
            file.write_all(b"^ne").unwrap();
            file.write_all(b"w$").unwrap();
        },
    ),
    (
        "an editor that renames",
        |root| drop(config(root, "^old$")),
        |root| {
            write(root.join("config/.filter.swp"), "^new$");
            fs::rename(root.join("config/.filter.swp"), root.join("config/filter")).unwrap();
        },
    ),
    (
        "a first file",
        |root| fs::create_dir(root.join("config")).unwrap(),
        |root| write(root.join("config/filter"), "^new$"),
    ),
    (
        "a file removed",
        |root| write(config(root, "^new$").join("nat"), "^old$"),
        |root| fs::remove_file(root.join("config/nat")).unwrap(),
    ),
    (
        "a directory made anew",
        |root| drop(config(root, "^old$")),
        |root| {
            fs::remove_dir_all(root.join("config")).unwrap();
            config(root, "^new$");
        },
    ),
    (
        "a directory replaced by a rename",
        |root| drop(config(root, "^old$")),
        |root| {
            fs::rename(root.join("config"), root.join("kept")).unwrap();
            fs::create_dir(root.join("next")).unwrap();
            write(root.join("next/filter"), "^new$");
            fs::rename(root.join("next"), root.join("config")).unwrap();
        },
    ),
    ("a directory that was missing", |_| {}, |root| drop(config(root, "^new$"))),
    (
        "a link that led nowhere",
        |root| symlink("a/b/c", root.join("config")).unwrap(),
        |root| {
            fs::create_dir_all(root.join("a/b/c")).unwrap();
            write(root.join("a/b/c/filter"), "^new$");
        },
    ),
    (
        "a linked directory, edited where it is",
        |root| {
            fs::create_dir(root.join("real")).unwrap();
            symlink("./real/../real", root.join("config")).unwrap();
            write(root.join("real/filter"), "^old$");
        },
        |root| write(root.join("real/filter"), "^new$"),
    ),
    (
        "a link moved to another directory",
        |root| {
            for (name, text) in [("one", "^old$"), ("two", "^new$")] {
                fs::create_dir(root.join(name)).unwrap();
                write(root.join(name).join("filter"), text);
            }
            symlink(root.join("one"), root.join("config")).unwrap();
        },
        |root| {
            symlink(root.join("two"), root.join("link")).unwrap();
            fs::rename(root.join("link"), root.join("config")).unwrap();
        },
    ),
    (
        "a linked file, edited where it is",
        |root| {
            fs::create_dir_all(root.join("far/away")).unwrap();
            write(root.join("far/away/list"), "^old$");
            fs::create_dir(root.join("config")).unwrap();
            symlink("../far/away/list", root.join("config/filter")).unwrap();
        },
        |root| write(root.join("far/away/list"), "^new$"),
    ),
    (
        "a linked file, replaced where it is",
        |root| {
            fs::create_dir_all(root.join("far")).unwrap();
            write(root.join("far/list"), "^old$");
            fs::create_dir(root.join("config")).unwrap();
            symlink("../far/list", root.join("config/filter")).unwrap();
        },
        |root| {
            write(root.join("next"), "^new$");
            fs::rename(root.join("next"), root.join("far/list")).unwrap();
        },
    ),
    (
        "a ConfigMap's next generation",
        |root| {
            fs::create_dir(root.join("config")).unwrap();
            publish(&root.join("config"), 1, "^old$");
        },
        |root| {
            publish(&root.join("config"), 2, "^new$");
            fs::remove_file(root.join("config/nat")).unwrap();
            fs::remove_file(root.join("config/..2/nat")).unwrap();
        },
    ),
    (
        "a ConfigMap's generation, edited where it is",
        |root| {
            fs::create_dir(root.join("config")).unwrap();
            publish(&root.join("config"), 1, "^old$");
            fs::remove_file(root.join("config/..1/nat")).unwrap();
        },
        |root| write(root.join("config/..1/filter"), "^new$"),
    ),
];

async fn every_change_is_heard_of(by: By) {
    for (what, prepare, change) in CHANGES {
        let mut tree = Tree::new(by, prepare);
        change(tree.root.path());
        tree.expect(what, &["^new$"]).await;
    }
}

#[tokio::test]
async fn the_kernel_tells_of_every_change() {
    every_change_is_heard_of(By::Kernel).await;
}

#[tokio::test]
async fn comparing_finds_every_change() {
    every_change_is_heard_of(By::Comparing).await;
}

#[tokio::test]
async fn a_directory_is_followed_through_many_lives() {
    let mut tree = Tree::new(By::Kernel, |_| {});
    for life in 0..20 {
        let directory = config(tree.root.path(), &format!("^{life}$"));
        tree.expect("a new directory", &[&format!("^{life}$")]).await;
        write(directory.join("filter"), &format!("^{life} edited$"));
        tree.expect("an edit in it", &[&format!("^{life} edited$")]).await;
        fs::remove_dir_all(directory).unwrap();
        timeout(LIMIT, tree.reload.changed()).await.expect("it is gone");
        assert!(tree.keeper.reload_if_changed().is_some_and(|book| book.ipv4.is_missing));
    }
}

#[tokio::test]
async fn what_says_the_same_is_no_news() {
    let mut tree = Tree::new(By::Kernel, |root| drop(config(root, "^same$")));
    assert!(tree.keeper.reload_if_changed().is_none());
    write(tree.root.path().join("config/filter"), "^same$");
    timeout(LIMIT, tree.reload.changed()).await.expect("it was written");
    assert!(tree.keeper.reload_if_changed().is_none());
}

/// The clock stands still until there is nothing to be heard: what the kernel tells comes first.
#[tokio::test(start_paused = true)]
async fn neighbours_wake_nobody() {
    let mut tree = Tree::new(By::Kernel, |root| drop(config(root, "^same$")));
    let root = tree.root.path().to_owned();
    for name in ["config2", "filter", "..data"] {
        write(root.join(name), "x");
        fs::remove_file(root.join(name)).unwrap();
    }
    fs::read(root.join("config/filter")).unwrap();
    assert!(timeout(LIMIT, tree.reload.changed()).await.is_err());
    // and what does matter is heard of
    write(root.join("config/filter"), "^new$");
    assert!(timeout(LIMIT, tree.reload.changed()).await.is_ok());
}

#[tokio::test]
async fn permissions_that_change_are_heard_of() {
    let mut tree = Tree::new(By::Kernel, |root| drop(config(root, "^same$")));
    let file = tree.root.path().join("config/filter");
    fs::set_permissions(file, fs::Permissions::from_mode(0o600)).unwrap();
    timeout(LIMIT, tree.reload.changed()).await.expect("it may be readable now");
}

/// A future that is dropped again and again, as that of a loop with other things to do, forgets nothing.
#[tokio::test]
async fn an_impatient_listener_hears_of_it_all_the_same() {
    let mut tree = Tree::new(By::Kernel, |root| drop(config(root, "^old$")));
    write(tree.root.path().join("config/filter"), "^new$");
    let end = Instant::now() + LIMIT;
    while timeout(Duration::from_millis(7), tree.reload.changed()).await.is_err() {
        assert!(Instant::now() < end, "not heard of");
    }
}

/// Steady writing does not put the reload off for ever.
#[tokio::test]
async fn a_change_that_goes_on_counts_too() {
    let mut tree = Tree::new(By::Kernel, |root| drop(config(root, "^old$")));
    let path = tree.root.path().join("config/filter");
    let writer = async {
        for number in 0.. {
            write(&path, &format!("^{number}$"));
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::select! {
        () = writer => {}
        heard = timeout(LIMIT, tree.reload.changed()) => heard.expect("heard while it goes on"),
    }
}

/// The lists of one generation all say its number.
#[tokio::test]
async fn a_config_map_is_never_seen_half_swapped() {
    const GENERATIONS: usize = 100;
    let mut tree = Tree::new(By::Kernel, |root| {
        fs::create_dir(root.join("config")).unwrap();
        publish(&root.join("config"), 0, "^0$");
    });
    let mount = tree.root.path().join("config");
    let writer = std::thread::spawn(move || {
        for generation in 1..=GENERATIONS {
            publish(&mount, generation, &format!("^{generation}$"));
            std::thread::sleep(Duration::from_millis(5));
        }
    });
    let mut seen = 0;
    while seen < GENERATIONS {
        // read also while it is being swapped; when that is over, only what is heard of is read
        let patience = if writer.is_finished() { LIMIT } else { Duration::from_millis(3) };
        let heard = timeout(patience, tree.reload.changed()).await;
        assert!(heard.is_ok() || patience < LIMIT, "the last generation is not heard of: {seen}");
        let Some(book) = tree.keeper.reload_if_changed() else { continue };
        let patterns: Vec<_> = book.ipv4.patterns.patterns().iter().map(|p| (p.list, &*p.text)).collect();
        let [(List::Nat, one), (List::Filter, other)] = patterns.as_slice() else {
            panic!("{patterns:?} {:?}", book.problems)
        };
        assert_eq!(one, other);
        let generation: usize = one.trim_matches(['^', '$']).parse().unwrap();
        assert!(generation > seen, "{generation} after {seen}");
        seen = generation;
    }
    writer.join().unwrap();
}

/// The agent inside a namespace; what it prints goes to a file.
struct Agent {
    child: std::process::Child,
    printed: tempfile::NamedTempFile,
}

impl Agent {
    fn start(mut command: std::process::Command) -> Self {
        let printed = tempfile::NamedTempFile::new().unwrap();
        // one description: each stream writes where the other ended
        let out = printed.reopen().unwrap();
        let err = out.try_clone().unwrap();
        let child = command.stdin(Stdio::null()).stdout(out).stderr(err).spawn().unwrap();
        Self { child, printed }
    }

    #[track_caller]
    fn wait_for(&self, text: &str) {
        let printed = || fs::read_to_string(self.printed.path()).unwrap();
        let what = format!("the agent prints {text:?} after\n{}", printed());
        wait_until(&what, LIMIT, || printed().contains(text));
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn the_agent_judges_again_at_once() {
    let netns = Netns::new();
    netns.sh("iptables-nft -A INPUT -s 10.0.0.1 -j DROP");
    let input = AllowlistDir::new(&[("filter", "^-P \n")]);
    let mut command = netns.command(MONITOR);
    command.args(["--input", input.path(), "--listen", "off", "--interval", "1h"]);
    let agent = Agent::start(command);
    agent.wait_for("VIOLATIONS");
    write(format!("{}/filter", input.path()), "^-P \n^-A INPUT -s 10\n");
    agent.wait_for("COMPLIANT");
}

/// In a user namespace that may have no inotify.
#[test]
fn without_inotify_the_agent_looks_itself_and_says_so() {
    let netns = Netns::new();
    netns.sh("iptables-nft -A INPUT -s 10.0.0.1 -j DROP");
    let input = AllowlistDir::new(&[("filter", "^-P \n")]);
    let mut command = netns.command("unshare");
    let script = format!(
        "echo 0 > /proc/sys/user/max_inotify_instances; iptables-nft -A INPUT -s 10.0.0.1 -j DROP; \
         exec {MONITOR} --input {} --listen off --interval 1h",
        input.path()
    );
    command.args(["--user", "--map-root-user", "--net", "sh", "-ec", &script]);
    let agent = Agent::start(command);
    agent.wait_for("looked for every second: starting inotify");
    agent.wait_for("VIOLATIONS");
    write(format!("{}/filter", input.path()), "^-P \n^-A INPUT -s 10\n");
    agent.wait_for("COMPLIANT");
}
