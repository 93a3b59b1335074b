//! Conditions of a rule that a packet's addresses, ports and devices can be held against.
//! Knows the plain ones only: what is not understood excludes no packet.

use std::net::IpAddr;

use super::facts::Facts;
use crate::domain::drops::rule_words::Word;

/// A condition of an iptables rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Condition {
    is_negated: bool,
    test: Test,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Test {
    Source(Net),
    Destination(Net),
    In(Device),
    Out(Device),
    Protocol(u8),
    SourcePort(Vec<(u16, u16)>),
    DestinationPort(Vec<(u16, u16)>),
}

impl Condition {
    /// The conditions among the words of an iptables rule.
    ///
    /// *Source*: iptables(8), PARAMETERS; iptables-extensions(8), `tcp`, `udp`, `multiport`.
    pub fn all(words: &[Word<'_>]) -> Vec<Self> {
        let mut is_negated = false;
        let mut found = Vec::new();
        for (option, value) in words.iter().zip(words.iter().skip(1)) {
            if option.is("!") {
                is_negated = true;
                continue;
            }
            if let Some(test) = Test::parse(option, value) {
                found.push(Self { is_negated, test });
            }
            is_negated = false;
        }
        found
    }

    /// Whether these facts are certainly not of a packet that meets the condition.
    pub fn excludes(&self, facts: &Facts<'_>) -> bool {
        self.test.holds(facts).is_some_and(|holds| holds == self.is_negated)
    }
}

impl Test {
    fn parse(option: &Word<'_>, value: &Word<'_>) -> Option<Self> {
        if option.is_quoted {
            return None;
        }
        Some(match option.as_str()? {
            "-s" => Self::Source(Net::parse(value.as_str()?)?),
            "-d" => Self::Destination(Net::parse(value.as_str()?)?),
            "-i" => Self::In(Device::parse(&value.text)),
            "-o" => Self::Out(Device::parse(&value.text)),
            "-p" => Self::Protocol(protocol(value.as_str()?)?),
            "--sport" | "--sports" => Self::SourcePort(ports(value.as_str()?)?),
            "--dport" | "--dports" => Self::DestinationPort(ports(value.as_str()?)?),
            _ => return None,
        })
    }

    /// Whether the packet meets it; none if the facts do not say.
    fn holds(&self, facts: &Facts<'_>) -> Option<bool> {
        match self {
            Self::Source(net) => facts.source.map(|address| net.contains(address)),
            Self::Destination(net) => facts.destination.map(|address| net.contains(address)),
            Self::In(device) => facts.in_dev.map(|name| device.matches(name)),
            Self::Out(device) => facts.out_dev.map(|name| device.matches(name)),
            Self::Protocol(number) => facts.protocol.map(|protocol| protocol == *number),
            Self::SourcePort(ranges) => facts.source_port.map(|port| contains(ranges, port)),
            Self::DestinationPort(ranges) => facts.destination_port.map(|port| contains(ranges, port)),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Net {
    address: IpAddr,
    length: u8,
}

impl Net {
    fn parse(text: &str) -> Option<Self> {
        let (address, length) = match text.split_once('/') {
            Some((address, length)) => (address, Some(length.parse().ok()?)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().ok()?;
        let bits = if address.is_ipv4() { 32 } else { 128 };
        Some(Self { address, length: length.unwrap_or(bits) }).filter(|net| net.length <= bits)
    }

    fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address) {
            (IpAddr::V4(net), IpAddr::V4(address)) => {
                (u32::from(net) ^ u32::from(address)).leading_zeros() >= u32::from(self.length)
            }
            (IpAddr::V6(net), IpAddr::V6(address)) => {
                (u128::from(net) ^ u128::from(address)).leading_zeros() >= u32::from(self.length)
            }
            _ => false,
        }
    }
}

/// A device's name, or what it begins with.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Device {
    name: Vec<u8>,
    is_prefix: bool,
}

impl Device {
    fn parse(text: &[u8]) -> Self {
        match text.strip_suffix(b"+") {
            Some(name) => Self { name: name.to_vec(), is_prefix: true },
            None => Self { name: text.to_vec(), is_prefix: false },
        }
    }

    fn matches(&self, name: &[u8]) -> bool {
        if self.is_prefix { name.starts_with(&self.name) } else { name == self.name }
    }
}

/// *Source*: protocols(5), as iptables prints them.
fn protocol(text: &str) -> Option<u8> {
    Some(match text {
        "icmp" => 1,
        "igmp" => 2,
        "tcp" => 6,
        "udp" => 17,
        "gre" => 47,
        "esp" => 50,
        "ah" => 51,
        "ipv6-icmp" | "icmpv6" => 58,
        "sctp" => 132,
        "udplite" => 136,
        number => number.parse().ok()?,
    })
}

/// `80`, `1:1024` or `80,443,1000:2000`.
fn ports(text: &str) -> Option<Vec<(u16, u16)>> {
    text.split(',')
        .map(|part| match part.split_once(':') {
            Some((first, last)) => Some((first.parse().ok()?, last.parse().ok()?)),
            None => part.parse().ok().map(|port| (port, port)),
        })
        .collect()
}

fn contains(ranges: &[(u16, u16)], port: u16) -> bool {
    ranges.iter().any(|&(first, last)| (first..=last).contains(&port))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::drops::rule_words::words;
    use crate::domain::drops::rules::facts::Via;

    fn facts() -> Facts<'static> {
        Facts {
            in_dev: Some(b"eth0"),
            out_dev: Some(b""),
            source: "10.1.2.3".parse().ok(),
            destination: "10.9.9.9".parse().ok(),
            protocol: Some(6),
            source_port: Some(4000),
            destination_port: Some(443),
            ..Facts::new(Via::Log, b"")
        }
    }

    fn excludes(rule: &str, facts: &Facts<'_>) -> bool {
        Condition::all(&words(rule.as_bytes())).iter().any(|condition| condition.excludes(facts))
    }

    #[test]
    fn excludes_only_what_cannot_match() {
        for (rule, expected) in [
            ("-s 10.0.0.0/8 -d 10.9.9.9/32", false),
            ("-s 10.1.2.4/32", true),
            ("! -s 10.1.2.3/32", true),
            ("! -s 10.1.2.4/32", false),
            ("-s 0.0.0.0/0", false),
            ("-s fd00::/8", true),
            ("-s 10.0.0.0/255.0.255.0", false),
            ("-i eth+ -p tcp", false),
            ("-i eth1", true),
            ("-o eth0", true),
            ("-p udp", true),
            ("-p nonsense", false),
            ("-p tcp -m tcp --dport 443", false),
            ("-p tcp -m tcp ! --dport 443", true),
            ("-p tcp -m multiport --dports 80,400:500", false),
            ("-p tcp -m multiport --dports 80,500:600", true),
            ("-p tcp -m tcp --sport 1:1024", true),
            ("-m comment --comment \"-s 1.2.3.4\"", false),
            ("-m comment --comment \"-s\" -p tcp", false),
            ("-s", false),
        ] {
            assert_eq!(excludes(rule, &facts()), expected, "{rule}");
        }
    }

    #[test]
    fn what_is_not_known_excludes_nothing() {
        let unknown = Facts::new(Via::Log, b"");
        for rule in ["-s 1.2.3.4/32", "! -s 0.0.0.0/0", "-i a", "-o b", "-p udp", "-p udp -m udp --dport 5"] {
            assert!(!excludes(rule, &unknown), "{rule}");
        }
    }
}
