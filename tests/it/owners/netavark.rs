//! netavark, which podman runs for each container: two networks, with published ports, through both of its drivers.

use super::{Place, adopt_and_rewrite, roots};

/// One container with a network of each kind; names and numbers are made up.
const OPTIONS: &str = r#"{
 "container_id": "4031bf33c4b7fe1a7b4ecd0f7a7d1f3c6b0c93ac9c27e1ce8cf4e6c4a0f2a001", "container_name": "web",
 "port_mappings": [
  {"container_port": 80, "host_ip": "", "host_port": 8080, "protocol": "tcp", "range": 1},
  {"container_port": 53, "host_ip": "", "host_port": 5353, "protocol": "udp", "range": 3},
  {"container_port": 443, "host_ip": "127.0.0.1", "host_port": 8443, "protocol": "tcp", "range": 1}],
 "networks": {
  "four": {"static_ips": ["10.88.0.2"], "interface_name": "eth0"},
  "six": {"static_ips": ["10.89.0.2", "fd10:88::2"], "interface_name": "eth1"}},
 "network_info": {
  "four": {"name": "four", "id": "2f259bab93aaaaa2542ba43ef33eb990d0999ee1b9924b557b7be53c0b7a1bb9", "driver": "bridge",
   "network_interface": "podman0", "subnets": [{"subnet": "10.88.0.0/16", "gateway": "10.88.0.1"}],
   "ipv6_enabled": false, "internal": false, "dns_enabled": false, "ipam_options": {"driver": "host-local"}},
  "six": {"name": "six", "id": "d92dbab93aaaaa2542ba43ef33eb990d0999ee1b9924b557b7be53c0b7a1bb11", "driver": "bridge",
   "network_interface": "podman1",
   "subnets": [{"subnet": "10.89.0.0/24", "gateway": "10.89.0.1"}, {"subnet": "fd10:88::/64", "gateway": "fd10:88::1"}],
   "ipv6_enabled": true, "internal": false, "dns_enabled": false, "options": {"isolate": "true"},
   "ipam_options": {"driver": "host-local"}}}}"#;

fn all(driver: &str) {
    for root in roots() {
        let place = Place::new(&root);
        // 1.4 knows of nftables that it is not there yet
        if driver == "nftables" && place.is("bookworm") {
            continue;
        }
        let netavark = format!("NETAVARK_FW={driver} /usr/lib/podman/netavark --config /run/netavark");
        let options = format!("<<'options'\n{OPTIONS}\noptions");
        let setup = format!("{netavark} setup /run/netns/web {options}\n");
        let again = format!("{netavark} teardown /run/netns/web {options}\n{setup}");
        let write = format!("mkdir /run/netavark\nip netns add web\n{setup}");
        adopt_and_rewrite(&place, &format!("netavark ({driver})"), &write, &[&again]);
    }
}

#[test]
#[ignore = "needs OWNER_ROOTS: make test-owners"]
fn netavark_with_nftables_is_compliant_after_its_container_came_again() {
    all("nftables");
}

#[test]
#[ignore = "needs OWNER_ROOTS: make test-owners"]
fn netavark_with_iptables_is_compliant_after_its_container_came_again() {
    all("iptables");
}
