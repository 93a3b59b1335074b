//! Who changed the rules, as far as the kernel and `/proc` say: a hint, never a proof.
//! Names and command lines are chosen by the process itself: untrusted, to be escaped when shown.

pub mod procfs;
pub mod secrets;

/// The kernel keeps no more bytes of a name: `TASK_COMM_LEN`, without the NUL.
///
/// *Source*: `include/linux/sched.h`.
pub const NAME_BYTES: usize = 15;
/// Where a program that another one interprets stands in a command line: behind that one, and perhaps an option of it.
const ARGUMENTS: usize = 3;

/// The process that the kernel names as the author of a transaction.
///
/// *Source*: `NFTA_GEN_PROC_PID` and `NFTA_GEN_PROC_NAME` in `include/uapi/linux/netfilter/nf_tables.h`; proc(5).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Author {
    /// Its process id in the initial PID namespace.
    pub pid: u32,
    /// Its name, as [`name`] makes it of what the kernel says.
    pub name: String,
    /// Its executable, if it still lived when it was looked at.
    pub executable: Option<String>,
    /// Its command line without what looks like a secret, arguments separated by spaces and cut to a bounded length.
    pub command_line: Option<String>,
    /// The processes that started it, the nearest first, up to PID 1.
    pub parents: Vec<Ancestor>,
    /// The id of the container it ran in.
    pub container: Option<String>,
    /// The pod of that container.
    pub pod: Option<PodHint>,
}

impl Author {
    /// A process of which the kernel said no more than this.
    pub fn named(pid: u32, name: &[u8]) -> Self {
        Self {
            pid,
            name: String::from_utf8_lossy(name).into_owned(),
            executable: None,
            command_line: None,
            parents: Vec::new(),
            container: None,
            pod: None,
        }
    }

    /// Whether it is the process of this number and of this name, as the kernel has it.
    pub fn is(&self, pid: u32, name: &[u8]) -> bool {
        let is_cut = name.len() >= NAME_BYTES && self.name.as_bytes().starts_with(name);
        self.pid == pid && (is_cut || self.name == String::from_utf8_lossy(name))
    }

    /// Whether all but the process id is the same: another run of the same program by the same parents.
    pub fn is_like(&self, other: &Self) -> bool {
        self.name == other.name
            && self.executable == other.executable
            && self.command_line == other.command_line
            && self.parents == other.parents
            && self.container == other.container
            && self.pod == other.pod
    }
}

/// The name of a process of which the kernel keeps `kept`. Where that may be cut, it is the file name of the executable, or
/// one at the beginning of the command line, that begins so.
pub fn name(kept: &[u8], executable: Option<&str>, command_line: Option<&str>) -> String {
    let arguments = command_line.into_iter().flat_map(|line| line.split(' ').take(ARGUMENTS));
    let executable = executable.map(|path| path.strip_suffix(" (deleted)").unwrap_or(path));
    let mut whole = executable.into_iter().chain(arguments).filter_map(|path| path.rsplit('/').next());
    match whole.find(|name| kept.len() >= NAME_BYTES && name.as_bytes().starts_with(kept)) {
        Some(name) => name.to_owned(),
        None => String::from_utf8_lossy(kept).into_owned(),
    }
}

/// A process that started another.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Ancestor {
    /// Its process id.
    pub pid: u32,
    /// Its name, as [`Author::name`].
    pub name: String,
    /// Its command line, as [`Author::command_line`].
    pub command_line: Option<String>,
}

/// A pod as a control group names it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PodHint {
    /// The pod's UID.
    pub uid: String,
    /// Its namespace and name, where the API server knows it.
    pub name: Option<(String, String)>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_the_kernel_cut_is_that_of_the_executable() {
        for (kept, executable, command_line, whole) in [
            ("kube-controller", Some("/usr/bin/kube-controller-manager"), None, "kube-controller-manager"),
            (
                "kube-controller",
                Some("/x/kube-controller-manager (deleted)"),
                None,
                "kube-controller-manager",
            ),
            (
                "a-very-long-scr",
                Some("/usr/bin/python3"),
                Some("python3 -u ./a-very-long-script.py x"),
                "a-very-long-script.py",
            ),
            ("kube-controller", Some("/usr/bin/another"), Some("another"), "kube-controller"),
            ("kube-controller", None, None, "kube-controller"),
            ("exactly-fifteen", Some("/bin/exactly-fifteen"), None, "exactly-fifteen"),
            ("short", Some("/usr/bin/shorter"), Some("shorter"), "short"),
        ] {
            let found = name(kept.as_bytes(), executable, command_line);
            assert_eq!(found, whole);
            let author = Author { name: found, ..Author::named(7, b"") };
            assert!(
                author.is(7, kept.as_bytes()) && !author.is(8, kept.as_bytes()) && !author.is(7, b"other")
            );
        }
        // a character that the cut has split
        let (kept, path) = ("fünfzehn-zeicheñ".as_bytes(), "/bin/fünfzehn-zeicheñ-lang");
        assert_eq!(name(&kept[..17], Some(path), None), "fünfzehn-zeicheñ-lang");
    }
}
