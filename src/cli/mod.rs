//! The command line: arguments, subcommands and the writers of their output.
//! Nothing imports this layer; it alone writes to standard output.

mod agent;
mod arguments;
mod check;
pub mod compat;
mod credential_plugin;
mod drops;
mod exit;
mod history;
mod manifests;
pub mod output;
mod told;
mod watch;
mod why;

use std::ffi::{OsStr, OsString};
use std::io::{ErrorKind, Write};
use std::sync::LazyLock;

use clap::builder::Resettable;
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::app::cluster::plugin;
use compat::azure;
pub use exit::Exit;

/// The version, with the commit it was built from where the build knows it.
static VERSION: LazyLock<String> = LazyLock::new(|| {
    let version = env!("CARGO_PKG_VERSION");
    match option_env!("MONITOR_COMMIT").filter(|commit| !commit.is_empty()) {
        Some(commit) => format!("{version} (commit {commit})"),
        None => version.to_owned(),
    }
});

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
    /// Run the credential plugin of a kubeconfig; the agent runs it for itself.
    #[command(name = plugin::SUBCOMMAND, hide = true)]
    CredentialPlugin(credential_plugin::PluginArguments),
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

/// Parses the arguments, does what they say and tells how to end.
///
/// # Errors
/// What cannot be done, with the reason; the caller prints it and ends with [`Exit::Usage`].
pub fn run(args: impl Iterator<Item = OsString>) -> anyhow::Result<Exit> {
    let (args, warnings) = azure::translate(args);
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
        Some(Command::CredentialPlugin(arguments)) => credential_plugin::run(arguments),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_consistent() {
        Arguments::command().debug_assert();
    }
}
