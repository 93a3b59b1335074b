//! The hidden subcommand that a kubeconfig's credential plugin runs under; the agent starts it for itself.
//! Prints what the plugin prints.

use std::ffi::OsString;
use std::io::Write;
use std::time::Duration;

use anyhow::Context;

use super::exit::Exit;
use crate::app::cluster::plugin;

#[derive(Debug, clap::Args)]
pub(super) struct PluginArguments {
    /// The process that the plugin ends with.
    master: u32,
    /// How long the plugin may take.
    seconds: u64,
    /// The plugin.
    program: OsString,
    /// Its arguments.
    args: Vec<OsString>,
}

pub(super) fn run(arguments: PluginArguments) -> anyhow::Result<Exit> {
    let PluginArguments { master, seconds, program, args } = arguments;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let output = runtime.block_on(plugin::run(master, Duration::from_secs(seconds), program, args));
    let mut out = std::io::stdout().lock();
    out.write_all(&output.context("the kubeconfig's credential plugin")?)?;
    out.flush()?;
    Ok(Exit::Success)
}
