//! start_server (Server::Starter), the first of its kind: it binds, its server inherits the socket,
//! and at a reload two generations accept from the same queue. Its server here is gunicorn with
//! workers of its own, because a generation of start_server is one process.

use std::io;
use std::process::Command;

use nix::sys::signal::Signal;

use super::herd::Herd;
use super::tool::{GUNICORN, Missing, START_SERVER};
use super::{Peer, Place, Versions, Work, applications, gunicorn};

/// The descriptor that start_server is told to make its socket.
const SOCKET: u32 = 9;

/// start_server around gunicorn.
#[derive(Clone, Copy, Debug)]
pub struct Starter;

impl Peer for Starter {
    fn name(&self) -> &'static str {
        "start_server gunicorn"
    }

    fn work(&self) -> Work {
        Work::Wsgi
    }

    fn versions(&self) -> Result<Versions, Missing> {
        Ok(vec![GUNICORN.found()?, START_SERVER.found()?])
    }

    fn configuration(&self) -> &'static str {
        "the socket at a known descriptor, with a backlog of 2048 as gunicorn makes it; one second until the old generation is told to stop (the default)"
    }

    fn reload_words(&self) -> &'static str {
        "HUP to start_server"
    }

    fn start(&self, place: &Place) -> io::Result<Herd> {
        let mut command = Command::new(START_SERVER.word());
        command
            .arg(format!("--port={}={SOCKET}", place.address))
            .arg("--backlog=2048")
            .arg("--");
        let bind = format!("fd://{SOCKET}");
        command.args(gunicorn::command(
            &GUNICORN.word(),
            &bind,
            place.workers,
            &[],
        ));
        let mut herd = Herd::new(place);
        herd.spawn(command.current_dir(applications()))?;
        Ok(herd)
    }

    fn reload(&self, herd: &mut Herd, _: &Place) -> io::Result<()> {
        herd.signal(Signal::SIGHUP)
    }
}
