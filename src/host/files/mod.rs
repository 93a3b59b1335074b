//! Directories of settings, read and watched, and the places where logs were left off.
//! Understands no pattern and no log.

pub mod checkpoint;
pub mod config_dir;
pub mod directory_watch;
