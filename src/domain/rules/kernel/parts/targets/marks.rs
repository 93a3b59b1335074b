//! Targets that mark a packet or its connection: `MARK`, `CONNMARK`, `CLASSIFY`, `CONNSECMARK`, `SECMARK`.
//! Knows no match.

use super::target;
use crate::domain::rules::kernel::layout::{Name, layout};
use crate::domain::rules::kernel::parts::{BOTH, Extension, Info};
use crate::domain::rules::text::line::Line;

pub(super) const EXTENSIONS: &[Extension] = &[
    target("MARK", BOTH, &[2], &[], "netfilter/xt_mark.h", mark),
    target("CONNMARK", BOTH, &[1], &[], "netfilter/xt_connmark.h", connmark),
    target("CONNMARK", BOTH, &[2], &[], "netfilter/xt_connmark.h", connmark_shifted),
    target("CLASSIFY", BOTH, &[0], &[], "netfilter/xt_CLASSIFY.h", classify),
    target("CONNSECMARK", BOTH, &[0], &[], "netfilter/xt_CONNSECMARK.h", connsecmark),
    // the state is the kernel's number of the context: another one after each boot
    target("SECMARK", BOTH, &[0], &[4..8], "netfilter/xt_SECMARK.h", secmark),
    target("SECMARK", BOTH, &[1], &[260..264], "netfilter/xt_SECMARK.h", secmark_again),
];

layout! {
    /// `struct xt_mark_tginfo2`.
    struct Mark[8] { mark: u32 = 0, mask: u32 = 4 }
}

fn mark(info: &Info<'_>, line: &mut Line) -> Option<()> {
    let Mark { mark, mask } = info.decode()?;
    line.word(format_args!("--set-xmark {mark:#x}/{mask:#x}"));
    Some(())
}

layout! {
    /// `struct xt_connmark_tginfo1`.
    struct ConnMark[13] { ctmark: u32 = 0, ctmask: u32 = 4, nfmask: u32 = 8, mode: u8 = 12 }
}

layout! {
    /// `struct xt_connmark_tginfo2`.
    struct ShiftedConnMark[15] {
        ctmark: u32 = 0, ctmask: u32 = 4, nfmask: u32 = 8, shift_dir: u8 = 12, shift_bits: u8 = 13, mode: u8 = 14
    }
}

fn connmark(info: &Info<'_>, line: &mut Line) -> Option<()> {
    let ConnMark { ctmark, ctmask, nfmask, mode } = info.decode()?;
    connmark_mode(line, mode, ctmark, ctmask, nfmask)
}

fn connmark_shifted(info: &Info<'_>, line: &mut Line) -> Option<()> {
    let ShiftedConnMark { ctmark, ctmask, nfmask, shift_dir, shift_bits, mode } = info.decode()?;
    connmark_mode(line, mode, ctmark, ctmask, nfmask)?;
    match (shift_dir, shift_bits) {
        (0, 0) => (),
        (0, 1..32) => line.word(format_args!("--left-shift-mark {shift_bits}")),
        (1, 1..32) => line.word(format_args!("--right-shift-mark {shift_bits}")),
        _ => return None,
    }
    Some(())
}

/// What is done with the marks. Masks that a mode does not use are as iptables leaves them.
fn connmark_mode(line: &mut Line, mode: u8, ctmark: u32, ctmask: u32, nfmask: u32) -> Option<()> {
    const XT_CONNMARK_SET: u8 = 0;
    const XT_CONNMARK_SAVE: u8 = 1;
    const XT_CONNMARK_RESTORE: u8 = 2;
    let masks = format_args!("--nfmask {nfmask:#x} --ctmask {ctmask:#x}");
    match mode {
        XT_CONNMARK_SET if nfmask == u32::MAX => {
            line.word(format_args!("--set-xmark {ctmark:#x}/{ctmask:#x}"));
        }
        XT_CONNMARK_SAVE if ctmark == 0 => line.word(format_args!("--save-mark {masks}")),
        XT_CONNMARK_RESTORE if ctmark == 0 => line.word(format_args!("--restore-mark {masks}")),
        _ => return None,
    }
    Some(())
}

layout! {
    /// `struct xt_classify_target_info`.
    struct Classify[4] { priority: u32 = 0 }
}

/// A handle of traffic control: its major and minor number.
fn classify(info: &Info<'_>, line: &mut Line) -> Option<()> {
    let Classify { priority } = info.decode()?;
    let (major, minor) = (priority >> 16, priority & 0xffff);
    line.word(format_args!("--set-class {major:04x}:{minor:04x}"));
    Some(())
}

layout! {
    /// `struct xt_connsecmark_target_info`.
    struct ConnSecMark[1] { mode: u8 = 0 }
}

fn connsecmark(info: &Info<'_>, line: &mut Line) -> Option<()> {
    const CONNSECMARK_SAVE: u8 = 1;
    const CONNSECMARK_RESTORE: u8 = 2;
    let ConnSecMark { mode } = info.decode()?;
    line.word(match mode {
        CONNSECMARK_SAVE => "--save",
        CONNSECMARK_RESTORE => "--restore",
        _ => return None,
    });
    Some(())
}

layout! {
    /// `struct xt_secmark_target_info`.
    struct SecMark[264] { mode: u8 = 0, secctx: Name<256> = 8 }
}

layout! {
    /// `struct xt_secmark_target_info_v1`.
    struct SecMarkAgain[264] { mode: u8 = 0, secctx: Name<256> = 1 }
}

fn secmark(info: &Info<'_>, line: &mut Line) -> Option<()> {
    let SecMark { mode, secctx } = info.decode()?;
    context(line, mode, &secctx)
}

fn secmark_again(info: &Info<'_>, line: &mut Line) -> Option<()> {
    let SecMarkAgain { mode, secctx } = info.decode()?;
    context(line, mode, &secctx)
}

fn context(line: &mut Line, mode: u8, secctx: &Name<256>) -> Option<()> {
    const SECMARK_MODE_SEL: u8 = 1;
    if mode != SECMARK_MODE_SEL || !secctx.is_terminated() {
        return None;
    }
    line.word("--selctx");
    line.name(secctx.as_bytes())
}
