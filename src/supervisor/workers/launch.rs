//! What a worker's launcher says on its way to becoming the command ([`crate::launcher`]).

use std::io;
use std::os::fd::OwnedFd;

use super::Workers;
use crate::fleet::WorkerId;
use crate::launcher;
use crate::supervisor::sources::Sources;
use crate::sys::channel;

/// The longest message.
const MAX_MESSAGE_LEN: usize = 4096;

/// One message of a launcher.
#[derive(Debug)]
pub(crate) enum Launched {
    /// The worker's calls of bind and listen arrive here.
    Calls(OwnedFd),
    /// Its calls are not intercepted: a sentence says why.
    NotIntercepted(String),
    /// There is no worker; the reason is part of the worker's exit.
    Failed,
}

impl Workers {
    /// The next message of a worker's launcher; none: there is none now, or it is the command by now.
    pub(crate) fn next_launch_message(
        &mut self,
        sources: &mut Sources,
        worker: WorkerId,
    ) -> Option<Launched> {
        let process = self.processes.get_mut(&worker)?;
        let (stream, _) = process.launcher.as_ref()?;
        let mut bytes = [0; MAX_MESSAGE_LEN];
        loop {
            let (count, descriptors) = match channel::receive(stream, &mut bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return None,
                Err(_) | Ok((0, _)) => {
                    process.close_launcher(sources);
                    return None;
                }
                Ok(received) => received,
            };
            let text = || String::from_utf8_lossy(&bytes[1..count]).into_owned();
            match bytes[0] {
                launcher::FAILED => {
                    process.facts.launch_failure = Some(text());
                    return Some(Launched::Failed);
                }
                launcher::NOT_INTERCEPTED => return Some(Launched::NotIntercepted(text())),
                _ => {
                    if let Some(calls) = descriptors.into_iter().next() {
                        return Some(Launched::Calls(calls));
                    }
                }
            }
        }
    }
}
