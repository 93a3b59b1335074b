//! Changes that real programs make to a real kernel: which parts are heard to have changed, and who did it.

mod authors;
mod legacy;
mod losses;
mod nftables;

use std::sync::Arc;
use std::time::Duration;

use iptables_monitor::app::checks::scan::{Hooks, ScanOptions};
use iptables_monitor::app::checks::watch::{self, Watch, WatchSettings};
use iptables_monitor::domain::changes::author::Author;
use iptables_monitor::domain::changes::debounce::Pace;
use iptables_monitor::domain::changes::pending::Heard;
use iptables_monitor::domain::changes::{Part, Scope};

use super::incremental::book;
use super::support::Netns;

/// Starts a watch whose allowlists allow everything.
fn start(settings: WatchSettings) -> Watch {
    let scan = ScanOptions {
        dump_timeout: Duration::from_secs(60),
        nftables: true,
        hooks: Hooks::Unread,
        limit: 1000,
        cancelled: Arc::default(),
    };
    watch::start(settings, scan, book("^")).unwrap()
}

/// A watch of a namespace, and a lock file of its own for iptables-legacy.
struct Watched {
    netns: Netns,
    watch: Watch,
    lock: tempfile::NamedTempFile,
}

impl Watched {
    fn new() -> Self {
        Self::with(|_| {})
    }

    /// With other settings; `change` runs on the thread that starts the watch.
    fn with(change: impl FnOnce(&mut WatchSettings) + Send) -> Self {
        Self::of(Netns::new(), change)
    }

    fn of(netns: Netns, change: impl FnOnce(&mut WatchSettings) + Send) -> Self {
        let lock = tempfile::NamedTempFile::new().unwrap();
        let mut settings = WatchSettings { lock: lock.path().to_owned(), ..WatchSettings::default() };
        let watch = netns.within(|| {
            change(&mut settings);
            start(settings)
        });
        Self { netns, watch, lock }
    }

    /// Runs a shell script inside.
    fn sh(&self, script: &str) -> String {
        self.netns.sh(&format!("export XTABLES_LOCKFILE={}; {script}", self.lock.path().display()))
    }

    /// What the next check is to look at, once it is due and all that was done before was heard.
    #[track_caller]
    fn next(&self) -> Heard {
        self.ready();
        std::thread::sleep(Duration::from_millis(100));
        self.watch.take().expect("it is ready")
    }

    /// Waits until a check is due.
    #[track_caller]
    fn ready(&self) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let ready = self.watch.ready(Pace::default());
        runtime
            .block_on(async { tokio::time::timeout(Duration::from_secs(30), ready).await })
            .expect("a change is heard of");
    }

    /// The parts that a script touches, with the names of their authors.
    #[track_caller]
    fn parts_of(&self, script: &str) -> Vec<String> {
        self.sh(script);
        parts(&self.next()).iter().map(|(part, _)| part.clone()).collect()
    }
}

fn show(part: &Part) -> String {
    match part {
        Part::NftChain { family, table, chain } => {
            format!("{family} {} {}", table.escape_ascii(), chain.escape_ascii())
        }
        Part::NftTable { family, table } => format!("{family} {}", table.escape_ascii()),
        Part::Legacy { family, table } => format!("legacy {family} {table}"),
    }
}

fn parts(heard: &Heard) -> Vec<(String, Vec<Author>)> {
    match &heard.scope {
        Scope::Everything => vec![("everything".to_owned(), Vec::new())],
        Scope::Parts(parts) => parts
            .iter()
            .map(|(part, authors)| (show(part), authors.iter().map(|author| Author::clone(author)).collect()))
            .collect(),
    }
}
