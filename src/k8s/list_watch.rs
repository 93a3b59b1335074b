//! The one loop that shows what there is of a kind and then each change, for ever: a list page by page where that is asked
//! for, and a watch after the other. What is not granted is not tried. Keeps nothing of what it shows, and logs nothing.
//!
//! *Source*: Kubernetes API concepts, "Efficient detection of changes", "Semantics for watch", "Retrieving large results
//! sets in chunks" and "Watch bookmarks".

use std::time::Duration;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::time::{Instant, sleep};

use super::access::{Object, may};
use super::client::{ApiServer, Operation, Resource, Verb, random, segment};
use super::failure::{Class, Failure};
use super::watch_stream::{Event, WatchStream};
use crate::domain::words::backoff::{Pace, delay};

/// Objects of one page, and of one that turned out too large: a tenant may fill its objects with text.
const PAGE: [u32; 2] = [100, 2];
/// A watch lasts so many seconds at least and at most, so that not all nodes begin anew together.
const LIFETIME_SECONDS: (u64, u64) = (240, 290);
/// A watch that lasted so long was a good one.
const STEADY: Duration = Duration::from_secs(30);
/// It begins at most this often, also where an API server ends each watch at once.
const AT_MOST_EVERY: Duration = Duration::from_secs(1);

/// What is listed and watched.
#[derive(Clone, Debug)]
pub(super) struct Collection {
    pub resource: Resource,
    /// Where all objects of the kind are.
    pub path: &'static str,
    /// The field by which they are chosen, and its value; none for all.
    pub field: Option<(&'static str, String)>,
}

impl Collection {
    /// The address of a part of it.
    fn uri(&self, query: &str) -> String {
        match &self.field {
            None => format!("{}?{query}", self.path),
            Some((field, value)) => {
                format!("{}?{query}&fieldSelector={field}%3D{}", self.path, segment(value))
            }
        }
    }

    /// Fails where the API server says that this is not granted. Where it does not say, the attempt will show.
    async fn require(&self, api: &ApiServer, verb: Verb) -> Result<(), Failure> {
        let operation = Operation::new(verb, self.resource);
        let object = match &self.field {
            Some((field, value)) => Object::Where(field, value),
            None => Object::Every,
        };
        match may(api, operation, object).await {
            Ok(false) => Err(Failure::new(operation, Class::Forbidden, "")),
            Ok(true) | Err(_) => Ok(()),
        }
    }
}

/// How the loop begins and how it fails.
#[derive(Clone, Copy, Debug)]
pub(super) struct Habits {
    /// Whether there is a list first, from which the watch goes on; what is granted is found out before. Without, a watch
    /// begins with what there is, and no 410 leads anywhere.
    pub has_list: bool,
    /// After so many failures pauses grow no further.
    pub most_failures: u32,
    /// A refusal after so many is found out again after this time.
    pub refused: Option<Duration>,
}

/// What the loop shows.
#[derive(Debug)]
pub enum News<T> {
    /// A list begins.
    Listing,
    /// The list is complete: what it did not show since it began is gone.
    Listed,
    /// This has changed, or is there.
    Change(T),
    /// The watch shows what happens.
    Works,
    /// Nothing is shown until it works again; it is tried again.
    Failed(Failure),
}

/// Whether an object is there or was deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Present,
    Deleted,
}

/// Hands every object to `sink`, page by page, and returns the version from which to watch. Unless it `is_granted`, that is
/// asked for first; how it went is noted there.
///
/// # Errors
/// See [`Class`]; with [`Class::Gone`] the list took too long and must begin again.
pub(super) async fn list<R: DeserializeOwned>(
    api: &ApiServer,
    what: &Collection,
    is_granted: &mut bool,
    sink: impl FnMut(R),
) -> Result<String, Failure> {
    if !*is_granted {
        what.require(api, Verb::List).await?;
    }
    let listed = each_page(api, what, sink).await;
    *is_granted = !listed.as_ref().is_err_and(|failure| failure.class == Class::Forbidden);
    listed
}

async fn each_page<R: DeserializeOwned>(
    api: &ApiServer,
    what: &Collection,
    mut sink: impl FnMut(R),
) -> Result<String, Failure> {
    let operation = Operation::new(Verb::List, what.resource);
    let mut go_on = String::new();
    let [usual, small] = PAGE;
    let mut limit = usual;
    loop {
        let place = if go_on.is_empty() { String::new() } else { format!("&continue={}", segment(&go_on)) };
        let page = api.call::<Page<R>>(operation, &what.uri(&format!("limit={limit}{place}")), None).await;
        let page = match page {
            Err(failure) if failure.class == Class::Unexpected && limit != small => {
                limit = small;
                continue;
            }
            page => page?,
        };
        limit = usual;
        page.items.into_iter().for_each(&mut sink);
        go_on = page.metadata.go_on;
        if go_on.is_empty() {
            return Ok(page.metadata.resource_version);
        }
    }
}

