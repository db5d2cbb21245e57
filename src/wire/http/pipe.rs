//! Bytes on their way to one side.

/// So many bytes that were sent already may lie around before the rest is moved forward.
const MAX_SENT_KEPT: usize = 32 * 1024;

/// Bytes that wait to be sent. Those that were sent can be kept, to be sent once more.
#[derive(Debug, Default)]
pub(super) struct Pipe {
    bytes: Vec<u8>,
    sent: usize,
    keeps: bool,
}

impl Pipe {
    pub(super) fn unsent(&self) -> &[u8] {
        self.bytes.get(self.sent..).unwrap_or_default()
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// For heads, which are written in place.
    pub(super) fn end(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    pub(super) fn was_sent(&mut self, count: usize) {
        self.sent = self.sent.saturating_add(count).min(self.bytes.len());
        self.tidy();
    }

    /// From here on, what was sent is kept.
    pub(super) fn keep(&mut self) {
        self.drop_sent();
        self.keeps = true;
    }

    pub(super) fn stop_keeping(&mut self) {
        self.keeps = false;
        self.tidy();
    }

    /// Whether [`rewind`](Self::rewind) brings everything back.
    pub(super) fn keeps(&self) -> bool {
        self.keeps
    }

    /// How many bytes are here, sent ones too.
    pub(super) fn held(&self) -> usize {
        self.bytes.len()
    }

    /// Everything that was kept is to be sent again.
    pub(super) fn rewind(&mut self) {
        self.sent = 0;
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    fn tidy(&mut self) {
        if !self.keeps && (self.sent == self.bytes.len() || self.sent > MAX_SENT_KEPT) {
            self.drop_sent();
        }
    }

    fn drop_sent(&mut self) {
        self.bytes.drain(..self.sent);
        self.sent = 0;
    }
}
