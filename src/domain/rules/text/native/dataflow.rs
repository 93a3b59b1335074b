//! What the registers hold when a statement of a native rule reads them.
//! Writes no text.
//!
//! A rule is a row of groups: expressions that fill registers, and one that reads them and does something. Within a group
//! every value is followed from the register it was put into to the expression that reads it, so that the registers' numbers
//! decide nothing. A rule that reads what an earlier group left behind, or holds an expression that is not decoded, has no
//! groups.
//!
//! *Source*: `enum nft_registers` in `include/uapi/linux/netfilter/nf_tables.h`; the sizes of what is loaded from the
//! `init` functions in `net/netfilter/nft_*.c`.

use std::collections::BTreeMap;

use crate::domain::rules::Family;
use crate::domain::rules::kernel::expressions::form::Data;
use crate::domain::rules::kernel::expressions::{Expression, Raw};
use crate::domain::rules::kernel::sets::{Element, Set};

/// A set that a rule may look into.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Known {
    /// The set.
    pub set: Set,
    /// Its elements, if it belongs to a rule.
    pub elements: Vec<Element>,
}

/// The sets of a table by name.
pub type Sets = BTreeMap<Vec<u8>, Known>;

/// Registers of 32 bits.
const WORDS: usize = 20;
const WORD: u32 = 4;

/// Where a register begins among the words; none for a number that is none (`NFT_REG_1` to `NFT_REG_4`, `NFT_REG32_00` to
/// `NFT_REG32_15`).
fn word(register: u32) -> Option<usize> {
    const LARGE: u32 = 4;
    const REG32_00: u32 = 8;
    const REG32_15: u32 = 23;
    let word = match register {
        1..=LARGE => (register - 1) * WORD,
        REG32_00..=REG32_15 => register - REG32_00,
        _ => return None,
    };
    usize::try_from(word).ok()
}

/// A value that a group puts into registers.
#[derive(Clone, Copy, Debug)]
pub struct Value<'a> {
    /// What makes it.
    pub from: &'a Expression<'a>,
    /// Its bytes.
    pub bytes: u32,
    /// Where `from` finds what it works on, before it writes its own result.
    before: [Option<(usize, usize)>; WORDS],
}

/// Expressions that end in one that does something.
#[derive(Debug)]
pub struct Group<'a> {
    /// All of it.
    pub expressions: &'a [Expression<'a>],
    /// The one that does something; of two comparisons with the ends of a range the second.
    pub last: &'a Expression<'a>,
    /// The first of these two comparisons.
    pub first_of_range: Option<&'a Expression<'a>>,
    /// The values, in order.
    pub values: Vec<Value<'a>>,
    words: [Option<(usize, usize)>; WORDS],
}

impl Group<'_> {
    /// The values in a register and those behind it, side by side, that have so many bytes together: each but a single one
    /// is padded to words.
    pub fn read(&self, register: u32, bytes: u32) -> Option<Vec<usize>> {
        read(&self.words, &self.values, register, bytes)
    }

    /// The value that begins in a register.
    pub fn at(&self, register: u32) -> Option<usize> {
        whole(&self.words, &self.values, word(register)?)
    }

    /// The value in a register, and how many words behind its beginning the register stands.
    pub fn inside(&self, register: u32) -> Option<(usize, usize)> {
        let at = word(register)?;
        let (value, offset) = self.words.get(at).copied().flatten()?;
        whole(&self.words, &self.values, at.checked_sub(offset)?)?;
        Some((value, offset))
    }

    /// As [`Self::read`], what a value of the group was made of.
    pub fn read_before(&self, value: usize, register: u32, bytes: u32) -> Option<Vec<usize>> {
        read(&self.values.get(value)?.before, &self.values, register, bytes)
    }

    /// As [`Self::at`], what a value of the group was made of.
    pub fn at_before(&self, value: usize, register: u32) -> Option<usize> {
        whole(&self.values.get(value)?.before, &self.values, word(register)?)
    }
}

