//! The last moment before a worker gets its stop signal: its rescuer has heard, and its readers stand
//! still.
//!
//! Nobody waits for a rescuer for long: one that takes nothing and says nothing is killed, and the
//! signal goes out all the same.

use std::io;
use std::time::{Duration, Instant};

use log::warn;

use super::Supervisor;
use super::rescuer::connections_of;
use crate::fleet::{RetirementId, WorkerId};
use crate::sys::channel;
use crate::sys::interrupt::{ThreadStopper, stop_threads};
use crate::wire::rescue::{Order, Report};

/// How long a rescuer may take to answer. Longer than a look at many connections on a busy machine;
/// one that takes more hangs.
const HEARING: Duration = Duration::from_secs(2);
impl Supervisor {
    /// To be called just before the stop signal goes out: with what stands still until it has.
    ///
    /// A thread that dies in a read takes along what is there. So the rescuer copies that first,
    /// then the threads are stopped, and it looks whether anything was taken in between. If so, they
    /// go on and answer it, and all begins again.
    pub(super) fn about_to_tell(&mut self, worker: WorkerId) -> Option<ThreadStopper> {
        let retirement = self.rescuers.retirement_of(worker)?;
        let open = self.established();
        let pid = self.children.get(worker)?.pid;
        let found = connections_of(pid, &open);
        let taken = self.rescuers.of(worker)?.take(worker, pid, found);
        let deadline = Instant::now() + HEARING;
        let prepared = taken.and_then(|_| {
            loop {
                let (stopped, may_stop) = self.stop_readers(retirement, worker)?;
                if may_stop || Instant::now() >= deadline {
                    return Ok(stopped);
                }
            }
        });
        match prepared {
            Ok(stopped) => stopped,
            Err(error) => {
                warn!(
                    "worker {worker}: its rescuer is not ready ({error}); it is told to stop all the same"
                );
                self.check_answers(retirement, &error);
                None
            }
        }
    }

    /// Stops the threads that sleep in reads; whether nothing was lost by that.
    fn stop_readers(
        &mut self,
        retirement: RetirementId,
        worker: WorkerId,
    ) -> io::Result<(Option<ThreadStopper>, bool)> {
        let worker = worker.0;
        let heard = |report: &Report| match report {
            Report::Readers {
                threads: readers,
                worker: of,
            } if *of == worker => Some(readers.clone()),
            _ => None,
        };
        let readers = self.consult(retirement, &Order::PrepareStop { worker }, heard)?;
        if readers.is_empty() {
            return Ok((None, true));
        }
        // Without the right to trace, the copies must do.
        let Ok(stopped) = stop_threads(&readers) else {
            return Ok((None, true));
        };
        let checked = |report: &Report| match report {
            Report::StopChecked {
                may_stop,
                worker: of,
            } if *of == worker => Some(*may_stop),
            _ => None,
        };
        let may_stop = self.consult(retirement, &Order::ReadersStopped { worker }, checked)?;
        Ok((Some(stopped), may_stop))
    }

    /// Gives an order and waits for its answer; what else is heard meanwhile is heard.
    fn consult<T>(
        &mut self,
        retirement: RetirementId,
        order: &Order,
        answer: impl Fn(&Report) -> Option<T>,
    ) -> io::Result<T> {
        let deadline = Instant::now() + HEARING;
        let rescuer = self.rescuers.rescuers.get(&retirement);
        rescuer
            .ok_or(io::ErrorKind::BrokenPipe)?
            .order(order, &[])?;
        loop {
            let rescuer = self.rescuers.rescuers.get(&retirement);
            let rescuer = rescuer.ok_or(io::ErrorKind::BrokenPipe)?;
            match rescuer.hear() {
                Ok(Some(report)) => match answer(&report) {
                    Some(answer) => return Ok(answer),
                    None => self.heard(retirement, report),
                },
                Ok(None) => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    if left.is_zero() || !channel::is_readable(&rescuer.channel, left) {
                        return Err(io::ErrorKind::TimedOut.into());
                    }
                }
                Err(error) => {
                    self.lose_rescuer(retirement);
                    return Err(error);
                }
            }
        }
    }
}
