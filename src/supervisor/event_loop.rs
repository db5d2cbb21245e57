//! The loop: wait, turn what is ready into events, hand each to the fleet, do what it says.
//!
//! The loop never waits for anybody. What it calls that can take a while, and how long at most:
//!
//! | call | bound |
//! | --- | --- |
//! | starting a process (fork, exec of the launcher) | some milliseconds; the kernel's memory |
//! | fetching a worker's connections for a rescuer | 512 at a time, some milliseconds |
//! | looks in /proc at the processes of a worker (of up to 64, once one ends that has never listened) | grows with their descriptors; a tenth of a second for 10,000 |
//! | looking at what workers use, where that is limited, at a hundred of them a second at most | 5 ms, where each is one process |
//! | listing the connections of a port (sock_diag), also once a worker that ends without having listened, for up to four ports | grows with all connections of the host |
//! | `port_conflict::in_use`, `holder_of`: which process has a socket | a walk over all of /proc, once an error or a listener that seems to be nobody's |
//! | reading `/proc/kallsyms` | 30 ms, at the start only |
//! | trying what the host allows (`host`), and naming a peer | 10 s and 1 s if they hang, at the start only |
//! | attaching the programs that name peers, and taking their entries back | a millisecond or two, a retirement |
//! | writing the last output at the end | as long as `output` says, at the end only |
//!
//! A fence and the stopping of a worker's threads are waited for by threads of their own, which wake the
//! loop ([`Source::Threads`]).

use std::io;
use std::time::{Duration, Instant};

use log::debug;
use mio::{Events, Token};

use super::Supervisor;
use super::sources::Source;
use super::workers::{End, Launched};
use crate::fleet::{Event, ExitReason, ListenerId, WorkerId};
use crate::wire::rescue::{EndpointProtocol, Protocol};

