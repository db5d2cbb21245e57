//! What workers use is looked at where it is limited, and nowhere else.

use super::*;

const SECOND: u64 = 1_000;

fn limited(limits: Limits) -> Policy {
    Policy { limits, ..policy() }
}

fn rss_limit() -> Policy {
    limited(Limits {
        max_rss: Some(1_000),
        ..Limits::default()
    })
}

fn connection_limit() -> Policy {
    limited(Limits {
        max_connections: Some(100),
        ..Limits::default()
    })
}

fn cpu_limit() -> Policy {
    limited(Limits {
        max_cpu: Some(CpuLimit {
            percent: 50,
            window: Duration::from_secs(10),
        }),
        ..Limits::default()
    })
}

fn measured(worker: u64, usage: Usage) -> Event {
    Event::UsageMeasured {
        usage: vec![(WorkerId(worker), usage)],
    }
}

fn rss(worker: u64, bytes: u64) -> Event {
    let usage = Usage {
        rss: Some(bytes),
        ..Usage::default()
    };
    measured(worker, usage)
}

fn cpu(worker: u64, millis: u64) -> Event {
    let usage = Usage {
        cpu: Some(Duration::from_millis(millis)),
        ..Usage::default()
    };
    measured(worker, usage)
}

fn given(worker: u64, count: u32) -> Event {
    let usage = Usage {
        connections: Some(count),
        ..Usage::default()
    };
    measured(worker, usage)
}

fn why(stage: &Stage, worker: u64) -> Option<RecycleReason> {
    let view = stage.fleet.view(stage.now);
    let mut lines = view.iter().filter(|line| line.worker == WorkerId(worker));
    lines.next().and_then(|line| line.recycling)
}

#[test]
fn where_nothing_is_limited_nobody_is_looked_at() {
    let mut stage = Stage::serving(policy());
    assert!(stage.after(60 * SECOND).is_empty());
    assert_eq!(stage.fleet.next_deadline(), None);
}

#[test]
fn workers_are_looked_at_when_they_begin_to_serve_and_each_second() {
    let mut stage = Stage::new(connection_limit());
    assert_eq!(stage.on(listened(0)), ["steer 0", "usage 0"]);
    let done = stage.on(listened(1));
    assert!(done.contains(&"usage 1".to_owned()), "{done:?}");
    assert!(stage.after(SECOND - 1).is_empty());
    assert_eq!(stage.after(1), ["usage 0 1"]);
    assert!(stage.after(SECOND - 1).is_empty());
    // Not while all ends.
    let done = stage.on(stop(false));
    assert!(!done.iter().any(|it| it.starts_with("usage")), "{done:?}");
    assert!(stage.after(1).iter().all(|it| !it.starts_with("usage")));
}

#[test]
fn of_many_some_are_looked_at_at_a_time() {
    let mut stage = Stage::new(Policy {
        workers: 250,
        most_workers: 250,
        ..connection_limit()
    });
    (0..250).for_each(|id| drop(stage.on(listened(id))));
    stage.after(SECOND);
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..3 {
        let looks = stage.after(SECOND);
        let ids = looks[0].strip_prefix("usage ").unwrap().split(' ');
        let ids: Vec<u64> = ids.map(|id| id.parse().unwrap()).collect();
        assert_eq!(ids.len(), 100);
        seen.extend(ids);
    }
    assert_eq!(seen.len(), 250, "each has its turn");
}

#[test]
fn a_worker_with_too_much_memory_is_replaced() {
    let mut stage = Stage::serving(rss_limit());
    assert!(stage.on(rss(1, 999)).is_empty());
    // The tenth that is added is another one for each.
    let mut bytes = 1_000;
    while stage.on(rss(1, bytes)).is_empty() {
        bytes += 1;
    }
    assert!((1_001..=1_100).contains(&bytes), "{bytes}");
    let limit = bytes;
    let expected = RecycleReason::MaxRss { rss: bytes, limit };
    assert_eq!(why(&stage, 1), Some(expected));
    assert_eq!(stage.phases(), ["0 serving", "1 serving", "2 starting"]);
    // Asked for again, it changes nothing.
    assert!(stage.on(rss(1, 5_000)).is_empty());
}

