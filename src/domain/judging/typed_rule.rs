//! From an iptables rule as a person types it to the line that iptables prints, where that is certain enough to show.
//! A hint for people: no rule is judged by what this makes of it unless the reader is told so.
//!
//! *Source*: iptables(8), iptables-extensions(8), and what iptables 1.8.9 prints.

pub mod nft;
mod options;
mod values;
mod words;

use std::collections::VecDeque;

use self::options::Options;
use crate::domain::rules::Family;
pub use words::Misread;
use words::{NO_VALUE, WHAT_THERE_IS, Words};

const ONE_RULE: &str = "one rule, policy or chain is explained at a time; ask about each on its own";

/// A typed rule, understood.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Typed {
    /// As iptables is expected to print it, or as a native line.
    pub line: String,
    /// The table that was named.
    pub table: Option<String>,
    /// `Ip6` if it was typed for ip6tables; that of a native line.
    pub family: Option<Family>,
    /// The first word that iptables or nft accepts and that may be written otherwise.
    pub doubt: Option<String>,
    /// The first option that is not known here; in a line of a report it stands as iptables prints it.
    pub unknown: Option<String>,
}

/// Reads what was typed; none for what is not for iptables.
///
/// # Errors
/// If it is for iptables, and not exactly one rule, policy or chain.
pub fn read(text: &str) -> Result<Option<Typed>, Misread> {
    if is_raw(text) {
        return Ok(Some(Typed { line: text.to_owned(), ..Typed::default() }));
    }
    let mut first = text.split_whitespace().skip_while(|word| *word == "sudo");
    let Some(first) = first.next() else { return Ok(None) };
    let program = program_family(first);
    if program.is_none() && !first.starts_with(['-', ':', '[']) {
        return Ok(None);
    }
    let mut words = Words(words(text, program.is_some())?);
    words.next_if(|word| word == "sudo");
    words.next_if(|word| program_family(word).is_some());
    // [packets:bytes] of iptables-save -c
    words.next_if(|word| word.starts_with('[') && word.ends_with(']'));
    let mut reader = Reader { family: program.filter(|family| *family == Family::Ip6), ..Reader::default() };
    while let Some(word) = words.next() {
        reader.take(word, &mut words)?;
    }
    reader.finish(first).map(Some)
}

/// Whether it is a line of a report in which bytes stand for what iptables has no words for: nobody types that.
fn is_raw(text: &str) -> bool {
    let is_line = ["-A ", "-N ", "-P "].iter().any(|start| text.starts_with(start));
    is_line && text.split(' ').any(|word| word.starts_with("--raw"))
}

enum Command {
    Rule(String),
    Whole(String),
}

#[derive(Default)]
struct Reader {
    table: Option<String>,
    family: Option<Family>,
    command: Option<Command>,
    options: Options,
}

impl Reader {
    fn take(&mut self, word: String, words: &mut Words) -> Result<(), Misread> {
        match word.as_str() {
            "-t" | "--table" => {
                let table = words.value(&word)?;
                if self.table.replace(table).is_some() {
                    return Err(Misread::new(word, "a rule has one table"));
                }
            }
            "-w" | "--wait" | "-W" | "--wait-interval" => {
                drop(words.next_if(|word| word.parse::<f64>().is_ok()))
            }
            "-4" | "--ipv4" | "-v" | "--verbose" | "-n" | "--numeric" => {}
            "-6" | "--ipv6" => self.family = Some(Family::Ip6),
            "-c" | "--set-counters" => counters(&word, words)?,
            "-A" | "--append" => self.command(&word, words, |chain, _| Ok(Command::Rule(chain)))?,
            "-I" | "--insert" => self.command(&word, words, |chain, words| {
                words.next_if(|word| word.parse::<u32>().is_ok());
                Ok(Command::Rule(chain))
            })?,
            "-P" | "--policy" => self.command(&word, words, |chain, words| {
                Ok(Command::Whole(format!("-P {chain} {}", words.value("-P")?)))
            })?,
            "-N" | "--new-chain" => {
                self.command(&word, words, |chain, _| Ok(Command::Whole(format!("-N {chain}"))))?;
            }
            _ => match word.strip_prefix(':') {
                Some(chain) if self.command.is_none() => self.command = Some(declared(chain, words)?),
                _ => self.options.take(word, words)?,
            },
        }
        Ok(())
    }

    fn command(
        &mut self,
        word: &str,
        words: &mut Words,
        read: impl FnOnce(String, &mut Words) -> Result<Command, Misread>,
    ) -> Result<(), Misread> {
        if self.command.is_some() {
            return Err(Misread::new(word, ONE_RULE));
        }
        let chain = words.value(word)?;
        self.command = Some(read(chain, words)?);
        Ok(())
    }

