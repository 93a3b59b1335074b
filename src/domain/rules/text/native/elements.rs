//! Elements of sets and maps as nft(8) writes them between braces.
//! Decodes nothing.
//!
//! Lists of elements that mean the same to every packet have the same texts if they differ in no more than their order; in
//! user data other than the comment; or in how the kernel is told an interval: by an element where it begins and one
//! behind its end, which may be where the next one begins, by one element with both, or with an end at zero before the
//! first.

use super::constants::{self, Names};
use super::stateful::statements;
use super::types::{Order, Type};
use crate::domain::rules::kernel::sets::{
    ELEMENT_CATCHALL, ELEMENT_INTERVAL_END, Element, SET_INTERVAL, Set, Value, comment,
};
use crate::domain::rules::text::word::{name, quote};
use crate::domain::words::escape::hex;

/// A part of a key or value: its type, the order of its bytes, and how many there are, without padding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Part {
    pub of: Type,
    pub order: Order,
    pub bytes: u32,
}

/// Parts of a concatenation are aligned to this many bytes, those of one value are not.
const ALIGN: usize = 4;

/// What the texts of a set's elements depend on.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs)]
pub struct Shape<'a> {
    pub set: &'a Set,
    pub key: &'a [Part],
    pub value: &'a [Part],
    pub names: Names<'a>,
}

/// Every element as text, in no order: `KEY`, or `KEY : VALUE` in a map. None if one has no words.
pub fn texts(
    set: &Set,
    elements: &[Element],
    key: &[Part],
    value: &[Part],
    names: Names<'_>,
) -> Option<Vec<String>> {
    let shape = Shape { set, key, value, names };
    let mut texts = Vec::with_capacity(elements.len());
    let mut halves = Halves::default();
    for element in elements {
        if is_half(shape, element) {
            halves.add(shape, element)?;
        } else {
            texts.push(text(shape, element)?);
        }
    }
    halves.each_interval(shape, |text| texts.push(text))?;
    Some(texts)
}

/// Whether an element is one end of an interval, or has both although it is of one part: see [`Halves`].
pub fn is_half(Shape { set, key, .. }: Shape<'_>, element: &Element) -> bool {
    set.flags & SET_INTERVAL != 0 && key.len() == 1 && element.flags & ELEMENT_CATCHALL == 0
}

/// One element that is no [half](is_half).
pub fn text(shape: Shape<'_>, element: &Element) -> Option<String> {
    let Shape { set, key, names, .. } = shape;
    let shown = match (&element.key, &element.key_end, element.flags) {
        (None, None, ELEMENT_CATCHALL) => "*".to_owned(),
        (Some(bytes), None, 0) if set.flags & SET_INTERVAL == 0 => value(key, bytes, names)?,
        (Some(from), Some(to), 0) if set.flags & SET_INTERVAL != 0 && key.len() > 1 => {
            between(key, from, to, names)?
        }
        _ => return None,
    };
    Some(format!("{shown}{}", rest(shape, element)?))
}

/// The ends of intervals of one part, packed: the kernel lists them in an order of its own, and there may be hundreds of
/// thousands.
#[derive(Debug, Default)]
pub struct Halves {
    /// For each: how long its key is, whether it is an end, its key, and what stands behind the key.
    packed: Vec<u8>,
    starts: Vec<usize>,
    /// How many elements had both ends: all have, or none.
    whole: usize,
}

/// One end of an interval. The end of one that ends with the last key has a key that is longer than others.
struct Half<'a> {
    key: &'a [u8],
    is_begin: bool,
    rest: &'a str,
}

impl Halves {
    /// Adds an element; none, and nothing is added, if it has no words.
    pub fn add(&mut self, shape: Shape<'_>, element: &Element) -> Option<()> {
        let [part] = shape.key else { return None };
        let is_key = |key: &&Vec<u8>| key.len() == part.bytes as usize;
        let key = element.key.as_ref().filter(is_key)?;
        match (element.flags, &element.key_end) {
            (ELEMENT_INTERVAL_END, None) if is_bare(shape.set, element) => self.push(key, false, ""),
            (0, None) => self.push(key, true, &rest(shape, element)?),
            (0, Some(last)) if is_key(&last) && key <= last => {
                let behind = behind(last);
                self.whole += 1;
                self.push(key, true, &rest(shape, element)?)?;
                self.push(&behind, false, "")
            }
            _ => None,
        }
    }

