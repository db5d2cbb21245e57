//! Where an adopted connection is after an event, how it ended, and why one was not adopted.

/// Where a connection is after an event.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    Waits,
    /// Others have their turn; there may be more to do.
    Yields,
    Ends(End),
}

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// No answer was due to the client.
    Idle,
    /// The client has its answers.
    Served,
    Lingered,
    GivenUp(&'static str),
}

/// Why a connection that nobody had accepted is closed at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unanswerable {
    /// The server would see another address than its client's.
    RemoteClient,
    /// What is passed on comes back.
    NobodyServes,
}

impl Unanswerable {
    pub(super) fn reason(self) -> &'static str {
        match self {
            Self::RemoteClient => "remote-client",
            Self::NobodyServes => "nobody-serves",
        }
    }
}
