//! systemd's own tables `io.systemd.nat`: systemd-networkd for an interface, systemd-nspawn for a container's ports.

use super::{Place, adopt_and_rewrite, roots};

/// Both keep a table that is there.
const FORGET: &str = "nft delete table ip io.systemd.nat\nnft delete table ip6 io.systemd.nat\n";

const NETWORKD: &str = r#"
daemon networkd /usr/lib/systemd/systemd-networkd
until_ok has 192.168.200.0/24
until_ok has fd20::/64
"#;

#[test]
#[ignore = "needs OWNER_ROOTS: make test-owners"]
fn networkd_is_compliant_after_it_started_again() {
    for root in roots() {
        let place = Place::new(&root);
        place.sh("mkdir -p /run/systemd/network
            # a directory of its user
            getent passwd systemd-network || useradd --system systemd-network
            install -d -o systemd-network -g systemd-network /run/systemd/netif
            cat > /run/systemd/network/10-v0.network <<'network'
[Match]
Name=v0
[Network]
Address=192.168.200.1/24
Address=fd20::1/64
IPMasquerade=both
LinkLocalAddressing=no
ConfigureWithoutCarrier=yes
IPv6AcceptRA=no
network
            ip link add v0 type veth peer name v1
            dbus-daemon --system --fork --nopidfile");
        let restart = format!("end networkd\n{FORGET}ip addr flush dev v0\nip link set v0 down\n{NETWORKD}");
        adopt_and_rewrite(&place, "systemd-networkd", NETWORKD, &[&restart]);
    }
}

/// A container of the root's own programs that gives itself two addresses, and what shows that nspawn saw them.
const NSPAWN: &str = r#"
daemon nspawn systemd-nspawn -D /tmp/container --register=no --keep-unit --network-veth -p tcp:8080:80 -p udp:5353:53 --as-pid2 \
  /bin/sh -c 'ip link set host0 up; ip addr add 192.168.77.2/24 dev host0; ip addr add fd77::2/64 dev host0 nodad; exec sleep 1000'
until_ok has 192.168.77.2
"#;

#[test]
#[ignore = "needs OWNER_ROOTS: make test-owners"]
fn nspawn_is_compliant_after_its_container_started_again() {
    for root in roots() {
        let place = Place::new(&root);
        place.sh("mkdir /tmp/container
            mount -t tmpfs none /tmp/container
            cd /tmp/container
            mkdir usr etc proc sys dev run tmp var root
            mount --bind /usr usr
            for link in bin sbin lib lib64; do ln -s usr/$link $link; done
            touch etc/os-release");
        let restart = format!("end nspawn\n{FORGET}{NSPAWN}");
        adopt_and_rewrite(&place, "systemd-nspawn", NSPAWN, &[&restart]);
    }
}
