//! The trees a pattern becomes, for any text and for ASCII, built side by side.
//! Knows nothing of how a pattern is written.

use regex_syntax::hir::{Class, ClassBytes, ClassBytesRange, ClassUnicode, Hir, Look, Repetition};

use super::class;

/// A part of a pattern that can be repeated as a whole.
pub(super) struct Expr {
    pub(super) unicode: Hir,
    pub(super) ascii: Hir,
    /// The product of the nested counted repeats, at the place where it is largest.
    pub(super) repeats: u32,
    pub(super) depth: u32,
}

impl Expr {
    pub(super) fn leaf(unicode: Hir, ascii: Hir) -> Self {
        Self { unicode, ascii, repeats: 1, depth: 0 }
    }

    pub(super) fn class(set: ClassUnicode) -> Self {
        let ascii_ranges = set
            .iter()
            .filter(|range| range.start().is_ascii())
            .map(|range| ClassBytesRange::new(range.start() as u8, range.end().min('\x7f') as u8));
        let ascii = Hir::class(Class::Bytes(ClassBytes::new(ascii_ranges)));
        Self::leaf(Hir::class(Class::Unicode(set)), ascii)
    }

    pub(super) fn joined(parts: Vec<Self>, join: fn(Vec<Hir>) -> Hir) -> Self {
        let repeats = parts.iter().map(|part| part.repeats).max().unwrap_or(1);
        let depth = parts.iter().map(|part| part.depth).max().unwrap_or(0);
        let (unicode, ascii) = parts.into_iter().map(|part| (part.unicode, part.ascii)).unzip();
        Self { unicode: join(unicode), ascii: join(ascii), repeats, depth }
    }

    pub(super) fn repeated(self, min: u32, max: Option<u32>, is_counted: bool) -> Self {
        let repeat = |sub: Hir| Hir::repetition(Repetition { min, max, greedy: true, sub: Box::new(sub) });
        let repeats = match max.unwrap_or(min) {
            _ if !is_counted => self.repeats,
            0 if max.is_some() => 1,
            count => self.repeats.saturating_mul(count.max(1)),
        };
        Self { unicode: repeat(self.unicode), ascii: repeat(self.ascii), repeats, depth: self.depth + 1 }
    }
}

/// A search that starts between characters only: for bytes, `\B` is also true inside of one.
pub(super) fn from_a_character_on(tree: Hir) -> Hir {
    let any = Hir::class(Class::Unicode(class::any(true)));
    let skipped = Hir::repetition(Repetition { min: 0, max: None, greedy: false, sub: Box::new(any) });
    Hir::concat(vec![Hir::look(Look::Start), skipped, tree])
}
