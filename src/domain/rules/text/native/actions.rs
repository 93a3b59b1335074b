//! Statements that do something: verdicts, logs, changes of the packet and of its marks, sets that rules fill.
//! Sends no packet elsewhere: that is `translate`.
//!
//! *Source*: nft(8), STATEMENTS.

use super::constants::{duration, flags, number, value};
use super::dataflow::Group;
use super::elements::{Part, verdict};
use super::fields::{Field, Header};
use super::operand::{self, Operand, joined};
use super::stateful::{statement, statements};
use super::types::{Order, Type};
use super::{Said, Writer};
use super::{keys, packet};
use crate::domain::rules::Family;
use crate::domain::rules::kernel::expressions::form::Data;
use crate::domain::rules::kernel::expressions::numbers::{GOTO, JUMP};
use crate::domain::rules::kernel::expressions::{
    Bitwise, Dynset, Expression, Exthdr, Immediate, Log, Objref, Payload, Queue, Raw, Reject, Synproxy,
    decode_one,
};
use crate::domain::rules::kernel::parts::Role;
use crate::domain::rules::kernel::sets::{Element, SET_ANONYMOUS};
use crate::domain::rules::text::word::{name, quote};

impl Writer<'_> {
    /// The last expression of a group, with all that it reads. None if it has no words.
    pub fn action(&mut self, group: &Group<'_>) -> Option<Vec<Said>> {
        let text = match group.last {
            Expression::Cmp(last) => {
                return match group.first_of_range {
                    Some(Expression::Cmp(first)) => self.range(group, &operand::range(first, last)),
                    _ => self.cmp(group, last),
                };
            }
            Expression::Range(range) => return self.range(group, range),
            Expression::Lookup(lookup) => return self.lookup(group, lookup),
            Expression::Immediate(Immediate { dreg: 0, data: Data::Verdict(code) }) => {
                self.verdict(code.code, code.chain.map(|chain| chain.0))
            }
            Expression::Raw(Raw { name: b"notrack", .. }) => Some("notrack".to_owned()),
            Expression::Log(log) => log_text(log),
            Expression::Reject(reject) => self.reject(reject),
            Expression::Meta(meta) => {
                let target = keys::meta(meta.key)?;
                self.assignment(group, &target, meta.sreg?)
            }
            Expression::Ct(ct) => {
                let target = keys::ct(ct, self.place.family)?;
                self.assignment(group, &target, ct.sreg?)
            }
            Expression::Payload(payload) => self.store(group, payload),
            Expression::Exthdr(exthdr) => self.option_change(group, exthdr),
            Expression::Dynset(dynset) => self.dynset(group, dynset),
            Expression::Objref(objref) => self.objref(group, objref),
            Expression::Queue(queue) => self.queue(group, queue),
            Expression::Synproxy(synproxy) => synproxy_text(synproxy),
            Expression::Flow(flow) => Some(format!("flow add @{}", name(flow.table.0))),
            Expression::Nat(_)
            | Expression::Masq(_)
            | Expression::Redir(_)
            | Expression::Tproxy(_)
            | Expression::Dup(_)
            | Expression::Fwd(_) => self.translate(group),
            Expression::Match(part) => self.part(Role::Match, part),
            Expression::Target(part) => self.part(Role::Target, part),
            other => statement(other),
        }?;
        Some(vec![Said { text, test: None }])
    }

    /// A verdict; of a jump to a chain of the rule's own the statements of that chain.
    fn verdict(&self, code: i32, chain: Option<&[u8]>) -> Option<String> {
        let Some(rules) = chain.and_then(|chain| self.around.bound.get(chain)) else {
            return verdict(code, chain);
        };
        let word = match code {
            JUMP => "jump",
            GOTO => "goto",
            _ => return None,
        };
        Some(format!("{word} {{ {} }}", super::bound(self.place, rules, self.around)))
    }

    fn reject(&mut self, reject: &Reject) -> Option<String> {
        // NFT_REJECT_ICMP_UNREACH, TCP_RST, ICMPX_UNREACH
        let (kind, of) = match reject.kind {
            0 if self.layers.is_network(Header::Ip) => ("icmp", Type::IcmpCode),
            0 if self.layers.is_network(Header::Ip6) => ("icmpv6", Type::Icmpv6Code),
            1 => return matches!(reject.code, None | Some(0)).then(|| "reject with tcp reset".to_owned()),
            2 => ("icmpx", Type::IcmpxCode),
            _ => return None,
        };
        let code = value(of, Order::Network, &[reject.code?], self.names)?.alone();
        Some(format!("reject with {kind} type {code}"))
    }

    /// `KEY set VALUE`.
    fn assignment(&mut self, group: &Group<'_>, target: &Operand, register: u32) -> Option<String> {
        let source = self.source(group, register, target)?;
        Some(format!("{} set {source}", target.text))
    }

    /// What is put where `target` is: a constant, something read, or what a map has for it.
    pub fn source(&mut self, group: &Group<'_>, register: u32, target: &Operand) -> Option<String> {
        let at = group.at(register)?;
        match group.values.get(at)?.from {
            Expression::Immediate(Immediate { data: Data::Value(constant), .. }) => {
                if u32::try_from(constant.len()) != Ok(target.bytes) {
                    return None;
                }
                self.read.push(at);
                Some(match target.of {
                    Type::CtEvent => flags(target.of, target.order, constant)?.join(","),
                    of => value(of, target.order, constant, self.names)?.alone(),
                })
            }
            Expression::Lookup(_) => {
                let part = Part { of: target.of, order: target.order, bytes: target.bytes };
                self.map(group, at, &[part])
            }
            _ => {
                let source = self.operand(group, at)?;
                let is_in_order = source.order == target.order || source.bytes == 1;
                (is_in_order && source.mask.is_none()).then_some(source.text)
            }
        }
    }

    /// A change of a header's field.
    fn store(&mut self, group: &Group<'_>, payload: &Payload) -> Option<String> {
        let at = group.at(payload.sreg?)?;
        let (offset, length) = (payload.offset.checked_mul(8)?, payload.length.checked_mul(8)?);
        if let Expression::Bitwise(bitwise) = group.values.get(at)?.from
            && let Some(text) = self.attempt(|writer| writer.store_bits(group, payload, (at, bitwise)))
        {
            return Some(text);
        }
        let (target, is_usual) = match self.field(payload.base, offset, length, None) {
            Some((header, field, _)) => {
                let target = self.payload(payload, None)?;
                (target, is_usual(header, &field, payload, self.place.family))
            }
            None => {
                let target = self.payload(payload, None)?;
                (target, checksum(payload) == (0, 0, 0))
            }
        };
        if !is_usual {
            return None;
        }
        self.assignment(group, &target, payload.sreg?)
    }

    /// A change of some bits of a part of the packet, of which the others are loaded before and stored again.
    fn store_bits(
        &mut self,
        group: &Group<'_>,
        payload: &Payload,
        (at, bitwise): (usize, &Bitwise<'_>),
    ) -> Option<String> {
        let of = group.at_before(at, bitwise.sreg)?;
        let Expression::Payload(load) = group.values.get(of)?.from else { return None };
        let (Some(Data::Value(mask)), Some(Data::Value(xor)), 0, None) =
            (bitwise.mask, bitwise.xor, bitwise.op.unwrap_or(0), bitwise.sreg2)
        else {
            return None;
        };
        let is_same = (load.base, load.offset, load.length) == (payload.base, payload.offset, payload.length);
        let lengths = [u32::try_from(mask.len()).ok()?, u32::try_from(xor.len()).ok()?, bitwise.length];
        let bits: Vec<u8> = mask.iter().map(|byte| !byte).collect();
        let is_within = xor.iter().zip(&bits).all(|(xor, bits)| xor & !bits == 0);
        if !is_same || !is_within || lengths.iter().any(|length| *length != payload.length) {
            return None;
        }
        let (offset, length) = (payload.offset.checked_mul(8)?, payload.length.checked_mul(8)?);
        let (header, field, shift) = self.changed_field(payload.base, offset, length, &bits)?;
        if !is_usual(header, &field, payload, self.place.family) {
            return None;
        }
        let wide = (number(xor, Order::Network)? >> shift).to_be_bytes();
        let bytes = field.length.div_ceil(8) as usize;
        let constant = value(field.of, Order::Network, wide.get(wide.len() - bytes..)?, self.names)?;
        self.read.extend([of, at]);
        Some(format!("{} {} set {}", header.name(), field.name, constant.alone()))
    }

    /// The field that these bits of a part of the packet are: the part is as large as nft makes it.
    fn changed_field(
        &mut self,
        base: u32,
        offset: u32,
        length: u32,
        bits: &[u8],
    ) -> Option<(Header, Field, u32)> {
        let header = self.header(base, offset)?;
        let ones = number(bits, Order::Network)?;
        let shift = ones.trailing_zeros();
        let count = ones.count_ones();
        let start = offset.checked_add(length)?.checked_sub(count + shift)?;
        let is_contiguous = count > 0 && (ones >> shift).trailing_ones() == count;
        let field = header.fields().iter().find(|field| field.offset == start && field.length == count)?;
        let align =
            if matches!(header, Header::Ip | Header::Tcp | Header::Udp | Header::Icmp | Header::Icmpv6) {
                16
            } else {
                8
            };
        let is_minimal = offset == field.offset / align * align
            && offset + length == (field.offset + field.length).next_multiple_of(align);
        let is_wide = matches!(header, Header::Ip6) && count < 8;
        let is_cover = is_minimal || (is_wide && offset == 0 && length == 16);
        if !is_contiguous || !is_cover || (count == length) {
            return None;
        }
        self.needs(header, field)?;
        Some((header, *field, shift))
    }

    /// `tcp option NAME FIELD set VALUE`, `reset tcp option NAME`.
    fn option_change(&mut self, group: &Group<'_>, exthdr: &Exthdr) -> Option<String> {
        if exthdr.op != Some(packet::TCP_OPTION) {
            return None;
        }
        match exthdr.sreg {
            Some(register) => {
                let target = self.exthdr(exthdr, None)?;
                self.assignment(group, &target, register)
            }
            None => {
                let is_plain = exthdr.offset.unwrap_or(0) == 0
                    && exthdr.length.unwrap_or(0) == 0
                    && exthdr.flags.unwrap_or(0) == 0;
                let (option, _) = self.option(exthdr)?;
                is_plain.then(|| format!("reset {option}"))
            }
        }
    }

    /// `add @SET { KEY timeout 30s STATEMENTS : VALUE }`.
    fn dynset(&mut self, group: &Group<'_>, dynset: &Dynset<'_>) -> Option<String> {
        let known = self.sets.get(dynset.set.0)?;
        let operation = *["add", "update", "delete"].get(usize::try_from(dynset.op).ok()?)?;
        let values = group.read(dynset.key, known.set.key_length)?;
        let keys = self.operands(group, values)?;
        let set = self.contents(known, &keys, &[]);
        let key = match keys.as_slice() {
            [one] => one.text.clone(),
            several => joined(several),
        };
        let timeout = match dynset.timeout.unwrap_or(0) {
            0 => String::new(),
            timeout => format!(" timeout {}", duration(timeout)),
        };
        let each = match (dynset.expression, dynset.expressions) {
            (None, None) => String::new(),
            (Some(one), None) => format!(" {}", statement(&decode_one(one)?)?),
            (None, Some(several)) => statements(several)?,
            (Some(_), Some(_)) => return None,
        };
        let data = match (dynset.data, known.set.data_length) {
            (None, _) => String::new(),
            (Some(register), Some(length)) => {
                let values = group.read(register, length)?;
                format!(" : {}", self.data(group, values)?)
            }
            (Some(_), None) => return None,
        };
        if dynset.flags.unwrap_or(0) != 0 {
            return None;
        }
        if known.set.flags & SET_ANONYMOUS != 0 {
            let size = known.set.size.map_or_else(String::new, |size| format!(" size {size}"));
            // what packets put into it is state, if it is what the rule says
            let is_filled_so = |element: &Element| {
                let own = statements(&element.expressions);
                own.as_deref() == Some(each.as_str())
                    && element.timeout.is_none()
                    && element.key_end.is_none()
            };
            let is_plain = dynset.op == 0
                && data.is_empty()
                && timeout.is_empty()
                && keys.iter().all(|key| !key.is_swapped && key.shift == 0)
                && known.elements.iter().all(is_filled_so);
            // the kernel counts up the names that nobody gave
            let is_numbered = known.set.name.starts_with(b"__");
            let title = if is_numbered { String::new() } else { format!(" {}", name(&known.set.name)) };
            return is_plain.then(|| format!("meter{title}{size} {{ {key}{each} }}"));
        }
        Some(format!("{operation} {} {{ {key}{timeout}{each}{data} }}", set?))
    }

    /// What a rule puts into a map: something read, or a number in network order.
    fn data(&mut self, group: &Group<'_>, values: Vec<usize>) -> Option<String> {
        let mut parts = Vec::new();
        for value in values {
            parts.push(match group.values.get(value)?.from {
                Expression::Immediate(Immediate { data: Data::Value(constant), .. }) => {
                    self.read.push(value);
                    super::constants::integer(constant, Order::Network)?.alone()
                }
                _ => {
                    let operand = self.operand(group, value)?;
                    if operand.is_swapped || operand.mask.is_some() {
                        return None;
                    }
                    operand.beside()
                }
            });
        }
        Some(parts.join(" . "))
    }

    fn objref(&mut self, group: &Group<'_>, objref: &Objref<'_>) -> Option<String> {
        let (kind, object) = match (objref.kind, objref.name, objref.sreg, objref.set) {
            (Some(kind), Some(name), None, None) => (kind, quote(name.0)),
            (None, None, Some(register), Some(set)) => {
                let known = self.sets.get(set.0)?;
                let values = group.read(register, known.set.key_length)?;
                let keys = self.operands(group, values)?;
                let elements = self.contents(known, &keys, &[])?;
                let fed = match keys.as_slice() {
                    [one] => one.beside(),
                    several => joined(several),
                };
                (known.set.object_type?, format!("{fed} map {elements}"))
            }
            _ => return None,
        };
        // NFT_OBJECT_*
        Some(match kind {
            1 => format!("counter name {object}"),
            2 => format!("quota name {object}"),
            3 => format!("ct helper set {object}"),
            4 => format!("limit name {object}"),
            5 => format!("ct count name {object}"),
            6 => format!("tunnel name {object}"),
            7 => format!("ct timeout set {object}"),
            8 => format!("meta secmark set {object}"),
            9 => format!("ct expectation set {object}"),
            10 => format!("synproxy name {object}"),
            _ => return None,
        })
    }

    fn queue(&mut self, group: &Group<'_>, queue: &Queue) -> Option<String> {
        const BYPASS: u16 = 1;
        const FANOUT: u16 = 2;
        let flags = match queue.flags.unwrap_or(0) {
            0 => "",
            BYPASS => " flags bypass",
            FANOUT => " flags fanout",
            3 => " flags bypass,fanout",
            _ => return None,
        };
        let to = match (queue.number, queue.total, queue.sreg) {
            (Some(first), None | Some(0 | 1), None) => first.to_string(),
            (Some(first), Some(total), None) => format!("{first}-{}", first.checked_add(total - 1)?),
            (None, None, Some(register)) => {
                let at = group.at(register)?;
                match group.values.get(at)?.from {
                    Expression::Lookup(_) => {
                        self.map(group, at, &[Part { of: Type::Integer, order: Order::Host, bytes: 2 }])?
                    }
                    _ => {
                        let operand = self.operand(group, at)?;
                        if operand.is_swapped || operand.mask.is_some() || operand.order != Order::Host {
                            return None;
                        }
                        operand.text
                    }
                }
            }
            _ => return None,
        };
        Some(format!("queue{flags} to {to}"))
    }
}

