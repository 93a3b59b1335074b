//! Names of addresses from the DNS, asked for in the background: whoever asks gets what is known by now.
//! Waits for nothing and believes nothing: whoever owns an address chooses its name.

use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// One lookup takes as long as the resolver's own limits say (resolv.conf(5): 5 s, twice); so many run at a time.
const THREADS: usize = 4;
/// Lookups that wait; more are not asked for.
const WAITING: usize = 256;
/// Answers kept; more than addresses of one flood that are worth a name.
const ANSWERS: usize = 4096;
const KEEP_NAME: Duration = Duration::from_secs(600);
const KEEP_NOTHING: Duration = Duration::from_secs(120);
/// *Source*: RFC 1035 section 2.3.4.
const NAME_BYTES: usize = 253;

/// Asks the resolver of this node for the names of addresses.
#[derive(Debug)]
pub struct ReverseDns {
    answers: Answers,
    questions: SyncSender<IpAddr>,
    threads: Vec<JoinHandle<()>>,
}

type Answers = Arc<Mutex<HashMap<IpAddr, Answer>>>;

#[derive(Debug)]
struct Answer {
    /// None while it is asked for, and where there is none.
    name: Option<Arc<str>>,
    until: Instant,
}

impl ReverseDns {
    /// Starts the threads that ask. They end when this is dropped and their last question is answered.
    ///
    /// # Errors
    /// If no thread can be started.
    pub fn start() -> io::Result<Self> {
        Self::start_with(|ip| dns_lookup::lookup_addr(&ip).ok())
    }

    fn start_with(ask: impl Fn(IpAddr) -> Option<String> + Clone + Send + 'static) -> io::Result<Self> {
        let (questions, asked) = sync_channel(WAITING);
        let (answers, asked): (Answers, _) = (Arc::default(), Arc::new(Mutex::new(asked)));
        let threads = (0..THREADS).map(|_| {
            let (asked, answers, ask) = (Arc::clone(&asked), Arc::clone(&answers), ask.clone());
            std::thread::Builder::new().name("dns".into()).spawn(move || answer(&asked, &answers, ask))
        });
        let threads = threads.collect::<io::Result<_>>()?;
        Ok(Self { answers, questions, threads })
    }

    /// The name as far as it is known; an address that is asked about for the first time will be looked up.
    ///
    /// # Panics
    /// If a thread that asks has panicked: fewer and fewer names would be found, and nobody would know why.
    pub fn name(&self, ip: IpAddr, now: Instant) -> Option<Arc<str>> {
        assert!(!self.threads.iter().any(JoinHandle::is_finished), "a thread that asks the DNS has panicked");
        let mut answers = lock(&self.answers);
        if let Some(answer) = answers.get(&ip).filter(|answer| now < answer.until) {
            return answer.name.clone();
        }
        if answers.len() >= ANSWERS {
            answers.retain(|_, answer| now < answer.until);
        }
        if answers.len() < ANSWERS && self.questions.try_send(ip).is_ok() {
            answers.insert(ip, Answer { name: None, until: now + KEEP_NOTHING });
        }
        None
    }
}

fn answer(asked: &Mutex<Receiver<IpAddr>>, answers: &Answers, ask: impl Fn(IpAddr) -> Option<String>) {
    loop {
        let next = asked.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(ip) = next else { return };
        // without a name the resolver answers with the address
        let name = ask(ip).filter(|name| is_name(name) && name.parse::<IpAddr>().is_err());
        let keep = if name.is_some() { KEEP_NAME } else { KEEP_NOTHING };
        let answer = Answer { name: name.map(Into::into), until: Instant::now() + keep };
        lock(answers).insert(ip, answer);
    }
}

fn is_name(name: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    !name.is_empty() && name.len() <= NAME_BYTES && name.bytes().all(is_plain)
}

fn lock(answers: &Answers) -> MutexGuard<'_, HashMap<IpAddr, Answer>> {
    answers.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(dns: &ReverseDns, ip: &str) -> Option<String> {
        dns.name(ip.parse().unwrap(), Instant::now()).map(|name| name.to_string())
    }

    fn wait(dns: &ReverseDns, ip: &str) -> String {
        let start = Instant::now();
        loop {
            if let Some(name) = known(dns, ip) {
                return name;
            }
            assert!(start.elapsed() < Duration::from_secs(20), "no answer for {ip}");
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    #[test]
    fn a_name_is_known_once_it_was_asked_for() {
        let dns = ReverseDns::start().unwrap();
        assert_eq!(known(&dns, "127.0.0.1"), None);
        assert!(wait(&dns, "127.0.0.1").contains("localhost"));
    }

    #[test]
    fn a_thread_that_dies_is_missed() {
        let dns = ReverseDns::start_with(|_| panic!("made up")).unwrap();
        let end = Instant::now() + Duration::from_secs(20);
        let ask = || known(&dns, "192.0.2.1");
        while std::panic::catch_unwind(std::panic::AssertUnwindSafe(ask)).is_ok() {
            assert!(Instant::now() < end, "nobody misses it");
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    #[test]
    fn what_is_no_name_is_none() {
        let dns = ReverseDns::start_with(|ip| {
            Some(match ip.to_string().as_str() {
                "192.0.2.1" => "a b\n".to_owned(),
                "192.0.2.2" => ip.to_string(),
                "192.0.2.3" => "x".repeat(254),
                _ => "host-1.example.org".to_owned(),
            })
        })
        .unwrap();
        for ip in ["192.0.2.1", "192.0.2.2", "192.0.2.3"] {
            assert_eq!(known(&dns, ip), None);
        }
        assert_eq!(wait(&dns, "192.0.2.4"), "host-1.example.org");
        for ip in ["192.0.2.1", "192.0.2.2", "192.0.2.3"] {
            assert_eq!(known(&dns, ip), None, "{ip}");
        }
    }

    #[test]
    fn a_flood_of_strangers_is_bounded() {
        let dns = ReverseDns::start_with(|_| {
            std::thread::sleep(Duration::from_millis(50));
            None
        })
        .unwrap();
        for number in 0..10_000_u32 {
            assert_eq!(dns.name(IpAddr::V4(number.into()), Instant::now()), None);
        }
        assert!(lock(&dns.answers).len() <= ANSWERS);
    }
}
