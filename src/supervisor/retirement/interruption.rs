//! Interrupting reads in which threads of a worker sleep although their bytes are there.

use std::collections::BTreeMap;
use std::sync::Arc;

use mio::Waker;

use crate::fleet::{RetirementId, WorkerId};
use crate::sys::interrupt::StoppedThreads;

/// The interruptions under way: threads that are stopped, to be let go at once.
#[derive(Debug)]
pub(super) struct Interruptions {
    waker: Arc<Waker>,
    under_way: BTreeMap<WorkerId, (RetirementId, StoppedThreads)>,
}

impl Interruptions {
    pub(super) fn new(waker: Arc<Waker>) -> Self {
        Self {
            waker,
            under_way: BTreeMap::new(),
        }
    }

    /// Whether the interruption has begun; else there is nothing to wait for.
    pub(super) fn begin(
        &mut self,
        retirement: RetirementId,
        worker: WorkerId,
        threads: Vec<i32>,
    ) -> bool {
        match StoppedThreads::begin(threads, wake(&self.waker)) {
            Ok(stopped) => {
                self.under_way.insert(worker, (retirement, stopped));
                true
            }
            Err(error) => {
                log::warn!("worker {worker}: cannot interrupt its reads: {error}");
                false
            }
        }
    }

    /// The workers whose threads have been stopped, or cannot be; they are let go now.
    pub(super) fn ended(&mut self) -> Vec<(RetirementId, WorkerId)> {
        let mut ended = Vec::new();
        self.under_way.retain(|worker, (retirement, stopped)| {
            let Some(answer) = stopped.poll() else {
                return true;
            };
            if let Err(error) = answer {
                log::warn!("worker {worker}: cannot interrupt its reads: {error}");
            }
            ended.push((*retirement, *worker));
            false
        });
        ended
    }
}

/// Wakes the loop from another thread.
pub(super) fn wake(waker: &Arc<Waker>) -> impl FnOnce() + Send + 'static {
    let waker = Arc::clone(waker);
    move || {
        if let Err(error) = waker.wake() {
            log::error!("cannot wake the event loop: {error}");
        }
    }
}
