//! libvirt's daemon: networks of each kind, and the filters of a guest's interfaces, which are bound without a guest.

use super::{Place, adopt_and_rewrite, roots};

const START: &str = r#"
daemon libvirtd libvirtd
until_ok virsh -c network:///system uri
until_ok virsh -c nwfilter:///system uri
net() { virsh -c network:///system "$@"; }
filter() { virsh -c nwfilter:///system "$@"; }
"#;

const WRITE: &str = r#"
cat > /tmp/six.xml <<'xml'
<network><name>six</name>
 <forward mode='nat'><nat ipv6='yes'><address start='192.0.2.1' end='192.0.2.9'/><port start='1024' end='65535'/></nat></forward>
 <bridge name='virbr6'/>
 <ip address='192.168.140.1' netmask='255.255.255.0'><dhcp><range start='192.168.140.2' end='192.168.140.254'/></dhcp></ip>
 <ip family='ipv6' address='fd40::1' prefix='64'/></network>
xml
cat > /tmp/alone.xml <<'xml'
<network><name>alone</name><bridge name='virbr7'/><ip address='192.168.150.1' netmask='255.255.255.0'/></network>
xml
cat > /tmp/routed.xml <<'xml'
<network><name>routed</name><forward mode='route'/><bridge name='virbr8'/>
 <ip address='192.168.160.1' netmask='255.255.255.0'/></network>
xml
for name in six alone routed; do net net-define /tmp/$name.xml; done
for name in default six alone routed; do net net-start $name; done
cat > /tmp/own.xml <<'xml'
<filter name='own' chain='root'>
 <rule action='accept' direction='in'><tcp dstportstart='22' dstportend='25' comment='ssh'/></rule>
 <rule action='accept' direction='out'><tcp/></rule>
 <rule action='drop' direction='in'><udp dstipaddr='10.1.2.0' dstipmask='24' connlimit-above='3'/></rule>
 <rule action='accept' direction='inout'><icmp type='8'/></rule>
 <rule action='reject' direction='in'><all-ipv6 srcipaddr='2001:db8::' srcipmask='64'/></rule>
 <rule action='drop' direction='in'><mac protocolid='0x88a2'/></rule>
 <rule action='drop' direction='in'><arp opcode='Request' arpsrcipaddr='10.1.2.3'/></rule>
 <rule action='drop' direction='inout'><all/></rule></filter>
xml
filter nwfilter-define /tmp/own.xml
bind() {
  ip link add $1 type veth peer name p$1
  ip link set $1 up
  cat > /tmp/$1.xml <<xml
<filterbinding><owner><name>$1</name><uuid>d54df46f-1ab5-4a22-8618-4560ef5fac2$3</uuid></owner>
 <portdev name='$1'/><mac address='52:54:00:7b:35:9$3'/>
 <filterref filter='$2'><parameter name='IP' value='192.168.122.$3'/></filterref></filterbinding>
xml
  filter nwfilter-binding-create /tmp/$1.xml
}
bind vnet0 clean-traffic 2
bind vnet1 own 3
"#;

fn all(backend: &str) {
    for root in roots() {
        let place = Place::new(&root);
        // 9.0 knows iptables only
        if backend == "nftables" && place.is("bookworm") {
            continue;
        }
        place.sh("dbus-daemon --system --fork --nopidfile; daemon virtlogd virtlogd");
        // with nft it has tc(8) mend checksums, by an action that not every kernel has
        place.sh("ln -sf /bin/true /usr/sbin/tc");
        place.sh(&format!("echo 'firewall_backend = \"{backend}\"' >> /etc/libvirt/network.conf"));
        let write = format!("{START}{WRITE}");
        let networks = "for name in default six alone routed; do
            virsh -c network:///system net-destroy $name; virsh -c network:///system net-start $name
            done";
        let bindings = "for name in vnet0 vnet1; do
            virsh -c nwfilter:///system nwfilter-binding-delete $name
            virsh -c nwfilter:///system nwfilter-binding-create /tmp/$name.xml
            done";
        let restart = format!("end libvirtd\n{START}until_ok filter nwfilter-binding-dumpxml vnet1");
        adopt_and_rewrite(&place, &format!("libvirt ({backend})"), &write, &[networks, bindings, &restart]);
    }
}

#[test]
#[ignore = "needs OWNER_ROOTS: make test-owners"]
fn libvirt_with_iptables_is_compliant_after_its_networks_and_its_daemon_started_again() {
    all("iptables");
}

#[test]
#[ignore = "needs OWNER_ROOTS: make test-owners"]
fn libvirt_with_nftables_is_compliant_after_its_networks_and_its_daemon_started_again() {
    all("nftables");
}
