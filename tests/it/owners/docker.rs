//! Docker's daemon with containers: networks of each kind and published ports, with the iptables of its root.

use super::{Place, adopt_and_rewrite, roots};

const START: &str = r#"
daemon dockerd dockerd --data-root /run/docker-data --exec-root /run/docker --iptables=true --ip6tables=true \
  --experimental --storage-driver vfs
until_ok docker info
"#;

/// An image of one program, and containers of it.
const RUN: &str = r#"
docker network create --subnet 172.30.0.0/24 --internal inner
docker network create --subnet 172.31.0.0/24 --opt com.docker.network.bridge.enable_icc=false app
docker network create --ipv6 --subnet fd31::/64 --subnet 172.32.0.0/24 six
mkdir -p /tmp/image/bin
cp /bin/sleep /tmp/image/bin
for library in $(ldd /bin/sleep | grep -o '/[^ ]*'); do cp --parents "$library" /tmp/image; done
tar -C /tmp/image -c . | docker import - tiny
docker create --name web --network app --ip 172.31.0.7 -p 8080:80 -p 127.0.0.1:5353:53/udp -p 9000-9002:9000-9002 tiny /bin/sleep 1000
docker create --name six --network six --ip 172.32.0.7 --ip6 fd31::7 -p 8081:80 tiny /bin/sleep 1000
docker create --name alone --network inner --ip 172.30.0.7 tiny /bin/sleep 1000
docker start web six alone
"#;

#[test]
#[ignore = "needs OWNER_ROOTS: make test-owners"]
fn docker_is_compliant_after_its_containers_and_its_daemon_started_again() {
    for root in roots() {
        let place = Place::new(&root);
        let write = format!("{START}{RUN}");
        let restart = format!("end dockerd\n{START}docker start web six alone");
        let containers = "docker restart --time 0 web six alone";
        adopt_and_rewrite(&place, "docker", &write, &[containers, &restart]);
        place.sh("docker rm --force web six alone; end dockerd");
    }
}
