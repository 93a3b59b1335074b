//! How a call of the API server fails: a closed set of classes, each with a sentence for people.
//! Does not retry: a class only says how soon that makes sense.

use std::fmt;
use std::time::Duration;

use http::{HeaderMap, StatusCode};

use super::operation::Operation;
use crate::domain::words::backoff::Pace;
use crate::domain::words::cut;
use crate::domain::words::escape;

/// A failed call says no more than this.
const DETAIL_BYTES: usize = 300;

/// Every way to fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// 401: the token is not (or no longer) valid.
    Unauthorized,
    /// 403: RBAC grants too little.
    Forbidden,
    /// 404 for an object: it does not exist.
    NotFound,
    /// 404 for a kind of objects: the API server does not know it.
    UnknownResource,
    /// 409: someone else changed the object meanwhile.
    Conflict,
    /// 409 for a creation: there is an object of that name.
    AlreadyExists,
    /// 410.
    Gone,
    /// 400, 422: what was written is not valid.
    Invalid,
    /// 429: too many requests.
    TooManyRequests,
    /// 5xx.
    ServerError,
    /// No answer before the deadline.
    Timeout,
    /// No connection, or it broke.
    Unreachable,
    /// A patch was answered with success and the object does not hold what was written.
    NotApplied,
    /// An answer that was not foreseen.
    Unexpected,
}

impl Class {
    /// Every class.
    pub const ALL: [Self; 14] = [
        Self::Unauthorized,
        Self::Forbidden,
        Self::NotFound,
        Self::UnknownResource,
        Self::Conflict,
        Self::AlreadyExists,
        Self::Gone,
        Self::Invalid,
        Self::TooManyRequests,
        Self::ServerError,
        Self::Timeout,
        Self::Unreachable,
        Self::NotApplied,
        Self::Unexpected,
    ];

    /// The name used in metric labels.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unauthorized => "unauthorized",
            Self::Forbidden => "forbidden",
            Self::NotFound => "not_found",
            Self::UnknownResource => "unknown_resource",
            Self::Conflict => "conflict",
            Self::AlreadyExists => "already_exists",
            Self::Gone => "gone",
            Self::Invalid => "invalid",
            Self::TooManyRequests => "too_many_requests",
            Self::ServerError => "server_error",
            Self::Timeout => "timeout",
            Self::Unreachable => "unreachable",
            Self::NotApplied => "not_applied",
            Self::Unexpected => "unexpected",
        }
    }

    /// How soon it makes sense to try again.
    pub const fn pace(self) -> Pace {
        match self {
            Self::Forbidden | Self::UnknownResource | Self::Invalid | Self::NotApplied => Pace::Slow,
            _ => Pace::Soon,
        }
    }

    fn of(status: StatusCode, operation: Operation, answer: &Status) -> Self {
        match status.as_u16() {
            401 => Self::Unauthorized,
            403 => Self::Forbidden,
            404 if operation.verb.names_an_object() && answer.details.name.is_empty() => {
                Self::UnknownResource
            }
            404 if !operation.verb.names_an_object() => Self::UnknownResource,
            404 => Self::NotFound,
            409 if answer.reason == "AlreadyExists" => Self::AlreadyExists,
            409 => Self::Conflict,
            410 => Self::Gone,
            400 | 422 => Self::Invalid,
            429 => Self::TooManyRequests,
            500..=599 => Self::ServerError,
            _ => Self::Unexpected,
        }
    }
}

/// A call that failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Failure {
    /// What was attempted.
    pub operation: Operation,
    /// How it failed.
    pub class: Class,
    /// What was answered: printable, of bounded length.
    pub detail: String,
    /// How long the API server asks to wait.
    pub retry_after: Option<Duration>,
}

/// A faulty proxy must not silence the agent for a day.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(600);

impl Failure {
    /// A failure of this class; the detail may be untrusted.
    pub fn new(operation: Operation, class: Class, detail: &str) -> Self {
        let detail = cut::to_bytes(&escape::line(detail.as_bytes()).text, DETAIL_BYTES);
        Self { operation, class, detail, retry_after: None }
    }

    /// A failure that is told within an answer; what is no `v1.Status` is unexpected.
    pub(super) fn told(operation: Operation, status: &[u8]) -> Self {
        let code = serde_json::from_slice(status).map_or(0, |answer: Status| answer.code);
        Self::answered(operation, StatusCode::from_u16(code).unwrap_or_default(), &HeaderMap::new(), status)
    }

