//! `monitor [FLAGS]`: the agent, in the foreground.
//! What it prints of its checks is [`super::told`]'s.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use super::arguments::{AllowlistArguments, ReadArguments, duration};
use super::compat::tailer::{self, TailerSettings, TailerSource};
use super::drops::{MatchArguments, utc_offset_seconds};
use super::exit::Exit;
use super::told::Told;
use crate::app::agent::{self, Listen};
use crate::app::checks::blocked::DEFAULT_MAP;
use crate::app::checks::history::MIN_LIMIT_BYTES;
use crate::app::checks::run::{self, Checked};
use crate::app::checks::scan::ScanOptions;
use crate::app::checks::watch;
use crate::app::cluster::{self, EventsDetail, LabelTarget, NetnsCheck, Sink, Surroundings};
use crate::app::drops::source::{Begin, How, SourceSpec};
use crate::app::drops::{followers, service};
use crate::app::ending::Ending;
use crate::app::peers;
use crate::domain::cluster::label::{DEFAULT_KEY, is_reserved_key, is_valid_key};
use crate::domain::judging::audit::DEFAULT_LIMIT;
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
    /// Whether changes are heard of and checked as they are made; the interval stays.
    #[arg(
        long, value_name = "BOOL", env = "MONITOR_WATCH", default_value = "true",
        num_args = 0..=1, require_equals = true, default_missing_value = "true", action = clap::ArgAction::Set
    )]
    watch: bool,
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
    cluster: ClusterArguments,
    #[command(flatten)]
    listen: ListenArguments,
    #[command(flatten)]
    state: StateArguments,
    #[command(flatten)]
    drops: DropsArguments,
    #[command(flatten)]
    older: OlderArguments,
}

/// What is followed of drops.
#[derive(Debug, clap::Args)]
struct DropsArguments {
    /// Follow the firewall's log: file:PATH, journal, journal:DIR, kmsg, nflog:GROUP; repeatable [default: none].
    #[arg(long, value_name = "SOURCE", env = "MONITOR_DROPS_SOURCE", value_delimiter = ',')]
    drops_source: Vec<SourceSpec>,
    #[command(flatten)]
    matching: MatchArguments,
    /// Which pods drops are named by: those of this node, or all.
    #[arg(long, value_enum, default_value = "cluster", env = "MONITOR_PODS")]
    pods: Pods,
    /// Whether the DNS is asked for the names of other addresses.
    #[arg(
        long, value_name = "BOOL", env = "MONITOR_DROPS_DNS", default_value = "true",
        num_args = 0..=1, require_equals = true, default_missing_value = "true", action = clap::ArgAction::Set
    )]
    drops_dns: bool,
    /// Follow drops and check no rules, as kube-iptables-tailer does.
    #[arg(
        long, value_name = "BOOL", env = "MONITOR_DROPS_ONLY", default_value = "false",
        num_args = 0..=1, require_equals = true, default_missing_value = "true", action = clap::ArgAction::Set
    )]
    drops_only: bool,
}

/// Which pods drops are named by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Pods {
    Local,
    Cluster,
}

impl DropsArguments {
    /// What is followed; none if no source is named, by a flag or by the older system's variables.
    fn settings(
        &self,
        node: &str,
        state_dir: Option<&Path>,
        older: TailerSettings,
    ) -> anyhow::Result<Option<service::DropSettings>> {
        let of_older = older.source.map(|source| match source {
            TailerSource::File(path) => SourceSpec::File(path),
            TailerSource::Journal(directory) => SourceSpec::Journal(Some(directory)),
        });
        // that system takes whatever calls itself the kernel, and its lines begin as one layout says
        let is_older = of_older.is_some();
        let sources: Vec<_> = self.drops_source.iter().cloned().chain(of_older).collect();
        if sources.is_empty() {
            anyhow::ensure!(
                !self.drops_only,
                "--drops-only needs --drops-source, IPTABLES_LOG_PATH or JOURNAL_DIRECTORY"
            );
            return Ok(None);
        }
        let parser = self.matching.parser(older.prefix.as_deref(), older.time_layout.as_deref())?;
        let how = How {
            begin: Begin::Lately(older.events.expiration),
            is_following: true,
            trusts_identifier: is_older || self.matching.trusts_identifier(),
        };
        Ok(Some(service::DropSettings {
            followers: followers::FollowSettings {
                sources,
                how,
                parser: Arc::new(parser),
                checkpoints: state_dir.map(|directory| directory.join("drops.json")),
                utc_offset_seconds: utc_offset_seconds(),
            },
            events: older.events,
            pods: peers::scope(self.pods == Pods::Local, node),
            has_dns: self.drops_dns,
            reads_rules: !self.drops_only,
            node: node.to_owned(),
        }))
    }
}

