//! Which key each listener of a group has.

use std::collections::BTreeMap;

use crate::fleet::ListenerId;

/// The keys of one group's listeners. A key is not given again until all others have been: what still uses
/// it by mistake meets nobody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keys {
    /// How many keys there are.
    capacity: u32,
    by_id: BTreeMap<ListenerId, u32>,
    by_key: BTreeMap<u32, ListenerId>,
    next: u32,
}

impl Keys {
    /// The keys from 0 on, all of them free.
    pub fn new(capacity: u32) -> Self {
        Self {
            capacity,
            by_id: BTreeMap::new(),
            by_key: BTreeMap::new(),
            next: 0,
        }
    }

    /// The key of a listener, a free one if it has none yet; none if all are taken.
    pub fn add(&mut self, id: ListenerId) -> Option<u32> {
        if let Some(key) = self.of(id) {
            return Some(key);
        }
        let from_here = (self.next..self.capacity).chain(0..self.next);
        let key = from_here
            .into_iter()
            .find(|key| !self.by_key.contains_key(key))?;
        self.by_id.insert(id, key);
        self.by_key.insert(key, id);
        self.next = (key + 1) % self.capacity;
        Some(key)
    }

    /// Takes a listener's key back.
    pub fn remove(&mut self, id: ListenerId) -> Option<u32> {
        let key = self.by_id.remove(&id)?;
        self.by_key.remove(&key);
        Some(key)
    }

    /// The key of a listener.
    pub fn of(&self, id: ListenerId) -> Option<u32> {
        self.by_id.get(&id).copied()
    }

    /// The listener that has a key.
    pub fn listener(&self, key: u32) -> Option<ListenerId> {
        self.by_key.get(&key).copied()
    }

    /// All listeners, in the order of their ids.
    pub fn listeners(&self) -> impl Iterator<Item = ListenerId> {
        self.by_id.keys().copied()
    }

    /// Whether no key is taken.
    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_given_again_as_late_as_can_be() {
        let mut keys = Keys::new(3);
        let [a, b, c, d] = [1, 2, 3, 4].map(ListenerId);
        assert_eq!((keys.add(a), keys.add(b)), (Some(0), Some(1)));
        assert_eq!(keys.add(a), Some(0), "it has one already");
        assert_eq!(keys.remove(a), Some(0));
        assert_eq!(keys.add(c), Some(2));
        assert_eq!(keys.add(d), Some(0));
        assert_eq!(keys.listener(0), Some(d));
        assert_eq!(keys.add(ListenerId(5)), None, "all are taken");
        for id in [b, c, d] {
            keys.remove(id).unwrap();
        }
        assert!(keys.is_empty());
    }
}
