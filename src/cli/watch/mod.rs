//! `monitor watch`: what changes on this node, as it happens, for a person at a terminal.
//! Tells no cluster, serves no page and keeps no journal.

mod summary;

use std::io::{self, IsTerminal, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context;
use tokio::sync::oneshot;

use super::agent::watch_settings;
use super::arguments::{AllowlistArguments, FilterArguments, ReadArguments, duration};
use super::exit::Exit;
use super::history::{Paint, TextOrJson, render_json, render_text};
use super::output::{self, Format, WriteOptions};
use crate::app::checks::history::HistoryStore;
use crate::app::checks::run::{self, Checked};
use crate::app::checks::scan::ScanOptions;
use crate::app::ending::Ending;
use crate::app::service::Shutdown;
use crate::domain::changes::ChangeSet;
use crate::domain::changes::filter::ChangeFilter;
use crate::domain::changes::history::{Change, Moment, Watch};
use crate::domain::judging::audit::DEFAULT_LIMIT;
use crate::domain::judging::report::Report;
use crate::domain::verdict::Verdict;
use crate::domain::words::escape;
use crate::telemetry::log::{self as logging, LogFormat};

/// More changes of allowed rules than these in one check are added up.
const FEW: usize = 20;
/// Of what makes the verdict unknown, so much is told; `monitor check` tells all of it.
const PROBLEMS: usize = 5;

#[derive(Debug, clap::Args)]
pub(super) struct WatchArguments {
    #[command(flatten)]
    allowlists: AllowlistArguments,
    #[command(flatten)]
    read: ReadArguments,
    /// From one check of everything to the next, whatever is heard of between; a bare number is seconds.
    #[arg(long, value_name = "DURATION", env = "MONITOR_INTERVAL", default_value = "300", value_parser = duration)]
    interval: Duration,
    /// How it looks; json: one object a line, as `monitor history --format json` prints them.
    #[arg(long, value_enum, env = "MONITOR_FORMAT", default_value = "text")]
    format: TextOrJson,
    /// Print each change of an allowed rule, also where many come at once.
    #[arg(long, env = "MONITOR_ALL", value_parser = clap::builder::BoolishValueParser::new())]
    all: bool,
    #[command(flatten)]
    filter: FilterArguments,
}

/// Prints changes until a signal, or until nobody reads them any more.
pub(super) fn run(arguments: &WatchArguments) -> anyhow::Result<Exit> {
    logging::start(LogFormat::Text, 0);
    let settings = settings(arguments);
    let cancelled = Arc::clone(&settings.scan.cancelled);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let ended = runtime.block_on(watch(settings, Screen::new(arguments)));
    cancelled.store(true, Ordering::Relaxed);
    // a thread that still reads the node ends with the process; its programs were killed
    runtime.shutdown_timeout(Duration::from_millis(500));
    ended.map(|()| Exit::Success)
}

fn settings(arguments: &WatchArguments) -> run::CheckSettings {
    run::CheckSettings {
        node: arguments.read.node(),
        sources: arguments.allowlists.sources(),
        interval: arguments.interval,
        watch: watch_settings(true),
        scan: ScanOptions {
            dump_timeout: arguments.read.dump_timeout,
            nftables: arguments.read.nftables,
            hooks: arguments.read.hooks(),
            limit: DEFAULT_LIMIT,
            cancelled: Arc::new(AtomicBool::new(false)),
        },
        blocked_map: None,
        terminate_on_success: false,
    }
}

async fn watch(settings: run::CheckSettings, mut screen: Screen) -> anyhow::Result<()> {
    let (failed, failure) = oneshot::channel();
    let mut failed = Some(failed);
    let tell = |checked: &Checked| {
        if let Err(error) = screen.show(checked)
            && let Some(failed) = failed.take()
        {
            // the receiver lives as long as this loop
            let _ = failed.send(error);
        }
    };
    let mut shutdown = Shutdown::install().context("asking to hear of SIGTERM and SIGINT")?;
    let stop = async {
        shutdown.wait().await;
        Ending::Stopped
    };
    let watching = run::run(settings, Arc::new(HistoryStore::none()), None, None, tell, stop);
    tokio::select! {
        ended = watching => ended.map(drop).context("checking this node"),
        Ok(error) = failure => match error.kind() {
            // the reader, such as head(1), has seen enough
            io::ErrorKind::BrokenPipe => Ok(()),
            _ => Err(error).context("printing what changed"),
        },
    }
}

/// Standard output, and what was printed there.
struct Screen {
    format: TextOrJson,
    paint: Paint,
    few: usize,
    filter: ChangeFilter,
    last: Option<Verdict>,
}

impl Screen {
    fn new(arguments: &WatchArguments) -> Self {
        let is_on = io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        let few = if arguments.all { usize::MAX } else { FEW };
        let filter = arguments.filter.filter();
        Self { format: arguments.format, paint: Paint { is_on }, few, filter, last: None }
    }

    /// Prints what is new. A check that found nothing prints nothing.
    fn show(&mut self, checked: &Checked) -> io::Result<()> {
        let report = &checked.report;
        let mut out = match (&self.last, &checked.changes) {
            (None, _) => self.beginning(report)?,
            (Some(_), Some(set)) => self.changes(set)?,
            (Some(_), None) => Vec::new(),
        };
        let before = self.last.replace(report.verdict());
        if self.format == TextOrJson::Text && before != self.last && report.verdict() == Verdict::Unknown {
            out.extend(problems(report).into_bytes());
        }
        if out.is_empty() {
            return Ok(());
        }
        let mut stdout = io::stdout().lock();
        stdout.write_all(&out)?;
        stdout.flush()
    }

    fn beginning(&self, report: &Report) -> io::Result<Vec<u8>> {
        let mut out = Vec::new();
        match self.format {
            TextOrJson::Text => {
                let options = WriteOptions { color: self.paint.is_on, limit: DEFAULT_LIMIT, quiet: true };
                output::write(report, Format::Text, &options, &mut out)?;
                out.extend(b"changes follow as they happen; Ctrl-C ends it\n");
            }
            TextOrJson::Json => out.extend(render_json(&first(report))?.into_bytes()),
        }
        Ok(out)
    }

    fn changes(&self, set: &ChangeSet) -> io::Result<Vec<u8>> {
        // another verdict is told whatever was asked for
        let is_turn = set.before != Some(set.after);
        let all = Moment::from(set);
        let mut moment = match self.filter.of(all.clone()) {
            Some(moment) => moment,
            None if is_turn => Moment { changes: Vec::new(), ..all },
            None => return Ok(Vec::new()),
        };
        if self.format == TextOrJson::Json {
            return Ok(render_json(&moment)?.into_bytes());
        }
        let is_allowed = |change: &Change| change.judged.is_allowed();
        let is_many = moment.changes.iter().filter(|change| is_allowed(change)).count() > self.few;
        let added_up = if is_many {
            let (allowed, others) = moment.changes.into_iter().partition::<Vec<_>, _>(is_allowed);
            moment.changes = others;
            summary::of(&allowed)
        } else {
            String::new()
        };
        Ok((render_text(&moment, self.paint) + &added_up).into_bytes())
    }
}

/// The first check as a line of its own.
fn first(report: &Report) -> Moment {
    Moment {
        at: report.checked_at,
        watch: Watch::Resumed { since: None },
        before: None,
        after: report.verdict(),
        untold: 0,
        rewritten: 0,
        changes: Vec::new(),
    }
}

/// What makes the verdict unknown.
fn problems(report: &Report) -> String {
    let decisive: Vec<_> = report.problems.iter().filter(|problem| problem.reason.is_decisive()).collect();
    let told = decisive.iter().take(PROBLEMS).map(|problem| {
        let detail = escape::line(problem.detail.as_bytes()).text;
        format!("  ? {}: {detail}\n", problem.reason.as_str())
    });
    let more = match decisive.len().saturating_sub(PROBLEMS) {
        0 => String::new(),
        more => format!("  ? and {more} more; monitor check tells all\n"),
    };
    told.collect::<String>() + &more
}
