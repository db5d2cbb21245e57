//! The laboratory's programs by themselves, for its tests: `lab worker`, `lab share`, `lab master`.

#[path = "mod.rs"]
mod lab;

use std::process::ExitCode;

fn main() -> ExitCode {
    lab::role().unwrap_or_else(|| {
        eprintln!("usage: lab worker|share|master OPTIONS; --help after a name tells them");
        ExitCode::FAILURE
    })
}
