//! Judges each message of a transaction when it is heard, with the same words as a look at the rules would: what is gone
//! before the next look is known all the same.
//!
//! Keeps of a transaction what no pattern allows, until it ends. What comes and goes within one was never in force.

mod around;
mod known;

use around::{Around, TableKey};
use known::Known;

use super::ScanOptions;
use super::nft::is_of_iptables;
use crate::domain::changes::carried::{CARRIED_MAX, Line};
use crate::domain::judging::audit::{Judgement, Rulebook};
use crate::domain::rules::kernel::expressions::references_of;
use crate::domain::rules::kernel::sets::{Element, SET_INTERVAL, Set};
use crate::domain::rules::kernel::{Chain, ChainFault, ChainShape, check_chain};
use crate::domain::rules::lines::{Place, Written, write_rule};
use crate::domain::rules::text;
use crate::domain::rules::text::line::Line as Text;
use crate::domain::rules::text::native::contents::map_line;
use crate::domain::rules::text::native::declared;
use crate::domain::rules::{Backend, Entry, Family, Kind};
use crate::host::netlink::nfnetlink::events::{ElementsOf, Gone, News, What};
use crate::host::netlink::nfnetlink::{NfnetlinkError, Placed, Rule};

/// Rules and elements of one transaction that can only be written when all of it is known; more are not looked at.
const LATE_MAX: usize = 20_000;

/// Hears transactions one after the other.
#[derive(Debug)]
pub struct Ear {
    options: ScanOptions,
    around: Around,
    /// Rules of iptables that are written again and again.
    known: Known,
    /// Not allowed, so far.
    lines: Vec<Brought>,
    late: Late,
    /// How often something was not looked at.
    missed: u64,
}

/// A line of the present transaction.
#[derive(Debug)]
struct Brought {
    line: Line,
    table: TableKey,
    name: Vec<u8>,
    /// Of a rule.
    handle: Option<u64>,
}

/// What waits for the end of the transaction.
#[derive(Debug, Default)]
struct Late {
    rules: Vec<OwnedRule>,
    elements: Vec<(TableKey, Vec<u8>, Element)>,
}

#[derive(Debug)]
struct OwnedRule {
    table: TableKey,
    chain: Vec<u8>,
    handle: u64,
    userdata: Option<Vec<u8>>,
    expressions: Vec<u8>,
}

impl OwnedRule {
    fn of(rule: Rule<'_>) -> Self {
        Self {
            table: (rule.family, rule.table.to_vec()),
            chain: rule.chain.to_vec(),
            handle: rule.handle,
            userdata: rule.userdata.map(<[u8]>::to_vec),
            expressions: rule.expressions.to_vec(),
        }
    }

    fn borrow(&self) -> Rule<'_> {
        Rule {
            family: self.table.0,
            table: &self.table.1,
            chain: &self.chain,
            handle: self.handle,
            userdata: self.userdata.as_deref(),
            expressions: &self.expressions,
        }
    }
}

impl Ear {
    /// Learns what there is now that the text of rules to come may depend on. To be called once changes are heard of.
    ///
    /// # Errors
    /// What the kernel answers.
    pub fn open(options: ScanOptions) -> Result<Self, NfnetlinkError> {
        let around = Around::read(&options)?;
        Ok(Self {
            options,
            around,
            known: Known::default(),
            lines: Vec::new(),
            late: Late::default(),
            missed: 0,
        })
    }

