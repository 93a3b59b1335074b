//! Drop logs as the kernel itself hands them out: real packets, real rules, /dev/kmsg and NFLOG.

mod kmsg;
mod nflog;
