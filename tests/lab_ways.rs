//! The laboratory's server and the ways to share a port that ours is compared with: if these were
//! wrong, so would be every number about them.
#![allow(missing_docs)]
#![allow(clippy::unwrap_used)]

#[path = "../benches/ways/experiments.rs"]
#[allow(
    dead_code,
    reason = "only how experiments are named and chosen is tested here"
)]
mod experiments;
#[path = "../benches/lab/mod.rs"]
mod lab;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use lab::load::Plan;
use lab::port::Reservation;
use lab::report::results::{Row, measure};
use lab::trial;
use lab::way::Way;
use lab::worker::{READY, Random, Service, compute};
use nix::sys::signal::{Signal, kill};
use nix::time::{ClockId, clock_gettime};
use nix::unistd::Pid;
use reuseport_run::sys::channel;

/// What should happen has happened by then, on the busiest machine.
const TEST_TIMEOUT: Duration = Duration::from_secs(30);
/// What must not happen is looked for so long.
const DOUBT: Duration = Duration::from_millis(200);

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: lab\r\n\r\n";
const LAST_REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: lab\r\nConnection: close\r\n\r\n";

// ---- the worker ---------------------------------------------------------------------------------

#[test]
fn a_worker_answers_with_its_name_and_a_body_of_the_size() {
    let worker = Program::worker(&["--size", "70000"]);
    let answer = worker.ask();
    assert_eq!(answer.body.len(), 70_000);
    assert_eq!(answer.worker(), worker.pid().to_string());
    assert_eq!(answer.header("connection"), "close");
}

#[test]
fn a_connection_is_kept_alive_until_its_client_wants_no_more() {
    let worker = Program::worker(&[]);
    let mut client = worker.connect();
    for _ in 0..3 {
        client.write_all(REQUEST).unwrap();
        assert_eq!(Answer::read(&mut client).header("connection"), "keep-alive");
    }
    client.write_all(LAST_REQUEST).unwrap();
    assert_eq!(Answer::read(&mut client).header("connection"), "close");
    assert_eq!(client.read_to_end(&mut Vec::new()).unwrap(), 0);
}

#[test]
fn requests_come_in_pieces_and_together() {
    let worker = Program::worker(&[]);
    let mut client = worker.connect();
    client.write_all(&REQUEST[..10]).unwrap();
    assert!(is_silent(&mut client));
    client.write_all(&REQUEST[10..]).unwrap();
    Answer::read(&mut client);
    client.write_all(&[REQUEST, LAST_REQUEST].concat()).unwrap();
    Answer::read(&mut client);
    assert_eq!(Answer::read(&mut client).header("connection"), "close");
}

#[test]
fn what_is_not_http_is_closed() {
    let worker = Program::worker(&[]);
    let mut client = worker.connect();
    client.write_all(b"\x16\x03\x01 hello\r\n\r\n").unwrap();
    assert_eq!(client.read_to_end(&mut Vec::new()).unwrap_or(0), 0);
}

#[test]
fn a_worker_that_waits_serves_others_meanwhile() {
    let worker = Program::worker(&["--service", "fixed:300", "--work", "wait"]);
    let since = Instant::now();
    let mut clients: Vec<_> = (0..20).map(|_| worker.connect()).collect();
    for client in &mut clients {
        client.write_all(REQUEST).unwrap();
    }
    for client in &mut clients {
        Answer::read(client);
    }
    let took = since.elapsed();
    assert!(took >= Duration::from_millis(300), "{took:?}");
    assert!(took < Duration::from_secs(5), "one after another: {took:?}");
}

#[test]
fn one_at_a_time_takes_no_other_connection_meanwhile() {
    let worker = Program::worker(&["--one-at-a-time"]);
    let silent = worker.connect();
    let mut other = worker.connect();
    other.write_all(REQUEST).unwrap();
    assert!(is_silent(&mut other));
    drop(silent);
    assert_eq!(Answer::read(&mut other).header("connection"), "close");
}

#[test]
fn sigterm_finishes_what_is_under_way_and_closes_the_rest() {
    for knobs in [
        &["--service", "fixed:300", "--work", "wait"][..],
        &["--service", "fixed:300", "--work", "cpu"],
    ] {
        let mut worker = Program::worker(knobs);
        let at_rest = descriptors(worker.pid());
        let (mut idle, mut busy) = (worker.connect(), worker.connect());
        idle.write_all(REQUEST).unwrap();
        Answer::read(&mut idle);
        busy.write_all(REQUEST).unwrap();
        // What is still in the queue when the listener closes is lost.
        wait_until(|| descriptors(worker.pid()) == at_rest + 2);
        worker.tell(Signal::SIGTERM);
        assert_eq!(Answer::read(&mut busy).header("connection"), "close");
        assert_eq!(idle.read_to_end(&mut Vec::new()).unwrap(), 0);
        assert!(worker.child.wait().unwrap().success());
        assert!(TcpStream::connect(worker.address()).is_err());
    }
}

