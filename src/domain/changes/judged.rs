//! What the allowlists say of a line that changed, in three words.
//! Judges nothing.

/// What the allowlists say of a line; what most wants to be looked at comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Judged {
    /// No pattern allows it.
    Unexpected,
    /// Nobody can say: no allowlist is in force for its family, one that might allow it is broken or missing, its text
    /// does not say what it does, or it is the content of a set and no pattern asks for it.
    NotJudged,
    /// A pattern allows it.
    Allowed,
}

impl Judged {
    /// Every one.
    pub const ALL: [Self; 3] = every!(Judged: Unexpected, NotJudged, Allowed);

    /// The name used in JSON and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unexpected => "unexpected",
            Self::NotJudged => "not_judged",
            Self::Allowed => "allowed",
        }
    }

    /// The same for people.
    pub const fn words(self) -> &'static str {
        match self {
            Self::NotJudged => "not judged",
            other => other.as_str(),
        }
    }

    /// Whether a pattern allows it.
    pub const fn is_allowed(self) -> bool {
        matches!(self, Self::Allowed)
    }
}
