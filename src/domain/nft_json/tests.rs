//! Tables of rules and declarations, and laws that any JSON must keep.
//! Real kernels and real nft are in `tests/it/native.rs`.
