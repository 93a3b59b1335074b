//! What a rule does, as a number that the kernel's rule and its printed line must share.
//! Compares actions only; the n-th rule and the n-th line agreeing in theirs says nothing of the conditions.

/// A hash of what stands after `-j` or `-g`.
///
/// It pairs rules with lines of an honest tool; it is not a cryptographic hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ActionHash(u32);

impl ActionHash {
    /// A rule without an action.
    pub const NONE: Self = Self(0);

    /// `-j NAME`: a verdict, chain or target.
    pub const fn jump(name: &[u8]) -> Self {
        Self::named(b'j', name)
    }

    /// `-g NAME`: a chain, without a way back.
    pub const fn goto(name: &[u8]) -> Self {
        Self::named(b'g', name)
    }

    /// FNV-1a, *Source*: <http://www.isthe.com/chongo/tech/comp/fnv/>, 32-bit parameters.
    const fn named(option: u8, name: &[u8]) -> Self {
        let mut hash = step(0x811c_9dc5, option);
        let mut rest = name;
        while let [byte, tail @ ..] = rest {
            hash = step(hash, *byte);
            rest = tail;
        }
        Self(hash)
    }
}

const fn step(hash: u32, byte: u8) -> u32 {
    (hash ^ byte as u32).wrapping_mul(0x0100_0193)
}

/// Options whose next word is any text, which may look like an option itself; those after `-j` are never reached.
///
/// *Source*: iptables(8) and iptables-extensions(8).
const TEXT_OPTIONS: [&[u8]; 29] = [
    b"-A",
    b"-i",
    b"-o",
    b"-s",
    b"-d",
    b"-p",
    b"-m",
    b"--comment",
    b"--helper",
    b"--string",
    b"--hex-string",
    b"--algo",
    b"--name",
    b"--hashlimit-name",
    b"--physdev-in",
    b"--physdev-out",
    b"--match-set",
    b"--nfacct-name",
    b"--rateest",
    b"--rateest1",
    b"--rateest2",
    b"--path",
    b"--genre",
    b"--bytecode",
    b"--object-pinned",
    b"--label",
    b"--u32",
    b"--vproto",
    b"--cluster-hash-seed",
];

/// The action of one `-A` line of iptables-nft-save (the line's counters in front are passed over).
///
/// Words inside quotes, and words that are the value of an option, are no options.
pub fn action_of_text(line: &[u8]) -> ActionHash {
    let mut words = Words { rest: line };
    while let Some(word) = words.next() {
        match word {
            b"-j" => return words.next().map_or(ActionHash::NONE, ActionHash::jump),
            b"-g" => return words.next().map_or(ActionHash::NONE, ActionHash::goto),
            _ if TEXT_OPTIONS.contains(&word) => drop(words.next()),
            _ => {}
        }
    }
    ActionHash::NONE
}

/// The words of a line; one in quotes is one word, with its quotes.
struct Words<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Words<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let rest = self.rest.trim_ascii_start();
        let length = match rest {
            [] => return None,
            [b'"', quoted @ ..] => 1 + quoted_length(quoted),
            _ => rest.iter().position(|byte| byte.is_ascii_whitespace()).unwrap_or(rest.len()),
        };
        let (word, rest) = rest.split_at_checked(length)?;
        self.rest = rest;
        Some(word)
    }
}

/// How far the closing quote is; a quote that does not close takes the rest.
fn quoted_length(quoted: &[u8]) -> usize {
    let mut is_escaped = false;
    for (index, byte) in quoted.iter().enumerate() {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' => is_escaped = true,
            b'"' => return index + 1,
            _ => {}
        }
    }
    quoted.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &str, expected: ActionHash) {
        assert_eq!(action_of_text(line.as_bytes()), expected, "{line}");
    }

    #[test]
    fn finds_the_action() {
        check("-A INPUT -j DROP", ActionHash::jump(b"DROP"));
        check("-A INPUT -g next", ActionHash::goto(b"next"));
        check("[1:2] -A INPUT -s 10.0.0.0/8 -j LOG --log-prefix \"a -j DROP\"", ActionHash::jump(b"LOG"));
        check("-A INPUT -p tcp", ActionHash::NONE);
        check("-A INPUT -j", ActionHash::NONE);
        check("", ActionHash::NONE);
        assert_ne!(ActionHash::jump(b"next"), ActionHash::goto(b"next"));
        assert_ne!(ActionHash::jump(b""), ActionHash::NONE);
    }

    #[test]
    fn passes_over_quoted_text() {
        check(r#"-A INPUT -m comment --comment "x -j DROP" -j ACCEPT"#, ActionHash::jump(b"ACCEPT"));
        check(r#"-A INPUT -m comment --comment "x\" -j DROP" -j ACCEPT"#, ActionHash::jump(b"ACCEPT"));
        check(r#"-A INPUT -m comment --comment "x\\" -j ACCEPT"#, ActionHash::jump(b"ACCEPT"));
        check(r#"-A INPUT -m comment --comment "x -j DROP"#, ActionHash::NONE);
    }

    #[test]
    fn passes_over_values_that_look_like_options() {
        check("-A INPUT -m comment --comment -j -j ACCEPT", ActionHash::jump(b"ACCEPT"));
        check("-A -j -i -j -o -g -g next", ActionHash::goto(b"next"));
        check(
            "-A INPUT -m string --string \"-j\" --algo bm --to 65535 -j ACCEPT",
            ActionHash::jump(b"ACCEPT"),
        );
    }
}
