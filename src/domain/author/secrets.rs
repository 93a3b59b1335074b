//! Hides what looks like a secret in a command line, before anybody is told of it.
//! A guess by names: what calls itself otherwise stays.

/// What stands for a secret.
const HIDDEN: &str = "***";
/// Parts of names whose values are secrets.
const NAMES: [&str; 11] = [
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
];
/// Words of an HTTP header that a secret follows.
///
/// *Source*: RFC 9110, section 11.4.
const SCHEMES: [&str; 2] = ["bearer", "basic"];

/// The command line with `***` in place of values of secrets: `--token X`, `PASSWORD=X`, `Authorization: Bearer X` and
/// `https://user:X@host`, also within a script that is one argument.
pub fn hide(command_line: &str) -> String {
    let mut shown = String::with_capacity(command_line.len());
    let mut is_next = false;
    for piece in command_line.split_inclusive(char::is_whitespace) {
        let word = piece.trim_end_matches(char::is_whitespace);
        let space = piece.get(word.len()..).unwrap_or_default();
        let is_scheme = SCHEMES.contains(&bare(word).to_ascii_lowercase().as_str());
        match () {
            () if word.is_empty() => {}
            () if is_scheme => {
                shown.push_str(word);
                is_next = true;
            }
            () if is_next && !word.starts_with('-') => {
                shown.push_str(HIDDEN);
                is_next = false;
            }
            () => {
                shown.push_str(&hide_word(word));
                is_next = names_secret(word);
            }
        }
        shown.push_str(space);
    }
    shown
}

/// Whether the next word is the value: `--token`, `Authorization:`, `password:`.
fn names_secret(word: &str) -> bool {
    let is_flag = word.starts_with('-') && !word.contains('=');
    let is_header = bare(word).ends_with(':');
    (is_flag || is_header) && is_secret(word)
}

fn hide_word(word: &str) -> String {
    if let Some((scheme, rest)) = word.split_once("://")
        && let Some((user, host)) = rest.split_once('@')
        && let Some((name, _)) = user.split_once(':')
    {
        return format!("{scheme}://{name}:{HIDDEN}@{host}");
    }
    for sign in ['=', ':'] {
        if let Some((name, value)) = word.split_once(sign)
            && is_secret(name)
            && !bare(value).is_empty()
        {
            return format!("{name}{sign}{HIDDEN}");
        }
    }
    word.to_owned()
}

fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    name.contains("authorization") || NAMES.iter().any(|part| name.contains(part))
}

fn bare(word: &str) -> &str {
    word.trim_matches(['\'', '"'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(command_line: &str, shown: &str) {
        assert_eq!(hide(command_line), shown);
    }

    #[test]
    fn values_of_secrets_are_hidden() {
        check("agent --token abc --port 80", "agent --token *** --port 80");
        check("agent --token=abc -v", "agent --token=*** -v");
        check("agent --token --port 80", "agent --token --port 80");
        check("env DB_PASSWORD=abc run", "env DB_PASSWORD=*** run");
        check(
            "bash -c curl -H 'Authorization: Bearer abc' x",
            "bash -c curl -H 'Authorization: Bearer *** x",
        );
        check("curl -H 'X-Api-Key: abc' x", "curl -H 'X-Api-Key: *** x");
        check("curl https://me:abc@example.org/x", "curl https://me:***@example.org/x");
        check("sh -c export\tAPI_KEY=abc\n run", "sh -c export\tAPI_KEY=***\n run");
        check("x \"password\":\"abc\"", "x \"password\":***");
    }

    #[test]
    fn everything_else_stays() {
        for line in [
            "iptables -A INPUT -p tcp -m tcp --dport 22 -m comment --comment a: b -j DROP",
            "nft add rule ip6 x y ip6 saddr fd00::1 accept",
            "sshd: admin@pts/0",
            "curl https://example.org/x@y",
            "  two  spaces ",
            "",
        ] {
            check(line, line);
        }
    }
}
