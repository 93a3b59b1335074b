//! Walks the list `nftables` element by element and sends lines, declarations and problems to the sink.
//! Renders nothing itself.

use std::collections::HashMap;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use super::json::{Fields, Json};
use super::value::{Shape, element, pair};
use super::whole::{SeenSet, Whole};
use super::{Doubts, Item, NativeLine, Odd, decl, excerpt, stmt};
use crate::domain::rules::text::native::contents::Hash;
use crate::domain::rules::text::word::{name, quote};
use crate::domain::rules::{Family, Kind, Problem, Reason};

/// Family, table and name of a chain or set.
pub type Place = (Family, String, String);

/// What has to be remembered from element to element.
pub struct Reader<'s, F> {
    sink: &'s mut F,
    rules: HashMap<Place, u32>,
    maps: HashMap<Place, Shapes>,
    /// What tells whether a saved file is whole; none for a live node.
    whole: Option<Whole>,
}

/// The types of a set or map: key, and value if it has one.
struct Shapes {
    key: Shape,
    target: Option<Shape>,
}

impl<'s, F: FnMut(Item)> Reader<'s, F> {
    pub fn new(sink: &'s mut F) -> Self {
        Self { sink, rules: HashMap::new(), maps: HashMap::new(), whole: None }
    }

    /// A reader of a file that somebody saved: told as well is what it lacks, and what only its writer could have told.
    pub fn of_file(sink: &'s mut F) -> Self {
        Self { whole: Some(Whole::default()), ..Self::new(sink) }
    }

    /// Tells what a file lacks.
    pub fn finish(&mut self) {
        for missing in self.whole.take().iter().flat_map(Whole::missing) {
            self.problem(Reason::IncompleteDump, missing);
        }
    }

    fn fresh_doubts(&self) -> Doubts {
        Doubts { is_file: self.whole.is_some(), ..Doubts::default() }
    }

    pub fn element(&mut self, json: &Json) {
        if let Err(Odd(odd)) = self.command(json) {
            self.problem(Reason::UnrenderedRule, format!("{odd} in {}", excerpt(json)));
        }
    }

    /// An object, or a command that a saved file gives about one.
    fn command(&mut self, json: &Json) -> Result<(), Odd> {
        match json.single()? {
            ("add" | "create", inner) => self.object(inner, true),
            ("insert", inner) => self.object(inner, false),
            (
                command @ ("delete" | "destroy" | "flush" | "replace" | "rename" | "reset" | "list"
                | "import" | "export"),
                _,
            ) => {
                let detail = format!("the command {command:?} changes rules instead of showing which exist");
                self.problem(Reason::NotADump, detail);
                Ok(())
            }
            _ => self.object(json, true),
        }
    }

    fn object(&mut self, json: &Json, is_in_order: bool) -> Result<(), Odd> {
        match json.single()? {
            ("metainfo", value) => self.metainfo(value),
            ("table", value) => self.table(value),
            ("chain", value) => self.chain(value),
            ("rule", value) => self.rule(value, is_in_order),
            (kind @ ("set" | "map" | "meter"), value) => self.set(kind, value),
            ("element", value) => self.elements_of(value),
            (kind, value) if decl::is_object(kind) => self.declaration(kind, value),
            (kind, _) => Err(Odd(format!("unknown object {kind:?}"))),
        }
    }

    fn metainfo(&mut self, value: &Json) -> Result<(), Odd> {
        let mut fields = value.fields()?;
        fields.ignore(&["release_name"]);
        let version = fields.take("version").map(Json::text).transpose()?.unwrap_or_default().to_owned();
        let schema = fields.take("json_schema_version").map(Json::int).transpose()?;
        fields.done()?;
        if !matches!(schema, None | Some(1)) {
            let detail = format!("nft {version} writes another version of its JSON schema");
            self.problem(Reason::UntestedTool, detail);
        }
        // 0.9.8 leaves out the statements of set updates, and the types of ICMP messages before what depends on them
        if self.whole.is_some() && version.starts_with("0.") {
            let detail = format!(
                "nft {version} leaves out parts of rules in its JSON; save them with nft 1.0 or later"
            );
            self.problem(Reason::UntestedTool, detail);
        }
        Ok(())
    }

