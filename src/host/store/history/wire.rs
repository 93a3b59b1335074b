//! Values as they stand in the database: names instead of numbers, authors as JSON.
//! Members may be added to the JSON; what is missing there is none.

use std::sync::Arc;
use std::time::SystemTime;

use rusqlite::types::Type;
use serde::{Deserialize, Serialize};

use crate::domain::changes::author::{Ancestor, Author, PodHint};
use crate::domain::changes::history::{Happening, Watch};
use crate::domain::changes::judged::Judged;
use crate::domain::rules::{Backend, Family, Kind};
use crate::domain::verdict::Verdict;

#[derive(Serialize, Deserialize)]
struct WireAuthor {
    pid: u32,
    name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    executable: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    command_line: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    parents: Vec<WireAncestor>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    container: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pod: Option<WirePod>,
}

#[derive(Serialize, Deserialize)]
struct WireAncestor {
    pid: u32,
    name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    command_line: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct WirePod {
    uid: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    name: Option<(String, String)>,
}

impl From<&Author> for WireAuthor {
    fn from(author: &Author) -> Self {
        let Author { pid, name, executable, command_line, parents, container, pod } = author.clone();
        let ancestor = |Ancestor { pid, name, command_line }| WireAncestor { pid, name, command_line };
        Self {
            pid,
            name,
            executable,
            command_line,
            parents: parents.into_iter().map(ancestor).collect(),
            container,
            pod: pod.map(|PodHint { uid, name }| WirePod { uid, name }),
        }
    }
}

impl From<WireAuthor> for Author {
    fn from(author: WireAuthor) -> Self {
        let WireAuthor { pid, name, executable, command_line, parents, container, pod } = author;
        let ancestor = |WireAncestor { pid, name, command_line }| Ancestor { pid, name, command_line };
        Self {
            pid,
            name,
            executable,
            command_line,
            parents: parents.into_iter().map(ancestor).collect(),
            container,
            pod: pod.map(|WirePod { uid, name }| PodHint { uid, name }),
        }
    }
}

/// Authors as JSON; none for none.
pub(super) fn authors_to_json(authors: &[Arc<Author>]) -> rusqlite::Result<Option<String>> {
    if authors.is_empty() {
        return Ok(None);
    }
    let wire: Vec<_> = authors.iter().map(|author| WireAuthor::from(&**author)).collect();
    let fault = |error| rusqlite::Error::ToSqlConversionFailure(Box::new(error));
    serde_json::to_string(&wire).map(Some).map_err(fault)
}

/// What [`authors_to_json`] wrote.
pub(super) fn authors_from_json(json: &str) -> rusqlite::Result<Vec<Arc<Author>>> {
    let wire: Vec<WireAuthor> = serde_json::from_str(json)
        .map_err(|error| rusqlite::Error::FromSqlConversionFailure(0, Type::Text, Box::new(error)))?;
    Ok(wire.into_iter().map(|author| Arc::new(Author::from(author))).collect())
}

/// A name that no version of this program ever wrote.
#[derive(Debug, thiserror::Error)]
#[error("no {what} has the name {name:?}")]
struct UnknownName {
    what: &'static str,
    name: String,
}

fn known<T>(what: &'static str, found: Option<T>, name: &str) -> rusqlite::Result<T> {
    found.ok_or_else(|| {
        let error = UnknownName { what, name: name.to_owned() };
        rusqlite::Error::FromSqlConversionFailure(0, Type::Text, Box::new(error))
    })
}

pub(super) fn backend(name: &str) -> rusqlite::Result<Backend> {
    known("backend", Backend::ALL.into_iter().find(|backend| backend.as_str() == name), name)
}

pub(super) fn family(name: &str) -> rusqlite::Result<Family> {
    known("family", Family::from_name(name), name)
}

pub(super) fn kind(name: &str) -> rusqlite::Result<Kind> {
    known("kind", Kind::ALL.into_iter().find(|kind| kind.as_str() == name), name)
}

pub(super) fn verdict(name: &str) -> rusqlite::Result<Verdict> {
    let all = [Verdict::Compliant, Verdict::Violations, Verdict::Unknown];
    known("verdict", all.into_iter().find(|verdict| verdict.as_str() == name), name)
}

/// What the column `judged` holds for a line that is allowed.
pub(super) const ALLOWED: i64 = judged_number(Judged::Allowed);
/// What it holds for one that is not judged.
pub(super) const NOT_JUDGED: i64 = judged_number(Judged::NotJudged);
/// What it holds for one that is unexpected.
pub(super) const UNEXPECTED: i64 = judged_number(Judged::Unexpected);

/// A number and no name: the first two are what the column held when it said only whether a line was allowed.
pub(super) const fn judged_number(judged: Judged) -> i64 {
    match judged {
        Judged::Unexpected => 0,
        Judged::Allowed => 1,
        Judged::NotJudged => 2,
    }
}

pub(super) fn judged(number: i64) -> rusqlite::Result<Judged> {
    let found = Judged::ALL.into_iter().find(|judged| judged_number(*judged) == number);
    known("judgement", found, &number.to_string())
}

pub(super) fn happening(name: &str) -> rusqlite::Result<Happening> {
    known("change", Happening::from_name(name), name)
}

pub(super) const fn watch_name(watch: Watch) -> &'static str {
    match watch {
        Watch::Watched => "watched",
        Watch::Resumed { .. } => "resumed",
        Watch::CaughtUp => "caught up",
    }
}

pub(super) fn watch(name: &str, since: Option<SystemTime>) -> rusqlite::Result<Watch> {
    let all = [Watch::Watched, Watch::Resumed { since }, Watch::CaughtUp];
    known("way of noticing", all.into_iter().find(|watch| watch_name(*watch) == name), name)
}
