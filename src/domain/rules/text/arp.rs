//! The native lines of legacy arp tables: what arptables-legacy wrote, as nft(8) would say it.
//! Knows no arp rule of nf_tables, and no name of an iptables option but of raw parts.
//!
//! Conditions stand in the order in which arptables-nft writes them. A head that nft has no words for, or that no
//! arptables writes, is `--raw-head HEX`: `struct arpt_arp`, whole. x_tables parts are those of iptables' lines.
//!
//! *Source*: `struct arpt_arp` and `ARPT_INV_*` in `netfilter_arp/arp_tables.h`; ARP HEADER EXPRESSION in nft(8).

use std::net::Ipv4Addr;

use super::line::Line;
use super::rule::part;
use super::word::{name, quote};
use crate::domain::rules::Family;
use crate::domain::rules::kernel::Ipsets;
use crate::domain::rules::kernel::head::Device;
use crate::domain::rules::kernel::layout::{Be16, Field, Name, layout};
use crate::domain::rules::kernel::parts::{Role, Surroundings, words};
use crate::domain::rules::kernel::rule::{Action, Condition, Match, Rule, Verdict};

layout! {
    /// `struct arpt_arp`.
    struct Arp[164] {
        source: [u8; 4] = 0,
        target: [u8; 4] = 4,
        source_mask: [u8; 4] = 8,
        target_mask: [u8; 4] = 12,
        hardware_length: u8 = 16,
        hardware_length_mask: u8 = 17,
        source_device: [u8; 16] = 18,
        source_device_mask: [u8; 16] = 34,
        target_device: [u8; 16] = 50,
        target_device_mask: [u8; 16] = 66,
        operation: Be16 = 82,
        operation_mask: Be16 = 84,
        hardware: Be16 = 86,
        hardware_mask: Be16 = 88,
        protocol: Be16 = 90,
        protocol_mask: Be16 = 92,
        input: Name<16> = 94,
        output: Name<16> = 110,
        input_mask: [u8; 16] = 126,
        output_mask: [u8; 16] = 142,
        flags: u8 = 158,
        inverse: u16 = 160,
    }
}

/// `ARPT_INV_*`.
const INVERSE_INPUT: u16 = 0x0001;
const INVERSE_OUTPUT: u16 = 0x0002;
const INVERSE_SOURCE: u16 = 0x0004;
const INVERSE_TARGET: u16 = 0x0008;
const INVERSE_SOURCE_DEVICE: u16 = 0x0010;
const INVERSE_TARGET_DEVICE: u16 = 0x0020;
const INVERSE_OPERATION: u16 = 0x0040;
const INVERSE_HARDWARE: u16 = 0x0080;
const INVERSE_PROTOCOL: u16 = 0x0100;
const INVERSE_HARDWARE_LENGTH: u16 = 0x0200;

/// `chain arp TABLE CHAIN type filter hook HOOK priority 0 policy POLICY`.
pub fn policy(table: &str, chain: &str, policy: Verdict, line: &mut Line) {
    let hook = chain.to_ascii_lowercase();
    let policy = policy.as_str().to_ascii_lowercase();
    line.push(b"chain arp ");
    line.push(name(table).as_bytes());
    line.word(format_args!("{chain} type filter hook {hook} priority 0 policy {policy}"));
}

/// `arp TABLE CHAIN …`.
pub fn rule(table: &str, chain: &[u8], rule: &Rule<'_>, ipsets: &Ipsets, line: &mut Line) {
    line.push(b"arp ");
    line.push(name(table).as_bytes());
    line.push(b" ");
    line.push(name(chain).as_bytes());
    let start = line.len();
    if let Condition::Raw(head) = rule.head
        && conditions(head, line).is_none()
    {
        line.truncate(start);
        line.word("--raw-head ");
        line.hex(head);
    }
    let around = Surroundings { family: Family::Arp, ipsets };
    for one in &rule.matches {
        if let Match::Part(one) = one {
            part(Role::Match, one, false, around, line);
        }
    }
    line.word("counter");
    match &rule.action {
        Action::Verdict(verdict) => line.word(verdict.as_str().to_ascii_lowercase()),
        Action::RawVerdict(verdict) => line.word(format_args!("--raw-verdict {verdict}")),
        Action::Chain { name: chain, .. } => {
            line.push(b" jump ");
            line.push(name(chain).as_bytes());
        }
        Action::Target(one) => part(Role::Target, one, false, around, line),
        Action::None | Action::Log(_) | Action::Trace => (),
    }
}

