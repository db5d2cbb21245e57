//! Whose the connections of a retiring worker are.
//!
//! A server judges its clients by their addresses. Where a request would come to the new worker from another
//! address than its client's, it is not passed on; and whoever cannot pass requests on must not hold the
//! connection, or its client would wait for nobody.

/// Whether the requests of a connection may be passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Custody {
    /// They may: the connection is frozen, and adopted when the worker closes it.
    Rescued,
    /// They must not: it is watched, so that the worker is told to stop when nothing is in flight, and is
    /// the worker's as if nobody watched.
    Left,
    /// Nobody follows, and the worker dies of the stop signal: the connection is frozen as soon as the worker has
    /// answered on it, so that nothing new begins, and is closed when the worker closes it.
    Ended,
    /// Nobody follows, and the worker handles the stop signal: it answers what comes until then, and ends its
    /// connections as it does without us, by `Connection: close`, say. It is told in a lull.
    Finished,
}
