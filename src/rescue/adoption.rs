//! How a connection is adopted.

use std::time::Duration;

use super::relay::ClientTimeouts;

/// How long the kernel may take until it acknowledges a request that nobody answers, and some more.
const IN_DOUBT_TIMEOUT: Duration = Duration::from_millis(250);
/// A request that was under way when the worker let go is there within one round trip, unless a packet was
/// lost or the machine is busy.
const ROUND_TRIPS: u32 = 3;
const MIN_BRIEF_TIMEOUT: Duration = Duration::from_millis(10);
/// The first request of a client comes when the client runs next, on a busy machine.
const MIN_GREETING_TIMEOUT: Duration = Duration::from_millis(250);
/// A client that asks on does so within a round trip, mostly.
const ANSWERED_TIMEOUT: Duration = Duration::from_millis(250);
/// How long to wait for the client's close after ours: until then the client may have to read.
pub(super) const LINGER_TIMEOUT: Duration = Duration::from_secs(2);

/// Where a connection comes from, and what is to be done with it.
#[derive(Debug)]
pub(super) enum Adoption {
    /// The worker has closed the connection.
    Idle,
    /// The worker has closed the connection, and nobody knows what is spoken on it: only a request that was
    /// under way by then is waited for.
    Brief,
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
    /// The same, and it is not known to be HTTP/1: its client may wait for the server to speak first.
    Greeting,
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
            Self::Idle | Self::Brief | Self::InDoubt | Self::Answered | Self::WithRequest(_) => {
                Sharing::Alone
            }
            Self::Accepted | Self::Greeting | Self::Lingering => Sharing::Alone,
        }
    }

    /// How long to wait for something to happen, on a connection of which a round trip takes so long.
    pub(super) fn timeout(
        &self,
        timeouts: ClientTimeouts,
        round_trip: impl Fn() -> Duration,
    ) -> Duration {
        match self {
            Self::Idle | Self::Accepted | Self::WithRequest(_) | Self::Shared(_) => timeouts.idle,
            Self::Brief => (ROUND_TRIPS * round_trip()).max(MIN_BRIEF_TIMEOUT),
            Self::Greeting => (ROUND_TRIPS * round_trip()).max(MIN_GREETING_TIMEOUT),
            Self::InDoubt => IN_DOUBT_TIMEOUT,
            Self::Answered => ANSWERED_TIMEOUT,
            Self::Lingering => LINGER_TIMEOUT,
        }
    }
}
