//! How often a request has been passed on already.
//!
//! The hazard is a circle: what a rescuer passes on may come to a listener that the rescuer drains itself, where new
//! connections are not steered, or where those who served have just gone. Each round costs two sockets, and without a
//! bound one client would cost all.

use std::collections::BTreeMap;
use std::net::SocketAddr;

/// After so many rounds nobody else is at the address. Where connections are not steered, and half of those who listen
/// are drained, one of four thousand million gets so far.
pub(super) const MOST_HOPS: u8 = 32;

/// The connections to servers, by the address that they come from.
#[derive(Debug, Default)]
pub(super) struct Hops {
    /// How often what came on a connection had been passed on before.
    before: BTreeMap<u64, u8>,
    from: BTreeMap<u64, SocketAddr>,
    by_address: BTreeMap<SocketAddr, u64>,
}

impl Hops {
    /// How often what comes from this address has been passed on.
    pub(super) fn of(&self, peer: SocketAddr) -> u8 {
        let by = self.by_address.get(&canonical(peer));
        by.map_or(0, |id| self.before(*id).saturating_add(1))
    }

    fn before(&self, id: u64) -> u8 {
        self.before.get(&id).copied().unwrap_or(0)
    }

    /// What comes on this connection has been passed on so often.
    pub(super) fn begin(&mut self, id: u64, hops: u8) {
        if hops > 0 {
            self.before.insert(id, hops);
        }
    }

    /// What comes on this connection is passed on from there now, or is not any more.
    pub(super) fn set(&mut self, id: u64, from: Option<SocketAddr>) {
        let from = from.map(canonical);
        let before = match from {
            Some(address) => self.from.insert(id, address),
            None => self.from.remove(&id),
        };
        if before == from {
            return;
        }
        if let Some(before) = before {
            self.by_address.remove(&before);
        }
        if let Some(address) = from {
            self.by_address.insert(address, id);
        }
    }

    pub(super) fn end(&mut self, id: u64) {
        self.set(id, None);
        self.before.remove(&id);
    }
}

/// A listener for both families names IPv4 peers by mapped addresses.
fn canonical(address: SocketAddr) -> SocketAddr {
    (address.ip().to_canonical(), address.port()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> SocketAddr {
        text.parse()
            .unwrap_or_else(|_| SocketAddr::from(([0; 4], 0)))
    }

    #[test]
    fn each_round_counts_until_the_connection_ends() {
        let mut hops = Hops::default();
        assert_eq!(hops.of(address("127.0.0.1:1")), 0);
        hops.begin(1, 0);
        hops.set(1, Some(address("127.0.0.1:1")));
        assert_eq!(hops.of(address("[::ffff:127.0.0.1]:1")), 1);
        hops.begin(2, 1);
        hops.set(2, Some(address("127.0.0.1:2")));
        assert_eq!(hops.of(address("127.0.0.1:2")), 2);
        hops.set(1, Some(address("127.0.0.1:3")));
        assert_eq!(hops.of(address("127.0.0.1:1")), 0, "another attempt");
        hops.end(2);
        assert_eq!(hops.of(address("127.0.0.1:2")), 0);
        hops.end(1);
        assert!(hops.by_address.is_empty() && hops.from.is_empty() && hops.before.is_empty());
    }
}
