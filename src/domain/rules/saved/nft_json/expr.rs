//! Expressions that read something: payload, meta, ct, hashes, lookups, binary operations.
//! Constants are rendered in `value`, statements in `stmt`.

use super::Odd;
use super::json::{Fields, Json};
use super::value::{Shape, constant, data_of_map, joined};
use super::{Doubts, Rendered};
use crate::domain::rules::saved::PARTS_OF_BYTES;
use crate::domain::rules::text::word::{is_keyword, name};

/// The headers nft(8) names fields of.
const PROTOCOLS: [&str; 21] = [
    "ether", "vlan", "arp", "ip", "icmp", "igmp", "ip6", "icmpv6", "tcp", "udp", "udplite", "sctp", "dccp",
    "ah", "esp", "comp", "th", "gre", "vxlan", "geneve", "gretap",
];
const TUNNELS: [&str; 4] = ["gre", "vxlan", "geneve", "gretap"];
const EXTENSION_HEADERS: [&str; 8] = ["hbh", "rt", "rt0", "rt2", "srh", "frag", "dst", "mh"];
const CT_KEYS: [&str; 26] = [
    "state",
    "direction",
    "status",
    "mark",
    "expiration",
    "helper",
    "label",
    "l3proto",
    "protocol",
    "saddr",
    "daddr",
    "proto-src",
    "proto-dst",
    "bytes",
    "packets",
    "avgpkt",
    "zone",
    "event",
    "ip saddr",
    "ip daddr",
    "ip6 saddr",
    "ip6 daddr",
    "secmark",
    "id",
    "src",
    "dst",
];

/// An expression that reads the packet or its surroundings; never a bare constant.
///
/// *Source*: libnftables-json(5), EXPRESSIONS; the text is that of nft(8).
pub fn expression(json: &Json, doubts: &mut Doubts) -> Rendered {
    let (kind, value) = json.single()?;
    match kind {
        "payload" => payload(value),
        "exthdr" => extension_header(value),
        "tcp option" => tcp_option(value),
        "ip option" | "sctp chunk" => option(kind, value),
        "dccp option" => dccp_option(value),
        "meta" => meta(value),
        "rt" => rt(value),
        "ct" => ct(value),
        "numgen" => numgen(value),
        "jhash" | "symhash" => hash(kind, value, doubts),
        "fib" => fib(value),
        "osf" => osf(value),
        "socket" => socket(value, doubts),
        "ipsec" => ipsec(value),
        "concat" => concat(value, doubts),
        "map" => lookup(kind, value, &Shape::Word, doubts),
        "vmap" => lookup(kind, value, &Shape::Verdict, doubts),
        "|" | "^" | "&" | "<<" | ">>" => binary(kind, value, doubts),
        _ => Err(Odd(format!("unknown expression {kind:?}"))),
    }
}

/// Whether nft writes this object as a constant rather than reading something.
pub fn is_constant(json: &Json) -> bool {
    match json {
        Json::Object(entries) => entries
            .first()
            .is_some_and(|(key, _)| matches!(key.as_str(), "prefix" | "range" | "set" | "elem")),
        _ => true,
    }
}

/// An expression or constant that stands beside others: binary operations get parentheses.
fn operand(json: &Json, doubts: &mut Doubts) -> Rendered {
    let text = any(json, &Shape::Word, doubts)?;
    Ok(if is_compound(json) { format!("({text})") } else { text })
}

fn is_compound(json: &Json) -> bool {
    matches!(json, Json::List(_))
        || json
            .single()
            .is_ok_and(|(kind, _)| matches!(kind, "|" | "^" | "&" | "<<" | ">>" | "map" | "vmap" | "concat"))
}

/// A concatenation of what is read. A part of a byte in it (`ip dscp`) spoils all values nft 1.0.6 prints beside it; it also
/// loads such rules otherwise than later versions, which print them as the rules of other values.
fn concat(parts: &Json, doubts: &mut Doubts) -> Rendered {
    if parts.items().iter().any(|part| is_compound(part) || is_part_of_byte(part)) {
        doubts.add("nft -j misprints values of concatenations with parts of bytes");
    }
    joined(parts, " . ", |part| operand(part, doubts))
}

/// Whether a field is not made of whole bytes.
fn is_part_of_byte(part: &Json) -> bool {
    let Ok(("payload" | "exthdr", value)) = part.single() else { return false };
    let Ok(mut fields) = value.fields() else { return false };
    let header = fields.text("protocol").or_else(|_| fields.text("name")).unwrap_or_default();
    PARTS_OF_BYTES.contains(&(header, fields.text("field").unwrap_or_default()))
}

/// Whatever may stand on the right: a constant of this shape, or an expression.
pub fn any(json: &Json, shape: &Shape, doubts: &mut Doubts) -> Rendered {
    if is_constant(json) { constant(json, shape, doubts) } else { either(json, shape, doubts) }
}

