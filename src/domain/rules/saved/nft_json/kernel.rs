//! What `nft -j` leaves out, taken from the kernel's own answer: base chains, and text that is not UTF-8.
//! Renders no rule.
//!
//! *Source*: `enum nf_inet_hooks`, `nf_dev_hooks` (`linux/netfilter.h`), `nf_arp_hooks` (`netfilter_arp.h`),
//! `enum nft_chain_flags`, `nft_rule_attributes`, `nft_log_attributes` (`netfilter/nf_tables.h`).

use std::collections::HashMap;

use super::reader::Place;
use super::word::{is_keyword, quote};
use crate::domain::rules::Family;
use crate::domain::rules::kernel::Chain;
use crate::domain::rules::kernel::attributes::{Attributes, find};

/// Base chains as the kernel has them: what follows the name in their lines.
#[derive(Debug, Default)]
pub struct BaseChains(HashMap<Place, String>);

impl BaseChains {
    /// Keeps the base chains among `chains`; one that cannot be put into words is left to nft.
    pub fn new<'a>(chains: impl Iterator<Item = &'a Chain>) -> Self {
        let described = chains.filter_map(|chain| {
            let (table, name) =
                (std::str::from_utf8(&chain.table).ok()?, std::str::from_utf8(&chain.name).ok()?);
            Some(((chain.family, table.to_owned(), name.to_owned()), describe(chain)?))
        });
        Self(described.collect())
    }

    pub(super) fn get(&self, place: &Place) -> Option<&str> {
        self.0.get(place).map(String::as_str)
    }
}

/// `type filter hook ingress devices { "eth0" } priority -500 policy accept`
fn describe(chain: &Chain) -> Option<String> {
    const BASE: u32 = 1;
    const OFFLOAD: u32 = 2;
    let hook = chain.hook.as_ref()?;
    let kind = std::str::from_utf8(chain.chain_type.as_deref()?).ok().filter(|kind| is_keyword(kind))?;
    let hook_name = hook_name(chain.family, hook.hooknum)?;
    let policy = match chain.policy {
        Some(0) => "drop",
        Some(1) => "accept",
        _ => return None,
    };
    let flags = match chain.flags & !BASE {
        0 => "",
        OFFLOAD => " flags offload",
        _ => return None,
    };
    let mut devices: Vec<String> = hook
        .devices
        .iter()
        .map(|name| Some(quote(std::str::from_utf8(name).ok()?)))
        .collect::<Option<_>>()?;
    devices.sort();
    let devices =
        if devices.is_empty() { String::new() } else { format!(" devices {{ {} }}", devices.join(", ")) };
    Some(format!("type {kind} hook {hook_name}{devices} priority {} policy {policy}{flags}", hook.priority))
}

fn hook_name(family: Family, number: u32) -> Option<&'static str> {
    const INET: [&str; 6] = ["prerouting", "input", "forward", "output", "postrouting", "ingress"];
    let names: &[&str] = match family {
        Family::Inet => &INET,
        Family::Ip | Family::Ip6 | Family::Bridge => INET.get(..5)?,
        Family::Arp => &["input", "output", "forward"],
        Family::Netdev => &["ingress", "egress"],
    };
    names.get(number as usize).copied()
}

/// Whether nft shows all text of a rule. It leaves out, without a word, a comment, prefix or name that is not UTF-8, and
/// of an interface's name whatever stands behind the first NUL, which the kernel compares all the same.
pub fn is_text_shown(family: Family, userdata: Option<&[u8]>, expressions: &[u8]) -> bool {
    let mut loaded = Loaded::default();
    userdata.is_none_or(is_comment_shown)
        && Attributes::new(expressions).all(|element| {
            element.is_ok_and(|element| is_expression_shown(family, element.value, &mut loaded))
        })
}

/// User data is a list of type, length, value; type 0 is the comment, the others are nft's own.
///
/// *Source*: `enum nftnl_udata_rule_types` of libnftnl.
fn is_comment_shown(mut data: &[u8]) -> bool {
    while let [kind, length, rest @ ..] = data {
        let Some((value, tail)) = rest.split_at_checked(usize::from(*length)) else { return false };
        if *kind == 0 && std::str::from_utf8(value).is_err() {
            return false;
        }
        data = tail;
    }
    data.is_empty()
}

