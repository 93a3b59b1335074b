//! Targets that rewrite addresses and ports: `SNAT`, `DNAT`, `MASQUERADE`, `REDIRECT`, `NETMAP`, `SNPT`, `DNPT`.
//! Knows no other target.
//!
//! *Source*: `include/uapi/linux/netfilter/nf_nat.h`, `netfilter_ipv6/ip6t_NPT.h`.

use super::target;
use crate::domain::rules::kernel::layout::{Be16, layout};
use crate::domain::rules::kernel::parts::words::{Address, address, ip6, prefix_length, push};
use crate::domain::rules::kernel::parts::{BOTH, Extension, IP, IP6, Info};
use crate::domain::rules::text::line::Line;

const SOURCE: &str = "netfilter/nf_nat.h";

pub(super) const EXTENSIONS: &[Extension] = &[
    target("SNAT", IP, &[0], &[], SOURCE, snat),
    target("SNAT", IP6, &[1], &[], SOURCE, snat),
    target("DNAT", IP, &[0], &[], SOURCE, dnat),
    target("DNAT", IP6, &[1], &[], SOURCE, dnat),
    target("DNAT", BOTH, &[2], &[], SOURCE, dnat_shifted),
    target("MASQUERADE", BOTH, &[0], &[], SOURCE, masquerade),
    target("REDIRECT", BOTH, &[0], &[], SOURCE, masquerade),
    target("NETMAP", BOTH, &[0], &[], SOURCE, netmap),
    target("SNPT", IP6, &[0], &[], "netfilter_ipv6/ip6t_NPT.h", prefix_translation),
    target("DNPT", IP6, &[0], &[], "netfilter_ipv6/ip6t_NPT.h", prefix_translation),
];

layout! {
    /// `struct nf_nat_ipv4_multi_range_compat`, which holds one range.
    struct Ipv4Range[20] {
        rangesize: u32 = 0, flags: u32 = 4, min_ip: [u8; 4] = 8, max_ip: [u8; 4] = 12, min: Be16 = 16, max: Be16 = 18
    }
}

layout! {
    /// `struct nf_nat_range`.
    struct Range[40] {
        flags: u32 = 0, min_addr: Address = 4, max_addr: Address = 20, min_proto: Be16 = 36, max_proto: Be16 = 38
    }
}

layout! {
    /// `struct nf_nat_range2`.
    struct ShiftedRange[44] {
        flags: u32 = 0, min_addr: Address = 4, max_addr: Address = 20, min_proto: Be16 = 36, max_proto: Be16 = 38,
        base_proto: Be16 = 40
    }
}

/// `NF_NAT_RANGE_*`.
mod flag {
    pub const MAP_IPS: u32 = 1 << 0;
    pub const PROTO_SPECIFIED: u32 = 1 << 1;
    pub const PROTO_RANDOM: u32 = 1 << 2;
    pub const PERSISTENT: u32 = 1 << 3;
    pub const PROTO_RANDOM_FULLY: u32 = 1 << 4;
    pub const PROTO_OFFSET: u32 = 1 << 5;
}

/// Any of the three structures.
struct Translation {
    flags: u32,
    addresses: [Address; 2],
    ports: [u16; 2],
    base: u16,
}

impl Translation {
    /// Reads the structure of the family; none if it has other flags than these, or values that no flag asks for.
    fn of(info: &Info<'_>, allowed: u32) -> Option<Self> {
        let read = if info.is_ip() {
            let range: Ipv4Range = info.decode()?;
            let wide = |ip: [u8; 4]| {
                let mut address = [0; 16];
                address.iter_mut().zip(ip).for_each(|(to, from)| *to = from);
                address
            };
            let addresses = [wide(range.min_ip), wide(range.max_ip)];
            let read = Self { flags: range.flags, addresses, ports: [range.min.0, range.max.0], base: 0 };
            (range.rangesize == 1).then_some(read)?
        } else {
            let range: Range = info.decode()?;
            let ports = [range.min_proto.0, range.max_proto.0];
            Self { flags: range.flags, addresses: [range.min_addr, range.max_addr], ports, base: 0 }
        };
        read.checked(allowed)
    }

    fn shifted(info: &Info<'_>, allowed: u32) -> Option<Self> {
        let range: ShiftedRange = info.decode()?;
        let read = Self {
            flags: range.flags,
            addresses: [range.min_addr, range.max_addr],
            ports: [range.min_proto.0, range.max_proto.0],
            base: range.base_proto.0,
        };
        read.checked(allowed)
    }

    fn checked(self, allowed: u32) -> Option<Self> {
        let Self { flags, addresses: [first, last], ports: [from, to], base } = self;
        let is_unset = |flag| flags & flag == 0;
        let has_addresses =
            if is_unset(flag::MAP_IPS) { [first, last] == [[0; 16]; 2] } else { first <= last };
        let has_ports = if is_unset(flag::PROTO_SPECIFIED) { [from, to] == [0, 0] } else { from <= to };
        let has_base = match (is_unset(flag::PROTO_OFFSET), base) {
            (is_unset, 0) => is_unset,
            (is_unset, _) => !is_unset && flags & flag::PROTO_SPECIFIED != 0,
        };
        let is_said = flags & !allowed == 0 && has_addresses && has_ports && has_base;
        is_said.then_some(self)
    }

