//! What comes from elsewhere than the command line, the environment and files.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::sync::Arc;

use super::attributes::Accounts;
use super::settings::{Given, Layer};
use crate::config::Overrides;

/// What comes from elsewhere than the command line, the environment and files.
#[derive(Clone, Debug, Default)]
pub(super) struct Context {
    /// What was given with a reload.
    pub(super) overrides: Overrides,
    /// What the supervisor is called, if nothing else says so.
    pub(super) name: Option<String>,
    /// The directory in which it was started, by its name.
    pub(super) started_in: Option<PathBuf>,
    /// What was looked up before.
    pub(super) accounts: Arc<Accounts>,
}

impl Context {
    /// What comes before the command line.
    pub(super) fn strongest(&self) -> Layer {
        let given_as = |name: &str, text: &OsStr| {
            let origin = format!("reload --{name} {}", text.display());
            Given::new(text, origin)
        };
        let command = self.overrides.command.iter().map(|words| {
            let words = words.iter().map(|word| given_as("command", word));
            ("command", words.collect())
        });
        let chdir = self.overrides.chdir.iter().map(|path| {
            let path = given_as("chdir", path.as_os_str());
            ("chdir", vec![path])
        });
        command.chain(chdir).collect()
    }

    /// What comes before the defaults.
    pub(super) fn weakest(&self) -> Layer {
        let name = self.name.iter().map(|name| {
            let given = Given::new(name.as_ref(), format!("--name {name}"));
            ("name", vec![given])
        });
        name.collect()
    }
}
