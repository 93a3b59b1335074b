//! The map of the program.
//!
//! `monitor` reads every iptables and nftables rule of one node, judges each against allowlists, and says `compliant`,
//! `violations` or `unknown`.
//!
//! # Data flow
//! ```text
//! nf_tables over netlink ─► expressions, sets ─┐                         patterns dir, profiles
//! legacy tables (getsockopt) ─► entries ───────┴► decoded ─► text ─┐             │
//! saved dumps ─► parsed ─► text ───────────────────────────────────┴► Entry ─► audit ◄── Allowlist (Go syntax)
//!                                                                ▼───────────────┘
//!                            violations, problems ─► Report ─► Verdict ─► text, JSON, SARIF, JUnit, exit code
//!
//! Report ─► watch channel (the latest wins) ─► cluster ──► label, Events (retried with backoff, never delaying a check)
//!       └─► metrics, /status, page                    ▲
//! watch of our own CiliumNode or Node ─► what it holds ┘ restored when others overwrite it
//!
//! NFNLGRP_NFTABLES, legacy counters, allowlist directory ─► watch ─► Scope (what may have changed) ─► scan of just that
//!                    └─► /proc/PID ─► Author (a hint) ─────────────────────────────► ChangeSet ─► Provenance, history
//!       └─► each message judged when heard ─► what is not allowed: there at the next look, or came and went ┘
//! file, journal, kmsg, NFLOG ─► Batch ─► parse ─► peers ─► folding ─► Events, metrics, `monitor drops`
//! ```
//!
//! # The house
//! Floors: `main → cli → app → { host, k8s, telemetry } → domain`. Adapters never name one another. A capability has the
//! same name on every floor: checks (on the ground: changes, judging), cluster, drops.
//! ```text
//! domain/     pure: from text and values to values; all may name the first five
//!   verdict     compliant, violations, unknown
//!   words/      text for people: escaped, cut; numbers, moments, errors with their causes; how long to wait
//!   rules/      what a firewall holds: entries, problems; kernel/ (bytes to values and back), text/ (values to lines),
//!               lines (both in one call), saved/ (what tools print into files)
//!   packets/    what a packet is            peers/    who had which address when
//!   changes/    what changed, when, by whom; what is remembered of it
//!   judging/    what is allowed and what was found: allowlists, audit, report, why        may name changes
//!   cluster/    what a report calls for: label, Events                                    may name judging, changes
//!   drops/      from a log line to a kind of drop, and how to log
//! host/       this node, by what is touched. Writes nothing but, if asked, routes, checkpoints and the history
//!   netlink/    nf_tables read and heard, NFLOG, routes          xtables/   the legacy tables, their lock
//!   logs/       files, journald, kmsg                            files/     directories of settings, checkpoints
//!   process/    programs run, /proc                              store/     the history
//!   net/        addresses, names of the DNS                      bpf_map    one counter      raw/   the only `unsafe`
//! k8s/        the API server: one label, Events, pods, the Node, what RBAC grants; every call has a deadline
//! telemetry/  log lines, metrics, probes and the page
//! app/        the loops that join adapters and decisions
//!   checks/     the rules read, judged and kept an eye on: run (the loop), scan/, watch/, history/
//!   cluster/    what the cluster is told        drops/    logs followed, packets folded, owners of pods told
//!   peers/      the one directory of who has which address
//!   agent       starts and stops them all; they meet nowhere else
//! cli/        arguments, the writers of reports, manifests
//! ```
//!
//! # Words
//! *Entry*: a line that is judged. *Rule*: an entry that acts on packets. *Pattern*: a regular expression of an
//! allowlist. *Violation*: an entry that no pattern allows. *Not judged*: one of which nobody can say. *Problem*: something that was not read or not understood.
//! *Look*: a read of the rules, or of those that may have changed. *Came and went*: in force, and gone before a look.
//! *Native*: written by nft or another netlink program, not by iptables. *Torn*: read while the rules changed.
//!
//! # Never
//! - **Never** is a node compliant that was not fully read and understood: every error is a problem, and every problem
//!   but four ([`domain::rules::Reason::is_decisive`]) makes the verdict `unknown`.
//! - **Never** is a part of a rule left out of its line: what has no words is written as bytes, and what is decoded must
//!   encode to the same bytes again. Two rules share a line only as [`domain::rules::kernel::same`] lists.
//! - **Never** does a part of the agent die unseen: each task and each thread belongs to a service ([`app::service`]), and one
//!   that ends unasked ends the process.
//! - **Never** does reading the node change it: no lock is taken, no table created, no rule touched. Nor does it start a program:
//!   programs run only for what was asked by name (a journal, a saved text of nft, `check --compare`).
//! - **Never** does untrusted text reach a shell, a terminal or markup unescaped; a chain's name is an argument of
//!   iptables only if it is a plain word.

pub mod app;
pub mod cli;
pub mod domain;
pub mod host;
pub mod k8s;
pub mod telemetry;
