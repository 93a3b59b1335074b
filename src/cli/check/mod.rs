//! `monitor check`: one check of this node or of saved dumps, for people and for CI.
//! Needs no cluster.

mod compare;

use std::fs::File;
use std::io::{self, BufWriter, IsTerminal, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::SystemTime;

use anyhow::{Context, bail};

use super::arguments::{AllowlistArguments, ReadArguments};
use super::exit::Exit;
use super::output::{self, Format, WriteOptions};
use super::unless_nobody_reads;
use crate::app::checks::allowlists::Keeper;
use crate::app::checks::compare::compare;
use crate::app::checks::run;
use crate::app::checks::scan::saved::{self, Source};
use crate::app::checks::scan::{Hooks, ScanOptions};
use crate::domain::judging::audit::{DEFAULT_LIMIT, Rulebook};
use crate::domain::judging::report::Report;
use crate::domain::rules::{Family, Reason};
use crate::domain::verdict::Verdict;
use crate::domain::words::escape;
use crate::telemetry::log::{self as logging, LogFormat};

#[derive(Debug, clap::Args)]
pub(super) struct CheckArguments {
    /// A saved dump to check instead of this node: iptables-save, `nft -j list ruleset`, or the text of `nft list ruleset`; `-`
    /// is standard input.
    #[arg(long, value_name = "FILE", env = "MONITOR_RULES")]
    rules: Vec<PathBuf>,
    /// A saved dump of ip6tables-save to check instead of this node; `-` is standard input.
    #[arg(long, value_name = "FILE", env = "MONITOR_RULES6")]
    rules6: Vec<PathBuf>,
    #[command(flatten)]
    allowlists: AllowlistArguments,
    #[command(flatten)]
    read: ReadArguments,
    /// How the report looks.
    #[arg(long, value_enum, env = "MONITOR_FORMAT", default_value = "text")]
    format: Format,
    /// Write the report, with every violation, to this file instead.
    #[arg(long, value_name = "FILE", env = "MONITOR_OUTPUT")]
    output: Option<PathBuf>,
    /// Print the verdict only.
    #[arg(long, env = "MONITOR_QUIET", value_parser = clap::builder::BoolishValueParser::new())]
    quiet: bool,
    /// Judge nothing, but print where the installed iptables-save, ip6tables-save (both backends) and `nft -j` say something
    /// else than the kernel, as text; each may run for as long as --dump-timeout. Exit code 0: they say the same. 1: they do
    /// not. 3: one is missing or failed, or the kernel was not read in full.
    #[arg(
        long, env = "MONITOR_COMPARE", value_parser = clap::builder::BoolishValueParser::new(),
        conflicts_with_all = ["rules", "rules6"]
    )]
    compare: bool,
    /// What makes the exit code other than 0.
    #[arg(long, value_enum, env = "MONITOR_FAIL_ON", default_value = "unknown")]
    fail_on: FailOn,
}

/// The mildest verdict that fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum FailOn {
    /// Unexpected rules only: a verdict of unknown passes.
    Violations,
    /// Also when not everything was read and understood.
    Unknown,
}

/// Checks once and reports.
pub(super) fn run(arguments: &CheckArguments) -> anyhow::Result<Exit> {
    logging::start(LogFormat::Text, 0);
    if arguments.compare {
        return compare_node(arguments);
    }
    let book = Keeper::new(arguments.allowlists.sources()).reload();
    let limit = if arguments.output.is_some() { usize::MAX } else { DEFAULT_LIMIT };
    let report = if arguments.rules.is_empty() && arguments.rules6.is_empty() {
        check_node(arguments, &book, limit)
    } else {
        check_files(arguments, &book, limit)?
    };
    write(arguments, &report, limit)?;
    Ok(exit(arguments.fail_on, &report, &book))
}

fn scan_options(arguments: &CheckArguments, limit: usize) -> ScanOptions {
    ScanOptions {
        dump_timeout: arguments.read.dump_timeout,
        nftables: arguments.read.nftables,
        hooks: arguments.read.hooks(),
        limit,
        cancelled: Arc::new(AtomicBool::new(false)),
    }
}

