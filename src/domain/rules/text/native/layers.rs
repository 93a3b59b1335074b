//! Which headers a rule has tested a packet for, and which of these tests nft(8) leaves unsaid.
//! Writes no text.
//!
//! Before a statement about a header's field nft puts tests for that header, if the rule has none yet: `tcp dport 22` is
//! `meta l4proto tcp` and the port. A test is left unsaid only where nft would have put it: right before the statement that
//! needs it, of the kind that nft would use, and in the order in which the statement needs its tests. Any other is written,
//! so that a line stands for one rule.

use super::fields::Header;
use crate::domain::rules::Family;

/// A comparison that tells which header comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Test {
    /// `meta iiftype ether`
    LinkType,
    /// `ether type`
    EtherType(u16),
    /// `vlan type`
    VlanType(u16),
    /// `meta protocol`
    MetaProtocol(u16),
    /// `meta nfproto`
    NfProto(u8),
    /// `meta l4proto`
    L4Proto(u8),
    /// `ip protocol`, `ip6 nexthdr`
    NextHeader(u8),
    /// `icmp type`, `icmpv6 type`
    IcmpType(u8),
}

/// `ARPHRD_ETHER`.
pub const ARPHRD_ETHER: u16 = 1;
/// `ETH_P_8021Q`.
const ETH_P_8021Q: u16 = 0x8100;

/// What is known of a layer.
#[derive(Clone, Copy, Debug)]
struct Layer<T> {
    what: T,
    /// The test that says so, as long as it may be left unsaid: the number of its statement.
    test: Option<(usize, Test)>,
}

/// The headers that are known at one point of a rule.
#[derive(Clone, Debug)]
pub struct Layers {
    family: Family,
    link: Option<Layer<()>>,
    /// Whether an earlier statement says so that is no test which could stay unsaid.
    is_link_said: bool,
    /// Whether the present statement says so.
    says_link: bool,
    vlan: Option<Layer<()>>,
    network: Option<Layer<Header>>,
    transport: Option<Layer<u8>>,
    icmp: Option<Layer<u8>>,
    /// The tests that the present statement needs, in order.
    used: Vec<usize>,
}

impl Layers {
    /// At the beginning of a rule.
    pub fn new(family: Family) -> Self {
        let known = |what| Some(Layer { what, test: None });
        let network = match family {
            Family::Ip => known(Header::Ip),
            Family::Ip6 => known(Header::Ip6),
            Family::Arp => known(Header::Arp),
            Family::Inet | Family::Bridge | Family::Netdev => None,
        };
        let link = (family == Family::Bridge).then_some(Layer { what: (), test: None });
        let is_link_said = family == Family::Bridge;
        Self {
            family,
            link,
            is_link_said,
            says_link: false,
            vlan: None,
            network,
            transport: None,
            icmp: None,
            used: Vec::new(),
        }
    }

    /// Begins a statement.
    pub fn begin(&mut self) {
        self.used.clear();
        self.says_link = false;
    }

    /// The tests that the statement needs, in order.
    pub fn used(&self) -> &[usize] {
        &self.used
    }

    fn need(&mut self, test: Option<(usize, Test)>) {
        if let Some((number, _)) = test
            && !self.used.contains(&number)
        {
            self.used.push(number);
        }
    }

    /// Whether the packet is known to have an Ethernet header.
    pub const fn is_ether(&self) -> bool {
        self.link.is_some()
    }

    /// The network header, if it is known.
    pub fn network_header(&self) -> Option<Header> {
        self.network.map(|layer| layer.what)
    }

    /// The protocol of the transport header, if it is known.
    pub fn transport_protocol(&self) -> Option<u8> {
        self.transport.map(|layer| layer.what)
    }

    /// Whether the packet is known to have an Ethernet header, for a field of it.
    pub fn ether(&mut self) -> bool {
        let Some(link) = self.link else { return false };
        self.need(link.test);
        self.says_link = true;
        true
    }

    /// Whether the packet is known to have a VLAN header, for a field of it.
    pub fn vlan(&mut self) -> bool {
        let Some(vlan) = self.vlan else { return false };
        self.need(vlan.test);
        true
    }

    /// Whether the packet is known to have a VLAN header, for its `type`, before which nft writes the test.
    pub fn vlan_type(&self) -> bool {
        self.vlan.is_some()
    }

    /// The network header, for a field of it.
    pub fn network(&mut self) -> Option<Header> {
        let layer = self.network?;
        self.need_network(layer, matches!(layer.what, Header::Ip | Header::Ip6));
        Some(layer.what)
    }

    /// Whether this is the network header, for something that belongs to it without being its field.
    pub fn is_network(&mut self, header: Header) -> bool {
        let Some(layer) = self.network.filter(|layer| layer.what == header) else { return false };
        self.need_network(layer, false);
        true
    }

