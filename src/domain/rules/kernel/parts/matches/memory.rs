//! Matches that remember earlier packets, or chance: `recent`, `statistic`, `quota`, `nfacct`, `rateest`.
//! Does not see what they remember.

use super::matching;
use crate::domain::rules::kernel::layout::{Name, layout};
use crate::domain::rules::kernel::parts::words::{Address, address, boolean};
use crate::domain::rules::kernel::parts::{BOTH, Extension, Info};
use crate::domain::rules::text::line::Line;

pub(super) const EXTENSIONS: &[Extension] = &[
    matching("recent", BOTH, &[1], &[], "netfilter/xt_recent.h", recent),
    // the states are the kernel's pointers
    matching("statistic", BOTH, &[0], &[16..24], "netfilter/xt_statistic.h", statistic),
    matching("quota", BOTH, &[0], &[16..24], "netfilter/xt_quota.h", quota),
    matching("nfacct", BOTH, &[0, 1], &[32..40], "netfilter/xt_nfacct.h", nfacct),
    matching("rateest", BOTH, &[0], &[56..72], "netfilter/xt_rateest.h", rateest),
];

layout! {
    /// `struct xt_recent_mtinfo_v1`.
    struct Recent[228] {
        seconds: u32 = 0, hit_count: u32 = 4, check_set: u8 = 8, invert: u8 = 9, name: [u8; 200] = 10, side: u8 = 210,
        mask: Address = 212
    }
}

/// What iptables writes as the list's name before the one that was asked for: its end may show behind the NUL.
const DEFAULT_LIST: &[u8] = b"DEFAULT";

fn recent(info: &Info<'_>, line: &mut Line) -> Option<()> {
    // `XT_RECENT_*`
    const MODES: [(u8, &str); 4] =
        [(1 << 1, "--set"), (1 << 0, "--rcheck"), (1 << 2, "--update"), (1 << 3, "--remove")];
    const XT_RECENT_TTL: u8 = 1 << 4;
    const XT_RECENT_REAP: u8 = 1 << 5;
    let recent: Recent = info.decode()?;
    let has = |bit| recent.check_set & bit != 0;
    let mode = recent.check_set & !(XT_RECENT_TTL | XT_RECENT_REAP);
    let (_, option) = MODES.iter().find(|(bit, _)| *bit == mode)?;
    line.option(boolean(recent.invert)?, option);
    let is_asking = matches!(*option, "--rcheck" | "--update");
    if recent.seconds != 0 {
        // iptables-save 1.8.9 writes larger ones as negative
        line.word(format_args!("--seconds {}", i32::try_from(recent.seconds).ok()?));
    }
    if has(XT_RECENT_REAP) {
        line.word("--reap");
    }
    if recent.hit_count != 0 {
        line.word(format_args!("--hitcount {}", recent.hit_count));
    }
    if has(XT_RECENT_TTL) {
        line.word("--rttl");
    }
    line.word("--name");
    line.name(list_name(&recent.name)?)?;
    line.word("--mask ");
    // iptables sets all bytes of a whole IPv4 mask
    let mask = if info.is_ip() && recent.mask == [u8::MAX; 16] { WHOLE_IP } else { recent.mask };
    address(line, info.is_ip(), &mask)?;
    line.word(if boolean(recent.side)? { "--rdest" } else { "--rsource" });
    let is_plain = recent.seconds == 0 && recent.hit_count == 0 && !has(XT_RECENT_TTL | XT_RECENT_REAP);
    let can_reap = recent.seconds != 0 || !has(XT_RECENT_REAP);
    (can_reap && (is_asking || is_plain)).then_some(())
}

