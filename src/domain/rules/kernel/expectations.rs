//! Expectations of connection tracking: answers of ctnetlink, decoded. An expectation says which connection will come that
//! belongs to another one, and may send it elsewhere without any rule.
//! Judges nothing and writes no text.
//!
//! *Source*: `include/uapi/linux/netfilter/nfnetlink_conntrack.h`, `nf_conntrack_common.h`;
//! `net/netfilter/nf_conntrack_netlink.c`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::attributes::{Attribute, Attributes, Fields, Malformed};

const CTA_EXPECT_MASTER: u16 = 1;
const CTA_EXPECT_TUPLE: u16 = 2;
const CTA_EXPECT_MASK: u16 = 3;
const CTA_EXPECT_HELP_NAME: u16 = 6;
const CTA_EXPECT_ZONE: u16 = 7;
const CTA_EXPECT_FLAGS: u16 = 8;
const CTA_EXPECT_CLASS: u16 = 9;
const CTA_EXPECT_NAT: u16 = 10;
const CTA_EXPECT_FN: u16 = 11;
const CTA_EXPECT_NAT_DIR: u16 = 1;
const CTA_EXPECT_NAT_TUPLE: u16 = 2;
const CTA_TUPLE_IP: u16 = 1;
const CTA_TUPLE_PROTO: u16 = 2;
const CTA_TUPLE_ZONE: u16 = 3;
const CTA_IP_V4_SRC: u16 = 1;
const CTA_IP_V4_DST: u16 = 2;
const CTA_IP_V6_SRC: u16 = 3;
const CTA_IP_V6_DST: u16 = 4;
const CTA_PROTO_NUM: u16 = 1;
const CTA_PROTO_SRC_PORT: u16 = 2;
const CTA_PROTO_DST_PORT: u16 = 3;

/// `NF_CT_EXPECT_PERMANENT`: it stays when a connection came that it expects.
pub const PERMANENT: u32 = 1;
/// `NF_CT_EXPECT_INACTIVE`: it waits for its helper.
pub const INACTIVE: u32 = 2;
/// `NF_CT_EXPECT_USERSPACE`: a program made it.
pub const USERSPACE: u32 = 4;

/// The directions of a connection, `enum ip_conntrack_dir`.
pub const ORIGINAL: u32 = 0;

/// One expectation, but for its number and its time, which are state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expectation {
    /// The connection that is expected.
    pub tuple: Tuple,
    /// Which bits of `tuple` count.
    pub mask: Tuple,
    /// The connection that it belongs to.
    pub master: Tuple,
    /// Where the connection is sent: to the source of the tuple.
    pub nat: Option<Nat>,
    /// The helper of the master.
    pub helper: Option<Vec<u8>>,
    /// `NF_CT_EXPECT_*`.
    pub flags: u32,
    /// Its number among the kinds of expectations of its helper.
    pub class: u32,
    /// What the kernel calls when the connection comes.
    pub function: Option<Vec<u8>>,
    /// The zone of the connection. The kernel does not list it, but answers whether it is this or that one; none if it is not
    /// known.
    pub zone: Option<u16>,
    /// Attributes that a newer kernel gives.
    pub rest: Vec<(u16, Vec<u8>)>,
}

/// Where an expected connection is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Nat {
    /// `enum ip_conntrack_dir` of the master, whose addresses count.
    pub direction: u32,
    /// Its source is the saved address and port.
    pub tuple: Tuple,
}

/// One direction of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tuple {
    /// Its source.
    pub source: Endpoint,
    /// Its destination.
    pub destination: Endpoint,
    /// `IPPROTO_*`.
    pub protocol: u8,
    /// Its own zone, where it has one.
    pub zone: Option<u16>,
    /// What its protocol has beside ports (`CTA_PROTO_*`), such as an ICMP type.
    pub rest: Vec<(u16, Vec<u8>)>,
}

/// An address, and a port for protocols with ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Endpoint {
    pub address: IpAddr,
    pub port: Option<u16>,
}

