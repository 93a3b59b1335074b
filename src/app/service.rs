//! A service: one part of the agent that runs until it is told to end. Every task and every thread of the agent belongs to
//! one, so that none dies unseen: a service that ends unasked is a [`Fault`], and the agent ends with it.
//! Knows none of them; `agent` lists them.

use std::any::Any;
use std::future::{Future, poll_fn};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::task::Poll;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinError;
use tokio::time::{Instant, timeout_at};

use super::ending::Ending;
use crate::domain::words::error_chain::chain_of;
use crate::domain::words::{cut, escape};

/// So much is told of a panic; it may quote anything.
const MESSAGE_BYTES: usize = 1000;

/// What ends a service, or a part of one, though nobody asked it to end.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// It came to its end.
    #[error("it came to an end by itself")]
    Ended,
    /// It panicked: an error of this program. The message is printable.
    #[error("it panicked: {0}")]
    Panicked(String),
    /// A part of it is no more, and it cannot be without.
    #[error("{part}")]
    Part {
        /// Which part, printable.
        part: String,
        /// What ended it.
        source: Box<Fault>,
    },
    /// Something that it cannot be without does not work.
    #[error("{attempt}")]
    Failed {
        /// What was attempted, on what.
        attempt: &'static str,
        /// What came of it.
        source: io::Error,
    },
}

impl Fault {
    /// The same, of a part.
    pub fn of(self, part: impl Into<String>) -> Self {
        Self::Part { part: part.into(), source: Box::new(self) }
    }

    /// Whether nothing went wrong but that it came to an end.
    pub fn is_mere_end(&self) -> bool {
        match self {
            Self::Ended => true,
            Self::Part { source, .. } => source.is_mere_end(),
            Self::Panicked(_) | Self::Failed { .. } => false,
        }
    }

    fn panicked(payload: &(dyn Any + Send)) -> Self {
        let text = payload.downcast_ref::<&str>().copied();
        let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
        let text = escape::line(text.unwrap_or("without a message").as_bytes()).text;
        Self::Panicked(cut::to_bytes(&text, MESSAGE_BYTES))
    }
}

impl From<JoinError> for Fault {
    fn from(error: JoinError) -> Self {
        error.try_into_panic().map_or(Self::Ended, |payload| Self::panicked(&*payload))
    }
}

/// A service that is no more though nobody asked it to end.
#[derive(Debug, thiserror::Error)]
#[error(
    "the service {name} has ended, and nobody asked it to: the agent ends with it, and is to be started again"
)]
pub struct ServiceError {
    /// The service.
    pub name: &'static str,
    /// What ended it.
    #[source]
    pub fault: Fault,
}

/// How a service learns that it is to end; a clone learns the same.
#[derive(Clone, Debug)]
pub struct Stopping(watch::Receiver<Option<Ending>>);

impl Stopping {
    /// Waits until all is to end, and says how it does.
    pub async fn wait(&mut self) -> Ending {
        // whoever can tell no more has ended
        self.0.wait_for(Option::is_some).await.map_or(None, |ending| *ending).unwrap_or(Ending::Stopped)
    }
}

/// A service that runs, as a task.
#[derive(Debug)]
pub struct Service {
    name: &'static str,
    handle: tokio::task::JoinHandle<Result<Ending, Fault>>,
    stop: watch::Sender<Option<Ending>>,
}

impl Service {
    /// Starts a service that returns soon once it is told to end, and before only when nothing is left to be done by
    /// anybody ([`Ending::Compliant`]).
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn start<W>(name: &'static str, work: impl FnOnce(Stopping) -> W) -> Self
    where
        W: Future<Output = Result<Ending, Fault>> + Send + 'static,
    {
        let (stop, stopping) = watch::channel(None);
        Self { name, handle: tokio::spawn(work(Stopping(stopping))), stop }
    }

    /// Starts a service that never returns, and may be left where it is in the end.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn endless(name: &'static str, work: impl Future<Output = ()> + Send + 'static) -> Self {
        Self::start(name, |mut stopping| async move {
            tokio::select! {
                ending = stopping.wait() => Ok(ending),
                () = work => Err(Fault::Ended),
            }
        })
    }

    /// Starts a service whose work may be done some day, and that may be left where it is before.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn errand(name: &'static str, work: impl Future<Output = ()> + Send + 'static) -> Self {
        Self::endless(name, async {
            work.await;
            std::future::pending().await
        })
    }

    /// Its name.
    pub const fn name(&self) -> &'static str {
        self.name
    }
}

