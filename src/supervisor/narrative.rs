//! What people are told: one line an event in the log, one sentence to who asked.
//!
//! | file | what it tells of |
//! | --- | --- |
//! | `note` | what happens to a worker |
//! | `progress` | how far a change has come |
//! | `verdict` | how a change ended |
//! | `phrase` | parts of their sentences |

mod note;
mod phrase;
mod progress;
mod verdict;
