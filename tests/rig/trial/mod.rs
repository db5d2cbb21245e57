//! One loss trial from its start to its report.
//!
//! ```text
//!  reserve a port ─► start ─► serving ─► load ─► action, progress, action, … ─► stop the load
//!                                                                                  │
//!                       report ◄─ nobody is left ◄─ exit 0 ◄─ stop the supervisor ◄┘
//! ```
//!
//! Between two actions the load must make progress: so many requests, not so much time. A trial on
//! a busy machine then takes longer and proves as much.
#![allow(unreachable_pub, missing_docs)]

mod deploy;
pub mod options;
pub mod supervised_server;
pub mod victim;

use std::thread;
use std::time::{Duration, Instant};

use reuseport_run::wire::control::Status;

use crate::rig::control::Trouble;
use crate::rig::load::{Load, Plan};
use crate::rig::report::Report;
use options::Options;
use supervised_server::SupervisedServer;
use victim::Victim;

/// How long the load may take to make progress once.
const PROGRESS_TIMEOUT: Duration = Duration::from_secs(30);

/// How often a condition is checked.
const POLL_INTERVAL: Duration = Duration::from_millis(10);

/// Something that is done while the clients ask, for the nth time.
type Action<'a> = fn(&mut Trial<'a>, &Load, u32) -> Result<(), Trouble>;

pub struct Trial<'a> {
    options: &'a Options,
    server: SupervisedServer<'a>,
    report: Report,
}

impl<'a> Trial<'a> {
    pub fn new(options: &'a Options, server: SupervisedServer<'a>) -> Self {
        let report = Report {
            server: options.name(),
            ..Report::default()
        };
        Self {
            options,
            server,
            report,
        }
    }

    /// Runs the trial; the report is complete if there is no trouble.
    pub fn run(mut self) -> Result<Report, Trouble> {
        self.server.wait_ready()?;
        if !self.options.direct {
            self.report.steering = self.server.status()?.steering;
        }
        let load = Load::start(self.plan()).map_err(|error| format!("no load: {error}"))?;
        self.progress(&load)?;
        self.act(&load)?;
        if self.options.actions.stop {
            self.report.exit = self.server.stop()?.code();
            self.report.outcome = load.stop();
        } else {
            self.report.outcome = load.stop();
            self.report.exit = self.server.stop()?.code();
        }
        Ok(self.report)
    }

    fn plan(&self) -> Plan {
        Plan {
            connections: self.options.connections,
            mode: self.options.mode,
            pause: Duration::from_millis(self.options.pause_ms),
            path: self.options.path.clone(),
            ..Plan::new(self.server.address)
        }
    }

    fn act(&mut self, load: &Load) -> Result<(), Trouble> {
        let actions = self.options.actions.clone();
        let repeated: [(u32, Action<'a>); 6] = [
            (actions.reloads, Self::reload),
            (actions.kills, Self::kill),
            (actions.freezes, Self::freeze),
            (actions.soak_deaths, Self::soak_death),
            (actions.rollbacks, Self::rollback),
            (actions.canaries, Self::canary),
        ];
        for (count, action) in repeated {
            for turn in 0..count {
                action(self, load, turn)?;
                self.progress(load)?;
            }
        }
        for number in actions.scale {
            let took = self.scale(number)?;
            self.report.scales_ms.push(took);
            self.progress(load)?;
        }
        let end = Instant::now() + Duration::from_secs_f64(self.options.seconds);
        while Instant::now() < end {
            thread::sleep(POLL_INTERVAL);
        }
        Ok(())
    }

    fn progress(&self, load: &Load) -> Result<(), Trouble> {
        let more = (self.options.connections as u64 * 3).max(100);
        if load.wait_answered(more, PROGRESS_TIMEOUT) {
            return Ok(());
        }
        let (answered, failed) = (load.answered(), load.failed());
        Err(format!(
            "the load stands still: {answered} requests answered, {failed} failed"
        ))
    }

    fn reload(&mut self, _: &Load, _: u32) -> Result<(), Trouble> {
        let began = Instant::now();
        self.server.control(&["reload"])?;
        self.report.reloads_ms.push(milliseconds(began));
        self.wait_full()
    }

    /// The first process of a worker; which one goes round, so that each slot has its turn.
    fn nth(&self, turn: u32) -> Result<i32, Trouble> {
        let status = self.server.status()?;
        let pids: Vec<u32> = status
            .workers
            .iter()
            .filter_map(|worker| worker.pid)
            .collect();
        let choice = turn as usize % pids.len().max(1);
        pid(*pids.get(choice).ok_or("there is no worker")?)
    }

    /// Kills workers, and counts what they have accepted: that is lost with them. All are stopped before the first is
    /// killed, so that they die at once.
    fn strike(&mut self, workers: &[i32]) -> Result<(), Trouble> {
        let cannot = |what, error| format!("cannot {what} workers {workers:?}: {error}");
        let stopped: Result<Vec<Victim>, _> =
            workers.iter().map(|pid| Victim::stop(*pid)).collect();
        let stopped = stopped.map_err(|error| cannot("stop", error))?;
        for victim in &stopped {
            let accepted = victim.accepted(self.server.address.port());
            self.report.killed_connections +=
                accepted.map_err(|error| cannot("count the connections of", error))?;
        }
        for victim in stopped {
            victim.kill().map_err(|error| cannot("kill", error))?;
        }
        Ok(())
    }

    fn kill(&mut self, _: &Load, turn: u32) -> Result<(), Trouble> {
        let pid = self.nth(turn)?;
        self.strike(&[pid])?;
        let began = Instant::now();
        let victim = u32::try_from(pid).unwrap_or_default();
        let wanted = self.server.workers;
        self.server
            .wait_status("a new worker in place of the killed", |status| {
                let lives = status
                    .workers
                    .iter()
                    .any(|worker| worker.pid == Some(victim));
                !lives && is_full(status, wanted)
            })?;
        self.report.kills_ms.push(milliseconds(began));
        Ok(())
    }

    fn scale(&mut self, number: usize) -> Result<u64, Trouble> {
        let began = Instant::now();
        self.server.control(&["scale", &number.to_string()])?;
        self.server.workers = number;
        self.server
            .wait_status("the new number of workers and no other", |status| {
                is_full(status, number) && status.workers.len() == number
            })?;
        Ok(milliseconds(began))
    }

    fn wait_full(&mut self) -> Result<(), Trouble> {
        let wanted = self.server.workers;
        self.server
            .wait_status("the full number of workers", |status| {
                is_full(status, wanted)
            })
    }
}

/// Whether the supervisor is at rest and as many workers serve as should.
pub fn is_full(status: &Status, wanted: usize) -> bool {
    let serving = status
        .workers
        .iter()
        .filter(|worker| worker.phase == "serving")
        .count();
    status.phase == "serving" && serving == wanted
}

fn milliseconds(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}

fn pid(number: u32) -> Result<i32, Trouble> {
    i32::try_from(number).map_err(|error| format!("pid {number}: {error}"))
}
