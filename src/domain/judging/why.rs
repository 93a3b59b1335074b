//! Why one rule is allowed or not, for a person who asks about it.
//! Judges by the same allowlists as a check, but only this one line; reads no kernel and no journal.

use super::allowlist::nearest::{Explanation, Nearest, judging};
use super::allowlist::{List, Pattern};
use super::audit::Rulebook;
use super::typed_rule::{self, Misread};
use crate::domain::changes::history::Place;
use crate::domain::rules::{Backend, Family, Kind};

/// What iptables takes for the table that is not named.
const DEFAULT_TABLE: &str = "filter";

/// A rule, as a report shows it or as it was typed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Question {
    /// Its text.
    pub rule: String,
    /// Its iptables table, if it was said.
    pub table: Option<String>,
    /// Its family, if it was said.
    pub family: Option<Family>,
}

/// The answer about one line. All its text is untrusted: escape it when shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer<'a> {
    /// The line that was judged.
    pub line: String,
    /// What was asked is not how iptables prints it; `line` is.
    pub is_rewritten: bool,
    /// A word that iptables may print otherwise than `line` has it.
    pub doubt: Option<String>,
    /// Blanks at the ends of the line that was judged, which count.
    pub has_outer_blanks: bool,
    /// Its iptables table; none for a native line.
    pub table: Option<String>,
    /// Nobody said which table: it is the one that iptables takes then.
    pub is_table_assumed: bool,
    /// Its family.
    pub family: Family,
    /// The answer.
    pub judgement: Judgement,
    /// The lists that judge it.
    pub lists: Vec<List>,
    /// Every pattern that allows it.
    pub allowing: Vec<&'a Pattern>,
    /// If there is none, those that come nearest.
    pub nearest: Vec<Nearest<'a>>,
    /// Patterns that match it but may not judge it.
    pub elsewhere: Vec<&'a Pattern>,
    /// Nothing may allow it: it holds a control byte.
    pub has_control_byte: bool,
}

/// Whether a rule is allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// A pattern allows it.
    Allowed,
    /// No pattern does.
    Unexpected,
    /// A pattern that might is broken, or the allowlist is missing.
    Undecided,
    /// It is the content of a set, which no pattern asks to judge: a check counts it, and tells when it changes.
    Unjudged,
}

impl Judgement {
    /// The name used in reports.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::Unexpected => "unexpected",
            Self::Undecided => "undecided",
            Self::Unjudged => "unjudged",
        }
    }
}

/// Answers by these allowlists.
///
/// # Errors
/// If the text is for iptables, and not exactly one rule, policy or chain.
pub fn answer<'a>(book: &'a Rulebook, question: &Question) -> Result<Answer<'a>, Misread> {
    let asked = question.rule.as_str();
    let typed = typed_rule::read(asked)?;
    let is_iptables = typed.is_some();
    let named = question.table.clone().or_else(|| typed.as_ref().and_then(|typed| typed.table.clone()));
    let is_table_assumed = is_iptables && named.is_none();
    let table = is_iptables.then(|| named.unwrap_or_else(|| DEFAULT_TABLE.to_owned()));
    let family = question.family.or_else(|| match &typed {
        Some(typed) => typed.family,
        None => native_place(asked).map(|place| place.family),
    });
    let (doubt, unknown) =
        typed.as_ref().map_or((None, None), |typed| (typed.doubt.clone(), typed.unknown.clone()));
    let about = |line: &str, is_rewritten: bool| {
        let place = (table.as_deref(), family.unwrap_or(Family::Ip));
        let doubt = doubt.clone().or_else(|| unknown.clone().filter(|_| is_rewritten));
        Answer { is_rewritten, is_table_assumed, doubt, ..judge(book, place, line) }
    };
    let rewritten = typed.map(|typed| typed.line).filter(|line| line != asked);
    // a line of a report begins so, and is judged as it is before anything is guessed
    let may_be_printed = ["-A ", "-P ", "-N "].iter().any(|start| asked.starts_with(start));
    Ok(match rewritten {
        Some(line) if !may_be_printed => about(&line, true),
        Some(line) => Some(about(asked, false))
            .filter(|answer| answer.judgement == Judgement::Allowed)
            .unwrap_or_else(|| about(&line, true)),
        None => about(asked, false),
    })
}

