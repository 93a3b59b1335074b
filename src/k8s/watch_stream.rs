//! The events of an open watch, one JSON object a line, until the API server ends it or nothing is to be expected any more.
//! Does not know of what.

use std::time::Duration;

use http_body_util::BodyExt;
use kube::client::Body;
use serde::Deserialize;
use tokio::time::{Instant, timeout_at};

use super::client::{ANSWER_BYTES, ApiServer, Operation};
use super::failure::{Class, Failure};

/// An API server that did not end the watch this long after it should have is no longer there.
pub(super) const GRACE: Duration = Duration::from_secs(10);

/// *Source*: Kubernetes API reference, WatchEvent v1 meta.
#[derive(Deserialize)]
pub(super) struct Event {
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) object: serde_json::Value,
}

/// An open watch.
pub(super) struct WatchStream {
    operation: Operation,
    lines: Lines,
    ends_at: Instant,
}

impl WatchStream {
    /// Opens the watch at this path, which asks for so much time.
    pub(super) async fn open(
        api: &ApiServer,
        operation: Operation,
        path: &str,
        lifetime: Duration,
    ) -> Result<Self, Failure> {
        let lines = Lines::new(api.open(operation, path).await?);
        Ok(Self { operation, lines, ends_at: Instant::now() + lifetime + GRACE })
    }

    /// What is made of the next event of which anything is made; none when the API server ended the watch as agreed. A
    /// failure is counted, and ends the watch.
    pub(super) async fn next<T>(
        &mut self,
        api: &ApiServer,
        mut read: impl FnMut(Event) -> serde_json::Result<Option<T>>,
    ) -> Result<Option<T>, Failure> {
        loop {
            let result = match self.event().await {
                Ok(None) => return Ok(None),
                Ok(Some(event)) => read(event).map_err(|error| self.unexpected(&error)),
                Err(failure) => Err(failure),
            };
            match result {
                Ok(None) => {}
                Ok(found) => return Ok(found),
                Err(failure) => {
                    api.count(&failure);
                    return Err(failure);
                }
            }
        }
    }

    async fn event(&mut self) -> Result<Option<Event>, Failure> {
        let line = match timeout_at(self.ends_at, self.lines.next()).await {
            Err(_) => return Err(self.failure(Class::Timeout, "the watch was not ended in time")),
            Ok(Err(Broken(class, detail))) => return Err(self.failure(class, &detail)),
            Ok(Ok(None)) => return Ok(None),
            Ok(Ok(Some(line))) => line,
        };
        let event: Event = serde_json::from_slice(&line).map_err(|error| self.unexpected(&error))?;
        match event.kind.as_str() {
            "ERROR" => Err(Failure::told(self.operation, event.object.to_string().as_bytes())),
            _ => Ok(Some(event)),
        }
    }

    fn unexpected(&self, error: &serde_json::Error) -> Failure {
        self.failure(Class::Unexpected, &error.to_string())
    }

    fn failure(&self, class: Class, detail: &str) -> Failure {
        Failure::new(self.operation, class, detail)
    }
}

/// Why there are no more lines.
struct Broken(Class, String);

/// The lines of a body as they come; one that is too long is an error.
struct Lines {
    body: Body,
    buffer: Vec<u8>,
    /// So much of the buffer has no end of a line.
    searched: usize,
}

impl Lines {
    const fn new(body: Body) -> Self {
        Self { body, buffer: Vec::new(), searched: 0 }
    }

    /// The next whole line without its end. Dropping the future loses nothing.
    async fn next(&mut self) -> Result<Option<Vec<u8>>, Broken> {
        loop {
            let found = self.buffer.iter().skip(self.searched).position(|byte| *byte == b'\n');
            if let Some(length) = found {
                let mut line: Vec<_> = self.buffer.drain(..=self.searched + length).collect();
                line.pop();
                self.searched = 0;
                return Ok(Some(line));
            }
            self.searched = self.buffer.len();
            if self.searched > ANSWER_BYTES {
                return Err(Broken(Class::Unexpected, "the answer is too large".to_owned()));
            }
            match self.body.frame().await {
                None if self.buffer.is_empty() => return Ok(None),
                None => return Err(Broken(Class::Unreachable, "the watch ended within a line".to_owned())),
                Some(Err(error)) => return Err(Broken(Class::Unreachable, error.to_string())),
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        self.buffer.extend_from_slice(&data);
                    }
                }
            }
        }
    }
}
