//! What is done to a server under load, one check after the other.

use std::fs;
use std::time::{Duration, Instant};

use reuseport_run::wire::control::Status;

use crate::loads::{Loads, count};
use crate::report::Check;
use crate::rig::control::Trouble;
use crate::rig::load::{Failure, Mode};
use crate::row::Row;
use crate::trial::is_full;
use crate::trial::supervised_server::SupervisedServer;
use crate::trial::victim::Victim;

/// How long a start, or that a killed worker is replaced, may take. The supervisor gives up sooner.
const STEP_TIMEOUT: Duration = Duration::from_secs(30);

/// A row that is under way.
pub(crate) struct Run<'a> {
    row: &'a Row<'a>,
    supervised: Option<SupervisedServer<'a>>,
    /// Of one worker.
    pub(crate) listeners: usize,
    pub(crate) reloads_ms: Vec<u64>,
}

impl<'a> Run<'a> {
    pub(crate) fn new(row: &'a Row<'a>) -> Self {
        Self {
            row,
            supervised: None,
            listeners: 0,
            reloads_ms: Vec::new(),
        }
    }

    pub(crate) fn check(&mut self, name: &str) -> Check {
        let mut check = Check {
            name: name.into(),
            ..Check::default()
        };
        if let Err(trouble) = self.perform(&mut check) {
            check.trouble = Some(trouble);
            self.supervised = None;
            self.row.processes.kill();
        }
        check
    }

    fn perform(&mut self, check: &mut Check) -> Result<(), Trouble> {
        let mut server = match self.supervised.take() {
            Some(server) => server,
            None => self.start()?,
        };
        let row = self.row;
        let loads = match check.name.as_str() {
            "fresh" => Loads::start([row.plan(Mode::Fresh, row.options.connections)])?,
            "keep-alive" => Loads::start([row.plan(Mode::KeepAlive, row.options.connections)])?,
            _ => row.mixed()?,
        };
        let mut forgiven = vec![Failure::Local];
        let acted = loads.progress().and_then(|()| match check.name.as_str() {
            "kill" => self.kill(&mut server, &loads, check),
            "scale" => self.scale(&mut server, &loads),
            "stop" => {
                // Who comes when nobody is there is refused, as he should be.
                forgiven.push(Failure::Refused);
                server.stop().map(drop)
            }
            _ => self.reload(&mut server, &loads),
        });
        count(check, &loads.stop(), &forgiven);
        acted?;
        if check.name != "stop" {
            self.supervised = Some(server);
        }
        Ok(())
    }

    fn start(&mut self) -> Result<SupervisedServer<'a>, Trouble> {
        let row = self.row;
        let (address, directory) = (row.address(), row.directory());
        let mut server = SupervisedServer::start(
            &row.options,
            address,
            &row.command,
            directory,
            &row.processes,
            &row.output_lines,
        )?;
        server.step_timeout = STEP_TIMEOUT;
        server
            .wait_ready()
            .map_err(|trouble| self.because(trouble))?;
        let status = server.status()?;
        self.listeners = status
            .workers
            .first()
            .map_or(0, |worker| worker.listeners.len());
        Ok(server)
    }

    /// The reason, with what the supervisor said last.
    fn because(&self, trouble: Trouble) -> Trouble {
        let lines = self.row.output_lines.lines();
        let last = lines
            .iter()
            .rev()
            .find(|line| line.contains("ERROR") || line.contains("reuseport-run:"));
        format!(
            "{trouble}: {}",
            last.or(lines.last()).map_or("it said nothing", |line| {
                // The time is of no interest.
                line.split_once("ERROR ")
                    .map_or(line.as_str(), |(_, rest)| rest)
            })
        )
    }

    fn reload(&mut self, server: &mut SupervisedServer<'a>, loads: &Loads) -> Result<(), Trouble> {
        for _ in 0..self.row.options.actions.reloads {
            let began = Instant::now();
            server.control(&["reload"])?;
            self.reloads_ms
                .push(u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX));
            self.settle(server)?;
            loads.progress()?;
        }
        Ok(())
    }

    fn settle(&self, server: &mut SupervisedServer<'a>) -> Result<(), Trouble> {
        let wanted = server.workers;
        server.wait_status("the full number of workers", |status| {
            is_full(status, wanted)
        })
    }

    fn scale(&self, server: &mut SupervisedServer<'a>, loads: &Loads) -> Result<(), Trouble> {
        server.control(&["scale", "-1"])?;
        server.workers -= 1;
        let wanted = server.workers;
        let is_done = |status: &Status| is_full(status, wanted) && status.workers.len() == wanted;
        server.wait_status("one worker less", is_done)?;
        loads.progress()?;
        server.control(&["scale", "+1"])?;
        server.workers += 1;
        self.settle(server)?;
        loads.progress()
    }

    /// Kills a worker with all of its processes. What they had accepted may be lost.
    fn kill(
        &self,
        server: &mut SupervisedServer<'a>,
        loads: &Loads,
        check: &mut Check,
    ) -> Result<(), Trouble> {
        let status = server.status()?;
        let victim = status
            .workers
            .iter()
            .find_map(|worker| worker.pid)
            .ok_or("there is no worker to kill")?;
        let first = i32::try_from(victim).map_err(|error| error.to_string())?;
        let mut stopped = Vec::new();
        for pid in family(first) {
            // A child may end meanwhile; it can accept nothing then.
            if let Ok(member) = Victim::stop(pid) {
                check.allowed += member.accepted(self.row.reservation.port()).unwrap_or(0);
                stopped.push(member);
            }
        }
        // The first is the last: its children are not to see that it has gone.
        for member in stopped.into_iter().rev() {
            member
                .kill()
                .map_err(|error| format!("cannot kill a process of worker {victim}: {error}"))?;
        }
        let wanted = server.workers;
        server.wait_status("a new worker in place of the killed", |status| {
            is_full(status, wanted)
                && !status
                    .workers
                    .iter()
                    .any(|worker| worker.pid == Some(victim))
        })?;
        loads.progress()
    }
}

/// A process and its descendants.
fn family(first: i32) -> Vec<i32> {
    let mut found = vec![first];
    let mut at = 0;
    while let Some(&pid) = found.get(at) {
        let threads = fs::read_dir(format!("/proc/{pid}/task"))
            .into_iter()
            .flatten()
            .flatten();
        for thread in threads {
            let children = fs::read_to_string(thread.path().join("children")).unwrap_or_default();
            found.extend(
                children
                    .split_ascii_whitespace()
                    .filter_map(|word| word.parse::<i32>().ok()),
            );
        }
        at += 1;
    }
    found
}
