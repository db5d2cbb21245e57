//! What the process is given: CPUs, limits, priorities, its user.
//!
//! The order: what may need root comes first, and the user last, with whom root's rights go. The nice value comes
//! after the limits, one of which (`nice`) may permit it. What no option names stays as the supervisor has it, but for
//! the limit on open files, which the supervisor has raised for itself.

use nix::sys::stat::{Mode, umask};

use super::identity;
use crate::config::{LimitValue, ProcessAttributes};
use crate::sys::limit::{Limit, shown};
use crate::sys::{affinity, oom_score, priority, process};

/// Gives all this to this process, which is the worker of a slot. `file_limit` is the soft limit on open files where
/// none is asked for.
///
/// # Errors
/// A sentence.
pub(super) fn apply(
    attributes: &ProcessAttributes,
    slot: u32,
    file_limit: u64,
) -> Result<(), String> {
    if let Some(adjustment) = attributes.oom_score_adj {
        oom_score::adjust(adjustment).map_err(|error| {
            format!(
                "cannot write {adjustment} to /proc/self/oom_score_adj: {error}; to lower it takes CAP_SYS_RESOURCE"
            )
        })?;
    }
    if attributes.is_pinned {
        pin(slot)?;
    }
    if let Some(mask) = attributes.umask {
        umask(Mode::from_bits_truncate(mask));
    }
    if attributes.limit(Limit::Nofile).is_none() {
        process::set_file_limit(file_limit)
            .map_err(|error| format!("cannot set the limit on open files: {error}"))?;
    }
    for value in &attributes.limits {
        set(value)?;
    }
    if let Some(nice) = attributes.nice {
        priority::set_nice(nice).map_err(|error| {
            format!(
                "cannot set the nice value {nice} by setpriority(2): {error}; a lower one than the supervisor's takes \
                 CAP_SYS_NICE"
            )
        })?;
    }
    attributes
        .identity
        .as_ref()
        .map_or(Ok(()), identity::take_on)
}

fn set(value: &LimitValue) -> Result<(), String> {
    value.limit.set(value.soft, value.hard).map_err(|error| {
        format!(
            "cannot set the limit {} to {}:{} by setrlimit(2): {error}; to raise a hard limit takes CAP_SYS_RESOURCE",
            value.limit.name(),
            shown(value.soft),
            shown(value.hard)
        )
    })
}

/// One CPU for each slot, in turn: a slot has the same one in every generation. The CPUs are those that the supervisor
/// may run on now, which we inherit.
fn pin(slot: u32) -> Result<(), String> {
    let cpus = affinity::allowed().map_err(|error| {
        format!("cannot see which CPUs there are by sched_getaffinity(2): {error}; leave --pin out")
    })?;
    let Some(cpu) = cpu_of(slot, &cpus) else {
        return Ok(());
    };
    affinity::pin(cpu).map_err(|error| {
        format!("cannot pin to CPU {cpu} by sched_setaffinity(2): {error}; leave --pin out")
    })
}

fn cpu_of(slot: u32, cpus: &[usize]) -> Option<usize> {
    let index = (slot as usize).checked_rem(cpus.len())?;
    cpus.get(index).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_have_the_cpus_in_turn() {
        let of = |slot| cpu_of(slot, &[1, 4, 6]);
        assert_eq!([0, 1, 2, 3, 4095].map(of), [1, 4, 6, 1, 1].map(Some));
        assert_eq!(cpu_of(3, &[]), None);
    }
}
