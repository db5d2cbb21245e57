//! Of what concerns listeners and what waits in them.

use super::*;

impl World {
    /// A replacement adopts listeners of its own set only.
    pub(super) fn check_adopted_listeners(
        &self,
        set: ListenerSetId,
        adopt: &[ListenerId],
    ) -> Checked {
        for id in adopt {
            let Some(socket) = self.kernel.open.get(id) else {
                return Err(format!("{id:?} is given to a new worker, and is closed"));
            };
            ensure(socket.set == set, || {
                format!("{id:?} of {:?} is given to a worker of {set:?}", socket.set)
            })?;
        }
        Ok(())
    }

    /// A rescuer drains a backlog once, and only if no worker has time left to empty it.
    pub(super) fn check_drain_backlog(&self, id: ListenerId, batch: &[Effect]) -> Checked {
        let Some(socket) = self.kernel.open.get(&id) else {
            return Err(format!("{id:?} is drained by a rescuer, and is closed"));
        };
        // What comes to one that serves is another matter than what it leaves.
        let is_again = socket.is_rescued && !self.is_drained_alive(id);
        ensure(!is_again, || {
            format!("{id:?} is drained by a rescuer twice")
        })?;
        let has_time = |id: &&WorkerId| {
            let process = self.processes.get(id);
            process.is_some_and(|it| {
                let will_not_accept = it.settle_timed_out || it.may_not_accept();
                it.stop_sent_at.is_none() && !will_not_accept && !it.is_killed
            })
        };
        let able = socket.listeners.iter().find(has_time);
        ensure(able.is_none(), || {
            format!("{id:?} is drained by a rescuer, and worker {able:?} serves from it")
        })?;
        ensure(self.others_are_at(id, socket, batch), || {
            format!("{id:?} is drained by a rescuer, and nobody else is at its address")
        })
    }

    /// Whether another listener is at a socket's address, so that what waits for it can be passed on.
    fn others_are_at(&self, id: ListenerId, socket: &Socket, batch: &[Effect]) -> bool {
        let accepts = |other: ListenerId, it: &Socket| {
            // What was taken of one that has died is another matter than what its successor accepts.
            let has_successor = self.has_successor(other) || is_kept(other, it, batch);
            !it.is_rescued || has_successor
        };
        let mut open = self.kernel.open.iter();
        open.any(|(other, it)| {
            *other != id && it.endpoint == socket.endpoint && accepts(*other, it)
        })
    }

    /// Whether somebody who is alive was given it, and accepts from it or will.
    fn has_successor(&self, listener: ListenerId) -> bool {
        let mut all = self.processes.values().filter(|it| it.is_alive());
        all.any(|it| {
            let has = it.given.contains(&listener)
                || it.is_successor && it.listens_on.contains(&listener);
            has && it.stop_sent_at.is_none() && !it.checked.is_drained
        })
    }

    /// Whether new connections to a socket's address have somewhere to go.
    pub(super) fn others_serve_at(&self, socket: &Socket) -> bool {
        let live = self.kernel.live.iter();
        let mut live = live.filter_map(|id| self.kernel.open.get(id));
        live.any(|it| it.endpoint == socket.endpoint)
    }

    /// What a worker did not accept in its time can be given to nobody where nobody serves.
    pub(in crate::fleet::world) fn note_left(&mut self, id: WorkerId) {
        let sockets = self.processes.get(&id).map(|it| it.listens_on.clone());
        for socket in sockets.into_iter().flatten() {
            let at = self.kernel.open.get(&socket);
            let is_left = at.is_some_and(|it| !self.others_serve_at(it));
            if let Some(socket) = self.kernel.open.get_mut(&socket) {
                socket.is_left |= is_left;
            }
        }
    }

    /// Who is refused cannot be one who has been answered already.
    pub(super) fn check_refuse(&self) -> Checked {
        if !self.policy().steering {
            return Ok(());
        }
        let served = self
            .processes
            .iter()
            .filter(|(_, it)| it.is_alive() && it.was_live);
        for (id, process) in served {
            let sockets = &process.listens_on;
            let is_settled = process.measured.0 && sockets.is_disjoint(&self.kernel.unfenced);
            let will_not_accept = process.may_not_accept() && self.policy().rescue;
            let is_given_up = process.settle_timed_out || will_not_accept;
            let is_excused = is_given_up || process.stop_sent_at.is_some();
            ensure(is_settled || is_excused, || {
                format!("new connections are refused while one may be on the way to worker {id}")
            })?;
        }
        Ok(())
    }

    pub(super) fn check_close(&self, id: ListenerId, batch: &[Effect], before: &Before) -> Checked {
        let Some(socket) = self.kernel.open.get(&id) else {
            return Err(format!("{id:?} is closed, and is not open"));
        };
        ensure(socket.listeners.is_empty(), || {
            format!(
                "{id:?} is closed while {:?} serve from it",
                socket.listeners
            )
        })?;
        let mut alive = self.processes.iter().filter(|(_, it)| it.is_alive());
        // What is owed by nobody is closed when its time is over.
        let is_owed = |it: &Process| {
            !self.opened_late.contains(&id) && !self.may_change.contains(&it.generation)
        };
        let owner = alive.find(|(_, it)| it.given.contains(&id) && is_owed(it));
        let owner = owner.map(|(owner, _)| owner);
        ensure(owner.is_none(), || {
            format!("{id:?} is closed, and worker {owner:?} was given it")
        })?;
        let is_given_up = batch
            .iter()
            .any(|effect| matches!(effect, Effect::Log(WorkerEvent::GivenUp { .. })));
        let rescue = self.policy().rescue;
        let is_excused = self.is_stopping()
            || socket.is_rescued
            || socket.is_left
            || self.opened_late.contains(&id)
            || is_given_up && !rescue
            || (socket.is_taken_back || batch.iter().any(is_taken_back)) && !rescue
            || !self.policy().steering
            || !socket.was_live
            || !self.others_serve_at(socket)
            || before
                .ended
                .is_some_and(|worker| self.is_excused(worker, socket.is_last_resort, before));
        ensure(is_excused || socket.pending == 0, || {
            format!("{id:?} is closed with {} connections", socket.pending)
        })
    }

    /// Whether what a worker leaves behind when it ends may be lost.
    pub(super) fn is_excused(&self, id: WorkerId, is_last_resort: bool, before: &Before) -> bool {
        let Some(process) = self.processes.get(&id) else {
            return false;
        };
        let Some((phase, _)) = before.phases.get(&id) else {
            return false;
        };
        // The connection came to a group that no present worker serves.
        let is_last_resort_left = process.stop_sent_at.is_some() && is_last_resort;
        let has_crashed_late = matches!(*phase, "standing-by" | "settling" | "quiescing");
        let is_drain_only = self.drain_only.contains(&id);
        let is_unserved = process.settle_timed_out || has_crashed_late || is_drain_only;
        // These are what a rescuer is for.
        is_last_resort_left || is_unserved && !self.policy().rescue
    }

    pub(super) fn pending(&self, sockets: &BTreeSet<ListenerId>) -> u64 {
        let open = sockets.iter().filter_map(|id| self.kernel.open.get(id));
        open.map(|socket| socket.pending).sum()
    }
}

/// Whether a socket stays open for one who will come.
fn is_kept(id: ListenerId, socket: &Socket, batch: &[Effect]) -> bool {
    let goes = batch.iter().any(|effect| match effect {
        Effect::Close { listener } => *listener == id,
        Effect::DrainBacklog { listeners, .. } => listeners.contains(&id),
        _ => false,
    });
    socket.listeners.is_empty() && !goes
}
