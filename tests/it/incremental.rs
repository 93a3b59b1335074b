//! Reading only what changed, on the real kernel: always as if everything had been read.

mod changes;
mod cheap;
mod later;
mod same;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use iptables_monitor::app::checks::scan::{Hooks, NodeReader, Scan, ScanOptions};
use iptables_monitor::domain::changes::author::Author;
use iptables_monitor::domain::changes::{Part, RuleChange, Scope};
use iptables_monitor::domain::judging::allowlist::{Allowlist, List, PatternFile};
use iptables_monitor::domain::judging::audit::{InForce, Ipv6, Rulebook};
use iptables_monitor::domain::rules::Family;

use super::support::Netns;

/// Allows policies, chains, and what the tests call harmless.
const PATTERNS: &str = "^-P \n^-N \n^-A \\S+ .*ok\n";

pub fn book(patterns: &str) -> Rulebook {
    let file = |list| PatternFile { list, origin: "test".into(), text: patterns.into() };
    let patterns = Arc::new(Allowlist::parse(&[file(List::Global), file(List::Nftables)]));
    let in_force = InForce { patterns, is_missing: false };
    Rulebook { ipv4: in_force.clone(), ipv6: Ipv6::Checked(in_force), problems: Vec::new() }
}

fn reader() -> NodeReader {
    NodeReader::new(options())
}

fn options() -> ScanOptions {
    ScanOptions {
        dump_timeout: Duration::from_secs(60),
        nftables: true,
        hooks: Hooks::Unread,
        limit: 1000,
        cancelled: Arc::new(AtomicBool::new(false)),
    }
}

/// `ip filter INPUT` is a chain, `ip filter` a table, `legacy ip` the legacy table filter,
/// `legacy ip nat` another.
fn part(text: &str) -> Part {
    let words: Vec<&str> = text.split(' ').collect();
    let family = |name| Family::from_name(name).expect(text);
    match *words.as_slice() {
        ["legacy", name] => Part::Legacy { family: family(name), table: "filter".into() },
        ["legacy", name, table] => Part::Legacy { family: family(name), table: table.into() },
        [name, table] => Part::NftTable { family: family(name), table: table.into() },
        [name, table, chain] => {
            Part::NftChain { family: family(name), table: table.into(), chain: chain.into() }
        }
        _ => panic!("{text}"),
    }
}

fn parts(texts: &[&str]) -> Scope {
    Scope::Parts(texts.iter().map(|text| (part(text), Vec::new())).collect())
}

/// A node whose changes are read one by one.
struct Node {
    netns: Netns,
    book: Rulebook,
    reader: NodeReader,
}

impl Node {
    fn new(script: &str) -> Self {
        let netns = Netns::new();
        netns.sh(script);
        let mut node = Self { netns, book: book(PATTERNS), reader: reader() };
        let first = node.check(&Scope::Everything);
        assert_eq!(first.changes, [], "nothing was there before to compare with");
        node
    }

    fn check(&mut self, scope: &Scope) -> Scan {
        let Self { netns, book, reader } = self;
        netns.within(|| reader.check(book, scope))
    }

    /// Everything, by a reader that has read nothing before.
    fn fresh(&self) -> Scan {
        let book = &self.book;
        self.netns.within(|| reader().check(book, &Scope::Everything))
    }

    /// Runs the script, reads what it touched, and compares with a whole read.
    #[track_caller]
    fn step(&mut self, script: &str, touched: &[&str]) -> Scan {
        self.netns.sh(script);
        let scan = self.check(&parts(touched));
        let fresh = self.fresh();
        assert!(!scan.is_torn && !fresh.is_torn, "{script}");
        assert_eq!(scan.outcome, fresh.outcome, "{script}");
        scan
    }
}

/// Changes as `+ text`, `- text`, `~ text`.
fn shown(changes: &[RuleChange]) -> Vec<String> {
    let sign = |change: &RuleChange| match change.what.as_str() {
        "added" => '+',
        "removed" => '-',
        _ => '~',
    };
    changes
        .iter()
        .map(|change| format!("{} {}", sign(change), String::from_utf8_lossy(&change.line)))
        .collect()
}

fn author(name: &str) -> Arc<Author> {
    Arc::new(Author {
        pid: 1,
        name: name.into(),
        executable: None,
        command_line: None,
        parents: Vec::new(),
        container: None,
        pod: None,
    })
}

fn by(texts: &[(&str, &str)]) -> Scope {
    let parts: BTreeMap<_, _> = texts.iter().map(|(text, name)| (part(text), vec![author(name)])).collect();
    Scope::Parts(parts)
}
