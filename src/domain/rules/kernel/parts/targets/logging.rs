//! Targets that tell of a packet and let it go on: `LOG`, `NFLOG`, `AUDIT`, `TRACE`, `LED`.
//! Knows no other target.

use super::target;
use crate::domain::rules::kernel::layout::{Name, layout};
use crate::domain::rules::kernel::parts::words::boolean;
use crate::domain::rules::kernel::parts::{BOTH, Extension, Info};
use crate::domain::rules::text::line::Line;

pub(super) const EXTENSIONS: &[Extension] = &[
    target("LOG", BOTH, &[0], &[], "netfilter/xt_LOG.h", log),
    target("NFLOG", BOTH, &[0], &[], "netfilter/xt_NFLOG.h", nflog),
    target("AUDIT", BOTH, &[0], &[], "netfilter/xt_AUDIT.h", audit),
    target("TRACE", BOTH, &[0], &[], "netfilter/x_tables.h", trace),
    // the state is the kernel's pointer
    target("LED", BOTH, &[0], &[32..40], "netfilter/xt_LED.h", led),
];

layout! {
    /// `struct xt_log_info`.
    struct Log[32] { level: u8 = 0, logflags: u8 = 1, prefix: Name<30> = 2 }
}

fn log(info: &Info<'_>, line: &mut Line) -> Option<()> {
    /// `LOG_WARNING`, which is not written.
    const DEFAULT_LEVEL: u8 = 4;
    const LEVEL_MAX: u8 = 7;
    const FLAGS: [(u8, &str); 5] = [
        (0x01, "--log-tcp-sequence"),
        (0x02, "--log-tcp-options"),
        (0x04, "--log-ip-options"),
        (0x08, "--log-uid"),
        (0x20, "--log-macdecode"),
    ];
    let Log { level, logflags, prefix } = info.decode()?;
    let known = FLAGS.iter().fold(0, |known, (bit, _)| known | bit);
    if level > LEVEL_MAX || logflags & !known != 0 || !prefix.is_terminated() {
        return None;
    }
    write_prefix(line, "--log-prefix", prefix.as_bytes())?;
    if level != DEFAULT_LEVEL {
        line.word(format_args!("--log-level {level}"));
    }
    for (_, option) in FLAGS.iter().filter(|(bit, _)| logflags & bit != 0) {
        line.word(option);
    }
    Some(())
}

/// An empty prefix is not written.
fn write_prefix(line: &mut Line, option: &str, prefix: &[u8]) -> Option<()> {
    if prefix.is_empty() {
        return Some(());
    }
    line.word(option);
    line.string(prefix)
}

layout! {
    /// `struct xt_nflog_info`.
    pub struct Nflog[80] { len: u32 = 0, group: u16 = 4, threshold: u16 = 6, flags: u16 = 8, prefix: Name<64> = 12 }
}

fn nflog(info: &Info<'_>, line: &mut Line) -> Option<()> {
    const XT_NFLOG_F_COPY_LEN: u16 = 1;
    let Nflog { len, group, threshold, flags, prefix } = info.decode()?;
    if !prefix.is_terminated() {
        return None;
    }
    write_prefix(line, "--nflog-prefix", prefix.as_bytes())?;
    if group != 0 {
        line.word(format_args!("--nflog-group {group}"));
    }
    match (flags, len) {
        (XT_NFLOG_F_COPY_LEN, _) => line.word(format_args!("--nflog-size {len}")),
        (0, 0) => (),
        (0, _) => line.word(format_args!("--nflog-range {len}")),
        _ => return None,
    }
    if threshold != 0 {
        line.word(format_args!("--nflog-threshold {threshold}"));
    }
    Some(())
}

layout! {
    /// `struct xt_audit_info`.
    struct Audit[1] { kind: u8 = 0 }
}

fn audit(info: &Info<'_>, line: &mut Line) -> Option<()> {
    let Audit { kind } = info.decode()?;
    // `XT_AUDIT_TYPE_*`
    let kind = ["accept", "drop", "reject"].get(usize::from(kind))?;
    line.word(format_args!("--type {kind}"));
    Some(())
}

fn trace(info: &Info<'_>, _: &mut Line) -> Option<()> {
    info.bytes.is_empty().then_some(())
}

layout! {
    /// `struct xt_led_info`.
    struct Led[40] { id: Name<27> = 0, always_blink: u8 = 27, delay: i32 = 28 }
}

/// iptables always quotes this name.
fn led(info: &Info<'_>, line: &mut Line) -> Option<()> {
    let Led { id, always_blink, delay } = info.decode()?;
    let name = id.as_bytes().strip_prefix(b"netfilter-")?;
    if !id.is_terminated() || name.iter().any(|byte| byte.is_ascii_control() || b"\"\\'".contains(byte)) {
        return None;
    }
    line.word("--led-trigger-id \"");
    line.push(name);
    line.push(b"\"");
    if delay != 0 {
        line.word(format_args!("--led-delay {delay}"));
    }
    if boolean(always_blink)? {
        line.word("--led-always-blink");
    }
    Some(())
}
