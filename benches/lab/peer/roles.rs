//! Who is who among a subject's processes: who serves, who sees to it, and who does neither.
//!
//! A process without children serves, unless it is one of the helpers that are known. Where that is
//! not enough, the subject says more ([`Roles`]).

use std::path::Path;

use nix::unistd::Pid;

use super::ours;
use super::process::{Census, command_line};

/// All processes of a subject, by what they do.
#[derive(Clone, Debug, Default)]
pub struct ByRole {
    /// Who serves.
    pub workers: Vec<Pid>,
    /// Who sees to it.
    pub supervisors: Vec<Pid>,
    /// All of both, and what else the servers have started for themselves.
    pub all: Vec<Pid>,
}

/// How the processes are told apart beyond their family, by their command lines.
#[derive(Clone, Copy, Debug)]
pub struct Roles {
    /// Which of the processes without children serve.
    pub is_worker: fn(&str) -> bool,
    /// Which of the others do not belong to a server that is supervised.
    pub is_supervisor: fn(&str) -> bool,
}

impl Default for Roles {
    fn default() -> Self {
        Self {
            is_worker: |_| true,
            is_supervisor: |_| true,
        }
    }
}

impl Roles {
    /// The processes that were started, and all that descend from them.
    pub fn of(&self, roots: &[Pid], census: &Census) -> ByRole {
        let mut members = ByRole::default();
        for root in roots {
            let all = std::iter::once(*root).chain(census.descendants(*root));
            for pid in all.filter(|pid| census.has(*pid)) {
                self.admit(&mut members, pid, census);
            }
        }
        members
    }

    fn admit(&self, members: &mut ByRole, pid: Pid, census: &Census) {
        let line = command_line(pid);
        let mut children = census.children(pid).into_iter();
        let has_workers = !children.all(|child| is_helper(&command_line(child)));
        if !has_workers && !is_helper(&line) && (self.is_worker)(&line) {
            members.workers.push(pid);
        } else if (self.is_supervisor)(&line) {
            members.supervisors.push(pid);
        }
        members.all.push(pid);
    }
}

/// A process that helps and serves nobody: Python's watcher over shared resources, and our rescuers.
fn is_helper(line: &str) -> bool {
    line.contains("resource_tracker") || is_ours(line)
}

/// One of our processes: the supervisor, a rescuer, or a worker that is about to become one.
pub fn is_ours(line: &str) -> bool {
    let program = line.split(' ').next().unwrap_or_default();
    Path::new(program).file_name().unwrap_or_default() == ours::NAME
}
