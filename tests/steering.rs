//! Steering against the kernel: who gets a connection while listeners join and leave a group.
//!
//! Each test runs in a network namespace of its own, so it has the port's table of listeners to itself:
//! the test starts this binary again with only its own name, inside of the namespace.
#![allow(clippy::unwrap_used, unsafe_code)]

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::{CloneFlags, unshare};
use nix::sys::stat::fstat;
use reuseport_run::fleet::ListenerId;
use reuseport_run::supervisor::steering::cbpf::{Layout, Removal, compile};
use reuseport_run::supervisor::steering::ebpf::{
    Counting, GroupMaps, Keys, MAX_CHOICES, MAX_LISTENERS,
};
use reuseport_run::supervisor::steering::probe_rule::{PROBE_HOPS, probe_ports};
use reuseport_run::supervisor::steering::spread::{Target, choose, shares};
use reuseport_run::sys::steering::{AttachError, attach, fence, hide};
use socket2::{Domain, SockRef, Socket, Type};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

const INSIDE: &str = "STEERING_TEST_INSIDE";
const TEST_TIMEOUT: Duration = Duration::from_secs(120);

/// How many reloads a test of losses makes; `STEERING_RELOADS` in the environment says how many more.
fn reloads(fewest: usize) -> usize {
    let wanted = std::env::var("STEERING_RELOADS").ok();
    let wanted = wanted.map(|wanted| wanted.parse().unwrap());
    fewest.max(wanted.unwrap_or(0))
}

/// Runs `body` in a network namespace that holds nothing but a loopback interface.
fn in_own_network(name: &str, body: fn()) {
    if std::env::var_os(INSIDE).is_some() {
        let more = Duration::from_millis(500) * u32::try_from(reloads(0)).unwrap();
        return within(TEST_TIMEOUT + more, body);
    }
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args([name, "--exact", "--nocapture"])
        .env(INSIDE, "1");
    // SAFETY: the closure makes system calls only; it neither allocates nor takes a lock.
    unsafe { command.pre_exec(enter_own_network) };
    // One after the other: each saturates the machine, and a grace period of the kernel takes ten
    // times as long when several do.
    static TURN: Mutex<()> = Mutex::new(());
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    match command.output() {
        Err(refused) => drop(writeln!(
            std::io::stderr(),
            "skipped: {name} needs a network namespace of its own: {refused}"
        )),
        Ok(run) => {
            let said = [run.stdout, run.stderr].concat();
            let said = String::from_utf8_lossy(&said);
            assert!(run.status.success(), "{said}");
            if reloads(0) > 0 {
                println!("{said}");
            }
        }
    }
}

/// Before the exec, because a user namespace's first capabilities do not outlive it.
fn enter_own_network() -> io::Result<()> {
    unshare(CloneFlags::CLONE_NEWNET)
        .or_else(|_| unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNET))?;
    // SAFETY: `request` is a whole `ifreq` that names the interface, and outlives the calls; the
    // descriptor is closed by the exec.
    unsafe {
        let socket = libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0);
        let mut request: libc::ifreq = std::mem::zeroed();
        request.ifr_name[0] = b'l' as libc::c_char;
        request.ifr_name[1] = b'o' as libc::c_char;
        request.ifr_ifru.ifru_flags = libc::IFF_UP as libc::c_short;
        match libc::ioctl(socket, libc::SIOCSIFFLAGS, &request) {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

fn within(time_out: Duration, body: fn()) {
    let (done, end) = mpsc::channel();
    let run = thread::spawn(move || {
        body();
        done.send(()).unwrap();
    });
    if end.recv_timeout(time_out) == Err(mpsc::RecvTimeoutError::Timeout) {
        eprintln!("not done after {time_out:?}");
        std::process::exit(1);
    }
    run.join().unwrap();
}

/// Asks until it is so; the whole test's time-out bounds it.
fn until(mut holds: impl FnMut() -> bool) {
    while !holds() {
        thread::yield_now();
    }
}

/// The families that a group can have.
#[derive(Clone, Copy, Debug)]
enum Family {
    V4,
    V6,
    Both,
}

impl Family {
    fn wildcard(self) -> IpAddr {
        match self {
            Family::V4 => Ipv4Addr::UNSPECIFIED.into(),
            Family::V6 | Family::Both => Ipv6Addr::UNSPECIFIED.into(),
        }
    }

    fn clients(self) -> Vec<IpAddr> {
        let v4 = (1..=8).map(|last| IpAddr::from([127, 0, 0, last]));
        let v6 = [IpAddr::from(Ipv6Addr::LOCALHOST)];
        match self {
            Family::V4 => v4.collect(),
            Family::V6 => v6.repeat(5),
            Family::Both => v4.chain(v6).collect(),
        }
    }
}

fn listen(family: Family, port: u16) -> TcpListener {
    let address = SocketAddr::new(family.wildcard(), port);
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None).unwrap();
    if address.is_ipv6() {
        socket.set_only_v6(matches!(family, Family::V6)).unwrap();
    }
    socket.set_reuse_address(true).unwrap();
    socket.set_reuse_port(true).unwrap();
    socket.bind(&address.into()).unwrap();
    socket.listen(4_096).unwrap();
    socket.set_nonblocking(true).unwrap();
    socket.into()
}

