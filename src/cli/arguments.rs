//! Arguments that several subcommands have.
//! Reads no file.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use super::compat::azure;
use crate::app::checks::allowlists::{Ipv6Mode, Sources};
use crate::app::checks::scan::Hooks;
use crate::domain::changes::filter::ChangeFilter;
use crate::domain::judging::profiles;
use crate::domain::words::moment;

/// Where the allowlists are, in every subcommand that judges.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct AllowlistArguments {
    /// Directory of the allowlist files global, nat, mangle, filter, raw, security and nftables [default: /etc/config/].
    #[arg(long, value_name = "DIR", env = "MONITOR_INPUT")]
    pub input: Option<PathBuf>,
    /// Directory of the allowlist files for IPv6 [default: /etc/config6/].
    #[arg(long, value_name = "DIR", env = "MONITOR_INPUT6")]
    pub input6: Option<PathBuf>,
    /// Built-in allowlists to add: base, kubernetes.
    #[arg(long, value_name = "NAME", value_delimiter = ',', env = "MONITOR_PROFILE", value_parser = profile)]
    pub profile: Vec<String>,
    /// Whether IPv6 rules are judged; auto: when the directory of --input6 exists.
    #[arg(long, value_enum, default_value = "auto", env = "MONITOR_IPV6")]
    pub ipv6: Ipv6Mode,
}

impl AllowlistArguments {
    pub fn sources(&self) -> Sources {
        Sources {
            input: self.input.clone(),
            input6: self.input6.clone(),
            // an empty environment variable is one empty name
            profiles: self.profile.iter().filter(|name| !name.is_empty()).cloned().collect(),
            ipv6: self.ipv6,
        }
    }
}

/// How this node is read, in every subcommand that reads it.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct ReadArguments {
    /// Whether tables that no iptables tool manages are judged too.
    #[arg(
        long, value_name = "BOOL", env = "MONITOR_NFTABLES", default_value = "true",
        num_args = 0..=1, default_missing_value = "true", action = clap::ArgAction::Set
    )]
    pub nftables: bool,
    /// Whether the verdict is unknown on a kernel that does not list what is called at its netfilter hooks.
    #[arg(
        long, value_name = "BOOL", env = "MONITOR_REQUIRE_HOOKS", default_value = "false",
        num_args = 0..=1, default_missing_value = "true", action = clap::ArgAction::Set
    )]
    pub require_hooks: bool,
    /// The longest that reading one table may take, and then what its sets hold; a bare number is seconds.
    #[arg(long, value_name = "DURATION", env = "MONITOR_DUMP_TIMEOUT", default_value = "10s", value_parser = duration)]
    pub dump_timeout: Duration,
    /// The node's name in reports [default: the host name].
    #[arg(long, value_name = "NAME", env = "MONITOR_NODE_NAME")]
    pub node_name: Option<String>,
}

impl ReadArguments {
    /// How what is called at hooks is read.
    pub const fn hooks(&self) -> Hooks {
        if self.require_hooks { Hooks::Required } else { Hooks::Listed }
    }

    /// The name given, that of the older system's environment variable, or the host's.
    pub fn node(&self) -> String {
        let host = || rustix::system::uname().nodename().to_string_lossy().into_owned();
        self.node_name.clone().or_else(azure::node_name).unwrap_or_else(host)
    }
}

/// A bare number is seconds; else `5m`, `1h30m`, `10s`.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let parsed = match text.parse::<u64>() {
        Ok(seconds) => Ok(Duration::from_secs(seconds)),
        Err(_) => humantime::parse_duration(text).map_err(|error| error.to_string()),
    };
    match parsed {
        Ok(duration) if duration.is_zero() => Err("it must be longer than nothing".to_owned()),
        Ok(duration) if duration > Duration::from_secs(366 * 86_400) => {
            Err("it must be at most a year".to_owned())
        }
        other => other,
    }
}

/// A moment that an option names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum When {
    /// So long before now.
    Ago(Duration),
    /// This one.
    At(SystemTime),
}

