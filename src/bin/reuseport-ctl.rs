//! Controls a running `reuseport-run`.

use std::env;
use std::io;
use std::process::ExitCode;

use reuseport_run::cli::{ctl, runtime_dir};

fn main() -> ExitCode {
    let environment = |name: &str| env::var_os(name);
    let directory = runtime_dir::own_directory(&environment);
    match ctl::run(
        env::args_os(),
        &environment,
        &directory,
        &mut io::stdout().lock(),
    ) {
        Ok(()) => ExitCode::SUCCESS,
        Err(exit) => exit.report("reuseport-ctl"),
    }
}
