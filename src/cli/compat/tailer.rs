//! What kube-iptables-tailer's environment asks for: its variables, unchanged in name and meaning; and its name, under which
//! the program follows drops only.
//! Starts nothing.
//!
//! *Source*: kube-iptables-tailer, `README.md` and `util/envar.go`.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::app::drops::settings::EventSettings;
use crate::domain::peers::Identifier;

/// Under this name the program follows drops and checks no rules.
const NAME: &str = "kube-iptables-tailer";
/// Where kube-iptables-tailer serves its metrics unless told otherwise.
pub const METRICS_PORT: u16 = 9090;

/// Whether a program that was started by this path is meant as kube-iptables-tailer.
pub(super) fn is_meant(program: &OsStr) -> bool {
    Path::new(program).file_name() == Some(OsStr::new(NAME))
}

/// The variables of the older system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TailerSettings {
    /// `IPTABLES_LOG_PATH` or `JOURNAL_DIRECTORY`; the latter goes first. None if neither is set.
    pub source: Option<TailerSource>,
    /// `IPTABLES_LOG_PREFIX`.
    pub prefix: Option<String>,
    /// `KUBE_API_SERVER`: the API server's address in place of the pod's own.
    pub api_server: Option<String>,
    /// `METRICS_SERVER_PORT`; served on every address, as the older system does.
    pub metrics_port: Option<u16>,
    /// `LOG_LEVEL`.
    pub log_level: Option<log::LevelFilter>,
    /// What Events look like.
    pub events: EventSettings,
    /// `PACKET_DROP_LOG_TIME_LAYOUT`: a layout of Go's `time` package.
    pub time_layout: Option<String>,
}

/// Where the older system reads its log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TailerSource {
    /// A file.
    File(PathBuf),
    /// The journal in a directory.
    Journal(PathBuf),
}

/// A variable whose value is of no use: the message names it, its value and what is accepted.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name}={value:?} is not {accepted}")]
pub struct BadVariable {
    /// The variable.
    pub name: &'static str,
    /// Its value.
    pub value: String,
    /// What it may be.
    pub accepted: &'static str,
}

impl TailerSettings {
    /// Reads the variables of this process.
    ///
    /// # Errors
    /// The variables whose values are of no use, all of them.
    pub(crate) fn of_process() -> anyhow::Result<Self> {
        Self::from_env(|name| std::env::var(name).ok()).map_err(|bad| {
            let bad: Vec<_> = bad.iter().map(ToString::to_string).collect();
            anyhow::anyhow!("{}", bad.join("; "))
        })
    }

    /// Reads the variables. An empty one is as good as none, as in the older system.
    ///
    /// # Errors
    /// The variables whose values are of no use, all of them.
    pub fn from_env(env: impl Fn(&str) -> Option<String>) -> Result<Self, Vec<BadVariable>> {
        let mut reader = Reader { env, bad: Vec::new() };
        let default = EventSettings::default();
        // the interval of WATCH_LOGS_INTERVAL_SECONDS is not needed: changes are seen at once; its value is checked all the same
        reader.parse("WATCH_LOGS_INTERVAL_SECONDS", "a number of seconds", number);
        let settings = Self {
            source: reader.source(),
            prefix: reader.text("IPTABLES_LOG_PREFIX"),
            api_server: reader.text("KUBE_API_SERVER"),
            metrics_port: reader.parse("METRICS_SERVER_PORT", "a port", |text| text.parse().ok()),
            log_level: reader.parse("LOG_LEVEL", "debug, info, warn, error, panic or fatal", level),
            time_layout: reader.text("PACKET_DROP_LOG_TIME_LAYOUT"),
            events: EventSettings {
                reason: reader.text("KUBE_EVENT_DISPLAY_REASON").unwrap_or(default.reason),
                component: reader.text("KUBE_EVENT_SOURCE_COMPONENT_NAME").unwrap_or(default.component),
                queue: reader
                    .parse("PACKET_DROP_CHANNEL_BUFFER_SIZE", "a number from 1", |text| text.parse().ok())
                    .unwrap_or(default.queue),
                expiration: reader
                    .parse("PACKET_DROP_EXPIRATION_MINUTES", "a number of minutes", number)
                    .map_or(default.expiration, minutes),
                repeat_interval: reader
                    .parse("REPEATED_EVENTS_INTERVAL_MINUTES", "a number of minutes", number)
                    .map_or(default.repeat_interval, minutes),
                identifier: reader
                    .parse(
                        "POD_IDENTIFIER",
                        "namespace, name, label or name_with_namespace",
                        Identifier::from_name,
                    )
                    .unwrap_or(default.identifier),
                identifier_label: reader.text("POD_IDENTIFIER_LABEL"),
            },
        };
        if settings.events.identifier == Identifier::Label && settings.events.identifier_label.is_none() {
            let value = String::new();
            let accepted = "the key of a label, which POD_IDENTIFIER=label needs";
            reader.bad.push(BadVariable { name: "POD_IDENTIFIER_LABEL", value, accepted });
        }
        if reader.bad.is_empty() { Ok(settings) } else { Err(reader.bad) }
    }
}