/// None if nft has no words for one of them.
fn conditions(head: &[u8], line: &mut Line) -> Option<()> {
    let arp = Arp::read(head);
    let mut again = [0; Arp::SIZE];
    arp.write(&mut again);
    if again != head || arp.flags != 0 {
        return None;
    }
    let mut left = arp.inverse;
    let mut operator = |bit: u16, is_asked: bool| -> Option<&'static str> {
        let is_negated = arp.inverse & bit != 0;
        left &= !bit;
        // what asks nothing cannot be negated
        (is_asked || !is_negated).then_some(if is_negated { "!= " } else { "" })
    };
    for (key, name, mask, bit) in [
        ("iifname", &arp.input, &arp.input_mask, INVERSE_INPUT),
        ("oifname", &arp.output, &arp.output_mask, INVERSE_OUTPUT),
    ] {
        let text = name.as_bytes();
        let operator = operator(bit, !text.is_empty())?;
        let device = Device { name: *name, is_negated: false };
        if !name.is_terminated() || device.mask() != *mask || text.contains(&b'*') {
            return None;
        }
        match text {
            [] => (),
            [b'+'] => return None,
            [prefix @ .., b'+'] => {
                line.word(format_args!("{key} {operator}"));
                line.push(quote([prefix, b"*"].concat()).as_bytes());
            }
            whole => {
                line.word(format_args!("{key} {operator}"));
                line.push(quote(whole).as_bytes());
            }
        }
    }
    for (key, value, mask, bit) in [
        ("htype", arp.hardware, arp.hardware_mask, INVERSE_HARDWARE),
        ("ptype", arp.protocol, arp.protocol_mask, INVERSE_PROTOCOL),
        (
            "hlen",
            Be16(arp.hardware_length.into()),
            byte_mask(arp.hardware_length_mask),
            INVERSE_HARDWARE_LENGTH,
        ),
        ("operation", arp.operation, arp.operation_mask, INVERSE_OPERATION),
    ] {
        let is_asked = mask != Be16(0);
        let operator = operator(bit, is_asked)?;
        if is_asked && mask == Be16(u16::MAX) {
            line.word(format_args!("arp {key} {operator}{}", word(key, value.0)?));
        } else if is_asked || value != Be16(0) {
            return None;
        }
    }
    let (address, mask) = (&arp.source_device, &arp.source_device_mask);
    ether("saddr", address, mask, operator(INVERSE_SOURCE_DEVICE, *mask != [0; 16])?, line)?;
    ip("saddr", arp.source, arp.source_mask, operator(INVERSE_SOURCE, arp.source_mask != [0; 4])?, line)?;
    let (address, mask) = (&arp.target_device, &arp.target_device_mask);
    ether("daddr", address, mask, operator(INVERSE_TARGET_DEVICE, *mask != [0; 16])?, line)?;
    ip("daddr", arp.target, arp.target_mask, operator(INVERSE_TARGET, arp.target_mask != [0; 4])?, line)?;
    (left == 0).then_some(())
}

const fn byte_mask(mask: u8) -> Be16 {
    Be16(u16::from_be_bytes([mask, mask]))
}

/// The constant behind `arp KEY`; none if nft has a name for it that is not known here.
fn word(key: &str, value: u16) -> Option<String> {
    /// `ETH_P_IP`.
    const IP: u16 = 0x0800;
    match (key, value) {
        ("ptype", IP) => Some("ip".to_owned()),
        ("ptype", _) => None,
        // `ARPOP_*`
        ("operation", 1) => Some("request".to_owned()),
        ("operation", 2) => Some("reply".to_owned()),
        ("operation", 3) => Some("rrequest".to_owned()),
        ("operation", 4) => Some("rreply".to_owned()),
        ("operation", 8) => Some("inrequest".to_owned()),
        ("operation", 9) => Some("inreply".to_owned()),
        ("operation", 10) => Some("nak".to_owned()),
        _ => Some(value.to_string()),
    }
}

/// ` arp KEY ether ADDRESS/LENGTH`. None unless the mask is a prefix, of six bytes, that leaves out no bit of the address.
fn ether(key: &str, address: &[u8; 16], mask: &[u8; 16], operator: &str, line: &mut Line) -> Option<()> {
    const HOST: u32 = 48;
    let [a, b, c, d, e, f, ..] = address;
    let (mask, rest) = mask.split_at_checked(6)?;
    let length = words::prefix_length(mask)?;
    if rest.iter().any(|byte| *byte != 0) || !is_masked(address, mask) {
        return None;
    }
    if length != 0 {
        line.word(format_args!("arp {key} ether {operator}{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x}"));
    }
    if !matches!(length, 0 | HOST) {
        words::push(line, format_args!("/{length}"));
    }
    Some(())
}

/// Whether an address has no bit that its mask leaves out.
fn is_masked(address: &[u8], mask: &[u8]) -> bool {
    let masks = mask.iter().chain(std::iter::repeat(&0));
    address.iter().zip(masks).all(|(address, mask)| address & !mask == 0)
}

/// ` arp KEY ip ADDRESS/LENGTH`. None unless the mask is a prefix that leaves out no bit of the address.
fn ip(key: &str, address: [u8; 4], mask: [u8; 4], operator: &str, line: &mut Line) -> Option<()> {
    const HOST: u32 = 32;
    let length = words::prefix_length(&mask)?;
    if !is_masked(&address, &mask) {
        return None;
    }
    if length != 0 {
        line.word(format_args!("arp {key} ip {operator}{}", Ipv4Addr::from(address)));
    }
    if !matches!(length, 0 | HOST) {
        words::push(line, format_args!("/{length}"));
    }
    Some(())
}
