//! A connection to the API server: finds its address, makes one call, tells how it went.
//! Never retries, and trusts no answer further than its status and the fields asked for.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use http::response::Parts;
use http::{Request, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use kube::client::Body;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::runtime::Handle;
use tokio::sync::{Notify, SetOnce};

use super::credentials::under_guard;
use super::failure::{Class, Failure};
use super::label_object::LabelObject;
pub use super::operation::{Operation, Resource, Verb};
use crate::domain::words::error_chain::chain_of;

/// No call takes longer.
pub const DEADLINE: Duration = Duration::from_secs(10);
/// No answer is larger: objects are asked for in part only.
pub(super) const ANSWER_BYTES: usize = 4 << 20;
/// The metadata alone: a CiliumNode has a large spec, a Node a large status.
///
/// *Source*: Kubernetes API concepts, "Metadata-only fetches".
const METADATA_ONLY: &str = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1, application/json";

/// What is told about calls as they are made; every name is one of a fixed few.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notice {
    /// This write succeeded.
    Write(Operation),
    /// This call failed.
    Failure(Operation, Class),
    /// An Event was replaced by news before it could be written.
    ShedEvent,
    /// The label of an object was restored after somebody else changed it.
    Restored(LabelObject),
    /// Whether the API server grants this.
    Permission(Operation, bool),
}

/// Is told each notice, and must not wait for anything.
pub type Observer = Arc<dyn Fn(Notice) + Send + Sync>;

/// Why there is no connection, before any call.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// Neither a kubeconfig nor a pod's ServiceAccount can be used.
    #[error("finding the API server")]
    Infer(#[source] Box<kube::config::InferConfigError>),
    /// The address that is to replace the configured one is none.
    #[error("reading the address of the API server: an address such as https://192.0.2.1:6443 is needed")]
    Address(#[source] http::uri::InvalidUri),
    /// The configuration says something that cannot be used.
    #[error("preparing the connection to the API server")]
    Prepare(#[source] Box<kube::Error>),
}

/// The API server, as whoever the configuration says we are.
#[derive(Clone)]
pub struct ApiServer {
    /// None until it is known where the API server is and who we are there.
    client: Arc<SetOnce<kube::Client>>,
    deadline: Duration,
    observer: Observer,
    /// Told of each refusal.
    refused: Arc<Notify>,
}

impl ApiServer {
    /// Uses this client; it must not retry by itself.
    pub fn new(client: kube::Client, deadline: Duration, observer: Observer) -> Self {
        let client = Arc::new(SetOnce::new_with(Some(client)));
        Self { client, deadline, observer, refused: Arc::default() }
    }

    /// An API server that is to be found: until [`Self::find`] has succeeded, every call ends with the deadline.
    pub fn unknown(observer: Observer) -> Self {
        Self { client: Arc::default(), deadline: DEADLINE, observer, refused: Arc::default() }
    }

    /// Finds the API server in KUBECONFIG, `~/.kube/config` or a pod's ServiceAccount; `address` replaces the one that is
    /// named there. Does not call it. A program that has the credentials is started by `guard`, a program and its first
    /// arguments, which has to end it: what is begun here goes on to its end even if nobody waits for it.
    ///
    /// # Errors
    /// If none of them can be used.
    pub async fn find(&self, address: Option<String>, guard: Vec<String>) -> Result<(), ConnectError> {
        // files are read, and programs waited for
        let finding = tokio::task::spawn_blocking(move || {
            let config = Handle::current().block_on(kube::Config::infer());
            let mut config = config.map_err(|error| ConnectError::Infer(Box::new(error)))?;
            if let Some(address) = address {
                config.cluster_url = address.parse().map_err(ConnectError::Address)?;
            }
            under_guard(&mut config.auth_info, &guard);
            client(config)
        });
        let found = finding.await.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))?;
        // whoever was sooner has found the same
        let _ = self.client.set(found);
        Ok(())
    }

    /// Uses the API server that a configuration names. Does not call it.
    ///
    /// # Errors
    /// If the configuration cannot be used.
    pub fn with_config(config: kube::Config, observer: Observer) -> Result<Self, ConnectError> {
        Ok(Self::new(client(config)?, DEADLINE, observer))
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
        let result = exchange.await.unwrap_or_else(|_| Err(self.late(operation)));
        match &result {
            Ok(_) if operation.verb.is_write() => self.tell(Notice::Write(operation)),
            Ok(_) => {}
            Err(failure) => self.count(failure),
        }
        result
    }

    /// Begins to watch; what comes is the caller's to read.
    ///
    /// # Errors
    /// See [`Class`]; each is counted.
    pub(super) async fn open(&self, operation: Operation, path: &str) -> Result<Body, Failure> {
        let opening = async {
            let (head, body) = self.send(operation, path, None).await?;
            if head.status.is_success() {
                return Ok(body);
            }
            let body = collect(operation, body).await?;
            Err(Failure::answered(operation, head.status, &head.headers, &body))
        };
        let result = tokio::time::timeout(self.deadline, opening).await;
        let result = result.unwrap_or_else(|_| Err(self.late(operation)));
        result.inspect_err(|failure| self.count(failure))
    }

    /// Tells whoever counts.
    pub fn tell(&self, notice: Notice) {
        (self.observer)(notice);
    }

    /// Waits until a call is refused for want of a permission; one that was meanwhile counts.
    pub async fn refused(&self) {
        self.refused.notified().await;
    }

    pub(super) fn count(&self, failure: &Failure) {
        self.tell(Notice::Failure(failure.operation, failure.class));
        // to ask what is granted is not what is needed
        if failure.class == Class::Forbidden && failure.operation.verb != Verb::Review {
            self.refused.notify_one();
        }
    }

    fn late(&self, operation: Operation) -> Failure {
        let detail = if self.client.initialized() { "" } else { "there are no credentials yet" };
        Failure::new(operation, Class::Timeout, detail)
    }

    async fn send(
        &self,
        operation: Operation,
        path: &str,
        body: Option<&Value>,
    ) -> Result<(Parts, Body), Failure> {
        let request = request(operation, path, body)
            .map_err(|error| Failure::new(operation, Class::Invalid, &error.to_string()))?;
        let client = self.client.wait().await;
        let sent = client.send(request).await;
        let answer = sent.map_err(|error| Failure::new(operation, Class::Unreachable, &chain_of(&error)))?;
        Ok(answer.into_parts())
    }

    async fn exchange<T: DeserializeOwned>(
        &self,
        operation: Operation,
        path: &str,
        body: Option<&Value>,
    ) -> Result<T, Failure> {
        let (head, body) = self.send(operation, path, body).await?;
        let body = collect(operation, body).await?;
        if !head.status.is_success() {
            return Err(Failure::answered(operation, head.status, &head.headers, &body));
        }
        serde_json::from_slice(&body)
            .map_err(|error| Failure::new(operation, Class::Unexpected, &error.to_string()))
    }
}

