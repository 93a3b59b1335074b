//! The options of a rule in the order and the form in which iptables prints them.
//! What is not known stays where it was typed.

use super::values::{self, Known, Printed};
use super::words::{Misread, NO_VALUE, WHAT_THERE_IS, Words};

/// The options that every rule has, in the order in which they are printed.
const BASE: [&str; 6] = ["-s", "-d", "-i", "-o", "-p", "-f"];

/// Spellings that are printed otherwise.
const SPELLINGS: [(&str, &str); 17] = [
    ("--source", "-s"),
    ("--src", "-s"),
    ("--destination", "-d"),
    ("--dst", "-d"),
    ("--in-interface", "-i"),
    ("--out-interface", "-o"),
    ("--protocol", "-p"),
    ("--proto", "-p"),
    ("--fragment", "-f"),
    ("--match", "-m"),
    ("--jump", "-j"),
    ("--goto", "-g"),
    ("--source-port", "--sport"),
    ("--destination-port", "--dport"),
    ("--source-ports", "--sports"),
    ("--destination-ports", "--dports"),
    ("--to-port", "--to-ports"),
];

/// Spelled out they are options of every rule, and iptables takes their beginnings for them.
const LONG: [&str; 28] = [
    "--append",
    "--check",
    "--delete",
    "--delete-chain",
    "--destination",
    "--flush",
    "--fragment",
    "--goto",
    "--in-interface",
    "--insert",
    "--jump",
    "--list",
    "--list-rules",
    "--match",
    "--modprobe",
    "--new-chain",
    "--numeric",
    "--out-interface",
    "--policy",
    "--protocol",
    "--rename-chain",
    "--replace",
    "--set-counters",
    "--source",
    "--table",
    "--verbose",
    "--wait",
    "--zero",
];

/// Options of extensions that begin like those, and are themselves.
const THEMSELVES: [&str; 3] = ["--pol", "--proto", "--set"];

/// Targets that no option can follow.
const VERDICTS: [&str; 3] = ["ACCEPT", "DROP", "RETURN"];

/// Targets that are printed with options that nobody typed, or under another name.
const PRINTED_OTHERWISE: [&str; 5] = ["NFQUEUE", "NOTRACK", "QUEUE", "SYNPROXY", "TPROXY"];

/// What options that are not known take at most: `--match-set NAME FLAGS`.
const MOST_VALUES: usize = 2;

#[derive(Default)]
pub(super) struct Options {
    base: [Option<String>; 6],
    /// What was typed, as far as it may be only once.
    seen: Vec<String>,
    protocol: Option<String>,
    matches: Vec<String>,
    /// Matches that are loaded.
    loaded: Vec<String>,
    target: Vec<String>,
    /// Whether what is not known belongs to the target.
    is_target: bool,
    /// The known options of the last match or target, by their order.
    ranks: Vec<usize>,
    first: Option<String>,
    doubt: Option<String>,
    unknown: Option<String>,
}

/// The options of a rule as they are printed.
pub(super) struct Rule {
    pub words: Vec<String>,
    pub doubt: Option<String>,
    pub unknown: Option<String>,
}

impl Options {
    /// The first one that was typed.
    pub(super) fn first(self) -> Option<String> {
        self.first
    }

    /// Reads one option and its values.
    pub(super) fn take(&mut self, word: String, words: &mut Words) -> Result<(), Misread> {
        let mut is_negated = word == "!";
        let mut word = word;
        if is_negated {
            word = words.next().ok_or_else(|| Misread::new("!", NO_VALUE))?;
        }
        word = self.spelled(word);
        if matches!(word.as_str(), "-s" | "-d" | "-i" | "-o" | "-p")
            && words.next_if(|next| next == "!").is_some()
        {
            self.doubt("!");
            is_negated = !is_negated;
        }
        self.first.get_or_insert_with(|| word.clone());
        let is_base = BASE.contains(&word.as_str());
        if is_negated && !is_base && !word.starts_with("--") {
            return Err(Misread::new("!", "it does not fit there: it stands before an option of a match"));
        }
        let sign = if is_negated { "! " } else { "" };
        match word.as_str() {
            "-j" | "-g" => self.take_target(word, words),
            "-m" => {
                let name = words.value(&word)?;
                self.load(name);
                Ok(())
            }
            _ if is_base => self.take_base(&word, sign, words),
            _ => self.take_extension(&word, sign, words),
        }
    }

