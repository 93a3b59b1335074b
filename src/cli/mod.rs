//! The command line: arguments, subcommands and the writers of their output.
//! Nothing imports this layer; it alone writes to standard output.

mod agent;
mod check;
pub mod compat;
mod drops;
mod history;
mod manifests;
pub mod output;
mod watch;
mod why;

use std::ffi::{OsStr, OsString};
use std::io::{ErrorKind, Write};
use std::path::PathBuf;
use std::sync::LazyLock;
use std::time::Duration;

use clap::builder::Resettable;
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::app::checks::allowlists::{Ipv6Mode, Sources};
use crate::domain::judging::profiles;

/// The version, with the commit it was built from where the build knows it.
static VERSION: LazyLock<String> = LazyLock::new(|| {
    let version = env!("CARGO_PKG_VERSION");
    match option_env!("MONITOR_COMMIT").filter(|commit| !commit.is_empty()) {
        Some(commit) => format!("{version} (commit {commit})"),
        None => version.to_owned(),
    }
});

/// How the program ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Everything was read and is allowed, or the agent was asked to stop.
    Success = 0,
    /// Rules that no pattern allows.
    Violations = 1,
    /// Wrong usage, missing input or a broken allowlist.
    Usage = 2,
    /// Not everything was read and understood.
    Unknown = 3,
}

/// Checks every iptables and nftables rule of this node against allowlists, and never calls a node compliant that was
/// not fully read and understood.
#[derive(Debug, Parser)]
#[command(
    name = "monitor",
    args_conflicts_with_subcommands = true,
    args_override_self = true,
    max_term_width = 100
)]
struct Arguments {
    #[command(flatten)]
    agent: agent::AgentArguments,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Check this node, or saved dumps, once.
    Check(check::CheckArguments),
    /// Print the packets that the firewall logged: who, to whom, and by which rule.
    Drops(drops::DropsArguments),
    /// Print what changed on this node, when, and by whom.
    History(history::HistoryArguments),
    /// Print what changes on this node as it happens, and who is said to have done it.
    Watch(watch::WatchArguments),
    /// Explain why a rule is allowed or not, since when it stands, and who brought it.
    Why(why::WhyArguments),
    /// Print the manifests for a cluster: monitor manifests | kubectl apply -f -
    Manifests(manifests::ManifestsArguments),
    /// Print a completion script for a shell.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
}

/// Where the allowlists are, in every subcommand that judges.
#[derive(Clone, Debug, clap::Args)]
struct AllowlistArguments {
    /// Directory of the allowlist files global, nat, mangle, filter, raw, security and nftables [default: /etc/config/].
    #[arg(long, value_name = "DIR", env = "MONITOR_INPUT")]
    input: Option<PathBuf>,
    /// Directory of the allowlist files for IPv6 [default: /etc/config6/].
    #[arg(long, value_name = "DIR", env = "MONITOR_INPUT6")]
    input6: Option<PathBuf>,
    /// Built-in allowlists to add: base, kubernetes.
    #[arg(long, value_name = "NAME", value_delimiter = ',', env = "MONITOR_PROFILE", value_parser = profile)]
    profile: Vec<String>,
    /// Whether IPv6 rules are judged; auto: when the directory of --input6 exists.
    #[arg(long, value_enum, default_value = "auto", env = "MONITOR_IPV6")]
    ipv6: Ipv6Mode,
}

impl AllowlistArguments {
    fn sources(&self) -> Sources {
        Sources {
            input: self.input.clone(),
            input6: self.input6.clone(),
            // an empty environment variable is one empty name
            profiles: self.profile.iter().filter(|name| !name.is_empty()).cloned().collect(),
            ipv6: self.ipv6,
        }
    }
}

/// How this node is read, in every subcommand that reads it.
#[derive(Clone, Debug, clap::Args)]
struct ReadArguments {
    /// Whether tables that no iptables tool manages are judged too.
    #[arg(
        long, value_name = "BOOL", env = "MONITOR_NFTABLES", default_value = "true",
        num_args = 0..=1, default_missing_value = "true", action = clap::ArgAction::Set
    )]
    nftables: bool,
    /// The longest a single dump may take; a bare number is seconds.
    #[arg(long, value_name = "DURATION", env = "MONITOR_DUMP_TIMEOUT", default_value = "10s", value_parser = duration)]
    dump_timeout: Duration,
    /// The node's name in reports [default: the host name].
    #[arg(long, value_name = "NAME", env = "MONITOR_NODE_NAME")]
    node_name: Option<String>,
}

