//! reuseport-run: each worker is one server, as its documentation starts it, without any workers of
//! its own.

use std::io;
use std::process::Command;

use super::process_tree::ProcessTree;
use super::roles::{Roles, is_ours};
use super::tool::{GRANIAN, GUNICORN, Missing, NGINX, NODE, Tool, UVICORN};
use super::{Peer, Place, Profile, Versions, Work, bare, is_to_find_fixtures};

const RUN: &str = env!("CARGO_BIN_EXE_reuseport-run");
const CTL: &str = env!("CARGO_BIN_EXE_reuseport-ctl");

/// What we are called in tables: the reference.
pub const NAME: &str = "reuseport-run";
/// Likewise, with new workers that have answered a request before they take over.
const NAME_ASKED: &str = "reuseport-run --ready http:/";

/// Ours, around the server of this work.
#[derive(Clone, Copy, Debug)]
pub struct Ours {
    /// What it serves.
    pub work: Work,
    /// When a new worker is ready.
    pub ready: Ready,
}

/// When a new worker is ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ready {
    /// It listens: the default.
    Listening,
    /// It has answered a request, so that the first of its clients does not meet code that has never run.
    Asked,
}

impl Peer for Ours {
    fn profile(&self) -> Profile {
        Profile {
            name: match self.ready {
                Ready::Listening => NAME,
                Ready::Asked => NAME_ASKED,
            },
            work: self.work,
            needs: match self.work {
                Work::Node => &[NODE],
                Work::Wsgi => &[GUNICORN],
                Work::Asgi => &[UVICORN],
                Work::Granian => &[GRANIAN],
                Work::Static => &[NGINX],
                Work::Demo => &[],
            },
            configuration: match self.ready {
                Ready::Listening => "defaults",
                Ready::Asked => "a new worker answers one request before it gets any other",
            },
            reload: "reuseport-ctl reload",
        }
    }

    fn versions(&self) -> Result<Versions, Missing> {
        let ours = Ok((NAME, env!("CARGO_PKG_VERSION").to_owned()));
        let needed = self.profile().needs.iter().map(Tool::found);
        std::iter::once(ours).chain(needed).collect()
    }

    fn start(&self, place: &Place) -> io::Result<ProcessTree> {
        let server = bare::server(self.work, place)?;
        // The arbiter of a gunicorn that has one worker is a part of that server, as it is without us.
        let roles = Roles {
            is_supervisor: is_ours,
            ..Roles::default()
        };
        let process_tree = ProcessTree::new(place).with(roles);
        let mut command = wrapped(place, &server);
        if self.ready == Ready::Asked {
            command.env("REUSEPORT_READY", "http:/");
        }
        process_tree.and(&mut command)
    }

    fn reload(&self, _: &mut ProcessTree, place: &Place) -> io::Result<Option<Command>> {
        let mut ctl = Command::new(CTL);
        ctl.arg("--socket").arg(place.file("control")).arg("reload");
        Ok(Some(ctl))
    }
}

/// The command that runs `server` under us.
pub fn wrapped(place: &Place, server: &[String]) -> Command {
    let mut command = Command::new(RUN);
    command.arg("--workers").arg(place.workers.to_string());
    command.arg("--control").arg(place.file("control"));
    // The Python application would answer with its slot, which its successor has as well; everybody
    // else's answer is a pid.
    command.args(["--", "env", "-u", "REUSEPORT_WORKER"]);
    command.args(server);
    is_to_find_fixtures(&mut command);
    command
}
