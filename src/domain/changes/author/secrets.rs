//! Hides what looks like a secret in a command line, before anybody is told of it.
//! A guess by names and forms: what calls itself otherwise stays.

/// What stands for a secret.
const HIDDEN: &str = "***";
/// What a name of a secret has somewhere.
const WITHIN: [&str; 12] = [
    "password",
    "passwd",
    "passphrase",
    "secret",
    "token",
    "apikey",
    "api-key",
    "api_key",
    "access-key",
    "access_key",
    "credential",
    "authorization",
];
/// What is one of the words of such a name, or the last two: `MYSQL_PWD`, `--client-key-data`.
const WORDS: [&str; 6] = ["pass", "pwd", "pw", "auth", "cookie", "bearer"];
const ENDINGS: [&str; 3] = ["key-data", "private-key", "private_key"];
/// Words of an HTTP header that a secret follows.
///
/// *Source*: RFC 9110, section 11.4.
const SCHEMES: [&str; 2] = ["bearer", "basic"];
/// Flags whose value is `USER:PASSWORD`.
///
/// *Source*: curl(1).
const USERS: [&str; 3] = ["-u", "--user", "--proxy-user"];
/// Programs whose flag `-p` is a password.
///
/// *Source*: sshpass(1), mysql(1), mariadb(1).
const CLIENTS: [&str; 3] = ["sshpass", "mysql", "mariadb"];
/// How tokens of well-known services begin, and those of RFC 7519.
const TOKENS: [&str; 10] =
    ["ghp_", "gho_", "ghs_", "github_pat_", "glpat-", "xoxb-", "xoxp-", "eyJ", "sk-", "sk_live_"];
/// No token is shorter.
const TOKEN_BYTES: usize = 16;

/// What the next word is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Next {
    Anything,
    /// A secret, if it is no flag.
    Secret,
    /// A user and perhaps a secret.
    User,
    /// More of a secret, up to this quotation mark.
    Rest(char),
}

struct Hider {
    shown: String,
    next: Next,
    is_client: bool,
}

/// The arguments, separated by spaces, with `***` in place of secrets: the value after `--token`, of `PASSWORD=`, in
/// `Authorization: Bearer …` and in `https://user:…@host`, also in a script that is one argument.
pub fn hide<'a>(arguments: impl Iterator<Item = &'a str>) -> String {
    let mut hider = Hider { shown: String::new(), next: Next::Anything, is_client: false };
    for (number, argument) in arguments.enumerate() {
        if number > 0 {
            hider.shown.push(' ');
        }
        // what was opened in one argument ends with it
        if matches!(hider.next, Next::Rest(_)) {
            hider.next = Next::Anything;
        }
        match hider.next {
            // one value, whatever spaces it has
            Next::Secret if !argument.starts_with('-') => {
                hider.shown.push_str(HIDDEN);
                hider.next = Next::Anything;
            }
            _ => argument.split_inclusive(char::is_whitespace).for_each(|piece| hider.take(piece)),
        }
    }
    hider.shown
}

impl Hider {
    fn take(&mut self, piece: &str) {
        let word = piece.trim_end_matches(char::is_whitespace);
        let space = piece.get(word.len()..).unwrap_or_default();
        if !word.is_empty() {
            self.take_word(word);
        }
        self.shown.push_str(space);
    }

    fn take_word(&mut self, word: &str) {
        let is_scheme = SCHEMES.contains(&bare(word).to_ascii_lowercase().as_str());
        match std::mem::replace(&mut self.next, Next::Anything) {
            Next::Rest(mark) if !word.ends_with(mark) => self.next = Next::Rest(mark),
            Next::Rest(_) => {}
            Next::Secret if !word.starts_with('-') && !is_scheme => {
                self.shown.push_str(HIDDEN);
                self.next = unclosed(word);
            }
            Next::User if word.contains(':') => {
                self.shown.push_str(word.split(':').next().unwrap_or_default());
                self.shown.push(':');
                self.shown.push_str(HIDDEN);
                self.next = unclosed(word);
            }
            _ => self.take_plain(word, is_scheme),
        }
    }

    fn take_plain(&mut self, word: &str, is_scheme: bool) {
        let program = word.rsplit('/').next().unwrap_or_default();
        self.is_client |= CLIENTS.iter().any(|client| program.starts_with(client));
        if self.is_client && word.starts_with("-p") && !word.starts_with("--") {
            self.shown.push_str("-p");
            match word.len() {
                2 => self.next = Next::Secret,
                _ => self.shown.push_str(HIDDEN),
            }
            return;
        }
        if let Some((shown, value)) = hidden(word) {
            self.shown.push_str(&shown);
            self.next = unclosed(value);
            return;
        }
        self.shown.push_str(word);
        self.next = match () {
            () if is_scheme || names_secret(word) => Next::Secret,
            () if USERS.contains(&word) => Next::User,
            () => Next::Anything,
        };
    }
}

