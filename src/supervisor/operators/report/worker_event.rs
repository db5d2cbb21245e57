//! What happens to a worker: one line in the log, which names it.

use std::time::Duration;

use log::Level;

use super::Reporter;
use super::phrase::{check_failure, connections, ended, list, seconds};
use super::recycling::{not_recycled, to_be_recycled};
use crate::fleet::{Ending, Endpoint, Exit, HealthNews, Slot, WorkerEvent, WorkerId};

impl Reporter<'_> {
    pub(crate) fn log(&self, event: &WorkerEvent) {
        let (level, sentence) = self.sentence(event);
        let worker = self.workers.describe(event.worker());
        log::log!(level, "{worker}: {sentence}");
    }

    /// What there is to say of the worker, and how bad it is.
    fn sentence(&self, event: &WorkerEvent) -> (Level, String) {
        match event {
            WorkerEvent::Ready { .. } => (Level::Info, "ready, waiting for the others".to_owned()),
            WorkerEvent::Unready { endpoints, .. } => (Level::Warn, unready(endpoints)),
            WorkerEvent::ListensOnLess { endpoints, .. } => (Level::Warn, less(endpoints)),
            WorkerEvent::Serving { endpoints, .. } => {
                (Level::Info, format!("serving {}", list(endpoints)))
            }
            WorkerEvent::LetGo { endpoint, .. } => (
                Level::Info,
                format!("has closed its listener on {endpoint}; it gets no new connections there"),
            ),
            WorkerEvent::Health { worker, news } => self.health(*worker, news),
            WorkerEvent::Crashed {
                worker,
                exit,
                restart_in,
                ..
            } => {
                let words = self.port_answer(*worker) + &self.last_words(*worker);
                (Level::Warn, crashed(exit, *restart_in) + &words)
            }
            WorkerEvent::GivenUp {
                worker,
                slot,
                exit,
                crashes,
            } => {
                let words = self.port_answer(*worker) + &self.last_words(*worker);
                (Level::Error, self.given_up(*slot, exit, *crashes) + &words)
            }
            WorkerEvent::StartTimedOut { worker } => (Level::Warn, self.late(*worker)),
            WorkerEvent::SettleTimedOut { pending, .. } => (Level::Warn, self.unsettled(*pending)),
            WorkerEvent::QuietTimedOut { .. } => (Level::Info, self.unquiet()),
            WorkerEvent::StopNotPrepared { .. } => (
                Level::Warn,
                "its rescuer was not ready in time; telling the worker to stop all the same"
                    .to_owned(),
            ),
            WorkerEvent::DrainTimedOut { .. } => (Level::Warn, self.undrained()),
            WorkerEvent::ToBeRecycled { why, .. } => (Level::Info, to_be_recycled(why)),
            WorkerEvent::RecyclingFailed {
                why,
                failures,
                retry_in,
                ..
            } => (Level::Warn, not_recycled(why, *failures, *retry_in)),
            WorkerEvent::Gone {
                worker,
                exit,
                ending,
            } => self.gone(*worker, exit, *ending),
        }
    }

    /// Nobody asked a worker to end that ends before it is sent a stop: its last words say why.
    fn gone(&self, worker: WorkerId, exit: &Exit, ending: Ending) -> (Level, String) {
        let exit = ended(exit);
        match ending {
            Ending::AfterStop => (Level::Info, format!("gone, {exit}")),
            Ending::BeforeStop => {
                let words = self.last_words(worker);
                let sentence = format!("{exit} while it was being retired{words}");
                (Level::Warn, sentence)
            }
        }
    }

    fn given_up(&self, slot: Slot, exit: &Exit, crashes: usize) -> String {
        if *exit == Exit::Daemonised {
            let exit = ended(exit);
            return format!("{exit}; slot {slot} is given up, for the next would do the same");
        }
        let exit = ended(exit);
        let within = seconds(self.config.restart_window);
        format!(
            "{exit}; slot {slot} crashed {crashes} times within {within} and is given up (reuseport-ctl reload or \
             restart tries again)"
        )
    }

    fn health(&self, worker: WorkerId, news: &HealthNews) -> (Level, String) {
        match news {
            HealthNews::Unhealthy(failure) => {
                let how = check_failure(failure, self.config_of(worker));
                (Level::Warn, format!("unhealthy: {how}"))
            }
            HealthNews::TurnedAwayFrom => {
                let sentence = match self.config.steering.is_steered() {
                    true => "it gets no new connections",
                    false => "new connections cannot be kept from it (--steering none)",
                };
                (Level::Warn, sentence.to_owned())
            }
            HealthNews::LastUnhealthy => (Level::Error, NOBODY_IS_HEALTHY.to_owned()),
            HealthNews::Recovered => (Level::Info, "healthy again".to_owned()),
        }
    }

    fn late(&self, worker: WorkerId) -> String {
        let after = seconds(self.config.start_timeout);
        let answer = self.port_answer(worker);
        format!("not ready after {after}; killing it{answer}")
    }

    fn undrained(&self) -> String {
        let after = seconds(self.config.drain_timeout);
        format!("has not exited after {after}; killing it")
    }

    fn unquiet(&self) -> String {
        let after = seconds(self.config.quiet_timeout);
        format!("still has connections after {after}; telling it to stop all the same")
    }

    fn unsettled(&self, pending: u64) -> String {
        let after = seconds(self.config.settle_timeout);
        let fate = if self.config.rescue {
            "a rescuer accepts them instead"
        } else {
            "they are lost when the worker ends"
        };
        let some = connections(pending);
        let wait = if pending == 1 { "waits" } else { "wait" };
        format!("{some} {wait} in its listeners after {after}; {fate}")
    }
}

const NOBODY_IS_HEALTHY: &str = "no other worker is healthy, either: all of them serve on, and none is replaced until one \
                                 passes its check; look at what they all need, or at --health";

fn crashed(exit: &Exit, restart_in: Duration) -> String {
    let when = if restart_in.is_zero() {
        "at once".to_owned()
    } else {
        format!("in {}", seconds(restart_in))
    };
    format!("{}; restarting it {when}", ended(exit))
}

fn unready(closed: &[Endpoint]) -> String {
    let closed = list(closed);
    format!("was ready, but has closed {closed} again; waiting for it to listen")
}

fn less(endpoints: &[Endpoint]) -> String {
    let less = list(endpoints);
    format!(
        "takes over and does not listen on {less} as the worker before it did; nobody owes that (see \
         --accept-changes), and it is closed with that worker"
    )
}
