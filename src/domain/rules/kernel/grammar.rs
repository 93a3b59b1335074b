//! The closed grammar of the rules that iptables-nft writes: the order of their expressions and the values they hold.
//! A rule outside it may be harmless; nothing here says what such a rule does.
//!
//! An example, `-A INPUT -i lo -p tcp -m tcp --dport 22 -j ACCEPT`:
//! `meta iifname`, `cmp "lo\0"`, `meta l4proto`, `cmp 6`, `payload th+2`, `cmp 22`, `counter`, `immediate accept`.

use super::action::ActionHash;
use super::chains::{is_chain_name, is_word};
use super::expression::{
    CmpOp, Expression, Expressions, META_IIFNAME, META_L4PROTO, META_MARK, META_OIFNAME, NETWORK_HEADER,
    TRANSPORT_HEADER,
};
use super::{Untrusted, limit, xt};
use crate::domain::rules::Family;

const TCP: u8 = 6;
const UDP: u8 = 17;

/// The action of a rule that follows the grammar.
pub(super) fn parse(family: Family, expressions: &[u8]) -> Result<ActionHash, Untrusted> {
    let mut rule = Rule {
        family,
        rest: Expressions::new(expressions),
        next: None,
        has_ports: false,
        has_xt_ports: false,
    };
    rule.step()?;
    rule.interface(META_IIFNAME)?;
    rule.interface(META_OIFNAME)?;
    let protocol = rule.protocol()?;
    let (source, destination, width) = if family == Family::Ip { (12, 16, 4) } else { (8, 24, 16) };
    rule.address(source, width)?;
    rule.address(destination, width)?;
    if family == Family::Ip {
        rule.fragment()?;
    }
    while rule.one_match(protocol)? {}
    rule.counter()?;
    let action = rule.action()?;
    if rule.next.is_some() { Err(Untrusted::Order) } else { Ok(action) }
}

/// A rule being read, one expression ahead.
struct Rule<'a> {
    family: Family,
    rest: Expressions<'a>,
    next: Option<Expression<'a>>,
    /// A native `-m tcp` or `-m udp` was read.
    has_ports: bool,
    /// An xt `tcp` or `udp` match was read.
    has_xt_ports: bool,
}

impl<'a> Rule<'a> {
    fn step(&mut self) -> Result<(), Untrusted> {
        self.next = self.rest.advance()?;
        Ok(())
    }

    /// Takes the next expression if it is this one.
    fn take(&mut self, wanted: Expression<'_>) -> Result<bool, Untrusted> {
        let is_next = self.next == Some(wanted);
        if is_next {
            self.step()?;
        }
        Ok(is_next)
    }

