//! One arm an effect. What an effect brings about at once is returned as events.

use std::io;
use std::os::fd::AsRawFd;

use log::error;

use super::Supervisor;
use super::children::Birth;
use crate::config::Steering;
use crate::fleet::{
    Effect, Endpoint, Event, Generation, ListenerId, ListenerSetId, Slot, WorkerEvent, WorkerId,
};
use crate::sys::{listener, process};

impl Supervisor {
    pub(super) fn perform(&mut self, effect: Effect) -> Vec<Event> {
        match effect {
            Effect::Spawn {
                worker,
                generation,
                slot,
                queue,
                workers,
                // Its desk finds them, and those of its siblings, by the queue.
                adopt: _,
            } => {
                return self.spawn(worker, generation, slot, queue, workers);
            }
            Effect::Steer { live } => self.groups.steer(&live),
            Effect::Fence => self.settling = Some(self.fences.ask()),
            Effect::MeasureQueues { workers } => return vec![self.measure_queues(&workers)],
            Effect::MeasureConnections { workers } => {
                return vec![self.measure_connections(&workers)];
            }
            Effect::AdoptConnections {
                retirement,
                workers,
            } => return self.hold(retirement, &workers),
            Effect::DrainBacklog {
                retirement,
                worker,
                listeners,
            } => self.drain_backlog(retirement, worker, &listeners),
            Effect::Probe { worker } => return self.probe(worker),
            Effect::Signal { worker } => self.signal(worker),
            Effect::Kill { worker } => self.kill(worker),
            Effect::Close { listener } => self.close(listener),
            Effect::Log(event) => self.log(&event),
            Effect::Report {
                reply_to,
                after,
                milestone,
                kind,
                generation,
                workers,
            } => {
                self.report(reply_to, after, milestone, kind, generation, workers);
            }
            Effect::Reply { reply_to, result } => {
                // Who is told that the old workers are gone shall find no listener of theirs.
                self.deferred_replies.push((reply_to, result));
            }
            Effect::Finish { exit_reason } => {
                self.end_rescuers();
                self.exit_reason = Some(exit_reason);
            }
        }
        Vec::new()
    }

    fn spawn(
        &mut self,
        worker: WorkerId,
        generation: Generation,
        slot: Slot,
        queue: ListenerSetId,
        workers: u32,
    ) -> Vec<Event> {
        let mut events = Vec::new();
        let passed = match self.passed_listeners(worker, queue, &mut events) {
            Ok(passed) => passed,
            Err(reason) => {
                return events
                    .into_iter()
                    .chain([Event::SpawnFailed { worker, reason }])
                    .collect();
            }
        };
        let numbered = passed.iter().filter_map(|id| {
            Some((
                self.groups.endpoint(*id)?,
                self.groups.socket(*id)?.as_raw_fd(),
            ))
        });
        let birth = Birth {
            worker,
            slot,
            generation,
            workers,
            passed: numbered.collect(),
            queue,
            notify: self.notify.path(),
        };
        match self
            .nursery
            .start(&self.config, &mut self.sources, &mut self.output, birth)
        {
            Ok(child) => self.children.insert(worker, child),
            Err(error) => events.push(Event::SpawnFailed {
                worker,
                reason: cannot_start(&error),
            }),
        }
        events
    }

    /// The listeners of `--listen` for a new worker: its queue's, else new ones.
    fn passed_listeners(
        &mut self,
        worker: WorkerId,
        queue: ListenerSetId,
        events: &mut Vec<Event>,
    ) -> Result<Vec<ListenerId>, String> {
        let mut passed = Vec::new();
        for endpoint in self.config.listen.clone() {
            let shared = self.groups.of_queue(queue, &endpoint).next();
            let id = match shared {
                Some(id) => id,
                None => self.open_listener(&endpoint, queue)?,
            };
            events.push(Event::Prepared {
                worker,
                listener: id,
                endpoint,
            });
            passed.push(id);
        }
        Ok(passed)
    }

    fn open_listener(
        &mut self,
        endpoint: &Endpoint,
        queue: ListenerSetId,
    ) -> Result<ListenerId, String> {
        super::stranger::refuse_stranger(&self.groups, endpoint)
            .and_then(|()| listener::open(endpoint))
            .and_then(|socket| self.groups.join(socket, *endpoint, queue))
            .map_err(|error| super::stranger::cannot_listen(&endpoint.address, &error))
    }

    fn signal(&mut self, worker: WorkerId) {
        let _stopped = self.about_to_tell(worker);
        let Some(child) = self.children.get(worker) else {
            return;
        };
        if let Err(error) = process::signal(child.pid, self.config.stop_signal) {
            error!(
                "worker {worker}: cannot tell pid {} to stop: {error}",
                child.pid
            );
        }
    }

    fn kill(&mut self, worker: WorkerId) {
        let Some(child) = self.children.get(worker) else {
            return;
        };
        if let Err(error) = process::kill_group(child.pid) {
            error!(
                "worker {worker}: cannot kill process group {}: {error}",
                child.pid
            );
        }
    }

    fn close(&mut self, listener: ListenerId) {
        let queue = self
            .groups
            .socket(listener)
            .and_then(|socket| listener::accept_queue_len(&socket).ok());
        let (pending, _) = queue.unwrap_or_default();
        if pending > 0 && self.config.steering == Steering::Cbpf && !self.config.rescue {
            let place = self
                .groups
                .endpoint(listener)
                .map_or_else(String::new, |endpoint| endpoint.to_string());
            log::warn!(
                "{place}: {pending} connections that nobody accepted are reset with their listener"
            );
        }
        self.groups.close(listener);
    }

    /// Forgets what is only kept until the log has told of a worker's end.
    pub(super) fn forget_ended(&mut self, event: &WorkerEvent) {
        if let WorkerEvent::Crashed { worker, .. }
        | WorkerEvent::GivenUp { worker, .. }
        | WorkerEvent::Gone { worker, .. } = event
        {
            self.forget_worker(*worker);
        }
    }

    pub(super) fn forget_worker(&mut self, worker: WorkerId) {
        self.children.remove(&mut self.sources, worker);
        self.output.forget(worker);
        self.measures.forget(worker);
    }
}

fn cannot_start(error: &io::Error) -> String {
    let advice = match error.raw_os_error() {
        Some(libc::EMFILE | libc::ENFILE) => {
            "; raise the limit on open files (ulimit -n) or run fewer workers"
        }
        Some(libc::EAGAIN) => {
            "; raise the limit on processes (ulimit -u, pids.max) or run fewer workers"
        }
        Some(libc::ENOMEM) => "; there is not enough memory for another process",
        Some(libc::E2BIG) => "; the arguments and the environment are too long",
        _ => "",
    };
    format!("cannot start a process: {error}{advice}")
}
