//! What signals to the supervisor mean.

use std::io;

use log::debug;
use mio::Interest;
use signal_hook::consts::{
    SIGCHLD, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTTIN, SIGTTOU, SIGUSR1, SIGUSR2,
};

use super::sources::{Source, Sources};
use crate::fleet::{Event, ScaleTo};

pub(super) struct Signals(signal_hook_mio::v1_0::Signals);

/// What a signal asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// Something for the fleet to decide.
    Event(Event),
    /// A child is to be reaped.
    ChildEnded,
    /// The log file is to be opened again.
    ReopenLog,
}

impl Signals {
    /// Handles them from now on.
    ///
    /// # Errors
    /// Those of sigaction(2) and epoll_ctl(2).
    pub(super) fn handle(sources: &mut Sources) -> io::Result<Self> {
        let mut signals = signal_hook_mio::v1_0::Signals::new([
            SIGHUP, SIGUSR1, SIGUSR2, SIGTERM, SIGINT, SIGQUIT, SIGTTIN, SIGTTOU, SIGCHLD,
        ])?;
        let token = sources.token(Source::Signals);
        sources
            .registry()
            .register(&mut signals, token, Interest::READABLE)?;
        Ok(Self(signals))
    }

    /// What the signals that have come ask for.
    pub(super) fn pending(&mut self) -> Vec<Meaning> {
        self.0.pending().filter_map(meaning).collect()
    }
}

fn meaning(signal: i32) -> Option<Meaning> {
    let reply_to = None;
    Some(Meaning::Event(match signal {
        SIGHUP | SIGUSR2 => Event::ReloadRequested { reply_to },
        SIGTERM | SIGINT => Event::StopRequested {
            reply_to,
            now: false,
        },
        SIGQUIT => Event::StopRequested {
            reply_to,
            now: true,
        },
        SIGTTIN => Event::ScaleRequested {
            reply_to,
            to: ScaleTo::By(1),
        },
        SIGTTOU => Event::ScaleRequested {
            reply_to,
            to: ScaleTo::By(-1),
        },
        SIGCHLD => return Some(Meaning::ChildEnded),
        SIGUSR1 => return Some(Meaning::ReopenLog),
        other => {
            debug!("signal {other} has no meaning here");
            return None;
        }
    }))
}