    /// Takes a message of a transaction; none for one that was not understood.
    pub fn hear(&mut self, book: &Rulebook, news: Option<News<'_>>) {
        match news {
            None => self.missed += 1,
            Some(News::Table(table)) => {
                self.forget(|brought| brought.is(Kind::Table, table.family, &table.name, b""));
                if let Some(line) = declared::table(&table) {
                    self.judge_native(book, Kind::Table, (table.family, &table.name, None), &line);
                }
            }
            Some(News::Chain(chain)) => self.chain(book, &chain),
            Some(News::Rule(rule)) => {
                if self.around.has_bound(rule.family, rule.table) {
                    self.later(|late| late.rules.push(OwnedRule::of(rule)));
                } else {
                    self.rule(book, rule);
                }
            }
            Some(News::Set(Placed { family, table, what: set })) => {
                if !set.is_anonymous() {
                    let kind = if set.is_map() { Kind::Map } else { Kind::Set };
                    let line = declared::set(family, &table, &set);
                    self.judge_native(book, kind, (family, &table, Some(&set.name)), &line);
                }
                self.missed += u64::from(!self.around.add_set((family, table), set));
            }
            Some(News::Elements(elements)) => self.elements(book, elements),
            Some(News::Object(Placed { family, table, what: object })) => {
                let line = declared::object(family, &table, &object);
                self.judge_native(book, Kind::Object, (family, &table, Some(&object.name)), &line);
            }
            Some(News::Flowtable(Placed { family, table, what: flowtable })) => {
                let line = declared::flowtable(family, &table, &flowtable);
                self.judge_native(book, Kind::Flowtable, (family, &table, Some(&flowtable.name)), &line);
            }
            Some(News::Gone(gone)) => self.gone(gone),
        }
    }

    /// Ends the transaction: what it brought that no pattern allows, and how often something was not looked at.
    pub fn commit(&mut self, book: &Rulebook) -> (Vec<Line>, u64) {
        let late = std::mem::take(&mut self.late);
        for rule in late.rules {
            self.rule(book, rule.borrow());
        }
        for group in
            late.elements.chunk_by(|(one, first, _), (other, second, _)| (one, first) == (other, second))
        {
            let Some(((family, table), set, _)) = group.first() else { continue };
            let elements = group.iter().map(|(.., element)| element);
            self.judge_elements(book, (*family, table, set), elements);
        }
        self.around.end_transaction();
        let lines = std::mem::take(&mut self.lines).into_iter().map(|brought| brought.line).collect();
        (lines, std::mem::take(&mut self.missed))
    }

    /// Notes that something cannot be looked at.
    pub const fn miss(&mut self) {
        self.missed += 1;
    }

    fn later(&mut self, add: impl FnOnce(&mut Late)) {
        if self.late.rules.len() + self.late.elements.len() < LATE_MAX {
            add(&mut self.late);
        } else {
            self.missed += 1;
        }
    }

    fn chain(&mut self, book: &Rulebook, chain: &Chain) {
        let (family, table, name) = (chain.family, chain.table.as_slice(), chain.name.as_slice());
        self.forget(|brought| {
            brought.is(Kind::Chain, family, table, name) || brought.is(Kind::Policy, family, table, name)
        });
        self.around.add_chain(chain);
        let native =
            || declared::chain(chain).map(|line| (Backend::Nftables, Kind::Chain, line.into_bytes()));
        let mut text = Text::default();
        let declared = if is_of_iptables(family, table) {
            match check_chain(family, table, chain) {
                ChainShape::Builtin { policy } => {
                    text::rule::policy(&String::from_utf8_lossy(name), policy, &mut text);
                    Some((Backend::IptablesNft, Kind::Policy, text.as_bytes().to_vec()))
                }
                ChainShape::User => {
                    text::rule::declaration(name, &mut text);
                    Some((Backend::IptablesNft, Kind::Chain, text.as_bytes().to_vec()))
                }
                ChainShape::Foreign(ChainFault::ForeignHook | ChainFault::UnknownFlags) => native(),
                ChainShape::Foreign(ChainFault::Name | ChainFault::Detached) => None,
            }
        } else {
            native()
        };
        if let Some((backend, kind, line)) = declared {
            self.judge(book, (backend, kind), (family, table, Some(name)), None, &line);
        }
    }

