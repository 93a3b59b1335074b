//! Finds the API server and who we are there, without keeping a check waiting for either.
//! Calls no API server.

use std::error::Error as _;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::plugin;
use super::settings::{ClusterSettings, Sink, Surroundings};
use crate::domain::words::backoff::{Pace, delay};
use crate::k8s::client::{ApiServer, ConnectError, Observer, random};

/// The first check waits this long for credentials, so that a configuration of no use is told at the start.
const PATIENCE: Duration = Duration::from_secs(2);

/// What is connected.
pub struct Connection {
    /// The API server, if it is needed for anything.
    pub api: Option<ApiServer>,
    /// Whether the outcome goes there; otherwise it is asked for evidence at most.
    pub is_sink: bool,
    /// What has to run on until the credentials are there; none where they are.
    pub finding: Option<Finding>,
}

/// Ends when the API server is found, and no call succeeds before.
pub type Finding = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Finds the API server if it is needed, and says where the outcome goes. An API server that is down is no error, nor are
/// credentials that are long in coming: [`Connection::finding`] goes on, and is the caller's to run.
///
/// # Errors
/// If the API server was asked for by name and no configuration leads to one.
pub async fn connect(
    settings: &ClusterSettings,
    surroundings: Surroundings,
    observer: Observer,
) -> Result<Connection, ConnectError> {
    let is_sink = settings.is_sink(surroundings);
    if !is_sink && !settings.needs_netns_evidence(surroundings) {
        log::info!("reporting to the terminal only");
        return Ok(Connection { api: None, is_sink, finding: None });
    }
    let api = ApiServer::unknown(observer);
    let mut first = Box::pin(find(api.clone(), settings.api_server.clone()));
    let finding: Option<Finding> = match timeout(PATIENCE, &mut first).await {
        Ok(Ok(())) => None,
        Ok(Err(error)) if settings.sink == Sink::Kube => return Err(error),
        Ok(Err(error)) => {
            let cause = error.source().map(ToString::to_string).unwrap_or_default();
            log::warn!(cause; "reporting to the terminal only: {error} failed");
            return Ok(Connection { api: None, is_sink: false, finding: None });
        }
        Err(_) => {
            log::warn!("the credentials for the API server are long in coming; checks begin without them");
            Some(Box::pin(go_on_finding(first, api.clone(), settings.api_server.clone())))
        }
    };
    log::info!("reporting to the {}", if is_sink { "API server" } else { "terminal only" });
    Ok(Connection { api: Some(api), is_sink, finding })
}

async fn find(api: ApiServer, address: Option<String>) -> Result<(), ConnectError> {
    api.find(address, plugin::command()).await
}

/// Goes on until the API server is found, one attempt after the other: each may leave a thread that waits for a file.
async fn go_on_finding(
    first: impl Future<Output = Result<(), ConnectError>>,
    api: ApiServer,
    address: Option<String>,
) {
    let mut found = first.await;
    let mut failures = 0;
    while let Err(error) = found {
        failures += 1;
        if failures == 1 {
            let cause = error.source().map(ToString::to_string).unwrap_or_default();
            log::warn!(cause; "{error} failed; it is tried again");
        }
        sleep(delay(Pace::Soon, failures, None, random())).await;
        found = find(api.clone(), address.clone()).await;
    }
    log::info!("the credentials for the API server are there");
}

/// The API server of a pod or of KUBECONFIG, for a program that only asks it; nothing is counted.
///
/// # Errors
/// If no configuration leads to one.
pub async fn api_server() -> Result<ApiServer, ConnectError> {
    let api = ApiServer::unknown(std::sync::Arc::new(|_| {}));
    find(api.clone(), None).await?;
    Ok(api)
}