/// A listener whose acceptor writes the listener's name to each connection.
struct Member {
    listener: TcpListener,
    accepted: Arc<AtomicU64>,
    stop: UnixStream,
    acceptor: JoinHandle<()>,
}

impl Member {
    fn new(listener: TcpListener, id: ListenerId) -> Self {
        let (stop, stopped) = UnixStream::pair().unwrap();
        let (accepted, own) = (Arc::new(AtomicU64::new(0)), listener.try_clone().unwrap());
        let count = Arc::clone(&accepted);
        let acceptor = thread::spawn(move || accept_all(&own, &stopped, id, &count));
        Self {
            listener,
            accepted,
            stop,
            acceptor,
        }
    }

    fn accepted(&self) -> u64 {
        self.accepted.load(Ordering::SeqCst)
    }

    /// Ends the acceptor; the listener stays in its group.
    fn retire(self) -> TcpListener {
        drop(self.stop);
        self.acceptor.join().unwrap();
        self.listener
    }
}

fn accept_all(listener: &TcpListener, stopped: &UnixStream, id: ListenerId, accepted: &AtomicU64) {
    loop {
        while let Ok((mut connection, _)) = listener.accept() {
            accepted.fetch_add(1, Ordering::SeqCst);
            let _ = connection.write_all(&id.0.to_be_bytes());
        }
        let watch = |fd| PollFd::new(fd, PollFlags::POLLIN);
        let mut fds = [watch(listener.as_fd()), watch(stopped.as_fd())];
        poll(&mut fds, PollTimeout::NONE).unwrap();
        if fds[1].any() == Some(true) {
            return;
        }
    }
}