/// What the last load put into a register.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum What {
    /// The name or kind of an interface.
    Name,
    /// Part of the packet: base, offset and length.
    Payload([u32; 3]),
    #[default]
    Other,
}

/// A register after a load.
#[derive(Clone, Copy, Default)]
struct Loaded<'a> {
    what: What,
    /// How many bytes were loaded, where that is known.
    width: Option<usize>,
    /// The bits that were left of them; none for all.
    mask: Option<&'a [u8]>,
}

impl<'a> Loaded<'a> {
    fn new(what: What, width: Option<usize>) -> Self {
        Self { what, width, mask: None }
    }

    /// Whether the register is compared with a value of its size that has no bit which the mask clears: nft shows the bytes
    /// and bits that it expects, and neither others nor how many there are.
    fn is_compared_whole(&self, value: &[u8]) -> bool {
        let is_within = |mask: &[u8]| {
            mask.len() == value.len() && value.iter().zip(mask).all(|(value, mask)| value & !mask == 0)
        };
        self.width.is_none_or(|width| width == value.len()) && self.mask.is_none_or(is_within)
    }

    /// Leaves the bits of a mask, the `bitwise` expression with these attributes. False if it has another size.
    fn leave(&mut self, data: &'a [u8]) -> bool {
        let value = |kind| find(data, kind).and_then(|value| find(value, 1));
        let is_cleared = value(5).is_some_and(|xor| xor.iter().all(|byte| *byte == 0));
        let width = number(data, 3).and_then(|length| usize::try_from(length).ok());
        let is_whole = self.width.is_none_or(|own| Some(own) == width);
        (self.width, self.mask) = (width, value(4).filter(|_| is_cleared));
        is_whole
    }
}

/// How many bytes `meta` loads, for each key from `NFT_META_LEN` on; 0 for names, and for what nobody compares.
///
/// *Source*: `enum nft_meta_keys`, and the `len` of each key in `nft_meta_get_init`.
const META_BYTES: [usize; 36] = [
    4, 2, 4, 4, 4, 4, 0, 0, 2, 2, 4, 4, 1, 4, 4, 1, 1, 0, 0, 1, 4, 4, 4, 4, 4, 1, 0, 0, 2, 2, 8, 1, 4, 4, 0,
    1,
];

/// How many bytes `ct` loads, for each key from `NFT_CT_STATE` on; 0 where that depends on the family, and for names.
///
/// *Source*: `enum nft_ct_keys`, and the `len` of each key in `nft_ct_get_init`.
const CT_BYTES: [usize; 25] = [4, 1, 4, 4, 4, 4, 0, 1, 0, 0, 1, 2, 2, 16, 8, 8, 8, 2, 4, 4, 4, 16, 16, 4, 0];

fn width(table: &[usize], key: Option<u32>) -> Option<usize> {
    table.get(usize::try_from(key?).ok()?).copied().filter(|bytes| *bytes > 0)
}

