//! An Event about the node, and why there is one.
//! Knows no report and no API.

/// Why there is an Event; the name is what people and alerts search for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum EventReason {
    /// There are rules that no pattern allows.
    UnexpectedIPTablesRules,
    /// Something was not read or not understood.
    IPTablesCheckIncomplete,
    /// Patterns are broken, or there are none.
    InvalidAllowlist,
    /// A rule that no pattern allows came and went between two looks.
    ShortLivedIPTablesRule,
    /// An eBPF program kept rules from being set.
    BlockedIPTablesRule,
    /// A node that was not compliant is.
    IPTablesRulesCompliant,
    /// Somebody else keeps overwriting the label.
    LabelContested,
}

impl EventReason {
    /// Every reason, in the order in which they are announced.
    pub const ALL: [Self; 7] = [
        Self::UnexpectedIPTablesRules,
        Self::IPTablesCheckIncomplete,
        Self::InvalidAllowlist,
        Self::ShortLivedIPTablesRule,
        Self::BlockedIPTablesRule,
        Self::IPTablesRulesCompliant,
        Self::LabelContested,
    ];

    /// The Event's `reason`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::UnexpectedIPTablesRules => "UnexpectedIPTablesRules",
            Self::IPTablesCheckIncomplete => "IPTablesCheckIncomplete",
            Self::InvalidAllowlist => "InvalidAllowlist",
            Self::ShortLivedIPTablesRule => "ShortLivedIPTablesRule",
            Self::BlockedIPTablesRule => "BlockedIPTablesRule",
            Self::IPTablesRulesCompliant => "IPTablesRulesCompliant",
            Self::LabelContested => "LabelContested",
        }
    }

    /// The Event's `type`.
    pub const fn event_type(self) -> &'static str {
        match self {
            Self::IPTablesRulesCompliant => "Normal",
            _ => "Warning",
        }
    }

    /// Whether it tells of a moment: such an Event is written once, and not refreshed while nothing changes.
    pub const fn is_momentary(self) -> bool {
        matches!(self, Self::BlockedIPTablesRule | Self::IPTablesRulesCompliant | Self::LabelContested)
    }

    /// The Event's `action`: what was being done.
    pub const fn action(self) -> &'static str {
        match self {
            Self::InvalidAllowlist => "ReadAllowlist",
            Self::LabelContested => "RestoreLabel",
            _ => "CheckIPTablesRules",
        }
    }
}

/// An Event about the node, not yet bound to any API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeEvent {
    /// Why it is.
    pub reason: EventReason,
    /// What it says: printable, at most [`NOTE_BYTES`](super::note::NOTE_BYTES).
    pub note: String,
}

impl NodeEvent {
    pub(super) fn new(reason: EventReason, note: String) -> Self {
        Self { reason, note }
    }
}
