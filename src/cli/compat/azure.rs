//! Makes the command line of Azure's iptables monitor acceptable: Go and klog flags become ours before clap sees them.
//! Reads the one variable of its environment.
//! Judges no values but Go's booleans: what is wrong is passed on, for clap to refuse.
//!
//! Go takes one dash or two, `-flag=value` or `-flag value`, for a boolean only `-flag` or `-flag=value`, and stops
//! at the first argument that is no flag. clap would read `-version` as `-v ersion`. Our own spellings keep their
//! meaning.
//!
//! *Source*: Go's package flag, "Command line flag syntax"; klog v2, `InitFlags`.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::iter::Peekable;
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use super::tailer;

/// What a flag of the older system becomes.
#[derive(Clone, Copy)]
enum Old {
    /// A flag of ours with a value, by our name.
    Value(&'static str),
    /// A boolean of ours, by our name.
    Switch(&'static str),
    /// `--ipv6`: a boolean there; `auto`, `true` or `false` here.
    IPv6,
    /// `-version`, `-help`: flags of clap, which take no value.
    Once(&'static str),
    /// `-v`: klog's verbosity.
    Verbosity,
    /// A boolean of klog, without meaning here.
    KlogSwitch,
    /// A flag of klog with a value, without meaning here.
    KlogValue,
}

const OLD: [(&str, Old); 25] = [
    ("input", Old::Value("input")),
    ("input6", Old::Value("input6")),
    ("interval", Old::Value("interval")),
    ("mapPath", Old::Value("map-path")),
    ("events", Old::Switch("events")),
    ("checkMap", Old::Switch("check-map")),
    ("terminateOnSuccess", Old::Switch("terminate-on-success")),
    ("installRoutesForHealthProbeReply", Old::Switch("install-routes-for-health-probe-reply")),
    ("ipv6", Old::IPv6),
    ("version", Old::Once("--version")),
    ("help", Old::Once("--help")),
    ("v", Old::Verbosity),
    ("verbosity", Old::Verbosity),
    ("logtostderr", Old::KlogSwitch),
    ("alsologtostderr", Old::KlogSwitch),
    ("one_output", Old::KlogSwitch),
    ("add_dir_header", Old::KlogSwitch),
    ("skip_headers", Old::KlogSwitch),
    ("skip_log_headers", Old::KlogSwitch),
    ("stderrthreshold", Old::KlogValue),
    ("vmodule", Old::KlogValue),
    ("log_dir", Old::KlogValue),
    ("log_file", Old::KlogValue),
    ("log_file_max_size", Old::KlogValue),
    ("log_backtrace_at", Old::KlogValue),
];

/// `NODE_NAME`: the name of the node, which the older system cannot do without; none if it is not set or empty.
pub(crate) fn node_name() -> Option<String> {
    std::env::var("NODE_NAME").ok().filter(|name| !name.is_empty())
}

/// Translates a whole command line, which begins with the program's name as `std::env::args_os` does.
///
/// Returns the arguments for clap, and one sentence for each klog flag that was dropped.
///
/// - Booleans become `--flag` (true) or `--flag=false`; clap must take an optional value after `=`.
/// - `-v`, `-vv`, `-v3`, `-v 3` and `-v=3` become `--verbosity=N`; `-v` alone is 1.
/// - `-ipv6` becomes `--ipv6=true`; `--ipv6 auto` is ours and stays.
/// - After `--`, and after the first argument that is neither a flag nor may be an unknown flag's value (a
///   subcommand), nothing is translated.
pub fn translate(args: impl Iterator<Item = OsString>) -> (Vec<OsString>, Vec<String>) {
    let mut args = args.peekable();
    let mut translation = Translation { out: args.next().into_iter().collect(), dropped: BTreeSet::new() };
    if translation.out.first().is_some_and(|program| tailer::is_meant(program)) {
        translation.out.push("--drops-only".into());
    }
    while let Some(arg) = args.next() {
        if !translation.argument(arg, &mut args) {
            translation.out.extend(args);
            break;
        }
    }
    let warnings = translation
        .dropped
        .iter()
        .map(|name| format!("the klog flag -{name} is ignored: logs go to standard error"));
    let warnings = warnings.collect();
    (translation.out, warnings)
}

/// One flag, as Go reads it.
struct Flag<'a> {
    name: &'a str,
    value: Option<&'a [u8]>,
    has_two_dashes: bool,
}

impl<'a> Flag<'a> {
    /// None for `-`, for what does not begin with a dash, and for names that are not text.
    fn parse(arg: &'a OsStr) -> Option<Self> {
        let one = arg.as_bytes().strip_prefix(b"-")?;
        let two = one.strip_prefix(b"-");
        let mut parts = two.unwrap_or(one).splitn(2, |byte| *byte == b'=');
        let name = std::str::from_utf8(parts.next()?).ok().filter(|name| !name.is_empty())?;
        Some(Self { name, value: parts.next(), has_two_dashes: two.is_some() })
    }

    fn old(&self) -> Option<Old> {
        OLD.iter().find(|(name, _)| *name == self.name).map(|(_, old)| *old)
    }
}

struct Translation {
    out: Vec<OsString>,
    dropped: BTreeSet<String>,
}

type Rest<'a, I> = &'a mut Peekable<I>;

impl Translation {
    /// Translates one argument; false when those behind it are not to be.
    fn argument<I: Iterator<Item = OsString>>(&mut self, arg: OsString, rest: Rest<I>) -> bool {
        let Some(flag) = Flag::parse(&arg) else {
            self.out.push(arg);
            return false;
        };
        match flag.old() {
            Some(old) => self.old(old, &flag, rest),
            None => match repeated_v(&flag) {
                Some(level) => self.verbosity(level.as_bytes()),
                None => self.unknown(arg.clone(), flag.value.is_none(), rest),
            },
        }
        true
    }

    fn old<I: Iterator<Item = OsString>>(&mut self, old: Old, flag: &Flag, rest: Rest<I>) {
        match old {
            Old::Value(name) => self.value(name, flag, rest),
            Old::Switch(name) => self.switch(name, flag.value),
            Old::IPv6 => self.ipv6(flag, rest),
            Old::Once(flag_of_clap) => match flag.value.map(go_bool) {
                None | Some(Some(true)) => self.out.push(flag_of_clap.into()),
                Some(Some(false)) => {}
                Some(None) => self.assign(flag.name, flag.value.unwrap_or_default()),
            },
            Old::Verbosity => {
                let next = match flag.value {
                    Some(_) => None,
                    None => rest.next_if(is_number),
                };
                let value = flag.value.or(next.as_deref().map(OsStrExt::as_bytes));
                self.verbosity(value.unwrap_or(b"1"));
            }
            Old::KlogSwitch => {
                self.dropped.insert(flag.name.to_owned());
            }
            Old::KlogValue => {
                self.dropped.insert(flag.name.to_owned());
                if flag.value.is_none() {
                    rest.next();
                }
            }
        }
    }

    /// Go takes the next argument whatever it is. Behind a spelling of ours a flag stays as it is, so that clap can
    /// say that the value is missing.
    fn value<I: Iterator<Item = OsString>>(&mut self, name: &str, flag: &Flag, rest: Rest<I>) {
        if let Some(value) = flag.value {
            return self.assign(name, value);
        }
        let is_ours = flag.has_two_dashes && flag.name == name;
        match rest.next() {
            Some(next) if !is_ours || !is_dashed(&next) => self.assign(name, next.as_bytes()),
            next => {
                self.out.push(format!("--{name}").into());
                self.out.extend(next);
            }
        }
    }

    fn switch(&mut self, name: &str, value: Option<&[u8]>) {
        match value.map(|value| (value, go_bool(value))) {
            None | Some((_, Some(true))) => self.out.push(format!("--{name}").into()),
            Some((_, Some(false))) => self.assign(name, b"false"),
            Some((value, None)) => self.assign(name, value),
        }
    }

    fn ipv6<I: Iterator<Item = OsString>>(&mut self, flag: &Flag, rest: Rest<I>) {
        let is_ours = |next: &OsString| ["auto", "true", "false"].iter().any(|word| next == word);
        let next = match flag.value {
            None if flag.has_two_dashes => rest.next_if(is_ours),
            _ => None,
        };
        let value = flag.value.or(next.as_deref().map(OsStrExt::as_bytes)).unwrap_or(b"true");
        match go_bool(value) {
            Some(true) => self.assign("ipv6", b"true"),
            Some(false) => self.assign("ipv6", b"false"),
            None => self.assign("ipv6", value),
        }
    }

    /// A flag of ours or of nobody: as it is, with the next argument, which may be its value.
    fn unknown<I: Iterator<Item = OsString>>(&mut self, arg: OsString, may_have_value: bool, rest: Rest<I>) {
        self.out.push(arg);
        if may_have_value {
            self.out.extend(rest.next_if(|next| !is_dashed(next)));
        }
    }

    /// klog takes a 32-bit number and shows the same for all below 0.
    fn verbosity(&mut self, level: &[u8]) {
        match std::str::from_utf8(level).ok().and_then(|level| level.parse::<i32>().ok()) {
            Some(number) => self.assign("verbosity", number.max(0).to_string().as_bytes()),
            None => self.assign("verbosity", level),
        }
    }

    fn assign(&mut self, name: &str, value: &[u8]) {
        let mut arg = format!("--{name}=").into_bytes();
        arg.extend_from_slice(value);
        self.out.push(OsString::from_vec(arg));
    }
}

/// `-vvv` and `-v3`: the level; only with one dash, as clap takes them.
fn repeated_v(flag: &Flag) -> Option<String> {
    let rest = flag.name.strip_prefix('v').filter(|_| !flag.has_two_dashes && flag.value.is_none())?;
    if rest.bytes().all(|byte| byte == b'v') {
        return Some(flag.name.len().to_string());
    }
    rest.bytes().all(|byte| byte.is_ascii_digit()).then(|| rest.to_owned())
}

/// *Source*: Go's `strconv.ParseBool`.
fn go_bool(value: &[u8]) -> Option<bool> {
    match value {
        b"1" | b"t" | b"T" | b"true" | b"TRUE" | b"True" => Some(true),
        b"0" | b"f" | b"F" | b"false" | b"FALSE" | b"False" => Some(false),
        _ => None,
    }
}

fn is_number(arg: &OsString) -> bool {
    arg.to_str().is_some_and(|arg| arg.parse::<i32>().is_ok())
}

fn is_dashed(arg: &OsString) -> bool {
    arg.as_bytes().starts_with(b"-")
}

#[cfg(test)]
mod tests;
