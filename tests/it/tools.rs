//! The programs that fetch what tests need: what they say must not look like what the fetched program says.
//! apt-get is a fake that talks a lot; nothing is installed.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use super::support::apiserver::tool;
use super::support::lossy;

/// What apt-get says of a package, on both streams, as it does when debconf or dpkg warn.
const NOISE: &str = "Get:1 http://deb.example bookworm/main amd64 greeter";

/// A directory with an apt-get that ends with `code`, and a Debian package which that apt-get downloads.
struct Fake(tempfile::TempDir);

impl Fake {
    fn new(code: u8) -> Self {
        let fake = Self(tempfile::tempdir().unwrap());
        fake.program("tree/usr/bin/greeter", "cat; echo greeted >&2");
        fs::create_dir(fake.path("tree/DEBIAN")).unwrap();
        let control = "Package: greeter\nVersion: 1\nArchitecture: all\nMaintainer: a <a@b.example>\nDescription: greets\n";
        fs::write(fake.path("tree/DEBIAN/control"), control).unwrap();
        let (tree, package) = (fake.path("tree"), fake.path("greeter_1_all.deb"));
        let built =
            Command::new("dpkg-deb").arg("--build").args([&tree, &package]).output().expect("dpkg-deb");
        assert!(built.status.success(), "{}", lossy(&built));
        let (package, asked) = (package.display().to_string(), fake.path("asked").display().to_string());
        fake.program(
            "bin/apt-get",
            &format!(
                "echo '{NOISE}'; echo '{NOISE}' >&2; cat; echo \"$*\" >> {asked}\n\
                 case \"$*\" in *download*) cp {package} . ;; esac\nexit {code}"
            ),
        );
        fake
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn program(&self, name: &str, script: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// A program of tests/tools with this apt-get and an empty cache, and with `hello` to read.
    fn run(&self, name: &str, arguments: &[&str]) -> Output {
        let mut child = Command::new(tool(name))
            .args(arguments)
            .env("PATH", format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", self.path("bin").display()))
            .env("XDG_CACHE_HOME", self.path("cache"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        // one that fails may not read
        let _ = child.stdin.take().unwrap().write_all(b"hello\n");
        child.wait_with_output().unwrap()
    }

    /// How often apt-get was asked.
    fn asked(&self) -> usize {
        fs::read_to_string(self.path("asked")).unwrap_or_default().lines().count()
    }
}

fn streams(output: &Output) -> (&str, &str) {
    (std::str::from_utf8(&output.stdout).unwrap(), std::str::from_utf8(&output.stderr).unwrap())
}

#[test]
fn a_fetched_program_reads_and_says_the_same_at_the_first_run_as_later() {
    let fake = Fake::new(0);
    for run in ["the first", "the second"] {
        let output = fake.run("unpacked", &["greeter", "greeter"]);
        assert!(output.status.success(), "{run}: {}", lossy(&output));
        assert_eq!(streams(&output), ("hello\n", "greeted\n"), "{run}");
        assert_eq!(fake.asked(), 1, "{run}: it is fetched once");
    }
}

#[test]
fn what_is_installed_is_said_in_one_line_and_apt_is_silent() {
    let fake = Fake::new(0);
    let output = fake.run("install", &["bash", "no-such-greeter"]);
    assert!(output.status.success(), "{}", lossy(&output));
    assert_eq!(streams(&output), ("installing no-such-greeter\n", ""));
    assert_eq!(fake.asked(), 2, "update and install");
    let output = fake.run("install", &["bash"]);
    assert!(output.status.success(), "{}", lossy(&output));
    assert_eq!((streams(&output), fake.asked()), (("", ""), 2), "nothing is missing");
}

#[test]
fn a_failure_tells_all_that_apt_said() {
    let fake = Fake::new(100);
    for (name, arguments) in
        [("unpacked", &["greeter", "greeter"][..]), ("install", &["no-such-greeter"]), ("apt", &["update"])]
    {
        let output = fake.run(name, arguments);
        assert!(!output.status.success(), "{name}: {}", lossy(&output));
        let (said, told) = streams(&output);
        assert!(!said.contains(NOISE) && told.contains(NOISE), "{name}: {}", lossy(&output));
    }
}
