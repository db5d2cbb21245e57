//! Runs n copies of any server on one port and replaces them without losing a connection.
//!
//! # The house
//!
//! ```text
//!  bin/reuseport-run ─► cli ─► config          bin/reuseport-ctl ─► cli ─► wire
//!         │
//!         ▼
//!   supervisor (do) ───► fleet (decide)        pure: no clock, descriptor, pid, log, randomness
//!         │   └────────► wire (bytes ↔ types)  pure, total parsers
//!         ▼
//!       sys (the OS, the only unsafe) ◄── launcher, rescue (processes of their own)
//! ```
//!
//! [`fleet`] holds every rule: events in, effects out, time as an argument. [`supervisor`] turns
//! readiness into events and performs effects, and has no rules. [`sys`] is one file a mechanism.
//! [`wire`] reads and writes what others send. Tests keep the layers and the wings apart.
//! `docs/architecture.md` has one reload with every event and effect, `docs/decisions.md` the reasons.
//!
//! # The words
//!
//! | word | meaning |
//! | --- | --- |
//! | supervisor | the one `reuseport-run` process |
//! | worker | one running copy of the command; its id is never reused |
//! | slot | a worker's place, from 0 |
//! | generation | all workers started by one start or one reload |
//! | endpoint | one address and port that is served: one reuseport group |
//! | listener | one socket in an endpoint's group |
//! | listener set | the listeners of a worker, one an endpoint or more; several workers may share one (`--queues`) |
//! | steering | which listeners of a group get new connections |
//! | settling | old listeners get no new SYN, but finish the handshakes that they have |
//! | quiescing | old workers' connections come to an end |
//! | draining | told to stop: a worker finishes what it has and exits |
//! | recycling | the replacement of a worker that has reached a limit |
//!
//! # A reload
//!
//! ```text
//!           spawn n           all ready         flip          settled         quiet         exit
//!  serving ───────► starting ──────────► serving ──► settling ────► quiescing ────► draining ──► gone
//!                      │ a worker fails or
//!                      │ start-timeout: the new workers are told to stop, the old never noticed
//! ```
//!
//! The order, with the kernel's part: a program names the old listeners; workers are started; each
//! binds and listens through us and gets nothing; all are ready; the program names the new ones
//! (the flip); `membarrier(2)` returns when every packet has seen it; each old listener becomes
//! empty; each old worker's connections end; it is told to stop; it exits; its listener leaves the
//! group between two programs that are both right.

pub mod cli;
pub mod config;
pub mod fleet;
pub mod launcher;
pub mod rescue;
pub mod supervisor;
pub mod sys;
pub mod wire;
