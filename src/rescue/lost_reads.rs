//! Requests that a thread has read and that are lost, because the thread was killed in its read.
//!
//! A thread that sleeps in a blocking read of a frozen connection reads what is there when it is
//! killed: the kernel copies the bytes first and sees the signal then. Nobody will ever look at those
//! bytes, and they are in no buffer any more. So from the moment when the worker is told to stop, a
//! copy is kept of what is unread where a thread sleeps, to be passed on in place of the lost bytes.
//!
//! The hazard is a request that is done twice: a thread that was interrupted by a signal which the
//! worker handles goes on with its bytes. So the copy is used only if the process is dead and nothing
//! was written since. Where the reader is the thread that signals go to, the copy is used only for a
//! request that may be repeated.

use std::os::fd::OwnedFd;

use super::readers::Reader;
use crate::sys::procfs;
use crate::sys::tcp::{self, TcpCounters};
use crate::wire::http::{Beginning, beginning, is_idempotent};

/// More than this is an upload, which is not copied.
const MAX_COPY_LEN: u32 = 16 * 1024;

/// What is unread where a thread sleeps.
#[derive(Debug)]
pub(super) struct ReadCopy {
    reader: Reader,
    bytes: Vec<u8>,
    at: Option<TcpCounters>,
}

impl ReadCopy {
    pub(super) fn new(reader: Reader) -> Self {
        Self {
            reader,
            bytes: Vec::new(),
            at: None,
        }
    }

    /// Whether the process is dead in which the thread slept.
    pub(super) fn is_reader_dead(&self) -> bool {
        procfs::is_dead(self.reader.pid)
    }

    /// Copies what is unread, if that is something new.
    pub(super) fn refresh(&mut self, socket: &OwnedFd, counters: &TcpCounters) {
        let is_known = self.at.is_some_and(|at| at.received == counters.received);
        if counters.unread == 0 || counters.unread > MAX_COPY_LEN || is_known {
            return;
        }
        let mut bytes = vec![0; MAX_COPY_LEN as usize];
        let count = tcp::peek(socket, &mut bytes).unwrap_or(0);
        bytes.truncate(count);
        bytes.shrink_to_fit();
        self.bytes = bytes;
        self.at = Some(*counters);
    }

    /// The bytes that were read since and that nobody has answered.
    pub(super) fn read_since(&self, now: &TcpCounters) -> Option<&[u8]> {
        let at = self.at.filter(|at| at.written == now.written)?;
        let count = usize::try_from(now.bytes_read().checked_sub(at.bytes_read())?).ok()?;
        let bytes = self.bytes.get(..count)?;
        // Signals go to this thread first.
        let is_main = self.reader.thread == self.reader.pid;
        let may_repeat = !is_main || is_idempotent(method(bytes));
        (beginning(bytes) == Beginning::Request && may_repeat).then_some(bytes)
    }
}

fn method(bytes: &[u8]) -> &str {
    let method = bytes.trim_ascii_start().split(|byte| *byte == b' ').next();
    str::from_utf8(method.unwrap_or_default()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn copy(bytes: &[u8], is_main: bool) -> (ReadCopy, TcpCounters) {
        let unread = u32::try_from(bytes.len()).unwrap_or(0);
        let at = TcpCounters {
            unread,
            unsent: 0,
            received: 100 + u64::from(unread),
            written: 50,
            received_ago: 0,
            sent_ago: 0,
            is_unacknowledged: false,
            is_interactive: true,
            ack_delay: 40,
            round_trip: 100,
            is_closed: false,
        };
        let copy = ReadCopy {
            reader: Reader {
                pid: 7,
                thread: if is_main { 7 } else { 8 },
            },
            bytes: bytes.to_vec(),
            at: Some(at),
        };
        (copy, TcpCounters { unread: 0, ..at })
    }

    #[test]
    fn what_was_taken_comes_back() {
        let request = b"GET / HTTP/1.1\r\n\r\n";
        let (copy, now) = copy(request, true);
        assert_eq!(copy.read_since(&now), Some(&request[..]));
        let half = TcpCounters { unread: 8, ..now };
        assert_eq!(copy.read_since(&half), request.get(..10));
        let untouched = TcpCounters { unread: 18, ..now };
        assert_eq!(copy.read_since(&untouched), None);
    }

    #[test]
    fn what_somebody_may_have_done_does_not() {
        let (copy_get, now) = copy(b"GET / HTTP/1.1\r\n\r\n", false);
        let answered = TcpCounters { written: 60, ..now };
        assert_eq!(copy_get.read_since(&answered), None);
        let more = TcpCounters {
            received: 200,
            ..now
        };
        assert_eq!(
            copy_get.read_since(&more),
            None,
            "more was read than is known"
        );
        let post = b"POST / HTTP/1.1\r\nContent-Length: 0\r\n\r\n";
        let (copy_main, now) = copy(post, true);
        assert_eq!(copy_main.read_since(&now), None);
        let (copy_other, now) = copy(post, false);
        assert!(copy_other.read_since(&now).is_some());
    }
}
