//! start_server (Server::Starter), the first of its kind: it binds, its server inherits the socket,
//! and at a reload two generations accept from the same queue. Its server here is gunicorn with
//! workers of its own, because a generation of start_server is one process.

use std::io;
use std::process::Command;

use nix::sys::signal::Signal;

use super::process_tree::ProcessTree;
use super::tool::{GUNICORN, START_SERVER};
use super::{Peer, Place, Profile, Work, gunicorn, is_to_find_fixtures};

/// The descriptor that start_server is told to make its socket.
const SOCKET: u32 = 9;

/// start_server around gunicorn.
#[derive(Clone, Copy, Debug)]
pub struct Starter;

impl Peer for Starter {
    fn profile(&self) -> Profile {
        Profile {
            name: "start_server gunicorn",
            work: Work::Wsgi,
            needs: &[GUNICORN, START_SERVER],
            configuration: "the socket at a known descriptor, with a backlog of 2048 as gunicorn makes it; one second until the old generation is told to stop (the default)",
            reload: "HUP to start_server",
        }
    }

    fn start(&self, place: &Place) -> io::Result<ProcessTree> {
        let mut command = Command::new(START_SERVER.word());
        command
            .arg(format!("--port={}={SOCKET}", place.address))
            .arg("--backlog=2048")
            .arg("--");
        let bind = format!("fd://{SOCKET}");
        command.args(gunicorn::words(&bind, place.workers, &[]));
        ProcessTree::of(place, is_to_find_fixtures(&mut command))
    }

    fn reload(&self, process_tree: &mut ProcessTree, _: &Place) -> io::Result<Option<Command>> {
        process_tree.signal(Signal::SIGHUP)?;
        Ok(None)
    }
}
