//! A status as people read it.
//!
//! Pure: the same status gives the same text. What is not known is `-`; no line ends in blanks.

use super::grid::{Column, grid};
use super::short_list;
use super::units::{percent, size, span};
use crate::wire::control::{
    ChangeStatus, EndpointStatus, ListenerStatus, QueueStatus, RecyclingStatus, RescueStatus,
    Status, WorkerStatus,
};

const WORKER_COLUMNS: &[Column] = &[
    Column::right("SLOT"),
    Column::right("WORKER"),
    Column::right("GEN"),
    Column::right("PID"),
    Column::left("PHASE"),
    Column::right("UPTIME"),
    Column::right("RESTARTS"),
    Column::right("QUEUE"),
    Column::right("WAITING"),
    Column::right("OPEN"),
    Column::right("WEIGHT"),
    Column::right("SHARE"),
    Column::left("LISTENS"),
];

const USAGE_COLUMNS: &[Column] = &[
    Column::right("WORKER"),
    Column::right("AGE"),
    Column::right("RSS"),
    Column::right("CPU"),
    Column::right("SERVED"),
    Column::left("RECYCLED, FOR IT"),
];

const QUEUE_COLUMNS: &[Column] = &[
    Column::right("QUEUE"),
    Column::right("GEN"),
    Column::right("WAITING"),
    Column::right("SHARE"),
    Column::left("WORKERS"),
];

const ENDPOINT_COLUMNS: &[Column] = &[
    Column::left("ADDRESS"),
    Column::right("LISTENERS"),
    Column::right("WAITING"),
    Column::right("OPEN"),
];

const RESCUE_COLUMNS: &[Column] = &[
    Column::right("RETIREMENT"),
    Column::right("RESCUER"),
    Column::right("HELD"),
    Column::right("FINISHED"),
    Column::right("RESCUED"),
    Column::right("IDLE"),
    Column::right("GIVEN UP"),
    Column::left("WHY"),
];

/// The status as text: how the supervisor is, its workers, its endpoints, and what became of the
/// connections of workers that retired.
pub fn table(status: &Status) -> String {
    let mut text = heading(status);
    if !status.workers.is_empty() {
        text.push('\n');
        text.push_str(&workers(&status.workers));
    }
    let is_looked_at = |worker: &WorkerStatus| {
        let usage = &worker.usage;
        usage.rss.is_some() || usage.connections_served.is_some() || worker.recycling.is_some()
    };
    if status.workers.iter().any(is_looked_at) {
        text.push('\n');
        text.push_str(&grid(
            USAGE_COLUMNS,
            status.workers.iter().map(usage_row).collect(),
        ));
    }
    let is_shared = |queue: &QueueStatus| queue.workers.len() > 1;
    if status.queues.iter().any(is_shared) {
        text.push('\n');
        text.push_str(&grid(
            QUEUE_COLUMNS,
            status.queues.iter().map(queue_row).collect(),
        ));
    }
    if !status.endpoints.is_empty() {
        text.push('\n');
        text.push_str(&grid(
            ENDPOINT_COLUMNS,
            status.endpoints.iter().map(endpoint_row).collect(),
        ));
    }
    if !status.rescues.is_empty() {
        text.push('\n');
        text.push_str(&grid(
            RESCUE_COLUMNS,
            status.rescues.iter().map(rescue_row).collect(),
        ));
    }
    text
}

fn heading(status: &Status) -> String {
    let serving = status
        .workers
        .iter()
        .filter(|worker| worker.phase == "serving")
        .count();
    let refused = status.steering_refused.as_ref();
    let refused = refused.map_or_else(String::new, |reason| format!("not steered: {reason}\n"));
    let recycled = recycled(&status.recyclings);
    let change = status.change.as_ref().map_or_else(String::new, change);
    format!(
        "{}: {}  pid {}  up {}  {}\nworkers {serving} of {} serving  reloads {} ok, {} failed  steering {}\n{change}{refused}{recycled}",
        status.name,
        status.phase,
        status.pid,
        span(status.uptime_ms),
        generations(status),
        status.workers_wanted,
        status.reloads,
        status.reloads_failed,
        status.steering,
    )
}

/// Nothing where none was begun.
fn recycled(recyclings: &RecyclingStatus) -> String {
    let RecyclingStatus { done, failed, last } = recyclings;
    let last = last.as_ref();
    last.map_or_else(String::new, |last| {
        format!("recycled {done} ok, {failed} failed  last: {last}\n")
    })
}

