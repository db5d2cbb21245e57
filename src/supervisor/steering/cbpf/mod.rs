//! Steering: which listeners of an endpoint's group get the new connections.
//!
//! ```text
//!  Layout ── targets ──► compile ── Program ──► attached to the group by crate::sys::steering
//!  who sits where        the same choice as `choose`
//! ```
//!
//! The order of events: a listener joins the group when it starts to listen ([`Layout::joined`]); the
//! program is replaced when the set of listeners that shall be chosen changes; a listener is taken out
//! between two programs ([`Layout::removal`]).
//!
//! The hazard: the kernel knows listeners by index only, and moves the last one into the place of one
//! that leaves. A program that is a moment too old sends connections to a listener that nobody
//! accepts from, and an index out of range sends them to any member. So an index is given out only if
//! it is right in every state that the group may be in.
//!
//! Everything here is pure. [`compile`] and [`choose`] are two forms of one decision; an interpreter of
//! the program, and the kernel itself, are held against it by the tests.

mod instruction;
#[cfg(test)]
mod interpreter;
mod layout;
mod program;
mod spread;

pub use instruction::Instruction;
pub use layout::{Layout, Removal};
pub use program::{Probe, Program, Unfit, compile};
pub use spread::{Target, choose};
