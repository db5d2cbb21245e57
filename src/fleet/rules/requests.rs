//! Requests: what may begin, and when.
//!
//! One change is under way at a time, until its outgoing workers have been told to stop: two at
//! once would each count on workers that the other takes away. A client that asks meanwhile is denied and
//! told why, or waits its turn if it wants to; what a signal asks for waits, because nobody hears an answer to a
//! signal. And behind a recycling, which nobody has asked for, all wait.

use super::Fleet;
use crate::fleet::pending_requests::Pending;
use crate::fleet::vocabulary::*;

impl Fleet {
    pub(super) fn begin_start(&mut self, now: Time) {
        let slots = self.sets.whole(0..self.wanted, self.wanted);
        self.begin(
            now,
            ChangeKind::Start,
            None,
            &slots,
            self.wanted,
            Addresses::Owed,
        );
    }

    pub(super) fn reload_asked(
        &mut self,
        now: Time,
        reply_to: Option<ClientId>,
        if_busy: IfBusy,
        reload: Reload,
    ) {
        if let Some(denial) = self.denial() {
            let reload = Pending::Reload(reload);
            return self.deny_or_wait(reply_to, denial, if_busy, reload);
        }
        self.read(now, reply_to, reload);
    }

    /// Begins a reload after which there are `wanted` workers; or says why it cannot be.
    pub(super) fn begin_reload(
        &mut self,
        now: Time,
        reply_to: Option<ClientId>,
        reload: Reload,
        wanted: u32,
    ) -> Result<(), Denial> {
        let most = wanted.max(self.slots_in_use());
        let slots = self.sets.whole(0..most, most);
        if let Some(together) = self.without_room(&slots) {
            return Err(Denial::NoRoom { together });
        }
        let addresses = reload.addresses;
        match reload.canary {
            Some(canary) => {
                return self.begin_with_canary(now, reply_to, &slots, wanted, addresses, canary);
            }
            None => self.begin(now, ChangeKind::Reload, reply_to, &slots, wanted, addresses),
        }
        Ok(())
    }

    pub(super) fn restart_asked(
        &mut self,
        now: Time,
        reply_to: Option<ClientId>,
        worker: WorkerId,
    ) {
        if let Some(denial) = self.denial() {
            let restart = Pending::Restart(worker);
            return self.deny_or_wait(reply_to, denial, IfBusy::Deny, restart);
        }
        let serving = self.workers.get(worker);
        let serving = serving.filter(|worker| worker.is_serving());
        let slot = serving
            .map(|worker| worker.slot)
            .or_else(|| self.empty_slots.left_by(worker));
        match slot {
            Some(Slot(slot)) => {
                let slots = self.sets.whole(slot..slot + 1, self.slots_in_use());
                if let Some(together) = self.without_room(&slots) {
                    return self.deny(reply_to, Denial::NoRoom { together });
                }
                self.begin(
                    now,
                    ChangeKind::Restart,
                    reply_to,
                    &slots,
                    self.wanted,
                    Addresses::Owed,
                );
            }
            None => self.deny(reply_to, Denial::NoSuchWorker(worker)),
        }
    }

    pub(super) fn scale_asked(&mut self, now: Time, reply_to: Option<ClientId>, to: ScaleTo) {
        if let Some(denial) = self.denial() {
            // Nobody hears an answer to a signal.
            let if_busy = match reply_to {
                Some(_) => IfBusy::Deny,
                None => IfBusy::Wait,
            };
            return self.deny_or_wait(reply_to, denial, if_busy, Pending::Scale(to));
        }
        let asked = match to {
            ScaleTo::Exactly(count) => i64::from(count),
            ScaleTo::By(difference) => i64::from(self.wanted).saturating_add(difference),
        };
        let most = self.policy.most_workers;
        let possible = u32::try_from(asked).ok();
        match possible.filter(|count| (1..=most).contains(count)) {
            None => self.deny(reply_to, Denial::BadCount { asked, most }),
            Some(count) if self.nobody_is_left(count) => {
                self.deny(reply_to, Denial::NobodyLeft { count });
            }
            Some(count) => {
                let (fewer, more) = (count.min(self.wanted), count.max(self.slots_in_use()));
                let slots = self.sets.whole(fewer..more, more);
                self.begin(
                    now,
                    ChangeKind::Scale,
                    reply_to,
                    &slots,
                    count,
                    Addresses::Owed,
                );
            }
        }
    }

