//! Declarations: base chains, sets and maps, flowtables and stateful objects, without what they count.
//! Knows nothing of rules.

use super::expr::expression;
use super::json::{Fields, Json};
use super::stmt::{keyword, limit, stateful, synproxy_options};
use super::value::joined;
use super::{Doubts, Odd, Rendered};
use crate::domain::rules::Family;
use crate::domain::rules::text::word::quote;

/// Whether this key of a list element declares a flowtable or a stateful object.
pub fn is_object(kind: &str) -> bool {
    matches!(
        kind,
        "flowtable"
            | "counter"
            | "quota"
            | "limit"
            | "ct helper"
            | "ct timeout"
            | "ct expectation"
            | "secmark"
            | "synproxy"
            | "tunnel"
    )
}

/// A table's flag; others than those of nft(8) are quoted and doubted.
pub fn table_flag(flag: &str, doubts: &mut Doubts) -> String {
    if matches!(flag, "dormant" | "owner" | "persist") {
        return flag.to_owned();
    }
    doubts.add("unknown flag");
    quote(flag)
}

/// What follows the name of a base chain: `type filter hook input priority 0 policy drop`.
///
/// A chain without hook has nothing to say here, but its unknown keys are still refused.
pub fn chain(mut fields: Fields<'_>, family: Family, is_base: bool, doubts: &mut Doubts) -> Rendered {
    fields.ignore(&["comment"]);
    if !is_base {
        return fields.done().map(|()| String::new());
    }
    let kind = keyword(fields.text("type")?)?;
    let hook = keyword(fields.text("hook")?)?;
    let devices = devices(&mut fields)?;
    let priority = fields.int("prio")?;
    let policy = match fields.take("policy") {
        Some(policy) => keyword(policy.text()?)?,
        None => "accept",
    };
    let flags = flags(&mut fields)?;
    fields.done()?;
    if devices.is_empty() && (family == Family::Netdev || matches!(hook, "ingress" | "egress")) {
        doubts.add("nft -j leaves out the devices");
    }
    Ok(format!("type {kind} hook {hook}{devices} priority {priority} policy {policy}{flags}"))
}

/// ` devices { "a", "b" }`, sorted, or nothing.
fn devices(fields: &mut Fields<'_>) -> Rendered {
    let Some(json) = fields.take("dev") else { return Ok(String::new()) };
    let mut texts = json.items().iter().map(|dev| Ok(quote(dev.text()?))).collect::<Result<Vec<_>, Odd>>()?;
    texts.sort();
    Ok(format!(" devices {{ {} }}", texts.join(", ")))
}

fn flags(fields: &mut Fields<'_>) -> Rendered {
    match fields.take("flags") {
        Some(flags) => {
            Ok(format!(" flags {}", joined(flags, ",", |flag| Ok(keyword(flag.text()?)?.to_owned()))?))
        }
        None => Ok(String::new()),
    }
}

/// What follows the name of a set, map or meter, without its elements.
pub fn set(mut fields: Fields<'_>, kind: &str, doubts: &mut Doubts) -> Rendered {
    let mut text = type_text(fields.need("type")?, doubts)?;
    if kind == "map" {
        let target = type_text(fields.need("map")?, doubts)?;
        text = format!("{text} : {}", target.strip_prefix("type ").unwrap_or(&target));
    }
    text.push_str(&flags(&mut fields)?);
    for key in ["timeout", "gc-interval"] {
        if let Some(seconds) = fields.take(key) {
            text.push_str(&format!(" {key} {}s", seconds.int()?));
        }
    }
    if let Some(size) = fields.take("size") {
        text.push_str(&format!(" size {}", size.int()?));
    }
    if let Some(policy) = fields.take("policy") {
        text.push_str(&format!(" policy {}", keyword(policy.text()?)?));
    }
    if fields.flag("auto-merge")? {
        text.push_str(" auto-merge");
    }
    for statement in fields.take("stmt").map(Json::items).unwrap_or_default() {
        text.push_str(&format!(" {}", stateful(statement, doubts)?));
    }
    text.push_str(&comment(&mut fields)?);
    fields.done()?;
    Ok(text)
}

