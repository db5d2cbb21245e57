//! Asks a supervisor through its own client, `reuseport-ctl`, as a user does.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

use reuseport_run::wire::control::Status;

/// What went wrong: a sentence.
pub type Trouble = String;

#[derive(Clone, Debug)]
pub struct Control {
    pub program: PathBuf,
    pub socket: PathBuf,
}

impl Control {
    /// Runs `reuseport-ctl --socket SOCKET WORDS…` to its end.
    pub fn run<S: AsRef<OsStr>>(&self, words: &[S]) -> Result<Output, Trouble> {
        let mut command = Command::new(&self.program);
        let command = command
            .arg("--socket")
            .arg(&self.socket)
            .args(words)
            .stdin(Stdio::null());
        command
            .output()
            .map_err(|error| format!("cannot run {}: {error}", self.program.display()))
    }

    /// Starts it, without waiting for its end. What it says is of no interest.
    pub fn begin<S: AsRef<OsStr>>(&self, words: &[S]) -> Result<Child, Trouble> {
        let mut command = Command::new(&self.program);
        let command = command
            .arg("--socket")
            .arg(&self.socket)
            .args(words)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command
            .spawn()
            .map_err(|error| format!("cannot run {}: {error}", self.program.display()))
    }

    /// The same, and it must exit with 0.
    pub fn succeed<S: AsRef<OsStr>>(&self, words: &[S]) -> Result<Output, Trouble> {
        let output = self.run(words)?;
        if output.status.success() {
            return Ok(output);
        }
        let words: Vec<_> = words
            .iter()
            .map(|word| word.as_ref().to_string_lossy())
            .collect();
        let said = String::from_utf8_lossy(&output.stderr);
        let shown = String::from_utf8_lossy(&output.stdout);
        let status = output.status;
        Err(format!(
            "reuseport-ctl {} ends with {status}: {said}{shown}",
            words.join(" ")
        ))
    }

    pub fn status(&self) -> Result<Status, Trouble> {
        let output = self.succeed(&["status", "--json"])?;
        serde_json::from_slice(&output.stdout).map_err(|error| {
            let text = String::from_utf8_lossy(&output.stdout);
            format!("the status is not understood: {error}: {text}")
        })
    }
}
