//! What somebody says of new workers that have to prove themselves.
//!
//! | said | workers are tried | workers stand by |
//! | --- | --- | --- |
//! | promote | the rest follows | those that stand by retire |
//! | pause | the trial has no end of its own any more | - |
//! | rollback | those that are tried are withdrawn | those that stand by serve again |
//!
//! When nobody is tried or stands by, `rollback` starts what served before the last reload once more.

use super::Fleet;
use super::flip_back::Cause;
use crate::fleet::pending_requests::Pending;
use crate::fleet::rollout::Step;
use crate::fleet::vocabulary::*;

impl Fleet {
    pub(super) fn promote_asked(&mut self, now: Time, reply_to: Option<ClientId>) {
        let trial = self.rollout.as_ref().filter(|it| it.is_on_trial());
        let generation = match trial {
            Some(rollout) => rollout.generation,
            None if self.soak_deadline().is_some() => self.generations.serving,
            None => return self.deny(reply_to, Denial::NothingToPromote),
        };
        match trial {
            Some(_) => self.end_trial(now),
            None => self.end_soak(now),
        }
        let result = ChangeResult::Promoted { generation };
        self.effects.push(Effect::Reply { reply_to, result });
    }

    pub(super) fn rollback_asked(&mut self, now: Time, reply_to: Option<ClientId>) {
        if self.may_withdraw() {
            return self.fail_change_for(now, Failure::RolledBack, reply_to);
        }
        if self.soak_deadline().is_some() && self.may_flip_back() {
            return self.flip_back(now, Cause::Asked { reply_to });
        }
        if let Some(denial) = self.denial() {
            return self.deny_or_wait(reply_to, denial, IfBusy::Deny, Pending::Rollback);
        }
        self.start_previous(now, reply_to);
    }

    /// Nobody of before is there any more: what served then is started as a generation of its own.
    fn start_previous(&mut self, now: Time, reply_to: Option<ClientId>) {
        let Some(previous) = self.deployments.previous().cloned() else {
            return self.deny(reply_to, Denial::NothingToRollBack);
        };
        let reload = Reload {
            deployment: previous.id,
            // What is gone back to need not serve what has been added since.
            addresses: Addresses::MayChange,
            canary: None,
        };
        self.deploy(now, reply_to, reload, previous);
    }

    pub(super) fn pause_asked(&mut self, reply_to: Option<ClientId>) {
        let rollout = self.rollout.as_mut().filter(|it| it.is_on_trial());
        let Some(rollout) = rollout else {
            return self.deny(reply_to, Denial::NothingToPause);
        };
        rollout.batch.step = Step::Trial { until: None };
        let generation = rollout.generation;
        let result = ChangeResult::Paused { generation };
        self.effects.push(Effect::Reply { reply_to, result });
    }
}
