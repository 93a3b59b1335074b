//! Rule sets of any size, shaped as kube-proxy's iptables mode makes them.
//! The shape is a fact of kube-proxy (`pkg/proxy/iptables/proxier.go`); names and addresses are made up.

use std::fmt::Write;

const ENDPOINTS: usize = 3;

/// A 16-letter name as kube-proxy makes them: base32 of a hash; here of a counter.
fn name(kind: &str, number: usize) -> String {
    let mut state = (number as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ kind.len() as u64;
    let letters: String = (0..16)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            char::from(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"[(state >> 59) as usize])
        })
        .collect();
    format!("KUBE-{kind}-{letters}")
}

/// Text for iptables-restore: eleven rules and four chains for each service, and a few rules of their own.
pub fn kube_proxy(services: usize) -> String {
    let mut chains = String::from(
        "*nat\n:PREROUTING ACCEPT [0:0]\n:INPUT ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n:POSTROUTING ACCEPT [0:0]\n",
    );
    for chain in ["KUBE-SERVICES", "KUBE-POSTROUTING", "KUBE-MARK-MASQ"] {
        writeln!(chains, ":{chain} - [0:0]").unwrap();
    }
    let mut rules = String::from(
        "-A PREROUTING -m comment --comment \"kubernetes service portals\" -j KUBE-SERVICES
-A OUTPUT -m comment --comment \"kubernetes service portals\" -j KUBE-SERVICES
-A POSTROUTING -m comment --comment \"kubernetes postrouting rules\" -j KUBE-POSTROUTING
-A KUBE-MARK-MASQ -j MARK --set-xmark 0x4000/0x4000
-A KUBE-POSTROUTING -m mark ! --mark 0x4000/0x4000 -j RETURN
-A KUBE-POSTROUTING -j MARK --set-xmark 0x4000/0x0
-A KUBE-POSTROUTING -m comment --comment \"kubernetes service traffic requiring SNAT\" -j MASQUERADE --random-fully
",
    );
    for service in 0..services {
        add_service(&mut chains, &mut rules, service);
    }
    chains + &rules + "COMMIT\n"
}

fn add_service(chains: &mut String, rules: &mut String, service: usize) {
    let port = format!("team-{}/service-{service}:http", service % 40);
    let chain = name("SVC", service);
    let address = format!("10.96.{}.{}", service / 256 % 256, service % 256);
    writeln!(chains, ":{chain} - [0:0]").unwrap();
    let to = format!("-d {address}/32 -p tcp -m comment --comment \"{port} cluster IP\" -m tcp --dport 80");
    writeln!(rules, "-A KUBE-SERVICES {to} -j {chain}").unwrap();
    writeln!(rules, "-A {chain} ! -s 10.244.0.0/16 {to} -j KUBE-MARK-MASQ").unwrap();
    for endpoint in 0..ENDPOINTS {
        let number = service * ENDPOINTS + endpoint;
        let endpoint_chain = name("SEP", number);
        let pod = format!("10.244.{}.{}", number / 256 % 256, number % 256);
        let share = match ENDPOINTS - endpoint {
            1 => String::new(),
            left => format!("-m statistic --mode random --probability {:.11} ", 1.0 / left as f64),
        };
        writeln!(chains, ":{endpoint_chain} - [0:0]").unwrap();
        writeln!(
            rules,
            "-A {chain} -m comment --comment \"{port} -> {pod}:8080\" {share}-j {endpoint_chain}"
        )
        .unwrap();
        writeln!(rules, "-A {endpoint_chain} -s {pod}/32 -m comment --comment \"{port}\" -j KUBE-MARK-MASQ")
            .unwrap();
        writeln!(
            rules,
            "-A {endpoint_chain} -p tcp -m comment --comment \"{port}\" -m tcp -j DNAT --to-destination {pod}:8080"
        )
        .unwrap();
    }
}
