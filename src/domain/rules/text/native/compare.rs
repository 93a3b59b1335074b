//! Comparisons of what was read with constants, ranges and sets.
//! Does nothing to a packet.
//!
//! *Source*: nft(8), EXPRESSIONS; the forms are those of `nft -j list` of nftables 1.0.6.

use super::constants;
use super::dataflow::{Group, Known};
use super::elements::{self, Part};
use super::operand::{Operand, joined};
use super::types::{Order, Type};
use super::{Said, Writer};
use crate::domain::rules::kernel::expressions::form::Data;
use crate::domain::rules::kernel::expressions::{Cmp, Expression, Lookup, Range, payload as payload_at};
use crate::domain::rules::kernel::sets::{ELEMENT_INTERVAL_END, Element, SET_ANONYMOUS, SET_INTERVAL};
use crate::domain::rules::text::word::{name, quote, sort};

/// `NFT_CMP_*` from `NFT_CMP_EQ` on.
const OPERATORS: [&str; 6] = ["", "!=", "<", "<=", ">", ">="];
const EQ: u32 = 0;
const NEQ: u32 = 1;

fn bytes<'a>(data: &Data<'a>) -> Option<&'a [u8]> {
    match data {
        Data::Value(value) => Some(value),
        Data::Verdict(_) => None,
    }
}

