//! Who changed the rules, as far as the kernel and `/proc` say: a hint, never a proof.
//! Names and command lines are chosen by the process itself: untrusted, to be escaped when shown.

pub mod procfs;
pub mod secrets;

/// The process that the kernel names as the author of a transaction.
///
/// *Source*: `NFTA_GEN_PROC_PID` and `NFTA_GEN_PROC_NAME` in `include/uapi/linux/netfilter/nf_tables.h`; proc(5).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Author {
    /// Its process id in the initial PID namespace.
    pub pid: u32,
    /// Its name, at most 15 bytes.
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

/// A process that started another.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Ancestor {
    /// Its process id.
    pub pid: u32,
    /// Its name, at most 15 bytes.
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
