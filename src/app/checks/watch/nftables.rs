//! The thread that hears of changes to nf_tables, judges what each transaction brings, and looks at their authors before
//! these are gone.

use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::attribution::Attribution;
use super::shared::{Shared, Woken, count, lock};
use crate::app::checks::scan::ScanOptions;
use crate::app::checks::scan::heard::Ear;
use crate::domain::changes::author::Author;
use crate::domain::changes::carried::{Carried, Line, News};
use crate::domain::changes::pending::Touched;
use crate::domain::judging::audit::Rulebook;
use crate::domain::words::error_chain::chain_of;
use crate::host::netlink::nfnetlink::events::{Events, Fact, Loss, Message};

/// After this time without the end of a transaction there is none, whatever the kernel meant: nobody is named for it.
const UNFINISHED: Duration = Duration::from_millis(100);
/// A subscription that is refused is tried again.
const RETRY: Duration = Duration::from_secs(10);

/// The state of the thread.
pub(super) struct Listener {
    shared: Arc<Shared>,
    buffer_bytes: usize,
    scan: ScanOptions,
    events: Option<(Events, Ear)>,
    touched: Touched,
    attribution: Attribution,
}

impl Listener {
    /// Subscribes; from here on changes are heard of.
    pub fn start(shared: Arc<Shared>, buffer_bytes: usize, scan: ScanOptions) -> Self {
        let mut listener = Self {
            shared,
            buffer_bytes,
            scan,
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
            let Some((mut events, mut ear)) = self.events.take() else {
                if self.shared.wait(None, Some(RETRY)) == Woken::Late {
                    self.reopen(false);
                }
                continue;
            };
            if let Err(loss) = self.listen(&mut events, &mut ear) {
                count(&self.shared.counts.losses);
                log::debug!("all rules are read again: {}", chain_of(&loss));
                drop(events);
                self.reopen(true);
            }
        }
    }

    fn open(&mut self) {
        // first heard of, then read: a message that says what was read already changes nothing
        let opened = Events::open(self.buffer_bytes)
            .and_then(|events| Ear::open(self.scan.clone()).map(|ear| (events, ear)));
        match opened {
            Ok(opened) => {
                self.events = Some(opened);
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
            self.shared.tell(&mut self.touched, None, News::missed(u64::from(has_lost)));
        }
    }

    /// Returns when stopped.
    fn listen(&mut self, events: &mut Events, ear: &mut Ear) -> Result<(), Loss> {
        loop {
            let timeout = (!self.touched.is_empty()).then_some(UNFINISHED);
            match self.shared.wait(Some(events.as_fd()), timeout) {
                Woken::Stopped => return Ok(()),
                Woken::Late => {
                    let news = news(ear.commit(&self.book()), None);
                    self.shared.tell(&mut self.touched, None, news);
                }
                Woken::Readable => loop {
                    let book = self.book();
                    let is_more = events.receive(|fact, message| self.hear((fact, message), ear, &book))?;
                    if !is_more || self.shared.is_stopped() {
                        break;
                    }
                },
            }
        }
    }

    fn book(&self) -> Rulebook {
        lock(&self.shared.book).clone()
    }

    fn hear(&mut self, (fact, message): (Fact<'_>, Message<'_>), ear: &mut Ear, book: &Rulebook) {
        if !matches!(fact, Fact::Commit { .. }) {
            ear.hear(book, message.news());
        }
        match fact {
            Fact::Chain { family, table, chain } => self.touched.chain(family, table, chain),
            Fact::Table { family, table } => self.touched.table(family, table),
            Fact::Renamed => {
                // the lines of its rules are others now, and none of them is in the message
                ear.miss();
                self.touched.everything();
            }
            Fact::Commit { generation, pid, name } => {
                let counts = &self.shared.counts;
                count(&counts.transactions);
                let author =
                    self.attribution.author((pid, name), Instant::now(), || count(&counts.unattributed));
                let news = news(ear.commit(book), Some(&author));
                self.shared.tell(&mut self.touched, Some((&author, generation)), news);
            }
        }
    }
}

/// What a transaction brought, and whose it was.
fn news((lines, missed): (Vec<Line>, u64), author: Option<&Arc<Author>>) -> News {
    let mut news = News::missed(missed);
    lines.into_iter().for_each(|line| news.add(Carried { line, author: author.cloned() }));
    news
}