impl When {
    pub fn of(self, now: SystemTime) -> SystemTime {
        match self {
            Self::Ago(duration) => now.checked_sub(duration).unwrap_or(now).max(SystemTime::UNIX_EPOCH),
            Self::At(moment) => moment,
        }
    }
}

/// A duration as [`duration`], or a moment as `2026-11-21T10:16:24Z` (RFC 3339).
pub(super) fn when(text: &str) -> Result<When, String> {
    if let Some(moment) = moment::parse(text) {
        return Ok(When::At(moment));
    }
    let is_date = text.contains('-') && text.starts_with(|first: char| first.is_ascii_digit());
    if is_date {
        return Err(
            "a moment has date, time and zone: 2026-11-21T10:16:24Z or 2026-11-21T11:16:24+01:00".to_owned()
        );
    }
    duration(text).map(When::Ago)
}

/// As [`when`], up to the end of the second where none of its parts is named: reports show whole seconds.
pub(super) fn until(text: &str) -> Result<When, String> {
    match when(text)? {
        When::At(moment) if !text.contains('.') => Ok(When::At(moment + Duration::from_millis(999))),
        other => Ok(other),
    }
}

/// Which changes are shown, in every subcommand that shows changes.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct FilterArguments {
    /// Only changes of what is not allowed: unexpected, or not judged.
    #[arg(long, env = "MONITOR_UNEXPECTED", value_parser = clap::builder::BoolishValueParser::new())]
    pub unexpected: bool,
    /// Only changes in the table of this name.
    #[arg(long, value_name = "NAME", env = "MONITOR_TABLE")]
    pub table: Option<String>,
    /// Only changes in the chain of this name, or the set, map or object.
    #[arg(long, value_name = "NAME", env = "MONITOR_CHAIN")]
    pub chain: Option<String>,
    /// Only changes by a process in whose name, command line, pod (NAMESPACE/NAME) or container this stands, or in that of a
    /// process that started it.
    #[arg(long, value_name = "TEXT", env = "MONITOR_AUTHOR")]
    pub author: Option<String>,
}

impl FilterArguments {
    /// An empty environment variable is as good as none.
    pub fn filter(&self) -> ChangeFilter {
        let named = |name: &Option<String>| name.clone().filter(|name| !name.is_empty());
        ChangeFilter {
            is_unexpected: self.unexpected,
            table: named(&self.table),
            chain: named(&self.chain),
            author: named(&self.author),
        }
    }
}

fn profile(name: &str) -> Result<String, String> {
    if name.is_empty() || profiles::names().any(|known| known == name) {
        return Ok(name.to_owned());
    }
    Err(format!("no such profile; there are: {}", profiles::names().collect::<Vec<_>>().join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_seconds_or_have_units() {
        assert_eq!(duration("300"), Ok(Duration::from_secs(300)));
        assert_eq!(duration("5m"), Ok(Duration::from_secs(300)));
        assert_eq!(duration("1h30m"), Ok(Duration::from_secs(5400)));
        for wrong in ["", "0", "0s", "-3", "5 apples", "1e9", "99999999999"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_moment_is_so_long_ago_or_a_date() {
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        assert_eq!(when("24h").map(|when| when.of(at(86_401))), Ok(at(1)));
        assert_eq!(when("24h").map(|when| when.of(at(1))), Ok(at(0)));
        for text in ["1970-01-02T00:00:00Z", "1970-01-02T01:00:00+01:00"] {
            assert_eq!(when(text).map(|when| when.of(at(7))), Ok(at(86_400)), "{text}");
        }
        assert_eq!(until("1970-01-02T00:00:00Z"), Ok(When::At(at(86_400) + Duration::from_millis(999))));
        assert_eq!(until("1970-01-02T00:00:00.5Z"), Ok(When::At(at(86_400) + Duration::from_millis(500))));
        for wrong in ["", "yesterday", "2026-11-21", "2026-11-21T10:16:24", "2026-13-21T10:16:24Z", "-3h"] {
            assert!(when(wrong).is_err(), "{wrong}");
        }
    }
}
