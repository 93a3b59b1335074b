//! Requests and replies of netfilter over netlink, as bytes.
//! Opens no socket.
//!
//! *Source*: RFC 3549 section 2.2, `include/uapi/linux/netlink.h`, `include/uapi/linux/netfilter/nfnetlink.h` and
//! `nf_tables.h`, `ipset/ip_set.h`.

use netlink_packet_core::{NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST};

/// `NFNL_SUBSYS_NFTABLES`, `NFNL_SUBSYS_IPSET`, where a message's type has them.
const NFTABLES: u16 = 10 << 8;
const IPSET: u16 = 6 << 8;
/// `NFNL_SUBSYS_CTNETLINK_EXP`, `NFNL_SUBSYS_HOOK`.
const EXPECTATIONS: u16 = 2 << 8;
const HOOKS: u16 = 12 << 8;
/// What is asked for: `NFT_MSG_*`, where the reply's number is one less, `IPSET_CMD_LIST`,
/// `IPCTNL_MSG_EXP_GET` and `NFNL_MSG_HOOK_GET`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub(in crate::host) enum Get {
    Table = NFTABLES | 1,
    Chain = NFTABLES | 4,
    Rule = NFTABLES | 7,
    Set = NFTABLES | 10,
    SetElement = NFTABLES | 13,
    Generation = NFTABLES | 16,
    Object = NFTABLES | 19,
    Flowtable = NFTABLES | 23,
    Ipset = IPSET | 7,
    Expectation = EXPECTATIONS | 1,
    Hook = HOOKS,
}

impl Get {
    const fn request(self) -> u16 {
        self as u16
    }

    /// The message type of an answer.
    pub const fn reply(self) -> u16 {
        match self {
            Self::Generation => NFTABLES | 15,
            Self::Ipset | Self::Hook => self.request(),
            _ => self.request() - 1,
        }
    }
}

/// `struct nlmsghdr` and `struct nfgenmsg`.
const NETLINK_HEADER: usize = 16;
pub(in crate::host) const NFGEN_HEADER: usize = 4;
const SEQUENCE: std::ops::Range<usize> = 8..12;

/// A request, built in a buffer that is used again.
#[derive(Debug, Default)]
pub(in crate::host) struct Request {
    bytes: Vec<u8>,
}

impl Request {
    /// Starts a request; `family` 0 asks for all.
    pub fn start(&mut self, get: Get, family: u8) -> &mut Self {
        let flags = if get == Get::Generation { NLM_F_REQUEST } else { NLM_F_REQUEST | NLM_F_DUMP };
        self.begin(get.request(), flags, family, 0)
    }

    /// Starts a request for one thing, whose answer looks like a part of a dump; an acknowledgement ends it.
    pub fn start_one(&mut self, get: Get, family: u8) -> &mut Self {
        self.begin(get.request(), NLM_F_REQUEST | NLM_F_ACK, family, 0)
    }

    /// Starts a request of any subsystem; `resource` is what that takes for one, such as a group.
    pub fn begin(&mut self, kind: u16, flags: u16, family: u8, resource: u16) -> &mut Self {
        let [high, low] = resource.to_be_bytes();
        self.bytes.clear();
        self.bytes.extend_from_slice(&[0; 4]);
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.bytes.extend_from_slice(&flags.to_ne_bytes());
        self.bytes.extend_from_slice(&[0; 8]);
        self.bytes.extend_from_slice(&[family, 0, high, low]);
        self
    }

    /// Adds a NUL-terminated string attribute. One too long for an attribute is cut, and then names nothing.
    pub fn string(&mut self, kind: u16, text: &[u8]) -> &mut Self {
        let text = text.get(..usize::from(u16::MAX) - 5).unwrap_or(text);
        self.head(kind, text.len() + 1);
        self.bytes.extend_from_slice(text);
        self.bytes.push(0);
        self.pad()
    }

