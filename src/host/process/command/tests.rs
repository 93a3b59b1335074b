use super::*;

/// Far more than anything here takes on a busy machine, and less than a stray process lives.
const LIMIT: Duration = Duration::from_secs(20);
const SHORT: Duration = Duration::from_millis(200);
/// Starts a process that has left the group when its number is printed, and holds standard error for a minute.
const LEAVE_STRAY: &str = "echo $(setsid sh -c 'echo $$; exec sleep 60 >&-' &)";
/// The same, and it holds the output too.
const LEAVE_STRAY_IN_OUTPUT: &str = "exec 3>&1; echo $(setsid sh -c 'echo $$; exec sleep 60 >&3' &)";

fn deadline(limit: Duration) -> Deadline {
    Deadline::after(limit, Arc::default())
}

/// What a script printed until it ended, or did not. The limit begins behind the first line: a busy machine may need
/// a while to get there.
fn run(script: &str, limit: Duration, bytes: u64) -> (String, Result<Ended, CommandError>) {
    let mut running = start("sh", &["-c", script], b"", &deadline(LIMIT), bytes).unwrap();
    let mut output = Vec::new();
    let ended = read(&mut running, limit, &mut output).map_err(|error| running.error(error));
    (String::from_utf8(output).unwrap(), ended.and_then(|()| running.finish()))
}

fn read(running: &mut Running, limit: Duration, output: &mut Vec<u8>) -> io::Result<()> {
    let mut piece = [0; 64];
    while !output.contains(&b'\n') {
        match running.read(&mut piece)? {
            0 => break,
            count => output.extend_from_slice(&piece[..count]),
        }
    }
    running.set_deadline(deadline(limit));
    running.read_to_end(output).map(drop)
}

/// A process that a script started and printed the number of; it is killed in the end.
struct Left(Pid);

impl Left {
    fn printed(output: &str) -> Self {
        let first = output.lines().next().and_then(|line| line.parse().ok());
        Self(first.and_then(Pid::from_raw).unwrap_or_else(|| panic!("{output:?} is no number")))
    }

    /// Whether it runs: one that was killed may wait long for somebody who asks for its status.
    fn is_alive(&self) -> bool {
        std::fs::read(format!("/proc/{}/cmdline", self.0)).is_ok_and(|line| !line.is_empty())
    }

