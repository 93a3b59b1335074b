//! Keeps the allowlists of both families: read from their directories and profiles, compiled only when changed.
//! A broken new version does not replace a good one.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::domain::judging::allowlist::{Allowlist, Pattern, PatternFile};
use crate::domain::judging::audit::{InForce, Ipv6, Rulebook};
use crate::domain::judging::profiles;
use crate::domain::rules::{IPTABLES_TABLES, Problem, Reason};
use crate::host::files::config_dir::{self, DirError};

use crate::domain::words::error_chain::chain_of;

/// Where IPv4 patterns are mounted unless told otherwise.
pub const DEFAULT_INPUT: &str = "/etc/config/";
/// Where IPv6 patterns are mounted unless told otherwise.
pub const DEFAULT_INPUT6: &str = "/etc/config6/";

/// Whether IPv6 rules are judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Ipv6Mode {
    /// When the directory of IPv6 patterns exists.
    Auto,
    /// Always.
    True,
    /// Never: IPv6 rules are left out.
    False,
}

/// Where the patterns come from.
#[derive(Clone, Debug)]
pub struct Sources {
    /// The directory of IPv4 patterns; none for the default one.
    pub input: Option<PathBuf>,
    /// The directory of IPv6 patterns; none for the default one.
    pub input6: Option<PathBuf>,
    /// Names of built-in profiles, all of them known.
    pub profiles: Vec<String>,
    /// Whether IPv6 rules are judged.
    pub ipv6: Ipv6Mode,
}

impl Sources {
    /// The directories that are read, those of defaults among them, whether they exist or not.
    pub fn directories(&self) -> Vec<PathBuf> {
        let (input, _) = directory(self.input.as_deref(), DEFAULT_INPUT, false);
        let (input6, _) = directory(self.input6.as_deref(), DEFAULT_INPUT6, false);
        match self.ipv6 {
            Ipv6Mode::False => vec![input.to_owned()],
            Ipv6Mode::Auto | Ipv6Mode::True => vec![input.to_owned(), input6.to_owned()],
        }
    }
}

/// The allowlists in force.
#[derive(Debug)]
pub struct Keeper {
    sources: Sources,
    ipv4: Slot,
    ipv6: Slot,
    /// What was handed out last.
    last: Option<Rulebook>,
}

/// One allowlist: what was read last, and the last version without a broken pattern.
#[derive(Debug, Default)]
struct Slot {
    parsed: Option<Arc<Allowlist>>,
    good: Option<Arc<Allowlist>>,
}

impl Keeper {
    /// A keeper that has read nothing yet.
    pub fn new(sources: Sources) -> Self {
        Self { sources, ipv4: Slot::default(), ipv6: Slot::default(), last: None }
    }

    /// How many patterns are in force, and how many do not compile.
    pub fn counts(&self) -> (usize, usize) {
        let parsed = || [&self.ipv4, &self.ipv6].into_iter().filter_map(|slot| slot.parsed.as_ref());
        (parsed().map(|list| list.len()).sum(), parsed().map(|list| list.broken().len()).sum())
    }

    /// Reads the directories again and returns what is in force now.
    pub fn reload(&mut self) -> Rulebook {
        let mut problems = Vec::new();
        let has_profiles = !self.sources.profiles.is_empty();
        let (input, is_optional) = directory(self.sources.input.as_deref(), DEFAULT_INPUT, has_profiles);
        let ipv4 = self.ipv4.refresh(input, is_optional, &self.sources.profiles, &mut problems);
        let (input6, is_optional) = directory(self.sources.input6.as_deref(), DEFAULT_INPUT6, has_profiles);
        let ipv6 = match self.sources.ipv6 {
            Ipv6Mode::False => Ipv6::Excluded,
            Ipv6Mode::Auto if !input6.exists() => Ipv6::Unchecked,
            Ipv6Mode::Auto | Ipv6Mode::True => {
                Ipv6::Checked(self.ipv6.refresh(input6, is_optional, &self.sources.profiles, &mut problems))
            }
        };
        let book = Rulebook { ipv4, ipv6, problems };
        self.last = Some(book.clone());
        book
    }

    /// As [`Keeper::reload`], but only if something is other than what was handed out last: a judgement by the same
    /// allowlists would be the same.
    pub fn reload_if_changed(&mut self) -> Option<Rulebook> {
        let last = self.last.take();
        let book = self.reload();
        let is_same = last.is_some_and(|last| is_same(&last, &book));
        (!is_same).then_some(book)
    }
}

