//! Matches.
//! Knows no target.

use super::{Extension, Info, Role};
use crate::domain::rules::kernel::layout::layout;
use crate::domain::rules::text::line::Line;
use crate::domain::ruleset::Family;

pub(super) const EXTENSIONS: &[Extension] = &[Extension {
    name: "mark",
    role: Role::Match,
    families: &[Family::Ip, Family::Ip6],
    revisions: &[1],
    state: &[],
    source: "netfilter/xt_mark.h",
    text: mark,
}];

layout! {
    /// `struct xt_mark_mtinfo1`.
    pub(super) struct Mark[9] { mark: u32 = 0, mask: u32 = 4, invert: u8 = 8 }
}

fn mark(info: &Info<'_>, line: &mut Line) -> Option<()> {
    const EVERY_BIT: u32 = u32::MAX;
    let Mark { mark, mask, invert } = info.decode()?;
    line.option(boolean(invert)?, "--mark");
    if mask == EVERY_BIT {
        line.word(format_args!("{mark:#x}"));
    } else {
        line.word(format_args!("{mark:#x}/{mask:#x}"));
    }
    Some(())
}

/// A byte that the kernel takes for a truth value and that iptables writes as 0 or 1.
const fn boolean(byte: u8) -> Option<bool> {
    match byte {
        0 => Some(false),
        1 => Some(true),
        _ => None,
    }
}