fn comment(fields: &mut Fields<'_>) -> Rendered {
    match fields.take("comment") {
        Some(comment) => Ok(format!(" comment {}", quote(comment.text()?))),
        None => Ok(String::new()),
    }
}

/// `type ipv4_addr . inet_service` or `typeof ip saddr`.
fn type_text(json: &Json, doubts: &mut Doubts) -> Rendered {
    match json {
        Json::Object(_) => match json.single()? {
            ("typeof", inner) => Ok(format!("typeof {}", expression(inner, doubts)?)),
            (kind, _) => Err(Odd(format!("unknown type {kind:?}"))),
        },
        _ => Ok(format!("type {}", joined(json, " . ", |part| type_name(part.text()?))?)),
    }
}

/// One type, or several as nft 1.0.6 prints them for the values of a map: `ipv4_addr . inet_service`.
fn type_name(text: &str) -> Rendered {
    let is_known = matches!(text, "ct helper" | "ct timeout" | "ct expectation")
        || text.split(" . ").all(|part| keyword(part).is_ok());
    if is_known { Ok(text.to_owned()) } else { Err(Odd(format!("unknown type {text:?}"))) }
}

/// What follows the name of a flowtable or stateful object.
pub fn object(kind: &str, mut fields: Fields<'_>) -> Rendered {
    let text = match kind {
        "flowtable" => flowtable(&mut fields),
        "counter" => {
            fields.ignore(&["packets", "bytes"]);
            Ok(String::new())
        }
        "quota" => quota(&mut fields),
        "limit" => limit(&mut fields).map(|limit| format!("rate {limit}")),
        "ct helper" => ct_helper(&mut fields),
        "ct timeout" => ct_timeout(&mut fields),
        "ct expectation" => ct_expectation(&mut fields),
        "secmark" => fields.text("context").map(quote),
        "synproxy" => synproxy_options(&mut fields).map(|options| options.trim_start().to_owned()),
        _ => Err(Odd(format!("unknown object {kind:?}"))),
    }?;
    let comment = comment(&mut fields)?;
    fields.done()?;
    Ok(format!("{text}{comment}").trim_start().to_owned())
}

fn flowtable(fields: &mut Fields<'_>) -> Rendered {
    let hook = keyword(fields.text("hook")?)?;
    let priority = fields.int("prio")?;
    let devices = devices(fields)?;
    Ok(format!("hook {hook} priority {priority}{devices}{}", flags(fields)?))
}

fn quota(fields: &mut Fields<'_>) -> Rendered {
    fields.ignore(&["used"]);
    let over = if fields.flag("inv")? { "over " } else { "" };
    Ok(format!("{over}{} bytes", fields.int("bytes")?))
}

/// A protocol by name or number.
fn protocol(fields: &mut Fields<'_>) -> Rendered {
    let number = fields.need("protocol")?;
    let protocol = match number {
        Json::Int(number) => number.to_string(),
        other => keyword(other.text()?)?.to_owned(),
    };
    let l3proto = keyword(fields.text("l3proto")?)?;
    Ok(format!("protocol {protocol} l3proto {l3proto}"))
}

fn ct_helper(fields: &mut Fields<'_>) -> Rendered {
    Ok(format!("type {} {}", quote(fields.text("type")?), protocol(fields)?))
}

/// Only the times that differ from the kernel's are in the JSON; they are shown in seconds.
fn ct_timeout(fields: &mut Fields<'_>) -> Rendered {
    let text = protocol(fields)?;
    let policy = match fields.need("policy")? {
        Json::Null => return Ok(text),
        policy => policy.fields()?.rest(),
    };
    let mut times = policy
        .into_iter()
        .map(|(state, seconds)| Ok(format!("{} : {}s", keyword(state)?, seconds.int()?)))
        .collect::<Result<Vec<_>, Odd>>()?;
    times.sort();
    Ok(format!("{text} policy {{ {} }}", times.join(", ")))
}

/// The time-out is printed in milliseconds.
fn ct_expectation(fields: &mut Fields<'_>) -> Rendered {
    let text = protocol(fields)?;
    let port = fields.int("dport")?;
    let timeout = fields.int("timeout")?;
    Ok(format!("{text} dport {port} timeout {timeout}ms size {}", fields.int("size")?))
}
