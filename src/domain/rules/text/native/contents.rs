//! What a set holds: the texts of its elements as they come from the kernel, and one hash of them all.
//! Keeps no element: a set may hold hundreds of thousands.

use sha2::{Digest, Sha256};

use super::constants::duration;
use super::declared::statements;
use super::elements::{Halves, Shape, is_half, text};
use crate::domain::rules::Family;
use crate::domain::rules::kernel::sets::{Element, Value, comment};
use crate::domain::rules::text::word::{name, quote, sort};
use crate::domain::words::escape::hex;

/// What is left to be said at the end, while the elements of one set are read.
#[derive(Debug)]
pub struct Contents<'a> {
    shape: Shape<'a>,
    halves: Halves,
    /// Whether an end of an interval has no words: then it is not known which of the others belong together.
    is_torn: bool,
}

impl<'a> Contents<'a> {
    /// A set of which nothing is read yet. Of a type that is not known the parts are none.
    pub fn new(shape: Shape<'a>) -> Self {
        Self { shape, halves: Halves::default(), is_torn: false }
    }

    /// Takes an element, and hands over its text if that is known already. What has no words is written as bytes.
    pub fn add(&mut self, element: &Element, mut visit: impl FnMut(String)) {
        if !is_half(self.shape, element) {
            visit(text(self.shape, element).unwrap_or_else(|| raw(element)));
        } else if self.halves.add(self.shape, element).is_none() {
            self.is_torn = true;
            visit(raw(element));
        }
    }

    /// Hands over the other texts.
    pub fn finish(self, mut visit: impl FnMut(String)) {
        if self.is_torn || self.halves.each_interval(self.shape, &mut visit).is_none() {
            self.halves.each_end(visit);
        }
    }
}

/// `[ATTRIBUTE=0xHEX …]`, then what stands behind a key.
pub(super) fn raw(element: &Element) -> String {
    let mut parts = Vec::new();
    let bytes = |number: u16, bytes: &[u8]| format!("{number}=0x{}", hex(bytes));
    parts.extend(element.key.as_ref().map(|key| bytes(1, key)));
    parts.extend(element.key_end.as_ref().map(|key| bytes(10, key)));
    if element.flags != 0 {
        parts.push(format!("3={:#x}", element.flags));
    }
    match &element.value {
        Some(Value::Bytes(value)) => parts.push(bytes(2, value)),
        Some(Value::Verdict { code, chain: None }) => parts.push(format!("2={code}")),
        Some(Value::Verdict { code, chain: Some(chain) }) => parts.push(format!("2={code},{}", quote(chain))),
        None => {}
    }
    parts.extend(element.object.as_ref().map(|object| format!("9={}", quote(object))));
    parts.extend(element.rest.iter().map(|raw| bytes(raw.kind, &raw.value)));
    let mut text = format!("[{}]{}", parts.join(" "), statements(&element.expressions));
    if let Some(timeout) = element.timeout {
        text.push_str(&format!(" timeout {}", duration(timeout)));
    }
    if let Some(comment) = element.userdata.as_deref().and_then(|userdata| comment(userdata).ok().flatten()) {
        text.push_str(&format!(" comment {}", quote(comment)));
    }
    text
}

/// Above this many elements the hash is one of digests instead of one of texts, so that not every text must be kept.
pub const MOST_TEXTS: usize = 65_536;

/// A hash of texts that does not depend on their order.
#[derive(Debug, Default)]
pub struct Hash {
    texts: Vec<String>,
    digests: Vec<[u8; 32]>,
}

impl Hash {
    /// Adds a text.
    pub fn add(&mut self, text: String) {
        let digest = |text: &String| <[u8; 32]>::from(Sha256::digest(text.as_bytes()));
        if self.digests.is_empty() && self.texts.len() < MOST_TEXTS {
            self.texts.push(text);
            return;
        }
        self.digests.extend(std::mem::take(&mut self.texts).iter().map(digest));
        self.digests.push(digest(&text));
    }

    /// How many there were, and their hash: of the texts sorted, each ended by a newline; of more than [`MOST_TEXTS`] the
    /// SHA-256 of the SHA-256 digests of the texts, sorted.
    pub fn finish(mut self) -> (u64, [u8; 32]) {
        let mut hash = Sha256::new();
        sort(&mut self.texts);
        for text in &self.texts {
            hash.update(text.as_bytes());
            hash.update(b"\n");
        }
        self.digests.sort_unstable();
        for digest in &self.digests {
            hash.update(digest);
        }
        let count = self.texts.len() + self.digests.len();
        (u64::try_from(count).unwrap_or(u64::MAX), hash.finalize().into())
    }
}

