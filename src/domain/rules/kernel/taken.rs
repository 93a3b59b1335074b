//! Attributes of an answer that are taken one by one; what is left was not understood, and is kept.
//! Knows no attribute by name.

use super::attributes::{Attribute, Attributes, Malformed};
use super::expressions::form::{self, Form, Value};

/// An attribute that was not understood.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Raw {
    pub kind: u16,
    pub value: Vec<u8>,
}

/// The attributes that nobody has taken yet.
#[derive(Clone, Debug)]
pub struct Taken<'a> {
    left: Vec<Attribute<'a>>,
}

impl<'a> Taken<'a> {
    /// All attributes of a container.
    ///
    /// # Errors
    /// If it does not divide into attributes.
    pub fn new(container: &'a [u8]) -> Result<Self, Malformed> {
        Ok(Self { left: Attributes::new(container).collect::<Result<_, _>>()? })
    }

    /// Takes the attribute of this type, if there is one and it is such a value and no other. It is left if it is not.
    pub fn take<T: Value<'a>>(&mut self, kind: u16) -> Option<T> {
        self.take_if(kind, T::read)
    }

    /// The same for a nested attribute.
    pub fn form<T: Form<'a>>(&mut self, kind: u16) -> Option<T> {
        self.take_if(kind, |value| form::decode(value, &mut Vec::new()))
    }

    /// The same for an attribute that `read` understands.
    pub fn take_if<T>(&mut self, kind: u16, read: impl FnOnce(&'a [u8]) -> Option<T>) -> Option<T> {
        let at = self.left.iter().position(|attribute| attribute.kind == kind)?;
        if self.left.iter().skip(at + 1).any(|attribute| attribute.kind == kind) {
            return None;
        }
        let found = read(self.left.get(at)?.value)?;
        self.left.remove(at);
        Some(found)
    }

    /// Takes what is state of the kernel or its padding.
    pub fn ignore(&mut self, kinds: &[u16]) {
        self.left.retain(|attribute| !kinds.contains(&attribute.kind));
    }

    /// What is left.
    pub fn rest(self) -> Vec<Raw> {
        let keep = |attribute: Attribute<'_>| Raw { kind: attribute.kind, value: attribute.value.to_vec() };
        self.left.into_iter().map(keep).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::rules::samples::attribute;

    #[test]
    fn what_is_no_such_value_is_left() {
        let bytes = [attribute(1, &[0, 0, 0, 7]), attribute(2, &[1]), attribute(3, b"a"), attribute(3, b"b")]
            .concat();
        let mut taken = Taken::new(&bytes).unwrap();
        assert_eq!(taken.take::<u32>(1), Some(7));
        assert_eq!(taken.take::<u32>(1), None);
        assert_eq!(taken.take::<u32>(2), None);
        assert_eq!(taken.take::<&[u8]>(3), None, "there are two");
        let left: Vec<_> = taken.clone().rest().iter().map(|raw| raw.kind).collect();
        assert_eq!(left, [2, 3, 3]);
        taken.ignore(&[3]);
        assert_eq!(taken.rest(), [Raw { kind: 2, value: vec![1] }]);
        assert!(Taken::new(&[3, 0, 0, 0]).is_err());
    }
}
