//! The routes for health probe replies, in a namespace, as ip(8) shows them.
//! Sends no probe.

use iptables_monitor::host::netlink::routes::{Added, HEALTH_PROBE, RouteError, add};

use crate::support::Netns;

fn add_all(netns: &Netns) -> Vec<Result<Added, RouteError>> {
    netns.within(|| HEALTH_PROBE.into_iter().map(add).collect())
}

const IPV4: &str = "169.254.7.127 dev lo proto static scope link";
const IPV6: &str = "fd16:9254:7127:1337:ffff:ffff:ffff:ffff dev lo proto static";

#[test]
fn routes_are_added_once() {
    let netns = Netns::new();
    assert!(matches!(add_all(&netns)[..], [Ok(Added::New), Ok(Added::New)]));
    let shown = netns.sh("ip route show; ip -6 route show proto static");
    assert_eq!(shown.lines().next().map(str::trim), Some(IPV4), "{shown}");
    assert!(
        shown.lines().any(|line| line.starts_with("fd16:9254:7127:1337:ffff:ffff:ffff:ffff dev lo ")),
        "{shown}"
    );
    assert!(matches!(add_all(&netns)[..], [Ok(Added::Present), Ok(Added::Present)]));
    assert_eq!(netns.sh("ip route show; ip -6 route show proto static"), shown);
}

#[test]
fn routes_that_ip_added_are_found() {
    let netns = Netns::new();
    netns.sh(&format!("ip route add {IPV4}; ip -6 route add {IPV6}"));
    let before = netns.sh("ip route show; ip -6 route show proto static");
    assert!(matches!(add_all(&netns)[..], [Ok(Added::Present), Ok(Added::Present)]));
    assert_eq!(netns.sh("ip route show; ip -6 route show proto static"), before);
}

#[test]
fn the_node_answers_there() {
    let netns = Netns::new();
    let source = "ip route get 169.254.7.127";
    assert!(!netns.try_sh(source).status.success(), "a route before");
    add_all(&netns);
    assert!(netns.sh(source).contains("dev lo"));
}

#[test]
fn another_route_is_left_alone() {
    let netns = Netns::new();
    netns.sh("ip link add node0 type veth peer name peer0; ip link set node0 up; ip link set peer0 up");
    netns.sh("ip route add 169.254.7.127/32 dev node0 scope link; ip -6 route add fd16:9254:7127:1337:ffff:ffff:ffff:ffff dev node0");
    let before = netns.sh("ip route show; ip -6 route show");
    let outcome = add_all(&netns);
    assert!(
        matches!(outcome[..], [Err(RouteError::Occupied(_)), Err(RouteError::Occupied(_))]),
        "{outcome:?}"
    );
    assert_eq!(netns.sh("ip route show; ip -6 route show"), before);
}

#[test]
fn a_node_without_ipv6_gets_the_other_route() {
    let netns = Netns::new();
    netns.sh("sysctl -qw net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.lo.disable_ipv6=1");
    let outcome = add_all(&netns);
    assert!(matches!(outcome[..], [Ok(Added::New), Err(RouteError::FamilyOff(_))]), "{outcome:?}");
}

#[test]
fn a_loopback_device_that_is_down_is_an_error() {
    let netns = Netns::new();
    netns.sh("ip link set lo down");
    let outcome = add_all(&netns);
    assert!(matches!(outcome[0], Err(RouteError::Failed(..))), "{outcome:?}");
}
