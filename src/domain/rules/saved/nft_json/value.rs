//! Constants, sets and the data of maps, written as the type of what they are compared with demands.
//! Knows nothing of statements.

use super::expr::{any, expression, is_constant, reference};
use super::json::Json;
use super::{Doubts, Odd, Rendered, stmt};
use crate::domain::rules::text::word::{quote, range_end, sort, word};

/// How constants of a type look, as far as `nft -j` needs to be told.
#[derive(Clone, Debug, PartialEq)]
pub enum Shape {
    /// Numbers, addresses and the names nft itself has for them: `22`, `1.2.3.4`, `established`.
    Word,
    /// Names others have chosen: interfaces, conntrack helpers. Always quoted, and some cannot be told from syntax.
    Name,
    /// Interfaces by index: shown by name, or by number where no device has the index.
    Device,
    /// Names others have chosen in places where no set can stand, and days: always quoted.
    Quoted,
    /// Hours and dates in the time zone of nft: quoted.
    Clock,
    /// Whether a header or option is there.
    Presence,
    /// Durations that `nft -j` rounds to seconds.
    Rounded,
    /// What jumps and verdicts are.
    Verdict,
    /// A concatenation.
    Concat(Vec<Self>),
}

impl Shape {
    /// The shape of what this expression reads.
    pub fn of(json: &Json) -> Self {
        let Ok((kind, value)) = json.single() else { return Self::Word };
        let key = |key| value.fields().ok().and_then(|mut fields| fields.text(key).ok());
        match (kind, key("key"), key("result")) {
            ("concat", ..) => Self::Concat(value.items().iter().map(Self::of).collect()),
            ("meta", Some(key), _) => Self::of_meta(key),
            ("ct", Some("helper"), _) | ("osf", ..) | ("fib", _, Some("oifname")) => Self::Name,
            ("socket", Some("cgroupv2"), _) => Self::Name,
            ("fib", _, Some("oif")) => Self::Device,
            ("ct", Some("expiration"), _) => Self::Rounded,
            ("exthdr" | "ip option" | "sctp chunk" | "dccp option", ..) if key("field").is_none() => {
                Self::Presence
            }
            _ => Self::Word,
        }
    }

    fn of_meta(key: &str) -> Self {
        match key {
            "iifname" | "oifname" | "ibrname" | "obrname" | "ibridgename" | "obridgename" | "sdifname"
            | "iifkind" | "oifkind" => Self::Name,
            "iif" | "oif" | "sdif" => Self::Device,
            "day" => Self::Quoted,
            "hour" | "time" => Self::Clock,
            _ => Self::Word,
        }
    }

    /// The shape of a set or map type, as its declaration names it.
    pub fn of_type(json: &Json) -> Self {
        match json {
            Json::List(parts) => Self::Concat(parts.iter().map(Self::of_type).collect()),
            Json::Text(text) if text.contains(" . ") => {
                Self::Concat(text.split(" . ").map(Self::of_type_name).collect())
            }
            Json::Text(text) => Self::of_type_name(text),
            other => match other.single() {
                Ok(("typeof", expression)) => Self::of(expression),
                _ => Self::Word,
            },
        }
    }

    fn of_type_name(text: &str) -> Self {
        match text {
            "ifname" | "string" => Self::Name,
            "iface_index" => Self::Device,
            "day" => Self::Quoted,
            "hour" | "time" => Self::Clock,
            "verdict" => Self::Verdict,
            "counter" | "quota" | "limit" | "ct helper" | "ct timeout" | "ct expectation" | "secmark"
            | "synproxy" => Self::Quoted,
            _ => Self::Word,
        }
    }

    fn part(&self, number: usize) -> Self {
        match self {
            Self::Concat(parts) => parts.get(number).cloned().unwrap_or(Self::Word),
            other => other.clone(),
        }
    }
}

/// The items of a list, rendered and joined.
pub fn joined(json: &Json, separator: &str, render: impl FnMut(&Json) -> Rendered) -> Rendered {
    if json.items().is_empty() {
        return Err(Odd("an empty list".to_owned()));
    }
    Ok(json.items().iter().map(render).collect::<Result<Vec<_>, _>>()?.join(separator))
}

