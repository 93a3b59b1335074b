//! Matches of what the node knows beside the packet: its programs, control groups, processors and groups of devices;
//! and comments.

use super::matching;
use crate::domain::rules::kernel::layout::{Name, layout};
use crate::domain::rules::kernel::parts::{BOTH, Extension, Info, words};
use crate::domain::rules::text::line::Line;

pub(super) const EXTENSIONS: &[Extension] = &[
    matching("bpf", BOTH, &[0], &[520..528], "netfilter/xt_bpf.h", bpf0),
    // the descriptor was that of the process that wrote the rule
    matching("bpf", BOTH, &[1], &[4..8, 520..528], "netfilter/xt_bpf.h", bpf1),
    matching("cgroup", BOTH, &[0], &[], "netfilter/xt_cgroup.h", cgroup0),
    matching("cgroup", BOTH, &[1], &[4104..4112], "netfilter/xt_cgroup.h", cgroup1),
    matching("cgroup", BOTH, &[2], &[520..528], "netfilter/xt_cgroup.h", cgroup2),
    matching("comment", BOTH, &[0], &[], "netfilter/xt_comment.h", comment),
    matching("cpu", BOTH, &[0], &[], "netfilter/xt_cpu.h", cpu),
    matching("devgroup", BOTH, &[0], &[], "netfilter/xt_devgroup.h", devgroup),
];

/// `struct sock_filter`: code (u16), jumps if true and false (u8 each), and the argument k (u32).
type Instruction = [u32; 2];
/// `XT_BPF_MAX_NUM_INSTR`.
const INSTRUCTIONS: usize = 64;

layout! {
    /// `struct xt_bpf_info` without the pointer at its end.
    struct Bpf0[528] { count: u16 = 0, program: [Instruction; INSTRUCTIONS] = 4 }
}

layout! {
    /// `struct xt_bpf_info_v1` with a program, without the descriptor and the pointer at its end.
    struct Bpf1[528] { mode: u16 = 0, count: u16 = 2, program: [Instruction; INSTRUCTIONS] = 8 }
}

layout! {
    /// `struct xt_bpf_info_v1` with the path of a pinned program.
    struct BpfPinned[528] { mode: u16 = 0, count: u16 = 2, path: Name<512> = 8 }
}

fn bpf0(info: &Info<'_>, line: &mut Line) -> Option<()> {
    let Bpf0 { count, program } = info.decode()?;
    byte_code(line, count, &program)
}

fn bpf1(info: &Info<'_>, line: &mut Line) -> Option<()> {
    /// `XT_BPF_MODE_BYTECODE` and `XT_BPF_MODE_PATH_PINNED`.
    const BYTECODE: u16 = 0;
    const PATH_PINNED: u16 = 1;
    let Bpf1 { mode, count, program } = info.decode()?;
    if mode == BYTECODE {
        return byte_code(line, count, &program);
    }
    let BpfPinned { mode, count, path } = info.decode()?;
    if mode != PATH_PINNED || count != 0 || !path.is_terminated() {
        return None;
    }
    line.word("--object-pinned");
    line.name(path.as_bytes())
}

/// ` --bytecode "COUNT,CODE JT JF K,…"`.
fn byte_code(line: &mut Line, count: u16, program: &[Instruction]) -> Option<()> {
    let (used, unused) = program.split_at_checked(usize::from(count))?;
    if used.is_empty() || unused.iter().any(|instruction| *instruction != [0, 0]) {
        return None;
    }
    line.word(format_args!("--bytecode \"{count}"));
    for [head, argument] in used {
        let [high, low, if_true, if_false] = head.to_ne_bytes();
        let code = u16::from_ne_bytes([high, low]);
        words::push(line, format_args!(",{code} {if_true} {if_false} {argument}"));
    }
    line.push(b"\"");
    Some(())
}

layout! {
    /// `struct xt_cgroup_info_v0`.
    struct Cgroup0[8] { id: u32 = 0, invert: u32 = 4 }
}

layout! {
    /// `struct xt_cgroup_info_v1` without the pointer at its end.
    struct Cgroup1[4112] {
        has_path: u8 = 0, has_class: u8 = 1, invert_path: u8 = 2, invert_class: u8 = 3, path: Name<4096> = 4,
        class: u32 = 4100,
    }
}

