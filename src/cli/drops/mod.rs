//! `monitor drops`: the firewall's log as records or a table; works without a cluster.
//! `monitor drops advise` prints rules that log what this node drops, and prints only.

mod table;

use std::io::{self, BufWriter, IsTerminal, Write};
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, RwLock};
use std::time::{Duration, Instant, SystemTime};

use anyhow::Context;

use super::arguments::duration;
use super::compat::azure;
use super::exit::Exit;
use super::history::TextOrJson;
use crate::app::checks::log_rules;
use crate::app::cluster::{Surroundings, api_server};
use crate::app::drops::folding::{Arrival, Knowledge};
use crate::app::drops::followers::{self, Followers};
use crate::app::drops::source::{Begin, How, Since, SourceSpec};
use crate::app::peers::{self, Interest, Peers};
use crate::domain::drops::accounting::{Accounting, Fate};
use crate::domain::drops::advise::render;
use crate::domain::drops::kernel_log::LogParser;
use crate::domain::drops::prefix::{Matcher, PrefixPlace};
use crate::domain::drops::record::Record;
use crate::domain::drops::rules::Via;
use crate::domain::drops::time_layout::TimeLayout;
use crate::telemetry::log::{self as logging, LogFormat};
use table::Table;

#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct DropsArguments {
    #[command(subcommand)]
    command: Option<DropsCommand>,
    /// Where drops are logged: file:PATH, journal, journal:DIR, kmsg, nflog:GROUP; repeatable.
    #[arg(
        long,
        value_name = "SOURCE",
        env = "MONITOR_DROPS_SOURCE",
        default_value = "kmsg",
        value_delimiter = ','
    )]
    source: Vec<SourceSpec>,
    #[command(flatten)]
    matching: MatchArguments,
    /// How it looks.
    #[arg(long, value_enum, env = "MONITOR_FORMAT", default_value = "text")]
    format: TextOrJson,
    /// Go on with what is logged from now on, until Ctrl-C.
    #[arg(long)]
    follow: bool,
    /// Only what was logged since so long ago: 24h, 30m, 7d.
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    since: Option<Duration>,
    /// Only packets from or to this pod: NAMESPACE/NAME. Asks the cluster for pods, as --pods cluster does.
    #[arg(long, value_name = "POD", value_parser = pod)]
    pod: Option<String>,
    /// Which pods are known by name.
    #[arg(long, value_enum, default_value = "off", env = "MONITOR_PODS")]
    pods: Pods,
    /// File that keeps where to go on after a restart [default: none].
    #[arg(long, value_name = "FILE")]
    checkpoint: Option<PathBuf>,
}

#[derive(Debug, clap::Subcommand)]
enum DropsCommand {
    /// Print safe, rate-limited rules that log what this node drops, and how to undo them. Changes nothing.
    Advise {
        /// Log to this NFLOG group instead of the kernel's log.
        #[arg(long, value_name = "GROUP")]
        nflog: Option<u16>,
    },
}

/// Which lines are about drops, in every command that follows them.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct MatchArguments {
    /// Log prefix of rules that drop; repeatable. Without any, every line of netfilter's counts.
    #[arg(
        long = "drops-prefix",
        visible_alias = "prefix",
        value_name = "TEXT",
        env = "MONITOR_DROPS_PREFIX"
    )]
    prefix: Vec<String>,
    /// Log prefix of rules that accept; repeatable.
    #[arg(
        long = "accept-prefix",
        alias = "drops-accept-prefix",
        value_name = "TEXT",
        env = "MONITOR_DROPS_ACCEPT_PREFIX"
    )]
    accept_prefix: Vec<String>,
    /// Where a prefix must be: a whole word anywhere in the line, or the start of the message.
    #[arg(
        long = "prefix-position",
        alias = "drops-prefix-position",
        value_enum,
        default_value = "word",
        env = "MONITOR_DROPS_PREFIX_POSITION"
    )]
    prefix_position: PrefixPosition,
    /// Take journal entries of any process that calls itself kernel, such as `logger -t kernel`.
    #[arg(
        long = "trust-identifier",
        alias = "drops-trust-identifier",
        env = "MONITOR_DROPS_TRUST_IDENTIFIER"
    )]
    trust_identifier: bool,
    /// How lines of a file begin: a time layout of Go's [default: the usual ones are known].
    #[arg(long = "drops-time-layout", visible_alias = "time-layout", value_name = "LAYOUT", value_parser = layout)]
    time_layout: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum PrefixPosition {
    Word,
    Start,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Pods {
    Off,
    Local,
    Cluster,
}

/// A namespace and a name, as Kubernetes allows them.
fn pod(text: &str) -> Result<String, &'static str> {
    let is_name = |name: &str| {
        let is_known = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.');
        !name.is_empty() && name.bytes().all(is_known)
    };
    match text.split_once('/') {
        Some((namespace, name)) if is_name(namespace) && is_name(name) => Ok(text.to_owned()),
        _ => Err("not NAMESPACE/NAME"),
    }
}

