//! Asks the API server for evidence that this is the host's network namespace.
//! Does not judge it; `domain::judging::netns` does.

use std::net::IpAddr;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use crate::app::api_health::{Health, retry_at};
use crate::domain::judging::netns::{NetnsEvidence, judge};
use crate::domain::words::backoff::{Pace, delay};
use crate::host::net::addresses;
use crate::k8s::client::{ApiServer, random};
use crate::k8s::node;

/// Asks until there is evidence, and tells each answer; what is proven stays proven. Returns then, or when nobody
/// listens any more. Without an API server it returns at once, with the reason told.
///
/// `find_local` runs on the calling thread; [`addresses::read`] is the one to use.
pub async fn prove_netns(
    api: Option<ApiServer>,
    node: &str,
    find_local: impl Fn() -> std::io::Result<Vec<IpAddr>>,
    found: watch::Sender<NetnsEvidence>,
) {
    let Some(api) = api else {
        found.send_replace(NetnsEvidence::Missing(
            "there is no API server that knows the Node's address".into(),
        ));
        return;
    };
    let mut health = Health::new("reading the Node");
    loop {
        let (evidence, next) = match node::read(&api, node).await {
            Ok(facts) => {
                health.worked();
                let evidence = find_local().map_or_else(
                    |error| {
                        NetnsEvidence::Missing(format!("reading the addresses of this namespace: {error}"))
                    },
                    |local| judge(&facts.internal_ips, &local),
                );
                (evidence, Instant::now() + delay(Pace::Slow, 1, None, random()))
            }
            Err(failure) => {
                health.failed(&failure);
                (NetnsEvidence::Missing(failure.to_string()), retry_at(&failure, health.failures()))
            }
        };
        let is_proven = evidence == NetnsEvidence::Proven;
        found.send_if_modified(|held| {
            let is_news = *held != evidence;
            *held = evidence;
            is_news
        });
        if is_proven {
            return;
        }
        tokio::select! {
            () = sleep_until(next) => {}
            () = found.closed() => return,
        }
    }
}

/// The addresses of this network namespace.
///
/// # Errors
/// If `/proc` cannot be read.
pub fn local_addresses() -> std::io::Result<Vec<IpAddr>> {
    addresses::read()
}
