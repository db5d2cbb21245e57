//! Waiting for what nobody reports: that a port is served, that a process is gone, that a machine
//! has come to rest. Such things are looked at again and again.
//!
//! Hazard: the looking itself takes CPU from what is looked at. So the pause grows with the look,
//! and the looks never have more than a fifth of one core.

use std::io;
use std::thread;
use std::time::{Duration, Instant};

/// The shortest pause between two looks.
const PAUSE: Duration = Duration::from_millis(5);

/// Looks until there is something to be seen; `None` if there is nothing for longer than
/// `patience`.
///
/// # Errors
/// The first of `look`.
pub fn until<T>(
    patience: Duration,
    mut look: impl FnMut() -> io::Result<Option<T>>,
) -> io::Result<Option<T>> {
    let begin = Instant::now();
    loop {
        let since = Instant::now();
        if let Some(seen) = look()? {
            return Ok(Some(seen));
        }
        if begin.elapsed() > patience {
            return Ok(None);
        }
        thread::sleep(PAUSE.max(since.elapsed() * 4));
    }
}

/// The same of something that is so or is not: whether it came to be so within `patience`.
pub fn holds(patience: Duration, mut is_so: impl FnMut() -> bool) -> bool {
    let seen = until(patience, || Ok(is_so().then_some(())));
    seen.is_ok_and(|seen| seen.is_some())
}
