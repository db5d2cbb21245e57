//! What people are told: one line an event in the log, one sentence to who asked.
//!
//! | file | what it tells of |
//! | --- | --- |
//! | `worker_event` | what happens to a worker |
//! | `progress` | how far a change has come |
//! | `change_result` | how a change ended |
//! | `phrase` | parts of their sentences |

mod change_result;
mod phrase;
mod progress;
mod worker_event;
