//! Interrupting reads in which threads of a worker sleep although their bytes are there.

use std::collections::BTreeMap;

use crate::fleet::{RetirementId, WorkerId};
use crate::sys::interrupt::StoppedThreads;

/// The interruptions under way: threads that are stopped, to be let go at once.
#[derive(Debug, Default)]
pub(super) struct Interruptions(BTreeMap<WorkerId, (RetirementId, StoppedThreads)>);

impl Interruptions {
    /// Whether the interruption has begun; else there is nothing to wait for.
    pub(super) fn begin(
        &mut self,
        retirement: RetirementId,
        worker: WorkerId,
        threads: Vec<i32>,
        wake: impl FnOnce() + Send + 'static,
    ) -> bool {
        match StoppedThreads::begin(threads, wake) {
            Ok(stopped) => {
                self.0.insert(worker, (retirement, stopped));
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
        self.0.retain(|worker, (retirement, stopped)| {
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