/// What outlives the process.
#[derive(Debug, clap::Args)]
struct StateArguments {
    /// Directory of the journal of changes, for `monitor history` and `monitor why` [default: no journal].
    #[arg(long, value_name = "DIR", env = "MONITOR_STATE_DIR")]
    state_dir: Option<PathBuf>,
    /// The most it may take on the disk; the oldest entries go first. 16MiB at least.
    #[arg(long, value_name = "SIZE", env = "MONITOR_STATE_LIMIT", default_value = "64MiB", value_parser = state_limit)]
    state_limit: u64,
}

/// Bytes, or `64MiB`, `64Mi`, `1GiB`, `1Gi`.
fn state_limit(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let unit = match text.strip_prefix(digits).unwrap_or_default() {
        "" => 1,
        "KiB" | "Ki" => 1 << 10,
        "MiB" | "Mi" => 1 << 20,
        "GiB" | "Gi" => 1 << 30,
        _ => return Err("not a size, such as 64MiB".to_owned()),
    };
    let bytes = digits.parse::<u64>().ok().and_then(|count| count.checked_mul(unit));
    match bytes {
        Some(bytes @ MIN_LIMIT_BYTES..=MAX_STATE_BYTES) => Ok(bytes),
        Some(_) => Err("it must be between 16MiB and 64GiB".to_owned()),
        None => Err("not a size, such as 64MiB".to_owned()),
    }
}

/// What the cluster is told.
#[derive(Debug, clap::Args)]
struct ClusterArguments {
    /// Where outcomes go; auto: to the API server in a pod or with KUBECONFIG, else to the terminal only.
    #[arg(long, value_enum, default_value = "auto", env = "MONITOR_SINK")]
    sink: Sink,
    /// Label to keep: false, true or unknown; repeatable.
    #[arg(
        long, value_name = "KEY", env = "MONITOR_LABEL", default_value = DEFAULT_KEY, value_delimiter = ',',
        value_parser = label_key
    )]
    label: Vec<String>,
    /// Which objects carry the label.
    #[arg(long, value_enum, default_value = "ciliumnode", env = "MONITOR_LABEL_TARGET")]
    label_target: LabelTarget,
    /// Events and metrics, no label: for a first roll-out.
    #[arg(
        long, value_name = "BOOL", env = "MONITOR_REPORT_ONLY", default_value = "false",
        num_args = 0..=1, require_equals = true, default_missing_value = "true", action = clap::ArgAction::Set
    )]
    report_only: bool,
    /// When a signal ends the agent, let the label say unknown: nobody keeps it then.
    #[arg(
        long, value_name = "BOOL", env = "MONITOR_UNKNOWN_ON_EXIT", default_value = "false",
        num_args = 0..=1, require_equals = true, default_missing_value = "true", action = clap::ArgAction::Set
    )]
    unknown_on_exit: bool,
    /// Write Events about the Node.
    #[arg(
        long, value_name = "BOOL", env = "MONITOR_EVENTS", default_value = "false",
        num_args = 0..=1, require_equals = true, default_missing_value = "true", action = clap::ArgAction::Set
    )]
    events: bool,
    /// What Events say; count: no rule text, for clusters where Events are widely readable.
    #[arg(long, value_enum, default_value = "full", env = "MONITOR_EVENTS_DETAIL")]
    events_detail: EventsDetail,
    /// Whether evidence is required that this is the network namespace of the Node; auto: in a pod.
    #[arg(long, value_enum, default_value = "auto", env = "MONITOR_NETNS_CHECK")]
    netns_check: NetnsCheck,
}

impl ClusterArguments {
    fn settings(&self, node: &str) -> cluster::ClusterSettings {
        cluster::ClusterSettings {
            sink: self.sink,
            api_server: None,
            node: node.to_owned(),
            labels: self.label.clone(),
            label_target: self.label_target,
            report_only: self.report_only,
            unknown_on_exit: self.unknown_on_exit,
            events: self.events,
            events_detail: self.events_detail,
            netns_check: self.netns_check,
        }
    }
}

fn label_key(key: &str) -> Result<String, String> {
    match key {
        _ if !is_valid_key(key) => Err("not the key of a Kubernetes label".to_owned()),
        _ if is_reserved_key(key) => {
            Err("Kubernetes keeps this key for itself; take one of your own".to_owned())
        }
        _ => Ok(key.to_owned()),
    }
}

/// Where pages are served.
#[derive(Debug, clap::Args)]
struct ListenArguments {
    /// Address of the page, /status, /metrics, /healthz and /readyz, or off [default: 127.0.0.1:9191].
    #[arg(long, value_name = "ADDRESS", env = "MONITOR_LISTEN", value_parser = address_or_off)]
    listen: Option<Listen>,
    /// Address of /metrics, /healthz and /readyz alone, or off [default: off].
    #[arg(long, value_name = "ADDRESS", env = "MONITOR_METRICS_LISTEN", value_parser = address_or_off)]
    metrics_listen: Option<Listen>,
}

fn address_or_off(text: &str) -> Result<Listen, String> {
    match text {
        "off" => Ok(Listen::Off),
        _ => text.parse().map(Listen::Required).map_err(|_| "not ADDRESS:PORT, nor off".to_owned()),
    }
}