/// Concatenations and flags may hold constants as well as expressions.
fn either(json: &Json, shape: &Shape, doubts: &mut Doubts) -> Rendered {
    match json.single()? {
        ("concat", parts) if parts.items().iter().all(is_deeply_constant) => constant(json, shape, doubts),
        ("|", parts) if parts.items().iter().all(is_deeply_constant) => {
            joined(parts, " | ", |part| constant(part, shape, doubts))
        }
        ("map", value) => lookup("map", value, shape, doubts),
        _ => expression(json, doubts),
    }
}

fn is_deeply_constant(json: &Json) -> bool {
    match json.single() {
        Ok(("|" | "concat", parts)) => parts.items().iter().all(is_deeply_constant),
        _ => is_constant(json),
    }
}

fn binary(operator: &str, value: &Json, doubts: &mut Doubts) -> Rendered {
    match value {
        Json::List(parts) if parts.len() >= 2 => joined(value, &format!(" {operator} "), |part| match part {
            Json::List(_) => {
                Ok(format!("({})", joined(part, " | ", |flag| constant(flag, &Shape::Word, doubts))?))
            }
            part => operand(part, doubts),
        }),
        other => Err(Odd::new("two operands", other)),
    }
}

/// `KEY map { A : B }` with values of a shape that the place of the map decides.
pub fn lookup(kind: &str, value: &Json, target: &Shape, doubts: &mut Doubts) -> Rendered {
    let mut fields = value.fields()?;
    let key = fields.need("key")?;
    let data = fields.need("data")?;
    fields.done()?;
    let left = input(key, doubts)?;
    Ok(format!("{left} {kind} {}", data_of_map(data, &Shape::of(key), target, doubts)?))
}

/// What a map or a hash is fed with: concatenations stand bare, operations in parentheses.
fn input(json: &Json, doubts: &mut Doubts) -> Rendered {
    let text = expression(json, doubts)?;
    Ok(if is_compound(json) && json.single()?.0 != "concat" { format!("({text})") } else { text })
}

fn keyword(text: &str) -> Result<&str, Odd> {
    if is_keyword(text) { Ok(text) } else { Err(Odd(format!("unknown word {text:?}"))) }
}

/// A field: a keyword, with an index (`sid[1]`) or a second word (`saddr ip` of ARP).
fn field(text: &str) -> Result<&str, Odd> {
    let (first, second) = text.split_once(' ').unwrap_or((text, "x"));
    let base = match first.strip_suffix(']').and_then(|inner| inner.split_once('[')) {
        Some((base, index)) if !index.is_empty() && index.bytes().all(|byte| byte.is_ascii_digit()) => base,
        _ => first,
    };
    // a second word is one of those of ARP
    let second = one_of(second, &["x", "ip", "ether"]);
    keyword(base).and(second).map_err(|_| Odd(format!("unknown field {text:?}"))).map(|_| text)
}

fn one_of<'a>(text: &'a str, known: &[&str]) -> Result<&'a str, Odd> {
    if known.contains(&text) { Ok(text) } else { Err(Odd(format!("unknown word {text:?}"))) }
}

fn one_key(kind: &str, value: &Json, check: impl Fn(&str) -> Rendered) -> Rendered {
    let mut fields = value.fields()?;
    let key = keyword(fields.text("key")?)?;
    fields.done()?;
    Ok(format!("{kind} {}", check(key)?))
}

/// `meta mark`; the interface keys go without `meta`, as nft prints them.
fn meta(value: &Json) -> Rendered {
    let text = one_key("meta", value, |key| Ok(key.to_owned()))?;
    Ok(match text.as_str() {
        "meta iif" | "meta oif" | "meta iifname" | "meta oifname" => text.replace("meta ", ""),
        _ => text,
    })
}

fn payload(value: &Json) -> Rendered {
    let mut fields = value.fields()?;
    let text = match fields.take("base") {
        Some(base) => raw(&mut fields, one_of(base.text()?, &["ll", "nh", "th", "ih"])?)?,
        None => {
            let tunnel = fields.take("tunnel").map(Json::text).transpose()?;
            let protocol = one_of(fields.text("protocol")?, &PROTOCOLS)?;
            let field = field(fields.text("field")?)?;
            match tunnel {
                Some(tunnel) => format!("{} {protocol} {field}", one_of(tunnel, &TUNNELS)?),
                None => format!("{protocol} {field}"),
            }
        }
    };
    fields.done()?;
    Ok(text)
}

fn raw(fields: &mut Fields<'_>, base: &str) -> Rendered {
    Ok(format!("@{base},{},{}", fields.int("offset")?, fields.int("len")?))
}

fn extension_header(value: &Json) -> Rendered {
    let mut fields = value.fields()?;
    let header = one_of(fields.text("name")?, &EXTENSION_HEADERS)?;
    let offset = fields.take("offset").map(Json::int).transpose()?;
    let text = match fields.take("field") {
        Some(json) => format!("{header} {}", field(json.text()?)?),
        None => format!("exthdr {header}"),
    };
    fields.done()?;
    Ok(match offset {
        Some(offset) => format!("{text} offset {offset}"),
        None => text,
    })
}

