//! What an event of the poll is about, and the token that says so.

use mio::Token;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EventSource {
    Supervisor,
    /// The client of an adopted connection.
    Client(u64),
    /// The server that an adopted connection's request was passed on to.
    Server(u64),
    Backlog(u64),
}

impl EventSource {
    /// The source's number, and its kind in the two lowest bits. Numbers count connections; there
    /// will not be 2^62 of them.
    pub(super) fn token(self) -> Token {
        let (id, kind) = match self {
            Self::Supervisor => (0, 0),
            Self::Client(id) => (id, 1),
            Self::Server(id) => (id, 2),
            Self::Backlog(id) => (id, 3),
        };
        Token((id as usize) << 2 | kind)
    }

    pub(super) fn of(token: Token) -> Self {
        let id = (token.0 >> 2) as u64;
        match token.0 & 3 {
            0 => Self::Supervisor,
            1 => Self::Client(id),
            2 => Self::Server(id),
            _ => Self::Backlog(id),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_names_its_source() {
        let sources = [
            EventSource::Supervisor,
            EventSource::Client(1),
            EventSource::Server(1),
            EventSource::Backlog(u64::MAX >> 2),
        ];
        for source in sources {
            assert_eq!(EventSource::of(source.token()), source);
        }
    }
}
