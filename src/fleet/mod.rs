//! Decides. Pure: no clock, descriptor, pid, log, thread or randomness.

pub mod census;
mod vocabulary;

pub use vocabulary::{Asker, Endpoint, Generation, ListenerId, Slot, Time, WorkerId};
