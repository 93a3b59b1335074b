//! Arguments that several subcommands have.
//! Reads no file.

use std::path::PathBuf;
use std::time::Duration;

use super::compat::azure;
use crate::app::checks::allowlists::{Ipv6Mode, Sources};
use crate::app::checks::scan::Hooks;
use crate::domain::judging::profiles;

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
}
