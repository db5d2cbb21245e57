//! The control protocol: one JSON object a line, both ways, over a Unix stream socket.
//!
//! A client sends one [`Request`] and reads [`Reply`] lines until one that is
//! [final](Reply::is_final). The supervisor sends nothing without a request.

use serde::{Deserialize, Serialize};

pub use super::status::*;

/// The longest request line that is read, in bytes. A client that sends more is hung up on.
pub const MAX_REQUEST: usize = 256 << 10;

/// What a client asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "verb", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Request {
    /// What runs, and how it is.
    Status,
    /// Replace every worker by a new generation.
    Reload(Reload),
    /// The new workers of a reload are good: those of before do not stand by any longer.
    Promote,
    /// The trial of new workers goes on until `Promote` or `Rollback`.
    Pause,
    /// What served before the last reload serves again.
    Rollback,
    /// End the supervisor: `now` kills, else the workers drain.
    Stop {
        /// Do not drain.
        #[serde(default)]
        now: bool,
    },
    /// Change the number of workers.
    Scale {
        /// The new number, or the difference.
        to: Scale,
    },
    /// Replace one worker.
    Restart {
        /// The worker's id, as in `status`.
        worker: u64,
    },
}

/// What a reload is to start, and how.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reload {
    /// Wait for a change that is under way, do not be denied for it.
    #[serde(default, skip_serializing_if = "is_not")]
    pub wait: bool,
    /// The new generation may serve other addresses than the one before.
    #[serde(default, skip_serializing_if = "is_not")]
    pub accept_changes: bool,
    /// Some workers of the new generation are tried first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canary: Option<Canary>,
    /// The command and its arguments, from now on; none: as before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<Vec<String>>,
    /// Variables for the workers, from now on, beside those of before.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub environment: Vec<Variable>,
    /// The directory in which workers are started, from now on; none: as before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chdir: Option<String>,
    /// What earlier reloads were given of these three holds no more.
    #[serde(default, skip_serializing_if = "is_not")]
    pub as_configured: bool,
}

/// A variable of the environment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Variable {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: String,
}

/// Workers that are tried first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Canary {
    /// How many of a hundred new connections they get together, 1 to 99.
    pub percent: u32,
    /// How many workers.
    pub workers: u32,
    /// For how many milliseconds; none: until `Promote` or `Rollback`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub for_ms: Option<u64>,
}

/// How many workers there shall be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scale {
    /// That many.
    Exactly(u32),
    /// So many more.
    Up(u32),
    /// So many fewer.
    Down(u32),
}

/// What the supervisor answers, a line each.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "reply", rename_all = "kebab-case")]
pub enum Reply {
    /// A change has come to a new phase; more lines follow.
    Phase {
        /// Milliseconds since the change was requested.
        after_ms: u64,
        /// The phase's name: `waiting` (its turn), `starting`, `canary`, `serving`, `soaking`, `settling`, `quiescing`, `draining`,
        /// `gone`.
        phase: String,
        /// What it is about, for a person: how many workers of which generation.
        detail: String,
    },
    /// The change is done. Final.
    Done {
        /// A sentence.
        message: String,
    },
    /// The change failed, and everything is as it was before. Final.
    Failed {
        /// A sentence: what failed, and why.
        message: String,
    },
    /// The request was not understood or cannot be done now; nothing was changed. Final.
    Denied {
        /// A sentence.
        message: String,
    },
    /// The answer to [`Request::Status`]. Final.
    Status(Box<Status>),
}

impl Reply {
    /// Whether no more lines follow.
    pub fn is_final(&self) -> bool {
        !matches!(self, Self::Phase { .. })
    }
}

/// Reads one request line (without its newline).
///
/// # Errors
/// A sentence that says what is wrong with it.
pub fn parse_request(line: &[u8]) -> Result<Request, String> {
    let request = serde_json::from_slice(line)
        .map_err(|error| format!("the request is not understood: {error}"))?;
    match request {
        Request::Reload(Reload {
            canary: Some(canary),
            ..
        }) if canary.workers == 0 || !(1..=99).contains(&canary.percent) => Err(
            "the request is not understood: a canary is at least one worker, with 1 to 99 percent of the new connections"
                .to_owned(),
        ),
        request => Ok(request),
    }
}

/// One reply as a line, with its newline.
pub fn reply_line(reply: &Reply) -> Vec<u8> {
    line(reply)
}

/// One request as a line, with its newline.
pub fn request_line(request: &Request) -> Vec<u8> {
    line(request)
}

/// Reads one reply line.
///
/// # Errors
/// A sentence that says what is wrong with it.
pub fn parse_reply(line: &[u8]) -> Result<Reply, String> {
    serde_json::from_slice(line).map_err(|error| format!("the reply is not understood: {error}"))
}

/// For what is left out where it is not so: a supervisor of an older version would not understand it.
fn is_not(flag: &bool) -> bool {
    !flag
}

fn line(message: &impl Serialize) -> Vec<u8> {
    // These types hold no map with keys that are not strings, the one thing that JSON refuses.
    let mut bytes = serde_json::to_vec(message).unwrap_or_default();
    bytes.push(b'\n');
    bytes
}
