//! Matches of how often something comes: limit, hashlimit.
//! Counts nothing.
//!
//! iptables keeps an interval for each packet, or a cost for each sixteen bytes, and prints a rounded rate.

use super::matching;
use crate::domain::rules::kernel::layout::{Name, layout};
use crate::domain::rules::kernel::parts::{BOTH, Extension, Info, words};
use crate::domain::rules::text::line::Line;

pub(super) const EXTENSIONS: &[Extension] = &[
    matching("hashlimit", BOTH, &[1], &[48..56], "netfilter/xt_hashlimit.h", hashlimit1),
    matching("hashlimit", BOTH, &[2], &[296..304], "netfilter/xt_hashlimit.h", hashlimit2),
    matching("hashlimit", BOTH, &[3], &[304..312], "netfilter/xt_hashlimit.h", hashlimit3),
    // kernels before Linux 4.11 show what is left of the rate
    matching("limit", BOTH, &[0], &[8..40], "netfilter/xt_limit.h", limit),
];

layout! {
    /// `struct xt_rateinfo` without the part that is the kernel's.
    pub struct Limit[40] { interval: u32 = 0, burst: u32 = 4 }
}

fn limit(info: &Info<'_>, line: &mut Line) -> Option<()> {
    /// `XT_LIMIT_SCALE`: the intervals of a second.
    const SCALE: u64 = 10_000;
    const BURST_DEFAULT: u32 = 5;
    const BURST_MAX: u32 = 10_000;
    let Limit { interval, burst } = info.decode()?;
    line.word("--limit");
    words::rate(line, interval.into(), SCALE)?;
    if burst != BURST_DEFAULT {
        line.word(format_args!("--limit-burst {burst}"));
    }
    (burst <= BURST_MAX).then_some(())
}

layout! {
    /// `struct xt_hashlimit_mtinfo1` without the pointer at its end.
    struct HashLimit1[56] {
        name: Name<16> = 0, mode: u32 = 16, average: u32 = 20, burst: u32 = 24, size: u32 = 28, max: u32 = 32,
        gc_interval: u32 = 36, expire: u32 = 40, masks: [u8; 2] = 44,
    }
}

layout! {
    /// `struct xt_hashlimit_mtinfo2` without the pointer at its end.
    struct HashLimit2[304] {
        name: Name<255> = 0, average: u64 = 256, burst: u64 = 264, mode: u32 = 272, size: u32 = 276,
        max: u32 = 280, gc_interval: u32 = 284, expire: u32 = 288, masks: [u8; 2] = 292,
    }
}

layout! {
    /// `struct xt_hashlimit_mtinfo3` without the pointer at its end.
    struct HashLimit3[312] {
        name: Name<255> = 0, average: u64 = 256, burst: u64 = 264, mode: u32 = 272, size: u32 = 276,
        max: u32 = 280, gc_interval: u32 = 284, expire: u32 = 288, interval: u32 = 292, masks: [u8; 2] = 296,
    }
}

/// `XT_HASHLIMIT_*`.
const HASH: [(u32, &str); 4] =
    [(1 << 2, "srcip"), (1 << 3, "srcport"), (1 << 0, "dstip"), (1 << 1, "dstport")];
const HASH_ALL: u32 = 0xf;
const INVERT: u32 = 1 << 4;
const BYTES: u32 = 1 << 5;
const RATE_MATCH: u32 = 1 << 6;

/// What differs between the revisions beside the places of the fields.
struct Bounds {
    /// `XT_HASHLIMIT_SCALE`: the intervals of a second.
    scale: u64,
    /// `XT_HASHLIMIT_BURST_MAX`, in packets.
    burst_max: u64,
    /// The highest rate and burst in bytes.
    bytes_max: u64,
    /// The flags that the revision has.
    modes: u32,
}

const BOUNDS1: Bounds =
    Bounds { scale: 10_000, burst_max: 10_000, bytes_max: u32::MAX as u64, modes: HASH_ALL | INVERT | BYTES };
