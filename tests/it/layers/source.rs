//! A Rust file as far as the layers test needs it: which paths it names, where, and what is there for tests only.
//! Knows tokens, `use` trees and modules; no types, no macros, no configuration but `#[cfg(test)]`.

use std::collections::{BTreeMap, BTreeSet};

use super::tokens::{Kind, Token, tokens};

/// What one file says.
#[derive(Debug, Default)]
pub struct Source {
    /// Every path that ships: of `use` trees and of code.
    pub names: Vec<Name>,
    /// The lines with `unsafe`.
    pub unsafe_lines: Vec<usize>,
    /// Modules that are `#[cfg(test)] mod NAME;`, from the root of the crate.
    pub test_modules: Vec<Path>,
}

/// Segments from the root: `crate` first, or the name of another crate; the last of a glob is `*`.
pub type Path = Vec<String>;

/// A path and its line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    /// From 1.
    pub line: usize,
    /// The path.
    pub path: Path,
}

/// Reads a file that is this module; a crate's root is the empty path.
pub fn read(text: &str, module: &[&str]) -> Source {
    let mut reader = Reader { tokens: tokens(text), ..Reader::default() };
    reader.module.extend(module.iter().map(|part| (*part).to_owned()));
    let mut at = 0;
    while at < reader.tokens.len() {
        at = reader.item(at);
    }
    reader.finish()
}

#[derive(Default)]
struct Reader {
    tokens: Vec<Token>,
    module: Path,
    /// The depths of braces at which the inner modules began.
    inner: Vec<usize>,
    depth: usize,
    /// Each path as it stands, with the module that says it.
    said: Vec<(Name, Path)>,
    /// Names that `use` brings, by module: what they stand for.
    bound: BTreeMap<(Path, String), Name>,
    /// Modules that are declared here.
    declared: BTreeSet<Path>,
    unsafe_lines: Vec<usize>,
    test_modules: Vec<Path>,
}

impl Reader {
    fn is(&self, at: usize, text: &str) -> bool {
        self.tokens.get(at).is_some_and(|token| token.kind != Kind::Literal && token.text == text)
    }

    fn word(&self, at: usize) -> Option<&Token> {
        self.tokens.get(at).filter(|token| token.kind == Kind::Word)
    }

    /// Reads what begins here and returns where the next begins.
    fn item(&mut self, at: usize) -> usize {
        if let Some(end) = self.test_module(at) {
            return end;
        }
        let Some(token) = self.tokens.get(at).cloned() else { return at + 1 };
        match (token.kind, token.text.as_str()) {
            // `impl Trait + use<'a>` names nothing
            (Kind::Word, "use") if !self.is(at + 1, "<") => {
                let start = if self.is(at + 1, "::") { at + 2 } else { at + 1 };
                self.tree(start, &[]);
                at + 1 + self.tokens.iter().skip(at + 1).take_while(|token| token.text != ";").count()
            }
            (Kind::Word, "mod") => {
                if let Some(name) = self.word(at + 1).map(|name| name.text.clone()) {
                    self.declared.insert([&self.module[..], std::slice::from_ref(&name)].concat());
                    if self.is(at + 2, "{") {
                        self.module.push(name);
                        self.inner.push(self.depth);
                    }
                }
                at + 2
            }
            (Kind::Word, "extern") if self.is(at + 1, "crate") => {
                self.say(at + 2, &[]);
                at + 3
            }
            // who may see it, which names nothing
            (Kind::Word, "pub") if self.is(at + 1, "(") => self.closing(at + 1),
            (Kind::Word, "unsafe") => {
                self.unsafe_lines.push(token.line);
                at + 1
            }
            (Kind::Word, _) => self.path(at),
            (_, "{") => {
                self.depth += 1;
                at + 1
            }
            (_, "}") => {
                self.depth = self.depth.saturating_sub(1);
                if self.inner.last() == Some(&self.depth) {
                    self.inner.pop();
                    self.module.pop();
                }
                at + 1
            }
            _ => at + 1,
        }
    }

    /// The end of `#[cfg(test)] mod NAME { … }` or `#[cfg(test)] mod NAME;`, if that begins here.
    fn test_module(&mut self, at: usize) -> Option<usize> {
        let attribute = ["#", "[", "cfg", "(", "test", ")", "]"];
        if !attribute.iter().enumerate().all(|(index, text)| self.is(at + index, text)) {
            return None;
        }
        let mut at = at + attribute.len();
        while self.is(at, "#") {
            at = self.closing(at + 1);
        }
        if self.is(at, "pub") {
            at = if self.is(at + 1, "(") { self.closing(at + 1) } else { at + 1 };
        }
        if !self.is(at, "mod") {
            return None;
        }
        if self.is(at + 2, "{") {
            return Some(self.closing(at + 2));
        }
        let name = self.word(at + 1)?.text.clone();
        self.test_modules.push([&["crate".to_owned()], &self.module[..], &[name]].concat());
        Some(at + 3)
    }

