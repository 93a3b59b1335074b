//! Matches of IPv6 headers that change a packet's way: `rt`, `srh`, `mh`.
//! Knows no other extension header.

use super::matching;
use crate::domain::rules::kernel::layout::layout;
use crate::domain::rules::kernel::parts::words::{Address, ip6, prefix_length, push, range};
use crate::domain::rules::kernel::parts::{Extension, IP6, Info};
use crate::domain::rules::text::line::Line;

pub(super) const EXTENSIONS: &[Extension] = &[
    matching("rt", IP6, &[0], &[], "netfilter_ipv6/ip6t_rt.h", rt),
    matching("srh", IP6, &[1], &[], "netfilter_ipv6/ip6t_srh.h", srh),
    matching("mh", IP6, &[0], &[], "netfilter_ipv6/ip6t_mh.h", mh),
];

layout! {
    /// `struct ip6t_rt`.
    struct Rt[280] {
        rt_type: u32 = 0, segsleft: [u32; 2] = 4, hdrlen: u32 = 12, flags: u8 = 16, invflags: u8 = 17,
        addrs: [Address; 16] = 20, addrnr: u8 = 276
    }
}

fn rt(info: &Info<'_>, line: &mut Line) -> Option<()> {
    const IP6T_RT_TYP: u8 = 0x01;
    const IP6T_RT_SGS: u8 = 0x02;
    const IP6T_RT_LEN: u8 = 0x04;
    const IP6T_RT_RES: u8 = 0x08;
    const IP6T_RT_FST: u8 = 0x10;
    const IP6T_RT_FST_NSTRICT: u8 = 0x20;
    const EVERY_COUNT: [u32; 2] = [0, u32::MAX];
    let rt: Rt = info.decode()?;
    let has = |bit| rt.flags & bit != 0;
    let is_not = |bit| rt.invflags & bit != 0;
    if has(IP6T_RT_TYP) {
        line.option(is_not(IP6T_RT_TYP), "--rt-type");
        line.word(rt.rt_type);
    }
    if has(IP6T_RT_SGS) {
        let [low, high] = rt.segsleft;
        line.option(is_not(IP6T_RT_SGS), "--rt-segsleft");
        range(line, low, high)?;
    }
    if has(IP6T_RT_LEN) {
        line.option(is_not(IP6T_RT_LEN), "--rt-len");
        line.word(rt.hdrlen);
    }
    if has(IP6T_RT_RES) {
        line.word("--rt-0-res");
    }
    let (used, unused) = rt.addrs.split_at_checked(rt.addrnr.into())?;
    if has(IP6T_RT_FST) {
        line.word("--rt-0-addrs");
        for (index, address) in used.iter().enumerate() {
            push(line, format_args!("{}{}", if index == 0 { ' ' } else { ',' }, ip6(*address)));
        }
    }
    if has(IP6T_RT_FST_NSTRICT) {
        line.word("--rt-0-not-strict");
    }
    let is_said = (has(IP6T_RT_TYP) || rt.rt_type == 0)
        && has(IP6T_RT_SGS) == (rt.segsleft != EVERY_COUNT)
        && (has(IP6T_RT_LEN) || rt.hdrlen == 0)
        && has(IP6T_RT_FST) != used.is_empty()
        && (has(IP6T_RT_FST) || !has(IP6T_RT_FST_NSTRICT))
        && unused.iter().all(|address| *address == [0; 16])
        && rt.flags <= 0x3f
        && rt.invflags & !(rt.flags & (IP6T_RT_TYP | IP6T_RT_SGS | IP6T_RT_LEN)) == 0;
    is_said.then_some(())
}

layout! {
    /// `struct ip6t_srh1`.
    struct Srh[108] {
        next_hdr: u8 = 0, hdr_len: u8 = 1, segs_left: u8 = 2, last_entry: u8 = 3, tag: u16 = 4,
        addresses: [Address; 3] = 8, masks: [Address; 3] = 56, flags: u16 = 104, invflags: u16 = 106
    }
}

fn srh(info: &Info<'_>, line: &mut Line) -> Option<()> {
    /// `IP6T_SRH_*`, in the order in which they are written.
    const OPTIONS: [&str; 14] = [
        "--srh-next-hdr",
        "--srh-hdr-len-eq",
        "--srh-hdr-len-gt",
        "--srh-hdr-len-lt",
        "--srh-segs-left-eq",
        "--srh-segs-left-gt",
        "--srh-segs-left-lt",
        "--srh-last-entry-eq",
        "--srh-last-entry-gt",
        "--srh-last-entry-lt",
        "--srh-tag",
        "--srh-psid",
        "--srh-nsid",
        "--srh-lsid",
    ];
    const TAG: usize = 10;
    let srh: Srh = info.decode()?;
    let mut is_said = [srh.next_hdr, srh.hdr_len, srh.segs_left, srh.last_entry].map(|number| number == 0);
    let mut has_tag = srh.tag == 0;
    let mut has_networks = srh.addresses.map(|address| address == [0; 16]);
    for (index, option) in OPTIONS.into_iter().enumerate() {
        let bit = 1 << index;
        if srh.flags & bit == 0 {
            continue;
        }
        line.option(srh.invflags & bit != 0, option);
        match index {
            0..TAG => {
                let field = index.div_ceil(3);
                let number =
                    [srh.next_hdr, srh.hdr_len, srh.segs_left, srh.last_entry].get(field).copied()?;
                *is_said.get_mut(field)? = true;
                line.word(number);
            }
            TAG => {
                has_tag = true;
                line.word(srh.tag);
            }
            _ => {
                let segment = index - TAG - 1;
                let (address, mask) = (srh.addresses.get(segment)?, srh.masks.get(segment)?);
                *has_networks.get_mut(segment)? = true;
                line.word(format_args!("{}/{}", ip6(*address), prefix_length(mask)?));
            }
        }
    }
    let unused_masks =
        (0..).zip(&srh.masks).all(|(index, mask)| srh.flags & 0x800 << index != 0 || *mask == [0; 16]);
    let is_all = is_said.iter().chain(&has_networks).all(|is| *is) && has_tag && unused_masks;
    (is_all && srh.flags <= 0x3fff && srh.invflags & !srh.flags == 0).then_some(())
}

layout! {
    /// `struct ip6t_mh`.
    struct Mh[3] { types: [u8; 2] = 0, invflags: u8 = 2 }
}

fn mh(info: &Info<'_>, line: &mut Line) -> Option<()> {
    const IP6T_MH_INV_TYPE: u8 = 0x01;
    const EVERY_TYPE: [u8; 2] = [0, u8::MAX];
    let Mh { types, invflags } = info.decode()?;
    let is_negated = invflags & IP6T_MH_INV_TYPE != 0;
    if types == EVERY_TYPE {
        return (invflags == 0).then_some(());
    }
    let [low, high] = types;
    line.option(is_negated, "--mh-type");
    range(line, low, high)?;
    (invflags <= IP6T_MH_INV_TYPE).then_some(())
}
