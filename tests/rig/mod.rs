//! The rigs that the loss tests run on.
//!
//! ```text
//!   rig (delay/)                a private network, a client and a server a round trip apart
//!    └─ trial (trial/)          one supervisor, one server, one load, some reloads: one line of JSON
//!        ├─ load                the closed loop of clients; every failure has a class
//!        ├─ server              real servers (../fixture), built or found, else "skipped: needs NAME"
//!        └─ process_tree        who was started, so that nobody is left behind
//!   harness                     the same for tests that look at the supervisor from outside
//! ```
//!
//! `rig` and `trial` are programs (Cargo examples, so `cargo test` builds them). They compose:
//! `rig --delay-ms 10 --nobody -- trial --server node --reloads 20 …` runs a trial as an
//! unprivileged user over a network with a round trip of 20 ms. A loss test on loopback alone
//! would pass a supervisor that loses every handshake in flight: on loopback there are none.
//!
//! A test or a program takes these modules in with `#[path = "rig/mod.rs"] mod rig;`, and those
//! that run the project's binaries also `#[path = "rig/harness.rs"] mod harness;` (which names
//! `crate::rig`).
// Every program uses its own part of this.
#![allow(dead_code, unused_imports, unreachable_pub, missing_docs)]
#![allow(clippy::unwrap_used)]

pub mod control;
pub mod load;
pub mod output_lines;
pub mod port;
pub mod process_tree;
pub mod report;
pub mod server;
