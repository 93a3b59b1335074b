//! Native rules whose line no other renderer makes: complete, and readable only where that is easy.
//! Judges nothing.
//!
//! `FAMILY TABLE CHAIN` and then each expression: a verdict and `counter` as nft(8) writes them, an x_tables part as
//! iptables-save does, any other as `[NAME ATTRIBUTE=0xHEX …]` with every attribute. What the kernel counts is left out.

use super::line::Line;
use super::quoted;
use crate::domain::rules::Family;
use crate::domain::rules::kernel::attributes::Attributes;
use crate::domain::rules::kernel::expressions::form::{Data, Verdict};
use crate::domain::rules::kernel::expressions::{Expression, Extension, Immediate, decode};
use crate::domain::rules::kernel::parts::{Part, Role, Surroundings, write};
use crate::domain::rules::kernel::{Chain, Ipsets};

/// Where a native rule stands.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs)]
pub struct Place<'a> {
    pub family: Family,
    pub table: &'a [u8],
    pub chain: &'a [u8],
}

/// Writes a rule: `expressions` is the value of `NFTA_RULE_EXPRESSIONS`, `userdata` that of `NFTA_RULE_USERDATA`. False if
/// the line is not all of it: what an anonymous set holds is not in the rule.
pub fn rule(
    place: Place<'_>,
    expressions: &[u8],
    userdata: Option<&[u8]>,
    ipsets: &Ipsets,
    line: &mut Line,
) -> bool {
    let mut is_whole = true;
    line.push(place.family.as_str().as_bytes());
    for name in [place.table, place.chain] {
        line.push(b" ");
        quoted::name(name, line);
    }
    match decode(expressions) {
        Ok(decoded) => {
            for expression in &decoded {
                write_expression(place.family, expression, ipsets, line);
                is_whole &= !names_anonymous_set(expression);
            }
        }
        Err(_) => bytes(line, b"expressions", expressions),
    }
    if let Some(userdata) = userdata {
        bytes(line, b"userdata", userdata);
    }
    is_whole
}

/// Whether an expression looks into a set of the rule's own, which nft(8) and iptables-nft name so.
fn names_anonymous_set(expression: &Expression<'_>) -> bool {
    let is_name = |value: &[u8]| value.starts_with(b"__set") || value.starts_with(b"__map");
    let names =
        |attributes: &[u8]| Attributes::new(attributes).flatten().any(|attribute| is_name(attribute.value));
    matches!(expression.name(), b"lookup" | b"dynset" | b"objref") && names(&expression.encode())
}

/// Writes a base chain: `chain FAMILY TABLE NAME`, and what the kernel says of it by its numbers.
pub fn chain(chain: &Chain, line: &mut Line) {
    line.push(b"chain ");
    line.push(chain.family.as_str().as_bytes());
    for name in [&chain.table, &chain.name] {
        line.push(b" ");
        quoted::name(name, line);
    }
    line.word(format_args!("[flags={:#x}", chain.flags));
    if let Some(policy) = chain.policy {
        line.word(format_args!("policy={policy}"));
    }
    if let Some(kind) = &chain.chain_type {
        line.push(b" type=");
        quoted::name(kind, line);
    }
    if let Some(hook) = &chain.hook {
        line.word(format_args!("hook={} priority={}", hook.hooknum, hook.priority));
        for device in &hook.devices {
            line.push(b" device=");
            quoted::quote(device, line);
        }
    }
    line.push(b"]");
}

/// ` [NAME 0xHEX]`
fn bytes(line: &mut Line, name: &[u8], value: &[u8]) {
    line.push(b" [");
    line.push(name);
    line.push(b" 0x");
    line.hex(value);
    line.push(b"]");
}

fn write_expression(family: Family, expression: &Expression<'_>, ipsets: &Ipsets, line: &mut Line) {
    let is_written = match expression {
        Expression::Counter(_) => {
            line.word("counter");
            true
        }
        Expression::Match(part) => write_part(family, Role::Match, part, ipsets, line),
        Expression::Target(part) => write_part(family, Role::Target, part, ipsets, line),
        Expression::Immediate(Immediate { dreg: REG_VERDICT, data: Data::Verdict(verdict) }) => {
            write_verdict(verdict, line)
        }
        _ => false,
    };
    if !is_written {
        write_raw(expression, line);
    }
}

/// `NFT_REG_VERDICT`.
const REG_VERDICT: u32 = 0;

