//! What follows an upgrade: bytes both ways, as they come.

use super::{Ending, Exchange, Flaw, Phase};
use crate::wire::http::head::RequestHead;

impl Exchange {
    pub(super) fn begin_tunnel(&mut self, head: RequestHead, length: usize) -> bool {
        if head.upgrades {
            self.pass_to_client(length);
            self.answered += 1;
            self.phase = Phase::Tunnel;
        } else {
            self.end(self.broken(Flaw::BadResponse));
        }
        true
    }

    pub(super) fn advance_tunnel(&mut self) -> bool {
        self.to_server.push(&self.from_client.bytes);
        self.from_client.bytes.clear();
        self.pass_to_client(self.from_server.bytes.len());
        if self.from_server.has_ended() {
            self.end(Ending::Answered);
        }
        false
    }
}