    fn take_bitwise(&mut self) -> Result<Option<&'a [u8]>, Untrusted> {
        let Some(Expression::Bitwise(mask)) = self.next else {
            return Ok(None);
        };
        self.step()?;
        Ok(Some(mask))
    }

    /// A `cmp` that asks whether the register is, or is not, a value.
    fn equality(&mut self) -> Result<(CmpOp, &'a [u8]), Untrusted> {
        match self.next {
            Some(Expression::Cmp(op @ (CmpOp::Eq | CmpOp::Neq), value)) => {
                self.step()?;
                Ok((op, value))
            }
            Some(Expression::Cmp(..)) => Err(Untrusted::Operator),
            _ => Err(Untrusted::Order),
        }
    }

    /// `-i NAME`, `-o NAME`; without a comparison it is `-i +`.
    fn interface(&mut self, key: u32) -> Result<(), Untrusted> {
        if !self.take(Expression::MetaLoad(key))? || !matches!(self.next, Some(Expression::Cmp(..))) {
            return Ok(());
        }
        let (op, name) = self.equality()?;
        // What iptables writes for `! -i +`: a name no device can have.
        let is_never = op == CmpOp::Eq && name == b"INVAL/D\0";
        if is_never || is_interface(name) { Ok(()) } else { Err(Untrusted::Value) }
    }

    fn protocol(&mut self) -> Result<Option<u8>, Untrusted> {
        if !self.take(Expression::MetaLoad(META_L4PROTO))? {
            return Ok(None);
        }
        match self.equality()? {
            (_, [] | [0] | [_, _, ..]) => Err(Untrusted::Value),
            (CmpOp::Eq, [number]) => Ok(Some(*number)),
            _ => Ok(None),
        }
    }

    fn address(&mut self, offset: u32, width: u32) -> Result<(), Untrusted> {
        let Some(Expression::Payload { base: NETWORK_HEADER, offset: at, length }) = self.next else {
            return Ok(());
        };
        if at != offset || !(1..=width).contains(&length) {
            return Ok(());
        }
        self.step()?;
        let mask = self.take_bitwise()?;
        let (_, value) = self.equality()?;
        let is_masked_well = match mask {
            Some(mask) => {
                mask.len() == width as usize && length == width && is_odd_mask(mask) && fits(value, mask)
            }
            None => true,
        };
        if value.len() == length as usize && is_masked_well { Ok(()) } else { Err(Untrusted::Value) }
    }

    /// `-f`, `! -f`: the fragment offset is not, or is, zero.
    fn fragment(&mut self) -> Result<(), Untrusted> {
        if !self.take(Expression::Payload { base: NETWORK_HEADER, offset: 6, length: 2 })? {
            return Ok(());
        }
        let mask = self.take_bitwise()?;
        match (mask, self.equality()?) {
            (Some([0x1f, 0xff]), (_, [0, 0])) => Ok(()),
            _ => Err(Untrusted::Value),
        }
    }

    /// One match extension; false if none is next.
    fn one_match(&mut self, protocol: Option<u8>) -> Result<bool, Untrusted> {
        match self.next {
            Some(Expression::Match(extension)) => {
                self.has_xt_ports |= matches!(extension.name, b"tcp" | b"udp");
                xt::check_match(self.family, extension)?;
                self.step()?;
            }
            Some(Expression::Limit { rate, unit, burst }) => {
                if !limit::is_canonical(rate, unit, burst) {
                    return Err(Untrusted::Value);
                }
                self.step()?;
            }
            Some(Expression::MetaLoad(META_MARK)) => self.mark()?,
            Some(Expression::Payload { base: TRANSPORT_HEADER, .. }) => self.ports_group(protocol)?,
            _ => return Ok(false),
        }
        // iptables reads native ports into the first `-m tcp` of the rule, whichever that is.
        if self.has_ports && self.has_xt_ports { Err(Untrusted::Merged) } else { Ok(true) }
    }

    fn mark(&mut self) -> Result<(), Untrusted> {
        self.step()?;
        let mask = self.take_bitwise()?;
        let (_, value) = self.equality()?;
        let is_partial = mask.is_none_or(|mask| mask.len() == 4 && mask != [0xff; 4]);
        if value.len() == 4 && is_partial { Ok(()) } else { Err(Untrusted::Value) }
    }

    /// The one contiguous run of `-m tcp` or `-m udp`: flags, then ports.
    fn ports_group(&mut self, protocol: Option<u8>) -> Result<(), Untrusted> {
        if self.has_ports {
            return Err(Untrusted::Merged);
        }
        self.has_ports = true;
        if !matches!(protocol, Some(TCP | UDP)) {
            return Err(Untrusted::Protocol);
        }
        let has_flags = protocol == Some(TCP) && self.tcp_flags()?;
        if self.take(th(0, 4))? {
            return self.both_ports();
        }
        let has_source = self.take(th(0, 2))?;
        if has_source {
            self.port()?;
        }
        let has_destination = self.take(th(2, 2))?;
        if has_destination {
            self.port()?;
        }
        if has_flags || has_source || has_destination { Ok(()) } else { Err(Untrusted::Order) }
    }

    fn tcp_flags(&mut self) -> Result<bool, Untrusted> {
        if !self.take(th(13, 1))? {
            return Ok(false);
        }
        let mask = self.take_bitwise()?;
        match (mask, self.equality()?) {
            (Some([mask @ 0x01..=0x3f]), (_, [value])) if value & !0x3f == 0 && mask & 0x3f != 0 => Ok(true),
            _ => Err(Untrusted::Value),
        }
    }

    /// `--sport A --dport B` in one load. iptables 1.8.9 writes the negation of both alike, and enforces another.
    fn both_ports(&mut self) -> Result<(), Untrusted> {
        match self.equality()? {
            (CmpOp::Eq, [s0, s1, d0, d1]) if [*s0, *s1] != [0, 0] && [*d0, *d1] != [0, 0] => Ok(()),
            _ => Err(Untrusted::Value),
        }
    }

    fn port(&mut self) -> Result<(), Untrusted> {
        let is_canonical = match self.next {
            Some(Expression::Cmp(CmpOp::Eq | CmpOp::Neq, [_, _])) => true,
            Some(Expression::Cmp(CmpOp::Lte | CmpOp::Gt, [high, low])) => {
                !matches!(u16::from_be_bytes([*high, *low]), 0 | u16::MAX)
            }
            Some(Expression::Range { from: from @ [_, _], to: to @ [_, _] }) => from != [0, 0] && from < to,
            Some(_) => false,
            None => return Err(Untrusted::Order),
        };
        if !is_canonical {
            return Err(Untrusted::Value);
        }
        self.step()
    }

    fn counter(&mut self) -> Result<(), Untrusted> {
        if self.take(Expression::Counter)? { Ok(()) } else { Err(Untrusted::Order) }
    }

    fn action(&mut self) -> Result<ActionHash, Untrusted> {
        let Some(action) = self.next else {
            return Ok(ActionHash::NONE);
        };
        self.step()?;
        match action {
            Expression::Verdict { code, chain } => verdict(code, chain),
            Expression::Nflog { prefix } if prefix.is_none_or(is_nflog_prefix) => {
                Ok(ActionHash::jump(b"NFLOG"))
            }
            Expression::Nflog { .. } => Err(Untrusted::Text),
            Expression::TraceValue if self.take(Expression::TraceSet)? => Ok(ActionHash::jump(b"TRACE")),
            Expression::Target(extension) => xt::check_target(self.family, extension),
            _ => Err(Untrusted::Order),
        }
    }
}

