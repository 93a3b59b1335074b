//! Lines given back to a real iptables-restore, and the rules that they become.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use iptables_monitor::domain::rules::Family;

use super::kernel::{self, Kept};
use super::tools::{Backend, Tools};
use crate::support::Netns;

pub const TABLES: [&str; 5] = ["filter", "nat", "mangle", "raw", "security"];

/// Lines such as `-A INPUT -j DROP`, each with its table, and the chains that they need.
#[derive(Clone, Debug, Default)]
pub struct Lines {
    /// Chains that iptables does not make by itself, by table.
    pub chains: BTreeMap<String, BTreeSet<String>>,
    pub lines: Vec<(String, Vec<u8>)>,
}

impl Lines {
    /// No lines yet, and the one chain that rules of the list name.
    pub fn of_the_list() -> Self {
        let user = BTreeSet::from(["user".to_owned()]);
        let chains = TABLES.iter().map(|table| ((*table).to_owned(), user.clone())).collect();
        Self { chains, lines: Vec::new() }
    }

    /// The text for iptables-restore, of every table.
    pub fn text(&self, lines: &[(String, Vec<u8>)]) -> Vec<u8> {
        self.numbered(lines).0
    }

    /// The text, and which of the lines each of its lines is.
    fn numbered(&self, lines: &[(String, Vec<u8>)]) -> (Vec<u8>, Vec<Option<usize>>) {
        let (mut text, mut numbers) = (Vec::new(), Vec::new());
        let mut push = |line: &[u8], number| {
            text.extend_from_slice(line);
            text.push(b'\n');
            numbers.push(number);
        };
        for table in TABLES {
            push(format!("*{table}").as_bytes(), None);
            for chain in self.chains.get(table).into_iter().flatten() {
                push(format!(":{chain} - [0:0]").as_bytes(), None);
            }
            for (number, (_, line)) in lines.iter().enumerate().filter(|(_, (of, _))| of == table) {
                push(line, Some(number));
            }
            push(b"COMMIT", None);
        }
        (text, numbers)
    }
}

/// The chains that a text for iptables-restore declares, but for those that are always there.
pub fn chains(text: &str) -> BTreeMap<String, BTreeSet<String>> {
    let mut chains: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut table = String::new();
    for line in text.lines() {
        if let Some(name) = line.strip_prefix('*') {
            table = name.to_owned();
        } else if let Some(words) = line.strip_prefix(':') {
            let mut words = words.split(' ');
            if let (Some(chain), Some("-")) = (words.next(), words.next()) {
                chains.entry(table.clone()).or_default().insert(chain.to_owned());
            }
        }
    }
    chains
}

/// The rule that each line becomes, or what the program says against it.
pub fn reload(tools: &Tools, backend: Backend, family: Family, lines: &Lines) -> Vec<Result<Kept, String>> {
    let loader = Loader { netns: kernel::namespace(backend, family), tools, backend, family, all: lines };
    loader.load(&lines.lines)
}

struct Loader<'a> {
    netns: Netns,
    tools: &'a Tools,
    backend: Backend,
    family: Family,
    all: &'a Lines,
}

impl Loader<'_> {
    /// Loads all at once; without the line that the program complains of; or if it names none, in halves.
    fn load(&self, lines: &[(String, Vec<u8>)]) -> Vec<Result<Kept, String>> {
        if lines.is_empty() {
            return Vec::new();
        }
        let (text, numbers) = self.all.numbered(lines);
        let restored = self.tools.restore(&self.netns, self.backend, self.family, &text);
        let made = restored.and_then(|()| {
            let kept = kernel::read(&self.netns, self.backend, self.family);
            pair(lines, kept).ok_or_else(|| "other rules than lines".to_owned())
        });
        let message = match made {
            Ok(kept) => return kept.into_iter().map(Ok).collect(),
            Err(message) if lines.len() == 1 => return vec![Err(message)],
            Err(message) => message,
        };
        let refused = named_line(&message).and_then(|line| *numbers.get(line.checked_sub(1)?)?);
        if let Some(refused) = refused {
            let others = [&lines[..refused], &lines[refused + 1..]].concat();
            let mut made = self.load(&others);
            made.insert(refused, Err(message));
            return made;
        }
        let (left, right) = lines.split_at(lines.len() / 2);
        [left, right].map(|lines| self.load(lines)).concat()
    }
}

/// `Error occurred at line: 7`, or `line 7: RULE_APPEND failed`; iptables-legacy names the COMMIT instead.
fn named_line(message: &str) -> Option<usize> {
    let behind = ["at line: ", "\nline "].iter().find_map(|words| message.split(words).nth(1))?;
    let end = behind.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(behind.len());
    behind[..end].parse().ok()
}

/// The rule of each line, if every chain has as many rules as lines.
fn pair(lines: &[(String, Vec<u8>)], kept: Vec<Kept>) -> Option<Vec<Kept>> {
    if kept.len() != lines.len() {
        return None;
    }
    let mut by_chain: BTreeMap<(String, String), VecDeque<Kept>> = BTreeMap::new();
    for kept in kept {
        by_chain.entry((kept.table.clone(), kept.chain.clone())).or_default().push_back(kept);
    }
    lines
        .iter()
        .map(|(table, line)| by_chain.get_mut(&(table.clone(), chain_of(line)))?.pop_front())
        .collect()
}

/// The second word of `-A CHAIN …`.
pub fn chain_of(line: &[u8]) -> String {
    let chain = line.split(|byte| *byte == b' ').nth(1).expect("a chain");
    String::from_utf8_lossy(chain).into_owned()
}

/// The `-A` lines of a saved text, each with its table.
pub fn saved(text: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut table = String::new();
    let mut lines = Vec::new();
    for line in text.split(|byte| *byte == b'\n') {
        if let Some(name) = line.strip_prefix(b"*") {
            table = String::from_utf8_lossy(name).into_owned();
        } else if line.starts_with(b"-A ") {
            lines.push((table.clone(), line.to_vec()));
        }
    }
    lines
}

/// The saved line of each rule: the n-th of its chain.
///
/// # Panics
/// If a chain has fewer lines than rules.
pub fn saved_of<'a>(rules: impl Iterator<Item = &'a Kept>, lines: Vec<(String, Vec<u8>)>) -> Vec<Vec<u8>> {
    let mut by_chain: BTreeMap<(String, String), VecDeque<Vec<u8>>> = BTreeMap::new();
    for (table, line) in lines {
        by_chain.entry((table, chain_of(&line))).or_default().push_back(line);
    }
    rules
        .map(|kept| {
            let lines = by_chain.get_mut(&(kept.table.clone(), kept.chain.clone()));
            lines.and_then(VecDeque::pop_front).unwrap_or_else(|| panic!("{kept:?} is not printed"))
        })
        .collect()
}
