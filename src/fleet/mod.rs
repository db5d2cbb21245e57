//! Decides. Pure: no clock, descriptor, pid, log, thread or randomness; events in, effects out,
//! time as an argument. Every rule is here, and is tested without a process.
//!
//! Read [`vocabulary`] first, then `fleet` (the contract), `request` (what may begin), `lineup` (who
//! starts), `starting` (readiness), `change` (flip, fail), `retirement` (settle, quiesce, drain),
//! `respawn` (crashes), `queue` (who shares listeners) and `ending`.

mod change;
mod ending;
#[allow(clippy::module_inception)]
mod fleet;
mod lineup;
mod name;
mod queue;
mod request;
mod respawn;
mod retirement;
mod starting;
mod status;
#[cfg(test)]
mod tests;
pub mod vocabulary;
mod worker;
#[cfg(test)]
mod world;

pub use fleet::{Fleet, Policy, ReadyWhen};
pub use status::WorkerView;
pub use vocabulary::*;
