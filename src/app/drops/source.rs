//! Where drops are logged: one value for each kind of source, and what they have in common.
//! Parses no line; a packet of NFLOG comes as a packet.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::{Duration, Instant, SystemTime};

use serde_json::Value;

use crate::domain::drops::batch::{Batch, Status};
use crate::domain::drops::kernel_log::LogParser;
use crate::domain::drops::rules::Hook;
use crate::domain::packets::ip_header;
use crate::domain::packets::packet::{Action, Packet};
use crate::domain::rules::Family;
use crate::host::logs::journald::{self, Journal, JournalError};
use crate::host::logs::kmsg::{self, Kmsg, KmsgError};
use crate::host::logs::tail::{self, Tail, TailError};
use crate::host::netlink::nflog::{self, Nflog, NflogError, NflogPacket};

/// A source, as a flag names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SourceSpec {
    /// `file:PATH`: a log file.
    File(PathBuf),
    /// `journal` or `journal:DIR`: systemd's journal, this machine's or the one in a directory.
    Journal(Option<PathBuf>),
    /// `kmsg`: the kernel's log, /dev/kmsg.
    Kmsg,
    /// `nflog:GROUP`: an NFLOG group of this network namespace.
    Nflog(u16),
}

impl SourceSpec {
    /// Each of them once, however its path is spelled from here; the log says what was left out.
    pub fn distinct(sources: &[Self]) -> Vec<Self> {
        let mut kept: Vec<Self> = Vec::new();
        for source in sources {
            if kept.iter().any(|other| other.absolute() == source.absolute()) {
                log::warn!(source:%; "a source is named twice: it is followed once");
            } else {
                kept.push(source.clone());
            }
        }
        kept
    }

    fn absolute(&self) -> Self {
        let absolute = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        match self {
            Self::File(path) => Self::File(absolute(path)),
            Self::Journal(Some(directory)) => Self::Journal(Some(absolute(directory))),
            other => other.clone(),
        }
    }
}

impl FromStr for SourceSpec {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (kind, rest) = text.split_once(':').map_or((text, None), |(kind, rest)| (kind, Some(rest)));
        match (kind, rest) {
            ("file", Some(path)) if !path.is_empty() => Ok(Self::File(path.into())),
            ("journal", None) => Ok(Self::Journal(None)),
            ("journal", Some(directory)) if !directory.is_empty() => {
                Ok(Self::Journal(Some(directory.into())))
            }
            ("kmsg", None) => Ok(Self::Kmsg),
            ("nflog", Some(group)) => {
                group.parse().map(Self::Nflog).or(Err("an NFLOG group is a number up to 65535"))
            }
            _ => Err("not file:PATH, journal, journal:DIR, kmsg or nflog:GROUP"),
        }
    }
}

impl fmt::Display for SourceSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "file:{}", path.display()),
            Self::Journal(None) => f.write_str("journal"),
            Self::Journal(Some(directory)) => write!(f, "journal:{}", directory.display()),
            Self::Kmsg => f.write_str("kmsg"),
            Self::Nflog(group) => write!(f, "nflog:{group}"),
        }
    }
}

/// Where to begin without a checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begin {
    /// With the oldest that is there.
    Oldest,
    /// With what was logged since so long ago, where a source can tell; a file and the kernel's log with the oldest.
    Lately(Duration),
    /// With what is logged from now on.
    Now,
}

/// How sources are read.
#[derive(Clone, Copy, Debug)]
pub struct How {
    /// Where to begin.
    pub begin: Begin,
    /// Whether to wait for more at the end.
    pub is_following: bool,
    /// Whether journal entries that only call themselves the kernel's are taken.
    pub trusts_identifier: bool,
}

