//! The operating system's edge, and the only place with `unsafe`: one file per mechanism.
#![allow(unsafe_code)]

pub mod diag;
pub mod pidfd;
pub mod procfs;
pub mod seccomp;
