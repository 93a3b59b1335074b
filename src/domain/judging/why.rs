//! Why one rule is allowed or not, for a person who asks about it.
//! Judges by the same allowlists as a check, but only this one line; reads no kernel and no journal.

use super::allowlist::nearest::{Explanation, Nearest, judging};
use super::allowlist::{List, Pattern, suggest};
use super::audit::{Judgement, Rulebook};
use super::typed_rule::{self, Misread};
use crate::domain::changes::history::Place;
use crate::domain::rules::{Backend, Entry, Family, IPTABLES_TABLES, Kind};

/// The words that native lines of what is no rule begin with, but for those of two words.
const DECLARED: [&str; 16] = [
    "table",
    "chain",
    "set",
    "map",
    "element",
    "elements",
    "flowtable",
    "counter",
    "quota",
    "limit",
    "tunnel",
    "secmark",
    "synproxy",
    "hook",
    "hooks",
    "expectation",
];
const NO_RULE: &str = "is no rule: give a line of a report ('-A INPUT -j DROP', 'inet shop input accept'), or a command that \
    adds a rule (iptables -A ..., nft add rule ...)";
const NO_TABLE: &str = "iptables has no such table; there are filter, nat, mangle, raw and security";
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
    /// What was asked is not how iptables, or a native line, has it; `line` is.
    pub is_rewritten: bool,
    /// A word that iptables, or a native line, may have otherwise than `line`.
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
    /// For an unexpected line: an anchored pattern that would allow exactly it; none where no pattern may, and where `line`
    /// is in doubt.
    pub suggested_pattern: Option<String>,
}

/// Answers by these allowlists.
///
/// # Errors
/// If the text is not exactly one rule, policy or chain of iptables, one line of a report, or one nft command that adds a
/// rule; and if iptables has no such table.
pub fn answer<'a>(book: &'a Rulebook, question: &Question) -> Result<Answer<'a>, Misread> {
    let asked = without_bar(&question.rule);
    if let Some(typed) = typed_rule::nft::read(asked)? {
        let answer = judge(book, (None, typed.family.unwrap_or(Family::Ip)), &typed.line);
        return Ok(Answer { is_rewritten: true, ..answer }.doubting(typed.doubt));
    }
    let typed = typed_rule::read(asked)?;
    if typed.is_none() && native_place(asked).is_none() {
        return Err(Misread::new(asked, NO_RULE));
    }
    let is_iptables = typed.is_some();
    let named = question.table.clone().or_else(|| typed.as_ref().and_then(|typed| typed.table.clone()));
    if let Some(unknown) = named.as_ref().filter(|table| !IPTABLES_TABLES.contains(&table.as_str())) {
        return Err(Misread::new(unknown, NO_TABLE));
    }
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
        Answer { is_rewritten, is_table_assumed, ..judge(book, place, line) }.doubting(doubt)
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
    let kind = match line.split(' ').next() {
        Some("-P") => Kind::Policy,
        Some("-N") => Kind::Chain,
        _ => Kind::Rule,
    };
    let entry =
        Entry { kind, table: table.unwrap_or_default(), chain: None, position: None, line: line.as_bytes() };
    let judgement = book.judge(backend, family, &entry);
    let is_unexpected = judgement == Judgement::Violation;
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
        suggested_pattern: if is_unexpected { suggest(line.as_bytes()) } else { None },
    }
}

/// A line as it is copied from the margin of a report: `     | -A INPUT -j DROP`.
fn without_bar(text: &str) -> &str {
    match text.trim_start().strip_prefix('|') {
        Some(line) => line.strip_prefix(' ').unwrap_or(line).trim_end_matches(['\n', '\r']),
        None => text,
    }
}