/// Shows what there is, and what changes, for ever. `read` makes of an object what is told of it; none for nothing.
pub(super) async fn keep<R: DeserializeOwned, T>(
    api: &ApiServer,
    what: &Collection,
    habits: Habits,
    read: impl Fn(R, State) -> Option<T>,
    mut tell: impl FnMut(News<T>),
) {
    let mut place = Place::default();
    let mut failures = 0_u32;
    loop {
        let began = Instant::now();
        let shown = show(api, what, habits, &mut place, &read, &mut tell).await;
        let took = began.elapsed();
        // a watch that goes on where the one before ended has cost nobody much
        let was_good = took >= STEADY || (habits.has_list && shown.is_ok());
        failures = if was_good { 1 } else { (failures + 1).min(habits.most_failures) };
        let pause = match shown {
            Ok(()) => delay(Pace::Soon, failures, None, random()),
            Err(failure) => {
                let pause = pause(&failure, failures, habits, place.may_watch);
                tell(News::Failed(failure));
                pause
            }
        };
        sleep(pause.max(AT_MOST_EVERY.saturating_sub(took))).await;
    }
}

fn pause(failure: &Failure, failures: u32, habits: Habits, was_granted: bool) -> Duration {
    let pace = match (failure.class, habits.refused) {
        (Class::Forbidden, Some(refused)) if failures == habits.most_failures => return refused,
        // an API server that is about to start refuses what it will grant
        (Class::Forbidden, _) if was_granted => Pace::Soon,
        (class, _) => class.pace(),
    };
    delay(pace, failures, failure.retry_after, random())
}

/// Where the loop stands.
#[derive(Default)]
struct Place {
    /// The version from which to watch; none if there must be a list first.
    version: Option<String>,
    may_list: bool,
    may_watch: bool,
}

/// A list if there must be one, and one watch. Returns well when the API server has ended that as agreed.
async fn show<R: DeserializeOwned, T>(
    api: &ApiServer,
    what: &Collection,
    habits: Habits,
    place: &mut Place,
    read: &impl Fn(R, State) -> Option<T>,
    tell: &mut impl FnMut(News<T>),
) -> Result<(), Failure> {
    if habits.has_list && place.version.is_none() {
        tell(News::Listing);
        let version = list(api, what, &mut place.may_list, |object| {
            if let Some(change) = read(object, State::Present) {
                tell(News::Change(change));
            }
        });
        place.version = Some(version.await?);
        tell(News::Listed);
    }
    let watched = watch(api, what, habits, place, read, tell).await;
    if let Err(failure) = &watched
        // without the right to watch, a list is all there is
        && (failure.class == Class::Gone || (failure.class == Class::Forbidden && !place.may_watch))
    {
        place.version = None;
    }
    watched
}

async fn watch<R: DeserializeOwned, T>(
    api: &ApiServer,
    what: &Collection,
    habits: Habits,
    place: &mut Place,
    read: &impl Fn(R, State) -> Option<T>,
    tell: &mut impl FnMut(News<T>),
) -> Result<(), Failure> {
    if habits.has_list && !place.may_watch {
        what.require(api, Verb::Watch).await?;
    }
    let (shortest, longest) = LIFETIME_SECONDS;
    let lifetime = Duration::from_secs(shortest + random() % (longest - shortest));
    let from = match &place.version {
        Some(version) => format!("&allowWatchBookmarks=true&resourceVersion={}", segment(version)),
        None => String::new(),
    };
    let uri = what.uri(&format!("watch=true&timeoutSeconds={}{from}", lifetime.as_secs()));
    let mut stream =
        WatchStream::open(api, Operation::new(Verb::Watch, what.resource), &uri, lifetime).await?;
    place.may_watch = true;
    let mut works = false;
    while let Some(Seen { version, change }) = stream.next(api, |event| seen(event, read)).await? {
        // that a watch could be opened does not say that it shows anything
        if !std::mem::replace(&mut works, true) {
            tell(News::Works);
        }
        if habits.has_list {
            place.version = version.or(place.version.take());
        }
        if let Some(change) = change {
            tell(News::Change(change));
        }
    }
    if !works {
        tell(News::Works);
    }
    Ok(())
}

/// What an event of a watch says.
struct Seen<T> {
    /// The version from which to go on.
    version: Option<String>,
    /// None for what is no change.
    change: Option<T>,
}

fn seen<R: DeserializeOwned, T>(
    event: Event,
    read: &impl Fn(R, State) -> Option<T>,
) -> serde_json::Result<Option<Seen<T>>> {
    let version =
        event.object.pointer("/metadata/resourceVersion").and_then(Value::as_str).map(str::to_owned);
    let state = match event.kind.as_str() {
        "ADDED" | "MODIFIED" => Some(State::Present),
        "DELETED" => Some(State::Deleted),
        _ => None,
    };
    let change = match state {
        Some(state) => read(serde_json::from_value(event.object)?, state),
        None => None,
    };
    Ok(Some(Seen { version, change }))
}

#[derive(Deserialize)]
#[serde(bound(deserialize = "T: Deserialize<'de>"))]
struct Page<T> {
    #[serde(default)]
    metadata: ListMetadata,
    #[serde(default = "Vec::new", deserialize_with = "null_is_empty")]
    items: Vec<T>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct ListMetadata {
    resource_version: String,
    #[serde(rename = "continue")]
    go_on: String,
}

/// Go writes an empty list as `null` at times.
pub(super) fn null_is_empty<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

#[cfg(test)]
mod tests;
