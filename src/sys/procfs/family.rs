//! Who belongs together: the threads of a process, its descendants, its process group.

use std::collections::VecDeque;
use std::fs;
use std::io;
use std::path::Path;

use nix::unistd::{Pid, getpgid};

use super::{entries, field, unexpected};

/// The process that the thread `tid` belongs to.
///
/// # Errors
/// `NotFound`: there is no such thread.
pub fn tgid(tid: i32) -> io::Result<i32> {
    let path = format!("/proc/{tid}/status");
    let status = fs::read(&path)?;
    field(&status, "Tgid:")
        .and_then(|value| value.parse().ok())
        .ok_or_else(|| unexpected(&path, "a line with the thread's Tgid"))
}

/// Process `pid` and all its descendants, parents before their children. A process whose parent has
/// ended is not among them; one that is started or ends meanwhile may or may not be.
pub fn descendants(pid: i32) -> Vec<i32> {
    if children_are_listed() {
        closure(pid, listed_children)
    } else {
        let parents = parents();
        closure(pid, |of| children_by(&parents, of))
    }
}

/// The children of process `pid`, those that have ended and are not reaped among them.
pub fn children(pid: i32) -> Vec<i32> {
    if children_are_listed() {
        listed_children(pid)
    } else {
        children_by(&parents(), pid)
    }
}

/// Only where the kernel has CONFIG_PROC_CHILDREN (since Linux 4.2; most have it).
fn children_are_listed() -> bool {
    Path::new("/proc/thread-self/children").exists()
}

/// Everything that is reached from `root` by going to the children, and each once.
fn closure(root: i32, children: impl Fn(i32) -> Vec<i32>) -> Vec<i32> {
    let mut found = vec![root];
    let mut ahead = VecDeque::from([root]);
    while let Some(pid) = ahead.pop_front() {
        for child in children(pid) {
            // Pids are reused while we read: without this, a circle could be seen.
            if !found.contains(&child) {
                found.push(child);
                ahead.push_back(child);
            }
        }
    }
    found
}

/// The children of all threads of a process; a child belongs to the thread that started it.
fn listed_children(pid: i32) -> Vec<i32> {
    let threads: Vec<i32> = entries(&format!("/proc/{pid}/task")).collect();
    let mut found = children_of_threads(pid, &threads);
    if threads.len() > 1 {
        // A thread that ends gives its children to one that goes on, whose list we may have read by
        // then; the second look finds them there.
        found.extend(children_of_threads(pid, &threads));
    }
    found
}

fn children_of_threads(pid: i32, threads: &[i32]) -> Vec<i32> {
    let list = |tid| fs::read_to_string(format!("/proc/{pid}/task/{tid}/children")).ok();
    let lists = threads.iter().filter_map(list);
    lists.flat_map(|list| numbers(&list)).collect()
}

fn numbers(list: &str) -> Vec<i32> {
    list.split_ascii_whitespace()
        .filter_map(|pid| pid.parse().ok())
        .collect()
}

/// Every process and its parent.
fn parents() -> Vec<(i32, i32)> {
    entries("/proc")
        .filter_map(|pid| Some((pid, parent(pid)?)))
        .collect()
}

fn children_by(parents: &[(i32, i32)], of: i32) -> Vec<i32> {
    let children = parents.iter().filter(|(_, parent)| *parent == of);
    children.map(|(pid, _)| *pid).collect()
}

fn parent(pid: i32) -> Option<i32> {
    let stat = fs::read(format!("/proc/{pid}/stat")).ok()?;
    // The second field is the command's name in parentheses, with anything in it, even parentheses.
    let end = stat.iter().rposition(|byte| *byte == b')')?;
    let rest = str::from_utf8(stat.get(end + 1..)?).ok()?;
    rest.split_ascii_whitespace().nth(1)?.parse().ok()
}

/// All processes of the process group `group`.
pub fn members_of_group(group: i32) -> Vec<i32> {
    entries("/proc")
        .filter(|pid| process_group(*pid) == Some(group))
        .collect()
}

/// The process group of a process; none if there is no such process.
pub fn process_group(pid: i32) -> Option<i32> {
    let group = getpgid(Some(Pid::from_raw(pid)));
    group.ok().map(Pid::as_raw)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::sys::procfs::own_pid;
    use std::io::{BufRead as _, BufReader};
    use std::process::{Child, Command, Stdio};

    #[test]
    fn a_thread_belongs_to_its_process() {
        let tid = nix::unistd::gettid().as_raw();
        assert_ne!(tid, own_pid());
        assert_eq!(tgid(tid).unwrap(), own_pid());
        assert_eq!(tgid(i32::MAX).unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    /// A process with a child, both waiting until their input ends.
    fn family() -> (Child, i32) {
        // What a shell starts in the background reads from /dev/null, unless told otherwise.
        let script = "exec 3<&0; cat <&3 & echo $!; wait";
        let mut shell = Command::new("sh");
        shell
            .args(["-c", script])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut shell = shell.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(shell.stdout.as_mut().unwrap())
            .read_line(&mut line)
            .unwrap();
        (shell, line.trim().parse().unwrap())
    }

    #[test]
    fn descendants_are_found_in_both_ways() {
        let (mut shell, grandchild) = family();
        let child = i32::try_from(shell.id()).unwrap();
        let found = descendants(own_pid());
        assert_eq!(found[0], own_pid());
        assert!(found.contains(&child) && found.contains(&grandchild));
        assert_eq!(descendants(child), [child, grandchild]);
        assert_eq!(parent(grandchild), Some(child));
        assert!(parents().contains(&(grandchild, child)));
        drop(shell.stdin.take());
        assert!(shell.wait().unwrap().success());
    }

    #[test]
    fn a_circle_of_reused_pids_ends() {
        assert_eq!(closure(1, |pid| vec![pid % 3 + 1]), [1, 2, 3]);
    }
}
