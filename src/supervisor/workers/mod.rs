//! The workers' processes: which pid is which worker, how they are started, and when they have gone.
//!
//! ```text
//!  WorkerSpawner ── a launcher's process ──► Workers ── it becomes the command ──► a worker
//!                                               │
//!                      its process ends, then its group ──► ExitingGroups ──► it has gone
//! ```
//! A worker is its process group: a worker has gone only with the last of it. Which processes have which
//! sockets is seen in /proc when it matters, over the worker's whole tree of processes, and not kept.
//!
//! | file | what it does |
//! | --- | --- |
//! | `spawner` | starts launchers |
//! | `environment` | what a worker finds |
//! | `launch` | what a launcher says on its way to becoming the command |
//! | `process` | what is known of a worker's first process |
//! | `exiting` | reaps; when a worker has gone |
//! | `port_answer` | whether a worker that gives up may have found that its port is taken |
//! | `siblings` | the others of a worker's generation, one of which may have its port |
//! | `tree` | the processes of a worker |
//! | `strays` | processes that have left the groups of their workers |
//! | `notify` | hears workers' `READY=1`; speaks to the service manager |
//! | `usage` | what a worker's processes use |
//! | `probe` | asks a worker whether it is ready |
//! | `checks` | asks workers that serve how they are |
//! | `attempt`, `http_question` | a connection to one worker, and a request on it |

mod attempt;
pub(super) mod checks;
mod environment;
mod exiting;
mod http_question;
mod launch;
pub(super) mod notify;
mod port_answer;
pub(super) mod probe;
mod process;
mod siblings;
mod spawner;
pub(super) mod strays;
mod tree;
mod usage;

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Instant;

use super::output::Output;
use super::sources::Sources;
use crate::config::Config;
use crate::fleet::{Exit, Generation, WorkerId};
use crate::sys::process::{Ended, kill_group, signal};
use crate::sys::procfs;
pub(super) use exiting::End;
use exiting::ExitingGroups;
pub(super) use launch::Launched;
use process::{Facts, Life, WorkerProcess};
pub(super) use spawner::{SpawnSpec, WorkerSpawner};

/// All workers that have a process, or had one until the fleet has heard of its end.
#[derive(Debug)]
pub(super) struct Workers {
    spawner: WorkerSpawner,
    /// Our own network namespace.
    namespace: Option<u64>,
    processes: BTreeMap<WorkerId, WorkerProcess>,
    by_pid: BTreeMap<i32, WorkerId>,
    exiting: ExitingGroups,
    hidden: HiddenDescriptors,
    /// The last generation of which a worker has put itself into the background.
    daemonising: Option<Generation>,
}

/// Whether it was said that what some workers have cannot be seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum HiddenDescriptors {
    Unsaid,
    Said,
}

impl Workers {
    pub(super) fn new(spawner: WorkerSpawner) -> Self {
        Self {
            namespace: procfs::network_namespace(spawner.supervisor).ok(),
            spawner,
            processes: BTreeMap::new(),
            by_pid: BTreeMap::new(),
            exiting: ExitingGroups::default(),
            hidden: HiddenDescriptors::Unsaid,
            daemonising: None,
        }
    }

    /// Starts a worker; its pid.
    ///
    /// # Errors
    /// Those of pipe2(2), fork(2) and execve(2).
    pub(super) fn start(
        &mut self,
        config: Arc<Config>,
        sources: &mut Sources,
        output: &mut Output,
        spec: &SpawnSpec<'_>,
    ) -> io::Result<i32> {
        let started = Instant::now();
        let (pid, launcher) = self.spawner.start(&config, sources, output, spec)?;
        let facts = Facts {
            pid,
            name: format!(
                "worker {} (pid {pid}, generation {}, slot {})",
                spec.worker, spec.generation, spec.slot
            ),
            launch_failure: None,
            slot: spec.slot,
            generation: spec.generation,
            life: Life::Running,
            port_answer: None,
            unheard_sibling: None,
        };
        self.by_pid.insert(pid, spec.worker);
        let process = WorkerProcess {
            facts,
            started,
            config,
            launcher: Some(launcher),
        };
        self.processes.insert(spec.worker, process);
        Ok(pid)
    }

    /// The pid of a worker's first process.
    pub(super) fn pid(&self, worker: WorkerId) -> Option<i32> {
        let found = self.processes.get(&worker);
        found.map(|process| process.facts.pid)
    }

    /// What a worker was made by.
    pub(super) fn config(&self, worker: WorkerId) -> Option<&Config> {
        let found = self.processes.get(&worker);
        found.map(|process| &*process.config)
    }

    /// Whether a worker does something of its own when it is told to stop. Else it dies of the signal.
    pub(super) fn handles_stop(&self, worker: WorkerId) -> bool {
        let found = self.processes.get(&worker);
        found.is_some_and(|process| {
            procfs::handles_signal(process.facts.pid, process.config.stop_signal)
        })
    }