fn judge<'a>(book: &'a Rulebook, (table, family): (Option<&str>, Family), line: &str) -> Answer<'a> {
    let backend = if table.is_some() { Backend::IptablesNft } else { Backend::Nftables };
    let judges = book.judging(backend, family);
    let mut all = Explanation {
        allowing: Vec::new(),
        nearest: Vec::new(),
        elsewhere: Vec::new(),
        has_control_byte: false,
    };
    for list in &judges {
        let one = list.patterns.explain(table, line.as_bytes());
        all.allowing.extend(one.allowing);
        all.nearest.extend(one.nearest);
        all.elsewhere.extend(one.elsewhere);
        all.has_control_byte |= one.has_control_byte;
    }
    let is_whole = !judges.is_empty() && judges.iter().all(|list| list.is_whole_for(table));
    let is_judged = book.is_judged(backend, family, line.as_bytes());
    let judgement = match (all.allowing.is_empty(), is_whole || all.has_control_byte) {
        _ if !is_judged => Judgement::Unjudged,
        (false, _) => Judgement::Allowed,
        (true, true) => Judgement::Unexpected,
        (true, false) => Judgement::Undecided,
    };
    Answer {
        line: line.to_owned(),
        is_rewritten: false,
        doubt: None,
        has_outer_blanks: line.trim() != line,
        table: table.map(str::to_owned),
        is_table_assumed: false,
        family,
        judgement,
        lists: judging(table),
        allowing: all.allowing,
        nearest: all.nearest,
        elsewhere: all.elsewhere,
        has_control_byte: all.has_control_byte,
    }
}

impl Answer<'_> {
    /// Where the journal may know the line.
    pub fn places(&self) -> Vec<Place<'_>> {
        let Some(table) = self.table.as_deref() else {
            return native_place(&self.line).into_iter().collect();
        };
        let chain = self.line.split(' ').nth(1);
        let place = |backend| Place { backend, family: self.family, table, chain };
        [Backend::IptablesNft, Backend::IptablesLegacy].map(place).into()
    }
}

/// The place that a native line names: `inet shop input …`, `chain inet shop input …`, `table inet shop …`, and that of what is
/// no rule: `hook ip input …`, `expectation ip …`.
fn native_place(line: &str) -> Option<Place<'_>> {
    if let Some((kind, rest)) = line.split_once(' ')
        && let Some(table) = beside_rules(kind)
    {
        let mut words = rest.split(' ');
        let family = Family::from_name(words.next()?)?;
        let chain = words.next().filter(|_| kind == Kind::Hook.as_str());
        return Some(Place { backend: Backend::Netfilter, family, table, chain });
    }
    let mut words = line.split(' ').peekable();
    let declared = words.next_if(|word| Family::from_name(word).is_none());
    let family = Family::from_name(words.next()?)?;
    let table = words.next()?;
    let chain = words.next().filter(|_| declared != Some("table"));
    Some(Place { backend: Backend::Nftables, family, table, chain })
}

