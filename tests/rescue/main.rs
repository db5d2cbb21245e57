//! The rescuer, as the supervisor starts it, with real connections. The test's own process is the
//! worker, except where a real server is.
#![allow(clippy::unwrap_used)]

mod adopted;
mod busy;
mod harness;
mod hostile;
mod protocol;
mod streams;
mod waiting;
mod watched;

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};
use nix::unistd::Pid;
use reuseport_run::rescue::NAME;
use reuseport_run::sys::{channel, pidfd, procfs, tcp};
use reuseport_run::wire::rescue::{
    Clients, Configuration, Descriptor, EndpointProtocol, Forwarded, MAX_MESSAGE_LEN, Order,
    Protocol, Report, Route, Tally, decode, encode,
};

use harness::*;
