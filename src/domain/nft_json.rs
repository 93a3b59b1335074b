//! STUB.
#![allow(missing_docs)]
use super::ruleset::*;
pub struct NativeLine { pub family: Family, pub table: String, pub chain: Option<String>, pub kind: Kind, pub handle: Option<u64>, pub position: Option<u32>, pub line: Vec<u8>, pub has_xt: bool }
pub enum Item { Metainfo { version: String }, Table { family: Family, name: String, flags: Vec<String> }, Line(NativeLine), Chain { family: Family, table: String, name: String, is_base: bool }, SetElements { family: Family, table: String, set: String, count: u64, hash: [u8; 32] }, Problem(Problem) }
#[derive(Debug, thiserror::Error)]
#[error("x")]
pub struct JsonError;
impl JsonError { pub fn is_empty(&self) -> bool { true } pub fn into_io(self) -> Option<std::io::Error> { None } }
pub fn parse(_: impl std::io::Read, _: &mut impl FnMut(Item)) -> Result<(), JsonError> { Ok(()) }
