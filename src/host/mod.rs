//! This node: processes, files, `/proc`, sockets. Reads only, but for [`routes`]; decides nothing.

pub mod addresses;
pub mod command;
pub mod config_dir;
pub mod kmsg;
pub mod nflog;
pub mod nfnetlink;
pub mod routes;
pub mod xtables;
