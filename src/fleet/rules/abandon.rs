//! What becomes of a listener that its workers have let go of.

use super::Fleet;
use crate::fleet::vocabulary::*;

impl Fleet {
    /// New connections are steered away from it at once. What waits in it goes to the others by way of a rescuer, for
    /// nobody will accept it. Then it is closed: where it was the last of its address, whoever comes is refused, as
    /// without us.
    pub(super) fn abandoned(&mut self, listener: ListenerId) {
        let holders = self.workers.holders(listener);
        let holders: Vec<WorkerId> = holders.map(|worker| worker.id).collect();
        let Some(&last) = holders.last() else {
            return;
        };
        for id in holders {
            let lost = self
                .workers
                .change(id, |worker| worker.listeners.remove(&listener));
            if let Some(lost) = lost.flatten() {
                self.log(WorkerEvent::LetGo {
                    worker: id,
                    endpoint: lost.endpoint,
                });
            }
        }
        self.steer();
        let unserved = self.unserved_listeners([listener]);
        self.drain_backlog(last, unserved);
        self.release([listener]);
    }
}
