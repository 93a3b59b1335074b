//! Programs that a kubeconfig has started for credentials: all of them get a guard.
//! Starts none.
//!
//! *Source*: Kubernetes documentation, "client-go credential plugins"; kube's `AuthInfo`, whose `gcp` provider runs a
//! program too.

use kube::config::{AuthInfo, AuthProviderConfig, ExecConfig};

/// Has `guard`, a program and its first arguments, start whatever the credentials are asked of.
pub(super) fn under_guard(auth: &mut AuthInfo, guard: &[String]) {
    let Some((program, first)) = guard.split_first() else { return };
    if let Some(ExecConfig { command: Some(command), args, .. }) = &mut auth.exec {
        let plugin = std::mem::replace(command, program.clone());
        let rest = args.take().unwrap_or_default();
        *args = Some(first.iter().cloned().chain([plugin]).chain(rest).collect());
    }
    if let Some(AuthProviderConfig { config, .. }) = &mut auth.auth_provider
        && let Some(plugin) = config.get("cmd-path").cloned()
        // arguments are told apart by spaces, and nothing quotes one
        && !plugin.contains(' ')
    {
        let rest = config.get("cmd-args").cloned().unwrap_or_default();
        config.insert("cmd-path".to_owned(), program.clone());
        config.insert("cmd-args".to_owned(), format!("{} {plugin} {rest}", first.join(" ")));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn guarded(auth: serde_json::Value) -> serde_json::Value {
        let mut auth: AuthInfo = serde_json::from_value(auth).unwrap();
        under_guard(&mut auth, &["guard", "7", "--"].map(str::to_owned));
        serde_json::to_value(auth).unwrap()
    }

    #[test]
    fn a_plugin_is_started_by_the_guard() {
        let exec = |command: &str, args: &[&str]| {
            json!({"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": command, "args": args,
                            "env": [{"name": "A", "value": "b"}], "provideClusterInfo": true}})
        };
        assert_eq!(guarded(exec("aws", &["eks"])), exec("guard", &["7", "--", "aws", "eks"]));
        let gcp = |config| json!({"auth-provider": {"name": "gcp", "config": config}});
        assert_eq!(
            guarded(gcp(json!({"cmd-path": "gcloud", "cmd-args": "config helper", "token-key": "{.t}"}))),
            gcp(json!({"cmd-path": "guard", "cmd-args": "7 -- gcloud config helper", "token-key": "{.t}"}))
        );
    }

    #[test]
    fn other_credentials_stay_as_they_are() {
        for auth in [
            json!({"tokenFile": "/t"}),
            json!({"auth-provider": {"name": "oidc", "config": {"id-token": "x"}}}),
        ] {
            assert_eq!(guarded(auth.clone()), auth);
        }
    }
}
