//! gunicorn with its own workers.

use std::io;
use std::process::Command;

use nix::sys::signal::Signal;

use super::process_tree::ProcessTree;
use super::tool::GUNICORN;
use super::{Peer, Place, Profile, Work, command};

/// gunicorn, with `--reuse-port` or without.
#[derive(Clone, Copy, Debug)]
pub struct Gunicorn {
    /// `--reuse-port`: it sets the option on its socket. The workers still share that one, because
    /// the arbiter makes it before it forks.
    pub reuse_port: bool,
}

impl Peer for Gunicorn {
    fn profile(&self) -> Profile {
        Profile {
            name: if self.reuse_port {
                "gunicorn --reuse-port"
            } else {
                "gunicorn, shared"
            },
            work: Work::Wsgi,
            needs: &[GUNICORN],
            configuration: "gthread workers, because the sync ones have no keep-alive; heartbeat files in memory",
            reload: "HUP to the arbiter",
        }
    }

    fn start(&self, place: &Place) -> io::Result<ProcessTree> {
        let extra: &[&str] = if self.reuse_port {
            &["--reuse-port"]
        } else {
            &[]
        };
        let words = words(&place.address.to_string(), place.workers, extra);
        ProcessTree::of(place, &mut command(&words)?)
    }

    fn reload(&self, process_tree: &mut ProcessTree, _: &Place) -> io::Result<Option<Command>> {
        process_tree.signal(Signal::SIGHUP)?;
        Ok(None)
    }
}

/// The words of the command that serves at `bind`, which is an address or `fd://N`.
pub fn words(bind: &str, workers: u32, extra: &[&str]) -> Vec<String> {
    let workers = workers.to_string();
    let gunicorn = GUNICORN.word();
    let mut words = vec![gunicorn.as_str(), "--bind", bind, "--workers", &workers];
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
