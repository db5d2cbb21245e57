//! The two ASGI servers that have workers of their own: uvicorn and granian.

use std::io;
use std::process::Command;

use nix::sys::signal::Signal;

use super::process_tree::ProcessTree;
use super::tool::{GRANIAN, UVICORN};
use super::{Peer, Place, Profile, Work, bare, command};

/// One of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asgi {
    /// uvicorn, whose workers inherit one socket.
    Uvicorn,
    /// granian, whose workers inherit one socket, too.
    Granian,
}

impl Peer for Asgi {
    fn profile(&self) -> Profile {
        const RELOAD: &str = "HUP to the parent";
        match self {
            Self::Uvicorn => Profile {
                name: "uvicorn --workers",
                work: Work::Asgi,
                needs: &[UVICORN],
                configuration: "uvloop and httptools, no access log",
                reload: RELOAD,
            },
            Self::Granian => Profile {
                name: "granian --workers",
                work: Work::Granian,
                needs: &[GRANIAN],
                configuration: "--respawn-failed-workers, without which a worker that dies is not replaced; --respawn-interval 1 instead of 3.5 s; no access log",
                reload: RELOAD,
            },
        }
    }

    fn start(&self, place: &Place) -> io::Result<ProcessTree> {
        let mut server = command(&bare::server(self.profile().work, place)?)?;
        // granian's words name a number already: the later one counts.
        server.arg("--workers").arg(place.workers.to_string());
        ProcessTree::of(place, &mut server)
    }

    fn reload(&self, process_tree: &mut ProcessTree, _: &Place) -> io::Result<Option<Command>> {
        process_tree.signal(Signal::SIGHUP)?;
        Ok(None)
    }
}
