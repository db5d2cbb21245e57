//! The rescuer's process: what it is started with, and how it ends.

use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use super::NAME;
use super::peer_names::PeerNames;
use super::rescuer::Rescuer;
use crate::sys::{descriptor, process};
use crate::wire::rescue::{Clients, Configuration, decode};

/// Is the rescuer; comes back with the exit code.
pub fn run() -> u8 {
    let configuration = std::env::args_os().nth(1);
    let configuration = configuration.and_then(|argument| decode(argument.as_encoded_bytes()));
    let (Some(configuration), Ok(true)) = (configuration, descriptor::is_socket(&io::stdin()))
    else {
        eprintln!("{NAME} is started by reuseport-run, not by hand");
        return 2;
    };
    match run_with(&configuration) {
        Ok(()) => 0,
        Err(error) => {
            eprintln!(
                "{NAME}: cannot wait for events: {error}; connections of retired workers are closed"
            );
            1
        }
    }
}

fn run_with(configuration: &Configuration) -> io::Result<()> {
    ignore_stop_signals()?;
    let before = process::raise_file_limit();
    let limit = before.and_then(|_| process::file_limit()).unwrap_or(1024);
    // A quarter is for connections to servers and for looking around.
    let limit = usize::try_from(limit / 4 * 3).unwrap_or(usize::MAX);
    let channel = io::stdin().as_fd().try_clone_to_owned()?;
    let names = match configuration.clients {
        Clients::Named => Some(PeerNames::receive(&channel, configuration.owner)?),
        Clients::Local | Clients::All | Clients::Nobody { .. } => None,
    };
    let configuration = Configuration {
        max_connections: configuration.max_connections.min(limit),
        ..configuration.clone()
    };
    Rescuer::new(channel, &configuration, names)?.run_to_end()
}

/// A service manager that stops a service signals all of its processes. This one ends when the
/// supervisor says so, or is gone.
fn ignore_stop_signals() -> io::Result<()> {
    for signal in [SIGHUP, SIGINT, SIGTERM] {
        signal_hook::flag::register(signal, Arc::new(AtomicBool::new(false)))?;
    }
    Ok(())
}
