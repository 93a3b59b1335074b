//! Statements that send a packet elsewhere: NAT, transparent proxies, copies and forwarding.
//! Knows no other statement.
//!
//! *Source*: nft(8), NAT STATEMENTS, TPROXY STATEMENT, DUP STATEMENT, FWD STATEMENT; `NF_NAT_RANGE_*` in
//! `include/uapi/linux/netfilter/nf_nat.h`.

use super::Writer;
use super::constants::interval;
use super::dataflow::Group;
use super::elements::Part;
use super::types::{Order, Type};
use crate::domain::rules::Family;
use crate::domain::rules::kernel::expressions::form::Data;
use crate::domain::rules::kernel::expressions::{Dup, Expression, Fwd, Immediate, Nat, Tproxy};

const MAP_IPS: u32 = 0x01;
const PROTO_SPECIFIED: u32 = 0x02;
const RANDOM: u32 = 0x04;
const PERSISTENT: u32 = 0x08;
const FULLY_RANDOM: u32 = 0x10;
const NETMAP: u32 = 0x40;

const PORT: Part = Part { of: Type::Service, order: Order::Network, bytes: 2 };

/// What of a target one map gives.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Given {
    Alone,
    /// A first and a last address.
    Interval,
    /// An address and a port.
    Port,
}

fn address_part(family: u32) -> Option<Part> {
    let (of, bytes) = match u8::try_from(family).ok().and_then(Family::from_nfproto)? {
        Family::Ip => (Type::Ipv4, 4),
        Family::Ip6 => (Type::Ipv6, 16),
        _ => return None,
    };
    Some(Part { of, order: Order::Network, bytes })
}

