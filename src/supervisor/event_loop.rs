//! The loop: wait, turn what is ready into events, hand each to the fleet, do what it says.

use std::io;
use std::time::{Duration, Instant};

use log::{debug, info};
use mio::{Events, Token};
use signal_hook::consts::{
    SIGCHLD, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTTIN, SIGTTOU, SIGUSR1, SIGUSR2,
};

use crate::fleet::{Event, Exit, ExitReason, ScaleTo, WorkerId};
use crate::launcher;
use crate::supervisor::Supervisor;
use crate::supervisor::output::redirect_to;
use crate::supervisor::sources::Source;
use crate::sys::channel;
use crate::sys::process::Ended;

impl Supervisor {
    pub(super) fn run_to_end(&mut self) -> io::Result<ExitReason> {
        let mut events = Events::with_capacity(256);
        loop {
            self.settle_inbox();
            if let Some(exit_reason) = self.exit_reason.take() {
                return Ok(exit_reason);
            }
            self.output.flush(&mut self.sources, Instant::now());
            match self.poll.poll(&mut events, self.patience()) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                result => result?,
            }
            for event in &events {
                self.ready(event.token());
                self.settle_inbox();
            }
            self.notify.check_watchdog();
            self.bury();
            self.inbox.push_back(Event::TimePassed);
        }
    }

    /// Hands every event to the fleet and performs its effects. What an effect brings about comes
    /// before any other event.
    fn settle_inbox(&mut self) {
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
        self.clear_out();
    }

    /// Closes what can be closed, and tells what was waiting for it.
    fn clear_out(&mut self) {
        self.groups.purge(&mut self.fences);
        if self.exit_reason.is_some() || !self.groups.is_clearing(&self.fences) {
            for (reply_to, result) in std::mem::take(&mut self.deferred_replies) {
                self.tell(reply_to, &result);
            }
        }
    }

    fn fence_ready(&mut self) {
        self.fences.collect();
        if let Some(ticket) = self.settling
            && self.fences.has_passed(ticket)
        {
            self.settling = None;
            self.inbox.push_back(if self.fences.is_refused() {
                Event::FenceRefused
            } else {
                Event::Fenced
            });
        }
    }

    /// How long to wait: for ever, when nothing is timed.
    fn patience(&self) -> Option<Duration> {
        let fleet = self.fleet.next_deadline().map(|at| at.since(self.now()));
        let output = self
            .output
            .deadline()
            .map(|at| at.saturating_duration_since(Instant::now()));
        let watchdog = self
            .notify
            .watchdog()
            .map(|at| at.saturating_duration_since(Instant::now()));
        let grave = self
            .grave
            .deadline()
            .map(|at| at.saturating_duration_since(Instant::now()));
        [fleet, output, watchdog, grave].into_iter().flatten().min()
    }

    fn ready(&mut self, token: Token) {
        match self.sources.get(token) {
            Some(Source::Signals) => self.signals_ready(),
            Some(Source::Fence) => self.fence_ready(),
            Some(Source::Control) => self.control_ready(),
            Some(Source::Client) => self.client_ready(token),
            Some(Source::Notify) => self.notify_ready(),
            Some(Source::Launcher(worker)) => self.launcher_ready(worker),
            Some(Source::Rescuer(retirement)) => self.rescuer_ready(retirement),
            Some(Source::Calls(worker)) => self.calls_ready(worker),
            Some(Source::Pipe) => self.output.pipe_ready(&mut self.sources, token),
            Some(Source::Probe(worker)) => self.probe_ready(worker),
            // The flush before the next wait does it.
            Some(Source::Sink(_)) => {}
            None => debug!("an event of something that is gone"),
        }
    }

    fn signals_ready(&mut self) {
        let pending: Vec<i32> = self.signals.pending().collect();
        for signal in pending {
            match signal {
                SIGHUP | SIGUSR2 => self.inbox.push_back(Event::ReloadAsked { reply_to: None }),
                SIGTERM | SIGINT => self.inbox.push_back(Event::StopAsked {
                    reply_to: None,
                    now: false,
                }),
                SIGQUIT => self.inbox.push_back(Event::StopAsked {
                    reply_to: None,
                    now: true,
                }),
                SIGTTIN => self.inbox.push_back(Event::ScaleAsked {
                    reply_to: None,
                    to: ScaleTo::By(1),
                }),
                SIGTTOU => self.inbox.push_back(Event::ScaleAsked {
                    reply_to: None,
                    to: ScaleTo::By(-1),
                }),
                SIGCHLD => self.reap(),
                SIGUSR1 => self.reopen_log(),
                other => debug!("signal {other} has no meaning here"),
            }
        }
    }

    fn reopen_log(&mut self) {
        let Some(path) = &self.config.log_file else {
            return info!("USR1 opens the log file again, but there is none (--log-file)");
        };
        // What was written before belongs to the old file.
        self.output.flush(&mut self.sources, Instant::now());
        match redirect_to(path) {
            Ok(()) => info!("opened {} again", path.display()),
            Err(error) => log::error!(
                "cannot open {} again: {error}; the old file is still used",
                path.display()
            ),
        }
    }

    pub(super) fn worker_ended(&mut self, worker: WorkerId, ended: Ended) {
        self.launcher_ready(worker);
        self.output.worker_ended(&mut self.sources, worker);
        self.end_probe(worker);
        self.rescue_ended(worker);
        let Some(child) = self.children.get_mut(worker) else {
            return;
        };
        child.has_ended = true;
        let exit = match (child.failure.take(), ended) {
            (Some(reason), _) => Exit::NotStarted(reason),
            (None, Ended::Code(code)) => Exit::Code(code),
            (None, Ended::Signal(signal)) => Exit::Signal(signal),
        };
        // Forgotten once the fleet has heard of it: the log says which pid it was.
        self.inbox.push_back(Event::Exited { worker, exit });
    }

    /// What a worker's launcher says on its way to becoming the command.
    fn launcher_ready(&mut self, worker: WorkerId) {
        let mut bytes = [0; 4096];
        loop {
            let Some(child) = self.children.get_mut(worker) else {
                return;
            };
            let Some((stream, _)) = &child.launcher else {
                return;
            };
            match channel::receive(stream, &mut bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(_) | Ok((0, _)) => return child.close_launcher(&mut self.sources),
                Ok((count, descriptors)) => {
                    let text = || String::from_utf8_lossy(&bytes[1..count]).into_owned();
                    match bytes[0] {
                        launcher::FAILED => child.failure = Some(text()),
                        launcher::NOT_INTERCEPTED => log::warn!("worker {worker}: {}", text()),
                        _ => descriptors
                            .into_iter()
                            .for_each(|calls| self.take_calls(worker, calls)),
                    }
                }
            }
        }
    }

    fn take_calls(&mut self, worker: WorkerId, calls: std::os::fd::OwnedFd) {
        let Some(child) = self.children.get_mut(worker) else {
            return;
        };
        match self
            .sources
            .add(&calls, Source::Calls(worker), mio::Interest::READABLE)
        {
            Ok(token) => child.calls = Some((calls, token)),
            Err(error) => {
                log::error!("worker {worker}: cannot hear its calls of bind and listen: {error}")
            }
        }
    }
}