/// Flags of the older system.
#[derive(Debug, clap::Args)]
struct OlderArguments {
    /// Count the rules that an eBPF program blocks: its counter is read at each check.
    #[arg(
        long, value_name = "BOOL", env = "MONITOR_CHECK_MAP", default_value = "false",
        num_args = 0..=1, require_equals = true, default_missing_value = "true", action = clap::ArgAction::Set
    )]
    check_map: bool,
    /// Where that counter is pinned: an eBPF array whose key 0 holds a number of 64 bits.
    #[arg(long, value_name = "FILE", env = "MONITOR_MAP_PATH", default_value = DEFAULT_MAP)]
    map_path: PathBuf,
    /// At the start, add the routes that health probe replies of the cloud's load balancer need.
    #[arg(
        long, value_name = "BOOL", env = "MONITOR_INSTALL_ROUTES_FOR_HEALTH_PROBE_REPLY", default_value = "false",
        num_args = 0..=1, require_equals = true, default_missing_value = "true", action = clap::ArgAction::Set
    )]
    install_routes_for_health_probe_reply: bool,
}

/// Runs the agent until a signal, or until the node is compliant if that was asked for.
pub(super) fn run(arguments: &AgentArguments, warnings: &[String]) -> anyhow::Result<Exit> {
    logging::start(arguments.log_format, arguments.verbosity);
    warnings.iter().for_each(|warning| log::warn!("{warning}"));
    let older = TailerSettings::of_process()?;
    if let Some(level) = older.log_level {
        log::set_max_level(level);
    }
    let settings = settings(arguments, older)?;
    let mut told = Told::new(arguments.log_format);
    let tell = move |checked: &Checked| told.tell(checked);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let ending = runtime.block_on(agent::run(settings, tell));
    // a thread that still reads the node ends with the process; its programs were killed
    runtime.shutdown_timeout(Duration::from_millis(500));
    match ending? {
        Ending::Stopped => log::info!("stopped on request"),
        Ending::Compliant => log::info!("the node is compliant: done"),
    }
    Ok(Exit::Success)
}

fn settings(arguments: &AgentArguments, older: TailerSettings) -> anyhow::Result<agent::AgentSettings> {
    let node = arguments.read.node();
    let drops_only = arguments.drops.drops_only;
    // where the older system serves its metrics: on every address
    let older_port = older.metrics_port.or(drops_only.then_some(tailer::METRICS_PORT));
    let older_listen = older_port.map(|port| SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), port));
    let api_server = older.api_server.clone();
    Ok(agent::AgentSettings {
        drops: arguments.drops.settings(&node, arguments.state.state_dir.as_deref(), older)?,
        has_checks: !drops_only,
        cluster: cluster::ClusterSettings { api_server, ..arguments.cluster.settings(&node) },
        surroundings: Surroundings::of(|name| std::env::var_os(name)),
        listen: arguments.listen.listen.unwrap_or(Listen::Preferred(DEFAULT_LISTEN)),
        metrics_listen: match arguments.listen.metrics_listen {
            Some(Listen::Required(address)) => Some(address),
            Some(_) => None,
            None => older_listen,
        },
        build: (VERSION.to_owned(), option_env!("MONITOR_COMMIT").unwrap_or_default().to_owned()),
        state_dir: arguments.state.state_dir.clone(),
        state_limit_bytes: arguments.state.state_limit,
        installs_routes: arguments.older.install_routes_for_health_probe_reply,
        monitor: run::CheckSettings {
            node,
            sources: arguments.allowlists.sources(),
            interval: arguments.interval,
            watch: watch_settings(arguments.watch && !arguments.terminate_on_success),
            scan: ScanOptions {
                dump_timeout: arguments.read.dump_timeout,
                nftables: arguments.read.nftables,
                hooks: arguments.read.hooks(),
                limit: DEFAULT_LIMIT,
                cancelled: Arc::new(AtomicBool::new(false)),
            },
            blocked_map: arguments.older.check_map.then(|| arguments.older.map_path.clone()),
            terminate_on_success: arguments.terminate_on_success,
        },
    })
}

/// How changes are heard of.
pub(super) fn watch_settings(is_wanted: bool) -> Option<watch::WatchSettings> {
    is_wanted.then(watch::WatchSettings::default)
}

const MAX_STATE_BYTES: u64 = 64 << 30;
const DEFAULT_LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9191);
const VERSION: &str = env!("CARGO_PKG_VERSION");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_journal_has_a_size() {
        for (text, bytes) in
            [("64MiB", 64 << 20), ("16777216", 16 << 20), ("20000Ki", 20_000 << 10), ("1Gi", 1 << 30)]
        {
            assert_eq!(state_limit(text), Ok(bytes));
        }
        for wrong in
            ["", "0", "15MiB", "MiB", "64 MiB", "64MB", "-64MiB", "1e9", "65GiB", "99999999999999999999"]
        {
            assert!(state_limit(wrong).is_err(), "{wrong}");
        }
    }
}
