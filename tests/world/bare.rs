//! The server alone: one copy, without a supervisor, under the same clients and the same signal.

use crate::report::Check;
use crate::rig::control::Trouble;
use crate::rig::load::Failure;
use crate::row::{Row, count};
use crate::trial::options::Options;
use crate::trial::supervised_server::SupervisedServer;

/// What it loses when it is told to stop.
pub(crate) fn run(row: &Row<'_>) -> Result<Check, Trouble> {
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
    let result = server.wait_ready().and_then(|()| {
        let loads = row.mixed()?;
        let ended = loads
            .progress()
            .and_then(|()| server.stop_with(signal).map(drop));
        count(
            &mut check,
            &loads.stop(),
            &[Failure::Local, Failure::Refused],
        );
        ended
    });
    row.processes.kill();
    result.map(|()| check)
}
