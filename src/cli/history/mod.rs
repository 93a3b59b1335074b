//! `monitor history`: what changed on this node, when, and by whom, from the journal of the agent.
//! Needs no agent that runs, and does not disturb one that does.

mod json;
mod text;

use std::collections::VecDeque;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use anyhow::Context;

use super::arguments::{FilterArguments, When, until, when};
use super::exit::Exit;
use crate::app::checks::history;
use crate::domain::changes::history::Moment;
pub(super) use json::render as render_json;
pub(super) use text::{Paint, authors, render as render_text};

const A_CENTURY: Duration = Duration::from_secs(100 * 366 * 86_400);

#[derive(Debug, clap::Args)]
pub(super) struct HistoryArguments {
    /// Directory of the agent's journal, as given to the agent.
    #[arg(long, value_name = "DIR", env = "MONITOR_STATE_DIR")]
    state_dir: PathBuf,
    /// Only what happened since then: so long ago (24h, 30m, 7d), or a moment (2026-11-21T10:16:24Z) [default: everything].
    #[arg(long, value_name = "TIME", env = "MONITOR_SINCE", value_parser = when)]
    since: Option<When>,
    /// Only what happened until then, given as with --since [default: now].
    #[arg(long, value_name = "TIME", env = "MONITOR_UNTIL", value_parser = until)]
    until: Option<When>,
    /// Only the last so many checks that found something.
    #[arg(short = 'n', long, value_name = "NUMBER", env = "MONITOR_LAST", value_parser = clap::value_parser!(u32).range(1..))]
    last: Option<u32>,
    #[command(flatten)]
    filter: FilterArguments,
    /// How it looks.
    #[arg(long, value_enum, env = "MONITOR_FORMAT", default_value = "text")]
    format: TextOrJson,
}

/// The two formats of history and why.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum TextOrJson {
    /// For people.
    #[default]
    Text,
    /// For programs.
    Json,
}

/// Prints the journal, the newest last.
pub(super) fn run(arguments: &HistoryArguments) -> anyhow::Result<Exit> {
    let now = SystemTime::now();
    let since = arguments.since.map_or(SystemTime::UNIX_EPOCH, |since| since.of(now));
    // a clock that was put back has left later moments
    let until = arguments.until.map_or(now + A_CENTURY, |until| until.of(now));
    let filter = arguments.filter.filter();
    let last = arguments.last.map_or(usize::MAX, |last| usize::try_from(last).unwrap_or(usize::MAX));
    let stdout = io::stdout().lock();
    let paint = Paint { is_on: stdout.is_terminal() && std::env::var_os("NO_COLOR").is_none() };
    let mut out = BufWriter::new(stdout);
    let mut written = Ok(());
    let mut is_empty = true;
    let mut waiting = VecDeque::new();
    history::read(&arguments.state_dir, &(since..=until), |moment| {
        let Some(moment) = filter.of(moment) else { return true };
        is_empty = false;
        if last < usize::MAX {
            if waiting.len() >= last {
                waiting.pop_front();
            }
            waiting.push_back(moment);
        } else {
            written = write(&moment, arguments.format, paint, &mut out);
        }
        written.is_ok()
    })
    .with_context(|| {
        format!("reading the journal in {}", arguments.state_dir.display().to_string().escape_debug())
    })?;
    for moment in &waiting {
        written = written.and_then(|()| write(moment, arguments.format, paint, &mut out));
    }
    if is_empty && arguments.format == TextOrJson::Text {
        let what = if filter.is_empty() { "nothing" } else { "nothing of that kind" };
        written = writeln!(out, "{what} was recorded in that time");
    }
    match written.and_then(|()| out.flush()) {
        // the reader, such as head(1), has seen enough
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(Exit::Success),
        other => other.context("printing the journal")?,
    }
    Ok(Exit::Success)
}

fn write(moment: &Moment, format: TextOrJson, paint: Paint, out: &mut impl Write) -> io::Result<()> {
    match format {
        TextOrJson::Text => out.write_all(text::render(moment, paint).as_bytes()),
        TextOrJson::Json => out.write_all(json::render(moment)?.as_bytes()),
    }
}
