//! The types of a set's keys and values, as words and as what its elements are read by.
//! Reads no element.

use super::is_verdict;
use super::objects::object_kind;
use crate::domain::rules::kernel::sets::{SET_INTERVAL, Set};
use crate::domain::rules::text::native::elements::Part;
use crate::domain::rules::text::native::types::{Order, Type};

/// Parts of a concatenation are aligned to this many bytes.
const ALIGN: u32 = 4;

/// Whether a type's number stands for several.
pub fn is_concatenation(number: u32) -> bool {
    /// The first number that has more bits than one type (`TYPE_BITS`).
    const SECOND: u32 = 1 << 6;
    number >= SECOND
}

/// The types that a number stands for, if it stands for any.
fn known(number: u32) -> Option<Vec<Type>> {
    Type::parts(number).filter(|types| !types.is_empty())
}

/// The parts of a set's keys; none if a type is not known, or has another size than it must have.
pub fn key_parts(set: &Set) -> Option<Vec<Part>> {
    let types = known(set.key_type)?;
    let sizes = sizes(&types, set.key_length, &set.fields)?;
    let mut parts = parts(&types, &sizes, &set.host_keys());
    if set.flags & SET_INTERVAL != 0 {
        // nft puts numbers in network order, so that the kernel's comparison of bytes is one of numbers
        parts.iter_mut().for_each(|part| part.order = Order::Network);
    }
    Some(parts)
}

/// The parts of a map's values; none if it is no map of values, or as for keys.
pub fn value_parts(set: &Set) -> Option<Vec<Part>> {
    value_shape(set).map(|(parts, _)| parts)
}

/// The parts of a map's values, and whether they are intervals.
fn value_shape(set: &Set) -> Option<(Vec<Part>, bool)> {
    let types = known(set.data_type?)?;
    if is_verdict(set.data_type) {
        return Some((vec![Part { of: Type::Verdict, order: Order::Host, bytes: 0 }], false));
    }
    let length = set.data_length?;
    let (sizes, is_interval) = match sizes(&types, length, &[]) {
        Some(sizes) => (sizes, false),
        // both ends are padded, also where they have one part
        None => {
            let half = if length.is_multiple_of(2) { length / 2 } else { return None };
            let exact = types.iter().map(|of| of.bytes()).collect::<Vec<_>>();
            let is_sized = exact.iter().all(|bytes| *bytes != 0) && padded(&exact) == half;
            (is_sized.then_some(exact)?, true)
        }
    };
    Some((parts(&types, &sizes, &set.host_values()), is_interval))
}

/// The parts; those whose type does not say it are in the machine's order where that was noted.
fn parts(types: &[Type], sizes: &[u32], host: &[bool]) -> Vec<Part> {
    let part = |(number, (of, bytes)): (usize, (&Type, &u32))| {
        let is_host = of.bytes() == 0 && host.get(number) == Some(&true) && host.len() == types.len();
        Part { of: *of, order: if is_host { Order::Host } else { of.order() }, bytes: *bytes }
    };
    types.iter().zip(sizes).enumerate().map(part).collect()
}

fn padded(sizes: &[u32]) -> u32 {
    sizes.iter().map(|bytes| bytes.next_multiple_of(ALIGN)).sum()
}

/// The bytes of each part of a value of so many bytes. `fields` are the kernel's own, if it has some.
fn sizes(types: &[Type], length: u32, fields: &[u32]) -> Option<Vec<u32>> {
    if let [of] = types {
        let is_right = fields.is_empty() && length != 0 && matches!(of.bytes(), 0) || of.bytes() == length;
        return is_right.then(|| vec![length]);
    }
    let known: u32 = types.iter().map(|of| of.bytes().next_multiple_of(ALIGN)).sum();
    let is_open = types.iter().filter(|of| of.bytes() == 0).count() == 1;
    let size = |(number, of): (usize, &Type)| match (of.bytes(), fields.get(number)) {
        (0, Some(field)) => Some(*field),
        (0, None) if is_open => length.checked_sub(known),
        (0, None) => None,
        (bytes, None) => Some(bytes),
        (bytes, Some(field)) => (bytes == *field).then_some(bytes),
    };
    let sizes: Vec<_> = types.iter().enumerate().map(size).collect::<Option<_>>()?;
    let is_whole = fields.is_empty() || fields.len() == types.len();
    (is_whole && !sizes.contains(&0) && padded(&sizes) == length).then_some(sizes)
}

/// `ipv4_addr . inet_service`; numbers and sizes where nothing else is known.
pub fn of_keys(set: &Set) -> String {
    if let Some(parts) = key_parts(set) {
        return words(&parts, set.flags & SET_INTERVAL != 0);
    }
    let mut text = format!("{} {} bytes", set.key_type, set.key_length);
    if !set.fields.is_empty() {
        let fields: Vec<_> = set.fields.iter().map(u32::to_string).collect();
        text.push_str(&format!(" fields {}", fields.join(",")));
    }
    text
}

/// What follows ` : ` in a map's declaration; none for a set.
pub fn of_values(set: &Set) -> Option<String> {
    let object = set.object_type.map(object_kind);
    let data = set.data_type.map(|number| match value_shape(set) {
        Some(_) if is_verdict(set.data_type) => "verdict".to_owned(),
        Some((parts, true)) => format!("interval {}", words(&parts, false)),
        Some((parts, false)) => words(&parts, false),
        None => {
            let length = set.data_length.map_or_else(|| "unknown".to_owned(), |length| length.to_string());
            format!("{number} {length} bytes")
        }
    });
    match (object, data) {
        (Some(object), Some(data)) => Some(format!("{object} : {data}")),
        (one, other) => one.or(other),
    }
}

fn words(parts: &[Part], is_interval: bool) -> String {
    let word = |part: &Part| {
        let mut text = match part.of {
            // nft has one name for two types
            Type::Duration => "18".to_owned(),
            of => of.name().to_owned(),
        };
        if part.of.bytes() == 0 {
            text.push_str(&format!(" {} bits", 8 * u64::from(part.bytes)));
            if part.order == Order::Host && part.of.order() == Order::Network && !is_interval {
                text.push_str(" host");
            }
        }
        text
    };
    parts.iter().map(word).collect::<Vec<_>>().join(" . ")
}
