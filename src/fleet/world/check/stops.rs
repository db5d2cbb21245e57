//! Of workers that are told to stop, and of the end.

use super::*;

impl World {
    /// A rescuer gets a worker ready once, and only one whose connections it has.
    pub(super) fn check_prepare_stop(&self, id: WorkerId) -> Checked {
        let process = self.process_of(id)?;
        ensure(!process.is_prepared, || {
            format!("worker {id} is prepared twice")
        })?;
        ensure(process.is_busy.is_some() && !process.is_rescue_lost, || {
            format!("worker {id} is prepared, and no rescuer has its connections")
        })
    }

    pub(super) fn check_send_stop(&self, id: WorkerId, batch: &[Effect]) -> Checked {
        let process = self.process_of(id)?;
        ensure(process.stop_sent_at.is_none(), || {
            format!("{id} gets the stop signal twice")
        })?;
        // With shared sockets nothing is lost. Who never served has nothing to lose, and who is killed has no time.
        let is_killed =
            |effect: &Effect| matches!(effect, Effect::Kill { worker } if *worker == id);
        let is_excused = !process.was_live || batch.iter().any(is_killed);
        if !self.policy().steering || (self.is_stopping() && is_excused) {
            return Ok(());
        }
        let sockets = &process.listens_on;
        ensure(sockets.is_disjoint(&self.kernel.live), || {
            format!("worker {id} gets the stop signal while it gets new connections")
        })?;
        // What has just retired long enough has nothing to do with it.
        let is_late = batch.iter().any(|effect| {
            matches!(effect, Effect::Log(WorkerEvent::StopNotPrepared { worker }) if *worker == id)
        });
        if batch.iter().any(is_failure) && !is_late {
            return ensure(!process.was_live, || {
                format!("a change failed, and worker {id}, which served, gets the stop signal")
            });
        }
        ensure(sockets.is_disjoint(&self.kernel.unfenced), || {
            format!("worker {id} gets the stop signal while a connection may be on the way to it")
        })?;
        let is_settled = process.measured.0 || process.settle_timed_out;
        let will_not_accept = process.may_not_accept() && self.plan.policy.rescue;
        ensure(is_settled || will_not_accept, || {
            format!("worker {id} gets the stop signal before its backlogs were seen empty")
        })?;
        // A rescuer that dies while it prepares has seen it quiet.
        let is_rescued = !process.is_rescue_lost || process.is_prepared;
        let rescue = self.policy().rescue && is_rescued;
        ensure(!rescue || process.is_prepared, || {
            format!("worker {id} gets the stop signal before its rescuer has prepared it")
        })?;
        ensure(!rescue || process.is_busy.is_some(), || {
            format!("worker {id} gets the stop signal before its connections are adopted")
        })?;
        let is_quiet = if rescue {
            process.is_busy == Some(false)
        } else {
            process.measured.1
        };
        ensure(is_quiet || process.quiet_timed_out, || {
            format!("worker {id} gets the stop signal before it was seen quiet")
        })?;
        let mut open = sockets.iter().filter_map(|id| self.kernel.open.get(id));
        let mut open_too = open.clone();
        let is_excused = process.settle_timed_out
            || open.any(|socket| socket.is_last_resort)
            || open_too.all(|socket| socket.pending == 0 || socket.is_rescued);
        let pending: u64 = self.pending(sockets);
        ensure(is_excused || pending == 0, || {
            format!("worker {id} gets the stop signal while {pending} connections wait for it")
        })?;
        let is_excused = rescue || process.quiet_timed_out;
        ensure(is_excused || process.connections == 0, || {
            format!("worker {id} gets the stop signal while it has connections")
        })
    }

    /// The signal comes once, to one that was told by a message so long ago.
    pub(super) fn check_send_signal(&self, id: WorkerId) -> Checked {
        let due = self.process_of(id)?.signal_due;
        ensure(due.is_some_and(|due| due <= self.now), || {
            format!("worker {id} gets the stop signal, and that is due {due:?}")
        })
    }

    /// Nor is it forgotten.
    pub(super) fn check_signals(&self) -> Checked {
        let is_late = |it: &Process| it.signal_due.is_some_and(|due| due < self.now);
        let mut waiting = self.processes.iter();
        let late = waiting.find(|(_, it)| it.is_alive() && !it.is_killed && is_late(it));
        ensure(late.is_none(), || {
            format!("worker {:?} gets no stop signal", late.map(|(id, _)| *id))
        })
    }

    pub(super) fn check_kill(&self, id: WorkerId) -> Checked {
        let process = self.process_of(id)?;
        let policy = self.policy();
        let has_drained = process
            .stop_sent_at
            .is_some_and(|at| self.now.since(at) >= policy.drain_timeout);
        let has_started = self.now.since(process.started) >= policy.start_timeout;
        let is_late =
            process.drain_timed_out && has_drained || process.start_timed_out && has_started;
        let is_end = self.was_told_to_stop_now;
        ensure(is_late || is_end || process.state == State::Unborn, || {
            format!("worker {id} is killed for no reason")
        })
    }

    /// A time-out in the log has really passed.
    pub(super) fn check_log(&self, event: &WorkerEvent) -> Checked {
        let policy = self.policy();
        let (worker, phase, timeout) = match event {
            WorkerEvent::SettleTimedOut { worker, .. } => {
                (worker, "settling", policy.settle_timeout)
            }
            WorkerEvent::QuietTimedOut { worker } => (worker, "quiescing", policy.quiet_timeout),
            _ => return Ok(()),
        };
        let (was, since) = self.process_of(*worker)?.phase;
        // With no time at all it is over before it was seen.
        let is_so = was == phase && self.now.since(since) >= timeout;
        ensure(is_so || timeout.is_zero(), || {
            format!("worker {worker} has been {was} since {since:?}, and {event:?}")
        })
    }

    pub(super) fn check_finish(&self) -> Checked {
        let mut alive = self.processes.iter().filter(|(_, it)| it.is_alive());
        let left = alive.next().map(|(id, _)| id);
        ensure(left.is_none(), || {
            format!("it finishes, and worker {left:?} is here")
        })?;
        ensure(self.kernel.open.is_empty(), || {
            format!("it finishes with open sockets: {:?}", self.kernel.open)
        })?;
        self.check_answered()
    }
}