/// Waits until one of them ends; for ever if there is none. That one is no longer among them then.
///
/// # Errors
/// If nobody wanted that end.
pub async fn first_end(services: &mut Vec<Service>) -> Result<Ending, ServiceError> {
    let mut handles: Vec<_> = services.iter_mut().map(|service| &mut service.handle).collect();
    let (place, result) = first_of(&mut handles).await;
    let name = services.remove(place).name;
    match result.unwrap_or_else(|error| Err(error.into())) {
        Ok(Ending::Compliant) => Ok(Ending::Compliant),
        Ok(Ending::Stopped) => Err(ServiceError { name, fault: Fault::Ended }),
        Err(fault) => Err(ServiceError { name, fault }),
    }
}

/// Tells all of them at once to end, and gives them this long. Who is not done then is left where it is.
pub async fn stop(services: Vec<Service>, ending: Ending, within: Duration) {
    let end = Instant::now() + within;
    for service in &services {
        service.stop.send_replace(Some(ending));
    }
    for Service { name, mut handle, stop } in services {
        match timeout_at(end, &mut handle).await {
            Ok(Ok(Ok(_))) => {}
            Ok(Ok(Err(fault))) => complain(name, &fault),
            Ok(Err(error)) => complain(name, &error.into()),
            Err(_) => {
                log::debug!("the service {name} does not end in time");
                handle.abort();
            }
        }
        drop(stop);
    }
}

fn complain(name: &str, fault: &Fault) {
    log::warn!("while the agent ended, something went wrong in the service {name}: {}", chain_of(fault));
}

/// Waits for the first of these, and says which one it is; for ever if there is none.
pub async fn first_of<F: Future + Unpin>(futures: &mut [F]) -> (usize, F::Output) {
    poll_fn(|context| {
        let mut ready = futures.iter_mut().enumerate().filter_map(|(place, future)| {
            match Pin::new(future).poll(context) {
                Poll::Ready(output) => Some((place, output)),
                Poll::Pending => None,
            }
        });
        ready.next().map_or(Poll::Pending, Poll::Ready)
    })
    .await
}

/// A thread of a service. It is told to end by whoever started it.
#[derive(Debug)]
pub struct Thread<T> {
    name: &'static str,
    handle: JoinHandle<T>,
    /// Says why it panicked, and closes with the thread.
    ended: watch::Receiver<Option<String>>,
}

impl<T: Send + 'static> Thread<T> {
    /// Starts a thread of this name, of which the kernel shows 15 bytes.
    ///
    /// # Errors
    /// If no thread can be had.
    pub fn start(name: &'static str, work: impl FnOnce() -> T + Send + 'static) -> io::Result<Self> {
        let (end, ended) = watch::channel(None);
        let handle = std::thread::Builder::new().name(name.to_owned()).spawn(move || {
            // what a panic leaves half done is seen by nobody who goes on
            catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|payload| {
                if let Fault::Panicked(text) = Fault::panicked(&*payload) {
                    end.send_replace(Some(text));
                }
                resume_unwind(payload)
            })
        })?;
        Ok(Self { name, handle, ended })
    }

    /// Waits until it has ended, and says what that is if nobody asked it to. Loses nothing when it is dropped.
    pub async fn ended(&self) -> Fault {
        let mut ended = self.ended.clone();
        let fault = match ended.wait_for(Option::is_some).await {
            Ok(text) => text.clone().map_or(Fault::Ended, Fault::Panicked),
            Err(_) => Fault::Ended,
        };
        fault.of(format!("its thread {}", self.name))
    }

    /// Waits until it has ended, without regard to others on this thread.
    ///
    /// # Errors
    /// If it panicked.
    pub fn join(self) -> Result<T, Fault> {
        let Self { name, handle, .. } = self;
        handle.join().map_err(|payload| Fault::panicked(&*payload).of(format!("its thread {name}")))
    }
}

/// The signals that ask for the end.
#[derive(Debug)]
pub struct Shutdown {
    terminate: Signal,
    interrupt: Signal,
}

