//! Connections that are ours alone: idle, being rescued, or lingering until the client has closed.

use std::io::{self, Read};
use std::net::Shutdown;
use std::time::{Duration, Instant};

use mio::Token;

use super::client::Client;
use super::process::Rescuer;
use super::relay::{Progress, Relay, Surroundings};
use crate::sys::tcp;
use crate::wire::http::{Ending, Exchange, Flaw};

/// How long to wait for the client's close after ours: until then it may still have to read.
pub(super) const LINGER_TIMEOUT: Duration = Duration::from_secs(2);

#[derive(Debug)]
pub(super) struct AdoptedConnection {
    pub(super) worker: u64,
    pub(super) client: Client,
    pub(super) stage: Stage,
    /// The worker still has it, and has not seen the request.
    pub(super) is_shared: bool,
}

impl AdoptedConnection {
    /// One that is ours alone.
    pub(super) fn new(worker: u64, client: Client, stage: Stage) -> Self {
        Self {
            worker,
            client,
            stage,
            is_shared: false,
        }
    }

    /// Whether a stop signal to this worker could still break it: some workers shut down what they
    /// have, and that is for all who have it.
    pub(super) fn is_in_danger_from(&self, worker: u64) -> bool {
        self.is_shared && self.worker == worker && matches!(self.stage, Stage::Relay(_))
    }
}

#[derive(Debug)]
pub(super) enum Stage {
    Idle,
    /// Idle, unless its worker has died with a request: the kernel will tell.
    Doubtful,
    Relay(Box<Relay>),
    Linger,
}

/// What became of an connection.
enum End {
    /// Nothing was owed to the client.
    Idle,
    /// It has its answers.
    Served,
    /// It was let linger only.
    Lingered,
    GivenUp(&'static str),
}

/// The token of an orphan's client; the one after it is its server's.
pub(super) fn token(id: u64) -> Token {
    // Ids count connections; there will not be 2^62 of them.
    Token((id as usize) << 1)
}

impl Rescuer {
    /// Its client or its server is ready, or it has yielded before.
    pub(super) fn adopted_ready(&mut self, id: u64, now: Instant) {
        let Some(mut connection) = self.adopted.remove(&id) else {
            return;
        };
        let end = match &mut connection.stage {
            Stage::Linger => {
                drain(&mut connection.client, &mut self.scratch).then_some(End::Lingered)
            }
            Stage::Relay(_) => self.relay(id, &mut connection, now),
            Stage::Idle | Stage::Doubtful => self.begin(id, &mut connection, now),
        };
        match end {
            Some(end) => self.close(id, connection, end),
            None => drop(self.adopted.insert(id, connection)),
        }
    }

    /// Sees whether a request has come.
    fn begin(&mut self, id: u64, connection: &mut AdoptedConnection, now: Instant) -> Option<End> {
        match tcp::peek(&connection.client, &mut [0]) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => None,
            Ok(1..) => {
                connection.stage = self.stage_relay(&connection.client, &[]);
                self.relay(id, connection, now)
            }
            Ok(0) | Err(_) => Some(End::Idle),
        }
    }

    /// A rescue of which these bytes are there already.
    pub(super) fn stage_relay(&self, client: &Client, bytes: &[u8]) -> Stage {
        let lines = client
            .peer()
            .map(|peer| self.configuration.header_lines(peer));
        let mut exchange = Exchange::new(lines.unwrap_or_default());
        exchange.client_sent(bytes);
        Stage::Relay(Box::new(Relay::new(exchange, Instant::now())))
    }

    fn relay(&mut self, id: u64, connection: &mut AdoptedConnection, now: Instant) -> Option<End> {
        let (Stage::Relay(relay), Some(local)) = (&mut connection.stage, connection.client.local())
        else {
            return Some(End::Idle);
        };
        let before = relay.exchange.answered();
        let mut around = Surroundings {
            registry: self.poll.registry(),
            token: Token(token(id).0 + 1),
            target: self.configuration.target(local),
            now,
            scratch: &mut self.scratch,
        };
        let progress = relay.pump(&mut connection.client, &mut around);
        let answered = relay.exchange.answered();
        let deadline = relay.deadline(self.timeouts);
        self.timers.set(id, deadline);
        self.worker(connection.worker).tally.rescued += answered - before;
        match progress {
            Progress::Waits => None,
            Progress::Yields => {
                self.again.push(id);
                None
            }
            Progress::ClientBroke if answered > 0 => Some(End::Served),
            Progress::ClientBroke => Some(End::GivenUp("client-broke")),
            Progress::Ended(ending) => self.conclude(id, connection, answered, ending, now),
        }
    }