// ---- service times ------------------------------------------------------------------------------

#[test]
fn service_times_are_distributed_as_they_say() {
    for (text, share_below_mean) in [
        ("fixed:2", 0.0),
        ("exponential:2", 1.0 - (-1.0_f64).exp()),
        ("bimodal:1,11,0.1", 0.9),
    ] {
        let service: Service = text.parse().unwrap();
        let mut random = Random::new(7, 3);
        let times: Vec<f64> = (0..100_000)
            .map(|_| service.draw(&mut random).as_secs_f64() * 1e3)
            .collect();
        let mean = times.iter().sum::<f64>() / times.len() as f64;
        assert!((mean - 2.0).abs() < 0.04, "{text}: mean {mean}");
        assert!((service.mean().as_secs_f64() * 1e3 - 2.0).abs() < 1e-6);
        let below = times.iter().filter(|time| **time < 2.0 - 1e-9).count() as f64;
        let share = below / times.len() as f64;
        assert!((share - share_below_mean).abs() < 0.01, "{text}: {share}");
    }
}

#[test]
fn a_seed_repeats_and_workers_differ() {
    let draw = |seed, slot| {
        let mut random = Random::new(seed, slot);
        [random.unit(), random.unit(), random.unit()]
    };
    assert_eq!(draw(1, 0), draw(1, 0));
    assert_ne!(draw(1, 0), draw(1, 1));
    assert_ne!(draw(1, 0), draw(2, 0));
}

#[test]
fn what_is_no_service_time_is_refused() {
    for text in [
        "",
        "fixed",
        "fixed:-1",
        "fixed:x",
        "bimodal:1,2",
        "bimodal:1,2,3",
        "exponential:1e300",
        "normal:1",
    ] {
        assert!(text.parse::<Service>().is_err(), "{text}");
    }
}

#[test]
fn computing_takes_cpu_time() {
    let cpu_time = || Duration::from(clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).unwrap());
    let before = cpu_time();
    compute(Duration::from_millis(20));
    let took = cpu_time() - before;
    assert!(took >= Duration::from_millis(20), "{took:?}");
    assert!(took < Duration::from_millis(25), "{took:?}");
}

// ---- one shared queue ---------------------------------------------------------------------------

#[test]
fn whoever_is_idle_takes_from_a_shared_queue() {
    for knobs in [
        &["--one-at-a-time"][..],
        &["--one-at-a-time", "--exclusive"],
    ] {
        let mut share = Program::share(3, knobs);
        let _silent = [share.connect(), share.connect()];
        let answers: Vec<_> = (0..10).map(|_| share.ask().worker()).collect();
        assert!(
            answers.iter().all(|name| *name == answers[0]),
            "{answers:?}"
        );
        share.stop();
    }
}

#[test]
fn exclusive_wakes_one_worker_and_not_all() {
    const WORKERS: usize = 4;
    const REQUESTS: usize = 30;
    for start in [Program::share, Program::one_queue] {
        let woken = |knobs: &[&str]| -> usize {
            let program = start(WORKERS, knobs);
            // Whatever it took to begin.
            wait_until(|| is_steady(|| program.naps()));
            (0..REQUESTS).map(|_| program.woken_by_a_request()).sum()
        };
        let (one, all) = (woken(&["--exclusive"]), woken(&[]));
        // Who is about to sleep may look asleep and not be counted yet.
        assert!(all > REQUESTS * (WORKERS - 1), "{all} for {REQUESTS}");
        assert!(one < REQUESTS * 2, "{one} for {REQUESTS}");
    }
}

// ---- a master -----------------------------------------------------------------------------------

#[test]
fn a_master_goes_round() {
    let mut master = Program::master(4, "taken", &[]);
    let mut answers: BTreeMap<String, u32> = BTreeMap::new();
    for _ in 0..40 {
        *answers.entry(master.ask().worker()).or_default() += 1;
    }
    assert_eq!(answers.len(), 4, "{answers:?}");
    assert!(
        answers.values().all(|count| (8..=12).contains(count)),
        "{answers:?}"
    );
    master.stop();
}

