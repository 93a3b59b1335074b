//! Rules that iptables-nft 1.8.7 to 1.8.13 wrote, read from their expressions.
//! A rule that none of these versions could have written is no iptables rule; nothing here says what it does.
//!
//! An example, `-A INPUT -i lo -p tcp -m tcp --dport 22 -j ACCEPT` of 1.8.9:
//! `meta iifname`, `cmp "lo\0"`, `meta l4proto`, `cmp 6`, `payload th+2`, `cmp 22`, `counter`, `immediate accept`.
//!
//! Every form that only some versions write narrows the versions that could have written the rule; one must be left.
//!
//! *Source*: what iptables-nft 1.8.7, 1.8.9, 1.8.11 and 1.8.13 of Debian 11 to 14 write for the same commands, and of
//! 1.8.10 its announcement; the numbers from `include/uapi/linux/netfilter/nf_tables.h`.

use super::made::{ANY_TCP, ANY_UDP, INVERSE_DESTINATION, INVERSE_FLAGS, INVERSE_SOURCE};
use super::{Action, Condition, Made, Match, NotIptables, Rule, Verdict};
use crate::domain::rules::kernel::expressions::form::{self, Data};
use crate::domain::rules::kernel::expressions::numbers::*;
use crate::domain::rules::kernel::expressions::{
    self as expression, Bitwise, Cmp, Expression, Extension, Log, Meta, Range, meta, payload,
};
use crate::domain::rules::kernel::head::{Device, Head, IFNAMSIZ, Network, Protocol};
use crate::domain::rules::kernel::layout::{Field, Name};
use crate::domain::rules::kernel::names::{is_word, may_be_chain_name};
use crate::domain::rules::kernel::parts::{Limit, Mark, Part, Tcp, Udp, XT_ALIGN, words};
use crate::domain::ruleset::Family;

/// Versions of iptables-nft, a bit for those that write alike.
type Versions = u8;

/// 1.8.7 and before: `tcp`, `udp`, `mark` and NFLOG are x_tables parts.
const TO_1_8_7: Versions = 1;
/// 1.8.8 and 1.8.9: they are native.
const TO_1_8_9: Versions = 2;
/// 1.8.10: addresses stand first, and IPv4's protocol is compared in the header.
const TO_1_8_10: Versions = 4;
/// 1.8.11 to 1.8.13: negated ports are no longer compared together, and not left out.
const TO_1_8_13: Versions = 8;
const EVERY_VERSION: Versions = TO_1_8_7 | TO_1_8_9 | TO_1_8_10 | TO_1_8_13;

/// `IPPROTO_TCP`, `IPPROTO_UDP`.
const TCP: u8 = 6;
const UDP: u8 = 17;

/// The flags that iptables names.
const TCP_FLAGS: u8 = 0x3f;

/// What iptables writes for `! -i +`: a name that no device can have.
const NEVER: &[u8] = b"INVAL/D\0";

/// Matches that few rules exceed.
const USUAL_MATCHES: usize = 4;

/// The rule of which these are the expressions.
///
/// # Errors
/// If no iptables-nft of these versions could have written it.
pub fn read<'a>(family: Family, expressions: &'a [Expression<'a>]) -> Result<Rule<'a>, NotIptables> {
    let mut reader = Reader { family, rest: expressions, versions: EVERY_VERSION };
    let head = reader.head()?;
    let protocol = head.only_protocol();
    let mut matches = Vec::with_capacity(USUAL_MATCHES);
    let mut ports = Ports::default();
    while let Some(one) = reader.one_match(protocol, &mut ports)? {
        matches.push(one);
    }
    reader.counter()?;
    let action = reader.action()?;
    if !reader.rest.is_empty() {
        return Err(NotIptables::Order);
    }
    if reader.versions == 0 {
        return Err(NotIptables::Version);
    }
    let has_merged_ports = ports.native > 0 && ports.native + ports.parts > 1;
    Ok(Rule { head: Condition::Head(head), matches, has_merged_ports, action })
}

/// How many `-m tcp` and `-m udp` a rule has: iptables-save 1.8.9 reads native ones into the first one of them.
#[derive(Default)]
struct Ports {
    native: u32,
    parts: u32,
}

/// A condition of the head.
#[derive(Clone, Copy)]
enum Item {
    Input,
    Output,
    Protocol,
    ProtocolInHeader,
    Source,
    Destination,
    Fragment,
}

impl Item {
    /// Where it stands in the head of 1.8.9 and before, and in that of later versions.
    const fn places(self) -> (u8, u8) {
        match self {
            Self::Input => (1, 3),
            Self::Output => (2, 4),
            Self::Protocol | Self::ProtocolInHeader => (3, 5),
            Self::Source => (4, 1),
            Self::Destination => (5, 2),
            Self::Fragment => (6, 6),
        }
    }
}

/// The expressions of a rule that are not read yet.
struct Reader<'a> {
    family: Family,
    rest: &'a [Expression<'a>],
    versions: Versions,
}

