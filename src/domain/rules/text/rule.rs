//! The lines of iptables-save: `-P CHAIN POLICY`, `-N CHAIN`, `-A CHAIN …`.
//! Reads no bytes of the kernel; what it cannot say in iptables' words it writes raw.
//!
//! Beside the raw x_tables parts of [`parts::write`] there are
//! - `--raw-chain HEX`, after `-A`, `-N`, `-P`, `-j` or `-g`: a chain whose name iptables does not give, or that reads as
//!   something else;
//! - `--raw-head HEX`, after the chain: a head that iptables does not write, or whose interfaces are no words. It is
//!   `struct ipt_ip` or `struct ip6t_ip6`, whole;
//! - `--raw-match NAME REVISION:HEX`, `--raw-target NAME REVISION:HEX`, with the name in digits: a part whose name is no
//!   word;
//! - `--raw-verdict NUMBER`: a verdict of the standard target that no option says;
//! - `--raw NAME:TYPE=HEX,…`, in the place of a match or a target: an nf_tables expression that iptables writes and that no
//!   option says, with all its attributes by ascending type.
//!
//! No clean name begins with a dash, so none of these reads as an option of iptables or as another name.
//!
//! *Source*: the order of options is that of iptables-save 1.8.9, both backends.

use std::net::Ipv4Addr;

use super::line::Line;
use super::protocols;
use crate::domain::rules::Family;
use crate::domain::rules::kernel::Ipsets;
use crate::domain::rules::kernel::attributes::{Attribute, Attributes};
use crate::domain::rules::kernel::expressions::form::Text;
use crate::domain::rules::kernel::expressions::{Expression, Log};
use crate::domain::rules::kernel::head::{Device, Head, Network};
use crate::domain::rules::kernel::names::{is_chain_name, is_word};
use crate::domain::rules::kernel::parts::{self, Part, Role, Surroundings, words};
use crate::domain::rules::kernel::rule::{Action, Condition, Made, Match, Rule, Verdict};

/// `-P CHAIN POLICY`.
pub fn policy(chain: &str, policy: Verdict, line: &mut Line) {
    line.push(b"-P");
    line.word(chain);
    line.word(policy.as_str());
}

/// `-N CHAIN`.
pub fn declaration(chain: &[u8], line: &mut Line) {
    line.push(b"-N");
    chain_name(chain, line);
}

/// `-A CHAIN …`.
pub fn rule(chain: &[u8], rule: &Rule<'_>, family: Family, ipsets: &Ipsets, line: &mut Line) {
    line.push(b"-A");
    chain_name(chain, line);
    match &rule.head {
        Condition::Head(head) if write_head(head, family, line).is_some() => (),
        Condition::Head(head) => {
            let is_goto = matches!(rule.action, Action::Chain { is_goto: true, .. });
            raw_head(head.encode(family, is_goto).as_bytes(), line);
        }
        Condition::Raw(head) => raw_head(head, line),
    }
    let around = Surroundings { family, ipsets };
    for one in &rule.matches {
        match one {
            Match::Part(one) => part(Role::Match, one, rule.has_merged_ports, around, line),
            Match::Made(made) => part(Role::Match, &made.part(), rule.has_merged_ports, around, line),
            Match::Native(expressions) => expressions.iter().for_each(|one| raw_expression(one, line)),
        }
    }
    match &rule.action {
        Action::None => (),
        Action::Verdict(verdict) => {
            line.push(b" -j ");
            line.push(verdict.as_str().as_bytes());
        }
        Action::RawVerdict(verdict) => line.word(format_args!("--raw-verdict {verdict}")),
        Action::Chain { name, is_goto } => {
            line.push(if *is_goto { b" -g" } else { b" -j" });
            chain_name(name, line);
        }
        Action::Target(one) => part(Role::Target, one, false, around, line),
        Action::Log(log) => write_log(log, around, line),
        Action::Trace => line.push(b" -j TRACE"),
    }
}

/// ` NAME`, or ` --raw-chain HEX`.
fn chain_name(name: &[u8], line: &mut Line) {
    if is_chain_name(name) {
        line.push(b" ");
        line.push(name);
    } else {
        line.push(b" --raw-chain ");
        line.hex(name);
    }
}

fn raw_head(head: &[u8], line: &mut Line) {
    line.push(b" --raw-head ");
    line.hex(head);
}

