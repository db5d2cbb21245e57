//! What the supervisor takes for a reload, by itself: `cargo bench --bench supervisor`. What it costs
//! a server's requests, how it does with many workers, and how others do, is asked by
//! `benches/compare`.
//!
//! Three questions:
//!
//! 1. how long a reload takes over the time that the new workers need to boot;
//! 2. what 10,000 idle keep-alive connections cost a reload: memory and time;
//! 3. how long a rescued request takes, over one that a worker answers by itself.
//!
//! What is compared is measured in turn (A B A B …), so that a machine that gets slower or faster
//! meanwhile does it to both, and the medians count. With the word `connections` only 2. and 3.
#![allow(missing_docs, clippy::unwrap_used)]

#[path = "../tests/rig/mod.rs"]
mod rig;

use std::fs;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use reuseport_run::wire::control::Status;
use rig::control::Control;
use rig::port::Reservation;
use rig::server::{Kind, Wanted};

const RUN: &str = env!("CARGO_BIN_EXE_reuseport-run");
const CTL: &str = env!("CARGO_BIN_EXE_reuseport-ctl");
const DEMO: &str = env!("CARGO_BIN_EXE_reuseport-demo");

const STEP_TIMEOUT: Duration = Duration::from_secs(30);

fn main() {
    let directory = tempfile::tempdir().unwrap();
    println!(
        "linux {}, {} CPUs",
        kernel(),
        std::thread::available_parallelism().unwrap()
    );
    // cargo passes --bench, and what follows -- after it.
    if !std::env::args().any(|word| word == "connections") {
        reloads(directory.path());
    }
    connections(directory.path());
    rescued(directory.path());
}

fn kernel() -> String {
    fs::read_to_string("/proc/sys/kernel/osrelease")
        .unwrap_or_default()
        .trim()
        .to_owned()
}

// ---- 1. reloads -----------------------------------------------------------------------------------

fn reloads(directory: &Path) {
    println!(
        "\nreload of 4 workers without connections, 21 times, milliseconds (median, least to most)"
    );
    let port = Reservation::new().unwrap();
    let command = demo(&port);
    let supervisor = Supervised::start(directory, port, &command);
    let (mut boots, mut rests) = (Vec::new(), Vec::new());
    for _ in 0..21 {
        let (boot, gone) = supervisor.reload();
        boots.push(boot);
        rests.push(gone - boot);
    }
    for (what, times) in [
        ("boot of the new workers", &mut boots),
        ("all the rest", &mut rests),
    ] {
        let (low, middle, high) = spread(times);
        println!("{what:<24} {middle:>5.0}  ({low:.0} to {high:.0})");
    }
}

// ---- 2. connections -----------------------------------------------------------------------------

fn connections(directory: &Path) {
    let count = most_connections(10_000);
    println!("\nreload of 4 Go workers with {count} idle keep-alive connections, 5 pairs");
    let Some(supervisor) = serving(directory, Kind::Go) else {
        return;
    };
    supervisor.reload_with(1);
    let (mut few, mut many) = (Vec::new(), Vec::new());
    for _ in 0..5 {
        few.push(supervisor.reload_with(1));
        many.push(supervisor.reload_with(count));
    }
    let print = |what: &str, value: fn(&Cost) -> f64| {
        let median = |costs: &[Cost]| spread(&mut costs.iter().map(value).collect::<Vec<_>>()).1;
        let (one, all) = (median(&few), median(&many));
        println!("{what:<28} {one:>8.0} {all:>8.0}");
        all - one
    };
    println!("{:<28} {:>8} {count:>8}", "connections", 1);
    print("reload, ms", |cost| cost.took);
    print("supervisor, KiB", |cost| cost.supervisor as f64);
    print("supervisor at most, KiB", |cost| cost.peak as f64);
    let extra = print("rescuer, KiB", |cost| cost.rescuer as f64);
    println!(
        "{:<28} {:>8.0}",
        "bytes a connection",
        extra * 1024.0 / count as f64
    );
}

/// What a reload with connections costs.
struct Cost {
    /// From the new workers' start to the old ones' end, without the boot, in milliseconds.
    took: f64,
    /// Memory in KiB, after it.
    supervisor: u64,
    peak: u64,
    rescuer: u64,
}

impl Supervised {
    /// Opens connections, asks once on each, and reloads.
    fn reload_with(&self, count: usize) -> Cost {
        let clients: Vec<TcpStream> = (0..count).map(|_| asked_once(self.address)).collect();
        let (boot, gone) = self.reload();
        let cost = Cost {
            took: gone - boot,
            supervisor: self.memory(),
            peak: self.field("status", "VmHWM:"),
            rescuer: self.rescuer_memory(count as u64),
        };
        drop(clients);
        let is_over = |status: &Status| status.rescues.iter().all(|rescue| rescue.pid.is_none());
        wait_for(|| self.control.status().is_ok_and(|status| is_over(&status)));
        cost
    }

    fn rescuer_memory(&self, held: u64) -> u64 {
        let mut pid = None;
        wait_for(|| {
            let status = self.control.status().unwrap();
            let rescue = status.rescues.into_iter().last();
            pid = rescue.filter(|it| it.held == held).and_then(|it| it.pid);
            pid.is_some()
        });
        field(pid.unwrap(), "status", "VmRSS:")
    }
}

// ---- 3. a rescued request -----------------------------------------------------------------------

