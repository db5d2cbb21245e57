//! What to try.

use std::net::IpAddr;
use std::path::PathBuf;

use clap::{Args, Parser};

use crate::rig::load::Mode;
use crate::rig::server::{AtTerm, Kind};

/// Runs one loss trial and prints its report, one line of JSON.
///
/// Exits 0 when the trial could be made (whoever reads the report judges it), 1 when something else
/// than requests went wrong, 77 when something that it needs is missing.
#[derive(Clone, Debug, Parser)]
pub struct Options {
    /// The reuseport-run to try.
    #[arg(long, value_name = "PATH", required_unless_present = "direct")]
    pub supervisor: Option<PathBuf>,
    /// Its reuseport-ctl.
    #[arg(long, value_name = "PATH", required_unless_present = "direct")]
    pub ctl: Option<PathBuf>,
    /// Start the server itself, without a supervisor. No action is possible then.
    #[arg(long, conflicts_with_all = ["reloads", "kills", "freezes", "soak_deaths", "rollbacks", "canaries", "scale", "stop"])]
    pub direct: bool,
    /// Where the clients connect to.
    #[arg(long, default_value = "127.0.0.1")]
    pub connect: IpAddr,
    /// Where the server listens.
    #[arg(long, default_value = "0.0.0.0")]
    pub bind: IpAddr,
    #[arg(long, value_enum, required_unless_present = "server_command")]
    pub server: Option<Kind>,
    /// What the server does at SIGTERM, if not what its kind usually does.
    #[arg(long, value_enum)]
    pub at_term: Option<AtTerm>,
    /// Any other server; {port}, {bind} and {dir} (of temporary files) are filled in.
    #[arg(long, conflicts_with = "server", value_name = "WORDS")]
    pub server_command: Option<String>,
    #[arg(long, default_value_t = 4)]
    pub workers: usize,
    #[arg(long, default_value_t = 32)]
    pub connections: usize,
    #[arg(long, value_enum, default_value = "fresh")]
    pub mode: Mode,
    /// How long a client rests after each answer.
    #[arg(long, default_value_t = 0)]
    pub pause_ms: u64,
    #[arg(long, default_value = "/")]
    pub path: String,
    #[command(flatten)]
    pub actions: Actions,
    /// After all actions, load for so long.
    #[arg(long, default_value_t = 0.0)]
    pub seconds: f64,
    /// More options for the supervisor, separated by spaces; {port} is filled in.
    #[arg(long, default_value = "", allow_hyphen_values = true)]
    pub args: String,
    /// Seconds after which the trial has failed, everything known is printed, and all that was
    /// started is killed.
    #[arg(long, default_value_t = 120)]
    pub time_out: u64,
}

/// What happens while the clients ask, in this order.
#[derive(Args, Clone, Debug, Default)]
pub struct Actions {
    /// Reload so often.
    #[arg(long, default_value_t = 0)]
    pub reloads: u32,
    /// Kill a worker so often.
    #[arg(long, default_value_t = 0)]
    pub kills: u32,
    /// Freeze a worker so often, for good; needs --health in the options.
    #[arg(long, default_value_t = 0)]
    pub freezes: u32,
    /// Reload so often, and kill a new worker while the old ones stand by; needs --soak in the options.
    #[arg(long, default_value_t = 0)]
    pub soak_deaths: u32,
    /// Reload so often, and roll back while the old workers stand by; needs --soak in the options.
    #[arg(long, default_value_t = 0)]
    pub rollbacks: u32,
    /// Reload with a canary so often: it is promoted, withdrawn, or killed, in turns.
    #[arg(long, default_value_t = 0)]
    pub canaries: u32,
    /// Scale to these numbers of workers.
    #[arg(long, value_delimiter = ',')]
    pub scale: Vec<usize>,
    /// Stop the supervisor while the load goes on: from then on, clients are refused.
    #[arg(long)]
    pub stop: bool,
}

impl Options {
    /// What is tried, for the report.
    pub fn name(&self) -> String {
        match (&self.server, &self.server_command) {
            (Some(kind), _) => format!("{kind:?}").to_lowercase(),
            (None, command) => command.clone().unwrap_or_default(),
        }
    }
}
