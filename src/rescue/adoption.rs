//! How a connection is adopted.

use std::time::Duration;

use super::relay::ClientTimeouts;

/// How long the kernel may take until it acknowledges a request that nobody answers, and some more.
const IN_DOUBT_TIMEOUT: Duration = Duration::from_millis(250);
/// A client that asks on does so within a round trip, mostly.
const ANSWERED_TIMEOUT: Duration = Duration::from_millis(250);
/// How long to wait for the client's close after ours: until then the client may have to read.
pub(super) const LINGER_TIMEOUT: Duration = Duration::from_secs(2);

/// Where a connection comes from, and what is to be done with it.
#[derive(Debug)]
pub(super) enum Adoption {
    /// The worker has closed the connection.
    Idle,
    /// The worker has closed the connection, and may have died with a request: a client that waits
    /// for an answer must not wait until its own time-out.
    InDoubt,
    /// The worker has closed the connection after an answer, which may or may not have said so: a client that
    /// waits for the end must not wait long.
    Answered,
    /// The worker has died with this request.
    WithRequest(Vec<u8>),
    /// The worker still has the connection, which must stay frozen. This request has waited in it.
    Shared(Vec<u8>),
    /// Nobody had accepted the connection.
    Accepted,
    /// The connection is to be closed so that the client can read what was sent, whatever the client
    /// sends.
    Lingering,
}

/// Who has the socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sharing {
    Alone,
    /// The worker still has the socket, and has not seen the request.
    WithWorker,
}

impl Adoption {
    pub(super) fn sharing(&self) -> Sharing {
        match self {
            Self::Shared(_) => Sharing::WithWorker,
            Self::Idle | Self::InDoubt | Self::Answered | Self::WithRequest(_) => Sharing::Alone,
            Self::Accepted | Self::Lingering => Sharing::Alone,
        }
    }

    /// How long to wait for something to happen.
    pub(super) fn timeout(&self, timeouts: ClientTimeouts) -> Duration {
        match self {
            Self::Idle | Self::Accepted | Self::WithRequest(_) | Self::Shared(_) => timeouts.idle,
            Self::InDoubt => IN_DOUBT_TIMEOUT,
            Self::Answered => ANSWERED_TIMEOUT,
            Self::Lingering => LINGER_TIMEOUT,
        }
    }
}
