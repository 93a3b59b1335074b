//! The line of an expectation of connection tracking. Reads nothing and judges nothing.
//!
//! ```text
//! expectation FAMILY PROTO SRC[:PORT] -> DST[:PORT] [zone N] [helper NAME] [nat ADDR:PORT] [permanent] [inactive]
//!     [userspace] [class N] [function NAME] [direction reply] of SRC:PORT -> DST:PORT
//! ```
//! An address or a port that need not be equal has its mask behind a `/`. At the end stands the connection that it belongs
//! to, whose addresses and marks the expected one takes over; its protocol stands there if it is another one. How long it is
//! still valid and its number are state and not in the line.

use std::net::IpAddr;

use super::protocols;
use super::word::name;
use crate::domain::rules::Family;
use crate::domain::rules::kernel::expectations::{
    Endpoint, Expectation, INACTIVE, ORIGINAL, PERMANENT, Tuple, USERSPACE,
};
use crate::domain::words::escape::hex;

/// The family of an expectation.
pub fn family(expectation: &Expectation) -> Family {
    if expectation.tuple.source.address.is_ipv4() { Family::Ip } else { Family::Ip6 }
}

/// What the lines of expectations begin with.
const BEGINNING: &str = "expectation ";

/// Whether a line tells of an expectation.
pub fn is_of_expectation(line: &[u8]) -> bool {
    line.starts_with(BEGINNING.as_bytes())
}

/// The line of an expectation.
pub fn line(expectation: &Expectation) -> String {
    let Expectation { tuple, mask, master, nat, helper, flags, class, function, zone, rest } = expectation;
    let mut line = format!(
        "{BEGINNING}{} {} {} -> {}",
        family(expectation),
        protocol(tuple.protocol),
        masked(tuple.source, mask.source),
        masked(tuple.destination, mask.destination)
    );
    let mut word = |text: String| {
        line.push(' ');
        line.push_str(&text);
    };
    tuple.rest.iter().for_each(|raw| word(attribute("proto", raw)));
    mask.rest.iter().filter(|(_, value)| value.iter().any(|&byte| byte != u8::MAX)).for_each(|raw| {
        word(attribute("mask", raw));
    });
    match zone {
        Some(0) => {}
        Some(zone) => word(format!("zone {zone}")),
        None => word("zone unknown".to_owned()),
    }
    if let Some(zone) = tuple.zone {
        word(format!("tuple-zone {zone}"));
    }
    if let Some(helper) = helper {
        word(format!("helper {}", name(helper)));
    }
    if let Some(nat) = nat {
        word(format!("nat {}", endpoint(nat.tuple.source)));
        nat.tuple.rest.iter().for_each(|raw| word(attribute("nat", raw)));
    }
    for (flag, text) in [(PERMANENT, "permanent"), (INACTIVE, "inactive"), (USERSPACE, "userspace")] {
        if flags & flag != 0 {
            word(text.to_owned());
        }
    }
    let others = flags & !(PERMANENT | INACTIVE | USERSPACE);
    if others != 0 {
        word(format!("flags 0x{others:x}"));
    }
    if *class != 0 {
        word(format!("class {class}"));
    }
    if let Some(function) = function {
        word(format!("function {}", name(function)));
    }
    match nat.as_ref().map(|nat| nat.direction) {
        None | Some(ORIGINAL) => {}
        Some(1) => word("direction reply".to_owned()),
        Some(other) => word(format!("direction {other}")),
    }
    rest.iter().for_each(|raw| word(attribute("", raw)));
    word("of".to_owned());
    if master.protocol != tuple.protocol {
        word(protocol(master.protocol));
    }
    word(format!("{} -> {}", endpoint(master.source), endpoint(master.destination)));
    master.rest.iter().for_each(|raw| word(attribute("proto", raw)));
    if let Tuple { zone: Some(zone), .. } = master {
        word(format!("zone {zone}"));
    }
    line
}

fn protocol(number: u8) -> String {
    protocols::name(number).map_or_else(|| number.to_string(), str::to_owned)
}

fn attribute(of: &str, (kind, value): &(u16, Vec<u8>)) -> String {
    format!("[{of}{}{kind}=0x{}]", if of.is_empty() { "" } else { " " }, hex(value))
}

/// `10.0.0.1:21`, `[fe80::1]:21`, or the address alone.
fn endpoint(Endpoint { address, port }: Endpoint) -> String {
    match (address, port) {
        (IpAddr::V6(address), Some(port)) => format!("[{address}]:{port}"),
        (address, Some(port)) => format!("{address}:{port}"),
        (address, None) => address.to_string(),
    }
}

/// The same with what of it counts; a port of which nothing counts is left out.
fn masked(of: Endpoint, mask: Endpoint) -> String {
    let address = match (of.address, mask.address) {
        (IpAddr::V4(address), IpAddr::V4(mask)) => {
            format!("{address}{}", bits(mask.to_bits().into(), 32, || mask.to_string()))
        }
        (IpAddr::V6(address), IpAddr::V6(mask)) => {
            format!("{address}{}", bits(mask.to_bits(), 128, || mask.to_string()))
        }
        (address, mask) => format!("{address}/{mask}"),
    };
    let port = match (of.port, mask.port) {
        (None | Some(0), Some(0)) | (None, None) => return address,
        (port, Some(u16::MAX)) => format!("{}", port.unwrap_or(0)),
        (port, Some(mask)) => format!("{}/0x{mask:x}", port.unwrap_or(0)),
        (port, None) => format!("{}/none", port.unwrap_or(0)),
    };
    if of.address.is_ipv4() { format!("{address}:{port}") } else { format!("[{address}]:{port}") }
}

/// `` for a whole mask, `/LENGTH` for a prefix, else `/MASK`.
fn bits(mask: u128, length: u32, text: impl Fn() -> String) -> String {
    let ones = mask.count_ones();
    let is_prefix = ones == 0 || mask == (u128::MAX >> (128 - ones)) << (length - ones);
    match is_prefix {
        true if ones == length => String::new(),
        true => format!("/{ones}"),
        false => format!("/{}", text()),
    }
}

/// Where a port stands at the beginning of `rest`, which follows `word`, of a line of an expectation: how long it is with its
/// colon. Ports are other ones each time.
pub fn port_length(word: &str, rest: &str) -> Option<usize> {
    let digits = rest.strip_prefix(':')?;
    let length = digits.bytes().take_while(u8::is_ascii_digit).count();
    let is_end = digits.get(length..).is_some_and(|after| after.is_empty() || after.starts_with(' '));
    let is_address =
        word.ends_with(']') || word.bytes().all(|byte| byte.is_ascii_digit() || b"./".contains(&byte));
    (length > 0 && is_end && is_address && !word.is_empty()).then_some(length + 1)
}

#[cfg(test)]
mod tests;