fn rescued(directory: &Path) {
    const CONNECTIONS: usize = 500;
    println!(
        "\nlatency of a request in microseconds, one at a time on {CONNECTIONS} keep-alive connections, 5 reloads"
    );
    println!(
        "{:<10} {:>10} {:>10} {:>12} {:>12}",
        "server", "normal p50", "normal p99", "rescued p50", "rescued p99"
    );
    for kind in [Kind::Go, Kind::Node, Kind::Python] {
        let Some(supervisor) = serving(directory, kind) else {
            continue;
        };
        let (mut normal, mut rescued) = (Vec::new(), Vec::new());
        for _ in 0..5 {
            let mut clients: Vec<TcpStream> = (0..CONNECTIONS)
                .map(|_| asked_once(supervisor.address))
                .collect();
            normal.extend(clients.iter_mut().map(timed));
            supervisor.reload();
            rescued.extend(clients.iter_mut().map(timed));
        }
        println!(
            "{:<10} {:>10.0} {:>10.0} {:>12.0} {:>12.0}",
            name(kind),
            quantile(&mut normal, 0.5),
            quantile(&mut normal, 0.99),
            quantile(&mut rescued, 0.5),
            quantile(&mut rescued, 0.99)
        );
    }
}

/// How long one more request takes, in microseconds.
fn timed(client: &mut TcpStream) -> f64 {
    let since = Instant::now();
    ask(client);
    since.elapsed().as_secs_f64() * 1e6
}

fn quantile(values: &mut [f64], part: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    values[(part * (values.len() - 1) as f64) as usize]
}

fn asked_once(address: SocketAddr) -> TcpStream {
    let mut client = TcpStream::connect(address).unwrap();
    client.set_read_timeout(Some(STEP_TIMEOUT)).unwrap();
    ask(&mut client);
    client
}

fn ask(client: &mut TcpStream) {
    client
        .write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        .unwrap();
    let (mut answer, mut bytes) = (Vec::new(), [0; 1024]);
    while !answer.ends_with(b"hello\n") {
        let count = client.read(&mut bytes).unwrap();
        assert!(count > 0, "no answer");
        answer.extend(&bytes[..count]);
    }
}

/// So many as the limit on open files allows, of which the rescuer keeps a quarter for itself.
fn most_connections(wanted: usize) -> usize {
    reuseport_run::sys::process::raise_file_limit().unwrap();
    let limit = reuseport_run::sys::process::file_limit().unwrap();
    let room = usize::try_from(limit / 4 * 3).unwrap_or(usize::MAX);
    wanted.min(room.saturating_sub(500))
}

// ---- processes ----------------------------------------------------------------------------------

struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.0.id()).unwrap());
        let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM);
        self.0.wait().unwrap();
    }
}

struct Supervised {
    process: Process,
    control: Control,
    address: SocketAddr,
    _port: Reservation,
}

/// Four workers of a server with keep-alive; none, and why, where it is not to be had.
fn serving(directory: &Path, kind: Kind) -> Option<Supervised> {
    let port = Reservation::new().unwrap();
    let wanted = Wanted {
        kind,
        bind: IpAddr::V4(Ipv4Addr::LOCALHOST),
        port: port.port(),
        keep_alive: true,
        at_term: None,
        directory,
    };
    match wanted.command() {
        Ok(command) => Some(Supervised::start(directory, port, &command)),
        Err(unready) => {
            println!("skipped: {}, {unready:?}", name(kind));
            None
        }
    }
}

impl Supervised {
    fn start(directory: &Path, port: Reservation, command: &[String]) -> Self {
        let socket = directory.join("control.sock");
        let mut run = Command::new(RUN);
        run.args(["-n", "4", "--control"])
            .arg(&socket)
            .arg("--")
            .args(command);
        let process = Process(run.stdout(Stdio::null()).spawn().unwrap());
        let control = Control {
            program: CTL.into(),
            socket,
        };
        wait_for(|| {
            control
                .status()
                .is_ok_and(|status| status.phase == "serving")
        });
        Self {
            process,
            control,
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, port.port())),
            _port: port,
        }
    }

    /// Milliseconds until the new workers serve, and until the old are gone.
    fn reload(&self) -> (f64, f64) {
        let output = self.control.succeed(&["reload"]).unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let at = |phase: &str| {
            let line = text
                .lines()
                .find(|line| line.split_whitespace().nth(2) == Some(phase))
                .unwrap();
            line.split_whitespace()
                .next()
                .unwrap()
                .parse::<f64>()
                .unwrap()
        };
        (at("serving"), at("gone"))
    }

    fn memory(&self) -> u64 {
        self.field("status", "VmRSS:")
    }

    fn field(&self, file: &str, name: &str) -> u64 {
        field(self.process.0.id(), file, name)
    }
}

fn field(pid: u32, file: &str, name: &str) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap();
    let line = text.lines().find(|line| line.starts_with(name)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

fn demo(port: &Reservation) -> Vec<String> {
    vec![DEMO.to_owned(), format!("127.0.0.1:{}", port.port())]
}

fn name(kind: Kind) -> String {
    format!("{kind:?}").to_lowercase()
}

fn wait_for(mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + STEP_TIMEOUT;
    while !done() {
        assert!(
            Instant::now() < deadline,
            "nothing came of it in {STEP_TIMEOUT:?}"
        );
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The least, the median and the most.
fn spread(values: &mut [f64]) -> (f64, f64, f64) {
    values.sort_by(f64::total_cmp);
    (
        values[0],
        values[values.len() / 2],
        values[values.len() - 1],
    )
}
