//! What the loop of checks waits for: SIGHUP, the allowlists, evidence of the network namespace, and time.
//! Does nothing about any of it.

use std::time::Instant;

use tokio::signal::unix::Signal;
use tokio::sync::watch::Receiver;

use super::reload::Reload;
use crate::domain::judging::netns::NetnsEvidence;

/// Evidence about the network namespace, as it is found; none where none is required.
pub type Evidence = Option<Receiver<NetnsEvidence>>;

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
}

/// Waits for a reason to check, until this moment.
pub(super) async fn wait_until(
    moment: Instant,
    hangup: &mut Signal,
    evidence: &mut Evidence,
    reload: &mut Reload,
) -> Wake {
    tokio::select! {
        _ = hangup.recv() => Wake::CheckNow,
        () = other_evidence(evidence) => Wake::Evidence,
        () = reload.changed() => Wake::Allowlists,
        () = tokio::time::sleep_until(moment.into()) => Wake::Tick,
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
