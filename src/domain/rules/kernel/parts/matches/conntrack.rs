//! Matches of what connection tracking knows of a connection: its state, protocol, addresses, ports, status, expiry.
//! Marks, labels, counters and limits of connections are elsewhere.

use super::matching;
use crate::domain::rules::kernel::layout::{Be16, layout};
use crate::domain::rules::kernel::parts::{BOTH, Extension, Info, words};
use crate::domain::rules::text::line::Line;

pub(super) const EXTENSIONS: &[Extension] = &[
    matching("conntrack", BOTH, &[1], &[], "netfilter/xt_conntrack.h", conntrack1),
    matching("conntrack", BOTH, &[2], &[], "netfilter/xt_conntrack.h", conntrack2),
    matching("conntrack", BOTH, &[3], &[], "netfilter/xt_conntrack.h", conntrack3),
    matching("state", BOTH, &[0], &[], "netfilter/xt_state.h", state),
];

layout! {
    /// `struct xt_conntrack_mtinfo1`.
    struct Conntrack1[152] {
        addresses: [[u128; 2]; 4] = 0, expires: [u32; 2] = 128, protocol: u16 = 136, ports: [Be16; 4] = 138,
        matched: u16 = 146, inverted: u16 = 148, states: u8 = 150, statuses: u8 = 151,
    }
}

layout! {
    /// `struct xt_conntrack_mtinfo2`.
    struct Conntrack2[156] {
        addresses: [[u128; 2]; 4] = 0, expires: [u32; 2] = 128, protocol: u16 = 136, ports: [Be16; 4] = 138,
        matched: u16 = 146, inverted: u16 = 148, states: u16 = 150, statuses: u16 = 152,
    }
}

layout! {
    /// `struct xt_conntrack_mtinfo3`, whose ports are in the byte order of the machine.
    struct Conntrack3[164] {
        addresses: [[u128; 2]; 4] = 0, expires: [u32; 2] = 128, protocol: u16 = 136, low_ports: [u16; 4] = 138,
        matched: u16 = 146, inverted: u16 = 148, states: u16 = 150, statuses: u16 = 152, high_ports: [u16; 4] = 154,
    }
}

layout! {
    /// `struct xt_state_info`.
    struct State[4] { states: u32 = 0 }
}

/// `XT_CONNTRACK_*`: which conditions a match has.
const STATE: u16 = 1 << 0;
const PROTO: u16 = 1 << 1;
const STATUS: u16 = 1 << 6;
const EXPIRES: u16 = 1 << 7;
const DIRECTION: u16 = 1 << 12;
/// `-m state`, which the kernel does not look at.
const STATE_ALIAS: u16 = 1 << 13;
const ALL: u16 = 0x3fff;
/// `XT_CONNTRACK_ORIGSRC` to `XT_CONNTRACK_REPLDST`.
const ADDRESSES: [(u16, &str); 4] =
    [(1 << 2, "--ctorigsrc"), (1 << 3, "--ctorigdst"), (1 << 4, "--ctreplsrc"), (1 << 5, "--ctrepldst")];
/// `XT_CONNTRACK_ORIGSRC_PORT` to `XT_CONNTRACK_REPLDST_PORT`.
const PORTS: [(u16, &str); 4] = [
    (1 << 8, "--ctorigsrcport"),
    (1 << 9, "--ctorigdstport"),
    (1 << 10, "--ctreplsrcport"),
    (1 << 11, "--ctrepldstport"),
];

/// `XT_CONNTRACK_STATE_*` and the bits of `enum ip_conntrack_info`. `-m state` knows all but the last two.
const STATES: [(u32, &str); 7] = [
    (1 << 0, "INVALID"),
    (1 << 3, "NEW"),
    (1 << 2, "RELATED"),
    (1 << 1, "ESTABLISHED"),
    (1 << 8, "UNTRACKED"),
    SNAT,
    DNAT,
];
const SNAT: (u32, &str) = (1 << 6, "SNAT");
const DNAT: (u32, &str) = (1 << 7, "DNAT");

/// The bits of `enum ip_conntrack_status` that have a name.
const STATUSES: [(u32, &str); 4] =
    [(1 << 0, "EXPECTED"), (1 << 1, "SEEN_REPLY"), (1 << 2, "ASSURED"), (1 << 3, "CONFIRMED")];

/// What all revisions say.
struct Conditions {
    /// Address and mask of each, as one number: that is read and found to be zero at once.
    addresses: [[u128; 2]; 4],
    expires: [u32; 2],
    protocol: u16,
    /// The lowest and highest of each.
    ports: [[u16; 2]; 4],
    matched: u16,
    inverted: u16,
    states: u32,
    statuses: u32,
}

