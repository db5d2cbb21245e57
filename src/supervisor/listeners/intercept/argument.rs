//! What a call's arguments point to, in the worker's memory.
//!
//! Another thread of the worker may change it at any moment. So it is read once, and what is done is
//! done with what was read.

use std::io;
use std::net::SocketAddr;

use super::PendingCall;
use super::state::InterceptState;
use crate::sys::procfs;
use crate::sys::seccomp::{self, Call};
use crate::wire::address::socket_address;

/// 32-bit x86 programs have one system call for all that is about sockets.
pub(super) fn resolved(pid: i32, call: Call) -> Call {
    let Call::Socketcall {
        which,
        arguments_address,
    } = call
    else {
        return call;
    };
    let mut bytes = [0; 12];
    match procfs::read_memory(pid, arguments_address, &mut bytes) {
        Ok(12) => {
            let word = |at: usize| {
                u32::from_ne_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
            };
            seccomp::decode_socketcall(which, [word(0), word(4), word(8)])
        }
        _ => Call::Other,
    }
}

impl PendingCall<'_> {
    pub(super) fn read_address(&self, address: u64, length: u32) -> io::Result<Option<SocketAddr>> {
        let mut bytes = [0; 28];
        let wanted = usize::try_from(length)
            .unwrap_or(usize::MAX)
            .min(bytes.len());
        let read = procfs::read_memory(self.pid, address, &mut bytes[..wanted])?;
        Ok(socket_address(&bytes[..read]))
    }

    pub(super) fn note_v6_only(&self, state: &mut InterceptState, fd: i32, address: u64) {
        let mut value = [0; 4];
        if procfs::read_memory(self.pid, address, &mut value).is_ok() {
            state.v6_only.insert((self.pid, fd), value != [0; 4]);
        }
    }
}
