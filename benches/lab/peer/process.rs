//! Processes, as `/proc` shows them (proc(5)): who descends from whom, and who is still there.

use std::collections::BTreeMap;
use std::fs;

use nix::unistd::Pid;

/// All processes of this moment: the parent of each. What ends meanwhile is missing.
#[derive(Debug)]
pub struct Census {
    parents: BTreeMap<i32, i32>,
}

impl Census {
    /// Of now. Zombies are not in it: they serve nobody.
    pub fn take() -> Self {
        let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
        let names = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        let parents = names.filter_map(|pid| Some((pid, parent(pid)?)));
        Self {
            parents: parents.collect(),
        }
    }

    /// Whoever descends from `root`, without it.
    pub fn descendants(&self, root: Pid) -> Vec<Pid> {
        let mut found = vec![root.as_raw()];
        let mut at = 0;
        while let Some(parent) = found.get(at).copied() {
            let children = self.parents.iter().filter(|(_, its)| **its == parent);
            found.extend(children.map(|(child, _)| *child));
            at += 1;
        }
        found.into_iter().skip(1).map(Pid::from_raw).collect()
    }

    /// Whether it is still there.
    pub fn has(&self, pid: Pid) -> bool {
        self.parents.contains_key(&pid.as_raw())
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
