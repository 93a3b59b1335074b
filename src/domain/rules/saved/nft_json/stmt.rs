//! Statements of a rule: matches, verdicts and everything that is done to a packet; addresses for NAT are in `nat`.
//! Leaves out what changes by itself: counters, used quotas, time left.

use super::expr::{any, expression, lookup, reference};
use super::json::{Fields, Json};
use super::value::{Shape, joined, update_key};
use super::{Doubts, Odd, Rendered, nat};
use crate::domain::rules::Family;
use crate::domain::rules::text::word::{is_keyword, name, quote};

/// One statement in the syntax of nft(8).
///
/// *Source*: libnftables-json(5), STATEMENTS.
pub fn statement(json: &Json, family: Family, doubts: &mut Doubts) -> Rendered {
    let (kind, value) = json.single()?;
    match kind {
        "match" => comparison(value, doubts),
        "mangle" => mangle(value, doubts),
        "log" => log(value),
        "reject" => reject(value),
        "set" => update(value, doubts),
        "map" => update_map(value, doubts),
        "meter" => meter(value, doubts),
        "vmap" => expression(json, doubts),
        "queue" => queue(value, doubts),
        "flow" => flow(value),
        "fwd" | "dup" => nat::copy(kind, value, family, doubts),
        "snat" | "dnat" | "masquerade" | "redirect" => nat::translate(kind, value, doubts),
        "tproxy" => nat::tproxy(value, doubts),
        "synproxy" => synproxy(value, doubts),
        "reset" => Ok(format!("reset {}", expression(value, doubts)?)),
        "notrack" => nothing("notrack", value),
        "ct helper" | "ct timeout" | "ct expectation" => Ok(format!("{kind} set {}", object(value, doubts)?)),
        "secmark" => Ok(format!("meta secmark set {}", object(value, doubts)?)),
        "xt" => xt(value, doubts),
        "counter" | "quota" | "limit" | "ct count" | "last" => stateful(json, doubts),
        _ => verdict(json),
    }
}

/// `accept`, `drop`, `jump CHAIN` and so on.
pub fn verdict(json: &Json) -> Rendered {
    match json.single()? {
        (kind @ ("accept" | "drop" | "continue" | "break" | "return"), value) => nothing(kind, value),
        (kind @ ("jump" | "goto"), value) => {
            let mut fields = value.fields()?;
            let target = name(fields.text("target")?);
            fields.done()?;
            Ok(format!("{kind} {target}"))
        }
        (kind, _) => Err(Odd(format!("unknown statement {kind:?}"))),
    }
}

/// Statements that sets can hold for each element too.
pub fn stateful(json: &Json, doubts: &mut Doubts) -> Rendered {
    match json.single()? {
        ("counter", Json::Null) => Ok("counter".to_owned()),
        (kind @ ("counter" | "quota" | "limit"), value) if is_object_reference(value) => {
            Ok(format!("{kind} name {}", object(value, doubts)?))
        }
        ("counter", value) => {
            let mut fields = value.fields()?;
            fields.ignore(&["packets", "bytes"]);
            fields.done().map(|()| "counter".to_owned())
        }
        ("quota", value) => quota(value),
        ("limit", value) => {
            let mut fields = value.fields()?;
            let text = limit(&mut fields)?;
            fields.done()?;
            Ok(format!("limit rate {text}"))
        }
        ("ct count", value) => {
            let mut fields = value.fields()?;
            let over = over(&mut fields)?;
            let count = fields.int("val")?;
            fields.done()?;
            Ok(format!("ct count {over}{count}"))
        }
        ("last", Json::Null) => Ok("last".to_owned()),
        ("last", value) => {
            let mut fields = value.fields()?;
            fields.ignore(&["used"]);
            fields.done().map(|()| "last".to_owned())
        }
        (kind, _) => Err(Odd(format!("unknown statement {kind:?}"))),
    }
}

fn nothing(kind: &str, value: &Json) -> Rendered {
    match value {
        Json::Null => Ok(kind.to_owned()),
        other => Err(Odd::new("null", other)),
    }
}

