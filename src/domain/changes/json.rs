//! Since when a rule stands and who is said to have brought it, as members of a JSON object.
//! Everything as it was reported, uncut: the writer escapes it.

use serde::Serialize;

use super::Provenance;
use super::author::{Ancestor, Author, PodHint};
use crate::domain::words::moment::utc_millis;

/// Members that stand among those of a violation.
#[derive(Serialize)]
pub struct WireProvenance<'a> {
    first_seen: String,
    may_be_older: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    reported_process: Option<WireAuthor<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    other_reported_processes: Vec<WireAuthor<'a>>,
}

/// A process as the kernel and `/proc` report it: a hint, never a proof.
#[derive(Serialize)]
pub struct WireAuthor<'a> {
    pid: u32,
    name: &'a str,
    executable: Option<&'a str>,
    command_line: Option<&'a str>,
    parents: Vec<WireAncestor<'a>>,
    container: Option<&'a str>,
    pod: Option<WirePod<'a>>,
}

#[derive(Serialize)]
struct WireAncestor<'a> {
    pid: u32,
    name: &'a str,
    command_line: Option<&'a str>,
}

#[derive(Serialize)]
struct WirePod<'a> {
    uid: &'a str,
    namespace: Option<&'a str>,
    name: Option<&'a str>,
}

impl<'a> WireProvenance<'a> {
    /// The members.
    pub fn new(provenance: &'a Provenance) -> Self {
        let mut authors = provenance.authors.iter().map(|author| WireAuthor::new(author));
        Self {
            first_seen: utc_millis(provenance.first_seen),
            may_be_older: provenance.is_older,
            reported_process: authors.next(),
            other_reported_processes: authors.collect(),
        }
    }
}

impl<'a> WireAuthor<'a> {
    /// The object.
    pub fn new(author: &'a Author) -> Self {
        Self {
            pid: author.pid,
            name: &author.name,
            executable: author.executable.as_deref(),
            command_line: author.command_line.as_deref(),
            parents: author.parents.iter().map(WireAncestor::new).collect(),
            container: author.container.as_deref(),
            pod: author.pod.as_ref().map(WirePod::new),
        }
    }
}

impl<'a> WireAncestor<'a> {
    fn new(ancestor: &'a Ancestor) -> Self {
        Self { pid: ancestor.pid, name: &ancestor.name, command_line: ancestor.command_line.as_deref() }
    }
}

impl<'a> WirePod<'a> {
    fn new(hint: &'a PodHint) -> Self {
        let (namespace, name) =
            hint.name.as_ref().map(|(space, name)| (space.as_str(), name.as_str())).unzip();
        Self { uid: &hint.uid, namespace, name }
    }
}
