//! The judged lines of one chain, set or object, packed: what a report, a hash and a comparison need of them.
//! Judges nothing, and does not know its table.

use sha2::{Digest, Sha256};

use crate::domain::changes::judged::Judged;
use crate::domain::rules::{Entry, Kind};

/// What stands for a text that is not kept.
const DIGEST_BYTES: usize = 16;

/// What the allowlists say of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// A pattern allows it.
    Allowed,
    /// No pattern allows it.
    Violation,
    /// A broken pattern, or a missing allowlist, might have allowed it.
    Undecided,
    /// No allowlist speaks about its family.
    Unchecked,
    /// It is counted only, and that is no problem: the content of a set that no pattern asks for, a chain or a policy that
    /// drops nothing of a family without an allowlist. Or it is told as a problem of its own: its text does not say what it
    /// does.
    Unjudged,
}

impl Judgement {
    /// What is said of a change of the line, and remembered of it.
    pub const fn judged(self) -> Judged {
        match self {
            Self::Allowed => Judged::Allowed,
            Self::Violation => Judged::Unexpected,
            Self::Undecided | Self::Unchecked | Self::Unjudged => Judged::NotJudged,
        }
    }
}

/// What a line belongs to within its table. Built-in chains come before others, as the programs print them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot {
    group: Group,
    rank: u8,
    name: Option<Box<str>>,
    /// Whether it is what a set holds, and not the set itself.
    is_content: bool,
}

/// Things of one group share their names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Group {
    Table,
    Set,
    Flowtable,
    Object,
    Chain,
    Hook,
    Expectation,
}

impl Group {
    const fn of(kind: Kind) -> Self {
        match kind {
            Kind::Table => Self::Table,
            Kind::Set | Kind::Map | Kind::Element => Self::Set,
            Kind::Flowtable => Self::Flowtable,
            Kind::Object => Self::Object,
            Kind::Policy | Kind::Chain | Kind::Rule => Self::Chain,
            Kind::Hook => Self::Hook,
            Kind::Expectation => Self::Expectation,
        }
    }
}

impl Slot {
    const BUILT_IN: [&str; 5] = ["PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"];

    /// The place of a line of this kind.
    pub fn new(kind: Kind, name: Option<&str>) -> Self {
        let group = Group::of(kind);
        let rank = (0..).zip(Self::BUILT_IN).find(|&(_, built_in)| Some(built_in) == name);
        let rank = rank.map_or(u8::MAX, |(rank, _)| rank);
        Self { group, rank, name: name.map(Box::from), is_content: kind == Kind::Element }
    }

    /// The place of a chain.
    pub fn chain(name: &str) -> Self {
        Self::new(Kind::Chain, Some(name))
    }

    pub(super) fn is(&self, kind: Kind, name: Option<&str>) -> bool {
        let is_content = kind == Kind::Element;
        self.group == Group::of(kind) && self.is_content == is_content && self.name.as_deref() == name
    }

    /// The chain, set or object; none for a line that belongs to the table itself.
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// Whether it is a chain.
    pub fn is_chain(&self) -> bool {
        self.group == Group::Chain
    }

    /// A number for each group, and another for what sets hold, where a hash must tell them apart.
    pub(super) const fn group(&self) -> u8 {
        if self.is_content { u8::MAX } else { self.group as u8 }
    }
}

/// One line: where it ends in the packed text, and what is known of it.
#[derive(Clone, Copy, Debug)]
struct Packed {
    end: u32,
    /// 1-based; 0 for none.
    position: u32,
    kind: Kind,
    judgement: Judgement,
    /// Otherwise its digest.
    is_text: bool,
}

/// One line as it is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Line<'a> {
    pub kind: Kind,
    pub position: Option<u32>,
    pub judgement: Judgement,
    pub text: Text<'a>,
}