/// The kind of checksum, where it stands, and whether it covers addresses: `NFTA_PAYLOAD_CSUM_*`.
fn checksum(payload: &Payload) -> (u32, u32, u32) {
    let of = |value: Option<u32>| value.unwrap_or(0);
    (of(payload.checksum_type), of(payload.checksum_offset), of(payload.checksum_flags))
}

/// Whether a change mends the checksum as nft has it mended.
fn is_usual(header: Header, field: &Field, payload: &Payload, family: Family) -> bool {
    let is_address = matches!(field.of, Type::Ipv4 | Type::Ipv6);
    let expected = match header {
        Header::Ip if family != Family::Ip6 => (1, 10, u32::from(is_address)),
        Header::Ip6 => (0, 0, u32::from(is_address)),
        Header::Tcp => (1, 16, 0),
        Header::Udp | Header::Udplite => (1, 6, 0),
        Header::Icmp | Header::Icmpv6 => (1, 2, 0),
        Header::Sctp => (2, 8, 0),
        _ => (0, 0, 0),
    };
    let is_aligned =
        expected.0 != 1 || (payload.offset.is_multiple_of(2) && payload.length.is_multiple_of(2));
    checksum(payload) == expected && is_aligned
}

fn log_text(log: &Log<'_>) -> Option<String> {
    const LEVELS: [&str; 9] = ["emerg", "alert", "crit", "err", "warn", "notice", "info", "debug", "audit"];
    const WARN: u32 = 4;
    const ALL: u32 = 0x2f;
    const FLAGS: [(u32, &str); 5] = [
        (0x01, "tcp sequence"),
        (0x02, "tcp options"),
        (0x04, "ip options"),
        (0x08, "skuid"),
        (0x20, "ether"),
    ];
    let mut text = "log".to_owned();
    if let Some(prefix) = log.prefix {
        text.push_str(&format!(" prefix {}", quote(prefix.0)));
    }
    match (log.group, log.level) {
        (Some(group), None) => text.push_str(&format!(" group {group}")),
        (None, Some(_)) => {}
        _ => return None,
    }
    for (key, value) in
        [("snaplen", log.snaplen.unwrap_or(0)), ("queue-threshold", log.threshold.unwrap_or(0).into())]
    {
        match (value, log.group) {
            (0, _) => {}
            (_, None) => return None,
            (value, Some(_)) => text.push_str(&format!(" {key} {value}")),
        }
    }
    match log.level {
        None | Some(WARN) => {}
        Some(level) => text.push_str(&format!(" level {}", LEVELS.get(usize::try_from(level).ok()?)?)),
    }
    match log.flags.unwrap_or(0) {
        ALL => text.push_str(" flags all"),
        flags if flags & !ALL == 0 => {
            for (_, flag) in FLAGS.iter().filter(|(bit, _)| flags & bit != 0) {
                text.push_str(&format!(" flags {flag}"));
            }
        }
        _ => return None,
    }
    Some(text)
}

/// ` mss 1460 wscale 7 timestamp sack-perm`, of a statement or an object; none if a value stands beside a flag that it needs.
pub fn synproxy_options(mss: u16, wscale: u8, flags: u32) -> Option<String> {
    // NF_SYNPROXY_OPT_*
    const MSS: u32 = 1;
    const WSCALE: u32 = 2;
    const SACK_PERM: u32 = 4;
    const TIMESTAMP: u32 = 8;
    let has = |bit: u32| flags & bit != 0;
    if flags > 15 || (!has(MSS) && mss != 0) || (!has(WSCALE) && wscale != 0) {
        return None;
    }
    let mut text = String::new();
    if has(MSS) {
        text.push_str(&format!(" mss {mss}"));
    }
    if has(WSCALE) {
        text.push_str(&format!(" wscale {wscale}"));
    }
    if has(TIMESTAMP) {
        text.push_str(" timestamp");
    }
    if has(SACK_PERM) {
        text.push_str(" sack-perm");
    }
    Some(text)
}

fn synproxy_text(synproxy: &Synproxy) -> Option<String> {
    Some(format!("synproxy{}", synproxy_options(synproxy.mss, synproxy.wscale, synproxy.flags)?))
}