    /// The policy match has a `--proto` of its own.
    fn spelled(&self, word: String) -> String {
        if word == "--proto" && self.loaded.iter().any(|name| name == "policy") {
            return word;
        }
        let known = SPELLINGS.iter().find(|(typed, _)| *typed == word);
        known.map_or(word, |(_, printed)| (*printed).to_owned())
    }

    fn doubt(&mut self, word: &str) {
        self.doubt.get_or_insert_with(|| word.to_owned());
    }

    fn load(&mut self, name: String) {
        self.matches.push(format!("-m {name}"));
        self.loaded.push(name);
        self.is_target = false;
        self.ranks.clear();
    }

    fn take_target(&mut self, word: String, words: &mut Words) -> Result<(), Misread> {
        if !self.target.is_empty() {
            return Err(Misread::new(word, "a rule has one target; ask about each rule on its own"));
        }
        self.target = vec![word.clone(), words.value(&word)?];
        self.is_target = true;
        self.ranks.clear();
        Ok(())
    }

    fn take_base(&mut self, word: &str, sign: &str, words: &mut Words) -> Result<(), Misread> {
        if self.seen.iter().any(|seen| seen == word) {
            return Err(Misread::new(word, "a rule has it only once"));
        }
        self.seen.push(word.to_owned());
        if word == "-f" {
            self.set("-f", format!("{sign}-f"));
            return Ok(());
        }
        let typed = words.value(word)?;
        let printed = match word {
            "-p" => values::protocol(&typed),
            "-i" | "-o" => Printed {
                text: typed.clone(),
                is_sure: typed != "+" || sign.is_empty(),
                is_any: typed == "+",
            },
            _ if typed.contains(',') => {
                return Err(Misread::new(
                    typed,
                    "that makes a rule for each address; ask about each on its own",
                ));
            }
            _ => values::address(&typed),
        };
        if !printed.is_sure || (printed.is_any && !sign.is_empty()) {
            self.doubt(&typed);
        }
        if printed.is_any && sign.is_empty() {
            return Ok(());
        }
        self.set(word, format!("{sign}{word} {}", printed.text));
        if word == "-p" && sign.is_empty() {
            self.protocol = Some(printed.text);
        }
        Ok(())
    }

    fn set(&mut self, option: &str, text: String) {
        for (slot, _) in self.base.iter_mut().zip(BASE).filter(|(_, name)| *name == option) {
            *slot = Some(text.clone());
        }
    }

    /// An option of a match or of the target.
    fn take_extension(&mut self, word: &str, sign: &str, words: &mut Words) -> Result<(), Misread> {
        check_option(word)?;
        let owned = values::known(word).and_then(|(rank, known)| Some((rank, known, self.owner(known)?)));
        let Some((rank, known, owner)) = owned else { return self.take_unknown(word, sign, words) };
        self.place(word, rank, owner)?;
        let typed: Vec<_> = (0..known.values)
            .map(|_| if known.is_text { words.text(word) } else { words.value(word) })
            .collect::<Result<_, _>>()?;
        let printed = values::printed(word, &typed);
        if !printed.is_sure {
            self.doubt(typed.first().filter(|_| word != "--set-mark").map_or(word, String::as_str));
        }
        self.push(sign, printed.text);
        Ok(())
    }