/// The value whose first word is at `at`, if all of its words are still there.
fn whole(words: &[Option<(usize, usize)>; WORDS], values: &[Value<'_>], at: usize) -> Option<usize> {
    let (value, 0) = words.get(at).copied().flatten()? else { return None };
    let count = usize::try_from(values.get(value)?.bytes.div_ceil(WORD)).ok()?;
    let mut held = words.get(at..at.checked_add(count)?)?.iter().enumerate();
    held.all(|(offset, word)| *word == Some((value, offset))).then_some(value)
}

fn read(
    words: &[Option<(usize, usize)>; WORDS],
    values: &[Value<'_>],
    register: u32,
    bytes: u32,
) -> Option<Vec<usize>> {
    let mut at = word(register)?;
    let mut found = Vec::new();
    let mut covered = 0;
    while covered < bytes {
        let value = whole(words, values, at)?;
        let size = values.get(value)?.bytes;
        found.push(value);
        covered += size.next_multiple_of(WORD);
        at += usize::try_from(size.div_ceil(WORD)).ok()?;
    }
    let fits = match found.as_slice() {
        [one] => {
            let size = values.get(*one)?.bytes;
            size == bytes || size.next_multiple_of(WORD) == bytes
        }
        _ => covered == bytes.next_multiple_of(WORD),
    };
    fits.then_some(found)
}

/// The groups of a rule; none if it has none.
pub fn groups<'a>(expressions: &'a [Expression<'a>], sets: &Sets, family: Family) -> Option<Vec<Group<'a>>> {
    let mut groups = Vec::new();
    let mut start = 0;
    let mut values: Vec<Value<'a>> = Vec::new();
    let mut words = [None; WORDS];
    let mut at = 0;
    while let Some(expression) = expressions.get(at) {
        at += 1;
        if !reads(expression, sets, family)?.into_iter().flatten().all(|read| is_loaded(&words, read)) {
            return None;
        }
        match result(expression, sets, family)? {
            Some((register, bytes)) => {
                let before = words;
                let from = word(register)?;
                for (offset, slot) in words
                    .get_mut(from..from + usize::try_from(bytes.div_ceil(WORD)).ok()?)?
                    .iter_mut()
                    .enumerate()
                {
                    *slot = Some((values.len(), offset));
                }
                values.push(Value { from: expression, bytes, before });
            }
            None => {
                let range = expressions.get(at).filter(|next| is_range(expression, next));
                at += usize::from(range.is_some());
                groups.push(Group {
                    expressions: expressions.get(start..at)?,
                    last: range.unwrap_or(expression),
                    first_of_range: range.map(|_| expression),
                    values: std::mem::take(&mut values),
                    words: std::mem::replace(&mut words, [None; WORDS]),
                });
                start = at;
            }
        }
    }
    (start == expressions.len()).then_some(groups)
}

/// Whether all words of a register and those behind it were filled.
fn is_loaded(words: &[Option<(usize, usize)>; WORDS], (register, bytes): Read) -> bool {
    let filled = || {
        let at = word(register)?;
        let end = at.checked_add(usize::try_from(bytes.div_ceil(WORD).max(1)).ok()?)?;
        Some(words.get(at..end)?.iter().all(Option::is_some))
    };
    filled() == Some(true)
}

/// Whether two comparisons are of one register, with the first and the last value of a range.
fn is_range(first: &Expression<'_>, second: &Expression<'_>) -> bool {
    const LTE: u32 = 3;
    const GTE: u32 = 5;
    match (first, second) {
        (Expression::Cmp(first), Expression::Cmp(second)) => {
            first.op == GTE && second.op == LTE && first.sreg == second.sreg
        }
        _ => false,
    }
}

/// A register, and how many bytes are read from it and those behind it.
type Read = (u32, u32);

/// What an expression reads. None where that is not known.
fn reads(expression: &Expression<'_>, sets: &Sets, family: Family) -> Option<[Option<Read>; 4]> {
    const PORT: u32 = 2;
    let address = |family: Option<Family>| if family == Some(Family::Ip6) { 16 } else { 4 };
    let of_number = |number: u32| u8::try_from(number).ok().and_then(Family::from_nfproto);
    let key = |set: &[u8]| Some(sets.get(set)?.set.key_length);
    let length = |data: &Data<'_>| match data {
        Data::Value(value) => u32::try_from(value.len()).ok(),
        Data::Verdict(_) => None,
    };
    let one = |read: Option<Read>| [read, None, None, None];
    Some(match expression {
        Expression::Cmp(cmp) => one(Some((cmp.sreg, length(&cmp.data)?))),
        Expression::Range(range) => one(Some((range.sreg, length(&range.from)?.max(length(&range.to)?)))),
        Expression::Payload(payload) => one(payload.sreg.map(|register| (register, payload.length))),
        Expression::Meta(meta) => match meta.sreg {
            Some(register) => one(Some((register, meta_bytes(meta.key)?))),
            None => one(None),
        },
        Expression::Ct(ct) => match ct.sreg {
            Some(register) => one(Some((register, ct_bytes(ct.key, family)?))),
            None => one(None),
        },
        Expression::Exthdr(exthdr) => match exthdr.sreg {
            Some(register) => one(Some((register, exthdr.length?))),
            None => one(None),
        },
        Expression::Bitwise(bitwise) => {
            let second = bitwise.sreg2.map(|register| (register, bitwise.length));
            [Some((bitwise.sreg, bitwise.length)), second, None, None]
        }
        Expression::Byteorder(byteorder) => one(Some((byteorder.sreg, byteorder.length))),
        Expression::Hash(hash) => match hash.sreg {
            Some(register) => one(Some((register, hash.length?))),
            None => one(None),
        },
        Expression::Lookup(lookup) => one(Some((lookup.sreg, key(lookup.set.0)?))),
        Expression::Dynset(dynset) => {
            let data = match dynset.data {
                Some(register) => Some((register, sets.get(dynset.set.0)?.set.data_length?)),
                None => None,
            };
            [Some((dynset.key, key(dynset.set.0)?)), data, None, None]
        }
        Expression::Objref(objref) => match (objref.sreg, objref.set) {
            (Some(register), Some(set)) => one(Some((register, key(set.0)?))),
            (None, _) => one(None),
            (Some(_), None) => return None,
        },
        Expression::Nat(nat) => {
            let address = address(of_number(nat.family));
            let addresses = [nat.address, nat.last_address].map(|register| Some((register?, address)));
            let ports = [nat.port, nat.last_port].map(|register| Some((register?, PORT)));
            [addresses[0], addresses[1], ports[0], ports[1]]
        }
        Expression::Masq(masq) => {
            [masq.port.map(|port| (port, PORT)), masq.last_port.map(|port| (port, PORT)), None, None]
        }
        Expression::Redir(redir) => {
            [redir.port.map(|port| (port, PORT)), redir.last_port.map(|port| (port, PORT)), None, None]
        }
        Expression::Tproxy(tproxy) => {
            let address = address(of_number(tproxy.family));
            let target = tproxy.address.map(|register| (register, address));
            [target, tproxy.port.map(|port| (port, PORT)), None, None]
        }
        Expression::Queue(queue) => one(queue.sreg.map(|register| (register, PORT))),
        Expression::Dup(dup) => {
            let target = dup.address.map(|register| (register, address(Some(family))));
            [target, dup.device.map(|register| (register, WORD)), None, None]
        }
        Expression::Fwd(fwd) => {
            let of = fwd.family.and_then(of_number);
            let target = fwd.address.map(|register| (register, address(of)));
            [Some((fwd.device, WORD)), target, None, None]
        }
        _ => one(None),
    })
}

/// The register that an expression fills, and how many bytes it puts there. None where that is not known.
fn result(expression: &Expression<'_>, sets: &Sets, family: Family) -> Option<Option<(u32, u32)>> {
    const ADDRESS: u32 = 4;
    let length = |bytes: usize| u32::try_from(bytes).ok();
    Some(match expression {
        Expression::Raw(Raw { name: b"notrack", attributes: None | Some([]) }) => None,
        Expression::Raw(_) => return None,
        Expression::Payload(payload) => payload.dreg.map(|register| (register, payload.length)),
        Expression::Meta(meta) => match meta.dreg {
            Some(register) => Some((register, meta_bytes(meta.key)?)),
            None => None,
        },
        Expression::Ct(ct) => match ct.dreg {
            Some(register) => Some((register, ct_bytes(ct.key, family)?)),
            None => None,
        },
        Expression::Immediate(immediate) => match immediate.data {
            Data::Value(value) => Some((immediate.dreg, length(value.len())?)),
            Data::Verdict(_) => None,
        },
        Expression::Exthdr(exthdr) => match exthdr.dreg {
            Some(register) => Some((register, exthdr.length?)),
            None => None,
        },
        Expression::Bitwise(bitwise) => Some((bitwise.dreg, bitwise.length)),
        Expression::Byteorder(byteorder) => Some((byteorder.dreg, byteorder.length)),
        Expression::Hash(hash) => Some((hash.dreg, 4)),
        Expression::Numgen(numgen) => Some((numgen.dreg, 4)),
        Expression::Osf(osf) => Some((osf.dreg, NAME_BYTES)),
        Expression::Fib(fib) => {
            const OIFNAME: u32 = 2;
            const PRESENT: u32 = 32;
            let is_name = fib.result == OIFNAME && fib.flags & PRESENT == 0;
            Some((fib.dreg, if is_name { NAME_BYTES } else { 4 }))
        }
        // NFT_RT_CLASSID, NEXTHOP4, NEXTHOP6, TCPMSS, XFRM
        Expression::Rt(rt) => Some((rt.dreg, *[4, ADDRESS, 16, 2, 1].get(usize::try_from(rt.key).ok()?)?)),
        // NFT_SOCKET_TRANSPARENT, MARK, WILDCARD, CGROUPV2
        Expression::Socket(socket) => {
            Some((socket.dreg, *[1, 4, 1, 8].get(usize::try_from(socket.key).ok()?)?))
        }
        // NFT_XFRM_KEY_DADDR_IP4, DADDR_IP6, SADDR_IP4, SADDR_IP6, REQID, SPI
        Expression::Xfrm(xfrm) => {
            let bytes = [0, ADDRESS, 16, ADDRESS, 16, 4, 4];
            Some((xfrm.dreg, *bytes.get(usize::try_from(xfrm.key).ok()?)?))
        }
        // NFT_TUNNEL_PATH, ID
        Expression::Tunnel(tunnel) => Some((tunnel.dreg, *[1, 4].get(usize::try_from(tunnel.key).ok()?)?)),
        Expression::Lookup(lookup) => match lookup.dreg {
            // NFT_REG_VERDICT
            None | Some(0) => None,
            Some(register) => Some((register, sets.get(lookup.set.0)?.set.data_length?)),
        },
        _ => None,
    })
}

/// `IFNAMSIZ`, `NFT_OSF_MAXGENRELEN`.
const NAME_BYTES: u32 = 16;

/// How many bytes `meta` loads, for each key from `NFT_META_LEN` on.
///
/// *Source*: `enum nft_meta_keys`, and the `len` of each key in `nft_meta_get_init`.
fn meta_bytes(key: u32) -> Option<u32> {
    const N: u32 = NAME_BYTES;
    const BYTES: [u32; 36] = [
        4, 2, 4, 4, 4, 4, N, N, 2, 2, 4, 4, 1, 4, 4, 1, 1, N, N, 1, 4, 4, 4, 4, 4, 1, N, N, 2, 2, 8, 1, 4, 4,
        N, 1,
    ];
    BYTES.get(usize::try_from(key).ok()?).copied()
}

/// How many bytes `ct` loads, for each key from `NFT_CT_STATE` on.
///
/// *Source*: `enum nft_ct_keys`, and the `len` of each key in `nft_ct_get_init`; `NFT_CT_SRC` and `NFT_CT_DST` have the size
/// of the family's addresses.
fn ct_bytes(key: u32, family: Family) -> Option<u32> {
    const SRC: u32 = 8;
    const DST: u32 = 9;
    if matches!(key, SRC | DST) && family == Family::Ip {
        return Some(4);
    }
    const BYTES: [u32; 25] =
        [4, 1, 4, 4, 4, 4, NAME_BYTES, 1, 16, 16, 1, 2, 2, 16, 8, 8, 8, 2, 4, 4, 4, 16, 16, 4, 0];
    BYTES.get(usize::try_from(key).ok()?).copied().filter(|bytes| *bytes > 0)
}
