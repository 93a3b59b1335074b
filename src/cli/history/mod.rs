//! `monitor history`: what changed on this node, when, and by whom, from the journal of the agent.
//! Needs no agent that runs, and does not disturb one that does.

mod json;
mod text;

use std::io::{self, BufWriter, IsTerminal, Write};
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use anyhow::Context;

use super::arguments::duration;
use super::exit::Exit;
use crate::app::checks::history;
use crate::domain::changes::history::Moment;
pub(super) use json::render as render_json;
pub(super) use text::{Paint, authors, render as render_text};

#[derive(Debug, clap::Args)]
pub(super) struct HistoryArguments {
    /// Directory of the agent's journal, as given to the agent.
    #[arg(long, value_name = "DIR", env = "MONITOR_STATE_DIR")]
    state_dir: PathBuf,
    /// Only what happened since so long ago: 24h, 30m, 7d [default: everything].
    #[arg(long, value_name = "DURATION", env = "MONITOR_SINCE", value_parser = duration)]
    since: Option<Duration>,
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
    let since = arguments.since.and_then(|since| SystemTime::now().checked_sub(since));
    let since = since.unwrap_or(SystemTime::UNIX_EPOCH);
    let stdout = io::stdout().lock();
    let paint = Paint { is_on: stdout.is_terminal() && std::env::var_os("NO_COLOR").is_none() };
    let mut out = BufWriter::new(stdout);
    let mut written = Ok(());
    let mut is_empty = true;
    history::read(&arguments.state_dir, since, |moment| {
        is_empty = false;
        written = write(moment, arguments.format, paint, &mut out);
        written.is_ok()
    })
    .with_context(|| {
        format!("reading the journal in {}", arguments.state_dir.display().to_string().escape_debug())
    })?;
    if is_empty && arguments.format == TextOrJson::Text {
        written = writeln!(out, "nothing was recorded in that time");
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