const BOUNDS2: Bounds =
    Bounds { scale: 1_000_000, burst_max: 1_000_000, bytes_max: u64::MAX, modes: HASH_ALL | INVERT | BYTES };
const BOUNDS3: Bounds = Bounds { modes: BOUNDS2.modes | RATE_MATCH, ..BOUNDS2 };

/// `struct hashlimit_cfg3`, which says what the others say and the interval.
struct Config<'a> {
    name: &'a [u8],
    average: u64,
    burst: u64,
    mode: u32,
    size: u32,
    max: u32,
    gc_interval: u32,
    expire: u32,
    interval: u32,
    masks: [u8; 2],
}

fn hashlimit1(info: &Info<'_>, line: &mut Line) -> Option<()> {
    let HashLimit1 { name, mode, average, burst, size, max, gc_interval, expire, masks } = info.decode()?;
    let (name, average, burst) = (terminated(&name)?, average.into(), burst.into());
    let config = Config { name, average, burst, mode, size, max, gc_interval, expire, interval: 0, masks };
    config.write(info, line, &BOUNDS1)
}

fn hashlimit2(info: &Info<'_>, line: &mut Line) -> Option<()> {
    let HashLimit2 { name, average, burst, mode, size, max, gc_interval, expire, masks } = info.decode()?;
    let name = terminated(&name)?;
    let config = Config { name, average, burst, mode, size, max, gc_interval, expire, interval: 0, masks };
    config.write(info, line, &BOUNDS2)
}

fn hashlimit3(info: &Info<'_>, line: &mut Line) -> Option<()> {
    let HashLimit3 { name, average, burst, mode, size, max, gc_interval, expire, interval, masks } =
        info.decode()?;
    let name = terminated(&name)?;
    let config = Config { name, average, burst, mode, size, max, gc_interval, expire, interval, masks };
    config.write(info, line, &BOUNDS3)
}

fn terminated<const N: usize>(name: &Name<N>) -> Option<&[u8]> {
    name.is_terminated().then(|| name.as_bytes())
}