    /// Behind the bracket that closes the one here.
    fn closing(&self, at: usize) -> usize {
        let mut depth = 0_usize;
        for (index, token) in self.tokens.iter().enumerate().skip(at) {
            match token.text.as_str() {
                "{" | "(" | "[" if token.kind == Kind::Mark => depth += 1,
                "}" | ")" | "]" if token.kind == Kind::Mark => depth = depth.saturating_sub(1),
                _ => {}
            }
            if depth == 0 {
                return index + 1;
            }
        }
        self.tokens.len()
    }

    /// Reads a tree of `use` whose paths begin with these segments; returns where it ends.
    fn tree(&mut self, mut at: usize, start: &[String]) -> usize {
        let mut path = start.to_vec();
        loop {
            let Some(token) = self.tokens.get(at).cloned() else { return at };
            match token.text.as_str() {
                "{" => {
                    at += 1;
                    while at < self.tokens.len() && !self.is(at, "}") {
                        let end = self.tree(at, &path);
                        // an end where nothing was read would never end
                        at = if self.is(end, ",") { end + 1 } else { end.max(at + 1) };
                    }
                    return at + 1;
                }
                "*" => {
                    path.push(token.text);
                    self.keep(Name { line: token.line, path });
                    return at + 1;
                }
                _ if token.kind == Kind::Word => {
                    // `{self, …}` is the module itself
                    if token.text != "self" || path.is_empty() {
                        path.push(token.text.clone());
                    }
                    at += 1;
                }
                _ => return at,
            }
            if self.is(at, "::") {
                at += 1;
                continue;
            }
            let renamed =
                self.is(at, "as").then(|| self.word(at + 1)).flatten().map(|name| name.text.clone());
            at += if renamed.is_some() { 2 } else { 0 };
            let name = Name { line: token.line, path };
            if let Some(binding) = renamed.or_else(|| name.path.last().cloned()) {
                self.bound.insert((self.module.clone(), binding), name.clone());
            }
            self.keep(name);
            return at;
        }
    }

    /// Reads a path of code; a lone word is none.
    fn path(&mut self, at: usize) -> usize {
        let mut end = at + 1;
        let mut path: Path = self.word(at).map(|word| word.text.clone()).into_iter().collect();
        while let (true, Some(word)) = (self.is(end, "::"), self.word(end + 1)) {
            path.push(word.text.clone());
            end += 2;
        }
        // what follows `>::` or a macro's `$name::` is of no module that could be told here
        let is_behind = at > 0 && self.is(at - 1, "::") && at > 1 && {
            let before = &self.tokens[at - 2];
            before.kind == Kind::Word || before.text == ">"
        };
        if path.len() > 1 && !is_behind {
            self.say(at, &path);
        }
        end
    }

    fn say(&mut self, at: usize, path: &[String]) {
        let Some(word) = self.word(at).cloned() else { return };
        let path = if path.is_empty() { vec![word.text] } else { path.to_vec() };
        self.keep(Name { line: word.line, path });
    }

    fn keep(&mut self, name: Name) {
        self.said.push((name, self.module.clone()));
    }

    fn finish(mut self) -> Source {
        let said = std::mem::take(&mut self.said);
        let names = said
            .iter()
            .map(|(name, module)| Name { line: name.line, path: self.absolute(&name.path, module, 8) });
        Source { names: names.collect(), unsafe_lines: self.unsafe_lines, test_modules: self.test_modules }
    }

    /// The path from a root; `steps` ends circles of names.
    fn absolute(&self, path: &[String], module: &[String], steps: usize) -> Path {
        let Some((first, rest)) = path.split_first() else { return Path::new() };
        let root = ["crate".to_owned()];
        match first.as_str() {
            "crate" => return path.to_vec(),
            "self" => return [&root, module, rest].concat(),
            "super" => {
                let up = module.len().saturating_sub(1);
                let above = &module[..up];
                return match rest.first().is_some_and(|next| next == "super") {
                    true => self.absolute(rest, above, steps),
                    false => [&root, above, rest].concat(),
                };
            }
            _ => {}
        }
        let here = [module, std::slice::from_ref(first)].concat();
        if self.declared.contains(&here) {
            return [&root, &here[..], rest].concat();
        }
        match self.bound.get(&(module.to_vec(), first.clone())) {
            Some(bound) if steps > 0 && bound.path[0] != *first => {
                [&self.absolute(&bound.path, module, steps - 1)[..], rest].concat()
            }
            _ => path.to_vec(),
        }
    }
}
