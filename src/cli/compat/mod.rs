//! What the replaced systems were told, made ours: their command lines and their environment, and nothing of them elsewhere.

pub mod azure;
pub mod tailer;
