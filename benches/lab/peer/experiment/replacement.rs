//! A reload of a subject, while what it costs its supervisors is written down.
//!
//! Helpers may live for milliseconds, and take the account of their CPU time with them. So they are
//! looked at from the reload's begin, also while a command runs that waits for its end itself.

use std::io;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::super::ledger::Ledger;
use super::super::{Peer, poll};
use super::trial::{PATIENCE, Trial};

impl Trial {
    /// Reloads it and waits until all its workers are others; what its supervisors use for it goes
    /// into the ledger.
    ///
    /// # Errors
    /// If the reload fails, or takes too long.
    pub fn reload(&mut self, peer: &dyn Peer, ledger: &mut Ledger) -> io::Result<()> {
        let old = self.herd.workers();
        if let Some(command) = peer.reload(&mut self.herd, &self.place)? {
            self.carry_out(command, ledger)?;
        }
        let workers = self.place.worker_count();
        let watch = |supervisors: &[_]| ledger.note(supervisors);
        self.herd
            .wait_until_replaced(&old, workers, PATIENCE, watch)
            .map(drop)
    }

    /// The same, and waits until it has come to rest; how long it took until then.
    ///
    /// # Errors
    /// The same.
    pub fn reload_to_rest(&mut self, peer: &dyn Peer, ledger: &mut Ledger) -> io::Result<Duration> {
        let since = Instant::now();
        self.reload(peer, ledger)?;
        let rests_since = self.wait_until_it_rests()?;
        ledger.look(&self.herd);
        Ok(rests_since.duration_since(since))
    }

    /// Runs a command to its end; supervisors are looked at meanwhile, too.
    fn carry_out(&self, mut command: Command, ledger: &mut Ledger) -> io::Result<()> {
        command.stdin(Stdio::null());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn()?;
        let ended = poll::until(PATIENCE, || {
            ledger.look(&self.herd);
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
