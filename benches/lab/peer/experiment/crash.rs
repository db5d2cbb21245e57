//! SIGKILL to one worker after the other under load: what fails, and how long until another answers
//! in its place.
//!
//! Who does not replace its dead has one worker less after each kill, and at last none. So such a
//! subject is started again for each kill, and is a round of its own in the rows.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::super::super::load::{Outcome, Reuse};
use super::super::super::note;
use super::super::super::report::results::Row;
use super::super::super::report::statistics::Spread;
use super::super::{Peer, poll};
use super::extent::Extent;
use super::trial::{Trial, row_of};

/// The experiment's name in the rows.
pub const CRASH: &str = "crash";
/// From the kill until a worker answers that was not there before, in microseconds, the median;
/// missing where none ever did.
pub const RECOVERY: &str = "recovery_us";
/// Workers that were killed.
pub const KILLS: &str = "kills";
/// Requests that failed for each.
pub const LOST: &str = "failed_per_kill";

/// Who has not replaced a worker by then does not do so.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Before each kill and after the last one's recovery.
const REST: Duration = Duration::from_millis(700);

/// All kills of one subject.
///
/// # Errors
/// If the subject does not start or cannot be measured.
pub fn run(peer: &dyn Peer, reuse: Reuse, extent: &Extent, within: &Path) -> io::Result<Vec<Row>> {
    let mut rows = Vec::new();
    let mut killed = 0;
    while killed < extent.kills {
        let trial = Trial::of(peer, within, extent.workers)?;
        let (course, kills) = in_a_row(&trial, reuse, extent, killed)?;
        killed += kills.len();
        let mut row = row_of(CRASH, peer, reuse, u32::try_from(rows.len()).unwrap_or(0));
        note::outcome(&mut row, &course);
        note::course(&mut row, &course);
        note_kills(&mut row, &kills);
        rows.push(row);
    }
    Ok(rows)
}

/// One kill: when, and how long until somebody had taken the place.
struct Kill {
    at: Duration,
    recovery: Option<Duration>,
}

/// Kills the subject's workers, of all kills from the `first` on, as long as each is replaced.
fn in_a_row(
    trial: &Trial,
    reuse: Reuse,
    extent: &Extent,
    first: usize,
) -> io::Result<(Outcome, Vec<Kill>)> {
    let load = trial.endless_plan(extent, reuse);
    let (began, load) = (Instant::now(), load.start()?);
    let mut kills: Vec<Kill> = Vec::new();
    let has_recovered = |kills: &[Kill]| kills.last().is_none_or(|kill| kill.recovery.is_some());
    while first + kills.len() < extent.kills && has_recovered(&kills) {
        thread::sleep(REST);
        let at = began.elapsed();
        let before = kill_one(trial, first + kills.len())?;
        let recovery = recover(trial, &before);
        kills.push(Kill { at, recovery });
    }
    thread::sleep(REST);
    Ok((load.stop(), kills))
}

/// Kills one worker, another place in their order each time; returns all that there were.
fn kill_one(trial: &Trial, turn: usize) -> io::Result<Vec<Pid>> {
    let workers = trial.process_tree.workers();
    let victim = workers.get(turn.checked_rem(workers.len()).unwrap_or(0));
    let victim = victim.ok_or_else(|| io::Error::other("there is no worker to be killed"))?;
    kill(*victim, Signal::SIGKILL)?;
    Ok(workers)
}

/// Asks again and again who answers, until it is somebody new.
fn recover(trial: &Trial, before: &[Pid]) -> Option<Duration> {
    let begin = Instant::now();
    let known: Vec<String> = before.iter().map(Pid::to_string).collect();
    let is_new = || ask(trial.place.address).is_ok_and(|name| !known.contains(&name));
    poll::holds(TIMEOUT, is_new).then(|| begin.elapsed())
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

fn note_kills(row: &mut Row, kills: &[Kill]) {
    let failed: u64 = row.timeline.iter().map(|moment| moment.failed).sum();
    row.measure(KILLS, kills.len() as f64);
    row.measure(LOST, failed as f64 / kills.len() as f64);
    let recoveries = kills.iter().filter_map(|kill| kill.recovery);
    let recoveries: Vec<f64> = recoveries.map(|took| took.as_secs_f64() * 1e6).collect();
    if let Some(spread) = Spread::of(&recoveries) {
        row.measure(RECOVERY, spread.median);
    }
    let marks = kills.iter().map(|kill| {
        let end = kill.at + kill.recovery.unwrap_or(TIMEOUT);
        (kill.at.as_secs_f64(), end.as_secs_f64())
    });
    row.marks = marks.collect();
}
