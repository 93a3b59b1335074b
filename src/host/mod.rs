//! This node, grouped by what is touched: netlink, legacy tables, logs, files, processes, what is kept, the network. Reads
//! only, but for [`netlink::routes`], [`files::checkpoint`] and [`store::history`]; decides nothing.

pub mod bpf;
pub mod bpf_map;
pub mod files;
pub mod logs;
pub mod net;
pub mod netlink;
pub mod process;
mod raw;
pub mod store;
pub mod xtables;
