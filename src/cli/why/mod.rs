//! `monitor why 'RULE'`: which patterns allow a rule, or which come nearest; since when it stands, and who brought it.
//! Reads allowlists and, if there is one, the journal; not the node.

mod found;
mod json;
mod text;

use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

use super::arguments::AllowlistArguments;
use super::exit::Exit;
use super::history::{Paint, TextOrJson};
use crate::app::checks::allowlists::Keeper;
use crate::app::checks::history::{self, Remembered};
use crate::domain::judging::audit::Judgement;
use crate::domain::judging::typed_rule::Misread;
use crate::domain::judging::why::{Answer, Question, answer};
use crate::domain::rules::{Backend, Family};
use crate::domain::words::escape;
use crate::telemetry::log::{self as logging, LogFormat};
use found::Found;

/// Changes of the rule that are told.
const CHANGES: u32 = 10;

#[derive(Debug, clap::Args)]
pub(super) struct WhyArguments {
    /// The rule, as a report shows it: '-A INPUT -j DROP', 'inet shop input accept'; or as it is typed: 'iptables -I ...',
    /// 'nft add rule ...'.
    #[arg(allow_hyphen_values = true)]
    rule: String,
    /// Its iptables table: filter, nat, mangle, raw or security [default: the one the rule names, or filter].
    #[arg(long, value_name = "NAME", env = "MONITOR_TABLE")]
    table: Option<String>,
    /// Its family: ip or ip6 [default: as the rule says].
    #[arg(long, value_name = "FAMILY", env = "MONITOR_FAMILY", value_parser = family)]
    family: Option<Family>,
    #[command(flatten)]
    allowlists: AllowlistArguments,
    /// Directory of the agent's journal, which knows since when the rule stands.
    #[arg(long, value_name = "DIR", env = "MONITOR_STATE_DIR")]
    state_dir: Option<PathBuf>,
    /// How it looks.
    #[arg(long, value_enum, env = "MONITOR_FORMAT", default_value = "text")]
    format: TextOrJson,
}

fn family(name: &str) -> Result<Family, String> {
    Family::from_name(name)
        .ok_or_else(|| format!("no such family; there are: {}", Family::ALL.map(Family::as_str).join(", ")))
}

/// Explains one rule.
pub(super) fn run(arguments: &WhyArguments) -> anyhow::Result<Exit> {
    logging::start(LogFormat::Text, 0);
    if arguments.rule.trim().is_empty() {
        bail!("an empty rule: give a line of a report, in quotes");
    }
    let book = Keeper::new(arguments.allowlists.sources()).reload();
    let question =
        Question { rule: arguments.rule.clone(), table: arguments.table.clone(), family: arguments.family };
    let answer = answer(&book, &question).map_err(|misread| misread_error(&misread))?;
    let remembered =
        arguments.state_dir.as_deref().map(|directory| remembered(directory, &answer)).transpose()?;
    let found = Found { answer, remembered };
    let mut out = io::stdout().lock();
    let paint = Paint { is_on: out.is_terminal() && std::env::var_os("NO_COLOR").is_none() };
    let written = match arguments.format {
        TextOrJson::Text => text::render(&found, &book.problems, paint),
        TextOrJson::Json => json::render(&found, &book.problems)?,
    };
    match out.write_all(written.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
        other => other.context("printing the answer")?,
    }
    Ok(match found.answer.judgement {
        Judgement::Allowed | Judgement::Unjudged => Exit::Success,
        Judgement::Violation => Exit::Violations,
        Judgement::Undecided | Judgement::Unchecked => Exit::Unknown,
    })
}

fn misread_error(Misread { word, advice }: &Misread) -> anyhow::Error {
    anyhow::anyhow!("{}: {advice}", escape::name(word))
}

fn remembered(directory: &Path, answer: &Answer<'_>) -> anyhow::Result<Vec<(Backend, Remembered)>> {
    let mut found = Vec::new();
    for place in answer.places() {
        let known =
            history::remembered(directory, place, answer.line.as_bytes(), CHANGES).with_context(|| {
                format!("reading the journal in {}", directory.display().to_string().escape_debug())
            })?;
        found.extend(known.map(|known| (place.backend, known)));
    }
    Ok(found)
}