impl Answer<'_> {
    /// With a word that may be written otherwise: no pattern is suggested for a line that is not sure.
    fn doubting(self, doubt: Option<String>) -> Self {
        let suggested_pattern = self.suggested_pattern.filter(|_| doubt.is_none());
        Self { doubt, suggested_pattern, ..self }
    }

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
    let is_known = match declared {
        // `ct helper`, `ct timeout`; `object 11` of a kind without a word
        Some("ct" | "object") => words.next().is_some(),
        Some(kind) => DECLARED.contains(&kind),
        None => true,
    };
    let family = Family::from_name(words.next()?)?;
    let table = words.next()?;
    let third = words.next();
    // a rule, and what a table holds, has a name more
    let is_whole = is_known && (declared == Some("table") || third.is_some());
    let chain = third.filter(|_| declared != Some("table"));
    is_whole.then_some(Place { backend: Backend::Nftables, family, table, chain })
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
        for text in [
            "-A INPUT -j DROP -j X",
            "iptables -P INPUT ACCEPT -j DROP",
            "iptables -F",
            "-A",
            "hello",
            "hello world out there",
            "inet shop",
            "nft list ruleset",
            "chain inet shop",
            "iptables -t fliter -A INPUT -j DROP",
        ] {
            assert!(answer(&book, &ask(text)).is_err(), "{text}");
        }
        let unknown = Question { table: Some("fliter".into()), ..ask("-A INPUT -j DROP") };
        assert_eq!(answer(&book, &unknown).unwrap_err().word, "fliter");
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
            (Judgement::Violation, "-A INPUT -j LOG", 1)
        );
    }

    #[test]
    fn the_family_chooses_the_allowlist() {
        let book = book(&[(List::Filter, "^-A V4 ")]);
        let judged = |question: &Question| judged_by(&book, question).judgement;
        assert_eq!(judged(&ask("ip6tables -A V6 -j LOG")), Judgement::Allowed);
        assert_eq!(judged(&ask("-A V6 -j LOG")), Judgement::Violation);
        assert_eq!(
            judged(&Question { family: Some(Family::Ip6), ..ask("-A V6 -j LOG") }),
            Judgement::Allowed
        );
        let unchecked = Rulebook { ipv6: Ipv6::Unchecked, ..book };
        assert_eq!(judged_by(&unchecked, &ask("ip6tables -A V6 -j LOG")).judgement, Judgement::Unchecked);
    }

    #[test]
    fn a_broken_or_missing_allowlist_leaves_it_open() {
        let broken = book(&[(List::Filter, "(")]);
        assert_eq!(judged_by(&broken, &ask("-A A -j B")).judgement, Judgement::Undecided);
        assert_eq!(
            judged_by(&broken, &Question { table: Some("nat".into()), ..ask("-A A -j B") }).judgement,
            Judgement::Violation
        );
        let mut missing = book(&[]);
        missing.ipv4.is_missing = true;
        assert_eq!(judged_by(&missing, &ask("-A A -j B")).judgement, Judgement::Undecided);
        assert_eq!(
            judged_by(&missing, &ask("-A A\t-j B\n")).judgement,
            Judgement::Undecided,
            "white space is typed"
        );
        assert_eq!(judged_by(&missing, &ask("inet t c \u{1}")).judgement, Judgement::Violation);
    }

    #[test]
    fn the_content_of_a_set_is_asked_about_as_a_check_judges_it() {
        let line = "elements inet shop admins 3 sha256 00ff";
        let judged = |patterns: &str| judged_by(&book(&[(List::Nftables, patterns)]), &ask(line)).judgement;
        assert_eq!(judged(""), Judgement::Unjudged);
        assert_eq!(judged(".*"), Judgement::Unjudged);
        assert_eq!(judged("^elements inet shop admins 3 sha256 00ff$"), Judgement::Allowed);
        assert_eq!(judged("^elements inet shop admins 4 "), Judgement::Violation);
    }

    #[test]
    fn what_acts_beside_rules_is_judged_and_known_functions_are_not() {
        let line = "hook ip6 input -500 bpf evil 00ff";
        let judged =
            |patterns: &str, line| judged_by(&book(&[(List::Nftables, patterns)]), &ask(line)).judgement;
        assert_eq!(judged("", line), Judgement::Violation);
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
        assert_eq!(place("hook ip6 input -500 bpf evil 00"), named("hooks", Some("input")));
        assert_eq!(place("expectation ip tcp 10.0.0.1 -> 10.0.0.2:21"), named("expectations", None));
        for line in [
            "ct helper inet shop ftp type \"ftp\"",
            "object 11 inet shop x",
            "elements inet shop a 1 sha256 00",
        ] {
            assert_eq!(place(line).map(|(table, _)| table).as_deref(), Some("shop"), "{line}");
        }
    }

    #[test]
    fn a_line_is_copied_with_its_bar() {
        let book =
            book(&[(List::Filter, "^-A INPUT -j DROP$"), (List::Nftables, "^inet shop input accept$")]);
        for text in
            ["     | -A INPUT -j DROP", "| -A INPUT -j DROP\n", "|inet shop input accept", "-A INPUT -j DROP"]
        {
            let found = judged_by(&book, &ask(text));
            assert_eq!((found.judgement, found.is_rewritten), (Judgement::Allowed, false), "{text}");
        }
    }

    #[test]
    fn an_nft_command_is_judged_as_the_line_it_brings() {
        let book = book(&[(List::Nftables, "^inet filter input tcp dport 22 accept$")]);
        let found = judged_by(&book, &ask("nft add rule inet filter input tcp dport 22 accept"));
        assert_eq!(
            (found.judgement, found.is_rewritten, found.family),
            (Judgement::Allowed, true, Family::Inet)
        );
        let found = judged_by(&book, &ask("nft add rule inet filter input tcp dport 22 drop"));
        let pattern = Some("^inet filter input tcp dport 22 drop$");
        assert_eq!((found.judgement, found.suggested_pattern.as_deref()), (Judgement::Violation, pattern));
        let found = judged_by(&book, &ask("nft add rule inet filter input tcp dport ssh drop"));
        assert_eq!((found.doubt.as_deref(), found.suggested_pattern), (Some("ssh"), None));
    }
}
