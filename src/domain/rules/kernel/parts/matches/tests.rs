//! The text of infos that the kernel held, of some that no text says, and of what becomes of them bit by bit.

use std::collections::{BTreeMap, HashMap};

use super::*;
use crate::domain::rules::kernel::parts::{Part, Surroundings, extensions, find, write};

/// Infos with the text of iptables-save 1.8.9.
const SAVED: [&str; 2] = [
    include_str!("../../../../../../tests/data/kernel/matches_a_to_l.txt"),
    include_str!("../../../../../../tests/data/kernel/matches_m_to_z.txt"),
];

/// The ipsets that the samples name.
fn ipsets() -> BTreeMap<u16, Vec<u8>> {
    let names = ["first", "second", "list", "cali40s:FwWFZt5wPdmIYB_Wmq4cNLE"];
    (0..).zip(names.map(|name| name.as_bytes().to_vec())).collect()
}

/// Where an info comes from and what it is.
#[derive(Clone, Debug)]
struct Sample {
    family: Family,
    name: &'static str,
    revision: u8,
    info: Vec<u8>,
    expected: &'static str,
}

impl Sample {
    fn surroundings<'a>(&self, ipsets: &'a BTreeMap<u16, Vec<u8>>) -> Surroundings<'a> {
        Surroundings { family: self.family, ipsets }
    }

    fn extension(&self) -> &'static Extension {
        let part = Part { name: self.name.as_bytes(), revision: self.revision, info: &self.info };
        find(Role::Match, &part, self.family).expect("an extension that is known")
    }

    /// The whole part.
    fn text(&self) -> String {
        let mut line = Line::default();
        let part = Part { name: self.name.as_bytes(), revision: self.revision, info: &self.info };
        write(Role::Match, &part, self.surroundings(&ipsets()), &mut line).expect("a name");
        String::from_utf8_lossy(line.as_bytes()).into_owned()
    }

    /// The text, if it is not raw, with the extension found before.
    fn options(&self, extension: &Extension) -> Option<Vec<u8>> {
        let ipsets = ipsets();
        let around = self.surroundings(&ipsets);
        let info = Info { bytes: &self.info, revision: self.revision, around, state: extension.state };
        let mut line = Line::default();
        line.name(self.name.as_bytes())?;
        (extension.text)(&info, &mut line)?;
        Some(line.as_bytes().to_vec())
    }

    /// What the text must tell: the bytes that are no state. Behind an IPv4 mask are ones or zeros, which mean the same.
    /// The end of `DEFAULT` may stand behind the name of a `recent` list.
    fn meaning(&self, extension: &Extension) -> Vec<u8> {
        let mut bytes = self.info.clone();
        for state in extension.state {
            bytes[state.clone()].fill(0);
        }
        if self.name == "recent" {
            let name = 10 + self.info[10..].iter().position(|byte| *byte == 0).expect("a NUL");
            bytes[name..18.max(name)].fill(0);
        }
        let masks: &[usize] = match self.name {
            "conntrack" => &[16, 48, 80, 112],
            "connlimit" => &[0],
            "ipvs" => &[16],
            "policy" => &[16, 48, 92, 124, 168, 200, 244, 276],
            "recent" => &[212],
            _ => &[],
        };
        for at in masks.iter().filter(|_| self.family == Family::Ip) {
            if bytes[*at + 4..at + 16] == [0xff; 12] {
                bytes[at + 4..at + 16].fill(0);
            }
        }
        bytes
    }
}

/// Reads lines of the data: FAMILY NAME REVISION BYTES INFO | TEXT.
fn samples() -> Vec<Sample> {
    let sample = |line: &'static str| {
        let (part, expected) = line.split_once(" | ").expect("a text");
        let [family, name, revision, length, digits] =
            part.split(' ').collect::<Vec<_>>().try_into().expect("five words");
        let mut info: Vec<u8> = digits
            .trim_matches('-')
            .as_bytes()
            .chunks(2)
            .map(|pair| u8::from_str_radix(str::from_utf8(pair).expect("ASCII"), 16).expect("digits"))
            .collect();
        info.resize(length.parse().expect("bytes"), 0);
        let family = Family::from_name(family).expect("a family");
        Sample { family, name, revision: revision.parse().expect("a revision"), info, expected }
    };
    SAVED.iter().flat_map(|saved| saved.lines()).filter(|line| !line.starts_with('#')).map(sample).collect()
}

fn sample(family: Family, name: &'static str, revision: u8, info: &[u8]) -> Sample {
    Sample { family, name, revision, info: info.to_vec(), expected: "" }
}

#[test]
fn infos_are_written_as_iptables_save_writes_them() {
    let samples = samples();
    for sample in &samples {
        assert_eq!(sample.text(), format!(" {}", sample.expected));
    }
    assert!(samples.len() > 300, "{}", samples.len());
}

#[test]
fn every_match_has_a_sample_in_every_revision_and_family() {
    let samples = samples();
    for extension in TABLES.iter().copied().flatten() {
        for revision in extension.revisions {
            let is_shown = |sample: &&Sample| sample.name == extension.name && sample.revision == *revision;
            assert!(samples.iter().any(|sample| is_shown(&sample)), "{} {revision}", extension.name);
        }
    }
}