/// A connection from `from`: who answered, and which source the listener saw.
fn ask_from(from: SocketAddr, port: u16) -> io::Result<(ListenerId, SocketAddr)> {
    let socket = Socket::new(Domain::for_address(from), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.bind(&from.into())?;
    ask_with(socket, port)
}

fn ask_with(socket: Socket, port: u16) -> io::Result<(ListenerId, SocketAddr)> {
    let from = socket.local_addr()?.as_socket().unwrap();
    let to: IpAddr = match from {
        SocketAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
        SocketAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
    };
    // Closing by a reset leaves no TIME_WAIT behind, of which a test would make too many.
    socket.set_linger(Some(Duration::ZERO))?;
    socket.set_read_timeout(Some(Duration::from_secs(20)))?;
    let failed = |doing: &str, error: io::Error| {
        io::Error::new(error.kind(), format!("{doing} from {from}: {error}"))
    };
    socket
        .connect(&SocketAddr::new(to, port).into())
        .map_err(|error| failed("connecting", error))?;
    let from = socket.local_addr()?.as_socket().unwrap();
    let mut name = [0; 8];
    TcpStream::from(socket)
        .read_exact(&mut name)
        .map_err(|error| failed("reading", error))?;
    Ok((ListenerId(u64::from_be_bytes(name)), from))
}

fn ask(from: IpAddr, port: u16) -> io::Result<(ListenerId, SocketAddr)> {
    ask_from(SocketAddr::new(from, 0), port)
}

/// Clients that connect without a pause; every failure is kept.
struct Load {
    stop: Arc<AtomicBool>,
    answers: Arc<AtomicU64>,
    failures: Arc<Mutex<Vec<String>>>,
    clients: Vec<JoinHandle<()>>,
}

impl Load {
    fn new(family: Family, port: u16) -> Self {
        let (stop, answers, failures) = (Arc::default(), Arc::default(), Arc::default());
        let mut load = Self {
            stop,
            answers,
            failures,
            clients: Vec::new(),
        };
        for from in family.clients() {
            let (stop, answers) = (Arc::clone(&load.stop), Arc::clone(&load.answers));
            let failures = Arc::clone(&load.failures);
            load.clients.push(thread::spawn(move || {
                while !stop.load(Ordering::SeqCst) {
                    match ask(from, port) {
                        Ok(_) => _ = answers.fetch_add(1, Ordering::SeqCst),
                        Err(failure) => failures.lock().unwrap().push(failure.to_string()),
                    }
                }
            }));
        }
        load
    }

    /// Waits for `more` answers, so that what was done before was done under load.
    fn answer(&self, more: u64) {
        let before = self.answers.load(Ordering::SeqCst);
        until(|| self.answers.load(Ordering::SeqCst) >= before + more);
    }

    fn end_without_failure(self) -> u64 {
        self.stop.store(true, Ordering::SeqCst);
        self.clients
            .into_iter()
            .for_each(|client| client.join().unwrap());
        let failures = std::mem::take(&mut *self.failures.lock().unwrap());
        let answers = self.answers.load(Ordering::SeqCst);
        assert!(
            failures.is_empty(),
            "{} of {answers} failed: {:?}",
            failures.len(),
            failures[0]
        );
        answers
    }
}

/// Each way of steering that this machine has.
fn ways() -> Vec<Way> {
    let mut ways = vec![Way::Cbpf];
    match GroupMaps::create(Counting::No) {
        Ok(_) => ways.push(Way::Ebpf),
        Err(error) => _ = writeln!(io::stderr(), "skipped: the part with eBPF: {error}"),
    }
    ways
}

#[derive(Clone, Copy, Debug)]
enum Way {
    Cbpf,
    Ebpf,
}

/// What a backend believes of a group.
enum Belief {
    /// Indexes.
    Cbpf(Layout),
    /// Keys.
    Ebpf(Keys, Box<GroupMaps>),
}

impl Belief {
    fn new(way: Way) -> Self {
        match way {
            Way::Cbpf => Self::Cbpf(Layout::default()),
            Way::Ebpf => {
                let maps = GroupMaps::create(Counting::Yes).unwrap();
                Self::Ebpf(Keys::new(MAX_LISTENERS), Box::new(maps))
            }
        }
    }

    fn joined(&mut self, id: ListenerId, listener: &TcpListener) {
        match self {
            Self::Cbpf(layout) => layout.joined(id),
            Self::Ebpf(keys, maps) => {
                if keys.is_empty() {
                    maps.attach(listener).unwrap();
                }
                maps.put(keys.add(id).unwrap(), listener).unwrap();
            }
        }
    }

    fn members(&self) -> Vec<ListenerId> {
        match self {
            Self::Cbpf(layout) => layout.members().collect(),
            Self::Ebpf(keys, _) => keys.listeners().collect(),
        }
    }

    /// The number by which the program knows a listener.
    fn number_of(&self, id: ListenerId) -> Option<u32> {
        match self {
            Self::Cbpf(layout) => layout.index_of(id),
            Self::Ebpf(keys, _) => keys.of(id),
        }
    }

    fn listener_at(&self, number: u32) -> Option<ListenerId> {
        match self {
            Self::Cbpf(layout) => layout.listener_at(number),
            Self::Ebpf(keys, _) => keys.listener(number),
        }
    }

    /// How many connections the program has given to a listener.
    fn count(&self, id: ListenerId) -> Option<u32> {
        match self {
            Self::Cbpf(_) => None,
            Self::Ebpf(keys, maps) => maps.count(keys.of(id)?),
        }
    }

    fn targets(&self, live: &BTreeMap<ListenerId, u32>) -> Vec<Target> {
        match self {
            Self::Cbpf(layout) => layout.targets(live),
            Self::Ebpf(keys, _) => live
                .iter()
                .filter_map(|(id, weight)| {
                    let index = keys.of(*id)?;
                    Some(Target {
                        index,
                        weight: *weight,
                    })
                })
                .collect(),
        }
    }

    fn choose_from(&mut self, targets: &[Target], member: &TcpListener) {
        match self {
            Self::Cbpf(_) => attach(member, compile(targets).unwrap().instructions()).unwrap(),
            Self::Ebpf(_, maps) => {
                let most = usize::try_from(MAX_CHOICES).unwrap();
                maps.choose_from(&shares(targets, most)).unwrap();
            }
        }
    }

    fn removal(&self, ids: &BTreeSet<ListenerId>, live: &BTreeMap<ListenerId, u32>) -> Removal {
        match self {
            Self::Cbpf(layout) => layout.removal(ids, live, 0).unwrap(),
            Self::Ebpf(..) => Removal {
                listeners: ids.iter().copied().collect(),
                before: self.targets(live),
            },
        }
    }

    fn left(&mut self, ids: &[ListenerId]) {
        match self {
            Self::Cbpf(layout) => layout.left(ids),
            Self::Ebpf(keys, maps) => {
                for key in ids.iter().filter_map(|id| keys.remove(*id)) {
                    maps.take_out(key).unwrap();
                }
            }
        }
    }
}

/// A group, what is believed of it, and who is live.
struct Rig {
    family: Family,
    port: u16,
    next: u64,
    belief: Belief,
    live: BTreeMap<ListenerId, u32>,
    members: BTreeMap<ListenerId, Member>,
}

impl Rig {
    /// With `n` listeners, all live; they are chosen from as soon as the first is there.
    fn new(way: Way, family: Family, n: usize) -> Self {
        let mut rig = Self {
            family,
            port: 0,
            next: 0,
            belief: Belief::new(way),
            live: BTreeMap::new(),
            members: BTreeMap::new(),
        };
        let first = rig.join();
        rig.flip(&[first]);
        let rest = (1..n).map(|_| rig.join());
        let all: Vec<_> = [first].into_iter().chain(rest).collect();
        rig.flip(&all);
        rig
    }

    fn join(&mut self) -> ListenerId {
        let id = ListenerId(self.next);
        self.next += 1;
        let listener = listen(self.family, self.port);
        self.port = listener.local_addr().unwrap().port();
        self.belief.joined(id, &listener);
        self.members.insert(id, Member::new(listener, id));
        id
    }

    fn targets(&self) -> Vec<Target> {
        self.belief.targets(&self.live)
    }

    fn choose_from(&mut self, targets: &[Target]) {
        let members = self.belief.members();
        let member = members.iter().find_map(|id| self.members.get(id)).unwrap();
        self.belief.choose_from(targets, &member.listener);
    }

    fn flip(&mut self, live: &[ListenerId]) {
        self.live = live.iter().map(|id| (*id, 1)).collect();
        self.choose_from(&self.targets());
        fence().unwrap();
    }

    fn accepted(&self, id: ListenerId) -> u64 {
        self.members[&id].accepted()
    }

    /// Asks from each of the family's addresses; each answer must be the one that `choose` foretells.
    fn assert_chosen(&self, rounds: usize) -> BTreeMap<ListenerId, u32> {
        let mut counts = BTreeMap::new();
        for from in (0..rounds).flat_map(|_| self.family.clients()) {
            let (id, source) = ask(from, self.port).unwrap();
            let index = choose(&self.targets(), source.ip(), source.port()).unwrap();
            if let Some(expected) = self.belief.listener_at(index) {
                assert_eq!(id, expected, "{source} at {index}");
            }
            assert!(self.live.contains_key(&id), "{id:?} of {:?}", self.live);
            *counts.entry(id).or_insert(0) += 1;
        }
        counts
    }

    /// Takes out listeners that get no connections any more, one after the other, in the order given.
    fn take_out(&mut self, order: &[ListenerId]) {
        for (id, listener) in self.retire(order) {
            self.close(BTreeMap::from([(id, listener)]));
        }
    }

    /// Takes out listeners that get no connections any more, as many at once as can be.
    fn take_out_together(&mut self, leaving: &[ListenerId]) {
        let mut left: BTreeMap<_, _> = self.retire(leaving).into_iter().collect();
        while !left.is_empty() {
            left = self.close(left);
        }
    }

    fn retire(&mut self, order: &[ListenerId]) -> Vec<(ListenerId, TcpListener)> {
        let retire = |id: &ListenerId| {
            let member = self.members.remove(id).unwrap();
            until(|| references(&member.listener) == 1);
            (*id, member.retire())
        };
        order.iter().map(retire).collect()
    }

    /// Closes what can be closed at once; the others stay.
    fn close(
        &mut self,
        mut leaving: BTreeMap<ListenerId, TcpListener>,
    ) -> BTreeMap<ListenerId, TcpListener> {
        let ids: BTreeSet<ListenerId> = leaving.keys().copied().collect();
        for listener in leaving.values() {
            hide(listener).unwrap();
        }
        fence().unwrap();
        let Removal { listeners, before } = self.belief.removal(&ids, &self.live);
        self.choose_from(&before);
        for id in listeners {
            let listener = leaving.remove(&id).unwrap();
            assert_eq!(references(&listener), 1, "{id:?} got a connection");
            drop(listener);
            self.belief.left(&[id]);
        }
        self.choose_from(&self.targets());
        leaving
    }
}

/// 1 + the half-open connections + the accept queue of a listener: a column of /proc/net/tcp.
fn references(listener: &TcpListener) -> u32 {
    let inode = fstat(listener).unwrap().st_ino.to_string();
    let v6 = listener.local_addr().unwrap().is_ipv6();
    let table = if v6 {
        "/proc/thread-self/net/tcp6"
    } else {
        "/proc/thread-self/net/tcp"
    };
    let lines = std::fs::read_to_string(table).unwrap();
    let own = lines
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>());
    let own = own
        .into_iter()
        .find(|fields| fields[3] == "0A" && fields[9] == inode);
    own.unwrap()[10].parse().unwrap()
}