impl Writer<'_> {
    /// The statement that ends a group.
    pub fn translate(&mut self, group: &Group<'_>) -> Option<String> {
        match group.last {
            Expression::Nat(nat) => self.nat(group, nat),
            Expression::Masq(masq) => {
                let port = self.ports(group, masq.port, masq.last_port)?;
                plain("masquerade", port, masq.flags.unwrap_or(0))
            }
            Expression::Redir(redir) => {
                let port = self.ports(group, redir.port, redir.last_port)?;
                plain("redirect", port, redir.flags.unwrap_or(0))
            }
            Expression::Tproxy(tproxy) => self.tproxy(group, tproxy),
            Expression::Dup(dup) => self.dup(group, dup),
            Expression::Fwd(fwd) => self.fwd(group, fwd),
            _ => None,
        }
    }

    fn nat(&mut self, group: &Group<'_>, nat: &Nat) -> Option<String> {
        let kind = *["snat", "dnat"].get(usize::try_from(nat.kind).ok()?)?;
        let flags = nat.flags.unwrap_or(0);
        let expected = [(nat.address, MAP_IPS), (nat.port, PROTO_SPECIFIED)];
        if expected.iter().any(|(register, bit)| register.is_some() != (flags & bit != 0)) {
            return None;
        }
        let (address, given) = match nat.address {
            Some(register) => {
                let part = address_part(nat.family)?;
                self.target(group, nat, register, part).map(|(text, given)| (Some(text), given))?
            }
            None if nat.last_address.is_some() => return None,
            None => (None, Given::Alone),
        };
        let port = match given {
            Given::Port => None,
            _ => self.ports(group, nat.port, nat.last_port)?,
        };
        let is_prefix = flags & NETMAP != 0;
        let prefix = if is_prefix { "prefix " } else { "" };
        let family = self.family_word(nat.family, is_prefix || given != Given::Alone)?;
        let target = match (address, port) {
            (None, None) => return None,
            (None, Some(port)) => format!("to :{port}"),
            (Some((address, _)), None) => format!("to {address}"),
            (Some((address, is_constant)), Some(port)) => {
                let blank = if is_constant { "" } else { " " };
                format!("to {}{blank}:{port}", bracketed(&address, is_constant))
            }
        };
        let flags = flag_words(flags & !(MAP_IPS | PROTO_SPECIFIED | NETMAP))?;
        Some(format!("{kind} {family}{prefix}{target}{flags}"))
    }

    /// `ip ` or `ip6 ` where the family of the table does not say it, or where nft says it all the same.
    fn family_word(&self, family: u32, is_said: bool) -> Option<&'static str> {
        let of = u8::try_from(family).ok().and_then(Family::from_nfproto);
        match (self.place.family, of) {
            (Family::Ip, Some(Family::Ip)) if !is_said => Some(""),
            (Family::Ip6, Some(Family::Ip6)) if !is_said => Some(""),
            (Family::Ip6 | Family::Inet, Some(Family::Ip6)) => Some("ip6 "),
            (Family::Ip | Family::Inet, Some(Family::Ip)) => Some("ip "),
            (Family::Inet, Some(Family::Inet)) => Some(""),
            _ => None,
        }
    }

    /// The address or addresses of a target: the text, whether it is a constant, and what else a map gives.
    fn target(
        &mut self,
        group: &Group<'_>,
        nat: &Nat,
        register: u32,
        part: Part,
    ) -> Option<((String, bool), Given)> {
        let at = group.at(register)?;
        let last = nat.last_address.unwrap_or(register);
        match group.values.get(at)?.from {
            Expression::Immediate(_) => {
                let text = self.constants(group, register, last, part)?;
                Some(((text, true), Given::Alone))
            }
            Expression::Lookup(_) => {
                let bytes = group.values.get(at)?.bytes;
                let words = usize::try_from(part.bytes / 4).ok()?;
                let behind = |register: u32| group.inside(register) == Some((at, words));
                let port_is_behind =
                    nat.port.is_some_and(behind) && (nat.last_port.is_none() || nat.last_port == nat.port);
                let (given, values) = if last == register && port_is_behind {
                    (Given::Port, vec![part, PORT])
                } else if last != register && behind(last) && bytes == 2 * part.bytes {
                    (Given::Interval, vec![part])
                } else if last == register && bytes == part.bytes {
                    (Given::Alone, vec![part])
                } else {
                    return None;
                };
                let text = self.map(group, at, &values)?;
                Some(((text, false), given))
            }
            _ if last == register => {
                let operand = self.operand(group, at)?;
                let fits = operand.bytes == part.bytes && operand.order == part.order;
                (fits && operand.mask.is_none()).then_some(((operand.text, false), Given::Alone))
            }
            _ => None,
        }
    }

    /// One constant, or the first and the last of a range, in two registers.
    fn constants(&mut self, group: &Group<'_>, first: u32, last: u32, part: Part) -> Option<String> {
        let mut ends = Vec::new();
        for register in if first == last { vec![first] } else { vec![first, last] } {
            let at = group.at(register)?;
            let Expression::Immediate(Immediate { data: Data::Value(value), .. }) =
                group.values.get(at)?.from
            else {
                return None;
            };
            if u32::try_from(value.len()) != Ok(part.bytes) {
                return None;
            }
            self.read.push(at);
            ends.push(*value);
        }
        match ends.as_slice() {
            [one] => interval(part.of, part.order, one, one, self.names),
            // a range of one value is another rule than that value
            [from, to] if from != to => interval(part.of, part.order, from, to, self.names),
            _ => None,
        }
    }

    /// The port or ports of a target; none inside if it has none.
    #[allow(clippy::option_option)] // no port is a target too
    fn ports(&mut self, group: &Group<'_>, first: Option<u32>, last: Option<u32>) -> Option<Option<String>> {
        let Some(register) = first else { return last.is_none().then_some(None) };
        let at = group.at(register)?;
        let last = last.unwrap_or(register);
        Some(Some(match group.values.get(at)?.from {
            Expression::Immediate(_) => self.constants(group, register, last, PORT)?,
            _ if last != register => return None,
            Expression::Lookup(_) => self.map(group, at, &[PORT])?,
            _ => {
                let operand = self.operand(group, at)?;
                let fits =
                    operand.bytes == PORT.bytes && operand.order == PORT.order && operand.mask.is_none();
                fits.then_some(operand.text)?
            }
        }))
    }

    fn tproxy(&mut self, group: &Group<'_>, tproxy: &Tproxy) -> Option<String> {
        let of = u8::try_from(tproxy.family).ok()?;
        let family = match (self.place.family, Family::from_nfproto(of)) {
            (Family::Ip, Some(Family::Ip)) | (Family::Ip6, Some(Family::Ip6)) => "",
            (Family::Inet, Some(Family::Ip)) => "ip ",
            (Family::Inet, Some(Family::Ip6)) => "ip6 ",
            (Family::Inet, None) if of == 0 => "",
            _ => return None,
        };
        let address = match tproxy.address {
            Some(register) => {
                let at = group.at(register)?;
                let part = address_part(tproxy.family)?;
                match group.values.get(at)?.from {
                    Expression::Immediate(_) => {
                        Some((self.constants(group, register, register, part)?, true))
                    }
                    Expression::Lookup(_) => Some((self.map(group, at, &[part])?, false)),
                    _ => return None,
                }
            }
            None => None,
        };
        let port = self.ports(group, tproxy.port, tproxy.port)?;
        let target = match (address, port) {
            (None, None) => return None,
            (None, Some(port)) => format!(":{port}"),
            (Some((address, _)), None) => address,
            (Some((address, is_constant)), Some(port)) => {
                let blank = if is_constant { "" } else { " " };
                format!("{}{blank}:{port}", bracketed(&address, is_constant))
            }
        };
        Some(format!("tproxy {family}to {target}"))
    }

    fn dup(&mut self, group: &Group<'_>, dup: &Dup) -> Option<String> {
        let address = match (dup.address, self.place.family) {
            (Some(register), Family::Ip) => Some(self.one(group, register, address_part(2)?)?),
            (Some(register), Family::Ip6) => Some(self.one(group, register, address_part(10)?)?),
            (Some(_), _) => return None,
            (None, _) => None,
        };
        let device = match dup.device {
            Some(register) => Some(self.one(group, register, DEVICE)?),
            None => None,
        };
        Some(match (address, device) {
            (None, None) => return None,
            (None, Some(device)) => format!("dup to {device}"),
            (Some(address), None) => format!("dup to {address}"),
            (Some(address), Some(device)) => format!("dup to {address} device {device}"),
        })
    }

    fn fwd(&mut self, group: &Group<'_>, fwd: &Fwd) -> Option<String> {
        let device = self.one(group, fwd.device, DEVICE)?;
        match (fwd.address, fwd.family) {
            (None, None | Some(0)) => Some(format!("fwd to {device}")),
            (Some(register), Some(family)) => {
                let part = address_part(family)?;
                let address = self.one(group, register, part)?;
                let word = if part.of == Type::Ipv4 { "ip" } else { "ip6" };
                Some(format!("fwd {word} to {address} device {device}"))
            }
            _ => None,
        }
    }

    /// One constant, or what a map or an expression gives.
    fn one(&mut self, group: &Group<'_>, register: u32, part: Part) -> Option<String> {
        let at = group.at(register)?;
        match group.values.get(at)?.from {
            Expression::Immediate(_) => self.constants(group, register, register, part),
            Expression::Lookup(_) => self.map(group, at, &[part]),
            _ => {
                let operand = self.operand(group, at)?;
                (operand.order == part.order && operand.mask.is_none()).then_some(operand.text)
            }
        }
    }
}

