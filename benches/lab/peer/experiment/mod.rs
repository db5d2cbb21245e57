//! What is asked of every subject.
//!
//! - [`throughput`]: how many requests, how fast, at what price, and who answers them
//! - [`reload`]: what new workers for old cost those who ask meanwhile
//! - [`crash`]: what the death of a worker costs
//! - [`wrapping`]: one server with us around it, and without
//! - [`trial`]: a subject, running, and a load on it
//! - [`story`]: how each is told: its columns, its pictures

pub mod crash;
pub mod reload;
pub mod story;
pub mod throughput;
pub mod trial;
pub mod wrapping;
