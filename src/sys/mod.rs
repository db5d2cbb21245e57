//! The operating system's edge, and the only place with `unsafe`: one file per mechanism.
//!
//! No policy: every function does one thing that it is told. Descriptors are owned and
//! close-on-exec from the call that makes them.
#![allow(unsafe_code)]

pub mod addresses;
pub mod affinity;
pub mod bpf;
pub mod cgroup;
pub mod channel;
pub mod connect;
pub mod credentials;
pub mod descriptor;
pub mod diag;
pub mod epoll;
pub mod file_watch;
pub mod interrupt;
pub mod kernel;
pub mod limit;
pub mod listener;
mod message;
pub mod notification;
pub mod oom_score;
pub mod peer_entries;
pub mod pidfd;
pub mod priority;
pub mod process;
pub mod procfs;
pub mod seccomp;
pub mod socket;
pub mod steering;
pub mod tcp;
pub mod usage;
