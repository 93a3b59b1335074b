//! Allowlist directories as kubelet, people and accidents leave them, on a real file system.

use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use iptables_monitor::domain::judging::allowlist::{Allowlist, List};
use iptables_monitor::host::files::config_dir::{DirError, PatternDir, read_patterns};
use tempfile::TempDir;

fn dir_with(files: &[(&str, &str)]) -> TempDir {
    let dir = tempfile::tempdir().expect("a temporary directory");
    for (name, text) in files {
        fs::write(dir.path().join(name), text).expect("a temporary directory");
    }
    dir
}

fn texts(read: &PatternDir) -> Vec<(List, &str)> {
    read.files.iter().map(|file| (file.list, std::str::from_utf8(&file.text).expect("UTF-8"))).collect()
}

/// Does what kubelet does for a new version of a ConfigMap, and deletes the old one.
fn publish(mount: &Path, generation: usize) {
    let name = format!("..{generation}");
    let dir = mount.join(&name);
    fs::create_dir(&dir).expect("a temporary directory");
    for list in List::ALL {
        // Only every second generation has all files.
        if generation.is_multiple_of(2) || list != List::Security {
            fs::write(dir.join(list.as_str()), format!("^{}-{generation}$\n", list.as_str()))
                .expect("a temporary directory");
        }
    }
    let old = fs::read_link(mount.join("..data")).ok();
    symlink(&name, mount.join("..data_tmp")).expect("a temporary directory");
    fs::rename(mount.join("..data_tmp"), mount.join("..data")).expect("a temporary directory");
    for list in List::ALL {
        drop(symlink(Path::new("..data").join(list.as_str()), mount.join(list.as_str())));
    }
    if let Some(old) = old {
        fs::remove_dir_all(mount.join(old)).expect("a temporary directory");
    }
}

#[test]
fn every_read_of_a_changing_config_map_is_one_generation() {
    const GENERATIONS: usize = 200;
    let mount = tempfile::tempdir().unwrap();
    publish(mount.path(), 0);
    let is_done = AtomicBool::new(false);
    let reads = AtomicUsize::new(0);
    let mut found = Vec::new();
    thread::scope(|scope| {
        scope.spawn(|| {
            for generation in 1..=GENERATIONS {
                publish(mount.path(), generation);
                let before = reads.load(Ordering::Acquire);
                // now and then the writer goes on only when a read that begins now is over
                while generation % 10 == 0 && reads.load(Ordering::Acquire) < before + 2 {
                    thread::yield_now();
                }
            }
            is_done.store(true, Ordering::Release);
        });
        let mut is_last = false;
        while !is_last {
            is_last = is_done.load(Ordering::Acquire);
            found.push(read_patterns(mount.path()));
            reads.fetch_add(1, Ordering::Release);
        }
    });
    let seen: HashSet<_> = found.into_iter().map(|read| generation_of(&read.unwrap())).collect();
    assert!(seen.contains(&GENERATIONS), "the last generation is read");
    assert!(seen.len() >= GENERATIONS / 10, "{} generations were seen", seen.len());
}

/// The generation that all files are of, and that all files of it are there.
fn generation_of(read: &PatternDir) -> usize {
    let texts = texts(read);
    let (_, first) = texts.first().expect("never empty");
    let number = first.trim_matches(['^', '$', '\n']).rsplit('-').next().expect("a number");
    let generation: usize = number.parse().expect("a number");
    let expected: Vec<(List, String)> = List::ALL
        .into_iter()
        .filter(|&list| generation.is_multiple_of(2) || list != List::Security)
        .map(|list| (list, format!("^{}-{generation}$\n", list.as_str())))
        .collect();
    let expected: Vec<(List, &str)> = expected.iter().map(|(list, text)| (*list, text.as_str())).collect();
    assert_eq!(texts, expected);
    generation
}

#[test]
fn a_plain_directory_is_read() {
    let dir = dir_with(&[
        ("nat", "^-A POSTROUTING \n"),
        ("global", ""),
        ("nftables", "^table ip x$"),
        ("filters", "^a"),
        ("filter~", "^a"),
        (".filter.swp", "^a"),
        ("README.md", "what this is"),
    ]);
    fs::create_dir(dir.path().join("old")).unwrap();
    let read = read_patterns(dir.path()).unwrap();
    let expected = [(List::Global, ""), (List::Nat, "^-A POSTROUTING \n"), (List::Nftables, "^table ip x$")];
    assert_eq!(texts(&read), expected);
    assert_eq!(read.unknown, ["filters", "filter~", "old"]);
    let allowlist = Allowlist::parse(&read.files);
    let pattern = allowlist.matching(Some("nat"), b"-A POSTROUTING -j X").unwrap();
    assert_eq!(*pattern.origin, *dir.path().join("nat").to_str().unwrap());
}

