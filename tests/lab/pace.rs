//! Counts are exact, and a standstill shows in everybody who came meanwhile.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use nix::sys::resource::{Resource, getrlimit};

use crate::load::{Outcome, Pace, Plan, Reuse, Spacing};
use crate::run;
use crate::server::{Client, HELLO, Server};

const STANDSTILL: Duration = Duration::from_millis(200);

fn open(per_second: f64, spacing: Spacing) -> Pace {
    Pace::Open {
        per_second,
        spacing,
    }
}

fn length(milliseconds: u64) -> Option<Duration> {
    Some(Duration::from_millis(milliseconds))
}

#[test]
fn a_closed_loop_counts_as_the_server_does() {
    for reuse in [Reuse::Fresh, Reuse::KeepAlive] {
        let server = Server::good();
        let outcome = run(Plan {
            connections: 8,
            reuse,
            length: length(300),
            ..Plan::new(server.address)
        });
        assert_eq!(outcome.failed(), 0, "{:?}", outcome.failures);
        assert!(outcome.answered > 0);
        assert_eq!(outcome.answered, server.requests());
        assert_eq!(outcome.requests_by_worker["one"], server.requests());
        assert_eq!(outcome.connections_by_worker["one"], server.connections());
        assert_eq!(server.connections() == 8, reuse == Reuse::KeepAlive);
        assert_eq!(outcome.elapsed, Duration::from_millis(300));
        assert!(outcome.lateness.is_empty());
        assert!(outcome.own_usage.cpu() > Duration::ZERO);
    }
}

#[test]
fn an_open_loop_asks_as_often_as_planned() {
    for reuse in [Reuse::Fresh, Reuse::KeepAlive] {
        let server = Server::good();
        let outcome = run(Plan {
            connections: 4,
            reuse,
            pace: open(1000.0, Spacing::Even),
            warm_up: Duration::from_millis(100),
            length: length(300),
            ..Plan::new(server.address)
        });
        assert_eq!((outcome.answered, outcome.failed()), (300, 0));
        assert_eq!(server.requests(), 400, "with the warm-up");
        assert_eq!(outcome.lateness.len(), 300);
        let connections = if reuse == Reuse::Fresh { 400 } else { 4 };
        assert_eq!(server.connections(), connections);
    }
}

#[test]
fn a_seed_decides_when_and_how_often() {
    let server = Server::good();
    let run_with = |seed| {
        let before = server.requests();
        let outcome = run(Plan {
            pace: open(1000.0, Spacing::Exponential),
            length: length(300),
            seed,
            ..Plan::new(server.address)
        });
        assert_eq!(outcome.answered, server.requests() - before);
        outcome.answered
    };
    let answered = run_with(3);
    assert_eq!(answered, run_with(3));
    // Five standard deviations of a Poisson count.
    assert!(answered.abs_diff(300) < 87, "{answered}");
}

/// Stands still once, after a hundred requests.
fn stall(server_requests: u64, done: &AtomicBool) {
    if server_requests >= 100 && !done.swap(true, Ordering::SeqCst) {
        thread::sleep(STANDSTILL);
    }
}

/// Everybody who came in the standstill waited for its end: the first for all of it, the last for
/// none. Of a thousand requests a hundred waited for more than half of it.
fn expect_standstill(outcome: &Outcome) {
    assert_eq!((outcome.answered, outcome.failed()), (1000, 0));
    let waited = outcome.latency.count_between(100_000, u64::MAX);
    assert!(
        waited >= 98,
        "{waited} requests waited for more than 100 ms"
    );
    let p99 = outcome.latency.value_at_quantile(0.99);
    assert!(p99 >= 185_000, "p99 is {p99} µs");
    // A bucket's histogram keeps two digits.
    let mut pairs = outcome.timeline.windows(2);
    let ends = pairs.any(|pair| pair[0].max >= 195_000 && (1..pair[0].max).contains(&pair[1].max));
    assert!(
        ends,
        "the timeline shows no end of it: {:?}",
        outcome.timeline
    );
}