fn client(mut config: kube::Config) -> Result<kube::Client, ConnectError> {
    // with two providers in the program rustls would panic; a second installation changes nothing
    let _ = rustls::crypto::ring::default_provider().install_default();
    config.default_retry = false;
    config.connect_timeout = Some(DEADLINE);
    kube::Client::try_from(config).map_err(|error| ConnectError::Prepare(Box::new(error)))
}

async fn collect(operation: Operation, body: Body) -> Result<Vec<u8>, Failure> {
    let body = Limited::new(body, ANSWER_BYTES).collect().await;
    let body = body.map_err(|error| match error.is::<LengthLimitError>() {
        true => Failure::new(operation, Class::Unexpected, "the answer is too large"),
        false => Failure::new(operation, Class::Unreachable, &error.to_string()),
    })?;
    Ok(body.to_bytes().into())
}

fn request(operation: Operation, path: &str, body: Option<&Value>) -> http::Result<Request<Body>> {
    let method = operation.verb.method();
    let content = match method {
        http::Method::PATCH => "application/merge-patch+json",
        _ => "application/json",
    };
    let accept = if operation.is_about_metadata() { METADATA_ONLY } else { "application/json" };
    let builder = Request::builder().method(method).uri(path).header(header::ACCEPT, accept);
    match body {
        None => builder.body(Body::empty()),
        Some(body) => {
            builder.header(header::CONTENT_TYPE, content).body(Body::from(body.to_string().into_bytes()))
        }
    }
}

/// A number that differs each time and on each node; nothing secret depends on it.
pub fn random() -> u64 {
    RandomState::new().build_hasher().finish()
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
}
