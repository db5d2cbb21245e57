//! One client of the closed loop.
//!
//! ```text
//!            ┌────────────────── reusable, or failed ──────────────────┐
//!            ▼                                                         │
//!  ─────► resting ───► connecting ───► sending ───► receiving ─────────┤
//!            │ used connection,           ▲                            ▼
//!            └────────────────────────────┘ still open             parting
//! ```
//!
//! In `parting` the answer is complete and the server's end of the connection is awaited: who
//! closes first keeps the port busy for a minute, and a client that always did would run out.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Interest, Token};

use super::answer::Answer;
use super::exchange::{Next, Progress};
use super::outcome::Failure;
use super::{Ground, Mode};

/// The pause after a failure, so that a refused client does not spin.
const RETRY_DELAY: Duration = Duration::from_millis(10);

/// How long the server may take to close after the last answer of a connection.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

pub(super) struct Client {
    token: Token,
    phase: Phase,
    stream: Option<TcpStream>,
    /// Requests that this connection has answered.
    used: u64,
    /// Bytes of the request that were sent.
    sent: usize,
    answer: Answer,
    /// In the place of `answer` where no HTTP/1 is spoken.
    progress: Progress,
    /// When the phase is over at the latest counts from here.
    since: Instant,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// The next request begins at that time.
    Resting(Instant),
    Connecting,
    Sending,
    Receiving,
    AwaitingClose,
    Finished,
}

/// Whether the client can go on at once, or waits for an event or for time to pass.
enum Step {
    Again,
    Wait,
}

type Trouble = (Failure, String);

impl Client {
    pub(super) fn new(token: Token, now: Instant) -> Self {
        Self {
            token,
            phase: Phase::Resting(now),
            stream: None,
            used: 0,
            sent: 0,
            answer: Answer::default(),
            progress: Progress::default(),
            since: now,
        }
    }

    pub(super) fn finished(&self) -> bool {
        self.phase == Phase::Finished
    }

    /// When the client must be advanced even if nothing happens.
    pub(super) fn deadline(&self, ground: &Ground) -> Option<Instant> {
        match self.phase {
            Phase::Resting(until) => Some(until),
            Phase::Connecting | Phase::Sending | Phase::Receiving => {
                Some(self.since + ground.plan.timeout)
            }
            Phase::AwaitingClose => Some(self.since + CLOSE_TIMEOUT),
            Phase::Finished => None,
        }
    }

    pub(super) fn due(&self, ground: &Ground, now: Instant) -> bool {
        let resting = matches!(self.phase, Phase::Resting(_));
        (resting && ground.stopping) || self.deadline(ground).is_some_and(|time| time <= now)
    }

    /// Goes as far as is possible without waiting.
    pub(super) fn advance(&mut self, ground: &mut Ground) {
        loop {
            match self.step(ground) {
                Ok(Step::Again) => {}
                Ok(Step::Wait) if self.overdue(ground) => self.give_up(ground),
                Ok(Step::Wait) => return,
                Err((failure, detail)) => self.fail(ground, failure, detail),
            }
        }
    }

    fn step(&mut self, ground: &mut Ground) -> Result<Step, Trouble> {
        match self.phase {
            Phase::Resting(until) => self.rest(ground, until),
            Phase::Connecting => self.connect(ground),
            Phase::Sending => self.send(ground),
            Phase::Receiving => self.receive(ground),
            Phase::AwaitingClose => Ok(self.part(ground)),
            Phase::Finished => Ok(Step::Wait),
        }
    }

    fn overdue(&self, ground: &Ground) -> bool {
        let resting = matches!(self.phase, Phase::Resting(_));
        !resting
            && self
                .deadline(ground)
                .is_some_and(|time| time <= Instant::now())
    }

    fn give_up(&mut self, ground: &mut Ground) {
        if self.phase == Phase::AwaitingClose {
            self.rest_until(Instant::now());
            self.stream = None;
        } else {
            let detail = format!("{:?} after {:?}", self.phase, ground.plan.timeout);
            self.fail(ground, Failure::Timeout, detail);
        }
    }

    fn fail(&mut self, ground: &mut Ground, failure: Failure, detail: String) {
        let detail = match self.local_port() {
            Some(port) => format!(
                "{detail} (client port {port}, {} answers before)",
                self.used
            ),
            None => detail,
        };
        ground.tally.count_failure(failure, detail);
        self.stream = None;
        self.rest_until(Instant::now() + RETRY_DELAY);
    }

    fn local_port(&self) -> Option<u16> {
        Some(self.stream.as_ref()?.local_addr().ok()?.port())
    }

    fn rest_until(&mut self, until: Instant) {
        self.phase = Phase::Resting(until);
    }

    /// A connection that the server closes meanwhile is let go: nothing was asked on it.
    fn rest(&mut self, ground: &mut Ground, until: Instant) -> Result<Step, Trouble> {
        if ground.stopping {
            self.stream = None;
            self.phase = Phase::Finished;
            return Ok(Step::Wait);
        }
        if self.stream.as_mut().is_some_and(is_over) {
            self.stream = None;
        }
        let now = Instant::now();
        if until > now {
            return Ok(Step::Wait);
        }
        self.begin(ground, now)
    }

    fn begin(&mut self, ground: &mut Ground, now: Instant) -> Result<Step, Trouble> {
        self.since = now;
        self.sent = 0;
        self.answer.reset();
        self.progress.reset(self.stream.is_none());
        if self.stream.is_some() {
            self.phase = Phase::Sending;
            return Ok(Step::Again);
        }
        self.used = 0;
        self.phase = Phase::Connecting;
        self.stream = Some(self.open(ground).map_err(|error| connect_trouble(&error))?);
        Ok(Step::Again)
    }