/// A constant on the right of a comparison, where a string may also name a set.
pub fn constant(json: &Json, shape: &Shape, doubts: &mut Doubts) -> Rendered {
    match json {
        Json::Text(text) if text.starts_with('@') && !matches!(shape, Shape::Quoted | Shape::Clock) => {
            if matches!(shape, Shape::Name | Shape::Device) {
                doubts.add("nft -j prints a set and a name beginning with @ alike");
            }
            reference(text)
        }
        Json::List(parts) if parts.len() >= 2 => joined(json, ",", |part| scalar(part, shape, doubts)),
        Json::Object(_) => structured(json, shape, doubts),
        _ => scalar(json, shape, doubts),
    }
}

fn structured(json: &Json, shape: &Shape, doubts: &mut Doubts) -> Rendered {
    match json.single()? {
        ("range", ends) => range(ends, shape, doubts),
        ("prefix", value) => prefix(value, shape, doubts),
        ("set", items) => set(items, |item| element(item, shape, doubts)),
        ("elem", _) => element(json, shape, doubts),
        ("concat", parts) => concat(parts, shape, doubts),
        ("|", parts) => joined(parts, " | ", |part| scalar(part, shape, doubts)),
        (kind, _) => Err(Odd(format!("{kind:?} is no constant"))),
    }
}

fn scalar(json: &Json, shape: &Shape, doubts: &mut Doubts) -> Rendered {
    if *shape == Shape::Rounded {
        doubts.add("nft -j rounds this time to seconds");
    }
    if *shape == Shape::Presence && !matches!(json, Json::Bool(_)) {
        doubts.add("a presence compared with something else than true or false");
    }
    match json {
        Json::Text(text) => Ok(text_of(text, shape, doubts)),
        Json::Int(number) => Ok(number.to_string()),
        Json::Bool(true) => Ok("exists".to_owned()),
        Json::Bool(false) => Ok("missing".to_owned()),
        other => Err(Odd::new("a constant", other)),
    }
}

fn text_of(text: &str, shape: &Shape, doubts: &mut Doubts) -> String {
    match shape {
        Shape::Name | Shape::Device => {
            if text.contains('\\') {
                doubts.add("nft -j prints a name with \\ and a wildcard alike");
            }
            if *shape == Shape::Device && text.bytes().all(|byte| byte.is_ascii_digit()) {
                doubts.add("nft -j prints an interface's number and a name made of digits alike");
            }
            quote(text)
        }
        Shape::Quoted => quote(text),
        Shape::Clock => {
            if doubts.is_file {
                doubts.add("a time in the zone of the machine that wrote it");
            }
            quote(text)
        }
        _ => word(text),
    }
}

fn range(ends: &Json, shape: &Shape, doubts: &mut Doubts) -> Rendered {
    match ends {
        Json::List(list) if list.len() == 2 => joined(ends, "-", |end| match (end, shape) {
            (Json::Text(text), Shape::Word | Shape::Rounded) => Ok(range_end(text)),
            _ => scalar(end, shape, doubts),
        }),
        other => Err(Odd::new("two ends of a range", other)),
    }
}

fn prefix(value: &Json, shape: &Shape, doubts: &mut Doubts) -> Rendered {
    let mut fields = value.fields()?;
    let address = scalar(fields.need("addr")?, shape, doubts)?;
    let length = fields.int("len")?;
    fields.done()?;
    Ok(format!("{address}/{length}"))
}

fn concat(parts: &Json, shape: &Shape, doubts: &mut Doubts) -> Rendered {
    let mut number = 0;
    joined(parts, " . ", |part| {
        let shape = shape.part(number);
        number += 1;
        if matches!((part, &shape), (Json::Text(text), Shape::Name) if text.ends_with('*')) {
            doubts.add("nft -j prints a wildcard in a set and a name ending with * alike");
        }
        match part.single() {
            Ok(("|", flags)) => {
                Ok(format!("({})", joined(flags, " | ", |flag| scalar(flag, &shape, doubts))?))
            }
            Ok(("range", ends)) => range(ends, &shape, doubts),
            Ok(("prefix", value)) => prefix(value, &shape, doubts),
            _ => scalar(part, &shape, doubts),
        }
    })
}

