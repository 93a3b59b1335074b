//! What a node's firewall holds: the words every layer shares (families, backends, entries, problems), what the kernel's
//! rules say, and what the tools print. Knows nothing of where rules come from or what is allowed.

pub mod kernel;
pub mod lines;
#[cfg(test)]
mod samples;
pub mod saved;
pub mod shadow;
pub mod text;
pub mod wording;

use std::fmt;

/// A netfilter address family.
///
/// *Source*: `enum nfproto` in `include/uapi/linux/netfilter.h`; spelled as nft(8) spells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(missing_docs)]
pub enum Family {
    Ip,
    Ip6,
    Inet,
    Arp,
    Bridge,
    Netdev,
}

impl Family {
    /// Every family, in the order reports list them.
    pub const ALL: [Self; 6] = every!(Family: Ip, Ip6, Inet, Arp, Bridge, Netdev);

    /// The name nft(8) uses.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ip => "ip",
            Self::Ip6 => "ip6",
            Self::Inet => "inet",
            Self::Arp => "arp",
            Self::Bridge => "bridge",
            Self::Netdev => "netdev",
        }
    }

    /// The family with this nft(8) name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|family| family.as_str() == name)
    }

    /// The family with this `NFPROTO_*` number.
    pub const fn from_nfproto(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::Inet),
            2 => Some(Self::Ip),
            3 => Some(Self::Arp),
            5 => Some(Self::Netdev),
            7 => Some(Self::Bridge),
            10 => Some(Self::Ip6),
            _ => None,
        }
    }

    /// The `NFPROTO_*` number.
    pub const fn nfproto(self) -> u8 {
        match self {
            Self::Inet => 1,
            Self::Ip => 2,
            Self::Arp => 3,
            Self::Netdev => 5,
            Self::Bridge => 7,
            Self::Ip6 => 10,
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The five tables that iptables(8) knows, which are also the names of allowlist files.
pub const IPTABLES_TABLES: [&str; 5] = ["nat", "mangle", "filter", "raw", "security"];

/// Which tool wrote, and can show, a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Backend {
    /// Tables of iptables-nft: nf_tables tables with an iptables name.
    IptablesNft,
    /// Tables of iptables-legacy: x_tables.
    IptablesLegacy,
    /// A saved dump whose header does not say which of the two wrote it.
    Iptables,
    /// A native nftables rule or declaration.
    Nftables,
    /// What acts on packets beside rules: functions and BPF programs at hooks, expectations of connection tracking.
    Netfilter,
}

impl Backend {
    /// Every backend, in the order reports list them.
    pub const ALL: [Self; 5] = every!(Backend: IptablesNft, IptablesLegacy, Iptables, Nftables, Netfilter);

    /// The name used in reports and metric labels.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::IptablesNft => "iptables-nft",
            Self::IptablesLegacy => "iptables-legacy",
            Self::Iptables => "iptables",
            Self::Nftables => "nftables",
            Self::Netfilter => "netfilter",
        }
    }
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a judged line declares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(missing_docs)]
pub enum Kind {
    Policy,
    Chain,
    Rule,
    Table,
    Set,
    Map,
    Element,
    Flowtable,
    Object,
    Hook,
    Expectation,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 11] =
        every!(Kind: Policy, Chain, Rule, Table, Set, Map, Element, Flowtable, Object, Hook, Expectation);

    /// The name used in reports.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Policy => "policy",
            Self::Chain => "chain",
            Self::Rule => "rule",
            Self::Table => "table",
            Self::Set => "set",
            Self::Map => "map",
            Self::Element => "element",
            Self::Flowtable => "flowtable",
            Self::Object => "object",
            Self::Hook => "hook",
            Self::Expectation => "expectation",
        }
    }
}

impl Kind {
    /// What stands for the table of lines that belong to none.
    pub const fn group(self) -> Option<&'static str> {
        match self {
            Self::Hook => Some("hooks"),
            Self::Expectation => Some("expectations"),
            _ => None,
        }
    }
}

/// One line to be judged, borrowed from the dump it streams out of.
///
/// `line` is bytes because kernel text need not be UTF-8; names are lossy because they are only shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// What the line declares.
    pub kind: Kind,
    /// The table the line belongs to.
    pub table: &'a str,
    /// The chain (or set, map, object) the line belongs to; none for a table.
    pub chain: Option<&'a str>,
    /// The rule's number in its chain, 1-based, as `iptables -D CHAIN N` takes it.
    pub position: Option<u32>,
    /// The text that allowlists judge: an `iptables -S` line or a canonical native line, without counters.
    pub line: &'a [u8],
}

