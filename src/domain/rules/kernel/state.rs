//! What changes in a legacy table while its rules stay: counters, and what matches remember.
//! Judges nothing. Kernels since Linux 4.11 show the memory of matches as zeros; older ones show that of `limit`.
//!
//! *Source*: `struct xt_counters` in `struct ipt_entry` and `struct ip6t_entry`, with `comefrom` before it;
//! `struct xt_rateinfo` in `netfilter/xt_limit.h`.

use std::ops::Range;

use super::Untrusted;
use super::entries::{EXTENSION_HEAD, Layout, split_extension};
use crate::domain::rules::Family;

/// `comefrom`, which the kernel uses to find loops.
const SCRATCH_BYTES: usize = 4;
/// Packets and bytes, at the end of an entry's head.
const COUNTER_BYTES: usize = 16;
/// In the info of `limit`: what follows the rate and the burst.
const LIMIT_STATE: usize = 8;

/// Clears all of it, so that two reads of the same rules are the same bytes.
///
/// # Errors
/// [`Untrusted::Malformed`] if the entries do not follow the kernel's format.
pub fn clear_state(family: Family, entries: &mut [u8]) -> Result<(), Untrusted> {
    let layout = Layout::of(family);
    let mut rest = entries;
    while !rest.is_empty() {
        let (target, next) = offsets(layout, rest).ok_or(Untrusted::Malformed)?;
        let (entry, tail) = rest.split_at_mut_checked(next).ok_or(Untrusted::Malformed)?;
        clear(entry, layout.target_offset + 4..layout.target_offset + 4 + SCRATCH_BYTES);
        clear(entry, layout.head - COUNTER_BYTES..layout.head);
        let matches = entry.get_mut(layout.head..target).ok_or(Untrusted::Malformed)?;
        clear_limits(matches)?;
        rest = tail;
    }
    Ok(())
}

/// `target_offset` and `next_offset`; the second is beyond the head, so that a walk over entries ends.
fn offsets(layout: &Layout, entry: &[u8]) -> Option<(usize, usize)> {
    let word = |at: usize| Some(usize::from(u16::from_ne_bytes(entry.get(at..at + 2)?.try_into().ok()?)));
    let (target, next) = (word(layout.target_offset)?, word(layout.target_offset + 2)?);
    (layout.head <= target && target <= next && next <= entry.len()).then_some((target, next))
}

fn clear_limits(matches: &mut [u8]) -> Result<(), Untrusted> {
    let mut at = 0;
    while let Some(left) = matches.get(at..).filter(|left| !left.is_empty()) {
        let (extension, tail) = split_extension(left).ok_or(Untrusted::Malformed)?;
        let end = matches.len() - tail.len();
        if extension.name == b"limit" {
            clear(matches, at + EXTENSION_HEAD + LIMIT_STATE..end);
        }
        at = end;
    }
    Ok(())
}

fn clear(bytes: &mut [u8], range: Range<usize>) {
    bytes.get_mut(range).unwrap_or_default().fill(0);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An entry with one match of this name, all its bytes the same.
    fn entry(family: Family, name: &[u8], byte: u8) -> Vec<u8> {
        const MATCH: usize = EXTENSION_HEAD + 40;
        let layout = Layout::of(family);
        let mut bytes = vec![byte; layout.head + MATCH + 40];
        let length = u16::try_from(bytes.len()).unwrap();
        let target = u16::try_from(layout.head + MATCH).unwrap();
        bytes[layout.target_offset..layout.target_offset + 2].copy_from_slice(&target.to_ne_bytes());
        bytes[layout.target_offset + 2..layout.target_offset + 4].copy_from_slice(&length.to_ne_bytes());
        let head = layout.head;
        bytes[head..head + EXTENSION_HEAD].fill(0);
        bytes[head..head + 2].copy_from_slice(&u16::try_from(MATCH).unwrap().to_ne_bytes());
        bytes[head + 2..head + 2 + name.len()].copy_from_slice(name);
        bytes
    }

    /// How many bytes are cleared in two equal entries.
    fn cleared(family: Family, name: &[u8]) -> usize {
        let before = entry(family, name, 0x55).repeat(2);
        let mut after = before.clone();
        clear_state(family, &mut after).unwrap();
        assert!(after.iter().zip(&before).all(|(after, before)| after == before || *after == 0));
        after.iter().zip(&before).filter(|(after, before)| after != before).count()
    }

    #[test]
    fn only_counters_scratch_and_the_memory_of_limit_are_cleared() {
        for family in [Family::Ip, Family::Ip6] {
            assert_eq!(cleared(family, b"tcp"), 2 * 20);
            assert_eq!(cleared(family, b"limit"), 2 * (20 + 32));
        }
    }

    #[test]
    fn broken_entries_are_refused() {
        let whole = entry(Family::Ip, b"tcp", 0x55);
        for length in 1..whole.len() {
            assert!(clear_state(Family::Ip, &mut whole.clone()[..length]).is_err(), "{length}");
        }
        for (at, value) in [(88, 0), (88, 0xff), (90, 0), (90, 0xff), (112, 0), (112, 0xff)] {
            let mut broken = whole.clone();
            broken[at] = value;
            broken[at + 1] = value;
            assert!(clear_state(Family::Ip, &mut broken).is_err(), "{at} {value}");
        }
        assert!(clear_state(Family::Ip, &mut []).is_ok());
    }

    #[test]
    fn any_bytes_are_safe() {
        use proptest::prelude::*;
        let config = ProptestConfig { failure_persistence: None, ..ProptestConfig::default() };
        proptest!(config, |(mut bytes in proptest::collection::vec(any::<u8>(), 0..400), small in any::<bool>())| {
            if small && bytes.len() > 92 {
                bytes[89] = 0;
                bytes[91] = 0;
            }
            let _ = clear_state(Family::Ip, &mut bytes);
        });
    }
}
