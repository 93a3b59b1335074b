//! `HMARK`: a mark made of a hash over parts of a packet.
//! Knows no other target.

use super::target;
use crate::domain::rules::kernel::layout::{Be16, layout};
use crate::domain::rules::kernel::parts::words::prefix_length;
use crate::domain::rules::kernel::parts::{BOTH, Extension, Info};
use crate::domain::rules::text::line::Line;

pub(super) const EXTENSIONS: &[Extension] =
    &[target("HMARK", BOTH, &[0], &[], "netfilter/xt_HMARK.h", hmark)];

layout! {
    /// `struct xt_hmark_info`. The ports, and their masks, are halves of a SPI, and of its mask.
    struct Hmark[60] {
        src_mask: [u8; 16] = 0, dst_mask: [u8; 16] = 16, src_port_mask: Be16 = 32, dst_port_mask: Be16 = 34,
        src_port: Be16 = 36, dst_port: Be16 = 38, flags: u32 = 40, proto_mask: u16 = 44, rnd: u32 = 48,
        modulus: u32 = 52, offset: u32 = 56
    }
}

/// `XT_HMARK_*`, by their bits.
mod flag {
    pub const SADDR_MASK: u32 = 1 << 0;
    pub const DADDR_MASK: u32 = 1 << 1;
    pub const SPI: u32 = 1 << 2;
    pub const SPI_MASK: u32 = 1 << 3;
    pub const SPORT: u32 = 1 << 4;
    pub const DPORT: u32 = 1 << 5;
    pub const SPORT_MASK: u32 = 1 << 6;
    pub const DPORT_MASK: u32 = 1 << 7;
    pub const PROTO_MASK: u32 = 1 << 8;
    pub const RND: u32 = 1 << 9;
    pub const MODULUS: u32 = 1 << 10;
    pub const OFFSET: u32 = 1 << 11;
    pub const CT: u32 = 1 << 12;
    /// Those that are written; the two `METHOD` bits behind them are not.
    pub const WRITTEN: u32 = (1 << 13) - 1;
}

fn hmark(info: &Info<'_>, line: &mut Line) -> Option<()> {
    let hmark: Hmark = info.decode()?;
    let has = |flag| hmark.flags & flag != 0;
    if hmark.flags & !flag::WRITTEN != 0 {
        return None;
    }
    prefix(line, has(flag::SADDR_MASK), "src", &hmark.src_mask, info.is_ip())?;
    prefix(line, has(flag::DADDR_MASK), "dst", &hmark.dst_mask, info.is_ip())?;
    let masks = [hmark.src_port_mask, hmark.dst_port_mask];
    let has_masks = [flag::SPI_MASK, flag::SPORT_MASK, flag::DPORT_MASK].map(has);
    ports(line, has_masks, ["spi-mask", "sport-mask", "dport-mask"], masks)?;
    let has_ports = [flag::SPI, flag::SPORT, flag::DPORT].map(has);
    ports(line, has_ports, ["spi", "sport", "dport"], [hmark.src_port, hmark.dst_port])?;
    hex(line, has(flag::PROTO_MASK), "proto-mask", hmark.proto_mask.into(), 4)?;
    hex(line, has(flag::RND), "rnd", hmark.rnd, 10)?;
    decimal(line, has(flag::MODULUS), "mod", hmark.modulus)?;
    decimal(line, has(flag::OFFSET), "offset", hmark.offset)?;
    if has(flag::CT) {
        line.word("--hmark-tuple ct");
    }
    Some(())
}

/// The length of the part of an address that is hashed. A mask that is not written must be zero.
fn prefix(line: &mut Line, is_set: bool, side: &str, mask: &[u8; 16], is_ip: bool) -> Option<()> {
    if !is_set {
        return (*mask == [0; 16]).then_some(());
    }
    // iptables sets all bytes of a whole IPv4 mask
    let length = match (prefix_length(mask)?, is_ip) {
        (128, true) => 32,
        (33.., true) => return None,
        (length, _) => length,
    };
    line.word(format_args!("--hmark-{side}-prefix {length}"));
    Some(())
}

/// A SPI, or the two ports that share its bytes.
fn ports(
    line: &mut Line,
    [is_spi, is_first, is_second]: [bool; 3],
    [spi, first, second]: [&str; 3],
    [one, two]: [Be16; 2],
) -> Option<()> {
    if is_spi {
        let whole = u32::from(one.0) << 16 | u32::from(two.0);
        let is_alone = !is_first && !is_second;
        return is_alone.then(|| hex(line, true, spi, whole, 10))?;
    }
    hex(line, is_first, first, one.0.into(), 6)?;
    hex(line, is_second, second, two.0.into(), 6)
}

/// A number with so many digits, `0x` included. One that is not written must be zero.
fn hex(line: &mut Line, is_set: bool, option: &str, value: u32, digits: usize) -> Option<()> {
    if is_set {
        line.word(format_args!("--hmark-{option} {value:#0digits$x}"));
    }
    (is_set || value == 0).then_some(())
}

fn decimal(line: &mut Line, is_set: bool, option: &str, value: u32) -> Option<()> {
    if is_set {
        line.word(format_args!("--hmark-{option} {value}"));
    }
    (is_set || value == 0).then_some(())
}
