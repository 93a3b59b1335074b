//! Labels and annotations of ours on the node's CiliumNode or Node: reads and watches them, and writes them with a merge
//! patch. Touches nothing of others, decides nothing, and does not try again what it reads or writes.

use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::client::{ApiServer, Operation, Verb, segment};
use super::failure::{Class, Failure};
pub use super::label_object::LabelObject;
use super::list_watch::{self, Collection, Habits, News, State};
use crate::domain::cluster::freshness::{CHECKED_AT_KEY, Check, RULESET_KEY};
use crate::domain::cluster::keeper::{Held, Patch};
use crate::domain::cluster::label;

/// Whether reading is still refused is found out again after this time.
const ASK_AGAIN: Duration = Duration::from_secs(3600);
/// Pauses grow to about ten seconds, so that after an outage the label is soon looked after again. No permission to list is
/// asked for.
const HABITS: Habits = Habits { has_list: false, most_failures: 6, refused: Some(ASK_AGAIN) };

/// One object, and which of its labels are ours.
#[derive(Debug)]
pub struct LabelWriter {
    object: LabelObject,
    name: String,
    keys: Vec<String>,
    read_refused_at: Option<Instant>,
}

impl LabelWriter {
    /// Will read and write these labels of the object with this name.
    pub fn new(object: LabelObject, name: &str, keys: &[String]) -> Self {
        Self { object, name: name.to_owned(), keys: keys.to_vec(), read_refused_at: None }
    }

    /// Which object this is.
    pub const fn object(&self) -> LabelObject {
        self.object
    }

    /// The object's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    fn path(&self) -> String {
        format!("{}/{}", self.object.collection(), segment(&self.name))
    }

    /// What the object holds of ours, or none where reading is not granted.
    ///
    /// # Errors
    /// See [`Class`].
    pub async fn read(&mut self, api: &ApiServer, now: Instant) -> Result<Option<Held>, Failure> {
        if self.read_refused_at.is_some_and(|at| now.saturating_duration_since(at) < ASK_AGAIN) {
            return Ok(None);
        }
        let get = Operation::new(Verb::Get, self.object.resource());
        match api.call::<Partial>(get, &self.path(), None).await {
            Ok(object) => {
                self.read_refused_at = None;
                Ok(Some(object.held(&self.keys)))
            }
            Err(failure) if failure.class == Class::Forbidden => {
                self.read_refused_at = Some(now);
                Ok(None)
            }
            Err(failure) => Err(failure),
        }
    }

    /// Shows what the object holds of ours whenever that may have changed, for ever; none when it was deleted.
    pub async fn watch(&self, api: &ApiServer, tell: impl FnMut(News<Option<Held>>)) {
        let (resource, path) = (self.object.resource(), self.object.collection());
        let what = Collection { resource, path, field: Some(("metadata.name", self.name.clone())) };
        list_watch::keep(api, &what, HABITS, |object, state| self.sight(object, state), tell).await;
    }

    /// None for another object: a server that does not know the selector shows every one.
    fn sight(&self, object: Partial, state: State) -> Option<Option<Held>> {
        let is_ours = object.metadata.name == self.name;
        is_ours.then(|| (state == State::Present).then(|| object.held(&self.keys)))
    }

    /// Writes, and returns what the object holds since.
    ///
    /// # Errors
    /// See [`Class`].
    pub async fn write(&self, api: &ApiServer, patch: &Patch) -> Result<Held, Failure> {
        let operation = Operation::new(Verb::Patch, self.object.resource());
        let answer: Partial = api.call(operation, &self.path(), Some(&body(patch))).await?;
        let held = answer.held(&self.keys);
        if !label::differing(&held.labels, &patch.labels, patch.value).is_empty() {
            let failure = Failure::new(operation, Class::NotApplied, "");
            api.count(&failure);
            return Err(failure);
        }
        Ok(held)
    }
}

/// A JSON merge patch that sets these labels and annotations and touches nothing else.
///
/// *Source*: RFC 7396; Kubernetes API conventions, "Patch operations".
fn body(patch: &Patch) -> Value {
    let mut metadata = Map::new();
    if !patch.labels.is_empty() {
        let labels = patch.labels.iter().map(|key| (key.clone(), patch.value.into()));
        metadata.insert("labels".to_owned(), Value::Object(labels.collect()));
    }
    if let Some(check) = &patch.check {
        let at = Timestamp::try_from(check.at).unwrap_or(Timestamp::UNIX_EPOCH);
        let annotations = json!({CHECKED_AT_KEY: Time(at), RULESET_KEY: check.ruleset_hash});
        metadata.insert("annotations".to_owned(), annotations);
    }
    json!({"metadata": metadata})
}

