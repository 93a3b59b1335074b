//! This node: processes, files, `/proc`, sockets. Reads only, but for [`routes`]; decides nothing.

pub mod addresses;
pub mod checkpoint;
pub mod command;
pub mod config_dir;
pub mod journal;
pub mod nfnetlink;
pub mod routes;
pub mod tail;
pub mod xtables;
