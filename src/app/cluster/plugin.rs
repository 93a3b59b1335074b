//! Credential plugins of a kubeconfig: each runs under a process of ours, which ends it in time and with the agent.
//! Knows nothing of credentials.

use std::ffi::OsString;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};

use crate::host::process::guard::{self, GuardError, Terms};

/// The hidden subcommand of that process.
pub const SUBCOMMAND: &str = "credential-plugin";
/// A plugin that asks a person, or a slow cloud, has this long.
const LIMIT: Duration = Duration::from_secs(30);

/// What goes before a plugin's command line: this program, also where its file was replaced meanwhile.
pub(super) fn command() -> Vec<String> {
    let (master, limit) = (std::process::id().to_string(), LIMIT.as_secs().to_string());
    ["/proc/self/exe", SUBCOMMAND, &master, &limit, "--"].map(str::to_owned).into()
}

/// Runs a plugin for the process `master`, and returns what it printed. A signal to end ends the plugin too.
///
/// # Errors
/// See [`GuardError`].
///
/// # Panics
/// Outside of a tokio runtime.
pub async fn run(
    master: u32,
    limit: Duration,
    program: OsString,
    args: Vec<OsString>,
) -> Result<Vec<u8>, GuardError> {
    let is_cancelled = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&is_cancelled);
    let running = tokio::task::spawn_blocking(move || {
        guard::run(&program, &args, Terms { master, limit, is_cancelled: &seen })
    });
    tokio::pin!(running);
    let joined = tokio::select! {
        joined = &mut running => joined,
        () = asked_to_end() => {
            is_cancelled.store(true, Ordering::Relaxed);
            running.await
        }
    };
    joined.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
}

/// A terminal's interrupt reaches this process as well as the agent and the plugin.
async fn asked_to_end() {
    let received = async |kind| match signal(kind) {
        Ok(mut signal) => drop(signal.recv().await),
        Err(_) => std::future::pending().await,
    };
    tokio::select! {
        () = received(SignalKind::terminate()) => {}
        () = received(SignalKind::interrupt()) => {}
        () = received(SignalKind::hangup()) => {}
    }
}
