//! What happens in one world: the policy, how each worker behaves, and what is asked for when.

use core::fmt;
use core::time::Duration;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::health::Sickness;
use crate::fleet::{Bounds, CheckBy, CpuLimit, HealthChecks, Limits, Policy, ReadyWhen, Share};

/// A whole world, before it is run. Times are milliseconds.
#[derive(Clone)]
pub(super) struct Plan {
    pub(super) policy: Policy,
    /// Workers get their listeners passed (`--listen`); else they bind by themselves.
    pub(super) passed: bool,
    /// Every worker serves a second endpoint.
    pub(super) two_endpoints: bool,
    /// Every worker serves a port of its slot's own, too.
    pub(super) slot_ports: bool,
    pub(super) fence_refused: bool,
    pub(super) fence_takes: Duration,
    /// The nth worker that is started does as the nth script says, over and over.
    pub(super) scripts: Vec<Script>,
    /// What comes from outside, and how long after the one before.
    pub(super) wishes: Vec<(u64, Wish)>,
    /// What the nth reload reads, and how long that takes; over and over.
    pub(super) reads: Vec<(u64, Read)>,
    /// How long rescuers take to end; none: for ever.
    pub(super) rescuers_end_after: Option<u64>,
    /// A connection comes every so often; none: no connections.
    pub(super) traffic: Option<u64>,
}

/// One line each, where the derived form has a hundred.
impl fmt::Debug for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            policy,
            passed,
            two_endpoints,
            slot_ports,
            fence_refused,
            fence_takes,
            scripts,
            wishes,
            reads,
            rescuers_end_after,
            traffic,
        } = self;
        writeln!(f, "{policy:?}")?;
        writeln!(
            f,
            "passed {passed}, two endpoints {two_endpoints}, slot ports {slot_ports}, fence refused {fence_refused}, \
             fence takes {fence_takes:?}, \
             rescuers end after {rescuers_end_after:?}, traffic {traffic:?}"
        )?;
        for script in scripts {
            writeln!(f, "worker: {script:?}")?;
        }
        writeln!(f, "wishes: {wishes:?}")?;
        writeln!(f, "reads: {reads:?}")
    }
}

/// What is read for a reload.
#[derive(Clone, Debug)]
pub(super) enum Read {
    /// What is in effect.
    Same,
    /// Something that makes no sense.
    Nonsense,
    /// Other numbers.
    Other(Numbers),
}

/// Numbers that may change with a reload.
#[derive(Clone, Copy, Debug)]
pub(super) struct Numbers {
    workers: u32,
    ready: ReadyWhen,
    strategy: crate::fleet::Strategy,
    soak: Duration,
    soak_restarts: u32,
    min_uptime: Duration,
}

impl Numbers {
    /// A policy with these in the place of its own.
    pub(super) fn of(self, before: &Policy) -> Policy {
        Policy {
            workers: self.workers,
            ready: self.ready,
            strategy: self.strategy,
            soak: self.soak,
            soak_restarts: self.soak_restarts,
            min_uptime: self.min_uptime,
            ..before.clone()
        }
    }
}

/// How one worker behaves.
#[derive(Clone, Debug)]
pub(super) struct Script {
    pub(super) start: Start,
    /// When it binds, after its start.
    pub(super) binds_after: u64,
    /// When it listens, after that.
    pub(super) listens_after: u64,
    /// When it says that it is ready, or answers probes, after its start; none: never.
    pub(super) ready_after: Option<u64>,
    /// When it closes what it listens on, after its start, and how long after that it listens again, if ever; not when it
    /// serves already.
    pub(super) lets_go: Option<(u64, Option<u64>)>,
    /// When it opens one more endpoint, after its start.
    pub(super) extra_after: Option<u64>,
    pub(super) crashes_after: Option<u64>,
    /// How it is not well, from when after its start, and for how long; none: for ever.
    pub(super) sickness: Option<(Sickness, u64, Option<u64>)>,
    /// How long it runs on after it was told to stop; none: for ever.
    pub(super) stops_after: Option<u64>,
    /// Whether it heeds a message that tells it to stop.
    pub(super) heeds_message: bool,
    /// How long it runs on when killed.
    pub(super) dies_after: u64,
    /// How long a connection waits to be accepted; none: for ever.
    pub(super) accepts_after: Option<u64>,
    /// How long a connection stays; none: for ever.
    pub(super) connection_lasts: Option<u64>,
    /// How long its adopted connections have requests in flight; none: for ever.
    pub(super) quiets_after: Option<u64>,
    /// How long its rescuer takes to get it ready for the stop signal; none: for ever.
    pub(super) prepared_after: Option<u64>,
    /// How much memory it has at first, and how much more each 10 ms.
    pub(super) memory: (u64, u64),
    /// When its rescuer dies after it has adopted its connections; none: not before the end.
    pub(super) rescuer_dies_after: Option<u64>,
}

