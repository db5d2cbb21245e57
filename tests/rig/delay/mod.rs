//! A network of one's own in which the way from a client to a server takes time.
//!
//! ```text
//!   client ── connect 10.9.0.2:P ──► route ──► TUN ─┐ swap source and destination,
//!   server ◄─ from 10.9.0.2, to 10.9.0.1:P ◄───────┘ hold for D ms
//! ```
//!
//! The TUN is a hairpin. A packet from 10.9.0.1 to 10.9.0.2 comes back as one from 10.9.0.2 to
//! 10.9.0.1, that is to this machine, where the server listens; its answer to 10.9.0.2 takes the
//! same way back. Each way takes D, so a round trip takes twice that. Swapping the two addresses
//! leaves every checksum valid, since they are sums in which the order does not count. netem
//! would do the same, but not every kernel has it.
#![allow(unreachable_pub, missing_docs)]

pub mod confinement;
pub mod hairpin;
pub mod interface;
pub mod namespace;

/// Why something cannot be had here: the test that needs it is skipped, not failed.
pub type Missing = String;
