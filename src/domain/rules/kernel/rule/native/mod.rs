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

mod head;
mod matches;

use matches::Ports;

use super::{Action, Condition, NotIptables, Rule, Verdict};
use crate::domain::rules::Family;
use crate::domain::rules::kernel::expressions::form::{self, Data};
use crate::domain::rules::kernel::expressions::numbers::*;
use crate::domain::rules::kernel::expressions::{Bitwise, Cmp, Expression, Extension, Log, Meta, payload};
use crate::domain::rules::kernel::names::{is_word, may_be_chain_name};
use crate::domain::rules::kernel::parts::Part;

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

fn part<'a>(extension: &Extension<'a>) -> Result<Part<'a>, NotIptables> {
    let Extension { name: form::Text(name), revision, info } = *extension;
    let revision = u8::try_from(revision).map_err(|_| NotIptables::Value)?;
    if is_word(name) { Ok(Part { name, revision, info }) } else { Err(NotIptables::Text) }
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
