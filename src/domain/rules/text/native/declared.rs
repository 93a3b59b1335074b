//! Lines of what a table declares: the table's flags, base chains, sets and maps, flowtables, stateful objects.
//! Writes no rule and no element; what the kernel counts is left out.
//!
//! What has no words stands behind them as attributes, `[NUMBER=0xHEX]`, so that no line says less than the kernel holds.
//! Of user data only comments and `auto-merge` are shown.

mod objects;
mod types;

use super::stateful;
use crate::domain::rules::Family;
use crate::domain::rules::kernel::expressions::decode;
use crate::domain::rules::kernel::sets::{
    DATA_VERDICT, SET_CONCAT, SET_CONSTANT, SET_EVAL, SET_EXPR, SET_INTERVAL, SET_MAP, SET_OBJECT,
    SET_TIMEOUT, Set,
};
use crate::domain::rules::kernel::taken::Raw;
use crate::domain::rules::kernel::{Chain, Hook, Table};
use crate::domain::rules::text::line::Line;
use crate::domain::rules::text::native::constants::{duration, prefix_name};
use crate::domain::rules::text::word::{is_keyword, name, quote};
use crate::domain::words::escape::hex;

pub use objects::{flowtable, object, object_kind, synproxy};
pub use types::{key_parts, value_parts};

/// `NFT_TABLE_F_DORMANT`, `_OWNER`, `_PERSIST`.
const TABLE_DORMANT: u32 = 1;
const TABLE_OWNER: u32 = 2;
const TABLE_PERSIST: u32 = 4;

/// `table FAMILY NAME flags dormant,persist`; none if there is nothing to say. Who owns a table is state: it vanishes with
/// the owner.
pub fn table(table: &Table) -> Option<String> {
    let flags = table.flags & !TABLE_OWNER;
    let words = [(TABLE_DORMANT, "dormant"), (TABLE_PERSIST, "persist")];
    let (text, left) = flag_words(flags, &words);
    let mut text = text;
    if left != 0 {
        text.push_str(&attribute(2, &flags.to_be_bytes()));
    }
    text.push_str(&attributes(&table.rest));
    (!text.is_empty()).then(|| format!("table {} {}{text}", table.family, name(&table.name)))
}

/// `chain FAMILY TABLE NAME type filter hook input priority 0 policy drop`; none for a chain without a hook that has
/// nothing to say.
pub fn chain(chain: &Chain) -> Option<String> {
    /// `NFT_CHAIN_BINDING`: it belongs to the rule that jumps to it.
    const BINDING: u32 = 4;
    let is_base = chain.hook.is_some() || chain.chain_type.is_some() || chain.policy.is_some();
    if !is_base && chain.flags & !BINDING == 0 && chain.rest.is_empty() {
        return None;
    }
    let text = match base_chain(chain) {
        Some(text) => format!("chain {} {} {} {text}", chain.family, name(&chain.table), name(&chain.name)),
        None => {
            let mut line = Line::default();
            super::chain(chain, &mut line);
            String::from_utf8_lossy(line.as_bytes()).into_owned()
        }
    };
    Some(format!("{text}{}", attributes(&chain.rest)))
}

