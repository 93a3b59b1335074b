//! From an iptables rule as a person types it to the line that iptables prints, where that is certain enough to show.
//! A hint for people: no rule is judged by what this makes of it unless the reader is told so.
//!
//! *Source*: iptables(8), iptables-extensions(8), and what iptables 1.8.9 prints.

mod options;

use super::ruleset::Family;

/// A typed rule, understood.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Typed {
    /// As iptables is expected to print it.
    pub line: String,
    /// The table that was named.
    pub table: Option<String>,
    /// `Ip6` if it was typed for ip6tables.
    pub family: Option<Family>,
}

/// Reads what was typed; none for what is no iptables rule, policy or chain.
pub fn read(text: &str) -> Option<Typed> {
    let mut words = words(text)?.into_iter().peekable();
    let mut typed = Typed::default();
    words.next_if(|word| word == "sudo");
    if let Some(program) = words.next_if(|word| program_family(word).is_some()) {
        typed.family = program_family(&program).filter(|family| *family == Family::Ip6);
    }
    // [packets:bytes] of iptables-save -c
    words.next_if(|word| word.starts_with('[') && word.ends_with(']'));
    let mut rest = Vec::new();
    while let Some(word) = words.next() {
        match word.as_str() {
            "-t" | "--table" => typed.table = Some(words.next()?),
            "-w" | "--wait" => drop(words.next_if(|word| word.parse::<f64>().is_ok())),
            "-4" | "--ipv4" | "-v" | "--verbose" | "-n" | "--numeric" => {}
            "-6" | "--ipv6" => typed.family = Some(Family::Ip6),
            _ => match word.strip_prefix("--table=") {
                Some(table) => typed.table = Some(table.to_owned()),
                None => rest.push(word),
            },
        }
    }
    typed.line = command(rest, typed.family == Some(Family::Ip6))?;
    Some(typed)
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

fn command(words: Vec<String>, is_v6: bool) -> Option<String> {
    let mut words = words.into_iter();
    let command = words.next()?;
    match command.as_str() {
        "-A" | "--append" => rule(words.next()?, words, is_v6),
        "-I" | "--insert" => {
            let chain = words.next()?;
            let mut words = words.peekable();
            words.next_if(|word| word.parse::<u32>().is_ok());
            rule(chain, words, is_v6)
        }
        "-P" | "--policy" => Some(format!("-P {} {}", words.next()?, words.next()?)),
        "-N" | "--new-chain" => Some(format!("-N {}", words.next()?)),
        // :INPUT ACCEPT [0:0] of iptables-save
        _ => match (command.strip_prefix(':')?, words.next()?.as_str()) {
            (chain, "-") => Some(format!("-N {chain}")),
            (chain, policy) => Some(format!("-P {chain} {policy}")),
        },
    }
}

fn rule(chain: String, words: impl Iterator<Item = String>, is_v6: bool) -> Option<String> {
    let options = options::canonical(words, is_v6)?;
    Some(std::iter::once(format!("-A {chain}")).chain(options).collect::<Vec<_>>().join(" "))
}

/// Words as a shell takes them; none if a quote is left open.
fn words(text: &str) -> Option<Vec<String>> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        match (letter, quote) {
            ('\\', None | Some('"')) => word.get_or_insert_default().push(letters.next()?),
            (_, Some(open)) if letter == open => quote = None,
            (_, Some(_)) => word.get_or_insert_default().push(letter),
            ('"' | '\'', None) => {
                word.get_or_insert_default();
                quote = Some(letter);
            }
            (' ' | '\t' | '\n' | '\r', None) => words.extend(word.take()),
            (_, None) => word.get_or_insert_default().push(letter),
        }
    }
    words.extend(word);
    quote.is_none().then_some(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(typed: &str, line: &str) {
        assert_eq!(read(typed).map(|typed| typed.line).as_deref(), Some(line), "{typed}");
    }

    #[test]
    fn what_iptables_prints_stays_as_it_is() {
        for line in [
            "-P INPUT ACCEPT",
            "-N KUBE-SERVICES",
            "-A INPUT -s 10.0.0.0/8 ! -d 10.1.0.0/16 -i eth0 -p tcp -m tcp --dport 22 -m comment --comment \"a b\" -j ACCEPT",
            "-A KUBE-POSTROUTING -j MARK --set-xmark 0x4000/0x0",
            "-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
        ] {
            check(line, line);
        }
    }

    #[test]
    fn commands_are_read() {
        check(" sudo /usr/sbin/iptables-nft -w 5 -t nat -I PREROUTING 1 -j LOG ", "-A PREROUTING -j LOG");
        check("[12:340] -A INPUT -j DROP", "-A INPUT -j DROP");
        check(":INPUT ACCEPT [0:0]", "-P INPUT ACCEPT");
        check(":CUSTOM - [0:0]", "-N CUSTOM");
        let typed = read("ip6tables --table=mangle -A INPUT -j DROP").unwrap();
        assert_eq!((typed.table.as_deref(), typed.family), (Some("mangle"), Some(Family::Ip6)));
        for other in
            ["", "-D INPUT 1", "inet t c accept", "-A", "-A INPUT -m comment --comment \"open", "iptables -t"]
        {
            assert_eq!(read(other), None, "{other}");
        }
    }
}
