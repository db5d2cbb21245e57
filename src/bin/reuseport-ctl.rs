//! Controls a running `reuseport-run`.

use std::env;
use std::io;
use std::process::ExitCode;

use reuseport_run::cli::{ctl, runtime_dir};

fn main() -> ExitCode {
    let directory = runtime_dir::own_directory(&|name| env::var_os(name));
    match ctl::run(env::args_os(), &directory, &mut io::stdout().lock()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(exit) => exit.report("reuseport-ctl"),
    }
}