/// `type filter hook ingress devices { "eth0" } priority -500 policy accept`; none if a number has no word.
fn base_chain(chain: &Chain) -> Option<String> {
    /// `NFT_CHAIN_BASE`, `NFT_CHAIN_HW_OFFLOAD`.
    const BASE: u32 = 1;
    const OFFLOAD: u32 = 2;
    let hook = chain.hook.as_ref()?;
    let kind = str::from_utf8(chain.chain_type.as_deref()?).ok().filter(|kind| is_keyword(kind))?;
    let at = hook_name(chain.family, hook.hooknum)?;
    let policy = match chain.policy {
        Some(0) => "drop",
        Some(1) => "accept",
        _ => return None,
    };
    let (flags, left) = flag_words(chain.flags ^ BASE, &[(OFFLOAD, "offload")]);
    let devices = devices(hook)?;
    (left == 0)
        .then(|| format!("type {kind} hook {at}{devices} priority {} policy {policy}{flags}", hook.priority))
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

/// ` devices { "a", "b*" }`, sorted, or nothing. A star at the end of a name is told from that of a prefix by a backslash;
/// none for a prefix that ends with one.
fn devices(hook: &Hook) -> Option<String> {
    let literal = |device: &Vec<u8>| match device.split_last() {
        Some((b'*', before)) => quote([before, b"\\*"].concat()),
        _ => quote(device),
    };
    let prefixes: Option<Vec<_>> =
        hook.prefixes.iter().map(|prefix| prefix_name(prefix).map(quote)).collect();
    let mut all: Vec<_> = hook.devices.iter().map(literal).chain(prefixes?).collect();
    all.sort();
    all.dedup();
    Some(if all.is_empty() { String::new() } else { format!(" devices {{ {} }}", all.join(", ")) })
}

/// ` flags a,b` or nothing, and the bits without a word.
fn flag_words(flags: u32, words: &[(u32, &str)]) -> (String, u32) {
    let set: Vec<_> = words.iter().filter(|(bit, _)| flags & bit != 0).map(|(_, word)| *word).collect();
    let left = words.iter().fold(flags, |left, (bit, _)| left & !bit);
    (if set.is_empty() { String::new() } else { format!(" flags {}", set.join(",")) }, left)
}

/// ` [NUMBER=0xHEX]`
fn attribute(number: u16, value: &[u8]) -> String {
    format!(" [{number}=0x{}]", hex(value))
}

fn attributes(rest: &[Raw]) -> String {
    rest.iter().map(|raw| attribute(raw.kind, &raw.value)).collect()
}

fn comment(comment: Option<&[u8]>) -> String {
    comment.map_or_else(String::new, |comment| format!(" comment {}", quote(comment)))
}

/// `set FAMILY TABLE NAME type ipv4_addr flags interval …`, or `map … type ipv4_addr : verdict …`.
pub fn set(family: Family, table: &[u8], set: &Set) -> String {
    let kind = if set.is_map() { "map" } else { "set" };
    let mut text =
        format!("{kind} {family} {} {} type {}", name(table), name(&set.name), types::of_keys(set));
    if let Some(target) = types::of_values(set) {
        text.push_str(&format!(" : {target}"));
    }
    text.push_str(&set_flags(set));
    if let Some(timeout) = set.timeout {
        text.push_str(&format!(" timeout {}", duration(timeout)));
    }
    if let Some(interval) = set.gc_interval {
        text.push_str(&format!(" gc-interval {}", duration(interval.into())));
    }
    if let Some(size) = set.size {
        text.push_str(&format!(" size {size}"));
    }
    text.push_str(&match set.policy {
        None => String::new(),
        // `NFT_SET_POL_PERFORMANCE`, `NFT_SET_POL_MEMORY`
        Some(0) => " policy performance".to_owned(),
        Some(1) => " policy memory".to_owned(),
        Some(other) => format!(" policy {other}"),
    });
    if set.merges() {
        text.push_str(" auto-merge");
    }
    text.push_str(&statements(&set.expressions));
    text.push_str(&comment(set.comment()));
    text.push_str(&attributes(&set.rest));
    text
}

/// ` flags interval,timeout`. Flags that the rest of the line implies are left out, if they are as it implies.
fn set_flags(set: &Set) -> String {
    let words = [
        (SET_CONSTANT, "constant"),
        (SET_INTERVAL, "interval"),
        (SET_TIMEOUT, "timeout"),
        (SET_EVAL, "dynamic"),
    ];
    let is_interval = set.flags & SET_INTERVAL != 0;
    // the kernel looks at this one only together with intervals, and not every nft sets it elsewhere
    let flags = if is_interval { set.flags } else { set.flags & !SET_CONCAT };
    let (text, left) = flag_words(flags, &words);
    let implied = [
        (SET_MAP, set.data_type.is_some()),
        (SET_OBJECT, set.object_type.is_some()),
        (SET_CONCAT, is_interval && types::is_concatenation(set.key_type)),
        (SET_EXPR, decode(&set.expressions).is_ok_and(|expressions| expressions.len() > 1)),
    ];
    let implied = implied.iter().filter(|(_, is_set)| *is_set).fold(0, |flags, (bit, _)| flags | bit);
    if left == implied { text } else { format!("{text}{}", attribute(3, &set.flags.to_be_bytes())) }
}

/// The statements of a set or element, also those without words.
pub fn statements(list: &[u8]) -> String {
    if let Some(text) = stateful::statements(list) {
        return text;
    }
    let mut line = Line::default();
    match decode(list) {
        Ok(expressions) => {
            for expression in &expressions {
                match stateful::statement(expression) {
                    Some(text) => line.word(text),
                    None => line.word(super::raw::alone(expression)),
                }
            }
        }
        Err(_) => line.word(format_args!("[expressions 0x{}]", hex(list))),
    }
    String::from_utf8_lossy(line.as_bytes()).into_owned()
}

/// Whether a map's values are verdicts.
const fn is_verdict(data_type: Option<u32>) -> bool {
    matches!(data_type, Some(DATA_VERDICT))
}

#[cfg(test)]
mod tests;
