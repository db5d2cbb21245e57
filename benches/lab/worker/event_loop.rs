//! Many connections at once, as event loops have them.
//!
//! A turn: wait; go on with every connection that has an event; answer what is served; take one
//! connection through the connection source; tell the master. What is computed is computed within the turn, and
//! all others wait for it: that is what an event loop does to them.

use std::io;

use mio::net::TcpStream;
use mio::{Events, Token};

use super::alarm::Alarm;
use super::connection::{Connection, Need};
use super::connection_source::{Arrival, ConnectionSource};
use super::service::compute;
use super::{ALARM, CONNECTIONS, SIGNAL, TIMEOUT, Work, Worker, wait};

/// Which connection: its place in the table, and a number that no other had, since an alarm can
/// outlive the connection that it was set for.
type Key = (usize, u64);

/// A worker and its connections.
#[derive(Debug)]
pub struct EventLoop {
    worker: Worker,
    alarm: Alarm<Due>,
    table: Vec<Option<(u64, Connection)>>,
    vacant: Vec<usize>,
    serial: u64,
    engaged: usize,
    is_draining: bool,
}

/// What an alarm is for.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    /// A request is served.
    Answer(Key),
    /// Clients of which nothing was heard since SIGTERM have had their time.
    GiveUp,
}

impl EventLoop {
    /// None yet.
    ///
    /// # Errors
    /// Those of timerfd_create(2).
    pub fn new(worker: Worker) -> io::Result<Self> {
        Ok(Self {
            alarm: Alarm::new(&worker.poll, ALARM)?,
            worker,
            table: Vec::new(),
            vacant: Vec::new(),
            serial: 0,
            engaged: 0,
            is_draining: false,
        })
    }

    /// Serves until SIGTERM, and then until no request is open.
    ///
    /// # Errors
    /// Those of waiting and accepting.
    pub fn run(mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(1024);
        while !self.is_draining || self.engaged > 0 {
            self.alarm.set()?;
            wait(&mut self.worker.poll, &mut events)?;
            self.turn(&events)?;
        }
        Ok(())
    }

    fn turn(&mut self, events: &Events) -> io::Result<()> {
        let (mut has_arrival, mut is_told_to_stop) = (false, false);
        for event in events {
            match event.token() {
                CONNECTIONS => has_arrival = true,
                SIGNAL => is_told_to_stop = true,
                ALARM => {}
                Token(place) => self.wake(place, event.is_readable()),
            }
        }
        self.answer_due();
        // Last, so that a place that became vacant in this turn has no more events in it.
        if has_arrival {
            is_told_to_stop |= !self.take()?;
        }
        let is_free = self.engaged == 0;
        if let Some(source) = &mut self.worker.source {
            source.report(is_free)?;
        }
        if is_told_to_stop && !self.is_draining {
            self.drain();
        }
        Ok(())
    }

    /// Takes one connection; false when no more will come.
    fn take(&mut self) -> io::Result<bool> {
        let Some(source) = &mut self.worker.source else {
            return Ok(true);
        };
        match source.take()? {
            Arrival::Connection(stream) => self.admit(stream),
            Arrival::Nothing => {}
            Arrival::End => return Ok(false),
        }
        Ok(true)
    }

    fn admit(&mut self, stream: TcpStream) {
        let place = self.vacant.pop().unwrap_or_else(|| {
            self.table.push(None);
            self.table.len() - 1
        });
        let registry = self.worker.poll.registry();
        match Connection::new(stream, Token(place), registry) {
            Ok(connection) => {
                self.serial += 1;
                self.engaged += 1;
                self.table[place] = Some((self.serial, connection));
            }
            Err(_) => self.vacant.push(place),
        }
    }

    fn wake(&mut self, place: usize, is_readable: bool) {
        if let Some(Some((_, connection))) = self.table.get_mut(place) {
            connection.wake(is_readable);
            self.go_on(place);
        }
    }

    /// Goes on with one connection until it has to wait.
    fn go_on(&mut self, place: usize) {
        let Some((serial, mut connection)) = self.table[place].take() else {
            return;
        };
        let was_engaged = connection.is_engaged();
        let registry = self.worker.poll.registry();
        let need = loop {
            match connection.advance(&self.worker.answers, registry) {
                Need::Service => {
                    let time = self.worker.service.draw(&mut self.worker.random);
                    if self.worker.work == Work::Wait && !time.is_zero() {
                        self.alarm.add(time, Due::Answer((place, serial)));
                        break Need::Event;
                    }
                    compute(time);
                    connection.answer(self.worker.is_told_to_stop());
                }
                need => break need,
            }
        };
        let is_open = need == Need::Event;
        self.engaged -= usize::from(was_engaged);
        self.engaged += usize::from(is_open && connection.is_engaged());
        if is_open {
            self.table[place] = Some((serial, connection));
        } else {
            self.vacant.push(place);
        }
    }

    fn answer_due(&mut self) {
        while let Some(due) = self.alarm.next() {
            match due {
                Due::Answer((place, serial)) => self.answer(place, serial),
                Due::GiveUp => self.close_if(Connection::is_reading),
            }
        }
    }

    fn answer(&mut self, place: usize, serial: u64) {
        let is_last = self.worker.is_told_to_stop();
        if let Some((found, connection)) = &mut self.table[place]
            && *found == serial
        {
            connection.answer(is_last);
            self.go_on(place);
        }
    }

    /// Closes the connection source. What is idle is closed, once it is certain that nothing has arrived there;
    /// a connection that has never had a request gets a little time, since its first is on its way.
    fn drain(&mut self) {
        self.is_draining = true;
        while let Some(stream) = self.worker.source.as_mut().and_then(ConnectionSource::last) {
            self.admit(stream);
        }
        self.worker.source = None;
        for place in 0..self.table.len() {
            if let Some((_, connection)) = &mut self.table[place] {
                connection.finish();
                self.go_on(place);
            }
        }
        self.close_if(|connection| !connection.is_engaged());
        self.alarm.add(TIMEOUT, Due::GiveUp);
    }

    fn close_if(&mut self, is_over: impl Fn(&Connection) -> bool) {
        for place in 0..self.table.len() {
            if let Some((_, connection)) = &self.table[place]
                && is_over(connection)
            {
                self.engaged -= usize::from(connection.is_engaged());
                self.table[place] = None;
                self.vacant.push(place);
            }
        }
    }
}
