//! Real owners of rules, from Debian packages, each in namespaces of its own: every pattern that the report prints for their
//! rules is taken, and what they write is compliant with it, then and after they wrote it again.
//! Makes no root: `make test-owners` does, and names them in `OWNER_ROOTS`, between colons. Without it these tests are told
//! as ignored. Rules of owners that Debian has no package of are loaded with nft (`published`), always.

mod adopt;
mod cni;
mod docker;
mod fail2ban;
mod firewalld;
mod libvirt;
mod netavark;
mod place;
mod published;
mod systemd;
mod ufw;

use self::adopt::{Adopted, adopt};
use self::place::{Place, roots};

/// The rules that an owner wrote are adopted, then each of the scripts has it write them again.
///
/// Every script runs in the place; `write` is one that leaves the owner's rules in the kernel.
#[track_caller]
fn adopt_and_rewrite(place: &Place, owner: &str, write: &str, rewrites: &[&str]) -> Adopted {
    place.sh(write);
    let run = |script: &str| drop(place.sh(script));
    let adopted = adopt(&place.netns, &format!("{owner} of {}", place.suite), &run);
    for rewrite in rewrites {
        let before = place.handles();
        place.sh(rewrite);
        assert_ne!(
            before,
            place.handles(),
            "{owner} of {}: nothing was written again by {rewrite}",
            place.suite
        );
        adopted.expect_the_same(&place.netns, rewrite);
    }
    adopted
}
