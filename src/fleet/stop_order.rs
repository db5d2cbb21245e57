//! How the end is asked for, and how workers are told of theirs.

/// How a worker is told to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopBy {
    /// By the stop signal.
    Signal,
    /// By a message over its channel.
    Message,
}

/// How the end was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopHow {
    /// Workers finish what they have. Asked for again, it changes nothing.
    Drain,
    /// The same; but where the end was asked for before, workers are killed (Ctrl-C).
    Interrupt,
    /// Workers are killed.
    Now,
}