    fn table(&mut self, value: &Json) -> Result<(), Odd> {
        let mut fields = value.fields()?;
        let family = family(&mut fields)?;
        let table = fields.text("name")?;
        let handle = handle(&mut fields)?;
        fields.ignore(&["comment"]);
        if let Some(whole) = &mut self.whole {
            whole.table(family, table);
        }
        let flags = fields.take("flags").map(Json::items).unwrap_or_default();
        let flags: Vec<_> =
            flags.iter().map(|flag| flag.text().map_or_else(|_| flag.fallback(), str::to_owned)).collect();
        fields.done()?;
        (self.sink)(Item::Table { family, name: table.to_owned() });
        if !flags.is_empty() {
            let mut doubts = self.fresh_doubts();
            let flags: Vec<_> = flags.iter().map(|flag| decl::table_flag(flag, &mut doubts)).collect();
            let line = format!("table {family} {} flags {}", name(table), flags.join(","));
            self.line(Kind::Table, (family, table, None), handle, line, doubts);
        }
        Ok(())
    }

    fn chain(&mut self, value: &Json) -> Result<(), Odd> {
        let mut fields = value.fields()?;
        let (family, table, chain) = place(&mut fields)?;
        let handle = handle(&mut fields)?;
        if let Some(whole) = &mut self.whole {
            whole.chain(family, table, chain);
        }
        let is_base = fields.has_any(&["type", "hook", "prio", "policy", "dev"]);
        self.emit_chain(family, table, chain, is_base);
        let mut doubts = self.fresh_doubts();
        let text = decl::chain(fields, family, is_base, &mut doubts);
        if is_base || text.is_err() {
            let text = doubts.settle(value, text);
            let line = format!("chain {family} {} {} {text}", name(table), name(chain));
            self.line(Kind::Chain, (family, table, Some(chain)), handle, line, doubts);
        }
        Ok(())
    }

    fn emit_chain(&mut self, family: Family, table: &str, chain: &str, is_base: bool) {
        (self.sink)(Item::Chain { family, table: table.to_owned(), name: chain.to_owned(), is_base });
    }

    fn rule(&mut self, value: &Json, is_in_order: bool) -> Result<(), Odd> {
        let mut fields = value.fields()?;
        let family = family(&mut fields)?;
        let table = fields.text("table")?;
        let chain = fields.text("chain")?;
        let handle = handle(&mut fields)?;
        if let Some(whole) = &mut self.whole {
            whole.inside(family, table);
            whole.needs(family, table, chain);
            whole.leads(family, table, value);
        }
        let index = fields.take("index");
        let number = self.rules.entry((family, table.to_owned(), chain.to_owned())).or_default();
        *number = number.saturating_add(1);
        let position = (is_in_order && index.is_none()).then_some(*number);
        let mut doubts = self.fresh_doubts();
        let statements = rule_text(fields, family, value, &mut doubts);
        let line = format!("{family} {} {} {statements}", name(table), name(chain));
        self.numbered_line((family, table, chain), handle, position, line, doubts);
        Ok(())
    }

