//! `monitor manifests`: prints what a cluster needs to run the agent on every node, for `kubectl apply -f -`.
//! Talks to no cluster. The text is that of config-samples, which says more.

use std::io::{self, Write};

use anyhow::Context;

use super::exit::Exit;

const IMAGE: &str = "iptables-monitor:0.1.0";
/// Lines of the DaemonSet that something is added behind.
const ARGS: &str = "          args:\n";
const POLICY: &str = "          imagePullPolicy: IfNotPresent\n";
const ENV: &str = "                  fieldPath: spec.nodeName\n";
const MOUNTS: &str = "              mountPath: /etc/config6\n              readOnly: true\n";
const VOLUMES: &str = "            name: allowed-ip6tables-patterns\n";

const BASE: [&str; 3] = [
    include_str!("../../config-samples/namespace.yaml"),
    include_str!("../../config-samples/rbac.yaml"),
    include_str!("../../config-samples/configmap.yaml"),
];
const DAEMONSET: &str = include_str!("../../config-samples/daemonset.yaml");

#[derive(Debug, clap::Args)]
pub(super) struct ManifestsArguments {
    /// What to add.
    #[arg(long, value_enum, value_name = "NAME", value_delimiter = ',', env = "MONITOR_OVERLAY")]
    overlay: Vec<Overlay>,
    /// The image to run.
    #[arg(long, value_name = "IMAGE", env = "MONITOR_IMAGE", default_value = IMAGE, value_parser = image)]
    image: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Overlay {
    /// The label on the Node too; needs permission to patch Nodes.
    NodeLabel,
    /// Events and metrics, no label: for a first roll-out.
    ReportOnly,
    /// A port for metrics, a PodMonitor and alerts, for the Prometheus operator.
    Prometheus,
    /// A journal on the node, for monitor history and monitor why.
    History,
    /// Dropped packets as Events about the pods on both sides; needs permission to read pods and write Events.
    Drops,
}

impl Overlay {
    fn documents(self) -> &'static [&'static str] {
        match self {
            Self::NodeLabel => &[include_str!("../../config-samples/overlays/node-label/rbac.yaml")],
            Self::ReportOnly | Self::History => &[],
            Self::Drops => &[include_str!("../../config-samples/overlays/drops/rbac.yaml")],
            Self::Prometheus => &[
                include_str!("../../config-samples/overlays/prometheus/podmonitor.yaml"),
                include_str!("../../config-samples/overlays/prometheus/prometheusrule.yaml"),
            ],
        }
    }

    /// What the DaemonSet gets, each behind a line of it.
    fn additions(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::NodeLabel => &[(ARGS, "            - --label-target=both\n")],
            Self::ReportOnly => &[(ARGS, "            - --report-only\n")],
            Self::History => &[
                (
                    ENV,
                    "            - name: MONITOR_STATE_DIR\n              value: /var/lib/iptables-monitor\n",
                ),
                (MOUNTS, "            - name: state\n              mountPath: /var/lib/iptables-monitor\n"),
                (
                    VOLUMES,
                    "        - name: state\n          hostPath:\n            path: /var/lib/iptables-monitor\n            type: DirectoryOrCreate\n",
                ),
            ],
            Self::Drops => &[
                (
                    ENV,
                    "            - name: MONITOR_DROPS_SOURCE\n              value: journal:/var/log/journal\n",
                ),
                (
                    MOUNTS,
                    "            - name: journal\n              mountPath: /var/log/journal\n              readOnly: true\n",
                ),
                (
                    VOLUMES,
                    "        - name: journal\n          hostPath:\n            path: /var/log/journal\n            type: Directory\n",
                ),
            ],
            Self::Prometheus => &[
                (ARGS, "            - --metrics-listen=0.0.0.0:9192\n"),
                (
                    POLICY,
                    "          ports:\n            - name: metrics\n              containerPort: 9192\n              protocol: TCP\n",
                ),
            ],
        }
    }
}

/// Prints the manifests.
pub(super) fn run(arguments: &ManifestsArguments) -> anyhow::Result<Exit> {
    let mut out = io::stdout().lock();
    match out.write_all(render(arguments).as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
        other => other.context("printing the manifests")?,
    }
    Ok(Exit::Success)
}

fn render(arguments: &ManifestsArguments) -> String {
    let mut daemonset = DAEMONSET.replace(IMAGE, &arguments.image);
    let mut overlays = Vec::new();
    for overlay in &arguments.overlay {
        if !overlays.contains(overlay) {
            overlays.push(*overlay);
        }
    }
    for (line, text) in overlays.iter().flat_map(|overlay| overlay.additions()) {
        daemonset = daemonset.replacen(line, &format!("{line}{text}"), 1);
    }
    let added = overlays.iter().flat_map(|overlay| overlay.documents().iter().copied());
    let documents: Vec<&str> = BASE.into_iter().chain([daemonset.as_str()]).chain(added).collect();
    documents.join("---\n")
}

/// No more than an image's name may hold, so that it can be written into YAML as it is.
fn image(name: &str) -> Result<String, String> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-/:@".contains(&byte);
    let is_name = name.bytes().all(is_plain) && name.starts_with(|first: char| first.is_ascii_alphanumeric());
    if is_name && !name.ends_with(':') {
        Ok(name.to_owned())
    } else {
        Err("not the name of an image".to_owned())
    }
}
