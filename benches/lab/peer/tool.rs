//! Programs: where they are, and which version. What is not in `PATH` is missing; who wants others
//! puts them in front, as `benches/compare` does.

use std::env;
use std::fmt;
use std::fs;
use std::path::PathBuf;
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

/// A program that a subject needs.
#[derive(Clone, Copy, Debug)]
pub struct Tool {
    /// Its file name.
    pub name: &'static str,
    /// The arguments that make it print its version.
    pub version: &'static [&'static str],
    /// The command that installs it.
    pub install: &'static str,
}

/// Node.
pub const NODE: Tool = Tool {
    name: "node",
    version: &["--version"],
    install: "apt-get install nodejs",
};
/// nginx.
pub const NGINX: Tool = Tool {
    name: "nginx",
    version: &["-v"],
    install: "apt-get install nginx-light",
};
/// gunicorn.
pub const GUNICORN: Tool = Tool {
    name: "gunicorn",
    version: &["--version"],
    install: "pip install gunicorn",
};
/// uvicorn.
pub const UVICORN: Tool = Tool {
    name: "uvicorn",
    version: &["--version"],
    install: "pip install 'uvicorn[standard]'",
};
/// granian.
pub const GRANIAN: Tool = Tool {
    name: "granian",
    version: &["--version"],
    install: "pip install granian",
};
/// HAProxy.
pub const HAPROXY: Tool = Tool {
    name: "haproxy",
    version: &["-v"],
    install: "apt-get install haproxy",
};
/// Server::Starter.
pub const START_SERVER: Tool = Tool {
    name: "start_server",
    version: &["--version"],
    install: "apt-get install libserver-starter-perl",
};
/// pm2, staying in the foreground.
pub const PM2: Tool = Tool {
    name: "pm2-runtime",
    version: &[],
    install: "npm install pm2",
};
/// Go's compiler.
pub const GO: Tool = Tool {
    name: "go",
    version: &["version"],
    install: "apt-get install golang-go",
};
/// Python.
pub const PYTHON: Tool = Tool {
    name: "python3",
    version: &["--version"],
    install: "apt-get install python3",
};

impl Tool {
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

    /// The first word of what it prints that looks like a version.
    ///
    /// # Errors
    /// If it is missing, cannot be run, or prints nothing like it: a wrapper without a program
    /// behind it.
    pub fn find_version(&self) -> Result<String, Missing> {
        let path = self.find()?;
        let mut command = Command::new(path);
        let output = command.args(self.version).stdin(Stdio::null()).output();
        let output = output.ok().filter(|output| output.status.success());
        let output = output.ok_or_else(|| self.missing(&format!("a {} that runs", self.name)))?;
        // nginx says it on standard error.
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8_lossy(&text);
        version_in(&text)
            .ok_or_else(|| self.missing(&format!("a {} that says its version", self.name)))
    }

    /// Its name and its version.
    ///
    /// # Errors
    /// As [`Tool::find_version`].
    pub fn found(&self) -> Result<(&'static str, String), Missing> {
        Ok((self.name, self.find_version()?))
    }

    /// That something is missing which comes with this tool.
    pub fn missing(&self, what: &str) -> Missing {
        Missing {
            what: what.to_owned(),
            install: self.install,
        }
    }
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

/// pm2's version: asking the program would start its daemon.
///
/// # Errors
/// If there is no pm2.
pub fn pm2_version() -> Result<String, Missing> {
    let unreadable = || PM2.missing("a pm2 with its package.json");
    let program = fs::canonicalize(PM2.find()?).map_err(|_| unreadable())?;
    let mut folders = program.ancestors().skip(1);
    let package = folders.find_map(|folder| fs::read_to_string(folder.join("package.json")).ok());
    let package: serde_json::Value =
        serde_json::from_str(&package.ok_or_else(unreadable)?).map_err(|_| unreadable())?;
    package["version"]
        .as_str()
        .map(str::to_owned)
        .ok_or_else(unreadable)
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