fn tcp_option(value: &Json) -> Rendered {
    let mut fields = value.fields()?;
    match fields.take("base") {
        Some(base) => {
            let text = raw(&mut fields, &base.int()?.to_string())?;
            fields.done()?;
            Ok(format!("tcp option {text}"))
        }
        None => option("tcp option", value),
    }
}

fn option(kind: &str, value: &Json) -> Rendered {
    let mut fields = value.fields()?;
    let mut text = format!("{kind} {}", keyword(fields.text("name")?)?);
    if let Some(json) = fields.take("field") {
        text = format!("{text} {}", field(json.text()?)?);
    }
    fields.done()?;
    Ok(text)
}

fn dccp_option(value: &Json) -> Rendered {
    let mut fields = value.fields()?;
    let number = fields.int("type")?;
    fields.done()?;
    Ok(format!("dccp option {number}"))
}

fn rt(value: &Json) -> Rendered {
    let mut fields = value.fields()?;
    let key = one_of(fields.text("key")?, &["classid", "nexthop", "mtu", "ipsec"])?;
    let family = ip_family(&mut fields)?;
    fields.done()?;
    Ok(format!("rt {family}{key}"))
}

/// `ip ` or `ip6 ` where the object names a family, nothing where it does not.
pub fn ip_family(fields: &mut Fields<'_>) -> Rendered {
    match fields.take("family") {
        Some(family) => Ok(format!("{} ", one_of(family.text()?, &["ip", "ip6"])?)),
        None => Ok(String::new()),
    }
}

fn ct(value: &Json) -> Rendered {
    let mut fields = value.fields()?;
    let key = one_of(fields.text("key")?, &CT_KEYS)?;
    let direction = match fields.take("dir") {
        Some(direction) => format!("{} ", one_of(direction.text()?, &["original", "reply"])?),
        None => String::new(),
    };
    let family = ip_family(&mut fields)?;
    fields.done()?;
    Ok(format!("ct {direction}{family}{key}"))
}

fn numgen(value: &Json) -> Rendered {
    let mut fields = value.fields()?;
    let mode = one_of(fields.text("mode")?, &["inc", "random"])?;
    let modulus = fields.int("mod")?;
    let offset = offset(&mut fields)?;
    fields.done()?;
    Ok(format!("numgen {mode} mod {modulus}{offset}"))
}

fn offset(fields: &mut Fields<'_>) -> Rendered {
    Ok(match fields.take("offset").map(Json::int).transpose()? {
        None | Some(0) => String::new(),
        Some(offset) => format!(" offset {offset}"),
    })
}

fn hash(kind: &str, value: &Json, doubts: &mut Doubts) -> Rendered {
    let mut fields = value.fields()?;
    let mut text = kind.to_owned();
    if kind == "jhash" {
        text = format!("{text} {}", input(fields.need("expr")?, doubts)?);
    }
    text = format!("{text} mod {}", fields.int("mod")?);
    if let Some(seed) = fields.take("seed") {
        text = format!("{text} seed {}", seed.int()?);
    }
    text.push_str(&offset(&mut fields)?);
    fields.done()?;
    Ok(text)
}

fn fib(value: &Json) -> Rendered {
    let mut fields = value.fields()?;
    let result = one_of(fields.text("result")?, &["oif", "oifname", "type", "check"])?;
    let flags = joined(fields.need("flags")?, " . ", |flag| {
        one_of(flag.text()?, &["saddr", "daddr", "mark", "iif", "oif"]).map(str::to_owned)
    })?;
    fields.done()?;
    Ok(format!("fib {flags} {result}"))
}

fn osf(value: &Json) -> Rendered {
    let mut fields = value.fields()?;
    let key = one_of(fields.text("key")?, &["name", "version"])?;
    let ttl = match fields.take("ttl") {
        Some(ttl) => format!("ttl {} ", one_of(ttl.text()?, &["loose", "skip"])?),
        None => String::new(),
    };
    fields.done()?;
    Ok(format!("osf {ttl}{key}"))
}

/// The level of a cgroup is not in the JSON, so `socket cgroupv2` is always in doubt.
fn socket(value: &Json, doubts: &mut Doubts) -> Rendered {
    one_key("socket", value, |key| {
        Ok(one_of(key, &["transparent", "mark", "wildcard", "cgroupv2"])?.to_owned())
    })
    .inspect(|text| {
        if text.ends_with("cgroupv2") {
            doubts.add("nft -j leaves out the level of socket cgroupv2");
        }
    })
}

fn ipsec(value: &Json) -> Rendered {
    let mut fields = value.fields()?;
    let key = one_of(fields.text("key")?, &["saddr", "daddr", "reqid", "spi"])?;
    let family = ip_family(&mut fields)?;
    let direction = one_of(fields.text("dir")?, &["in", "out"])?;
    let number = fields.int("spnum")?;
    fields.done()?;
    Ok(format!("ipsec {direction} spnum {number} {family}{key}"))
}

/// A reference to a set, map or flowtable: `@name`.
pub fn reference(text: &str) -> Rendered {
    match text.strip_prefix('@') {
        Some(target) => Ok(format!("@{}", name(target))),
        None => Err(Odd(format!("{text:?} is no reference"))),
    }
}
