//! The values of options as iptables prints them, and whether that is certain.

use std::net::{IpAddr, Ipv4Addr};

/// The states in the order in which they are printed.
const STATES: [&str; 7] = ["INVALID", "NEW", "RELATED", "ESTABLISHED", "UNTRACKED", "SNAT", "DNAT"];

/// *Source*: `tcp_flag_names` in `extensions/libxt_tcp.c`.
const FLAGS: [&str; 6] = ["FIN", "SYN", "RST", "PSH", "ACK", "URG"];

/// What iptables prints for protocols.
const PROTOCOLS: [&str; 8] = ["ah", "dccp", "esp", "icmp", "ipv6-icmp", "sctp", "tcp", "udp"];

/// *Source*: iptables-extensions(8), REJECT.
const REJECTIONS: [&str; 8] = [
    "icmp-net-unreachable",
    "icmp-host-unreachable",
    "icmp-port-unreachable",
    "icmp-proto-unreachable",
    "icmp6-no-route",
    "icmp6-adm-prohibited",
    "icmp6-port-unreachable",
    "tcp-reset",
];

/// An option whose form is known.
pub(super) struct Known {
    name: &'static str,
    /// The matches or targets that have it.
    pub owners: &'static [&'static str],
    /// How many values it takes.
    pub values: usize,
    /// Its value may look like an option.
    pub is_text: bool,
    /// A protocol loads its match.
    pub is_of_protocol: bool,
}

