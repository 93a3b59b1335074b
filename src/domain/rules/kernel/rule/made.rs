//! x_tables parts that are not in the kernel: native expressions of iptables-nft stand for them.
//! Reads no expression but `log`.

use crate::domain::rules::kernel::expressions::Log;
use crate::domain::rules::kernel::expressions::form::Text;
use crate::domain::rules::kernel::layout::{Field, Name};
use crate::domain::rules::kernel::parts::{ANY_PORT, Nflog, Part, Tcp, Udp, XT_ALIGN};

/// The longest structure that native expressions stand for: `struct xt_nflog_info`.
const MADE_MAX: usize = 80;

/// An x_tables part that native expressions stand for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Made {
    name: &'static str,
    revision: u8,
    info: [u8; MADE_MAX],
    length: usize,
}

impl Made {
    /// The part with this structure.
    pub fn new<T: Field>(name: &'static str, revision: u8, structure: &T) -> Self {
        let mut info = [0; MADE_MAX];
        structure.write(&mut info);
        Self { name, revision, info, length: T::SIZE.next_multiple_of(XT_ALIGN) }
    }

    /// `-j NFLOG`; none if the prefix is too long for it.
    pub fn nflog(log: &Log<'_>) -> Option<Self> {
        /// `XT_NFLOG_F_COPY_LEN`.
        const COPY_LENGTH: u16 = 1;
        let Text(prefix) = log.prefix.unwrap_or(Text(&[]));
        let mut field = [0; 64];
        // the last byte is a NUL
        field.get_mut(..63)?.get_mut(..prefix.len())?.copy_from_slice(prefix);
        let nflog = Nflog {
            len: log.snaplen.unwrap_or_default(),
            group: log.group?,
            threshold: log.threshold.unwrap_or_default(),
            flags: if log.snaplen.is_some() { COPY_LENGTH } else { 0 },
            prefix: Name::read(&field),
        };
        Some(Self::new("NFLOG", 0, &nflog))
    }

    /// The part as the kernel would hold it.
    pub fn part(&self) -> Part<'_> {
        Part {
            name: self.name.as_bytes(),
            revision: self.revision,
            info: self.info.get(..self.length).unwrap_or_default(),
        }
    }
}

/// `-m tcp`.
pub const ANY_TCP: Tcp =
    Tcp { spts: ANY_PORT, dpts: ANY_PORT, option: 0, flg_mask: 0, flg_cmp: 0, invflags: 0 };

/// `-m udp`.
pub const ANY_UDP: Udp = Udp { spts: ANY_PORT, dpts: ANY_PORT, invflags: 0 };

/// `XT_TCP_INV_*`, of which the first two are `XT_UDP_INV_*`, too.
pub const INVERSE_SOURCE: u8 = 0x01;
/// See [`INVERSE_SOURCE`].
pub const INVERSE_DESTINATION: u8 = 0x02;
/// See [`INVERSE_SOURCE`].
pub const INVERSE_FLAGS: u8 = 0x04;
