//! What a rule asks of every packet before its matches: addresses, interfaces, protocol, fragment.
//! Knows no match, and of a chain only that `-g` is a flag of the head.
//!
//! A head is decoded from an entry only if encoding it gives the same bytes; then it is one that iptables writes. Its
//! text says all of it, but for what asks nothing (see [`super::same`]).
//!
//! *Source*: `struct ipt_ip` in `netfilter_ipv4/ip_tables.h`, `struct ip6t_ip6` in `netfilter_ipv6/ip6_tables.h`; how
//! iptables fills masks of interfaces from `xtables_parse_interface` in `libxtables/xtables.c`.

use super::layout::{Field, Name};
use crate::domain::rules::Family;

/// An address of either family; the first bytes of it for IPv4.
pub type Address = [u8; 16];

/// `IFNAMSIZ`: an interface's name with its NUL.
pub const IFNAMSIZ: usize = 16;

/// `-s` or `-d`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Network {
    /// The address; no bit is set that the mask leaves out.
    pub address: Address,
    /// Which bits are compared.
    pub mask: Address,
    /// `!`
    pub is_negated: bool,
}

impl Network {
    /// Whether it asks nothing.
    pub fn is_any(&self) -> bool {
        *self == Self::default()
    }
}

/// `-i` or `-o`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Device {
    /// The name; one that ends in `+` is a prefix. An empty one asks nothing.
    pub name: Name<IFNAMSIZ>,
    /// `!`
    pub is_negated: bool,
}

impl Default for Device {
    fn default() -> Self {
        Self { name: Name::read(&[]), is_negated: false }
    }
}

impl Device {
    /// Whether it asks nothing: `-i +` is every interface, and none.
    pub fn is_any(&self) -> bool {
        matches!((self.name.as_bytes(), self.is_negated), ([], _) | (b"+", false))
    }

    /// How many bytes of the name are compared.
    fn compared(&self) -> usize {
        match self.name.as_bytes() {
            [] => 0,
            [prefix @ .., b'+'] => prefix.len(),
            whole => whole.len() + 1,
        }
    }

    /// Which bytes are compared.
    pub fn mask(&self) -> [u8; IFNAMSIZ] {
        let mut mask = [0; IFNAMSIZ];
        mask.get_mut(..self.compared()).unwrap_or_default().fill(u8::MAX);
        mask
    }
}

/// `-p`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Protocol {
    /// `IPPROTO_*`; not 0, which is any.
    pub number: u8,
    /// `!`
    pub is_negated: bool,
}

/// What a rule asks of every packet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Head {
    /// `-s`
    pub source: Network,
    /// `-d`
    pub destination: Network,
    /// `-i`
    pub input: Device,
    /// `-o`
    pub output: Device,
    /// `-p`
    pub protocol: Option<Protocol>,
    /// `-p all` of ip6tables-legacy, which it keeps and never prints; IPv6 only.
    pub has_every_protocol: bool,
    /// `-f`, or `! -f` if true; IPv4 only.
    pub fragment: Option<bool>,
}

/// Where the fields of a head stand, in bytes.
struct Places {
    address: usize,
    flags: usize,
    inverse: usize,
    size: usize,
}

const IP: Places = Places { address: 4, flags: 82, inverse: 83, size: 84 };
const IP6: Places = Places { address: 16, flags: 131, inverse: 132, size: HEAD_MAX };

/// `sizeof(struct ip6t_ip6)`.
const HEAD_MAX: usize = 136;

impl Places {
    const fn of(family: Family) -> &'static Self {
        if matches!(family, Family::Ip6) { &IP6 } else { &IP }
    }

    /// The interfaces follow four addresses, and their masks follow both names.
    const fn device(&self, which: usize) -> usize {
        4 * self.address + which * IFNAMSIZ
    }

    const fn protocol(&self) -> usize {
        self.device(4)
    }
}

/// `IPT_F_FRAG`, and `IP6T_F_PROTO` in the same place.
const FRAGMENT_OR_PROTOCOL: u8 = 0x01;

/// `IPT_F_GOTO`, `IP6T_F_GOTO`.
const fn goto_flag(family: Family) -> u8 {
    if matches!(family, Family::Ip6) { 0x04 } else { 0x02 }
}

/// `IPT_INV_*`, which `IP6T_INV_*` equal.
const INVERSE_INPUT: u8 = 0x01;
const INVERSE_OUTPUT: u8 = 0x02;
const INVERSE_SOURCE: u8 = 0x08;
const INVERSE_DESTINATION: u8 = 0x10;
const INVERSE_FRAGMENT: u8 = 0x20;
const INVERSE_PROTOCOL: u8 = 0x40;

/// An encoded head.
#[derive(Clone, Copy, Debug)]
pub struct Encoded {
    bytes: [u8; HEAD_MAX],
    size: usize,
}

impl Encoded {
    /// `struct ipt_ip` or `struct ip6t_ip6`.
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.size).unwrap_or_default()
    }
}

