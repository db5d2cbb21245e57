//! What comes in: signals, notifications of workers, requests of clients.

use std::time::Instant;

use log::{debug, info};
use mio::Token;

use super::Supervisor;
use super::operators::control::ClientAction;
use super::operators::reload::ReloadAction;
use super::output::redirect_to;
use super::signals::Meaning;
use crate::config::CheckedBy;
use crate::fleet::{CheckFailure, ClientId, Event, Reload, WorkerId};
use crate::wire::control::Reply;
use crate::wire::notify::Notice;

impl Supervisor {
    pub(super) fn signals_ready(&mut self) {
        for meaning in self.signals.pending() {
            match meaning {
                Meaning::Event(event) => self.inbox.push_back(event),
                Meaning::Reload => {
                    self.look_at_socket_files();
                    self.request_reload(None, ReloadAction::of_signal());
                }
                Meaning::ChildEnded => {
                    self.workers.reap();
                    self.report_exits();
                }
                Meaning::ReopenLog => self.reopen_log(),
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

    pub(super) fn notify_ready(&mut self) {
        for (sender, notices) in self.notify.receive() {
            let Some(worker) = sender.and_then(|pid| self.workers.worker_of(pid)) else {
                self.notify.strange(sender, &notices);
                continue;
            };
            for notice in notices {
                self.noticed(worker, &notice);
            }
        }
    }

    fn noticed(&mut self, worker: WorkerId, notice: &Notice) {
        match notice {
            Notice::Ready => self.inbox.push_back(Event::Notified { worker }),
            Notice::Status(status) => {
                info!("{}: says: {status}", self.workers.describe(worker));
            }
            Notice::Watchdog if self.is_watched(worker) => {
                self.inbox.push_back(Event::HealthPassed { worker });
            }
            Notice::WatchdogTrigger if self.is_watched(worker) => {
                let failure = CheckFailure::Said;
                self.inbox
                    .push_back(Event::HealthFailed { worker, failure });
            }
            Notice::Reloading
            | Notice::Stopping
            | Notice::Watchdog
            | Notice::WatchdogTrigger
            | Notice::MainPid(_)
            | Notice::Barrier
            | Notice::Other => debug!("worker {worker}: {notice:?}"),
        }
    }

    /// Whether a worker is to say that it is well.
    fn is_watched(&self, worker: WorkerId) -> bool {
        let config = self.workers.config(worker).unwrap_or(&self.config);
        let health = config.health.as_ref();
        health.is_some_and(|health| health.by == CheckedBy::Notify)
    }

    /// Accepts all clients that wait.
    ///
    /// Many may come at once, each with its request sent already; so before a client is disconnected
    /// to make room, all requests are read and answered.
    pub(super) fn control_ready(&mut self) {
        while let Some(stream) = self.control.next_client() {
            if self.control.is_full() {
                for token in self.control.sending() {
                    self.client_ready(token);
                }
            }
            self.control.admit(&mut self.sources, stream);
        }
    }

    pub(super) fn client_ready(&mut self, token: Token) {
        if let Some((client, action)) = self.control.client_ready(&mut self.sources, token) {
            self.perform_client_action(client, action);
        }
    }

    fn perform_client_action(&mut self, client: ClientId, action: ClientAction) {
        match action {
            ClientAction::Event(event) => self.inbox.push_back(event),
            ClientAction::Reload(reload) => self.request_reload(Some(client), reload),
            ClientAction::Status => {
                let status = Reply::Status(Box::new(self.inspection().status()));
                self.control.reply(&mut self.sources, client, &status);
            }
        }
    }

    fn request_reload(&mut self, reply_to: Option<ClientId>, asked: ReloadAction) {
        let deployment = self.deployments.request(asked.request);
        self.inbox.push_back(Event::ReloadRequested {
            reply_to,
            if_busy: asked.if_busy,
            reload: Reload {
                deployment,
                addresses: asked.addresses,
                canary: asked.canary,
            },
        });
    }

    pub(super) fn reply(&mut self, reply_to: Option<ClientId>, reply: &Reply) {
        if let Some(client) = reply_to {
            self.control.reply(&mut self.sources, client, reply);
        }
    }
}
