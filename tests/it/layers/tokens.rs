//! Rust text as words and marks; comments are gone, and literals cannot be taken for code.

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A name, a keyword or a number.
    Word,
    /// A string or a character; its text is empty.
    Literal,
    /// `::`, or one other character.
    Mark,
}

/// A word, a literal or a mark.
#[derive(Clone, Debug)]
pub struct Token {
    /// What it is.
    pub kind: Kind,
    /// As it stands; a raw name without its `r#`.
    pub text: String,
    /// From 1.
    pub line: usize,
}

/// All tokens of a file.
pub fn tokens(text: &str) -> Vec<Token> {
    let mut lexer = Lexer { text: text.chars().collect(), at: 0, line: 1 };
    let mut tokens = Vec::new();
    while let Some(token) = lexer.next() {
        tokens.push(token);
    }
    tokens
}

struct Lexer {
    text: Vec<char>,
    at: usize,
    line: usize,
}

impl Lexer {
    fn peek(&self, ahead: usize) -> char {
        self.text.get(self.at + ahead).copied().unwrap_or('\0')
    }

    fn step(&mut self) -> char {
        let found = self.peek(0);
        self.line += usize::from(found == '\n');
        self.at += 1;
        found
    }

    fn skip(&mut self, count: usize) {
        for _ in 0..count {
            self.step();
        }
    }

    fn is_over(&self) -> bool {
        self.at >= self.text.len()
    }

    fn next(&mut self) -> Option<Token> {
        self.skip_blanks();
        if self.is_over() {
            return None;
        }
        let line = self.line;
        let token = |kind, text: String| Some(Token { kind, text, line });
        let first = self.peek(0);
        if first.is_alphanumeric() || first == '_' {
            let word = self.word();
            return match self.is_literal_behind(&word) {
                true => token(Kind::Literal, String::new()),
                false => token(Kind::Word, word),
            };
        }
        match self.step() {
            '"' => {
                self.string();
                token(Kind::Literal, String::new())
            }
            '\'' if self.peek(0) == '\\' || self.peek(1) == '\'' => {
                self.character();
                token(Kind::Literal, String::new())
            }
            // a lifetime
            '\'' => {
                self.word();
                token(Kind::Literal, String::new())
            }
            ':' if self.peek(0) == ':' => {
                self.step();
                token(Kind::Mark, "::".to_owned())
            }
            other => token(Kind::Mark, other.to_string()),
        }
    }

    fn skip_blanks(&mut self) {
        while !self.is_over() {
            match (self.peek(0), self.peek(1)) {
                ('/', '/') => {
                    while !self.is_over() && self.peek(0) != '\n' {
                        self.step();
                    }
                }
                ('/', '*') => self.block_comment(),
                (blank, _) if blank.is_whitespace() => {
                    self.step();
                }
                _ => return,
            }
        }
    }

    /// Comments of this kind nest.
    fn block_comment(&mut self) {
        let mut depth = 0_usize;
        while !self.is_over() {
            match (self.step(), self.peek(0)) {
                ('/', '*') => depth += 1,
                ('*', '/') => depth -= 1,
                _ => continue,
            }
            self.step();
            if depth == 0 {
                return;
            }
        }
    }

    fn word(&mut self) -> String {
        let mut word = String::new();
        while self.peek(0).is_alphanumeric() || self.peek(0) == '_' {
            word.push(self.step());
        }
        if word == "r" && self.peek(0) == '#' && (self.peek(1).is_alphabetic() || self.peek(1) == '_') {
            self.step();
            return self.word();
        }
        word
    }

    /// Whether the word was a literal's prefix; if so, skips that literal.
    fn is_literal_behind(&mut self, word: &str) -> bool {
        match (word, self.peek(0)) {
            ("b" | "c", '"') => {
                self.step();
                self.string();
            }
            ("b", '\'') => {
                self.step();
                self.character();
            }
            ("r" | "br" | "cr", '"' | '#') => return self.is_raw_string(),
            _ => return false,
        }
        true
    }

    /// Behind the opening quote.
    fn string(&mut self) {
        while !self.is_over() {
            match self.step() {
                '\\' => {
                    self.step();
                }
                '"' => return,
                _ => {}
            }
        }
    }

    /// Behind the opening quote.
    fn character(&mut self) {
        while !self.is_over() {
            match self.step() {
                '\\' => {
                    self.step();
                }
                '\'' => return,
                _ => {}
            }
        }
    }

    fn is_raw_string(&mut self) -> bool {
        let hashes = (0..).take_while(|&ahead| self.peek(ahead) == '#').count();
        if self.peek(hashes) != '"' {
            return false;
        }
        self.skip(hashes + 1);
        while !self.is_over() {
            if self.step() == '"' && (0..hashes).all(|ahead| self.peek(ahead) == '#') {
                self.skip(hashes);
                return true;
            }
        }
        true
    }
}