    fn set(&mut self, kind: &str, value: &Json) -> Result<(), Odd> {
        let mut fields = value.fields()?;
        let (family, table, set) = place(&mut fields)?;
        let handle = handle(&mut fields)?;
        let elements = fields.take("elem");
        let said = fields.take("count").map(Json::int).transpose()?;
        if let Some(whole) = &mut self.whole {
            let flags = fields.peek("flags").map(Json::items).unwrap_or_default();
            let is_fleeting = flags.iter().any(|flag| matches!(flag.text(), Ok("dynamic" | "timeout")));
            let shown = elements.map(Json::items).unwrap_or_default().len();
            whole.inside(family, table);
            elements.iter().for_each(|elements| whole.leads(family, table, elements));
            let seen = SeenSet { is_map: kind == "map", is_fleeting, shown, said };
            whole.set((family, table.to_owned(), set.to_owned()), &seen);
        }
        let shapes = Shapes {
            key: fields.peek("type").map_or(Shape::Word, Shape::of_type),
            target: (kind == "map").then(|| fields.peek("map").map_or(Shape::Word, Shape::of_type)),
        };
        let mut doubts = self.fresh_doubts();
        let text = decl::set(fields, kind, &mut doubts);
        let text = doubts.settle(value, text);
        let line = format!("{kind} {family} {} {} {text}", name(table), name(set));
        let kind = if kind == "map" { Kind::Map } else { Kind::Set };
        self.line(kind, (family, table, Some(set)), handle, line, doubts);
        let items = elements.map(Json::items).unwrap_or_default();
        self.elements((family, table, set), items, &shapes);
        self.maps.insert((family, table.to_owned(), set.to_owned()), shapes);
        Ok(())
    }

    /// `{"element": ...}` of a saved file: elements of a set or map declared before.
    fn elements_of(&mut self, value: &Json) -> Result<(), Odd> {
        let mut fields = value.fields()?;
        let (family, table, set) = place(&mut fields)?;
        let items = fields.need("elem")?.items();
        fields.done()?;
        if let Some(whole) = &mut self.whole {
            whole.inside(family, table);
            whole.elements(items.len());
            items.iter().for_each(|item| whole.leads(family, table, item));
        }
        let key = (family, table.to_owned(), set.to_owned());
        let shapes =
            self.maps.remove(&key).ok_or_else(|| Odd("elements of a set not declared".to_owned()))?;
        self.elements((family, table, set), items, &shapes);
        self.maps.insert(key, shapes);
        Ok(())
    }

    fn elements(&mut self, (family, table, set): (Family, &str, &str), items: &[Json], shapes: &Shapes) {
        match &shapes.target {
            Some(target) => {
                for item in items {
                    let mut doubts = self.fresh_doubts();
                    let text = pair(item, &shapes.key, target, &mut doubts);
                    let text = doubts.settle(item, text);
                    let line = format!("element {family} {} {} {text}", name(table), name(set));
                    self.line(Kind::Element, (family, table, Some(set)), None, line, doubts);
                }
            }
            None => self.plain_elements((family, table, set), items, &shapes.key),
        }
    }

    fn plain_elements(&mut self, (family, table, set): (Family, &str, &str), items: &[Json], shape: &Shape) {
        let mut doubts = self.fresh_doubts();
        let mut hash = Hash::default();
        for item in items {
            let text = element(item, shape, &mut doubts);
            hash.add(doubts.settle(item, text));
        }
        let (table, set) = (table.to_owned(), set.to_owned());
        self.doubts(&format!("elements of set {family} {} {}", name(&table), name(&set)), &doubts);
        let (count, hash) = hash.finish();
        (self.sink)(Item::SetElements { family, table, set, count, hash });
    }

    fn declaration(&mut self, kind: &str, value: &Json) -> Result<(), Odd> {
        let mut fields = value.fields()?;
        let (family, table, object) = place(&mut fields)?;
        if let Some(whole) = &mut self.whole {
            whole.inside(family, table);
        }
        let handle = handle(&mut fields)?;
        let mut doubts = self.fresh_doubts();
        let text = doubts.settle(value, decl::object(kind, fields));
        let line = format!("{kind} {family} {} {} {text}", name(table), name(object)).trim_end().to_owned();
        let kind = if kind == "flowtable" { Kind::Flowtable } else { Kind::Object };
        self.line(kind, (family, table, Some(object)), handle, line, doubts);
        Ok(())
    }

    fn numbered_line(
        &mut self,
        (family, table, chain): (Family, &str, &str),
        handle: Option<u64>,
        position: Option<u32>,
        line: String,
        doubts: Doubts,
    ) {
        let number = position.map_or_else(String::new, |position| format!(" {position}"));
        self.doubts(&format!("rule{number} of {family} {} {}", name(table), name(chain)), &doubts);
        (self.sink)(Item::Line(NativeLine {
            family,
            table: table.to_owned(),
            chain: Some(chain.to_owned()),
            kind: Kind::Rule,
            handle,
            position,
            line: line.into_bytes(),
            has_xt: doubts.has_xt,
        }));
    }