/// A part in iptables' words, or raw.
pub(super) fn part(role: Role, part: &Part<'_>, is_merged: bool, around: Surroundings<'_>, line: &mut Line) {
    let start = line.len();
    let written = if is_merged && matches!(part.name, b"tcp" | b"udp") {
        parts::write_raw(role, part, around, line)
    } else {
        parts::write(role, part, around, line)
    };
    if written.is_none() {
        line.truncate(start);
        line.push(if role == Role::Match { b" --raw-match " } else { b" --raw-target " });
        line.hex(part.name);
        line.word(format_args!("{}:", part.revision));
        line.hex(part.info);
    }
}

/// ` --raw NAME:TYPE=HEX,…`
fn raw_expression(expression: &Expression<'_>, line: &mut Line) {
    let encoded = expression.encode();
    let mut attributes: Vec<_> = Attributes::new(&encoded).flatten().collect();
    attributes.sort_by_key(|attribute| attribute.kind);
    line.push(b" --raw ");
    line.push(expression.name());
    let mut before = ':';
    for Attribute { kind, value } in attributes {
        words::push(line, format_args!("{before}{kind}="));
        line.hex(value);
        before = ',';
    }
}

/// ` -j NFLOG OPTIONS`, or ` --raw log:…` if no option says its prefix.
fn write_log(log: &Log<'_>, around: Surroundings<'_>, line: &mut Line) {
    if let Some(made) = Made::nflog(log) {
        return part(Role::Target, &made.part(), false, around, line);
    }
    let start = line.len();
    if nflog(log, line).is_none() {
        line.truncate(start);
        raw_expression(&Expression::Log(*log), line);
    }
}

/// `-j NFLOG` with a prefix that the x_tables part has no room for.
fn nflog(log: &Log<'_>, line: &mut Line) -> Option<()> {
    line.word("-j NFLOG");
    if let Some(Text(prefix)) = log.prefix {
        line.word("--nflog-prefix");
        line.string(prefix)?;
    }
    if let Some(group @ 1..) = log.group {
        line.word(format_args!("--nflog-group {group}"));
    }
    if let Some(length) = log.snaplen {
        line.word(format_args!("--nflog-size {length}"));
    }
    if let Some(threshold @ 1..) = log.threshold {
        line.word(format_args!("--nflog-threshold {threshold}"));
    }
    Some(())
}

/// ` -s … -d … -i … -o … -p … -f`. None if the name of an interface is no word.
fn write_head(head: &Head, family: Family, line: &mut Line) -> Option<()> {
    let start = line.len();
    network("-s", &head.source, family, line);
    network("-d", &head.destination, family, line);
    let written = device("-i", &head.input, line).and_then(|()| device("-o", &head.output, line));
    if written.is_none() {
        line.truncate(start);
        return None;
    }
    if let Some(protocol) = head.protocol {
        negated("-p", protocol.is_negated, line);
        match protocols::name(protocol.number) {
            Some(name) => {
                line.push(b" ");
                line.push(name.as_bytes());
            }
            None => line.word(protocol.number),
        }
    }
    if let Some(is_negated) = head.fragment {
        negated("-f", is_negated, line);
    }
    Some(())
}

fn negated(option: &str, is_negated: bool, line: &mut Line) {
    line.push(if is_negated { b" ! " } else { b" " });
    line.push(option.as_bytes());
}

/// ` -s ADDRESS/LENGTH` or ` -s ADDRESS/MASK`; nothing if it asks nothing.
fn network(option: &str, network: &Network, family: Family, line: &mut Line) {
    if network.is_any() {
        return;
    }
    negated(option, network.is_negated, line);
    let Network { address, mask, .. } = network;
    if family == Family::Ip {
        let [a, b, c, d, ..] = *address;
        let [e, f, g, h, ..] = *mask;
        line.word(Ipv4Addr::new(a, b, c, d));
        match words::prefix_length(&[e, f, g, h]) {
            Some(length) => words::push(line, format_args!("/{length}")),
            None => words::push(line, format_args!("/{}", Ipv4Addr::new(e, f, g, h))),
        }
    } else {
        line.word(words::ip6(*address));
        match words::prefix_length(mask) {
            Some(length) => words::push(line, format_args!("/{length}")),
            None => words::push(line, format_args!("/{}", words::ip6(*mask))),
        }
    }
}

/// ` -i NAME`; nothing if it asks nothing. None if the name is no word.
fn device(option: &str, device: &Device, line: &mut Line) -> Option<()> {
    let name = device.name.as_bytes();
    if !device.is_any() {
        negated(option, device.is_negated, line);
        is_word(name).then(|| line.name(name))??;
    }
    Some(())
}
