//! The real servers that the tests run: what each needs, and the command that starts it.
//!
//! What is missing is no failure: the test is skipped and says what it needs. A server that must be
//! built is built once and kept beside the test programs.

mod build;
mod program;

use std::fs;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use program::{find, python_with};

/// What is missing here, for `skipped: needs …`; or that something failed which should not have.
#[derive(Debug)]
pub enum Unready {
    Missing(String),
    Broken(String),
}

impl From<io::Error> for Unready {
    fn from(error: io::Error) -> Self {
        Self::Broken(error.to_string())
    }
}

/// A server as users have it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
#[value(rename_all = "kebab-case")]
pub enum Kind {
    /// tests/fixture/httpd.py, on Python's http.server.
    Python,
    /// `python3 -m http.server`, just so.
    PythonPlain,
    /// tests/fixture/http.js.
    Node,
    /// tests/fixture/static.c, statically linked.
    Static,
    /// tests/fixture/http.go, statically linked.
    Go,
    /// nginx as one process.
    Nginx,
    /// nginx with a master process.
    NginxMaster,
    /// gunicorn with one worker process of its own.
    Gunicorn,
    Uvicorn,
    /// The scripted server, behaving.
    Misbehave,
}

/// What a server does at SIGTERM.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum AtTerm {
    /// It dies at once.
    Die,
    /// It finishes what it has been asked, then ends.
    Drain,
}

/// How a server is wanted.
#[derive(Clone, Debug)]
pub struct Wanted<'a> {
    pub kind: Kind,
    pub bind: IpAddr,
    pub port: u16,
    pub keep_alive: bool,
    /// None: as that kind of server usually does. Only some kinds can do both.
    pub at_term: Option<AtTerm>,
    /// Where the server's files are put. It must outlive the server.
    pub directory: &'a Path,
}

const HTTPD_PY: &str = include_str!("../fixture/httpd.py");
const HTTP_JS: &str = include_str!("../fixture/http.js");
const HTTP_GO: &str = include_str!("../fixture/http.go");
const STATIC_C: &str = include_str!("../fixture/static.c");
const APP_PY: &str = include_str!("../fixture/app.py");
const NGINX_CONF: &str = include_str!("../fixture/nginx.conf");

impl Wanted<'_> {
    /// Prepares the server; returns the command that starts it in the foreground.
    pub fn command(&self) -> Result<Vec<String>, Unready> {
        match self.kind {
            Kind::Python => self.python(),
            Kind::PythonPlain => self.python_plain(),
            Kind::Node => self.node(),
            Kind::Static => self.c(),
            Kind::Go => self.go(),
            Kind::Nginx => self.nginx("off"),
            Kind::NginxMaster => self.nginx("on"),
            Kind::Gunicorn => self.gunicorn(),
            Kind::Uvicorn => self.uvicorn(),
            Kind::Misbehave => self.misbehave(),
        }
    }

    fn python(&self) -> Result<Vec<String>, Unready> {
        let script = self.write("httpd.py", HTTPD_PY)?;
        let mut command = vec![
            python_with("http.server")?,
            script,
            self.port(),
            self.bind(),
        ];
        command.extend(self.keep_alive.then(|| "--keep-alive".into()));
        Ok(command)
    }

    fn python_plain(&self) -> Result<Vec<String>, Unready> {
        let python = python_with("http.server")?;
        let page = self.directory.join("page");
        fs::create_dir_all(&page)?;
        let (bind, page) = (self.bind(), page.display().to_string());
        let arguments = [
            "-m",
            "http.server",
            "--bind",
            &bind,
            "--directory",
            &page,
            &self.port(),
        ];
        Ok(words(&python, &arguments))
    }

    fn node(&self) -> Result<Vec<String>, Unready> {
        let script = self.write("http.js", HTTP_JS)?;
        let mut command = vec![find("node")?, script, self.port(), self.bind()];
        command.extend(self.when(AtTerm::Die, "--die-at-once"));
        Ok(command)
    }

    fn c(&self) -> Result<Vec<String>, Unready> {
        let mut command = vec![build::c("static", STATIC_C)?, self.port(), self.bind()];
        command.extend(self.when(AtTerm::Drain, "--drain"));
        Ok(command)
    }

    fn go(&self) -> Result<Vec<String>, Unready> {
        let mut command = vec![build::go("http-go", HTTP_GO)?, self.port(), self.bind()];
        command.extend(self.when(AtTerm::Die, "--die-at-once"));
        Ok(command)
    }

    fn nginx(&self, master: &str) -> Result<Vec<String>, Unready> {
        let nginx = find("nginx")?;
        let directory = self.directory.display().to_string();
        // Else root's workers become a user who may not read the directory.
        let user = if nix::unistd::geteuid().is_root() {
            "user root;"
        } else {
            ""
        };
        let configuration = NGINX_CONF
            .replace("@MASTER@", master)
            .replace("@USER@", user)
            .replace("@DIRECTORY@", &directory)
            .replace(
                "@ADDRESS@:@PORT@",
                &std::net::SocketAddr::new(self.bind, self.port).to_string(),
            );
        let configuration = self.write("nginx.conf", &configuration)?;
        Ok(words(
            &nginx,
            &["-p", &directory, "-e", "stderr", "-c", &configuration],
        ))
    }

    fn gunicorn(&self) -> Result<Vec<String>, Unready> {
        self.write("app.py", APP_PY)?;
        let address = std::net::SocketAddr::new(self.bind, self.port).to_string();
        let directory = self.directory.display().to_string();
        // Its default worker speaks no keep-alive.
        let class = if self.keep_alive { "gthread" } else { "sync" };
        let arguments = [
            ["-m", "gunicorn"],
            ["--bind", &address],
            ["--chdir", &directory],
            ["--worker-class", class],
            ["--threads", "8"],
            ["--log-level", "warning"],
        ];
        let arguments = arguments.as_flattened();
        let threads = if self.keep_alive {
            arguments.len()
        } else {
            arguments.len() - 4
        };
        let mut command = words(&python_with("gunicorn")?, &arguments[..threads]);
        command.push("app:wsgi".into());
        Ok(command)
    }

    fn uvicorn(&self) -> Result<Vec<String>, Unready> {
        self.write("app.py", APP_PY)?;
        let (bind, port) = (self.bind(), self.port());
        let directory = self.directory.display().to_string();
        let arguments = [
            ["-m", "uvicorn"],
            ["--host", &bind],
            ["--port", &port],
            ["--app-dir", &directory],
            ["--log-level", "warning"],
            ["--no-access-log", "app:asgi"],
        ];
        Ok(words(&python_with("uvicorn")?, arguments.as_flattened()))
    }

    fn misbehave(&self) -> Result<Vec<String>, Unready> {
        let program = program::beside("misbehave")?.display().to_string();
        Ok(words(
            &program,
            &["--address", &self.bind(), "--port", &self.port()],
        ))
    }

    fn write(&self, name: &str, text: &str) -> io::Result<String> {
        let path: PathBuf = self.directory.join(name);
        fs::write(&path, text)?;
        Ok(path.display().to_string())
    }

    fn when(&self, at_term: AtTerm, argument: &str) -> Option<String> {
        (self.at_term == Some(at_term)).then(|| argument.into())
    }

    fn port(&self) -> String {
        self.port.to_string()
    }

    fn bind(&self) -> String {
        self.bind.to_string()
    }
}

fn words(program: &str, arguments: &[&str]) -> Vec<String> {
    [program]
        .iter()
        .chain(arguments)
        .map(ToString::to_string)
        .collect()
}
