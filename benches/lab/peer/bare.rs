//! One process of a server, without any supervisor: what we wrap, and what wrapping is compared
//! with.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::herd::Herd;
use super::tool::{GO, GRANIAN, GUNICORN, Missing, NGINX, NODE, PYTHON, Tool, UVICORN};
use super::{Place, Work, application, gunicorn, nginx, ours};

/// The command that serves this work with one process.
///
/// # Errors
/// If a file of it cannot be written.
pub fn server(work: Work, place: &Place) -> io::Result<Vec<String>> {
    let (host, port) = (place.host(), place.port());
    let application = application("http.js");
    Ok(match work {
        Work::Node => words(&[&NODE.word(), &application, &port, &host]),
        Work::Wsgi => gunicorn::command(&GUNICORN.word(), &place.address.to_string(), 1, &[]),
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
}

impl Bare {
    /// All.
    pub const ALL: [Self; 3] = [Self::Node, Self::Go, Self::Python];

    /// Its name in the report.
    pub fn name(self) -> &'static str {
        match self {
            Self::Node => "Node",
            Self::Go => "Go",
            Self::Python => "python",
        }
    }

    /// What it is built or run with.
    fn tool(self) -> Tool {
        match self {
            Self::Node => NODE,
            Self::Go => GO,
            Self::Python => PYTHON,
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
            Self::Go => words(&[&build_go(place)?.display().to_string(), &port, &host]),
            Self::Python => {
                let script = fixture("httpd.py").display().to_string();
                words(&[&PYTHON.word(), &script, &port, &host, "--keep-alive"])
            }
        })
    }

    /// Starts it, with us around it or without.
    ///
    /// # Errors
    /// If it cannot be built or started.
    pub fn start(self, place: &Place, is_wrapped: bool) -> io::Result<Herd> {
        let server = self.command(place)?;
        let mut herd = Herd::new(place);
        let [program, arguments @ ..] = server.as_slice() else {
            return Err(io::Error::other("a command without a program"));
        };
        let mut plain = Command::new(program);
        plain.args(arguments);
        let mut command = if is_wrapped {
            ours::wrapped(place, &server)
        } else {
            plain
        };
        herd.spawn(&mut command)?;
        Ok(herd)
    }
}

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixture")
        .join(name)
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
            .arg(fixture("http.go"));
        let output = go.output()?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            return Err(io::Error::other(format!("go build failed: {said}")));
        }
        fs::rename(draft, &program)?;
    }
    Ok(program)
}
