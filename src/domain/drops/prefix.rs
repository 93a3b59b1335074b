//! Which log lines are asked for: those with one of some prefixes, or every line of netfilter's.
//! Finds where a prefix is; what stands around it is read by others.

use memchr::memmem::Finder;

use crate::domain::packets::packet::Action;

/// Where in a line a prefix must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PrefixPlace {
    /// Anywhere, as one or more whole words. `IN=` may follow at once: the kernel puts no space between.
    WholeWordAnywhere,
    /// Where the message begins, whatever follows.
    StartOfMessage,
}

/// Prefixes to look for. Without any, every line of netfilter's is asked for.
#[derive(Debug)]
pub struct Matcher {
    prefixes: Vec<Prefix>,
    position: PrefixPlace,
    out_key: Finder<'static>,
    protocol_key: Finder<'static>,
}

#[derive(Debug)]
struct Prefix {
    finder: Finder<'static>,
    action: Action,
}

/// Where a prefix was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Hit {
    pub start: usize,
    pub end: usize,
    pub action: Action,
}

impl Matcher {
    /// Looks for these prefixes. An empty one is left out.
    pub fn new(drops: &[impl AsRef<[u8]>], accepts: &[impl AsRef<[u8]>], position: PrefixPlace) -> Self {
        let mut prefixes = Vec::new();
        let drops = drops.iter().map(|text| (text.as_ref(), Action::Drop));
        for (text, action) in drops.chain(accepts.iter().map(|text| (text.as_ref(), Action::Accept))) {
            let text = match position {
                PrefixPlace::WholeWordAnywhere => text.trim_ascii(),
                PrefixPlace::StartOfMessage => text.trim_ascii_start(),
            };
            if text.is_empty() {
                continue;
            }
            let escaped = escape_as_kmsg(text);
            if escaped != text {
                prefixes.push(Prefix { finder: Finder::new(&escaped).into_owned(), action });
            }
            prefixes.push(Prefix { finder: Finder::new(text).into_owned(), action });
        }
        Self { prefixes, position, out_key: Finder::new("OUT="), protocol_key: Finder::new("PROTO=") }
    }

    /// What a rule with this prefix does with a packet, where the prefix is known for itself, as in NFLOG.
    /// `None` if it is not asked for.
    pub fn action_of(&self, prefix: &[u8]) -> Option<Action> {
        if self.is_any() {
            return Some(Action::Unknown);
        }
        match self.position {
            PrefixPlace::StartOfMessage => {
                // a space at the end of what is asked for is the one before `IN=`
                let spaced = [prefix.trim_ascii(), b" "].concat();
                self.at_start(&spaced).map(|hit| hit.action)
            }
            PrefixPlace::WholeWordAnywhere => self.whole_word(prefix).map(|hit| hit.action),
        }
    }

    pub(super) fn is_any(&self) -> bool {
        self.prefixes.is_empty()
    }

    /// Whether the line may be one that is asked for. Costs little, so that all others do.
    pub(super) fn may_be_ours(&self, line: &[u8]) -> bool {
        if self.is_any() {
            return self.out_key.find(line).is_some() || self.protocol_key.find(line).is_some();
        }
        self.prefixes.iter().any(|prefix| prefix.finder.find(line).is_some())
    }

    /// The prefix that makes a message one of those asked for.
    pub(super) fn find(&self, message: &[u8]) -> Option<Hit> {
        match self.position {
            PrefixPlace::WholeWordAnywhere => self.whole_word(message),
            PrefixPlace::StartOfMessage => self.at_start(message),
        }
    }

    /// Where the message begins at the latest.
    pub(super) fn limit(&self, line: &[u8]) -> Option<usize> {
        match self.position {
            PrefixPlace::WholeWordAnywhere => self.whole_word(line).map(|hit| hit.start),
            PrefixPlace::StartOfMessage => {
                self.prefixes.iter().filter_map(|prefix| prefix.finder.find_iter(line).last()).max()
            }
        }
    }

    fn at_start(&self, message: &[u8]) -> Option<Hit> {
        let fits = |prefix: &&Prefix| message.starts_with(prefix.finder.needle());
        let longest = self.prefixes.iter().filter(fits).max_by_key(|prefix| prefix.finder.needle().len())?;
        Some(Hit { start: 0, end: longest.finder.needle().len(), action: longest.action })
    }

    /// The prefix that `IN=` follows, else the last that is a whole word: a host may be called so too.
    fn whole_word(&self, text: &[u8]) -> Option<Hit> {
        let mut last: Option<Hit> = None;
        for prefix in &self.prefixes {
            let length = prefix.finder.needle().len();
            for start in prefix.finder.find_iter(text) {
                let end = start + length;
                let (Some(before), Some(after)) = (text.get(..start), text.get(end..)) else { continue };
                let hit = Hit { start, end, action: prefix.action };
                if !is_left_of_word(before) {
                    continue;
                }
                if after.trim_ascii_start().starts_with(b"IN=") {
                    return Some(hit);
                }
                let is_whole = after.first().is_none_or(u8::is_ascii_whitespace);
                if is_whole && last.is_none_or(|last| start > last.start) {
                    last = Some(hit);
                }
            }
        }
        last
    }
}

