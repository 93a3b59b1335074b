//! Matches of transport headers that hold lists or ranges of ports, chunks and u32 tests.
//! Nothing else.

use super::info::Info;

/// `struct xt_tcp`.
pub(super) fn tcp(info: &Info<'_>) -> bool {
    let inverted = |bit| info.u8(11) & bit != 0;
    info.ends(12)
        && info.bits8(11, 0xf)
        && info.range16(0, inverted(1))
        && info.range16(4, inverted(2))
        && info.bits8(9, 0x3f)
        && info.bits8(10, 0x3f)
        && (info.u8(9) != 0 || info.u8(10) == 0 && !inverted(4))
        && (info.u8(8) != 0 || !inverted(8))
}

/// `struct xt_udp`.
pub(super) fn udp(info: &Info<'_>) -> bool {
    info.ends(10)
        && info.bits8(8, 3)
        && info.range16(0, info.u8(8) & 1 != 0)
        && info.range16(4, info.u8(8) & 2 != 0)
        && info.u8(9) == 0
}

/// `struct xt_multiport_v1`.
pub(super) fn multiport(info: &Info<'_>) -> bool {
    const PORTS: usize = 2;
    const RANGES: usize = 32;
    let count = usize::from(info.u8(1));
    let mut index = 0;
    while index < count {
        match info.u8(RANGES + index) {
            0 => index += 1,
            1 if index + 1 < count
                && info.u8(RANGES + index + 1) == 0
                && info.u16(PORTS + 2 * index) < info.u16(PORTS + 2 * index + 2) =>
            {
                index += 2;
            }
            _ => return false,
        }
    }
    info.ends(48)
        && info.u8(0) <= 2
        && (1..=15).contains(&count)
        && info.zero(PORTS + 2 * count, RANGES)
        && info.zero(RANGES + count, 47)
        && info.u8(47) <= 1
}

/// `struct xt_dccp_info`.
pub(super) fn dccp(info: &Info<'_>) -> bool {
    // All that are no type of DCCP are printed as one, `INVALID`.
    const OTHER_TYPES: u16 = 0xfc00;
    let (flags, inverted) = (info.u16(8), info.u16(10));
    let has = |bit| flags & bit != 0;
    info.ends(15)
        && flags <= 0xf
        && inverted & !flags == 0
        && info.ordered16(0)
        && info.ordered16(4)
        && (has(1) || info.zero(4, 8))
        && (has(2) || info.zero(0, 4))
        && matches!(info.u16(12) & OTHER_TYPES, 0 | OTHER_TYPES)
        && has(4) == (info.u16(12) != 0)
        && has(8) == (info.u8(14) != 0)
}

/// The chunk types that have names, 32 in a word: 0 to 14, 128, 192 and 193.
const CHUNKS: [u32; 8] = [0x7fff, 0, 0, 0, 1, 0, 3, 0];

/// `struct xt_sctp_info`; its map has 64 words, of which eight are used.
pub(super) fn sctp(info: &Info<'_>) -> bool {
    const MAP: usize = 8;
    const MATCH_TYPE: usize = 264;
    let (flags, inverted) = (info.u32(284), info.u32(288));
    let has = |bit| flags & bit != 0;
    let is_all = info.bytes(MAP, MATCH_TYPE).iter().all(|byte| *byte == 0xff);
    let is_known = (0..).zip(CHUNKS).all(|(word, known)| info.bits32(MAP + 4 * word, known))
        && info.zero(MAP + 4 * CHUNKS.len(), MATCH_TYPE);
    info.ends(292)
        && flags <= 7
        && inverted & !flags == 0
        && info.ordered16(0)
        && info.ordered16(4)
        && (has(1) || info.zero(4, 8))
        && (has(2) || info.zero(0, 4))
        && (is_all || is_known)
        && (if has(4) {
            matches!(info.u32(MATCH_TYPE), 1 | 2 | 4)
        } else {
            info.zero(MAP, MATCH_TYPE + 4) && info.u32(280) == 0
        })
        && chunk_flags(info)
}

/// `struct xt_sctp_flag_info [4]`: only of chunks that are asked for, each once and with letters that are printed.
fn chunk_flags(info: &Info<'_>) -> bool {
    const FIRST: usize = 268;
    let count = info.u32(280) as usize;
    let is_shown = |index: usize| {
        let at = FIRST + 3 * index;
        let (chunk, flag, mask) = (info.u8(at), info.u8(at + 1), info.u8(at + 2));
        let letters = match chunk {
            0 => 0x0f,
            6 | 14 => 0x01,
            _ => 0,
        };
        let is_asked = info.u32(8) & 1 << (chunk & 31) != 0;
        let is_single = (0..index).all(|earlier| info.u8(FIRST + 3 * earlier) != chunk);
        mask != 0 && mask & !letters == 0 && flag & !mask == 0 && is_asked && is_single
    };
    let is_unused = |index: usize| info.bytes(FIRST + 3 * index, FIRST + 3 * index + 3) == [0xff, 0, 0];
    count <= 4 && (0..count).all(is_shown) && (count..4).all(is_unused)
}

/// `struct xt_u32`: eleven tests of 180 bytes, each with eleven locations and eleven values of 8 bytes.
pub(super) fn u32_tests(info: &Info<'_>) -> bool {
    const TEST: usize = 180;
    let count = usize::from(info.u8(1980));
    info.ends(1982)
        && info.u8(1981) <= 1
        && (1..=11).contains(&count)
        && (0..count).all(|index| u32_test(info, TEST * index))
        && info.zero(TEST * count, TEST * 11)
}

fn u32_test(info: &Info<'_>, at: usize) -> bool {
    const VALUES: usize = 88;
    const COUNTS: usize = 176;
    let numbers = usize::from(info.u8(at + COUNTS));
    let values = usize::from(info.u8(at + COUNTS + 1));
    let is_location = |index: usize| {
        let at = at + 8 * index;
        info.u8(at + 4) <= 3 && (index > 0 || info.u8(at + 4) == 0) && info.zero(at + 5, at + 8)
    };
    (1..=11).contains(&numbers)
        && (1..=11).contains(&values)
        && (0..numbers).all(is_location)
        && info.zero(at + 8 * numbers, at + VALUES)
        && (0..values).all(|index| info.ordered32(at + VALUES + 8 * index))
        && info.zero(at + VALUES + 8 * values, at + COUNTS)
        && info.zero(at + COUNTS + 2, at + 180)
}
