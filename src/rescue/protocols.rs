//! What each endpoint speaks, as far as is known: pure.
//!
//! The hazard is a connection that is held for a client whose next request cannot be passed on: the request
//! would not have been lost if the connection had been closed.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use super::evidence::Evidence;
use crate::wire::rescue::{Configuration, EndpointProtocol, Protocol};

#[derive(Debug)]
pub(super) struct Protocols {
    /// What the user says; none: what is seen counts.
    given: Option<Protocol>,
    known: BTreeMap<SocketAddr, Protocol>,
}

impl Protocols {
    pub(super) fn new(configuration: &Configuration) -> Self {
        let known = configuration.protocols.iter();
        Self {
            given: configuration.protocol,
            known: known
                .map(|it| (canonical(it.endpoint), it.protocol))
                .collect(),
        }
    }

    /// What is spoken on connections that came in on the address `local`.
    pub(super) fn of(&self, local: SocketAddr) -> Protocol {
        let known = || self.known.get(&self.endpoint(local)).copied();
        self.given.or_else(known).unwrap_or_default()
    }

    /// Notes what the bytes of a connection have shown; its endpoint, if more is known of that now.
    pub(super) fn learn(
        &mut self,
        local: SocketAddr,
        evidence: Evidence,
    ) -> Option<EndpointProtocol> {
        if self.given.is_some() {
            return None;
        }
        let endpoint = self.endpoint(local);
        let known = self.known.entry(endpoint).or_default();
        let protocol = evidence.after(*known);
        let before = std::mem::replace(known, protocol);
        (before != protocol).then_some(EndpointProtocol { endpoint, protocol })
    }

    /// Whether connections that came in on the address `local` are this endpoint's.
    pub(super) fn is_of(&self, endpoint: SocketAddr, local: SocketAddr) -> bool {
        self.endpoint(local) == endpoint
    }

    /// The endpoint of an address; the address itself where none is known.
    fn endpoint(&self, local: SocketAddr) -> SocketAddr {
        let local = canonical(local);
        if self.known.contains_key(&local) {
            return local;
        }
        let covers = |endpoint: &&SocketAddr| {
            endpoint.ip().is_unspecified() && endpoint.port() == local.port()
        };
        self.known.keys().find(covers).copied().unwrap_or(local)
    }
}

/// A listener for both families shows IPv4 addresses mapped.
fn canonical(address: SocketAddr) -> SocketAddr {
    let mut address = address;
    address.set_ip(address.ip().to_canonical());
    address
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn at(address: &str) -> SocketAddr {
        address.parse().unwrap()
    }

    fn protocols(given: Option<Protocol>) -> Protocols {
        let known = [
            ("0.0.0.0:80", Protocol::Unknown),
            ("10.0.0.1:80", Protocol::Opaque),
        ];
        Protocols {
            given,
            known: known.map(|(of, it)| (at(of), it)).into(),
        }
    }

    #[test]
    fn an_endpoint_has_its_own_protocol() {
        let mut protocols = protocols(None);
        let evidence = Evidence::Claimed(Protocol::Http1);
        let learnt = protocols.learn(at("[::ffff:10.0.0.2]:80"), evidence);
        let learnt = learnt.unwrap();
        assert_eq!(learnt.endpoint, at("0.0.0.0:80"));
        assert_eq!(learnt.protocol, Protocol::Http1);
        assert_eq!(protocols.learn(at("10.0.0.3:80"), evidence), None);
        assert_eq!(protocols.of(at("10.0.0.3:80")), Protocol::Http1);
        assert_eq!(protocols.of(at("10.0.0.1:80")), Protocol::Opaque);
        assert_eq!(protocols.of(at("10.0.0.1:81")), Protocol::Unknown);
        assert!(protocols.is_of(at("0.0.0.0:80"), at("10.0.0.3:80")));
        assert!(!protocols.is_of(at("0.0.0.0:80"), at("10.0.0.1:80")));
    }

    #[test]
    fn what_the_user_says_is_not_overruled() {
        let mut protocols = protocols(Some(Protocol::Http1));
        let local = at("10.0.0.1:80");
        let evidence = Evidence::Proven(Protocol::Opaque);
        assert_eq!(protocols.learn(local, evidence), None);
        assert_eq!(protocols.of(local), Protocol::Http1);
    }
}
