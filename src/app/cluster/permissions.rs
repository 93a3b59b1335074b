//! Finds out at the start which permissions are missing, and again when a call was refused.
//! Changes nothing about what is tried: the agent does what it may.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until};

use crate::k8s::access::{Object, may};
use crate::k8s::client::{ApiServer, Notice, Operation, Resource, Verb};

/// What is missing is asked for again after this time.
const ASK_AGAIN: Duration = Duration::from_secs(3600);
/// However many calls are refused, it is not asked more often.
const MOST_OFTEN: Duration = Duration::from_secs(60);

/// Says what is missing whenever that changes, and never returns.
pub async fn review(api: ApiServer, node: String, needed: BTreeSet<Operation>) {
    let mut told = BTreeSet::new();
    loop {
        let asked = Instant::now();
        let missing = missing(&api, &node, &needed).await;
        if let Some(missing) = missing.as_ref().filter(|missing| **missing != told) {
            tell(missing);
            told.clone_from(missing);
        }
        sleep(MOST_OFTEN).await;
        let is_all_granted = missing.is_some_and(|missing| missing.is_empty());
        tokio::select! {
            () = api.refused() => {}
            () = sleep_until(asked + ASK_AGAIN), if !is_all_granted => {}
        }
    }
}

/// What is not granted; none if the API server does not say.
async fn missing(api: &ApiServer, node: &str, needed: &BTreeSet<Operation>) -> Option<BTreeSet<Operation>> {
    let mut missing = BTreeSet::new();
    for operation in needed {
        match may(api, *operation, Object::Named(node)).await {
            Ok(is_granted) => {
                api.tell(Notice::Permission(*operation, is_granted));
                if !is_granted {
                    missing.insert(*operation);
                }
            }
            Err(failure) => {
                log::debug!("which permissions are missing is not known: {failure}");
                return None;
            }
        }
    }
    Some(missing)
}

/// One line with everything that is missing.
fn tell(missing: &BTreeSet<Operation>) {
    let wanting = wanting(missing);
    if wanting.is_empty() {
        log::info!("RBAC grants everything that is needed");
        return;
    }
    let all: Vec<_> = wanting.iter().map(|operation| described(**operation)).collect();
    log::warn!("RBAC does not grant {}; everything else is done", all.join(", "));
}

/// The older kind of Event is needed only where the newer is not granted, and does for it.
fn wanting(missing: &BTreeSet<Operation>) -> Vec<&Operation> {
    let has_newer = !missing.contains(&Operation::new(Verb::Create, Resource::Event));
    let has_older = !missing.contains(&Operation::new(Verb::Create, Resource::CoreEvent));
    let is_needless = |operation: &Operation| match operation.resource {
        Resource::CoreEvent => has_newer,
        Resource::Event => has_older && !has_newer,
        _ => false,
    };
    missing.iter().filter(|operation| !is_needless(operation)).collect()
}

fn described(operation: Operation) -> String {
    let Operation { resource, verb } = operation;
    let within = resource.namespace().map(|namespace| format!(" in {namespace}")).unwrap_or_default();
    format!("`{}` on {}{within}", verb.rbac(), resource.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    const CREATE: Operation = Operation::new(Verb::Create, Resource::Event);
    const PATCH: Operation = Operation::new(Verb::Patch, Resource::Event);
    const CREATE_OLDER: Operation = Operation::new(Verb::Create, Resource::CoreEvent);
    const WATCH: Operation = Operation::new(Verb::Watch, Resource::CiliumNode);

    #[test]
    fn one_kind_of_event_is_enough() {
        let wanting = |missing: &[Operation]| -> Vec<_> {
            let missing = BTreeSet::from_iter(missing.iter().copied());
            wanting(&missing).into_iter().copied().collect()
        };
        assert_eq!(wanting(&[CREATE, PATCH, WATCH]), [WATCH]);
        assert!(wanting(&[CREATE_OLDER]).is_empty());
        assert_eq!(wanting(&[PATCH]), [PATCH]);
        assert_eq!(wanting(&[CREATE, CREATE_OLDER]), [CREATE, CREATE_OLDER]);
    }

    #[test]
    fn what_is_missing_is_named_as_rbac_names_it() {
        assert_eq!(described(WATCH), "`watch` on ciliumnodes.cilium.io");
        assert_eq!(described(PATCH), "`patch` on events.events.k8s.io in kube-system");
    }
}
