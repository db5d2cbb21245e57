//! What signals asked for while a change was under way.

use serde::{Deserialize, Serialize};

/// What signals asked for while a change was under way: a client is told to come again, but nobody hears an
/// answer to a signal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct PendingSignals {
    reload: bool,
    scale_by: i64,
}

/// One thing that signals asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pending {
    Reload,
    ScaleBy(i64),
}

impl PendingSignals {
    pub(super) fn reload(&mut self) {
        self.reload = true;
    }

    pub(super) fn scale_by(&mut self, difference: i64) {
        self.scale_by = self.scale_by.saturating_add(difference);
    }

    /// The next thing: first the number, so that the reload starts the right one.
    pub(super) fn take_next(&mut self) -> Option<Pending> {
        let scale_by = std::mem::take(&mut self.scale_by);
        if scale_by != 0 {
            return Some(Pending::ScaleBy(scale_by));
        }
        std::mem::take(&mut self.reload).then_some(Pending::Reload)
    }
}
