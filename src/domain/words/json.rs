//! Values as JSON in ASCII: untrusted text in it can do nothing to a terminal, and survives any encoding.
//! Knows no schema: whoever has the values does.

use std::fmt::Write as _;

use serde::Serialize;

use super::escape::hex;

/// A value as indented JSON whose strings escape all that is not printable ASCII, ended by a newline.
///
/// # Errors
/// When the value cannot be serialised.
pub fn ascii(value: &impl Serialize) -> serde_json::Result<String> {
    Ok(only_ascii(&serde_json::to_string_pretty(value)?))
}

/// As [`ascii`], but in one line.
///
/// # Errors
/// When the value cannot be serialised.
pub fn ascii_line(value: &impl Serialize) -> serde_json::Result<String> {
    Ok(only_ascii(&serde_json::to_string(value)?))
}

/// JSON with a newline at its end.
fn only_ascii(json: &str) -> String {
    let mut out = String::with_capacity(json.len() + 1);
    for character in json.chars() {
        match character {
            '\n' | ' '..='~' => out.push(character),
            _ => {
                for unit in character.encode_utf16(&mut [0; 2]) {
                    let _ = write!(out, "\\u{unit:04x}");
                }
            }
        }
    }
    out.push('\n');
    out
}

/// Bytes as a string, with U+FFFD for what is no UTF-8.
pub fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The bytes in hexadecimal where [`lossy`] loses some of them.
pub fn hex_unless_utf8(bytes: &[u8]) -> Option<String> {
    std::str::from_utf8(bytes).is_err().then(|| hex(bytes))
}