/// How one worker starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Start {
    Well,
    /// It listens a second time on what it listens on.
    Twice,
    SpawnFails,
    ExecFails,
    ExitsEarly,
    NeverListens,
    WrongEndpoint,
    /// On the first of two.
    OnlyOne,
}

/// What comes from outside.
#[derive(Clone, Copy, Debug)]
pub(super) enum Wish {
    Reload {
        signal: bool,
        waits: bool,
        accepts_changes: bool,
        canary: Option<(u32, u32, Option<u64>)>,
    },
    Pause,
    ScaleTo(u32),
    ScaleBy {
        by: i64,
        signal: bool,
    },
    /// The nth of what `status` shows.
    Restart(usize),
    RestartUnknown,
    Promote,
    Rollback,
    Stop {
        signal: bool,
    },
    StopNow,
    Interrupt,
    /// The nth process that is there dies.
    Crash(usize),
    CrashAll,
    /// A wake-up for nothing.
    Nothing,
}

impl Script {
    /// A worker that does everything right.
    pub(super) const GOOD: Self = Self {
        start: Start::Well,
        binds_after: 3,
        listens_after: 0,
        ready_after: Some(5),
        lets_go: None,
        extra_after: None,
        crashes_after: None,
        sickness: None,
        stops_after: Some(10),
        heeds_message: true,
        dies_after: 1,
        accepts_after: Some(2),
        connection_lasts: Some(20),
        quiets_after: Some(0),
        prepared_after: Some(0),
        memory: (0, 0),
        rescuer_dies_after: None,
    };
}

fn policy() -> impl Strategy<Value = Policy> {
    let ready = prop_oneof![
        3 => Just(ReadyWhen::Listening),
        1 => Just(ReadyWhen::Notified),
        1 => Just(ReadyWhen::Probed),
    ];
    let span =
        |options: &'static [u64]| prop::sample::select(options).prop_map(Duration::from_millis);
    let spans = (
        span(&[150, 400]),
        span(&[200, 400, 0]),
        span(&[150, 300, 0]),
        span(&[200, 400, 0]),
        span(&[0, 0, 120]),
        option::weighted(0.3, span(&[0, 20, 100])),
    );
    let flags = (prop::bool::weighted(0.75), any::<bool>());
    let loops = (0..5_u32, prop::bool::weighted(0.2));
    let sizes = (1..5_u32, option::of(1..4_u32));
    let uptime = (span(&[0, 0, 0, 40]), span(&[0, 0, 60, 250]), 0..3_u32);

    (
        (sizes, (uptime, limits()), (health(), strategy())),
        ready,
        flags,
        spans,
        loops,
    )
        .prop_map(
            |(
                (
                    (workers, queues),
                    ((min_uptime, soak, soak_restarts), limits),
                    (health, strategy),
                ),
                ready,
                (steering, rescue),
                spans,
                (max_restarts, crash_loop_ends_all),
            )| Policy {
                workers,
                most_workers: 5,
                queues,
                ready,
                steering,
                rescue: rescue && steering,
                min_uptime,
                strategy: if steering {
                    strategy
                } else {
                    crate::fleet::Strategy::AllAtOnce
                },
                soak: if steering && strategy == crate::fleet::Strategy::AllAtOnce {
                    soak
                } else {
                    Duration::ZERO
                },
                soak_restarts,
                limits,
                look_interval: Duration::from_millis(20),
                // Without steering nobody can be asked by itself.
                health: health.filter(|it| steering || it.by == CheckBy::Watchdog),
                start_timeout: spans.0,
                settle_timeout: spans.1,
                quiet_timeout: spans.2,
                drain_timeout: spans.3,
                stop_message: spans.5,
                prepare_timeout: Duration::from_millis(60),
                rescuers_end_timeout: Duration::from_millis(30),
                pre_stop: spans.4,
                max_restarts,
                restart_window: Duration::from_secs(2),
                crash_loop_ends_all,
            },
        )
}

