//! What becomes of a packet behind the rule that logged it.
//! Finds no rule.

/// What happens to a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It goes on.
    Accept,
    /// It is discarded without a word.
    Drop,
    /// It is discarded, and its sender is told.
    Reject,
    /// The chain that jumped here goes on.
    Return,
    /// This chain decides.
    Elsewhere(String),
}

impl Verdict {
    /// The word for it; another chain's is `jump`.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Accept => "accept",
            Self::Drop => "drop",
            Self::Reject => "reject",
            Self::Return => "return",
            Self::Elsewhere(_) => "jump",
        }
    }
}

/// Who decides about a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// The rule that logs it.
    Itself,
    /// The rule with this number in the same chain.
    Rule(u32),
    /// The chain's policy.
    Policy,
    /// Nobody here: the chain ends.
    End,
}

/// What becomes of a packet after it was logged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct After {
    /// What happens to it.
    pub verdict: Verdict,
    /// Who says so.
    pub by: By,
    /// No rule between may have decided otherwise.
    pub is_certain: bool,
}