    /// Needs the test of the network header, if it is the one that nft would put.
    fn need_network(&mut self, layer: Layer<Header>, is_ip_field: bool) {
        let is_link_said = self.is_link_said || self.says_link;
        let is_expected = match layer.test {
            None => false,
            Some((_, Test::VlanType(_))) => true,
            Some((_, Test::EtherType(_))) => match self.family {
                Family::Bridge => self.vlan.is_none() && !is_ip_field,
                _ => self.vlan.is_none() && is_link_said,
            },
            Some((_, Test::MetaProtocol(_))) => match self.family {
                Family::Bridge => self.vlan.is_none() && is_ip_field,
                Family::Netdev => self.vlan.is_none() && !is_link_said,
                _ => false,
            },
            Some((_, Test::NfProto(_))) => {
                self.family == Family::Inet && self.vlan.is_none() && !is_link_said
            }
            Some(_) => false,
        };
        if is_expected {
            self.need(layer.test);
        }
    }

    /// The protocol of the transport header, for a field of it.
    pub fn transport(&mut self) -> Option<u8> {
        let layer = self.transport?;
        let network = match Header::of_protocol(layer.what) {
            Some(Header::Icmp) => Some((Header::Ip, true)),
            Some(Header::Icmpv6) => Some((Header::Ip6, true)),
            Some(Header::Igmp) => Some((Header::Ip, false)),
            _ => None,
        };
        let is_fixed = matches!(self.family, Family::Ip | Family::Ip6 | Family::Arp);
        match network {
            Some((header, is_unsaid)) if !is_fixed => {
                let is_known = self.network.is_some_and(|network| network.what == header);
                // nft puts both tests or none
                if is_known && is_unsaid && layer.test.is_some() {
                    self.is_network(header);
                }
                if is_known {
                    self.need_transport(layer);
                }
            }
            _ => self.need_transport(layer),
        }
        Some(layer.what)
    }

    fn need_transport(&mut self, layer: Layer<u8>) {
        let is_expected = match layer.test {
            Some((_, Test::L4Proto(_))) => true,
            // of IPv6 it may be the protocol of an extension header
            Some((_, Test::NextHeader(_))) => self.family == Family::Ip,
            _ => false,
        };
        if is_expected {
            self.need(layer.test);
        }
    }

    /// Whether the ICMP header is known to be of this type, for a field that only this type has.
    pub fn is_icmp(&mut self, of: u8) -> bool {
        let Some(icmp) = self.icmp.filter(|icmp| icmp.what == of) else { return false };
        self.need(icmp.test);
        true
    }

    /// A statement was written that is a test: its number is that of the statement.
    pub fn test(&mut self, number: usize, test: Test) {
        let pending = Some((number, test));
        let network = |protocol: u16| match protocol {
            0x0800 => Some(Header::Ip),
            0x86dd => Some(Header::Ip6),
            0x0806 => Some(Header::Arp),
            _ => None,
        };
        let layer = |what: Option<Header>| what.map(|what| Layer { what, test: pending });
        match test {
            Test::LinkType => self.link = Some(Layer { what: (), test: pending }),
            Test::EtherType(ETH_P_8021Q) => self.vlan = Some(Layer { what: (), test: pending }),
            Test::EtherType(protocol) | Test::VlanType(protocol) | Test::MetaProtocol(protocol) => {
                self.network = layer(network(protocol)).or(self.network);
            }
            Test::NfProto(family) => {
                let header = match Family::from_nfproto(family) {
                    Some(Family::Ip) => Some(Header::Ip),
                    Some(Family::Ip6) => Some(Header::Ip6),
                    _ => None,
                };
                self.network = layer(header).or(self.network);
            }
            Test::L4Proto(protocol) | Test::NextHeader(protocol) => {
                self.transport = Some(Layer { what: protocol, test: pending });
            }
            Test::IcmpType(of) => self.icmp = Some(Layer { what: of, test: pending }),
        }
    }

    /// Whether an earlier statement was a test for the same layer: then this one cannot stay unsaid, and says nothing that the
    /// line does not show.
    pub fn is_known(&self, test: Test) -> bool {
        match test {
            Test::L4Proto(_) | Test::NextHeader(_) => self.transport.is_some(),
            Test::LinkType => self.link.is_some(),
            Test::EtherType(ETH_P_8021Q) => self.vlan.is_some(),
            Test::IcmpType(_) => self.icmp.is_some(),
            // nft does not take it for a test there
            Test::MetaProtocol(_) => self.family == Family::Inet || self.network.is_some(),
            Test::EtherType(_) | Test::VlanType(_) | Test::NfProto(_) => self.network.is_some(),
        }
    }

    /// A statement was written: none of the tests before it can stay unsaid any more.
    pub fn settle(&mut self) {
        self.is_link_said = self.link.is_some();
        self.forget(0);
    }

    /// The tests from this number on stay unsaid.
    pub fn forget(&mut self, from: usize) {
        fn clear<T>(layer: &mut Option<Layer<T>>, from: usize) {
            if let Some(layer) = layer
                && layer.test.is_some_and(|(number, _)| number >= from)
            {
                layer.test = None;
            }
        }
        clear(&mut self.link, from);
        clear(&mut self.vlan, from);
        clear(&mut self.network, from);
        clear(&mut self.transport, from);
        clear(&mut self.icmp, from);
    }
}