#[test]
fn all_who_came_in_a_standstill_waited_for_one_connection() {
    let done = AtomicBool::new(false);
    let server = Server::start(move |mut client: Client| {
        let mut requests = 0;
        while client.request() {
            requests += 1;
            stall(requests, &done);
            client.answer(HELLO);
        }
    });
    let outcome = run(Plan {
        pace: open(1000.0, Spacing::Even),
        length: length(1000),
        ..Plan::new(server.address)
    });
    expect_standstill(&outcome);
    assert_eq!(server.connections(), 1);
}

#[test]
fn all_who_came_in_a_standstill_waited_in_the_server_s_queue() {
    let done = AtomicBool::new(false);
    let server = Server::one_at_a_time(move |mut client: Client| {
        stall(client.number, &done);
        client.request();
        client.answer(HELLO);
    });
    let outcome = run(Plan {
        reuse: Reuse::Fresh,
        pace: open(1000.0, Spacing::Even),
        length: length(1000),
        ..Plan::new(server.address)
    });
    // The server's queue takes 128 connections, and whoever does not fit in knocks again after a
    // second: longer than the standstill, but answered all the same.
    expect_standstill(&outcome);
}

#[test]
fn who_is_under_way_at_the_end_counts() {
    let server = Server::start(|mut client: Client| {
        while client.request() {
            thread::sleep(Duration::from_millis(50));
            client.answer(HELLO);
        }
    });
    let plan = Plan {
        connections: 5,
        ..Plan::new(server.address)
    };
    let running = plan.clone().start().unwrap();
    while server.requests() < 5 {
        thread::yield_now();
    }
    let outcome = running.stop();
    assert_eq!(outcome.answered, server.requests());
    let hour = Plan {
        length: Some(Duration::from_secs(3600)),
        ..plan
    };
    let before = server.requests();
    let running = hour.start().unwrap();
    while server.requests() == before {
        thread::yield_now();
    }
    let outcome = running.cut_short();
    assert_eq!(outcome.answered, server.requests() - before);
    assert!(outcome.elapsed < Duration::from_secs(60));
}

#[test]
fn workers_are_told_apart() {
    let server = Server::start(|mut client: Client| {
        let name = client.number % 3;
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX-Worker: {name}\r\n\r\n");
        while client.request() && client.answer(answer.as_bytes()) {}
    });
    let outcome = run(Plan {
        connections: 6,
        pace: open(1000.0, Spacing::Even),
        length: length(60),
        ..Plan::new(server.address)
    });
    let expected = |count: u64| ["0", "1", "2"].map(|name| (name.to_owned(), count)).into();
    // The longest idle connection is the next: all of them take turns.
    assert_eq!(outcome.connections_by_worker, expected(2));
    assert_eq!(outcome.requests_by_worker.values().sum::<u64>(), 60);
}

#[test]
fn descriptors_suffice_or_the_limit_is_named() {
    let server = Server::good();
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    let too_many = Plan {
        connections: usize::try_from(hard).unwrap(),
        ..Plan::new(server.address)
    };
    let error = too_many.start().unwrap_err().to_string();
    assert!(error.contains(&hard.to_string()), "{error}");
    Plan::new(server.address).start().unwrap().stop();
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    assert_eq!(soft, hard);
}

#[test]
fn a_plan_that_makes_no_sense_is_refused() {
    let plan = Plan::new(([127, 0, 0, 1], 1).into());
    let pace = open(0.0, Spacing::Even);
    assert!(
        Plan {
            connections: 0,
            ..plan.clone()
        }
        .start()
        .is_err()
    );
    assert!(
        Plan {
            pace,
            ..plan.clone()
        }
        .start()
        .is_err()
    );
    assert!(
        Plan {
            pace: open(f64::NAN, Spacing::Even),
            ..plan.clone()
        }
        .start()
        .is_err()
    );
    assert!(
        Plan {
            bucket: Duration::ZERO,
            ..plan.clone()
        }
        .start()
        .is_err()
    );
    assert!(
        Plan {
            time_out: Duration::ZERO,
            ..plan
        }
        .start()
        .is_err()
    );
}