impl<'a> Reader<'a> {
    fn only(&mut self, versions: Versions) {
        self.versions &= versions;
    }

    /// Takes the next expression if it is this one.
    fn take(&mut self, wanted: Expression<'_>) -> bool {
        match self.rest {
            [next, rest @ ..] if *next == wanted => {
                self.rest = rest;
                true
            }
            _ => false,
        }
    }

    fn take_payload(&mut self, base: u32, offset: u32, length: u32) -> bool {
        self.take(Expression::Payload(payload(base, offset, length)))
    }

    /// Takes a `bitwise` that leaves out bits; its mask.
    fn take_mask(&mut self) -> Result<Option<&'a [u8]>, NotIptables> {
        let [Expression::Bitwise(bitwise), rest @ ..] = self.rest else { return Ok(None) };
        let Bitwise { sreg: REG_1, dreg: REG_1, length, op, mask, xor, data: None, sreg2: None } = *bitwise
        else {
            return Err(NotIptables::Form);
        };
        let (Some(Data::Value(mask)), Some(Data::Value(xor))) = (mask, xor) else {
            return Err(NotIptables::Form);
        };
        let is_plain = op.is_none_or(|op| op == MASK_XOR)
            && usize::try_from(length) == Ok(mask.len())
            && xor.len() == mask.len()
            && xor.iter().all(|byte| *byte == 0);
        if !is_plain {
            return Err(NotIptables::Form);
        }
        self.rest = rest;
        Ok(Some(mask))
    }

    /// Takes a comparison of register 1: its operator and value.
    fn take_cmp(&mut self) -> Option<(u32, &'a [u8])> {
        let [Expression::Cmp(Cmp { sreg: REG_1, op, data: Data::Value(value) }), rest @ ..] = self.rest
        else {
            return None;
        };
        self.rest = rest;
        Some((*op, value))
    }

    /// Takes a comparison that asks whether the register is, or is not, a value. True if it is not.
    fn equality(&mut self) -> Result<(bool, &'a [u8]), NotIptables> {
        match self.take_cmp() {
            Some((EQ, value)) => Ok((false, value)),
            Some((NEQ, value)) => Ok((true, value)),
            Some(_) => Err(NotIptables::Operator),
            None => Err(NotIptables::Order),
        }
    }

    fn head(&mut self) -> Result<Head, NotIptables> {
        let mut head = Head::default();
        let mut last = (0, 0);
        while let Some((item, length)) = self.item() {
            let places = item.places();
            if places.0 <= last.0 {
                self.only(TO_1_8_10 | TO_1_8_13);
            }
            if places.1 <= last.1 {
                self.only(TO_1_8_7 | TO_1_8_9);
            }
            last = places;
            match item {
                Item::Input => head.input = self.device()?,
                Item::Output => head.output = self.device()?,
                Item::Protocol => {
                    if self.family == Family::Ip {
                        self.only(TO_1_8_7 | TO_1_8_9);
                    }
                    head.protocol = Some(self.protocol()?);
                }
                Item::ProtocolInHeader => {
                    self.only(TO_1_8_10 | TO_1_8_13);
                    head.protocol = Some(self.protocol()?);
                }
                Item::Source => head.source = self.network(length)?,
                Item::Destination => head.destination = self.network(length)?,
                Item::Fragment => head.fragment = Some(self.fragment()?),
            }
        }
        Ok(head)
    }

    /// Takes the load of a condition of the head, with how much it loads.
    fn item(&mut self) -> Option<(Item, u32)> {
        let [next, rest @ ..] = self.rest else { return None };
        let is_ip = self.family == Family::Ip;
        let (source, destination, width) = if is_ip { (12, 16, 4) } else { (8, 24, 16) };
        let item = match next {
            Expression::Meta(load) if *load == meta(META_IIFNAME) => (Item::Input, 0),
            Expression::Meta(load) if *load == meta(META_OIFNAME) => (Item::Output, 0),
            Expression::Meta(load) if *load == meta(META_L4PROTO) => (Item::Protocol, 0),
            Expression::Payload(load) if *load == payload(NETWORK_HEADER, load.offset, load.length) => {
                match (load.offset, load.length) {
                    (offset, 1..) if offset == source && load.length <= width => (Item::Source, load.length),
                    (offset, 1..) if offset == destination && load.length <= width => {
                        (Item::Destination, load.length)
                    }
                    (9, 1) if is_ip => (Item::ProtocolInHeader, 1),
                    (6, 2) if is_ip => (Item::Fragment, 2),
                    _ => return None,
                }
            }
            _ => return None,
        };
        self.rest = rest;
        Some(item)
    }

    /// `-i NAME`, `-o NAME`; without a comparison it is `-i +`, which asks nothing.
    fn device(&mut self) -> Result<Device, NotIptables> {
        if !matches!(self.rest, [Expression::Cmp(_), ..]) {
            return Ok(Device::default());
        }
        let (name, end, is_negated) = match self.equality()? {
            (false, NEVER) => (&[][..], &b"+"[..], true),
            (_, [0] | [] | [.., b'+', 0]) => return Err(NotIptables::Value),
            (is_negated, [whole @ .., 0]) => (whole, &b""[..], is_negated),
            (is_negated, prefix) => (prefix, &b"+"[..], is_negated),
        };
        let mut bytes = [0; IFNAMSIZ];
        let length = name.len() + end.len();
        bytes.get_mut(..name.len()).ok_or(NotIptables::Value)?.copy_from_slice(name);
        bytes.get_mut(name.len()..length).ok_or(NotIptables::Value)?.copy_from_slice(end);
        let name = Name::read(&bytes);
        let is_whole = name.is_terminated() && name.as_bytes().len() == length;
        if is_whole { Ok(Device { name, is_negated }) } else { Err(NotIptables::Value) }
    }

    fn protocol(&mut self) -> Result<Protocol, NotIptables> {
        match self.equality()? {
            (is_negated, [number]) if *number != 0 => Ok(Protocol { number: *number, is_negated }),
            _ => Err(NotIptables::Value),
        }
    }

    fn network(&mut self, length: u32) -> Result<Network, NotIptables> {
        let width = if self.family == Family::Ip { 4 } else { 16 };
        let length = usize::try_from(length).map_err(|_| NotIptables::Value)?;
        let partial = self.take_mask()?;
        let (is_negated, value) = self.equality()?;
        let mut network = Network { is_negated, ..Network::default() };
        let (address, mask) = (network.address.get_mut(..length), network.mask.get_mut(..length));
        let (Some(address), Some(mask)) = (address, mask) else { return Err(NotIptables::Value) };
        mask.fill(u8::MAX);
        if let Some(partial) = partial {
            if partial.len() != width || length != width || partial.iter().all(|byte| *byte == u8::MAX) {
                return Err(NotIptables::Value);
            }
            if partial.iter().skip_while(|byte| **byte == u8::MAX).all(|byte| *byte == 0) {
                // since 1.8.7 whole bytes are a shorter load instead
                self.only(TO_1_8_7);
            }
            mask.copy_from_slice(partial);
        }
        if value.len() != length || value.iter().zip(&*mask).any(|(value, mask)| value & !mask != 0) {
            return Err(NotIptables::Value);
        }
        address.copy_from_slice(value);
        if network.is_any() { Err(NotIptables::Value) } else { Ok(network) }
    }

    /// `-f`, `! -f`: the fragment's offset is not, or is, zero. True if it is.
    fn fragment(&mut self) -> Result<bool, NotIptables> {
        match (self.take_mask()?, self.equality()?) {
            (Some([0x1f, 0xff]), (is_not_zero, [0, 0])) => Ok(!is_not_zero),
            _ => Err(NotIptables::Value),
        }
    }

    /// One match; none if none is next.
    fn one_match(
        &mut self,
        protocol: Option<u8>,
        ports: &mut Ports,
    ) -> Result<Option<Match<'a>>, NotIptables> {
        let [next, rest @ ..] = self.rest else { return Ok(None) };
        match next {
            Expression::Match(extension) => {
                self.rest = rest;
                let part = part(extension)?;
                if matches!(part.name, b"tcp" | b"udp") {
                    ports.parts += 1;
                }
                if is_native_since_1_8_8(&part) {
                    self.only(TO_1_8_7);
                }
                Ok(Some(Match::Part(part)))
            }
            Expression::Limit(limit) => {
                self.rest = rest;
                let rate = rate(limit).ok_or(NotIptables::Value)?;
                Ok(Some(Match::Made(Made::new("limit", 0, &rate))))
            }
            Expression::Meta(load) if *load == meta(META_MARK) => {
                self.rest = rest;
                self.only(EVERY_VERSION & !TO_1_8_7);
                self.mark().map(Some)
            }
            Expression::Payload(load) if *load == payload(TRANSPORT_HEADER, load.offset, load.length) => {
                self.only(EVERY_VERSION & !TO_1_8_7);
                ports.native += 1;
                self.ports(protocol).map(Some)
            }
            _ => Ok(None),
        }
    }

    fn mark(&mut self) -> Result<Match<'a>, NotIptables> {
        const EVERY_BIT: [u8; 4] = [u8::MAX; 4];
        let mask = match self.take_mask()?.map(<[u8; 4]>::try_from) {
            None => u32::MAX,
            // it is not written
            Some(Ok(EVERY_BIT) | Err(_)) => return Err(NotIptables::Value),
            Some(Ok(mask)) => u32::from_ne_bytes(mask),
        };
        let (is_negated, value) = self.equality()?;
        let mark = u32::from_ne_bytes(value.try_into().map_err(|_| NotIptables::Value)?);
        Ok(Match::Made(Made::new("mark", 1, &Mark { mark, mask, invert: is_negated.into() })))
    }

    /// A run of what one `-m tcp` or `-m udp` is written as: flags, then ports.
    fn ports(&mut self, protocol: Option<u8>) -> Result<Match<'a>, NotIptables> {
        let all = self.rest;
        let mut tcp = ANY_TCP;
        if protocol == Some(TCP) && self.take_payload(TRANSPORT_HEADER, 13, 1) {
            match (self.take_mask()?, self.equality()?) {
                (Some([mask @ 1..=TCP_FLAGS]), (is_negated, [value @ 0..=TCP_FLAGS])) => {
                    (tcp.flg_mask, tcp.flg_cmp) = (*mask, *value);
                    tcp.invflags |= if is_negated { INVERSE_FLAGS } else { 0 };
                }
                _ => return Err(NotIptables::Value),
            }
        }
        if self.take_payload(TRANSPORT_HEADER, 0, 4) {
            let (is_negated, [s0, s1, d0, d1]) = self.equality()? else { return Err(NotIptables::Value) };
            let [source, destination] = [[*s0, *s1], [*d0, *d1]].map(u16::from_be_bytes);
            if source == 0 || destination == 0 {
                return Err(NotIptables::Value);
            }
            if is_negated {
                // it asks that not both are so, and no structure does
                self.only(TO_1_8_9 | TO_1_8_10);
                let read = all.len() - self.rest.len();
                return Ok(Match::Native(all.get(..read).unwrap_or_default()));
            }
            (tcp.spts, tcp.dpts) = ([source; 2], [destination; 2]);
        } else {
            let is_source = self.take_payload(TRANSPORT_HEADER, 0, 2);
            if is_source && self.port(&mut tcp.spts)? {
                tcp.invflags |= INVERSE_SOURCE;
            }
            // two ports that one match names stand in one load
            let is_one = tcp.invflags & INVERSE_SOURCE == 0 && is_single(tcp.spts);
            let before = self.rest;
            if self.take_payload(TRANSPORT_HEADER, 2, 2) {
                if self.port(&mut tcp.dpts)? {
                    tcp.invflags |= INVERSE_DESTINATION;
                } else if is_source && is_one && is_single(tcp.dpts) {
                    self.rest = before;
                    tcp.dpts = ANY_TCP.dpts;
                }
            }
        }
        if self.rest.len() == all.len() {
            return Err(NotIptables::Form);
        }
        match protocol {
            Some(TCP) => Ok(Match::Made(Made::new("tcp", 0, &tcp))),
            Some(UDP) => {
                let Tcp { spts, dpts, invflags, .. } = tcp;
                Ok(Match::Made(Made::new("udp", 0, &Udp { spts, dpts, invflags })))
            }
            _ => Err(NotIptables::Protocol),
        }
    }

    /// The comparison of a port, or a range of them. True if it is negated.
    fn port(&mut self, ports: &mut [u16; 2]) -> Result<bool, NotIptables> {
        if let [Expression::Range(range), rest @ ..] = self.rest {
            let Range { sreg: REG_1, op: op @ (EQ | NEQ), from: Data::Value(from), to: Data::Value(to) } =
                range
            else {
                return Err(NotIptables::Form);
            };
            self.rest = rest;
            *ports = [port(from)?, port(to)?];
            let is_negated = *op == NEQ;
            return match *ports {
                [0, u16::MAX] if is_negated => {
                    self.only(TO_1_8_13);
                    Ok(true)
                }
                [low, high] if 0 < low && low < high => Ok(is_negated),
                _ => Err(NotIptables::Value),
            };
        }
        let (op, value) = self.take_cmp().ok_or(NotIptables::Order)?;
        let port = port(value)?;
        match op {
            EQ | NEQ => *ports = [port; 2],
            LTE if !matches!(port, 0 | u16::MAX) => *ports = [0, port],
            // `! --dport 0:80`, which iptables-save prints as `--dport 81:65535`
            GT if !matches!(port, 0 | u16::MAX) => *ports = [port + 1, u16::MAX],
            _ => return Err(NotIptables::Value),
        }
        Ok(op == NEQ)
    }

    fn counter(&mut self) -> Result<(), NotIptables> {
        let [Expression::Counter(_), rest @ ..] = self.rest else { return Err(NotIptables::Order) };
        self.rest = rest;
        Ok(())
    }

    fn action(&mut self) -> Result<Action<'a>, NotIptables> {
        let [next, rest @ ..] = self.rest else { return Ok(Action::None) };
        self.rest = rest;
        match next {
            Expression::Immediate(immediate) if immediate.dreg == REG_VERDICT => match immediate.data {
                Data::Verdict(verdict) => verdict_action(verdict),
                Data::Value(_) => Err(NotIptables::Form),
            },
            Expression::Immediate(immediate)
                if immediate.dreg == REG32_01 && immediate.data == Data::Value(&[1]) =>
            {
                let set = Meta { key: META_NFTRACE, dreg: None, sreg: Some(REG32_01) };
                if self.take(Expression::Meta(set)) { Ok(Action::Trace) } else { Err(NotIptables::Order) }
            }
            Expression::Log(log) => {
                self.only(EVERY_VERSION & !TO_1_8_7);
                if is_nflog(log) { Ok(Action::Log(log)) } else { Err(NotIptables::Value) }
            }
            Expression::Target(extension) => {
                let part = part(extension)?;
                if part.name == b"NFLOG" {
                    self.only(TO_1_8_7);
                }
                Ok(Action::Target(part))
            }
            _ => Err(NotIptables::Order),
        }
    }
}