/// A line for the change that is under way.
fn change(change: &ChangeStatus) -> String {
    let ChangeStatus {
        kind,
        generation,
        for_ms,
        waits_for,
    } = change;
    let time = span(*for_ms);
    format!("{kind} of generation {generation} for {time}: waits for {waits_for}\n")
}

/// `generation 2 (serving, 4)`, with the ones that are on their way out.
fn generations(status: &Status) -> String {
    let one = |generation: &crate::wire::control::GenerationStatus| {
        format!(
            "{} ({}, {})",
            generation.generation, generation.phase, generation.workers
        )
    };
    let all: Vec<String> = status.generations.iter().map(one).collect();
    match all.as_slice() {
        [] => "no generation".to_owned(),
        [only] => format!("generation {only}"),
        several => format!("generations {}", several.join(", ")),
    }
}

/// Their health is the last column: why one is unhealthy may take a whole line. It is left out where nobody is checked.
fn workers(all: &[WorkerStatus]) -> String {
    let is_checked = all.iter().any(|worker| worker.health.is_some());
    let health = is_checked.then_some(Column::left("HEALTH"));
    let columns: Vec<Column> = WORKER_COLUMNS.iter().copied().chain(health).collect();
    let row = |worker: &WorkerStatus| {
        let mut row = worker_row(worker);
        row.extend(is_checked.then(|| known(worker.health.clone())));
        row
    };
    grid(&columns, all.iter().map(row).collect())
}

fn worker_row(worker: &WorkerStatus) -> Vec<String> {
    vec![
        worker.slot.to_string(),
        worker.id.to_string(),
        worker.generation.to_string(),
        known(worker.pid),
        worker.phase.clone(),
        span(worker.uptime_ms),
        worker.restarts.to_string(),
        worker.queue.to_string(),
        waiting(&worker.listeners),
        known(worker.connections),
        known(worker.weight.and_then(percent)),
        known(worker.share.and_then(percent)),
        listens(worker),
    ]
}

fn usage_row(worker: &WorkerStatus) -> Vec<String> {
    let usage = &worker.usage;
    vec![
        worker.id.to_string(),
        known(usage.age_ms.map(span)),
        known(usage.rss.map(size)),
        known(usage.cpu_percent.map(|percent| format!("{percent}%"))),
        known(usage.connections_served),
        known(worker.recycling.as_ref()),
    ]
}

fn queue_row(queue: &QueueStatus) -> Vec<String> {
    vec![
        queue.queue.to_string(),
        queue.generation.to_string(),
        waiting(&queue.listeners),
        known(queue.share.and_then(percent)),
        short_list::numbers(queue.workers.iter().copied()),
    ]
}

fn endpoint_row(endpoint: &EndpointStatus) -> Vec<String> {
    vec![
        endpoint.address.clone(),
        format!("{}/{}", endpoint.live, endpoint.listeners),
        endpoint.queue.to_string(),
        known(endpoint.connections),
    ]
}

fn rescue_row(rescue: &RescueStatus) -> Vec<String> {
    let reasons = rescue.reasons.iter();
    let why: Vec<String> = reasons
        .map(|(reason, count)| format!("{count} {reason}"))
        .collect();
    vec![
        rescue.retirement.to_string(),
        known(rescue.pid),
        rescue.held.to_string(),
        rescue.finished.to_string(),
        rescue.rescued.to_string(),
        rescue.idle.to_string(),
        rescue.given_up.to_string(),
        known((!why.is_empty()).then(|| why.join(", "))),
    ]
}

