//! Requests: what may begin, and when.
//!
//! One change is under way at a time, until its outgoing workers have been told to stop: two at
//! once would each count on workers that the other takes away. Who asks meanwhile is denied and
//! told why; what a signal asks for waits, because nobody hears an answer to a signal.

use super::fleet::Fleet;
use super::vocabulary::*;

/// What signals asked for while a change was under way: a client is told to come again, but
/// nobody hears an answer to a signal.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Queued {
    reload: bool,
    scale_by: i64,
}

impl Fleet {
    pub(super) fn begin_start(&mut self, now: Time) {
        let slots = self.whole_queues(0..self.wanted, self.wanted);
        self.begin(now, ChangeKind::Start, None, slots, self.wanted);
    }

    pub(super) fn reload_asked(&mut self, now: Time, reply_to: Option<ClientId>) {
        if let Some(denial) = self.denial() {
            self.queued.reload |= reply_to.is_none();
            return self.deny(reply_to, denial);
        }
        let slots = self.whole_queues(0..self.wanted, self.wanted);
        self.begin(now, ChangeKind::Reload, reply_to, slots, self.wanted);
    }

    pub(super) fn restart_asked(
        &mut self,
        now: Time,
        reply_to: Option<ClientId>,
        worker: WorkerId,
    ) {
        if let Some(denial) = self.denial() {
            return self.deny(reply_to, denial);
        }
        let serving = self
            .workers
            .get(&worker)
            .filter(|worker| worker.is_serving())
            .map(|worker| worker.slot);
        match serving.or_else(|| self.vacancy_of(worker)) {
            Some(Slot(slot)) => {
                let slots = self.whole_queues(slot..slot + 1, self.wanted);
                self.begin(now, ChangeKind::Restart, reply_to, slots, self.wanted)
            }
            None => self.deny(reply_to, Denial::NoSuchWorker(worker)),
        }
    }

    pub(super) fn scale_asked(&mut self, now: Time, reply_to: Option<ClientId>, to: ScaleTo) {
        if let Some(denial) = self.denial() {
            if let (None, ScaleTo::By(difference)) = (reply_to, to) {
                self.queued.scale_by = self.queued.scale_by.saturating_add(difference);
            }
            return self.deny(reply_to, denial);
        }
        let asked = match to {
            ScaleTo::Exactly(count) => i64::from(count),
            ScaleTo::By(difference) => i64::from(self.wanted).saturating_add(difference),
        };
        let most = self.policy.most_workers;
        match u32::try_from(asked)
            .ok()
            .filter(|count| (1..=most).contains(count))
        {
            None => self.deny(reply_to, Denial::BadCount { asked, most }),
            Some(count) => {
                let (fewer, more) = (count.min(self.wanted), count.max(self.wanted));
                let slots = self.whole_queues(fewer..more, more);
                self.begin(now, ChangeKind::Scale, reply_to, slots, count);
            }
        }
    }

    /// Does one thing of what signals asked for while it could not be done; false if there is
    /// nothing that can be done now. First the number, so that the reload starts the right one.
    pub(super) fn begin_queued(&mut self, now: Time) -> bool {
        if self.denial().is_some() {
            return false;
        }
        let scale_by = std::mem::take(&mut self.queued.scale_by);
        if scale_by != 0 {
            self.scale_asked(now, None, ScaleTo::By(scale_by));
            return true;
        }
        let reload = std::mem::take(&mut self.queued.reload);
        if reload {
            self.reload_asked(now, None);
        }
        reload
    }

    /// Why no change can begin now.
    fn denial(&self) -> Option<Denial> {
        if self.stopping.is_some() {
            return Some(Denial::Stopping);
        }
        if let Some(change) = &self.change {
            return Some(Denial::Busy {
                kind: change.kind,
                milestone: Milestone::Starting,
            });
        }
        let untold = self
            .retirements
            .iter()
            .map(|retirement| (retirement.kind, self.progress(retirement)));
        untold
            .filter(|(_, milestone)| *milestone < Milestone::Draining)
            .map(|(kind, milestone)| Denial::Busy { kind, milestone })
            .next()
    }

    fn deny(&mut self, reply_to: Option<ClientId>, denial: Denial) {
        self.out.push(Effect::Reply {
            reply_to,
            result: ChangeResult::Denied(denial),
        });
    }
}
