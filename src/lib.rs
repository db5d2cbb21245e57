//! Runs n copies of any server on one port and replaces them without losing a connection.

pub mod cli;
pub mod config;
pub mod executor;
pub mod fleet;
pub mod rescue;
pub mod supervisor;
pub mod sys;
pub mod wire;
