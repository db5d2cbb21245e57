//! A reload of a subject, while what it costs its supervisors is written down.
//!
//! Helpers may live for milliseconds, and take the account of their CPU time with them. So they are
//! looked at from the reload's begin, also while a command runs that waits for its end itself.

use std::io;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::super::supervisor_cost::SupervisorCost;
use super::super::{Peer, poll};
use super::trial::{TIMEOUT, Trial};

impl Trial {
    /// Reloads it and waits until all its workers are others; what its supervisors use for it goes
    /// into the supervisors' cost.
    ///
    /// # Errors
    /// If the reload fails, or takes too long.
    pub fn reload(
        &mut self,
        peer: &dyn Peer,
        supervisor_cost: &mut SupervisorCost,
    ) -> io::Result<()> {
        let old = self.process_tree.workers();
        if let Some(command) = peer.reload(&mut self.process_tree, &self.place)? {
            self.carry_out(command, supervisor_cost)?;
        }
        let workers = self.place.worker_count();
        let watch = |supervisors: &[_]| supervisor_cost.note(supervisors);
        self.process_tree
            .wait_until_replaced(&old, workers, TIMEOUT, watch)
            .map(drop)
    }

    /// The same, and waits until it has come to rest; how long it took until then.
    ///
    /// # Errors
    /// The same.
    pub fn reload_to_rest(
        &mut self,
        peer: &dyn Peer,
        supervisor_cost: &mut SupervisorCost,
    ) -> io::Result<Duration> {
        let since = Instant::now();
        self.reload(peer, supervisor_cost)?;
        let rests_since = self.wait_until_it_rests()?;
        supervisor_cost.look(&self.process_tree);
        Ok(rests_since.duration_since(since))
    }

    /// Runs a command to its end; supervisors are looked at meanwhile, too.
    fn carry_out(
        &self,
        mut command: Command,
        supervisor_cost: &mut SupervisorCost,
    ) -> io::Result<()> {
        command.stdin(Stdio::null());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn()?;
        let ended = poll::until(TIMEOUT, || {
            supervisor_cost.look(&self.process_tree);
            child.try_wait()
        })?;
        if ended.is_none() {
            child.kill()?;
        }
        let output = child.wait_with_output()?;
        if output.status.success() {
            return Ok(());
        }
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        Err(io::Error::other(format!(
            "{command:?} failed with {}: {}",
            output.status,
            said.lines().last().unwrap_or_default()
        )))
    }
}