impl Expectation {
    /// Decodes the attributes of one answer.
    ///
    /// # Errors
    /// [`Malformed`] where an attribute is missing that every kernel gives, or is of another form.
    pub fn decode(attributes: &[u8]) -> Result<Self, Malformed> {
        let fields = Fields::<12>::known(attributes)?;
        let tuple = |kind| Tuple::decode(fields.get(kind).ok_or(Malformed)?);
        let text = |kind| match fields.get(kind) {
            None => Ok(None),
            Some(_) => fields.string(kind).map(|text| Some(text.to_vec())).ok_or(Malformed),
        };
        // among them CTA_EXPECT_TIMEOUT and CTA_EXPECT_ID, which are state
        const KNOWN: std::ops::RangeInclusive<u16> = CTA_EXPECT_MASTER..=CTA_EXPECT_FN;
        Ok(Self {
            tuple: tuple(CTA_EXPECT_TUPLE)?,
            mask: tuple(CTA_EXPECT_MASK)?,
            master: tuple(CTA_EXPECT_MASTER)?,
            nat: fields.get(CTA_EXPECT_NAT).map(Nat::decode).transpose()?,
            helper: text(CTA_EXPECT_HELP_NAME)?,
            flags: fields.be32(CTA_EXPECT_FLAGS).ok_or(Malformed)?,
            class: fields.be32(CTA_EXPECT_CLASS).unwrap_or(0),
            function: text(CTA_EXPECT_FN)?,
            zone: fields.get(CTA_EXPECT_ZONE).map(be16).transpose()?,
            rest: others(attributes, |kind| KNOWN.contains(&kind))?,
        })
    }

    /// Whether it changes where packets go, or lets connections in again and again.
    pub fn is_of_interest(&self) -> bool {
        self.nat.is_some() || self.flags & PERMANENT != 0
    }

    /// Whether it expects connections from one address only.
    pub fn has_one_source(&self) -> bool {
        match self.mask.source.address {
            IpAddr::V4(mask) => mask.to_bits() == u32::MAX,
            IpAddr::V6(mask) => mask.to_bits() == u128::MAX,
        }
    }
}

impl Nat {
    fn decode(attributes: &[u8]) -> Result<Self, Malformed> {
        let fields = Fields::<3>::known(attributes)?;
        let tuple = Tuple::decode(fields.get(CTA_EXPECT_NAT_TUPLE).ok_or(Malformed)?)?;
        Ok(Self { direction: fields.be32(CTA_EXPECT_NAT_DIR).ok_or(Malformed)?, tuple })
    }
}

impl Tuple {
    fn decode(attributes: &[u8]) -> Result<Self, Malformed> {
        let fields = Fields::<4>::known(attributes)?;
        let ip = Fields::<5>::known(fields.get(CTA_TUPLE_IP).ok_or(Malformed)?)?;
        let inner = fields.get(CTA_TUPLE_PROTO).ok_or(Malformed)?;
        let proto = Fields::<4>::known(inner)?;
        let address = |v4, v6| match (ip.get(v4), ip.get(v6)) {
            (Some(v4), None) => Ok(IpAddr::from(Ipv4Addr::from(<[u8; 4]>::try_from(v4).or(Err(Malformed))?))),
            (None, Some(v6)) => {
                Ok(IpAddr::from(Ipv6Addr::from(<[u8; 16]>::try_from(v6).or(Err(Malformed))?)))
            }
            _ => Err(Malformed),
        };
        let endpoint = |address: Result<IpAddr, Malformed>, port| {
            Ok(Endpoint { address: address?, port: proto.get(port).map(be16).transpose()? })
        };
        let Some(&[protocol]) = proto.get(CTA_PROTO_NUM) else { return Err(Malformed) };
        Ok(Self {
            source: endpoint(address(CTA_IP_V4_SRC, CTA_IP_V6_SRC), CTA_PROTO_SRC_PORT)?,
            destination: endpoint(address(CTA_IP_V4_DST, CTA_IP_V6_DST), CTA_PROTO_DST_PORT)?,
            protocol,
            zone: fields.get(CTA_TUPLE_ZONE).map(be16).transpose()?,
            rest: others(inner, |kind| (CTA_PROTO_NUM..=CTA_PROTO_DST_PORT).contains(&kind))?,
        })
    }
}

fn be16(value: &[u8]) -> Result<u16, Malformed> {
    value.try_into().map(u16::from_be_bytes).or(Err(Malformed))
}

fn others(attributes: &[u8], is_known: impl Fn(u16) -> bool) -> Result<Vec<(u16, Vec<u8>)>, Malformed> {
    let mut others = Vec::new();
    for attribute in Attributes::new(attributes) {
        let Attribute { kind, value } = attribute?;
        if !is_known(kind) {
            others.push((kind, value.to_vec()));
        }
    }
    Ok(others)
}

#[cfg(test)]
mod tests;
