//! A request that waits in a frozen connection: it came after the connection was frozen, or just
//! before, and the worker has not touched it.
//!
//! The worker would not answer the request any more, and must not be told to stop before all its
//! connections have been idle for a while. So the request is read here at once, and answered by the
//! new generation. The worker sees no byte of it. The worker sees that the client is gone, as clients
//! of idle connections go.
//!
//! The first hazard is a worker that reads at the same time. The bytes of one socket go to one
//! reader: so either the worker gets the request or the rescuer does, and if the worker does, nothing
//! is there for the rescuer. That the worker reads a part and the rescuer the rest would need a worker
//! that reads in small pieces, at the very moment between the two calls below; such a connection
//! cannot be saved.
//!
//! The second hazard is a request that is not all there: its rest would come in while the connection
//! is frozen for the rescuer, too. The third is an answer that the worker has begun: the rescuer's
//! answer must not end up in its middle. Both are left until the worker is idle. And once the worker
//! has been told to stop, a connection that it has not closed is left alone.

use std::net::Shutdown;
use std::os::fd::OwnedFd;

use socket2::SockRef;

use crate::sys::tcp;
use crate::wire::http::is_whole;

/// More than this is an upload, which can wait.
const MAX_REQUEST_LEN: usize = 16 * 1024;

/// Reads the request, if all of it is there and nothing else is.
pub(super) fn read_waiting_request(socket: &OwnedFd) -> Option<Vec<u8>> {
    let mut request = vec![0; MAX_REQUEST_LEN];
    let length = tcp::peek(socket, &mut request).ok()?;
    request.truncate(length);
    if !is_whole(&request) {
        return None;
    }
    let mut read = vec![0; length];
    let count = tcp::receive(socket, &mut read).ok()?;
    if read.get(..count) == Some(&request) {
        return Some(request);
    }
    log::warn!("a worker has read a part of a request at the same time: its connection is closed");
    let _ = SockRef::from(socket).shutdown(Shutdown::Both);
    None
}