impl Writer<'_> {
    /// One comparison.
    pub fn cmp(&mut self, group: &Group<'_>, cmp: &Cmp<'_>) -> Option<Vec<Said>> {
        let constant = bytes(&cmp.data)?;
        let operator = *OPERATORS.get(usize::try_from(cmp.op).ok()?)?;
        let at = group.at(cmp.sreg)?;
        if cmp.op <= NEQ {
            if let Some(said) = self.attempt(|writer| writer.prefix_of_bytes(group, at, cmp.op, constant)) {
                return Some(vec![said]);
            }
            if let Some(said) = self.attempt(|writer| writer.masked_comparison(group, at, cmp.op, constant)) {
                return Some(vec![said]);
            }
            if cmp.op == EQ
                && let Some(said) = self.attempt(|writer| writer.several_fields(group, at, constant))
            {
                return Some(said);
            }
        }
        let operand = self.operand(group, at)?;
        let is_ordered = cmp.op > NEQ;
        if !is_ready(&operand, is_ordered) {
            return None;
        }
        let right = self.right(&operand, cmp.op, constant)?;
        let operator = match operator {
            "" if operand.is_compound || is_flags_equal(&operand, &right) => "== ".to_owned(),
            "" => String::new(),
            other => format!("{other} "),
        };
        let test = match (&operand.says, cmp.op) {
            (Some(says), EQ) => says.test(u64::try_from(constants::number(constant, operand.order)?).ok()?),
            _ => None,
        };
        Some(vec![Said { text: format!("{} {operator}{right}", operand.text), test }])
    }

    /// The constant of a comparison.
    fn right(&self, operand: &Operand, op: u32, constant: &[u8]) -> Option<String> {
        let wide = |bytes: u32| u32::try_from(constant.len()) == Ok(bytes);
        let shifted = operand.shifted(constant)?;
        if operand.of == Type::DeviceName && !wide(operand.bytes) {
            let [name @ .., last] = constant else { return None };
            if constant.len() > 16 || name.contains(&0) {
                return None;
            }
            // the kernel fills a name up with NULs: with one of them it is compared whole
            let text = if *last == 0 {
                constants::value(operand.of, operand.order, constant, self.names)?.alone()
            } else {
                quote(constants::prefix_name(constant)?)
            };
            return Some(text);
        }
        if operand.of == Type::Boolean && operand.bytes == 4 && wide(1) {
            return Some(constants::value(operand.of, operand.order, constant, self.names)?.alone());
        }
        if !wide(operand.bytes) {
            return None;
        }
        if operand.of.is_flags() && !operand.is_compound {
            let words = constants::flags(operand.of, operand.order, &shifted)?;
            let is_tcp = operand.of == Type::TcpFlags;
            if (is_tcp && words.len() > 1) || op > NEQ {
                return Some(constants::integer(&shifted, operand.order)?.alone());
            }
            return Some(words.join(" | "));
        }
        if operand.of.is_flags() {
            return Some(constants::flags(operand.of, operand.order, &shifted)?.join(","));
        }
        Some(constants::value(operand.of, operand.order, &shifted, self.names)?.alone())
    }

    /// `ip saddr 10.0.0.0/8`, where only the first bytes of an address are loaded or compared.
    fn prefix_of_bytes(&mut self, group: &Group<'_>, at: usize, op: u32, constant: &[u8]) -> Option<Said> {
        let (text, of, whole) = match group.values.get(at)?.from {
            Expression::Payload(payload) if payload.length as usize == constant.len() => {
                let offset = payload.offset.checked_mul(8)?;
                let header = self.header(payload.base, offset)?;
                let is_longer = |field: &&super::fields::Field| {
                    field.offset == offset
                        && field.length > 8 * payload.length
                        && matches!(field.of, Type::Ipv4 | Type::Ipv6 | Type::Ether)
                };
                let field = header.fields().iter().find(is_longer)?;
                self.field(payload.base, offset, field.length, None)?;
                (format!("{} {}", header.name(), field.name), field.of, field.length / 8)
            }
            Expression::Ct(key) => {
                let operand = super::keys::ct(key, self.place.family)?;
                if !operand.of.has_prefixes() || constant.len() >= operand.bytes as usize {
                    return None;
                }
                (operand.text, operand.of, operand.bytes)
            }
            _ => return None,
        };
        let mut address = constant.to_vec();
        address.resize(whole as usize, 0);
        let address = constants::value(of, Order::Network, &address, self.names)?.alone();
        let operator = if op == NEQ { "!= " } else { "" };
        self.read.push(at);
        Some(Said { text: format!("{text} {operator}{address}/{}", 8 * constant.len()), test: None })
    }

    /// Flags and prefixes, which nft writes without `&`.
    fn masked_comparison(&mut self, group: &Group<'_>, at: usize, op: u32, constant: &[u8]) -> Option<Said> {
        let Expression::Bitwise(bitwise) = group.values.get(at)?.from else { return None };
        let is_plain = bitwise.op.unwrap_or(0) == 0 && bitwise.sreg2.is_none();
        let (mask, xor) = (bytes(&bitwise.mask?)?, bytes(&bitwise.xor?)?);
        let same = mask.len() == constant.len() && u32::try_from(mask.len()) == Ok(bitwise.length);
        if !is_plain || !same || xor.iter().any(|byte| *byte != 0) {
            return None;
        }
        let of = group.at_before(at, bitwise.sreg)?;
        let operand = self.operand(group, of)?;
        let is_whole = u32::try_from(mask.len()) == Ok(operand.bytes) && operand.mask.is_none();
        let is_zero = constant.iter().all(|byte| *byte == 0);
        let right = match operand.of {
            _ if !is_whole || operand.is_compound || operand.is_swapped => None,
            of if of.is_flags() && is_zero => {
                let words = constants::flags(of, operand.order, mask)?.join(",");
                let has_bits = mask.iter().any(|byte| *byte != 0);
                has_bits.then(|| if op == NEQ { words } else { format!("! {words}") })
            }
            of if of.has_prefixes() => prefix(of, mask, constant, self.names)
                .map(|prefix| if op == NEQ { format!("!= {prefix}") } else { prefix }),
            _ => None,
        }?;
        self.read.push(at);
        Some(Said { text: format!("{} {right}", operand.text), test: None })
    }

    /// Fields side by side that are compared at once: nft loads them together.
    fn several_fields(&mut self, group: &Group<'_>, at: usize, constant: &[u8]) -> Option<Vec<Said>> {
        let Expression::Payload(payload) = group.values.get(at)?.from else { return None };
        if payload.length as usize != constant.len() {
            return None;
        }
        let start = payload.offset.checked_mul(8)?;
        let header = self.header(payload.base, start)?;
        if super::packet::find(header.fields(), start, payload.length * 8, None).is_some()
            || header == super::fields::Header::Transport
        {
            return None;
        }
        let mut said = Vec::new();
        let mut rest = constant;
        let mut offset = payload.offset;
        while !rest.is_empty() {
            let (length, tail) = header.fields().iter().find_map(|field| {
                let bytes = field.length / 8;
                let fits = field.offset == offset * 8 && field.length % 8 == 0;
                let tail = rest.get(bytes as usize..)?;
                (fits && bytes > 0).then_some((bytes, tail))
            })?;
            let part = payload_at(payload.base, offset, length);
            let operand = self.payload(&part, None)?;
            let value = rest.get(..length as usize)?;
            let right = self.right(&operand, EQ, value)?;
            let equal = if is_flags_equal(&operand, &right) { "== " } else { "" };
            let test = match &operand.says {
                Some(says) => says.test(u64::try_from(constants::number(value, operand.order)?).ok()?),
                None => None,
            };
            said.push(Said { text: format!("{} {equal}{right}", operand.text), test });
            (rest, offset) = (tail, offset + length);
        }
        self.read.push(at);
        (said.len() > 1).then_some(said)
    }

    /// `A-B`, as one expression or as two comparisons.
    pub fn range(&mut self, group: &Group<'_>, range: &Range<'_>) -> Option<Vec<Said>> {
        let (from, to) = (bytes(&range.from)?, bytes(&range.to)?);
        let operator = match range.op {
            EQ => "",
            NEQ => "!= ",
            _ => return None,
        };
        let operand = self.operand(group, group.at(range.sreg)?)?;
        let is_whole = |end: &[u8]| u32::try_from(end.len()) == Ok(operand.bytes);
        if !is_ready(&operand, true) || !is_whole(from) || !is_whole(to) {
            return None;
        }
        let ends = [operand.shifted(from)?, operand.shifted(to)?];
        let text = |end: &Vec<u8>| match operand.of.is_flags() {
            true => constants::integer(end, operand.order).map(|text| text.alone()),
            false => Some(constants::value(operand.of, operand.order, end, self.names)?.as_end()),
        };
        let [from, to] = [text(&ends[0])?, text(&ends[1])?];
        let equal =
            if operator.is_empty() && (operand.is_compound || operand.of.is_flags()) { "== " } else { "" };
        Some(vec![Said { text: format!("{} {operator}{equal}{from}-{to}", operand.text), test: None }])
    }

    /// A comparison with a set, or what a map of verdicts decides.
    pub fn lookup(&mut self, group: &Group<'_>, lookup: &Lookup<'_>) -> Option<Vec<Said>> {
        const INVERSE: u32 = 1;
        let known = self.sets.get(lookup.set.0)?;
        let keys = group.read(lookup.sreg, known.set.key_length)?;
        let operands = self.operands(group, keys)?;
        let elements = self.contents(known, &operands, &[])?;
        let text = match (lookup.dreg, lookup.flags.unwrap_or(0)) {
            (None, flags @ (0 | INVERSE)) => {
                let operator = match operands.as_slice() {
                    _ if flags == INVERSE => "!= ",
                    [one] if one.is_compound => "== ",
                    _ => "",
                };
                let left = match operands.as_slice() {
                    [one] => one.text.clone(),
                    several => joined(several),
                };
                format!("{left} {operator}{elements}")
            }
            (Some(_), 0) => format!("{} vmap {elements}", fed(&operands)),
            _ => return None,
        };
        Some(vec![Said { text, test: None }])
    }

    /// `KEY map { A : B }`, with values as the place of the map demands.
    pub fn map(&mut self, group: &Group<'_>, value: usize, parts: &[Part]) -> Option<String> {
        let Expression::Lookup(lookup) = group.values.get(value)?.from else { return None };
        let known = self.sets.get(lookup.set.0)?;
        let keys = group.read_before(value, lookup.sreg, known.set.key_length)?;
        let operands = self.operands(group, keys)?;
        if lookup.flags.unwrap_or(0) != 0 {
            return None;
        }
        let elements = self.contents(known, &operands, parts)?;
        self.read.push(value);
        Some(format!("{} map {elements}", fed(&operands)))
    }

    /// A set's name, or its elements if it belongs to the rule.
    pub fn contents(&self, known: &Known, keys: &[Operand], values: &[Part]) -> Option<String> {
        let is_interval = known.set.flags & SET_INTERVAL != 0;
        let is_own = known.set.flags & SET_ANONYMOUS != 0;
        // the elements of a set of the rule's own are shifted as its key is
        let is_plain = keys.iter().all(|key| key.shift == 0 || (is_own && keys.len() == 1));
        if !is_plain
            || !has_fields_of(known, keys)
            || !keys.iter().all(|key| is_ready(key, is_interval && keys.len() == 1))
        {
            return None;
        }
        if !is_own {
            return Some(format!("@{}", name(&known.set.name)));
        }
        let key: Vec<Part> =
            keys.iter().map(|key| Part { of: key.of, order: key.order, bytes: key.bytes }).collect();
        let shifted: Vec<Element>;
        let elements = match keys {
            [one] if one.mask.is_some() => {
                shifted =
                    known.elements.iter().map(|element| unshifted(one, element)).collect::<Option<_>>()?;
                &shifted
            }
            _ => &known.elements,
        };
        let mut texts = elements::texts(&known.set, elements, &key, values, self.names)?;
        sort(&mut texts);
        Some(if texts.is_empty() { "{ }".to_owned() } else { format!("{{ {} }}", texts.join(", ")) })
    }
}

