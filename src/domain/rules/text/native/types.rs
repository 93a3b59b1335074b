//! The data types of nft(8): their numbers, names, sizes and byte orders.
//! Writes no constant.
//!
//! A set says the type of its keys by a number, for keys of several parts by six bits for each; the kernel keeps it for nft
//! and compares bytes.
//!
//! *Source*: `enum datatypes` in `include/datatype.h` of nftables 1.0.6, and what `nft describe TYPE` prints.

/// The order of the bytes of a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// The most significant byte first.
    Network,
    /// As the machine keeps numbers.
    Host,
}

/// How the bytes of a value are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Type {
    Verdict,
    NfProto,
    Bitmask,
    Integer,
    Text,
    LinkAddress,
    Ipv4,
    Ipv6,
    Ether,
    EtherType,
    ArpOperation,
    Protocol,
    Service,
    IcmpType,
    TcpFlags,
    DccpType,
    MobilityType,
    Duration,
    Mark,
    Device,
    DeviceType,
    Realm,
    Class,
    User,
    Group,
    CtState,
    CtDirection,
    CtStatus,
    Icmpv6Type,
    CtLabel,
    PacketType,
    IcmpCode,
    Icmpv6Code,
    IcmpxCode,
    DeviceGroup,
    Dscp,
    Ecn,
    FibType,
    Boolean,
    CtEvent,
    DeviceName,
    IgmpType,
    Date,
    Hour,
    Day,
    Cgroup,
}

/// Bits of a type's number in the number of several (`TYPE_BITS`).
const TYPE_BITS: u32 = 6;

/// `NFT_DATA_VERDICT`, which stands for [`Type::Verdict`] in `NFTA_SET_DATA_TYPE`.
pub const DATA_VERDICT: u32 = 0xffff_ff00;

impl Type {
    /// Type, number, name, bytes of a value (0 if it has no size of its own), order.
    const ALL: [(Self, u32, &str, u32, Order); 46] = {
        use Order::{Host, Network};
        [
            (Self::Verdict, 1, "verdict", 0, Host),
            (Self::NfProto, 2, "nf_proto", 1, Host),
            (Self::Bitmask, 3, "bitmask", 0, Host),
            (Self::Integer, 4, "integer", 0, Network),
            (Self::Text, 5, "string", 0, Host),
            (Self::LinkAddress, 6, "ll_addr", 0, Network),
            (Self::Ipv4, 7, "ipv4_addr", 4, Network),
            (Self::Ipv6, 8, "ipv6_addr", 16, Network),
            (Self::Ether, 9, "ether_addr", 6, Network),
            (Self::EtherType, 10, "ether_type", 2, Network),
            (Self::ArpOperation, 11, "arp_op", 2, Network),
            (Self::Protocol, 12, "inet_proto", 1, Network),
            (Self::Service, 13, "inet_service", 2, Network),
            (Self::IcmpType, 14, "icmp_type", 1, Network),
            (Self::TcpFlags, 15, "tcp_flag", 1, Network),
            (Self::DccpType, 16, "dccp_pkttype", 1, Network),
            (Self::MobilityType, 17, "mh_type", 1, Network),
            (Self::Duration, 18, "time", 8, Host),
            (Self::Mark, 19, "mark", 4, Host),
            (Self::Device, 20, "iface_index", 4, Host),
            (Self::DeviceType, 21, "iface_type", 2, Host),
            (Self::Realm, 22, "realm", 4, Host),
            (Self::Class, 23, "classid", 4, Host),
            (Self::User, 24, "uid", 4, Host),
            (Self::Group, 25, "gid", 4, Host),
            (Self::CtState, 26, "ct_state", 4, Host),
            (Self::CtDirection, 27, "ct_dir", 1, Host),
            (Self::CtStatus, 28, "ct_status", 4, Host),
            (Self::Icmpv6Type, 29, "icmpv6_type", 1, Network),
            (Self::CtLabel, 30, "ct_label", 16, Host),
            (Self::PacketType, 31, "pkt_type", 1, Host),
            (Self::IcmpCode, 32, "icmp_code", 1, Network),
            (Self::Icmpv6Code, 33, "icmpv6_code", 1, Network),
            (Self::IcmpxCode, 34, "icmpx_code", 1, Network),
            (Self::DeviceGroup, 35, "devgroup", 4, Host),
            (Self::Dscp, 36, "dscp", 1, Network),
            (Self::Ecn, 37, "ecn", 1, Network),
            (Self::FibType, 38, "fib_addrtype", 4, Host),
            (Self::Boolean, 39, "boolean", 1, Host),
            (Self::CtEvent, 40, "ct_event", 4, Host),
            (Self::DeviceName, 41, "ifname", 16, Host),
            (Self::IgmpType, 42, "igmp_type", 1, Network),
            (Self::Date, 43, "time", 8, Host),
            (Self::Hour, 44, "hour", 4, Host),
            (Self::Day, 45, "day", 1, Host),
            (Self::Cgroup, 46, "cgroupsv2", 8, Host),
        ]
    };

    /// The type with this number.
    pub fn from_number(number: u32) -> Option<Self> {
        Self::ALL.iter().find(|row| row.1 == number).map(|row| row.0)
    }

    /// The types of a key's parts by the number of a set's type, from the first part on; none if one is not known.
    pub fn parts(number: u32) -> Option<Vec<Self>> {
        if number == DATA_VERDICT {
            return Some(vec![Self::Verdict]);
        }
        let parts = (0..u32::BITS / TYPE_BITS).rev().map(|part| number >> (part * TYPE_BITS) & 0x3f);
        parts.skip_while(|part| *part == 0).map(Self::from_number).collect()
    }

    fn row(self) -> (&'static str, u32, Order) {
        let row = Self::ALL.iter().find(|row| row.0 == self);
        row.map_or(("", 0, Order::Network), |row| (row.2, row.3, row.4))
    }

    /// The name in declarations.
    pub fn name(self) -> &'static str {
        self.row().0
    }

    /// How many bytes a value has; 0 if that depends on what has the type.
    pub fn bytes(self) -> u32 {
        self.row().1
    }

    /// The order of a value's bytes, where nothing else says it.
    pub fn order(self) -> Order {
        self.row().2
    }

    /// Whether a value is a set of flags.
    pub const fn is_flags(self) -> bool {
        matches!(
            self,
            Self::Bitmask | Self::TcpFlags | Self::CtState | Self::CtStatus | Self::CtLabel | Self::CtEvent
        )
    }

    /// Whether a value is an address that prefixes are written of.
    pub const fn has_prefixes(self) -> bool {
        matches!(self, Self::Ipv4 | Self::Ipv6)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_name_the_parts_of_a_key() {
        assert_eq!(Type::parts(7), Some(vec![Type::Ipv4]));
        assert_eq!(Type::parts(7 << 6 | 13), Some(vec![Type::Ipv4, Type::Service]));
        assert_eq!(Type::parts(DATA_VERDICT), Some(vec![Type::Verdict]));
        assert_eq!(Type::parts(63), None);
        assert!(Type::ALL.iter().enumerate().all(|(at, row)| row.1 as usize == at + 1));
    }
}