#[test]
fn a_worker_is_measured_before_it_takes_over() {
    let mut stage = Stage::serving(rss_limit());
    stage.on(RELOAD);
    stage.on(listened(2));
    let done = stage.on_unanswered(listened(3));
    assert_eq!(done, ["usage 2 3", "look at 2 3"]);
    assert_eq!(stage.on(rss(2, 999)), Vec::<String>::new());
    let done = stage.on(rss(3, 1_000));
    assert_eq!(done, ["signal 2", "signal 3", "reload failed"]);
    assert_eq!(stage.phases()[..2], ["0 serving", "2 draining"]);
    // What was seen of them comes too late.
    let seen = [2, 3].map(|id| (WorkerId(id), Seen::Serves)).to_vec();
    assert!(stage.on(Event::ReadySeen { seen }).is_empty());
}

#[test]
fn a_first_generation_that_is_too_large_does_not_start() {
    let mut stage = Stage::new(rss_limit());
    stage.on(listened(0));
    let done = stage.on(rss(0, 1_000));
    assert!(done.contains(&"start failed".to_owned()), "{done:?}");
    stage.on(Event::Fenced);
    stage.on(backlog(0, 0));
    stage.on(quiet(0, true));
    stage.on(exited(0));
    let done = stage.on(exited(1));
    assert!(done.contains(&"finish: StartFailed".to_owned()), "{done:?}");
}

#[test]
fn one_that_grows_on_trial_is_recycled_after_it() {
    let mut stage = Stage::serving(rss_limit());
    stage.on(canary(1, 50, None));
    stage.on(listened(2));
    assert_eq!(stage.fleet.phase_name(), "canary");
    assert!(stage.on(rss(2, 2_000)).is_empty());
    assert!(why(&stage, 2).is_some());
    assert_eq!(stage.fleet.phase_name(), "canary");
}

#[test]
fn connections_count_from_when_a_worker_begins_to_serve() {
    let mut stage = Stage::serving(connection_limit());
    // Its listener was another's before.
    stage.on(given(0, 5_000));
    assert!(stage.on(given(0, 5_099)).is_empty());
    assert_eq!(stage.on(given(0, 5_110)), ["spawn 2"]);
    assert!(matches!(
        why(&stage, 0),
        Some(RecycleReason::MaxConnections {
            served: 110,
            limit: 100..=110
        })
    ));
}

#[test]
fn of_a_shared_queue_each_has_its_part() {
    let mut stage = Stage::new(Policy {
        queues: Some(1),
        ..connection_limit()
    });
    stage.on(listened(0));
    stage.on(listened_on(1, 0, 80));
    stage.on(given(0, 0));
    assert!(stage.on(given(0, 199)).is_empty());
    assert_eq!(stage.on(given(0, 220)), ["spawn 2", "spawn 3"]);
}

#[test]
fn a_busy_worker_is_replaced_when_the_window_is_over() {
    let mut stage = Stage::serving(cpu_limit());
    for second in 0..10 {
        assert!(stage.on(cpu(0, 900 * second)).is_empty(), "{second}");
        assert!(stage.on(cpu(1, 490 * second)).is_empty(), "{second}");
        stage.after(SECOND);
    }
    assert!(stage.on(cpu(1, 4_900)).is_empty());
    assert_eq!(stage.on(cpu(0, 9_000)), ["spawn 2"]);
    assert!(matches!(
        why(&stage, 0),
        Some(RecycleReason::MaxCpu {
            percent: 90,
            limit: 50..=55,
            ..
        })
    ));
    // A new worker has a window of its own.
    stage.on(listened(2));
    assert!(stage.on(cpu(2, 3_000)).is_empty());
    assert_eq!(why(&stage, 2), None);
}

#[test]
fn what_cannot_be_seen_is_no_reason() {
    let mut stage = Stage::serving(limited(Limits {
        max_rss: Some(1),
        max_connections: Some(1),
        ..cpu_limit().limits
    }));
    for _ in 0..20 {
        assert_eq!(stage.after(SECOND), ["usage 0 1"]);
        assert!(stage.on(measured(0, Usage::default())).is_empty());
    }
}

#[test]
fn nobody_is_looked_at_who_serves_on_before_the_end() {
    let mut stage = Stage::serving(Policy {
        pre_stop: Duration::from_secs(10),
        ..connection_limit()
    });
    assert_eq!(stage.after(SECOND), ["usage 0 1"]);
    stage.on(stop(false));
    assert_eq!(stage.phases(), ["0 serving", "1 serving"]);
    assert!(stage.after(SECOND).is_empty());
    assert_eq!(
        stage.fleet.next_deadline(),
        Some(stage.now.plus(Duration::from_secs(9)))
    );
}
