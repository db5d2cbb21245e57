//! The clients of the control socket: many at once, each bounded, none able to harm another.
//!
//! A client sends one line and reads until a final reply; then it is disconnected. One that sends
//! garbage gets an error; one that sends too much, or does not read its reply, is disconnected.
//! When there are too many, the one that has said nothing for longest goes.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::Path;
use std::time::Instant;

use log::{debug, info, warn};
use mio::net::UnixStream;
use mio::{Interest, Token};

use super::client::{Client, State};
use super::reload::ReloadAction;
use crate::fleet::{ClientId, Event, ScaleTo, StopHow, WorkerId};
use crate::supervisor::StartError;
use crate::supervisor::repeated::RepeatedWarning;
use crate::supervisor::sources::{Source, Sources};
use crate::sys::socket::{self, Peer};
use crate::wire::control::{Reply, Request, Scale, parse_request, reply_line, request_line};

/// The most clients at once.
const MAX_CLIENTS: usize = 128;
/// The most that is kept for a client that does not read; a status of 4,096 workers fits.
const MAX_UNREAD_LEN: usize = 4 << 20;

#[derive(Debug)]
pub(crate) struct Control {
    listener: socket::Bound<std::os::unix::net::UnixListener>,
    token: Token,
    clients: BTreeMap<Token, Client>,
    next_client_id: u64,
    refused: RepeatedWarning,
    unaccepted: RepeatedWarning,
}

impl Control {
    pub(crate) fn open(path: &Path, sources: &mut Sources) -> Result<Self, StartError> {
        let (listener, token) = listen(path, sources)?;
        Ok(Self {
            listener,
            token,
            clients: BTreeMap::new(),
            next_client_id: 0,
            refused: RepeatedWarning::default(),
            unaccepted: RepeatedWarning::default(),
        })
    }

    pub(crate) fn path(&self) -> &Path {
        self.listener.path()
    }

    /// Whether clients find the socket.
    pub(crate) fn is_there(&self) -> bool {
        self.listener.is_there()
    }

    /// Makes the socket again if clients do not find it; says whether that was so.
    pub(crate) fn restore(&mut self, sources: &mut Sources) -> Result<bool, StartError> {
        if self.is_there() {
            return Ok(false);
        }
        let (listener, token) = listen(self.path(), sources)?;
        sources.remove(&self.listener.socket, self.token);
        (self.listener, self.token) = (listener, token);
        Ok(true)
    }

    /// When the count of a warning is to be said.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let counts = [&self.refused, &self.unaccepted];
        let counts = counts.into_iter().filter_map(RepeatedWarning::deadline);
        counts.min()
    }

    pub(crate) fn check_time(&mut self) {
        self.refused.check_time();
        self.unaccepted.check_time();
    }

    /// The next client that connects.
    pub(crate) fn next_client(&mut self) -> Option<std::os::unix::net::UnixStream> {
        loop {
            match self.listener.socket.accept() {
                Ok((stream, _)) => return Some(stream),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return None,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => {
                    let sentence = format!("cannot accept a client of the control socket: {error}");
                    self.unaccepted.warn(sentence);
                    return None;
                }
            }
        }
    }

    pub(crate) fn is_full(&self) -> bool {
        self.clients.len() >= MAX_CLIENTS
    }

    pub(crate) fn sending(&self) -> Vec<Token> {
        let sending = self
            .clients
            .iter()
            .filter(|(_, client)| client.state == State::Sending);
        sending.map(|(token, _)| *token).collect()
    }

    pub(crate) fn admit(&mut self, sources: &mut Sources, stream: std::os::unix::net::UnixStream) {
        let ours = nix::unistd::geteuid().as_raw();
        let peer = match socket::peer(&stream) {
            Ok(peer) if peer.user == ours || peer.user == 0 => peer,
            Ok(Peer { user, .. }) => {
                return self.refused.warn(format!(
                    "a client of user {user} was turned away from the control socket; only user {ours} and root may \
                     use it"
                ));
            }
            Err(error) => {
                return warn!("cannot tell who a client of the control socket is: {error}");
            }
        };
        if let Err(error) = stream.set_nonblocking(true) {
            return warn!("cannot make a client nonblocking: {error}");
        }
        self.make_room(sources);
        let token = sources.token(Source::Client);
        let mut stream = UnixStream::from_std(stream);
        if let Err(error) =
            sources
                .registry()
                .register(&mut stream, token, Interest::READABLE | Interest::WRITABLE)
        {
            return warn!("cannot wait for a client of the control socket: {error}");
        }
        let id = ClientId(self.next_client_id);
        self.next_client_id += 1;
        self.clients.insert(token, Client::new(stream, id, peer));
    }

    /// Tokens are given in order, so the first client that is still sending its request has been for longest.
    fn make_room(&mut self, sources: &mut Sources) {
        if !self.is_full() {
            return;
        }
        let idle = self
            .clients
            .iter()
            .find(|(_, client)| client.state != State::Waiting)
            .map(|(token, _)| *token);
        if let Some(token) = idle.or_else(|| self.clients.keys().next().copied()) {
            debug!("too many clients of the control socket; the oldest is disconnected");
            self.disconnect(sources, token);
        }
    }

    fn disconnect(&mut self, sources: &mut Sources, token: Token) {
        if let Some(client) = self.clients.remove(&token) {
            sources.remove(&client.stream, token);
        }
    }

    /// Sends a line to a client; a final one is the last that the client gets.
    pub(crate) fn reply(&mut self, sources: &mut Sources, id: ClientId, reply: &Reply) {
        let Some((token, client)) = self.clients.iter_mut().find(|(_, client)| client.id == id)
        else {
            return;
        };
        let token = *token;
        client.unread.extend(reply_line(reply));
        if reply.is_final() {
            client.state = State::Answered;
        }
        if !client.flush() || client.unread.len() > MAX_UNREAD_LEN {
            self.disconnect(sources, token);
        }
    }
}