    /// The kernel ends a killed process when it comes to run.
    #[track_caller]
    fn wait_end(&self, what: &str) {
        let end = Instant::now() + LIMIT;
        while self.is_alive() {
            assert!(Instant::now() < end, "{what}: process {} lives", self.0);
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Left {
    fn drop(&mut self) {
        if self.is_alive() {
            let _ = rustix::process::kill_process(self.0, Signal::KILL);
        }
    }
}

#[test]
fn output_status_and_stderr_are_returned() {
    let (output, ended) = run("echo out; echo err >&2; exit 3", LIMIT, 100);
    let ended = ended.unwrap();
    assert_eq!((output.as_str(), ended.stderr.as_slice()), ("out\n", &b"err\n"[..]));
    assert_eq!(ended.status.code(), Some(3));
}

#[test]
fn a_program_that_hangs_is_killed_with_its_children() {
    let (output, ended) = run("sleep 60 & echo $!; sleep 60", SHORT, 100);
    assert!(matches!(ended, Err(CommandError::Timeout { .. })), "{ended:?}");
    Left::printed(&output).wait_end("a child outlived the deadline");
}

#[test]
fn children_that_a_program_leaves_in_its_group_are_killed() {
    let (output, ended) = run("sleep 60 >&- & echo $!; echo err >&2", LIMIT, 100);
    assert_eq!(ended.unwrap().stderr, b"err\n");
    Left::printed(&output).wait_end("a child outlived the program");
}

#[test]
fn a_stray_process_that_holds_stderr_delays_nothing() {
    let (output, ended) = run(&format!("{LEAVE_STRAY}; echo err >&2; exit 3"), LIMIT, 100);
    assert!(Left::printed(&output).is_alive(), "it was waited for");
    let ended = ended.unwrap();
    assert_eq!((ended.status.code(), ended.stderr.as_slice()), (Some(3), &b"err\n"[..]));
}

#[test]
fn the_deadline_holds_against_a_stray_process() {
    for leave in [LEAVE_STRAY, LEAVE_STRAY_IN_OUTPUT] {
        for then in ["sleep 60", "exec >&- 2>&-; sleep 60"] {
            let (output, ended) = run(&format!("{leave}; {then}"), SHORT, 100);
            assert!(Left::printed(&output).is_alive(), "it was waited for: {leave}; {then}");
            assert!(matches!(ended, Err(CommandError::Timeout { .. })), "{ended:?}: {leave}; {then}");
        }
    }
}

/// What somebody else may still print is no whole output.
#[test]
fn output_that_a_stray_process_holds_is_waited_for_until_the_deadline() {
    let mut running = start("sh", &["-c", LEAVE_STRAY_IN_OUTPUT], b"", &deadline(LIMIT), 100).unwrap();
    let mut number = [0; 16];
    let count = running.read(&mut number).unwrap();
    let stray = Left::printed(str::from_utf8(&number[..count]).unwrap());
    deadline(LIMIT).wait_readable(&running.pidfd).unwrap();
    assert!(running.has_ended());
    running.set_deadline(deadline(SHORT));
    assert_eq!(running.read(&mut number).unwrap_err().kind(), io::ErrorKind::TimedOut);
    assert!(stray.is_alive(), "it was waited for");
}

#[test]
fn a_stray_process_that_never_stops_complaining_is_not_listened_to() {
    let script = "echo $(setsid sh -c 'echo $$; exec timeout 60 yes >&2' &)";
    let (output, ended) = run(script, LIMIT, 100);
    let stray = Left::printed(&output);
    assert!(ended.unwrap().stderr.len() <= STDERR_LIMIT_BYTES);
    stray.wait_end("nobody reads what it says");
}

#[test]
fn a_program_that_closes_its_output_and_hangs_is_killed() {
    let (output, ended) = run("echo $$; exec >&- 2>&-; sleep 60", SHORT, 100);
    assert!(matches!(ended, Err(CommandError::Timeout { .. })), "{ended:?}");
    Left::printed(&output).wait_end("it outlived the deadline");
}

/// As if no signal reached it: this one is not killed.
#[test]
fn a_process_that_does_not_end_is_left_to_a_thread() {
    let running = start("sleep", &["60"], b"", &deadline(LIMIT), 100).unwrap();
    reap(&running.pidfd, Duration::from_millis(1));
    assert!(!running.has_ended(), "it was waited for");
    let process = Left(Pid::from_child(&running.child));
    drop(running);
    process.wait_end("it was killed");
    let end = Instant::now() + LIMIT;
    while Path::new(&format!("/proc/{}", process.0)).exists() {
        assert!(Instant::now() < end, "it was not reaped");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_stop_on_request_ends_a_wait() {
    let cancelled = Arc::new(AtomicBool::new(false));
    let until = Deadline::after(Duration::from_secs(3600), Arc::clone(&cancelled));
    let mut running = start("sleep", &["3600"], b"", &until, 100).unwrap();
    let process = Left(Pid::from_child(&running.child));
    let reader = std::thread::spawn(move || running.read(&mut [0]).map_err(|error| running.error(error)));
    cancelled.store(true, Ordering::Relaxed);
    let error = reader.join().unwrap().unwrap_err();
    assert!(matches!(error, CommandError::Read { .. }), "{error}");
    process.wait_end("it outlived the wait");
}

#[test]
fn output_is_limited() {
    let (_, ended) = run("yes", LIMIT, 10_000);
    assert!(matches!(ended, Err(CommandError::TooLarge { limit: 10_000, .. })), "{ended:?}");
}

#[test]
fn stderr_is_limited_and_never_blocks() {
    for stop in ["", "exec >&-;"] {
        let (_, ended) = run(&format!("{stop} yes | head -c 300000 >&2"), LIMIT, 100);
        assert_eq!(ended.unwrap().stderr.len(), STDERR_LIMIT_BYTES);
    }
}

#[test]
fn a_missing_program_is_named() {
    let error = start::<&str>("no-such-program-here", &[], b"", &deadline(LIMIT), 1).unwrap_err();
    assert!(error.to_string().contains("no-such-program-here"), "{error}");
}
