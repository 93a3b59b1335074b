//! What is found out about one rule.
//! Finds nothing out.

use crate::app::checks::history::Remembered;
use crate::domain::judging::why::Answer;
use crate::domain::rules::Backend;

/// An answer, and what the journal knows of the line.
pub(super) struct Found<'a> {
    pub answer: Answer<'a>,
    /// None without a journal.
    pub remembered: Option<Vec<(Backend, Remembered)>>,
}