fn orders(of: &[ListenerId]) -> Vec<Vec<ListenerId>> {
    if of.is_empty() {
        return vec![Vec::new()];
    }
    let first = |at: usize| {
        let mut rest = of.to_vec();
        let first = rest.remove(at);
        orders(&rest)
            .into_iter()
            .map(move |order| [vec![first], order].concat())
    };
    (0..of.len()).flat_map(first).collect()
}

/// Reloads of four workers under load, the old ones leaving in another order each time, or together.
fn reload_in_every_order(way: Way, family: Family) {
    let started = Instant::now();
    let mut rig = Rig::new(way, family, 4);
    let load = Load::new(family, rig.port);
    for turn in 0..reloads(24) {
        let old: Vec<_> = rig.members.keys().copied().collect();
        let new: Vec<_> = (0..4).map(|_| rig.join()).collect();
        load.answer(50);
        assert!(
            new.iter().all(|id| rig.accepted(*id) == 0),
            "a new one was chosen before the flip"
        );
        rig.flip(&new);
        match turn % 2 {
            0 => rig.take_out(&orders(&old)[turn % 24]),
            _ => rig.take_out_together(&old),
        }
        load.answer(50);
        until(|| new.iter().all(|id| rig.accepted(*id) > 0));
    }
    let answers = load.end_without_failure();
    println!(
        "{way:?}, {family:?}: {answers} connections in {:?}",
        started.elapsed()
    );
}

