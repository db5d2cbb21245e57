//! The beginning of a change: which slots get new workers, and on which queues.
//!
//! A change is made of whole queues (see [`super::queue`]). Its workers have new ones, with two
//! exceptions: a restart that fills an empty slot, whose queue waits for somebody; and where nothing
//! is steered, every generation has the same.

use std::collections::{BTreeMap, BTreeSet};

use super::change::Change;
use super::fleet::Fleet;
use super::respawn::Vacancy;
use super::vocabulary::*;
use super::worker::Listener;

impl Fleet {
    pub(super) fn begin(
        &mut self,
        now: Time,
        kind: ChangeKind,
        reply_to: Option<ClientId>,
        replaced: BTreeSet<Slot>,
        wanted: u32,
    ) {
        let generation = match kind {
            ChangeKind::Start | ChangeKind::Reload => Generation(self.newest.0 + 1),
            ChangeKind::Restart | ChangeKind::Scale => self.serving,
        };
        self.newest = self.newest.max(generation);
        let workers = replaced.range(..Slot(wanted)).count();
        if workers > 0 {
            self.out.push(Effect::Report {
                reply_to,
                after: core::time::Duration::ZERO,
                milestone: Milestone::Starting,
                kind,
                generation,
                workers,
            });
        }
        let filled = self.fill_for(kind, &replaced);
        let before = std::mem::replace(&mut self.wanted, wanted);
        let incoming = self.spawn_all(now, generation, &replaced, filled.as_ref());
        self.wanted = before;
        self.change = Some(Change {
            kind,
            incoming,
            reply_to,
            since: now,
            generation,
            // Who serves before its siblings do belongs to the same start, and so does who
            // replaces it if it crashes.
            replaced: match kind {
                ChangeKind::Start => BTreeSet::new(),
                _ => replaced,
            },
            wanted,
            filled,
        });
        // Nobody is waited for where there are only fewer workers.
        self.flip_if_ready(now);
    }

    /// Starts a worker in each of these slots that is wanted.
    fn spawn_all(
        &mut self,
        now: Time,
        generation: Generation,
        slots: &BTreeSet<Slot>,
        filled: Option<&(Slot, Vacancy)>,
    ) -> BTreeSet<WorkerId> {
        let mut opened = BTreeMap::new();
        let mut incoming = BTreeSet::new();
        for slot in slots.range(..Slot(self.wanted)) {
            let (queue, adopt) = match filled {
                Some((_, vacancy)) => (vacancy.queue, vacancy.kept.clone()),
                None => (self.queue_for(*slot, &mut opened), self.shared_with(*slot)),
            };
            incoming.insert(self.spawn(now, *slot, queue, generation, adopt));
        }
        incoming
    }

    /// The empty slot that a restart is about, and whose queue nobody else has.
    fn fill_for(&mut self, kind: ChangeKind, slots: &BTreeSet<Slot>) -> Option<(Slot, Vacancy)> {
        let slot = slots
            .first()
            .filter(|_| kind == ChangeKind::Restart && slots.len() == 1)?;
        Some((*slot, self.vacancies.remove(slot)?))
    }

    /// The listeners of its predecessor that an incoming worker has to use. With steering its queue
    /// is new; without, it serves the queue of the worker that it replaces.
    fn shared_with(&self, slot: Slot) -> BTreeMap<ListenerId, Listener> {
        let before = self
            .workers
            .values()
            .find(|worker| worker.slot == slot && worker.is_serving());
        before
            .filter(|_| !self.policy.steering)
            .map(|worker| worker.listeners.clone())
            .unwrap_or_default()
    }
}