/// What goes on after a word that opens a quotation and does not close it.
fn unclosed(value: &str) -> Next {
    match value.chars().next().filter(|mark| matches!(mark, '\'' | '"')) {
        Some(mark) if value.len() == 1 || !value.ends_with(mark) => Next::Rest(mark),
        _ => Next::Anything,
    }
}

/// Whether the next word is the value: `--token`, `Authorization:`, `password:`.
fn names_secret(word: &str) -> bool {
    let is_flag = word.starts_with('-') && !word.contains('=');
    let is_header = bare(word).ends_with(':');
    (is_flag || is_header) && is_secret(word)
}

/// A word that has a secret, without it; and the secret.
fn hidden(word: &str) -> Option<(String, &str)> {
    if let Some((scheme, rest)) = word.split_once("://")
        && let Some((user, host)) = rest.split_once('@')
        && let Some((name, _)) = user.split_once(':')
    {
        return Some((format!("{scheme}://{name}:{HIDDEN}@{host}"), ""));
    }
    for sign in ['=', ':'] {
        if let Some((name, value)) = word.split_once(sign)
            && is_secret(name)
            && !bare(value).is_empty()
        {
            return Some((format!("{name}{sign}{HIDDEN}"), value));
        }
    }
    let is_token = word.len() >= TOKEN_BYTES && TOKENS.iter().any(|token| bare(word).starts_with(token));
    is_token.then(|| (HIDDEN.to_owned(), ""))
}

fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let name = name.trim_matches(|c: char| !c.is_ascii_alphanumeric());
    WITHIN.iter().any(|part| name.contains(part))
        || ENDINGS.iter().any(|ending| name.ends_with(ending))
        || name.split(['-', '_', '.']).any(|word| WORDS.contains(&word))
}

fn bare(word: &str) -> &str {
    word.trim_matches(['\'', '"'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(arguments: &[&str], shown: &str) {
        assert_eq!(hide(arguments.iter().copied()), shown);
    }

    #[test]
    fn values_of_secrets_are_hidden() {
        check(&["agent", "--token", "a b", "--port", "80"], "agent --token *** --port 80");
        check(&["agent", "--token=abc", "-v"], "agent --token=*** -v");
        check(&["agent", "--token", "--port", "80"], "agent --token --port 80");
        check(&["env", "DB_PASSWORD=abc", "MYSQL_PWD=abc", "run"], "env DB_PASSWORD=*** MYSQL_PWD=*** run");
        check(&["x", "--pass", "a", "pass=a", "--auth=a:b"], "x --pass *** pass=*** --auth=***");
        check(&["kubectl", "--client-key-data", "abc"], "kubectl --client-key-data ***");
        check(
            &["curl", "-u", "me:abc", "https://me:abc@example.org/x"],
            "curl -u me:*** https://me:***@example.org/x",
        );
        check(&["curl", "-H", "X-Api-Key: abc", "x"], "curl -H X-Api-Key: *** x");
        check(&["/usr/bin/sshpass", "-p", "abc", "ssh"], "/usr/bin/sshpass -p *** ssh");
        check(&["mysql", "-pabc", "db"], "mysql -p*** db");
        check(&["x", "ghp_abcdefghijklmnop", "eyJhbGciOiJIUzI1NiJ9.a.b"], "x *** ***");
        check(&["x", "{\"password\":\"abc\"}"], "x {\"password\":***");
    }

    #[test]
    fn a_script_that_is_one_argument_is_looked_into() {
        check(&["sh", "-c", "export\tAPI_KEY=abc\n run"], "sh -c export\tAPI_KEY=***\n run");
        check(
            &["bash", "-c", "curl -H 'Authorization: Bearer abc' x"],
            "bash -c curl -H 'Authorization: Bearer *** x",
        );
        check(
            &["sh", "-c", "x --password \"a b c\" y; PASS='a b' z", "w"],
            "sh -c x --password ***   y; PASS=***  z w",
        );
    }

    #[test]
    fn everything_else_stays() {
        for line in [
            "iptables -A INPUT -p tcp -m tcp --dport 22 -m comment --comment a: b -j DROP",
            "nft add rule ip6 x y ip6 saddr fd00::1 accept",
            "sshd: admin@pts/0",
            "curl https://example.org/x@y -p 80 -u me",
            "/usr/bin/authselect author passage",
            "  two  spaces ",
            "",
        ] {
            check(&[line], line);
            check(&line.split(' ').collect::<Vec<_>>(), line);
        }
    }
}
