//! SIGKILL to one worker under load: what fails, and how long until there are as many as before.

use std::io;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::super::super::load::Reuse;
use super::super::super::report::results::Row;
use super::super::Peer;
use super::super::process::Census;
use super::trial::{Extent, Trial, moderate, name_of, note_outcome};

/// The experiment's name in the rows.
pub const CRASH: &str = "crash";
/// Until there are as many workers as before, in microseconds; missing where that never was.
pub const RECOVERY: &str = "recovery_us";

/// Who has not replaced a worker by then does not do so.
const PATIENCE: Duration = Duration::from_secs(10);
/// Before the kill and after the recovery.
const REST: Duration = Duration::from_secs(1);

/// One kill, of one subject in one round.
///
/// # Errors
/// If the subject does not start or cannot be measured.
pub fn run(
    peer: &dyn Peer,
    reuse: Reuse,
    round: u32,
    extent: &Extent,
    within: &Path,
) -> io::Result<Row> {
    let trial = Trial::of(peer, within, extent.workers)?;
    let mut plan = trial.plan(extent, reuse, moderate(extent));
    plan.warm_up = Duration::ZERO;
    plan.length = None;
    let (began, load) = (Instant::now(), plan.start()?);
    thread::sleep(REST);
    let from = began.elapsed();
    let killed = kill_one(&trial, extent.seed.wrapping_add(u64::from(round)));
    let recovery = killed
        .as_ref()
        .ok()
        .and_then(|(victim, before)| recover(&trial, *victim, *before));
    let to = began.elapsed();
    thread::sleep(REST);
    let course = load.stop();
    killed?;
    let row = Row::new(CRASH, peer.name(), round);
    let mut row = row
        .with("server", peer.work())
        .with("connections", name_of(reuse));
    note_outcome(&mut row, &course);
    row.marks.push((from.as_secs_f64(), to.as_secs_f64()));
    if let Some(recovery) = recovery {
        row.measure(RECOVERY, recovery.as_secs_f64() * 1e6);
    }
    Ok(row)
}

/// Kills the worker that the seed says; returns it and how many there were.
fn kill_one(trial: &Trial, seed: u64) -> io::Result<(Pid, usize)> {
    let workers = trial.herd.workers();
    let count = u64::try_from(workers.len()).unwrap_or(1).max(1);
    let victim = usize::try_from(seed % count)
        .ok()
        .and_then(|at| workers.get(at));
    let victim = *victim.ok_or_else(|| io::Error::other("there is no worker to be killed"))?;
    kill(victim, Signal::SIGKILL)?;
    Ok((victim, workers.len()))
}

fn recover(trial: &Trial, victim: Pid, before: usize) -> Option<Duration> {
    let begin = Instant::now();
    while begin.elapsed() < PATIENCE {
        let is_gone = !Census::take().has(victim);
        if is_gone && trial.herd.workers().len() >= before {
            return Some(begin.elapsed());
        }
        thread::sleep(Duration::from_millis(5));
    }
    None
}
