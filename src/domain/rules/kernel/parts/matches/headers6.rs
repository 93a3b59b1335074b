//! Matches of IPv6 headers: AH, options, fragments, which headers there are, hop limit, interface identifiers.
//! Knows no header of IPv4.

use super::headers::range_unless_full;
use super::matching;
use crate::domain::rules::kernel::layout::layout;
use crate::domain::rules::kernel::parts::{Extension, IP6, Info, words};
use crate::domain::rules::text::line::Line;

pub(super) const EXTENSIONS: &[Extension] = &[
    matching("ah", IP6, &[0], &[], "netfilter_ipv6/ip6t_ah.h", ah),
    matching("dst", IP6, &[0], &[], "netfilter_ipv6/ip6t_opts.h", destination_options),
    // no header declares it: an `int` that nothing reads
    matching("eui64", IP6, &[0], &[], "netfilter_ipv6/ip6_tables.h", eui64),
    matching("frag", IP6, &[0], &[], "netfilter_ipv6/ip6t_frag.h", fragment),
    matching("hbh", IP6, &[0], &[], "netfilter_ipv6/ip6t_opts.h", hop_by_hop_options),
    matching("hl", IP6, &[0], &[], "netfilter_ipv6/ip6t_hl.h", hop_limit),
    matching("ipv6header", IP6, &[0], &[], "netfilter_ipv6/ip6t_ipv6header.h", ipv6_header),
];

layout! {
    /// `struct ip6t_ah`.
    struct Ah[16] { spis: [u32; 2] = 0, length: u32 = 8, reserved: u8 = 12, inverted: u8 = 13 }
}

fn ah(info: &Info<'_>, line: &mut Line) -> Option<()> {
    /// `IP6T_AH_INV_SPI` and `IP6T_AH_INV_LEN`.
    const INV_SPI: u8 = 0x01;
    const INV_LEN: u8 = 0x02;
    let Ah { spis, length, reserved, inverted } = info.decode()?;
    if inverted & !(INV_SPI | INV_LEN) != 0 {
        return None;
    }
    range_unless_full(line, inverted & INV_SPI != 0, "--ahspi", spis)?;
    let is_length_inverted = inverted & INV_LEN != 0;
    if length != 0 || is_length_inverted {
        line.option(is_length_inverted, "--ahlen");
        line.word(length);
    }
    if words::boolean(reserved)? {
        line.word("--ahres");
    }
    Some(())
}

layout! {
    /// `struct ip6t_opts`: an option is its type in the high byte and its length in the low one.
    struct Options[40] {
        length: u32 = 0, flags: u8 = 4, inverted: u8 = 5, options: [u16; 16] = 6, count: u8 = 38,
    }
}

fn destination_options(info: &Info<'_>, line: &mut Line) -> Option<()> {
    options(info, line, "--dst-len", "--dst-opts")
}

fn hop_by_hop_options(info: &Info<'_>, line: &mut Line) -> Option<()> {
    options(info, line, "--hbh-len", "--hbh-opts")
}

fn options(info: &Info<'_>, line: &mut Line, length_name: &str, options_name: &str) -> Option<()> {
    /// `IP6T_OPTS_LEN`, which is also `IP6T_OPTS_INV_LEN`, and `IP6T_OPTS_OPTS`. The third, `IP6T_OPTS_NSTRICT`, is
    /// not written.
    const LEN: u8 = 0x01;
    const OPTS: u8 = 0x02;
    const ANY_LENGTH: u8 = u8::MAX;
    let Options { length, flags, inverted, options, count } = info.decode()?;
    let (used, unused) = options.split_at_checked(usize::from(count))?;
    if flags & !(LEN | OPTS) != 0
        || inverted & !(flags & LEN) != 0
        || unused.iter().any(|unused| *unused != 0)
    {
        return None;
    }
    if flags & LEN != 0 {
        line.option(inverted & LEN != 0, length_name);
        line.word(length);
    } else if length != 0 {
        return None;
    }
    if (flags & OPTS != 0) == used.is_empty() {
        return None;
    }
    let mut separator = ' ';
    if flags & OPTS != 0 {
        line.word(options_name);
    }
    for option in used {
        let [kind, length] = option.to_be_bytes();
        words::push(line, format_args!("{separator}{kind}"));
        if length != ANY_LENGTH {
            words::push(line, format_args!(":{length}"));
        }
        separator = ',';
    }
    Some(())
}

