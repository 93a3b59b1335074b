//! The attributes of each expression, in the order in which the kernel writes them.
//! Reads and writes none: that is `form`.
//!
//! *Source*: the enums of `include/uapi/linux/netfilter/nf_tables.h` that are named beside each expression, and
//! `nf_tables_compat.h`; the order from the `dump` functions in `net/netfilter/nft_*.c`.

use super::form::{Data, NO_PAD, Text, expression};

expression! {
    /// `NFTA_MATCH_*`, `NFTA_TARGET_*`: an x_tables part.
    Extension<'a>[4, NO_PAD] { name: Text<'a> = 1, revision: u32 = 2, info: &'a [u8] = 3 }
}
expression! {
    /// `NFTA_COUNTER_*`. All of it is state.
    Counter[3, 3] { bytes: u64 = 1, packets: u64 = 2 }
}
expression! {
    /// `NFTA_CMP_*`.
    Cmp<'a>[4, NO_PAD] { sreg: u32 = 1, op: u32 = 2, data: Data<'a> = 3 }
}
expression! {
    /// `NFTA_RANGE_*`.
    Range<'a>[5, NO_PAD] { sreg: u32 = 1, op: u32 = 2, from: Data<'a> = 3, to: Data<'a> = 4 }
}
expression! {
    /// `NFTA_PAYLOAD_*`: loads to `dreg`, or stores from `sreg`.
    Payload[9, NO_PAD] {
        sreg: Option<u32> = 5,
        dreg: Option<u32> = 1,
        base: u32 = 2,
        offset: u32 = 3,
        length: u32 = 4,
        checksum_type: Option<u32> = 6,
        checksum_offset: Option<u32> = 7,
        checksum_flags: Option<u32> = 8,
    }
}
expression! {
    /// `NFTA_META_*`: loads to `dreg`, or sets from `sreg`.
    Meta[4, NO_PAD] { key: u32 = 2, dreg: Option<u32> = 1, sreg: Option<u32> = 3 }
}
expression! {
    /// `NFTA_BITWISE_*`.
    Bitwise<'a>[9, NO_PAD] {
        sreg: u32 = 1,
        dreg: u32 = 2,
        length: u32 = 3,
        op: Option<u32> = 6,
        mask: Option<Data<'a>> = 4,
        xor: Option<Data<'a>> = 5,
        data: Option<Data<'a>> = 7,
        sreg2: Option<u32> = 8,
    }
}
expression! {
    /// `NFTA_IMMEDIATE_*`.
    Immediate<'a>[3, NO_PAD] { dreg: u32 = 1, data: Data<'a> = 2 }
}
expression! {
    /// `NFTA_LIMIT_*`.
    Limit[6, 6] { rate: u64 = 1, unit: u64 = 2, burst: u32 = 3, kind: u32 = 4, flags: u32 = 5 }
}
expression! {
    /// `NFTA_LOG_*`.
    Log<'a>[7, NO_PAD] {
        prefix: Option<Text<'a>> = 2,
        level: Option<u32> = 5,
        flags: Option<u32> = 6,
        group: Option<u16> = 1,
        snaplen: Option<u32> = 3,
        threshold: Option<u16> = 4,
    }
}
expression! {
    /// `NFTA_CT_*`: loads to `dreg`, or sets from `sreg`.
    Ct[5, NO_PAD] { dreg: Option<u32> = 1, key: u32 = 2, direction: Option<u8> = 3, sreg: Option<u32> = 4 }
}
expression! {
    /// `NFTA_FIB_*`.
    Fib[4, NO_PAD] { dreg: u32 = 1, result: u32 = 2, flags: u32 = 3 }
}
expression! {
    /// `NFTA_RT_*`.
    Rt[3, NO_PAD] { key: u32 = 2, dreg: u32 = 1 }
}
expression! {
    /// `NFTA_SOCKET_*`.
    Socket[4, NO_PAD] { key: u32 = 1, dreg: u32 = 2, level: Option<u32> = 3 }
}
expression! {
    /// `NFTA_EXTHDR_*`: loads to `dreg`, stores from `sreg`, or resets.
    Exthdr[8, NO_PAD] {
        dreg: Option<u32> = 1,
        kind: u8 = 2,
        offset: Option<u32> = 3,
        length: Option<u32> = 4,
        flags: Option<u32> = 5,
        op: Option<u32> = 6,
        sreg: Option<u32> = 7,
    }
}
expression! {
    /// `NFTA_TUNNEL_KEY_*`.
    Tunnel[4, NO_PAD] { key: u32 = 1, dreg: u32 = 2, mode: Option<u32> = 3 }
}
expression! {
    /// `NFTA_OSF_*`.
    Osf[4, NO_PAD] { ttl: u8 = 2, flags: Option<u32> = 3, dreg: u32 = 1 }
}
expression! {
    /// `NFTA_NG_*`.
    Numgen[5, NO_PAD] { dreg: u32 = 1, modulus: u32 = 2, kind: u32 = 3, offset: Option<u32> = 4 }
}
expression! {
    /// `NFTA_HASH_*`.
    Hash[8, NO_PAD] {
        sreg: Option<u32> = 1,
        dreg: u32 = 2,
        length: Option<u32> = 3,
        modulus: u32 = 4,
        seed: Option<u32> = 5,
        offset: Option<u32> = 6,
        kind: u32 = 7,
    }
}
expression! {
    /// `NFTA_XFRM_*`.
    Xfrm[5, NO_PAD] { key: u32 = 2, direction: u8 = 3, number: u32 = 4, dreg: u32 = 1 }
}
expression! {
    /// `NFTA_LOOKUP_*`.
    Lookup<'a>[6, NO_PAD] { set: Text<'a> = 1, sreg: u32 = 2, dreg: Option<u32> = 3, flags: Option<u32> = 5 }
}
expression! {
    /// `NFTA_DYNSET_*`; `expression` is one `NFTA_LIST_ELEM`'s value, `expressions` a list of them.
    Dynset<'a>[11, 8] {
        key: u32 = 4,
        data: Option<u32> = 5,
        op: u32 = 3,
        set: Text<'a> = 1,
        timeout: Option<u64> = 6,
        expression: Option<&'a [u8]> = 7,
        expressions: Option<&'a [u8]> = 10,
        flags: Option<u32> = 9,
    }
}
expression! {
    /// `NFTA_OBJREF_*`: one object by its name, or one that a map leads to.
    Objref<'a>[5, NO_PAD] {
        kind: Option<u32> = 1,
        name: Option<Text<'a>> = 2,
        sreg: Option<u32> = 3,
        set: Option<Text<'a>> = 4,
    }
}
expression! {
    /// `NFTA_QUOTA_*`; `consumed` is state.
    Quota[5, 3] { bytes: u64 = 1, consumed: Option<u64> = 4, flags: u32 = 2 }
}
expression! {
    /// `NFTA_CONNLIMIT_*`.
    Connlimit[3, NO_PAD] { count: u32 = 1, flags: Option<u32> = 2 }
}
expression! {
    /// `NFTA_LAST_*`. All of it is state.
    Last[4, 3] { set: Option<u32> = 1, milliseconds: Option<u64> = 2 }
}
expression! {
    /// `NFTA_NAT_*`.
    Nat[8, NO_PAD] {
        kind: u32 = 1,
        family: u32 = 2,
        address: Option<u32> = 3,
        last_address: Option<u32> = 4,
        port: Option<u32> = 5,
        last_port: Option<u32> = 6,
        flags: Option<u32> = 7,
    }
}
expression! {
    /// `NFTA_MASQ_*`.
    Masq[4, NO_PAD] { flags: Option<u32> = 1, port: Option<u32> = 2, last_port: Option<u32> = 3 }
}
expression! {
    /// `NFTA_REDIR_*`.
    Redir[4, NO_PAD] { port: Option<u32> = 1, last_port: Option<u32> = 2, flags: Option<u32> = 3 }
}
expression! {
    /// `NFTA_TPROXY_*`.
    Tproxy[4, NO_PAD] { family: u32 = 1, address: Option<u32> = 2, port: Option<u32> = 3 }
}
expression! {
    /// `NFTA_SYNPROXY_*`.
    Synproxy[4, NO_PAD] { mss: u16 = 1, wscale: u8 = 2, flags: u32 = 3 }
}
expression! {
    /// `NFTA_QUEUE_*`.
    Queue[5, NO_PAD] { number: Option<u16> = 1, total: Option<u16> = 2, flags: Option<u16> = 3, sreg: Option<u32> = 4 }
}
expression! {
    /// `NFTA_REJECT_*`.
    Reject[3, NO_PAD] { kind: u32 = 1, code: Option<u8> = 2 }
}
expression! {
    /// `NFTA_DUP_*`.
    Dup[3, NO_PAD] { address: Option<u32> = 1, device: Option<u32> = 2 }
}
expression! {
    /// `NFTA_FWD_*`.
    Fwd[4, NO_PAD] { device: u32 = 1, address: Option<u32> = 2, family: Option<u32> = 3 }
}
expression! {
    /// `NFTA_BYTEORDER_*`.
    Byteorder[6, NO_PAD] { sreg: u32 = 1, dreg: u32 = 2, op: u32 = 3, length: u32 = 4, size: u32 = 5 }
}
expression! {
    /// `NFTA_FLOW_*`.
    Flow<'a>[2, NO_PAD] { table: Text<'a> = 1 }
}
