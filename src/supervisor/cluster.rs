//! What workers say over their channels, and what the primary of Node's cluster does for the worker half of a program.
//!
//! A worker of a cluster does not bind: it asks its primary for a socket that is bound, and listens on that. Each gets one
//! of its own, or a listener of its set, as if it had bound it. That it listens is seen by its call of listen(2), as with
//! any other program.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use log::{debug, warn};
use serde_json::Value;

use super::Supervisor;
use crate::config::Readiness;
use crate::fleet::{Endpoint, Event, WorkerId};
use crate::sys::listener;
use crate::wire::channel::{Address, ClusterCall, Message, Request};
use crate::wire::channel::{acknowledged, answered, disconnect};

impl Supervisor {
    pub(super) fn channel_ready(&mut self, worker: WorkerId) {
        for message in self.channels.ready(&mut self.sources, worker) {
            match message {
                Message::Cluster(call) => self.answer_cluster(worker, call),
                Message::Said(said) => self.said(worker, &said),
                Message::HandleTaken | Message::Internal => {}
            }
        }
    }

    fn said(&mut self, worker: WorkerId, said: &Value) {
        let config = self.workers.config(worker).unwrap_or(&self.config);
        if config.ready == Readiness::Channel && is_ready(said) {
            self.inbox.push_back(Event::Notified { worker });
        } else {
            debug!("worker {worker}: says over its channel: {said}");
        }
    }

    fn answer_cluster(&mut self, worker: WorkerId, call: ClusterCall) {
        let ClusterCall { number, request } = call;
        let Request::Bind {
            address,
            port,
            kind,
            v6_only,
            key,
        } = request
        else {
            return self
                .channels
                .say(&mut self.sources, worker, &acknowledged(number));
        };
        let bound = asked_endpoint(kind, address.as_deref(), port, v6_only)
            .and_then(|endpoint| self.bind_for(worker, endpoint));
        match bound {
            Ok(socket) => {
                let answer = answered(number, &key, Ok(()));
                self.channels
                    .hand_over(&mut self.sources, worker, &answer, socket);
            }
            Err(error) => {
                let address = address.unwrap_or_default();
                warn!("worker {worker}: cannot give it a socket for {address}:{port}: {error}");
                let errno = error.raw_os_error().unwrap_or(libc::EIO);
                let answer = answered(number, &key, Err(errno));
                self.channels.say(&mut self.sources, worker, &answer);
            }
        }
    }

    fn bind_for(
        &mut self,
        worker: WorkerId,
        endpoint: Endpoint,
    ) -> io::Result<std::os::fd::OwnedFd> {
        let is_fetchable = self.workers.can_fetch();
        let (socket, change) =
            self.intercepts
                .bind_for(&self.listeners, worker, endpoint, is_fetchable)?;
        self.inbox.extend(change.map(|change| change.event(worker)));
        Ok(socket)
    }

    /// Tells a worker to stop as it knows it: one of a cluster closes its servers, and ends with its last connection. One
    /// that has closed its channel hears of nothing, and gets the signal.
    pub(super) fn send_stop_message(&mut self, worker: WorkerId) {
        let config = self.workers.config(worker).unwrap_or(&self.config);
        let message = match (&config.stop_message, self.channels.kind(worker)) {
            (_, None) => return self.send_signal(worker),
            (Some(message), Some(_)) => message.as_str().into(),
            (None, Some(_)) => disconnect(),
        };
        self.workers.told(worker);
        self.channels.say(&mut self.sources, worker, &message);
    }
}

/// What PM2 waits for, and what others send.
fn is_ready(said: &Value) -> bool {
    said == "ready" || said.get("type").is_some_and(|kind| kind == "ready")
}

/// Where Node would bind (`createServerHandle` of its net module): without an address, everywhere, with IPv6 if there is
/// any.
///
/// # Errors
/// Of a path, of datagrams, of a name.
fn asked_endpoint(
    kind: Address,
    address: Option<&str>,
    port: i64,
    v6_only: bool,
) -> io::Result<Endpoint> {
    let unsupported = || io::Error::from_raw_os_error(libc::EOPNOTSUPP);
    if kind != Address::Tcp {
        return Err(unsupported());
    }
    let port = u16::try_from(port).map_err(|_| unsupported())?;
    let everywhere = || match listener::has_v6() {
        true => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        false => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
    };
    let ip = match address {
        None => everywhere(),
        Some(address) => address.parse().map_err(|_| unsupported())?,
    };
    Ok(Endpoint {
        address: SocketAddr::new(ip, port),
        v6_only: v6_only && ip.is_ipv6(),
    })
}