/// What of an object counts here.
///
/// *Source*: Kubernetes API reference, ObjectMeta v1.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(default)]
struct Partial {
    metadata: Metadata,
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Metadata {
    labels: Option<BTreeMap<String, String>>,
    annotations: Option<BTreeMap<String, String>>,
    name: String,
    resource_version: String,
}

impl Partial {
    /// Only what is ours is kept: others may write much.
    fn held(self, keys: &[String]) -> Held {
        let Metadata { labels, annotations, resource_version, .. } = self.metadata;
        let mut labels = labels.unwrap_or_default();
        labels.retain(|key, _| keys.contains(key));
        // a revision of etcd, which grows with every change of anything
        let version = resource_version.parse().ok();
        Held { version, labels, check: annotations.as_ref().and_then(check) }
    }
}

/// What somebody garbled counts as not written.
fn check(annotations: &BTreeMap<String, String>) -> Option<Check> {
    let Time(at) = serde_json::from_value(annotations.get(CHECKED_AT_KEY)?.as_str().into()).ok()?;
    Some(Check { at: SystemTime::from(at), ruleset_hash: annotations.get(RULESET_KEY)?.clone() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_patch_sets_what_is_due_and_nothing_else() {
        let at = SystemTime::UNIX_EPOCH + Duration::from_millis(1_800_000_000_500);
        let check = Check { at, ruleset_hash: "abc".into() };
        let labels = vec!["b".to_owned(), "c".to_owned()];
        for (labels, check, expected) in [
            (labels.clone(), None, json!({"labels": {"b": "true", "c": "true"}})),
            (
                labels,
                Some(check.clone()),
                json!({
                    "labels": {"b": "true", "c": "true"},
                    "annotations": {
                        "iptables-monitor/last-check": "2027-01-15T08:00:00Z",
                        "iptables-monitor/ruleset-hash": "abc",
                    },
                }),
            ),
            (
                Vec::new(),
                Some(check),
                json!({"annotations": {
                    "iptables-monitor/last-check": "2027-01-15T08:00:00Z",
                    "iptables-monitor/ruleset-hash": "abc",
                }}),
            ),
        ] {
            assert_eq!(body(&Patch { labels, value: "true", check }), json!({"metadata": expected}));
        }
    }

    #[test]
    fn a_watch_shows_the_object_of_that_name() {
        let writer = LabelWriter::new(LabelObject::Node, "n", &["k".to_owned()]);
        let sight = |name: &str, state| {
            let metadata = json!({"name": name, "resourceVersion": "7", "labels": {"k": "a", "x": "y"}});
            writer.sight(serde_json::from_value(json!({"metadata": metadata})).unwrap(), state)
        };
        let labels = BTreeMap::from([("k".to_owned(), "a".to_owned())]);
        assert_eq!(sight("n", State::Present), Some(Some(Held { version: Some(7), labels, check: None })));
        assert_eq!(sight("n", State::Deleted), Some(None));
        assert_eq!(sight("other", State::Present), None);
    }

    #[test]
    fn what_is_ours_is_read_back() {
        let held = |metadata: Value| {
            let object: Partial = serde_json::from_value(json!({"metadata": metadata})).unwrap();
            object.held(&["k".to_owned()])
        };
        let annotations = json!({CHECKED_AT_KEY: "2027-01-15T08:00:00Z", RULESET_KEY: "abc", "theirs": "x"});
        let labels = json!({"k": "false", "theirs": "x"});
        let at = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        assert_eq!(
            held(json!({"resourceVersion": "12", "labels": labels, "annotations": annotations})),
            Held {
                version: Some(12),
                labels: BTreeMap::from([("k".into(), "false".into())]),
                check: Some(Check { at, ruleset_hash: "abc".into() }),
            }
        );
        assert_eq!(held(json!({"labels": null, "annotations": null})), Held::default());
        let garbled = json!({CHECKED_AT_KEY: "yesterday", RULESET_KEY: "abc"});
        assert_eq!(held(json!({"resourceVersion": "x", "annotations": garbled})), Held::default());
    }
}