/// What a request of a client leads to.
#[derive(Debug)]
pub(crate) enum ClientAction {
    /// To be answered at once.
    Status,
    /// Something for the fleet to decide.
    Event(Event),
    /// A reload, of which it is to be read what it starts.
    Reload(ReloadAction),
}

impl Control {
    /// The request of a client that has sent something, or can be written to.
    pub(crate) fn client_ready(
        &mut self,
        sources: &mut Sources,
        token: Token,
    ) -> Option<(ClientId, ClientAction)> {
        let client = self.clients.get_mut(&token)?;
        if !client.flush() {
            self.disconnect(sources, token);
            return None;
        }
        let (id, peer) = (client.id, client.peer);
        match client.read() {
            Ok(line) => Some((id, self.parse(sources, id, peer, &line?)?)),
            // A client that has left gets no reply, but its request goes on.
            Err(_) => {
                self.disconnect(sources, token);
                None
            }
        }
    }

    /// The action of a request line; a line that is not understood is denied at once.
    fn parse(
        &mut self,
        sources: &mut Sources,
        id: ClientId,
        peer: Peer,
        line: &[u8],
    ) -> Option<ClientAction> {
        let request = match parse_request(line) {
            Ok(request) => request,
            Err(message) => {
                self.reply(sources, id, &Reply::Denied { message });
                return None;
            }
        };
        if request != Request::Status {
            info!(
                "asked for by pid {} of user {}: {}",
                peer.pid,
                peer.user,
                told(&request)
            );
        }
        let reply_to = Some(id);
        Some(ClientAction::Event(match request {
            Request::Status => return Some(ClientAction::Status),
            Request::Reload(reload) => return Some(ClientAction::Reload(reload.into())),
            Request::Pause => Event::PauseRequested { reply_to },
            Request::Promote => Event::PromoteRequested { reply_to },
            Request::Rollback => Event::RollbackRequested { reply_to },
            Request::Stop { now } => Event::StopRequested {
                reply_to,
                how: if now { StopHow::Now } else { StopHow::Drain },
            },
            Request::Restart { worker } => Event::RestartRequested {
                reply_to,
                worker: WorkerId(worker),
            },
            Request::Scale { to } => Event::ScaleRequested {
                reply_to,
                to: scale(to),
            },
        }))
    }
}

fn listen(
    path: &Path,
    sources: &mut Sources,
) -> Result<(socket::Bound<std::os::unix::net::UnixListener>, Token), StartError> {
    let listener = socket::bind_control(path)?;
    let added = sources.add(&listener.socket, Source::Control, Interest::READABLE);
    let token = added.map_err(|source| StartError::System {
        operation: "wait for clients",
        source,
    })?;
    Ok((listener, token))
}

/// A request, as the log has it. The values of variables may be secrets.
fn told(request: &Request) -> String {
    let mut told = request.clone();
    if let Request::Reload(reload) = &mut told {
        for variable in &mut reload.environment {
            variable.value = "...".to_owned();
        }
    }
    let line = request_line(&told);
    String::from_utf8_lossy(line.trim_ascii_end()).into_owned()
}

fn scale(to: Scale) -> ScaleTo {
    match to {
        Scale::Exactly(count) => ScaleTo::Exactly(count),
        Scale::Up(count) => ScaleTo::By(i64::from(count)),
        Scale::Down(count) => ScaleTo::By(-i64::from(count)),
    }
}