/// Looks at one expression, and remembers what it loads.
fn is_expression_shown<'a>(family: Family, element: &'a [u8], loaded: &mut Loaded<'a>) -> bool {
    const NAME: u16 = 1;
    const DATA: u16 = 2;
    // NFT_META_IIFNAME, OIFNAME, BRI_IIFNAME, BRI_OIFNAME, IIFKIND, OIFKIND, SDIFNAME
    const NAMES: [u32; 7] = [6, 7, 17, 18, 26, 27, 34];
    let (Some(name), Some(data)) = (find(element, NAME), find(element, DATA)) else { return true };
    match name {
        b"meta\0" => {
            let key = number(data, 2);
            let is_name = key.is_some_and(|key| NAMES.contains(&key));
            *loaded = Loaded::new(if is_name { What::Name } else { What::Other }, width(&META_BYTES, key));
            true
        }
        b"ct\0" => {
            *loaded = Loaded::new(What::Other, width(&CT_BYTES, number(data, 2)));
            true
        }
        b"payload\0" => is_payload_shown(family, data, loaded),
        b"immediate\0" | b"rt\0" | b"fib\0" | b"exthdr\0" | b"socket\0" | b"hash\0" | b"numgen\0"
        | b"osf\0" | b"tunnel\0" | b"xfrm\0" | b"lookup\0" | b"byteorder\0" => {
            *loaded = Loaded::default();
            true
        }
        b"bitwise\0" => loaded.leave(data),
        b"log\0" => find(data, 2).is_none_or(|prefix| std::str::from_utf8(prefix).is_ok()),
        b"cmp\0" if loaded.what == What::Name => {
            find(data, 3).and_then(|value| find(value, 1)).is_none_or(is_name_shown)
        }
        b"cmp\0" => {
            find(data, 3).and_then(|value| find(value, 1)).is_none_or(|value| loaded.is_compared_whole(value))
        }
        b"range\0" => [3, 4].iter().all(|kind| {
            find(data, *kind)
                .and_then(|value| find(value, 1))
                .is_none_or(|value| loaded.is_compared_whole(value))
        }),
        _ => true,
    }
}

/// Whether a write into the packet is the one its name says: nft shows the field, and neither where a value that was
/// loaded, changed and written back came from, nor which checksum is mended.
///
/// *Source*: `nft_payload_attributes`, `nft_payload_bases`, `nft_payload_csum_types`; what nft 1.0.6 writes.
fn is_payload_shown(family: Family, data: &[u8], loaded: &mut Loaded<'_>) -> bool {
    const SOURCE_REGISTER: u16 = 5;
    let place = [2, 3, 4].map(|kind| number(data, kind).unwrap_or(u32::MAX));
    let Some(_) = find(data, SOURCE_REGISTER) else {
        *loaded = Loaded::new(What::Payload(place), usize::try_from(place[2]).ok());
        return true;
    };
    let is_same_place = !matches!(loaded.what, What::Payload(from) if from != place);
    let [base, ..] = place;
    let checksum = [6, 7].map(|kind| number(data, kind).unwrap_or(0));
    let is_usual = match (base, checksum) {
        // the IPv4 header's own, at byte 10
        (1, [1, 10]) => family != Family::Ip6,
        (1, [0, 0]) => family != Family::Ip,
        (_, [0, 0]) => true,
        // UDP at 6, TCP at 16, ICMP at 2
        (2, [1, at]) => matches!(at, 2 | 6 | 16),
        _ => false,
    };
    is_same_place && is_usual
}

/// A number in network order.
fn number(within: &[u8], kind: u16) -> Option<u32> {
    find(within, kind)?.try_into().ok().map(u32::from_be_bytes)
}

/// Whether a name is text up to the first NUL, and nothing follows that.
fn is_name_shown(value: &[u8]) -> bool {
    let end = value.iter().position(|&byte| byte == 0).unwrap_or(value.len());
    let (text, padding) = value.split_at(end);
    std::str::from_utf8(text).is_ok() && padding.iter().all(|&byte| byte == 0)
}

/// `TYPE_IFNAME` of nft: an interface's name, 16 bytes.
const IFNAME: u32 = 41;
/// `TYPE_BITS` of nft: each part of a key has a type of so many bits.
const TYPE_BITS: u32 = 6;

/// Whether keys of this type hold interface names.
pub fn has_names(key_type: u32) -> bool {
    parts(key_type).any(|part| part == IFNAME)
}

fn parts(key_type: u32) -> impl Iterator<Item = u32> {
    let first = (0..u32::BITS / TYPE_BITS).rev().map(move |part| key_type >> (part * TYPE_BITS) & 0x3f);
    first.skip_while(|part| *part == 0)
}

