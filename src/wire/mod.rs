//! Bytes to types and back. Pure; the parsers are total: no input makes them panic.

pub mod address;
pub mod channel;
mod connection;
pub mod control;
pub mod diag;
pub mod http;
pub mod notify;
pub mod peer_names;
pub mod proc_net;
pub mod rescue;
pub mod status;
