//! The older system's command lines, ours, and what clap makes of both.

use clap::{Arg, ArgAction, Command, value_parser};
use proptest::prelude::*;

use super::*;

fn translated(line: &str) -> (String, Vec<String>) {
    let args = std::iter::once("monitor").chain(line.split_whitespace()).map(OsString::from);
    let (out, warnings) = translate(args);
    let out: Vec<_> = out.into_iter().map(|arg| arg.into_string().unwrap()).collect();
    assert_eq!(out[0], "monitor");
    (out[1..].join(" "), warnings)
}

#[track_caller]
fn check(line: &str, expected: &str) {
    assert_eq!(translated(line), (expected.to_owned(), Vec::new()), "{line}");
}

/// The options as `cli` is to declare them.
fn command() -> Command {
    let value = |name: &'static str| Arg::new(name).long(name);
    let switch = |name: &'static str| {
        let arg = Arg::new(name).long(name).value_parser(value_parser!(bool)).action(ArgAction::Set);
        arg.num_args(0..=1).require_equals(true).default_missing_value("true")
    };
    let verbosity = Arg::new("verbosity").short('v').long("verbosity").value_parser(value_parser!(u8));
    Command::new("monitor")
        .version("1.0")
        .args_override_self(true)
        .args(["input", "input6", "map-path"].map(value))
        .arg(value("interval").value_parser(value_parser!(u64)))
        .args(["events", "check-map", "terminate-on-success"].map(switch))
        .arg(switch("install-routes-for-health-probe-reply"))
        .arg(value("ipv6").value_parser(["auto", "true", "false"]))
        .arg(verbosity.num_args(0..=1).require_equals(true).default_missing_value("1"))
        .subcommand(Command::new("check").arg(Arg::new("file").action(ArgAction::Append)))
}

fn parsed(line: &str) -> Result<clap::ArgMatches, clap::error::ErrorKind> {
    let args = std::iter::once("monitor").chain(line.split_whitespace()).map(OsString::from);
    command().try_get_matches_from(translate(args).0).map_err(|error| error.kind())
}

#[test]
fn values_take_one_dash_or_two_and_a_blank_or_an_equals_sign() {
    for line in ["-input /etc/x", "--input /etc/x", "-input=/etc/x", "--input=/etc/x"] {
        check(line, "--input=/etc/x");
    }
    check("-input6 a -interval 300", "--input6=a --interval=300");
    check("-mapPath=/sys/fs/bpf/x", "--map-path=/sys/fs/bpf/x");
    check("--mapPath a=b", "--map-path=a=b");
    check("-input=", "--input=");
    check("-input -events", "--input=-events");
    check("--input -events", "--input -events");
    check("--input -logtostderr x", "--input -logtostderr x");
    check("-input", "--input");
}

#[test]
fn booleans_take_no_separate_value() {
    for yes in ["1", "t", "T", "TRUE", "true", "True"] {
        check(&format!("-events={yes}"), "--events");
    }
    for no in ["0", "f", "F", "FALSE", "false", "False"] {
        check(&format!("--events={no}"), "--events=false");
    }
    check("-events -checkMap", "--events --check-map");
    check("-terminateOnSuccess=true", "--terminate-on-success");
    check("--installRoutesForHealthProbeReply", "--install-routes-for-health-probe-reply");
    check("-events=maybe", "--events=maybe");
    check("-events false -checkMap", "--events false -checkMap");
}

#[test]
fn manifests_in_use_are_taken() {
    check("-v 3 -events=true -checkMap=true", "--verbosity=3 --events --check-map");
    check("-v 3 -events=true -terminateOnSuccess=true", "--verbosity=3 --events --terminate-on-success");
}

#[test]
fn every_spelling_of_the_verbosity_is_one() {
    for line in ["-v 3", "-v=3", "--v=3", "--v 3", "-v3", "-vvv", "--verbosity 3", "--verbosity=3"] {
        check(line, "--verbosity=3");
    }
    for line in ["-v", "--v", "-v=1", "--verbosity"] {
        check(line, "--verbosity=1");
    }
    check("-v -events", "--verbosity=1 --events");
    check("-v check -v 3", "--verbosity=1 check -v 3");
    check("-v=-1 -v -2", "--verbosity=0 --verbosity=0");
    check("-v=high", "--verbosity=high");
    check("-v=", "--verbosity=");
}

#[test]
fn ipv6_is_a_boolean_there_and_has_three_values_here() {
    check("-ipv6", "--ipv6=true");
    check("-ipv6 -events", "--ipv6=true --events");
    check("--ipv6 -events", "--ipv6=true --events");
    check("-ipv6=F", "--ipv6=false");
    for word in ["auto", "true", "false"] {
        check(&format!("--ipv6 {word} -events"), &format!("--ipv6={word} --events"));
        check(&format!("--ipv6={word}"), &format!("--ipv6={word}"));
    }
    check("-ipv6 false", "--ipv6=true false");
}

