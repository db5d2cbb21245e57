//! What is given with a reload, and holds until something else is.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;

use super::Config;

/// Reads the configuration anew: the command line, the environment and the files as they are now, with these overrides.
/// What is wrong is told in a sentence.
pub type ReadConfig = Arc<dyn Fn(&Overrides) -> Result<Config, String> + Send + Sync>;

/// A configuration, and how it is read again.
pub struct Readable {
    /// As it was read first.
    pub config: Config,
    /// Reads it again.
    pub read: ReadConfig,
}

/// What `reuseport-ctl reload` was given. It comes before the command line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overrides {
    /// The command and its arguments; none: as configured.
    pub command: Option<Vec<OsString>>,
    /// Variables for the workers' environment.
    pub environment: BTreeMap<OsString, OsString>,
    /// The directory in which workers are started; none: as configured.
    pub chdir: Option<PathBuf>,
}

impl Overrides {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// These, and of `later` what they say of the same.
    pub fn with(mut self, later: Self) -> Self {
        self.command = later.command.or(self.command);
        self.environment.extend(later.environment);
        self.chdir = later.chdir.or(self.chdir);
        self
    }
}
