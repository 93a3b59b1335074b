//! Steps of a keeper with an object that others change too.
//! Uses no clock: time is a number that grows.

use std::time::{Duration, SystemTime};

use proptest::prelude::*;

use super::*;
use crate::domain::cluster::contest::CALM;
use crate::domain::cluster::freshness::PERIOD;
use crate::domain::cluster::tests::{report, start};
use crate::domain::rules::Reason;

const KEY: &str = "k";
const SECOND: Duration = Duration::from_secs(1);

/// The object and its watch.
struct World {
    start: Instant,
    now: Instant,
    keeper: Keeper,
    object: Option<Held>,
    is_watched: bool,
    may_look: bool,
    version: u64,
    looks: usize,
    writes: Vec<Patch>,
    restores: usize,
    fights: usize,
    ends: usize,
}

impl World {
    fn new(is_watched: bool, may_look: bool) -> Self {
        let now = start();
        let mut world = Self {
            start: now,
            now,
            keeper: Keeper::new(&[KEY.to_owned()]),
            object: Some(Held { version: Some(1), ..Held::default() }),
            is_watched,
            may_look,
            version: 1,
            looks: 0,
            writes: Vec::new(),
            restores: 0,
            fights: 0,
            ends: 0,
        };
        world.show();
        world
    }

    fn show(&mut self) {
        if self.is_watched {
            self.keeper.watched(self.object.clone());
        }
    }

    fn report(&mut self, lines: &[&str], problems: &[(Reason, &str)]) {
        let mut report = report(lines, problems);
        report.checked_at = SystemTime::UNIX_EPOCH + self.now.duration_since(self.start);
        self.keeper.observe(&report);
        self.settle();
    }

    /// Somebody replaces the labels and the annotations.
    fn overwrite(&mut self, value: Option<&str>) {
        self.version += 1;
        let labels = value.map(|value| (KEY.to_owned(), value.to_owned())).into_iter().collect();
        self.object = Some(Held { version: Some(self.version), labels, check: None });
        self.show();
        self.settle();
    }

    /// Does what is to be done, until there is nothing but to wait.
    fn settle(&mut self) -> Option<Instant> {
        for _ in 0..10 {
            let step = match self.keeper.next(self.now) {
                Step::Look if self.may_look => {
                    self.looks += 1;
                    self.keeper.found(&self.object.clone().unwrap(), self.now)
                }
                Step::Look => self.keeper.unseen(),
                step => step,
            };
            match step {
                Step::Rest(until) => return until,
                Step::Calm => self.ends += 1,
                Step::Look => panic!("nothing comes of looking"),
                Step::Write(patch) => self.write(patch),
            }
        }
        panic!("it never rests: {:?}", self.keeper)
    }

    fn write(&mut self, patch: Patch) {
        let held = self.object.as_mut().unwrap();
        self.version += 1;
        held.version = Some(self.version);
        held.labels.extend(patch.labels.iter().map(|key| (key.clone(), patch.value.to_owned())));
        held.check = patch.check.clone().or(held.check.take());
        let wrote = self.keeper.wrote(&patch, held.clone(), self.now);
        self.restores += usize::from(wrote.is_restore);
        self.fights += usize::from(wrote.is_fight);
        self.writes.push(patch);
    }

    /// Lets time pass, with the keeper's own timer.
    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(until) = self.settle().filter(|until| *until <= end) {
            assert!(until > self.now, "{:?}", self.keeper);
            self.now = until;
        }
        self.now = end;
        self.settle();
    }

    fn label(&self) -> Option<&str> {
        self.object.as_ref()?.labels.get(KEY).map(String::as_str)
    }
}

#[test]
fn an_unchanged_node_costs_one_write_and_with_a_watch_no_look() {
    for (is_watched, looks) in [(true, 0), (false, 9)] {
        let mut world = World::new(is_watched, true);
        for _ in 0..9 {
            world.report(&["x"], &[]);
            world.pass(SECOND);
        }
        assert_eq!((world.writes.len(), world.looks, world.label()), (1, looks, Some("true")));
        assert!(world.writes[0].check.is_some(), "the first write tells of the check, too");
    }
}

#[test]
fn who_may_not_look_writes_with_each_report() {
    let mut world = World::new(false, false);
    (0..3).for_each(|_| world.report(&[], &[]));
    assert_eq!((world.writes.len(), world.restores), (3, 0));
    assert_eq!(world.writes.iter().filter(|patch| patch.check.is_some()).count(), 1);
}

#[test]
fn the_check_is_written_every_ten_minutes_and_only_while_checks_are_complete() {
    let mut world = World::new(true, true);
    for _ in 0..60 {
        world.report(&[], &[]);
        world.pass(SECOND * 60);
    }
    assert_eq!(world.writes.len(), 6);
    assert!(world.writes[1..].iter().all(|patch| patch.labels.is_empty() && patch.check.is_some()));
    for _ in 0..60 {
        world.report(&[], &[(Reason::DumpTimeout, "x")]);
        world.pass(SECOND * 60);
    }
    assert_eq!((world.writes.len(), world.label()), (7, Some("unknown")));
}

