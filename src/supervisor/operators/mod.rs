//! The people who operate the supervisor: clients of the control socket, `status`, and what the log and
//! the clients get.
//!
//! | file | what it does |
//! | --- | --- |
//! | `control` | clients of `reuseport-ctl` |
//! | `client` | one of them |
//! | `reload` | what a reload is asked with |
//! | `status` | what `status` shows |
//! | `change_status` | of it, the change that is under way |
//! | `generation_status` | of it, the generations |
//! | `recycling_status` | of it, what is limited |
//! | `report` | the sentences of the log and of the replies |

mod change_status;
mod client;
pub(crate) mod control;
mod generation_status;
mod recycling_status;
pub(crate) mod reload;
pub(crate) mod report;
pub(crate) mod status;