/// Whether a word may begin here: behind a space or a bracket, as of the kernel's time or a folded repeat.
fn is_left_of_word(before: &[u8]) -> bool {
    before.last().is_none_or(|byte| byte.is_ascii_whitespace() || matches!(byte, b'[' | b']'))
}

/// As `/dev/kmsg` writes bytes that are not printable ASCII.
///
/// *Source*: `Documentation/ABI/testing/dev-kmsg`: `\x` and two hexadecimal digits, also for the backslash.
fn escape_as_kmsg(text: &[u8]) -> Vec<u8> {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |value: u8| DIGITS.get(usize::from(value)).copied().unwrap_or_default();
    let mut out = Vec::with_capacity(text.len());
    for byte in text {
        match byte {
            b'\\' | 0..b' ' | 127.. => out.extend([b'\\', b'x', digit(byte >> 4), digit(byte & 15)]),
            _ => out.push(*byte),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: &[&str] = &[];

    #[track_caller]
    fn anywhere(prefix: &str, line: &str, expected: Option<usize>) {
        let matcher = Matcher::new(&[prefix], NONE, PrefixPlace::WholeWordAnywhere);
        assert_eq!(matcher.find(line.as_bytes()).map(|hit| hit.start), expected, "{prefix:?} in {line:?}");
    }

    #[test]
    fn a_prefix_is_a_whole_word() {
        anywhere("drop:", "host kernel: drop: IN=eth0", Some(13));
        anywhere("drop:", "drop:", Some(0));
        anywhere("drop:", "calico-drop: IN=eth0 OUT=", None);
        anywhere("drop", "drop: IN=eth0 OUT=", None);
        anywhere("drop:", "drop:IN=eth0 OUT=", Some(0));
        anywhere("drop:", "[1.5] message repeated 2 times: [drop: IN=", Some(33));
        anywhere("INPUT drop", "INPUT drop IN=eth0", Some(0));
        anywhere(" drop: ", "x drop: IN=eth0", Some(2));
    }

    #[test]
    fn the_prefix_before_the_packet_outdoes_a_host_of_that_name() {
        anywhere("drop", "Sep  3 11:38:30 drop kernel: drop IN=eth0", Some(29));
        anywhere("drop", "Sep  3 11:38:30 drop kernel: drop rule 7 IN=eth0", Some(29));
        anywhere("IN=", "x IN= IN=eth0 OUT=", Some(2));
        anywhere("IN=", "x IN=IN=eth0 OUT=", Some(2));
    }

    #[test]
    fn the_start_of_a_message_is_matched_literally() {
        let matcher = Matcher::new(&["drop: ", ""], &["drop: not", "accept: "], PrefixPlace::StartOfMessage);
        let found = |message: &str| matcher.find(message.as_bytes()).map(|hit| (hit.end, hit.action));
        assert_eq!(found("drop: IN=eth0"), Some((6, Action::Drop)));
        assert_eq!(found("drop: nothing"), Some((9, Action::Accept)));
        assert_eq!((found("drop:IN=eth0"), found("a drop: IN=eth0"), found("")), (None, None, None));
        assert!(matcher.may_be_ours(b"a drop: IN=eth0") && !matcher.may_be_ours(b"IN=eth0 OUT= PROTO=TCP"));
    }

    #[test]
    fn without_prefixes_every_line_of_netfilters_may_be_ours() {
        for position in [PrefixPlace::WholeWordAnywhere, PrefixPlace::StartOfMessage] {
            let matcher = Matcher::new(&[" "], NONE, position);
            assert!(matcher.may_be_ours(b"IN=eth0 OUT=") && matcher.may_be_ours(b"L=12 PROTO=UDP"));
            assert!(!matcher.may_be_ours(b"usb 1-1: new device"));
            assert_eq!(matcher.action_of(b"whatever"), Some(Action::Unknown));
        }
    }

    #[test]
    fn a_prefix_of_nflog_stands_for_itself() {
        let start = Matcher::new(&["dropped: "], &["accepted"], PrefixPlace::StartOfMessage);
        assert_eq!(start.action_of(b"dropped:"), Some(Action::Drop));
        assert_eq!(start.action_of(b"dropped: "), Some(Action::Drop));
        assert_eq!(start.action_of(b"accepted by rule 3"), Some(Action::Accept));
        assert_eq!(start.action_of(b"is dropped: "), None);
        let word = Matcher::new(&["dropped:"], NONE, PrefixPlace::WholeWordAnywhere);
        assert_eq!(word.action_of(b"is dropped: "), Some(Action::Drop));
        assert_eq!(word.action_of(b"is-dropped: "), None);
    }

    #[test]
    fn escapes_of_kmsg_are_known() {
        assert_eq!(escape_as_kmsg("a\\é\t~\x7f".as_bytes()), br"a\x5c\xc3\xa9\x09~\x7f");
        anywhere("é:", r"\xc3\xa9: IN=eth0", Some(0));
        anywhere("é:", "é: IN=eth0", Some(0));
    }
}
