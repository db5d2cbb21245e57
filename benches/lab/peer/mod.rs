//! Whom we are measured against: one file each.
//!
//! Each runs the same application as we do (see [`Work`]) with as many workers, in the
//! configuration that its own documentation advises for speed and for reloads; where we chose, a
//! comment says why. What is missing on a machine is named and left out, never an error: nobody
//! has all of them.
//!
//! - [`process_tree`], [`roles`], [`process`], [`termination`]: what was started, who of it serves, and its
//!   end
//! - [`supervisor_cost`]: what supervisors cost
//! - [`poll`]: waiting for what nobody reports
//! - [`tool`]: programs, where they are and which version
//! - [`work`]: what they serve
//! - [`ours`], and [`cluster`], [`pm2`], [`haproxy`], [`nginx`], [`gunicorn`], [`starter`], [`asgi`]
//! - [`bare`]: servers without any supervisor, for what wrapping costs
//! - [`experiment`]: what is asked of all of them
//! - [`run`]: everyone in turn
//! - [`page`]: what came of it, as a document

pub mod asgi;
pub mod bare;
pub mod cluster;
pub mod experiment;
pub mod gunicorn;
pub mod haproxy;
pub mod nginx;
pub mod ours;
pub mod page;
pub mod pm2;
pub mod poll;
pub mod process;
pub mod process_tree;
pub mod roles;
pub mod run;
pub mod starter;
pub mod supervisor_cost;
pub mod termination;
pub mod tool;
pub mod work;

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use process_tree::ProcessTree;
use tool::{Missing, Tool};
pub use work::Work;

/// Where and how a subject is to serve.
#[derive(Clone, Debug)]
pub struct Place {
    /// What it is to listen at.
    pub address: SocketAddr,
    /// How many processes are to serve.
    pub workers: u32,
    /// For its files; empty before, removed after.
    pub directory: PathBuf,
}

impl Place {
    /// The port, as an argument.
    pub fn port(&self) -> String {
        self.address.port().to_string()
    }

    /// The address without the port, as an argument.
    pub fn host(&self) -> String {
        self.address.ip().to_string()
    }

    /// How many processes are to serve, to count with.
    pub fn worker_count(&self) -> usize {
        usize::try_from(self.workers).unwrap_or(usize::MAX)
    }

    /// A file of the subject's own.
    pub fn file(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }
}

/// Names and versions of the software that a subject needs.
pub type Versions = Vec<(&'static str, String)>;

/// Who a subject is.
#[derive(Clone, Copy, Debug)]
pub struct Profile {
    /// What it is called in tables, and in `--peers`.
    pub name: &'static str,
    /// What it serves.
    pub work: Work,
    /// The programs that it needs.
    pub needs: &'static [Tool],
    /// Why it is configured as it is, for the report.
    pub configuration: &'static str,
    /// How it is reloaded, for the report.
    pub reload: &'static str,
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {}", self.name, self.work)
    }
}

/// One subject.
pub trait Peer: Sync {
    /// Who it is.
    fn profile(&self) -> Profile;

    /// What it needs, and which version of each is here.
    ///
    /// # Errors
    /// What is missing, and how it is installed.
    fn versions(&self) -> Result<Versions, Missing> {
        self.profile().needs.iter().map(Tool::found).collect()
    }

    /// Starts it; who waits until it serves is the caller.
    ///
    /// # Errors
    /// If a file cannot be written or a process cannot be started.
    fn start(&self, place: &Place) -> io::Result<ProcessTree>;

    /// Begins a reload, or gives the command that is to be run for it. That it is done is seen from
    /// outside, for all alike: all workers from before are gone, and as many new ones are there.
    ///
    /// # Errors
    /// If it cannot be begun.
    fn reload(&self, process_tree: &mut ProcessTree, place: &Place) -> io::Result<Option<Command>>;
}

/// Whether this name is one that the user asked for; all are if they asked for none.
pub fn is_wanted(peer: &dyn Peer, wanted: &[String]) -> bool {
    let name = peer.profile().name;
    wanted.is_empty() || wanted.iter().any(|word| name.starts_with(word.as_str()))
}

/// Every subject that there is, ours of each work first: the others are compared with it.
pub fn all() -> Vec<Box<dyn Peer>> {
    let mut peers: Vec<Box<dyn Peer>> = Vec::new();
    for work in Work::COMPARED {
        let ready = ours::Ready::Listening;
        peers.push(Box::new(ours::Ours { work, ready }));
    }
    peers.push(Box::new(ours::Ours {
        work: work::Work::Node,
        ready: ours::Ready::Asked,
    }));
    for policy in cluster::POLICIES {
        peers.push(Box::new(cluster::Cluster { policy }));
    }
    peers.push(Box::new(pm2::Pm2));
    peers.push(Box::new(haproxy::Haproxy));
    for reuse_port in [false, true] {
        peers.push(Box::new(gunicorn::Gunicorn { reuse_port }));
        peers.push(Box::new(nginx::Nginx { reuse_port }));
    }
    peers.push(Box::new(starter::Starter));
    peers.push(Box::new(asgi::Asgi::Uvicorn));
    peers.push(Box::new(asgi::Asgi::Granian));
    peers
}

/// The application of the Node subjects, or their cluster, as an argument.
pub fn application(name: &str) -> String {
    concat!(env!("CARGO_MANIFEST_DIR"), "/benches/lab/peer/app/").to_owned() + name
}

/// The folder of the servers that the tests have, too: the Python application is found by its name
/// in it.
pub fn fixtures() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixture"))
}

/// A command of these words, which finds the Python application.
///
/// # Errors
/// If there is no word.
pub fn command(words: &[String]) -> io::Result<Command> {
    let [program, arguments @ ..] = words else {
        return Err(io::Error::other("a command without a program"));
    };
    let mut command = Command::new(program);
    command.args(arguments);
    is_to_find_fixtures(&mut command);
    Ok(command)
}

/// Lets a command find the Python application, and leave nothing beside it.
pub fn is_to_find_fixtures(command: &mut Command) -> &mut Command {
    command
        .current_dir(fixtures())
        .env("PYTHONDONTWRITEBYTECODE", "1")
}
