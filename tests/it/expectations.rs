//! Expectations of connection tracking, as a program may make them and as helpers of the kernel do: the first redirect traffic
//! without any rule, and none of them is compliant; the others are quiet while a rule assigns the helper.

mod made;

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

use serde_json::Value;

use super::support::live::Agent;
use super::support::{AllowlistDir, Checked, MONITOR, Netns, lossy, wait_until};
use made::{INACTIVE, Made, PERMANENT};

const LIMIT: Duration = Duration::from_secs(60);
const FTP: &str = "iptables-nft -t raw -A PREROUTING -p tcp --dport 21 -j CT --helper ftp";

fn check(netns: &Netns, list: &AllowlistDir, args: &[&str]) -> Checked {
    netns.check(&[&["--input", list.path(), "--input6", list.path(), "--ipv6", "true"], args].concat())
}

/// Any rule of iptables.
fn rules_alone() -> AllowlistDir {
    AllowlistDir::new(&[("global", "^-[APN] \n")])
}

#[test]
fn each_that_redirects_or_stays_is_a_violation() {
    let wide = Made { source_mask: Ipv4Addr::UNSPECIFIED.into(), ..Made::default() };
    for (made, line) in [
        (
            Made::default(),
            "expectation ip tcp 10.9.0.1 -> 10.9.0.2:9922 helper ftp nat 10.9.0.2:9999 permanent function nat-follow-master \
             of 10.9.0.1:1111 -> 10.9.0.2:2222",
        ),
        (
            Made { flags: 0, ..Made::default() },
            "expectation ip tcp 10.9.0.1 -> 10.9.0.2:9922 helper ftp nat 10.9.0.2:9999 function nat-follow-master \
             of 10.9.0.1:1111 -> 10.9.0.2:2222",
        ),
        (
            Made { nat: None, ..Made::default() },
            "expectation ip tcp 10.9.0.1 -> 10.9.0.2:9922 helper ftp permanent of 10.9.0.1:1111 -> 10.9.0.2:2222",
        ),
        (
            Made { flags: PERMANENT | INACTIVE, zone: Some(7), ..wide },
            "expectation ip tcp 10.9.0.1/0 -> 10.9.0.2:9922 zone 7 helper ftp nat 10.9.0.2:9999 permanent inactive \
             function nat-follow-master of 10.9.0.1:1111 -> 10.9.0.2:2222",
        ),
        (
            Made {
                source: Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 1).into(),
                destination: Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 2).into(),
                source_mask: Ipv6Addr::from_bits(u128::MAX).into(),
                ..Made::default()
            },
            "expectation ip6 tcp fd00::1 -> [fd00::2]:9922 helper ftp nat [fd00::2]:9999 permanent \
             function nat-follow-master of [fd00::1]:1111 -> [fd00::2]:2222",
        ),
    ] {
        let netns = Netns::new();
        let rules = rules_alone();
        check(&netns, &rules, &[]).expect("compliant", 0);
        made.make(&netns);
        for args in [&[][..], &["--nftables=false"]] {
            let checked = check(&netns, &rules, args);
            checked.expect("violations", 1);
            assert_eq!(checked.lines(), [line], "{args:?}");
            let violation = &checked.json["violations"][0];
            let place = ["backend", "table", "kind"].map(|key| violation[key].as_str().unwrap());
            assert_eq!(place, ["netfilter", "expectations", "expectation"]);
        }
    }
}

#[test]
fn the_suggested_pattern_stands_for_other_ports_and_no_other_address() {
    let first = Netns::new();
    Made::default().make(&first);
    let checked = check(&first, &rules_alone(), &[]);
    let pattern = checked.json["violations"][0]["suggested_pattern"].as_str().unwrap();
    assert!(pattern.contains(r" -> 10\.9\.0\.2:\d+ "), "{pattern}");
    for name in ["nftables", "global"] {
        let list = AllowlistDir::new(&[(name, pattern)]);
        check(&first, &list, &[]).expect("compliant", 0);
        let again = Netns::new();
        Made { port: 1024, nat: Some(4096), ..Made::default() }.make(&again);
        check(&again, &list, &[]).expect("compliant", 0);
        let elsewhere = Netns::new();
        Made { destination: Ipv4Addr::new(10, 9, 0, 3).into(), ..Made::default() }.make(&elsewhere);
        check(&elsewhere, &list, &[]).expect("violations", 1);
    }
    check(&first, &AllowlistDir::new(&[("filter", pattern)]), &[]).expect("violations", 1);
}

/// Whoever assigns a helper trusts what it expects, but not from everybody.
#[test]
fn a_rule_that_assigns_the_helper_covers_one_source_only() {
    let netns = Netns::new();
    netns.sh(FTP);
    Made::default().make(&netns);
    check(&netns, &rules_alone(), &[]).expect("compliant", 0);
    let wide = Made { source_mask: Ipv4Addr::new(255, 255, 255, 0).into(), port: 9923, ..Made::default() };
    wide.make(&netns);
    let checked = check(&netns, &rules_alone(), &[]);
    checked.expect("violations", 1);
    assert!(checked.lines()[0].starts_with("expectation ip tcp 10.9.0.1/24 -> "), "{:?}", checked.lines());
    assert_eq!(checked.lines().len(), 1);
}

