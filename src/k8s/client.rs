//! A connection to the API server: finds its address, makes one call, tells how it went.
//! Never retries, and trusts no answer further than its status and the fields asked for.

use std::error::Error as _;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use kube::client::Body;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::failure::{Class, Failure};

/// No call takes longer.
pub const DEADLINE: Duration = Duration::from_secs(10);
/// No answer is larger: objects are asked for in part only.
const ANSWER_BYTES: usize = 4 << 20;
/// The metadata alone: a CiliumNode has a large spec, a Node a large status.
///
/// *Source*: Kubernetes API concepts, "Metadata-only fetches".
const METADATA_ONLY: &str = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1, application/json";

/// Everything that is ever asked of the API server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Operation {
    GetNode,
    PatchNode,
    GetCiliumNode,
    PatchCiliumNode,
    CreateEvent,
    PatchEvent,
    CreateCoreEvent,
}

impl Operation {
    /// Every operation.
    pub const ALL: [Self; 7] = [
        Self::GetNode,
        Self::PatchNode,
        Self::GetCiliumNode,
        Self::PatchCiliumNode,
        Self::CreateEvent,
        Self::PatchEvent,
        Self::CreateCoreEvent,
    ];

    /// The name used in metric labels.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::GetNode => "get_node",
            Self::PatchNode => "patch_node",
            Self::GetCiliumNode => "get_ciliumnode",
            Self::PatchCiliumNode => "patch_ciliumnode",
            Self::CreateEvent => "create_event",
            Self::PatchEvent => "patch_event",
            Self::CreateCoreEvent => "create_core_event",
        }
    }

    /// The verb as RBAC spells it.
    pub const fn verb(self) -> &'static str {
        match self {
            Self::GetNode | Self::GetCiliumNode => "get",
            Self::PatchNode | Self::PatchCiliumNode | Self::PatchEvent => "patch",
            Self::CreateEvent | Self::CreateCoreEvent => "create",
        }
    }

    /// The resource and its API group, as kubectl spells them.
    pub const fn resource(self) -> &'static str {
        match self {
            Self::GetNode | Self::PatchNode => "nodes",
            Self::GetCiliumNode | Self::PatchCiliumNode => "ciliumnodes.cilium.io",
            Self::CreateEvent | Self::PatchEvent => "events.events.k8s.io",
            Self::CreateCoreEvent => "events",
        }
    }

    pub(super) const fn names_an_object(self) -> bool {
        !matches!(self, Self::CreateEvent | Self::CreateCoreEvent)
    }

    pub(super) const fn advice(self) -> &'static str {
        match self {
            Self::GetCiliumNode | Self::PatchCiliumNode => {
                ": is Cilium installed? --label-target node labels the Node instead"
            }
            _ => "",
        }
    }

    const fn method(self) -> http::Method {
        match self {
            Self::GetNode | Self::GetCiliumNode => http::Method::GET,
            Self::PatchNode | Self::PatchCiliumNode | Self::PatchEvent => http::Method::PATCH,
            Self::CreateEvent | Self::CreateCoreEvent => http::Method::POST,
        }
    }
}

type Count<T> = Arc<dyn Fn(T) + Send + Sync>;

/// What is told about calls as they are made; names come from [`Operation`] and [`Class`].
#[derive(Clone)]
pub struct Counters {
    write: Count<&'static str>,
    failure: Count<(&'static str, &'static str)>,
    shed: Count<&'static str>,
}

