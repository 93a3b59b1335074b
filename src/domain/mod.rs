//! What is decided: pure functions from text and values to values.
//! Nothing here opens a file, asks for the time, logs or waits.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

/// The variants of an enum as an array; does not compile while one is left out.
macro_rules! every {
    ($of:ident: $($variant:ident),+ $(,)?) => {{
        const _: fn($of) = |value| match value { $($of::$variant => ()),+ };
        [$($of::$variant),+]
    }};
}

pub mod changes;
pub mod cluster;
pub mod drops;
pub mod judging;
pub mod packets;
pub mod peers;
pub mod rules;
pub mod verdict;
pub mod words;
