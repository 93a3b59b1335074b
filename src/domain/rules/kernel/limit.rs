//! Which nf_tables limits are those of `-m limit`: iptables keeps an interval per packet and prints a rounded rate.
//! Does not know burst's default.
//!
//! *Source*: `struct xt_rateinfo` and `XT_LIMIT_SCALE` in `include/uapi/linux/netfilter/xt_limit.h`: `avg` counts
//! ten-thousandths of a second; iptables-extensions(8): the units and the largest burst.

const SCALE: u64 = 10_000;
/// Seconds of `/day`, `/hour`, `/minute`, `/second`, longest first.
const UNITS: [u64; 4] = [86_400, 3_600, 60, 1];
const BURST_MAX: u32 = 10_000;

/// Whether the rate that iptables prints for this limit is this limit.
pub(super) fn is_canonical(rate: u64, unit: u64, burst: u32) -> bool {
    let interval = unit.saturating_mul(SCALE).checked_div(rate);
    let is_unit = UNITS.contains(&unit) && burst <= BURST_MAX;
    is_unit && interval.is_some_and(|interval| printed(interval, SCALE) == Some((rate, unit)))
}

/// Whether the rate that iptables prints for an interval, of which a second has `scale`, means this interval.
pub(super) fn is_canonical_interval(interval: u64, scale: u64) -> bool {
    printed(interval, scale)
        .and_then(|(rate, unit)| (unit * scale).checked_div(rate))
        .is_some_and(|again| again == interval)
}

/// The rate and unit that iptables chooses for an interval: the longest unit that is not much rounded by the next.
fn printed(interval: u64, scale: u64) -> Option<(u64, u64)> {
    let mut chosen = None;
    for unit in UNITS {
        let scaled = unit * scale;
        let rate = scaled.checked_div(interval)?;
        if chosen.is_some() && (interval > scaled || rate < scaled % interval) {
            break;
        }
        chosen = Some((rate, unit));
    }
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_what_iptables_writes() {
        for (rate, unit) in [(3, 3_600), (7, 1), (5, 60), (1, 86_400), (10_000, 1), (20, 60), (2, 1)] {
            assert!(is_canonical(rate, unit, 5), "{rate} / {unit}");
        }
    }

    #[test]
    fn refuses_what_it_would_print_otherwise() {
        for (rate, unit) in
            [(7_000, 1), (5, 604_800), (0, 1), (1, 0), (u64::MAX, 1), (u64::MAX, u64::MAX), (60, 60)]
        {
            assert!(!is_canonical(rate, unit, 5), "{rate} / {unit}");
        }
        assert!(!is_canonical(3, 3_600, 10_001));
    }
}