/// A line's text, or what tells it from others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Text<'a> {
    /// The text itself.
    Kept(&'a [u8]),
    /// The beginning of its SHA-256.
    Digest(&'a [u8]),
}

impl Text<'_> {
    /// The digest of either form.
    pub fn digest(&self) -> [u8; DIGEST_BYTES] {
        match self {
            Self::Kept(text) => digest(text),
            Self::Digest(digest) => digest.first_chunk().copied().unwrap_or_default(),
        }
    }
}

fn digest(text: &[u8]) -> [u8; DIGEST_BYTES] {
    Sha256::digest(text).first_chunk().copied().unwrap_or_default()
}

/// How many lines there are of what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct LineCounts {
    pub rules: u64,
    pub violations: u64,
    pub undecided: u64,
    pub unchecked: u64,
    pub unjudged: u64,
    pub set_elements: u64,
}

/// The lines of one slot, judged.
#[derive(Debug)]
pub struct Record {
    text: Box<[u8]>,
    lines: Box<[Packed]>,
    hash: [u8; 32],
    violating: Option<[u8; 32]>,
    counts: LineCounts,
    taken: usize,
}

impl Record {
    /// SHA-256 over every line, each ended by a newline.
    pub const fn hash(&self) -> &[u8; 32] {
        &self.hash
    }

    /// SHA-256 over every violating line, if there is one.
    pub const fn violating(&self) -> Option<&[u8; 32]> {
        self.violating.as_ref()
    }

    /// What it adds to its table.
    pub const fn counts(&self) -> &LineCounts {
        &self.counts
    }

    /// Every line, in order.
    pub fn lines(&self) -> impl Iterator<Item = Line<'_>> {
        let mut start = 0;
        self.lines.iter().map(move |packed| {
            let end = packed.end as usize;
            let bytes = self.text.get(start..end).unwrap_or_default();
            start = end;
            let text = if packed.is_text { Text::Kept(bytes) } else { Text::Digest(bytes) };
            let position = (packed.position != 0).then_some(packed.position);
            Line { kind: packed.kind, position, judgement: packed.judgement, text }
        })
    }

    /// Bytes of text it took from the budget.
    pub const fn taken(&self) -> usize {
        self.taken
    }
}

/// What is kept of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keep {
    /// Its text, for which the budget has room.
    Within,
    /// Its text, beyond the budget.
    Beyond,
    /// Its digest.
    Digest,
}

/// A record that is being filled.
#[derive(Debug, Default)]
pub(super) struct Filling {
    text: Vec<u8>,
    lines: Vec<Packed>,
    hash: Sha256,
    violating: Option<Sha256>,
    pub counts: LineCounts,
    taken: usize,
}

impl Filling {
    /// Adds a line.
    pub fn push(&mut self, entry: &Entry<'_>, judgement: Judgement, keep: Keep) {
        add_line(&mut self.hash, entry.line);
        self.counts.rules += u64::from(entry.kind == Kind::Rule);
        match judgement {
            Judgement::Violation => {
                add_line(self.violating.get_or_insert_default(), entry.line);
                self.counts.violations += 1;
            }
            Judgement::Undecided => self.counts.undecided += 1,
            Judgement::Unchecked => self.counts.unchecked += 1,
            Judgement::Unjudged => self.counts.unjudged += 1,
            Judgement::Allowed => {}
        }
        let is_text = keep != Keep::Digest;
        if is_text {
            self.text.extend_from_slice(entry.line);
        } else {
            self.text.extend_from_slice(&digest(entry.line));
        }
        self.taken += if keep == Keep::Within { entry.line.len() } else { 0 };
        self.lines.push(Packed {
            end: u32::try_from(self.text.len()).unwrap_or(u32::MAX),
            position: entry.position.unwrap_or(0),
            kind: entry.kind,
            judgement,
            is_text,
        });
    }

    pub fn seal(self) -> Record {
        Record {
            text: self.text.into(),
            lines: self.lines.into(),
            hash: self.hash.finalize().into(),
            violating: self.violating.map(|hash| hash.finalize().into()),
            counts: self.counts,
            taken: self.taken,
        }
    }
}

fn add_line(hash: &mut Sha256, line: &[u8]) {
    hash.update(line);
    hash.update(b"\n");
}
