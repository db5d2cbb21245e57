//! A server whose every move is written down: for each connection, a function.
#![allow(unreachable_pub, missing_docs)]

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use socket2::SockRef;

pub const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nX-Worker: w1\r\n\r\nhi\n";

/// Serves each connection by `converse` in a thread of its own, until the test process ends.
pub fn serve(converse: fn(TcpStream)) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for connection in listener.incoming().flatten() {
            thread::spawn(move || converse(connection));
        }
    });
    address
}

/// Reads one request; false if the client closes instead.
pub fn request(connection: &TcpStream) -> bool {
    // The client sends nothing before it has the answer, so nothing is lost with the buffer.
    let mut lines = BufReader::new(connection).lines();
    lines.any(|line| line.is_ok_and(|line| line.is_empty()))
}

pub fn say(mut connection: &TcpStream, text: &[u8]) {
    // A client that has gone is no trouble of the script's.
    let _ = connection.write_all(text);
}

/// Closes with a reset.
pub fn reset(connection: TcpStream) {
    SockRef::from(&connection)
        .set_linger(Some(Duration::ZERO))
        .unwrap();
}
