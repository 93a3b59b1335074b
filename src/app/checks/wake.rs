//! What the loop of checks waits for: signals, the allowlists, evidence of the network namespace, and time.
//! Does nothing about any of it.

use std::time::Instant;

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::reload::Reload;
use super::run::Evidence;

/// Why the loop goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wake {
    /// It is time.
    Tick,
    /// SIGHUP asks for a check.
    CheckNow,
    /// Rules were heard to have changed.
    Heard,
    /// Something about the network namespace was found out.
    Evidence,
    /// The allowlists may have changed.
    Allowlists,
    /// SIGTERM or SIGINT asks to end.
    Shutdown,
}

/// The signals that count.
pub(in crate::app) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    pub(in crate::app) fn install() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    pub(in crate::app) async fn shutdown(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }

    pub(super) async fn wait_until(
        &mut self,
        moment: Instant,
        evidence: &mut Evidence,
        reload: &mut Reload,
    ) -> Wake {
        tokio::select! {
            _ = self.terminate.recv() => Wake::Shutdown,
            _ = self.interrupt.recv() => Wake::Shutdown,
            _ = self.hangup.recv() => Wake::CheckNow,
            () = other_evidence(evidence) => Wake::Evidence,
            () = reload.changed() => Wake::Allowlists,
            () = tokio::time::sleep_until(moment.into()) => Wake::Tick,
        }
    }
}

/// Waits for other evidence about the network namespace; for ever when none is to come.
async fn other_evidence(evidence: &mut Evidence) {
    if let Some(found) = evidence
        && found.changed().await.is_ok()
    {
        return;
    }
    std::future::pending().await
}
