//! What signals to the supervisor mean.

use std::io;

use log::{debug, info};
use mio::Interest;
use signal_hook::consts::{
    SIGCHLD, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTTIN, SIGTTOU, SIGUSR1, SIGUSR2,
};

use super::sources::{Source, Sources};
use crate::fleet::{Event, ScaleTo, StopHow};

pub(super) struct Signals(signal_hook_mio::v1_0::Signals);

/// What a signal asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// Something for the fleet to decide.
    Event(Event),
    /// A reload.
    Reload,
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

/// What a signal asks for. Like a request of a client it is told in the log.
fn meaning(signal: i32) -> Option<Meaning> {
    let reply_to = None;
    let stop = |how| Event::StopRequested { reply_to, how };
    let scale_by = |difference| Event::ScaleRequested {
        reply_to,
        to: ScaleTo::By(difference),
    };
    let (name, asked, meaning) = match signal {
        SIGHUP => ("HUP", "reload", Meaning::Reload),
        SIGUSR2 => ("USR2", "reload", Meaning::Reload),
        SIGTERM => ("TERM", "stop", stop(StopHow::Drain).into()),
        SIGINT => ("INT", "stop", stop(StopHow::Interrupt).into()),
        SIGQUIT => ("QUIT", "stop at once", stop(StopHow::Now).into()),
        SIGTTIN => ("TTIN", "one worker more", scale_by(1).into()),
        SIGTTOU => ("TTOU", "one worker fewer", scale_by(-1).into()),
        SIGUSR1 => ("USR1", "open the log file again", Meaning::ReopenLog),
        SIGCHLD => return Some(Meaning::ChildEnded),
        other => {
            debug!("signal {other} has no meaning here");
            return None;
        }
    };
    info!("asked for by signal {name}: {asked}");
    Some(meaning)
}

impl From<Event> for Meaning {
    fn from(event: Event) -> Self {
        Self::Event(event)
    }
}
