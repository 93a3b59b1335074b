//! The iptables that write the rules of these tests: the installed one, and those of other Debian roots.
//! Makes no root. `make test-versions` does, and names them in `IPTABLES_ROOTS`, between colons.

use std::fmt;
use std::process::Command;

use iptables_monitor::domain::rules::Family;

use crate::support::{Netns, lossy};

/// What holds the rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Backend {
    Nft,
    Legacy,
}

pub const BACKENDS: [Backend; 2] = [Backend::Nft, Backend::Legacy];
pub const FAMILIES: [Family; 2] = [Family::Ip, Family::Ip6];

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(pub [u16; 3]);

impl Version {
    pub const MIN: Self = Self([0; 3]);
    pub const MAX: Self = Self([u16::MAX; 3]);
    /// Its text is the one that allowlists are written for.
    pub const OF_THE_TEXT: Self = Self([1, 8, 9]);

    pub fn parse(text: &str) -> Self {
        let numbers: Vec<_> = text.split('.').map(|part| part.parse().expect(text)).collect();
        Self(numbers.try_into().expect("three numbers"))
    }
}

impl fmt::Debug for Version {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self([one, two, three]) = self;
        write!(formatter, "{one}.{two}.{three}")
    }
}

/// The iptables of this machine or of a root.
#[derive(Debug)]
pub struct Tools {
    pub version: Version,
    root: Option<String>,
}

impl Tools {
    fn at(root: Option<String>) -> Self {
        let mut command = match &root {
            None => Command::new("iptables-nft"),
            Some(root) => {
                let mut command = Command::new("chroot");
                command.args([root, "iptables-nft"]);
                command
            }
        };
        let output = command.arg("--version").output().expect("iptables, or chroot as root");
        let text = lossy(&output);
        // iptables v1.8.9 (nf_tables)
        let version = text.split(' ').nth(1).and_then(|word| word.strip_prefix('v'));
        Self { version: Version::parse(version.unwrap_or_else(|| panic!("{root:?}: {text}"))), root }
    }

    fn feed(&self, netns: &Netns, program: &str, args: &[&str], input: &[u8]) -> std::process::Output {
        match &self.root {
            None => netns.feed(program, args, input),
            Some(root) => netns.feed("chroot", &[&[root, program], args].concat(), input),
        }
    }

    /// Replaces the tables that the text names.
    ///
    /// # Errors
    /// What the program printed when it refused.
    pub fn restore(
        &self,
        netns: &Netns,
        backend: Backend,
        family: Family,
        text: &[u8],
    ) -> Result<(), String> {
        let args: &[&str] = match backend {
            Backend::Nft => &[],
            // all namespaces share the lock of the root
            Backend::Legacy => &["-w", "60"],
        };
        let output = self.feed(netns, &program(backend, family, "restore"), args, text);
        if output.status.success() {
            Ok(())
        } else {
            Err(format!("{:?} says {}: {}", self.version, output.status, lossy(&output)))
        }
    }

    /// What the program prints of all tables.
    ///
    /// # Panics
    /// If it fails.
    pub fn save(&self, netns: &Netns, backend: Backend, family: Family) -> Vec<u8> {
        self.try_save(netns, backend, family).unwrap_or_else(|message| panic!("{message}"))
    }

    /// The same.
    ///
    /// # Errors
    /// What the program printed when it failed.
    pub fn try_save(&self, netns: &Netns, backend: Backend, family: Family) -> Result<Vec<u8>, String> {
        let output = self.feed(netns, &program(backend, family, "save"), &[], b"");
        match output.status.success() {
            true => Ok(output.stdout),
            false => Err(format!("{:?} says {}: {}", self.version, output.status, lossy(&output))),
        }
    }
}

fn program(backend: Backend, family: Family, what: &str) -> String {
    let family = if family == Family::Ip6 { "ip6tables" } else { "iptables" };
    let backend = match backend {
        Backend::Nft => "nft",
        Backend::Legacy => "legacy",
    };
    format!("{family}-{backend}-{what}")
}

/// The installed iptables first, then that of each root.
pub fn writers() -> Vec<Tools> {
    let mut writers = vec![Tools::at(None)];
    let roots = std::env::var("IPTABLES_ROOTS").unwrap_or_default();
    writers.extend(roots.split(':').filter(|root| !root.is_empty()).map(|root| Tools::at(Some(root.into()))));
    println!("iptables {:?}", writers.iter().map(|tools| tools.version).collect::<Vec<_>>());
    writers
}

/// The writer whose text is ours; none if it is not there.
pub fn of_the_text(writers: &[Tools]) -> Option<&Tools> {
    writers.iter().find(|tools| tools.version == Version::OF_THE_TEXT)
}
