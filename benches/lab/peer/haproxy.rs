//! HAProxy in front of one pool of Node processes, each at a port of its own.
//!
//! A reload replaces the pool behind it: a new one is started, HAProxy is told of it and reloads
//! itself, and the old pool is told to stop when the old HAProxy worker is gone, because until then
//! it has connections to it.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::Signal;
use nix::unistd::Pid;

use super::process::Census;
use super::process_tree::ProcessTree;
use super::roles::Roles;
use super::tool::{HAPROXY, NODE};
use super::{Peer, Place, Profile, Work, application, poll};

const TIMEOUT: Duration = Duration::from_secs(30);

/// HAProxy.
#[derive(Clone, Copy, Debug)]
pub struct Haproxy;

impl Peer for Haproxy {
    fn profile(&self) -> Profile {
        Profile {
            name: "haproxy",
            work: Work::Node,
            needs: &[NODE, HAPROXY],
            configuration: "one thread a core, round robin, connections to the pool kept and reused, health checks, a retry elsewhere; nobody starts a server of the pool again that has died",
            reload: "a new pool, USR2 to the master, then TERM to the old pool",
        }
    }

    fn start(&self, place: &Place) -> io::Result<ProcessTree> {
        let roles = Roles {
            is_worker: |line| line.contains("http.js"),
            ..Roles::default()
        };
        let mut process_tree = ProcessTree::new(place).with(roles);
        let ports = ports(place.workers)?;
        fs::write(
            place.file("haproxy.cfg"),
            configuration(place.address, &ports),
        )?;
        let mut command = Command::new(HAPROXY.word());
        command
            .args(["-W", "-db", "-f"])
            .arg(place.file("haproxy.cfg"));
        // The pool before HAProxy, or its first checks would find nobody.
        start_pool(&mut process_tree, &ports)?;
        process_tree.spawn_first(&mut command)?;
        Ok(process_tree)
    }

    fn reload(&self, process_tree: &mut ProcessTree, place: &Place) -> io::Result<Option<Command>> {
        let roots = process_tree.roots();
        let Some((master, old_pool)) = roots.split_first() else {
            return Err(io::Error::other("nothing was started"));
        };
        let ports = ports(place.workers)?;
        start_pool(process_tree, &ports)?;
        fs::write(
            place.file("haproxy.cfg"),
            configuration(place.address, &ports),
        )?;
        let old = Census::take().descendants(*master);
        nix::sys::signal::kill(*master, Signal::SIGUSR2)?;
        wait_until_gone(&old)?;
        process_tree.dismiss(old_pool);
        Ok(None)
    }
}

/// Free ports, chosen by the kernel, all held until all are known so that none comes twice.
fn ports(count: u32) -> io::Result<Vec<u16>> {
    let listeners: io::Result<Vec<TcpListener>> = (0..count)
        .map(|_| TcpListener::bind("127.0.0.1:0"))
        .collect();
    listeners?
        .iter()
        .map(|listener| Ok(listener.local_addr()?.port()))
        .collect()
}

/// Starts the processes and waits until each listens.
fn start_pool(process_tree: &mut ProcessTree, ports: &[u16]) -> io::Result<()> {
    for port in ports {
        let mut command = Command::new(NODE.word());
        command
            .arg(application("http.js"))
            .args([port.to_string(), "127.0.0.1".to_owned()]);
        process_tree.spawn(&mut command)?;
    }
    let listens =
        |port: &u16| TcpStream::connect(SocketAddr::from(([127, 0, 0, 1], *port))).is_ok();
    if poll::holds(TIMEOUT, || ports.iter().all(listens)) {
        return Ok(());
    }
    Err(io::Error::other("the pool behind haproxy does not listen"))
}

fn wait_until_gone(pids: &[Pid]) -> io::Result<()> {
    let are_gone = || {
        let census = Census::take();
        !pids.iter().any(|pid| census.has(*pid))
    };
    if poll::holds(TIMEOUT, are_gone) {
        return Ok(());
    }
    Err(io::Error::other(
        "the old haproxy worker did not end after a reload",
    ))
}

fn configuration(address: SocketAddr, ports: &[u16]) -> String {
    let mut text = format!(
        "global
    maxconn 8192
    hard-stop-after 20s
defaults
    mode http
    timeout connect 1s
    timeout client 120s
    timeout server 30s
    timeout http-keep-alive 120s
    option redispatch
    retries 3
    retry-on conn-failure empty-response
frontend front
    bind {address} backlog 4096
    default_backend pool
backend pool
    balance roundrobin
    http-reuse always
"
    );
    for (at, port) in ports.iter().enumerate() {
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "    server s{at} 127.0.0.1:{port} check inter 200ms fall 1 rise 1"
        );
    }
    text
}
