//! ufw with rules of most kinds, in both families.

use super::{Place, adopt_and_rewrite, roots};

const WRITE: &str = r#"
# what it would load with modprobe is there, or is no module
sed -i 's/^IPT_MODULES=.*/IPT_MODULES=""/' /etc/default/ufw
ufw --force enable
ufw allow 22/tcp
ufw limit 2222/tcp
ufw allow from 192.0.2.0/24 to any port 53 proto udp
ufw deny out 25/tcp
ufw reject log 113/tcp
ufw route allow in on lo out on lo
ufw allow proto tcp to any port 80,443,8000:8100 comment web
ufw logging medium
# only what it loads at a start has all rules of a limit
ufw reload
"#;

#[test]
#[ignore = "needs OWNER_ROOTS: make test-owners"]
fn ufw_is_compliant_after_reload_and_after_it_was_off() {
    for root in roots() {
        let place = Place::new(&root);
        adopt_and_rewrite(&place, "ufw", WRITE, &["ufw reload", "ufw disable; ufw --force enable"]);
    }
}
