//! Targets about connections, queues and timers: `CT`, `NOTRACK`, `NFQUEUE`, `SET`, `IDLETIMER`, `RATEEST`, `SYNPROXY`.
//! Knows no other target.

use super::target;
use crate::domain::rules::kernel::layout::{Name, layout};
use crate::domain::rules::kernel::parts::words::names;
use crate::domain::rules::kernel::parts::{BOTH, Extension, Info, ipsets};
use crate::domain::rules::text::line::Line;

pub(super) const EXTENSIONS: &[Extension] = &[
    // the states below are the kernel's pointers
    target("CT", BOTH, &[2], &[64..72], "netfilter/xt_CT.h", ct),
    target("NFQUEUE", BOTH, &[3], &[], "netfilter/xt_NFQUEUE.h", nfqueue),
    target("SET", BOTH, &[3], &[], "netfilter/xt_set.h", ipsets::target),
    target("IDLETIMER", BOTH, &[0], &[32..40], "netfilter/xt_IDLETIMER.h", idletimer),
    target("IDLETIMER", BOTH, &[1], &[40..48], "netfilter/xt_IDLETIMER.h", idletimer_alarm),
    target("RATEEST", BOTH, &[0], &[24..32], "netfilter/xt_RATEEST.h", rateest),
    target("SYNPROXY", BOTH, &[0], &[], "netfilter/nf_SYNPROXY.h", synproxy),
];

layout! {
    /// `struct xt_ct_target_info_v1`.
    struct Ct[72] {
        flags: u16 = 0, zone: u16 = 2, ct_events: u32 = 4, exp_events: u32 = 8, helper: Name<16> = 12,
        timeout: Name<32> = 28
    }
}

/// `XT_CT_*`.
mod ct_flag {
    pub const NOTRACK: u16 = 1 << 0;
    pub const NOTRACK_ALIAS: u16 = 1 << 1;
    pub const ZONE_DIR_ORIG: u16 = 1 << 2;
    pub const ZONE_DIR_REPL: u16 = 1 << 3;
    pub const ZONE_MARK: u16 = 1 << 4;
}

/// Bits of `enum ip_conntrack_events`.
const CT_EVENTS: [(u32, &str); 10] = [
    (1 << 0, "new"),
    (1 << 1, "related"),
    (1 << 2, "destroy"),
    (1 << 3, "reply"),
    (1 << 4, "assured"),
    (1 << 5, "protoinfo"),
    (1 << 6, "helper"),
    (1 << 7, "mark"),
    (1 << 8, "natseqinfo"),
    (1 << 9, "secmark"),
];
/// Bits of `enum ip_conntrack_expect_events`.
const EXP_EVENTS: [(u32, &str); 1] = [(1 << 0, "new")];

fn ct(info: &Info<'_>, line: &mut Line) -> Option<()> {
    use ct_flag::{NOTRACK, NOTRACK_ALIAS, ZONE_DIR_ORIG, ZONE_DIR_REPL, ZONE_MARK};
    let ct: Ct = info.decode()?;
    let is_plain = ct == Ct { flags: ct.flags, ..UNSET };
    match ct.flags & (NOTRACK | NOTRACK_ALIAS) {
        0 => (),
        // the whole target has another name then
        both if both == NOTRACK | NOTRACK_ALIAS && is_plain && ct.flags == both => {
            return line.rename("CT", "NOTRACK");
        }
        NOTRACK if is_plain && ct.flags == NOTRACK => {
            line.word("--notrack");
            return Some(());
        }
        _ => return None,
    }
    for (option, name) in [("--helper", ct.helper.as_bytes()), ("--timeout", ct.timeout.as_bytes())] {
        if !name.is_empty() {
            line.word(option);
            line.name(name)?;
        }
    }
    if !ct.helper.is_terminated() || !ct.timeout.is_terminated() {
        return None;
    }
    for (option, bits, table) in
        [("--ctevents", ct.ct_events, &CT_EVENTS[..]), ("--expevents", ct.exp_events, &EXP_EVENTS[..])]
    {
        if bits != 0 {
            line.word(option);
            names(line, bits, table)?;
        }
    }
    let option = match ct.flags & (ZONE_DIR_ORIG | ZONE_DIR_REPL) {
        0 => "--zone",
        ZONE_DIR_ORIG => "--zone-orig",
        ZONE_DIR_REPL => "--zone-reply",
        _ => return None,
    };
    match (ct.flags & ZONE_MARK != 0, ct.zone) {
        (true, 0) => line.word(format_args!("{option} mark")),
        (false, 1..) => line.word(format_args!("{option} {}", ct.zone)),
        (false, 0) if option == "--zone" => (),
        _ => return None,
    }
    (ct.flags & !(ZONE_DIR_ORIG | ZONE_DIR_REPL | ZONE_MARK) == 0).then_some(())
}

const UNSET: Ct =
    Ct { flags: 0, zone: 0, ct_events: 0, exp_events: 0, helper: Name::EMPTY, timeout: Name::EMPTY };

layout! {
    /// `struct xt_NFQ_info_v3`.
    struct Nfq[6] { queuenum: u16 = 0, queues_total: u16 = 2, flags: u16 = 4 }
}