/// Why a source cannot be read now.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The file.
    #[error(transparent)]
    File(#[from] TailError),
    /// The journal.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The kernel's log.
    #[error(transparent)]
    Kmsg(#[from] KmsgError),
    /// The NFLOG group.
    #[error(transparent)]
    Nflog(#[from] NflogError),
}

impl SourceError {
    /// Whether the source is still open and may be read again.
    pub const fn is_passing(&self) -> bool {
        matches!(self, Self::File(_) | Self::Journal(_))
    }
}

/// A packet as a source gives it, with what only the source knows.
#[derive(Clone, Debug)]
pub struct Logged {
    /// The packet.
    pub packet: Packet<'static>,
    /// The NFLOG group it came by; none for a log line.
    pub group: Option<u16>,
    /// The hook, as NFLOG tells it.
    pub hook: Option<Hook>,
}

/// A source that is being read.
#[derive(Debug)]
pub enum Source {
    /// A log file.
    File(Box<Tail>),
    /// The journal.
    Journal(Box<Journal>),
    /// The kernel's log.
    Kmsg(Kmsg),
    /// An NFLOG group, and whether an earlier run read it too: what was sent in between nobody counted.
    Nflog(Nflog, bool),
}

impl Source {
    /// Opens a source, at its checkpoint if there is one. A checkpoint that makes no sense is as good as none, and one gap.
    ///
    /// # Errors
    /// See [`SourceError`].
    pub fn open(spec: &SourceSpec, how: How, checkpoint: Option<Value>) -> Result<Self, SourceError> {
        Ok(match spec {
            SourceSpec::File(path) => Self::File(Box::new(open_file(path, how, checkpoint))),
            SourceSpec::Journal(directory) => {
                let start = match how.begin {
                    Begin::Oldest => journald::Start::Beginning,
                    Begin::Lately(age) => journald::Start::Since(
                        SystemTime::now().checked_sub(age).unwrap_or(SystemTime::UNIX_EPOCH),
                    ),
                    Begin::Now => journald::Start::End,
                };
                let options = journald::JournalOptions {
                    directory: directory.clone(),
                    start,
                    is_following: how.is_following,
                    trusts_identifier: how.trusts_identifier,
                    ..journald::JournalOptions::default()
                };
                Self::Journal(Box::new(Journal::open(options, read_checkpoint(checkpoint))))
            }
            SourceSpec::Kmsg => {
                let start = match (read_checkpoint(checkpoint), how.begin) {
                    (Some(position), _) => kmsg::Start::After(position),
                    (None, Begin::Oldest | Begin::Lately(_)) => kmsg::Start::Oldest,
                    (None, Begin::Now) => kmsg::Start::End,
                };
                Self::Kmsg(Kmsg::open(start)?)
            }
            SourceSpec::Nflog(group) => {
                Self::Nflog(Nflog::open(&[*group], nflog::NflogOptions::default())?, checkpoint.is_some())
            }
        })
    }

    /// Replaces `batch` and `logged` by what came; waits for something until the deadline. A packet of NFLOG is in
    /// `logged`, everything else a line of `batch`.
    ///
    /// # Errors
    /// See [`SourceError`].
    pub fn read(
        &mut self,
        parser: &LogParser,
        batch: &mut Batch,
        logged: &mut Vec<Nflogged>,
        deadline: Instant,
    ) -> Result<Status, SourceError> {
        logged.clear();
        match self {
            Self::File(tail) => Ok(tail.read(batch, deadline)?),
            Self::Journal(journal) => Ok(journal.read(batch, deadline)?),
            Self::Kmsg(kmsg) => Ok(match kmsg.read(batch, deadline)? {
                kmsg::Status::CaughtUp => Status::CaughtUp,
                kmsg::Status::Behind => Status::Behind,
            }),
            Self::Nflog(nflog, is_resumed) => {
                batch.clear();
                batch.gaps = u64::from(std::mem::take(is_resumed));
                let received = nflog.read(deadline, &mut |packet| logged.push(nflogged(parser, packet)))?;
                batch.lost = received.lost;
                logged.extend((0..received.malformed).map(|_| Nflogged::Unparsed));
                Ok(Status::CaughtUp)
            }
        }
    }

    /// Behind everything that was handed over. Of an NFLOG group it says only that it was read.
    pub fn checkpoint(&self) -> Option<Value> {
        match self {
            Self::File(tail) => serde_json::to_value(tail.position()).ok(),
            Self::Journal(journal) => serde_json::to_value(journal.position()).ok(),
            Self::Kmsg(kmsg) => serde_json::to_value(kmsg.position()?).ok(),
            Self::Nflog(..) => Some(Value::Null),
        }
    }
}

/// What became of one NFLOG message.
#[derive(Clone, Debug)]
pub enum Nflogged {
    /// A packet that is asked for.
    Packet(Box<Logged>),
    /// A packet with another prefix.
    NotOurs,
    /// Not the format.
    Unparsed,
}

fn open_file(path: &Path, how: How, checkpoint: Option<Value>) -> Tail {
    let start = match how.begin {
        Begin::Oldest | Begin::Lately(_) => tail::Start::Beginning,
        Begin::Now => tail::Start::End,
    };
    let options = tail::TailOptions { start, is_following: how.is_following, ..tail::TailOptions::default() };
    Tail::open(path, options, read_checkpoint(checkpoint))
}

fn read_checkpoint<P: serde::de::DeserializeOwned>(checkpoint: Option<Value>) -> Option<P> {
    let error = match serde_json::from_value(checkpoint?) {
        Ok(position) => return Some(position),
        Err(error) => error,
    };
    log::warn!(error:%; "a checkpoint is not one of its source: it is not used");
    None
}

fn nflogged(parser: &LogParser, seen: NflogPacket<'_>) -> Nflogged {
    let Some(action) = parser.action_of(seen.prefix) else { return Nflogged::NotOurs };
    let text = |name: Option<&str>| name.map(|name| name.as_bytes().to_vec().into());
    let mut packet = Packet::new(seen.prefix.trim_ascii().to_vec().into(), action);
    packet.at = Some(seen.at);
    (packet.in_dev, packet.out_dev) = (text(seen.in_dev), text(seen.out_dev));
    (packet.phys_in, packet.phys_out) = (text(seen.physical_in_dev), text(seen.physical_out_dev));
    (packet.mark, packet.uid, packet.gid) = (seen.mark, seen.uid, seen.gid);
    if let Some(decoded) = ip_header::decode(seen.payload) {
        packet.header = decoded.header;
        packet.embedded = decoded.embedded;
        packet.is_complete = decoded.is_complete;
    }
    let hook = seen.family.and_then(|family| Hook::from_number(family, seen.hook));
    Nflogged::Packet(Box::new(Logged { packet, group: Some(seen.group), hook }))
}

impl Logged {
    /// A packet of a log line.
    pub fn of_line(packet: Packet<'static>) -> Self {
        Self { packet, group: None, hook: None }
    }

    /// Its family, as far as its addresses tell.
    pub fn family(&self) -> Option<Family> {
        match self.packet.header.src.or(self.packet.header.dst)? {
            std::net::IpAddr::V4(_) => Some(Family::Ip),
            std::net::IpAddr::V6(_) => Some(Family::Ip6),
        }
    }

    /// Whether it was let through, as far as its prefix tells.
    pub fn is_accepted(&self) -> bool {
        self.packet.action == Action::Accept
    }
}

/// How old a packet may be that is still shown.
#[derive(Clone, Copy, Debug)]
pub struct Since(pub Option<Duration>);

impl Since {
    /// Whether a packet of this time counts; one without a time does.
    pub fn includes(self, at: Option<SystemTime>, now: SystemTime) -> bool {
        match (self.0, at) {
            (Some(age), Some(at)) => now.duration_since(at).is_ok_and(|old| old <= age) || at > now,
            _ => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_named_as_they_are_written() {
        for text in ["file:/var/log/a:b.log", "journal", "journal:/var/log/journal", "kmsg", "nflog:100"] {
            assert_eq!(text.parse::<SourceSpec>().unwrap().to_string(), text);
        }
        for text in ["", "file", "file:", "journal:", "kmsg:1", "nflog", "nflog:70000", "nflog:x", "syslog"] {
            assert!(text.parse::<SourceSpec>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_source_named_twice_is_one() {
        let here = std::env::current_dir().unwrap();
        let absolute = format!("file:{}/log", here.display());
        let names = [
            "kmsg",
            "file:log",
            "file:./log",
            &absolute,
            "journal:j/",
            "journal",
            "journal:j",
            "nflog:7",
            "kmsg",
            "nflog:8",
            "nflog:7",
            "file:j",
        ];
        let sources: Vec<SourceSpec> = names.iter().map(|name| name.parse().unwrap()).collect();
        let kept: Vec<_> = SourceSpec::distinct(&sources).iter().map(ToString::to_string).collect();
        assert_eq!(kept, ["kmsg", "file:log", "journal:j/", "journal", "nflog:7", "nflog:8", "file:j"]);
    }
}
