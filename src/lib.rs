//! The map of the program.
//!
//! `monitor` reads every iptables and nftables rule of one node, judges each against allowlists, and says `compliant`,
//! `violations` or `unknown`.
//!
//! # Data flow
//! ```text
//! nf_tables over netlink ──► shapes ─┐ which text may be trusted        patterns dir, profiles
//! iptables-nft-save ───────► text ───┴► pairing ─┐                               │
//! nft -j ──────────────────► canonical lines ────┼─► entries ─► audit ◄── Allowlist (Go syntax)
//! iptables-legacy-save ────► text, count ────────┘               │
//! saved dumps ─────────────► text ───────────────────────────────┤
//!                                                                ▼
//!                            violations, problems ─► Report ─► Verdict ─► text, JSON, SARIF, JUnit, exit code
//!
//! Report ─► watch channel (the latest wins) ─► cluster ──► label, Events (retried with backoff, never delaying a check)
//!       └─► metrics, /status, page                    ▲
//! watch of our own CiliumNode or Node ─► what it holds ┘ restored when others overwrite it
//!
//! NFNLGRP_NFTABLES, legacy counters, allowlist directory ─► watch ─► Scope (what may have changed) ─► scan of just that
//!                    └─► /proc/PID ─► Author (a hint) ─────────────────────────────► ChangeSet ─► Provenance, journal
//! file, journal, kmsg, NFLOG ─► Batch ─► parse ─► pods ─► fold ─► Events, metrics, `monitor drops`
//! ```
//!
//! # Layers
//! ```text
//! main → cli → app → { host, k8s, telemetry } → domain
//! ```
//! - [`domain`]: pure functions. What text says, what may be trusted, what is allowed.
//! - [`host`]: this node. Programs, directories, netlink, getsockopt, `/proc`. Writes nothing but, if asked, two routes and the journal.
//! - [`k8s`]: the API server. One label and its watch, Events, the Node's addresses, what RBAC grants; each call has a deadline.
//! - [`telemetry`]: log lines, metrics, probes and the page.
//! - [`app`]: joins them. One scan, the loop that repeats it, and what the cluster is told.
//! - [`cli`]: arguments, and the writers of reports.
//!
//! # Words
//! *Entry*: a line that is judged. *Rule*: an entry that acts on packets. *Pattern*: a regular expression of an
//! allowlist. *Violation*: an entry that no pattern allows. *Problem*: something that was not read or not understood.
//! *Native*: written by nft or another netlink program, not by iptables. *Torn*: read while the rules changed.
//!
//! # Never
//! - **Never** is a node compliant that was not fully read and understood: every error is a problem, and every problem
//!   but three ([`domain::rules::Reason::is_decisive`]) makes the verdict `unknown`.
//! - **Never** is the text of iptables-nft-save believed for a rule whose kernel expressions do not say the same.
//! - **Never** does a part of the agent die unseen: each task and each thread belongs to a service ([`app::service`]), and one
//!   that ends unasked ends the process.
//! - **Never** does reading change the node: no lock is taken, no table created, no rule touched.
//! - **Never** does untrusted text reach a shell, a terminal or markup unescaped; a chain's name is an argument of
//!   iptables only if it is a plain word.

pub mod app;
pub mod cli;
pub mod domain;
pub mod host;
pub mod k8s;
pub mod telemetry;
