//! What is read beside the packet's headers: `meta`, `ct`, `fib`, `rt`, `socket`, `osf`, `numgen`, `ipsec`, `tunnel`.
//! Knows no header.
//!
//! *Source*: nft(8), PRIMARY EXPRESSIONS; the templates in `src/meta.c`, `ct.c`, `rt.c`, `socket.c` and `xfrm.c` of nftables
//! 1.0.6.

use super::operand::{Operand, Says, offset};
use super::types::{Order, Type};
use crate::domain::rules::Family;
use crate::domain::rules::kernel::expressions::{Ct, Expression, Fib};

/// What an expression loads, in words.
pub fn key(expression: &Expression<'_>, family: Family) -> Option<Operand> {
    match expression {
        Expression::Meta(key) => meta(key.key),
        Expression::Ct(key) => ct(key, family),
        Expression::Fib(key) => fib(key),
        Expression::Rt(rt) => Some(match rt.key {
            0 => Operand::new("rt classid", Type::Realm, Order::Host, 4),
            1 => Operand::new("rt ip nexthop", Type::Ipv4, Order::Network, 4),
            2 => Operand::new("rt ip6 nexthop", Type::Ipv6, Order::Network, 16),
            3 => Operand::new("rt mtu", Type::Integer, Order::Host, 2),
            4 => Operand::new("rt ipsec", Type::Boolean, Order::Host, 1),
            _ => return None,
        }),
        Expression::Socket(socket) => Some(match (socket.key, socket.level) {
            (0, None) => Operand::new("socket transparent", Type::Integer, Order::Host, 1),
            (1, None) => Operand::new("socket mark", Type::Mark, Order::Host, 4),
            (2, None) => Operand::new("socket wildcard", Type::Integer, Order::Host, 1),
            (3, Some(level)) => {
                Operand::new(format!("socket cgroupv2 level {level}"), Type::Cgroup, Order::Host, 8)
            }
            _ => return None,
        }),
        Expression::Osf(osf) => {
            let ttl = *["", "ttl loose ", "ttl skip "].get(usize::from(osf.ttl))?;
            let key = match osf.flags {
                None | Some(0) => "name",
                Some(1) => "version",
                Some(_) => return None,
            };
            Some(Operand::new(format!("osf {ttl}{key}"), Type::Text, Order::Host, 16))
        }
        Expression::Numgen(numgen) => {
            let mode = *["inc", "random"].get(usize::try_from(numgen.kind).ok()?)?;
            let offset = offset(numgen.offset);
            let text = format!("numgen {mode} mod {}{offset}", numgen.modulus);
            Some(Operand::new(text, Type::Integer, Order::Host, 4))
        }
        Expression::Xfrm(xfrm) => {
            let direction = *["in", "out"].get(usize::from(xfrm.direction))?;
            let (key, of, order, bytes) = *[
                ("ip daddr", Type::Ipv4, Order::Network, 4),
                ("ip6 daddr", Type::Ipv6, Order::Network, 16),
                ("ip saddr", Type::Ipv4, Order::Network, 4),
                ("ip6 saddr", Type::Ipv6, Order::Network, 16),
                ("reqid", Type::Integer, Order::Host, 4),
                ("spi", Type::Integer, Order::Network, 4),
            ]
            .get(usize::try_from(xfrm.key.checked_sub(1)?).ok()?)?;
            let text = format!("ipsec {direction} spnum {} {key}", xfrm.number);
            Some(Operand::new(text, of, order, bytes))
        }
        Expression::Tunnel(tunnel) => Some(match (tunnel.key, tunnel.mode) {
            (0, None | Some(0)) => Operand::new("tunnel path", Type::Boolean, Order::Host, 1),
            (1, None | Some(0)) => Operand::new("tunnel id", Type::Integer, Order::Host, 4),
            _ => return None,
        }),
        _ => None,
    }
}