fn comparison(value: &Json, doubts: &mut Doubts) -> Rendered {
    let mut fields = value.fields()?;
    let operator = fields.text("op")?;
    let left = fields.need("left")?;
    let right = fields.need("right")?;
    fields.done()?;
    let shape = Shape::of(left);
    let left_text = match (right, numbered_option(left)) {
        (Json::Bool(_), Some(number)) => format!("tcp option {number}"),
        _ => expression(left, doubts)?,
    };
    let right_text = any(right, &shape, doubts)?;
    let operator = match operator {
        "==" if is_silent(left, right) => "",
        "in" if is_bitmask(left) && !is_set(right) => "",
        "==" | "!=" | "<" | ">" | "<=" | ">=" => operator,
        "!" if is_bitmask(left) => "!",
        _ => return Err(Odd(format!("unknown operator {operator:?} here"))),
    };
    let space = if operator.is_empty() { "" } else { " " };
    Ok(format!("{left_text} {operator}{space}{right_text}"))
}

/// The number of a TCP option without a name, whose presence nft prints like its first byte.
fn numbered_option(left: &Json) -> Option<i128> {
    let ("tcp option", value) = left.single().ok()? else { return None };
    let mut fields = value.fields().ok()?;
    let [base, offset, len] = ["base", "offset", "len"].map(|key| fields.int(key).ok());
    fields.done().ok()?;
    if (offset, len) == (Some(0), Some(8)) { base } else { None }
}

/// Whether `==` goes without saying: not after an operation, and not where no operator means `in`.
fn is_silent(left: &Json, right: &Json) -> bool {
    let is_operation = matches!(left.single(), Ok(("|" | "^" | "&" | "<<" | ">>" | "map", _)));
    !is_operation && (is_set(right) || !is_bitmask(left))
}

fn is_set(json: &Json) -> bool {
    match json {
        Json::Text(text) => text.starts_with('@'),
        other => matches!(other.single(), Ok(("set", _))),
    }
}

/// Whether nft(8) reads a comparison of this without operator as "one of these bits is set".
fn is_bitmask(left: &Json) -> bool {
    let Ok((kind, value)) = left.single() else { return false };
    let Ok(mut fields) = value.fields() else { return false };
    let mut text = |key| fields.text(key).unwrap_or_default().to_owned();
    match kind {
        "ct" => matches!(text("key").as_str(), "state" | "status" | "label" | "event"),
        "payload" => text("protocol") == "tcp" && text("field") == "flags",
        _ => false,
    }
}

fn mangle(value: &Json, doubts: &mut Doubts) -> Rendered {
    let mut fields = value.fields()?;
    let key = fields.need("key")?;
    let value = fields.need("value")?;
    fields.done()?;
    if is_any_transport(key) {
        doubts.add("nft -j leaves out the protocol whose header is changed");
    }
    Ok(format!("{} set {}", expression(key, doubts)?, any(value, &Shape::of(key), doubts)?))
}

/// Whether this is a place in the transport header of no stated protocol: the match on the protocol is not printed.
fn is_any_transport(key: &Json) -> bool {
    let Ok(("payload", value)) = key.single() else { return false };
    let Ok(mut fields) = value.fields() else { return false };
    ["protocol", "base"].iter().any(|key| fields.text(key) == Ok("th"))
}

fn is_object_reference(value: &Json) -> bool {
    matches!(value, Json::Text(_)) || matches!(value.single(), Ok(("map", _)))
}

/// The name of an object, or a map that leads to names.
fn object(value: &Json, doubts: &mut Doubts) -> Rendered {
    match value {
        Json::Text(text) => Ok(quote(text)),
        other => match other.single()? {
            ("map", value) => lookup("map", value, &Shape::Quoted, doubts),
            (kind, _) => Err(Odd(format!("{kind:?} names no object"))),
        },
    }
}

fn over(fields: &mut Fields<'_>) -> Rendered {
    Ok(if fields.flag("inv")? { "over ".to_owned() } else { String::new() })
}

fn quota(value: &Json) -> Rendered {
    let mut fields = value.fields()?;
    fields.ignore(&["used", "used_unit"]);
    let over = over(&mut fields)?;
    let amount = fields.int("val")?;
    let unit = unit(&mut fields, "val_unit")?.unwrap_or("bytes");
    fields.done()?;
    Ok(format!("quota {over}{amount} {unit}"))
}

