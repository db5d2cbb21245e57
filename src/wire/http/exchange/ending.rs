//! How an exchange ends.

/// How an exchange ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The client has the last answer, or will have, when what is left to send is sent.
    Answered,
    /// The client closed while no answer was due.
    ClientLeft,
    /// The client gets no more; it must not take what it has for a whole answer if `amid` one.
    Broken {
        /// Why.
        flaw: Flaw,
        /// An answer has been sent in part.
        amid: bool,
    },
}

/// Why an exchange cannot go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// What the client sends is not a request of HTTP/1.
    NotHttp,
    /// Where the request's body ends is not clear.
    Framing,
    /// The request's head is too long.
    LongHead,
    /// No connection to the server.
    Unreachable,
    /// The server closed before the answer was complete.
    ServerClosed,
    /// What the server sends is not an answer of HTTP/1.
    BadAnswer,
}

impl Flaw {
    /// The word for it in a tally.
    pub fn reason(self) -> &'static str {
        match self {
            Self::NotHttp => "not-http",
            Self::Framing => "framing",
            Self::LongHead => "long-head",
            Self::Unreachable => "unreachable",
            Self::ServerClosed => "server-closed",
            Self::BadAnswer => "bad-answer",
        }
    }
}