fn known(value: Option<impl ToString>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

/// What waits to be accepted, of what may wait, over all listeners.
fn waiting(listeners: &[ListenerStatus]) -> String {
    let sum = |part: fn(&ListenerStatus) -> u32| -> u64 {
        listeners
            .iter()
            .map(|listener| u64::from(part(listener)))
            .sum()
    };
    match listeners.is_empty() {
        true => "-".to_owned(),
        false => format!(
            "{}/{}",
            sum(|listener| listener.queue),
            sum(|listener| listener.backlog)
        ),
    }
}

fn listens(worker: &WorkerStatus) -> String {
    let listeners = worker.listeners.iter();
    short_list::addresses(listeners.map(|listener| listener.address.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::control::{GenerationStatus, UsageStatus};

    fn listener(address: &str, queue: u32) -> ListenerStatus {
        ListenerStatus {
            address: address.to_owned(),
            queue,
            backlog: 511,
            live: true,
        }
    }

    fn worker(id: u64, generation: u32, phase: &str) -> WorkerStatus {
        WorkerStatus {
            id,
            slot: u32::try_from(id % 2).unwrap_or(0),
            queue: id / 2,
            generation,
            pid: Some(4_000 + u32::try_from(id).unwrap_or(0)),
            phase: phase.to_owned(),
            uptime_ms: 1_500 * 10_u64.pow(generation * 2),
            restarts: 0,
            listeners: vec![listener("0.0.0.0:8080", 3), listener("[::]:8443", 4)],
            connections: Some(12 * id),
            weight: (phase == "serving").then_some(1.0),
            share: Some(0.25),
            usage: UsageStatus::default(),
            recycling: None,
            health: None,
        }
    }

    fn status() -> Status {
        let generation = |generation, phase: &str| GenerationStatus {
            generation,
            phase: phase.to_owned(),
            workers: 2,
        };
        let lost = WorkerStatus {
            pid: None,
            listeners: Vec::new(),
            connections: None,
            weight: None,
            share: None,
            restarts: 3,
            ..worker(13, 2, "waiting")
        };
        Status {
            name: "web".to_owned(),
            version: "0.1.0".to_owned(),
            pid: 4_711,
            uptime_ms: 11_520_000,
            phase: "reloading".to_owned(),
            workers_wanted: 2,
            reloads: 3,
            reloads_failed: 1,
            recyclings: RecyclingStatus::default(),
            steering: "ebpf".to_owned(),
            steering_refused: None,
            change: Some(ChangeStatus {
                kind: "reload".to_owned(),
                generation: 2,
                for_ms: 2_500,
                waits_for: "worker 2, which is draining".to_owned(),
            }),
            generations: vec![generation(1, "draining"), generation(2, "serving")],
            workers: vec![worker(2, 1, "draining"), worker(12, 2, "serving"), lost],
            rescues: Vec::new(),
            queues: Vec::new(),
            endpoints: vec![
                EndpointStatus {
                    address: "0.0.0.0:8080".to_owned(),
                    listeners: 3,
                    live: 1,
                    queue: 6,
                    connections: Some(168),
                },
                EndpointStatus {
                    address: "[::]:8443".to_owned(),
                    listeners: 3,
                    live: 1,
                    queue: 8,
                    connections: None,
                },
            ],
        }
    }

    #[test]
    fn a_reload_half_way() {
        let expected = "\
web: reloading  pid 4711  up 3h12m  generations 1 (draining, 2), 2 (serving, 2)
workers 1 of 2 serving  reloads 3 ok, 1 failed  steering ebpf
reload of generation 2 for 2s: waits for worker 2, which is draining

SLOT  WORKER  GEN   PID  PHASE     UPTIME  RESTARTS  QUEUE  WAITING  OPEN  WEIGHT  SHARE  LISTENS
   0       2    1  4002  draining   2m30s         0      1   7/1022    24       -  25.0%  0.0.0.0:8080 [::]:8443
   0      12    2  4012  serving    4h10m         0      6   7/1022   144  100.0%  25.0%  0.0.0.0:8080 [::]:8443
   1      13    2     -  waiting    4h10m         3      6        -     -       -      -  -

ADDRESS       LISTENERS  WAITING  OPEN
0.0.0.0:8080        1/3        6   168
[::]:8443           1/3        8     -
";
        assert_eq!(table(&status()), expected);
    }

    #[test]
    fn health_is_shown_where_somebody_is_checked() {
        let healthy = WorkerStatus {
            health: Some("healthy".to_owned()),
            ..worker(2, 1, "serving")
        };
        let late = "unhealthy: did not accept a connection within 2s";
        let unhealthy = WorkerStatus {
            health: Some(late.to_owned()),
            ..worker(3, 1, "serving")
        };
        let status = Status {
            workers: vec![healthy, unhealthy, worker(4, 1, "draining")],
            change: None,
            endpoints: Vec::new(),
            ..status()
        };
        let text = table(&status);
        let last: Vec<&str> = text.lines().skip(3).collect();
        let ends = [
            "LISTENS                 HEALTH",
            "0.0.0.0:8080 [::]:8443  healthy",
            late,
            "0.0.0.0:8080 [::]:8443  -",
        ];
        for (line, end) in last.iter().zip(ends) {
            assert!(line.ends_with(end), "{line}");
        }
        assert_eq!(last.len(), 4, "{text}");
    }

    #[test]
    fn queues_are_shown_where_workers_share_them() {
        let queue = |queue, workers: &[u64], share| QueueStatus {
            queue,
            generation: 2,
            workers: workers.to_vec(),
            listeners: vec![listener("0.0.0.0:8080", 3)],
            share,
        };
        let status = Status {
            workers: Vec::new(),
            endpoints: Vec::new(),
            queues: vec![queue(6, &[12, 13], Some(0.75)), queue(7, &[14], None)],
            ..status()
        };
        let expected = "
QUEUE  GEN  WAITING  SHARE  WORKERS
    6    2    3/511  75.0%  12 13
    7    2    3/511      -  14
";
        assert!(table(&status).ends_with(expected), "{}", table(&status));
    }

    #[test]
    fn what_workers_use_is_shown_where_it_is_looked_at() {
        let used = WorkerStatus {
            usage: UsageStatus {
                age_ms: Some(75_000),
                rss: Some(123 << 20),
                cpu_percent: Some(81),
                connections_served: None,
            },
            recycling: Some("has 123.0 MiB of memory".to_owned()),
            ..worker(12, 2, "serving")
        };
        let status = Status {
            workers: vec![used, worker(13, 2, "starting")],
            recyclings: RecyclingStatus {
                done: 7,
                failed: 1,
                last: Some("worker 12 has 123.0 MiB of memory".to_owned()),
            },
            ..status()
        };
        let text = table(&status);
        let heading = "\nrecycled 7 ok, 1 failed  last: worker 12 has 123.0 MiB of memory\n";
        assert!(text.contains(heading), "{text}");
        let usage = "
WORKER    AGE     RSS  CPU  SERVED  RECYCLED, FOR IT
    12  1m15s  123.0M  81%       -  has 123.0 MiB of memory
    13      -       -    -       -  -
";
        assert!(text.contains(usage), "{text}");
    }

    #[test]
    fn many_ports_make_no_line_long() {
        let ports = (0..64).map(|port| listener(&format!("0.0.0.0:{}", 1_000 + 7 * port), 0));
        let many = WorkerStatus {
            listeners: ports.collect(),
            ..worker(12, 2, "serving")
        };
        let status = Status {
            workers: vec![many],
            ..status()
        };
        let text = table(&status);
        assert!(
            text.contains("  0.0.0.0:1000 0.0.0.0:1007 0.0.0.0:1014 and 61 more\n"),
            "{text}"
        );
        let longest = text.lines().map(|line| line.chars().count()).max();
        assert!(longest < Some(140), "{text}");
    }

    #[test]
    fn nothing_runs_yet() {
        let status = Status {
            uptime_ms: 40,
            phase: "starting".to_owned(),
            change: None,
            generations: Vec::new(),
            workers: Vec::new(),
            rescues: Vec::new(),
            endpoints: Vec::new(),
            steering: "none".to_owned(),
            steering_refused: Some("nobody may".to_owned()),
            ..status()
        };
        let expected = "\
web: starting  pid 4711  up 40ms  no generation
workers 0 of 2 serving  reloads 3 ok, 1 failed  steering none
not steered: nobody may
";
        assert_eq!(table(&status), expected);
    }

    #[test]
    fn spans() {
        for (millis, text) in [
            (0, "0ms"),
            (999, "999ms"),
            (1_000, "1s"),
            (59_999, "59s"),
            (60_000, "1m00s"),
            (3_599_999, "59m59s"),
            (3_600_000, "1h00m"),
            (86_400_000, "1d0h"),
            (u64::MAX, "213503982334d14h"),
        ] {
            assert_eq!(span(millis), text);
        }
    }

    #[test]
    fn what_became_of_connections_is_a_row_for_each_retirement() {
        let rescue = RescueStatus {
            retirement: 3,
            held: 32,
            rescued: 31,
            given_up: 1,
            reasons: [("in-flight".to_owned(), 1)].into(),
            ..RescueStatus::default()
        };
        let row = rescue_row(&rescue).join(" ");
        assert_eq!(row, "3 - 32 0 31 0 1 1 in-flight");
    }
}