/// ` drop`, ` jump CHAIN`; false for a verdict without a word.
fn write_verdict(verdict: &Verdict<'_>, line: &mut Line) -> bool {
    // `NF_DROP`, `NF_ACCEPT`, `NFT_CONTINUE`, `NFT_JUMP`, `NFT_GOTO`, `NFT_RETURN`
    let word = match (verdict.code, verdict.chain) {
        (0, None) => "drop",
        (1, None) => "accept",
        (-1, None) => "continue",
        (-5, None) => "return",
        (-3, Some(_)) => "jump",
        (-4, Some(_)) => "goto",
        _ => return false,
    };
    line.word(word);
    if let Some(chain) = verdict.chain {
        line.push(b" ");
        quoted::name(chain.0, line);
    }
    true
}

/// An x_tables part as iptables-save writes it; false if its name is no word or its revision no byte.
fn write_part(family: Family, role: Role, part: &Extension<'_>, ipsets: &Ipsets, line: &mut Line) -> bool {
    let Ok(revision) = u8::try_from(part.revision) else { return false };
    let start = line.len();
    let part = Part { name: part.name.0, revision, info: part.info };
    let is_written = write(role, &part, Surroundings { family, ipsets }, line).is_some();
    if !is_written {
        line.truncate(start);
    }
    is_written
}

/// ` [NAME ATTRIBUTE=0xHEX …]`, without the attributes in which the kernel counts.
fn write_raw(expression: &Expression<'_>, line: &mut Line) {
    /// `NFTA_QUOTA_CONSUMED`, `NFTA_LAST_SET`, `NFTA_LAST_MSECS`.
    const STATE: [(&[u8], u16); 3] = [(b"quota", 4), (b"last", 1), (b"last", 2)];
    let name = expression.name();
    line.push(b" [");
    quoted::name(name, line);
    let attributes = expression.encode();
    for attribute in Attributes::new(&attributes) {
        match attribute {
            Ok(attribute) if STATE.contains(&(name, attribute.kind)) => {}
            Ok(attribute) => {
                line.word(format_args!("{}=0x", attribute.kind));
                line.hex(attribute.value);
            }
            Err(_) => {
                line.push(b" malformed 0x");
                line.hex(&attributes);
            }
        }
    }
    line.push(b"]");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::rules::samples::{attribute, element};

    fn expression(name: &str, attributes: &[Vec<u8>]) -> Vec<u8> {
        element(name.as_bytes(), &attributes.concat())
    }

    fn written(expressions: &[Vec<u8>], userdata: Option<&[u8]>) -> String {
        let mut line = Line::default();
        let place = Place { family: Family::Bridge, table: b"filter", chain: b"a b" };
        assert!(rule(place, &expressions.concat(), userdata, &Ipsets::new(), &mut line));
        String::from_utf8(line.as_bytes().to_vec()).unwrap()
    }

    #[test]
    fn every_part_is_written() {
        let number = |number: u32| number.to_be_bytes().to_vec();
        let counter = expression("counter", &[attribute(1, &[0; 8]), attribute(2, &[9; 8])]);
        let verdict = |code: i32, chain: &[u8]| {
            let mut verdict = attribute(1, &code.to_be_bytes());
            if !chain.is_empty() {
                verdict.extend(attribute(2, chain));
            }
            expression("immediate", &[attribute(1, &number(0)), attribute(2, &attribute(2, &verdict))])
        };
        let mark = expression(
            "match",
            &[
                attribute(1, b"mark\0"),
                attribute(2, &number(1)),
                attribute(3, &[1, 0, 0, 0, 255, 255, 255, 255, 0, 0, 0, 0, 0, 0, 0, 0]),
            ],
        );
        let quota = |consumed: u8| {
            expression(
                "quota",
                &[attribute(1, &[7; 8]), attribute(2, &number(1)), attribute(4, &[consumed; 8])],
            )
        };
        assert_eq!(
            written(&[mark, counter, verdict(-3, b"x y\0")], None),
            "bridge filter \"a b\" -m mark --raw 1:01000000ffffffff0000000000000000 counter jump \"x y\""
        );
        assert_eq!(written(&[quota(1)], None), written(&[quota(2)], None));
        assert_eq!(
            written(&[quota(1), verdict(0, b"")], Some(b"\x00\x02a\0")),
            "bridge filter \"a b\" [quota 1=0x0707070707070707 2=0x00000001] drop [userdata 0x00026100]"
        );
        assert_eq!(written(&[b"\x03\0".to_vec()], None), "bridge filter \"a b\" [expressions 0x0300]");
    }

    #[test]
    fn what_a_set_of_the_rules_own_holds_is_missing() {
        let place = Place { family: Family::Inet, table: b"t", chain: b"c" };
        let is_whole = |name: &[u8]| {
            let lookup = expression("lookup", &[attribute(1, name), attribute(2, &1u32.to_be_bytes())]);
            rule(place, &lookup, None, &Ipsets::new(), &mut Line::default())
        };
        assert!(is_whole(b"named\0"));
        assert!(!is_whole(b"__set0\0") && !is_whole(b"__map17\0"));
    }
}
