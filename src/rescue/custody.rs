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
}
