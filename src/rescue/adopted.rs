//! A connection that the worker has let go of: idle, being rescued, or lingering until the client has
//! closed.
//!
//! | stage | the client sends | the client closes | the deadline passes |
//! | --- | --- | --- | --- |
//! | `Idle` | `Relay` | ends | ends |
//! | `Brief`, until it is known that HTTP/1 is spoken: then `Idle` | `Relay` | ends | ends |
//! | `InDoubt` | `Relay` | ends | ends if the worker died with a request, else `Idle` |
//! | `Relay` | as the [`Relay`] says, then ends or `Lingering` | likewise | likewise |
//! | `Lingering` | dropped | ends | ends |

use std::io;
use std::net::{Shutdown, SocketAddr};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use mio::{Interest, Registry, Token};

use super::adoption::{Adoption, LINGER_TIMEOUT, Sharing};
use super::client::Client;
use super::evidence::Evidence;
use super::relay::{ClientTimeouts, Progress, Relay, RelayContext, TimedOut};
use super::routes::Routes;
use super::step::{End, Step};
use super::tallies::{CLIENT_BROKE, Outcome, TIME_OUT, Tallies};
use crate::sys::tcp;
use crate::wire::http::{Ending, Exchange, Sent};

/// So much of a first request is looked at.
const PEEK_LEN: usize = 512;
/// When to ask a silent client whether it is still there.
const KEEPALIVE_AFTER: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub(super) struct AdoptedConnection {
    worker: u64,
    client: Client,
    stage: Stage,
    sharing: Sharing,
    deadline: Option<Instant>,
}

#[derive(Debug)]
enum Stage {
    Idle,
    /// Idle, and not known to be HTTP/1.
    Brief,
    /// Idle, unless the worker has died with a request: the kernel will tell.
    InDoubt,
    Relay(Box<Relay>),
    Lingering,
}

/// What an adopted connection needs from outside.
pub(super) struct AdoptedContext<'a> {
    pub(super) registry: &'a Registry,
    /// The token for the connection to the server.
    pub(super) server: Token,
    pub(super) routes: &'a Routes,
    pub(super) timeouts: ClientTimeouts,
    pub(super) tallies: &'a mut Tallies,
    pub(super) now: Instant,
    /// Room to read into, which all connections share.
    pub(super) scratch: &'a mut [u8],
    /// What bytes have shown, and on which address.
    pub(super) heard: &'a mut Vec<(SocketAddr, Evidence)>,
}

impl AdoptedConnection {
    /// A connection that the worker still has stays frozen, or the worker would wake for what comes. Any
    /// other must thaw, or the rescuer would not.
    pub(super) fn new(
        worker: u64,
        socket: OwnedFd,
        adoption: Adoption,
        routes: &Routes,
        timeouts: ClientTimeouts,
        now: Instant,
    ) -> io::Result<Self> {
        let sharing = adoption.sharing();
        if sharing == Sharing::Alone {
            tcp::thaw(&socket)?;
        }
        let client = Client::from(socket);
        let timeout = adoption.timeout(timeouts, || client.round_trip());
        let stage = match adoption {
            Adoption::Idle | Adoption::Accepted | Adoption::Answered => Stage::Idle,
            Adoption::Brief | Adoption::Greeting => Stage::Brief,
            Adoption::InDoubt => Stage::InDoubt,
            Adoption::WithRequest(bytes) | Adoption::Shared(bytes) => {
                relay(&client, routes, &bytes, now)
            }
            Adoption::Lingering => {
                let _ = client.shut_down(Shutdown::Write);
                Stage::Lingering
            }
        };
        client.set_keepalive(KEEPALIVE_AFTER);
        Ok(Self {
            worker,
            client,
            stage,
            sharing,
            deadline: Some(now + timeout),
        })
    }

