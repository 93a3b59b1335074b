//! A pattern that was read.
//! Reads none.

use regex_syntax::hir::Hir;

/// One pattern as two syntax trees: what it means for any text, and what is left of it where the text is ASCII.
///
/// Neither tree holds captures, and every repeat is greedy: only whether a text matches can be asked.
#[derive(Clone, Debug)]
pub struct GoRegex {
    /// For UTF-8 text; an engine may search it byte by byte. Go reads each byte that is not part of UTF-8 as U+FFFD: decode with [`decode_as_go`](super::decode_as_go) first.
    pub unicode: Hir,
    /// For text that is ASCII: the same answers, a small fraction of the states.
    pub ascii: Hir,
}