/// Why a part of the node, or of a saved file, was not read or not understood. Reading the node starts no program and parses
/// no text, so that much can be wrong with files only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reason {
    /// Rules that nothing else allows might be allowed by a broken pattern.
    InvalidAllowlist,
    /// A pattern is broken: it allows nothing.
    BrokenPattern,
    /// A pattern matches the empty text, and so every line: it allows everything.
    BroadPattern,
    /// The allowlist directory is missing or unreadable.
    NoAllowlist,
    /// IPv6 rules exist and no IPv6 allowlist does.
    IPv6Unchecked,
    /// Both iptables backends hold rules.
    MixedBackends,
    /// Files only: the program that has to load them is not installed.
    MissingTool,
    /// The kernel refused: the process lacks a capability.
    PermissionDenied,
    /// Reading a table did not end before its deadline, nor loading a file.
    DumpTimeout,
    /// Files only: more than is loaded, or the loading program printed more than the output limit.
    DumpTooLarge,
    /// Files only: the program that loads them ended with an error or was killed by a signal.
    DumpFailed,
    /// Files only: the program that loads them complained of something.
    UnexpectedOutput,
    /// Files only: a dump stops early, such as before the COMMIT of a table, or lists less than all.
    IncompleteDump,
    /// Files only: a line of a dump does not follow the grammar.
    MalformedLine,
    /// The kernel counts another number of rules or declarations than it handed over, or than a file has.
    CountMismatch,
    /// The rules changed while they were read.
    TornRead,
    /// What sets hold that is judged, which may take the kernel seconds, was not read yet.
    ElementsUnread,
    /// Files only: the dump says that it leaves out a table, or is of one whose rules nft does not show in full.
    TableUnreadable,
    /// A table is loaded but switched off (`flags dormant`), or owned by a process.
    TableInactive,
    /// A legacy table of a structure that no iptables writes, so that no text says what it does.
    BrokenTable,
    /// A rule that runs a BPF program which nothing shows; in files also what is printed alike for different rules, or is not
    /// known.
    UnrenderedRule,
    /// arptables, ebtables or other content that nothing reads.
    UnreadTables,
    /// Files only: a tool of a version whose printing was not verified.
    UntestedTool,
    /// Files only: a file says to change rules (`-D`, `-F`, `delete`) rather than which exist.
    NotADump,
    /// The kernel's netlink or getsockopt answer could not be read.
    KernelRead,
    /// Agent only: a rule that no pattern allows came and went between two looks, within the last interval.
    CameAndWent,
    /// Agent only: changes were heard of that could not be looked at, within the last interval.
    ChangesMissed,
    /// The kernel has no list of what is called at its hooks: what acts on packets there beside rules is not seen.
    HooksUnlisted,
    /// BPF programs are at hooks and the kernel has no list that says which act in this network namespace; or it has none and
    /// one is required.
    HooksUnread,
    /// There is no evidence that this is the host's network namespace.
    NetnsUnproven,
}

impl Reason {
    /// Every reason.
    pub const ALL: [Self; 30] = every!(
        Reason:
        InvalidAllowlist,
        BrokenPattern,
        BroadPattern,
        NoAllowlist,
        IPv6Unchecked,
        MixedBackends,
        MissingTool,
        PermissionDenied,
        DumpTimeout,
        DumpTooLarge,
        DumpFailed,
        UnexpectedOutput,
        IncompleteDump,
        MalformedLine,
        CountMismatch,
        TornRead,
        ElementsUnread,
        TableUnreadable,
        TableInactive,
        BrokenTable,
        UnrenderedRule,
        UnreadTables,
        UntestedTool,
        NotADump,
        KernelRead,
        CameAndWent,
        ChangesMissed,
        HooksUnlisted,
        HooksUnread,
        NetnsUnproven,
    );

    /// The name used in reports, Events and metric labels.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InvalidAllowlist => "InvalidAllowlist",
            Self::BrokenPattern => "BrokenPattern",
            Self::BroadPattern => "BroadPattern",
            Self::NoAllowlist => "NoAllowlist",
            Self::IPv6Unchecked => "IPv6Unchecked",
            Self::MixedBackends => "MixedBackends",
            Self::MissingTool => "MissingTool",
            Self::PermissionDenied => "PermissionDenied",
            Self::DumpTimeout => "DumpTimeout",
            Self::DumpTooLarge => "DumpTooLarge",
            Self::DumpFailed => "DumpFailed",
            Self::UnexpectedOutput => "UnexpectedOutput",
            Self::IncompleteDump => "IncompleteDump",
            Self::MalformedLine => "MalformedLine",
            Self::CountMismatch => "CountMismatch",
            Self::TornRead => "TornRead",
            Self::ElementsUnread => "ElementsUnread",
            Self::TableUnreadable => "TableUnreadable",
            Self::TableInactive => "TableInactive",
            Self::BrokenTable => "BrokenTable",
            Self::UnrenderedRule => "UnrenderedRule",
            Self::UnreadTables => "UnreadTables",
            Self::UntestedTool => "UntestedTool",
            Self::NotADump => "NotADump",
            Self::KernelRead => "KernelRead",
            Self::CameAndWent => "CameAndWent",
            Self::ChangesMissed => "ChangesMissed",
            Self::HooksUnlisted => "HooksUnlisted",
            Self::HooksUnread => "HooksUnread",
            Self::NetnsUnproven => "NetnsUnproven",
        }
    }

    /// Whether this alone forbids the verdict `compliant`.
    pub const fn is_decisive(self) -> bool {
        !matches!(self, Self::MixedBackends | Self::BrokenPattern | Self::BroadPattern | Self::HooksUnlisted)
    }
}

/// A part of the node that was not read or not understood, told to a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The closed kind of the problem.
    pub reason: Reason,
    /// What was attempted, on what, and what to do about it. May contain untrusted text: escape it when shown.
    pub detail: String,
}

impl Problem {
    /// A problem with this reason and detail.
    pub fn new(reason: Reason, detail: impl Into<String>) -> Self {
        Self { reason, detail: detail.into() }
    }
}