impl Config<'_> {
    fn write(&self, info: &Info<'_>, line: &mut Line, bounds: &Bounds) -> Option<()> {
        /// `XT_HASHLIMIT_GCINTERVAL`, in milliseconds.
        const GC_INTERVAL: u32 = 1_000;
        if self.mode & !bounds.modes != 0 {
            return None;
        }
        line.word(if self.mode & INVERT != 0 { "--hashlimit-above" } else { "--hashlimit-upto" });
        let seconds = if self.mode & BYTES != 0 {
            self.write_bytes(line, bounds)?
        } else {
            self.write_packets(line, bounds)?
        };
        if self.mode & HASH_ALL != 0 {
            line.word("--hashlimit-mode");
            words::names(line, self.mode & HASH_ALL, &HASH)?;
        }
        line.word("--hashlimit-name");
        line.name(self.name)?;
        if self.size != 0 {
            line.word(format_args!("--hashlimit-htable-size {}", self.size));
        }
        if self.max != 0 {
            line.word(format_args!("--hashlimit-htable-max {}", self.max));
        }
        if self.gc_interval != GC_INTERVAL {
            line.word(format_args!("--hashlimit-htable-gcinterval {}", self.gc_interval));
        }
        if u64::from(self.expire) != seconds * 1_000 {
            line.word(format_args!("--hashlimit-htable-expire {}", self.expire));
        }
        self.write_masks(info, line)?;
        self.write_interval(line)
    }

    /// The rate and the burst, which is always shown. Returns the seconds after which an entry expires by default.
    fn write_packets(&self, line: &mut Line, bounds: &Bounds) -> Option<u64> {
        let unit = words::rate(line, self.average, bounds.scale)?;
        if !(1..=bounds.burst_max).contains(&self.burst) {
            return None;
        }
        // a rate that is measured is divided by its unit when it is read, and is never kept as one of a longer unit
        if self.mode & RATE_MATCH != 0 && unit != 1 {
            return None;
        }
        line.word(format_args!("--hashlimit-burst {}", self.burst));
        Some(unit)
    }

    /// The rate and, if there is one, the burst. Returns the seconds after which an entry expires by default.
    fn write_bytes(&self, line: &mut Line, bounds: &Bounds) -> Option<u64> {
        /// `XT_HASHLIMIT_BYTE_EXPIRE` and `XT_HASHLIMIT_BYTE_EXPIRE_BURST`.
        const EXPIRE: u64 = 15;
        const EXPIRE_WITH_BURST: u64 = 60;
        let rate = cost_to_bytes(self.average)?;
        // iptables looks at the lowest 32 bits here
        let is_exact = |unit: u32| {
            rate >= unit.into() && bytes_to_cost(rate & u64::from(!(unit - 1))) == Some(self.average)
        };
        let (unit, letter) = byte_unit(is_exact);
        let shown = rate / unit * unit;
        if shown == 0 || shown > bounds.bytes_max || bytes_to_cost(shown) != Some(self.average) {
            return None;
        }
        line.word(format_args!("{}{letter}b/s", rate / unit));
        if self.burst == 0 {
            return Some(EXPIRE);
        }
        let burst = rate.checked_mul(self.burst)?;
        let (unit, letter) = byte_unit(|unit| burst >= unit.into());
        let shown = burst / unit * unit;
        // the burst is kept in units of the rate, rounded up, and iptables divides the lowest 32 bits
        let again = (shown & u64::from(u32::MAX)) / rate + u64::from(!shown.is_multiple_of(rate));
        if shown > bounds.bytes_max || shown < rate || again != self.burst {
            return None;
        }
        line.word(format_args!("--hashlimit-burst {}{letter}b", burst / unit));
        Some(EXPIRE_WITH_BURST)
    }

    /// How many bits of an address tell hosts apart, unless all do.
    fn write_masks(&self, info: &Info<'_>, line: &mut Line) -> Option<()> {
        let width = if info.is_ip() { words::IP_BITS } else { words::IP6_BITS };
        for (name, length) in ["--hashlimit-srcmask", "--hashlimit-dstmask"].into_iter().zip(self.masks) {
            let length = u32::from(length);
            if length > width {
                return None;
            }
            if length != width {
                line.word(format_args!("{name} {length}"));
            }
        }
        Some(())
    }

    fn write_interval(&self, line: &mut Line) -> Option<()> {
        const INTERVAL_MAX: u32 = i32::MAX.cast_unsigned();
        if self.mode & RATE_MATCH == 0 {
            return (self.interval == 0).then_some(());
        }
        line.word("--hashlimit-rate-match");
        match self.interval {
            1 => (),
            interval @ 1..=INTERVAL_MAX => line.word(format_args!("--hashlimit-rate-interval {interval}")),
            _ => return None,
        }
        Some(())
    }
}

/// `XT_HASHLIMIT_BYTE_SHIFT`: sixteen bytes are one unit of cost.
const BYTE_SHIFT: u32 = 4;

/// The rate in bytes that a cost stands for: a share of all that may be spent in a second.
fn cost_to_bytes(cost: u64) -> Option<u64> {
    const ALL: u64 = u32::MAX as u64;
    let units = ALL.checked_div(cost)?.checked_sub(1)?;
    Some(units << BYTE_SHIFT)
}

/// The cost that iptables keeps for a rate; none if it cannot.
fn bytes_to_cost(bytes: u64) -> Option<u64> {
    let units = u32::try_from(bytes >> BYTE_SHIFT).ok()?;
    u32::MAX.checked_div(units.checked_add(1)?).map(u64::from)
}

/// The largest unit of bytes that fits, and its letter.
fn byte_unit(fits: impl Fn(u32) -> bool) -> (u64, &'static str) {
    const UNITS: [(u32, &str); 2] = [(1024 * 1024, "m"), (1024, "k")];
    let unit = UNITS.into_iter().find(|(unit, _)| fits(*unit));
    unit.map_or((1, ""), |(unit, letter)| (unit.into(), letter))
}