fn nfqueue(info: &Info<'_>, line: &mut Line) -> Option<()> {
    const NFQ_FLAG_BYPASS: u16 = 1;
    const NFQ_FLAG_CPU_FANOUT: u16 = 2;
    let Nfq { queuenum, queues_total, flags } = info.decode()?;
    match queues_total {
        0 => return None,
        1 if flags & NFQ_FLAG_CPU_FANOUT != 0 => return None,
        1 => line.word(format_args!("--queue-num {queuenum}")),
        _ => {
            let last = queuenum.checked_add(queues_total - 1)?;
            line.word(format_args!("--queue-balance {queuenum}:{last}"));
        }
    }
    if flags & NFQ_FLAG_BYPASS != 0 {
        line.word("--queue-bypass");
    }
    if flags & NFQ_FLAG_CPU_FANOUT != 0 {
        line.word("--queue-cpu-fanout");
    }
    (flags & !(NFQ_FLAG_BYPASS | NFQ_FLAG_CPU_FANOUT) == 0).then_some(())
}

layout! {
    /// `struct idletimer_tg_info`.
    struct IdleTimer[40] { timeout: u32 = 0, label: Name<28> = 4 }
}

layout! {
    /// `struct idletimer_tg_info_v1`.
    struct IdleTimerAlarm[48] { timeout: u32 = 0, label: Name<28> = 4, send_nl_msg: u8 = 32, timer_type: u8 = 33 }
}

fn idletimer(info: &Info<'_>, line: &mut Line) -> Option<()> {
    let IdleTimer { timeout, label } = info.decode()?;
    timer(line, timeout, &label)
}

fn idletimer_alarm(info: &Info<'_>, line: &mut Line) -> Option<()> {
    const XT_IDLETIMER_ALARM: u8 = 1;
    let IdleTimerAlarm { timeout, label, send_nl_msg, timer_type } = info.decode()?;
    timer(line, timeout, &label)?;
    if timer_type == XT_IDLETIMER_ALARM {
        line.word("--alarm");
    }
    (send_nl_msg == 0 && timer_type <= XT_IDLETIMER_ALARM).then_some(())
}

fn timer(line: &mut Line, timeout: u32, label: &Name<28>) -> Option<()> {
    if timeout == 0 || !label.is_terminated() {
        return None;
    }
    line.word(format_args!("--timeout {timeout} --label"));
    line.name(label.as_bytes())
}

layout! {
    /// `struct xt_rateest_target_info`.
    struct RateEst[32] { name: Name<16> = 0, interval: i8 = 16, ewma_log: u8 = 17 }
}

/// The interval is a quarter of a second for -2 and doubles with each step; the average doubles it so often.
fn rateest(info: &Info<'_>, line: &mut Line) -> Option<()> {
    const SHORTEST_MICROSECONDS: u32 = 250_000;
    let RateEst { name, interval, ewma_log } = info.decode()?;
    if !name.is_terminated() || !(-2..=3).contains(&interval) || ewma_log == 0 {
        return None;
    }
    let interval = SHORTEST_MICROSECONDS << interval.checked_add(2)?;
    // what does not fit is written as another time
    let average = interval.checked_mul(2_u32.checked_pow(ewma_log.into())?)?;
    line.word("--rateest-name");
    line.name(name.as_bytes())?;
    write_time(line, "--rateest-interval", interval);
    write_time(line, "--rateest-ewmalog", average);
    Some(())
}

/// A time of a whole number of quarters of a second.
fn write_time(line: &mut Line, option: &str, microseconds: u32) {
    match microseconds {
        1_000_000.. => line.word(format_args!("{option} {}.0s", microseconds / 1_000_000)),
        _ => line.word(format_args!("{option} {}.0ms", microseconds / 1_000)),
    }
}

layout! {
    /// `struct xt_synproxy_info`.
    struct SynProxy[4] { options: u8 = 0, wscale: u8 = 1, mss: u16 = 2 }
}

fn synproxy(info: &Info<'_>, line: &mut Line) -> Option<()> {
    const XT_SYNPROXY_OPT_MSS: u8 = 0x01;
    const XT_SYNPROXY_OPT_WSCALE: u8 = 0x02;
    const XT_SYNPROXY_OPT_SACK_PERM: u8 = 0x04;
    const XT_SYNPROXY_OPT_TIMESTAMP: u8 = 0x08;
    const XT_SYNPROXY_OPT_ECN: u8 = 0x10;
    const WSCALE_MAX: u8 = 14;
    let SynProxy { options, wscale, mss } = info.decode()?;
    let has = |option| options & option != 0;
    if has(XT_SYNPROXY_OPT_SACK_PERM) {
        line.word("--sack-perm");
    }
    if has(XT_SYNPROXY_OPT_TIMESTAMP) {
        line.word("--timestamp");
    }
    if has(XT_SYNPROXY_OPT_WSCALE) {
        line.word(format_args!("--wscale {wscale}"));
    }
    if has(XT_SYNPROXY_OPT_MSS) {
        line.word(format_args!("--mss {mss}"));
    }
    if has(XT_SYNPROXY_OPT_ECN) {
        line.word("--ecn");
    }
    let has_scale = if has(XT_SYNPROXY_OPT_WSCALE) { wscale <= WSCALE_MAX } else { wscale == 0 };
    let is_said = options <= 0x1f && has_scale && (has(XT_SYNPROXY_OPT_MSS) || mss == 0);
    is_said.then_some(())
}