layout! {
    /// The structure of `eui64`.
    struct Eui64[4] { unused: u32 = 0 }
}

fn eui64(info: &Info<'_>, _: &mut Line) -> Option<()> {
    let Eui64 { unused } = info.decode()?;
    (unused == 0).then_some(())
}

layout! {
    /// `struct ip6t_frag`.
    struct Fragment[16] { ids: [u32; 2] = 0, length: u32 = 8, flags: u8 = 12, inverted: u8 = 13 }
}

fn fragment(info: &Info<'_>, line: &mut Line) -> Option<()> {
    /// `IP6T_FRAG_*`; the first two are also `IP6T_FRAG_INV_*`.
    const IDS: u8 = 0x01;
    const LEN: u8 = 0x02;
    const INVERTIBLE: u8 = IDS | LEN;
    const ALL: u8 = 0x3f;
    const FLAGS: [(u8, &str); 4] =
        [(0x04, "--fragres"), (0x08, "--fragfirst"), (0x10, "--fragmore"), (0x20, "--fraglast")];
    const ANY_ID: [u32; 2] = [0, u32::MAX];
    let Fragment { ids, length, flags, inverted } = info.decode()?;
    // which identifiers are meant is not told by the flag, but iptables sets it with them
    let has_ids = flags & IDS != 0;
    if flags & !ALL != 0 || inverted & !(flags & INVERTIBLE) != 0 || has_ids == (ids == ANY_ID) {
        return None;
    }
    range_unless_full(line, inverted & IDS != 0, "--fragid", ids)?;
    if flags & LEN != 0 {
        line.option(inverted & LEN != 0, "--fraglen");
        line.word(length);
    } else if length != 0 {
        return None;
    }
    for (_, name) in FLAGS.into_iter().filter(|(bit, _)| flags & bit != 0) {
        line.word(name);
    }
    Some(())
}

layout! {
    /// `struct ip6t_hl_info`.
    struct HopLimit[2] { mode: u8 = 0, hop_limit: u8 = 1 }
}

fn hop_limit(info: &Info<'_>, line: &mut Line) -> Option<()> {
    /// `IP6T_HL_EQ`, `_NE`, `_LT` and `_GT`.
    const MODES: [(bool, &str); 4] =
        [(false, "--hl-eq"), (true, "--hl-eq"), (false, "--hl-lt"), (false, "--hl-gt")];
    let HopLimit { mode, hop_limit } = info.decode()?;
    let (is_inverted, name) = MODES.get(usize::from(mode))?;
    line.option(*is_inverted, name);
    line.word(hop_limit);
    Some(())
}

layout! {
    /// `struct ip6t_ipv6header_info`.
    struct Ipv6Header[3] { headers: u8 = 0, inverted: u8 = 1, is_soft: u8 = 2 }
}

fn ipv6_header(info: &Info<'_>, line: &mut Line) -> Option<()> {
    /// `MASK_*`, by the names in Debian 12's /etc/protocols and those of iptables for the first and the last.
    const HEADERS: [(u32, &str); 8] = [
        (128, "hop-by-hop"),
        (64, "ipv6-opts"),
        (32, "ipv6-route"),
        (16, "ipv6-frag"),
        (8, "ah"),
        (4, "esp"),
        (2, "ipv6-nonxt"),
        (1, "protocol"),
    ];
    // iptables sets every bit for yes
    let whole = |byte: u8| match byte {
        0 => Some(false),
        u8::MAX => Some(true),
        _ => None,
    };
    let Ipv6Header { headers, inverted, is_soft } = info.decode()?;
    line.option(whole(inverted)?, "--header");
    words::names(line, headers.into(), &HEADERS)?;
    if whole(is_soft)? {
        line.word("--soft");
    }
    Some(())
}
