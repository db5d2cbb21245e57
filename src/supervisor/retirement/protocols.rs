//! What each endpoint speaks, as far as is known, from one retirement to the next.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use crate::config::ServedProtocol;
use crate::wire::rescue::{EndpointProtocol, Protocol};

#[derive(Debug, Default)]
pub(in crate::supervisor) struct Protocols(BTreeMap<SocketAddr, Protocol>);

impl Protocols {
    /// A rescuer has seen it, or a worker has answered there.
    pub(in crate::supervisor) fn learn(&mut self, learnt: EndpointProtocol) {
        let EndpointProtocol { endpoint, protocol } = learnt;
        let before = self.0.insert(endpoint, protocol);
        if before != Some(protocol) {
            log::debug!("{endpoint}: its clients speak {}", name(protocol));
        }
    }

    /// What a rescuer is told of these endpoints.
    pub(super) fn of(&self, endpoints: impl Iterator<Item = SocketAddr>) -> Vec<EndpointProtocol> {
        let protocol = |endpoint| self.0.get(&endpoint).copied().unwrap_or_default();
        endpoints
            .map(|endpoint| EndpointProtocol {
                endpoint,
                protocol: protocol(endpoint),
            })
            .collect()
    }
}

/// What the user says that all endpoints speak.
pub(super) fn given(protocol: ServedProtocol) -> Option<Protocol> {
    match protocol {
        ServedProtocol::Auto => None,
        ServedProtocol::Http1 => Some(Protocol::Http1),
        ServedProtocol::Opaque => Some(Protocol::Opaque),
    }
}

fn name(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Unknown => "something unknown",
        Protocol::Http1 => "HTTP/1",
        Protocol::Opaque => "something else than HTTP/1",
    }
}
