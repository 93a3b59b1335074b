//! The verdict on rules of every writer: allowed by what allows everything that iptables writes.

use super::matrix::loaded;
use super::tools::{BACKENDS, FAMILIES, writers};
use crate::support::AllowlistDir;

/// With `^-A`, `^-P` and `^-N` alone, and no pattern for native lines, a rule that was read as anything else is unexpected.
#[test]
fn every_rule_that_iptables_wrote_is_allowed_by_patterns_of_its_lines() {
    let allowlists = AllowlistDir::new(&[("global", "^-A .*\n^-P .*\n^-N .*\n")]);
    for tools in writers() {
        for backend in BACKENDS {
            for family in FAMILIES {
                let (netns, cases) = loaded(&tools, backend, family);
                let checked = netns.check(&["--input", allowlists.path(), "--input6", allowlists.path()]);
                checked.expect("compliant", 0);
                let read = usize::try_from(checked.rules()).expect("not so many");
                assert!(read >= cases.len(), "{read} of {}", cases.len());
            }
        }
    }
}
