//! The `monitor` binary: arguments in, exit code out; everything else is in the library.

use std::process::ExitCode;

use iptables_monitor::cli::{self, Exit};

fn main() -> ExitCode {
    let exit = cli::run(std::env::args_os()).unwrap_or_else(|error| {
        eprint_error(&error);
        Exit::Usage
    });
    ExitCode::from(exit as u8)
}

#[expect(clippy::print_stderr, reason = "the one place that reports a fatal error")]
fn eprint_error(error: &anyhow::Error) {
    eprintln!("monitor: {error:#}");
}
