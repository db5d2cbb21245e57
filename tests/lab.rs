//! The lab's instruments, tested against servers that misbehave on purpose.
//!
//! Programs with `harness = false`, as the benches are, run no tests, so those of the lab's own
//! modules run here as well.
#![allow(missing_docs, unreachable_pub, clippy::unwrap_used)]

#[path = "../benches/lab/load/mod.rs"]
mod load;
#[path = "../benches/lab/usage.rs"]
mod usage;

#[path = "lab/failures.rs"]
mod failures;
#[path = "lab/pace.rs"]
mod pace;
#[path = "lab/server.rs"]
mod server;
#[path = "lab/tree.rs"]
mod tree;

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use load::{Outcome, Plan};

/// No test takes longer, however busy the machine is.
const TEST_TIMEOUT: Duration = Duration::from_secs(60);

/// Carries the plan out; fails the test if it does not end.
fn run(plan: Plan) -> Outcome {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        // Nobody listens any more if the test has lost its patience.
        let _ = sender.send(plan.start().unwrap().stop());
    });
    receiver
        .recv_timeout(TEST_TIMEOUT)
        .expect("the load does not end")
}
