//! Names of ipsets by their numbers, asked for once a rule names one.
//! Does not read what the sets hold.
//!
//! A set that a rule names can be swapped with another but not be renamed or destroyed, so its number keeps its name.
//! Names are asked for again when the rules were read, all the same.

use std::sync::OnceLock;

use super::{Context, nft};
use crate::domain::rules::kernel::Ipsets;
use crate::domain::rules::{Problem, Reason};
use crate::host::netlink::nfnetlink::Nfnetlink;
use crate::host::xtables::ipset;

/// The names, once they were asked for.
#[derive(Debug, Default)]
pub struct Names(OnceLock<Result<Ipsets, Problem>>);

impl Names {
    /// The names as far as they are known.
    pub fn known(&self) -> &Ipsets {
        static NONE: Ipsets = Ipsets::new();
        match self.0.get() {
            Some(Ok(names)) => names,
            _ => &NONE,
        }
    }

    /// The names, asked for if nobody did. None if they are the ones that were used, what [`Self::known`] gave: another
    /// thread may have asked since, and then a line was written without them.
    pub fn other_than(&self, used: &Ipsets, context: &Context<'_>) -> Option<&Ipsets> {
        self.0.get_or_init(|| read(context));
        Some(self.known()).filter(|known| !std::ptr::eq(*known, used))
    }

    /// Why rules that name sets could not be written.
    pub fn problem(&self) -> Option<Problem> {
        self.0.get()?.as_ref().err().cloned()
    }

    /// Whether they are others by now.
    pub fn have_changed(&self, context: &Context<'_>) -> bool {
        match self.0.get() {
            Some(Ok(names)) => read(context).is_ok_and(|now| now != *names),
            _ => false,
        }
    }
}

fn read(context: &Context<'_>) -> Result<Ipsets, Problem> {
    let names = Nfnetlink::open(context.deadline().moment()).and_then(|mut kernel| kernel.ipset_names());
    let names = names.map_err(|error| nft::netlink_problem(&error))?;
    let numbers = ipset::numbers(names).map_err(|error| {
        let what = format!("asking the kernel for the numbers of its ipsets, which rules name: {error}");
        Problem::new(Reason::KernelRead, what)
    })?;
    Ok(numbers.into_iter().collect())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::super::{Hooks, ScanOptions};
    use super::*;

    /// Two threads write lines: what one wrote before the other asked is written again.
    #[test]
    fn names_that_another_thread_asked_for_are_other_than_none() {
        let options = ScanOptions {
            dump_timeout: Duration::from_secs(1),
            nftables: true,
            hooks: Hooks::Unread,
            limit: 1,
            cancelled: Arc::default(),
        };
        let (context, names) = (Context::new(&options), Names::default());
        let used = names.known();
        names.0.set(Ok([(0, b"first".to_vec())].into())).expect("nobody asked");
        assert_eq!(names.other_than(used, &context), Some(names.known()));
        assert_eq!(names.known().len(), 1);
        assert_eq!(names.other_than(names.known(), &context), None);
    }
}
