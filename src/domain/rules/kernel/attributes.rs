//! Netlink attributes as they lie in a message: a type, a length and a value, padded to four bytes.
//! Knows no attribute by name and copies nothing.
//!
//! *Source*: `struct nlattr` in `include/uapi/linux/netlink.h`.

/// The two flag bits that share the type field (`NLA_F_NESTED`, `NLA_F_NET_BYTEORDER`).
const TYPE_MASK: u16 = 0x3fff;
const HEADER: usize = 4;

/// Bytes that do not divide into attributes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("netlink attributes do not fill their container")]
pub struct Malformed;

/// One attribute, borrowed from its message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attribute<'a> {
    /// The type, without its flag bits.
    pub kind: u16,
    /// The value, without padding.
    pub value: &'a [u8],
}

/// The attributes of a container, in order; ends after the first malformed one.
#[derive(Clone, Copy, Debug)]
pub struct Attributes<'a> {
    rest: &'a [u8],
}

impl<'a> Attributes<'a> {
    /// The attributes in these bytes.
    pub const fn new(container: &'a [u8]) -> Self {
        Self { rest: container }
    }

    fn split(&mut self) -> Option<Attribute<'a>> {
        let (header, _) = self.rest.split_first_chunk::<HEADER>()?;
        let [l0, l1, t0, t1] = *header;
        let length = usize::from(u16::from_ne_bytes([l0, l1]));
        let value = self.rest.get(HEADER..length)?;
        self.rest = self.rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(Attribute { kind: u16::from_ne_bytes([t0, t1]) & TYPE_MASK, value })
    }
}

/// The value of the first attribute of this type.
pub fn find(container: &[u8], kind: u16) -> Option<&[u8]> {
    Attributes::new(container).flatten().find(|found| found.kind == kind).map(|found| found.value)
}

impl<'a> Iterator for Attributes<'a> {
    type Item = Result<Attribute<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let attribute = self.split();
        if attribute.is_none() {
            self.rest = &[];
        }
        Some(attribute.ok_or(Malformed))
    }
}

/// The values of a container's attributes by type, for types below `N`.
#[derive(Clone, Copy, Debug)]
pub struct Fields<'a, const N: usize>([Option<&'a [u8]>; N]);

impl<'a, const N: usize> Fields<'a, N> {
    /// The attributes below `N`; others, which newer kernels may add, are passed over.
    ///
    /// # Errors
    /// If the container does not divide into attributes.
    pub fn known(container: &'a [u8]) -> Result<Self, Malformed> {
        let mut fields = [None; N];
        for attribute in Attributes::new(container) {
            let Attribute { kind, value } = attribute?;
            if let Some(slot) = fields.get_mut(usize::from(kind)) {
                *slot = Some(value);
            }
        }
        Ok(Self(fields))
    }

    /// The value of one attribute.
    pub fn get(&self, kind: u16) -> Option<&'a [u8]> {
        self.0.get(usize::from(kind)).copied().flatten()
    }

    /// A big-endian 32-bit value: none if absent or of another size.
    pub fn be32(&self, kind: u16) -> Option<u32> {
        Some(u32::from_be_bytes(self.get(kind)?.try_into().ok()?))
    }

    /// A big-endian 64-bit value: none if absent or of another size.
    pub fn be64(&self, kind: u16) -> Option<u64> {
        Some(u64::from_be_bytes(self.get(kind)?.try_into().ok()?))
    }

    /// A string without the NUL that ends it: none if absent, unterminated or with a NUL inside.
    pub fn string(&self, kind: u16) -> Option<&'a [u8]> {
        let (last, text) = self.get(kind)?.split_last()?;
        (*last == 0 && !text.contains(&0)).then_some(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_padded_attributes() {
        let bytes = [5, 0, 1, 0x80, b'x', 0, 0, 0, 8, 0, 2, 0, 0, 0, 0, 7];
        let fields = Fields::<3>::known(&bytes).expect("well formed");
        assert_eq!(fields.get(1), Some(&b"x"[..]));
        assert_eq!(fields.be32(2), Some(7));
        assert_eq!(Fields::<2>::known(&bytes).expect("well formed").be32(2), None, "not asked for");
    }

    #[test]
    fn refuses_short_lengths() {
        for bytes in [&[3, 0, 1, 0][..], &[8, 0, 1, 0], &[4, 0, 1], &[0, 0, 0, 0]] {
            assert!(Fields::<3>::known(bytes).is_err(), "{bytes:?}");
        }
    }

    #[test]
    fn strings_end_in_exactly_one_nul() {
        let cases: [(&[u8], Option<&[u8]>); 4] =
            [(b"ab\0", Some(b"ab")), (b"ab", None), (b"a\0b\0", None), (b"\0", Some(b""))];
        for (value, expected) in cases {
            let length = u16::try_from(value.len() + 4).expect("short");
            let mut bytes = [length.to_ne_bytes(), 1u16.to_ne_bytes()].concat();
            bytes.extend_from_slice(value);
            assert_eq!(Fields::<2>::known(&bytes).expect("well formed").string(1), expected);
        }
    }
}
