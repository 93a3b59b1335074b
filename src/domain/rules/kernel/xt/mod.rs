//! x_tables extensions inside nf_tables rules: which are listed, and which of their values the text shows.
//! Knows what is printed, not what an extension matches or does.
//!
//! An extension's info is a C structure that native tools cannot write, but a netlink program can. So every listed one
//! names the values iptables writes: padding is zero, no bit is set that is not printed, nothing is negated that is not
//! there, and names that are printed raw are one word. Extensions and revisions not listed are not trusted.
//!
//! *Source*: structures and revisions from `include/uapi/linux/netfilter/xt_*.h`, `netfilter_ipv4/ipt_*.h` and
//! `netfilter_ipv6/ip6t_*.h`, in the layout of 64-bit kernels; options from iptables-extensions(8); the conditions from
//! reloading the text of several hundred thousand random infos with iptables 1.8.9.

pub(super) mod info;
mod matches;
mod ports;
mod sets;
mod targets;

use super::Untrusted;
use super::action::ActionHash;
use super::expression::Extension;
use crate::domain::rules::Family;
use info::Info;
pub use sets::is_set_name;

/// The bytes that `XT_ALIGN` rounds an info to.
const ALIGN: usize = 8;

pub(super) fn check_match(family: Family, extension: Extension<'_>) -> Result<(), Untrusted> {
    verdict(matches::shown(extension.name, extension.revision, &Info::new(family, extension.info)))
}

pub(super) fn check_target(family: Family, extension: Extension<'_>) -> Result<ActionHash, Untrusted> {
    let info = Info::new(family, extension.info);
    verdict(targets::shown(extension.name, extension.revision, &info))?;
    let is_alias = extension.name == b"CT" && targets::is_notrack_alias(&info);
    Ok(ActionHash::jump(if is_alias { b"NOTRACK" } else { extension.name }))
}

const fn verdict(shown: Option<bool>) -> Result<(), Untrusted> {
    match shown {
        Some(true) => Ok(()),
        Some(false) => Err(Untrusted::ExtensionValue),
        None => Err(Untrusted::UnknownExtension),
    }
}
