//! One at a time: a connection is taken, its request is answered, it is closed, and only then the
//! next one is taken. Meanwhile connections wait where the kernel or the master has put them.

use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::AsFd;
use std::thread;

use mio::Events;
use mio::net::TcpStream;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::connection_source::Arrival;
use super::request::Request;
use super::service::compute;
use super::{SIGNAL, TIMEOUT, Work, Worker, wait};

/// Serves until SIGTERM. A connection that is served is finished before it is heard.
///
/// # Errors
/// Those of waiting and accepting.
pub fn run(mut worker: Worker) -> io::Result<()> {
    let mut events = Events::with_capacity(2);
    let Some(mut source) = worker.source.take() else {
        return Ok(());
    };
    loop {
        wait(&mut worker.poll, &mut events)?;
        if events.iter().any(|event| event.token() == SIGNAL) {
            break;
        }
        match source.take()? {
            Arrival::Connection(stream) => {
                source.report(false)?;
                serve(&mut worker, stream);
                source.report(true)?;
            }
            Arrival::Nothing => {}
            Arrival::End => break,
        }
    }
    while let Some(stream) = source.last() {
        serve(&mut worker, stream);
    }
    Ok(())
}

fn serve(worker: &mut Worker, stream: TcpStream) {
    // A client that goes away takes nobody with it.
    let _ = converse(worker, stream);
}

fn converse(worker: &mut Worker, mut stream: TcpStream) -> io::Result<()> {
    let mut input = Vec::new();
    while Request::read(&input) == Request::Partial {
        ready(&stream, PollFlags::POLLIN)?;
        let mut piece = [0; 2 << 10];
        let length = stream.read(&mut piece)?;
        if length == 0 {
            return Ok(());
        }
        input.extend_from_slice(&piece[..length]);
    }
    if Request::read(&input) != Request::Invalid {
        spend(worker);
        write_all(&mut stream, worker.answers.bytes(true))?;
    }
    Ok(())
}

fn spend(worker: &mut Worker) {
    let time = worker.service.draw(&mut worker.random);
    match worker.work {
        _ if time.is_zero() => {}
        Work::Cpu => compute(time),
        Work::Wait => thread::sleep(time),
    }
}

fn write_all(stream: &mut TcpStream, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match stream.write(bytes) {
            Ok(length) => bytes = &bytes[length..],
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                ready(stream, PollFlags::POLLOUT)?;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn ready(stream: &TcpStream, flags: PollFlags) -> io::Result<()> {
    let patience = PollTimeout::try_from(TIMEOUT).unwrap_or(PollTimeout::MAX);
    let mut polled = [PollFd::new(stream.as_fd(), flags)];
    match poll(&mut polled, patience)? {
        0 => Err(ErrorKind::TimedOut.into()),
        _ => Ok(()),
    }
}
