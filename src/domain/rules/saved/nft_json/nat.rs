//! Statements that send a packet elsewhere: NAT, transparent proxies, copies and forwarding.
//! Knows no other statements.

use super::expr::{any, ip_family};
use super::json::{Fields, Json};
use super::stmt::keyword;
use super::value::{Shape, joined};
use super::{Doubts, Odd, Rendered};
use crate::domain::rules::Family;

/// `snat`, `dnat`, `masquerade` and `redirect`.
///
/// *Source*: libnftables-json(5), NETWORK ADDRESS TRANSLATION; nft(8), NAT STATEMENTS.
pub fn translate(kind: &str, value: &Json, doubts: &mut Doubts) -> Rendered {
    if *value == Json::Null {
        return Ok(kind.to_owned());
    }
    let mut fields = value.fields()?;
    let family = ip_family(&mut fields)?;
    let flags = flags(&mut fields)?;
    let target = target(&mut fields, doubts)?;
    fields.done()?;
    let (prefix, flags) = flags;
    let text = format!("{kind} {family}{prefix}{target}");
    Ok(format!("{}{flags}", text.trim_end()))
}

/// The words before and after the target. `prefix` implies the flag `netmap`, which nft(8) has no word for.
fn flags(fields: &mut Fields<'_>) -> Result<(&'static str, String), Odd> {
    let prefix = match fields.take("type_flags") {
        None => "",
        Some(Json::Text(flag)) if flag == "prefix" => "prefix ",
        Some(Json::List(list)) if *list == [Json::Text("prefix".to_owned())] => "prefix ",
        Some(other) => return Err(Odd::new("the type flag \"prefix\"", other)),
    };
    let mut text = String::new();
    let mut is_netmap = false;
    for flag in fields.take("flags").map(Json::items).unwrap_or_default() {
        let flag = keyword(flag.text()?)?;
        if flag == "netmap" && !prefix.is_empty() {
            is_netmap = true;
        } else {
            text.push_str(if text.is_empty() { " " } else { "," });
            text.push_str(flag);
        }
    }
    if !prefix.is_empty() && !is_netmap {
        return Err(Odd("the type flag \"prefix\" without the flag \"netmap\"".to_owned()));
    }
    Ok((prefix, text))
}

/// `to ADDRESS`, `to ADDRESS:PORT`, `to :PORT` or nothing.
fn target(fields: &mut Fields<'_>, doubts: &mut Doubts) -> Rendered {
    let address = fields.take("addr");
    let port = fields.take("port").map(|port| any(port, &Shape::Word, doubts)).transpose()?;
    Ok(match (address, port) {
        (None, None) => String::new(),
        (None, Some(port)) => format!("to :{port}"),
        (Some(address), None) => format!("to {}", any(address, &Shape::Word, doubts)?),
        (Some(address), Some(port)) => format!("to {}:{port}", before_port(address, doubts)?),
    })
}

/// An address with a port after it: IPv6 addresses in brackets, lookups set off by a blank.
fn before_port(address: &Json, doubts: &mut Doubts) -> Rendered {
    match address {
        Json::Text(text) => bracketed(text, doubts),
        other => match other.single()? {
            ("range", ends) => joined(ends, "-", |end| bracketed(end.text()?, doubts)),
            _ => Ok(format!("{} ", any(other, &Shape::Word, doubts)?)),
        },
    }
}

fn bracketed(text: &str, doubts: &mut Doubts) -> Rendered {
    let address = any(&Json::Text(text.to_owned()), &Shape::Word, doubts)?;
    Ok(if text.contains(':') { format!("[{address}]") } else { address })
}

/// `tproxy ip to 127.0.0.1:50`.
pub fn tproxy(value: &Json, doubts: &mut Doubts) -> Rendered {
    let mut fields = value.fields()?;
    let family = ip_family(&mut fields)?;
    let target = target(&mut fields, doubts)?;
    fields.done()?;
    Ok(format!("tproxy {family}{target}"))
}

/// `fwd ip to 1.2.3.4 device "eth0"` and `dup to 1.2.3.4 device "eth0"`, to a device alone in the family netdev.
pub fn copy(kind: &str, value: &Json, family: Family, doubts: &mut Doubts) -> Rendered {
    if *value == Json::Null {
        return Ok(kind.to_owned());
    }
    let mut fields = value.fields()?;
    let protocol = ip_family(&mut fields)?;
    let address = fields.take("addr");
    let device = fields.take("dev").map(|device| any(device, &Shape::Quoted, doubts)).transpose()?;
    fields.done()?;
    let target = match address {
        Some(device) if family == Family::Netdev && kind == "dup" => any(device, &Shape::Quoted, doubts)?,
        Some(address) => any(address, &Shape::Word, doubts)?,
        None if !protocol.is_empty() => return Err(Odd("a family without an address".to_owned())),
        None => return Ok(format!("{kind} to {}", device.ok_or_else(|| Odd("no target".to_owned()))?)),
    };
    Ok(match device {
        Some(device) => format!("{kind} {protocol}to {target} device {device}"),
        None => format!("{kind} {protocol}to {target}"),
    })
}
