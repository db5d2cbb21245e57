//! One process of a server, without any supervisor: what we wrap, and what wrapping is compared
//! with.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::process::Command;

use super::process_tree::ProcessTree;
use super::tool::{GO, GRANIAN, Missing, NGINX, NODE, PYTHON, Tool, UVICORN};
use super::{Place, Work, application, command, fixtures, gunicorn, nginx, ours};

const DEMO: &str = env!("CARGO_BIN_EXE_reuseport-demo");

/// The command that serves this work with one process.
///
/// # Errors
/// If a file of it cannot be written.
pub fn server(work: Work, place: &Place) -> io::Result<Vec<String>> {
    let (host, port) = (place.host(), place.port());
    let application = application("http.js");
    Ok(match work {
        Work::Node => words(&[&NODE.word(), &application, &port, &host]),
        Work::Wsgi => gunicorn::words(&place.address.to_string(), 1, &[]),
        Work::Asgi => words(&[
            &UVICORN.word(),
            "--host",
            &host,
            "--port",
            &port,
            "--log-level",
            "warning",
            "--no-access-log",
            "--timeout-keep-alive",
            "120",
            "app:asgi",
        ]),
        Work::Granian => words(&[
            &GRANIAN.word(),
            "--host",
            &host,
            "--port",
            &port,
            "--interface",
            "asgi",
            "--workers",
            "1",
            // Else one whose worker died stays, and serves nobody.
            "--respawn-failed-workers",
            // Between one worker and the next at a reload, 3.5 s by default; it boots in less than 1 s.
            "--respawn-interval",
            "1",
            "--no-access-log",
            "--log-level",
            "warning",
            "app:asgi",
        ]),
        Work::Static => {
            // Without a master: it would be a supervisor under a supervisor.
            let file = nginx::configure(place, "master_process off;", "")?;
            words(&[&NGINX.word(), "-c", &file.display().to_string()])
        }
        Work::Demo => words(&[DEMO, &place.address.to_string()]),
    })
}

/// A command of these words.
pub fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

/// A server that is measured with us around it and without.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bare {
    /// `app/http.js`.
    Node,
    /// Go's net/http.
    Go,
    /// Python's http.server.
    Python,
    /// nginx as one process.
    Nginx,
}

impl Bare {
    /// All.
    pub const ALL: [Self; 4] = [Self::Node, Self::Go, Self::Python, Self::Nginx];

    /// Its name in the report.
    pub fn name(self) -> &'static str {
        match self {
            Self::Node => "Node",
            Self::Go => "Go",
            Self::Python => "python",
            Self::Nginx => "nginx",
        }
    }

    /// What it is built or run with.
    fn tool(self) -> Tool {
        match self {
            Self::Node => NODE,
            Self::Go => GO,
            Self::Python => PYTHON,
            Self::Nginx => NGINX,
        }
    }

    /// The name of that, and its version.
    ///
    /// # Errors
    /// What is missing.
    pub fn found(self) -> Result<(&'static str, String), Missing> {
        self.tool().found()
    }

    fn command(self, place: &Place) -> io::Result<Vec<String>> {
        let (host, port) = (place.host(), place.port());
        Ok(match self {
            Self::Node => return server(Work::Node, place),
            Self::Nginx => return server(Work::Static, place),
            Self::Go => words(&[&build_go(place)?.display().to_string(), &port, &host]),
            Self::Python => {
                let script = fixtures().join("httpd.py").display().to_string();
                words(&[&PYTHON.word(), &script, &port, &host, "--keep-alive"])
            }
        })
    }

    /// Starts it, with us around it or without.
    ///
    /// # Errors
    /// If it cannot be built or started.
    pub fn start(self, place: &Place, is_wrapped: bool) -> io::Result<ProcessTree> {
        let server = self.command(place)?;
        let mut command = if is_wrapped {
            ours::wrapped(place, &server)
        } else {
            command(&server)?
        };
        ProcessTree::of(place, &mut command)
    }
}

/// Builds the Go server, once for each folder of subjects.
fn build_go(place: &Place) -> io::Result<PathBuf> {
    let program = place.directory.with_file_name("http-go");
    if !program.exists() {
        let draft = place.file("http-go");
        let mut go = Command::new(GO.word());
        go.arg("build")
            .arg("-o")
            .arg(&draft)
            .arg(fixtures().join("http.go"));
        let output = go.output()?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            return Err(io::Error::other(format!("go build failed: {said}")));
        }
        fs::rename(draft, &program)?;
    }
    Ok(program)
}