#[test]
fn reloads_lose_nothing_over_ipv4() {
    in_own_network("reloads_lose_nothing_over_ipv4", || {
        for way in ways() {
            reload_in_every_order(way, Family::V4);
        }
    });
}

#[test]
fn reloads_lose_nothing_over_ipv6() {
    in_own_network("reloads_lose_nothing_over_ipv6", || {
        for way in ways() {
            reload_in_every_order(way, Family::V6);
        }
    });
}

#[test]
fn reloads_lose_nothing_over_both() {
    in_own_network("reloads_lose_nothing_over_both", || {
        for way in ways() {
            reload_in_every_order(way, Family::Both);
        }
    });
}

#[test]
fn the_program_counts_what_it_gives_to_whom() {
    in_own_network("the_program_counts_what_it_gives_to_whom", || {
        if !matches!(ways()[..], [_, Way::Ebpf]) {
            return;
        }
        for family in [Family::V4, Family::V6, Family::Both] {
            let mut rig = Rig::new(Way::Ebpf, family, 3);
            let mut expected = rig.assert_chosen(40);
            let live: Vec<_> = rig.members.keys().take(2).copied().collect();
            rig.flip(&live);
            for (id, count) in rig.assert_chosen(40) {
                *expected.entry(id).or_default() += count;
            }
            for (id, count) in expected {
                assert_eq!(rig.belief.count(id), Some(count), "{family:?}, {id:?}");
            }
        }
    });
}

