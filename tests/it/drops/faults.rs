//! Events about drops while the API server fails: with a fake, as no real one fails on demand.
//! That the Events are right is tested with a real one.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::json;

use super::program::{LIMIT, Program};
use super::world::{TENANT, World, ip};
use crate::support::fake::Fault;
use crate::support::{MONITOR, wait_until};

fn status(code: u16, header: &'static str) -> Fault {
    Fault::Status(code, header, json!({"kind": "Status", "message": "no"}).to_string())
}

#[test]
fn every_kind_is_told_once_through_refusals_and_an_outage() {
    const WISH: Duration = Duration::from_secs(2);
    let faults = [status(429, "retry-after: 2"), status(500, ""), Fault::Hangup, status(503, "")];
    let world = World::new(&faults);
    let mut program = world.start(100);
    world.log(0..10);
    world.wait_for_events(10);
    let tries = world.events("POST");
    assert!(tries.len() >= 10 + faults.len() && !tries[..faults.len()].iter().any(|seen| seen.is_well));
    assert!(tries[1].at - tries[0].at >= WISH, "{tries:#?}");

    world.fake.leave(&world.netns);
    (0..4).for_each(|_| world.log(10..20));
    world.wait_for_lines(50);
    wait_until("the outage is noticed", LIMIT, || program.output().contains("reason=unreachable"));
    assert_eq!(world.taken(), 10);
    world.fake.come_back(&world.netns);
    world.log(20..30);
    world.wait_for_events(30);
    let (lines, shed) = (world.lines(), world.shed());
    assert_eq!(
        [lines.of_fate("reported"), lines.of_fate("folded"), lines.of_fate("shed"), shed],
        [30, 30, 0, 0]
    );
    for (kind, (names, taken)) in world.told() {
        assert_eq!((names.len(), taken), (1, 1), "{kind}: {names:?}");
    }
    assert_eq!(program.stop(), Some(0), "{}", program.output());
    let raised = world.events("PATCH");
    assert_eq!(raised.len(), 10, "the repeats of each kind are told at the end: {raised:#?}");
    assert!(raised.iter().all(|seen| seen.is_well && seen.body["count"] == 4), "{raised:#?}");
}

#[test]
fn what_finds_no_room_in_an_outage_is_counted() {
    const QUEUE: u16 = 10;
    const KINDS: u16 = 200;
    let world = World::new(&[]);
    let mut program = world.start(QUEUE);
    world.log(0..1);
    world.wait_for_events(1);
    world.fake.leave(&world.netns);
    for first in (1..KINDS).step_by(50) {
        world.log(first..KINDS.min(first + 50));
    }
    world.wait_for_lines(u64::from(KINDS));
    wait_until("all are told or shed", LIMIT, || world.lines().of_fate("reported") == u64::from(KINDS));
    let shed = world.shed();
    // one may be on its way
    let room = u64::from(KINDS - 1 - QUEUE);
    assert!(shed == room || shed == room - 1, "{shed} of {KINDS}");
    world.fake.come_back(&world.netns);
    world.wait_for_events(usize::from(KINDS) - usize::try_from(shed).unwrap());
    assert_eq!(program.stop(), Some(0), "{}", program.output());
    assert_eq!(world.taken() as u64 + shed, u64::from(KINDS), "{:?}", world.told());
}

#[test]
fn a_kill_in_an_outage_leaves_nothing_untold() {
    let world = World::new(&[]);
    let mut program = world.start(100);
    world.log(0..10);
    world.wait_for_events(10);
    let saved = || std::fs::read_to_string(world.path("state/drops.json")).unwrap_or_default();
    let length = std::fs::metadata(&world.log.0).unwrap().len();
    wait_until("its checkpoint is behind them", LIMIT, || saved().contains(&format!("\"offset\":{length},")));
    world.fake.leave(&world.netns);
    world.log(10..30);
    world.wait_for_lines(30);
    program.child.kill().unwrap();
    program.child.wait().unwrap();
    world.fake.come_back(&world.netns);
    let mut again = world.start(100);
    world.wait_for_events(30);
    assert_eq!(again.stop(), Some(0), "{}", again.output());
    let told = world.told();
    assert!(told.keys().copied().eq(0..30), "{told:?}");
    assert!(told.values().all(|(_, taken)| *taken == 1), "{told:?}");
}

