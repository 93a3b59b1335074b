//! Which names iptables gives to chains and prints as one word.
//! Knows no chain.

/// The longest chain name of iptables, *Source*: `XT_EXTENSION_MAXNAMELEN` less its NUL, `x_tables.h`.
const CHAIN_NAME_MAX: usize = 28;

/// Names that `-j` reads as a verdict or an extension of iptables, so that iptables gives them to no chain.
///
/// *Source*: iptables(8), iptables-extensions(8) and what `iptables-nft -N NAME` of 1.8.9 refuses.
const TAKEN_NAMES: [&str; 46] = [
    "ACCEPT",
    "AUDIT",
    "CHECKSUM",
    "CLASSIFY",
    "CLUSTERIP",
    "CONNMARK",
    "CONNSECMARK",
    "CT",
    "DNAT",
    "DNPT",
    "DROP",
    "DSCP",
    "ECN",
    "HL",
    "HMARK",
    "IDLETIMER",
    "LED",
    "LOG",
    "MARK",
    "MASQUERADE",
    "MIRROR",
    "NETMAP",
    "NFLOG",
    "NFQUEUE",
    "NOTRACK",
    "QUEUE",
    "RATEEST",
    "REDIRECT",
    "REJECT",
    "RETURN",
    "SAME",
    "SECMARK",
    "SET",
    "SNAT",
    "SNPT",
    "SYNPROXY",
    "TARPIT",
    "TCPMSS",
    "TCPOPTSTRIP",
    "TEE",
    "TOS",
    "TPROXY",
    "TRACE",
    "TTL",
    "ULOG",
    "standard",
];

/// The longest of them.
const TAKEN_MAX: usize = 11;

/// Whether some iptables could have made a chain of this name; 1.8.7 takes blanks and newlines, too.
pub fn may_be_chain_name(name: &[u8]) -> bool {
    !matches!(name.first(), None | Some(b'-' | b'!')) && name.len() <= CHAIN_NAME_MAX && !is_taken(name)
}

fn is_taken(name: &[u8]) -> bool {
    name.len() <= TAKEN_MAX && TAKEN_NAMES.binary_search_by(|taken| taken.as_bytes().cmp(name)).is_ok()
}

/// Whether iptables could have made a chain of this name and prints it as one word.
pub fn is_chain_name(name: &[u8]) -> bool {
    is_word(name) && may_be_chain_name(name)
}

/// Whether this, printed without quotes, reads as one value: not as several words, a quote, `!` or an option.
pub fn is_word(text: &[u8]) -> bool {
    !matches!(text.first(), None | Some(b'-' | b'!'))
        && text.iter().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\'' | b'\\'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn taken_names_are_found() {
        assert!(TAKEN_NAMES.is_sorted());
        assert_eq!(TAKEN_NAMES.iter().map(|name| name.len()).max(), Some(TAKEN_MAX));
        for name in TAKEN_NAMES {
            assert!(!may_be_chain_name(name.as_bytes()), "{name}");
        }
    }

    #[test]
    fn names_that_iptables_gives_and_prints_as_one_word() {
        for (name, is_given, is_shown) in [
            (&b"KUBE-SVC-ABC"[..], true, true),
            (b"a/b", true, true),
            (b"1234567890123456789012345678", true, true),
            (b"12345678901234567890123456789", false, false),
            (b"a b", true, false),
            (b"a\nb", true, false),
            (b"a\"b", true, false),
            (b"a'b", true, false),
            (b"a\\b", true, false),
            (b"\xc3\xa4", true, false),
            (b"-a", false, false),
            (b"!a", false, false),
            (b"LOG", false, false),
            (b"DROP", false, false),
            (b"", false, false),
        ] {
            let shown = name.escape_ascii();
            assert_eq!((may_be_chain_name(name), is_chain_name(name)), (is_given, is_shown), "{shown}");
        }
    }
}
