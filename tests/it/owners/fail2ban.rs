//! fail2ban with bans of both families, through its actions for nftables, iptables and ipset.

use super::{Place, adopt_and_rewrite, roots};

const START: &str = r#"
fail2ban-server -b start > /tmp/fail2ban.log
until_ok fail2ban-client ping
"#;

/// How its scripts know what is there.
const CONDITIONS: &str = r#"
is_banned() { [ "$(fail2ban-client get sshd banip | wc -w)" = 3 ] && [ "$(fail2ban-client get apache-auth banip | wc -w)" = 1 ]; }
has_ended() { ! pgrep fail2ban-server; }
"#;

fn all(action: &str, written: &str) {
    for root in roots() {
        let place = Place::new(&root);
        let jails = format!(
            "rm -f /etc/fail2ban/jail.d/*
            mkdir -p /run/fail2ban
            touch /var/log/auth.log /tmp/web
            cat > /etc/fail2ban/jail.local <<'jails'
[DEFAULT]
banaction = {action}
backend = polling
bantime = 1d
[sshd]
enabled = true
backend = polling
logpath = /var/log/auth.log
[apache-auth]
enabled = true
port = http,https
logpath = /tmp/web
jails
"
        );
        let bans = "
            fail2ban-client set sshd banip 192.0.2.1 192.0.2.77 2001:db8::1
            fail2ban-client set apache-auth banip 192.0.2.2";
        let all_there = format!("{CONDITIONS}{written}\nuntil_ok is_banned\nuntil_ok is_written");
        let write = format!("{jails}{START}{bans}\n{all_there}");
        let restart = format!("{CONDITIONS}fail2ban-client stop\nuntil_ok has_ended\n{START}{all_there}");
        let reload = format!("fail2ban-client reload --restart\n{all_there}");
        adopt_and_rewrite(&place, &format!("fail2ban ({action})"), &write, &[&reload, &restart]);
    }
}

#[test]
#[ignore = "needs OWNER_ROOTS: make test-owners"]
fn fail2ban_with_nftables_is_compliant_after_reload_and_restart() {
    let written = "is_written() { [ \"$(nft list ruleset | grep -oE '192\\.0\\.2\\.[0-9]+|2001:db8::1' | wc -l)\" = 4 ]; }";
    all("nftables-multiport", written);
    all("nftables-allports", written);
}

#[test]
#[ignore = "needs OWNER_ROOTS: make test-owners"]
fn fail2ban_with_iptables_is_compliant_after_reload_and_restart() {
    let written = "is_written() { [ \"$(iptables-save | grep -c ' -s 192.0.2.')\" = 3 ] && ip6tables-save | grep -q 2001:db8::1; }";
    all("iptables-multiport", written);
}

#[test]
#[ignore = "needs OWNER_ROOTS: make test-owners"]
fn fail2ban_with_ipset_is_compliant_after_reload_and_restart() {
    let written = "is_written() { [ \"$(ipset save | grep -cE '192\\.0\\.2\\.|2001:db8::1')\" = 4 ]; }";
    all("iptables-ipset-proto6", written);
}
