//! Where a request is sent, and the header line that names its client.

use std::net::SocketAddr;

use crate::wire::rescue::{Configuration, Forwarded, Route};

#[derive(Clone, Debug)]
pub(super) struct Routes {
    endpoints: Vec<Route>,
    forwarded: Forwarded,
}

impl Routes {
    pub(super) fn new(configuration: &Configuration) -> Self {
        Self {
            endpoints: configuration.endpoints.clone(),
            forwarded: configuration.forwarded,
        }
    }

    /// Where to send what came in on the address `local`.
    pub(super) fn target(&self, local: SocketAddr) -> SocketAddr {
        let local = canonical(local);
        let exact = self
            .endpoints
            .iter()
            .find(|route| canonical(route.listen) == local);
        let any = || self.endpoints.iter().find(|route| covers(route, local));
        exact.or_else(any).map_or(local, |route| route.connect)
    }

    /// The header lines that are added to a client's requests.
    pub(super) fn header_lines(&self, client: SocketAddr) -> Vec<u8> {
        let address = canonical(client).ip();
        let line = match self.forwarded {
            Forwarded::Nothing => String::new(),
            Forwarded::XForwardedFor => format!("X-Forwarded-For: {address}\r\n"),
            Forwarded::Forwarded if address.is_ipv6() => {
                format!("Forwarded: for=\"[{address}]\"\r\n")
            }
            Forwarded::Forwarded => format!("Forwarded: for={address}\r\n"),
        };
        line.into_bytes()
    }
}

fn covers(route: &Route, local: SocketAddr) -> bool {
    route.listen.ip().is_unspecified() && route.listen.port() == local.port()
}

/// An IPv4 client of a listener for both families has a mapped address.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
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
            forwarded,
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
        assert_eq!(target("[::ffff:10.0.0.1]:80"), "10.0.0.9:90");
        assert_eq!(target("10.0.0.2:81"), "10.0.0.2:81");
    }

    #[test]
    fn the_client_is_named_if_asked_for() {
        let line = |forwarded, client: &str| {
            let lines = routes(&[], forwarded).header_lines(client.parse().unwrap());
            String::from_utf8(lines).unwrap()
        };
        assert_eq!(line(Forwarded::Nothing, "10.0.0.1:1"), "");
        assert_eq!(
            line(Forwarded::XForwardedFor, "[::ffff:10.0.0.1]:1"),
            "X-Forwarded-For: 10.0.0.1\r\n"
        );
        assert_eq!(
            line(Forwarded::Forwarded, "10.0.0.1:1"),
            "Forwarded: for=10.0.0.1\r\n"
        );
        assert_eq!(
            line(Forwarded::Forwarded, "[2001:db8::1]:1"),
            "Forwarded: for=\"[2001:db8::1]\"\r\n"
        );
    }
}