impl ReadArguments {
    /// The name given, that of the older system's environment variable, or the host's.
    fn node(&self) -> String {
        let older = || std::env::var("NODE_NAME").ok().filter(|name| !name.is_empty());
        let host = || rustix::system::uname().nodename().to_string_lossy().into_owned();
        self.node_name.clone().or_else(older).unwrap_or_else(host)
    }
}

/// Parses the arguments, does what they say and tells how to end.
///
/// # Errors
/// What cannot be done, with the reason; the caller prints it and ends with [`Exit::Usage`].
pub fn run(args: impl Iterator<Item = OsString>) -> anyhow::Result<Exit> {
    let (args, warnings) = compat::translate(args);
    let command = without_empty_variables(Arguments::command().version(VERSION.as_str()));
    let matches = match command.try_get_matches_from(args) {
        Ok(matches) => matches,
        Err(error) => {
            unless_nobody_reads(error.print())?;
            return Ok(if error.use_stderr() { Exit::Usage } else { Exit::Success });
        }
    };
    let arguments = Arguments::from_arg_matches(&matches)?;
    match arguments.command {
        None => agent::run(&arguments.agent, &warnings),
        Some(Command::Check(check)) => check::run(&check),
        Some(Command::Drops(drops)) => drops::run(&drops),
        Some(Command::History(arguments)) => history::run(&arguments),
        Some(Command::Watch(arguments)) => watch::run(&arguments),
        Some(Command::Why(arguments)) => why::run(&arguments),
        Some(Command::Manifests(arguments)) => manifests::run(&arguments),
        Some(Command::Completions { shell }) => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Arguments::command(), "monitor", &mut script);
            unless_nobody_reads(std::io::stdout().write_all(&script))?;
            Ok(Exit::Success)
        }
    }
}

/// An empty environment variable counts as unset, as in the older systems.
fn without_empty_variables(command: clap::Command) -> clap::Command {
    let is_empty = |name: &OsStr| std::env::var_os(name).is_some_and(|value| value.is_empty());
    let command = command.mut_args(|arg| match arg.get_env().is_some_and(is_empty) {
        true => arg.env(Resettable::Reset),
        false => arg,
    });
    command.mut_subcommands(without_empty_variables)
}

/// A reader that goes away, as `head` does, has what it wants.
fn unless_nobody_reads(written: std::io::Result<()>) -> std::io::Result<()> {
    written.or_else(|error| if error.kind() == ErrorKind::BrokenPipe { Ok(()) } else { Err(error) })
}

/// A bare number is seconds; else `5m`, `1h30m`, `10s`.
fn duration(text: &str) -> Result<Duration, String> {
    let parsed = match text.parse::<u64>() {
        Ok(seconds) => Ok(Duration::from_secs(seconds)),
        Err(_) => humantime::parse_duration(text).map_err(|error| error.to_string()),
    };
    match parsed {
        Ok(duration) if duration.is_zero() => Err("it must be longer than nothing".to_owned()),
        Ok(duration) if duration > Duration::from_secs(366 * 86_400) => {
            Err("it must be at most a year".to_owned())
        }
        other => other,
    }
}

fn profile(name: &str) -> Result<String, String> {
    if name.is_empty() || profiles::names().any(|known| known == name) {
        return Ok(name.to_owned());
    }
    Err(format!("no such profile; there are: {}", profiles::names().collect::<Vec<_>>().join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn durations_are_seconds_or_have_units() {
        assert_eq!(duration("300"), Ok(Duration::from_secs(300)));
        assert_eq!(duration("5m"), Ok(Duration::from_secs(300)));
        assert_eq!(duration("1h30m"), Ok(Duration::from_secs(5400)));
        for wrong in ["", "0", "0s", "-3", "5 apples", "1e9", "99999999999"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }
}