    /// Judges a rule; what no pattern allows is written again with names that are certainly new.
    fn rule(&mut self, book: &Rulebook, rule: Rule<'_>) {
        let Rule { family, table, chain, handle, .. } = rule;
        if !self.is_looked_at(book, family, table) {
            return;
        }
        if self.around.is_bound(family, table, chain) {
            self.missed += u64::from(!self.around.add_bound_rule(rule));
            return;
        }
        let digest = self.is_cacheable(family, table).then(|| self.known.digest(rule));
        if digest.is_some_and(|digest| self.known.allows(book, digest)) {
            return;
        }
        let (mut backend, mut line) = self.write(rule);
        let place = (family, table, Some(chain));
        if self.is_accepted(book, (backend, Kind::Rule), place, line.as_bytes()) {
            // an ipset may have another name next time
            let is_plain = backend == Backend::IptablesNft && !references_of(rule.expressions).names_ipset;
            if let Some(digest) = digest.filter(|_| is_plain) {
                self.known.add(digest);
            }
            return;
        }
        if self.around.renew() {
            (backend, line) = self.write(rule);
        }
        self.judge(book, (backend, Kind::Rule), (family, table, Some(chain)), Some(handle), line.as_bytes());
    }

    /// Whether the line of a rule of iptables there depends on nothing but its bytes, its chain and the names of ipsets.
    fn is_cacheable(&self, family: Family, table: &[u8]) -> bool {
        is_of_iptables(family, table) && self.around.is_plain(family, table)
    }

    fn write(&self, rule: Rule<'_>) -> (Backend, Text) {
        let Rule { family, table, chain, userdata, expressions, .. } = rule;
        let mut line = Text::default();
        if is_of_iptables(family, table) && !self.around.is_foreign(family, table, chain) {
            let place = |ipsets| Place { family, chain, ipsets };
            let mut read = write_rule(place(self.around.ipsets()), expressions, userdata, &mut line);
            if read.references.names_ipset && self.around.learn_ipsets() {
                line.truncate(0);
                read = write_rule(place(self.around.ipsets()), expressions, userdata, &mut line);
            }
            if read.written == Written::Iptables && !self.around.jumps_to_own(family, table, expressions) {
                return (Backend::IptablesNft, line);
            }
        }
        line.truncate(0);
        let references = references_of(expressions);
        if references.names_ipset {
            self.around.learn_ipsets();
        }
        self.around.write_native(rule, references.names_cgroup, &mut line);
        (Backend::Nftables, line)
    }

    fn elements(&mut self, book: &Rulebook, elements: ElementsOf<'_>) {
        let ElementsOf { family, table, set, elements } = elements;
        let Some(known) = self.around.set(family, table, set) else {
            self.missed += 1;
            return;
        };
        if known.is_anonymous() {
            self.missed += u64::from(!self.around.add_elements(family, table, set, elements));
        } else if known.is_map() && has_halves(known) {
            for element in elements {
                self.later(|late| late.elements.push(((family, table.to_vec()), set.to_vec(), element)));
            }
        } else if known.is_map() {
            self.judge_elements(book, (family, table, set), elements.iter());
        }
    }