/// A list that did not change is not parsed again, so that the same list is the same object.
fn is_same(one: &Rulebook, other: &Rulebook) -> bool {
    let is_same_list = |one: &InForce, other: &InForce| {
        Arc::ptr_eq(&one.patterns, &other.patterns) && one.is_missing == other.is_missing
    };
    let is_same_ipv6 = match (&one.ipv6, &other.ipv6) {
        (Ipv6::Checked(one), Ipv6::Checked(other)) => is_same_list(one, other),
        (Ipv6::Unchecked, Ipv6::Unchecked) | (Ipv6::Excluded, Ipv6::Excluded) => true,
        (Ipv6::Checked(_) | Ipv6::Unchecked | Ipv6::Excluded, _) => false,
    };
    is_same_ipv6 && is_same_list(&one.ipv4, &other.ipv4) && one.problems == other.problems
}

/// The directory to read, and whether it may be missing: nobody named it, and profiles say what is allowed.
fn directory<'a>(named: Option<&'a Path>, default: &'a str, has_profiles: bool) -> (&'a Path, bool) {
    (named.unwrap_or(Path::new(default)), named.is_none() && has_profiles)
}

impl Slot {
    fn refresh(
        &mut self,
        directory: &Path,
        is_optional: bool,
        profiles: &[String],
        problems: &mut Vec<Problem>,
    ) -> InForce {
        let mut files: Vec<PatternFile> =
            profiles.iter().filter_map(|name| profiles::files(name)).flatten().collect();
        let mut is_missing = false;
        match config_dir::read_patterns(directory) {
            Ok(read) => {
                for name in read.unknown {
                    let file = name.escape_debug().to_string();
                    log::warn!(path:% = directory.display(), file; "not the name of an allowlist file: ignored");
                }
                files.extend(read.files);
            }
            Err(DirError::Missing { .. }) if is_optional => {}
            Err(error) => {
                is_missing = true;
                problems.push(Problem::new(Reason::NoAllowlist, chain_of(&error)));
            }
        }
        let (parsed, is_new) = self.parse(&files);
        let broken = parsed.broken();
        let kept = self.good.as_ref().filter(|_| !broken.is_empty());
        let remark = if kept.is_some() { "; the last good allowlist stays in force" } else { "" };
        for pattern in broken {
            if is_new {
                log::warn!("{pattern}{remark}");
            }
            problems.push(Problem::new(Reason::BrokenPattern, format!("{pattern}{remark}")));
        }
        problems.extend(broad_patterns(&parsed));
        let in_force = InForce { patterns: kept.cloned().unwrap_or_else(|| Arc::clone(&parsed)), is_missing };
        if !is_missing && in_force.patterns.broken().is_empty() {
            self.good = Some(Arc::clone(&in_force.patterns));
        }
        in_force
    }

    /// Compiles only what changed, and says whether something did.
    fn parse(&mut self, files: &[PatternFile]) -> (Arc<Allowlist>, bool) {
        match &self.parsed {
            Some(parsed) if parsed.is_same_source(files) => (Arc::clone(parsed), false),
            _ => {
                let parsed = Arc::new(Allowlist::parse(files));
                log::debug!(patterns = parsed.len(), broken = parsed.broken().len(); "allowlist loaded");
                self.parsed = Some(Arc::clone(&parsed));
                (parsed, true)
            }
        }
    }
}

/// The first pattern of each list that matches everything. Allowed, as its owner may mean it, but never silently.
fn broad_patterns(list: &Allowlist) -> Vec<Problem> {
    let tables = IPTABLES_TABLES.iter().filter_map(|table| list.matching(Some(table), b""));
    let mut broad: Vec<_> = tables.chain(list.matching_native(b"")).collect();
    broad.sort_by_key(|pattern| (&pattern.origin, pattern.line));
    broad.dedup();
    let describe = |pattern: &Pattern| {
        let (origin, text) = (pattern.origin.escape_debug(), pattern.text.escape_debug());
        Problem::new(
            Reason::BroadPattern,
            format!("{origin}:{}: matches every line, so everything is allowed: {text}", pattern.line),
        )
    };
    broad.into_iter().map(describe).collect()
}