    const fn has(&self, flag: u32) -> bool {
        self.flags & flag != 0
    }

    /// `ADDRESS[-ADDRESS][:PORT[-PORT][/BASE]]`, an IPv6 address with ports in brackets.
    fn write(&self, line: &mut Line, is_ip: bool) -> Option<()> {
        let [first, last] = &self.addresses;
        let has_brackets = !is_ip && self.has(flag::PROTO_SPECIFIED);
        if self.has(flag::MAP_IPS) {
            line.push(if has_brackets { b"[" } else { b"" });
            address(line, is_ip, first)?;
            if first != last {
                line.push(b"-");
                address(line, is_ip, last)?;
            }
            line.push(if has_brackets { b"]" } else { b"" });
        }
        if self.has(flag::PROTO_SPECIFIED) {
            line.push(b":");
            self.write_ports(line);
        }
        if self.has(flag::PROTO_OFFSET) {
            push(line, format_args!("/{}", self.base));
        }
        Some(())
    }

    fn write_ports(&self, line: &mut Line) {
        let [from, to] = self.ports;
        push(line, from);
        if from != to {
            push(line, format_args!("-{to}"));
        }
    }

    fn write_modes(&self, line: &mut Line) {
        let modes = [
            (flag::PROTO_RANDOM, "--random"),
            (flag::PROTO_RANDOM_FULLY, "--random-fully"),
            (flag::PERSISTENT, "--persistent"),
        ];
        modes.into_iter().filter(|&(flag, _)| self.has(flag)).for_each(|(_, option)| line.word(option));
    }
}

const ANY_MODE: u32 = flag::PROTO_RANDOM | flag::PROTO_RANDOM_FULLY | flag::PERSISTENT;

fn snat(info: &Info<'_>, line: &mut Line) -> Option<()> {
    let range = Translation::of(info, flag::MAP_IPS | flag::PROTO_SPECIFIED | ANY_MODE)?;
    to(line, "--to-source", &range, info.is_ip())
}

fn dnat(info: &Info<'_>, line: &mut Line) -> Option<()> {
    let range = Translation::of(info, flag::MAP_IPS | flag::PROTO_SPECIFIED | ANY_MODE)?;
    to(line, "--to-destination", &range, info.is_ip())
}

fn dnat_shifted(info: &Info<'_>, line: &mut Line) -> Option<()> {
    let allowed = flag::MAP_IPS | flag::PROTO_SPECIFIED | flag::PROTO_OFFSET | ANY_MODE;
    let range = Translation::shifted(info, allowed)?;
    to(line, "--to-destination", &range, info.is_ip())
}

fn to(line: &mut Line, option: &str, range: &Translation, is_ip: bool) -> Option<()> {
    // without either the option would have no value
    if !range.has(flag::MAP_IPS | flag::PROTO_SPECIFIED) {
        return None;
    }
    line.word(option);
    line.push(b" ");
    range.write(line, is_ip)?;
    range.write_modes(line);
    Some(())
}

fn masquerade(info: &Info<'_>, line: &mut Line) -> Option<()> {
    let allowed = flag::PROTO_SPECIFIED | flag::PROTO_RANDOM | flag::PROTO_RANDOM_FULLY;
    let range = Translation::of(info, allowed)?;
    if range.has(flag::PROTO_SPECIFIED) {
        line.word("--to-ports ");
        range.write_ports(line);
    }
    range.write_modes(line);
    Some(())
}

/// `--to ADDRESS/LENGTH`, kept as the first and last address.
fn netmap(info: &Info<'_>, line: &mut Line) -> Option<()> {
    let range = Translation::of(info, flag::MAP_IPS)?;
    let [first, last] = range.addresses;
    let length = if info.is_ip() { 4 } else { 16 };
    let mut mask: Address = [0; 16];
    for (mask, (first, last)) in mask.iter_mut().zip(first.iter().zip(&last)).take(length) {
        *mask = !(first ^ last);
    }
    let has_hosts = first.iter().zip(mask).take(length).any(|(first, mask)| first & !mask != 0);
    if !range.has(flag::MAP_IPS) || has_hosts {
        return None;
    }
    line.word("--to ");
    address(line, info.is_ip(), &first)?;
    match prefix_length(mask.get(..length)?) {
        Some(length) => push(line, format_args!("/{length}")),
        None => {
            line.push(b"/");
            address(line, info.is_ip(), &mask)?;
        }
    }
    Some(())
}

layout! {
    /// `struct ip6t_npt_tginfo`.
    struct Npt[36] { src_pfx: Address = 0, dst_pfx: Address = 16, src_pfx_len: u8 = 32, dst_pfx_len: u8 = 33 }
}

fn prefix_translation(info: &Info<'_>, line: &mut Line) -> Option<()> {
    let npt: Npt = info.decode()?;
    for (side, prefix, length) in
        [("src", npt.src_pfx, npt.src_pfx_len), ("dst", npt.dst_pfx, npt.dst_pfx_len)]
    {
        let rest = u128::from_be_bytes(prefix).checked_shl(length.into())?;
        // iptables-save 1.8.9 leaves the option out where the length is 0
        if !(1..=64).contains(&length) || rest != 0 {
            return None;
        }
        line.word(format_args!("--{side}-pfx {}/{length}", ip6(prefix)));
    }
    Some(())
}
