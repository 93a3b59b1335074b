//! The match `policy`: what IPsec did or will do with a packet.
//! Knows no other match.

use super::matching;
use crate::domain::rules::kernel::layout::{Field, layout};
use crate::domain::rules::kernel::parts::words::{Address, host_network};
use crate::domain::rules::kernel::parts::{BOTH, Extension, Info};
use crate::domain::rules::text::line::Line;

pub(super) const EXTENSIONS: &[Extension] =
    &[matching("policy", BOTH, &[0], &[], "netfilter/xt_policy.h", policy)];

/// `XT_POLICY_MAX_ELEM`.
const XT_POLICY_MAX_ELEM: usize = 4;

layout! {
    /// `struct xt_policy_elem`. iptables writes the SPI in the byte order of the machine.
    struct Element[76] {
        saddr: Address = 0, smask: Address = 16, daddr: Address = 32, dmask: Address = 48, spi: u32 = 64, reqid: u32 = 68,
        proto: u8 = 72, mode: u8 = 73, matched: u8 = 74, invert: u8 = 75
    }
}

layout! {
    /// `struct xt_policy_info`.
    struct Policy[308] {
        pol: [Element; XT_POLICY_MAX_ELEM] = 0, flags: u16 = 304, len: u16 = 306
    }
}

fn policy(info: &Info<'_>, line: &mut Line) -> Option<()> {
    const XT_POLICY_MATCH_IN: u16 = 1 << 0;
    const XT_POLICY_MATCH_OUT: u16 = 1 << 1;
    const XT_POLICY_MATCH_NONE: u16 = 1 << 2;
    const XT_POLICY_MATCH_STRICT: u16 = 1 << 3;
    let Policy { pol, flags, len } = info.decode()?;
    line.word(match flags & (XT_POLICY_MATCH_IN | XT_POLICY_MATCH_OUT) {
        XT_POLICY_MATCH_IN => "--dir in",
        XT_POLICY_MATCH_OUT => "--dir out",
        _ => return None,
    });
    let is_none = flags & XT_POLICY_MATCH_NONE != 0;
    let is_strict = flags & XT_POLICY_MATCH_STRICT != 0;
    line.word(if is_none { "--pol none" } else { "--pol ipsec" });
    if is_strict {
        line.word("--strict");
    }
    let (used, unused) = pol.split_at_checked(len.into())?;
    for (index, element) in used.iter().enumerate() {
        if index > 0 {
            line.word("--next");
        }
        write_element(line, info.is_ip(), element)?;
    }
    let most = match (is_none, is_strict) {
        (true, true) => return None,
        (true, false) => 0,
        (false, true) => XT_POLICY_MAX_ELEM,
        (false, false) => 1,
    };
    // without an element nothing ever matches, which the text does not say
    let is_said = used.len() <= most
        && used.is_empty() == is_none
        && unused.iter().all(|element| *element == Element::read(&[]));
    (is_said && flags <= 0x0f).then_some(())
}

fn write_element(line: &mut Line, is_ip: bool, element: &Element) -> Option<()> {
    /// Bits of `struct xt_policy_spec`.
    const SADDR: u8 = 1 << 0;
    const DADDR: u8 = 1 << 1;
    const PROTO: u8 = 1 << 2;
    const MODE: u8 = 1 << 3;
    const SPI: u8 = 1 << 4;
    const REQID: u8 = 1 << 5;
    let has = |bit| element.matched & bit != 0;
    let is_not = |bit| element.invert & bit != 0;
    if has(REQID) {
        line.option(is_not(REQID), "--reqid");
        line.word(element.reqid);
    }
    if has(SPI) {
        line.option(is_not(SPI), "--spi");
        line.word(format_args!("{:#x}", element.spi));
    }
    if has(PROTO) {
        line.option(is_not(PROTO), "--proto");
        line.word(match element.proto {
            50 => "esp",
            51 => "ah",
            108 => "ipcomp",
            _ => return None,
        });
    }
    if has(MODE) {
        line.option(is_not(MODE), "--mode");
        // `enum xt_policy_modes`
        line.word(["transport", "tunnel"].get(usize::from(element.mode))?);
    }
    for (bit, option, address, mask) in [
        (DADDR, "--tunnel-dst", &element.daddr, &element.dmask),
        (SADDR, "--tunnel-src", &element.saddr, &element.smask),
    ] {
        if has(bit) {
            line.option(is_not(bit), option);
            host_network(line, is_ip, address, mask)?;
        } else if *address != [0; 16] || *mask != [0; 16] {
            return None;
        }
    }
    let is_unset = |bit, value: u32| has(bit) || value == 0;
    let is_said = is_unset(REQID, element.reqid)
        && is_unset(SPI, element.spi)
        && is_unset(PROTO, element.proto.into())
        && is_unset(MODE, element.mode.into());
    (is_said && element.matched <= 0x3f && element.invert & !element.matched == 0).then_some(())
}
