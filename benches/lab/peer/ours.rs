//! reuseport-run: each worker is one server, as its documentation starts it, without any workers of
//! its own.

use std::io;
use std::process::{Command, Stdio};

use super::herd::Herd;
use super::tool::{GRANIAN, GUNICORN, Missing, NGINX, NODE, UVICORN};
use super::{Peer, Place, Versions, Work, applications, bare};

const RUN: &str = env!("CARGO_BIN_EXE_reuseport-run");
const CTL: &str = env!("CARGO_BIN_EXE_reuseport-ctl");

/// What we are called in tables: the reference.
pub const NAME: &str = "reuseport-run";

/// Ours, around the server of this work.
#[derive(Clone, Copy, Debug)]
pub struct Ours {
    /// What it serves.
    pub work: Work,
}

impl Peer for Ours {
    fn name(&self) -> &'static str {
        NAME
    }

    fn work(&self) -> Work {
        self.work
    }

    fn versions(&self) -> Result<Versions, Missing> {
        let server = match self.work {
            Work::Node => NODE,
            Work::Wsgi => GUNICORN,
            Work::Asgi => UVICORN,
            Work::Granian => GRANIAN,
            Work::Static => NGINX,
        };
        Ok(vec![
            (NAME, env!("CARGO_PKG_VERSION").to_owned()),
            server.found()?,
        ])
    }

    fn configuration(&self) -> &'static str {
        "defaults"
    }

    fn reload_words(&self) -> &'static str {
        "reuseport-ctl reload"
    }

    fn start(&self, place: &Place) -> io::Result<Herd> {
        let server = bare::server(self.work, place)?;
        let mut herd = Herd::new(place);
        herd.spawn(wrapped(place, &server).current_dir(applications()))?;
        Ok(herd)
    }

    fn reload(&self, _: &mut Herd, place: &Place) -> io::Result<()> {
        let mut ctl = Command::new(CTL);
        ctl.arg("--socket").arg(place.file("control")).arg("reload");
        let status = ctl.stdout(Stdio::null()).stderr(Stdio::null()).status()?;
        if status.success() {
            return Ok(());
        }
        Err(io::Error::other(format!(
            "reuseport-ctl reload failed with {status}"
        )))
    }
}

/// The command that runs `server` under us.
pub fn wrapped(place: &Place, server: &[String]) -> Command {
    let mut command = Command::new(RUN);
    command.arg("--workers").arg(place.workers.to_string());
    command.arg("--control").arg(place.file("control"));
    command.arg("--").args(server);
    command
}
