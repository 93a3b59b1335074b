//! Expressions without words: `[NAME ATTRIBUTE=0xHEX …]`, with every attribute but those in which the kernel counts.
//! Knows the meaning of none.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::constants::Names;
use super::dataflow::{Known, Sets};
use super::{Around, Bound, BoundRule, Place, contents};
use crate::domain::rules::Family;
use crate::domain::rules::kernel::Ipsets;
use crate::domain::rules::kernel::attributes::Attributes;
use crate::domain::rules::kernel::expressions::form::Data;
use crate::domain::rules::kernel::expressions::{Expression, Immediate, Quota, Raw};
use crate::domain::rules::kernel::sets::SET_ANONYMOUS;
use crate::domain::rules::text::word;
use crate::domain::words::escape::hex;

/// `[NAME 0xHEX]`
pub fn bytes(name: &str, value: &[u8]) -> String {
    format!("[{name} 0x{}]", hex(value))
}

/// An expression. The kernel numbers the sets and chains of a rule's own, and who writes a rule names them: what such a set
/// holds stands in place of its name, and behind a jump to such a chain what the chain does.
pub fn expression(expression: &Expression<'_>, place: Place<'_>, around: Around<'_>) -> String {
    /// `NFTA_QUOTA_CONSUMED`, `NFTA_LAST_SET`, `NFTA_LAST_MSECS`, `NFTA_COUNTER_BYTES`, `NFTA_COUNTER_PACKETS`.
    const STATE: [(&[u8], u16); 5] =
        [(b"quota", 4), (b"last", 1), (b"last", 2), (b"counter", 1), (b"counter", 2)];
    /// `NFT_QUOTA_F_DEPLETED`.
    const DEPLETED: u32 = 2;
    let name = expression.name();
    let mut text = format!("[{}", word::name(name));
    let attributes = match expression {
        Expression::Quota(quota) => {
            Expression::Quota(Quota { flags: quota.flags & !DEPLETED, ..*quota }).encode()
        }
        other => other.encode(),
    };
    for attribute in Attributes::new(&attributes) {
        match attribute {
            Ok(attribute) if STATE.contains(&(name, attribute.kind)) => {}
            Ok(attribute) => {
                let set = own_set(expression, attribute.value, around.sets);
                let shown = set.map_or_else(|| format!("0x{}", hex(attribute.value)), elements);
                // writing to memory does not fail
                let _ = write!(text, " {}={shown}", attribute.kind);
            }
            Err(_) => {
                let _ = write!(text, " malformed 0x{}", hex(&attributes));
            }
        }
    }
    if let Some(rules) = own_chain(expression, around.bound) {
        let _ = write!(text, " {{ {} }}", super::bound(place, rules, around));
    }
    text.push(']');
    text
}

/// An expression that stands in no rule.
pub fn alone(expression: &Expression<'_>) -> String {
    let (ipsets, sets, bound) = (Ipsets::new(), Sets::new(), Bound::new());
    let names = Names { devices: &BTreeMap::new(), cgroups: &BTreeMap::new() };
    let around = Around { ipsets: &ipsets, sets: &sets, bound: &bound, names };
    self::expression(expression, Place { family: Family::Inet, table: b"", chain: b"" }, around)
}

/// The rules of the chain of the rule's own that an expression jumps to.
fn own_chain<'a>(expression: &Expression<'_>, bound: &'a Bound) -> Option<&'a [BoundRule]> {
    let chain = match expression {
        Expression::Immediate(Immediate { data: Data::Verdict(verdict), .. }) => verdict.chain?.0,
        Expression::Raw(raw) => {
            return bound.iter().find(|(name, _)| holds(raw, name)).map(|(_, rules)| &rules[..]);
        }
        _ => return None,
    };
    bound.get(chain).map(Vec::as_slice)
}

/// Whether an expression that nothing decodes has this name in it.
fn holds(raw: &Raw<'_>, name: &[u8]) -> bool {
    raw.attributes.is_some_and(|attributes| memchr::memmem::find(attributes, name).is_some())
}

/// The set of the rule's own that an attribute names.
fn own_set<'a>(expression: &Expression<'_>, value: &[u8], sets: &'a Sets) -> Option<&'a Known> {
    let name = match expression {
        Expression::Lookup(lookup) => lookup.set.0,
        Expression::Dynset(dynset) => dynset.set.0,
        Expression::Objref(objref) => objref.set?.0,
        _ => return None,
    };
    let known = sets.get(name)?;
    (value.strip_suffix(b"\0") == Some(name) && known.set.flags & SET_ANONYMOUS != 0).then_some(known)
}

/// `{FLAGS KEY-BYTES [BYTES OF EACH PART] ELEMENT, ELEMENT, …}`, the elements in order of their text.
fn elements(known: &Known) -> String {
    let set = &known.set;
    let mut texts: Vec<_> = known.elements.iter().map(contents::raw).collect();
    texts.sort();
    format!("{{{:#x} {} {:?} {}}}", set.flags, set.key_length, set.fields, texts.join(", "))
}