const fn th(offset: u32, length: u32) -> Expression<'static> {
    Expression::Payload { base: TRANSPORT_HEADER, offset, length }
}

fn verdict(code: i32, chain: Option<&[u8]>) -> Result<ActionHash, Untrusted> {
    // NF_DROP, NF_ACCEPT, NFT_JUMP, NFT_GOTO, NFT_RETURN.
    match (code, chain) {
        (0, None) => Ok(ActionHash::jump(b"DROP")),
        (1, None) => Ok(ActionHash::jump(b"ACCEPT")),
        (-5, None) => Ok(ActionHash::jump(b"RETURN")),
        (-3 | -4, Some(chain)) if !is_chain_name(chain) => Err(Untrusted::Text),
        (-3, Some(chain)) => Ok(ActionHash::jump(chain)),
        (-4, Some(chain)) => Ok(ActionHash::goto(chain)),
        _ => Err(Untrusted::Verdict),
    }
}

/// A whole name ends in its NUL and has no wildcard; without a NUL it is the prefix before `+`.
fn is_interface(name: &[u8]) -> bool {
    const PREFIX_MAX: usize = 14;
    match name.split_last() {
        Some((0, whole)) => is_device(whole) && whole.last() != Some(&b'+'),
        Some(_) => name.len() <= PREFIX_MAX && is_device(name),
        None => false,
    }
}

fn is_device(name: &[u8]) -> bool {
    is_word(name) && !name.contains(&b'/')
}

fn is_nflog_prefix(prefix: &[u8]) -> bool {
    (1..=127).contains(&prefix.len()) && !prefix.iter().any(u8::is_ascii_control)
}

/// Not some 0xff bytes and then only zeros: such a prefix iptables writes as a shorter load instead.
fn is_odd_mask(mask: &[u8]) -> bool {
    mask.iter().skip_while(|byte| **byte == 0xff).any(|byte| *byte != 0)
}

fn fits(value: &[u8], mask: &[u8]) -> bool {
    value.len() == mask.len() && value.iter().zip(mask).all(|(value, mask)| value & !mask == 0)
}