/// A telephone registers: it is expected to be called for as long as it asked for, for an hour here.
#[test]
fn a_telephone_that_registers_is_quiet_while_a_rule_assigns_the_helper() {
    for assign in [
        "iptables-legacy -t raw -A OUTPUT -p udp --dport 5060 -j CT --helper sip",
        "iptables-nft -t raw -A OUTPUT -p udp --dport 5060 -j CT --helper sip",
        "nft 'table inet phones {
            ct helper calls { type \"sip\" protocol udp; }
            chain out { type filter hook output priority 0; udp dport 5060 ct helper set \"calls\"; }
        }'",
    ] {
        let netns = Netns::new();
        netns.sh(assign);
        netns.within(register);
        let list = AllowlistDir::new(&[("global", "^-[APN] \n"), ("nftables", "inet phones ")]);
        assert!(
            netns.sh("cat /proc/net/nf_conntrack_expect").contains("PERMANENT"),
            "{assign}: a registration"
        );
        check(&netns, &list, &[]).expect("compliant", 0);
        netns.sh("iptables-legacy -t raw -F; iptables-nft -t raw -F; nft 'table inet phones; delete table inet phones'");
        let checked = check(&netns, &list, &[]);
        checked.expect("violations", 1);
        let line = checked.lines()[0];
        assert!(
            line.starts_with("expectation ip udp 127.0.0.1 -> 127.0.0.1:5070 helper sip permanent"),
            "{line}"
        );
    }
}

fn register() {
    let [phone, registrar] =
        [5070, 5060].map(|port| UdpSocket::bind((Ipv4Addr::LOCALHOST, port)).expect("a free port"));
    let common = "Via: SIP/2.0/UDP 127.0.0.1:5070;branch=z9hG4bK1\r\nFrom: <sip:a@127.0.0.1>;tag=1\r\nTo: <sip:a@127.0.0.1>\r\n\
                  Call-ID: 1\r\nCSeq: 1 REGISTER\r\nContact: <sip:a@127.0.0.1:5070>;expires=3600\r\nExpires: 3600\r\n\
                  Content-Length: 0\r\n\r\n";
    let mut heard = [0; 1500];
    phone
        .send_to(format!("REGISTER sip:127.0.0.1 SIP/2.0\r\n{common}").as_bytes(), "127.0.0.1:5060")
        .expect("sent");
    let (_, from) = registrar.recv_from(&mut heard).expect("the request");
    registrar.send_to(format!("SIP/2.0 200 OK\r\n{common}").as_bytes(), from).expect("sent");
    phone.recv(&mut heard).expect("the answer");
}

/// A file is about to come, through NAT.
#[test]
fn a_transfer_of_files_is_quiet_while_a_rule_assigns_the_helper() {
    let netns = Netns::new();
    netns.sh("iptables-nft -t raw -A OUTPUT -p tcp --dport 21 -j CT --helper ftp
         iptables-nft -t nat -A OUTPUT -p tcp --dport 21 -j REDIRECT --to-ports 2121");
    let _connection = netns.within(begin_transfer);
    assert!(netns.sh("cat /proc/net/nf_conntrack_expect").contains("ftp"), "a transfer is expected");
    check(&netns, &rules_alone(), &[]).expect("compliant", 0);
    netns.sh("iptables-nft -t raw -F");
    let checked = check(&netns, &rules_alone(), &[]);
    checked.expect("violations", 1);
    let line = checked.lines()[0];
    assert!(
        line.starts_with("expectation ip tcp 127.0.0.1 -> 127.0.0.1:") && line.contains(" helper ftp nat "),
        "{line}"
    );
}

fn begin_transfer() -> [TcpStream; 2] {
    let listener = TcpListener::bind("127.0.0.1:2121").expect("a free port");
    let mut client = TcpStream::connect("127.0.0.1:21").expect("redirected");
    let (mut server, _) = listener.accept().expect("the client");
    // the helper believes what follows a whole line
    for line in ["220 ready\r\n", "227 Entering Passive Mode (127,0,0,1,39,16)\r\n"] {
        server.write_all(line.as_bytes()).expect("sent");
        let _ = client.read(&mut [0; 200]).expect("the answer");
    }
    [client, server]
}

/// Nobody tells of them: the interval finds them, and so does a look at whatever else changed.
#[test]
fn an_agent_finds_them_at_the_interval_and_when_it_looks() {
    for (interval, nudge) in [("1s", "true"), ("1h", "iptables-nft -N NUDGE")] {
        let netns = Netns::new();
        netns.sh("iptables-nft -N CHAIN");
        let list = rules_alone();
        let state = tempfile::tempdir().unwrap();
        let directory = state.path().join("state").to_str().unwrap().to_owned();
        let args = ["--input", list.path(), "--ipv6", "false", "--state-dir", &directory];
        let mut command = netns.command(MONITOR);
        let agent = Agent::spawn(&netns, command.args(["--sink", "none", "--interval", interval]).args(args));
        agent.wait_for("compliant", LIMIT);
        Made::default().make(&netns);
        netns.sh(nudge);
        agent.wait_for("violations", LIMIT);
        let history = || {
            let output = std::process::Command::new(MONITOR)
                .args(["history", "--format", "json", "--state-dir", &directory])
                .output()
                .unwrap();
            lossy(&output)
        };
        wait_until("the journal has it", LIMIT, || {
            let history = history();
            let mut moments = history.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
            moments.any(|change| {
                change["kind"] == "expectation" && change["change"] == "added" && change["allowed"] == false
            })
        });
    }
}