    /// The match or the target that was loaded for it.
    fn owner(&self, known: &Known) -> Option<Owner> {
        let target = self.target.get(1).filter(|target| known.owners.contains(&target.as_str()));
        if target.is_some() {
            return Some(Owner::Target);
        }
        if let Some(name) = self.loaded.iter().rev().find(|name| known.owners.contains(&name.as_str())) {
            let is_last = !self.is_target && self.loaded.last() == Some(name);
            return Some(if is_last { Owner::LastMatch } else { Owner::EarlierMatch });
        }
        let own = match self.protocol.as_deref()? {
            "ipv6-icmp" => "icmp6",
            other => other,
        };
        (known.is_of_protocol && known.owners.contains(&own)).then(|| Owner::Protocol(own.to_owned()))
    }

    /// Once in its match or target, and in the order in which it is printed.
    fn place(&mut self, word: &str, rank: usize, owner: Owner) -> Result<(), Misread> {
        match owner {
            Owner::Protocol(own) => self.load(own),
            Owner::EarlierMatch => {
                self.doubt(word);
                self.is_target = false;
                self.ranks.clear();
            }
            Owner::LastMatch => self.is_target = false,
            Owner::Target if !self.is_target => {
                self.is_target = true;
                self.ranks.clear();
            }
            Owner::Target => {}
        }
        if self.ranks.contains(&rank) {
            return Err(Misread::new(word, "a match has it only once"));
        }
        if self.ranks.iter().any(|other| *other > rank) {
            self.doubt(word);
        }
        self.ranks.push(rank);
        Ok(())
    }

    fn take_unknown(&mut self, word: &str, sign: &str, words: &mut Words) -> Result<(), Misread> {
        let has_target = self.target.get(1).is_some_and(|target| !VERDICTS.contains(&target.as_str()));
        if !has_target && self.loaded.is_empty() && self.protocol.is_none() {
            return Err(Misread::new(
                word,
                "no match that has it was loaded before it: -m NAME, or -p PROTOCOL",
            ));
        }
        self.unknown.get_or_insert_with(|| word.to_owned());
        self.push(sign, word.to_owned());
        for _ in 0..MOST_VALUES {
            let Some(value) = words.plain() else { break };
            self.push("", values::quoted_if_blank(value));
        }
        Ok(())
    }

    fn push(&mut self, sign: &str, text: String) {
        let side = if self.is_target { &mut self.target } else { &mut self.matches };
        side.push(format!("{sign}{text}"));
    }

    pub(super) fn finish(mut self, is_v6: bool) -> Rule {
        if self.target == ["-j", "REJECT"] {
            let with = if is_v6 { "icmp6-port-unreachable" } else { "icmp-port-unreachable" };
            self.target.push(format!("--reject-with {with}"));
        }
        if let [_, target] = self.target.as_slice()
            && PRINTED_OTHERWISE.contains(&target.as_str())
        {
            self.doubt.get_or_insert_with(|| target.clone());
        }
        let Self { base, matches, target, doubt, unknown, .. } = self;
        let words = base.into_iter().flatten().chain(matches).chain(target).collect();
        Rule { words, doubt, unknown }
    }
}

enum Owner {
    Target,
    LastMatch,
    EarlierMatch,
    /// A match that its option loads.
    Protocol(String),
}

/// Nothing that iptables would take for a command, a target or an address.
fn check_option(word: &str) -> Result<(), Misread> {
    if ["-D", "-R", "-L", "-S", "-F", "-Z", "-X", "-E", "-C"].contains(&word) {
        return Err(Misread::new(word, WHAT_THERE_IS));
    }
    let Some(name) = word.strip_prefix("--").filter(|name| !name.is_empty()) else {
        let advice = if word.starts_with('-') {
            "it is no option that is known; write an option and its value as two words"
        } else {
            "it belongs to no option; ask about one rule, and quote what has blanks"
        };
        return Err(Misread::new(word, advice));
    };
    let is_begun = LONG.iter().any(|long| long[2..].starts_with(name));
    if is_begun && !THEMSELVES.contains(&word) {
        return Err(Misread::new(
            word,
            "it is no option of a match; write options out, and explain rules only (-A, -P, -N)",
        ));
    }
    Ok(())
}
