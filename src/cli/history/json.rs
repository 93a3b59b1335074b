//! The journal as JSON, one object a line, schema `history.v2`.
//! The wire structs are private: a change here is a change of `docs/schema/history.v2.json`.

use serde::Serialize;

use crate::domain::changes::history::{Change, Moment, Watch};
use crate::domain::changes::json::WireAuthor;
use crate::domain::verdict::Verdict;
use crate::domain::words::json::{ascii_line, hex_unless_utf8, lossy};
use crate::domain::words::moment::utc_millis;

/// The moment's check and then each of its changes.
///
/// # Errors
/// Never for a moment; serde's signature has one.
pub(crate) fn render(moment: &Moment) -> serde_json::Result<String> {
    let check = Line::Check {
        moment: WireMoment::new(moment),
        untold_changes: moment.untold,
        rewritten_rules: moment.rewritten,
    };
    let mut out = ascii_line(&check)?;
    for change in &moment.changes {
        out.push_str(&ascii_line(&Line::Change {
            moment: WireMoment::new(moment),
            change: WireChange::new(change),
        })?);
    }
    Ok(out)
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
enum Line<'a> {
    Check {
        #[serde(flatten)]
        moment: WireMoment,
        untold_changes: u64,
        #[serde(skip_serializing_if = "is_zero")]
        rewritten_rules: u64,
    },
    Change {
        #[serde(flatten)]
        moment: WireMoment,
        #[serde(flatten)]
        change: WireChange<'a>,
    },
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
const fn is_zero(count: &u64) -> bool {
    *count == 0
}

#[derive(Serialize)]
struct WireMoment {
    schema: &'static str,
    time: String,
    noticed: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    not_watched_since: Option<String>,
    verdict_before: Option<&'static str>,
    verdict_after: &'static str,
}

impl WireMoment {
    fn new(moment: &Moment) -> Self {
        let (noticed, since) = match moment.watch {
            Watch::Watched => ("watched", None),
            Watch::Resumed { since } => ("resumed", since),
            Watch::CaughtUp => ("compared", None),
        };
        Self {
            schema: "history.v2",
            time: utc_millis(moment.at),
            noticed,
            not_watched_since: since.map(utc_millis),
            verdict_before: moment.before.map(Verdict::as_str),
            verdict_after: moment.after.as_str(),
        }
    }
}

#[derive(Serialize)]
struct WireChange<'a> {
    change: &'static str,
    allowed: bool,
    judgement: &'static str,
    backend: &'static str,
    family: &'static str,
    table: &'a str,
    chain: Option<&'a str>,
    kind: &'static str,
    position: Option<u32>,
    line: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    line_hex: Option<String>,
    line_truncated: bool,
    reported_processes: Vec<WireAuthor<'a>>,
}

impl<'a> WireChange<'a> {
    fn new(change: &'a Change) -> Self {
        Self {
            change: change.happening.as_str(),
            allowed: change.judged.is_allowed(),
            judgement: change.judged.as_str(),
            backend: change.backend.as_str(),
            family: change.family.as_str(),
            table: &change.table,
            chain: change.chain.as_deref(),
            kind: change.kind.as_str(),
            position: change.position,
            line: change.line.as_deref().map(lossy),
            line_hex: change.line.as_deref().and_then(hex_unless_utf8),
            line_truncated: change.is_cut,
            reported_processes: change.authors.iter().map(|author| WireAuthor::new(author)).collect(),
        }
    }
}