/// A time of no more than a year: what is longer is a slip, and sums of it overflow.
fn number(text: &str) -> Option<u32> {
    text.parse().ok().filter(|number| *number <= 366 * 24 * 3600)
}

fn minutes(count: u32) -> Duration {
    Duration::from_secs(u64::from(count) * 60)
}

/// The levels of the older system's logger; it has two above error.
fn level(text: &str) -> Option<log::LevelFilter> {
    match text.to_ascii_lowercase().as_str() {
        "dpanic" | "panic" | "fatal" => Some(log::LevelFilter::Error),
        other => other.parse().ok(),
    }
}

struct Reader<F> {
    env: F,
    bad: Vec<BadVariable>,
}

impl<F: Fn(&str) -> Option<String>> Reader<F> {
    fn text(&self, name: &str) -> Option<String> {
        (self.env)(name).filter(|value| !value.is_empty())
    }

    fn parse<T>(
        &mut self,
        name: &'static str,
        accepted: &'static str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Option<T> {
        let value = self.text(name)?;
        let parsed = parse(&value);
        if parsed.is_none() {
            self.bad.push(BadVariable { name, value, accepted });
        }
        parsed
    }

    fn source(&mut self) -> Option<TailerSource> {
        if let Some(directory) = self.text("JOURNAL_DIRECTORY") {
            return Some(TailerSource::Journal(directory.into()));
        }
        self.parse("IPTABLES_LOG_PATH", "an absolute path", |path| {
            path.starts_with('/').then(|| path.to_owned())
        })
        .map(|path| TailerSource::File(path.into()))
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroUsize;

    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<TailerSettings, Vec<BadVariable>> {
        TailerSettings::from_env(|name| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn defaults_are_those_of_the_older_system() {
        let settings =
            read(&[("IPTABLES_LOG_PATH", "/var/log/iptables.log"), ("POD_IDENTIFIER", "")]).unwrap();
        assert_eq!(settings.source, Some(TailerSource::File("/var/log/iptables.log".into())));
        assert_eq!(settings.events, EventSettings::default());
        assert_eq!((settings.events.queue.get(), settings.metrics_port, settings.prefix), (100, None, None));
    }

    #[test]
    fn every_variable_counts() {
        let settings = read(&[
            ("JOURNAL_DIRECTORY", "/var/log/journal"),
            ("IPTABLES_LOG_PATH", "/var/log/iptables.log"),
            ("IPTABLES_LOG_PREFIX", "calico-drop:"),
            ("KUBE_API_SERVER", "https://192.0.2.1:6443"),
            ("METRICS_SERVER_PORT", "9091"),
            ("LOG_LEVEL", "WARN"),
            ("KUBE_EVENT_DISPLAY_REASON", "Blocked"),
            ("KUBE_EVENT_SOURCE_COMPONENT_NAME", "net"),
            ("PACKET_DROP_CHANNEL_BUFFER_SIZE", "7"),
            ("PACKET_DROP_EXPIRATION_MINUTES", "5"),
            ("REPEATED_EVENTS_INTERVAL_MINUTES", "1"),
            ("POD_IDENTIFIER", "label"),
            ("POD_IDENTIFIER_LABEL", "app"),
            ("PACKET_DROP_LOG_TIME_LAYOUT", "Jan _2 15:04:05"),
        ])
        .unwrap();
        assert_eq!(settings.source, Some(TailerSource::Journal("/var/log/journal".into())));
        assert_eq!(settings.prefix.as_deref(), Some("calico-drop:"));
        assert_eq!((settings.metrics_port, settings.log_level), (Some(9091), Some(log::LevelFilter::Warn)));
        let events = EventSettings {
            reason: "Blocked".into(),
            component: "net".into(),
            queue: NonZeroUsize::new(7).unwrap(),
            expiration: minutes(5),
            repeat_interval: minutes(1),
            identifier: Identifier::Label,
            identifier_label: Some("app".into()),
        };
        assert_eq!(settings.events, events);
    }

    #[test]
    fn every_value_of_no_use_is_named() {
        let bad = read(&[
            ("METRICS_SERVER_PORT", "http"),
            ("PACKET_DROP_EXPIRATION_MINUTES", "-1"),
            ("PACKET_DROP_CHANNEL_BUFFER_SIZE", "0"),
            ("WATCH_LOGS_INTERVAL_SECONDS", "5s"),
            ("IPTABLES_LOG_PATH", "iptables.log"),
            ("POD_IDENTIFIER", "label"),
        ])
        .unwrap_err();
        let mut names: Vec<_> = bad.iter().map(|bad| bad.name).collect();
        names.sort_unstable();
        assert_eq!(
            names,
            [
                "IPTABLES_LOG_PATH",
                "METRICS_SERVER_PORT",
                "PACKET_DROP_CHANNEL_BUFFER_SIZE",
                "PACKET_DROP_EXPIRATION_MINUTES",
                "POD_IDENTIFIER_LABEL",
                "WATCH_LOGS_INTERVAL_SECONDS",
            ]
        );
        let shown: Vec<_> = bad.iter().map(ToString::to_string).collect();
        assert!(shown.contains(&r#"METRICS_SERVER_PORT="http" is not a port"#.to_owned()), "{shown:?}");
    }
}