    pub(super) fn answered(
        operation: Operation,
        status: StatusCode,
        headers: &HeaderMap,
        body: &[u8],
    ) -> Self {
        let answer: Status = serde_json::from_slice(body).unwrap_or_default();
        let seconds =
            headers.get(http::header::RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
        let seconds = seconds.or(answer.details.retry_after_seconds);
        let text = match answer.message.as_str() {
            "" => String::from_utf8_lossy(body),
            message => message.into(),
        };
        let failure = Self::new(
            operation,
            Class::of(status, operation, &answer),
            &format!("{status}: {}", text.trim()),
        );
        Self {
            retry_after: seconds.map(|seconds| Duration::from_secs(seconds).min(MAX_RETRY_AFTER)),
            ..failure
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { operation, class, detail, .. } = self;
        let (verb, resource) = (operation.verb.rbac(), operation.resource.as_str());
        write!(f, "cannot {verb} {resource}: ")?;
        match class {
            Class::Unauthorized => write!(f, "the API server does not accept this ServiceAccount's token"),
            Class::Forbidden => write!(f, "RBAC must grant the verb `{verb}` on the resource `{resource}`"),
            Class::NotFound => write!(f, "it does not exist (yet)"),
            Class::UnknownResource => {
                write!(f, "the API server knows no {resource}{}", operation.resource.advice())
            }
            Class::Conflict => write!(f, "it was changed meanwhile"),
            Class::AlreadyExists => write!(f, "there is one of that name"),
            Class::Gone => write!(f, "it is gone"),
            Class::Invalid => write!(f, "the API server finds it invalid"),
            Class::TooManyRequests => write!(f, "the API server asks to slow down"),
            Class::ServerError => write!(f, "the API server failed"),
            Class::Timeout => write!(f, "no answer before the deadline"),
            Class::Unreachable => write!(f, "no connection to the API server"),
            Class::NotApplied => write!(f, "it was accepted and not applied; something else writes it back"),
            Class::Unexpected => write!(f, "unexpected answer"),
        }?;
        if detail.is_empty() { Ok(()) } else { write!(f, " ({detail})") }
    }
}

/// What of a `v1.Status` counts here.
///
/// *Source*: Kubernetes API conventions, "Response Status Kind".
#[derive(Debug, Default, serde::Deserialize)]
#[serde(default)]
struct Status {
    message: String,
    reason: String,
    code: u16,
    details: StatusDetails,
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(default)]
struct StatusDetails {
    name: String,
    #[serde(rename = "retryAfterSeconds")]
    retry_after_seconds: Option<u64>,
}

#[cfg(test)]
mod tests {
    use super::super::client::{Resource, Verb};
    use super::*;

    const PATCH: Operation = Operation::new(Verb::Patch, Resource::CiliumNode);
    const CREATE: Operation = Operation::new(Verb::Create, Resource::Event);

    fn class(status: u16, operation: Operation, body: &str) -> Class {
        let status = StatusCode::from_u16(status).unwrap();
        Failure::answered(operation, status, &HeaderMap::new(), body.as_bytes()).class
    }

    #[test]
    fn each_answer_has_its_class() {
        let named = r#"{"kind":"Status","reason":"NotFound","details":{"name":"n","kind":"ciliumnodes"}}"#;
        for (status, body, expected) in [
            (401, "{}", Class::Unauthorized),
            (403, "{}", Class::Forbidden),
            (404, named, Class::NotFound),
            (404, "404 page not found\n", Class::UnknownResource),
            (404, r#"{"reason":"NotFound","details":{}}"#, Class::UnknownResource),
            (409, r#"{"reason":"AlreadyExists"}"#, Class::AlreadyExists),
            (409, r#"{"reason":"Conflict"}"#, Class::Conflict),
            (410, "", Class::Gone),
            (422, "{}", Class::Invalid),
            (429, "", Class::TooManyRequests),
            (500, "<html>", Class::ServerError),
            (504, "", Class::ServerError),
            (302, "", Class::Unexpected),
        ] {
            assert_eq!(class(status, PATCH, body), expected, "{status} {body}");
        }
        assert_eq!(class(404, CREATE, named), Class::UnknownResource);
        let names: std::collections::BTreeSet<_> = Class::ALL.map(Class::as_str).into();
        assert_eq!(names.len(), Class::ALL.len());
    }

    #[test]
    fn the_wish_to_wait_is_in_the_header_or_the_status() {
        let mut headers = HeaderMap::new();
        let wish = |headers: &HeaderMap, body: &str| {
            let status = StatusCode::TOO_MANY_REQUESTS;
            Failure::answered(CREATE, status, headers, body.as_bytes()).retry_after
        };
        assert_eq!(wish(&headers, r#"{"details":{"retryAfterSeconds":7}}"#), Some(Duration::from_secs(7)));
        headers.insert("retry-after", "5".parse().unwrap());
        assert_eq!(wish(&headers, "{}"), Some(Duration::from_secs(5)));
        headers.insert("retry-after", "Fri, 31 Dec 1999 23:59:59 GMT".parse().unwrap());
        assert_eq!(wish(&headers, "not json"), None);
    }

    #[test]
    fn a_refusal_names_what_rbac_must_grant() {
        let failure = Failure::new(PATCH, Class::Forbidden, "no\n\x1b[2J");
        assert_eq!(
            failure.to_string(),
            "cannot patch ciliumnodes.cilium.io: RBAC must grant the verb `patch` on the resource \
             `ciliumnodes.cilium.io` (no\\n\\x{1b}[2J)"
        );
        assert!(Failure::new(PATCH, Class::Gone, &"x".repeat(9999)).detail.len() <= DETAIL_BYTES);
    }
}
