//! The servers, as servers/*.toml tells of them.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::rig::load::Exchange;

/// A server, and how it is run.
///
/// In `command`, `files` and `options`, `@PORT@` is the port, `@DIR@` a directory of this run that holds the
/// files, and `@HOME@` where the server's packages were installed.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Server {
    pub(crate) name: String,
    /// What it is: language, loop, processes.
    pub(crate) kind: String,
    #[serde(default)]
    pub(crate) debian: Vec<String>,
    #[serde(default)]
    pub(crate) pypi: Vec<String>,
    #[serde(default)]
    pub(crate) npm: Vec<String>,
    /// A package of crates/.
    #[serde(rename = "crate")]
    pub(crate) package: Option<String>,
    /// Programs that must be here and are not installed.
    #[serde(default)]
    pub(crate) needs: Vec<String>,
    /// A command that builds the server in `@HOME@`, once.
    pub(crate) build: Option<String>,
    /// Words, quoted as in a shell.
    pub(crate) command: String,
    /// A command whose output has the version; else the first package's.
    pub(crate) version: Option<String>,
    /// Files of this server alone.
    #[serde(default)]
    pub(crate) files: BTreeMap<String, String>,
    /// Files of files/.
    #[serde(default, rename = "use")]
    pub(crate) shared: Vec<String>,
    /// For reuseport-run.
    #[serde(default)]
    pub(crate) options: String,
    #[serde(default = "two")]
    pub(crate) workers: usize,
    /// For a server that has one process or thread for each connection: no more than it has.
    #[serde(default = "eight")]
    pub(crate) connections: usize,
    #[serde(default = "root")]
    pub(crate) path: String,
    /// None: HTTP/1.
    pub(crate) exchange: Option<Spoken>,
    /// Whether several requests are asked on a connection.
    #[serde(default = "yes")]
    pub(crate) keep_alive: bool,
    /// What is known of it, for the page.
    pub(crate) remark: Option<String>,
    /// Whether the server itself loses what was lost, where a bare run cannot show it.
    pub(crate) fault: Option<String>,
    /// It cannot be run here, and why.
    pub(crate) skip: Option<String>,
}

/// An [`Exchange`] as text; each character below U+0100 is a byte.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Spoken {
    /// What the page calls it.
    protocol: String,
    open: String,
    opened: String,
    ask: String,
    answer: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    server: Vec<Server>,
}

fn two() -> usize {
    2
}

fn eight() -> usize {
    8
}

fn root() -> String {
    "/".into()
}

fn yes() -> bool {
    true
}

impl Server {
    pub(crate) fn protocol(&self) -> &str {
        self.exchange
            .as_ref()
            .map_or("HTTP/1", |spoken| &spoken.protocol)
    }

    pub(crate) fn exchange(&self) -> Option<Exchange> {
        let spoken = self.exchange.as_ref()?;
        let [open, opened, ask, answer] =
            [&spoken.open, &spoken.opened, &spoken.ask, &spoken.answer].map(|text| bytes(text));
        Some(Exchange {
            open,
            opened,
            ask,
            answer,
        })
    }

    /// Whether it is run with programs that are here already, or not at all.
    pub(crate) fn is_builtin(&self) -> bool {
        let installs = [&self.debian, &self.pypi, &self.npm]
            .iter()
            .any(|packages| !packages.is_empty());
        !installs && self.package.is_none()
    }

    /// What installs it, for the page.
    pub(crate) fn origin(&self) -> &'static str {
        match self {
            Self {
                package: Some(_), ..
            } => "crates",
            Self { pypi, .. } if !pypi.is_empty() => "PyPI",
            Self { npm, .. } if !npm.is_empty() => "npm",
            Self { debian, .. } if !debian.is_empty() => "Debian",
            _ => "-",
        }
    }

    /// The signal that a worker is told to stop with.
    pub(crate) fn stop_signal(&self) -> &str {
        let mut words = self.options.split_ascii_whitespace();
        words.find(|&word| word == "--stop-signal");
        words.next().unwrap_or("TERM")
    }
}

fn bytes(text: &str) -> Vec<u8> {
    text.chars()
        .map(|letter| u8::try_from(letter).unwrap_or(b'?'))
        .collect()
}

/// Where this program's sources are, seen from the project's root.
pub(crate) fn home() -> PathBuf {
    Path::new("tests/world").into()
}

/// All servers, in the order of their files and in these.
pub(crate) fn read() -> Result<Vec<Server>, String> {
    let directory = home().join("servers");
    let cannot = |error| {
        format!(
            "cannot read {}: {error}; run it in the project's directory",
            directory.display()
        )
    };
    let entries = fs::read_dir(&directory).map_err(cannot)?;
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    let mut servers = Vec::new();
    for path in paths {
        let text =
            fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        let file: File =
            toml::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))?;
        servers.extend(file.server);
    }
    for (at, server) in servers.iter().enumerate() {
        // A server that ends removes its pid file, and as root that is the machine's device.
        let mut texts = server
            .files
            .values()
            .chain([&server.command, &server.options]);
        if texts.any(|text| text.contains("/dev/null")) {
            return Err(format!(
                "{} is given /dev/null; give it a file in @DIR@",
                server.name
            ));
        }
        if servers[..at].iter().any(|other| other.name == server.name) {
            return Err(format!("two servers are called {}", server.name));
        }
    }
    Ok(servers)
}

/// The words of a command line: blanks separate, single and double quotes keep together.
pub(crate) fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    for letter in line.chars() {
        match quote {
            Some(end) if letter == end => quote = None,
            Some(_) => word.get_or_insert_default().push(letter),
            None if letter == '\'' || letter == '"' => {
                quote = Some(letter);
                word.get_or_insert_default();
            }
            None if letter.is_whitespace() => words.extend(word.take()),
            None => word.get_or_insert_default().push(letter),
        }
    }
    words.extend(word);
    words
}