    fn finish(self, first: &str) -> Result<Typed, Misread> {
        let (table, family) = (self.table, self.family);
        let line = match self.command.ok_or_else(|| Misread::new(first, WHAT_THERE_IS))? {
            Command::Rule(chain) => {
                let rule = self.options.finish(family == Some(Family::Ip6));
                let line =
                    std::iter::once(format!("-A {chain}")).chain(rule.words).collect::<Vec<_>>().join(" ");
                return Ok(Typed { line, table, family, doubt: rule.doubt, unknown: rule.unknown });
            }
            Command::Whole(line) => line,
        };
        match self.options.first() {
            Some(option) => Err(Misread::new(option, "a policy or a chain has no options")),
            None => Ok(Typed { line, table, family, ..Typed::default() }),
        }
    }
}

/// `:INPUT ACCEPT [0:0]` of iptables-save.
fn declared(chain: &str, words: &mut Words) -> Result<Command, Misread> {
    let policy = words.text(":")?;
    words.next_if(|word| word.starts_with('[') && word.ends_with(']'));
    Ok(Command::Whole(if policy == "-" { format!("-N {chain}") } else { format!("-P {chain} {policy}") }))
}

/// They are not printed.
fn counters(word: &str, words: &mut Words) -> Result<(), Misread> {
    let is_pair = words.value(word)?.contains(',');
    if !is_pair && words.next_if(|word| word.parse::<u64>().is_ok()).is_none() {
        return Err(Misread::new(word, NO_VALUE));
    }
    Ok(())
}

/// `iptables`, `/usr/sbin/ip6tables-nft` and the like.
fn program_family(word: &str) -> Option<Family> {
    let name = word.rsplit('/').next().unwrap_or_default();
    let name = name.strip_suffix("-nft").or_else(|| name.strip_suffix("-legacy")).unwrap_or(name);
    match name {
        "iptables" => Some(Family::Ip),
        "ip6tables" => Some(Family::Ip6),
        _ => None,
    }
}

