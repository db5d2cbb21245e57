//! The people who operate the supervisor, and their tools: clients of the control socket, `status`, and
//! what the log and the clients are told.

pub(crate) mod control;
mod report;
mod status;
