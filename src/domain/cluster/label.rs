//! What a label says about a verdict, and which of an object's labels have to change for it.
//! Talks to nobody: the objects' labels are arguments.

use std::collections::BTreeMap;

use crate::domain::verdict::Verdict;

/// The label that the older system's README names.
pub const DEFAULT_KEY: &str = "user-iptables-rules";

/// The label's value: whether the node has rules of a user. Who selects `false` can trust it.
pub const fn value(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Compliant => "false",
        Verdict::Violations => "true",
        Verdict::Unknown => "unknown",
    }
}

/// Those of our keys that do not hold this value.
pub fn differing<'a>(held: &BTreeMap<String, String>, keys: &'a [String], value: &str) -> Vec<&'a str> {
    keys.iter().map(String::as_str).filter(|key| held.get(*key).map(String::as_str) != Some(value)).collect()
}

/// Whether the API server takes this as the key of a label.
///
/// *Source*: Kubernetes documentation, "Labels and Selectors", "Syntax and character set".
pub fn is_valid_key(key: &str) -> bool {
    match key.split_once('/') {
        Some((prefix, name)) => is_valid_prefix(prefix) && is_valid_name(name),
        None => is_valid_name(key),
    }
}

/// Whether Kubernetes keeps the key for itself: the scheduler and the kubelet read such labels.
///
/// *Source*: Kubernetes documentation, "Labels and Selectors": the prefixes `kubernetes.io/` and `k8s.io/` are reserved.
pub fn is_reserved_key(key: &str) -> bool {
    let prefix = key.split_once('/').map_or("", |(prefix, _)| prefix);
    ["kubernetes.io", "k8s.io"]
        .iter()
        .any(|own| prefix.strip_suffix(own).is_some_and(|rest| rest.is_empty() || rest.ends_with('.')))
}

fn is_valid_name(name: &str) -> bool {
    let is_edge = |character: Option<char>| character.is_some_and(|c| c.is_ascii_alphanumeric());
    name.len() <= 63
        && is_edge(name.chars().next())
        && is_edge(name.chars().next_back())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
}

fn is_valid_prefix(prefix: &str) -> bool {
    let is_label = |label: &str| {
        is_valid_name(label)
            && label.chars().all(|c| c == '-' || c.is_ascii_lowercase() || c.is_ascii_digit())
    };
    prefix.len() <= 253 && prefix.split('.').all(is_label)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_kubernetes_itself_are_reserved() {
        for key in ["kubernetes.io/hostname", "node-role.kubernetes.io/worker", "topology.k8s.io/zone"] {
            assert!(is_reserved_key(key), "{key}");
        }
        for key in ["user-iptables-rules", "kubernetes.azure.com/user-iptables-rules", "mykubernetes.io/x"] {
            assert!(!is_reserved_key(key), "{key}");
        }
    }

    #[test]
    fn the_three_verdicts_have_three_values() {
        assert_eq!(value(Verdict::Compliant), "false");
        assert_eq!(value(Verdict::Violations), "true");
        assert_eq!(value(Verdict::Unknown), "unknown");
    }

    #[test]
    fn only_keys_that_differ_are_named() {
        let held = BTreeMap::from(
            [("a", "true"), ("b", "false"), ("other", "x")].map(|(k, v)| (k.into(), v.into())),
        );
        let keys = ["a", "b", "c"].map(String::from);
        assert_eq!(differing(&held, &keys, "true"), ["b", "c"]);
        assert!(differing(&held, &keys[..1], "true").is_empty());
    }

    #[test]
    fn keys_follow_the_syntax_of_labels() {
        for key in ["user-iptables-rules", "kubernetes.azure.com/user-iptables-rules", "a", "A_b.c", "a1/b"] {
            assert!(is_valid_key(key), "{key}");
        }
        let long = "x".repeat(64);
        for key in
            ["", "/a", "a/", "a/b/c", "-a", "a-", "a b", "a\"b", "\u{e4}", "A.b/c", "a_b/c", "a..b/c", &long]
        {
            assert!(!is_valid_key(key), "{key}");
        }
    }
}
