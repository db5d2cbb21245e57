//! Which listeners of a group get new connections.

pub(crate) mod backend;
pub mod cbpf;
pub(crate) mod fence;
mod removal;
