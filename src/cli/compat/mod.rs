//! What the replaced systems were told, made ours.

mod azure;

pub use azure::translate;