#[test]
fn version_and_help_are_claps() {
    for line in ["-version", "--version", "-version=true"] {
        check(line, "--version");
    }
    check("-version=false", "");
    check("-version=x", "--version=x");
    check("-help", "--help");
    check("-h -V", "-h -V");
}

#[test]
fn klog_flags_are_dropped_with_one_warning_each() {
    for line in
        ["-logtostderr", "--alsologtostderr=false", "-vmodule=a=2", "-log_dir /tmp", "--stderrthreshold 2"]
    {
        let (out, warnings) = translated(&format!("{line} -events"));
        assert_eq!((out.as_str(), warnings.len()), ("--events", 1), "{line}");
        let name = line.trim_start_matches('-').split(['=', ' ']).next().unwrap();
        assert!(warnings[0].contains(&format!("-{name} is ignored")), "{warnings:?}");
    }
    let (out, warnings) = translated("-log_file a -log_file=b -one_output -log_file_max_size 5");
    assert_eq!((out.as_str(), warnings.len()), ("", 3));
    assert_eq!(translated("-log_backtrace_at").0, "");
}

#[test]
fn nothing_is_translated_behind_a_subcommand_or_two_dashes() {
    for line in ["check -input x -version", "-- -events -v 3", "- -events", "--=x -v 3"] {
        check(line, line);
    }
    check("-events check -v 3 -ipv6", "--events check -v 3 -ipv6");
}

#[test]
fn flags_that_are_not_of_the_older_system_pass() {
    check("--metrics-address 0.0.0.0:9090 -events", "--metrics-address 0.0.0.0:9090 --events");
    check("--quiet -checkMap", "--quiet --check-map");
    check("--check-map --map-path x -checkMap=0", "--check-map --map-path x --check-map=false");
    check("--dry-run=1 check -v 3", "--dry-run=1 check -v 3");
    check("-foo ---bar", "-foo ---bar");
}

#[test]
fn bytes_that_are_no_text_survive() {
    let value = || OsString::from_vec(b"/etc/\xff".to_vec());
    let assigned = OsString::from_vec(b"--input=/etc/\xff".to_vec());
    let (out, _) = translate(["monitor".into(), "-input".into(), value()].into_iter());
    assert_eq!(out, [OsString::from("monitor"), assigned]);
    let (out, _) = translate([value(), OsString::from_vec(b"-\xff".to_vec())].into_iter());
    assert_eq!(out.len(), 2);
    assert!(translate(std::iter::empty()).0.is_empty());
}

#[test]
fn clap_takes_what_comes_out() {
    let line = "-input=a -input6 b -interval 300 -events=T -ipv6 -checkMap=0 -mapPath m -terminateOnSuccess \
                -installRoutesForHealthProbeReply=1 -v 2 -v 3 -logtostderr";
    let matches = parsed(line).unwrap();
    let text = |name: &str| matches.get_one::<String>(name).unwrap().clone();
    let is_on = |name: &str| *matches.get_one::<bool>(name).unwrap();
    assert_eq!(["input", "input6", "map-path", "ipv6"].map(text), ["a", "b", "m", "true"]);
    assert_eq!(matches.get_one::<u64>("interval"), Some(&300));
    assert_eq!(matches.get_one::<u8>("verbosity"), Some(&3));
    let switches = ["events", "check-map", "terminate-on-success", "install-routes-for-health-probe-reply"];
    assert_eq!(switches.map(is_on), [true, false, true, true]);
    assert_eq!(parsed("-v check x").unwrap().subcommand_name(), Some("check"));
    assert_eq!(parsed("-version").unwrap_err(), clap::error::ErrorKind::DisplayVersion);
    assert_eq!(parsed("-help").unwrap_err(), clap::error::ErrorKind::DisplayHelp);
}

#[test]
fn clap_refuses_what_was_wrong_before() {
    for line in [
        "-interval=x",
        "-interval",
        "-v=high",
        "-v=",
        "-events=maybe",
        "-ipv6=maybe",
        "-ipv6 false",
        "-foo",
        "--input -events",
    ] {
        assert!(parsed(line).is_err(), "{line}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_ours_already_stays_what_it_is(
        line in proptest::collection::vec("--?(v|vv|v3|input|events|ipv6|version|x|)(=[a1t]?)?|[a3-]|true", 0..6),
    ) {
        let first = translated(&line.join(" ")).0;
        prop_assert_eq!(&translated(&first).0, &first);
    }
}

#[test]
fn under_the_name_of_the_older_tailer_only_drops_are_followed() {
    let args = ["/kube-iptables-tailer", "--log_dir=/my-service-logs", "--v=4"].map(OsString::from);
    let (out, warnings) = translate(args.into_iter());
    assert_eq!(out, ["/kube-iptables-tailer", "--drops-only", "--verbosity=4"]);
    assert_eq!(warnings.len(), 1, "{warnings:?}");
}