fn compare_node(arguments: &CheckArguments) -> anyhow::Result<Exit> {
    // the tools say nothing of them
    let options = ScanOptions { hooks: Hooks::Unread, ..scan_options(arguments, usize::MAX) };
    let comparison = match compare(&options) {
        Ok(comparison) => comparison,
        Err(error) => {
            let mut stderr = io::stderr().lock();
            // nobody is left to tell if this fails
            let _ =
                writeln!(stderr, "monitor: comparing: {}", escape::line(error.to_string().as_bytes()).text);
            return Ok(Exit::Unknown);
        }
    };
    let text = compare::text(&comparison, &arguments.read.node(), DEFAULT_LIMIT);
    unless_nobody_reads(io::stdout().write_all(text.as_bytes())).context("printing the comparison")?;
    Ok(if comparison.differences.is_empty() { Exit::Success } else { Exit::Violations })
}

fn check_node(arguments: &CheckArguments, book: &Rulebook, limit: usize) -> Report {
    run::check_once(book, &scan_options(arguments, limit), &arguments.read.node())
}

fn check_files(arguments: &CheckArguments, book: &Rulebook, limit: usize) -> anyhow::Result<Report> {
    let files = arguments.rules.iter().map(|path| (path, Family::Ip));
    let files6 = arguments.rules6.iter().map(|path| (path, Family::Ip6));
    let paths = || arguments.rules.iter().chain(&arguments.rules6);
    if paths().filter(|path| is_stdin(path)).count() > 1 {
        bail!("standard input can be given once only");
    }
    let mut sources = Vec::new();
    for (path, family) in files.chain(files6) {
        let (name, reader): (String, Box<dyn Read>) = if is_stdin(path) {
            ("standard input".to_owned(), Box::new(io::stdin()))
        } else {
            let file = File::open(path).with_context(|| format!("opening {}", shown(path)))?;
            (shown(path), Box::new(file))
        };
        sources.push(Source { name, family, reader });
    }
    let (scan, evidence) = saved::files(book, limit, arguments.read.dump_timeout, sources)?;
    Ok(run::report(scan, &arguments.read.node(), evidence, SystemTime::now()))
}

fn shown(path: &Path) -> String {
    path.display().to_string().escape_debug().to_string()
}

fn is_stdin(path: &Path) -> bool {
    path.as_os_str() == "-"
}

fn write(arguments: &CheckArguments, report: &Report, limit: usize) -> anyhow::Result<()> {
    let options = |color| WriteOptions { color, limit, quiet: arguments.quiet };
    if let Some(path) = &arguments.output {
        let context = || format!("writing the report to {}", shown(path));
        let mut out = BufWriter::new(File::create(path).with_context(context)?);
        let whole = WriteOptions { quiet: false, ..options(false) };
        output::write(report, arguments.format, &whole, &mut out).with_context(context)?;
        out.flush().with_context(context)?;
        let brief = WriteOptions { quiet: true, ..options(false) };
        return print(report, Format::Text, &brief);
    }
    let is_plain = std::env::var_os("NO_COLOR").is_some() || !io::stdout().is_terminal();
    print(report, arguments.format, &options(!is_plain))
}

fn print(report: &Report, format: Format, options: &WriteOptions) -> anyhow::Result<()> {
    let mut out = BufWriter::new(io::stdout().lock());
    match output::write(report, format, options, &mut out).and_then(|()| out.flush()) {
        // the reader, such as head(1), has seen enough
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other.context("printing the report"),
    }
}

fn exit(fail_on: FailOn, report: &Report, book: &Rulebook) -> Exit {
    let is_broken = book
        .problems
        .iter()
        .any(|problem| matches!(problem.reason, Reason::BrokenPattern | Reason::NoAllowlist));
    match report.verdict() {
        _ if is_broken => Exit::Usage,
        Verdict::Violations => Exit::Violations,
        Verdict::Unknown if fail_on == FailOn::Unknown => Exit::Unknown,
        Verdict::Unknown | Verdict::Compliant => Exit::Success,
    }
}
