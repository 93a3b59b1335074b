//! What is known of a packet that a rule logged.
//! Knows no rule.

use std::net::IpAddr;

use crate::domain::rules::Family;

/// How a packet reached us.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Via {
    /// As a line of the kernel's log.
    Log,
    /// As a message of this NFLOG group.
    Nflog(u16),
}

/// Where a rule stands in the path of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Hook {
    Prerouting,
    Input,
    Forward,
    Output,
    Postrouting,
}

impl Hook {
    /// The hook with this `NF_INET_*` number, as NFLOG has it; only IPv4, IPv6 and bridges number them so.
    pub const fn from_number(family: Family, number: u8) -> Option<Self> {
        match (family, number) {
            (Family::Arp | Family::Netdev, _) => None,
            (_, 0) => Some(Self::Prerouting),
            (_, 1) => Some(Self::Input),
            (_, 2) => Some(Self::Forward),
            (_, 3) => Some(Self::Output),
            (_, 4) => Some(Self::Postrouting),
            _ => None,
        }
    }

    pub(super) fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "PREROUTING" | "prerouting" => Self::Prerouting,
            "INPUT" | "input" => Self::Input,
            "FORWARD" | "forward" => Self::Forward,
            "OUTPUT" | "output" => Self::Output,
            "POSTROUTING" | "postrouting" => Self::Postrouting,
            _ => return None,
        })
    }

    /// Whether a packet with these devices can be here; what is not known is possible.
    pub(super) fn is_possible(self, in_dev: Option<&[u8]>, out_dev: Option<&[u8]>) -> bool {
        let has = |dev: Option<&[u8]>| dev.is_none_or(|name| !name.is_empty());
        let lacks = |dev: Option<&[u8]>| dev.is_none_or(<[u8]>::is_empty);
        match self {
            Self::Prerouting | Self::Input => has(in_dev) && lacks(out_dev),
            Self::Forward => has(in_dev) && has(out_dev),
            Self::Output => lacks(in_dev) && has(out_dev),
            Self::Postrouting => has(out_dev),
        }
    }
}

/// What is known of a logged packet. What is not known excludes no rule.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// How it came.
    pub via: Via,
    /// The text before `IN=`, or NFLOG's prefix.
    pub prefix: &'a [u8],
    /// `Ip`, `Ip6`, `Arp` or `Bridge`.
    pub family: Option<Family>,
    /// The hook, as NFLOG tells it.
    pub hook: Option<Hook>,
    /// Where it came in; empty if it certainly came from this node.
    pub in_dev: Option<&'a [u8]>,
    /// Where it goes out; empty if it certainly does not yet.
    pub out_dev: Option<&'a [u8]>,
    /// Its source.
    pub source: Option<IpAddr>,
    /// Its destination.
    pub destination: Option<IpAddr>,
    /// Its protocol's number.
    pub protocol: Option<u8>,
    /// Its source port.
    pub source_port: Option<u16>,
    /// Its destination port.
    pub destination_port: Option<u16>,
}

impl<'a> Facts<'a> {
    /// A packet of which only this is known.
    pub const fn new(via: Via, prefix: &'a [u8]) -> Self {
        Self {
            via,
            prefix,
            family: None,
            hook: None,
            in_dev: None,
            out_dev: None,
            source: None,
            destination: None,
            protocol: None,
            source_port: None,
            destination_port: None,
        }
    }
}