    /// Closes as the ending asks for.
    fn conclude(
        &mut self,
        id: u64,
        connection: &mut AdoptedConnection,
        answered: u64,
        ending: Ending,
        now: Instant,
    ) -> Option<End> {
        match ending {
            Ending::ClientLeft if answered == 0 => return Some(End::Idle),
            Ending::ClientLeft => return Some(End::Served),
            Ending::Broken { flaw, amid } => {
                if amid {
                    connection.client.end_by_reset();
                }
                if amid || answered == 0 {
                    return Some(End::GivenUp(name(flaw)));
                }
                self.worker(connection.worker).give_up(name(flaw));
            }
            Ending::Answered => {}
        }
        connection.stage = Stage::Linger;
        let is_over = connection.client.shut_down(Shutdown::Write).is_err()
            || drain(&mut connection.client, &mut self.scratch);
        self.timers.set(id, Some(now + LINGER_TIMEOUT));
        is_over.then_some(End::Lingered)
    }

    /// Its deadline has passed.
    pub(super) fn adopted_timed_out(&mut self, id: u64, now: Instant) {
        let Some(mut connection) = self.adopted.remove(&id) else {
            return;
        };
        let end = match &mut connection.stage {
            Stage::Idle => End::Idle,
            Stage::Doubtful if is_awaited(&connection.client) => End::GivenUp("in-flight"),
            Stage::Doubtful => {
                connection.stage = Stage::Idle;
                self.timers.set(id, Some(now + self.timeouts.idle));
                self.adopted.insert(id, connection);
                return;
            }
            Stage::Linger => End::Lingered,
            Stage::Relay(relay) => {
                if !relay.is_clients_fault() {
                    self.adopted.insert(id, connection);
                    return self.adopted_ready(id, now);
                }
                End::GivenUp("time-out")
            }
        };
        self.close(id, connection, end);
    }

    /// Closes all that are idle: those that have sent nothing by now.
    pub(super) fn close_idle(&mut self, now: Instant) {
        let is_idle = |connection: &AdoptedConnection| {
            matches!(connection.stage, Stage::Idle | Stage::Doubtful)
        };
        let idle: Vec<u64> = self
            .adopted
            .iter()
            .filter(|(_, o)| is_idle(o))
            .map(|(id, _)| *id)
            .collect();
        for id in idle {
            self.adopted_ready(id, now);
            if self.adopted.get(&id).is_some_and(is_idle)
                && let Some(connection) = self.adopted.remove(&id)
            {
                self.close(id, connection, End::Idle);
            }
        }
    }

    /// Gives up what is still under way.
    pub(super) fn abandon_adopted(&mut self) {
        for (id, connection) in std::mem::take(&mut self.adopted) {
            let end = match connection.stage {
                Stage::Idle | Stage::Doubtful => End::Idle,
                Stage::Linger => End::Lingered,
                Stage::Relay(_) => End::GivenUp("ended"),
            };
            self.close(id, connection, end);
        }
    }

    fn close(&mut self, id: u64, mut connection: AdoptedConnection, end: End) {
        self.timers.set(id, None);
        // The end of our descriptor is not the end of the socket while the worker has one.
        let _ = self.poll.registry().deregister(&mut connection.client);
        if connection.is_shared {
            // It sees an end, and closes.
            let _ = connection.client.shut_down(Shutdown::Read);
        }
        let worker = self.worker(connection.worker);
        worker.open = worker.open.saturating_sub(1);
        match end {
            End::Idle => worker.tally.idle += 1,
            End::GivenUp(reason) => worker.give_up(reason),
            End::Served | End::Lingered => {}
        }
    }
}

/// Whether the kernel had to acknowledge the last request by itself.
fn is_awaited(client: &Client) -> bool {
    tcp::counters(client).is_ok_and(|account| account.unread == 0 && !account.is_interactive)
}

/// Reads and drops what comes; whether the client has closed.
fn drain(client: &mut Client, scratch: &mut [u8]) -> bool {
    loop {
        match client.read(scratch) {
            Ok(1..) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return false,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Ok(0) | Err(_) => return true,
        }
    }
}

fn name(flaw: Flaw) -> &'static str {
    match flaw {
        Flaw::NotHttp => "not-http",
        Flaw::Framing => "framing",
        Flaw::LongHead => "long-head",
        Flaw::Unreachable => "unreachable",
        Flaw::ServerClosed => "server-closed",
        Flaw::BadAnswer => "bad-answer",
    }
}