/// The limit of Events about one pod is used up by packets whose senders anybody can make up.
#[test]
fn made_up_addresses_hide_no_drop_between_pods() {
    let world = World::new(&[]);
    let mut program = world.start(100);
    let made_up = (0..2000).map(|number| (format!("203.0.{}.{}", number / 250, number % 250), 443));
    world.log_to_pod(0, made_up);
    world.wait_for_lines(2000);
    world.log_to_pod(0, [(ip(1), 1007)].into_iter());
    wait_until("both pods are told", LIMIT, || {
        let told = world.events("POST");
        let about = |name: &str| {
            told.iter().any(|seen| {
                seen.body["involvedObject"]["name"] == name
                    && seen.body["message"].as_str().unwrap().ends_with("on port 1007/TCP")
            })
        };
        about("web-0") && about("web-1")
    });
    assert!(world.shed() > 1900, "and most of the others are not");
    assert_eq!(program.stop(), Some(0), "{}", program.output());
}

/// Neither does an API server that takes its time before it refuses.
#[test]
fn one_namespace_that_refuses_events_holds_up_no_other() {
    const TENANTS: &str = "/namespaces/tenant/events";
    for fault in [status(429, "retry-after: 1"), status(500, ""), Fault::Silence(LIMIT)] {
        let world = World::new(&[]);
        drop(world.fake.clone().always(TENANTS, fault.clone()));
        let mut program = world.start(100);
        let tried = || world.events("POST").into_iter().filter(|seen| seen.path.contains(TENANTS));
        // the tenant's Events come first, and are tried first
        world.log_to_pod(0, [(TENANT.to_owned(), 1001), (TENANT.to_owned(), 1002)].into_iter());
        wait_until("the tenant is to be told", LIMIT, || tried().count() > 0);
        world.log(3..13);
        let others = || world.events("POST").iter().filter(|seen| seen.is_well).count();
        wait_until(&format!("the others are told during {fault:?}"), LIMIT, || others() == 12);
        world.fake.forget(TENANTS);
        wait_until("the tenant is told", LIMIT * 2, || tried().filter(|seen| seen.is_well).count() == 2);
        let names: BTreeSet<_> = tried().map(|seen| seen.body["metadata"]["name"].to_string()).collect();
        assert_eq!(names.len(), 2, "each try has the name of the one before: {names:?}");
        assert_eq!(program.stop(), Some(0), "{}", program.output());
        assert_eq!(world.shed(), 0);
    }
}

#[test]
fn one_namespace_without_a_grant_is_told_once() {
    const PACKETS: u16 = 4;
    let world = World::new(&[]);
    drop(world.fake.clone().always("/namespaces/tenant/events", status(403, "")));
    let mut program = world.start(100);
    for packet in 1..=PACKETS {
        world.log_to_pod(0, [(TENANT.to_owned(), 1000 + packet)].into_iter());
        wait_until("both pods were to be told", LIMIT, || {
            let told = world.events("POST");
            let about = |is_well| told.iter().filter(|seen| seen.is_well == is_well).count();
            [true, false].map(about).into_iter().all(|count| count >= usize::from(packet))
        });
    }
    assert_eq!(program.stop(), Some(0), "{}", program.output());
    let output = program.output();
    assert_eq!(
        output.matches("RBAC must grant the verb `create` on the resource `events`").count(),
        1,
        "{output}"
    );
    assert!(output.contains("writing Events about pods of tenant: "), "{output}");
    assert!(!output.contains("works again"), "{output}");
}

#[test]
fn pods_that_may_not_be_listed_are_no_warning_of_an_agent_that_checks() {
    let world = World::new(&[]);
    drop(world.fake.clone().rather("/api/v1/pods?", status(403, "")));
    says_that_pods_have_no_names(&world);
}

#[test]
fn pods_that_are_not_granted_are_not_asked_for() {
    let world = World::new(&[]);
    drop(world.fake.clone().denying("pods"));
    says_that_pods_have_no_names(&world);
    let asked: Vec<_> = world.fake.seen().into_iter().filter(|seen| seen.path.contains("pods")).collect();
    assert!(asked.is_empty(), "{asked:#?}");
}

fn says_that_pods_have_no_names(world: &World) {
    let mut command = world.netns.command(MONITOR);
    command.args(["--profile", "base", "--ipv6", "false", "--sink", "kube", "--node-name", "n"]);
    command.env("KUBECONFIG", world.path("kubeconfig"));
    let mut program = Program::start(&mut command, &world.path("state"));
    wait_until("it says what shows", LIMIT, || {
        program.output().contains("INFO") && program.output().contains("show the pod's UID and not its name")
    });
    assert_eq!(program.stop(), Some(0), "{}", program.output());
    assert!(!program.output().contains("naming the pods"), "{}", program.output());
}