/// Where lines of a kind stand that are of no table.
fn beside_rules(kind: &str) -> Option<&'static str> {
    [Kind::Hook, Kind::Expectation].into_iter().find(|of| of.as_str() == kind).and_then(Kind::group)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::domain::judging::allowlist::{Allowlist, PatternFile};
    use crate::domain::judging::audit::{InForce, Ipv6};

    fn list(files: &[(List, &str)]) -> InForce {
        let file = |(list, text): &(List, &str)| PatternFile {
            list: *list,
            origin: list.as_str().to_owned(),
            text: text.as_bytes().to_vec(),
        };
        let files: Vec<_> = files.iter().map(file).collect();
        InForce { patterns: Arc::new(Allowlist::parse(&files)), is_missing: false }
    }

    fn book(files: &[(List, &str)]) -> Rulebook {
        Rulebook {
            ipv4: list(files),
            ipv6: Ipv6::Checked(list(&[(List::Filter, "^-A V6 ")])),
            problems: Vec::new(),
        }
    }

    fn ask(rule: &str) -> Question {
        Question { rule: rule.to_owned(), ..Question::default() }
    }

    fn judged_by<'a>(book: &'a Rulebook, question: &Question) -> Answer<'a> {
        answer(book, question).unwrap()
    }

    #[test]
    fn nothing_is_said_of_what_is_not_one_rule() {
        let book = book(&[(List::Filter, ".*"), (List::Nftables, ".*")]);
        for text in ["-A INPUT -j DROP -j X", "iptables -P INPUT ACCEPT -j DROP", "iptables -F", "-A"] {
            assert!(answer(&book, &ask(text)).is_err(), "{text}");
        }
    }

    #[test]
    fn what_may_be_printed_otherwise_is_said() {
        let book = book(&[(List::Filter, "^-A INPUT ")]);
        let doubt = |text| judged_by(&book, &ask(text)).doubt;
        assert_eq!(doubt("iptables -A INPUT -p tcp --dport ssh").as_deref(), Some("ssh"));
        assert_eq!(doubt("-A INPUT -p tcp -m tcp --dport ssh").as_deref(), Some("ssh"));
        assert_eq!(doubt("iptables -A INPUT -m set --match-set a src").as_deref(), Some("--match-set"));
        assert_eq!(doubt("-A INPUT -m set --match-set a src"), None, "a line of a report");
        assert_eq!(doubt("iptables -A INPUT -p tcp --dport 22:22"), None);
    }

    #[test]
    fn a_printed_line_is_judged_as_it_is() {
        let book = book(&[(List::Filter, "^-A INPUT -p tcp --dport 22$")]);
        let found = judged_by(&book, &ask("-A INPUT -p tcp --dport 22"));
        assert_eq!(
            (found.judgement, found.is_rewritten, found.is_table_assumed),
            (Judgement::Allowed, false, true)
        );
    }

    #[test]
    fn a_typed_rule_is_judged_as_it_would_be_printed() {
        let book = book(&[(List::Nat, "^-A PREROUTING -p tcp -m tcp --dport 22 -j ACCEPT$\n-j LOG")]);
        let found =
            judged_by(&book, &ask("iptables -t nat -A PREROUTING --protocol tcp --dport 22 -j ACCEPT"));
        assert_eq!(
            (found.judgement, found.is_rewritten, found.is_table_assumed),
            (Judgement::Allowed, true, false)
        );
        let found = judged_by(&book, &ask("iptables -t filter -I INPUT -j LOG"));
        assert_eq!(
            (found.judgement, found.line.as_str(), found.elsewhere.len()),
            (Judgement::Unexpected, "-A INPUT -j LOG", 1)
        );
    }

    #[test]
    fn the_family_chooses_the_allowlist() {
        let book = book(&[(List::Filter, "^-A V4 ")]);
        let judged = |question: &Question| judged_by(&book, question).judgement;
        assert_eq!(judged(&ask("ip6tables -A V6 -j LOG")), Judgement::Allowed);
        assert_eq!(judged(&ask("-A V6 -j LOG")), Judgement::Unexpected);
        assert_eq!(
            judged(&Question { family: Some(Family::Ip6), ..ask("-A V6 -j LOG") }),
            Judgement::Allowed
        );
        let unchecked = Rulebook { ipv6: Ipv6::Unchecked, ..book };
        assert_eq!(judged_by(&unchecked, &ask("ip6tables -A V6 -j LOG")).judgement, Judgement::Undecided);
    }

    #[test]
    fn a_broken_or_missing_allowlist_leaves_it_open() {
        let broken = book(&[(List::Filter, "(")]);
        assert_eq!(judged_by(&broken, &ask("-A A -j B")).judgement, Judgement::Undecided);
        assert_eq!(
            judged_by(&broken, &Question { table: Some("nat".into()), ..ask("-A A -j B") }).judgement,
            Judgement::Unexpected
        );
        let mut missing = book(&[]);
        missing.ipv4.is_missing = true;
        assert_eq!(judged_by(&missing, &ask("-A A -j B")).judgement, Judgement::Undecided);
        assert_eq!(
            judged_by(&missing, &ask("-A A\t-j B\n")).judgement,
            Judgement::Undecided,
            "white space is typed"
        );
        assert_eq!(judged_by(&missing, &ask("inet t c \u{1}")).judgement, Judgement::Unexpected);
    }

    #[test]
    fn the_content_of_a_set_is_asked_about_as_a_check_judges_it() {
        let line = "elements inet shop admins 3 sha256 00ff";
        let judged = |patterns: &str| judged_by(&book(&[(List::Nftables, patterns)]), &ask(line)).judgement;
        assert_eq!(judged(""), Judgement::Unjudged);
        assert_eq!(judged(".*"), Judgement::Unjudged);
        assert_eq!(judged("^elements inet shop admins 3 sha256 00ff$"), Judgement::Allowed);
        assert_eq!(judged("^elements inet shop admins 4 "), Judgement::Unexpected);
    }

    #[test]
    fn what_acts_beside_rules_is_judged_and_known_functions_are_not() {
        let line = "hook ip6 input -500 bpf evil 00ff";
        let judged =
            |patterns: &str, line| judged_by(&book(&[(List::Nftables, patterns)]), &ask(line)).judgement;
        assert_eq!(judged("", line), Judgement::Unexpected);
        assert_eq!(judged("^hook ip6 input -500 bpf evil 00ff$", line), Judgement::Allowed);
        assert_eq!(judged(".*", "hooks ip known ipt_do_table"), Judgement::Unjudged);
    }

    #[test]
    fn native_lines_say_where_they_stand() {
        let book = book(&[(List::Nftables, "^inet shop ")]);
        let found = judged_by(&book, &ask("inet shop input tcp dport 22 accept"));
        assert_eq!((found.judgement, &found.table, found.family), (Judgement::Allowed, &None, Family::Inet));
        let place = |line| {
            judged_by(&book, &ask(line))
                .places()
                .first()
                .map(|place| (place.table.to_owned(), place.chain.map(str::to_owned)))
        };
        let named = |table: &str, chain: Option<&str>| Some((table.to_owned(), chain.map(str::to_owned)));
        assert_eq!(place("inet shop input tcp dport 22 accept"), named("shop", Some("input")));
        assert_eq!(place("chain inet shop input"), named("shop", Some("input")));
        assert_eq!(place("table inet shop flags dormant"), named("shop", None));
        assert_eq!(place("nonsense"), None);
        assert_eq!(place("hook ip6 input -500 bpf evil 00"), named("hooks", Some("input")));
        assert_eq!(place("expectation ip tcp 10.0.0.1 -> 10.0.0.2:21"), named("expectations", None));
    }
}