/// An element whose key has only the bits that belong to an operand, as a number. Where an interval ends, the key is one
/// more than the last one in it.
fn unshifted(operand: &Operand, element: &Element) -> Option<Element> {
    let is_end = element.flags & ELEMENT_INTERVAL_END != 0;
    let key = match element.key.as_deref() {
        None => return Some(element.clone()),
        Some(key) if is_end && key.iter().any(|byte| *byte != 0) => {
            added(&operand.shifted(&added(key, -1)?)?, 1)?
        }
        Some(key) => operand.shifted(key)?,
    };
    Some(Element { key: Some(key), ..element.clone() })
}

/// The key this much behind another, in as many bytes.
fn added(key: &[u8], by: i128) -> Option<Vec<u8>> {
    let number = constants::number(key, Order::Network)?.checked_add_signed(by)?;
    let wide = number.to_be_bytes();
    let (over, kept) = wide.split_at_checked(wide.len().checked_sub(key.len())?)?;
    over.iter().all(|byte| *byte == 0).then(|| kept.to_vec())
}

/// Whether the kernel divides the keys of a set of the rule's own as the rule does: where it looks for intervals of several
/// parts, it compares no more of each part than the set says (`NFTA_SET_DESC_CONCAT`).
fn has_fields_of(known: &Known, keys: &[Operand]) -> bool {
    let is_named = known.set.flags & SET_ANONYMOUS == 0;
    let fields = &known.set.fields;
    is_named || fields.is_empty() || fields.iter().copied().eq(keys.iter().map(|key| key.bytes))
}

