//! The options of a rule in the order and the form in which iptables prints them.
//! What is not known stays where it was typed.

use std::iter::Peekable;
use std::net::IpAddr;

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

/// The states in the order in which they are printed.
const STATES: [&str; 7] = ["INVALID", "NEW", "RELATED", "ESTABLISHED", "UNTRACKED", "SNAT", "DNAT"];

/// Options whose value is a text.
const TEXTS: [&str; 4] = ["--comment", "--log-prefix", "--nflog-prefix", "--string"];

/// Options of matches also where they stand behind the target.
const OF_MATCHES: [&str; 8] =
    ["--dport", "--sport", "--dports", "--sports", "--syn", "--tcp-flags", "--icmp-type", "--icmpv6-type"];

#[derive(Default)]
struct Options {
    base: [Option<String>; 6],
    protocol: Option<String>,
    matches: Vec<String>,
    /// Matches that are loaded.
    loaded: Vec<String>,
    target: Vec<String>,
    /// Whether what is not known belongs to the target.
    is_target: bool,
    is_v6: bool,
}

/// None if a value is missing.
pub(super) fn canonical(words: impl Iterator<Item = String>, is_v6: bool) -> Option<Vec<String>> {
    let mut options = Options { is_v6, ..Options::default() };
    let mut words = words.flat_map(split_equals).peekable();
    while let Some(word) = words.next() {
        let is_negated = word == "!";
        let word = if is_negated { words.next()? } else { word };
        options.take(spelled(word), is_negated, &mut words)?;
    }
    options.finish()
}

/// `--dport=22` is two words.
fn split_equals(word: String) -> Vec<String> {
    match word.split_once('=') {
        Some((name, value)) if name.starts_with("--") => vec![name.to_owned(), value.to_owned()],
        _ => vec![word],
    }
}

fn spelled(word: String) -> String {
    let known = SPELLINGS.iter().find(|(typed, _)| *typed == word);
    known.map_or(word, |(_, printed)| (*printed).to_owned())
}

impl Options {
    fn take(
        &mut self,
        word: String,
        is_negated: bool,
        words: &mut Peekable<impl Iterator<Item = String>>,
    ) -> Option<()> {
        let mut sign = if is_negated { "! " } else { "" };
        if word.starts_with('-') && words.next_if(|next| next == "!").is_some() {
            sign = "! ";
        }
        match word.as_str() {
            "-j" | "-g" => {
                self.target = vec![word, words.next()?];
                self.is_target = true;
            }
            "-m" => {
                let name = words.next()?;
                self.loaded.push(name.clone());
                self.matches.push(format!("-m {name}"));
                self.is_target = false;
            }
            "-f" => self.set("-f", format!("{sign}-f")),
            "-p" => {
                let name = protocol(&words.next()?);
                if name != "all" {
                    self.set("-p", format!("{sign}-p {name}"));
                    self.protocol = Some(name);
                }
            }
            "-s" | "-d" => {
                let address = address(&words.next()?);
                if !matches!(address.as_str(), "0.0.0.0/0" | "::/0") || !sign.is_empty() {
                    self.set(&word, format!("{sign}{word} {address}"));
                }
            }
            "-i" | "-o" => {
                let name = words.next()?;
                self.set(&word, format!("{sign}{word} {name}"));
            }
            option if self.is_target && !OF_MATCHES.contains(&option) => {
                let value = text_of(&word, words);
                self.target.extend([word].into_iter().chain(value));
            }
            _ => self.take_match(&word, sign, words),
        }
        Some(())
    }

    fn set(&mut self, option: &str, text: String) {
        for (slot, _) in self.base.iter_mut().zip(BASE).filter(|(_, name)| *name == option) {
            *slot = Some(text.clone());
        }
    }

