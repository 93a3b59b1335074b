//! What the tools print: the dumps of `iptables-save` and `nft -j`, live or in files.
//! Runs no tool and judges nothing.

pub mod iptables_save;
pub mod nft_json;
