//! nf_tables rules as bytes: their expressions, and bare netlink messages that load them, as a program without libnftables
//! could. Checks nothing: the kernel does.

use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_NETFILTER};

use iptables_monitor::domain::rules::Family;

const NESTED: u16 = 0x8000;

/// One expression: its name and its attributes, each with its encoded value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expr {
    /// With its NUL.
    pub name: Vec<u8>,
    pub attributes: Vec<(u16, Vec<u8>)>,
}

pub fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(value.len() + 4).expect("a short attribute");
    let mut bytes = [length.to_ne_bytes(), kind.to_ne_bytes()].concat();
    bytes.extend_from_slice(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

/// Attributes with their values; the flags of their types are left out.
fn attributes(mut bytes: &[u8]) -> Vec<(u16, &[u8])> {
    let mut found = Vec::new();
    while bytes.len() >= 4 {
        let length = usize::from(u16::from_ne_bytes([bytes[0], bytes[1]])).clamp(4, bytes.len());
        let kind = u16::from_ne_bytes([bytes[2], bytes[3]]) & 0x3fff;
        found.push((kind, &bytes[4..length]));
        bytes = &bytes[length.next_multiple_of(4).min(bytes.len())..];
    }
    found
}

impl Expr {
    pub fn new(name: &str, attributes: &[(u16, &[u8])]) -> Self {
        let attributes = attributes.iter().map(|(kind, value)| (*kind, value.to_vec())).collect();
        Self { name: [name.as_bytes(), b"\0"].concat(), attributes }
    }

    fn encode(&self) -> Vec<u8> {
        let data: Vec<u8> =
            self.attributes.iter().flat_map(|(kind, value)| attribute(*kind, value)).collect();
        let element = [attribute(1, &self.name), attribute(2 | NESTED, &data)].concat();
        attribute(1 | NESTED, &element)
    }
}

pub fn encode(rule: &[Expr]) -> Vec<u8> {
    rule.iter().flat_map(Expr::encode).collect()
}

/// The expressions of a rule that the kernel listed.
pub fn decode(expressions: &[u8]) -> Vec<Expr> {
    let expression = |(_, element)| {
        let mut expr = Expr { name: Vec::new(), attributes: Vec::new() };
        for (kind, value) in attributes(element) {
            match kind {
                1 => expr.name = value.to_vec(),
                _ => {
                    let inner = attributes(value).into_iter();
                    expr.attributes = inner.map(|(kind, value)| (kind, value.to_vec())).collect();
                }
            }
        }
        expr
    };
    attributes(expressions).into_iter().map(expression).collect()
}

/// A connection that changes the rules of the calling thread's namespace.
pub struct Writer {
    socket: Socket,
    sequence: u32,
}

const BATCH_BEGIN: u16 = 0x10;
const BATCH_END: u16 = 0x11;
const NEW_RULE: u16 = 10 << 8 | 6;
const ACK_CREATE_APPEND: u16 = 0x1 | 0x4 | 0x400 | 0x800;

impl Writer {
    pub fn open() -> Self {
        let mut socket = Socket::new(NETLINK_NETFILTER).expect("a netlink socket");
        socket.bind_auto().expect("an address");
        Self { socket, sequence: 0 }
    }

    /// Appends a rule; the kernel's errno if it refuses.
    pub fn rule(&mut self, family: Family, table: &str, chain: &str, expressions: &[u8]) -> Result<(), i32> {
        let attributes =
            [attribute(1, &nul(table)), attribute(2, &nul(chain)), attribute(4 | NESTED, expressions)]
                .concat();
        self.sequence += 1;
        let begin = message(BATCH_BEGIN, 1, self.sequence, [0, 0, 0, 10], &[]);
        let header = [family.nfproto(), 0, 0, 0];
        let body = message(NEW_RULE, ACK_CREATE_APPEND, self.sequence, header, &attributes);
        let end = message(BATCH_END, 1, self.sequence, [0, 0, 0, 10], &[]);
        let batch = [begin, body, end].concat();
        self.socket.send_to(&batch, &SocketAddr::new(0, 0), 0).expect("a batch");
        loop {
            let (bytes, _) = self.socket.recv_from_full().expect("an answer");
            let field = |at: usize| i32::from_ne_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
            if field(8).cast_unsigned() == self.sequence && bytes[4..6] == 2u16.to_ne_bytes() {
                return if field(16) == 0 { Ok(()) } else { Err(-field(16)) };
            }
        }
    }
}

fn nul(text: &str) -> Vec<u8> {
    [text.as_bytes(), b"\0"].concat()
}

fn message(kind: u16, flags: u16, sequence: u32, header: [u8; 4], attributes: &[u8]) -> Vec<u8> {
    let length = u32::try_from(20 + attributes.len()).expect("short");
    let mut bytes = length.to_ne_bytes().to_vec();
    bytes.extend_from_slice(&kind.to_ne_bytes());
    bytes.extend_from_slice(&flags.to_ne_bytes());
    bytes.extend_from_slice(&sequence.to_ne_bytes());
    bytes.extend_from_slice(&[0; 4]);
    bytes.extend_from_slice(&header);
    bytes.extend_from_slice(attributes);
    bytes
}
