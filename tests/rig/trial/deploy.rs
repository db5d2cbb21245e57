//! Reloads that have to prove themselves, and workers that hang.

use std::process::Child;
use std::time::Instant;

use super::victim::Victim;
use super::{Trial, is_full, milliseconds, pid};
use crate::rig::control::Trouble;
use crate::rig::load::Load;

impl Trial<'_> {
    /// A reload, whose new workers all die at once while the old ones stand by: it is taken back.
    pub(super) fn soak_death(&mut self, load: &Load, _: u32) -> Result<(), Trouble> {
        let reload = self.begin_soak(load)?;
        self.strike(&self.newest()?)?;
        self.ended(reload, 1)
    }

    /// A reload that is taken back while the old workers stand by.
    pub(super) fn rollback(&mut self, load: &Load, _: u32) -> Result<(), Trouble> {
        let reload = self.begin_soak(load)?;
        self.server.control(&["rollback"])?;
        self.ended(reload, 1)
    }

    fn begin_soak(&mut self, load: &Load) -> Result<Child, Trouble> {
        let reload = self.server.begin(&["reload"])?;
        self.server
            .wait_status("the old workers standing by", |status| {
                status.phase == "soaking"
            })?;
        self.progress(load)?;
        Ok(reload)
    }

    /// A reload whose first worker is tried: the others follow, it is withdrawn, or it dies, in turns.
    pub(super) fn canary(&mut self, load: &Load, turn: u32) -> Result<(), Trouble> {
        let reload = self.server.begin(&["reload", "--canary", "25%"])?;
        self.server
            .wait_status("a worker on trial", |status| status.phase == "canary")?;
        self.progress(load)?;
        let code = match turn % 3 {
            0 => {
                self.server.control(&["promote"])?;
                0
            }
            1 => {
                self.server.control(&["rollback"])?;
                1
            }
            _ => {
                self.strike(&self.newest()?)?;
                1
            }
        };
        self.ended(reload, code)
    }

    /// A worker hangs for good: another one takes its place (`--health`).
    pub(super) fn freeze(&mut self, _: &Load, turn: u32) -> Result<(), Trouble> {
        let frozen = self.nth(turn)?;
        let cannot = |error| format!("cannot freeze worker {frozen}: {error}");
        let victim = Victim::stop(frozen).map_err(cannot)?;
        let held = victim.accepted(self.server.address.port());
        self.report.killed_connections += held.map_err(cannot)?;
        let began = Instant::now();
        let (wanted, frozen) = (self.server.workers, u32::try_from(frozen).ok());
        self.server
            .wait_status("another worker in place of the frozen", |status| {
                let mut workers = status.workers.iter();
                workers.all(|worker| worker.pid != frozen) && is_full(status, wanted)
            })?;
        self.report.kills_ms.push(milliseconds(began));
        Ok(())
    }

    /// The first processes of the workers of the newest generation.
    fn newest(&self) -> Result<Vec<i32>, Trouble> {
        let workers = self.server.status()?.workers;
        let newest = workers.iter().map(|worker| worker.generation).max();
        let newest = workers
            .iter()
            .filter(|worker| Some(worker.generation) == newest);
        newest.filter_map(|worker| worker.pid).map(pid).collect()
    }

    fn ended(&mut self, mut reload: Child, expected: i32) -> Result<(), Trouble> {
        let status = reload.wait();
        let status = status.map_err(|error| format!("cannot wait for the reload: {error}"))?;
        if status.code() != Some(expected) {
            return Err(format!("the reload ends with {status}, not {expected}"));
        }
        self.wait_full()
    }
}