impl Shutdown {
    /// From now on they are waited for, and no longer kill the process.
    ///
    /// # Errors
    /// If the kernel takes no handler.
    pub fn install() -> io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// Waits for one.
    pub async fn wait(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    const LONG: Duration = Duration::from_secs(30);

    fn forever(name: &'static str) -> Service {
        Service::endless(name, std::future::pending())
    }

    /// The death of one service among others that live, as the process tells it.
    async fn death(services: Vec<Service>) -> String {
        let mut services: Vec<_> =
            [forever("before")].into_iter().chain(services).chain([forever("behind")]).collect();
        let error = first_end(&mut services).await.unwrap_err();
        assert!(services.iter().all(|service| service.name != error.name), "it is listed still");
        stop(services, Ending::Stopped, LONG).await;
        chain_of(&error)
    }

    fn told(name: &str, fault: &str) -> String {
        format!(
            "the service {name} has ended, and nobody asked it to: the agent ends with it, and is to be started again: {fault}"
        )
    }

    #[tokio::test]
    async fn a_panic_ends_all_and_names_the_service() {
        let (number, text) = (7, "\x1b[31m\n");
        let dying = Service::start("label", |_| async move { panic!("made up {number} {text}") });
        let expected = told("label", r"it panicked: made up 7 \x{1b}[31m\n");
        assert_eq!(death(vec![dying]).await, expected);
        let dying = Service::endless("label", async { panic!("made up") });
        assert_eq!(death(vec![dying]).await, told("label", "it panicked: made up"));
        let dying = Service::endless("label", async { std::panic::panic_any(7) });
        assert_eq!(death(vec![dying]).await, told("label", "it panicked: without a message"));
    }

    #[tokio::test]
    async fn an_end_that_nobody_asked_for_is_told_too() {
        let ended = "it came to an end by itself";
        let quiet = Service::start("quiet", |_| async { Ok(Ending::Stopped) });
        assert_eq!(death(vec![quiet]).await, told("quiet", ended));
        assert_eq!(death(vec![Service::endless("quiet", async {})]).await, told("quiet", ended));
        let source = io::ErrorKind::NotFound.into();
        let failing =
            Service::start("failing", |_| async { Err(Fault::Failed { attempt: "trying", source }) });
        assert_eq!(death(vec![failing]).await, told("failing", "trying: entity not found"));
    }

    #[tokio::test]
    async fn nothing_left_to_do_is_no_fault() {
        let mut services =
            vec![forever("before"), Service::start("checks", |_| async { Ok(Ending::Compliant) })];
        assert_eq!(first_end(&mut services).await.unwrap(), Ending::Compliant);
        assert_eq!(services.iter().map(Service::name).collect::<Vec<_>>(), ["before"]);
    }

    #[tokio::test]
    async fn a_thread_is_a_part_of_its_service() {
        let guarded =
            |thread: Thread<()>| Service::start("drops", |_| async move { Err(thread.ended().await) });
        let panicking = Thread::start("folding", || panic!("made up")).unwrap();
        let expected = told("drops", "its thread folding: it panicked: made up");
        assert_eq!(death(vec![guarded(panicking)]).await, expected);
        let expected = told("drops", "its thread folding: it came to an end by itself");
        assert_eq!(death(vec![guarded(Thread::start("folding", || ()).unwrap())]).await, expected);
        let panicking: Thread<()> = Thread::start("folding", || panic!("made up")).unwrap();
        assert_eq!(chain_of(&panicking.join().unwrap_err()), "its thread folding: it panicked: made up");
        assert_eq!(Thread::start("folding", || 7).unwrap().join().unwrap(), 7);
    }

    #[tokio::test(start_paused = true)]
    async fn all_are_told_and_have_time_to_end() {
        let has_said_goodbye = Arc::new(AtomicBool::new(false));
        let said = Arc::clone(&has_said_goodbye);
        let polite = Service::start("polite", |mut stopping| async move {
            let ending = stopping.wait().await;
            tokio::time::sleep(Duration::from_secs(1)).await;
            said.store(ending == Ending::Compliant, Ordering::Relaxed);
            Ok(ending)
        });
        let deaf = Service::start("deaf", |_| std::future::pending());
        let begun = Instant::now();
        stop(vec![deaf, polite], Ending::Compliant, Duration::from_secs(2)).await;
        assert_eq!(begun.elapsed(), Duration::from_secs(2), "the deaf one is waited for no longer");
        assert!(has_said_goodbye.load(Ordering::Relaxed));
    }
}
