//! Matches of marks on packets.
//! Knows no mark of a connection.

use crate::domain::rules::Family;
use crate::domain::rules::kernel::layout::layout;
use crate::domain::rules::kernel::parts::{Extension, Info, Role, words};
use crate::domain::rules::text::line::Line;

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
    pub struct Mark[9] { mark: u32 = 0, mask: u32 = 4, invert: u8 = 8 }
}

fn mark(info: &Info<'_>, line: &mut Line) -> Option<()> {
    let Mark { mark, mask, invert } = info.decode()?;
    line.option(words::boolean(invert)?, "--mark");
    words::mark(line, mark, mask);
    Some(())
}