/// What a map is fed with: a concatenation bare, an operation in parentheses.
fn fed(operands: &[Operand]) -> String {
    match operands {
        [one] => one.beside(),
        several => joined(several),
    }
}

/// Whether the bytes are in the order that a comparison needs: network order where it asks for more or less.
fn is_ready(operand: &Operand, is_ordered: bool) -> bool {
    let is_text = matches!(operand.of, Type::DeviceName | Type::Text);
    match (operand.order, operand.is_swapped) {
        (Order::Network, false) => true,
        (Order::Host, false) => operand.bytes == 1 || is_text || !is_ordered,
        (Order::Network, true) => is_ordered,
        (Order::Host, true) => false,
    }
}

/// Whether `==` must be written, because flags without an operator mean "one of these".
fn is_flags_equal(operand: &Operand, right: &str) -> bool {
    operand.of.is_flags() && !right.is_empty() && !operand.is_compound
}

/// `ADDRESS/LENGTH`; none if the mask is no prefix or the address has bits that it leaves out.
fn prefix(of: Type, mask: &[u8], address: &[u8], names: constants::Names<'_>) -> Option<String> {
    let bits = constants::number(mask, Order::Network)?;
    let length = bits.count_ones();
    let width = 8 * u32::try_from(mask.len()).ok()?;
    let is_prefix = bits == 0 || bits.trailing_zeros() + length == width;
    let is_within = address.iter().zip(mask).all(|(address, mask)| address & !mask == 0);
    if !is_prefix || !is_within {
        return None;
    }
    Some(format!("{}/{length}", constants::value(of, Order::Network, address, names)?.alone()))
}