const WHOLE_IP: Address = [0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

/// The bytes before the NUL; none if what follows it is not what iptables leaves there.
fn list_name(field: &[u8; 200]) -> Option<&[u8]> {
    let length = memchr::memchr(0, field)?;
    let left_over = |at: usize| DEFAULT_LIST.get(at).copied().unwrap_or(0);
    let behind = || (0..).zip(field).skip(length + 1);
    let is_clean = behind().all(|(_, byte)| *byte == 0) || behind().all(|(at, byte)| *byte == left_over(at));
    is_clean.then_some(field.get(..length)?)
}

layout! {
    /// `struct xt_statistic_info`: a probability, or the numbers of `nth`, share their place.
    struct Statistic[24] { mode: u16 = 0, flags: u16 = 2, every: u32 = 4, packet: u32 = 8, count: u32 = 12 }
}

fn statistic(info: &Info<'_>, line: &mut Line) -> Option<()> {
    const XT_STATISTIC_MODE_RANDOM: u16 = 0;
    const XT_STATISTIC_MODE_NTH: u16 = 1;
    const ONE: u32 = 0x8000_0000;
    let Statistic { mode, flags, every, packet, count } = info.decode()?;
    let is_negated = boolean(flags)?;
    match mode {
        XT_STATISTIC_MODE_RANDOM if every <= ONE && packet == 0 => {
            line.word("--mode random");
            line.option(is_negated, "--probability");
            line.word(format_args!("{:.11}", f64::from(every) / f64::from(ONE)));
        }
        XT_STATISTIC_MODE_NTH if packet <= every => {
            line.word("--mode nth");
            line.option(is_negated, "--every");
            line.word(format_args!("{} --packet {packet}", every.checked_add(1)?));
        }
        _ => return None,
    }
    // iptables sets it in both modes
    (count == every.checked_sub(packet)?).then_some(())
}

layout! {
    /// `struct xt_quota_info`.
    struct Quota[24] { flags: u32 = 0, quota: u64 = 8 }
}

fn quota(info: &Info<'_>, line: &mut Line) -> Option<()> {
    let Quota { flags, quota } = info.decode()?;
    line.option(boolean(flags)?, "--quota");
    line.word(quota);
    Some(())
}

layout! {
    /// `struct xt_nfacct_match_info` and `struct xt_nfacct_match_info_v1`, which differ on 32-bit machines only.
    struct Nfacct[40] { name: Name<32> = 0 }
}

fn nfacct(info: &Info<'_>, line: &mut Line) -> Option<()> {
    let Nfacct { name } = info.decode()?;
    // with two blanks, as iptables-save has it
    line.word("--nfacct-name ");
    name.is_terminated().then(|| line.string(name.as_bytes()))?
}

layout! {
    /// `struct xt_rateest_match_info`.
    struct RateEst[72] {
        name1: Name<16> = 0, name2: Name<16> = 16, flags: u16 = 32, mode: u16 = 34, bps1: u32 = 36, pps1: u32 = 40,
        bps2: u32 = 44, pps2: u32 = 48
    }
}

fn rateest(info: &Info<'_>, line: &mut Line) -> Option<()> {
    const XT_RATEEST_MATCH_INVERT: u16 = 1 << 0;
    const XT_RATEEST_MATCH_ABS: u16 = 1 << 1;
    const XT_RATEEST_MATCH_REL: u16 = 1 << 2;
    const XT_RATEEST_MATCH_DELTA: u16 = 1 << 3;
    const XT_RATEEST_MATCH_BPS: u16 = 1 << 4;
    const XT_RATEEST_MATCH_PPS: u16 = 1 << 5;
    const ALL: u16 = 0x3f;
    let rate: RateEst = info.decode()?;
    let has = |bit| rate.flags & bit != 0;
    let (is_relative, is_delta) = (has(XT_RATEEST_MATCH_REL), has(XT_RATEEST_MATCH_DELTA));
    let has_names = rate.name1.is_terminated()
        && rate.name2.is_terminated()
        && rate.name2.as_bytes().is_empty() != is_relative;
    let has_rate = has(XT_RATEEST_MATCH_BPS | XT_RATEEST_MATCH_PPS);
    let is_sane = rate.flags & !ALL == 0 && has(XT_RATEEST_MATCH_ABS) != is_relative && has_rate && has_names;
    if !is_sane {
        return None;
    }
    if is_delta {
        line.word("--rateest-delta");
    }
    line.word(if is_relative { "--rateest1" } else { "--rateest" });
    line.name(rate.name1.as_bytes())?;
    // `XT_RATEEST_MATCH_EQ`, `XT_RATEEST_MATCH_LT`, `XT_RATEEST_MATCH_GT`
    let mode = match rate.mode {
        1 => "--rateest-eq",
        2 => "--rateest-lt",
        3 => "--rateest-gt",
        _ => return None,
    };
    for (bit, unit, first, second) in [
        (XT_RATEEST_MATCH_BPS, "bps", rate.bps1, rate.bps2),
        (XT_RATEEST_MATCH_PPS, "pps", rate.pps1, rate.pps2),
    ] {
        let has_first = has(bit) && is_delta;
        let has_second = has(bit) && (is_delta || !is_relative);
        if (first != 0 && !has_first) || (second != 0 && !has_second) {
            return None;
        }
        if !has(bit) {
            continue;
        }
        if has_first {
            write_rate(line, unit, "1", first)?;
        }
        line.option(has(XT_RATEEST_MATCH_INVERT), mode);
        if has_second {
            write_rate(line, unit, if is_delta { "2" } else { "" }, second)?;
        } else {
            line.word(format_args!("--rateest-{unit}"));
        }
    }
    if is_relative {
        line.word("--rateest2");
        line.name(rate.name2.as_bytes())?;
    }
    Some(())
}

/// Bytes a second are written as bits. None if the unit that iptables-save 1.8.9 chooses is too coarse for them.
fn write_rate(line: &mut Line, unit: &str, number: &str, rate: u32) -> Option<()> {
    const KILO: u64 = 1_000;
    const MEGA: u64 = 1_000_000;
    let bits = u64::from(rate) * 8;
    let (per, of) = match bits {
        _ if unit != "bps" => (8, ""),
        0..MEGA => (1, "bit"),
        MEGA..1_000_000_000 => (KILO, "Kbit"),
        _ => (MEGA, "Mbit"),
    };
    line.word(format_args!("--rateest-{unit}{number} {}{of}", bits / per));
    bits.is_multiple_of(per).then_some(())
}