    /// Adds an attribute of a few bytes.
    pub fn value<const N: usize>(&mut self, kind: u16, value: [u8; N]) -> &mut Self {
        self.head(kind, N);
        self.bytes.extend_from_slice(&value);
        self.pad()
    }

    /// Adds an attribute with a value of these bytes, of which there are few.
    pub fn bytes(&mut self, kind: u16, value: &[u8]) -> &mut Self {
        self.head(kind, value.len());
        self.bytes.extend_from_slice(value);
        self.pad()
    }

    /// The head of an attribute with a value of this many bytes.
    fn head(&mut self, kind: u16, length: usize) {
        let length = u16::try_from(length + 4).unwrap_or(u16::MAX);
        self.bytes.extend_from_slice(&length.to_ne_bytes());
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
    }

    fn pad(&mut self) -> &mut Self {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
        self
    }

    /// The finished bytes.
    pub fn finish(&mut self, sequence: u32) -> &[u8] {
        let length = u32::try_from(self.bytes.len()).unwrap_or(u32::MAX);
        if let Some(field) = self.bytes.get_mut(..4) {
            field.copy_from_slice(&length.to_ne_bytes());
        }
        if let Some(field) = self.bytes.get_mut(SEQUENCE) {
            field.copy_from_slice(&sequence.to_ne_bytes());
        }
        &self.bytes
    }
}

/// One message of a datagram.
#[derive(Clone, Copy, Debug)]
pub(in crate::host) struct Reply<'a> {
    pub kind: u16,
    pub flags: u16,
    pub sequence: u32,
    /// The socket that asked for it, or for the change it tells of; 0 is the kernel itself.
    pub port: u32,
    pub payload: &'a [u8],
}

/// The messages of a datagram; `Err(())` where one does not fit.
pub(in crate::host) struct Replies<'a>(pub &'a [u8]);

impl<'a> Iterator for Replies<'a> {
    type Item = Result<Reply<'a>, ()>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let reply = self.split();
        if reply.is_none() {
            self.0 = &[];
        }
        Some(reply.ok_or(()))
    }
}

impl<'a> Replies<'a> {
    fn split(&mut self) -> Option<Reply<'a>> {
        let (header, _) = self.0.split_first_chunk::<NETLINK_HEADER>()?;
        let [l0, l1, l2, l3, k0, k1, f0, f1, s0, s1, s2, s3, p0, p1, p2, p3] = *header;
        let length = u32::from_ne_bytes([l0, l1, l2, l3]) as usize;
        let payload = self.0.get(NETLINK_HEADER..length)?;
        self.0 = self.0.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(Reply {
            kind: u16::from_ne_bytes([k0, k1]),
            flags: u16::from_ne_bytes([f0, f1]),
            sequence: u32::from_ne_bytes([s0, s1, s2, s3]),
            port: u32::from_ne_bytes([p0, p1, p2, p3]),
            payload,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encodes_a_request_for_the_rules_of_a_chain() {
        let mut request = Request::default();
        let bytes = request.start(Get::Rule, 2).string(1, b"filter").string(2, b"INPUT").finish(9);
        assert_eq!(bytes.len(), 20 + 12 + 12);
        assert_eq!(bytes[..4], 44u32.to_ne_bytes());
        assert_eq!(bytes[4..6], 0x0a07u16.to_ne_bytes());
        assert_eq!(bytes[6..8], 0x301u16.to_ne_bytes());
        assert_eq!(bytes[8..12], 9u32.to_ne_bytes());
        assert_eq!(bytes[16..20], [2, 0, 0, 0]);
        assert_eq!(&bytes[24..32], b"filter\0\0");
    }

    #[test]
    fn refuses_messages_that_do_not_fit() {
        let mut message = [0; 20];
        message[0] = 20;
        assert!(Replies(&message).all(|reply| reply.is_ok()));
        for length in [0, 15, 21, 255] {
            message[0] = length;
            assert!(Replies(&message).next().is_some_and(|reply| reply.is_err()), "{length}");
        }
        assert!(Replies(&message[..7]).next().is_some_and(|reply| reply.is_err()));
    }
}