/// Each close is that of the listener which a SYN's search finds first, over IPv6.
fn replace_a_single_worker(way: Way, family: Family) {
    let mut rig = Rig::new(way, family, 1);
    let load = Load::new(family, rig.port);
    for _ in 0..reloads(60) {
        let old: Vec<_> = rig.members.keys().copied().collect();
        let new = rig.join();
        rig.flip(&[new]);
        rig.take_out(&old);
        load.answer(5);
    }
    load.end_without_failure();
}

#[test]
fn a_single_worker_is_replaced_without_loss_over_ipv4() {
    in_own_network("a_single_worker_is_replaced_without_loss_over_ipv4", || {
        for way in ways() {
            replace_a_single_worker(way, Family::V4);
        }
    });
}

#[test]
fn a_single_worker_is_replaced_without_loss_over_both() {
    in_own_network("a_single_worker_is_replaced_without_loss_over_both", || {
        for way in ways() {
            replace_a_single_worker(way, Family::Both);
        }
    });
}

/// Each close is that of the listener which a SYN's search finds first, over IPv4.
#[test]
fn a_new_worker_is_taken_back_without_loss() {
    in_own_network("a_new_worker_is_taken_back_without_loss", || {
        for way in ways() {
            let mut rig = Rig::new(way, Family::V4, 2);
            let load = Load::new(Family::V4, rig.port);
            for _ in 0..200 {
                let new = rig.join();
                rig.take_out(&[new]);
                load.answer(5);
            }
            load.end_without_failure();
        }
    });
}

#[test]
fn the_kernel_chooses_as_choose_does() {
    in_own_network("the_kernel_chooses_as_choose_does", || {
        for way in ways() {
            for family in [Family::V4, Family::V6, Family::Both] {
                let mut rig = Rig::new(way, family, 7);
                assert_eq!(rig.assert_chosen(60).len(), 7);
                rig.flip(&[1, 2, 5].map(ListenerId));
                assert_eq!(rig.assert_chosen(30).len(), 3);
            }
        }
    });
}

#[test]
fn weights_are_shares_of_the_connections() {
    in_own_network("weights_are_shares_of_the_connections", || {
        for way in ways() {
            let mut rig = Rig::new(way, Family::V4, 2);
            rig.live = [(ListenerId(0), 1), (ListenerId(1), 3)].into();
            rig.choose_from(&rig.targets());
            fence().unwrap();
            let counts = rig.assert_chosen(100);
            // 800 connections: 600 and six standard deviations of 12.
            assert!((527..=673).contains(&counts[&ListenerId(1)]), "{counts:?}");
        }
    });
}

