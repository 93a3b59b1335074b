//! The plugins of CNI that write rules, run as a container runtime runs them: bridge, portmap, firewall.

use super::{Place, adopt_and_rewrite, roots};

/// `cni COMMAND PLUGIN CONFIGURATION`: the result of the plugin before goes to the next one in `/tmp/result`.
const CNI: &str = r#"
export CNI_PATH=/usr/lib/cni CNI_CONTAINERID=web-1 CNI_NETNS=/run/netns/web CNI_IFNAME=eth0
cni() {
  local previous=
  [ ! -s /tmp/result ] || previous=",\"prevResult\":$(cat /tmp/result)"
  CNI_COMMAND=$1 "$CNI_PATH/$2" <<< "{\"cniVersion\":\"0.4.0\",\"name\":\"web\",\"type\":\"$2\",$3$previous}" > /tmp/new
  [ ! -s /tmp/new ] || mv /tmp/new /tmp/result
}
bridge='"bridge":"cni0","isGateway":true,"ipMasq":true,"hairpinMode":true,"ipam":{"type":"static","addresses":[
  {"address":"10.90.0.2/24","gateway":"10.90.0.1"},{"address":"fd90::2/64","gateway":"fd90::1"}]}'
portmap='"capabilities":{"portMappings":true},"snat":true,"runtimeConfig":{"portMappings":[
  {"hostPort":8080,"containerPort":80,"protocol":"tcp"},
  {"hostPort":5353,"containerPort":53,"protocol":"udp","hostIP":"127.0.0.1"}]}'
firewall='"backend":"iptables","ingressPolicy":"same-bridge"'
add() { rm -f /tmp/result; cni ADD bridge "$bridge"; cni ADD portmap "$portmap"; cni ADD firewall "$firewall"; }
del() { cni DEL firewall "$firewall"; cni DEL portmap "$portmap"; cni DEL bridge "$bridge"; }
"#;

#[test]
#[ignore = "needs OWNER_ROOTS: make test-owners"]
fn the_plugins_of_cni_are_compliant_after_their_container_came_again() {
    for root in roots() {
        let place = Place::new(&root);
        let write = format!("{CNI}\nip netns add web\nadd");
        let again = format!("{CNI}\ndel\nadd");
        adopt_and_rewrite(&place, "the CNI plugins", &write, &[&again]);
    }
}
