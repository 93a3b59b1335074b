//! The match `sctp`: ports, and chunks with their flags.
//! Knows no other protocol.

use super::matching;
use crate::domain::rules::kernel::layout::layout;
use crate::domain::rules::kernel::parts::words::{push, range};
use crate::domain::rules::kernel::parts::{BOTH, Extension, Info};
use crate::domain::rules::text::line::Line;

pub(super) const EXTENSIONS: &[Extension] = &[matching("sctp", BOTH, &[0], &[], "netfilter/xt_sctp.h", sctp)];

layout! {
    /// `struct xt_sctp_info`; `flag_info` is four times a chunk's type, its flags, and which of them matter.
    struct Sctp[292] {
        dpts: [u16; 2] = 0, spts: [u16; 2] = 4, chunkmap: [u32; 64] = 8, chunk_match_type: u32 = 264,
        flag_info: [[u8; 3]; 4] = 268, flag_count: i32 = 280, flags: u32 = 284, invflags: u32 = 288
    }
}

const XT_SCTP_SRC_PORTS: u32 = 0x01;
const XT_SCTP_DEST_PORTS: u32 = 0x02;
const XT_SCTP_CHUNK_TYPES: u32 = 0x04;

/// Chunks with a name, by type, and the letters of their flags, from bit 7 down.
///
/// *Source*: RFC 9260, RFC 3758, RFC 5061, RFC 6525, RFC 8260, RFC 4820.
const CHUNKS: [(u8, &str, &str); 22] = [
    (0, "DATA", "----IUBE"),
    (1, "INIT", "--------"),
    (2, "INIT_ACK", "--------"),
    (3, "SACK", "--------"),
    (4, "HEARTBEAT", "--------"),
    (5, "HEARTBEAT_ACK", "--------"),
    (6, "ABORT", "-------T"),
    (7, "SHUTDOWN", "--------"),
    (8, "SHUTDOWN_ACK", "--------"),
    (9, "ERROR", "--------"),
    (10, "COOKIE_ECHO", "--------"),
    (11, "COOKIE_ACK", "--------"),
    (12, "ECN_ECNE", "--------"),
    (13, "ECN_CWR", "--------"),
    (14, "SHUTDOWN_COMPLETE", "-------T"),
    (64, "I_DATA", "--------"),
    (128, "ASCONF_ACK", "--------"),
    (130, "RE_CONFIG", "--------"),
    (132, "PAD", "--------"),
    (192, "FORWARD_TSN", "--------"),
    (193, "ASCONF", "--------"),
    (194, "I_FORWARD_TSN", "--------"),
];
/// What an entry of `flag_info` holds that is not used.
const NO_FLAGS: [u8; 3] = [0xff, 0, 0];

fn sctp(info: &Info<'_>, line: &mut Line) -> Option<()> {
    let sctp: Sctp = info.decode()?;
    let has = |bit| sctp.flags & bit != 0;
    for (option, bit, ports) in
        [("--sport", XT_SCTP_SRC_PORTS, sctp.spts), ("--dport", XT_SCTP_DEST_PORTS, sctp.dpts)]
    {
        let [low, high] = ports;
        if has(bit) {
            line.option(sctp.invflags & bit != 0, option);
            range(line, low, high)?;
        } else if ports != [0, 0] {
            return None;
        }
    }
    if has(XT_SCTP_CHUNK_TYPES) {
        line.option(sctp.invflags & XT_SCTP_CHUNK_TYPES != 0, "--chunk-types");
        chunks(&sctp, line)?;
    } else if sctp.chunkmap != [0; 64] || sctp.chunk_match_type != 0 || sctp.flag_count != 0 {
        return None;
    }
    let unused = sctp.flag_info.get(usize::try_from(sctp.flag_count).ok()?..)?;
    let is_said = unused.iter().all(|flags| *flags == NO_FLAGS);
    (is_said && sctp.flags <= 0x07 && sctp.invflags & !sctp.flags == 0).then_some(())
}

fn chunks(sctp: &Sctp, line: &mut Line) -> Option<()> {
    // `SCTP_CHUNK_MATCH_*`
    line.word(match sctp.chunk_match_type {
        1 => "any",
        2 => "all",
        4 => "only",
        _ => return None,
    });
    let has_flags = sctp.flag_count != 0;
    if sctp.chunkmap == [0; 64] || sctp.chunkmap == [u32::MAX; 64] {
        line.word(if sctp.chunkmap == [0; 64] { "NONE" } else { "ALL" });
        return (!has_flags).then_some(());
    }
    let mut left = sctp.chunkmap;
    let mut flags_left = sctp.flag_count;
    let mut separator = ' ';
    for (kind, name, letters) in CHUNKS {
        let word = left.get_mut(usize::from(kind) / 32)?;
        let bit = 1 << (kind % 32);
        if *word & bit == 0 {
            continue;
        }
        *word &= !bit;
        push(line, format_args!("{separator}{name}"));
        separator = ',';
        let mut of_chunk = sctp.flag_info.iter().filter(|[of, ..]| *of == kind);
        if let Some(&[_, flags, mask]) = of_chunk.next() {
            chunk_flags(line, letters, flags, mask)?;
            flags_left -= 1;
        }
    }
    (left == [0; 64] && flags_left == 0).then_some(())
}

/// `:BeT`: a capital for a flag that is set, a small letter for one that is not.
fn chunk_flags(line: &mut Line, letters: &str, flags: u8, mask: u8) -> Option<()> {
    line.push(b":");
    let mut known = 0;
    for (letter, bit) in letters.chars().zip((0..8).rev().map(|shift| 1_u8 << shift)) {
        if letter == '-' || mask & bit == 0 {
            continue;
        }
        known |= bit;
        push(line, if flags & bit != 0 { letter } else { letter.to_ascii_lowercase() });
    }
    (mask != 0 && known == mask && flags & !mask == 0).then_some(())
}