#[test]
fn a_probe_reaches_one_worker_before_the_flip() {
    in_own_network("a_probe_reaches_one_worker_before_the_flip", || {
        for way in ways() {
            for family in [Family::V4, Family::V6, Family::Both] {
                let mut rig = Rig::new(way, family, 3);
                let new: Vec<_> = (0..3).map(|_| rig.join()).collect();
                for id in new {
                    for from in family.clients() {
                        assert_eq!(probe(&rig, from, id, PROBE_HOPS), id);
                        // A client that happens to have this port is no probe.
                        assert!(rig.live.contains_key(&probe(&rig, from, id, 64)));
                    }
                }
                rig.assert_chosen(5);
            }
        }
    });
}

/// Connects from a port that names a listener, and asks who answers there.
fn probe(rig: &Rig, from: IpAddr, id: ListenerId, hops: u32) -> ListenerId {
    let domain = Domain::for_address(SocketAddr::new(from, 0));
    let socket = Socket::new(domain, Type::STREAM, None).unwrap();
    match from {
        IpAddr::V4(_) => socket.set_ttl_v4(hops).unwrap(),
        IpAddr::V6(_) => socket.set_unicast_hops_v6(hops).unwrap(),
    }
    let mut ports = probe_ports(rig.belief.number_of(id).unwrap());
    let is_free = |port: &u16| socket.bind(&SocketAddr::new(from, *port).into()).is_ok();
    ports.find(is_free).unwrap();
    ask_with(socket, rig.port).unwrap().0
}

/// Connections from loopback to an address that is not: a listener may be bound to one only.
#[test]
fn a_probe_reaches_a_listener_of_any_address_of_this_host() {
    in_own_network(
        "a_probe_reaches_a_listener_of_any_address_of_this_host",
        || {
            for (address, from) in [("10.1.2.3", "127.0.0.1"), ("fd00::1", "::1")] {
                let added = Command::new("ip")
                    .args(["address", "add", address, "dev", "lo"])
                    .status();
                if !added.is_ok_and(|status| status.success()) {
                    return drop(writeln!(io::stderr(), "skipped: needs ip(8)"));
                }
                let address: IpAddr = address.parse().unwrap();
                let listener = || {
                    let at = SocketAddr::new(address, 0);
                    let socket = Socket::new(Domain::for_address(at), Type::STREAM, None).unwrap();
                    socket.set_reuse_port(true).unwrap();
                    until(|| socket.bind(&at.into()).is_ok());
                    socket.listen(8).unwrap();
                    TcpListener::from(socket)
                };
                let first = listener();
                let port = first.local_addr().unwrap().port();
                let program = compile(&[Target {
                    index: 5,
                    weight: 1,
                }])
                .unwrap();
                attach(&first, program.instructions()).unwrap();
                let from: IpAddr = from.parse().unwrap();
                let client = Socket::new(
                    Domain::for_address(SocketAddr::new(from, 0)),
                    Type::STREAM,
                    None,
                )
                .unwrap();
                match from {
                    IpAddr::V4(_) => client.set_ttl_v4(PROBE_HOPS).unwrap(),
                    IpAddr::V6(_) => client.set_unicast_hops_v6(PROBE_HOPS).unwrap(),
                }
                let own = SocketAddr::new(from, probe_ports(0).next().unwrap());
                client.bind(&own.into()).unwrap();
                client
                    .connect_timeout(&SocketAddr::new(address, port).into(), TEST_TIMEOUT)
                    .unwrap();
                assert_eq!(first.accept().unwrap().1, own);
            }
        },
    );
}

#[test]
fn a_stranger_in_the_group_gets_nothing() {
    in_own_network("a_stranger_in_the_group_gets_nothing", || {
        for way in ways() {
            let rig = Rig::new(way, Family::V4, 2);
            let stranger = listen(Family::V4, rig.port);
            rig.assert_chosen(50);
            assert_eq!(references(&stranger), 1);
            assert_eq!(
                stranger.accept().unwrap_err().kind(),
                io::ErrorKind::WouldBlock
            );
        }
    });
}

