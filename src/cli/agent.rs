//! `monitor [FLAGS]`: the agent, in the foreground.
//! Reports to the terminal; a check that found nothing new is one log line.

use std::io::{IsTerminal, Write};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use super::output::{self, Format, WriteOptions};
use super::{AllowlistArguments, Exit, ReadArguments, duration};
use crate::app::monitor::{self, Ending, Settings};
use crate::app::scan::Options;
use crate::domain::audit::DEFAULT_LIMIT;
use crate::domain::report::{Report, Verdict};
use crate::telemetry::log::{self as logging, LogFormat};

#[derive(Debug, clap::Args)]
pub(super) struct AgentArguments {
    #[command(flatten)]
    allowlists: AllowlistArguments,
    #[command(flatten)]
    read: ReadArguments,
    /// From one check to the next; a bare number is seconds.
    #[arg(long, value_name = "DURATION", env = "MONITOR_INTERVAL", default_value = "300", value_parser = duration)]
    interval: Duration,
    /// Exit 0 after the first compliant check.
    #[arg(
        long, value_name = "BOOL", env = "MONITOR_TERMINATE_ON_SUCCESS", default_value = "false",
        num_args = 0..=1, require_equals = true, default_missing_value = "true", action = clap::ArgAction::Set
    )]
    terminate_on_success: bool,
    /// How much is logged: -v, -v 3 (debug), -v 5 (everything).
    #[arg(
        short = 'v', long, value_name = "N", env = "MONITOR_VERBOSITY", default_value = "0",
        num_args = 0..=1, require_equals = true, default_missing_value = "1"
    )]
    verbosity: u8,
    /// How log lines look.
    #[arg(long, value_enum, env = "MONITOR_LOG_FORMAT", default_value = "text")]
    log_format: LogFormat,
    #[command(flatten)]
    later: LaterArguments,
}

/// Flags of the older system that are read and not built yet.
#[derive(Debug, clap::Args)]
struct LaterArguments {
    /// Emit Events (not built yet).
    #[arg(
        long, value_name = "BOOL", env = "MONITOR_EVENTS", default_value = "false", hide = true,
        num_args = 0..=1, require_equals = true, default_missing_value = "true", action = clap::ArgAction::Set
    )]
    events: bool,
    /// Read the pinned counter of blocked rules (not built yet).
    #[arg(
        long, value_name = "BOOL", env = "MONITOR_CHECK_MAP", default_value = "false", hide = true,
        num_args = 0..=1, require_equals = true, default_missing_value = "true", action = clap::ArgAction::Set
    )]
    check_map: bool,
    /// Where that counter is pinned (not built yet).
    #[arg(long, value_name = "FILE", env = "MONITOR_MAP_PATH", hide = true)]
    map_path: Option<std::path::PathBuf>,
    /// Install the routes for health probe replies (not built yet).
    #[arg(
        long, value_name = "BOOL", env = "MONITOR_INSTALL_ROUTES_FOR_HEALTH_PROBE_REPLY", default_value = "false",
        hide = true, num_args = 0..=1, require_equals = true, default_missing_value = "true",
        action = clap::ArgAction::Set
    )]
    install_routes_for_health_probe_reply: bool,
}

impl LaterArguments {
    fn warn(&self) {
        let given = [
            ("--events", self.events),
            ("--check-map", self.check_map),
            ("--map-path", self.map_path.is_some()),
            ("--install-routes-for-health-probe-reply", self.install_routes_for_health_probe_reply),
        ];
        for (flag, _) in given.iter().filter(|(_, is_given)| *is_given) {
            log::warn!("{flag} does nothing yet in this version; the check itself runs");
        }
    }
}

/// Runs the agent until a signal, or until the node is compliant if that was asked for.
pub(super) fn run(arguments: &AgentArguments, warnings: &[String]) -> anyhow::Result<Exit> {
    logging::start(arguments.log_format, arguments.verbosity);
    warnings.iter().for_each(|warning| log::warn!("{warning}"));
    arguments.later.warn();
    let settings = Settings {
        node: arguments.read.node(),
        sources: arguments.allowlists.sources(),
        interval: arguments.interval,
        scan: Options {
            dump_timeout: arguments.read.dump_timeout,
            nftables: arguments.read.nftables,
            limit: DEFAULT_LIMIT,
            cancelled: Arc::new(AtomicBool::new(false)),
        },
        terminate_on_success: arguments.terminate_on_success,
    };
    let format = arguments.log_format;
    let mut last = None;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let ending = runtime.block_on(monitor::run(settings, |report| tell(report, format, &mut last)));
    // a thread that still reads the node ends with the process; its programs were killed
    runtime.shutdown_timeout(Duration::from_millis(500));
    match ending? {
        Ending::Stopped => log::info!("stopped on request"),
        Ending::Compliant => log::info!("the node is compliant: done"),
    }
    Ok(Exit::Success)
}

/// What was told last; only news is told in full.
type Told = (Verdict, String, usize);

fn tell(report: &Report, format: LogFormat, last: &mut Option<Told>) {
    let told = (report.verdict(), report.violations_hash.clone(), report.problems.len());
    let is_news = last.as_ref() != Some(&told);
    log::info!(
        verdict = report.verdict().as_str(),
        unexpected = report.violation_count,
        problems = report.problems.len(),
        rules = report.tables.iter().map(|table| table.rules).sum::<u64>();
        "{}", if is_news { "checked" } else { "checked, nothing new" }
    );
    if is_news {
        let written = match format {
            LogFormat::Text => print(report, Format::Text),
            LogFormat::Json => print(report, Format::Json),
        };
        if let Err(error) = written {
            log::warn!(error:%; "the report could not be printed");
        }
    }
    *last = Some(told);
}

fn print(report: &Report, format: Format) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    let color = out.is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let options = WriteOptions { color, limit: DEFAULT_LIMIT, quiet: false };
    output::write(report, format, &options, &mut out)?;
    out.flush()
}
