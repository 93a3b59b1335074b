use super::*;
use crate::domain::rules::Family;
use crate::domain::rules::kernel::Hook;

fn chain(name: &str, handle: u64, uses: u32) -> Chain {
    let is_input = name == "INPUT";
    Chain {
        family: Family::Ip,
        table: b"filter".to_vec(),
        name: name.as_bytes().to_vec(),
        handle,
        hook: is_input.then(|| Hook { hooknum: 1, priority: 0, devices: Vec::new(), prefixes: Vec::new() }),
        chain_type: is_input.then(|| b"filter".to_vec()),
        policy: is_input.then_some(1),
        flags: u32::from(is_input),
        uses,
        rest: Vec::new(),
    }
}

fn table(uses: u32) -> Table {
    Table {
        family: Family::Ip,
        name: b"filter".to_vec(),
        flags: 0,
        owner: None,
        handle: 1,
        uses,
        rest: Vec::new(),
    }
}

fn shadow(chains: &[Chain]) -> Shadow {
    let mut shadow = Shadow::default();
    shadow.add_table(&table(0));
    chains.iter().for_each(|chain| shadow.add_chain(chain, Content::default()));
    shadow
}

/// Names of changed and gone chains; none if all must be read.
fn differ(before: &[Chain], after: &[Chain], touched: &[&str]) -> Option<(Vec<String>, Vec<String>)> {
    let uses = u32::try_from(after.len()).unwrap();
    let chains: Vec<&Chain> = after.iter().collect();
    let is_touched = |chain: &Chain| touched.iter().any(|name| name.as_bytes() == chain.name);
    let difference = shadow(before).compare(&[&table(uses)], &chains, is_touched)?;
    let name = |name: &[u8]| String::from_utf8_lossy(name).into_owned();
    let changed = difference.changed.iter().map(|chain| name(&chain.name)).collect();
    Some((changed, difference.gone.iter().map(|(_, chain)| name(chain)).collect()))
}

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[test]
fn touched_new_and_otherwise_used_chains_are_read_again() {
    let before = [chain("INPUT", 1, 0), chain("A", 2, 1), chain("B", 3, 0)];
    assert_eq!(differ(&before, &before, &[]), Some((names(&[]), names(&[]))));
    assert_eq!(differ(&before, &before, &["B"]), Some((names(&["B"]), names(&[]))));
    let after = [chain("INPUT", 1, 0), chain("A", 2, 2), chain("C", 4, 0)];
    assert_eq!(differ(&before, &after, &[]), Some((names(&["A", "C"]), names(&["B"]))));
    let again = [chain("INPUT", 1, 0), chain("A", 2, 1), chain("B", 9, 0)];
    assert_eq!(differ(&before, &again, &[]), Some((names(&["B"]), names(&[]))), "made again");
}

#[test]
fn a_policy_is_a_change_of_its_chain() {
    let before = [chain("INPUT", 1, 0)];
    let after = [Chain { policy: Some(0), ..chain("INPUT", 1, 0) }];
    assert_eq!(differ(&before, &after, &[]), Some((names(&["INPUT"]), names(&[]))));
}

#[test]
fn anything_but_iptables_needs_a_whole_read() {
    let before = [chain("INPUT", 1, 0), chain("A", 2, 0), chain("B", 3, 0)];
    for (what, after) in [
        ("renamed", [chain("INPUT", 1, 0), chain("A", 2, 0), chain("X", 3, 0)]),
        ("names exchanged", [chain("INPUT", 1, 0), chain("B", 2, 0), chain("A", 3, 0)]),
        ("a built-in chain gone", [chain("A", 2, 0), chain("B", 3, 0), chain("C", 4, 0)]),
        (
            "a hook",
            [before[0].clone(), before[1].clone(), Chain { name: b"B".to_vec(), ..chain("INPUT", 3, 0) }],
        ),
        ("no hook", [Chain { hook: None, ..before[0].clone() }, before[1].clone(), before[2].clone()]),
        ("a forged name", [before[0].clone(), before[1].clone(), chain("-x", 5, 0)]),
    ] {
        assert_eq!(differ(&before, &after, &[]), None, "{what}");
    }
    let chains: Vec<&Chain> = before.iter().collect();
    for (what, tables) in [
        ("a set", vec![table(4)]),
        ("dormant", vec![Table { flags: 1, ..table(3) }]),
        ("owned", vec![Table { owner: Some(1), ..table(3) }]),
        ("made again", vec![Table { handle: 2, ..table(3) }]),
        ("gone", vec![]),
        ("another", vec![table(3), Table { name: b"nat".to_vec(), ..table(0) }]),
    ] {
        let tables: Vec<&Table> = tables.iter().collect();
        assert!(shadow(&before).compare(&tables, &chains, |_| false).is_none(), "{what}");
    }
}

#[test]
fn rules_that_the_kernel_does_not_hand_over_are_missed() {
    let mut shadow = shadow(&[chain("INPUT", 1, 2), chain("A", 2, 1)]);
    assert!(!shadow.is_complete());
    shadow.add_chain(&chain("INPUT", 1, 2), Content { rules: 1, jumps: 1 });
    assert!(!shadow.is_complete(), "the rule of A is missing");
    shadow.add_chain(&chain("A", 2, 1), Content { rules: 1, jumps: 0 });
    assert!(shadow.is_complete());
    shadow.add_chain(&chain("A", 2, 1), Content { rules: 1, jumps: 1 });
    assert!(!shadow.is_complete(), "the kernel does not count the jump");
    shadow.remove_chain(b"filter", b"A");
    assert!(shadow.is_complete());
}
