//! Naming a client to the server as the peer of a connection of ours.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::rc::Rc;

use crate::sys::bpf::SharedArray;
use crate::sys::{channel, connect};
use crate::wire::peer_names::{ENTRIES, ENTRY_WORDS, entry};

/// The entries that the kernel looks into.
#[derive(Clone, Debug)]
pub(super) struct PeerNames {
    entries: Rc<SharedArray>,
    owner: u32,
}

/// One connection's entry; taken back when this is dropped, which must be before the connection is closed: its
/// port may be another's then.
#[derive(Debug)]
pub(super) struct PeerName {
    entries: Rc<SharedArray>,
    first: usize,
}

impl PeerNames {
    /// Takes the array, which is the channel's first message.
    ///
    /// # Errors
    /// Those of recvmsg(2) and mmap(2); there is none.
    pub(super) fn receive(channel: &OwnedFd, owner: u32) -> io::Result<Self> {
        let (_, descriptors) = channel::receive(channel, &mut [0; 16])?;
        let array = descriptors.first().ok_or(io::ErrorKind::InvalidData)?;
        let entries = SharedArray::map(array, ENTRIES * ENTRY_WORDS)?;
        Ok(Self {
            entries: Rc::new(entries),
            owner,
        })
    }

    /// Begins to connect as `client`.
    ///
    /// # Errors
    /// Those of bind(2) and connect(2).
    pub(super) fn connect(
        &self,
        source: SocketAddr,
        target: SocketAddr,
        client: SocketAddr,
    ) -> io::Result<(PeerName, OwnedFd)> {
        let socket = connect::bind(source)?;
        let name = PeerName {
            entries: Rc::clone(&self.entries),
            first: usize::from(connect::port(&socket)?) * ENTRY_WORDS,
        };
        let words = entry(source.ip(), target.port(), client, self.owner);
        // Before the connection is made: the server may ask at once.
        self.entries.store(name.first, &words);
        connect::connect(&socket, target)?;
        Ok((name, socket))
    }
}

impl Drop for PeerName {
    fn drop(&mut self) {
        self.entries.clear(self.first, ENTRY_WORDS);
    }
}