#[test]
fn who_has_taken_one_is_free_again() {
    let mut master = Program::master(2, "taken", &[]);
    let _silent = [(); 6].map(|()| master.connect());
    master.ask();
    master.stop();
}

#[test]
fn who_has_an_open_request_is_not_free() {
    let mut master = Program::master(2, "free", &[]);
    let mut silent = [master.connect(), master.connect()];
    let mut third = master.connect();
    third.write_all(LAST_REQUEST).unwrap();
    assert!(is_silent(&mut third));
    silent[1].write_all(LAST_REQUEST).unwrap();
    let freed = Answer::read(&mut silent[1]).worker();
    assert_eq!(Answer::read(&mut third).worker(), freed);
    // Nor is it after that one: the other has nothing to do with it.
    assert_eq!(master.ask().worker(), freed);
    // Or its worker would wait for its request before it stops.
    drop(silent);
    master.stop();
}

/// It goes without having read what it was told, which the worker's side of the channel reports as a
/// reset, before the connection that is still in it.
#[test]
fn what_a_master_leaves_behind_is_served_and_then_the_worker_ends() {
    for knobs in [&[][..], &["--one-at-a-time"]] {
        let (ours, theirs) = channel::pair().unwrap();
        let mut worker = Command::new(program())
            .args(["worker", "--receive-fd", "0"])
            .args(knobs)
            .stdin(Stdio::from(theirs))
            .spawn()
            .unwrap();
        let pid = Pid::from_raw(worker.id().try_into().unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let hand_over = || {
            let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let (connection, _) = listener.accept().unwrap();
            channel::send(&ours, READY, &[connection.as_raw_fd()]).unwrap();
            client
        };
        let is_told = || channel::is_readable(&ours, TEST_TIMEOUT);
        assert!(is_told());
        nix::unistd::read(&ours, &mut [0]).unwrap();
        let mut first = hand_over();
        assert!(is_told(), "it has not taken the first");
        kill(pid, Signal::SIGSTOP).unwrap();
        let mut second = hand_over();
        drop(ours);
        kill(pid, Signal::SIGCONT).unwrap();
        for client in [&mut first, &mut second] {
            client.set_read_timeout(Some(TEST_TIMEOUT)).unwrap();
            client.write_all(LAST_REQUEST).unwrap();
            Answer::read(client);
        }
        assert!(worker.wait().unwrap().success());
    }
}

#[test]
fn a_master_goes_on_without_a_worker_that_died() {
    let master = Program::master(3, "taken", &[]);
    let victim = master.ask().worker();
    kill(Pid::from_raw(victim.parse().unwrap()), Signal::SIGKILL).unwrap();
    wait_until(|| is_gone(victim.parse().unwrap()));
    for _ in 0..20 {
        assert_ne!(master.ask().worker(), victim);
    }
}

#[test]
fn workers_do_not_outlive_a_master_that_is_killed() {
    for mut program in [Program::master(2, "taken", &[]), Program::share(2, &[])] {
        let workers = program.workers();
        assert_eq!(workers.len(), 2);
        program.child.kill().unwrap();
        program.child.wait().unwrap();
        wait_until(|| workers.iter().all(|pid| is_gone(*pid)));
    }
}

#[test]
fn two_thousand_connections_leave_no_descriptor_behind() {
    for rule in ["taken", "free"] {
        let master = Program::master(3, rule, &[]);
        let everybody: Vec<i32> = [vec![master.pid()], master.workers()].concat();
        let open = || everybody.iter().map(|pid| descriptors(*pid)).sum::<usize>();
        let before = open();
        for _ in 0..200 {
            let mut clients: Vec<_> = (0..10).map(|_| master.connect()).collect();
            for client in &mut clients {
                client.write_all(LAST_REQUEST).unwrap();
            }
            for client in &mut clients {
                Answer::read(client);
            }
        }
        wait_until(|| open() <= before);
    }
}

// ---- a trial ------------------------------------------------------------------------------------

#[test]
fn a_trial_tells_what_a_server_did_and_what_it_used() {
    let worker = Program::worker(&[]);
    let plan = || Plan {
        warm_up: Duration::from_millis(20),
        ..Plan::new(worker.address())
    };
    let row = || Row::new("trial", "worker", 0);
    let run = |is_over: fn() -> bool| {
        let (length, pid) = (Duration::from_millis(300), worker.child.id());
        trial::run(plan(), length, pid, 2, row(), is_over).unwrap()
    };
    let row = run(|| false).unwrap();
    assert_eq!(row.get(measure::FAILED), Some(0.0));
    assert_eq!(row.get(measure::REQUEST_FAIRNESS), Some(2.0), "one of two");
    for name in [
        measure::RATE,
        measure::P99,
        measure::SERVER_CPU,
        measure::CLIENT_CPU,
    ] {
        assert!(row.get(name).unwrap() > 0.0, "{name}: {row:?}");
    }
    assert!(row.percentiles.is_sorted_by(|one, other| one.1 <= other.1));
    assert!(run(|| true).is_none());
}

// ---- experiments --------------------------------------------------------------------------------

#[test]
fn no_two_settings_of_an_experiment_are_called_alike() {
    for quick in [true, false] {
        for experiment in experiments::chosen(&[], quick).unwrap() {
            let rows = experiment.settings.iter().map(|it| it.row("", "", 0));
            let names: BTreeSet<_> = rows.map(|row| row.setting()).collect();
            assert_eq!(names.len(), experiment.settings.len(), "{names:?}");
        }
    }
}

#[test]
fn all_of_them_are_measured_in_less_than_half_an_hour() {
    let all = experiments::chosen(&[], false).unwrap();
    let once: Duration = all.iter().map(|it| it.time_of_a_round()).sum();
    assert!(once * 5 < Duration::from_secs(25 * 60), "{:?}", once * 5);
}

#[test]
fn who_is_best_of_ours_has_someone_to_be_compared_with() {
    for experiment in experiments::chosen(&[], false).unwrap() {
        for setting in &experiment.settings {
            let ways: Vec<_> = setting.ways().collect();
            assert!(ways.starts_with(&[Way::Queues]), "{ways:?}");
            assert!(ways.contains(&Way::Shared) && ways.contains(&Way::Dispatch));
        }
    }
}

#[test]
fn only_experiments_that_there_are_can_be_chosen() {
    let chosen = experiments::chosen(&["blocking".to_owned()], true).unwrap();
    assert_eq!(chosen.len(), 1);
    let unknown = experiments::chosen(&["blocking".to_owned(), "blcking".to_owned()], true);
    assert!(unknown.unwrap_err().to_string().contains("blcking"));
}

// ---- programs -----------------------------------------------------------------------------------

/// A program of the laboratory that runs, and answers.
struct Program {
    child: Child,
    port: Reservation,
}

impl Program {
    fn worker(knobs: &[&str]) -> Self {
        Self::start("worker", &[], knobs)
    }

    fn share(workers: usize, knobs: &[&str]) -> Self {
        let count = workers.to_string();
        let share = Self::start("share", &["--workers", &count, "--"], knobs);
        wait_until(|| share.workers().len() == workers);
        share
    }

    /// A master all of whose workers have answered.
    fn master(workers: usize, rule: &str, knobs: &[&str]) -> Self {
        let count = workers.to_string();
        let options = ["--workers", &count, "--rule", rule, "--"];
        let master = Self::start("master", &options, knobs);
        let mut seen = BTreeSet::new();
        wait_until(|| {
            seen.insert(master.ask().worker());
            seen.len() == workers
        });
        master
    }

    /// Ours, with workers that bind the port themselves and are given one queue.
    fn one_queue(workers: usize, knobs: &[&str]) -> Self {
        let (count, directory) = (workers.to_string(), tempfile::tempdir().unwrap());
        let mut command = Command::new(env!("CARGO_BIN_EXE_reuseport-run"));
        command
            .args(["--workers", &count, "--queues", "1", "--control"])
            .arg(directory.path().join("control.sock"))
            .arg("--")
            .arg(program())
            .arg("worker")
            .stderr(Stdio::null());
        let ours = Self::start_by(command, &[], knobs);
        wait_until(|| ours.workers().len() == workers);
        ours
    }

    fn start(name: &str, options: &[&str], knobs: &[&str]) -> Self {
        let mut command = Command::new(program());
        command.arg(name);
        Self::start_by(command, options, knobs)
    }

    fn start_by(mut command: Command, options: &[&str], knobs: &[&str]) -> Self {
        let port = Reservation::new().unwrap();
        let number = port.port().to_string();
        command.args(["--port", &number]).args(options).args(knobs);
        let child = command.spawn().unwrap();
        let program = Self { child, port };
        wait_until(|| TcpStream::connect(program.address()).is_ok());
        // Its end says that the connection before it, which said nothing, was noticed to be over.
        program.ask();
        program
    }

    fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port.port()))
    }

    fn connect(&self) -> TcpStream {
        let client = TcpStream::connect(self.address()).unwrap();
        client.set_read_timeout(Some(TEST_TIMEOUT)).unwrap();
        client
    }

    /// One request on a connection of its own, until the worker has closed it.
    fn ask(&self) -> Answer {
        let mut client = self.connect();
        client.write_all(LAST_REQUEST).unwrap();
        let answer = Answer::read(&mut client);
        assert_eq!(client.read_to_end(&mut Vec::new()).unwrap(), 0);
        answer
    }

    fn pid(&self) -> i32 {
        self.child.id().try_into().unwrap()
    }

    fn workers(&self) -> Vec<i32> {
        let pid = self.pid();
        let text = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
        let numbers = text.split_whitespace().map(str::parse);
        numbers.collect::<Result<_, _>>().unwrap()
    }

    /// How often each of its workers went to sleep.
    fn naps(&self) -> Vec<u64> {
        let of = |pid: &i32| {
            let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
            let mut fields = text.lines().filter_map(|line| line.split_once(":\t"));
            let field = fields.find(|(name, _)| *name == "voluntary_ctxt_switches");
            field.unwrap().1.parse::<u64>().unwrap()
        };
        self.workers().iter().map(of).collect()
    }

    /// How many workers a request wakes. Whoever was woken is no longer asleep when it is answered,
    /// however long it then waits for a CPU.
    fn woken_by_a_request(&self) -> usize {
        let are_asleep = || self.workers().into_iter().all(is_asleep);
        let before = self.naps();
        self.ask();
        wait_until(are_asleep);
        let pairs = before.into_iter().zip(self.naps());
        pairs.filter(|(before, after)| after > before).count()
    }

    fn tell(&self, signal: Signal) {
        kill(Pid::from_raw(self.pid()), signal).unwrap();
    }

    /// Ends it, and it must end well, with all of its workers.
    fn stop(&mut self) {
        let workers = self.workers();
        self.tell(Signal::SIGTERM);
        assert!(self.child.wait().unwrap().success());
        // They have done their work; the kernel may still be clearing them away.
        let deadline = Instant::now() + TEST_TIMEOUT;
        while !workers.iter().all(|pid| is_gone(*pid)) {
            assert!(Instant::now() < deadline, "a worker outlives its parent");
            std::thread::yield_now();
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            // Its workers follow it.
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// An answer of HTTP.
struct Answer {
    head: String,
    body: Vec<u8>,
}

impl Answer {
    fn read(client: &mut TcpStream) -> Self {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            client.read_exact(&mut byte).unwrap();
            head.push(byte[0]);
        }
        let head = String::from_utf8(head).unwrap();
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
        let mut answer = Self {
            head,
            body: Vec::new(),
        };
        let length = answer.header("content-length").parse().unwrap();
        answer.body.resize(length, 0);
        client.read_exact(&mut answer.body).unwrap();
        answer
    }

    fn header(&self, name: &str) -> &str {
        let mut fields = self.head.lines().filter_map(|line| line.split_once(": "));
        let field = fields.find(|(found, _)| found.eq_ignore_ascii_case(name));
        field.unwrap().1
    }

    fn worker(&self) -> String {
        self.header("x-worker").to_owned()
    }
}

/// Nothing comes for a while, and neither does the end.
fn is_silent(client: &mut TcpStream) -> bool {
    client.set_read_timeout(Some(DOUBT)).unwrap();
    let silence = loop {
        match client.peek(&mut [0]) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            silence => break silence,
        }
    };
    client.set_read_timeout(Some(TEST_TIMEOUT)).unwrap();
    silence.is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
}

/// Nothing changed for a while.
fn is_steady<T: PartialEq>(value: impl Fn() -> T) -> bool {
    let before = value();
    thread::sleep(DOUBT);
    value() == before
}

fn is_gone(pid: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"));
    // Whose parent was killed may stay a zombie where nobody adopts it.
    stat.is_err() || stat.is_ok_and(|text| text.contains(") Z "))
}

fn is_asleep(pid: i32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|text| text.contains(") S "))
}

fn descriptors(pid: i32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count()
}

/// The laboratory as a program, which stands in examples/ beside the tests' deps/.
fn program() -> PathBuf {
    let test = env::current_exe().unwrap();
    let profile = test.parent().unwrap().parent().unwrap();
    let program = profile.join("examples").join("lab");
    assert!(program.exists(), "run cargo build --examples");
    program
}

fn wait_until(mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + TEST_TIMEOUT;
    while !done() {
        assert!(Instant::now() < deadline, "not in {TEST_TIMEOUT:?}");
        thread::sleep(Duration::from_millis(2));
    }
}
