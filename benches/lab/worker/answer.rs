//! What a worker answers, made once: an answer is one write of bytes that lie ready.

use std::process;

/// The two answers: one after which the connection stays open, and one after which it is closed.
#[derive(Debug)]
pub struct Answers {
    stay: Vec<u8>,
    close: Vec<u8>,
}

impl Answers {
    /// With a body of so many bytes, and the process in `X-Worker`.
    pub fn new(size: usize) -> Self {
        Self {
            stay: answer("keep-alive", size),
            close: answer("close", size),
        }
    }

    /// The bytes.
    pub fn bytes(&self, is_last: bool) -> &[u8] {
        if is_last { &self.close } else { &self.stay }
    }
}

fn answer(connection: &str, size: usize) -> Vec<u8> {
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {size}\r\n\
         Connection: {connection}\r\nX-Worker: {}\r\n\r\n",
        process::id()
    );
    let mut bytes = head.into_bytes();
    bytes.resize(bytes.len() + size, b'.');
    bytes
}