#[test]
fn what_somebody_overwrites_is_restored_at_once() {
    let mut world = World::new(true, true);
    world.overwrite(Some("true"));
    assert!(world.writes.is_empty(), "nobody knows the verdict yet");
    world.report(&[], &[]);
    for theirs in [None, Some("true"), Some("x")] {
        world.pass(SECOND * 20);
        world.overwrite(theirs);
        assert_eq!(world.label(), Some("false"));
        assert!(world.object.as_ref().unwrap().check.is_some(), "what else was lost comes along");
    }
    assert_eq!((world.writes.len(), world.restores, world.looks), (4, 3, 0));
}

#[test]
fn an_echo_of_what_was_there_before_our_write_is_not_believed() {
    let mut world = World::new(true, true);
    world.report(&[], &[]);
    let late = Held { version: Some(1), ..Held::default() };
    world.keeper.watched(Some(late.clone()));
    world.settle();
    assert_eq!(world.writes.len(), 1);
    // after a new start of the watch, whatever it shows is the truth: the API server may have been restored from a backup
    world.keeper.watched(None);
    world.keeper.watched(Some(late));
    world.settle();
    assert_eq!((world.writes.len(), world.restores), (2, 1));
}

#[test]
fn a_watch_that_begins_late_restores_nothing() {
    let mut world = World::new(false, true);
    let before = world.object.clone();
    world.report(&[], &[]);
    for shown in [before, world.object.clone()] {
        world.keeper.watched(shown);
        world.settle();
    }
    assert_eq!((world.writes.len(), world.restores), (1, 0));
}

#[test]
fn an_object_that_is_made_anew_gets_its_label() {
    let mut world = World::new(true, true);
    world.report(&[], &[]);
    world.object = None;
    world.show();
    assert_eq!(world.settle(), None, "there is nothing to label");
    world.overwrite(None);
    assert_eq!((world.label(), world.restores), (Some("false"), 1));
}

#[test]
fn a_fight_is_told_once_backs_off_and_ends() {
    let mut world = World::new(true, true);
    world.report(&[], &[]);
    let mut right = 0;
    for _ in 0..60 {
        world.pass(SECOND);
        world.overwrite(None);
        right += u32::from(world.label().is_some());
    }
    assert_eq!((world.fights, world.ends), (1, 0));
    assert!((11..25).contains(&world.restores), "{}", world.restores);
    assert!(right >= 11, "{right}");
    world.report(&[], &[]);
    assert_eq!(world.label(), None, "a report that is no news does not cut the pause short");
    world.pass(SECOND * 5);
    assert_eq!(world.label(), Some("false"));
    world.pass(CALM);
    assert_eq!((world.fights, world.ends), (1, 1));
    world.overwrite(None);
    assert_eq!(world.label(), Some("false"));
}

#[test]
fn news_and_the_end_wait_for_no_fight() {
    let mut world = World::new(true, true);
    world.report(&[], &[]);
    (0..20).for_each(|_| world.overwrite(None));
    assert_eq!((world.fights, world.label()), (1, None));
    world.report(&["x"], &[]);
    assert_eq!(world.label(), Some("true"));
    world.overwrite(None);
    assert_eq!(world.label(), None);
    world.keeper.leave();
    world.settle();
    assert_eq!(world.label(), Some("unknown"));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_others_do_it_comes_to_rest_right_and_within_its_limits(
        steps in prop::collection::vec((0..6_u8, 0..400_u64), 1..200),
        is_watched: bool,
    ) {
        let mut world = World::new(is_watched, true);
        world.report(&[], &[]);
        let (mut news, mut last) = (1, "false");
        for (what, seconds) in steps {
            world.pass(SECOND * u32::try_from(seconds).unwrap());
            match what {
                0 => world.report(&[], &[]),
                1 => world.report(&["x"], &[]),
                2 => world.report(&[], &[(Reason::TornRead, "x")]),
                3 => world.overwrite(Some("x")),
                _ => world.overwrite(None),
            }
            let value = world.keeper.wanted.unwrap();
            news += usize::from(value != std::mem::replace(&mut last, value));
        }
        world.report(&[], &[]);
        news += usize::from(last != "false");
        world.pass(SECOND * 301);
        prop_assert_eq!(world.label(), Some("false"));
        let took = world.now.duration_since(world.start).as_secs();
        let refreshes = usize::try_from(took / PERIOD.as_secs()).unwrap() + 1;
        prop_assert!(world.writes.len() <= world.restores + news + refreshes, "{:?}", world.writes);
    }
}