impl Counters {
    /// Calls `write` with the operation of each successful write, `failure` with operation and class of each failure,
    /// `shed` with `event` for each Event that news replaced before it could be written.
    pub fn new(
        write: impl Fn(&'static str) + Send + Sync + 'static,
        failure: impl Fn(&'static str, &'static str) + Send + Sync + 'static,
        shed: impl Fn(&'static str) + Send + Sync + 'static,
    ) -> Self {
        let failure = move |(operation, reason)| failure(operation, reason);
        Self { write: Arc::new(write), failure: Arc::new(failure), shed: Arc::new(shed) }
    }
}

/// Why there is no connection, before any call.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// Neither a kubeconfig nor a pod's ServiceAccount can be used.
    #[error("finding the API server")]
    Infer(#[source] Box<kube::config::InferConfigError>),
    /// The configuration says something that cannot be used.
    #[error("preparing the connection to the API server")]
    Prepare(#[source] Box<kube::Error>),
}

/// The API server, as whoever the configuration says we are.
#[derive(Clone)]
pub struct ApiServer {
    client: kube::Client,
    deadline: Duration,
    counters: Counters,
}

impl ApiServer {
    /// Uses this client; it must not retry by itself.
    pub fn new(client: kube::Client, deadline: Duration, counters: Counters) -> Self {
        Self { client, deadline, counters }
    }

    /// Finds the API server in KUBECONFIG, `~/.kube/config` or a pod's ServiceAccount. Does not call it.
    ///
    /// # Errors
    /// If none of them can be used.
    pub async fn infer(counters: Counters) -> Result<Self, ConnectError> {
        let config = kube::Config::infer().await.map_err(|error| ConnectError::Infer(Box::new(error)))?;
        Self::with_config(config, counters)
    }

    /// Uses the API server that a configuration names. Does not call it.
    ///
    /// # Errors
    /// If the configuration cannot be used.
    pub fn with_config(mut config: kube::Config, counters: Counters) -> Result<Self, ConnectError> {
        // with two providers in the program rustls would panic; a second installation changes nothing
        let _ = rustls::crypto::ring::default_provider().install_default();
        config.default_retry = false;
        config.connect_timeout = Some(DEADLINE);
        let client =
            kube::Client::try_from(config).map_err(|error| ConnectError::Prepare(Box::new(error)))?;
        Ok(Self::new(client, DEADLINE, counters))
    }

    /// Makes one call and reads its answer as `T`.
    ///
    /// # Errors
    /// See [`Class`]; each is counted.
    pub(super) async fn call<T: DeserializeOwned>(
        &self,
        operation: Operation,
        path: &str,
        body: Option<&Value>,
    ) -> Result<T, Failure> {
        let exchange = tokio::time::timeout(self.deadline, self.exchange(operation, path, body));
        let result = exchange.await.unwrap_or_else(|_| Err(Failure::new(operation, Class::Timeout, "")));
        match &result {
            Ok(_) if operation.verb() != "get" => (self.counters.write)(operation.as_str()),
            Ok(_) => {}
            Err(failure) => self.count(failure),
        }
        result
    }

    /// Counts an Event that news replaced before it could be written.
    pub fn count_shed_event(&self) {
        (self.counters.shed)("event");
    }

    pub(super) fn count(&self, failure: &Failure) {
        (self.counters.failure)((failure.operation.as_str(), failure.class.as_str()));
    }

    async fn exchange<T: DeserializeOwned>(
        &self,
        operation: Operation,
        path: &str,
        body: Option<&Value>,
    ) -> Result<T, Failure> {
        let failed = |class, detail: &str| Failure::new(operation, class, detail);
        let request =
            request(operation, path, body).map_err(|error| failed(Class::Invalid, &error.to_string()))?;
        let sent = self.client.send(request).await;
        let (head, body) = sent.map_err(|error| failed(Class::Unreachable, &chain(&error)))?.into_parts();
        let body = Limited::new(body, ANSWER_BYTES).collect().await;
        let body = body.map_err(|error| match error.is::<LengthLimitError>() {
            true => failed(Class::Unexpected, "the answer is too large"),
            false => failed(Class::Unreachable, &error.to_string()),
        })?;
        let body = body.to_bytes();
        if !head.status.is_success() {
            return Err(Failure::answered(operation, head.status, &head.headers, &body));
        }
        serde_json::from_slice(&body).map_err(|error| failed(Class::Unexpected, &error.to_string()))
    }
}

fn request(operation: Operation, path: &str, body: Option<&Value>) -> http::Result<Request<Body>> {
    let method = operation.method();
    let content = match method {
        http::Method::PATCH => "application/merge-patch+json",
        _ => "application/json",
    };
    let accept = match operation {
        Operation::GetNode => "application/json",
        _ => METADATA_ONLY,
    };
    let builder = Request::builder().method(method).uri(path).header(header::ACCEPT, accept);
    match body {
        None => builder.body(Body::empty()),
        Some(body) => {
            builder.header(header::CONTENT_TYPE, content).body(Body::from(body.to_string().into_bytes()))
        }
    }
}

/// An error and what it was caused by, outermost first, each once.
fn chain(error: &kube::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        let inner_text = inner.to_string();
        if !text.contains(&inner_text) {
            text = format!("{text}: {inner_text}");
        }
        source = inner.source();
    }
    text
}

/// One segment of a path, with everything escaped that means something in an address.
///
/// *Source*: RFC 3986 section 2.3.
pub(super) fn segment(name: &str) -> String {
    let mut out = String::new();
    for byte in name.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(char::from(byte)),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_leave_its_segment() {
        assert_eq!(segment("node-1.example"), "node-1.example");
        assert_eq!(segment("../x?y#z %"), "..%2Fx%3Fy%23z%20%25");
    }

    #[test]
    fn operations_have_names_of_their_own() {
        let names: std::collections::BTreeSet<_> = Operation::ALL.map(Operation::as_str).into();
        assert_eq!(names.len(), Operation::ALL.len());
    }
}
