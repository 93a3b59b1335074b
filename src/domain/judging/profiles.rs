//! The allowlists that ship with the program, by profile name.
//! The patterns themselves, and where each comes from, are under `patterns/`.

use super::allowlist::{List, PatternFile};

macro_rules! profile {
    ($name:literal: $($list:ident $file:literal),+) => {
        &[$((List::$list, $file, include_str!(concat!("../../../patterns/", $name, "/", $file)))),+]
    };
}

type ProfileFiles = &'static [(List, &'static str, &'static str)];

const PROFILES: [(&str, ProfileFiles); 2] = [
    (
        "base",
        profile!(
            "base": Global "global", Nat "nat", Mangle "mangle", Filter "filter", Raw "raw", Security "security",
            Nftables "nftables"
        ),
    ),
    ("kubernetes", profile!("kubernetes": Nat "nat", Mangle "mangle", Filter "filter")),
];

/// The names of the profiles.
pub fn names() -> impl Iterator<Item = &'static str> {
    PROFILES.iter().map(|(name, _)| *name)
}

/// The files of one profile; none for an unknown name.
pub fn files(profile: &str) -> Option<Vec<PatternFile>> {
    let (name, files) = PROFILES.iter().find(|(name, _)| *name == profile)?;
    let file = |&(list, file, text): &(List, &str, &str)| PatternFile {
        list,
        origin: format!("profile {name}: {file}"),
        text: text.as_bytes().to_vec(),
    };
    Some(files.iter().map(file).collect())
}
