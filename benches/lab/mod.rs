//! The laboratory: what benchmarks are made of.
//!
//! | module | what |
//! | --- | --- |
//! | [`worker`] | the server that everybody runs |
//! | [`share`], [`master`] | the other ways to share a port, each with the supervisor's part ([`bench_workers`]) |
//! | [`way`] | all ways, ours too, as they are started |
//! | [`load`] | many clients, and what they met |
//! | [`usage`] | what processes used |
//! | [`machine`] | where it was, and who else was there |
//! | [`note`] | what both met and used, as a row |
//! | [`trial`] | one measurement, made of these |
//! | [`report`] | rows, medians, tables, plots |
//!
//! A benchmark's binary is these programs too: its first argument names one ([`role`]), so nothing
//! has to be found or installed, and `reuseport-run -- $0 worker --port 8080` works.
// Every benchmark uses its own part of this.
#![allow(dead_code, unused_imports, unreachable_pub)]

pub mod bench_workers;
pub mod load;
pub mod machine;
pub mod master;
pub mod note;
pub mod report;
pub mod share;
pub mod trial;
pub mod usage;
pub mod way;
pub mod worker;

#[path = "../../tests/rig/control.rs"]
pub mod control;
#[path = "../../tests/rig/port.rs"]
pub mod port;

use std::env;
use std::ffi::OsString;
use std::io;
use std::process::ExitCode;

/// Is what the first argument says, if it names a program of the laboratory; returns then how that
/// ended.
pub fn role() -> Option<ExitCode> {
    let name = env::args_os().nth(1)?;
    let arguments = env::args_os().skip(1);
    let ended = match name.to_str()? {
        "worker" => worker::run(arguments),
        "share" => share::run(arguments),
        "master" => master::run(arguments),
        _ => return None,
    };
    Some(exit(&name, ended))
}

fn exit(name: &OsString, ended: io::Result<()>) -> ExitCode {
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{}: {error}", name.to_string_lossy());
            ExitCode::FAILURE
        }
    }
}
