//! What becomes of the connections of workers that retire: the rescuer, with everything around it.

mod few_descriptors;
mod figures;
mod forking;
mod idle;
mod long;
mod occasions;
mod queues;
mod rescuers;
mod strange;

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use reuseport_run::wire::control::{RescueStatus, Status};
use socket2::{Domain, Socket, Type};

use crate::harness::{Builder, Supervisor, ctl_program};
use crate::rig::server::{AtTerm, Kind, Wanted};
use crate::support::*;

/// How long a client waits for an answer, on a busy machine.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// A client that keeps its connection.
pub(crate) struct Client(TcpStream);

/// An answer, its head in small letters.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    fn field(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines();
        let value = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        Some(value.trim())
    }

    /// Who gave it: `generation.slot`.
    pub(crate) fn worker(&self) -> &str {
        self.field("x-worker").unwrap()
    }

    /// Whether it says that it is the last on its connection.
    pub(crate) fn is_last(&self) -> bool {
        self.field("connection") == Some("close")
    }
}

impl Client {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(ANSWER_TIMEOUT)).unwrap();
        Self(stream)
    }

    pub(crate) fn connect_from(source: Ipv4Addr, address: SocketAddr) -> Self {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from((source, 0)).into()).unwrap();
        socket.connect(&address.into()).unwrap();
        let stream = TcpStream::from(socket);
        stream.set_read_timeout(Some(ANSWER_TIMEOUT)).unwrap();
        Self(stream)
    }

    /// One that has been answered once, and what it was answered.
    pub(crate) fn served(address: SocketAddr) -> (Self, Answer) {
        let mut client = Self::connect(address);
        let answer = client.ask("/").unwrap();
        (client, answer)
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).unwrap();
    }

    pub(crate) fn request(&mut self, path: &str) {
        self.send(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes());
    }

    pub(crate) fn answer(&mut self) -> io::Result<Answer> {
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") {
            self.0.read_exact(&mut byte)?;
            head.push(byte[0]);
        }
        let mut answer = Answer {
            head: String::from_utf8(head).unwrap().to_ascii_lowercase(),
            body: String::new(),
        };
        let length = answer.field("content-length").unwrap_or("0");
        let mut body = vec![0; length.parse().unwrap()];
        self.0.read_exact(&mut body)?;
        answer.body = String::from_utf8(body).unwrap();
        Ok(answer)
    }

    pub(crate) fn ask(&mut self, path: &str) -> io::Result<Answer> {
        self.request(path);
        self.answer()
    }

    /// What comes until the end; a reset is one.
    pub(crate) fn rest(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        match self.0.read_to_end(&mut bytes) {
            Err(error) if error.kind() != io::ErrorKind::ConnectionReset => panic!("{error}"),
            _ => bytes,
        }
    }
}

/// A supervisor of a real server that keeps connections; none, after saying so, where there is none.
fn keeping(options: &[&str], kind: Kind, at_term: Option<AtTerm>) -> Option<Builder> {
    let builder = Supervisor::builder().args(options.iter().copied());
    let wanted = Wanted {
        kind,
        bind: Ipv4Addr::UNSPECIFIED.into(),
        port: builder.port(),
        keep_alive: true,
        at_term,
        directory: builder.directory(),
    };
    let command = found(wanted.command())?;
    Some(builder.command(command))
}

/// A supervisor of a Node script; none, after saying so, where there is no Node.
fn scripted_node(options: &[&str], script: &str) -> Option<Builder> {
    let builder = Supervisor::builder()
        .args(options.iter().copied())
        .file("server.js", script);
    let wanted = Wanted {
        kind: Kind::Node,
        bind: Ipv4Addr::UNSPECIFIED.into(),
        port: builder.port(),
        keep_alive: true,
        at_term: None,
        directory: builder.directory(),
    };
    let node = found(wanted.command())?.into_iter().next()?;
    Some(builder.command([&node, "{dir}/server.js"]))
}

/// A command of `reuseport-ctl` that goes on while the test does something else.
fn begin(supervisor: &Supervisor, words: &[&str]) -> Child {
    let mut command = Command::new(ctl_program());
    command
        .arg("--socket")
        .arg(supervisor.control())
        .args(words);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().unwrap()
}

/// Its end, which must be a good one.
#[track_caller]
fn assert_succeeds(supervisor: &Supervisor, child: Child) {
    let output = child.wait_with_output().unwrap();
    if !output.status.success() {
        supervisor.give_up(&String::from_utf8_lossy(&output.stderr));
    }
}

/// The pids of the rescuers that run.
fn rescuers(status: &Status) -> Vec<i32> {
    let pids = status.rescues.iter().filter_map(|rescue| rescue.pid);
    pids.map(|pid| i32::try_from(pid).unwrap()).collect()
}

/// Waits for a rescuer that holds so many connections; returns its pid.
#[track_caller]
fn wait_holding(supervisor: &Supervisor, held: u64) -> i32 {
    let is_it = |rescue: &RescueStatus| rescue.pid.is_some() && rescue.held == held;
    let status = supervisor.wait_status(|status| status.rescues.iter().any(is_it));
    let rescue = status.rescues.into_iter().find(is_it).unwrap();
    i32::try_from(rescue.pid.unwrap()).unwrap()
}

/// Waits until no rescuer runs any more; returns what became of the last one's connections.
#[track_caller]
fn wait_rescued(supervisor: &Supervisor) -> RescueStatus {
    let status = supervisor.wait_status(|status| {
        !status.rescues.is_empty() && rescuers(status).is_empty() && status.phase == "serving"
    });
    status.rescues.into_iter().last().unwrap()
}