    /// All workers and the pids of their first processes.
    pub(super) fn pids(&self) -> impl Iterator<Item = (WorkerId, i32)> {
        let all = self.processes.iter();
        all.map(|(worker, process)| (*worker, process.facts.pid))
    }

    /// The pid of a worker in another network namespace than ours, whose files tell of that.
    pub(super) fn foreign_namespace(&self, worker: WorkerId) -> Option<i32> {
        let pid = self.pid(worker)?;
        let namespace = procfs::network_namespace(pid).ok();
        (namespace.is_some() && namespace != self.namespace).then_some(pid)
    }

    /// Whether a worker has gone, or never was.
    pub(super) fn has_ended(&self, worker: WorkerId) -> bool {
        let found = self.processes.get(&worker);
        found.is_none_or(|process| process.facts.life == Life::Ended)
    }

    /// A worker, as messages name it.
    pub(super) fn describe(&self, worker: WorkerId) -> String {
        let found = self.processes.get(&worker);
        found.map_or_else(
            || format!("worker {worker}"),
            |process| process.facts.name.clone(),
        )
    }

    /// The worker that a process belongs to.
    pub(super) fn worker_of(&self, pid: i32) -> Option<WorkerId> {
        let of = |pid: i32| self.by_pid.get(&pid).copied();
        let direct = of(pid).or_else(|| of(procfs::process_group(pid)?));
        direct.or_else(|| {
            let mut all = self.pids();
            let found = all.find(|(_, first)| procfs::descendants(*first).contains(&pid));
            found.map(|(worker, _)| worker)
        })
    }

    /// What a worker has cannot be seen: said once, for the others are likely to be like it.
    pub(super) fn hides_descriptors(&mut self, worker: WorkerId) {
        if std::mem::replace(&mut self.hidden, HiddenDescriptors::Said) == HiddenDescriptors::Unsaid
        {
            log::warn!(
                "{}: cannot see whether it still has its listeners (it is not dumpable, or another user's); it is \
                 believed while it is alive; run reuseport-run as its user, or as root",
                self.describe(worker)
            );
        }
    }

    /// Whether sockets can be fetched from workers.
    pub(super) fn can_fetch(&self) -> bool {
        self.spawner.can_fetch
    }

    /// A worker was told to stop, otherwise than by the stop signal.
    pub(super) fn told(&mut self, worker: WorkerId) {
        self.live(worker, Life::Told);
    }

    /// Sends a worker the stop signal.
    ///
    /// # Errors
    /// Those of kill(2), but for a process that has ended.
    pub(super) fn tell(&mut self, worker: WorkerId) -> io::Result<()> {
        self.live(worker, Life::Told);
        self.processes.get(&worker).map_or(Ok(()), |process| {
            signal(process.facts.pid, process.config.stop_signal)
        })
    }

    fn live(&mut self, worker: WorkerId, life: Life) {
        let process = self.processes.get_mut(&worker);
        if let Some(process) = process.filter(|it| it.facts.life != Life::Ended) {
            process.facts.life = life;
        }
    }

    /// Kills a worker's whole process group.
    ///
    /// # Errors
    /// Those of killpg(2), but for a group that has ended.
    pub(super) fn kill(&mut self, worker: WorkerId) -> io::Result<()> {
        self.live(worker, Life::Killed);
        self.exiting.killed(worker);
        self.pid(worker).map_or(Ok(()), kill_group)
    }

    /// The workers whose process has ended as it was told, and of which it is to be seen now whether children still
    /// answer.
    pub(super) fn finishing(&mut self, now: Instant) -> Vec<WorkerId> {
        self.exiting.due(now)
    }

    /// Reaps every child that has ended, ours and orphans that became ours.
    pub(super) fn reap(&mut self) {
        self.exiting.reap(&self.by_pid, &self.processes);
    }

    /// The workers that have gone with all of their group since the last call, and how each ended.
    pub(super) fn report_exits(&mut self) -> Vec<(WorkerId, End)> {
        self.exiting.report()
    }

    /// When [`Self::report_exits`] is due at the latest.
    pub(super) fn exit_deadline(&self) -> Option<Instant> {
        self.exiting.deadline()
    }

    /// Notes that a worker has gone; what its end was, and whether it was asked for. It is forgotten when the fleet has heard of that:
    /// until then messages name its pid.
    pub(super) fn end(&mut self, worker: WorkerId, end: &End) -> Option<(Exit, bool)> {
        let process = self.processes.get_mut(&worker)?;
        let was_told = process.facts.life != Life::Running;
        process.facts.life = Life::Ended;
        let exit = match (process.facts.launch_failure.take(), end.ended) {
            (Some(reason), _) => Exit::NotStarted(reason),
            (None, Ended::Code(code)) => Exit::Code(code),
            (None, Ended::Signal(signal)) => Exit::Signal(signal),
        };
        Some((exit, was_told))
    }

    /// Forgets a worker that has gone.
    pub(super) fn forget(&mut self, sources: &mut Sources, worker: WorkerId) {
        if let Some(mut process) = self.processes.remove(&worker) {
            self.by_pid.remove(&process.facts.pid);
            process.close_launcher(sources);
        }
    }
}