fn conntrack1(info: &Info<'_>, line: &mut Line) -> Option<()> {
    let Conntrack1 { addresses, expires, protocol, ports, matched, inverted, states, statuses } =
        info.decode()?;
    let ports = ports.map(|Be16(port)| [port, port]);
    let (states, statuses) = (states.into(), statuses.into());
    let conditions = Conditions { addresses, expires, protocol, ports, matched, inverted, states, statuses };
    conditions.write(info, line)
}

fn conntrack2(info: &Info<'_>, line: &mut Line) -> Option<()> {
    let Conntrack2 { addresses, expires, protocol, ports, matched, inverted, states, statuses } =
        info.decode()?;
    let ports = ports.map(|Be16(port)| [port, port]);
    let (states, statuses) = (states.into(), statuses.into());
    let conditions = Conditions { addresses, expires, protocol, ports, matched, inverted, states, statuses };
    conditions.write(info, line)
}

fn conntrack3(info: &Info<'_>, line: &mut Line) -> Option<()> {
    let Conntrack3 {
        addresses,
        expires,
        protocol,
        low_ports: [a, b, c, d],
        matched,
        inverted,
        states,
        statuses,
        high_ports: [to_a, to_b, to_c, to_d],
    } = info.decode()?;
    let ports = [[a, to_a], [b, to_b], [c, to_c], [d, to_d]];
    let (states, statuses) = (states.into(), statuses.into());
    let conditions = Conditions { addresses, expires, protocol, ports, matched, inverted, states, statuses };
    conditions.write(info, line)
}

impl Conditions {
    /// Writes what is asked for, if everything else is zero.
    fn write(&self, info: &Info<'_>, line: &mut Line) -> Option<()> {
        let asks = |bit: u16| self.matched & bit != 0;
        let is_inverted = |bit: u16| self.inverted & bit != 0;
        if self.matched & !ALL != 0 || self.inverted & !self.matched != 0 || self.matched == 0 {
            return None;
        }
        self.write_state(line)?;
        if asks(PROTO) {
            line.option(is_inverted(PROTO), "--ctproto");
            line.word(u8::try_from(self.protocol).ok()?);
        } else if self.protocol != 0 {
            return None;
        }
        for ((bit, option), [address, mask]) in ADDRESSES.into_iter().zip(self.addresses) {
            if asks(bit) {
                line.option(is_inverted(bit), option);
                words::host_network(line, info.is_ip(), &address.to_ne_bytes(), &mask.to_ne_bytes())?;
            } else if address != 0 || mask != 0 {
                return None;
            }
        }
        for ((bit, option), [low, high]) in PORTS.into_iter().zip(self.ports) {
            if asks(bit) {
                line.option(is_inverted(bit), option);
                words::range(line, low, high)?;
            } else if low != 0 || high != 0 {
                return None;
            }
        }
        if asks(STATUS) {
            line.option(is_inverted(STATUS), "--ctstatus");
            if self.statuses == 0 {
                line.word("NONE");
            } else {
                words::names(line, self.statuses, &STATUSES)?;
            }
        } else if self.statuses != 0 {
            return None;
        }
        let [from, to] = self.expires;
        if asks(EXPIRES) {
            line.option(is_inverted(EXPIRES), "--ctexpire");
            words::range(line, from, to)?;
        } else if from != 0 || to != 0 {
            return None;
        }
        if asks(DIRECTION) {
            line.word(if is_inverted(DIRECTION) { "--ctdir REPLY" } else { "--ctdir ORIGINAL" });
        }
        Some(())
    }

    /// `--state`, which stands alone and renames the match, or `--ctstate`.
    fn write_state(&self, line: &mut Line) -> Option<()> {
        let is_inverted = self.inverted & STATE != 0;
        if self.matched & STATE_ALIAS != 0 {
            if self.matched != STATE | STATE_ALIAS || self.inverted & STATE_ALIAS != 0 {
                return None;
            }
            line.rename("conntrack", "state")?;
            line.option(is_inverted, "--state");
            simple_states(line, self.states)
        } else if self.matched & STATE != 0 {
            line.option(is_inverted, "--ctstate");
            words::names(line, self.states, &STATES)
        } else {
            (self.states == 0).then_some(())
        }
    }
}

fn state(info: &Info<'_>, line: &mut Line) -> Option<()> {
    let State { states } = info.decode()?;
    line.word("--state");
    simple_states(line, states)
}

/// The states that `-m state` has a name for.
fn simple_states(line: &mut Line, states: u32) -> Option<()> {
    if states & (SNAT.0 | DNAT.0) != 0 {
        return None;
    }
    words::names(line, states, &STATES)
}
