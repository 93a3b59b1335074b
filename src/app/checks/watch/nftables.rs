//! The thread that hears of changes to nf_tables, and looks at their authors before these are gone.
//! Reads no rule.

use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::attribution::Attribution;
use super::shared::{Shared, Woken, count};
use crate::domain::changes::pending::Touched;
use crate::domain::words::error_chain::chain_of;
use crate::host::netlink::nfnetlink::events::{Events, Fact, Loss};

/// After this time without the end of a transaction there is none, whatever the kernel meant: nobody is named for it.
const UNFINISHED: Duration = Duration::from_millis(100);
/// A subscription that is refused is tried again.
const RETRY: Duration = Duration::from_secs(10);

/// The state of the thread.
pub(super) struct Listener {
    shared: Arc<Shared>,
    buffer_bytes: usize,
    events: Option<Events>,
    touched: Touched,
    attribution: Attribution,
}

impl Listener {
    /// Subscribes; from here on changes are heard of.
    pub fn start(shared: Arc<Shared>, buffer_bytes: usize) -> Self {
        let mut listener = Self {
            shared,
            buffer_bytes,
            events: None,
            touched: Touched::default(),
            attribution: Attribution::new(Instant::now()),
        };
        listener.open();
        listener
    }

    /// Listens until stopped.
    pub fn run(mut self) {
        while !self.shared.is_stopped() {
            let Some(mut events) = self.events.take() else {
                if self.shared.wait(None, Some(RETRY)) == Woken::Late {
                    self.reopen(false);
                }
                continue;
            };
            if let Err(loss) = self.listen(&mut events) {
                count(&self.shared.counts.losses);
                log::debug!("all rules are read again: {}", chain_of(&loss));
                drop(events);
                self.reopen(true);
            }
        }
    }

    fn open(&mut self) {
        match Events::open(self.buffer_bytes) {
            Ok(events) => {
                self.events = Some(events);
                self.shared.works(|failures| &mut failures.nftables, None);
            }
            Err(error) => {
                count(&self.shared.counts.refused);
                self.shared.works(|failures| &mut failures.nftables, Some(chain_of(&error)));
            }
        }
    }

    /// Subscribes again, and only then says that everything may have changed.
    fn reopen(&mut self, has_lost: bool) {
        self.open();
        if self.events.is_some() {
            count(&self.shared.counts.reopened);
        }
        if self.events.is_some() || has_lost {
            self.touched.everything();
            self.shared.tell(&mut self.touched, None);
        }
    }

    /// Returns when stopped.
    fn listen(&mut self, events: &mut Events) -> Result<(), Loss> {
        loop {
            let timeout = (!self.touched.is_empty()).then_some(UNFINISHED);
            match self.shared.wait(Some(events.as_fd()), timeout) {
                Woken::Stopped => return Ok(()),
                Woken::Late => self.shared.tell(&mut self.touched, None),
                Woken::Readable => {
                    while events.receive(|fact| self.hear(fact))? && !self.shared.is_stopped() {}
                }
            }
        }
    }

    fn hear(&mut self, fact: Fact<'_>) {
        match fact {
            Fact::Chain { family, table, chain } => self.touched.chain(family, table, chain),
            Fact::Table { family, table } => self.touched.table(family, table),
            Fact::Renamed => self.touched.everything(),
            Fact::Commit { generation, pid, name } => {
                let counts = &self.shared.counts;
                count(&counts.transactions);
                let author =
                    self.attribution.author((pid, name), Instant::now(), || count(&counts.unattributed));
                self.shared.tell(&mut self.touched, Some((&author, generation)));
            }
        }
    }
}