/// `elements FAMILY TABLE SET COUNT sha256 HASH`
pub fn line(family: Family, table: &[u8], set: &[u8], (count, hash): (u64, [u8; 32])) -> String {
    format!("elements {family} {} {} {count} sha256 {}", name(table), name(set), hex(&hash))
}

/// `element FAMILY TABLE MAP KEY : VALUE`
pub fn map_line(family: Family, table: &[u8], map: &[u8], text: &str) -> String {
    format!("element {family} {} {} {text}", name(table), name(map))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::domain::rules::kernel::sets::{SET_INTERVAL, Set};
    use crate::domain::rules::kernel::taken::Raw;
    use crate::domain::rules::text::native::constants::Names;
    use crate::domain::rules::text::native::elements::Part;
    use crate::domain::rules::text::native::types::{Order, Type};

    fn read(set: &Set, key: &[Part], elements: &[Element]) -> Vec<String> {
        let (devices, cgroups) = (BTreeMap::new(), BTreeMap::new());
        let names = Names { devices: &devices, cgroups: &cgroups };
        let mut contents = Contents::new(Shape { set, key, value: &[], names });
        let mut texts = Vec::new();
        for element in elements {
            contents.add(element, |text| texts.push(text));
        }
        contents.finish(|text| texts.push(text));
        texts
    }

    fn keyed(key: &[u8], flags: u32) -> Element {
        Element { key: Some(key.to_vec()), flags, ..Element::default() }
    }

    #[test]
    fn what_has_no_words_is_bytes() {
        let port = [Part { of: Type::Service, order: Order::Network, bytes: 2 }];
        let rest = vec![Raw { kind: 99, value: vec![7] }];
        let newer = Element { rest, timeout: Some(1000), ..keyed(&[0, 22], 0) };
        assert_eq!(read(&Set::default(), &port, &[keyed(&[0, 22], 0)]), ["22"]);
        assert_eq!(read(&Set::default(), &port, &[newer]), ["[1=0x0016 99=0x07] timeout 1s"]);
        assert_eq!(read(&Set::default(), &[], &[keyed(&[0, 22], 0)]), ["[1=0x0016]"]);
        let intervals = Set { flags: SET_INTERVAL, ..Set::default() };
        let ends = [keyed(&[0, 22], 0), keyed(&[0, 30], 1), keyed(&[0, 40], 1)];
        assert_eq!(read(&intervals, &port, &ends[..2]), ["22-29"]);
        let kept = Element { timeout: Some(0), ..ends[1].clone() };
        assert_eq!(read(&intervals, &port, &[ends[0].clone(), kept]), ["22-29"]);
        let odd = Element { timeout: Some(1), ..ends[1].clone() };
        assert_eq!(
            read(&intervals, &port, &[ends[0].clone(), odd]),
            ["[1=0x001e 3=0x1] timeout 1ms", "[from 0x0016]"],
            "the interval is not said to be open"
        );
        assert_eq!(
            read(&intervals, &port, &ends),
            ["[from 0x0016]", "[until 0x001e]", "[until 0x0028]"],
            "an end without a beginning"
        );
        let verdict = Value::Verdict { code: -3, chain: Some(b"x".to_vec()) };
        let odd = Element { value: Some(verdict), key_end: Some(vec![1]), ..keyed(&[1], 4) };
        assert_eq!(read(&Set::default(), &port, &[odd]), ["[1=0x01 10=0x01 3=0x4 2=-3,\"x\"]"]);
    }

    #[test]
    fn the_order_makes_no_other_hash() {
        let hash = |numbers: &mut dyn Iterator<Item = usize>| {
            let mut hash = Hash::default();
            numbers.for_each(|number| hash.add(number.to_string()));
            hash.finish()
        };
        let few = hash(&mut [3, 1, 2].into_iter());
        assert_eq!(few, (3, Sha256::digest(b"1\n2\n3\n").into()));
        let most = MOST_TEXTS + 5;
        let (count, many) = hash(&mut (0..most));
        assert_eq!(count, most as u64);
        assert_eq!(hash(&mut (0..most).rev()).1, many);
        assert_ne!(hash(&mut (1..=most)).1, many);
    }
}
