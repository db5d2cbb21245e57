//! gunicorn with its own workers.

use std::io;
use std::process::Command;

use nix::sys::signal::Signal;

use super::herd::Herd;
use super::tool::{GUNICORN, Missing};
use super::{Peer, Place, Versions, Work, applications};

/// gunicorn, with `--reuse-port` or without.
#[derive(Clone, Copy, Debug)]
pub struct Gunicorn {
    /// `--reuse-port`: it sets the option on its socket. The workers still share that one, because
    /// the arbiter makes it before it forks.
    pub reuse_port: bool,
}

impl Peer for Gunicorn {
    fn name(&self) -> &'static str {
        if self.reuse_port {
            "gunicorn --reuse-port"
        } else {
            "gunicorn, shared"
        }
    }

    fn work(&self) -> Work {
        Work::Wsgi
    }

    fn versions(&self) -> Result<Versions, Missing> {
        Ok(vec![GUNICORN.found()?])
    }

    fn configuration(&self) -> &'static str {
        "gthread workers, because the sync ones have no keep-alive; heartbeat files in memory"
    }

    fn reload_words(&self) -> &'static str {
        "HUP to the arbiter"
    }

    fn start(&self, place: &Place) -> io::Result<Herd> {
        let extra: &[&str] = if self.reuse_port {
            &["--reuse-port"]
        } else {
            &[]
        };
        let words = command(
            &GUNICORN.word(),
            &place.address.to_string(),
            place.workers,
            extra,
        );
        let mut herd = Herd::new(place);
        herd.spawn(
            Command::new(&words[0])
                .args(&words[1..])
                .current_dir(applications()),
        )?;
        Ok(herd)
    }

    fn reload(&self, herd: &mut Herd, _: &Place) -> io::Result<()> {
        herd.signal(Signal::SIGHUP)
    }
}

/// The command that serves at `bind`, which is an address or `fd://N`.
pub fn command(gunicorn: &str, bind: &str, workers: u32, extra: &[&str]) -> Vec<String> {
    let workers = workers.to_string();
    let mut words = vec![gunicorn, "--bind", bind, "--workers", &workers];
    words.extend([
        "--worker-class",
        "gthread",
        "--threads",
        "4",
        "--keep-alive",
        "120",
    ]);
    // The default folder may be on a disk, whose pauses would look like dead workers.
    words.extend([
        "--worker-tmp-dir",
        "/dev/shm",
        "--log-level",
        "warning",
        "--no-control-socket",
    ]);
    words.extend(extra);
    words.push("app:wsgi");
    words.into_iter().map(str::to_owned).collect()
}
