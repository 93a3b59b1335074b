//! The addresses of this network namespace, from `/proc`.
//! Does not say on which interface: it only matters whether an address is one of ours.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

const IPV4: &str = "/proc/thread-self/net/fib_trie";
const IPV6: &str = "/proc/thread-self/net/if_inet6";

/// Every address of the calling thread's network namespace.
///
/// # Errors
/// If one of the files cannot be read; without IPv6 in the kernel there are no IPv6 addresses.
pub fn read() -> io::Result<Vec<IpAddr>> {
    let ipv4 = std::fs::read_to_string(IPV4)?;
    let ipv6 = match std::fs::read_to_string(IPV6) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        text => text?,
    };
    let mut all: Vec<IpAddr> =
        parse_ipv4(&ipv4).map(IpAddr::V4).chain(parse_ipv6(&ipv6).map(IpAddr::V6)).collect();
    all.sort_unstable();
    all.dedup();
    Ok(all)
}

/// ```text
///         |-- 192.0.2.10
///            /32 host LOCAL
/// ```
/// An address, then the route types for it; `/32 host LOCAL` is an address of an interface.
///
/// *Source*: `fib_trie_seq_show` in `net/ipv4/fib_trie.c`.
fn parse_ipv4(text: &str) -> impl Iterator<Item = Ipv4Addr> {
    let mut last = None;
    text.lines().filter_map(move |line| {
        let line = line.trim_start();
        if let Some(address) = line.strip_prefix("|-- ") {
            last = address.trim().parse().ok();
        }
        last.filter(|_| line == "/32 host LOCAL")
    })
}

/// `fe800000000000000000000000000001 02 40 20 80     eth0`: the address, then what does not matter here.
///
/// *Source*: `if6_seq_show` in `net/ipv6/addrconf.c`.
fn parse_ipv6(text: &str) -> impl Iterator<Item = Ipv6Addr> {
    text.lines().filter_map(|line| {
        let digits = line.split_ascii_whitespace().next().filter(|digits| digits.len() == 32)?;
        u128::from_str_radix(digits, 16).ok().map(Ipv6Addr::from_bits)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_addresses_and_no_networks() {
        let text = "Main:\n  +-- 0.0.0.0/0 3 0 5\n     |-- 0.0.0.0\n        /0 universe UNICAST\n     |-- 192.0.2.0\n        \
                    /24 link UNICAST\nLocal:\n        |-- 127.0.0.0\n           /8 host LOCAL\n        |-- 127.0.0.1\n           \
                    /32 host LOCAL\n     |-- 192.0.2.10\n        /32 host LOCAL\n     |-- 192.0.2.255\n        /32 link BROADCAST\n     \
                    |-- nonsense\n        /32 host LOCAL\n";
        let found: Vec<_> = parse_ipv4(text).collect();
        assert_eq!(found, ["127.0.0.1", "192.0.2.10"].map(|address| address.parse::<Ipv4Addr>().unwrap()));
    }

    #[test]
    fn reads_ipv6_addresses() {
        let text = "00000000000000000000000000000001 01 80 10 80       lo\nshort 02\n\
                    20010db8000000000000000000000010 02 40 00 80    node0\nzz010db8000000000000000000000010 02\n";
        let found: Vec<_> = parse_ipv6(text).collect();
        assert_eq!(found, ["::1", "2001:db8::10"].map(|address| address.parse::<Ipv6Addr>().unwrap()));
    }
}