/// Whether a match names one port that is not 0.
fn is_single([low, high]: [u16; 2]) -> bool {
    low == high && low != 0
}

fn port(value: &[u8]) -> Result<u16, NotIptables> {
    value.try_into().map(u16::from_be_bytes).map_err(|_| NotIptables::Value)
}

fn part<'a>(extension: &Extension<'a>) -> Result<Part<'a>, NotIptables> {
    let Extension { name: form::Text(name), revision, info } = *extension;
    let revision = u8::try_from(revision).map_err(|_| NotIptables::Value)?;
    if is_word(name) { Ok(Part { name, revision, info }) } else { Err(NotIptables::Text) }
}

/// Whether only 1.8.7 and before write this match as an x_tables part.
fn is_native_since_1_8_8(part: &Part<'_>) -> bool {
    const TCP_INVERSE: u8 = INVERSE_SOURCE | INVERSE_DESTINATION | INVERSE_FLAGS;
    const UDP_INVERSE: u8 = INVERSE_SOURCE | INVERSE_DESTINATION;
    match (part.name, part.revision) {
        (b"tcp", 0) => structure::<Tcp>(part)
            .is_some_and(|tcp| tcp != ANY_TCP && tcp.option == 0 && tcp.invflags <= TCP_INVERSE),
        (b"udp", 0) => {
            structure::<Udp>(part).is_some_and(|udp| udp != ANY_UDP && udp.invflags <= UDP_INVERSE)
        }
        (b"mark", 1) | (b"limit", 0) => true,
        _ => false,
    }
}