    pub(super) fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        let interest = Interest::READABLE | Interest::WRITABLE;
        registry.register(&mut self.client, token, interest)
    }

    pub(super) fn worker(&self) -> u64 {
        self.worker
    }

    /// When [`Self::timed_out`] is to be called; none: the server may take its time.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    pub(super) fn is_idle(&self) -> bool {
        match self.stage {
            Stage::Idle | Stage::Brief | Stage::InDoubt => true,
            Stage::Relay(_) | Stage::Lingering => false,
        }
    }

    /// Whether a stop signal to this worker could still break the connection: some workers shut down
    /// what they have, and that is for all who have it.
    pub(super) fn is_endangered_by(&self, worker: u64) -> bool {
        self.sharing == Sharing::WithWorker
            && self.worker == worker
            && matches!(self.stage, Stage::Relay(_))
    }

    /// The address on which it came in.
    pub(super) fn local(&self) -> Option<SocketAddr> {
        self.client.local()
    }

    /// From where its request is passed on; none: it is not now.
    pub(super) fn passed_on_from(&self) -> Option<SocketAddr> {
        match &self.stage {
            Stage::Relay(relay) => relay.from(),
            Stage::Idle | Stage::Brief | Stage::InDoubt | Stage::Lingering => None,
        }
    }

    /// Its endpoint is known to speak HTTP/1.
    pub(super) fn keep(&mut self, timeouts: ClientTimeouts, now: Instant) {
        if matches!(self.stage, Stage::Brief) {
            self.stage = Stage::Idle;
            self.deadline = Some(now + timeouts.idle);
        }
    }

    /// The client or the server is ready, or the connection has yielded before.
    pub(super) fn ready(&mut self, context: &mut AdoptedContext<'_>) -> Step {
        match self.stage {
            Stage::Idle | Stage::Brief | Stage::InDoubt => self.begin(context),
            Stage::Relay(_) => self.relay(context),
            Stage::Lingering if self.client.drop_input(context.scratch) => {
                Step::Ends(End::Lingered)
            }
            Stage::Lingering => Step::Waits,
        }
    }

    /// Sees whether a request has come.
    fn begin(&mut self, context: &mut AdoptedContext<'_>) -> Step {
        let room = context.scratch.len().min(PEEK_LEN);
        let seen = tcp::peek(&self.client, &mut context.scratch[..room]);
        match seen {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Step::Waits,
            Ok(count @ 1..) => {
                let heard = self.client.evidence(&context.scratch[..count]);
                context.heard.extend(heard);
                self.stage = relay(&self.client, context.routes, &[], context.now);
                self.relay(context)
            }
            Ok(0) | Err(_) => Step::Ends(End::Idle),
        }
    }

    fn relay(&mut self, context: &mut AdoptedContext<'_>) -> Step {
        let ends = self.client.ends(context.routes);
        let (Stage::Relay(relay), Some(ends)) = (&mut self.stage, ends) else {
            return Step::Ends(End::GivenUp("remote-client"));
        };
        let before = relay.answered();
        let mut around = RelayContext {
            registry: context.registry,
            token: context.server,
            ends,
            names: context.routes.names(),
            now: context.now,
            scratch: context.scratch,
        };
        let progress = relay.pump(&mut self.client, &mut around);
        let answered = relay.answered();
        self.deadline = relay.deadline(context.timeouts);
        let rescued = Outcome::Rescued(answered - before);
        context.tallies.count(self.worker, rescued);
        match progress {
            Progress::Waits => Step::Waits,
            Progress::Yields => Step::Yields,
            Progress::ClientBroke if answered > 0 => Step::Ends(End::Served),
            Progress::ClientBroke => Step::Ends(End::GivenUp(CLIENT_BROKE)),
            Progress::Ended(ending) => self.conclude(ending, answered, context),
        }
    }

    /// Closes as the ending asks for.
    fn conclude(
        &mut self,
        ending: Ending,
        answered: u64,
        context: &mut AdoptedContext<'_>,
    ) -> Step {
        match ending {
            Ending::ClientLeft if answered == 0 => return Step::Ends(End::Idle),
            Ending::ClientLeft => return Step::Ends(End::Served),
            Ending::Broken { flaw, sent } => {
                if sent == Sent::Part {
                    self.client.end_by_reset();
                }
                if sent == Sent::Part || answered == 0 {
                    return Step::Ends(End::GivenUp(flaw.reason()));
                }
                let given_up = Outcome::GivenUp(flaw.reason());
                context.tallies.count(self.worker, given_up);
            }
            Ending::Answered => {}
        }
        self.stage = Stage::Lingering;
        self.deadline = Some(context.now + LINGER_TIMEOUT);
        let is_over = self.client.shut_down(Shutdown::Write).is_err()
            || self.client.drop_input(context.scratch);
        if is_over {
            Step::Ends(End::Lingered)
        } else {
            Step::Waits
        }
    }

    /// The deadline has passed.
    pub(super) fn timed_out(&mut self, context: &mut AdoptedContext<'_>) -> Step {
        match &mut self.stage {
            Stage::Idle | Stage::Brief => Step::Ends(End::Idle),
            Stage::InDoubt if self.client.is_answer_due() => Step::Ends(End::GivenUp("in-flight")),
            Stage::InDoubt => {
                self.stage = Stage::Idle;
                self.deadline = Some(context.now + context.timeouts.idle);
                Step::Waits
            }
            Stage::Lingering => Step::Ends(End::Lingered),
            Stage::Relay(relay) => match relay.timed_out() {
                TimedOut::Client => Step::Ends(End::GivenUp(TIME_OUT)),
                TimedOut::Connect => self.ready(context),
            },
        }
    }

    /// How a connection ends that nobody waits for any more.
    pub(super) fn end_if_abandoned(&self) -> End {
        match self.stage {
            Stage::Idle | Stage::Brief | Stage::InDoubt => End::Idle,
            Stage::Lingering => End::Lingered,
            Stage::Relay(_) => End::GivenUp("ended"),
        }
    }

    /// The end of the rescuer's descriptor is not the end of the socket while the worker has one: so
    /// the poll must be told, and the worker must see an end.
    pub(super) fn close(mut self, registry: &Registry) {
        let _ = registry.deregister(&mut self.client);
        if self.sharing == Sharing::WithWorker {
            let _ = self.client.shut_down(Shutdown::Read);
        }
    }
}

/// A rescue of which these bytes are there already.
fn relay(client: &Client, routes: &Routes, bytes: &[u8], now: Instant) -> Stage {
    let mut exchange = Exchange::new(client.lines(routes));
    exchange.client_sent(bytes);
    Stage::Relay(Box::new(Relay::new(exchange, now)))
}
