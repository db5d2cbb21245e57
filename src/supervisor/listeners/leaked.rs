//! Listeners that we have closed, and that are still in their group because another process has a descriptor.

use std::collections::BTreeMap;

use super::Closed;
use crate::fleet::{Endpoint, ListenerId};

/// All of them, by inode.
#[derive(Debug, Default)]
pub(in crate::supervisor) struct Leaked(BTreeMap<u64, (ListenerId, Endpoint)>);

impl Leaked {
    pub(in crate::supervisor) fn add(&mut self, closed: &Closed) {
        self.0.insert(closed.inode, (closed.id, closed.endpoint));
    }

    pub(super) fn contains(&self, inode: u64) -> bool {
        self.0.contains_key(&inode)
    }

    /// Those of an endpoint, by inode.
    pub(in crate::supervisor) fn at(&self, endpoint: &Endpoint) -> BTreeMap<u64, ListenerId> {
        let here = self.0.iter().filter(|(_, (_, of))| of == endpoint);
        here.map(|(inode, (id, _))| (*inode, *id)).collect()
    }

    /// The last descriptor of one has been closed.
    pub(in crate::supervisor) fn forget(&mut self, inode: u64) {
        self.0.remove(&inode);
    }
}