#[test]
fn an_empty_directory_has_no_patterns() {
    let dir = dir_with(&[]);
    assert_eq!(read_patterns(dir.path()).unwrap(), PatternDir { files: vec![], unknown: vec![] });
}

#[test]
fn a_config_map_is_only_what_its_link_leads_to() {
    let mount = dir_with(&[("nat", "^stale")]);
    fs::create_dir(mount.path().join("..1")).unwrap();
    fs::write(mount.path().join("..1/raw"), "^current").unwrap();
    fs::write(mount.path().join("..1/fitler"), "^misspelt").unwrap();
    symlink("..1", mount.path().join("..data")).unwrap();
    let read = read_patterns(mount.path()).unwrap();
    assert_eq!(texts(&read), [(List::Raw, "^current")]);
    assert_eq!(read.unknown, ["fitler"]);
}

#[test]
fn a_missing_directory_is_not_an_empty_one() {
    let dir = dir_with(&[("nat", "")]);
    let missing = dir.path().join("none");
    let error = read_patterns(&missing).unwrap_err();
    assert!(matches!(error, DirError::Missing { .. }), "{error:?}");
    let message =
        format!("{} does not exist: create the directory or mount the ConfigMap there", missing.display());
    assert_eq!(error.to_string(), message);
    let error = read_patterns(&dir.path().join("nat")).unwrap_err();
    assert!(matches!(error, DirError::NotADirectory { .. }), "{error:?}");
}

#[test]
fn links_that_lead_nowhere_are_not_missing_files() {
    let dir = dir_with(&[]);
    symlink("gone", dir.path().join("nat")).unwrap();
    let error = read_patterns(dir.path()).unwrap_err();
    assert!(matches!(&error, DirError::NotAFile { path } if path.ends_with("nat")), "{error:?}");
    symlink("..gone", dir.path().join("..data")).unwrap();
    let error = read_patterns(dir.path()).unwrap_err();
    assert!(matches!(error, DirError::Changing { .. }), "{error:?}");
}

/// Would hang without a limit of its own: a FIFO that is opened for reading waits for a writer.
#[test]
fn what_is_not_a_file_is_refused_at_once() {
    let dir = dir_with(&[]);
    let filter = dir.path().join("filter");
    let make: [&dyn Fn(); 4] = [
        &|| assert!(Command::new("mkfifo").arg(&filter).status().unwrap().success()),
        &|| fs::create_dir(&filter).unwrap(),
        &|| symlink("/dev/zero", &filter).unwrap(),
        &|| drop(std::os::unix::net::UnixListener::bind(&filter).unwrap()),
    ];
    for make in make {
        make();
        let error = read_patterns(dir.path()).unwrap_err();
        assert!(matches!(&error, DirError::NotAFile { path } if *path == filter), "{error:?}");
        fs::remove_file(&filter).or_else(|_| fs::remove_dir(&filter)).unwrap();
    }
    assert!(read_patterns(dir.path()).unwrap().files.is_empty());
}

#[test]
fn what_may_not_be_read_is_not_missing() {
    let dir = dir_with(&[("global", "a"), ("raw", "b")]);
    let set_mode = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    set_mode(dir.path(), 0o755);
    set_mode(&dir.path().join("global"), 0o644);
    set_mode(&dir.path().join("raw"), 0o600);
    let error = as_nobody(|| read_patterns(dir.path())).unwrap_err();
    assert!(matches!(&error, DirError::Denied { path } if path.ends_with("raw")), "{error:?}");
    set_mode(&dir.path().join("raw"), 0o644);
    assert_eq!(as_nobody(|| read_patterns(dir.path())).unwrap().files.len(), 2);
    set_mode(dir.path(), 0o700);
    let error = as_nobody(|| read_patterns(dir.path())).unwrap_err();
    assert!(matches!(&error, DirError::Denied { path } if path == dir.path()), "{error:?}");
    assert!(error.to_string().starts_with("no permission to read "));
}

/// Runs `work` on a thread of its own that has given up root.
fn as_nobody<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    let nobody = rustix::process::Uid::from_raw(65534);
    thread::scope(|scope| {
        let thread = scope.spawn(move || {
            rustix::thread::set_thread_res_uid(nobody, nobody, nobody).expect("run the tests as root");
            work()
        });
        thread.join().expect("the reader does not panic")
    })
}

#[test]
fn a_big_file_is_refused_and_a_full_one_is_not() {
    let dir = dir_with(&[("mangle", &"a".repeat(1 << 20))]);
    assert_eq!(read_patterns(dir.path()).unwrap().files[0].text.len(), 1 << 20);
    fs::write(dir.path().join("mangle"), "a".repeat((1 << 20) + 1)).unwrap();
    let error = read_patterns(dir.path()).unwrap_err();
    assert!(matches!(error, DirError::TooLarge { .. }), "{error:?}");
    assert!(
        error.to_string().ends_with("/mangle is larger than 1048576 bytes: make the list shorter"),
        "{error}"
    );
}