impl DropsArguments {
    /// What the API server is needed for.
    fn asks_for_pods(&self) -> String {
        let flag = match &self.pod {
            Some(pod) => format!("--pod {pod}"),
            None => "--pods".to_owned(),
        };
        format!("naming pods, as {flag} asks: run this in a pod, or set KUBECONFIG")
    }
}

fn layout(text: &str) -> Result<String, String> {
    TimeLayout::parse(text).map(|_| text.to_owned()).map_err(|error| error.to_string())
}

impl MatchArguments {
    /// What reads lines; `more` are prefixes and a layout of the older system.
    pub(super) fn parser(
        &self,
        prefix: Option<&str>,
        older_layout: Option<&str>,
    ) -> anyhow::Result<LogParser> {
        let position = match self.prefix_position {
            PrefixPosition::Word => PrefixPlace::WholeWordAnywhere,
            PrefixPosition::Start => PrefixPlace::StartOfMessage,
        };
        let prefixes: Vec<&str> = self.prefix.iter().map(String::as_str).chain(prefix).collect();
        let layout = match (&self.time_layout, older_layout) {
            (Some(layout), _) => Some(TimeLayout::parse(layout)?),
            (None, Some(layout)) => {
                Some(TimeLayout::parse(layout).context("reading PACKET_DROP_LOG_TIME_LAYOUT")?)
            }
            (None, None) => None,
        };
        Ok(LogParser::new(Matcher::new(&prefixes, &self.accept_prefix, position), layout))
    }

    pub(super) const fn trusts_identifier(&self) -> bool {
        self.trust_identifier
    }
}

/// Seconds that local time is ahead of UTC now.
pub(super) fn utc_offset_seconds() -> i32 {
    jiff::tz::TimeZone::system().to_offset(jiff::Timestamp::now()).seconds()
}

pub(super) fn run(arguments: &DropsArguments) -> anyhow::Result<Exit> {
    logging::start(LogFormat::Text, 0);
    if let Some(DropsCommand::Advise { nflog }) = arguments.command {
        return advise(nflog);
    }
    if !arguments.follow && arguments.source.iter().any(|source| matches!(source, SourceSpec::Nflog(_))) {
        anyhow::bail!("an NFLOG group keeps nothing: packets are only seen with --follow");
    }
    let knowledge = knowledge(arguments)?;
    let followers = followers::FollowSettings {
        sources: arguments.source.clone(),
        how: How {
            // a look back in time begins at the beginning; --follow alone with what comes
            begin: if arguments.follow && arguments.since.is_none() { Begin::Now } else { Begin::Oldest },
            is_following: arguments.follow,
            trusts_identifier: arguments.matching.trusts_identifier(),
        },
        parser: Arc::new(arguments.matching.parser(None, None)?),
        checkpoints: arguments.checkpoint.clone(),
        utc_offset_seconds: utc_offset_seconds(),
    };
    let (followers, arrivals) = Followers::start(&followers).context("following the sources")?;
    let mut out = Output::new(arguments);
    let printed = out.print(&arrivals, &followers, &knowledge);
    followers.stop();
    // what was not printed is held until the last checkpoint is kept
    let unprinted: Vec<_> = arrivals.iter().collect();
    let accounts = followers.accounts.clone();
    let followed = followers.join();
    drop(unprinted);
    // "no packet" would be a claim about what was not read
    let printed = match followed.is_err() && out.table.is_empty() {
        true => printed,
        false => printed.and_then(|()| out.end(&accounts)),
    };
    match printed {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
        printed => printed.context("printing drops")?,
    }
    followed?;
    Ok(Exit::Success)
}

fn advise(nflog: Option<u16>) -> anyhow::Result<Exit> {
    let (reader, problems) = log_rules::read();
    for problem in problems.iter().filter(|problem| problem.reason.is_decisive()) {
        log::warn!("not everything was read: {}: {}", problem.reason.as_str(), problem.detail.escape_debug());
    }
    let text = render(&log_rules::survey(&reader), nflog.map_or(Via::Log, Via::Nflog));
    match io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(Exit::Success),
        other => other.map(|()| Exit::Success).context("printing advice"),
    }
}