fn structure<T: Field>(part: &Part<'_>) -> Option<T> {
    (part.info.len() == T::SIZE.next_multiple_of(XT_ALIGN)).then(|| T::read(part.info))
}

/// The structure of `-m limit` that is written as this, if there is one: iptables keeps the time between two packets
/// and writes a rounded rate.
fn rate(limit: &expression::Limit) -> Option<Limit> {
    /// `XT_LIMIT_SCALE`.
    const SCALE: u64 = 10_000;
    const BURST_MAX: u32 = 10_000;
    let expression::Limit { rate, unit, burst, kind: LIMIT_PACKETS, flags: 0 } = *limit else { return None };
    let interval = unit.checked_mul(SCALE)?.checked_div(rate)?;
    let is_written = burst <= BURST_MAX && words::chosen_rate(interval, SCALE) == Some((rate, unit));
    Some(Limit { interval: u32::try_from(interval).ok().filter(|_| is_written)?, burst })
}

/// Whether this is `-j NFLOG`.
fn is_nflog(log: &Log<'_>) -> bool {
    /// `NF_LOG_PREFIXLEN` less its NUL.
    const PREFIX_MAX: usize = 127;
    let Log { prefix, level: None, flags: None, group: Some(_), .. } = log else { return false };
    prefix.is_none_or(|form::Text(prefix)| (1..=PREFIX_MAX).contains(&prefix.len()))
}

fn verdict_action(verdict: form::Verdict<'_>) -> Result<Action<'_>, NotIptables> {
    match (verdict.code, verdict.chain) {
        (DROP, None) => Ok(Action::Verdict(Verdict::Drop)),
        (ACCEPT, None) => Ok(Action::Verdict(Verdict::Accept)),
        (RETURN, None) => Ok(Action::Verdict(Verdict::Return)),
        (JUMP | GOTO, Some(form::Text(name))) if may_be_chain_name(name) => {
            Ok(Action::Chain { name, is_goto: verdict.code == GOTO })
        }
        (JUMP | GOTO, Some(_)) => Err(NotIptables::Text),
        _ => Err(NotIptables::Verdict),
    }
}
