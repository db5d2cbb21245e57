//! What this host lets us do: tried once, before the first worker is started.
//!
//! A version says little: distributions bring features to old numbers, and containers and security modules take
//! them away from new ones. So each feature is used, on something that is nobody's, and what follows from
//! its absence is said at the start and not when a request is lost.
//!
//! | file | what it does |
//! | --- | --- |
//! | `feature` | the features, and what follows where one is missing |
//! | `sample` | a process of ours, to be looked into as workers are |
//! | `table` | `--probe` |

mod feature;
mod sample;
mod table;

use std::net::Ipv4Addr;

use log::{debug, warn};
use nix::unistd::geteuid;

pub use feature::Feature;
use sample::Sample;
pub use sample::{NAME as SAMPLE_NAME, run as run_sample};

use crate::config::{Config, Identity};
use crate::sys::seccomp::Unsupported;
use crate::sys::{diag, kernel, listener, procfs, seccomp, steering};
use crate::wire::diag::States;

/// Where workers have their listeners from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sockets {
    /// They bind them themselves.
    Own,
    /// They are passed to them (`--listen`).
    Passed,
}

/// What was found.
#[derive(Debug)]
pub struct Host {
    /// The kernel's release (uname(2)).
    pub release: String,
    interception: Result<(), Unsupported>,
    /// How the workers' user is called, where that is another than ours.
    user: Option<String>,
    /// Clauses that say why there is no such feature.
    missing: Vec<(Feature, String)>,
}

impl Host {
    /// Tries every feature, with workers of this user; some 3 ms.
    pub fn look(user: Option<&Identity>) -> Self {
        let mut host = Self {
            release: kernel::release(),
            interception: seccomp::check_support(),
            user: user.map(|user| user.name.clone()),
            missing: Vec::new(),
        };
        match Sample::start(user) {
            Ok(sample) => {
                host.note(Feature::Memory, sample.read_memory());
                host.note(Feature::Fetching, sample.fetch_descriptor());
            }
            Err(error) => debug!("cannot start a process to look into: {error}"),
        }
        host.note(
            Feature::Diagnostics,
            diag::connections_by_netlink(0, States::OPEN),
        );
        host.note(Feature::Fence, steering::check_fence());
        host.note(Feature::Hiding, hide_one());
        host
    }

    fn note<T, E: ToString>(&mut self, feature: Feature, tried: Result<T, E>) {
        if let Err(error) = tried {
            self.missing.push((feature, error.to_string()));
        }
    }

    /// Why a feature is missing; none where it is there.
    fn missing(&self, feature: Feature) -> Option<&str> {
        let mut missing = self.missing.iter();
        let found = missing.find(|(missing, _)| *missing == feature);
        found.map(|(_, why)| why.as_str())
    }

    /// Whether sockets of workers can be fetched.
    pub(super) fn can_fetch(&self) -> bool {
        self.missing(Feature::Fetching).is_none()
    }

    /// Why no server can be run here, in one sentence; none where one can.
    pub fn obstacle(&self, sockets: Sockets) -> Option<String> {
        let is_passed = sockets == Sockets::Passed;
        match &self.interception {
            Err(why) if why.is_for_age(kernel::version(&self.release) < OLDEST) => {
                return Some(format!(
                    "Linux 5.9 or later is needed; this is {}",
                    self.release
                ));
            }
            // A worker that takes what is passed needs no interception.
            Err(why) if !is_passed => return Some(why.to_string()),
            Err(_) | Ok(()) => {}
        }
        let why = self.missing(Feature::Memory).filter(|_| !is_passed)?;
        let listen = "or use --listen ADDR for a server that can take a socket";
        if let Some(user) = &self.user {
            return Some(format!(
                "cannot look at what workers of user {user} bind: {why}; give the supervisor CAP_SYS_PTRACE (in Docker \
                 --cap-add SYS_PTRACE), {listen}"
            ));
        }
        let scope = procfs::tracing_scope().filter(|scope| *scope >= 2)?;
        Some(format!(
            "cannot look at what workers bind: {why} (kernel.yama.ptrace_scope is {scope}); {}, {listen}",
            remedy_for_tracing()
        ))
    }

    /// Says what is done in place of what is missing.
    pub(super) fn log(&self, config: &Config) {
        for (feature, why) in &self.missing {
            if feature.matters_to(config) {
                warn!("{}", self.sentence(*feature, why));
            } else {
                debug!("{}", self.sentence(*feature, why));
            }
        }
    }

    fn sentence(&self, feature: Feature, why: &str) -> String {
        format!(
            "{}: {why}; {}; {}",
            feature.mechanism(),
            feature.without(),
            feature.remedy()
        )
    }
}

const OLDEST: [u32; 3] = [5, 9, 0];

/// Hides a listener that nobody knows.
fn hide_one() -> std::io::Result<()> {
    let address = (Ipv4Addr::LOCALHOST, 0).into();
    steering::hide(&listener::create(&address, false)?)
}

fn remedy_for_tracing() -> &'static str {
    if geteuid().is_root() {
        "give the supervisor CAP_SYS_PTRACE, or set kernel.yama.ptrace_scope to 1"
    } else {
        "run as root, give the supervisor CAP_SYS_PTRACE, or set kernel.yama.ptrace_scope to 1"
    }
}