#[test]
fn listeners_that_left_unseen_are_made_up_for() {
    in_own_network("listeners_that_left_unseen_are_made_up_for", || {
        for gone in orders(&[0, 2].map(ListenerId)) {
            let mut rig = Rig::new(Way::Cbpf, Family::Both, 8);
            rig.flip(&[4, 5, 6, 7].map(ListenerId));
            for id in &gone {
                let listener = &rig.members[id].listener;
                SockRef::from(listener)
                    .shutdown(std::net::Shutdown::Read)
                    .unwrap();
            }
            // Said in one order, whatever the order was.
            rig.belief.left(&[0, 2].map(ListenerId));
            rig.flip(&[4, 5, 6, 7].map(ListenerId));
            assert_eq!(rig.assert_chosen(20).len(), 4);
            rig.flip(&[4, 5, 6].map(ListenerId));
            assert_eq!(
                rig.assert_chosen(20).len(),
                2,
                "6 and 7 cannot be told apart"
            );
            rig.flip(&[4, 5, 6, 7].map(ListenerId));
            rig.take_out(&[3, 1].map(ListenerId));
            rig.assert_chosen(20);
        }
    });
}

/// Nobody has taken its key back yet: the program itself must not leave the choice to the kernel.
#[test]
fn a_key_without_a_listener_leads_to_another_live_one() {
    in_own_network("a_key_without_a_listener_leads_to_another_live_one", || {
        for way in ways() {
            if matches!(way, Way::Cbpf) {
                continue;
            }
            for family in [Family::V4, Family::V6, Family::Both] {
                let mut rig = Rig::new(way, family, 8);
                rig.flip(&[1, 3, 4, 6].map(ListenerId));
                for id in [3, 4].map(ListenerId) {
                    let listener = SockRef::from(&rig.members[&id].listener);
                    listener.shutdown(std::net::Shutdown::Read).unwrap();
                }
                let live = [1, 6].map(ListenerId);
                for from in (0..30).flat_map(|_| family.clients()) {
                    let (id, source) = ask(from, rig.port).unwrap();
                    assert!(live.contains(&id), "{family:?} {source}: {id:?}");
                }
                // One that listens again is in its group again, at its key.
                let again = &rig.members[&ListenerId(3)].listener;
                SockRef::from(again).listen(64).unwrap();
                rig.belief.joined(ListenerId(3), again);
                rig.live.remove(&ListenerId(4));
                rig.choose_from(&rig.targets());
                fence().unwrap();
                assert_eq!(rig.assert_chosen(40).len(), 3);
            }
        }
    });
}

#[test]
fn a_hidden_listener_keeps_its_seat() {
    in_own_network("a_hidden_listener_keeps_its_seat", || {
        for way in ways() {
            for family in [Family::V4, Family::V6, Family::Both] {
                let mut rig = Rig::new(way, family, 4);
                rig.flip(&[0, 3].map(ListenerId));
                hide(&rig.members[&ListenerId(1)].listener).unwrap();
                assert_eq!(rig.assert_chosen(20).len(), 2);
                let new = rig.join();
                rig.flip(&[3, new.0].map(ListenerId));
                assert_eq!(rig.assert_chosen(20).len(), 2);
            }
        }
    });
}

#[test]
fn the_longest_program_is_taken() {
    in_own_network("the_longest_program_is_taken", || {
        let mut rig = Rig::new(Way::Cbpf, Family::V4, 1);
        let scattered = (0..600).map(|i| Target {
            index: i * 2,
            weight: 1 << 20,
        });
        rig.choose_from(&scattered.collect::<Vec<_>>());
    });
}

#[test]
fn a_program_is_refused_by_a_socket_that_does_not_listen() {
    in_own_network(
        "a_program_is_refused_by_a_socket_that_does_not_listen",
        || {
            let program = compile(&[Target {
                index: 0,
                weight: 1,
            }])
            .unwrap();
            let program = program.instructions();
            let idle = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
            idle.set_reuse_port(true).unwrap();
            let refused = attach(&idle, program).unwrap_err();
            assert!(matches!(refused, AttachError::NotListening), "{refused}");
            let listener = listen(Family::V4, 0);
            attach(&listener, program).unwrap();
            SockRef::from(&listener)
                .shutdown(std::net::Shutdown::Read)
                .unwrap();
            let refused = attach(&listener, program).unwrap_err();
            assert!(matches!(refused, AttachError::NotListening), "{refused}");
        },
    );
}
