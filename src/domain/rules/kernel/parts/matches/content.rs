//! Matches of bytes anywhere in a packet, and of single fields: `string`, `u32`, `tos`, `ttl`.
//! Knows no port.

use super::matching;
use crate::domain::rules::kernel::layout::{Field, Name, layout};
use crate::domain::rules::kernel::parts::words::{boolean, push};
use crate::domain::rules::kernel::parts::{BOTH, Extension, IP, Info};
use crate::domain::rules::text::line::Line;

pub(super) const EXTENSIONS: &[Extension] = &[
    // the state is the kernel's pointer
    matching("string", BOTH, &[1], &[152..160], "netfilter/xt_string.h", string),
    matching("u32", BOTH, &[0], &[], "netfilter/xt_u32.h", u32_tests),
    matching("tos", BOTH, &[1], &[], "netfilter/xt_dscp.h", tos),
    matching("ttl", IP, &[0], &[], "netfilter_ipv4/ipt_ttl.h", ttl),
];

layout! {
    /// `struct xt_string_info`.
    struct Text[160] {
        from_offset: u16 = 0, to_offset: u16 = 2, algo: Name<16> = 4, pattern: [u8; 128] = 20, patlen: u8 = 148,
        flags: u8 = 149
    }
}

fn string(info: &Info<'_>, line: &mut Line) -> Option<()> {
    const XT_STRING_FLAG_INVERT: u8 = 0x01;
    const XT_STRING_FLAG_IGNORECASE: u8 = 0x02;
    let text: Text = info.decode()?;
    let (pattern, unused) = text.pattern.split_at_checked(text.patlen.into())?;
    let is_negated = text.flags & XT_STRING_FLAG_INVERT != 0;
    let is_text = pattern.iter().all(|byte| matches!(byte, b' '..=b'~')) && pattern.last() != Some(&b'\\');
    if is_text {
        line.option(is_negated, "--string");
        line.push(b" \"");
        for byte in pattern {
            line.push(if matches!(byte, b'"' | b'\\') { b"\\" } else { b"" });
            line.push(&[*byte]);
        }
        line.push(b"\"");
    } else {
        line.option(is_negated, "--hex-string");
        line.push(b" \"|");
        line.hex(pattern);
        line.push(b"|\"");
    }
    line.word(match text.algo.as_bytes() {
        b"bm" => "--algo bm",
        b"kmp" => "--algo kmp",
        _ => return None,
    });
    if text.from_offset != 0 {
        line.word(format_args!("--from {}", text.from_offset));
    }
    if text.to_offset != u16::MAX {
        line.word(format_args!("--to {}", text.to_offset));
    }
    if text.flags & XT_STRING_FLAG_IGNORECASE != 0 {
        line.word("--icase");
    }
    let is_known = text.flags <= XT_STRING_FLAG_INVERT | XT_STRING_FLAG_IGNORECASE;
    (is_known && !pattern.is_empty() && unused.iter().all(|byte| *byte == 0)).then_some(())
}

layout! {
    /// `struct xt_u32_location_element`.
    struct Location[8] { number: u32 = 0, nextop: u8 = 4 }
}

layout! {
    /// `struct xt_u32_test`: locations, values, and how many of each are used.
    struct Test[180] {
        location: [Location; 11] = 0, value: [[u32; 2]; 11] = 88, nnums: u8 = 176, nvalues: u8 = 177
    }
}

layout! {
    /// `struct xt_u32`.
    struct Tests[1984] { tests: [Test; 11] = 0, ntests: u8 = 1980, invert: u8 = 1981 }
}

fn u32_tests(info: &Info<'_>, line: &mut Line) -> Option<()> {
    let Tests { tests, ntests, invert } = info.decode()?;
    let (used, unused) = tests.split_at_checked(ntests.into())?;
    line.option(boolean(invert)?, "--u32");
    line.push(b" \"");
    for (index, test) in used.iter().enumerate() {
        line.push(if index == 0 { b"" } else { b"&&" });
        u32_test(line, test)?;
    }
    line.push(b"\"");
    (!used.is_empty() && unused.iter().all(|test| *test == Test::read(&[]))).then_some(())
}

fn u32_test(line: &mut Line, test: &Test) -> Option<()> {
    let (locations, no_locations) = test.location.split_at_checked(test.nnums.into())?;
    let (values, no_values) = test.value.split_at_checked(test.nvalues.into())?;
    for (index, location) in locations.iter().enumerate() {
        let Location { number, nextop } = location;
        // `enum xt_u32_ops`; the first number has none before it
        let operators = if index == 0 { &[""][..] } else { &["&", "<<", ">>", "@"] };
        push(line, format_args!("{}{number:#x}", operators.get(usize::from(*nextop))?));
    }
    for (index, [low, high]) in values.iter().enumerate() {
        push(line, format_args!("{}{low:#x}", if index == 0 { '=' } else { ',' }));
        match low.cmp(high) {
            std::cmp::Ordering::Less => push(line, format_args!(":{high:#x}")),
            std::cmp::Ordering::Equal => (),
            std::cmp::Ordering::Greater => return None,
        }
    }
    let is_said = no_locations.iter().all(|location| *location == Location::read(&[]))
        && no_values.iter().all(|value| *value == [0; 2])
        && !locations.is_empty()
        && !values.is_empty();
    is_said.then_some(())
}

layout! {
    /// `struct xt_tos_match_info`.
    struct Tos[3] { tos_mask: u8 = 0, tos_value: u8 = 1, invert: u8 = 2 }
}

fn tos(info: &Info<'_>, line: &mut Line) -> Option<()> {
    let Tos { tos_mask, tos_value, invert } = info.decode()?;
    line.option(boolean(invert)?, "--tos");
    line.word(format_args!("{tos_value:#04x}/{tos_mask:#04x}"));
    Some(())
}

layout! {
    /// `struct ipt_ttl_info`.
    struct Ttl[2] { mode: u8 = 0, ttl: u8 = 1 }
}

fn ttl(info: &Info<'_>, line: &mut Line) -> Option<()> {
    let Ttl { mode, ttl } = info.decode()?;
    // `IPT_TTL_EQ`, `IPT_TTL_NE`, `IPT_TTL_LT`, `IPT_TTL_GT`
    let mode = ["--ttl-eq", "! --ttl-eq", "--ttl-lt", "--ttl-gt"].get(usize::from(mode))?;
    line.word(format_args!("{mode} {ttl}"));
    Some(())
}