fn unit<'a>(fields: &mut Fields<'a>, key: &str) -> Result<Option<&'a str>, Odd> {
    match fields.take(key).map(Json::text).transpose()? {
        None | Some("packets") => Ok(None),
        Some(unit @ ("bytes" | "kbytes" | "mbytes" | "gbytes")) => Ok(Some(unit)),
        Some(other) => Err(Odd(format!("unknown unit {other:?}"))),
    }
}

/// What follows `rate`: `over 10/second burst 5 packets`, `10 mbytes/second`.
pub fn limit(fields: &mut Fields<'_>) -> Rendered {
    let over = over(fields)?;
    let rate = fields.int("rate")?;
    let burst = fields.take("burst").map(Json::int).transpose()?.unwrap_or(0);
    let per = match fields.take("per") {
        Some(per) => keyword(per.text()?)?,
        None => "second",
    };
    let rate_unit = unit(fields, "rate_unit")?;
    let burst_unit = unit(fields, "burst_unit")?;
    Ok(match rate_unit {
        None if burst_unit.is_some() => return Err(Odd("a burst in bytes of a rate in packets".to_owned())),
        None => format!("{over}{rate}/{per} burst {burst} packets"),
        Some(unit) if burst == 0 => format!("{over}{rate} {unit}/{per}"),
        Some(unit) => format!("{over}{rate} {unit}/{per} burst {burst} {}", burst_unit.unwrap_or("bytes")),
    })
}

pub(super) fn keyword(text: &str) -> Result<&str, Odd> {
    if is_keyword(text) { Ok(text) } else { Err(Odd(format!("unknown word {text:?}"))) }
}

fn log(value: &Json) -> Rendered {
    let mut text = "log".to_owned();
    if *value == Json::Null {
        return Ok(text);
    }
    let mut fields = value.fields()?;
    if let Some(prefix) = fields.take("prefix") {
        text.push_str(&format!(" prefix {}", quote(prefix.text()?)));
    }
    for key in ["group", "snaplen", "queue-threshold"] {
        if let Some(number) = fields.take(key) {
            text.push_str(&format!(" {key} {}", number.int()?));
        }
    }
    if let Some(level) = fields.take("level") {
        text.push_str(&format!(" level {}", keyword(level.text()?)?));
    }
    if let Some(flags) = fields.take("flags") {
        for flag in flags.items() {
            text.push_str(&format!(" flags {}", log_flag(flag.text()?)?));
        }
    }
    fields.done()?;
    Ok(text)
}

fn log_flag(flag: &str) -> Result<&str, Odd> {
    match flag {
        "tcp sequence" | "tcp options" | "ip options" | "skuid" | "ether" | "all" => Ok(flag),
        _ => Err(Odd(format!("unknown log flag {flag:?}"))),
    }
}

fn reject(value: &Json) -> Rendered {
    if *value == Json::Null {
        return Ok("reject".to_owned());
    }
    let mut fields = value.fields()?;
    let kind = fields.text("type")?;
    let code = fields.take("expr");
    fields.done()?;
    match (kind, code) {
        ("tcp reset", None) => Ok("reject with tcp reset".to_owned()),
        ("icmp" | "icmpv6" | "icmpx", None) => Ok(format!("reject with {kind}")),
        ("icmp" | "icmpv6" | "icmpx", Some(Json::Text(code))) => {
            Ok(format!("reject with {kind} type {}", keyword(code)?))
        }
        ("icmp" | "icmpv6" | "icmpx", Some(Json::Int(code))) => Ok(format!("reject with {kind} type {code}")),
        _ => Err(Odd(format!("unknown reject {kind:?}"))),
    }
}

fn statements(json: Option<&Json>, doubts: &mut Doubts) -> Rendered {
    let mut text = String::new();
    for item in json.map(Json::items).unwrap_or_default() {
        text.push(' ');
        text.push_str(&stateful(item, doubts)?);
    }
    Ok(text)
}

