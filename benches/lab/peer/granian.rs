//! granian with its own workers.

use std::io;
use std::process::Command;

use nix::sys::signal::Signal;

use super::bare;
use super::herd::Herd;
use super::tool::{GRANIAN, Missing};
use super::{Peer, Place, Versions, Work, applications};

/// granian.
#[derive(Clone, Copy, Debug)]
pub struct Granian;

impl Peer for Granian {
    fn name(&self) -> &'static str {
        "granian --workers"
    }

    fn work(&self) -> Work {
        Work::Granian
    }

    fn versions(&self) -> Result<Versions, Missing> {
        Ok(vec![GRANIAN.found()?])
    }

    fn configuration(&self) -> &'static str {
        "--respawn-failed-workers, without which a worker that dies is not replaced; --respawn-interval 1 instead of 3.5 s; no access log"
    }

    fn reload_words(&self) -> &'static str {
        "HUP to the parent"
    }

    fn start(&self, place: &Place) -> io::Result<Herd> {
        let words = bare::server(Work::Granian, place)?;
        let mut command = Command::new(&words[0]);
        // It says one worker already: the later word counts.
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
