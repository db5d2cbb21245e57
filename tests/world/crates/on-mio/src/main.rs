//! An echo on mio; dies at once at TERM.
use mio::{net::{TcpListener, TcpStream}, Events, Interest, Poll, Token};
use std::{collections::HashMap, io::{Read, Write}};

fn main() {
    let port = std::env::var("PORT").unwrap();
    let mut listener = TcpListener::bind(format!("0.0.0.0:{port}").parse().unwrap()).unwrap();
    let (mut poll, mut events) = (Poll::new().unwrap(), Events::with_capacity(64));
    let mut streams: HashMap<usize, TcpStream> = HashMap::new();
    let mut next = 1;
    poll.registry().register(&mut listener, Token(0), Interest::READABLE).unwrap();
    loop {
        if poll.poll(&mut events, None).is_err() {
            continue;
        }
        for event in &events {
            let token = event.token().0;
            while token == 0 {
                let Ok((mut stream, _)) = listener.accept() else { break };
                poll.registry().register(&mut stream, Token(next), Interest::READABLE).unwrap();
                streams.insert(next, stream);
                next += 1;
            }
            let Some(stream) = streams.get_mut(&token) else { continue };
            let mut buffer = [0; 4096];
            loop {
                match stream.read(&mut buffer) {
                    Ok(length @ 1..) => _ = stream.write_all(&buffer[..length]),
                    Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => break,
                    _ => {
                        streams.remove(&token);
                        break;
                    }
                }
            }
        }
    }
}
