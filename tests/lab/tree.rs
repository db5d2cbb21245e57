//! What a process tree used, the dead included.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::TEST_TIMEOUT;
use crate::usage::Usage;

/// A shell with a child that burns time; it tells the child's pid, waits for its end, says so, and
/// stays until it is spoken to.
const SCRIPT: &str = "(while :; do :; done) & echo $!; wait; echo gone; read word";

struct Family {
    parent: Child,
    words: BufReader<std::process::ChildStdout>,
    child: Pid,
}

impl Family {
    fn start() -> Self {
        let mut command = Command::new("sh");
        let command = command
            .args(["-c", SCRIPT])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut parent = command.spawn().unwrap();
        let mut words = BufReader::new(parent.stdout.take().unwrap());
        let child = Pid::from_raw(word(&mut words).parse().unwrap());
        Self {
            parent,
            words,
            child,
        }
    }

    fn usage(&self) -> Usage {
        Usage::of_tree(self.parent.id()).unwrap()
    }
}

impl Drop for Family {
    fn drop(&mut self) {
        let _ = kill(self.child, Signal::SIGKILL);
        let _ = self.parent.kill();
        let _ = self.parent.wait();
    }
}

fn word(words: &mut impl BufRead) -> String {
    let mut word = String::new();
    words.read_line(&mut word).unwrap();
    word.trim().to_owned()
}

#[test]
fn the_dead_children_s_time_stays_in_the_tree() {
    let mut family = Family::start();
    let deadline = Instant::now() + TEST_TIMEOUT;
    while family.usage().cpu() < Duration::from_millis(150) {
        assert!(
            Instant::now() < deadline,
            "the child uses no time: {:?}",
            family.usage()
        );
    }
    let alive = family.usage();
    assert_eq!(alive.processes, 2);
    assert!(alive.rss > 0 && alive.voluntary_switches + alive.involuntary_switches > 0);
    kill(family.child, Signal::SIGKILL).unwrap();
    assert_eq!(word(&mut family.words), "gone");
    let bereft = family.usage();
    assert_eq!(bereft.processes, 1);
    // The dead child's two times are told in ticks, rounded down.
    assert!(
        bereft.cpu() + Duration::from_millis(20) >= alive.cpu(),
        "{bereft:?} after {alive:?}"
    );
    assert!(bereft.rss < alive.rss);
    let _ = writeln!(family.parent.stdin.as_ref().unwrap(), "bye");
}

#[test]
fn time_is_told_finer_than_by_ticks() {
    let family = Family::start();
    let deadline = Instant::now() + TEST_TIMEOUT;
    let before = family.usage();
    let used = loop {
        let used = (family.usage() - before).cpu();
        if !used.is_zero() {
            break used;
        }
        assert!(Instant::now() < deadline, "the child uses no time");
    };
    assert_ne!(used.as_nanos() % 10_000_000, 0, "{used:?}");
}

#[test]
fn who_is_not_there_used_nothing() {
    let error = Usage::of_tree(u32::MAX).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::NotFound);
}