    /// All slots in which somebody is wanted or is there: what a change did that could not be undone, some may be in slots
    /// in which nobody is wanted any more.
    pub(super) fn slots_in_use(&self) -> u32 {
        let serving = self.workers.serving().map(|worker| worker.slot.0 + 1);
        serving.max().unwrap_or(0).max(self.wanted)
    }

    /// Whether all that serve are in slots from `count` on: the slots before are given up, or wait for their next
    /// worker.
    fn nobody_is_left(&self, count: u32) -> bool {
        let mut serving = self.workers.serving().peekable();
        serving.peek().is_some() && serving.all(|worker| worker.slot.0 >= count)
    }

    /// What cannot begin now is denied, or waits its turn. Nobody is turned away for a recycling: nobody has asked for one,
    /// and it is over soon.
    pub(super) fn deny_or_wait(
        &mut self,
        reply_to: Option<ClientId>,
        denial: Denial,
        if_busy: IfBusy,
        pending: Pending,
    ) {
        match denial {
            Denial::Busy { kind, milestone }
                if if_busy == IfBusy::Wait || kind == ChangeKind::Recycling =>
            {
                self.pending_requests.add(reply_to, pending);
                self.effects.push(Effect::ReportWait {
                    reply_to,
                    asked: pending.kind(),
                    kind,
                    milestone,
                });
            }
            denial => self.deny(reply_to, denial),
        }
    }

    /// Does one thing of what signals asked for while it could not be done; false if there is
    /// nothing that can be done now.
    pub(super) fn begin_pending(&mut self, now: Time) -> bool {
        if self.denial().is_some() {
            return false;
        }
        match self.pending_requests.take_next() {
            None => return false,
            Some((reply_to, Pending::Scale(to))) => self.scale_asked(now, reply_to, to),
            Some((reply_to, Pending::Restart(worker))) => {
                self.restart_asked(now, reply_to, worker);
            }
            Some((reply_to, Pending::Rollback)) => self.rollback_asked(now, reply_to),
            Some((reply_to, Pending::Reload(reload))) => {
                self.reload_asked(now, reply_to, IfBusy::Wait, reload);
            }
        }
        true
    }

    /// Why no change can begin now.
    pub(super) fn denial(&self) -> Option<Denial> {
        if self.is_shutting_down() {
            return Some(Denial::Stopping);
        }
        if self.is_reading() {
            return Some(Denial::Busy {
                kind: ChangeKind::Reload,
                milestone: Milestone::Starting,
            });
        }
        if let Some(rollout) = &self.rollout {
            return Some(Denial::Busy {
                kind: rollout.kind,
                milestone: match rollout.is_on_trial() {
                    true => Milestone::Canary,
                    false => Milestone::Starting,
                },
            });
        }
        if self.soak_deadline().is_some() {
            return Some(Denial::Busy {
                kind: ChangeKind::Reload,
                milestone: Milestone::Soaking,
            });
        }
        let unfinished = self.retirements.unfinished();
        unfinished.map(|(kind, milestone)| Denial::Busy { kind, milestone })
    }

    /// Nothing that waits for its turn will have it.
    pub(super) fn deny_pending(&mut self) {
        self.deny_reading();
        for client in self.pending_requests.give_up() {
            self.deny(Some(client), Denial::Stopping);
        }
    }

    pub(super) fn deny(&mut self, reply_to: Option<ClientId>, denial: Denial) {
        self.effects.push(Effect::Reply {
            reply_to,
            result: ChangeResult::Denied(denial),
        });
    }
}
