//! Which different states of the kernel share a line: the closed list, and a form that all states of one line share.
//! Everything else that differs in a byte differs in its line.
//!
//! State is left out before: counters, `nfcache`, `comefrom`, and of each extension what its table names.
//!
//! Of a rule in nf_tables, [`canonical`] undoes
//! 1. the **order of the conditions of its head** (`-s -d -i -o -p -f`). Each loads into register 1 and compares it, and
//!    changes nothing; where a load or a comparison fails, the rule ends. So they are a conjunction.
//! 2. **`-p` of IPv4 as `meta l4proto` or as the byte at network header + 9**. The kernel sets the first from the second, in
//!    every packet whose header is valid (`nft_set_pktinfo_ipv4`).
//! 3. **`tcp`, `udp`, `mark`, `limit`, `NFLOG` and `TRACE` as an x_tables part or as native expressions**. iptables-nft writes
//!    the second since 1.8.8 for what it wrote as the first, and both ask the same of the same bytes. A truncated TCP or
//!    UDP header, which `xt_tcpudp` drops, only fails to match natively.
//! 4. **a mask of whole bytes as a shorter load or as `bitwise`** (since 1.8.7, and before): the same bits are compared.
//! 5. **the name of an interface that is loaded and not compared** (`-i +` until 1.8.9), or not loaded. Register 1 is
//!    loaded again before anything reads it, and since Linux 5.3 loading a name never fails.
//! 6. **`! --dport 0:N` as `cmp gt N` or as the range from N + 1**: they hold for the same ports.
//! 7. **`bitwise` with and without `NFTA_BITWISE_OP`**, which kernels before Linux 5.6 do not write: it is the only
//!    operation they have.
//!
//! Of a legacy table the lines leave out
//! 8. **an interface `+` that is not negated**: its mask is empty, so it is every interface, and none;
//! 9. **`-p all` of ip6tables** (`IP6T_F_PROTO` without a protocol): it holds for every packet (`ip6_packet_match`). One
//!    whose extension headers cannot be read is dropped, as by any rule that names a protocol;
//! 10. **bytes that nothing reads**: the padding of `struct ip6t_entry` and of the standard and ERROR targets, and what
//!     stands behind the NUL of an extension's name.
//!
//! Of what a native table declares the lines leave out
//! - **how an interval of one part is told**: by an element where it begins and one behind its end, which may be where the
//!   next one begins; by one element with both; with an end at zero before the first, as nft puts one there. A lookup ends at
//!   the last element that begins at the key or before (`nft_rbtree_lookup`); a property test asks that of both forms;
//! - **the statements of a set, and a time-out of 0, at an end**: kernels put them there, and no packet meets an end;
//! - **`NFT_SET_CONCAT` of a set without intervals**, and `NFTA_SET_DESC_CONCAT` where it says what the types say: the kernel
//!   looks at both only to find intervals of several parts. **`NFTA_SET_DATA_LEN` of verdicts**: the kernel takes its own;
//! - **user data** other than comments, `auto-merge` and the order of bytes of numbers whose type says none: it is nft's;
//! - **who owns a table** (`NFT_TABLE_F_OWNER`): both vanish silently with the owner;
//! - **the order of devices**, a single device that is named twice, and **the beginning of names as `NFTA_DEVICE_PREFIX` or as
//!   a name without NUL** (Linux 6.16).
//!
//! Extensions whose table has several revisions in one row write them alike; the row says why.
//!
//! Of a native rule the lines leave out
//! 11. **the numbers of the registers** that carry a value from the expression that makes it to the one that reads it, within
//!     one statement. Each value is followed from the one to the other (`text::native::dataflow`); a rule that reads what an
//!     earlier statement left behind is written by its bytes;
//! 12. **a range as two comparisons or as `range`**: both hold for the same values;
//! 13. **fields side by side that are compared with constants at once or one after the other**: a conjunction either way, and
//!     the packet is too short for the one as for the other;
//! 14. **presence in `fib` compared as one or as four bytes**: the kernel writes 0 or 1 into the whole register;
//! 15. **of a set that belongs to the rule its name, number, size, the numbers of its types, and user data; whether single
//!     values are kept as such or as intervals; and how an interval is told**: elements decide, and are all shown;
//! 16. **`ip protocol` for `meta l4proto` in the family ip**, right before a field of the transport header, as 2.;
//! 17. **a mask of whole bytes as a shorter load or as `bitwise`**, as 4.;
//! 18. **the name of an interface with one NUL behind it or with all**: the kernel fills names up with NULs;
//! 19. **user data but comments**, whose reader is nft alone.

