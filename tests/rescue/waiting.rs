//! Requests that come while the worker has still to answer others.

use nix::fcntl::{FcntlArg, OFlag, fcntl};

use super::*;

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n";

/// A worker with a connection on which an answer is due, and one that is idle.
struct Busy {
    rescuer: Rescuer,
    /// Who waits for the worker, and its end.
    patient: (TcpStream, TcpStream),
    client: TcpStream,
    worker: TcpStream,
}

impl Busy {
    fn new(connect: SocketAddr) -> Self {
        let mut patient = pair();
        patient.0.write_all(REQUEST).unwrap();
        read_head(&mut patient.1);
        let (client, worker) = pair();
        worker.set_read_timeout(Some(TIMEOUT)).unwrap();
        let rescuer = Rescuer::start(&configuration(worker.local_addr().unwrap(), connect));
        rescuer.hold_own(&[&patient.1, &worker]);
        Self {
            rescuer,
            patient,
            client,
            worker,
        }
    }

    /// The worker gives the answer that is due.
    fn answer(&mut self) {
        self.patient.1.write_all(answer("late").as_bytes()).unwrap();
    }

    /// How many bytes wait unread in the idle connection.
    fn unread(&self) -> u32 {
        tcp::counters(&self.worker).unwrap().unread
    }
}

#[test]
fn a_request_does_not_wait_for_those_of_others() {
    let mut busy = Busy::new(serve(|stream| {
        read_head(stream);
        assert_eq!(stream.read(&mut [0; 5]).unwrap(), 5);
        stream.write_all(answer("new").as_bytes()).unwrap();
    }));
    let request = b"PUT / HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello";
    busy.client.write_all(request).unwrap();
    let got = read_all(&mut busy.client);
    assert!(got.contains("Connection: close"), "{got}");
    assert!(got.ends_with("new"), "{got}");
    // To the worker it looks like a client that left without a word, in the mode that it chose.
    let mode = fcntl(&busy.worker, FcntlArg::F_GETFL).unwrap();
    assert!(!OFlag::from_bits_retain(mode).contains(OFlag::O_NONBLOCK));
    drop(busy.client);
    assert_eq!(busy.worker.read(&mut [0]).unwrap(), 0);
    busy.patient.1.write_all(answer("late").as_bytes()).unwrap();
    busy.rescuer.wait_idle();
    busy.rescuer.prepare_stop();
    drop((busy.worker, busy.patient));
    assert_eq!(busy.rescuer.final_tally().rescued, 1);
}

#[test]
fn a_worker_is_not_told_to_stop_while_its_client_is_being_answered() {
    let (go, wait) = mpsc::channel();
    let mut busy = Busy::new(serve(move |stream| {
        read_head(stream);
        wait.recv().unwrap();
        stream.write_all(answer("new").as_bytes()).unwrap();
    }));
    busy.client.write_all(REQUEST).unwrap();
    while busy.unread() > 0 {
        thread::yield_now();
    }
    busy.answer();
    busy.rescuer.reports_nothing_for(Duration::from_millis(300));
    go.send(()).unwrap();
    busy.rescuer.wait_idle();
    // Whatever the worker does to the connection now, the answer is out.
    busy.worker.shutdown(Shutdown::Both).unwrap();
    assert!(read_all(&mut busy.client).ends_with("new"));
}

#[test]
fn what_is_not_whole_or_wants_to_go_on_waits() {
    let upgrade = b"GET / HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n";
    let two = b"GET /1 HTTP/1.1\r\n\r\nGET /2 HTTP/1.1\r\n\r\n";
    let half = b"POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\nx";
    for request in [&upgrade[..], two, half] {
        let mut busy = Busy::new(serve(|_| panic!("nothing may come here")));
        busy.client.write_all(request).unwrap();
        busy.answer();
        busy.rescuer.wait_idle();
        assert_eq!(busy.unread() as usize, request.len());
    }
}

#[test]
fn a_client_whose_request_cannot_be_passed_on_is_not_kept_waiting() {
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = nobody.local_addr().unwrap();
    drop(nobody);
    let mut busy = Busy::new(address);
    busy.client.write_all(REQUEST).unwrap();
    // The connection is frozen, so only an end wakes the worker.
    assert!(channel::is_readable(&busy.worker, TIMEOUT));
    assert_eq!(busy.worker.read(&mut [0]).unwrap(), 0);
    drop(busy.worker);
    assert_eq!(read_all(&mut busy.client), "");
}
