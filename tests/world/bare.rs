//! The server alone: one copy, without a supervisor, under the same clients and the same signal.

use std::thread;
use std::time::{Duration, Instant};

use crate::loads::count;
use crate::report::Check;
use crate::rig::control::Trouble;
use crate::rig::load::Failure;
use crate::row::Row;
use crate::trial::options::Options;
use crate::trial::supervised_server::SupervisedServer;

/// How often the load is looked at.
const POLL_INTERVAL: Duration = Duration::from_millis(5);

/// How long it is only asked, at the most, before it is told to stop.
const QUIET: Duration = Duration::from_secs(5);

/// What the server alone loses.
pub(crate) struct Bare {
    /// Before it is told anything, of so many requests.
    pub(crate) untold: (u64, u64),
    /// All in all.
    pub(crate) check: Check,
}

/// How often the server alone is told to stop, at the most: which requests are on their way in that moment is chance,
/// and once is often none.
const STOPS: usize = 5;

/// Runs it until it has lost something, at the most [`STOPS`] times.
pub(crate) fn run(row: &Row<'_>, requests: u64) -> Result<Bare, Trouble> {
    let mut all = run_once(row, requests)?;
    for _ in 1..STOPS {
        if all.check.failed > 0 {
            break;
        }
        let next = run_once(row, 0)?;
        all.untold.0 += next.untold.0;
        all.untold.1 += next.untold.1;
        all.check.failed += next.check.failed;
        all.check.total += next.check.total;
        all.check.detail = next.check.detail;
    }
    Ok(all)
}

/// Asks it as often as `requests`, if that does not take too long, and then tells it to stop.
fn run_once(row: &Row<'_>, requests: u64) -> Result<Bare, Trouble> {
    let options = Options {
        direct: true,
        supervisor: None,
        ctl: None,
        ..row.options.clone()
    };
    let (address, nowhere) = (row.address(), std::env::temp_dir());
    let mut server = SupervisedServer::start(
        &options,
        address,
        &row.command,
        &nowhere,
        &row.processes,
        &row.output_lines,
    )?;
    let mut check = Check {
        name: "bare".into(),
        ..Check::default()
    };
    let signal = format!("SIG{}", row.server.stop_signal());
    let signal = signal
        .parse()
        .map_err(|error| format!("{signal} is no signal: {error}"))?;
    let mut untold = (0, 0);
    let result = server.wait_ready().and_then(|()| {
        let loads = row.mixed()?;
        let end = Instant::now() + QUIET;
        let asked = loads.progress().map(|()| {
            while loads.seen().1 < requests && Instant::now() < end {
                thread::sleep(POLL_INTERVAL);
            }
            untold = loads.seen();
        });
        let ended = asked.and_then(|()| server.stop_with(signal).map(drop));
        count(
            &mut check,
            &loads.stop(),
            &[Failure::Local, Failure::Refused],
        );
        ended
    });
    row.processes.kill();
    result.map(|()| Bare { untold, check })
}