    fn open(&self, ground: &Ground) -> io::Result<TcpStream> {
        let mut stream = TcpStream::connect(ground.plan.address)?;
        stream.set_nodelay(true)?;
        let both = Interest::READABLE | Interest::WRITABLE;
        ground.registry.register(&mut stream, self.token, both)?;
        Ok(stream)
    }

    fn connect(&mut self, ground: &mut Ground) -> Result<Step, Trouble> {
        let Some(stream) = &self.stream else {
            return Ok(Step::Wait);
        };
        if let Ok(Some(error)) = stream.take_error() {
            return Err(connect_trouble(&error));
        }
        if stream.peer_addr().is_err() {
            return Ok(Step::Wait);
        }
        ground.tally.connected();
        self.phase = Phase::Sending;
        Ok(Step::Again)
    }

    fn send(&mut self, ground: &mut Ground) -> Result<Step, Trouble> {
        let Some(stream) = &mut self.stream else {
            return Ok(Step::Wait);
        };
        let words = match &ground.plan.exchange {
            Some(exchange) => self.progress.words(exchange),
            None => &ground.request,
        };
        match stream.write(&words[self.sent..]) {
            Ok(written) => self.sent += written,
            Err(error) if is_pending(&error) => return Ok(Step::Wait),
            Err(error) => return Err(self.loss(&error.to_string())),
        }
        if self.sent == words.len() {
            self.phase = Phase::Receiving;
            if let Some(exchange) = &ground.plan.exchange {
                let next = self.progress.next(exchange);
                self.follow(next, ground);
            }
        }
        Ok(Step::Again)
    }

    fn receive(&mut self, ground: &mut Ground) -> Result<Step, Trouble> {
        let Some(stream) = &mut self.stream else {
            return Ok(Step::Wait);
        };
        let mut buffer = [0; 16 * 1024];
        let complete = match stream.read(&mut buffer) {
            Ok(0) if self.answer.end() => true,
            Ok(0) => return Err(self.loss("closed")),
            Ok(length) if ground.plan.exchange.is_some() => {
                let next = ground
                    .plan
                    .exchange
                    .as_ref()
                    .map(|exchange| self.progress.take(&buffer[..length], exchange));
                self.follow(next.unwrap_or(Next::Read), ground);
                return Ok(Step::Again);
            }
            Ok(length) => {
                let taken = self.answer.take(&buffer[..length]);
                taken.map_err(|why| (Failure::BadAnswer, why.to_string()))?
            }
            Err(error) if is_pending(&error) => return Ok(Step::Wait),
            Err(error) => return Err(self.loss(&error.to_string())),
        };
        if complete {
            self.complete(ground);
        }
        Ok(Step::Again)
    }

    fn follow(&mut self, next: Next, ground: &mut Ground) {
        match next {
            Next::Read => {}
            Next::Ask => {
                self.sent = 0;
                self.phase = Phase::Sending;
            }
            Next::Complete => self.complete(ground),
        }
    }

    fn complete(&mut self, ground: &mut Ground) {
        let (latency, worker) = (self.since.elapsed(), self.answer.worker());
        let name = worker.as_ref().map(|name| name.text());
        ground.tally.count_answer(latency, name.as_deref());
        self.used += 1;
        let is_exchange = ground.plan.exchange.is_some();
        let can_go_on = if is_exchange {
            self.used < ground.plan.exchanges
        } else {
            self.answer.persistent()
        };
        if ground.plan.mode == Mode::KeepAlive && can_go_on {
            self.rest_until(Instant::now() + ground.plan.pause);
        } else if is_exchange {
            // Nobody has told the server that this was all.
            self.stream = None;
            self.rest_until(Instant::now() + ground.plan.pause);
        } else {
            self.since = Instant::now();
            self.phase = Phase::AwaitingClose;
        }
    }

    fn part(&mut self, ground: &Ground) -> Step {
        if !self.stream.as_mut().is_some_and(is_over) {
            return Step::Wait;
        }
        self.stream = None;
        self.rest_until(Instant::now() + ground.plan.pause);
        Step::Again
    }

    /// The connection ended before the answer did.
    fn loss(&self, how: &str) -> Trouble {
        let failure = match (self.answer.begun() || self.progress.begun(), self.used) {
            (true, _) => Failure::Cut,
            (false, 0) => Failure::Fresh,
            (false, _) => Failure::Reused,
        };
        (failure, format!("{how} while {:?}", self.phase))
    }
}

/// Whether the server has ended the connection, or speaks out of turn on it.
fn is_over(stream: &mut TcpStream) -> bool {
    !matches!(stream.read(&mut [0; 256]), Err(error) if is_pending(&error))
}

fn is_pending(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}

fn connect_trouble(error: &io::Error) -> Trouble {
    let failure = match error.kind() {
        ErrorKind::ConnectionRefused => Failure::Refused,
        ErrorKind::TimedOut => Failure::Timeout,
        ErrorKind::ConnectionReset
        | ErrorKind::ConnectionAborted
        | ErrorKind::BrokenPipe
        | ErrorKind::HostUnreachable
        | ErrorKind::NetworkUnreachable => Failure::Connecting,
        _ => Failure::Local,
    };
    (failure, error.to_string())
}
