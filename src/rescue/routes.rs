//! From where to where a request is passed on, and the header line that names its client.
//!
//! The hazard: a server judges its clients by their addresses. `allow 127.0.0.1; deny all` must not let in a
//! client of another host because its request comes by us, nor must a limit that is one client's be all
//! clients'. So a request comes from its client's own address, or it is not passed on unless that was asked for.

use std::net::{IpAddr, SocketAddr};

use super::peer_names::PeerNames;
use crate::sys::addresses::HostAddresses;
use crate::wire::http::{ClientLines, When};
use crate::wire::rescue::{Clients, Configuration, Forwarded, Route};

#[derive(Clone, Debug)]
pub(super) struct Routes {
    endpoints: Vec<Route>,
    clients: Clients,
    forwarded: Forwarded,
    host: HostAddresses,
    names: Option<PeerNames>,
}

/// The two ends of a connection to the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ends {
    /// With any port.
    pub(super) source: SocketAddr,
    pub(super) target: SocketAddr,
    /// Whom the server is to see as the peer, where that is not `source`.
    pub(super) client: Option<SocketAddr>,
}

impl Routes {
    /// Looks which addresses this host has: none but loopback counts where that cannot be seen.
    pub(super) fn new(configuration: &Configuration, names: Option<PeerNames>) -> Self {
        let host = HostAddresses::read().unwrap_or_else(|error| {
            log::warn!("cannot read this host's addresses: {error}");
            HostAddresses::default()
        });
        Self {
            endpoints: configuration.endpoints.clone(),
            clients: configuration.clients,
            forwarded: configuration.forwarded,
            host,
            names,
        }
    }

    /// The signal by which everything ends; none while somebody is left to pass a request on to.
    pub(super) fn last_signal(&self) -> Option<i32> {
        match self.clients {
            Clients::Nobody { stop_signal } => Some(stop_signal),
            Clients::Local | Clients::Named | Clients::All => None,
        }
    }

    /// The ends for requests of `client`, which came in on the address `local`; none: they must not be passed
    /// on.
    pub(super) fn ends(&self, client: SocketAddr, local: SocketAddr) -> Option<Ends> {
        let (client, local) = (canonical(client), canonical(local));
        if self.last_signal().is_some() {
            return None;
        }
        // A transparent proxy's connections have addresses that are not ours on both ends.
        if !self.host.has(local.ip()) {
            return None;
        }
        let (source, named) = match self.clients {
            _ if self.host.has(client.ip()) => (client, None),
            Clients::Named if self.names.is_some() => (local, Some(client)),
            Clients::Local | Clients::Named | Clients::Nobody { .. } => return None,
            // What comes from loopback is trusted most.
            Clients::All if local.ip().is_loopback() => return None,
            Clients::All => (local, None),
        };
        Some(Ends {
            source: with_port(source, 0),
            target: self.target(local),
            client: named,
        })
    }

    /// What names clients to the server.
    pub(super) fn names(&self) -> Option<&PeerNames> {
        self.names.as_ref()
    }

    /// Where to send what came in on the address `local`.
    fn target(&self, local: SocketAddr) -> SocketAddr {
        let exact = self
            .endpoints
            .iter()
            .find(|route| canonical(route.listen) == local);
        let any = || self.endpoints.iter().find(|route| covers(route, local));
        exact.or_else(any).map_or(local, |route| route.connect)
    }

    /// The header lines that name a client whose requests go from end to end. A client that keeps its address is
    /// not named: what its requests say of others, as a proxy's do, stays as it is.
    pub(super) fn client_lines(&self, client: SocketAddr, ends: Ends) -> ClientLines {
        let client = canonical(client).ip();
        if client == ends.source.ip() || ends.client.is_some() {
            return ClientLines::default();
        }
        let forwarded = match client {
            IpAddr::V4(_) => format!("for={client}"),
            IpAddr::V6(_) => format!("for=\"[{client}]\""),
        };
        let when = |wanted| match self.forwarded == wanted {
            true => When::Always,
            false => When::Present,
        };
        ClientLines::default()
            .with(
                "X-Forwarded-For",
                client.to_string(),
                when(Forwarded::XForwardedFor),
            )
            .with("Forwarded", forwarded, when(Forwarded::Forwarded))
    }
}