/// `{ a, b }`, sorted: numbers by value, then the rest by text.
fn set(items: &Json, render: impl FnMut(&Json) -> Rendered) -> Rendered {
    let mut texts = items.items().iter().map(render).collect::<Result<Vec<_>, _>>()?;
    sort(&mut texts);
    Ok(if texts.is_empty() { "{ }".to_owned() } else { format!("{{ {} }}", texts.join(", ")) })
}

/// One element of a set: a value that is no set, perhaps with a time-out, statements and a comment.
pub fn element(json: &Json, shape: &Shape, doubts: &mut Doubts) -> Rendered {
    if matches!((json, shape), (Json::Text(text), Shape::Name) if text.ends_with('*')) {
        doubts.add("nft -j prints a wildcard in a set and a name ending with * alike");
    }
    match json {
        Json::Text(text) if text == "*" && !matches!(shape, Shape::Quoted | Shape::Clock) => {
            Ok("*".to_owned())
        }
        Json::List(_) => Err(Odd::new("an element", json)),
        Json::Object(_) => match json.single()? {
            ("elem", value) => full_element(value, shape, doubts),
            ("set", _) => Err(Odd::new("an element", json)),
            _ => structured(json, shape, doubts),
        },
        _ => scalar(json, shape, doubts),
    }
}

/// The object `elem`: how much time is left and what was counted is left out.
fn full_element(value: &Json, shape: &Shape, doubts: &mut Doubts) -> Rendered {
    let mut fields = value.fields()?;
    let key = element(fields.need("val")?, shape, doubts)?;
    let trailer = trailer(&mut fields, doubts)?;
    Ok(format!("{key}{trailer}"))
}

fn trailer(fields: &mut super::json::Fields<'_>, doubts: &mut Doubts) -> Rendered {
    fields.ignore(&["expires"]);
    let timeout = fields.take("timeout").map(Json::int).transpose()?;
    let comment = fields.take("comment").map(Json::text).transpose()?;
    let mut text = String::new();
    for (kind, value) in fields.rest() {
        if !matches!(kind, "counter" | "limit" | "quota" | "ct count" | "last") {
            return Err(Odd(format!("unknown key {kind:?}")));
        }
        let statement = Json::Object(vec![(kind.to_owned(), value.clone())]);
        text.push(' ');
        text.push_str(&stmt::stateful(&statement, doubts)?);
    }
    if let Some(timeout) = timeout {
        text.push_str(&format!(" timeout {timeout}s"));
    }
    if let Some(comment) = comment {
        text.push_str(&format!(" comment {}", quote(comment)));
    }
    Ok(text)
}

/// What a rule puts into a set: an expression, perhaps with a time-out.
pub fn update_key(json: &Json, doubts: &mut Doubts) -> Rendered {
    match json.single()? {
        ("elem", value) => {
            let mut fields = value.fields()?;
            let key = update_key(fields.need("val")?, doubts)?;
            Ok(format!("{key}{}", trailer(&mut fields, doubts)?))
        }
        _ => expression(json, doubts),
    }
}

/// The data of a map: a reference, or `{ KEY : VALUE, ... }` sorted.
pub fn data_of_map(json: &Json, key: &Shape, target: &Shape, doubts: &mut Doubts) -> Rendered {
    match json {
        Json::Text(text) => reference(text),
        other => match other.single()? {
            ("set", items) => set(items, |item| pair(item, key, target, doubts)),
            (kind, _) => Err(Odd(format!("{kind:?} is no data of a map"))),
        },
    }
}

/// One element of a map: `KEY : VALUE`.
pub fn pair(json: &Json, key: &Shape, target: &Shape, doubts: &mut Doubts) -> Rendered {
    let Json::List(pair) = json else { return Err(Odd::new("a key and a value", json)) };
    let [left, right] = pair.as_slice() else { return Err(Odd::new("a key and a value", json)) };
    let right = match target {
        Shape::Verdict => stmt::verdict(right)?,
        _ if is_constant(right) => element(right, target, doubts)?,
        _ => any(right, target, doubts)?,
    };
    Ok(format!("{} : {right}", element(left, key, doubts)?))
}
