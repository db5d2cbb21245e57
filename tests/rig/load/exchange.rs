//! What is said on a connection that speaks no HTTP/1: fixed bytes one way, and bytes that must come back.

/// What a client says and waits for. What may be empty is left out of the exchange.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exchange {
    /// Said once, when the connection stands.
    pub open: Vec<u8>,
    /// Waited for before the first request: the answer to `open`, or a greeting.
    pub opened: Vec<u8>,
    /// A request.
    pub ask: Vec<u8>,
    /// The end of its answer.
    pub answer: Vec<u8>,
}

/// How far the exchange has come.
#[derive(Debug, Default)]
pub(super) struct Progress {
    stage: Stage,
    received: Vec<u8>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    #[default]
    Opening,
    Asking,
}

/// What follows when bytes have come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    Read,
    Ask,
    Complete,
}

impl Progress {
    /// Makes room for the next request; the first of a connection opens it.
    pub(super) fn reset(&mut self, is_first: bool) {
        self.received.clear();
        self.stage = if is_first {
            Stage::Opening
        } else {
            Stage::Asking
        };
    }

    pub(super) fn begun(&self) -> bool {
        !self.received.is_empty()
    }

    /// What is to be said now.
    pub(super) fn words<'a>(&self, exchange: &'a Exchange) -> &'a [u8] {
        match self.stage {
            Stage::Opening => &exchange.open,
            Stage::Asking => &exchange.ask,
        }
    }

    pub(super) fn take(&mut self, bytes: &[u8], exchange: &Exchange) -> Next {
        self.received.extend_from_slice(bytes);
        self.next(exchange)
    }

    /// What follows of what has come, which may be nothing yet: nothing may be waited for.
    pub(super) fn next(&mut self, exchange: &Exchange) -> Next {
        if self.stage == Stage::Opening && holds(&self.received, &exchange.opened) {
            if exchange.ask.is_empty() {
                return Next::Complete;
            }
            self.stage = Stage::Asking;
            self.received.clear();
            return Next::Ask;
        }
        if self.stage == Stage::Asking && holds(&self.received, &exchange.answer) {
            return Next::Complete;
        }
        Next::Read
    }
}

fn holds(bytes: &[u8], wanted: &[u8]) -> bool {
    wanted.is_empty() || bytes.windows(wanted.len()).any(|window| window == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exchange(open: &str, opened: &str, ask: &str, answer: &str) -> Exchange {
        let [open, opened, ask, answer] =
            [open, opened, ask, answer].map(|text| text.as_bytes().to_vec());
        Exchange {
            open,
            opened,
            ask,
            answer,
        }
    }

    #[test]
    fn a_greeting_alone_is_a_whole_exchange() {
        let exchange = exchange("", "220 ", "", "");
        let mut progress = Progress::default();
        progress.reset(true);
        assert_eq!(progress.take(b"22", &exchange), Next::Read);
        assert_eq!(progress.take(b"0 hello\r\n", &exchange), Next::Complete);
    }

    #[test]
    fn the_greeting_is_no_answer_to_the_request_after_it() {
        let exchange = exchange("", "OK", "noop\r\n", "OK");
        let mut progress = Progress::default();
        progress.reset(true);
        assert_eq!(progress.take(b"OK\r\n", &exchange), Next::Ask);
        assert_eq!(progress.words(&exchange), b"noop\r\n");
        assert_eq!(progress.next(&exchange), Next::Read);
        assert_eq!(progress.take(b"OK", &exchange), Next::Complete);
    }

    #[test]
    fn a_connection_that_stands_asks_at_once() {
        let exchange = exchange("hello", "welcome", "ping", "pong");
        let mut progress = Progress::default();
        progress.reset(false);
        assert_eq!(progress.words(&exchange), b"ping");
        assert_eq!(progress.take(b"pong", &exchange), Next::Complete);
    }
}
