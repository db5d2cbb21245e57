//! What a process uses: memory and processor time.

use core::time::Duration;
use std::fs;
use std::sync::OnceLock;

use nix::unistd::{SysconfVar, sysconf};

/// What a process uses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProcessUsage {
    /// The memory that it has in RAM, in bytes; what it shares with others is counted whole.
    pub rss: u64,
    /// The processor time that it has used, and the children that it has waited for.
    pub cpu: Duration,
}

/// What a process uses (/proc/PID/stat, proc_pid_stat(5)); none if there is no such process, or it has ended.
pub fn process_usage(pid: i32) -> Option<ProcessUsage> {
    parse(&fs::read(format!("/proc/{pid}/stat")).ok()?)
}

/// Fields count from 1; the third, the state, is the first after the command's name, which may have anything in it.
fn parse(stat: &[u8]) -> Option<ProcessUsage> {
    let end = stat.iter().rposition(|byte| *byte == b')')?;
    let rest = str::from_utf8(stat.get(end + 1..)?).ok()?;
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    let field = |number: usize| -> Option<u64> { fields.get(number - 3)?.parse().ok() };
    let ticks: u64 = [14, 15, 16, 17].into_iter().filter_map(field).sum();
    let is_over = matches!(*fields.first()?, "Z" | "X");
    (!is_over).then_some(ProcessUsage {
        rss: field(24)?.saturating_mul(page_len()),
        cpu: Duration::from_millis(ticks.saturating_mul(1000) / ticks_per_second()),
    })
}

fn page_len() -> u64 {
    static LEN: OnceLock<u64> = OnceLock::new();
    *LEN.get_or_init(|| configured(SysconfVar::PAGE_SIZE, 4096))
}

fn ticks_per_second() -> u64 {
    static TICKS: OnceLock<u64> = OnceLock::new();
    *TICKS.get_or_init(|| configured(SysconfVar::CLK_TCK, 100))
}

fn configured(which: SysconfVar, otherwise: u64) -> u64 {
    let value = sysconf(which).ok().flatten();
    let value = value.and_then(|value| u64::try_from(value).ok());
    value.filter(|value| *value > 0).unwrap_or(otherwise)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::sys::procfs::own_pid;

    const STAT: &str = "7 (a) b) S 1 7 7 0 -1 4194560 0 0 0 0 11 22 33 44 20 0 1 0 5 9000000 250 18446744073709551615";

    #[test]
    fn fields_are_found_behind_any_name() {
        let usage = parse(STAT.as_bytes()).unwrap();
        assert_eq!(usage.rss, 250 * page_len());
        let ticks = Duration::from_millis(110 * 1000 / ticks_per_second());
        assert_eq!(usage.cpu, ticks);
        assert_eq!(parse(STAT.replace(" S ", " Z ").as_bytes()), None);
        assert_eq!(parse(b"7 (a"), None);
        assert_eq!(parse(b""), None);
    }

    #[test]
    fn this_process_uses_something() {
        let before = process_usage(own_pid()).unwrap();
        let memory = vec![1_u8; 64 << 20];
        let after = process_usage(own_pid()).unwrap();
        assert!(after.rss > before.rss + (32 << 20), "{before:?} {after:?}");
        assert!(after.cpu >= before.cpu);
        drop(memory);
        assert_eq!(process_usage(i32::MAX), None);
    }
}
