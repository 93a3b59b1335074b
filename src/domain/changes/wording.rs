//! Who is said to have changed a rule, and since when, in words.
//! Every name of a process is its own choice: it is escaped and cut here, and is a hint and no proof.

use std::sync::Arc;

use super::Provenance;
use super::author::{Author, PodHint};
use crate::domain::words::cut::to_characters;
use crate::domain::words::escape;
use crate::domain::words::moment::utc;

/// Characters of a name, a path or an id.
const NAME_CHARACTERS: usize = 100;
/// Characters of a command line.
const COMMAND_CHARACTERS: usize = 200;
/// Processes that are named among those that started another.
const PARENTS: usize = 8;
/// Where there is little room: processes named in a row, and authors.
const FEW: usize = 3;

/// Since when a violation stands: "since 2026-11-21T10:16:24Z".
pub fn since(provenance: &Provenance) -> String {
    let seen = utc(provenance.first_seen);
    if provenance.is_older {
        format!("since {seen} or longer: it was there at the first look")
    } else {
        format!("since {seen}")
    }
}

/// A process and who started it: "iptables (pid 71, /usr/sbin/xtables-nft-multi), started by bash (70), sshd (1), in pod
/// default/web".
pub fn author(author: &Author) -> String {
    let executable = author.executable.as_ref().map(|path| format!(", {}", shown_path(path)));
    let mut text = format!("{} (pid {}{})", shown(&author.name), author.pid, executable.unwrap_or_default());
    let parents =
        author.parents.iter().take(PARENTS).map(|parent| format!("{} ({})", shown(&parent.name), parent.pid));
    let parents = parents.collect::<Vec<_>>().join(", ");
    if !parents.is_empty() {
        text.push_str(", started by ");
        text.push_str(&parents);
        text.push_str(&more(author.parents.len(), PARENTS));
    }
    match (&author.pod, &author.container) {
        (Some(hint), _) => text.push_str(&format!(", in pod {}", pod(hint))),
        (None, Some(container)) => text.push_str(&format!(", in container {}", shown(container))),
        (None, None) => {}
    }
    text
}

/// The command line of a process, cut: "iptables -A INPUT -j DROP".
pub fn command_line(author: &Author) -> Option<String> {
    author
        .command_line
        .as_ref()
        .map(|command| escape::line(to_characters(command, COMMAND_CHARACTERS).as_bytes()).text.into_owned())
}

/// Authors where there is little room: "iptables < bash < sshd, pod default/web; or kube-proxy". Empty if there are none.
pub fn compact_authors(authors: &[Arc<Author>]) -> String {
    let mut named: Vec<String> = Vec::new();
    for author in authors {
        let text = compact(author);
        if !named.contains(&text) {
            named.push(text);
        }
    }
    let others = more(named.len(), FEW);
    named.truncate(FEW);
    named.join("; or ") + &others
}

fn compact(author: &Author) -> String {
    let names = [&author.name].into_iter().chain(author.parents.iter().map(|parent| &parent.name));
    let mut text = names.take(FEW + 1).map(|name| shown(name)).collect::<Vec<_>>().join(" < ");
    if author.parents.len() > FEW {
        text.push_str(" < ...");
    }
    if let Some(hint) = &author.pod {
        text.push_str(&format!(", pod {}", pod(hint)));
    }
    text
}

fn pod(hint: &PodHint) -> String {
    match &hint.name {
        Some((namespace, name)) => format!("{}/{}", shown(namespace), shown(name)),
        None => format!("with uid {}", shown(&hint.uid)),
    }
}

fn more(count: usize, named: usize) -> String {
    if count > named { format!(" and {} more", count - named) } else { String::new() }
}

fn shown(name: &str) -> String {
    escape::name(&to_characters(name, NAME_CHARACTERS))
}

/// A path stands without quotes if each of its names does.
fn shown_path(path: &str) -> String {
    let path = to_characters(path, NAME_CHARACTERS);
    let is_plain = path.split('/').all(|name| name.is_empty() || escape::name(name) == name);
    if is_plain && !path.is_empty() { path } else { escape::name(&path) }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::*;
    use crate::domain::changes::author::Ancestor;

    fn made(name: &str, parents: &[(&str, u32)]) -> Author {
        let parent =
            |(name, pid): &(&str, u32)| Ancestor { pid: *pid, name: (*name).into(), command_line: None };
        Author {
            pid: 71,
            name: name.into(),
            executable: None,
            command_line: None,
            parents: parents.iter().map(parent).collect(),
            container: None,
            pod: None,
        }
    }

    #[test]
    fn an_author_is_named_with_what_is_known() {
        let bare = made("iptables", &[]);
        assert_eq!(author(&bare), "iptables (pid 71)");
        let contained = Author { container: Some("0123abc".into()), ..bare };
        assert_eq!(author(&contained), "iptables (pid 71), in container 0123abc");
        let whole = Author {
            executable: Some("/usr/sbin/xtables-nft-multi".into()),
            pod: Some(PodHint { uid: "u-1".into(), name: Some(("default".into(), "web".into())) }),
            ..made("iptables", &[("bash", 70), ("sshd", 1)])
        };
        assert_eq!(
            author(&whole),
            "iptables (pid 71, /usr/sbin/xtables-nft-multi), started by bash (70), sshd (1), in pod default/web"
        );
    }

    #[test]
    fn little_room_has_the_names_alone() {
        let hint = PodHint { uid: "u-1".into(), name: None };
        let first = Arc::new(Author { pod: Some(hint), ..made("iptables", &[("bash", 70), ("sshd", 1)]) });
        let other = Arc::new(made("kube-proxy", &[("a", 4), ("b", 3), ("c", 2), ("d", 1)]));
        let many: Vec<_> = (0..5).map(|number| Arc::new(made(&number.to_string(), &[]))).collect();
        assert_eq!(compact_authors(&[]), "");
        assert_eq!(
            compact_authors(&[first.clone(), other, first]),
            "iptables < bash < sshd, pod with uid u-1; or kube-proxy < a < b < c < ..."
        );
        assert_eq!(compact_authors(&many), "0; or 1; or 2 and 2 more");
    }

    #[test]
    fn hostile_names_stay_names() {
        let hostile = Author {
            executable: Some("/tmp/a b\u{202e}\n(deleted)".into()),
            command_line: Some("x\x1b[2J\"'<b>".repeat(1000)),
            ..made("a\n), started by sshd (1", &[("\x1b[2J", 1)])
        };
        assert_eq!(
            author(&hostile),
            r#""a\n), started by sshd (1" (pid 71, "/tmp/a b\x{202e}\n(deleted)"), started by "\x{1b}[2J" (1)"#
        );
        let command = command_line(&hostile).unwrap_or_default();
        assert!(command.starts_with(r#"x\x{1b}[2J"'<b>x"#) && command.ends_with("..."), "{command}");
        assert!(command.len() < 5 * COMMAND_CHARACTERS);
        let long = made(&"n".repeat(5_000), &[]);
        assert!(author(&long).len() < NAME_CHARACTERS + 30 && compact(&long).len() < NAME_CHARACTERS + 10);
    }

    #[test]
    fn since_when_says_whether_it_may_be_longer() {
        let first_seen = SystemTime::UNIX_EPOCH + Duration::from_secs(1);
        let told = |is_older| since(&Provenance { first_seen, is_older, authors: Vec::new() });
        assert_eq!(told(false), "since 1970-01-01T00:00:01Z");
        assert_eq!(told(true), "since 1970-01-01T00:00:01Z or longer: it was there at the first look");
    }
}
