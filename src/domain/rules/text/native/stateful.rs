//! The statements that count or limit, which rules, sets, their elements and objects hold alike: `counter`, `limit`,
//! `quota`, `ct count`, `last`. What was counted is left out.
//! Writes no other statement.

use crate::domain::rules::kernel::expressions::numbers::LIMIT_PACKETS;
use crate::domain::rules::kernel::expressions::{Expression, Limit, decode};

/// `NFT_LIMIT_PKT_BYTES`.
const LIMIT_BYTES: u32 = 1;
/// `NFT_LIMIT_F_INV`, `NFT_QUOTA_F_INV`, `NFT_CONNLIMIT_F_INV`.
const INVERTED: u32 = 1;
/// `NFT_QUOTA_F_DEPLETED`, which is state.
pub const QUOTA_DEPLETED: u32 = 2;

/// The statements of a set or an element, each with a blank before it: the value of `NFTA_SET_EXPRESSIONS`. None if one
/// has no words.
pub fn statements(list: &[u8]) -> Option<String> {
    let mut text = String::new();
    for expression in decode(list).ok()? {
        text.push(' ');
        text.push_str(&statement(&expression)?);
    }
    Some(text)
}

/// One statement; none if it is another, or has no words.
pub fn statement(expression: &Expression<'_>) -> Option<String> {
    match expression {
        Expression::Counter(_) => Some("counter".to_owned()),
        Expression::Last(_) => Some("last".to_owned()),
        Expression::Limit(of) => Some(format!("limit {}", limit(of)?)),
        Expression::Quota(quota) => {
            let (amount, unit) = scaled(quota.bytes);
            Some(format!("quota {}{amount} {unit}", over(quota.flags & !QUOTA_DEPLETED)?))
        }
        Expression::Connlimit(connlimit) => {
            Some(format!("ct count {}{}", over(connlimit.flags.unwrap_or(0))?, connlimit.count))
        }
        _ => None,
    }
}

/// `rate over 10/second burst 5 packets`, `rate 10 mbytes/second burst 9 kbytes`; none for a unit of time or a flag without
/// a word.
pub fn limit(limit: &Limit) -> Option<String> {
    let over = over(limit.flags)?;
    let per = match limit.unit {
        1 => "second",
        60 => "minute",
        3600 => "hour",
        86_400 => "day",
        604_800 => "week",
        _ => return None,
    };
    match limit.kind {
        LIMIT_PACKETS => Some(format!("rate {over}{}/{per} burst {} packets", limit.rate, limit.burst)),
        LIMIT_BYTES => {
            let (rate, unit) = scaled(limit.rate);
            let burst = match scaled(limit.burst.into()) {
                (0, _) => String::new(),
                (burst, unit) => format!(" burst {burst} {unit}"),
            };
            Some(format!("rate {over}{rate} {unit}/{per}{burst}"))
        }
        _ => None,
    }
}

/// `over ` or nothing; none for flags without a word.
pub fn over(flags: u32) -> Option<&'static str> {
    match flags {
        0 => Some(""),
        INVERTED => Some("over "),
        _ => None,
    }
}

/// Bytes in the largest unit up to `mbytes` that divides them.
///
/// *Source*: `get_rate` in `src/statement.c` of nftables 1.0.6.
fn scaled(bytes: u64) -> (u64, &'static str) {
    const KILO: u64 = 1 << 10;
    const MEGA: u64 = 1 << 20;
    match bytes {
        0 => (0, "bytes"),
        _ if bytes.is_multiple_of(MEGA) => (bytes / MEGA, "mbytes"),
        _ if bytes.is_multiple_of(KILO) => (bytes / KILO, "kbytes"),
        _ => (bytes, "bytes"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::rules::samples::{attribute, element};

    #[test]
    fn what_is_counted_is_no_part_of_a_statement() {
        let (wide, narrow) = (|number: u64| number.to_be_bytes(), |number: u32| number.to_be_bytes());
        let quota = |bytes: u64, consumed: u64, flags: u32| {
            let attributes =
                [attribute(1, &wide(bytes)), attribute(4, &wide(consumed)), attribute(2, &narrow(flags))];
            element(b"quota", &attributes.concat())
        };
        let limit = |rate: u64, unit: u64, burst: u32, kind: u32, flags: u32| {
            let attributes = [
                attribute(1, &wide(rate)),
                attribute(2, &wide(unit)),
                attribute(3, &narrow(burst)),
                attribute(4, &narrow(kind)),
                attribute(5, &narrow(flags)),
            ];
            element(b"limit", &attributes.concat())
        };
        let connlimit =
            |flags| element(b"connlimit", &[attribute(1, &narrow(3)), attribute(2, &narrow(flags))].concat());
        let counter = element(b"counter", &[attribute(1, &wide(7)), attribute(2, &wide(8))].concat());
        let last = element(b"last", &[attribute(1, &narrow(1)), attribute(2, &wide(8))].concat());
        for (list, expected) in [
            (counter, Some(" counter")),
            (last, Some(" last")),
            (quota(3 << 30, 5, 3), Some(" quota over 3072 mbytes")),
            (quota(1025, 0, 2), Some(" quota 1025 bytes")),
            (quota(0, 0, 4), None),
            (limit(5, 60, 3, 0, 1), Some(" limit rate over 5/minute burst 3 packets")),
            (limit(10 << 20, 1, 9 << 10, 1, 0), Some(" limit rate 10 mbytes/second burst 9 kbytes")),
            (limit(10 << 20, 1, 0, 1, 0), Some(" limit rate 10 mbytes/second")),
            (limit(5, 61, 3, 0, 1), None),
            (limit(5, 60, 3, 2, 1), None),
            ([connlimit(1), connlimit(0)].concat(), Some(" ct count over 3 ct count 3")),
            (connlimit(2), None),
            (element(b"log", &[]), None),
            (Vec::new(), Some("")),
        ] {
            assert_eq!(statements(&list).as_deref(), expected, "{list:02x?}");
        }
    }
}
