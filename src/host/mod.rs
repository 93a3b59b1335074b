//! This node: processes, files, `/proc`, sockets. Reads only, but for [`routes`] and [`journal_store`]; decides nothing.

pub mod addresses;
pub mod bpf_map;
pub mod command;
pub mod config_dir;
pub mod directory_watch;
pub mod journal_store;
pub mod nfnetlink;
pub mod process;
pub mod routes;
pub mod xtables;
pub mod xtables_lock;
