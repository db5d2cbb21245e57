//! What becomes of a listener that its workers have let go of.

use super::Fleet;
use crate::fleet::vocabulary::*;

impl Fleet {
    /// New connections are steered away from it at once. What waits in it goes to the others by way of a rescuer, for
    /// nobody will accept it. Then it is closed: where it was the last of its address, whoever waits or comes is
    /// refused, as without us.
    pub(super) fn abandoned(&mut self, listener: ListenerId) {
        let holders = self.workers.holders(listener);
        let holders = holders.filter_map(|it| Some((it.id, it.listeners.get(&listener)?.endpoint)));
        let holders: Vec<(WorkerId, Endpoint)> = holders.collect();
        let Some(&(last, endpoint)) = holders.last() else {
            return;
        };
        for (worker, endpoint) in holders {
            self.workers
                .change(worker, |it| it.listeners.remove(&listener));
            self.log(WorkerEvent::LetGo { worker, endpoint });
        }
        self.steer();
        self.drain_unserved(last, [(listener, endpoint)]);
        self.release([listener]);
    }
}