    fn judge_elements<'e>(
        &mut self,
        book: &Rulebook,
        (family, table, set): (Family, &[u8], &[u8]),
        elements: impl Iterator<Item = &'e Element>,
    ) {
        for text in self.around.element_texts((family, table, set), elements) {
            let line = map_line(family, table, set, &text);
            self.judge_native(book, Kind::Element, (family, table, Some(set)), &line);
        }
    }

    fn judge_native(
        &mut self,
        book: &Rulebook,
        kind: Kind,
        (family, table, name): (Family, &[u8], Option<&[u8]>),
        line: &str,
    ) {
        self.judge(book, (Backend::Nftables, kind), (family, table, name), None, line.as_bytes());
    }

    fn judge(
        &mut self,
        book: &Rulebook,
        (backend, kind): (Backend, Kind),
        (family, table, name): (Family, &[u8], Option<&[u8]>),
        handle: Option<u64>,
        line: &[u8],
    ) {
        if !self.is_looked_at(book, family, table) {
            return;
        }
        let judgement = judgement(book, (backend, kind), (family, table, name), line);
        if matches!(judgement, Judgement::Allowed | Judgement::Unjudged) {
            return;
        }
        // a transaction of allowed rules may be large, one of others is kept only as far as it can be told
        if self.lines.len() >= CARRIED_MAX {
            self.missed += 1;
            return;
        }
        let lossy = |name: &[u8]| String::from_utf8_lossy(name).into_owned();
        let shown = Line {
            backend,
            family,
            table: lossy(table),
            chain: name.map(lossy),
            kind,
            line: line.to_vec(),
            judged: judgement.judged(),
        };
        let name = name.unwrap_or_default().to_vec();
        self.lines.push(Brought { line: shown, table: (family, table.to_vec()), name, handle });
    }

    fn is_accepted(
        &self,
        book: &Rulebook,
        what: (Backend, Kind),
        place: (Family, &[u8], Option<&[u8]>),
        line: &[u8],
    ) -> bool {
        matches!(judgement(book, what, place, line), Judgement::Allowed | Judgement::Unjudged)
    }

    /// Whether a look reads the table.
    fn is_looked_at(&self, book: &Rulebook, family: Family, table: &[u8]) -> bool {
        (self.options.nftables || is_of_iptables(family, table)) && book.covers(family)
    }

    /// What goes before the end of its transaction was never in force.
    fn gone(&mut self, gone: Gone<'_>) {
        let Gone { family, table, what } = gone;
        let of_table = |brought: &Brought| brought.table.0 == family && brought.table.1 == table;
        match what {
            What::Devices => {}
            What::Table => {
                self.forget(of_table);
                self.late.rules.retain(|rule| (rule.table.0, rule.table.1.as_slice()) != (family, table));
                self.late.elements.retain(|((of, name), ..)| (*of, name.as_slice()) != (family, table));
                self.around.remove_table(family, table);
            }
            What::Chain(chain) => {
                self.forget(|brought| {
                    let is_chain = matches!(brought.line.kind, Kind::Chain | Kind::Policy | Kind::Rule);
                    of_table(brought) && is_chain && brought.name == chain
                });
                self.around.remove_chain(family, table, chain);
            }
            What::Rule(_, handle) => {
                self.forget(|brought| of_table(brought) && brought.handle == Some(handle));
                let is_other = |rule: &OwnedRule| {
                    (rule.table.0, rule.table.1.as_slice(), rule.handle) != (family, table, handle)
                };
                self.late.rules.retain(is_other);
            }
            What::Set(set) => {
                self.forget(|brought| {
                    let is_set = matches!(brought.line.kind, Kind::Set | Kind::Map | Kind::Element);
                    of_table(brought) && is_set && brought.name == set
                });
                self.around.remove_set(family, table, set);
            }
            What::Elements(set, elements) => {
                let texts = self.around.element_texts((family, table, set), elements.iter());
                let gone: Vec<_> = texts.iter().map(|text| map_line(family, table, set, text)).collect();
                self.forget(|brought| {
                    let is_gone = |line: &String| line.as_bytes() == brought.line.line;
                    brought.line.kind == Kind::Element && gone.iter().any(is_gone)
                });
                self.late.elements.retain(|((of, name), in_set, element)| {
                    let is_here = (*of, name.as_slice(), in_set.as_slice()) == (family, table, set);
                    !is_here
                        || !elements.iter().any(|gone| gone.key == element.key && gone.flags == element.flags)
                });
            }
            What::Object(name) => {
                self.forget(|brought| {
                    of_table(brought) && brought.line.kind == Kind::Object && brought.name == name
                });
            }
            What::Flowtable(name) => self.forget(|brought| {
                of_table(brought) && brought.line.kind == Kind::Flowtable && brought.name == name
            }),
        }
    }

    fn forget(&mut self, is_gone: impl Fn(&Brought) -> bool) {
        self.lines.retain(|brought| !is_gone(brought));
    }
}

impl Brought {
    fn is(&self, kind: Kind, family: Family, table: &[u8], name: &[u8]) -> bool {
        self.line.kind == kind && self.table.0 == family && self.table.1 == table && self.name == name
    }
}

/// Whether an interval of the set is told as two elements.
fn has_halves(set: &Set) -> bool {
    set.flags & SET_INTERVAL != 0
}

fn judgement(
    book: &Rulebook,
    (backend, kind): (Backend, Kind),
    (family, table, name): (Family, &[u8], Option<&[u8]>),
    line: &[u8],
) -> Judgement {
    let (table, name) = (String::from_utf8_lossy(table), name.map(String::from_utf8_lossy));
    let entry = Entry { kind, table: &table, chain: name.as_deref(), position: None, line };
    book.judge(backend, family, &entry)
}
