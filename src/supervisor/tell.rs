//! What the log, the clients and the service manager are told of what happens.

use log::info;

use super::Supervisor;
use super::operators::report;
use super::retirement::Cost;
use crate::fleet::{
    ChangeKind, ChangeResult, ClientId, Denial, Failure, Milestone, Progress, StopProgress,
    WorkerEvent, WorkerId,
};
use crate::wire::control::Reply;

impl Supervisor {
    pub(super) fn log(&mut self, event: &WorkerEvent) {
        if let WorkerEvent::StartTimedOut { worker } = event {
            self.look_for_port_answer(*worker);
        }
        if let WorkerEvent::Ready { worker } | WorkerEvent::Serving { worker, .. } = event {
            // It may have become ready by itself meanwhile: a server that reads what it has accepted, and nothing else
            // until then, would wait for a request of ours.
            self.probes.end(&mut self.sources, *worker);
        }
        self.reporter().log(event);
        if let WorkerEvent::Crashed { worker, .. }
        | WorkerEvent::GivenUp { worker, .. }
        | WorkerEvent::Gone { worker, .. } = event
        {
            self.forget_worker(*worker);
        }
    }

    /// Tells the log and a client that waits how a change ended.
    pub(super) fn reply_result(&mut self, reply_to: Option<ClientId>, result: &ChangeResult) {
        if let ChangeResult::Failed {
            failure: Failure::NotReady { worker, .. },
            ..
        } = result
        {
            self.look_for_port_answer(*worker);
        }
        // Only who hears of them takes them: a request that is denied meanwhile does not.
        let cost = match result {
            ChangeResult::Done { .. } => self.retirements.stats().take_cost(),
            ChangeResult::Failed { .. }
            | ChangeResult::Promoted { .. }
            | ChangeResult::Paused { .. }
            | ChangeResult::Denied(_)
            | ChangeResult::Stopped => Cost::default(),
        };
        let reply = self.reporter().result(result, cost);
        match result {
            // Before the client hears of it: what the client runs may ask the service manager.
            ChangeResult::Done { kind, .. } => self.notify.change_ended(*kind, "serving"),
            ChangeResult::Failed { kind, failure, .. } => {
                if let Failure::Unusable(_) | Failure::NotRead { .. } = failure {
                    self.ends_before_it_begins();
                }
                self.change_failed(*kind, &reply);
                match failure {
                    Failure::Exited { worker, .. } | Failure::Died { worker, .. } => {
                        self.forget_worker(*worker);
                    }
                    Failure::Unhealthy { .. }
                    | Failure::NobodyServes
                    | Failure::Unusable(_)
                    | Failure::NotRead { .. }
                    | Failure::RolledBack
                    | Failure::NotReady { .. }
                    | Failure::TooLarge { .. }
                    | Failure::Stopped => {}
                }
            }
            // What was read does not go together with what is there.
            ChangeResult::Denied(Denial::NoRoom { .. }) if reply_to.is_none() => {
                self.ends_before_it_begins();
                self.notify.change_ended(ChangeKind::Reload, "serving");
            }
            ChangeResult::Promoted { .. }
            | ChangeResult::Paused { .. }
            | ChangeResult::Denied(_)
            | ChangeResult::Stopped => {}
        }
        self.reply(reply_to, &reply);
    }

    /// A service manager that has asked for a reload by a signal waits for its beginning, and then for its end: it
    /// would wait in vain where nothing was begun.
    fn ends_before_it_begins(&mut self) {
        self.notify
            .reload_began("reload: reading options and files");
    }

    fn change_failed(&mut self, kind: ChangeKind, reply: &Reply) {
        let Reply::Failed { message } = reply else {
            return;
        };
        match kind {
            // Nobody serves: the end says the rest.
            ChangeKind::Start => self.notify.status(message),
            ChangeKind::Reload
            | ChangeKind::Restart
            | ChangeKind::Scale
            | ChangeKind::Rollback
            | ChangeKind::Recycling => {
                self.notify.change_ended(kind, message);
            }
        }
    }

    pub(super) fn report(&mut self, progress: &Progress) {
        info!("{}", report::progress_sentence(progress));
        let status = report::progress_status(progress);
        match (progress.kind, progress.milestone) {
            (ChangeKind::Reload, Milestone::Starting) => self.notify.reload_began(&status),
            _ => self.notify.status(&status),
        }
        self.reply(progress.reply_to, &report::progress_reply(progress));
    }

    /// A request waits its turn.
    pub(super) fn report_wait(
        &mut self,
        reply_to: Option<ClientId>,
        asked: ChangeKind,
        kind: ChangeKind,
        milestone: Milestone,
    ) {
        let sentence = report::wait_sentence(asked, kind, milestone);
        info!("{asked}: {sentence}");
        self.reply(reply_to, &report::wait_reply(sentence));
    }

    pub(super) fn report_stop(&mut self, progress: &StopProgress) {
        let sentence = self.reporter().stop_sentence(progress);
        info!("stop: {sentence}");
        self.notify.stopping(&sentence);
        let reply = report::stop_reply(progress, &sentence);
        for client in &progress.clients {
            self.reply(Some(*client), &reply);
        }
    }

    /// Forgets what is only kept until the log has told of a worker's end.
    fn forget_worker(&mut self, worker: WorkerId) {
        self.workers.forget(&mut self.sources, worker);
        self.output.forget(worker);
        self.measures.forget(worker);
        self.probes.forget(worker);
    }
}