/// Who has which address, and which rules log, as far as that can be found out.
fn knowledge(arguments: &DropsArguments) -> anyhow::Result<Knowledge> {
    let known = Peers::new("", Duration::from_secs(24 * 3600));
    if arguments.pods != Pods::Off || arguments.pod.is_some() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let api = runtime.block_on(api_server()).with_context(|| arguments.asks_for_pods())?;
        let surroundings = Surroundings::of(|name| std::env::var_os(name));
        let node = azure::node_name().filter(|_| surroundings.is_pod);
        let node = node.unwrap_or_else(|| rustix::system::uname().nodename().to_string_lossy().into_owned());
        let scope = peers::scope(arguments.pods == Pods::Local, &node);
        runtime.block_on(known.fill(&api, &scope)).context("listing pods")?;
        // ends with the process
        let keeping = known.clone().keep(api, Interest::Addresses { pods: scope, label: None });
        std::thread::Builder::new().name("pods".into()).spawn(move || runtime.block_on(keeping))?;
    }
    let (reader, _) = log_rules::read();
    let rules = Arc::new(RwLock::new(log_rules::index(&reader)));
    Ok(Knowledge { directory: known.directory, is_watched: false, dns: None, rules, reads_rules: true })
}

/// What is printed, and when.
struct Output<'a> {
    arguments: &'a DropsArguments,
    out: BufWriter<io::Stdout>,
    table: Table,
    is_live: bool,
    drawn: Instant,
    /// Of the batch that is not on its way yet: a line is delivered when it was written, not before.
    held: Option<Arc<()>>,
}

/// The live table is drawn so often.
const DRAW: Duration = Duration::from_secs(1);

impl<'a> Output<'a> {
    fn new(arguments: &'a DropsArguments) -> Self {
        let stdout = io::stdout();
        let is_live = arguments.follow && arguments.format == TextOrJson::Text && stdout.is_terminal();
        Self {
            arguments,
            out: BufWriter::new(stdout),
            table: Table::new(arguments.pod.is_some() || arguments.since.is_some()),
            is_live,
            drawn: Instant::now(),
            held: None,
        }
    }

    /// Prints until the sources end.
    fn print(
        &mut self,
        arrivals: &Receiver<Vec<Arrival>>,
        followers: &Followers,
        knowledge: &Knowledge,
    ) -> io::Result<()> {
        loop {
            match arrivals.recv_timeout(self.pause()) {
                Ok(batch) => {
                    self.held = batch.first().map(|arrival| Arc::clone(&arrival.hold));
                    batch.into_iter().try_for_each(|arrival| self.take(arrival, knowledge))?;
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
            }
            self.tick(followers)?;
        }
    }

    fn pause(&self) -> Duration {
        if self.is_live { DRAW } else { Duration::from_millis(500) }
    }

    fn take(&mut self, arrival: Arrival, knowledge: &Knowledge) -> io::Result<()> {
        let (now, wall) = (Instant::now(), SystemTime::now());
        let Arrival { logged, accounting, .. } = arrival;
        let count = u64::from(logged.packet.repeated);
        let (src, dst) = knowledge.peers(&logged.packet, now, wall);
        let record = knowledge.record(&logged, &src, &dst);
        let is_wanted =
            Since(self.arguments.since).includes(logged.packet.at, wall) && self.is_of_pod(&record);
        if !is_wanted {
            accounting.add(Fate::Ignored, count);
            return Ok(());
        }
        if !record.complete {
            accounting.add_incomplete(count);
        }
        accounting.add(Fate::Reported, 1);
        accounting.add(Fate::Folded, count - 1);
        match self.arguments.format {
            TextOrJson::Json => {
                serde_json::to_writer(&mut self.out, &record)?;
                self.out.write_all(b"\n")?;
            }
            TextOrJson::Text if self.arguments.follow && !self.is_live => {
                self.out.write_all(table::line(&record, count).as_bytes())?;
            }
            TextOrJson::Text => self.table.add(&record, count),
        }
        Ok(())
    }

    fn is_of_pod(&self, record: &Record) -> bool {
        let is_it = |peer: &Option<String>| peer.is_some() && *peer == self.arguments.pod;
        self.arguments.pod.is_none() || is_it(&record.src_peer) || is_it(&record.dst_peer)
    }

    fn tick(&mut self, followers: &Followers) -> io::Result<()> {
        if self.is_live && self.drawn.elapsed() >= DRAW {
            self.drawn = Instant::now();
            // clears the terminal, and goes to its first line (ECMA-48: CUP, ED)
            let screen = format!("\x1b[H\x1b[2J{}", self.table.render(&followers.accounts, table::rows()));
            self.out.write_all(screen.as_bytes())?;
        }
        self.out.flush()?;
        self.held = None;
        Ok(())
    }

    /// The table, if that was not drawn all the time.
    fn end(&mut self, accounts: &[(String, Arc<Accounting>)]) -> io::Result<()> {
        if self.arguments.format == TextOrJson::Text && !self.arguments.follow {
            self.out.write_all(self.table.render(accounts, usize::MAX).as_bytes())?;
        }
        self.out.flush()
    }
}
