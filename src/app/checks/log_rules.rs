//! The rules that log, from what the reader of the node keeps.
//! Reads the node itself only for programs that run once.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use super::allowlists::{Ipv6Mode, Keeper, Sources};
use super::scan::{Hooks, NodeReader, ScanOptions};
use crate::domain::changes::Scope;
use crate::domain::drops::advise::Survey;
use crate::domain::drops::rules::RuleIndex;
use crate::domain::judging::audit::Text;
use crate::domain::rules::{Backend, Entry, Family, Problem};

/// One dump takes no longer.
const DUMP_TIMEOUT: Duration = Duration::from_secs(10);

/// An index of the rules that log, of what was read last.
pub fn index(reader: &NodeReader) -> RuleIndex {
    let mut builder = RuleIndex::builder();
    each(reader, |backend, family, entry| builder.line(backend, family, entry));
    builder.build()
}

/// What advice is made of, of what was read last.
pub fn survey(reader: &NodeReader) -> Survey {
    let mut survey = Survey::default();
    each(reader, |backend, family, entry| survey.line(backend, family, entry));
    survey
}

/// Reads this node once, and says what could not be read.
pub fn read() -> (NodeReader, Vec<Problem>) {
    let sources =
        Sources { input: None, input6: None, profiles: vec!["base".to_owned()], ipv6: Ipv6Mode::True };
    let options = ScanOptions {
        dump_timeout: DUMP_TIMEOUT,
        nftables: true,
        hooks: Hooks::Unread,
        limit: 0,
        cancelled: Arc::<AtomicBool>::default(),
    };
    let mut reader = NodeReader::new(options);
    let scan = reader.check(&Keeper::new(sources).reload(), &Scope::Everything);
    (reader, scan.outcome.problems)
}

fn each(reader: &NodeReader, mut visit: impl FnMut(Backend, Family, &Entry<'_>)) {
    let rules = reader.lines().filter(|(place, _)| place.backend != Backend::Netfilter);
    for (place, line) in rules {
        if let Text::Kept(text) = line.text {
            let entry = Entry {
                kind: line.kind,
                table: place.table,
                chain: place.chain,
                position: line.position,
                line: text,
            };
            visit(place.backend, place.family, &entry);
        }
    }
}