const fn known_as(name: &'static str, owners: &'static [&'static str]) -> Known {
    Known { name, owners, values: 1, is_text: false, is_of_protocol: false }
}

const fn text(name: &'static str, owners: &'static [&'static str]) -> Known {
    Known { is_text: true, ..known_as(name, owners) }
}

const fn of_protocol(name: &'static str, owners: &'static [&'static str], values: usize) -> Known {
    Known { values, is_of_protocol: true, ..known_as(name, owners) }
}

const WITH_PORTS: &[&str] = &["tcp", "udp", "sctp", "dccp"];

/// In the order in which one match or target prints them.
const KNOWN: [Known; 21] = [
    of_protocol("--sport", WITH_PORTS, 1),
    of_protocol("--dport", WITH_PORTS, 1),
    of_protocol("--tcp-flags", &["tcp"], 2),
    of_protocol("--syn", &["tcp"], 0),
    of_protocol("--icmp-type", &["icmp"], 1),
    of_protocol("--icmpv6-type", &["icmp6", "icmpv6"], 1),
    known_as("--sports", &["multiport"]),
    known_as("--dports", &["multiport"]),
    known_as("--src-type", &["addrtype"]),
    known_as("--dst-type", &["addrtype"]),
    known_as("--ctstate", &["conntrack"]),
    known_as("--state", &["state"]),
    known_as("--mark", &["mark", "connmark"]),
    text("--comment", &["comment"]),
    text("--log-prefix", &["LOG"]),
    text("--nflog-prefix", &["NFLOG"]),
    known_as("--to-ports", &["REDIRECT", "MASQUERADE"]),
    known_as("--reject-with", &["REJECT"]),
    known_as("--set-xmark", &["MARK", "CONNMARK"]),
    known_as("--set-mark", &["MARK", "CONNMARK"]),
    known_as("--to-destination", &["DNAT"]),
];

/// A value, or an option with its values.
pub(super) struct Printed {
    pub text: String,
    /// Whether iptables prints it so.
    pub is_sure: bool,
    /// It is no condition, and is not printed.
    pub is_any: bool,
}

impl Printed {
    fn new(text: impl Into<String>, is_sure: bool) -> Self {
        Self { text: text.into(), is_sure, is_any: false }
    }
}

/// An option, and where it stands among the others.
pub(super) fn known(name: &str) -> Option<(usize, &'static Known)> {
    KNOWN.iter().enumerate().find(|(_, known)| known.name == name)
}

/// A known option with what was typed behind it.
pub(super) fn printed(option: &str, typed: &[String]) -> Printed {
    let joined = typed.join(" ");
    let value = match option {
        "--syn" => return Printed::new("--tcp-flags FIN,SYN,RST,ACK SYN", true),
        "--comment" => Printed::new(quoted(&joined), joined.len() < 256),
        "--log-prefix" => Printed::new(quoted(&joined), joined.len() < 30),
        "--nflog-prefix" => Printed::new(quoted(&joined), joined.len() < 64),
        "--sport" | "--dport" => ports(&joined),
        "--ctstate" | "--state" => states(&joined),
        "--tcp-flags" => Printed::new(joined, typed.iter().all(|flags| are_flags(flags))),
        "--sports" | "--dports" => {
            let is_sure = joined.split(',').all(|port| number(port).is_some_and(|port| port <= 65535));
            Printed::new(joined, is_sure)
        }
        "--to-ports" => {
            let is_sure = number(&joined).is_some();
            Printed::new(joined, is_sure)
        }
        "--icmp-type" | "--icmpv6-type" => {
            let is_sure = number(&joined).is_some_and(|kind| kind < 255);
            Printed::new(joined, is_sure)
        }
        "--src-type" | "--dst-type" => {
            let is_sure = joined.bytes().all(|letter| letter.is_ascii_uppercase());
            Printed::new(joined, is_sure)
        }
        "--reject-with" => Printed::new(joined.clone(), REJECTIONS.contains(&joined.as_str())),
        "--mark" => {
            Printed::new(joined.clone(), joined.split('/').all(is_hex) && !joined.ends_with("/0xffffffff"))
        }
        "--set-xmark" => {
            let is_sure = joined.split('/').all(is_hex) && joined.split('/').count() == 2;
            Printed::new(joined, is_sure)
        }
        "--to-destination" => {
            let is_sure =
                joined.parse::<std::net::SocketAddrV4>().is_ok() || joined.parse::<Ipv4Addr>().is_ok();
            Printed::new(joined, is_sure)
        }
        _ => Printed::new(joined, false),
    };
    Printed { text: [option, value.text.as_str()].join(" "), ..value }
}

/// As it is printed: no sign, no zero in front.
fn number(text: &str) -> Option<u32> {
    text.parse().ok().filter(|number: &u32| number.to_string() == text)
}

fn is_hex(text: &str) -> bool {
    let digits = text.strip_prefix("0x").unwrap_or_default();
    u32::from_str_radix(digits, 16).is_ok_and(|number| format!("{number:x}") == digits)
}

fn are_flags(text: &str) -> bool {
    let mut flags = FLAGS.iter();
    text == "NONE" || text.split(',').all(|typed| flags.any(|flag| *flag == typed))
}

/// A range of one is printed as the one, an open end as the number.
fn ports(text: &str) -> Printed {
    let port = |text: &str, open| {
        if text.is_empty() { Some(open) } else { number(text).filter(|port| *port <= 65535) }
    };
    let (first, last) = text.split_once(':').unwrap_or((text, text));
    match (port(first, 0), port(last, 65535)) {
        // every port: printed in one case, and not in another
        (Some(0), Some(65535)) => Printed::new(text, false),
        (Some(first), Some(last)) if first == last => Printed::new(first.to_string(), true),
        (Some(first), Some(last)) => Printed::new(format!("{first}:{last}"), first < last),
        _ => Printed::new(text, false),
    }
}

/// Numbers and capitals of the usual protocols.
pub(super) fn protocol(name: &str) -> Printed {
    let printed = match name.to_ascii_lowercase().as_str() {
        "0" | "all" => return Printed { is_any: true, ..Printed::new("all", true) },
        "1" => "icmp".to_owned(),
        "6" => "tcp".to_owned(),
        "17" => "udp".to_owned(),
        "58" | "icmpv6" => "ipv6-icmp".to_owned(),
        "132" => "sctp".to_owned(),
        other => other.to_owned(),
    };
    let is_sure = PROTOCOLS.contains(&printed.as_str());
    Printed::new(printed, is_sure)
}

/// `10.1.2.3/255.0.0.0` is printed as `10.0.0.0/8`; what is no address stays.
pub(super) fn address(text: &str) -> Printed {
    let (address, mask) = text.split_once('/').unwrap_or((text, ""));
    let Some(address) = address.parse::<IpAddr>().ok().or_else(|| short(address)) else {
        return Printed::new(text, false);
    };
    let Some(length) = length(mask, if address.is_ipv4() { 32 } else { 128 }) else {
        return Printed::new(text, false);
    };
    let masked = match address {
        IpAddr::V4(v4) => {
            IpAddr::V4(u32::MAX.checked_shl(32 - length).map_or(0, |mask| v4.to_bits() & mask).into())
        }
        IpAddr::V6(v6) => {
            IpAddr::V6(u128::MAX.checked_shl(128 - length).map_or(0, |mask| v6.to_bits() & mask).into())
        }
    };
    Printed { is_any: length == 0, ..Printed::new(format!("{masked}/{length}"), true) }
}

fn length(mask: &str, width: u32) -> Option<u32> {
    if mask.is_empty() {
        return Some(width);
    }
    if let Ok(mask) = mask.parse::<Ipv4Addr>() {
        let ones = mask.to_bits().count_ones();
        return (mask.to_bits().leading_ones() == ones && width == 32).then_some(ones);
    }
    number(mask).filter(|length| *length <= width)
}

/// `10/8`: iptables takes what is missing for zero.
fn short(text: &str) -> Option<IpAddr> {
    let missing = 3usize.checked_sub(text.matches('.').count())?;
    [text, &".0".repeat(missing)].concat().parse::<Ipv4Addr>().ok().map(IpAddr::V4)
}

/// What an option that is not known was given.
pub(super) fn quoted_if_blank(value: String) -> String {
    if value.contains([' ', '\t', '"', '\\', '\'']) { quoted(&value) } else { value }
}

/// *Source*: `xtables_save_string` in `libxtables/xtables.c`.
fn quoted(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if !text.is_empty() && text.chars().all(is_plain) {
        return text.to_owned();
    }
    let mut out = String::from("\"");
    for letter in text.chars() {
        if matches!(letter, '"' | '\\' | '\'') {
            out.push('\\');
        }
        out.push(letter);
    }
    out.push('"');
    out
}

fn states(value: &str) -> Printed {
    let typed: Vec<_> = value.split(',').map(str::to_ascii_uppercase).collect();
    if typed.iter().any(|state| !STATES.contains(&state.as_str())) {
        return Printed::new(value, false);
    }
    let states = STATES.into_iter().filter(|state| typed.iter().any(|typed| typed == state));
    Printed::new(states.collect::<Vec<_>>().join(","), true)
}
