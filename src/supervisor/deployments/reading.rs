//! Reading a configuration, by a thread: a file may be on a disk that hangs, and meanwhile workers wait in bind and
//! clients for their answers.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError, sync_channel};
use std::thread::Builder;

use log::debug;
use mio::Waker;

use crate::config::{Config, Overrides, ReadConfig};
use crate::fleet::DeploymentId;

type Outcome = Result<Config, String>;

pub(super) struct Reading {
    read: ReadConfig,
    waker: Arc<Waker>,
    under_way: Option<UnderWay>,
}

struct UnderWay {
    id: DeploymentId,
    overrides: Overrides,
    outcome: Receiver<Outcome>,
}

impl Reading {
    pub(super) fn new(read: ReadConfig, waker: Arc<Waker>) -> Self {
        Self {
            read,
            waker,
            under_way: None,
        }
    }

    /// Begins to read. What was being read before is given up: nobody waits for it any more.
    pub(super) fn begin(&mut self, id: DeploymentId, overrides: Overrides) {
        let (report, outcome) = sync_channel(1);
        let (read, waker) = (Arc::clone(&self.read), Arc::clone(&self.waker));
        let given = overrides.clone();
        let again = report.clone();
        let work = move || {
            // The receiver may be gone.
            let _ = report.send(read(&given));
            if let Err(error) = waker.wake() {
                log::error!("cannot wake the event loop: {error}");
            }
        };
        if let Err(error) = Builder::new().name("read-config".into()).spawn(work) {
            debug!("cannot start a thread ({error}); reading the configuration here");
            let _ = again.send((self.read)(&overrides));
            // The loop looks only when it is woken.
            if let Err(error) = self.waker.wake() {
                log::error!("cannot wake the event loop: {error}");
            }
        }
        self.under_way = Some(UnderWay {
            id,
            overrides,
            outcome,
        });
    }

    /// What was read, if it was.
    pub(super) fn collect(&mut self) -> Option<(DeploymentId, Overrides, Outcome)> {
        let outcome = match self.under_way.as_ref()?.outcome.try_recv() {
            Ok(outcome) => outcome,
            // Another thread has woken the loop.
            Err(TryRecvError::Empty) => return None,
            Err(TryRecvError::Disconnected) => {
                Err("the configuration could not be read; the log says why".to_owned())
            }
        };
        let it = self.under_way.take()?;
        Some((it.id, it.overrides, outcome))
    }
}
