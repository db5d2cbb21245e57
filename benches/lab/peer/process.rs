//! Processes, as `/proc` shows them (proc(5)): who descends from whom, and who is still there.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::process::Child;

use nix::unistd::Pid;

/// All processes of this moment: the children of each. What ends meanwhile is missing.
#[derive(Debug, Default)]
pub struct Census {
    living: BTreeSet<i32>,
    children: BTreeMap<i32, Vec<i32>>,
}

impl Census {
    /// Of now. Zombies are not in it: they serve nobody.
    pub fn take() -> Self {
        let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
        let names = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        let mut census = Self::default();
        for (pid, parent) in names.filter_map(|pid| Some((pid, parent(pid)?))) {
            census.living.insert(pid);
            census.children.entry(parent).or_default().push(pid);
        }
        census
    }

    /// Its children.
    pub fn children(&self, pid: Pid) -> Vec<Pid> {
        let children = self.children.get(&pid.as_raw()).into_iter().flatten();
        children.copied().map(Pid::from_raw).collect()
    }

    /// Whoever descends from `root`, without it.
    pub fn descendants(&self, root: Pid) -> Vec<Pid> {
        let mut found = vec![root.as_raw()];
        let mut at = 0;
        while let Some(parent) = found.get(at).copied() {
            found.extend(self.children.get(&parent).into_iter().flatten());
            at += 1;
        }
        found.into_iter().skip(1).map(Pid::from_raw).collect()
    }

    /// Whether it is still there.
    pub fn has(&self, pid: Pid) -> bool {
        self.living.contains(&pid.as_raw())
    }
}

fn parent(pid: i32) -> Option<i32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name may contain anything, also brackets: the fields begin after the last.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    let state = fields.next()?;
    let parent = fields.next()?.parse().ok()?;
    (state != "Z" && state != "X").then_some(parent)
}

/// Its command line, the words separated by spaces.
pub fn command_line(pid: Pid) -> String {
    let bytes = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&bytes).replace('\0', " ")
}

/// The pid of a child. It is positive and below 2^22 (proc(5), pid_max).
pub fn pid_of(child: &Child) -> Pid {
    Pid::from_raw(i32::try_from(child.id()).unwrap_or(i32::MAX))
}
