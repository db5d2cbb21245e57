//! The channel between the supervisor and a worker: JSON values, one a line, each way, as Node's `child_process.fork`
//! speaks it with `NODE_CHANNEL_SERIALIZATION_MODE=json` (seen with Node 20.20 and 24.21; Node promises none of it).
//!
//! | file | what it is |
//! | --- | --- |
//! | `lines` | bytes ↔ lines, bounded |
//! | `message` | what a worker says |
//! | `cluster` | what Node's cluster module asks of its primary, and the answers |

mod cluster;
mod lines;
mod message;

pub use cluster::{Address, ClusterCall, Request, acknowledged, answered, disconnect};
pub use lines::{Lines, MAX_LINE_LEN};
pub use message::Message;
