//! The names of both sides of a packet, bounded in number: they become labels of metrics.
//! Looks nobody up.

use std::collections::HashSet;

/// Pairs that are told apart; the rest share one.
pub const PAIRS_MAX: usize = 1000;
/// Those of them with a side outside the cluster. Whoever makes up addresses makes ever new ones.
pub const STRANGERS_MAX: usize = 500;
/// What stands for all other pairs.
pub const OTHER: &str = "other";

/// A side of a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    /// Its name, or its address.
    pub name: String,
    /// The class of its address, if it is not of the cluster.
    pub stranger: Option<&'static str>,
}

/// Both names, the sender's first.
pub type Pair = (String, String);

/// The pairs that have been seen.
#[derive(Debug, Default)]
pub struct Pairs {
    known: HashSet<Pair>,
    strangers: usize,
}

impl Pairs {
    /// What the pair is called: by both names while there is room, then strangers by the class of their address, then
    /// [`OTHER`].
    pub fn name(&mut self, src: Name, dst: Name) -> Pair {
        let is_strange = src.stranger.is_some() || dst.stranger.is_some();
        let blurred = is_strange.then(|| (class(&src), class(&dst)));
        let pair = (src.name, dst.name);
        if self.known.contains(&pair) {
            return pair;
        }
        if !is_strange || self.strangers < STRANGERS_MAX {
            self.strangers += usize::from(is_strange);
            return self.take(pair);
        }
        self.take(blurred.unwrap_or(pair))
    }

    fn take(&mut self, pair: Pair) -> Pair {
        if self.known.contains(&pair) || (self.known.len() < PAIRS_MAX && self.known.insert(pair.clone())) {
            pair
        } else {
            (OTHER.to_owned(), OTHER.to_owned())
        }
    }
}

fn class(name: &Name) -> String {
    name.stranger.map_or_else(|| name.name.clone(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(name: &str) -> Name {
        Name { name: name.to_owned(), stranger: None }
    }

    fn stranger(name: &str) -> Name {
        Name { name: name.to_owned(), stranger: Some("public") }
    }

    #[track_caller]
    fn check(pairs: &mut Pairs, src: Name, dst: Name, expected: (&str, &str)) {
        let (src, dst) = pairs.name(src, dst);
        assert_eq!((src.as_str(), dst.as_str()), expected);
    }

    #[test]
    fn strangers_leave_room_for_the_cluster() {
        let mut pairs = Pairs::default();
        for number in 0..STRANGERS_MAX {
            let name = format!("198.51.100.{number}");
            check(&mut pairs, stranger(&name), known("shop"), (&name, "shop"));
        }
        check(&mut pairs, stranger("198.51.100.0"), known("shop"), ("198.51.100.0", "shop"));
        check(&mut pairs, stranger("192.0.2.1"), known("shop"), ("public", "shop"));
        check(&mut pairs, known("shop"), stranger("192.0.2.1"), ("shop", "public"));
        check(&mut pairs, stranger("192.0.2.1"), stranger("192.0.2.2"), ("public", "public"));
        check(&mut pairs, known("shop"), known("db"), ("shop", "db"));
    }

    #[test]
    fn all_are_bounded() {
        let mut pairs = Pairs::default();
        for number in 0..PAIRS_MAX {
            let name = number.to_string();
            check(&mut pairs, known(&name), known("db"), (&name, "db"));
        }
        check(&mut pairs, known("more"), known("db"), (OTHER, OTHER));
        check(&mut pairs, stranger("192.0.2.1"), known("db"), (OTHER, OTHER));
        check(&mut pairs, known("7"), known("db"), ("7", "db"));
    }
}
