//! Whether a worker that gives up may have found that its port is taken.
//!
//! Some servers connect to their own port before they bind it, and give up where they are answered: as they are in a
//! reload, by the generation before. All that such a worker says, if anything, is that its port is in use, which
//! reads as if somebody else had it. Others ask again for ever. So it is looked whether, since the worker was started,
//! somebody connected to an endpoint of ours and hung up first, as such servers do. The kernel remembers that for a
//! minute, but not who it was: another client on this host leaves the same trace, as does a rescuer. So what is found
//! is a possible cause, and is told as one (docs/kernel.md, 1.11). Probes of ours are known by their source ports, and
//! do not count.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use log::debug;

use super::Workers;
use crate::fleet::{Endpoint, WorkerId};
use crate::supervisor::listeners::Listeners;
use crate::sys::addresses::HostAddresses;
use crate::sys::{diag, procfs};
use crate::wire::diag::Connection;

/// At how many ports it is looked at most: each costs a walk over the connections of the host, and a server that tries
/// its ports tries the first.
const MAX_PORTS: usize = 4;

/// How exactly the kernel tells when a connection ended: in ticks, of 10 ms where they are longest.
const TICK: Duration = Duration::from_millis(10);

impl Workers {
    /// Looks whether somebody has been answered by an endpoint of ours since a worker that does not listen was started.
    pub(in crate::supervisor) fn look_for_port_answer(
        &mut self,
        worker: WorkerId,
        listeners: &Listeners,
        is_ours: impl Fn(SocketAddr) -> bool,
    ) {
        let Some(process) = self.processes.get_mut(&worker) else {
            return;
        };
        let endpoints: Vec<Endpoint> = listeners.endpoints().map(|(it, _)| it).collect();
        let ports: BTreeSet<u16> = endpoints.iter().map(|it| it.address.port()).collect();
        let host = HostAddresses::read().unwrap_or_default();
        let look = Look {
            life: process.started.elapsed(),
            fin_timeout: procfs::fin_timeout(),
            endpoints: &endpoints,
            host: &host,
        };
        for port in ports.into_iter().take(MAX_PORTS) {
            match diag::closed_clients(port) {
                Ok(closed) => {
                    let mut candidates = closed.iter().filter(|it| look.may_be_the_workers(it));
                    let found = candidates.find(|it| !is_ours(it.local));
                    if let Some(found) = found {
                        process.facts.port_answer = Some(found.remote);
                        return;
                    }
                }
                Err(error) => {
                    debug!("worker {worker}: cannot see whether its port answered: {error}")
                }
            }
        }
    }

    /// The address that answered while a worker was starting, if one was seen to.
    pub(in crate::supervisor) fn port_answer(&self, worker: WorkerId) -> Option<SocketAddr> {
        self.processes.get(&worker)?.facts.port_answer
    }
}

/// What is looked for.
#[derive(Debug)]
struct Look<'a> {
    /// How long ago the worker was started.
    life: Duration,
    fin_timeout: Duration,
    endpoints: &'a [Endpoint],
    host: &'a HostAddresses,
}

impl Look<'_> {
    /// Whether a client's connection was to an endpoint of ours, and ended in the worker's life.
    fn may_be_the_workers(&self, client: &Connection) -> bool {
        let ended = client.closed_first_before(self.fin_timeout);
        ended.is_some_and(|ago| ago <= self.life + TICK)
            && self
                .endpoints
                .iter()
                .any(|it| self.reaches(client.remote, it))
    }

    /// Whether who connects to this address is answered at the endpoint. The port may be one of another host, too.
    fn reaches(&self, address: SocketAddr, endpoint: &Endpoint) -> bool {
        let (ip, at) = (address.ip(), endpoint.address.ip());
        let is_of_family = ip.is_ipv4() == at.is_ipv4() || (ip.is_ipv4() && !endpoint.v6_only);
        let is_there = at == ip || (at.is_unspecified() && is_of_family && self.host.has(ip));
        is_there && address.port() == endpoint.address.port()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::wire::diag::TcpState;

    fn endpoint(address: &str, v6_only: bool) -> Endpoint {
        Endpoint {
            address: address.parse().unwrap(),
            v6_only,
        }
    }

    /// A client that closed its connection so many milliseconds ago.
    fn client(remote: &str, ago: u64) -> Connection {
        Connection {
            local: "127.0.0.1:50000".parse().unwrap(),
            remote: remote.parse().unwrap(),
            state: TcpState::TIME_WAIT,
            inode: 0,
            cookie: 1,
            uid: 0,
            receive_queue: 0,
            send_queue: 0,
            remembered_for: Some(Duration::from_millis(60_000 - ago)),
        }
    }

    fn is_found(endpoint: Endpoint, client: &Connection) -> bool {
        let look = Look {
            life: Duration::from_millis(1500),
            fin_timeout: Duration::from_secs(60),
            endpoints: &[endpoint],
            host: &HostAddresses::default(),
        };
        look.may_be_the_workers(client)
    }

    #[test]
    fn who_hung_up_before_the_worker_was_started_was_not_the_worker() {
        let at = endpoint("127.0.0.1:8080", false);
        for (ago, found) in [
            (0, true),
            (1400, true),
            (1510, true),
            (1520, false),
            (59_000, false),
        ] {
            assert_eq!(is_found(at, &client("127.0.0.1:8080", ago)), found, "{ago}");
        }
    }

    #[test]
    fn a_connection_that_is_open_or_was_ended_by_the_server_does_not_count() {
        let mut open = client("127.0.0.1:8080", 0);
        (open.state, open.inode, open.remembered_for) = (TcpState::ESTABLISHED, 7, None);
        assert!(!is_found(endpoint("127.0.0.1:8080", false), &open));
    }

    #[test]
    fn the_endpoint_is_known_by_its_address_or_as_any_of_this_host() {
        for (at, v6_only, remote, found) in [
            ("127.0.0.1:8080", false, "127.0.0.1:8080", true),
            ("127.0.0.1:8080", false, "127.0.0.1:8081", false),
            ("127.0.0.1:8080", false, "127.0.0.2:8080", false),
            ("0.0.0.0:8080", false, "127.0.0.1:8080", true),
            ("0.0.0.0:8080", false, "127.0.0.1:8081", false),
            // The same port of another host.
            ("0.0.0.0:8080", false, "192.0.2.7:8080", false),
            ("0.0.0.0:8080", false, "[::1]:8080", false),
            ("[::]:8080", true, "[::1]:8080", true),
            ("[::]:8080", false, "127.0.0.1:8080", true),
            ("[::]:8080", true, "127.0.0.1:8080", false),
            ("192.0.2.7:8080", false, "192.0.2.7:8080", true),
        ] {
            let is_found = is_found(endpoint(at, v6_only), &client(remote, 100));
            assert_eq!(is_found, found, "{at} {v6_only} {remote}");
        }
    }
}
