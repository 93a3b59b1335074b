//! The lines of what is called at netfilter hooks beside rules. Reads nothing and judges nothing.
//!
//! ```text
//! hook FAMILY HOOK PRIORITY FUNCTION [MODULE]
//! hook FAMILY HOOK PRIORITY bpf NAME TAG
//! hook netdev HOOK device NAME PRIORITY …
//! hooks FAMILY known FUNCTION FUNCTION …
//! ```
//! No line has a number that a program gets when it is loaded. A program's tag is a hash of its instructions: not of what
//! its maps hold.

use std::collections::BTreeSet;

use super::word::{name, quote};
use crate::domain::rules::Family;
use crate::domain::rules::kernel::hooks::{Callback, Callee, hook_name, is_known};
use crate::domain::words::escape::hex;

/// What the line of the known functions begins with.
const KNOWN: &str = "hooks ";
/// Words that stand where a function does.
const BPF: &str = "bpf";
const NAMELESS: &str = "nameless";

/// Where something is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct At<'a> {
    /// The hook's family.
    pub family: Family,
    /// The hook's number in its family.
    pub number: u32,
    /// The device of a hook that is at one.
    pub device: Option<&'a [u8]>,
}

/// What identifies a BPF program however often it is loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// The name that its loader chose.
    pub name: Vec<u8>,
    /// The kernel's hash of its instructions.
    pub tag: [u8; 8],
}

/// The line of a callback; none for what is read as a rule, and for functions of the kernel, which are told by [`known`].
///
/// Without `program`, where the kernel does not let us ask, the line of a BPF program ends at `bpf`: a pattern for it then
/// stands for whichever program is there.
pub fn line(at: At<'_>, callback: &Callback, program: Option<&Program>) -> Option<String> {
    let what = match &callback.callee {
        Callee::NfTables => return None,
        Callee::Function { name: Some(function), .. } if is_known(function) => return None,
        Callee::Function { name: function, module } => {
            let function = function.as_deref().map_or_else(|| NAMELESS.to_owned(), symbol);
            match module {
                Some(module) => format!("{function} [{}]", name(module)),
                None => function,
            }
        }
        Callee::Bpf(_) => match program {
            Some(program) => format!("{BPF} {} {}", name(&program.name), hex(&program.tag)),
            None => BPF.to_owned(),
        },
    };
    let At { family, number, device } = at;
    let device = device.map(|device| format!(" device {}", name(device))).unwrap_or_default();
    Some(format!("hook {family} {}{device} {} {what}", hook_name(family, number), callback.priority))
}

/// The name of a function, which cannot be read as one of our words.
fn symbol(function: &[u8]) -> String {
    if [BPF, NAMELESS].iter().any(|word| word.as_bytes() == function) {
        quote(function)
    } else {
        name(function)
    }
}

/// The one line of a family's known functions. It is never judged, so that only its changes are told.
pub fn known(family: Family, functions: &BTreeSet<&[u8]>) -> String {
    let mut line = format!("{KNOWN}{family} known");
    for function in functions {
        line.push(' ');
        line.push_str(&name(function));
    }
    line
}

/// Whether a line tells known functions.
pub fn is_of_known(line: &[u8]) -> bool {
    line.starts_with(KNOWN.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: At<'_> = At { family: Family::Ip, number: 1, device: None };

    fn written(at: At<'_>, callee: Callee, program: Option<&Program>) -> Option<String> {
        line(at, &Callback { priority: -500, callee }, program)
    }

    fn function(name: Option<&str>, module: Option<&str>) -> Callee {
        Callee::Function { name: name.map(Into::into), module: module.map(Into::into) }
    }

    #[test]
    fn what_hangs_at_a_hook_beside_rules_is_a_line() {
        let evil = Program { name: b"evil".to_vec(), tag: [0xa0, 1, 2, 3, 4, 5, 6, 0xff] };
        let bpf = |program| written(AT, Callee::Bpf(4711), program);
        assert_eq!(bpf(Some(&evil)).as_deref(), Some("hook ip input -500 bpf evil a0010203040506ff"));
        assert_eq!(bpf(None).as_deref(), Some("hook ip input -500 bpf"));
        let nameless = Program { name: Vec::new(), tag: [0; 8] };
        assert_eq!(bpf(Some(&nameless)).as_deref(), Some("hook ip input -500 bpf \"\" 0000000000000000"));
        let of = |name, module| written(AT, function(name, module), None);
        assert_eq!(of(Some("evil_fn"), Some("evil")).as_deref(), Some("hook ip input -500 evil_fn [evil]"));
        assert_eq!(of(Some("bpf"), None).as_deref(), Some("hook ip input -500 \"bpf\""));
        assert_eq!(of(None, None).as_deref(), Some("hook ip input -500 nameless"));
        assert_eq!(of(Some("a\nb"), None).as_deref(), Some("hook ip input -500 \"a\\x0ab\""));
    }

    #[test]
    fn a_hook_at_a_device_names_it() {
        let at = At { family: Family::Netdev, number: 1, device: Some(b"eth 0") };
        let line = written(at, function(Some("f"), None), None);
        assert_eq!(line.as_deref(), Some("hook netdev egress device \"eth 0\" -500 f"));
    }

    #[test]
    fn what_is_known_or_read_as_a_rule_is_no_line() {
        assert_eq!(written(AT, Callee::NfTables, None), None);
        assert_eq!(written(AT, function(Some("ipt_do_table"), Some("ip_tables")), None), None);
        let functions = [&b"ipt_do_table"[..], b"ip_sabotage_in"].into();
        let line = known(Family::Ip, &functions);
        assert_eq!(line, "hooks ip known ip_sabotage_in ipt_do_table");
        assert!(is_of_known(line.as_bytes()) && !is_of_known(b"hook ip input 0 f"));
    }
}
