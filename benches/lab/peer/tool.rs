//! Programs: where they are, and which version. What is not in `PATH` is missing; who wants others
//! puts them in front, as `benches/compare` does.

use std::env;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A program that is not here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// What is missing.
    pub what: String,
    /// The command that brings it.
    pub install: &'static str,
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "needs {}; to install it: {}", self.what, self.install)
    }
}

impl std::error::Error for Missing {}

/// A program that a subject needs.
#[derive(Clone, Copy, Debug)]
pub struct Tool {
    /// Its file name.
    pub name: &'static str,
    /// How its version is found out.
    pub version: Version,
    /// The command that installs it.
    pub install: &'static str,
}

/// Where a program's version is to be had.
#[derive(Clone, Copy, Debug)]
pub enum Version {
    /// It prints it when it is called with these arguments.
    Printed(&'static [&'static str]),
    /// In the `package.json` above it, of the package of that name: asking pm2 itself would start
    /// its daemon.
    Packaged(&'static str),
}

/// Node.
pub const NODE: Tool = Tool::new(
    "node",
    Version::Printed(&["--version"]),
    "npm install node@22",
);
/// nginx.
pub const NGINX: Tool = Tool::new(
    "nginx",
    Version::Printed(&["-v"]),
    "apt-get install nginx-light",
);
/// gunicorn.
pub const GUNICORN: Tool = Tool::new(
    "gunicorn",
    Version::Printed(&["--version"]),
    "pip install gunicorn",
);
/// uvicorn.
pub const UVICORN: Tool = Tool::new(
    "uvicorn",
    Version::Printed(&["--version"]),
    "pip install uvicorn httptools uvloop",
);
/// granian.
pub const GRANIAN: Tool = Tool::new(
    "granian",
    Version::Printed(&["--version"]),
    "pip install granian",
);
/// HAProxy.
pub const HAPROXY: Tool = Tool::new(
    "haproxy",
    Version::Printed(&["-v"]),
    "apt-get install haproxy",
);
/// Server::Starter.
pub const START_SERVER: Tool = Tool::new(
    "start_server",
    Version::Printed(&["--version"]),
    "apt-get install libserver-starter-perl",
);
/// pm2, staying in the foreground.
pub const PM2: Tool = Tool::new("pm2-runtime", Version::Packaged("pm2"), "npm install pm2");
/// Go's compiler.
pub const GO: Tool = Tool::new(
    "go",
    Version::Printed(&["version"]),
    "apt-get install golang-go",
);
/// Python.
pub const PYTHON: Tool = Tool::new(
    "python3",
    Version::Printed(&["--version"]),
    "apt-get install python3",
);

impl Tool {
    const fn new(name: &'static str, version: Version, install: &'static str) -> Self {
        Self {
            name,
            version,
            install,
        }
    }

    /// Where it is.
    ///
    /// # Errors
    /// If it is nowhere in `PATH`.
    pub fn find(&self) -> Result<PathBuf, Missing> {
        let folders = env::var_os("PATH").unwrap_or_default();
        let mut places = env::split_paths(&folders).map(|folder| folder.join(self.name));
        places
            .find(|place| place.is_file())
            .ok_or_else(|| self.missing(self.name))
    }

    /// Where it is, as a word of a command; its bare name if it is nowhere, so that starting it
    /// says so.
    pub fn word(&self) -> String {
        let found = self.find();
        found.map_or_else(|_| self.name.to_owned(), |path| path.display().to_string())
    }

    /// Its version: the first word of what it prints that looks like one, or what its package says.
    ///
    /// # Errors
    /// If it is missing, cannot be run, or says nothing like it: a wrapper without a program
    /// behind it.
    pub fn find_version(&self) -> Result<String, Missing> {
        let path = self.find()?;
        let version = match self.version {
            Version::Printed(arguments) => printed(&path, arguments),
            Version::Packaged(_) => packaged(&path),
        };
        version.ok_or_else(|| self.missing(&format!("a {} that says its version", self.name)))
    }

    /// Its name and its version.
    ///
    /// # Errors
    /// As [`Tool::find_version`].
    pub fn found(&self) -> Result<(&'static str, String), Missing> {
        let name = match self.version {
            Version::Printed(_) => self.name,
            Version::Packaged(package) => package,
        };
        Ok((name, self.find_version()?))
    }

    /// That something is missing which comes with this tool.
    pub fn missing(&self, what: &str) -> Missing {
        Missing {
            what: what.to_owned(),
            install: self.install,
        }
    }
}

fn printed(program: &Path, arguments: &[&str]) -> Option<String> {
    let mut command = Command::new(program);
    let output = command.args(arguments).stdin(Stdio::null()).output().ok()?;
    // nginx says it on standard error.
    let text = [output.stdout, output.stderr].concat();
    let text = output.status.success().then_some(text)?;
    version_in(&String::from_utf8_lossy(&text))
}

fn packaged(program: &Path) -> Option<String> {
    let program = fs::canonicalize(program).ok()?;
    let mut folders = program.ancestors().skip(1);
    let package =
        folders.find_map(|folder| fs::read_to_string(folder.join("package.json")).ok())?;
    let package: serde_json::Value = serde_json::from_str(&package).ok()?;
    package["version"].as_str().map(str::to_owned)
}

/// `1.22.1` of `nginx version: nginx/1.22.1`.
pub fn version_in(text: &str) -> Option<String> {
    let is_part = |letter: char| letter.is_ascii_digit() || letter == '.';
    let words = text.split(|letter: char| letter.is_whitespace() || "/()+-".contains(letter));
    let words = words.map(|word| {
        word.trim_start_matches(['v', 'g', 'o'])
            .trim_matches([',', ':'])
    });
    let mut words = words.filter(|word| {
        word.contains('.') && word.starts_with(|first: char| first.is_ascii_digit())
    });
    words
        .find(|word| word.chars().all(is_part))
        .map(str::to_owned)
}

/// Node's version, as numbers.
///
/// # Errors
/// If there is no Node.
pub fn node_version() -> Result<(u32, u32), Missing> {
    let version = NODE.find_version()?;
    let mut numbers = version.split('.').map_while(|number| number.parse().ok());
    let unreadable = || NODE.missing("a Node with a version");
    let major = numbers.next().ok_or_else(unreadable)?;
    Ok((major, numbers.next().ok_or_else(unreadable)?))
}
