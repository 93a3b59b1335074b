//! Numbers of nf_tables that rules of iptables-nft hold.
//! Knows no expression.
//!
//! *Source*: `include/uapi/linux/netfilter/nf_tables.h`, `netfilter.h`.

/// `NFT_META_MARK`.
pub const META_MARK: u32 = 3;
/// `NFT_META_IIFNAME`.
pub const META_IIFNAME: u32 = 6;
/// `NFT_META_OIFNAME`.
pub const META_OIFNAME: u32 = 7;
/// `NFT_META_NFTRACE`.
pub const META_NFTRACE: u32 = 12;
/// `NFT_META_L4PROTO`.
pub const META_L4PROTO: u32 = 16;

/// `NFT_PAYLOAD_NETWORK_HEADER`.
pub const NETWORK_HEADER: u32 = 1;
/// `NFT_PAYLOAD_TRANSPORT_HEADER`.
pub const TRANSPORT_HEADER: u32 = 2;

/// `NFT_REG_VERDICT`.
pub const REG_VERDICT: u32 = 0;
/// `NFT_REG_1`.
pub const REG_1: u32 = 1;
/// `NFT_REG32_01`.
pub const REG32_01: u32 = 9;

/// `NFT_CMP_EQ`, `NFT_RANGE_EQ`.
pub const EQ: u32 = 0;
/// `NFT_CMP_NEQ`, `NFT_RANGE_NEQ`.
pub const NEQ: u32 = 1;
/// `NFT_CMP_LTE`.
pub const LTE: u32 = 3;
/// `NFT_CMP_GT`.
pub const GT: u32 = 4;

/// `NFT_BITWISE_MASK_XOR`, which kernels before Linux 5.6 do not name.
pub const MASK_XOR: u32 = 0;

/// `NFT_LIMIT_PKTS`.
pub const LIMIT_PACKETS: u32 = 0;

/// `NF_DROP`.
pub const DROP: i32 = 0;
/// `NF_ACCEPT`.
pub const ACCEPT: i32 = 1;
/// `NFT_JUMP`.
pub const JUMP: i32 = -3;
/// `NFT_GOTO`.
pub const GOTO: i32 = -4;
/// `NFT_RETURN`.
pub const RETURN: i32 = -5;

/// `NFT_SOCKET_CGROUPV2`.
pub const SOCKET_CGROUPV2: u32 = 3;
