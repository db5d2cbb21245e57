//! `reuseport-ctl reload`: its options, and what they ask for.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;

use super::duration::positive;
use super::exit::Exit;
use super::value;
use crate::wire::control::{Canary, Reload, Variable};

#[derive(Clone, Debug, Default, PartialEq, Eq, Args)]
pub(super) struct ReloadArguments {
    /// Return as soon as the new workers serve; with --canary, those that are tried
    #[arg(long)]
    pub(super) no_wait: bool,
    /// Wait for a change that is under way, and reload then
    #[arg(long)]
    pub(super) wait: bool,
    /// Let the new workers serve other addresses than the old ones
    #[arg(long)]
    pub(super) accept_changes: bool,
    /// Try one new worker first: it gets P of a hundred new connections
    ///
    /// When it dies, or by rollback, it is withdrawn, and the reload has failed. The others follow after
    /// --for, or by promote.
    #[arg(long, value_name = "P%", value_parser = value::canary_percent)]
    pub(super) canary: Option<u32>,
    /// Try so many workers [default: 1]
    #[arg(long, value_name = "N", requires = "canary", value_parser = value::workers)]
    pub(super) canary_workers: Option<u32>,
    /// How long the trial takes [default: until promote or rollback]
    #[arg(long = "for", value_name = "TIME", requires = "canary", value_parser = positive)]
    pub(super) hold: Option<Duration>,
    /// Set a variable for the workers from now on; may be repeated
    ///
    /// It holds, as --chdir and --command do, for later reloads too, until one is given another value or
    /// --as-configured; if the reload fails or is rolled back, what held before does.
    #[arg(long, value_name = "NAME=VALUE", value_parser = variable)]
    pub(super) env: Vec<(String, String)>,
    /// Start workers in this directory from now on
    #[arg(long, value_name = "DIR", value_hint = clap::ValueHint::DirPath)]
    pub(super) chdir: Option<PathBuf>,
    /// Drop what earlier reloads were given by --env, --chdir and --command
    #[arg(long)]
    pub(super) as_configured: bool,
    /// Run this command from now on; the last option, for all that follows is the command's
    #[arg(long, value_name = "COMMAND", num_args = 1.., allow_hyphen_values = true)]
    pub(super) command: Option<Vec<OsString>>,
}

impl ReloadArguments {
    /// # Errors
    /// A usage error: what is asked for cannot be written as JSON, or we are nowhere.
    pub(super) fn request(&self) -> Result<Reload, Exit> {
        let variable = |(name, value): &(String, String)| Variable {
            name: name.clone(),
            value: value.clone(),
        };
        let command = self.command.as_ref().map(|words| {
            let words = words.iter().cloned();
            words.map(|word| text(word, "command")).collect()
        });
        Ok(Reload {
            wait: self.wait,
            accept_changes: self.accept_changes,
            canary: self.canary.map(|percent| Canary {
                percent,
                workers: self.canary_workers.unwrap_or(1),
                for_ms: self.hold.map(milliseconds),
            }),
            command: command.transpose()?,
            environment: self.env.iter().map(variable).collect(),
            chdir: self.chdir.as_deref().map(directory).transpose()?,
            as_configured: self.as_configured,
        })
    }
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// As seen from here: the supervisor may be somewhere else.
fn directory(given: &Path) -> Result<String, Exit> {
    let here = env::current_dir()
        .map_err(|error| Exit::usage(format!("--chdir: cannot tell where we are: {error}")))?;
    text(here.join(given).into(), "chdir")
}

fn text(given: OsString, option: &str) -> Result<String, Exit> {
    given
        .into_string()
        .map_err(|given| Exit::usage(format!("--{option} {}: it is not UTF-8", given.display())))
}

/// `NAME=VALUE`. What the name may be is for the supervisor to say.
fn variable(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("give NAME=VALUE")?;
    match name {
        "" => Err("give NAME=VALUE".to_owned()),
        name => Ok((name.to_owned(), value.to_owned())),
    }
}
