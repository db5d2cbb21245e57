//! How an exchange ends.

/// How an exchange ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The client has the last answer, or will have, when what is left to send is sent.
    Answered,
    /// The client closed while no answer was due.
    ClientLeft,
    /// The client gets no more.
    Broken {
        /// Why.
        flaw: Flaw,
        /// How much of an answer the client has.
        sent: Sent,
    },
}

/// How much of the answer to a request has been sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// Nothing.
    Nothing,
    /// A part, which the client must not take for the whole.
    Part,
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
    BadResponse,
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
            Self::BadResponse => "bad-answer",
        }
    }
}