/// Of connections, 20; what a worker has of memory is in its script.
fn limits() -> impl Strategy<Value = Limits> {
    let max_age = prop::sample::select(&[10, 50, 150, 600][..]).prop_map(Duration::from_millis);
    let window = prop::sample::select(&[40, 100][..]).prop_map(Duration::from_millis);
    let limits = (
        option::weighted(0.2, Just(1000_u64)),
        option::weighted(0.2, (50..150_u64, window)),
        option::weighted(0.25, max_age),
        option::weighted(0.2, Just(20_u64)),
    );
    limits.prop_map(|(max_rss, max_cpu, max_age, max_connections)| Limits {
        max_rss,
        max_cpu: max_cpu.map(|(percent, window)| CpuLimit { percent, window }),
        max_age,
        max_connections,
    })
}

/// Such that there is progress: some may be more, or less.
fn strategy() -> impl Strategy<Value = crate::fleet::Strategy> {
    let share = |least: u32| {
        prop_oneof![
            (least..3_u32).prop_map(Share::Count),
            (20 * least..60_u32).prop_map(Share::Percent),
        ]
    };
    let rolling = |least_surge, least_missing| {
        let bounds = (share(least_surge), share(least_missing));
        bounds.prop_map(|(surge, unavailable)| {
            crate::fleet::Strategy::Rolling(Bounds { surge, unavailable })
        })
    };
    prop_oneof![
        3 => Just(crate::fleet::Strategy::AllAtOnce),
        1 => rolling(1, 0),
        1 => rolling(0, 1),
    ]
}

fn start() -> impl Strategy<Value = Start> {
    prop_oneof![
        12 => Just(Start::Well),
        2 => Just(Start::Twice),
        2 => Just(Start::SpawnFails),
        1 => Just(Start::ExecFails),
        1 => Just(Start::ExitsEarly),
        1 => Just(Start::NeverListens),
        1 => Just(Start::WrongEndpoint),
        1 => Just(Start::OnlyOne),
    ]
}

/// Mostly `Some`; seldom none, where that means trouble.
fn mostly(range: core::ops::Range<u64>) -> impl Strategy<Value = Option<u64>> {
    option::weighted(0.93, range)
}

fn seldom(range: core::ops::Range<u64>) -> impl Strategy<Value = Option<u64>> {
    option::weighted(0.12, range)
}

fn script() -> impl Strategy<Value = Script> {
    let binds = (0..40_u64, prop_oneof![2 => Just(0), 1 => 1..20_u64]);
    // Soon enough to meet a fence or a sibling's start, or when all is quiet.
    let crashes = option::weighted(0.2, prop_oneof![0..60_u64, 60..400_u64]);
    let lets_go = option::weighted(0.1, (3..60_u64, mostly(0..60)));
    let times = (
        binds,
        mostly(0..60),
        seldom(0..300),
        crashes,
        lets_go,
        sickness(),
    );
    let ends = (
        mostly(0..250),
        0..60_u64,
        mostly(0..60),
        mostly(0..200),
        mostly(0..200),
        mostly(0..100),
        seldom(0..150),
        prop_oneof![3 => Just((0, 0)), 1 => (0..1100_u64, 0..200_u64)],
    );
    (start(), times, ends).prop_map(|(start, times, ends)| Script {
        start,
        binds_after: times.0.0,
        listens_after: times.0.1,
        ready_after: times.1,
        extra_after: times.2,
        crashes_after: times.3,
        lets_go: times.4,
        sickness: times.5,
        stops_after: ends.0,
        heeds_message: ends.1 % 3 > 0,
        dies_after: ends.1,
        accepts_after: ends.2,
        connection_lasts: ends.3,
        quiets_after: ends.4,
        prepared_after: ends.5,
        rescuer_dies_after: ends.6,
        memory: ends.7,
    })
}

fn sickness() -> impl Strategy<Value = Option<(Sickness, u64, Option<u64>)>> {
    let kind = prop::sample::select(&[Sickness::Bad, Sickness::Mute, Sickness::Deaf]);
    option::weighted(0.4, (kind, 0..500_u64, option::weighted(0.7, 10..400_u64)))
}

fn health() -> impl Strategy<Value = Option<HealthChecks>> {
    let by = prop::sample::select(&[CheckBy::Accept, CheckBy::Http, CheckBy::Watchdog]);
    let millis = |range: core::ops::Range<u64>| range.prop_map(Duration::from_millis);
    let start_period = prop::sample::select(&[0, 0, 80]).prop_map(Duration::from_millis);
    let checks = (by, millis(15..60), millis(2..50), 1..4_u32, start_period);
    let checks = checks.prop_map(
        |(by, interval, timeout, failures, start_period)| HealthChecks {
            by,
            interval,
            timeout,
            failures,
            start_period,
        },
    );
    option::weighted(0.6, checks)
}