/// Whether the head of an entry says that its jump does not come back, whatever else it says.
pub fn is_goto(family: Family, head: &[u8]) -> bool {
    head.get(Places::of(family).flags).is_some_and(|flags| flags & goto_flag(family) != 0)
}

impl Head {
    /// The head of an entry: `struct ipt_ip` or `struct ip6t_ip6`. None unless iptables could have written it: unless
    /// encoding gives these bytes again, no address has a bit outside its mask and no name is unterminated.
    pub fn decode(family: Family, bytes: &[u8]) -> Option<Self> {
        let head = Self::read(family, bytes)?;
        let is_masked = [&head.source, &head.destination].into_iter().all(|network| {
            network.address.iter().zip(&network.mask).all(|(address, mask)| address & !mask == 0)
        });
        let is_whole = [&head.input, &head.output].into_iter().all(|device| device.name.is_terminated());
        let is_same = head.encode(family, is_goto(family, bytes)).as_bytes() == bytes;
        (is_masked && is_whole && is_same).then_some(head)
    }

    /// The protocol, if it is exactly one.
    pub fn only_protocol(&self) -> Option<u8> {
        self.protocol.filter(|protocol| !protocol.is_negated).map(|protocol| protocol.number)
    }

    fn read(family: Family, bytes: &[u8]) -> Option<Self> {
        let places = Places::of(family);
        let byte = |at: usize| bytes.get(at).copied();
        let (flags, inverse) = (byte(places.flags)?, byte(places.inverse)?);
        let address = |which: usize| -> Option<Address> {
            let from = which * places.address;
            let mut address = [0; 16];
            address.get_mut(..places.address)?.copy_from_slice(bytes.get(from..from + places.address)?);
            Some(address)
        };
        let network = |which: usize, bit: u8| -> Option<Network> {
            let (address, mask) = (address(which)?, address(which + 2)?);
            Some(Network { address, mask, is_negated: inverse & bit != 0 })
        };
        let device = |which: usize, bit: u8| -> Option<Device> {
            let from = places.device(which);
            let name = Name::read(bytes.get(from..from + IFNAMSIZ)?);
            Some(Device { name, is_negated: inverse & bit != 0 })
        };
        let from = places.protocol();
        let protocol = match u16::read(bytes.get(from..from + 2)?) {
            0 => None,
            number => Some(Protocol {
                number: u8::try_from(number).ok()?,
                is_negated: inverse & INVERSE_PROTOCOL != 0,
            }),
        };
        let is_flagged = flags & FRAGMENT_OR_PROTOCOL != 0;
        Some(Self {
            source: network(0, INVERSE_SOURCE)?,
            destination: network(1, INVERSE_DESTINATION)?,
            input: device(0, INVERSE_INPUT)?,
            output: device(1, INVERSE_OUTPUT)?,
            protocol,
            has_every_protocol: is_flagged && family == Family::Ip6 && protocol.is_none(),
            fragment: (is_flagged && family == Family::Ip).then_some(inverse & INVERSE_FRAGMENT != 0),
        })
    }

    /// The head of an entry that asks the same, of a rule that jumps and does not come back if `is_goto`.
    pub fn encode(&self, family: Family, is_goto: bool) -> Encoded {
        let places = Places::of(family);
        let mut encoded = Encoded { bytes: [0; HEAD_MAX], size: places.size };
        let mut put = |at: usize, from: &[u8]| {
            if let Some(to) = encoded.bytes.get_mut(at..at + from.len()) {
                to.copy_from_slice(from);
            }
        };
        let addresses =
            [self.source.address, self.destination.address, self.source.mask, self.destination.mask];
        for (which, address) in addresses.iter().enumerate() {
            put(which * places.address, address.get(..places.address).unwrap_or_default());
        }
        for (which, device) in [self.input, self.output].iter().enumerate() {
            put(places.device(which), device.name.as_bytes());
            put(places.device(which + 2), &device.mask());
        }
        let mut flags = if is_goto { goto_flag(family) } else { 0 };
        let mut inverse = 0;
        let mut invert = |is_negated: bool, bit: u8| inverse |= if is_negated { bit } else { 0 };
        invert(self.source.is_negated, INVERSE_SOURCE);
        invert(self.destination.is_negated, INVERSE_DESTINATION);
        invert(self.input.is_negated && !self.input.name.as_bytes().is_empty(), INVERSE_INPUT);
        invert(self.output.is_negated && !self.output.name.as_bytes().is_empty(), INVERSE_OUTPUT);
        if let Some(protocol) = self.protocol {
            put(places.protocol(), &u16::from(protocol.number).to_ne_bytes());
            invert(protocol.is_negated, INVERSE_PROTOCOL);
        }
        if family == Family::Ip6 && (self.protocol.is_some() || self.has_every_protocol) {
            flags |= FRAGMENT_OR_PROTOCOL;
        }
        if let Some(is_negated) = self.fragment.filter(|_| family == Family::Ip) {
            flags |= FRAGMENT_OR_PROTOCOL;
            invert(is_negated, INVERSE_FRAGMENT);
        }
        put(places.flags, &[flags]);
        put(places.inverse, &[inverse]);
        encoded
    }
}