impl Supervisor {
    pub(super) fn run_to_end(&mut self) -> io::Result<ExitReason> {
        let mut events = Events::with_capacity(256);
        loop {
            self.process_events();
            if let Some(exit_reason) = self.exit_reason.take() {
                return Ok(exit_reason);
            }
            self.output.flush(&mut self.sources, Instant::now());
            match self.poll.poll(&mut events, self.poll_timeout()) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                result => result?,
            }
            for event in &events {
                self.ready(event.token());
                self.process_events();
            }
            self.notify.check_time();
            self.control.check_time();
            self.checks.check_time();
            self.channels.check_time();
            self.check_socket_files();
            self.report_exits();
            self.proceed_with_retirements();
            self.look_at_queues();
            self.inbox.push_back(Event::TimePassed);
        }
    }

    /// Hands every event to the fleet and performs its effects. What an effect brings about comes
    /// before any other event.
    fn process_events(&mut self) {
        while let Some(event) = self.inbox.pop_front() {
            debug!("event {event:?}");
            let now = self.now();
            let mut consequences = Vec::new();
            for effect in self.fleet.step(now, event) {
                debug!("effect {effect:?}");
                consequences.extend(self.perform(effect));
            }
            for consequence in consequences.into_iter().rev() {
                self.inbox.push_front(consequence);
            }
        }
        self.flush_deferred_replies();
    }

    /// Closes the listeners that can be closed, and sends the replies that were waiting for that, and for what became
    /// of the connections of old workers.
    fn flush_deferred_replies(&mut self) {
        self.steering.proceed(&mut self.listeners, &mut self.fences);
        let waits = self.steering.is_removing() || self.retirements.are_accounting();
        if self.exit_reason.is_some() || !waits {
            for (reply_to, result) in std::mem::take(&mut self.deferred_replies) {
                self.reply_result(reply_to, &result);
            }
        }
    }

    /// How long to wait: for ever, when nothing is timed.
    fn poll_timeout(&self) -> Option<Duration> {
        let now = Instant::now();
        let until = |at: Instant| at.saturating_duration_since(now);
        [
            self.fleet.next_deadline().map(|at| at.since(self.now())),
            self.output.deadline().map(until),
            self.notify.deadline().map(until),
            self.control.deadline().map(until),
            self.checks.deadline().map(until),
            self.channels.deadline().map(until),
            self.socket_files.deadline().map(until),
            self.workers.exit_deadline().map(until),
            self.retirements.deadline().map(until),
            self.listeners.queues_deadline().map(until),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    fn ready(&mut self, token: Token) {
        match self.sources.get(token) {
            Some(Source::Signals) => self.signals_ready(),
            Some(Source::Threads) => self.threads_ready(),
            Some(Source::Control) => self.control_ready(),
            Some(Source::Client) => self.client_ready(token),
            Some(Source::SocketFiles) => self.socket_files_ready(),
            Some(Source::Notify) => self.notify_ready(),
            Some(Source::Launcher(worker)) => self.launcher_ready(worker),
            Some(Source::Rescuer(retirement)) => {
                let (retirements, mut around) = self.with_retirements();
                retirements.rescuer_ready(&mut around, retirement);
                self.take_retirement_events();
            }
            Some(Source::Calls(worker)) => self.calls_ready(worker),
            Some(Source::Channel(worker)) => self.channel_ready(worker),
            Some(Source::Queues) => self.queues_ready(),
            Some(Source::Pipe) => self.output.pipe_ready(&mut self.sources, token),
            Some(Source::Probe(worker)) => {
                let asked = self.probes.listener(worker);
                let event = self.probes.ready(&mut self.sources, worker);
                if matches!(event, Some(Event::Probed { .. })) {
                    self.answers_http(asked);
                }
                self.inbox.extend(event);
            }
            Some(Source::Check(worker)) => {
                let asked = self.checks.listener(worker);
                let event = self.checks.ready(&mut self.sources, worker);
                if matches!(event, Some(Event::HealthPassed { .. })) {
                    self.answers_http(asked);
                }
                self.inbox.extend(event);
            }
            // The flush before the next wait does it.
            Some(Source::Sink(_)) => {}
            None => debug!("an event of something that is gone"),
        }
    }

    /// A worker has answered a request on this listener.
    fn answers_http(&mut self, listener: Option<ListenerId>) {
        let endpoint = listener.and_then(|listener| self.listeners.endpoint(listener));
        if let Some(endpoint) = endpoint {
            self.retirements.protocols().learn(EndpointProtocol {
                endpoint: endpoint.address,
                protocol: Protocol::Http1,
            });
        }
    }

    /// A thread of ours has done its work.
    fn threads_ready(&mut self) {
        self.fences.collect();
        if let Some(fence) = self.awaited_fence
            && self.fences.has_passed(fence)
        {
            self.awaited_fence = None;
            self.inbox.push_back(if self.fences.is_refused() {
                Event::FenceRefused
            } else {
                Event::Fenced
            });
        }
        self.inbox.extend(self.deployments.collect(&self.fleet));
        self.proceed_with_retirements();
    }

    fn proceed_with_retirements(&mut self) {
        let (retirements, mut around) = self.with_retirements();
        retirements.proceed(&mut around);
        self.take_retirement_events();
    }

    fn take_retirement_events(&mut self) {
        let events = self.retirements.take_events();
        self.inbox.extend(events);
    }

    pub(super) fn report_exits(&mut self) {
        for (worker, end) in self.workers.report_exits() {
            self.worker_ended(worker, &end);
        }
        self.look_at_finishing();
    }

    fn worker_ended(&mut self, worker: WorkerId, end: &End) {
        // What the launcher and the worker said last belongs to the report of the end.
        self.launcher_ready(worker);
        self.output.worker_ended(&mut self.sources, worker);
        self.probes.end(&mut self.sources, worker);
        self.checks.end(&mut self.sources, worker);
        self.channels.end(&mut self.sources, worker);
        // Before its calls are refused: a daemon that waits in one would be gone, and nobody would know why.
        let exit = self.exit_of(worker, end);
        let had = self.intercepts.end(&mut self.sources, worker);
        self.listeners.worker_ended(worker, had);
        self.retirements.worker_ended(worker);
        // It is forgotten once the fleet has heard of it: the log says which pid it was.
        self.inbox
            .extend(exit.map(|exit| Event::Exited { worker, exit }));
    }

    /// What a worker's launcher says on its way to becoming the command.
    fn launcher_ready(&mut self, worker: WorkerId) {
        while let Some(message) = self.workers.next_launch_message(&mut self.sources, worker) {
            match message {
                Launched::Calls(calls) => {
                    self.intercepts.take_calls(&mut self.sources, worker, calls);
                }
                Launched::NotIntercepted(why) => log::warn!("worker {worker}: {why}"),
                Launched::Failed => {}
            }
        }
    }

    /// Answers all calls of a worker that wait. The steering hears of a listener before the worker goes on:
    /// until then the listener can get nothing that it must not.
    fn calls_ready(&mut self, worker: WorkerId) {
        while let Some(handled) =
            self.intercepts
                .handle(&mut self.sources, &mut self.listeners, worker)
        {
            let change = handled.change;
            if let Some(joined) = change.and_then(|change| change.joined()) {
                self.steering.joined(&mut self.listeners, joined);
            }
            self.intercepts.answer(handled);
            self.inbox.extend(change.map(|change| change.event(worker)));
        }
    }
}