#[test]
fn different_bytes_are_different_text() {
    /// Of the long structures, which repeat themselves, the ends and some of the middle are changed.
    const END: usize = 60;
    const STEP: usize = 19;
    /// Of several samples of one match, the first, the fourth and so on are changed.
    const EVERY: usize = 3;
    let mut meanings: HashMap<(Family, &str, u8, Vec<u8>), Vec<u8>> = HashMap::new();
    let (mut seen, mut of_kind) = ([0, 0], HashMap::new());
    for mut sample in samples() {
        let number: &mut usize = of_kind.entry((sample.family, sample.name, sample.revision)).or_default();
        *number += 1;
        if *number % EVERY != 1 {
            continue;
        }
        let extension = sample.extension();
        let length = sample.info.len();
        for at in 0..length {
            if (END..length.saturating_sub(END)).contains(&at) && !at.is_multiple_of(STEP) {
                continue;
            }
            let original = sample.info[at];
            let flipped = (0..8).map(|bit| original ^ 1 << bit);
            for byte in flipped.chain([original, 0, 0xff, b' ', b'"', original.wrapping_add(1)]) {
                sample.info[at] = byte;
                let Some(text) = sample.options(extension) else {
                    seen[0] += 1;
                    continue;
                };
                seen[1] += 1;
                let meaning = sample.meaning(extension);
                let key = (sample.family, sample.name, sample.revision, text);
                let earlier = meanings.entry(key).or_insert_with(|| meaning.clone());
                assert!(
                    *earlier == meaning,
                    "{} {:?} {}",
                    sample.name,
                    earlier.iter().zip(&meaning).enumerate().filter(|(_, (a, b))| a != b).collect::<Vec<_>>(),
                    sample.text()
                );
            }
            sample.info[at] = original;
        }
    }
    assert!(seen.iter().all(|count| *count > 10_000), "{seen:?}");
}

#[test]
fn what_no_text_says_is_raw() {
    let full_range = [0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff];
    let ip = Family::Ip;
    let raw: &[(Family, &'static str, u8, &[u8])] = &[
        // another revision, another length, another family
        (ip, "cpu", 1, &[0; 8]),
        (ip, "cpu", 0, &[0; 16]),
        (Family::Arp, "cpu", 0, &[0; 8]),
        (ip, "hl", 0, &[0; 8]),
        // conditions that iptables leaves out
        (ip, "esp", 0, &[&full_range[..], &[1, 0, 0, 0, 0, 0, 0, 0]].concat()),
        (Family::Ip6, "frag", 0, &[&full_range[..], &[0, 0, 0, 0, 1, 0, 0, 0]].concat()),
        (ip, "connbytes", 0, &[0; 24]),
        (ip, "addrtype", 1, &[0; 8]),
        // any type of ICMP with a code, and a range of codes
        (ip, "icmp", 0, &[0xff, 0, 0, 0, 0, 0, 0, 0]),
        (ip, "icmp", 0, &[3, 1, 9, 0, 0, 0, 0, 0]),
        // a truth value of 2, and padding
        (ip, "length", 0, &[5, 0, 5, 0, 2, 0, 0, 0]),
        (ip, "length", 0, &[5, 0, 5, 0, 0, 0, 0, 1]),
        // a rate that would be rounded
        (ip, "limit", 0, &[&[0x80, 0xf0, 0xfa, 0x2, 5, 0, 0, 0], &[0; 32][..]].concat()),
        // a comment that is not terminated, one of two lines, one with something behind its NUL
        (ip, "comment", 0, &[b'a'; 256]),
        (ip, "comment", 0, &[&b"a\n-A INPUT -j DROP"[..], &[0; 238]].concat()),
        (ip, "comment", 0, &[&b"a\0b"[..], &[0; 253]].concat()),
        // the state of a connection that `-m state` has no name for
        (ip, "state", 0, &[0x40, 0, 0, 0, 0, 0, 0, 0]),
    ];
    for (family, name, revision, info) in raw {
        let text = sample(*family, name, *revision, info).text();
        assert!(text.starts_with(&format!(" -m {name} --raw {revision}:")), "{text}");
        assert_eq!(text.len(), format!(" -m {name} --raw {revision}:").len() + 2 * info.len(), "{text}");
    }
}

#[test]
fn names_that_could_be_something_else_are_raw() {
    let hashlimit = samples().into_iter().find(|sample| sample.name == "hashlimit" && sample.revision == 3);
    let hashlimit = hashlimit.expect("a sample");
    for (name, is_shown) in
        [("a", true), ("a,b/c", true), ("a -j DROP", false), ("-j", false), ("!", false), ("a\"", false)]
    {
        let mut sample = hashlimit.clone();
        sample.info[..255].fill(0);
        sample.info[..name.len()].copy_from_slice(name.as_bytes());
        assert_eq!(sample.options(sample.extension()).is_some(), is_shown, "{name}");
    }
}

#[test]
fn state_is_neither_written_nor_compared() {
    for sample in samples() {
        let extension = sample.extension();
        let mut other = sample.clone();
        for state in extension.state {
            other.info[state.clone()].fill(0xa5);
        }
        assert_eq!(other.text(), sample.text());
    }
}

#[test]
fn any_bytes_are_safe() {
    use proptest::prelude::*;
    let config = ProptestConfig { failure_persistence: None, cases: 2_000, ..ProptestConfig::default() };
    let samples = samples();
    let of = extensions().filter(|extension| extension.role == Role::Match).collect::<Vec<_>>();
    proptest!(config, |(which in any::<prop::sample::Index>(), noise in prop::collection::vec(any::<(u16, u8)>(), 0..12),
        ip6 in any::<bool>(), length in 0..600usize)| {
        let mut some = which.get(&samples).clone();
        for (at, byte) in noise {
            let at = usize::from(at) % some.info.len();
            some.info[at] = byte;
        }
        some.family = if ip6 { Family::Ip6 } else { Family::Ip };
        prop_assert!(some.text().starts_with(" -m "));
        let extension = which.get(&of);
        let other = sample(some.family, extension.name, extension.revisions[0], &vec![0xff; length]);
        prop_assert!(other.text().starts_with(" -m "));
    });
}
