//! Labels of the node's CiliumNode or Node: reads them, and writes ours where they say something else.
//! Touches no other label, and does not try again.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::client::{ApiServer, Operation, segment};
use super::failure::{Class, Failure};
use crate::domain::reaction::label;

/// Whether reading is still refused is found out again after this time.
const ASK_AGAIN: Duration = Duration::from_secs(3600);

/// Which object is labelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LabelObject {
    /// `cilium.io/v2` CiliumNode, cluster scoped, named like the Node.
    CiliumNode,
    /// `v1` Node.
    Node,
}

impl LabelObject {
    /// The kind, for people.
    pub const fn kind(self) -> &'static str {
        match self {
            Self::CiliumNode => "CiliumNode",
            Self::Node => "Node",
        }
    }

    const fn operations(self) -> (Operation, Operation) {
        match self {
            Self::CiliumNode => (Operation::GetCiliumNode, Operation::PatchCiliumNode),
            Self::Node => (Operation::GetNode, Operation::PatchNode),
        }
    }

    fn path(self, name: &str) -> String {
        match self {
            Self::CiliumNode => format!("/apis/cilium.io/v2/ciliumnodes/{}", segment(name)),
            Self::Node => format!("/api/v1/nodes/{}", segment(name)),
        }
    }
}

/// What it took to make the labels right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing: they were.
    Unchanged,
    /// They were written.
    Written,
    /// They were written unseen, as reading is not granted; where they were right, that changed nothing.
    WrittenUnseen,
}

/// Keeps the labels of one object.
#[derive(Debug)]
pub struct LabelWriter {
    object: LabelObject,
    name: String,
    keys: Vec<String>,
    read_refused_at: Option<Instant>,
}

impl LabelWriter {
    /// Will keep these labels of the object with this name.
    pub fn new(object: LabelObject, name: &str, keys: &[String]) -> Self {
        Self { object, name: name.to_owned(), keys: keys.to_vec(), read_refused_at: None }
    }

    /// Makes all our labels have this value.
    ///
    /// # Errors
    /// See [`Class`]; the next call starts again.
    pub async fn ensure(&mut self, api: &ApiServer, value: &str, now: Instant) -> Result<Outcome, Failure> {
        let held = self.read(api, now).await?;
        let all: Vec<_> = self.keys.iter().map(String::as_str).collect();
        let differing = match &held {
            Some(held) => label::differing(held, &self.keys, value),
            None => all,
        };
        if differing.is_empty() {
            return Ok(Outcome::Unchanged);
        }
        let (_, patch) = self.object.operations();
        let body = label::merge_patch(&differing, value);
        let answer: Partial = api.call(patch, &self.object.path(&self.name), Some(&body)).await?;
        if !label::differing(&answer.labels(), &self.keys, value).is_empty() {
            let failure = Failure::new(patch, Class::NotApplied, "");
            api.count(&failure);
            return Err(failure);
        }
        Ok(if held.is_some() { Outcome::Written } else { Outcome::WrittenUnseen })
    }

    /// The labels, or none where reading is not granted.
    async fn read(
        &mut self,
        api: &ApiServer,
        now: Instant,
    ) -> Result<Option<BTreeMap<String, String>>, Failure> {
        if self.read_refused_at.is_some_and(|at| now.saturating_duration_since(at) < ASK_AGAIN) {
            return Ok(None);
        }
        let (get, _) = self.object.operations();
        match api.call::<Partial>(get, &self.object.path(&self.name), None).await {
            Ok(object) => {
                self.read_refused_at = None;
                Ok(Some(object.labels()))
            }
            Err(failure) if failure.class == Class::Forbidden => {
                self.read_refused_at = Some(now);
                Ok(None)
            }
            Err(failure) => Err(failure),
        }
    }
}

/// What of an object counts here.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(default)]
struct Partial {
    metadata: Metadata,
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(default)]
struct Metadata {
    labels: Option<BTreeMap<String, String>>,
}

impl Partial {
    fn labels(self) -> BTreeMap<String, String> {
        self.metadata.labels.unwrap_or_default()
    }
}
