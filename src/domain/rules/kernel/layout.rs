//! C structures of the kernel's uapi as values: each is declared once, and read and written by that declaration.
//! Knows no structure.
//!
//! Bytes that no field covers are padding. A structure is read only if writing it again gives the same bytes: then
//! padding is zero, and nothing stands behind the NUL of a name.

/// A value of fixed size: a number in the byte order of the machine unless its type says otherwise, an array, a structure
/// that `layout!` declares.
pub trait Field: Copy {
    /// Bytes; of a structure, `sizeof` on a 64-bit machine.
    const SIZE: usize;
    /// Reads it from the beginning of these bytes; those that are missing read as zeros.
    fn read(bytes: &[u8]) -> Self;
    /// Writes it to the beginning of these bytes, and zeros where a structure has padding.
    fn write(&self, bytes: &mut [u8]);
}

macro_rules! number {
    ($($of:ty),+) => {$(
        impl Field for $of {
            const SIZE: usize = size_of::<$of>();
            fn read(bytes: &[u8]) -> Self {
                bytes.first_chunk().map_or(0, |bytes| Self::from_ne_bytes(*bytes))
            }
            fn write(&self, bytes: &mut [u8]) {
                if let Some(field) = bytes.first_chunk_mut() {
                    *field = self.to_ne_bytes();
                }
            }
        }
    )+};
}
number!(u8, u16, u32, u64, u128, i8, i16, i32, i64);

impl<T: Field, const N: usize> Field for [T; N] {
    const SIZE: usize = T::SIZE * N;
    fn read(bytes: &[u8]) -> Self {
        std::array::from_fn(|index| T::read(bytes.get(index * T::SIZE..).unwrap_or_default()))
    }
    fn write(&self, bytes: &mut [u8]) {
        for (value, bytes) in self.iter().zip(bytes.chunks_mut(T::SIZE)) {
            value.write(bytes);
        }
    }
}

/// A 16-bit number in network byte order (`__be16`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Be16(pub u16);

impl Field for Be16 {
    const SIZE: usize = 2;
    fn read(bytes: &[u8]) -> Self {
        Self(u16::from_be(u16::read(bytes)))
    }
    fn write(&self, bytes: &mut [u8]) {
        self.0.to_be().write(bytes);
    }
}

/// A string in an array of `N` bytes. It ends at its first NUL, or fills the array.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Name<const N: usize> {
    bytes: [u8; N],
    length: usize,
}

impl<const N: usize> Name<N> {
    /// No string at all.
    pub const EMPTY: Self = Self { bytes: [0; N], length: 0 };

    /// Its bytes before the NUL; untrusted.
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }

    /// Whether a NUL ends it.
    pub const fn is_terminated(&self) -> bool {
        self.length < N
    }
}

impl<const N: usize> Field for Name<N> {
    const SIZE: usize = N;
    fn read(bytes: &[u8]) -> Self {
        let array: [u8; N] = bytes.first_chunk().copied().unwrap_or([0; N]);
        Self { bytes: array, length: memchr::memchr(0, &array).unwrap_or(N) }
    }
    fn write(&self, bytes: &mut [u8]) {
        let text = self.as_bytes();
        if let Some(field) = bytes.get_mut(..text.len()) {
            field.copy_from_slice(text);
        }
        bytes.get_mut(text.len()..N).unwrap_or_default().fill(0);
    }
}

/// Declares a structure: its size on a 64-bit machine, and each field with its offset in bytes.
///
/// ```text
/// layout! {
///     /// `struct xt_mark_tginfo2`.
///     pub struct Mark[8] { mark: u32 = 0, mask: u32 = 4 }
/// }
/// ```
macro_rules! layout {
    ($(#[$meta:meta])* $vis:vis struct $name:ident[$size:expr] { $($field:ident: $of:ty = $at:expr),+ $(,)? }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        $vis struct $name { $(#[allow(missing_docs)] $vis $field: $of),+ }

        impl $crate::domain::rules::kernel::layout::Field for $name {
            const SIZE: usize = $size;
            fn read(bytes: &[u8]) -> Self {
                Self { $($field: <$of as $crate::domain::rules::kernel::layout::Field>::read(bytes.get($at..).unwrap_or_default())),+ }
            }
            fn write(&self, bytes: &mut [u8]) {
                if let Some(bytes) = bytes.get_mut(..Self::SIZE) {
                    bytes.fill(0);
                    $($crate::domain::rules::kernel::layout::Field::write(&self.$field, bytes.get_mut($at..).unwrap_or_default());)+
                }
            }
        }
    };
}
pub(crate) use layout;

#[cfg(test)]
mod tests {
    use super::*;

    layout! {
        struct Sample[12] { kind: u8 = 0, port: Be16 = 2, name: Name<8> = 4 }
    }

    #[test]
    fn what_is_read_is_written_again() {
        let bytes = [7, 0, 0x01, 0xbb, b'a', b'b', 0, 0, 0, 0, 0, 0];
        let sample = Sample::read(&bytes);
        assert_eq!((sample.kind, sample.port, sample.name.as_bytes()), (7, Be16(443), &b"ab"[..]));
        let mut again = [0xff; 12];
        sample.write(&mut again);
        assert_eq!(again, bytes);
    }
}