#[cfg(test)]
mod tests;

use super::expressions::form::{Data, Text};
use super::expressions::numbers::*;
use super::expressions::{
    Bitwise, Cmp, Counter, Expression, Extension, Immediate, Limit, Log, Meta, Range, meta, payload,
};
use super::layout::Field;
use super::parts::{self, ANY_PORT, Mark, Nflog, Tcp, Udp, words};
use super::rule::made::{ANY_TCP, ANY_UDP, INVERSE_DESTINATION, INVERSE_FLAGS, INVERSE_SOURCE};
use crate::domain::rules::Family;

/// A form that the rules in nf_tables share which share a line: the same bytes for two rules only if they ask the same.
///
/// It is what iptables-nft 1.8.13 would have written.
pub fn canonical(family: Family, expressions: &[Expression<'_>]) -> Vec<u8> {
    let mut form = Form { bytes: Vec::new() };
    let rest = form.head(family, expressions);
    for expression in rest {
        form.push_native(expression);
    }
    form.bytes
}

struct Form {
    bytes: Vec<u8>,
}

/// A condition of the head: its rank in the order of 1.8.13, its operator, and what it compares.
type HeadCondition = (u8, u32, [u8; 32]);

impl Form {
    fn push(&mut self, expression: &Expression<'_>) {
        self.bytes.extend_from_slice(expression.name());
        self.bytes.push(0);
        self.bytes.extend_from_slice(&expression.encode());
    }

    /// Adds the head, and returns the expressions behind it.
    fn head<'a>(&mut self, family: Family, expressions: &'a [Expression<'a>]) -> &'a [Expression<'a>] {
        let mut conditions = Vec::new();
        let mut rest = expressions;
        while let Some((condition, behind)) = head_condition(family, rest) {
            conditions.extend(condition);
            rest = behind;
        }
        // a condition that stands twice stays in its order
        conditions.sort_by_key(|(rank, ..)| *rank);
        for (rank, operator, compared) in conditions {
            self.bytes.push(rank);
            self.bytes.extend_from_slice(&operator.to_ne_bytes());
            self.bytes.extend_from_slice(&compared);
        }
        rest
    }

    /// Adds an expression; an x_tables part as the native expressions that stand for it.
    fn push_native(&mut self, expression: &Expression<'_>) {
        match expression {
            Expression::Counter(_) => self.push(&Expression::Counter(Counter { bytes: 0, packets: 0 })),
            Expression::Bitwise(bitwise) => {
                let op = bitwise.op.or(Some(MASK_XOR));
                self.push(&Expression::Bitwise(Bitwise { op, ..*bitwise }));
            }
            Expression::Cmp(Cmp { sreg, op: GT, data: Data::Value(value @ [_, _]) }) => {
                let from = u16::read(value).to_be().wrapping_add(1).to_be_bytes();
                let (from, to) = (Data::Value(&from), Data::Value(&[u8::MAX; 2]));
                self.push(&Expression::Range(Range { sreg: *sreg, op: EQ, from, to }));
            }
            Expression::Match(part) if self.push_match(part).is_some() => (),
            Expression::Target(part) if self.push_target(part).is_some() => (),
            other => self.push(other),
        }
    }

    fn push_cmp(&mut self, op: u32, value: &[u8]) {
        self.push(&Expression::Cmp(Cmp { sreg: REG_1, op, data: Data::Value(value) }));
    }

    fn push_mask(&mut self, mask: &[u8]) {
        const NONE: [u8; 16] = [0; 16];
        self.push(&Expression::Bitwise(Bitwise {
            sreg: REG_1,
            dreg: REG_1,
            length: u32::try_from(mask.len()).unwrap_or_default(),
            op: Some(MASK_XOR),
            mask: Some(Data::Value(mask)),
            xor: NONE.get(..mask.len()).map(Data::Value),
            data: None,
            sreg2: None,
        }));
    }

    fn push_match(&mut self, part: &Extension<'_>) -> Option<()> {
        let Extension { name: Text(name), revision, info } = *part;
        match (name, revision, info.len()) {
            (b"tcp", 0, 16) => {
                let tcp = Tcp::read(info);
                if tcp.option != 0 || tcp.invflags > 7 || tcp == ANY_TCP {
                    return None;
                }
                if tcp.flg_mask != 0 {
                    self.push(&Expression::Payload(payload(TRANSPORT_HEADER, 13, 1)));
                    self.push_mask(&[tcp.flg_mask]);
                    self.push_cmp(operator(tcp.invflags, INVERSE_FLAGS), &[tcp.flg_cmp]);
                }
                self.push_ports(tcp.spts, tcp.dpts, tcp.invflags);
            }
            (b"udp", 0, 16) => {
                let udp = Udp::read(info);
                if udp.invflags > 3 || udp == ANY_UDP {
                    return None;
                }
                self.push_ports(udp.spts, udp.dpts, udp.invflags);
            }
            (b"mark", 1, 16) => {
                let Mark { mark, mask, invert } = Mark::read(info);
                self.push(&Expression::Meta(meta(META_MARK)));
                if mask != u32::MAX {
                    self.push_mask(&mask.to_ne_bytes());
                }
                self.push_cmp(if invert == 0 { EQ } else { NEQ }, &mark.to_ne_bytes());
            }
            (b"limit", 0, 40) => {
                let limit = parts::Limit::read(info);
                let (rate, unit) = words::chosen_rate(limit.interval.into(), 10_000)?;
                let (burst, kind, flags) = (limit.burst, LIMIT_PACKETS, 0);
                self.push(&Expression::Limit(Limit { rate, unit, burst, kind, flags }));
            }
            _ => return None,
        }
        Some(())
    }

    fn push_ports(&mut self, source: [u16; 2], destination: [u16; 2], inverse: u8) {
        let is_one = |ports: [u16; 2], bit: u8| inverse & bit == 0 && ports[0] == ports[1] && ports[0] != 0;
        if is_one(source, INVERSE_SOURCE) && is_one(destination, INVERSE_DESTINATION) {
            self.push(&Expression::Payload(payload(TRANSPORT_HEADER, 0, 4)));
            self.push_cmp(EQ, &[source[0].to_be_bytes(), destination[0].to_be_bytes()].concat());
            return;
        }
        for (ports, offset, bit) in [(source, 0, INVERSE_SOURCE), (destination, 2, INVERSE_DESTINATION)] {
            let op = operator(inverse, bit);
            let [low, high] = ports.map(u16::to_be_bytes);
            if ports == ANY_PORT && op == EQ {
                continue;
            }
            self.push(&Expression::Payload(payload(TRANSPORT_HEADER, offset, 2)));
            match ports {
                [first, last] if first == last => self.push_cmp(op, &low),
                [0, last] if last != u16::MAX && op == EQ => self.push_cmp(LTE, &high),
                [0, last] if last != u16::MAX => {
                    self.push_range(EQ, &last.wrapping_add(1).to_be_bytes(), &[u8::MAX; 2]);
                }
                _ => self.push_range(op, &low, &high),
            }
        }
    }

    fn push_range(&mut self, op: u32, from: &[u8], to: &[u8]) {
        let (from, to) = (Data::Value(from), Data::Value(to));
        self.push(&Expression::Range(Range { sreg: REG_1, op, from, to }));
    }

    fn push_target(&mut self, part: &Extension<'_>) -> Option<()> {
        let Extension { name: Text(name), revision, info } = *part;
        match (name, revision, info.len()) {
            (b"NFLOG", 0, 80) => {
                let nflog = Nflog::read(info);
                let is_native = nflog.flags == 1 || (nflog.flags == 0 && nflog.len == 0);
                if !is_native || !nflog.prefix.is_terminated() {
                    return None;
                }
                let prefix = nflog.prefix.as_bytes();
                self.push(&Expression::Log(Log {
                    prefix: (!prefix.is_empty()).then_some(Text(prefix)),
                    level: None,
                    flags: None,
                    group: Some(nflog.group),
                    snaplen: (nflog.flags == 1).then_some(nflog.len),
                    threshold: (nflog.threshold != 0).then_some(nflog.threshold),
                }));
            }
            (b"TRACE", 0, 0) => {
                let data = Data::Value(&[1]);
                self.push(&Expression::Immediate(Immediate { dreg: REG32_01, data }));
                let set = Meta { key: META_NFTRACE, dreg: None, sreg: Some(REG32_01) };
                self.push(&Expression::Meta(set));
            }
            _ => return None,
        }
        Some(())
    }
}

const fn operator(inverse: u8, bit: u8) -> u32 {
    if inverse & bit == 0 { EQ } else { NEQ }
}

/// The condition of the head that stands in front, if it asks anything, and what stands behind it.
fn head_condition<'a>(
    family: Family,
    expressions: &'a [Expression<'a>],
) -> Option<(Option<HeadCondition>, &'a [Expression<'a>])> {
    let is_ip = family == Family::Ip;
    let (source, destination, width) = if is_ip { (12, 16, 4) } else { (8, 24, 16) };
    let (rank, length, behind) = match expressions {
        [Expression::Meta(load), behind @ ..] => {
            let rank = match load.key {
                META_IIFNAME => 3,
                META_OIFNAME => 4,
                META_L4PROTO => 5,
                _ => return None,
            };
            (*load == meta(load.key)).then_some((rank, 0, behind))?
        }
        [Expression::Payload(load), behind @ ..] => {
            let rank = match load.offset {
                at if at == source => 1,
                at if at == destination => 2,
                9 if is_ip && load.length == 1 => 5,
                6 if is_ip && load.length == 2 => 6,
                _ => return None,
            };
            (*load == payload(NETWORK_HEADER, load.offset, load.length)).then_some((
                rank,
                load.length,
                behind,
            ))?
        }
        _ => return None,
    };
    let mut compared = [0; 32];
    let (value, mask) = compared.split_at_mut(16);
    let behind = match behind {
        [Expression::Bitwise(bitwise), behind @ ..] if length != 0 => {
            let Bitwise { sreg: REG_1, dreg: REG_1, mask: Some(Data::Value(bits)), .. } = bitwise else {
                return None;
            };
            mask.get_mut(..bits.len())?.copy_from_slice(bits);
            behind
        }
        behind => {
            if rank <= 2 {
                mask.get_mut(..usize::try_from(length).ok()?.min(width))?.fill(u8::MAX);
            }
            behind
        }
    };
    match behind {
        [Expression::Cmp(Cmp { sreg: REG_1, op, data: Data::Value(bytes) }), behind @ ..] => {
            value.get_mut(..bytes.len())?.copy_from_slice(bytes);
            if rank > 2 {
                // a name with its NUL is another one than a prefix of that length
                mask.get_mut(..bytes.len())?.fill(u8::MAX);
            }
            Some((Some((rank, *op, compared)), behind))
        }
        behind if matches!(rank, 3 | 4) => Some((None, behind)),
        _ => None,
    }
}
