//! What is asked of every subject.
//!
//! - [`throughput`]: how many requests, how fast, at what price, and who answers them
//! - [`reload`]: what new workers for old cost those who ask meanwhile
//! - [`crash`]: what the death of a worker costs
//! - [`wrapping`]: one server with us around it, and without
//! - [`scale`]: supervisors of many workers
//! - [`extent`]: how much of it
//! - [`trial`], [`replacement`]: a subject that runs, a load on it, a reload, and its row
//! - [`experiments`]: all of them, by name

pub mod crash;
pub mod experiments;
pub mod extent;
pub mod reload;
pub mod replacement;
pub mod scale;
pub mod throughput;
pub mod trial;
pub mod wrapping;
