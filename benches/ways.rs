//! ways
#![allow(missing_docs)]
mod lab;
use std::process::ExitCode;
fn main() -> ExitCode {
    lab::role().unwrap_or(ExitCode::SUCCESS)
}
