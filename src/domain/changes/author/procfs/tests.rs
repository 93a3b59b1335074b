use super::*;

const ID: &str = "4f2c9a0be1d37865a90b1c2d3e4f5061728394a5b6c7d8e9f00112233445566a";
const OUTER: &str = "00000000000000000000000000000000000000000000000000000000000000ff";
const UID: &str = "8dbc5577-d0e2-4706-8787-57d52c03ddf2";
const STATIC_UID: &str = "3a8a5c1f5e2f0c7d9b6e4f1a2b3c4d5e";

fn check(path: &str, container: Option<&str>, pod: Option<&str>) {
    let path = path.replace("{id}", ID).replace("{outer}", OUTER).replace("{uid}", UID);
    let path = path.replace("{uid_}", &UID.replace('-', "_")).replace("{static}", STATIC_UID);
    let v2 = parse_cgroup(format!("0::{path}\n").as_bytes());
    let v1 = format!("12:pids:{path}\n11:cpu,cpuacct:{path}\n1:name=systemd:{path}\n0::/\n");
    for place in [v2, parse_cgroup(v1.as_bytes())] {
        let uid = place.pod.map(|pod| pod.uid);
        assert_eq!((place.container.as_deref(), uid.as_deref()), (container, pod), "{path}");
    }
}

#[test]
fn finds_the_container_and_the_pod() {
    for path in [
        "/kubepods/pod{uid}/{id}",
        "/kubepods/besteffort/pod{uid}/{id}",
        "/kubepods/burstable/pod{uid}/{id}/init",
        "/kubepods.slice/kubepods-pod{uid_}.slice/cri-containerd-{id}.scope",
        "/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod{uid_}.slice/crio-{id}.scope",
        "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{uid_}.slice/docker-{id}.scope",
        "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{uid_}.slice/crio-{id}.scope/container",
        "/system.slice/containerd.service/kubepods-burstable-pod{uid_}.slice:cri-containerd:{id}",
        "/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-burstable.slice/kubelet-kubepods-burstable-pod{uid_}.slice/cri-containerd-{id}.scope",
        "/docker/{outer}/kubelet/kubepods/burstable/pod{uid}/{id}",
        "/system.slice/docker-{outer}.scope/kubelet.slice/kubepods-pod{uid_}.slice/cri-containerd-{id}.scope",
        // another pod, as a container with its own cgroup namespace sees it
        "/../../kubepods-burstable-pod{uid_}.slice/cri-containerd-{id}.scope",
        "/../../pod{uid}/{id}",
    ] {
        check(path, Some(ID), Some(UID));
    }
    check("/kubepods/burstable/pod{static}/{id}", Some(ID), Some(STATIC_UID));
    check("/kubepods.slice/kubepods-pod{static}.slice/crio-{id}.scope", Some(ID), Some(STATIC_UID));
}

#[test]
fn finds_a_container_without_a_pod_and_a_pod_without_a_container() {
    check("/docker/{id}", Some(ID), None);
    check("/system.slice/docker-{id}.scope", Some(ID), None);
    check("/machine.slice/libpod-{id}.scope/container", Some(ID), None);
    check("/../{id}", Some(ID), None);
    check("/kubepods.slice/kubepods-pod{uid_}.slice", None, Some(UID));
    check("/kubepods.slice/kubepods-pod{uid_}.slice/crio-conmon-{id}.scope", None, Some(UID));
    // the pod of a node that is a container has not yet got one of its own
    check("/docker/{outer}/kubepods/pod{uid}", None, Some(UID));
}

#[test]
fn other_paths_are_nowhere() {
    for path in [
        "/",
        "",
        "/user.slice/user-1000.slice/session-3.scope",
        "/system.slice/kubelet.service",
        "/kubepods.slice",
        "/kubepods/besteffort",
        "/podman/x",
        "/tripod{uid}",
        "/pod1234",
        "/pod{uid}0",
        "/x{id}",
        "/é{id}é",
    ] {
        check(path, None, None);
    }
    assert_eq!(parse_cgroup(b""), CgroupPlace::default());
    assert_eq!(parse_cgroup(b"0::"), CgroupPlace::default());
    assert_eq!(parse_cgroup(b"\xff\n:\n::\n"), CgroupPlace::default());
}

#[test]
fn a_process_may_be_named_anything() {
    let line =
        |name: &str| format!("42 ({name}) S 7 42 42 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 123456 1 2 3");
    for name in ["nft", "", "a b", ") S 1 (", "(((", "é\u{fffd}", "x\ny"] {
        let stat = parse_stat(line(name).as_bytes()).unwrap();
        assert_eq!(
            stat,
            Stat { name: name.as_bytes().to_vec(), parent: 7, started_ticks: 123_456 },
            "{name}"
        );
    }
    for broken in ["", "42", "42 nft S 1", "42 )nft( S 1", "42 (nft) S", "42 (nft) S 1 2 3", "42 (nft) S x"] {
        assert_eq!(parse_stat(broken.as_bytes()), None, "{broken}");
    }
}

#[test]
fn arguments_are_separated_by_spaces_and_cut() {
    let check = |bytes: &[u8], shown: Option<&str>| assert_eq!(parse_command_line(bytes).as_deref(), shown);
    check(b"iptables\0-A\0INPUT\0", Some("iptables -A INPUT"));
    check(b"a\0\0b\0", Some("a  b"));
    check(b"one", Some("one"));
    check(b"\xff\0", Some("\u{fffd}"));
    check(b"", None);
    check(b"\0\0", None);
    check(&[b'x'; 600], Some(&"x".repeat(512)));
    check("é".repeat(300).as_bytes(), Some(&"é".repeat(256)));
    check(format!("x{}", "é".repeat(300)).as_bytes(), Some(&format!("x{}", "é".repeat(255))));
    check(format!("xx{}", "💥".repeat(300)).as_bytes(), Some(&format!("xx{}", "💥".repeat(127))));
}

#[test]
fn any_bytes_are_read_without_panic() {
    use proptest::prelude::*;
    proptest!(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() }, |(bytes in proptest::collection::vec(any::<u8>(), 0..700))| {
        let _ = (parse_stat(&bytes), parse_cgroup(&bytes));
        prop_assert!(parse_command_line(&bytes).is_none_or(|line| line.len() <= 3 * COMMAND_LINE_BYTES));
    });
}
