//! SIGKILL to one worker under load: what fails, and how long until another answers in its place.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::super::super::load::Reuse;
use super::super::super::report::results::Row;
use super::super::Peer;
use super::trial::{Extent, Trial, moderate, name_of, note_outcome};

/// The experiment's name in the rows.
pub const CRASH: &str = "crash";
/// From the kill until a worker answers that was not there before, in microseconds; missing where
/// none ever did.
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
        .and_then(|before| recover(&trial, before));
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

/// Kills the worker that the seed says; returns all that there were.
fn kill_one(trial: &Trial, seed: u64) -> io::Result<Vec<Pid>> {
    let workers = trial.herd.workers();
    let count = u64::try_from(workers.len()).unwrap_or(1).max(1);
    let victim = usize::try_from(seed % count)
        .ok()
        .and_then(|at| workers.get(at));
    let victim = *victim.ok_or_else(|| io::Error::other("there is no worker to be killed"))?;
    kill(victim, Signal::SIGKILL)?;
    Ok(workers)
}

/// Asks again and again who answers, until it is somebody new.
fn recover(trial: &Trial, before: &[Pid]) -> Option<Duration> {
    let begin = Instant::now();
    let known: Vec<String> = before.iter().map(Pid::to_string).collect();
    while begin.elapsed() < PATIENCE {
        if ask(trial.place.address).is_ok_and(|name| !known.contains(&name)) {
            return Some(begin.elapsed());
        }
        thread::sleep(Duration::from_millis(5));
    }
    None
}

/// The name of the worker that answers: its pid, in all applications.
fn ask(address: SocketAddr) -> io::Result<String> {
    let patience = Duration::from_millis(500);
    let mut stream = TcpStream::connect_timeout(&address, patience)?;
    stream.set_read_timeout(Some(patience))?;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: lab\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.take(4096).read_to_string(&mut answer)?;
    let mut headers = answer.lines().filter_map(|line| line.split_once(':'));
    let worker = headers.find(|(name, _)| name.eq_ignore_ascii_case("x-worker"));
    let nobody = || io::Error::other("the answer does not say whose it is");
    worker
        .map(|(_, name)| name.trim().to_owned())
        .ok_or_else(nobody)
}