    fn push(&mut self, key: &[u8], is_begin: bool, rest: &str) -> Option<()> {
        let length = u8::try_from(key.len()).ok()?;
        self.starts.push(self.packed.len());
        self.packed.extend([length, u8::from(is_begin)]);
        self.packed.extend_from_slice(key);
        self.packed.extend_from_slice(rest.as_bytes());
        Some(())
    }

    fn half(&self, start: usize, end: usize) -> Option<Half<'_>> {
        let [length, is_begin, packed @ ..] = self.packed.get(start..end)? else { return None };
        let (key, rest) = packed.split_at_checked(usize::from(*length))?;
        Some(Half { key, is_begin: *is_begin != 0, rest: str::from_utf8(rest).ok()? })
    }

    fn all(&self) -> Option<Vec<Half<'_>>> {
        let ends = self.starts.iter().skip(1).copied().chain([self.packed.len()]);
        self.starts.iter().zip(ends).map(|(start, end)| self.half(*start, end)).collect()
    }

    /// Hands over each interval as text; none, and nothing is handed over, if the ends do not fit or a key has no words.
    pub fn each_interval(&self, shape: Shape<'_>, mut visit: impl FnMut(String)) -> Option<()> {
        if self.whole != 0 && 2 * self.whole != self.starts.len() {
            return None;
        }
        let mut halves = self.all()?;
        halves.sort_by(|one, two| (one.key, one.is_begin, one.rest).cmp(&(two.key, two.is_begin, two.rest)));
        // the first time only says whether all fit
        intervals(shape, &halves, |_, _| ())?;
        intervals(shape, &halves, |interval, rest| visit(format!("{interval}{rest}")))
    }

    /// Hands over each end by its bytes.
    pub fn each_end(&self, mut visit: impl FnMut(String)) {
        for half in self.all().unwrap_or_default() {
            let word = if half.is_begin { "from" } else { "until" };
            visit(format!("[{word} 0x{}]{}", hex(half.key), half.rest));
        }
    }
}

fn intervals(shape: Shape<'_>, halves: &[Half<'_>], mut visit: impl FnMut(&str, &str)) -> Option<()> {
    let mut close = |from: &[u8], to: &[u8], rest: &str| {
        let [part] = shape.key else { return None };
        let is_forward = from <= to;
        let interval =
            is_forward.then(|| constants::interval(part.of, part.order, from, to, shape.names))??;
        visit(&interval, rest);
        Some(())
    };
    let mut open: Option<&Half<'_>> = None;
    for (number, half) in halves.iter().enumerate() {
        match open.take() {
            Some(begun) => close(begun.key, &before(half.key, begun.key.len())?, begun.rest)?,
            None if half.is_begin || (number == 0 && half.key.iter().all(|byte| *byte == 0)) => {}
            None => return None,
        }
        if half.is_begin {
            open = Some(half);
        }
    }
    match open {
        Some(begun) => close(begun.key, &vec![0xff; begun.key.len()], begun.rest),
        None => Some(()),
    }
}

/// Whether an element is nothing but the end of an interval. Kernels give ends the statements of the set, and say of an end
/// in a set with a time-out that it has none.
fn is_bare(set: &Set, element: &Element) -> bool {
    let is_of_set = || {
        let own = statements(&element.expressions);
        own.is_some() && own == statements(&set.expressions)
    };
    element.value.is_none()
        && element.object.is_none()
        && matches!(element.timeout, None | Some(0))
        && element.rest.is_empty()
        && (element.expressions.is_empty() || is_of_set())
}

/// The key before this one, of so many bytes; none if it is the first.
fn before(key: &[u8], length: usize) -> Option<Vec<u8>> {
    let mut less = key.get(..length)?.to_vec();
    if key.len() > length {
        return Some(less);
    }
    for byte in less.iter_mut().rev() {
        let (one_less, borrows) = byte.overflowing_sub(1);
        *byte = one_less;
        if !borrows {
            return Some(less);
        }
    }
    None
}

/// The key behind this one, which is longer if this is the last.
fn behind(key: &[u8]) -> Vec<u8> {
    let mut more = key.to_vec();
    for byte in more.iter_mut().rev() {
        let (one_more, carries) = byte.overflowing_add(1);
        *byte = one_more;
        if !carries {
            return more;
        }
    }
    [key, &[0]].concat()
}

