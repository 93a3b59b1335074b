//! A JSON value that refuses repeated keys, and strict access to the keys of an object.
//! Knows nothing of nftables.

use std::fmt::{self, Write};

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use super::Odd;

/// One JSON value; numbers that are not whole are kept only to be refused.
#[derive(Clone, Debug, PartialEq)]
pub enum Json {
    Null,
    Bool(bool),
    Int(i128),
    Float(f64),
    Text(String),
    List(Vec<Self>),
    Object(Vec<(String, Self)>),
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyValue)
    }
}

struct AnyValue;

impl<'de> Visitor<'de> for AnyValue {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Json, E> {
        Ok(Json::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Json, E> {
        Ok(Json::Int(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Json, E> {
        Ok(Json::Int(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Json, E> {
        Ok(Json::Float(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Json, E> {
        Ok(Json::Text(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Json, E> {
        Ok(Json::Text(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Json, A::Error> {
        let mut list = Vec::new();
        while let Some(value) = access.next_element()? {
            list.push(value);
        }
        Ok(Json::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Json, A::Error> {
        let mut entries: Vec<(String, Json)> = Vec::new();
        while let Some(key) = access.next_key::<String>()? {
            if entries.iter().any(|(known, _)| *known == key) {
                return Err(A::Error::custom(format_args!("the key {key:?} stands twice in one object")));
            }
            entries.push((key, access.next_value()?));
        }
        Ok(Json::Object(entries))
    }
}

impl Json {
    /// The string, or what is wrong.
    pub fn text(&self) -> Result<&str, Odd> {
        match self {
            Self::Text(text) => Ok(text),
            other => Err(Odd::new("a string", other)),
        }
    }

    /// The whole number, or what is wrong.
    pub fn int(&self) -> Result<i128, Odd> {
        match self {
            Self::Int(number) => Ok(*number),
            other => Err(Odd::new("a whole number", other)),
        }
    }

    /// The Boolean, or what is wrong.
    pub fn bool(&self) -> Result<bool, Odd> {
        match self {
            Self::Bool(value) => Ok(*value),
            other => Err(Odd::new("true or false", other)),
        }
    }

    /// The items of a list; anything else is a list of one, as libnftables-json(5) allows.
    pub fn items(&self) -> &[Self] {
        match self {
            Self::List(list) => list,
            one => std::slice::from_ref(one),
        }
    }

    /// The only key of an object and its value.
    pub fn single(&self) -> Result<(&str, &Self), Odd> {
        match self {
            Self::Object(entries) => match entries.as_slice() {
                [(key, value)] => Ok((key, value)),
                _ => Err(Odd::new("an object with one key", self)),
            },
            other => Err(Odd::new("an object", other)),
        }
    }

    /// The keys of an object, each to be taken once.
    pub fn fields(&self) -> Result<Fields<'_>, Odd> {
        match self {
            Self::Object(entries) => {
                Ok(Fields { left: entries.iter().map(|(key, value)| (key.as_str(), value)).collect() })
            }
            other => Err(Odd::new("an object", other)),
        }
    }

    /// The value as `json(...)`: compact, keys sorted, printable ASCII only.
    ///
    /// No other part of a line has this form, so it can stand for a part that has none.
    pub fn fallback(&self) -> String {
        let mut out = "json(".to_owned();
        self.write(&mut out);
        out.push(')');
        out
    }

    fn write(&self, out: &mut String) {
        match self {
            Self::Null => out.push_str("null"),
            Self::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
            Self::Int(number) => out.push_str(&number.to_string()),
            Self::Float(number) => out.push_str(&format!("{number:?}")),
            Self::Text(text) => write_string(text, out),
            Self::List(list) => {
                write_joined(out, ['[', ']'], list.iter(), |item, out| item.write(out));
            }
            Self::Object(entries) => {
                let mut sorted: Vec<_> = entries.iter().collect();
                sorted.sort_by(|a, b| a.0.cmp(&b.0));
                write_joined(out, ['{', '}'], sorted.into_iter(), |(key, value), out| {
                    write_string(key, out);
                    out.push(':');
                    value.write(out);
                });
            }
        }
    }
}

fn write_joined<T>(
    out: &mut String,
    [open, close]: [char; 2],
    items: impl Iterator<Item = T>,
    mut write: impl FnMut(T, &mut String),
) {
    out.push(open);
    for (number, item) in items.enumerate() {
        if number > 0 {
            out.push(',');
        }
        write(item, out);
    }
    out.push(close);
}

fn write_string(text: &str, out: &mut String) {
    out.push('"');
    for unit in text.encode_utf16() {
        match u8::try_from(unit) {
            Ok(byte @ (b'"' | b'\\')) => out.extend(['\\', char::from(byte)]),
            Ok(byte @ 0x20..=0x7e) => out.push(char::from(byte)),
            _ => write!(out, "\\u{unit:04x}").expect("writing to a String cannot fail"),
        }
    }
    out.push('"');
}

/// The keys of one object that nobody has asked for yet.
pub struct Fields<'a> {
    left: Vec<(&'a str, &'a Json)>,
}

impl<'a> Fields<'a> {
    /// The value of a key that may be missing.
    pub fn take(&mut self, key: &str) -> Option<&'a Json> {
        let place = self.left.iter().position(|(known, _)| *known == key)?;
        Some(self.left.remove(place).1)
    }

    /// The value of a key that must be there.
    pub fn need(&mut self, key: &str) -> Result<&'a Json, Odd> {
        self.take(key).ok_or_else(|| Odd(format!("no key {key:?}")))
    }

    /// The string of a key that must be there.
    pub fn text(&mut self, key: &str) -> Result<&'a str, Odd> {
        self.need(key)?.text()
    }

    /// The number of a key that must be there.
    pub fn int(&mut self, key: &str) -> Result<i128, Odd> {
        self.need(key)?.int()
    }

    /// Whether a Boolean key that may be missing is true.
    pub fn flag(&mut self, key: &str) -> Result<bool, Odd> {
        self.take(key).map_or(Ok(false), Json::bool)
    }

    /// The value of a key that someone else will take.
    pub fn peek(&self, key: &str) -> Option<&'a Json> {
        self.left.iter().find(|(known, _)| *known == key).map(|(_, value)| *value)
    }

    /// Whether any of these keys is left.
    pub fn has_any(&self, keys: &[&str]) -> bool {
        keys.iter().any(|key| self.peek(key).is_some())
    }

    /// Drops keys that decide nothing about packets, such as counter values.
    pub fn ignore(&mut self, keys: &[&str]) {
        self.left.retain(|(key, _)| !keys.contains(key));
    }

    /// Takes whatever is left.
    pub fn rest(&mut self) -> Vec<(&'a str, &'a Json)> {
        std::mem::take(&mut self.left)
    }

    /// Refuses keys that nobody asked for.
    pub fn done(self) -> Result<(), Odd> {
        match self.left.first() {
            None => Ok(()),
            Some((key, _)) => Err(Odd(format!("unknown key {key:?}"))),
        }
    }
}
