//! The load by hand: `cargo run --release --example load -- 127.0.0.1:8080 --connections 32`.
#![allow(missing_docs)]

#[path = "mod.rs"]
mod load;
#[path = "../usage.rs"]
mod usage;

use std::io;
use std::net::SocketAddr;

use clap::Parser;
use load::{Outcome, Pace, Plan, Reuse, Spacing};

/// Asks a server over and over, and tells how that went.
#[derive(Parser)]
struct Options {
    /// Address and port of the server.
    target: SocketAddr,
    #[arg(long, default_value_t = 32)]
    connections: usize,
    /// One request a connection.
    #[arg(long)]
    fresh: bool,
    /// An open loop of so many requests per second, exponentially spaced; without it a closed one.
    #[arg(long)]
    rate: Option<f64>,
    /// Space the requests of an open loop evenly.
    #[arg(long)]
    even: bool,
    #[arg(long, default_value = "1s")]
    warm_up: humantime::Duration,
    #[arg(long, default_value = "3s")]
    length: humantime::Duration,
    #[arg(long, default_value = "10s")]
    time_out: humantime::Duration,
    #[arg(long, default_value = "/")]
    path: String,
    /// Print the timeline, too.
    #[arg(long)]
    timeline: bool,
}

impl Options {
    fn plan(&self) -> Plan {
        let spacing = if self.even {
            Spacing::Even
        } else {
            Spacing::Exponential
        };
        let open = |per_second| Pace::Open {
            per_second,
            spacing,
        };
        Plan {
            connections: self.connections,
            reuse: if self.fresh {
                Reuse::Fresh
            } else {
                Reuse::KeepAlive
            },
            pace: self.rate.map_or(Pace::Closed, open),
            warm_up: self.warm_up.into(),
            length: Some(self.length.into()),
            time_out: self.time_out.into(),
            path: self.path.clone(),
            ..Plan::new(self.target)
        }
    }
}

fn main() -> io::Result<()> {
    let options = Options::parse();
    let outcome = options.plan().start()?.stop();
    print(&outcome);
    if options.timeline {
        print_timeline(&outcome);
    }
    Ok(())
}

fn print(outcome: &Outcome) {
    let Outcome {
        answered,
        elapsed,
        latency,
        lateness,
        own_usage,
        ..
    } = outcome;
    println!(
        "answered {answered} in {elapsed:.2?}: {:.0}/s",
        outcome.rate()
    );
    let quantiles = |name: &str, of: &hdrhistogram::Histogram<u64>| {
        let [p50, p90, p99, p999] = [0.5, 0.9, 0.99, 0.999].map(|at| of.value_at_quantile(at));
        println!(
            "{name:<9} p50 {p50} p90 {p90} p99 {p99} p99.9 {p999} max {} µs",
            of.max()
        );
    };
    quantiles("latency", latency);
    if !lateness.is_empty() {
        quantiles("lateness", lateness);
    }
    for (failure, count) in &outcome.failures {
        println!("failed   {failure}: {count}");
    }
    for (worker, requests) in &outcome.requests_by_worker {
        let connections = outcome.connections_by_worker.get(worker).unwrap_or(&0);
        println!("worker   {worker}: {requests} requests, {connections} connections");
    }
    let share = own_usage.cpu().as_secs_f64() / elapsed.as_secs_f64() * 100.0;
    println!(
        "own CPU  {:.2?} ({share:.0} % of one), {} + {} switches, {} KiB",
        own_usage.cpu(),
        own_usage.voluntary_switches,
        own_usage.involuntary_switches,
        own_usage.rss / 1024
    );
}

fn print_timeline(outcome: &Outcome) {
    for bucket in &outcome.timeline {
        println!(
            "{:>9.1?} {:>8} answered {:>6} failed, p50 {} p99 {} max {} µs",
            bucket.start, bucket.answered, bucket.failed, bucket.p50, bucket.p99, bucket.max
        );
    }
}
