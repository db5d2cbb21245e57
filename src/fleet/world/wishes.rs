//! What comes from outside: requests, signals, crashes, and what reloads read.

use super::*;

impl World {
    pub(super) fn comes(&mut self, wish: Wish) -> Result<(), String> {
        let event = match wish {
            Wish::Reload {
                signal,
                waits,
                accepts_changes,
                canary,
            } => Event::ReloadRequested {
                reply_to: self.reply_to(signal),
                if_busy: match signal || waits {
                    true => IfBusy::Wait,
                    false => IfBusy::Deny,
                },
                reload: Reload {
                    deployment: self.next_deployment(),
                    addresses: match accepts_changes && !signal {
                        true => Addresses::MayChange,
                        false => Addresses::Owed,
                    },
                    canary: canary.map(|(workers, percent, hold)| Canary {
                        workers,
                        percent,
                        hold: hold.map(Duration::from_millis),
                    }),
                },
            },
            Wish::ScaleTo(count) => Event::ScaleRequested {
                reply_to: self.reply_to(false),
                to: ScaleTo::Exactly(count),
            },
            Wish::ScaleBy { by, signal } => Event::ScaleRequested {
                reply_to: self.reply_to(signal),
                to: ScaleTo::By(by),
            },
            Wish::Restart(nth) => Event::RestartRequested {
                reply_to: self.reply_to(false),
                worker: self.nth_shown(nth),
            },
            Wish::RestartUnknown => Event::RestartRequested {
                reply_to: self.reply_to(false),
                worker: WorkerId(1 << 40),
            },
            Wish::Pause => Event::PauseRequested {
                reply_to: self.reply_to(false),
            },
            Wish::Promote => Event::PromoteRequested {
                reply_to: self.reply_to(false),
            },
            Wish::Rollback => Event::RollbackRequested {
                reply_to: self.reply_to(false),
            },
            Wish::Stop { signal } => Event::StopRequested {
                reply_to: self.reply_to(signal),
                how: StopHow::Drain,
            },
            Wish::Interrupt => {
                self.was_told_to_stop_now |= self.is_stopping();
                Event::StopRequested {
                    reply_to: None,
                    how: StopHow::Interrupt,
                }
            }
            Wish::StopNow => {
                self.was_told_to_stop_now = true;
                Event::StopRequested {
                    reply_to: self.reply_to(false),
                    how: StopHow::Now,
                }
            }
            Wish::Crash(nth) => return self.crash(Some(nth)),
            Wish::CrashAll => return self.crash(None),
            Wish::Nothing => Event::TimePassed,
        };
        // What is gone back to need not serve what has been added since.
        let accepting = match &event {
            Event::ReloadRequested {
                reply_to, reload, ..
            } if reload.addresses == Addresses::MayChange => *reply_to,
            Event::RollbackRequested { reply_to } => *reply_to,
            _ => None,
        };
        if let Some(request) = accepting.and_then(|client| self.requests.get_mut(&client)) {
            request.accepts_changes = true;
        }
        self.feed(event)
    }

    pub(super) fn next_deployment(&mut self) -> DeploymentId {
        self.reloads += 1;
        DeploymentId(self.reloads)
    }

    /// The numbers that the rules go by now.
    pub(super) fn policy(&self) -> &Policy {
        &self.policies[&self.in_effect]
    }

    pub(super) fn read(&mut self, deployment: DeploymentId) {
        let (after, read) = self.plan.reads[self.reads % self.plan.reads.len()].clone();
        self.reads += 1;
        let policy = match read {
            Read::Same => Ok(self.policy().clone()),
            Read::Nonsense => Err("it makes no sense".to_owned()),
            Read::Other(numbers) => Ok(numbers.of(self.policy())),
        };
        if let Ok(policy) = &policy {
            self.policies.insert(deployment, policy.clone());
        }
        let is_read = Happening::IsRead(deployment, policy.map(Box::new));
        self.schedule(Duration::from_millis(after), is_read);
    }

    pub(super) fn reply_to(&mut self, is_signal: bool) -> Option<ClientId> {
        if is_signal {
            return None;
        }
        let reply_to = ClientId(self.requests.len() as u64);
        let request = Request {
            at: self.now,
            heard: None,
            is_answered: false,
            accepts_changes: false,
            leaving: BTreeSet::new(),
        };
        self.requests.insert(reply_to, request);
        Some(reply_to)
    }

    pub(super) fn nth_shown(&self, nth: usize) -> WorkerId {
        let view = self.fleet.view(self.now);
        view.get(nth % view.len().max(1))
            .map_or(WorkerId(0), |line| line.worker)
    }

    /// The nth process dies; all do, if none.
    pub(super) fn crash(&mut self, nth: Option<usize>) -> Result<(), String> {
        let processes = self.processes.iter();
        let alive: Vec<WorkerId> = processes
            .filter(|(_, process)| process.is_alive())
            .map(|(id, _)| *id)
            .collect();
        let chosen = nth.map(|nth| nth % alive.len().max(1));
        for (at, id) in alive.into_iter().enumerate() {
            if !self.is_finished && chosen.is_none_or(|chosen| chosen == at) {
                self.exits(id, Exit::Signal(11))?;
            }
        }
        Ok(())
    }
}
