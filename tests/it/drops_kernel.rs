//! Drop logs as the kernel itself hands them out: real packets, real rules, /dev/kmsg and NFLOG, and the rules that
//! make and explain them.

mod advise;
mod kmsg;
mod nflog;