/// What the expression `KEY` of `meta` is called, and how its value looks.
///
/// *Source*: `meta_templates` in `src/meta.c` of nftables 1.0.6.
pub fn meta(key: u32) -> Option<Operand> {
    use Order::{Host, Network};
    const KEYS: [(&str, Type, Order, u32); 36] = [
        ("length", Type::Integer, Host, 4),
        ("protocol", Type::EtherType, Network, 2),
        ("priority", Type::Class, Host, 4),
        ("mark", Type::Mark, Host, 4),
        ("iif", Type::Device, Host, 4),
        ("oif", Type::Device, Host, 4),
        ("iifname", Type::DeviceName, Host, 16),
        ("oifname", Type::DeviceName, Host, 16),
        ("iiftype", Type::DeviceType, Host, 2),
        ("oiftype", Type::DeviceType, Host, 2),
        ("skuid", Type::User, Host, 4),
        ("skgid", Type::Group, Host, 4),
        ("nftrace", Type::Integer, Host, 1),
        ("rtclassid", Type::Realm, Host, 4),
        ("secmark", Type::Integer, Host, 4),
        ("nfproto", Type::NfProto, Host, 1),
        ("l4proto", Type::Protocol, Host, 1),
        ("ibrname", Type::DeviceName, Host, 16),
        ("obrname", Type::DeviceName, Host, 16),
        ("pkttype", Type::PacketType, Host, 1),
        ("cpu", Type::Integer, Host, 4),
        ("iifgroup", Type::DeviceGroup, Host, 4),
        ("oifgroup", Type::DeviceGroup, Host, 4),
        ("cgroup", Type::Integer, Host, 4),
        ("random", Type::Integer, Network, 4),
        ("ipsec", Type::Boolean, Host, 1),
        ("iifkind", Type::DeviceName, Host, 16),
        ("oifkind", Type::DeviceName, Host, 16),
        ("ibrpvid", Type::Integer, Host, 2),
        ("ibrvproto", Type::EtherType, Network, 2),
        ("time", Type::Date, Host, 8),
        ("day", Type::Day, Host, 1),
        ("hour", Type::Hour, Host, 4),
        ("sdif", Type::Device, Host, 4),
        ("sdifname", Type::DeviceName, Host, 16),
        ("broute", Type::Integer, Host, 1),
    ];
    let (name, of, order, bytes) = *KEYS.get(usize::try_from(key).ok()?)?;
    let text = match name {
        "iif" | "oif" | "iifname" | "oifname" => name.to_owned(),
        _ => format!("meta {name}"),
    };
    let says = match name {
        "iiftype" => Some(Says::LinkType),
        "protocol" => Some(Says::MetaProtocol),
        "nfproto" => Some(Says::NfProto),
        "l4proto" => Some(Says::L4Proto),
        _ => None,
    };
    Some(Operand { says, ..Operand::new(text, of, order, bytes) })
}

/// What a key of `ct` is called, and how its value looks.
///
/// *Source*: `ct_templates` in `src/ct.c` of nftables 1.0.6.
pub fn ct(ct: &Ct, family: Family) -> Option<Operand> {
    use Order::{Host, Network};
    let (address, bytes) = match family {
        Family::Ip6 => (Type::Ipv6, 16),
        _ => (Type::Ipv4, 4),
    };
    let (name, of, order, bytes) = *[
        ("state", Type::CtState, Host, 4),
        ("direction", Type::CtDirection, Host, 1),
        ("status", Type::CtStatus, Host, 4),
        ("mark", Type::Mark, Host, 4),
        ("secmark", Type::Integer, Host, 4),
        ("expiration", Type::Duration, Host, 4),
        ("helper", Type::Text, Host, 16),
        ("l3proto", Type::NfProto, Host, 1),
        ("saddr", address, Network, bytes),
        ("daddr", address, Network, bytes),
        ("protocol", Type::Protocol, Network, 1),
        ("proto-src", Type::Service, Network, 2),
        ("proto-dst", Type::Service, Network, 2),
        ("label", Type::CtLabel, Host, 16),
        ("packets", Type::Integer, Host, 8),
        ("bytes", Type::Integer, Host, 8),
        ("avgpkt", Type::Integer, Host, 8),
        ("zone", Type::Integer, Host, 2),
        ("event", Type::CtEvent, Host, 4),
        ("ip saddr", Type::Ipv4, Network, 4),
        ("ip daddr", Type::Ipv4, Network, 4),
        ("ip6 saddr", Type::Ipv6, Network, 16),
        ("ip6 daddr", Type::Ipv6, Network, 16),
        ("id", Type::Integer, Network, 4),
    ]
    .get(usize::try_from(ct.key).ok()?)?;
    let is_address = matches!(name, "saddr" | "daddr");
    if is_address && !matches!(family, Family::Ip | Family::Ip6) {
        return None;
    }
    let direction = match ct.direction {
        None => "",
        Some(0) => "original ",
        Some(1) => "reply ",
        Some(_) => return None,
    };
    Some(Operand::new(format!("ct {direction}{name}"), of, order, bytes))
}

fn fib(fib: &Fib) -> Option<Operand> {
    const FLAGS: [&str; 5] = ["saddr", "daddr", "mark", "iif", "oif"];
    const PRESENT: u32 = 32;
    if fib.flags >= 2 * PRESENT {
        return None;
    }
    let flags: Vec<_> = FLAGS
        .iter()
        .enumerate()
        .filter(|(bit, _)| fib.flags >> bit & 1 != 0)
        .map(|(_, flag)| *flag)
        .collect();
    let is_presence = fib.flags & PRESENT != 0;
    // NFT_FIB_RESULT_OIF, OIFNAME, ADDRTYPE
    let (key, of, bytes) = match (fib.result, is_presence) {
        (1, true) => ("oif", Type::Boolean, 4),
        (1, false) => ("oif", Type::Device, 4),
        (2, true) => ("oifname", Type::Boolean, 4),
        (2, false) => ("oifname", Type::DeviceName, 16),
        (3, false) => ("type", Type::FibType, 4),
        _ => return None,
    };
    Some(Operand::new(format!("fib {} {key}", flags.join(" . ")), of, Order::Host, bytes))
}
