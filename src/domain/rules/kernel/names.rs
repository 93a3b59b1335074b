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

/// Whether some iptables could have made a chain of this name; 1.8.7 takes blanks and newlines, too.
pub fn may_be_chain_name(name: &[u8]) -> bool {
    let is_taken = TAKEN_NAMES.iter().any(|taken| taken.as_bytes() == name);
    !matches!(name.first(), None | Some(b'-' | b'!')) && !is_taken && name.len() <= CHAIN_NAME_MAX
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
