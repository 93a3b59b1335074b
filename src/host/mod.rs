//! This node: processes, files, `/proc`, sockets. Reads only, but for [`routes`], [`checkpoint`] and [`journal_store`];
//! decides nothing.

pub mod addresses;
pub mod bpf_map;
pub mod checkpoint;
pub mod command;
pub mod config_dir;
pub mod directory_watch;
pub mod journal;
pub mod journal_store;
pub mod kmsg;
pub mod nflog;
pub mod nfnetlink;
pub mod process;
pub mod procfs;
pub mod reverse_dns;
pub mod routes;
pub mod tail;
pub mod xtables;
pub mod xtables_lock;