/// What stands behind the key: ` STATEMENT timeout 9s comment "c" : VALUE`.
fn rest(Shape { set, value, names, .. }: Shape<'_>, element: &Element) -> Option<String> {
    if !element.rest.is_empty() {
        return None;
    }
    let mut text = statements(&element.expressions)?;
    if let Some(timeout) = element.timeout {
        text.push_str(" timeout ");
        text.push_str(&constants::duration(timeout));
    }
    if let Some(comment) = element.userdata.as_deref().and_then(|userdata| comment(userdata).ok().flatten()) {
        text.push_str(" comment ");
        text.push_str(&quote(comment));
    }
    let target = match (set.object_type, set.data_type, &element.object, &element.value) {
        (None, None, None, None) => return Some(text),
        (Some(_), None, Some(object), None) => quote(object),
        (None, Some(_), None, Some(Value::Verdict { code, chain })) => verdict(*code, chain.as_deref())?,
        (None, Some(_), None, Some(Value::Bytes(bytes))) => {
            if set.data_length.is_some_and(|length| length as usize != bytes.len()) {
                return None;
            }
            data(value, bytes, names)?
        }
        _ => return None,
    };
    text.push_str(" : ");
    text.push_str(&target);
    Some(text)
}

/// A verdict; none for one without a word.
pub fn verdict(code: i32, chain: Option<&[u8]>) -> Option<String> {
    // `NF_DROP`, `NF_ACCEPT`, `NFT_CONTINUE`, `NFT_BREAK`, `NFT_JUMP`, `NFT_GOTO`, `NFT_RETURN`
    let word = match (code, chain) {
        (0, None) => "drop",
        (1, None) => "accept",
        (-1, None) => "continue",
        (-2, None) => "break",
        (-5, None) => "return",
        (-3, Some(chain)) => return Some(format!("jump {}", name(chain))),
        (-4, Some(chain)) => return Some(format!("goto {}", name(chain))),
        _ => return None,
    };
    Some(word.to_owned())
}

/// The data of a map: a value, or the first and the last of an interval behind one another.
fn data(parts: &[Part], bytes: &[u8], names: Names<'_>) -> Option<String> {
    let padded: usize = parts.iter().map(|part| (part.bytes as usize).next_multiple_of(ALIGN)).sum();
    if bytes.len() == 2 * padded && !parts.is_empty() {
        let (from, to) = bytes.split_at_checked(padded)?;
        return between(parts, from, to, names);
    }
    value(parts, bytes, names)
}

/// A value of one part, or of several.
fn value(parts: &[Part], bytes: &[u8], names: Names<'_>) -> Option<String> {
    if let [part] = parts {
        let is_sized = part.bytes as usize == bytes.len();
        return is_sized
            .then(|| constants::value(part.of, part.order, bytes, names))?
            .map(|text| text.alone());
    }
    let write = |part: &Part, bytes: &[u8]| {
        let text = constants::value(part.of, part.order, bytes, names)?.alone();
        Some(if part.of.is_flags() && text.contains('|') { format!("({text})") } else { text })
    };
    let texts: Option<Vec<_>> =
        parts.iter().zip(split(parts, bytes)?).map(|(part, bytes)| write(part, bytes)).collect();
    Some(texts?.join(" . "))
}

/// Everything between two values, part by part.
fn between(parts: &[Part], from: &[u8], to: &[u8], names: Names<'_>) -> Option<String> {
    let ends = split(parts, from)?.into_iter().zip(split(parts, to)?);
    let write = |part: &Part, (from, to): (&[u8], &[u8])| {
        let text = constants::interval(part.of, part.order, from, to, names)?;
        Some(if part.of.is_flags() && text.contains('|') { format!("({text})") } else { text })
    };
    let texts: Option<Vec<_>> = parts.iter().zip(ends).map(|(part, ends)| write(part, ends)).collect();
    Some(texts?.join(" . "))
}

/// The parts' bytes without their padding; none if that is not zero, or if the bytes are more or fewer.
fn split<'b>(parts: &[Part], bytes: &'b [u8]) -> Option<Vec<&'b [u8]>> {
    let mut rest = bytes;
    let split = |part: &Part| {
        let size = part.bytes as usize;
        let (padded, behind) = rest.split_at_checked(size.next_multiple_of(ALIGN))?;
        rest = behind;
        let (value, padding) = padded.split_at_checked(size)?;
        padding.iter().all(|byte| *byte == 0).then_some(value)
    };
    let all: Vec<_> = parts.iter().map(split).collect::<Option<_>>()?;
    rest.is_empty().then_some(all)
}

#[cfg(test)]
mod tests;
