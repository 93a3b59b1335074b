//! This node: processes, files, `/proc`, sockets. Reads only, but for [`routes`] and [`journal_store`]; decides nothing.

pub mod addresses;
pub mod command;
pub mod config_dir;
pub mod journal_store;
pub mod nfnetlink;
pub mod routes;
pub mod xtables;