/// Words as a shell takes them.
fn words(text: &str, is_command: bool) -> Result<VecDeque<String>, Misread> {
    let open = || Misread::new(text, "a quote is not closed");
    let mut words = VecDeque::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        match (letter, quote) {
            ('\\', None | Some('"')) => word.get_or_insert_default().push(letters.next().ok_or_else(open)?),
            (_, Some(open)) if letter == open => quote = None,
            (_, Some(_)) => word.get_or_insert_default().push(letter),
            ('"' | '\'', None) => {
                word.get_or_insert_default();
                quote = Some(letter);
            }
            (' ' | '\t' | '\n' | '\r', None) => words.extend(word.take()),
            (';' | '&' | '|' | '<' | '>' | '$' | '`', None) if is_command => {
                return Err(Misread::new(
                    letter,
                    "a shell takes it as its own; quote it, or ask about one command",
                ));
            }
            (_, None) => word.get_or_insert_default().push(letter),
        }
    }
    words.extend(word);
    if quote.is_some() { Err(open()) } else { Ok(words) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(typed: &str, line: &str) -> Typed {
        let read = read(typed).unwrap().unwrap();
        assert_eq!(read.line, line, "{typed}");
        read
    }

    #[test]
    fn what_iptables_prints_stays_as_it_is() {
        for line in [
            "-P INPUT ACCEPT",
            "-N KUBE-SERVICES",
            "-A INPUT",
            "-A INPUT -s 10.0.0.0/8 ! -d 10.1.0.0/16 -i eth0 -p tcp -m tcp --dport 22 -m comment --comment \"a b\" -j ACCEPT",
            "-A KUBE-POSTROUTING -j MARK --set-xmark 0x4000/0x0",
            "-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
            "-A INPUT -p tcp -m tcp --tcp-flags FIN,SYN,RST,ACK SYN -j DROP",
            "-A INPUT -m comment --comment -j -j ACCEPT",
        ] {
            let read = check(line, line);
            assert_eq!((read.doubt, read.unknown), (None, None), "{line}");
        }
        for line in [
            "-A INPUT -m set ! --match-set banned src,dst -j DROP",
            "-A OUTPUT -m policy --dir out --pol ipsec --proto esp -j ACCEPT",
            "-A KUBE-SVC -m statistic --mode random --probability 0.50000000000 -j KUBE-SEP",
            "-A KUBE-SEP -p tcp -m tcp -j DNAT --to-destination 10.0.0.1:80 --persistent",
        ] {
            let read = check(line, line);
            assert_eq!((read.doubt, read.unknown.is_some()), (None, true), "{line}");
        }
    }

    #[test]
    fn commands_are_read() {
        check(" sudo /usr/sbin/iptables-nft -w 5 -t nat -I PREROUTING 1 -j LOG ", "-A PREROUTING -j LOG");
        check("[12:340] -A INPUT -j DROP", "-A INPUT -j DROP");
        check(":INPUT ACCEPT [0:0]", "-P INPUT ACCEPT");
        check(":CUSTOM - [0:0]", "-N CUSTOM");
        let typed = read("ip6tables --table=mangle -A INPUT -j DROP").unwrap().unwrap();
        assert_eq!((typed.table.as_deref(), typed.family), (Some("mangle"), Some(Family::Ip6)));
        for other in ["", "inet t c accept", "nonsense -A INPUT"] {
            assert_eq!(read(other), Ok(None), "{other}");
        }
    }

    #[test]
    fn what_is_certain_is_put_as_iptables_prints_it() {
        for (typed, line) in [
            ("-A INPUT -p tcp --dport 22:22", "-A INPUT -p tcp -m tcp --dport 22"),
            ("-A INPUT -p tcp --dport :22", "-A INPUT -p tcp -m tcp --dport 0:22"),
            ("-A INPUT -s 0/0 -d 0.0.0.0/0 -i + -o + -j DROP", "-A INPUT -j DROP"),
            ("-A INPUT -s 10/8 -c 5 6 -j DROP", "-A INPUT -s 10.0.0.0/8 -j DROP"),
            (
                "-A INPUT -m comment --comment=--a=b -j DROP",
                "-A INPUT -m comment --comment \"--a=b\" -j DROP",
            ),
        ] {
            let read = check(typed, line);
            assert_eq!((read.doubt, read.unknown), (None, None), "{typed}");
        }
    }

    #[test]
    fn what_iptables_may_print_otherwise_is_in_doubt() {
        for (typed, doubt) in [
            ("-A INPUT -p tcp -m tcp --dport ssh", "ssh"),
            ("-A INPUT -p tcp -m tcp --dport 0:65535", "0:65535"),
            ("-A INPUT -p icmp -m icmp --icmp-type echo-request", "echo-request"),
            ("-A INPUT -j MARK --set-mark 1", "--set-mark"),
            ("-A INPUT -s example.org -j DROP", "example.org"),
            ("-A INPUT -p 47 -j DROP", "47"),
            ("-A INPUT -p tcp -m tcp --dport 1 --sport 2", "--sport"),
            ("-A INPUT -p tcp -m tcp --tcp-flags ALL NONE", "ALL"),
            ("-A INPUT -p tcp -m tcp -m comment --comment x --dport 1", "--dport"),
            ("-A INPUT -j NFQUEUE", "NFQUEUE"),
        ] {
            assert_eq!(check(typed, typed).doubt.as_deref(), Some(doubt), "{typed}");
        }
    }

    #[test]
    fn what_is_not_exactly_one_rule_is_refused() {
        for (text, word) in [
            ("-A INPUT -j DROP -j KUBE-FIREWALL", "-j"),
            ("-A INPUT -j DROP --goto X", "-g"),
            ("iptables -A INPUT -j DROP -A INPUT -j KUBE-FIREWALL", "-A"),
            ("iptables -P INPUT ACCEPT -j DROP", "-j"),
            ("iptables -P INPUT ACCEPT 5", "5"),
            ("iptables -N KUBE-SERVICES -j ACCEPT", "-j"),
            ("iptables -N KUBE-SERVICES -s 0/0", "-s"),
            ("iptables -N KUBE-SERVICES && iptables -F", "&"),
            ("iptables -N KUBE-SERVICES;iptables -F", ";"),
            ("-N KUBE-SERVICES\niptables -F", "iptables"),
            ("-A INPUT -j DROP\n-A C", "-A"),
            ("iptables -F", "-F"),
            ("iptables -t nat -D PREROUTING 1", "-D"),
            ("iptables -A", "-A"),
            ("iptables", "iptables"),
            ("iptables -t", "-t"),
            ("-t nat -t filter -A INPUT", "-t"),
            ("-P INPUT", "-P"),
            ("-A INPUT -jDROP -j X", "-jDROP"),
            ("-A INPUT --ju DROP -j X", "--ju"),
            ("-A INPUT --sou 1.2.3.4 -j X", "--sou"),
            ("-A INPUT ! -j X", "!"),
            ("-A INPUT ! ! -s 1.2.3.4", "!"),
            ("-A INPUT -s", "-s"),
            ("-A INPUT -j -s", "-j"),
            ("-A INPUT -s 10.0.0.0/8,192.168.0.0/16 -j X", "10.0.0.0/8,192.168.0.0/16"),
            ("-A INPUT -s 1.2.3.4 -s 1.2.3.5 -j X", "-s"),
            ("-A INPUT -s 0/0 -s 1.2.3.5 -j X", "-s"),
            ("-A INPUT -p tcp -m tcp --dport 1 --dport 2 -j X", "--dport"),
            ("-A INPUT -j DROP words", "words"),
            ("-A INPUT -m set --match-set a src more -j X", "more"),
            ("-A INPUT --dport 22 -j X", "--dport"),
            ("-A INPUT -j ACCEPT --bogus", "--bogus"),
            ("-A INPUT -c 5 -j X", "-c"),
            ("-A INPUT -m comment --comment", "--comment"),
            ("-A INPUT -m comment --comment \"open", "-A INPUT -m comment --comment \"open"),
        ] {
            assert_eq!(read(text).map_err(|misread| misread.word), Err(word.to_owned()), "{text}");
        }
    }
}