fn operation<'a>(fields: &mut Fields<'a>) -> Result<&'a str, Odd> {
    match fields.text("op")? {
        operation @ ("add" | "update" | "delete") => Ok(operation),
        other => Err(Odd(format!("unknown operation {other:?}"))),
    }
}

fn update(value: &Json, doubts: &mut Doubts) -> Rendered {
    let mut fields = value.fields()?;
    let operation = operation(&mut fields)?;
    let key = update_key(fields.need("elem")?, doubts)?;
    let set = reference(fields.text("set")?)?;
    let statements = statements(fields.take("stmt"), doubts)?;
    fields.done()?;
    Ok(format!("{operation} {set} {{ {key}{statements} }}"))
}

fn update_map(value: &Json, doubts: &mut Doubts) -> Rendered {
    let mut fields = value.fields()?;
    let operation = operation(&mut fields)?;
    let key = update_key(fields.need("elem")?, doubts)?;
    let data = any(fields.need("data")?, &Shape::Word, doubts)?;
    let map = reference(fields.text("map")?)?;
    let statements = statements(fields.take("stmt"), doubts)?;
    fields.done()?;
    Ok(format!("{operation} {map} {{ {key}{statements} : {data} }}"))
}

fn meter(value: &Json, doubts: &mut Doubts) -> Rendered {
    let mut fields = value.fields()?;
    let title = name(fields.text("name")?);
    let size = match fields.take("size") {
        Some(size) => format!(" size {}", size.int()?),
        None => String::new(),
    };
    let key = update_key(fields.need("key")?, doubts)?;
    let statement = stateful(fields.need("stmt")?, doubts)?;
    fields.done()?;
    Ok(format!("meter {title}{size} {{ {key} {statement} }}"))
}

fn queue(value: &Json, doubts: &mut Doubts) -> Rendered {
    if *value == Json::Null {
        return Ok("queue".to_owned());
    }
    let mut fields = value.fields()?;
    let mut text = "queue".to_owned();
    if let Some(flags) = fields.take("flags") {
        let flags = joined(flags, ",", |flag| Ok(keyword(flag.text()?)?.to_owned()))?;
        text.push_str(&format!(" flags {flags}"));
    }
    if let Some(number) = fields.take("num") {
        text.push_str(&format!(" to {}", any(number, &Shape::Word, doubts)?));
    }
    fields.done()?;
    Ok(text)
}

fn flow(value: &Json) -> Rendered {
    let mut fields = value.fields()?;
    let operation = fields.text("op")?;
    let table = reference(fields.text("flowtable")?)?;
    fields.done()?;
    match operation {
        "add" => Ok(format!("flow add {table}")),
        other => Err(Odd(format!("unknown operation {other:?}"))),
    }
}

fn synproxy(value: &Json, doubts: &mut Doubts) -> Rendered {
    if *value == Json::Null {
        return Ok("synproxy".to_owned());
    }
    if is_object_reference(value) {
        return Ok(format!("synproxy name {}", object(value, doubts)?));
    }
    let mut fields = value.fields()?;
    let text = synproxy_options(&mut fields)?;
    fields.done()?;
    Ok(format!("synproxy{text}"))
}

/// ` mss 1460 wscale 7 timestamp sack-perm`, of a statement or an object.
pub fn synproxy_options(fields: &mut Fields<'_>) -> Rendered {
    let mut text = String::new();
    for key in ["mss", "wscale"] {
        if let Some(number) = fields.take(key) {
            text.push_str(&format!(" {key} {}", number.int()?));
        }
    }
    for flag in fields.take("flags").map(Json::items).unwrap_or_default() {
        text.push_str(&format!(" {}", keyword(flag.text()?)?));
    }
    Ok(text)
}

/// A match or target of x_tables, of which the JSON holds only the name.
fn xt(value: &Json, doubts: &mut Doubts) -> Rendered {
    doubts.has_xt = true;
    if *value == Json::Null {
        return Ok("xt".to_owned());
    }
    let mut fields = value.fields()?;
    let kind = fields.text("type")?;
    let title = quote(fields.text("name")?);
    fields.done()?;
    Ok(format!("xt {} {title}", keyword(kind)?))
}
