//! Listed rules for which something else holds than for all others. Each must be met, or it is to be removed.

use std::collections::BTreeSet;

use super::tools::{Tools, Version};

/// Our line is another one than that of 1.8.9, and better.
pub const OTHER_TEXT: &[(&str, &str)] = &[];

/// The line is right, and iptables itself refuses it.
pub const REFUSED: &[(&str, &str)] = &[];

/// 1.8.7 makes another rule of the command.
pub const OF_1_8_7: &[(&str, &str)] = &[];

/// What was met of the lists.
#[derive(Default)]
pub struct Exceptions {
    met: BTreeSet<&'static str>,
}

impl Exceptions {
    /// Whether the list has this rule.
    pub fn has(&mut self, list: &'static [(&'static str, &'static str)], typed: &str) -> bool {
        let found = list.iter().find(|(specification, _)| *specification == typed);
        self.met.extend(found.map(|(specification, _)| specification));
        found.is_some()
    }

    /// That no list has a rule in vain.
    pub fn assert_used(&self, writers: &[Tools]) {
        if writers.iter().all(|tools| tools.version != Version::OF_THE_TEXT) {
            return;
        }
        for (specification, why) in OTHER_TEXT.iter().chain(REFUSED) {
            assert!(self.met.contains(specification), "not needed any more: {specification} ({why})");
        }
    }
}
