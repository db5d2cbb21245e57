//! The supervisor as its users meet it: real processes, real sockets, and nothing looked at but
//! what can be seen from outside.
//!
//! One module for each subject, one binary for all of them. Whatever a test waits for can be
//! observed: a line, a status, a file, an answer, a process that is gone. A test that needs what is
//! not there says `skipped: NAME needs X` on standard error, past the capture, and returns.
#![allow(missing_docs)]
#![allow(clippy::unwrap_used)]

#[path = "../rig/harness.rs"]
mod harness;
#[path = "../rig/mod.rs"]
mod rig;
mod support;

mod abandoned;
mod addresses;
mod attributes;
mod bad_input;
mod canary;
mod channel;
mod container;
mod control;
mod crash;
mod deployment;
mod environment;
mod health;
mod held_port;
mod host;
mod identity;
mod inherit;
mod intercept;
mod io_uring;
mod kernels;
mod many_probes;
mod many_workers;
mod notify;
mod output;
mod pid1;
mod process_tree;
mod programs;
mod queues;
mod ready_is_a_state;
mod recycling;
mod reload;
mod rescue;
mod rolling;
mod scale;
mod service_manager;
mod signals;
mod soak;
mod start;
mod stop;
