//! What is known of a worker's first process.

use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Instant;

use mio::Token;
use serde::{Deserialize, Serialize};

use crate::config::Config;
use crate::fleet::{Generation, Slot};
use crate::supervisor::sources::Sources;

#[derive(Debug)]
pub(super) struct WorkerProcess {
    pub(super) facts: Facts,
    pub(super) started: Instant,
    /// What it was made by.
    pub(super) config: Arc<Config>,
    /// The channel to its launcher, until the launcher has become the command.
    pub(super) launcher: Option<(UnixStream, Token)>,
}

/// What is known of a worker's process: plain data, beside the channel to its launcher and the clock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Facts {
    pub(super) pid: i32,
    /// How messages name the worker.
    pub(super) name: String,
    /// What its launcher said of why there is no worker.
    pub(super) launch_failure: Option<String>,
    pub(super) slot: Slot,
    pub(super) generation: Generation,
    pub(super) life: Life,
    /// The address that somebody was answered by while it was starting, if that was seen.
    pub(super) port_answer: Option<SocketAddr>,
    /// Another worker that listened when this one gave up, without our having heard of it, and where.
    pub(super) unheard_sibling: Option<(String, SocketAddr)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Life {
    Running,
    /// It was told to stop.
    Told,
    /// Its group was killed.
    Killed,
    /// Its process has gone, and so have those of its group.
    Ended,
}

impl WorkerProcess {
    pub(super) fn close_launcher(&mut self, sources: &mut Sources) {
        if let Some((stream, token)) = self.launcher.take() {
            sources.remove(&stream, token);
        }
    }
}
