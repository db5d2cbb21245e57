//! The people who operate the supervisor: clients of the control socket, `status`, and what the log and
//! the clients get.
//!
//! | file | what it does |
//! | --- | --- |
//! | `control` | clients of `reuseport-ctl` |
//! | `client` | one of them |
//! | `status` | what `status` shows |
//! | `recycling_status` | of it, what is limited |
//! | `report` | the sentences of the log and of the replies |

mod client;
pub(crate) mod control;
mod recycling_status;
pub(crate) mod report;
pub(crate) mod status;
