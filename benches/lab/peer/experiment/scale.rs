//! Many workers: how long it takes to start, reload and stop them, and what their supervisor has
//! and does for it, and while there is nothing to do.

use std::io;
use std::path::Path;
use std::thread;
use std::time::Duration;

use super::super::super::report::results::Row;
use super::super::ours::{NAME, Ours, Ready};
use super::super::supervisor_cost::{self, Memory, SupervisorCost};
use super::super::{Peer, Work};
use super::trial::Trial;

/// The experiment's name in the rows.
pub const SCALE: &str = "scale";
/// From the start, the reload or the signal to stop until it is done, in microseconds.
pub const START: &str = "start_us";
/// The same.
pub const RELOAD: &str = "reload_us";
/// The same.
pub const STOP: &str = "stop_us";
/// CPU time for a reload of all processes that do not serve, in microseconds.
pub const RELOAD_CPU: &str = "supervisor_cpu_us_per_reload";
/// Memory of the first process, in bytes.
pub const RESIDENT: &str = "root_rss_bytes";
/// The same, with what is shared divided by those who share it.
pub const PROPORTIONAL: &str = "root_pss_bytes";
/// How often the first process woke up a second, with nothing to do.
pub const WAKE_UPS: &str = "root_wake_ups_per_second";
/// CPU time that it used for that, in microseconds a second.
pub const IDLE_CPU: &str = "root_cpu_us_per_second";

/// How long nothing is done.
const IDLE: Duration = Duration::from_secs(5);

/// Whose supervisors are looked at: one of each kind, and we around the same servers.
const OTHERS: [&str; 4] = [
    "cluster, round robin",
    "gunicorn, shared",
    "start_server gunicorn",
    "nginx, shared",
];
/// A thousand workers have only we, and only of the smallest kind: a thousand of real servers do not
/// fit into the machine that this is to run on.
const MOST: u32 = 100;

/// Us around something that costs nothing, so that what is seen is the supervisor.
pub const SMALL: Ours = Ours {
    work: Work::Demo,
    ready: Ready::Listening,
};

/// Whether a subject is asked to have so many workers.
pub fn is_asked(peer: &dyn Peer, workers: u32) -> bool {
    let profile = peer.profile();
    match profile.work {
        Work::Demo => true,
        Work::Node | Work::Wsgi | Work::Static => {
            workers <= MOST && (profile.name == NAME || OTHERS.contains(&profile.name))
        }
        Work::Asgi | Work::Granian => false,
    }
}

/// One subject with so many workers.
///
/// # Errors
/// If it does not start, is not reloaded or does not stop.
pub fn run(peer: &dyn Peer, workers: u32, within: &Path) -> io::Result<Row> {
    let mut trial = Trial::of(peer, within, workers)?;
    let profile = peer.profile();
    let mut row = Row::new(SCALE, profile.name, 0)
        .with("server", profile.work)
        .with("workers", workers);
    let micros = |time: Duration| time.as_secs_f64() * 1e6;
    row.measure(START, micros(trial.started));
    let mut supervisor_cost = SupervisorCost::open(&trial.process_tree);
    let took = trial.reload_to_rest(peer, &mut supervisor_cost)?;
    row.measure(RELOAD, micros(took));
    row.measure(RELOAD_CPU, micros(supervisor_cost.cpu()));
    note_rest(&mut row, &trial)?;
    row.measure(STOP, micros(trial.stop()?));
    Ok(row)
}

fn note_rest(row: &mut Row, trial: &Trial) -> io::Result<()> {
    let root = trial.process_tree.root()?;
    let memory = Memory::of(root);
    row.measure(RESIDENT, memory.resident as f64);
    row.measure(PROPORTIONAL, memory.proportional as f64);
    let (cpu, wake_ups) = (supervisor_cost::cpu(root), supervisor_cost::wake_ups(root));
    thread::sleep(IDLE);
    let cpu = supervisor_cost::cpu(root).saturating_sub(cpu);
    let wake_ups = supervisor_cost::wake_ups(root).saturating_sub(wake_ups);
    let seconds = IDLE.as_secs_f64();
    row.measure(IDLE_CPU, cpu.as_secs_f64() * 1e6 / seconds);
    row.measure(WAKE_UPS, wake_ups as f64 / seconds);
    Ok(())
}