    fn line(
        &mut self,
        kind: Kind,
        (family, table, chain): (Family, &str, Option<&str>),
        handle: Option<u64>,
        line: String,
        doubts: Doubts,
    ) {
        let title = chain.map_or_else(String::new, |chain| format!(" {}", name(chain)));
        self.doubts(&format!("{} {family} {}{title}", kind.as_str(), name(table)), &doubts);
        (self.sink)(Item::Line(NativeLine {
            family,
            table: table.to_owned(),
            chain: chain.map(str::to_owned),
            kind,
            handle,
            position: None,
            line: line.into_bytes(),
            has_xt: doubts.has_xt,
        }));
    }

    fn doubts(&mut self, title: &str, doubts: &Doubts) {
        for note in &doubts.notes {
            self.problem(Reason::UnrenderedRule, format!("{title}: {note}"));
        }
    }

    fn problem(&mut self, reason: Reason, detail: String) {
        (self.sink)(Item::Problem(Problem::new(reason, detail)));
    }
}

/// All statements of a rule in order, then its comment.
fn rule_text(mut fields: Fields<'_>, family: Family, whole: &Json, doubts: &mut Doubts) -> String {
    let comment = fields.take("comment");
    let statements = match fields.take("expr") {
        Some(Json::List(list)) if !list.is_empty() => list.as_slice(),
        _ => {
            doubts.add("no statements");
            return whole.fallback();
        }
    };
    if let Err(Odd(odd)) = fields.done() {
        doubts.add(&odd);
        return whole.fallback();
    }
    let mut texts = Vec::with_capacity(statements.len().saturating_add(1));
    for json in statements {
        let text = stmt::statement(json, family, doubts);
        texts.push(doubts.settle(json, text));
    }
    if let Some(comment) = comment {
        let text = comment.text().map(|text| format!("comment {}", quote(text)));
        texts.push(doubts.settle(comment, text));
    }
    texts.join(" ")
}

fn family(fields: &mut Fields<'_>) -> Result<Family, Odd> {
    let text = fields.text("family")?;
    Family::from_name(text).ok_or_else(|| Odd(format!("unknown family {text:?}")))
}

fn place<'a>(fields: &mut Fields<'a>) -> Result<(Family, &'a str, &'a str), Odd> {
    Ok((family(fields)?, fields.text("table")?, fields.text("name")?))
}

fn handle(fields: &mut Fields<'_>) -> Result<Option<u64>, Odd> {
    let number = fields.take("handle").map(Json::int).transpose()?;
    Ok(number.and_then(|number| u64::try_from(number).ok()))
}

/// `{"nftables": [...]}`.
pub struct Document<'r, 's, F>(pub &'r mut Reader<'s, F>);

impl<'de, F: FnMut(Item)> DeserializeSeed<'de> for Document<'_, '_, F> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de, F: FnMut(Item)> Visitor<'de> for Document<'_, '_, F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with the one key \"nftables\"")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<(), A::Error> {
        let mut is_read = false;
        while let Some(key) = access.next_key::<String>()? {
            if key != "nftables" || is_read {
                return Err(A::Error::custom(format_args!("unexpected key {key:?}")));
            }
            access.next_value_seed(Elements(&mut *self.0))?;
            is_read = true;
        }
        if is_read { Ok(()) } else { Err(A::Error::custom("no key \"nftables\"")) }
    }
}

struct Elements<'r, 's, F>(&'r mut Reader<'s, F>);

impl<'de, F: FnMut(Item)> DeserializeSeed<'de> for Elements<'_, '_, F> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de, F: FnMut(Item)> Visitor<'de> for Elements<'_, '_, F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the list of rules and declarations")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<(), A::Error> {
        while let Some(json) = access.next_element::<Json>()? {
            self.0.element(&json);
        }
        Ok(())
    }
}