const DEVICE: Part = Part { of: Type::Device, order: Order::Host, bytes: 4 };

/// `masquerade to :80-90 random`.
fn plain(name: &str, port: Option<String>, flags: u32) -> Option<String> {
    if port.is_some() != (flags & PROTO_SPECIFIED != 0) {
        return None;
    }
    let port = port.map_or_else(String::new, |port| format!(" to :{port}"));
    Some(format!("{name}{port}{}", flag_words(flags & !PROTO_SPECIFIED)?))
}

/// ` random,persistent`; none for a flag without a word.
fn flag_words(flags: u32) -> Option<String> {
    const WORDS: [(u32, &str); 3] =
        [(RANDOM, "random"), (FULLY_RANDOM, "fully-random"), (PERSISTENT, "persistent")];
    let known = WORDS.iter().fold(0, |bits, (bit, _)| bits | bit);
    let words: Vec<_> = WORDS.iter().filter(|(bit, _)| flags & bit != 0).map(|(_, word)| *word).collect();
    if flags & !known != 0 {
        return None;
    }
    Some(if words.is_empty() { String::new() } else { format!(" {}", words.join(",")) })
}

/// An address with a port behind it: IPv6 addresses in brackets.
fn bracketed(address: &str, is_constant: bool) -> String {
    if !is_constant || !address.contains(':') {
        return address.to_owned();
    }
    address.split('-').map(|end| format!("[{end}]")).collect::<Vec<_>>().join("-")
}