fn scripts() -> impl Strategy<Value = Vec<Script>> {
    // Else most worlds would end before they have begun.
    let first = prop_oneof![4 => Just(Script::GOOD), 1 => script()];
    let later = prop_oneof![1 => Just(Script::GOOD), 2 => script()];
    (vec(first, 3), vec(later, 1..12))
        .prop_map(|(first, later)| first.into_iter().chain(later).collect())
}

/// How many workers, what share, and for how long.
fn canary() -> impl Strategy<Value = Option<(u32, u32, Option<u64>)>> {
    option::weighted(0.3, (1..4_u32, 1..100_u32, mostly(0..300)))
}

fn wish() -> impl Strategy<Value = Wish> {
    prop_oneof![
        5 => (any::<bool>(), any::<bool>(), prop::bool::weighted(0.2), canary()).prop_map(
            |(signal, waits, accepts_changes, canary)| Wish::Reload {
                signal,
                waits,
                accepts_changes,
                canary,
            }
        ),
        1 => Just(Wish::Pause),
        1 => (0..7_u32).prop_map(Wish::ScaleTo),
        2 => ((-2..3_i64), any::<bool>()).prop_map(|(by, signal)| Wish::ScaleBy { by, signal }),
        2 => (0..6_usize).prop_map(Wish::Restart),
        1 => Just(Wish::RestartUnknown),
        1 => Just(Wish::Promote),
        1 => Just(Wish::Rollback),
        1 => any::<bool>().prop_map(|signal| Wish::Stop { signal }),
        1 => Just(Wish::StopNow),
        1 => Just(Wish::Interrupt),
        4 => (0..8_usize).prop_map(Wish::Crash),
        1 => Just(Wish::CrashAll),
        1 => Just(Wish::Nothing),
    ]
}

/// What can be read where this was read first.
fn reads(steering: bool) -> impl Strategy<Value = Vec<(u64, Read)>> {
    let numbers = policy().prop_map(move |read| {
        let unless_steered = !steering && read.steering;
        Numbers {
            workers: read.workers,
            ready: read.ready,
            strategy: match unless_steered {
                true => crate::fleet::Strategy::AllAtOnce,
                false => read.strategy,
            },
            soak: match unless_steered {
                true => Duration::ZERO,
                false => read.soak,
            },
            soak_restarts: read.soak_restarts,
            min_uptime: read.min_uptime,
        }
    });
    let read = prop_oneof![
        5 => Just(Read::Same),
        1 => Just(Read::Nonsense),
        4 => numbers.prop_map(Read::Other),
    ];
    let takes = prop_oneof![6 => Just(0), 2 => 1..80_u64, 1 => 80..600_u64];
    vec((takes, read), 1..4)
}

fn wishes() -> impl Strategy<Value = Vec<(u64, Wish)>> {
    // Most come so soon that they meet what the one before began.
    let pause = prop_oneof![2 => Just(0), 5 => 1..60_u64, 3 => 60..500_u64];
    vec((pause, wish()), 0..14)
}

pub(super) fn plans() -> impl Strategy<Value = Plan> {
    let flags = (
        prop::bool::weighted(0.3),
        prop::bool::weighted(0.3),
        prop::bool::weighted(0.2),
        prop::bool::weighted(0.3),
    );
    let traffic = (option::weighted(0.8, 1..15_u64), mostly(0..50));
    // A machine that has too much to do takes longer than the time-outs.
    let fence_takes = prop_oneof![4 => Just(0), 4 => 1..40_u64, 2 => 40..300_u64];
    let fence_takes = fence_takes.prop_map(Duration::from_millis);
    let policy = policy().prop_flat_map(|policy| {
        let reads = reads(policy.steering);
        (Just(policy), reads)
    });
    (policy, flags, fence_takes, scripts(), wishes(), traffic).prop_map(
        |((policy, reads), flags, fence_takes, scripts, wishes, traffic)| Plan {
            policy,
            reads,
            passed: flags.0,
            two_endpoints: flags.1,
            slot_ports: flags.2,
            fence_refused: flags.3,
            fence_takes,
            scripts,
            wishes,
            rescuers_end_after: traffic.1,
            traffic: traffic.0,
        },
    )
}
