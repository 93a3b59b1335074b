//! Lines of flowtables and stateful objects.

use super::{attribute, attributes, comment, devices, flag_words};
use crate::domain::rules::Family;
use crate::domain::rules::kernel::attributes::{Attribute, Attributes};
use crate::domain::rules::kernel::expressions::form::{self, Form, Slot, fields};
use crate::domain::rules::kernel::expressions::{Connlimit, Counter, Limit, Quota, Synproxy};
use crate::domain::rules::kernel::objects::{CtExpectation, CtHelper, CtTimeout, Flowtable, Object, Secmark};
use crate::domain::rules::text::native::stateful::{self, QUOTA_DEPLETED};
use crate::domain::rules::text::native::symbols;
use crate::domain::rules::text::native::types::Type;
use crate::domain::rules::text::word::{name, quote};

/// `flowtable FAMILY TABLE NAME hook ingress priority 0 devices { "eth0" } flags offload`
pub fn flowtable(family: Family, table: &[u8], flowtable: &Flowtable) -> String {
    /// `NFT_FLOWTABLE_HW_OFFLOAD`, `NFT_FLOWTABLE_COUNTER`.
    const FLAGS: [(u32, &str); 2] = [(1, "offload"), (2, "counter")];
    let mut text = format!("flowtable {family} {} {}", name(table), name(&flowtable.name));
    if let Some(hook) = &flowtable.hook {
        // `NF_NETDEV_INGRESS`, the only one there is
        let at = if hook.hooknum == 0 { "ingress".to_owned() } else { hook.hooknum.to_string() };
        text.push_str(&format!(" hook {at} priority {}", hook.priority));
        match devices(hook) {
            Some(devices) => text.push_str(&devices),
            None => text.push_str(&format!(
                " [devices {}]",
                hook.devices
                    .iter()
                    .map(quote)
                    .chain(hook.prefixes.iter().map(|prefix| format!("{}*", quote(prefix))))
                    .collect::<Vec<_>>()
                    .join(" ")
            )),
        }
    }
    let (flags, left) = flag_words(flowtable.flags, &FLAGS);
    text.push_str(&flags);
    if left != 0 {
        text.push_str(&attribute(7, &flowtable.flags.to_be_bytes()));
    }
    text.push_str(&attributes(&flowtable.rest));
    text
}

/// `NFT_OBJECT_*`.
const COUNTER: u32 = 1;
const QUOTA: u32 = 2;
const CT_HELPER: u32 = 3;
const LIMIT: u32 = 4;
const CONNLIMIT: u32 = 5;
const TUNNEL: u32 = 6;
const CT_TIMEOUT: u32 = 7;
const SECMARK: u32 = 8;
const CT_EXPECT: u32 = 9;
const SYNPROXY: u32 = 10;

/// The word for a kind of objects, or `object NUMBER`.
pub fn object_kind(number: u32) -> String {
    let word = match number {
        COUNTER => "counter",
        QUOTA => "quota",
        CT_HELPER => "ct helper",
        LIMIT => "limit",
        CONNLIMIT => "ct count",
        TUNNEL => "tunnel",
        CT_TIMEOUT => "ct timeout",
        SECMARK => "secmark",
        CT_EXPECT => "ct expectation",
        SYNPROXY => "synproxy",
        _ => return format!("object {number}"),
    };
    word.to_owned()
}

/// `quota FAMILY TABLE NAME over 1000 bytes comment "…"`
pub fn object(family: Family, table: &[u8], object: &Object) -> String {
    let head = format!("{} {family} {} {}", object_kind(object.kind), name(table), name(&object.name));
    let text = match words(object.kind, &object.data) {
        Some(text) if text.is_empty() => text,
        Some(text) => format!(" {text}"),
        None => raw(object.kind, &object.data),
    };
    format!("{head}{text}{}{}", comment(object.comment()), attributes(&object.rest))
}

/// ` [4=0xHEX]`: the object's attributes without those in which the kernel counts.
fn raw(kind: u32, data: &[u8]) -> String {
    // `NFTA_COUNTER_BYTES`, `_PACKETS`, `NFTA_QUOTA_CONSUMED`
    let state: &[u16] = match kind {
        COUNTER => &[1, 2],
        QUOTA => &[4],
        _ => &[],
    };
    let mut kept = Vec::new();
    for found in Attributes::new(data) {
        match found {
            Ok(Attribute { kind, .. }) if state.contains(&kind) => {}
            Ok(Attribute { kind, value }) => value.put(kind, &mut kept),
            Err(_) => return attribute(4, data),
        }
    }
    attribute(4, &kept)
}