/// Whether every interface name in a key is shown as it is: nft leaves out elements whose name is not UTF-8.
///
/// *Source*: `enum datatypes` in `include/datatype.h` of nftables 1.0.6; each part is padded to four bytes.
pub fn is_key_shown(key_type: u32, key: &[u8]) -> bool {
    let mut at = 0;
    for part in parts(key_type) {
        let length = match part {
            IFNAME => 16,
            // an IPv6 address; an Ethernet address; the others in use fit into four bytes
            8 => 16,
            9 => 8,
            _ => 4,
        };
        let value = key.get(at..(at + length).min(key.len())).unwrap_or_default();
        if part == IFNAME && !is_name_shown(value) {
            return false;
        }
        at += length;
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::rules::samples::{attribute, element};

    fn expression(name: &str, attributes: &[(u16, Vec<u8>)]) -> Vec<u8> {
        let data: Vec<u8> = attributes.iter().flat_map(|(kind, value)| attribute(*kind, value)).collect();
        element(name.as_bytes(), &data)
    }

    /// nft prints the value of the load's size, whatever else the comparison holds.
    #[test]
    fn comparisons_must_be_of_what_was_loaded() {
        let number = |number: u32| number.to_be_bytes().to_vec();
        let load = |length| {
            expression("payload", &[(1, number(1)), (2, number(2)), (3, number(2)), (4, number(length))])
        };
        let cmp =
            |value: &[u8]| expression("cmp", &[(1, number(1)), (2, number(1)), (3, attribute(1, value))]);
        let mask = |mask: &[u8], length| {
            let zero = vec![0; mask.len()];
            let data = [
                (1, number(1)),
                (2, number(1)),
                (3, number(length)),
                (4, attribute(1, mask)),
                (5, attribute(1, &zero)),
            ];
            expression("bitwise", &data)
        };
        let meta = |key| expression("meta", &[(2, number(key)), (1, number(1))]);
        let range = |from: &[u8], to: &[u8]| {
            expression(
                "range",
                &[(1, number(1)), (2, number(0)), (3, attribute(1, from)), (4, attribute(1, to))],
            )
        };
        for (expressions, is_shown) in [
            (vec![load(2), cmp(&[0, 22])], true),
            (vec![load(2), cmp(&[0, 22, 0, 1])], false),
            (vec![load(2), cmp(&[0])], false),
            (vec![load(4), mask(&[255, 0, 0, 0], 4), cmp(&[10, 0, 0, 0])], true),
            (vec![load(4), mask(&[255, 0, 0, 0], 4), cmp(&[10, 1, 0, 0])], false),
            (vec![load(4), mask(&[255, 0], 2), cmp(&[10, 0])], false),
            (vec![load(2), range(&[0, 1], &[0, 9])], true),
            (vec![load(2), range(&[0, 1], &[0, 9, 0, 0])], false),
            (vec![meta(16), cmp(&[6])], true),
            (vec![meta(16), cmp(&[6, 0, 0, 1])], false),
            (vec![meta(6), cmp(b"eth")], true),
            (vec![expression("ct", &[(2, number(0)), (1, number(1))]), cmp(&[0; 8])], false),
            (vec![expression("socket", &[(1, number(0)), (2, number(1))]), cmp(&[1])], true),
        ] {
            assert_eq!(
                is_text_shown(Family::Ip, None, &expressions.concat()),
                is_shown,
                "{expressions:02x?}"
            );
        }
    }

    #[test]
    fn only_interface_names_must_be_text() {
        let name = |text: &[u8]| [text, &vec![0; 16 - text.len()]].concat();
        assert!(is_key_shown(IFNAME, &name(b"eth0")));
        assert!(!is_key_shown(IFNAME, &name(b"a\xff")));
        assert!(!is_key_shown(IFNAME, &name(b"eth0\0\x01")));
        assert!(is_key_shown(7, &[192, 168, 0, 1]));
        // ipv4_addr . ifname
        let both = 7 << TYPE_BITS | IFNAME;
        assert!(is_key_shown(both, &[&[192, 168, 0, 1][..], &name(b"eth0")].concat()));
        assert!(!is_key_shown(both, &[&[192, 168, 0, 1][..], &name(b"a\xff")].concat()));
        assert!(has_names(both) && !has_names(7));
    }
}
