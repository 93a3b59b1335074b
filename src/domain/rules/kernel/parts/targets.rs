//! Targets.
//! Knows no match.

use super::{Extension, Info, Role};
use crate::domain::rules::kernel::layout::layout;
use crate::domain::rules::text::line::Line;
use crate::domain::ruleset::Family;

pub(super) const EXTENSIONS: &[Extension] = &[Extension {
    name: "MARK",
    role: Role::Target,
    families: &[Family::Ip, Family::Ip6],
    revisions: &[2],
    state: &[],
    source: "netfilter/xt_mark.h",
    text: mark,
}];

layout! {
    /// `struct xt_mark_tginfo2`.
    pub(super) struct Mark[8] { mark: u32 = 0, mask: u32 = 4 }
}

fn mark(info: &Info<'_>, line: &mut Line) -> Option<()> {
    let Mark { mark, mask } = info.decode()?;
    line.word(format_args!("--set-xmark {mark:#x}/{mask:#x}"));
    Some(())
}
