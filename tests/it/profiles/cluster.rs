//! A real API server and a real kube-proxy in a network namespace, with Services of every kind.
//! Runs no kubelet: the few rules a kubelet makes are made with its commands.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::apiserver::{run, tool};
use crate::support::{Netns, lossy};

const NODE: &str = "node-a";

/// One of the two programs an `iptables` link may stand for.
#[derive(Clone, Copy)]
pub enum Backend {
    Nft,
    Legacy,
}

impl Backend {
    pub fn name(self) -> &'static str {
        match self {
            Self::Nft => "nft",
            Self::Legacy => "legacy",
        }
    }

    fn program(self) -> &'static str {
        match self {
            Self::Nft => "/usr/sbin/xtables-nft-multi",
            Self::Legacy => "/usr/sbin/xtables-legacy-multi",
        }
    }
}

/// A node of a small cluster; everything it started ends with it.
pub struct Cluster {
    netns: Netns,
    dir: tempfile::TempDir,
    path: String,
    proxy: Option<Child>,
}

impl Cluster {
    /// A node with addresses of both families, its `iptables` being this backend, and a ready API server.
    pub fn start(backend: Backend) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let bin = dir.path().join("bin");
        run(Command::new(tool("build-kubernetes")).arg(&bin));
        for name in ["iptables", "ip6tables"]
            .iter()
            .flat_map(|name| ["", "-save", "-restore"].map(|end| format!("{name}{end}")))
        {
            std::os::unix::fs::symlink(backend.program(), bin.join(name)).expect("a link");
        }
        let path = format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", bin.display());
        let cluster = Self { netns: Netns::new(), dir, path, proxy: None };
        cluster.sh(
            "ip link add node0 type veth peer name peer0 && ip link set node0 up && ip link set peer0 up",
        );
        cluster
            .sh("ip address add 192.0.2.10/24 dev node0 && ip address add 2001:db8::10/64 dev node0 nodad");
        cluster.sh("ip route add default via 192.0.2.1");
        run(cluster.command(tool("apiserver")).args([Path::new("up"), &cluster.state()]).env(
            "APISERVER_FLAGS",
            "--feature-gates=IPv6DualStack=true --service-cluster-ip-range=10.0.0.0/24,fd00:10::/112",
        ));
        cluster
    }

    fn state(&self) -> PathBuf {
        self.dir.path().join("apiserver")
    }

    fn command(&self, program: impl AsRef<Path>) -> Command {
        let mut command = self.netns.command("env");
        command.arg(format!("PATH={}", self.path)).arg(program.as_ref());
        command
    }

    /// Runs a script where `iptables` is this node's backend.
    pub fn sh(&self, script: &str) -> String {
        let output = self.command("bash").args(["-ec", script]).stdin(Stdio::null()).output().expect("bash");
        assert!(output.status.success(), "{script}\n{}", lossy(&output));
        String::from_utf8(output.stdout).expect("text")
    }

    fn api(&self, method: &str, content: &str, path: &str, body: &Value) {
        let read = |name| std::fs::read_to_string(self.state().join(name)).expect(name);
        let url = format!("{}{path}", read("server").trim());
        let token = format!("Authorization: Bearer {}", read("token").trim());
        let authority = self.state().join("ca.crt");
        let args = [
            "-sS",
            "--fail-with-body",
            "--noproxy",
            "*",
            "--cacert",
            authority.to_str().expect("text"),
            "-X",
            method,
            "-H",
            &token,
            "-H",
            &format!("Content-Type: {content}"),
            "--data-binary",
            "@-",
            &url,
        ];
        let output = self.netns.feed("curl", &args, body.to_string().as_bytes());
        assert!(output.status.success(), "{method} {path} {body}\n{}", lossy(&output));
    }

    fn post(&self, path: &str, body: &Value) {
        self.api("POST", "application/json", path, body);
    }

    /// Makes this Node and the Services and EndpointSlices of `services`.
    pub fn fill(&self, services: &[Service]) {
        let addresses = json!([{"type": "InternalIP", "address": "192.0.2.10"}]);
        self.post("/api/v1/nodes", &json!({"metadata": {"name": NODE}, "status": {"addresses": addresses}}));
        for service in services {
            self.add(service);
        }
    }

    /// Makes one Service with its EndpointSlices.
    pub fn add(&self, service: &Service) {
        let services = "/api/v1/namespaces/default/services";
        self.post(services, &json!({"metadata": {"name": service.name}, "spec": service.spec}));
        if let Some(ip) = service.balancer {
            let status = json!({"status": {"loadBalancer": {"ingress": [{"ip": ip}]}}});
            self.api(
                "PATCH",
                "application/merge-patch+json",
                &format!("{services}/{}/status", service.name),
                &status,
            );
        }
        for (index, slice) in service.slices().iter().enumerate() {
            let mut slice = slice.clone();
            slice["metadata"] = json!({"name": format!("{}-{index}", service.name), "labels": {"kubernetes.io/service-name": service.name}});
            self.post("/apis/discovery.k8s.io/v1beta1/namespaces/default/endpointslices", &slice);
        }
    }

    /// Starts kube-proxy for both families with these further flags, in place of the one that runs.
    pub fn proxy(&mut self, flags: &[&str]) {
        self.stop_proxy();
        let log = std::fs::File::create(self.dir.path().join("kube-proxy.log")).expect("a log");
        let child = self
            .command("kube-proxy")
            .args([
                "--proxy-mode=iptables",
                "--feature-gates=IPv6DualStack=true",
                "--conntrack-max-per-core=0",
            ])
            .args(["--conntrack-tcp-timeout-established=0s", "--conntrack-tcp-timeout-close-wait=0s"])
            .arg(format!("--hostname-override={NODE}"))
            .arg(format!("--kubeconfig={}", self.state().join("kubeconfig").display()))
            .args(flags)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a log"))
            .stderr(log)
            .spawn()
            .expect("kube-proxy");
        self.proxy = Some(child);
    }

    /// Ends kube-proxy and leaves its rules, as a node does when the pod restarts.
    pub fn stop_proxy(&mut self) {
        if let Some(mut child) = self.proxy.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// The two dumps, once they contain all of `needles` and none of `gone`.
    pub fn dumps(&mut self, needles: &[&str], gone: &[&str]) -> [String; 2] {
        let deadline = Instant::now() + Duration::from_secs(90);
        loop {
            let dumps = ["iptables-save", "ip6tables-save"].map(|save| self.sh(save));
            let both = dumps.concat();
            let missing: Vec<_> = needles.iter().filter(|needle| !both.contains(**needle)).collect();
            let left: Vec<_> = gone.iter().filter(|needle| both.contains(**needle)).collect();
            if missing.is_empty() && left.is_empty() {
                return dumps;
            }
            let ended = self.proxy.as_mut().is_some_and(|proxy| proxy.try_wait().expect("wait").is_some());
            if ended || Instant::now() > deadline {
                let log = std::fs::read_to_string(self.dir.path().join("kube-proxy.log")).expect("a log");
                panic!("missing {missing:?}, left {left:?}, ended {ended}\n{both}\n{log}");
            }
            std::thread::sleep(Duration::from_millis(200));
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.stop_proxy();
        let _ = self.command(tool("apiserver")).args([Path::new("down"), &self.state()]).status();
    }
}

/// One Service and what stands behind it.
pub struct Service {
    name: &'static str,
    spec: Value,
    balancer: Option<&'static str>,
    /// Addresses of Pods on this node and on another.
    here: Vec<String>,
    there: Vec<String>,
}

impl Service {
    fn new(name: &'static str, mut spec: Value, here: &[&str], there: &[&str]) -> Self {
        if spec.get("ports").is_none() {
            spec["ports"] = json!([{"name": "http", "port": 80, "targetPort": 8080}]);
        }
        let [here, there] =
            [here, there].map(|addresses| addresses.iter().map(ToString::to_string).collect());
        Self { name, spec, balancer: None, here, there }
    }

    fn balanced(mut self, ip: &'static str) -> Self {
        self.spec["type"] = json!("LoadBalancer");
        self.balancer = Some(ip);
        self
    }

    fn slices(&self) -> Vec<Value> {
        let ports: Vec<_> = self.spec["ports"]
            .as_array()
            .expect("ports")
            .iter()
            .map(|port| {
                let number = port.get("targetPort").unwrap_or(&port["port"]);
                let protocol = port.get("protocol").cloned().unwrap_or(json!("TCP"));
                json!({"name": port.get("name").cloned().unwrap_or(json!("")), "port": number, "protocol": protocol})
            })
            .collect();
        let endpoint = |address: &String, node| json!({"addresses": [address], "conditions": {"ready": true}, "topology": {"kubernetes.io/hostname": node}});
        let endpoints: Vec<_> = self
            .here
            .iter()
            .map(|address| endpoint(address, NODE))
            .chain(self.there.iter().map(|address| endpoint(address, "node-b")))
            .collect();
        let kind = if self.here.iter().chain(&self.there).any(|address| address.contains(':')) {
            "IPv6"
        } else {
            "IPv4"
        };
        endpoints
            .chunks(500)
            .map(|endpoints| json!({"addressType": kind, "endpoints": endpoints, "ports": ports}))
            .collect()
    }
}

/// Services of every kind, in both families.
pub fn services() -> Vec<Service> {
    let mut all = services4();
    all.extend(services6());
    all
}

/// Enough endpoints that kube-proxy leaves the comments out.
pub fn crowd() -> Service {
    let mut service = Service::new("crowd", json!({}), &[], &[]);
    service.there = (0..1001).map(|n| format!("10.244.{}.{}", 8 + n / 250, 1 + n % 250)).collect();
    service
}

fn services4() -> Vec<Service> {
    let dns = json!([
        {"name": "dns", "port": 53, "protocol": "UDP"}, {"name": "dns-tcp", "port": 53, "protocol": "TCP"},
        {"name": "sigtran", "port": 2905, "protocol": "SCTP"},
    ]);
    vec![
        Service::new("plain", json!({"ports": [{"port": 80}]}), &["10.244.1.2"], &[]),
        Service::new("many", json!({}), &["10.244.1.3"], &["10.244.2.3", "10.244.2.4"]),
        Service::new("dns", json!({"ports": dns}), &["10.244.1.4"], &["10.244.2.5"]),
        Service::new("headless", json!({"clusterIP": "None"}), &["10.244.1.5"], &[]),
        Service::new("door", json!({"type": "NodePort"}), &["10.244.1.6"], &["10.244.2.6"]),
        Service::new("outside", json!({"externalIPs": ["198.51.100.7"]}), &["10.244.1.7"], &[]),
        Service::new("sticky", json!({"sessionAffinity": "ClientIP"}), &["10.244.1.8"], &["10.244.2.8"]),
        Service::new("empty", json!({"externalIPs": ["198.51.100.9"]}), &[], &[]).balanced("203.0.113.9"),
        Service::new("open", json!({}), &["10.244.1.10"], &[]).balanced("203.0.113.10"),
        Service::new(
            "fenced",
            json!({"loadBalancerSourceRanges": ["192.0.2.0/24", "198.51.100.0/25"]}),
            &["10.244.1.11"],
            &[],
        )
        .balanced("203.0.113.11"),
        local(
            "local",
            json!({"externalIPs": ["198.51.100.12"]}),
            &["10.244.1.12", "10.244.1.13"],
            &["10.244.2.12"],
        )
        .balanced("203.0.113.12"),
        local("loyal", json!({"sessionAffinity": "ClientIP"}), &["10.244.1.14"], &[])
            .balanced("203.0.113.14"),
        local("away", json!({}), &[], &["10.244.2.15"]).balanced("203.0.113.15"),
    ]
}

fn services6() -> Vec<Service> {
    vec![
        six(Service::new("many6", json!({}), &["fd00:244:1::3"], &["fd00:244:2::3"])),
        six(Service::new("door6", json!({"type": "NodePort"}), &["fd00:244:1::6"], &[])),
        six(Service::new("outside6", json!({"externalIPs": ["2001:db8:1::7"]}), &["fd00:244:1::7"], &[])),
        six(Service::new(
            "sticky6",
            json!({"sessionAffinity": "ClientIP"}),
            &["fd00:244:1::8"],
            &["fd00:244:2::8"],
        )),
        six(Service::new("empty6", json!({}), &[], &[])).balanced("2001:db8:2::9"),
        six(Service::new(
            "fenced6",
            json!({"loadBalancerSourceRanges": ["2001:db8:3::/48"]}),
            &["fd00:244:1::11"],
            &[],
        ))
        .balanced("2001:db8:2::11"),
        six(local("local6", json!({}), &["fd00:244:1::12"], &["fd00:244:2::12"])).balanced("2001:db8:2::12"),
    ]
}

fn local(name: &'static str, mut spec: Value, here: &[&str], there: &[&str]) -> Service {
    spec["externalTrafficPolicy"] = json!("Local");
    Service::new(name, spec, here, there)
}

fn six(mut service: Service) -> Service {
    service.spec["ipFamilies"] = json!(["IPv6"]);
    service.spec["ipFamilyPolicy"] = json!("SingleStack");
    service
}
