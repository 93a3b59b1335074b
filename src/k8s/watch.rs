//! A watch of one object: first what it is, then each change, until the API server ends it or nothing is to be expected any more.
//! Does not begin again by itself. There is no list before it and no version to go on from, so no 410 leads anywhere.
//!
//! *Source*: Kubernetes API concepts, "Efficient detection of changes" and "Semantics for watch": without a
//! resourceVersion, a watch begins with an ADDED for each object that exists.

use std::time::Duration;

use super::client::{ApiServer, Operation, Verb, segment};
use super::failure::Failure;
use super::label::{LabelObject, LabelWriter, Partial};
use super::watch_stream::{Event, WatchStream};
use crate::domain::cluster::keeper::Held;

/// What a watch shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sight {
    /// The object is there and holds this.
    Held(Held),
    /// It was deleted.
    Gone,
}

/// An open watch.
pub struct ObjectWatch {
    name: String,
    keys: Vec<String>,
    stream: WatchStream,
}

impl ObjectWatch {
    /// Begins to watch the object of this writer, for at most so long; whole seconds count.
    ///
    /// # Errors
    /// See [`Class`](super::failure::Class).
    pub async fn open(api: &ApiServer, writer: &LabelWriter, lifetime: Duration) -> Result<Self, Failure> {
        let LabelWriter { object, name, keys, .. } = writer;
        let operation = Operation::new(Verb::Watch, object.resource());
        let stream = WatchStream::open(api, operation, &path(*object, name, lifetime), lifetime).await?;
        Ok(Self { name: name.clone(), keys: keys.clone(), stream })
    }

    /// The next change; none when the API server ended the watch as agreed.
    ///
    /// # Errors
    /// See [`Class`](super::failure::Class); each is counted. The watch is over then.
    pub async fn next(&mut self, api: &ApiServer) -> Result<Option<Sight>, Failure> {
        let Self { name, keys, stream } = self;
        stream.next(api, |event| sight(event, name, keys)).await
    }
}

/// None for what says nothing of the object.
fn sight(event: Event, name: &str, keys: &[String]) -> serde_json::Result<Option<Sight>> {
    let is_deleted = match event.kind.as_str() {
        "ADDED" | "MODIFIED" => false,
        "DELETED" => true,
        _ => return Ok(None),
    };
    let object: Partial = serde_json::from_value(event.object)?;
    // a server that does not know the selector shows every object
    if !object.is_named(name) {
        return Ok(None);
    }
    Ok(Some(if is_deleted { Sight::Gone } else { Sight::Held(object.held(keys)) }))
}

fn path(object: LabelObject, name: &str, lifetime: Duration) -> String {
    format!(
        "{}?watch=true&timeoutSeconds={}&fieldSelector=metadata.name%3D{}",
        object.collection(),
        lifetime.as_secs(),
        segment(name)
    )
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use hyper::body::{Bytes, Frame};
    use kube::client::Body;
    use tokio::time::Instant;

    use super::super::client::ANSWER_BYTES;
    use super::super::failure::Class;
    use super::super::watch_stream::GRACE;
    use super::*;

    /// A body that says one thing, and then ends or stays silent.
    struct Spoken {
        text: Option<Bytes>,
        is_open: bool,
    }

    impl hyper::body::Body for Spoken {
        type Data = Bytes;
        type Error = std::io::Error;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
            match self.text.take() {
                Some(text) => Poll::Ready(Some(Ok(Frame::data(text)))),
                None if self.is_open => Poll::Pending,
                None => Poll::Ready(None),
            }
        }
    }

    /// What a watch shows that says this, and how it ends.
    async fn watched(text: &str, is_open: bool) -> (Vec<Sight>, Option<Class>) {
        let text = Bytes::from(text.to_owned());
        let service = tower::service_fn(move |_: http::Request<Body>| {
            let body = Spoken { text: Some(text.clone()), is_open };
            async { Ok::<_, kube::Error>(http::Response::new(body)) }
        });
        let api = ApiServer::new(kube::Client::new(service, "default"), GRACE, std::sync::Arc::new(|_| {}));
        let writer = LabelWriter::new(LabelObject::Node, "n", &["k".to_owned()]);
        let mut watch = ObjectWatch::open(&api, &writer, Duration::from_secs(290)).await.unwrap();
        let mut sights = Vec::new();
        loop {
            match watch.next(&api).await {
                Ok(Some(sight)) => sights.push(sight),
                Ok(None) => return (sights, None),
                Err(failure) => return (sights, Some(failure.class)),
            }
        }
    }

    fn held(version: u64, value: &str) -> Sight {
        let labels = BTreeMap::from([("k".to_owned(), value.to_owned())]);
        Sight::Held(Held { version: Some(version), labels, check: None })
    }

    const ADDED: &str = r#"{"type":"ADDED","object":{"metadata":{"name":"n","resourceVersion":"7","labels":{"k":"a","x":"y"}}}}"#;

    #[tokio::test]
    async fn each_line_is_a_change() {
        let text = format!(
            r#"{ADDED}
{{"type":"BOOKMARK","object":{{}}}}
{{"type":"MODIFIED","object":{{"metadata":{{"name":"other","resourceVersion":"8","labels":{{"k":"c"}}}}}}}}
{{"type":"DELETED","object":{{"metadata":{{"name":"n","labels":{{"k":"a"}}}}}}}}
{{"type":"MODIFIED","object":{{"metadata":{{"name":"n","resourceVersion":"9","labels":{{"k":"b"}}}}}}}}
"#
        );
        assert_eq!(watched(&text, false).await, (vec![held(7, "a"), Sight::Gone, held(9, "b")], None));
        assert_eq!(watched("", false).await, (Vec::new(), None));
    }

    #[tokio::test]
    async fn what_is_no_watch_is_an_error_of_its_class() {
        let status =
            r#"{"type":"ERROR","object":{"kind":"Status","code":410,"reason":"Expired","message":"x"}}"#;
        for (text, class) in [
            (format!("{status}\n"), Class::Gone),
            ("<html>\n".to_owned(), Class::Unexpected),
            ("{}\n".to_owned(), Class::Unexpected),
            (r#"{"type":"ADDED","object":7}"#.to_owned() + "\n", Class::Unexpected),
            (r#"{"type":"ADDED","obj"#.to_owned(), Class::Unreachable),
            ("x".repeat(ANSWER_BYTES + 1), Class::Unexpected),
        ] {
            assert_eq!(watched(&text, false).await, (Vec::new(), Some(class)), "{text:.80}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_watch_that_nobody_ends_is_given_up() {
        let began = Instant::now();
        let silent = watched(&format!("{ADDED}\n"), true).await;
        assert_eq!(silent, (vec![held(7, "a")], Some(Class::Timeout)));
        assert_eq!(began.elapsed().as_secs(), 300);
    }

    #[test]
    fn a_name_stands_for_one_object() {
        let path = path(LabelObject::Node, "a,b=c&d", Duration::from_secs(290));
        let expected =
            "/api/v1/nodes?watch=true&timeoutSeconds=290&fieldSelector=metadata.name%3Da%2Cb%3Dc%26d";
        assert_eq!(path, expected);
    }
}
