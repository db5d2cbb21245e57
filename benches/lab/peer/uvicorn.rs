//! uvicorn with its own workers.

use std::io;
use std::process::Command;

use nix::sys::signal::Signal;

use super::bare;
use super::herd::Herd;
use super::tool::{Missing, UVICORN};
use super::{Peer, Place, Versions, Work, applications};

/// uvicorn.
#[derive(Clone, Copy, Debug)]
pub struct Uvicorn;

impl Peer for Uvicorn {
    fn name(&self) -> &'static str {
        "uvicorn --workers"
    }

    fn work(&self) -> Work {
        Work::Asgi
    }

    fn versions(&self) -> Result<Versions, Missing> {
        Ok(vec![UVICORN.found()?])
    }

    fn configuration(&self) -> &'static str {
        "uvloop and httptools where they are installed, no access log"
    }

    fn reload_words(&self) -> &'static str {
        "HUP to the parent"
    }

    fn start(&self, place: &Place) -> io::Result<Herd> {
        let words = bare::server(Work::Asgi, place)?;
        let mut command = Command::new(&words[0]);
        command
            .args(&words[1..])
            .arg("--workers")
            .arg(place.workers.to_string());
        let mut herd = Herd::new(place);
        herd.spawn(command.current_dir(applications()))?;
        Ok(herd)
    }

    fn reload(&self, herd: &mut Herd, _: &Place) -> io::Result<()> {
        herd.signal(Signal::SIGHUP)
    }
}
