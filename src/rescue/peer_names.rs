//! Naming a client to the server as the peer of a connection of ours.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::rc::Rc;

use crate::sys::peer_entries::PeerEntries;
use crate::sys::{channel, connect};
use crate::wire::peer_names::entry;

/// So many ports are tried.
const MAX_TRIES: usize = 8;

/// The entries that the kernel looks into.
#[derive(Clone, Debug)]
pub(super) struct PeerNames {
    entries: Rc<PeerEntries>,
    owner: u32,
}

/// One connection's entry; taken back when this is dropped, which must be before the connection is closed: its
/// port may be another's then.
#[derive(Debug)]
pub(super) struct PeerName {
    entries: Rc<PeerEntries>,
    port: u16,
}

impl PeerNames {
    /// Takes the array, which is the channel's first message.
    ///
    /// # Errors
    /// Those of recvmsg(2) and mmap(2); there is none.
    pub(super) fn receive(channel: &OwnedFd, owner: u32) -> io::Result<Self> {
        let (_, descriptors) = channel::receive(channel, &mut [0; 16])?;
        let array = descriptors.first().ok_or(io::ErrorKind::InvalidData)?;
        let entries = PeerEntries::map(array)?;
        Ok(Self {
            entries: Rc::new(entries),
            owner,
        })
    }

    /// Begins to connect as `client`.
    ///
    /// # Errors
    /// Those of bind(2) and connect(2); `AddrInUse`: connections from other addresses of this host have the same
    /// ports.
    pub(super) fn connect(
        &self,
        source: SocketAddr,
        target: SocketAddr,
        client: SocketAddr,
    ) -> io::Result<(PeerName, OwnedFd)> {
        let (name, socket) = self.claim(source)?;
        let words = entry(source.ip(), target.port(), client, self.owner);
        // Before the connection is made: the server may ask at once.
        self.entries.store(name.port, &words);
        connect::connect(&socket, target)?;
        Ok((name, socket))
    }

    /// A socket with a port whose entry is nobody's.
    fn claim(&self, source: SocketAddr) -> io::Result<(PeerName, OwnedFd)> {
        // They stay open until one is found: a port that was closed would be given out again.
        let mut taken = Vec::new();
        while taken.len() < MAX_TRIES {
            let socket = connect::bind(source)?;
            let port = connect::port(&socket)?;
            if self.entries.claim(port, self.owner) {
                let entries = Rc::clone(&self.entries);
                return Ok((PeerName { entries, port }, socket));
            }
            taken.push(socket);
        }
        Err(io::ErrorKind::AddrInUse.into())
    }
}

impl Drop for PeerName {
    fn drop(&mut self) {
        self.entries.clear(self.port);
    }
}
