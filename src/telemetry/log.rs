//! Log lines on standard error, as text or as one JSON object each.
//! Decides nothing about what is logged.

use std::io::Write;

use env_logger::fmt::Formatter;
use log::kv::{Error, Key, Value, VisitSource};
use log::{LevelFilter, Record};

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// Starts logging; `RUST_LOG` overrides the verbosity.
pub fn start(format: LogFormat, verbosity: u8) {
    let level = match verbosity {
        0..=2 => LevelFilter::Info,
        3 | 4 => LevelFilter::Debug,
        _ => LevelFilter::Trace,
    };
    let mut builder = env_logger::Builder::new();
    builder.filter_level(level);
    if verbosity < 5 {
        // each failed call has one line of ours; theirs repeat it without saying of what
        builder.filter_module("kube_client", LevelFilter::Off);
        for library in ["h2", "hyper", "hyper_util", "rustls", "tower"] {
            builder.filter_module(library, LevelFilter::Warn);
        }
    }
    builder.parse_default_env();
    match format {
        LogFormat::Text => builder.format_target(false).format_timestamp_secs(),
        LogFormat::Json => builder.format(json_line),
    };
    // a second start, in a test, changes nothing
    let _ = builder.try_init();
}

/// `{"time":"2026-11-21T09:00:00Z","level":"INFO","message":"check","verdict":"compliant"}`
fn json_line(out: &mut Formatter, record: &Record<'_>) -> std::io::Result<()> {
    let mut fields = Fields(serde_json::Map::new());
    fields.0.insert("time".into(), out.timestamp_millis().to_string().into());
    fields.0.insert("level".into(), record.level().as_str().into());
    fields.0.insert("message".into(), record.args().to_string().into());
    // the visitor never fails
    let _ = record.key_values().visit(&mut fields);
    writeln!(out, "{}", serde_json::Value::Object(fields.0))
}

struct Fields(serde_json::Map<String, serde_json::Value>);

impl<'kvs> VisitSource<'kvs> for Fields {
    fn visit_pair(&mut self, key: Key<'kvs>, value: Value<'kvs>) -> Result<(), Error> {
        let value = serde_json::to_value(&value).unwrap_or_else(|_| value.to_string().into());
        self.0.insert(key.as_str().to_owned(), value);
        Ok(())
    }
}
