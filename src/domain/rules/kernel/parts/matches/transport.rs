//! Matches of the headers of TCP, UDP and SCTP: `tcp`, `udp`, `multiport`, `tcpmss`.
//! Knows no chunk of SCTP.

use super::matching;
use crate::domain::rules::kernel::layout::layout;
use crate::domain::rules::kernel::parts::words::{boolean, push, range};
use crate::domain::rules::kernel::parts::{BOTH, Extension, Info};
use crate::domain::rules::text::line::Line;

pub(super) const EXTENSIONS: &[Extension] = &[
    matching("tcp", BOTH, &[0], &[], "netfilter/xt_tcpudp.h", tcp),
    matching("udp", BOTH, &[0], &[], "netfilter/xt_tcpudp.h", udp),
    matching("multiport", BOTH, &[1], &[], "netfilter/xt_multiport.h", multiport),
    matching("tcpmss", BOTH, &[0], &[], "netfilter/xt_tcpmss.h", tcpmss),
];

layout! {
    /// `struct xt_tcp`.
    pub struct Tcp[12] {
        spts: [u16; 2] = 0, dpts: [u16; 2] = 4, option: u8 = 8, flg_mask: u8 = 9, flg_cmp: u8 = 10, invflags: u8 = 11
    }
}

layout! {
    /// `struct xt_udp`.
    pub struct Udp[10] { spts: [u16; 2] = 0, dpts: [u16; 2] = 4, invflags: u8 = 8 }
}

/// Every port.
pub const ANY_PORT: [u16; 2] = [0, u16::MAX];

/// The bits of a TCP header that `--tcp-flags` names, in its order.
const TCP_FLAGS: [(u8, &str); 6] =
    [(0x01, "FIN"), (0x02, "SYN"), (0x04, "RST"), (0x08, "PSH"), (0x10, "ACK"), (0x20, "URG")];

fn tcp(info: &Info<'_>, line: &mut Line) -> Option<()> {
    const XT_TCP_INV_SRCPT: u8 = 0x01;
    const XT_TCP_INV_DSTPT: u8 = 0x02;
    const XT_TCP_INV_FLAGS: u8 = 0x04;
    const XT_TCP_INV_OPTION: u8 = 0x08;
    let tcp: Tcp = info.decode()?;
    let is_not = |bit| tcp.invflags & bit != 0;
    ports(line, "--sport", tcp.spts, is_not(XT_TCP_INV_SRCPT))?;
    ports(line, "--dport", tcp.dpts, is_not(XT_TCP_INV_DSTPT))?;
    match tcp.option {
        // iptables takes no option of number 0
        0 if is_not(XT_TCP_INV_OPTION) => return None,
        0 => (),
        option => {
            line.option(is_not(XT_TCP_INV_OPTION), "--tcp-option");
            line.word(option);
        }
    }
    match (tcp.flg_mask, tcp.flg_cmp) {
        (0, 0) if !is_not(XT_TCP_INV_FLAGS) => (),
        (0, 0) => line.word("! --tcp-flags NONE NONE"),
        (0, _) => return None,
        (mask, set) => {
            line.option(is_not(XT_TCP_INV_FLAGS), "--tcp-flags");
            tcp_flags(line, mask)?;
            tcp_flags(line, set)?;
        }
    }
    (tcp.invflags <= 0x0f).then_some(())
}

fn tcp_flags(line: &mut Line, bits: u8) -> Option<()> {
    if bits == 0 {
        line.word("NONE");
        return Some(());
    }
    let mut left = bits;
    for (bit, name) in TCP_FLAGS.iter().filter(|(bit, _)| bits & bit != 0) {
        push(line, format_args!("{}{name}", if left == bits { ' ' } else { ',' }));
        left &= !bit;
    }
    (left == 0).then_some(())
}

fn udp(info: &Info<'_>, line: &mut Line) -> Option<()> {
    const XT_UDP_INV_SRCPT: u8 = 0x01;
    const XT_UDP_INV_DSTPT: u8 = 0x02;
    let udp: Udp = info.decode()?;
    ports(line, "--sport", udp.spts, udp.invflags & XT_UDP_INV_SRCPT != 0)?;
    ports(line, "--dport", udp.dpts, udp.invflags & XT_UDP_INV_DSTPT != 0)?;
    (udp.invflags <= 0x03).then_some(())
}

/// ` --sport LOW:HIGH`. Every port is not written, so it cannot be negated.
fn ports(line: &mut Line, option: &str, ports: [u16; 2], is_negated: bool) -> Option<()> {
    if ports == ANY_PORT {
        return (!is_negated).then_some(());
    }
    line.option(is_negated, option);
    let [low, high] = ports;
    range(line, low, high)
}

layout! {
    /// `struct xt_multiport_v1`: a port with a flag begins a range that the next one ends.
    struct Multiport[48] { flags: u8 = 0, count: u8 = 1, ports: [u16; 15] = 2, pflags: [u8; 15] = 32, invert: u8 = 47 }
}

fn multiport(info: &Info<'_>, line: &mut Line) -> Option<()> {
    let Multiport { flags, count, ports, pflags, invert } = info.decode()?;
    // `enum xt_multiport_flags`
    let option = ["--sports", "--dports", "--ports"].get(usize::from(flags))?;
    line.option(boolean(invert)?, option);
    let count = usize::from(count);
    let (used, unused) = ports.split_at_checked(count)?;
    let (begins, none) = pflags.split_at_checked(count)?;
    let mut all = used.iter().zip(begins);
    let mut separator = ' ';
    while let Some((port, begins)) = all.next() {
        push(line, format_args!("{separator}{port}"));
        if boolean(*begins)? {
            let (last, 0) = all.next()? else { return None };
            if last <= port {
                return None;
            }
            push(line, format_args!(":{last}"));
        }
        separator = ',';
    }
    let is_said = count > 0 && unused.iter().all(|port| *port == 0) && none.iter().all(|flag| *flag == 0);
    is_said.then_some(())
}

layout! {
    /// `struct xt_tcpmss_match_info`.
    struct TcpMss[6] { mss_min: u16 = 0, mss_max: u16 = 2, invert: u8 = 4 }
}

fn tcpmss(info: &Info<'_>, line: &mut Line) -> Option<()> {
    let TcpMss { mss_min, mss_max, invert } = info.decode()?;
    line.option(boolean(invert)?, "--mss");
    range(line, mss_min, mss_max)
}