layout! {
    /// `struct xt_cgroup_info_v2` with a path, without the pointer at its end.
    struct Cgroup2Path[528] {
        has_path: u8 = 0, has_class: u8 = 1, invert_path: u8 = 2, invert_class: u8 = 3, path: Name<512> = 4,
    }
}

layout! {
    /// `struct xt_cgroup_info_v2` with a class, without the pointer at its end.
    struct Cgroup2Class[528] {
        has_path: u8 = 0, has_class: u8 = 1, invert_path: u8 = 2, invert_class: u8 = 3, class: u32 = 4,
    }
}

fn cgroup0(info: &Info<'_>, line: &mut Line) -> Option<()> {
    let Cgroup0 { id, invert } = info.decode()?;
    cgroup_class(line, words::boolean(invert)?, id);
    Some(())
}

fn cgroup1(info: &Info<'_>, line: &mut Line) -> Option<()> {
    let Cgroup1 { has_path, has_class, invert_path, invert_class, path, class } = info.decode()?;
    match [has_path, has_class] {
        [0, 1] if invert_path == 0 && path.as_bytes().is_empty() => {
            cgroup_class(line, words::boolean(invert_class)?, class);
            Some(())
        }
        [1, 0] if invert_class == 0 && class == 0 => cgroup_path(line, words::boolean(invert_path)?, &path),
        _ => None,
    }
}

fn cgroup2(info: &Info<'_>, line: &mut Line) -> Option<()> {
    if let Some(Cgroup2Class { has_path: 0, has_class: 1, invert_path: 0, invert_class, class }) =
        info.decode()
    {
        cgroup_class(line, words::boolean(invert_class)?, class);
        return Some(());
    }
    match info.decode()? {
        Cgroup2Path { has_path: 1, has_class: 0, invert_path, invert_class: 0, path } => {
            cgroup_path(line, words::boolean(invert_path)?, &path)
        }
        _ => None,
    }
}

fn cgroup_class(line: &mut Line, is_inverted: bool, class: u32) {
    line.option(is_inverted, "--cgroup");
    line.word(class);
}

fn cgroup_path<const N: usize>(line: &mut Line, is_inverted: bool, path: &Name<N>) -> Option<()> {
    if !path.is_terminated() || path.as_bytes().is_empty() {
        return None;
    }
    line.option(is_inverted, "--path");
    line.string(path.as_bytes())
}

layout! {
    /// `struct xt_comment_info`.
    struct Comment[256] { comment: Name<256> = 0 }
}

fn comment(info: &Info<'_>, line: &mut Line) -> Option<()> {
    let Comment { comment } = info.decode()?;
    line.word("--comment");
    comment.is_terminated().then(|| line.string(comment.as_bytes()))?
}

layout! {
    /// `struct xt_cpu_info`.
    struct Cpu[8] { cpu: u32 = 0, invert: u32 = 4 }
}

fn cpu(info: &Info<'_>, line: &mut Line) -> Option<()> {
    let Cpu { cpu, invert } = info.decode()?;
    line.option(words::boolean(invert)?, "--cpu");
    line.word(cpu);
    Some(())
}

layout! {
    /// `struct xt_devgroup_info`: group and mask of the source, then of the destination.
    struct DevGroup[20] { flags: u32 = 0, groups: [[u32; 2]; 2] = 4 }
}

/// Groups have names in a file of the machine; they are written as numbers.
fn devgroup(info: &Info<'_>, line: &mut Line) -> Option<()> {
    /// `XT_DEVGROUP_MATCH_SRC` and `_DST`; the bit above is `XT_DEVGROUP_INVERT_*`.
    const SIDES: [(u32, &str); 2] = [(0x1, "--src-group"), (0x4, "--dst-group")];
    const ALL: u32 = 0xf;
    let DevGroup { flags, groups } = info.decode()?;
    if flags & !ALL != 0 || SIDES.iter().all(|(bit, _)| flags & bit == 0) {
        return None;
    }
    for ((bit, name), [group, mask]) in SIDES.into_iter().zip(groups) {
        let is_inverted = flags & bit << 1 != 0;
        if flags & bit != 0 {
            line.option(is_inverted, name);
            words::mark(line, group, mask);
        } else if is_inverted || group != 0 || mask != 0 {
            return None;
        }
    }
    Some(())
}