fn words(kind: u32, data: &[u8]) -> Option<String> {
    fn decoded<'a, T: Form<'a>>(data: &'a [u8]) -> Option<T> {
        form::decode(data, &mut Vec::new())
    }
    match kind {
        COUNTER => decoded::<Counter>(data).map(|_| String::new()),
        QUOTA => {
            let quota: Quota = decoded(data)?;
            Some(format!("{}{} bytes", stateful::over(quota.flags & !QUOTA_DEPLETED)?, quota.bytes))
        }
        LIMIT => stateful::limit(&decoded::<Limit>(data)?),
        CONNLIMIT => {
            let connlimit: Connlimit = decoded(data)?;
            Some(format!("{}{}", stateful::over(connlimit.flags.unwrap_or(0))?, connlimit.count))
        }
        CT_HELPER => {
            let CtHelper { name, l4proto, l3proto } = decoded(data)?;
            Some(format!("type {} {}", quote(name.0), protocols(l4proto, l3proto)))
        }
        CT_TIMEOUT => ct_timeout(&decoded(data)?),
        CT_EXPECT => {
            let expected: CtExpectation = decoded(data)?;
            Some(format!(
                "{} dport {} timeout {}ms size {}",
                protocols(expected.l4proto, expected.l3proto),
                expected.dport,
                expected.milliseconds(),
                expected.size
            ))
        }
        SECMARK => decoded::<Secmark<'_>>(data).map(|secmark| quote(secmark.context.0)),
        SYNPROXY => {
            let form: Synproxy = decoded(data)?;
            Some(synproxy(form.mss, form.wscale, form.flags)?.trim_start().to_owned())
        }
        _ => None,
    }
}

/// ` mss 1460 wscale 7 timestamp sack-perm`; none for a flag without a word, or a number that no flag puts in force.
///
/// *Source*: `NF_SYNPROXY_OPT_*` in `include/uapi/linux/netfilter/nf_synproxy.h`.
pub fn synproxy(mss: u16, wscale: u8, flags: u32) -> Option<String> {
    const MSS: u32 = 1;
    const WSCALE: u32 = 2;
    const SACK_PERM: u32 = 4;
    const TIMESTAMP: u32 = 8;
    let has = |flag: u32| flags & flag != 0;
    let mut text = String::new();
    match (has(MSS), mss) {
        (true, _) => text.push_str(&format!(" mss {mss}")),
        (false, 0) => {}
        (false, _) => return None,
    }
    match (has(WSCALE), wscale) {
        (true, _) => text.push_str(&format!(" wscale {wscale}")),
        (false, 0) => {}
        (false, _) => return None,
    }
    for (flag, word) in [(TIMESTAMP, " timestamp"), (SACK_PERM, " sack-perm")] {
        text.push_str(if has(flag) { word } else { "" });
    }
    (flags & !(MSS | WSCALE | SACK_PERM | TIMESTAMP) == 0).then_some(text)
}

/// `protocol tcp l3proto ip`
fn protocols(l4proto: u8, l3proto: u16) -> String {
    let l4proto =
        symbols::word(Type::Protocol, l4proto.into()).map_or_else(|| l4proto.to_string(), str::to_owned);
    let family = u8::try_from(l3proto).ok().and_then(Family::from_nfproto);
    let l3proto = family.map_or_else(|| l3proto.to_string(), |family| family.to_string());
    format!("protocol {l4proto} l3proto {l3proto}")
}

/// A protocol's states from 1 on (`CTA_TIMEOUT_TCP_*`, `CTA_TIMEOUT_UDP_*`), and how many seconds each has if nobody says
/// otherwise.
///
/// *Source*: `tcp_dflt_timeout`, `udp_dflt_timeout` in `src/rule.c` of nftables 1.0.6.
type States = &'static [(&'static str, u32)];
const TCP_STATES: States = &[
    ("syn_sent", 120),
    ("syn_recv", 60),
    ("established", 432_000),
    ("fin_wait", 120),
    ("close_wait", 60),
    ("last_ack", 30),
    ("time_wait", 120),
    ("close", 10),
    ("syn_sent2", 120),
    ("retrans", 300),
    ("unack", 300),
];
const UDP_STATES: States = &[("unreplied", 30), ("replied", 120)];

/// `protocol tcp l3proto ip policy { established : 100s }`: the times that nft(8) shows, those that differ from its list.
/// None if the kernel does not have exactly the states that are known.
fn ct_timeout(timeout: &CtTimeout<'_>) -> Option<String> {
    const TCP: u8 = 6;
    const UDP: u8 = 17;
    const MOST_STATES: usize = 12;
    let states = match timeout.l4proto {
        TCP => TCP_STATES,
        UDP => UDP_STATES,
        _ => return None,
    };
    let [none, times @ ..] = fields::<MOST_STATES>(timeout.times?, form::NO_PAD).ok()?;
    let (known, unknown) = times.split_at_checked(states.len())?;
    if none.is_some() || unknown.iter().any(Option::is_some) {
        return None;
    }
    let mut shown = Vec::new();
    for ((state, usual), time) in states.iter().zip(known) {
        let seconds = u32::from_be_bytes((*time)?.try_into().ok()?);
        if seconds != *usual {
            shown.push(format!("{state} : {seconds}s"));
        }
    }
    shown.sort();
    let text = protocols(timeout.l4proto, timeout.l3proto);
    Some(if shown.is_empty() { text } else { format!("{text} policy {{ {} }}", shown.join(", ")) })
}
