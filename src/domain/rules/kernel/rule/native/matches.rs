//! The matches of a rule of iptables-nft: x_tables parts, and native expressions that stand for them.
//! Knows no head but the protocol that it asks for.

use super::{EVERY_VERSION, NotIptables, Reader, TO_1_8_7, TO_1_8_9, TO_1_8_10, TO_1_8_13, part};
use crate::domain::rules::kernel::expressions::form::Data;
use crate::domain::rules::kernel::expressions::numbers::*;
use crate::domain::rules::kernel::expressions::{self, Expression, Range, meta, payload};
use crate::domain::rules::kernel::layout::Field;
use crate::domain::rules::kernel::parts::{Limit, Mark, Part, Tcp, Udp, XT_ALIGN, words};
use crate::domain::rules::kernel::rule::made::{
    ANY_TCP, ANY_UDP, INVERSE_DESTINATION, INVERSE_FLAGS, INVERSE_SOURCE,
};
use crate::domain::rules::kernel::rule::{Made, Match};

/// `IPPROTO_TCP`, `IPPROTO_UDP`.
const TCP: u8 = 6;
const UDP: u8 = 17;

/// The flags that iptables names.
const TCP_FLAGS: u8 = 0x3f;

/// How many `-m tcp` and `-m udp` a rule has: iptables-save 1.8.9 reads native ones into the first one of them.
#[derive(Default)]
pub(super) struct Ports {
    pub(super) native: u32,
    pub(super) parts: u32,
}

impl<'a> Reader<'a> {
    /// One match; none if none is next.
    pub(super) fn one_match(
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
}

/// Whether a match names one port that is not 0.
fn is_single([low, high]: [u16; 2]) -> bool {
    low == high && low != 0
}

fn port(value: &[u8]) -> Result<u16, NotIptables> {
    value.try_into().map(u16::from_be_bytes).map_err(|_| NotIptables::Value)
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
fn rate(limit: &expressions::Limit) -> Option<Limit> {
    /// `XT_LIMIT_SCALE`.
    const SCALE: u64 = 10_000;
    const BURST_MAX: u32 = 10_000;
    let expressions::Limit { rate, unit, burst, kind: LIMIT_PACKETS, flags: 0 } = *limit else { return None };
    let interval = unit.checked_mul(SCALE)?.checked_div(rate)?;
    let is_written = burst <= BURST_MAX && words::chosen_rate(interval, SCALE) == Some((rate, unit));
    Some(Limit { interval: u32::try_from(interval).ok().filter(|_| is_written)?, burst })
}
