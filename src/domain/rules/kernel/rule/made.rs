//! The x_tables structures that native expressions of iptables-nft stand for.
//! Writes no text: that of the x_tables part is theirs.

use super::Made;
use crate::domain::rules::kernel::expressions::Log;
use crate::domain::rules::kernel::expressions::form::Text;
use crate::domain::rules::kernel::layout::{Field, Name, layout};

layout! {
    /// `struct xt_tcp`.
    pub struct Tcp[12] {
        source: [u16; 2] = 0,
        destination: [u16; 2] = 4,
        option: u8 = 8,
        flag_mask: u8 = 9,
        flag_value: u8 = 10,
        inverse: u8 = 11,
    }
}
layout! {
    /// `struct xt_udp`.
    pub struct Udp[10] { source: [u16; 2] = 0, destination: [u16; 2] = 4, inverse: u8 = 8 }
}
layout! {
    /// `struct xt_mark_mtinfo1`.
    pub struct Mark[9] { mark: u32 = 0, mask: u32 = 4, invert: u8 = 8 }
}
layout! {
    /// `struct xt_rateinfo`, as iptables leaves it: the rest is the kernel's.
    pub struct Rate[40] { interval: u32 = 0, burst: u32 = 4 }
}
layout! {
    /// `struct xt_nflog_info`.
    pub struct Nflog[76] {
        length: u32 = 0,
        group: u16 = 4,
        threshold: u16 = 6,
        flags: u16 = 8,
        prefix: Name<NFLOG_PREFIX> = 12,
    }
}

/// `XT_TCP_INV_*`, and the first two of them `XT_UDP_INV_*`.
pub const INVERSE_SOURCE: u8 = 0x01;
pub const INVERSE_DESTINATION: u8 = 0x02;
pub const INVERSE_FLAGS: u8 = 0x04;

/// The prefix of `struct xt_nflog_info`, with its NUL.
pub const NFLOG_PREFIX: usize = 64;
/// `XT_NFLOG_F_COPY_LEN`.
pub const NFLOG_COPY_LENGTH: u16 = 1;

/// Ports from 0 to the last one ask nothing.
pub const EVERY_PORT: [u16; 2] = [0, u16::MAX];

impl Tcp {
    /// `-m tcp`.
    pub const ANY: Self = Self {
        source: EVERY_PORT,
        destination: EVERY_PORT,
        option: 0,
        flag_mask: 0,
        flag_value: 0,
        inverse: 0,
    };

    /// The match.
    pub fn made(&self) -> Made {
        Made::new("tcp", 0, self)
    }
}

impl Nflog {
    /// `-j NFLOG` as an x_tables part; none if the prefix is too long for it.
    pub fn of(log: &Log<'_>) -> Option<Made> {
        let Text(prefix) = log.prefix.unwrap_or(Text(&[]));
        let nflog = Self {
            length: log.snaplen.unwrap_or_default(),
            group: log.group?,
            threshold: log.threshold.unwrap_or_default(),
            flags: if log.snaplen.is_some() { NFLOG_COPY_LENGTH } else { 0 },
            prefix: Name::read(prefix_field(prefix)?.as_slice()),
        };
        Some(Made::new("NFLOG", 0, &nflog))
    }
}

fn prefix_field(prefix: &[u8]) -> Option<[u8; NFLOG_PREFIX]> {
    let mut field = [0; NFLOG_PREFIX];
    field.get_mut(..NFLOG_PREFIX - 1)?.get_mut(..prefix.len())?.copy_from_slice(prefix);
    Some(field)
}

impl Udp {
    /// `-m udp`.
    pub const ANY: Self = Self { source: EVERY_PORT, destination: EVERY_PORT, inverse: 0 };
}
