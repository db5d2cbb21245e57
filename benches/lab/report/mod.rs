//! From rows to what a person reads.
//!
//! - [`results`]: the raw rows, and their JSON;
pub mod results;