fn covers(route: &Route, local: SocketAddr) -> bool {
    route.listen.ip().is_unspecified() && route.listen.port() == local.port()
}

/// An IPv4 client of a listener for both families has a mapped address. An address of a link keeps its link.
fn canonical(address: SocketAddr) -> SocketAddr {
    match address.ip().to_canonical() {
        IpAddr::V4(ip) => (ip, address.port()).into(),
        IpAddr::V6(_) => address,
    }
}

fn with_port(mut address: SocketAddr, port: u16) -> SocketAddr {
    address.set_port(port);
    address
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn routes(endpoints: &[(&str, &str)], forwarded: Forwarded) -> Routes {
        let route = |(listen, connect): &(&str, &str)| Route {
            listen: listen.parse().unwrap(),
            connect: connect.parse().unwrap(),
        };
        Routes {
            endpoints: endpoints.iter().map(route).collect(),
            clients: Clients::Local,
            forwarded,
            host: HostAddresses::default(),
            names: None,
        }
    }

    #[test]
    fn the_endpoint_of_the_address_is_asked() {
        let endpoints = [
            ("0.0.0.0:80", "127.0.0.1:80"),
            ("10.0.0.1:80", "10.0.0.9:90"),
        ];
        let routes = routes(&endpoints, Forwarded::Nothing);
        let target = |local: &str| routes.target(local.parse().unwrap()).to_string();
        assert_eq!(target("10.0.0.1:80"), "10.0.0.9:90");
        assert_eq!(target("10.0.0.2:80"), "127.0.0.1:80");
        assert_eq!(target("10.0.0.2:81"), "10.0.0.2:81");
    }

    #[test]
    fn a_request_comes_from_its_clients_own_address_or_not_at_all() {
        let ends = |clients, client: &str, local: &str| {
            let routes = Routes {
                clients,
                ..routes(&[], Forwarded::Nothing)
            };
            let ends = routes.ends(client.parse().unwrap(), local.parse().unwrap())?;
            Some((ends.source.to_string(), ends.target.to_string()))
        };
        let own = Some(("127.0.0.5:0".to_owned(), "127.0.0.1:80".to_owned()));
        for clients in [Clients::Local, Clients::All] {
            assert_eq!(ends(clients, "127.0.0.5:999", "127.0.0.1:80"), own);
            assert_eq!(
                ends(clients, "[::ffff:127.0.0.5]:9", "[::ffff:127.0.0.1]:80"),
                own
            );
            assert_eq!(
                ends(clients, "192.0.2.7:999", "192.0.2.1:80"),
                None,
                "it is not ours"
            );
            assert_eq!(ends(clients, "192.0.2.7:999", "127.0.0.1:80"), None);
        }
    }

    #[test]
    fn a_client_is_named_where_its_address_is_not_kept() {
        let lines = |forwarded, client: &str| {
            let ends = Ends {
                source: "10.0.0.9:0".parse().unwrap(),
                target: "10.0.0.9:80".parse().unwrap(),
                client: None,
            };
            let lines = routes(&[], forwarded).client_lines(client.parse().unwrap(), ends);
            let text = |head: &str| String::from_utf8(lines.for_request(head.as_bytes())).unwrap();
            (
                text("GET / HTTP/1.1\r\n"),
                text("GET / HTTP/1.1\r\nForwarded: for=x\r\n"),
            )
        };
        let (plain, own) = lines(Forwarded::Nothing, "10.0.0.1:1");
        assert_eq!(
            (plain.as_str(), own.as_str()),
            ("", "Forwarded: for=10.0.0.1\r\n")
        );
        let (plain, _) = lines(Forwarded::XForwardedFor, "[::ffff:10.0.0.1]:1");
        assert_eq!(plain, "X-Forwarded-For: 10.0.0.1\r\n");
        let (plain, own) = lines(Forwarded::Forwarded, "[2001:db8::1]:1");
        assert_eq!(plain, "Forwarded: for=\"[2001:db8::1]\"\r\n");
        assert_eq!(own, plain);
        let (plain, own) = lines(Forwarded::Forwarded, "10.0.0.9:1");
        assert_eq!(
            (plain.as_str(), own.as_str()),
            ("", ""),
            "it keeps its address"
        );
    }
}