    /// An option of a match; those of the protocol load it.
    fn take_match(&mut self, word: &str, sign: &str, words: &mut Peekable<impl Iterator<Item = String>>) {
        self.is_target = false;
        let own = match word {
            "--dport" | "--sport" | "--tcp-flags" | "--syn" | "--tcp-option" => self.protocol.clone(),
            "--icmp-type" => Some("icmp".to_owned()),
            "--icmpv6-type" => Some("icmp6".to_owned()),
            _ => None,
        };
        if let Some(own) = own.filter(|own| !self.loaded.contains(own)) {
            self.matches.push(format!("-m {own}"));
            self.loaded.push(own);
        }
        let word = if word == "--syn" { "--tcp-flags FIN,SYN,RST,ACK SYN" } else { word };
        self.matches.push(format!("{sign}{word}"));
        let is_states = matches!(word, "--ctstate" | "--state");
        let value = text_of(word, words).or_else(|| words.next_if(|_| is_states).map(|value| states(&value)));
        self.matches.extend(value);
    }

    fn finish(mut self) -> Option<Vec<String>> {
        if self.target == ["-j", "REJECT"] {
            let with = if self.is_v6 { "icmp6-port-unreachable" } else { "icmp-port-unreachable" };
            self.target.push(format!("--reject-with {with}"));
        }
        Some(self.base.into_iter().flatten().chain(self.matches).chain(self.target).collect())
    }
}

/// Numbers and capitals of the usual protocols.
fn protocol(name: &str) -> String {
    match name.to_ascii_lowercase().as_str() {
        "0" | "all" => "all".to_owned(),
        "1" => "icmp".to_owned(),
        "6" => "tcp".to_owned(),
        "17" => "udp".to_owned(),
        "58" | "icmpv6" => "ipv6-icmp".to_owned(),
        "132" => "sctp".to_owned(),
        other => other.to_owned(),
    }
}

/// `10.1.2.3/255.0.0.0` is printed as `10.0.0.0/8`; what is no address stays.
fn address(text: &str) -> String {
    let (address, mask) = text.split_once('/').unwrap_or((text, ""));
    let Ok(address) = address.parse::<IpAddr>() else { return text.to_owned() };
    let width = if address.is_ipv4() { 32 } else { 128 };
    let length = match (mask.parse::<u32>(), mask.parse::<std::net::Ipv4Addr>()) {
        (Ok(length), _) if length <= width => length,
        (_, Ok(mask)) if mask.to_bits().leading_ones() == mask.to_bits().count_ones() => {
            mask.to_bits().count_ones()
        }
        _ if mask.is_empty() => width,
        _ => return text.to_owned(),
    };
    let masked = match address {
        IpAddr::V4(v4) => {
            IpAddr::V4(u32::MAX.checked_shl(32 - length).map_or(0, |mask| v4.to_bits() & mask).into())
        }
        IpAddr::V6(v6) => {
            IpAddr::V6(u128::MAX.checked_shl(128 - length).map_or(0, |mask| v6.to_bits() & mask).into())
        }
    };
    format!("{masked}/{length}")
}

/// The text behind an option that takes one, as it is printed.
fn text_of(option: &str, words: &mut Peekable<impl Iterator<Item = String>>) -> Option<String> {
    words.next_if(|_| TEXTS.contains(&option)).map(|text| quoted(&text))
}

/// *Source*: `xtables_save_string` in `libxtables/xtables.c`.
fn quoted(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if !text.is_empty() && text.chars().all(is_plain) {
        return text.to_owned();
    }
    let mut out = String::from("\"");
    for letter in text.chars() {
        if matches!(letter, '"' | '\\' | '\'') {
            out.push('\\');
        }
        out.push(letter);
    }
    out.push('"');
    out
}

fn states(value: &str) -> String {
    let typed: Vec<_> = value.split(',').map(str::to_ascii_uppercase).collect();
    if typed.iter().any(|state| !STATES.contains(&state.as_str())) {
        return value.to_owned();
    }
    STATES.into_iter().filter(|state| typed.iter().any(|typed| typed == state)).collect::<Vec<_>>().join(",")
}
