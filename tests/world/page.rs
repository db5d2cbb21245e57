//! docs/servers.md: a row for each server. The rows of servers that were not run stay as they are.

use std::fs;
use std::io;
use std::path::Path;

use crate::report::{Check, Report, Verdict};
use crate::table::Server;

const HEAD: &str = "\
# What was seen with other servers

Written by `just world` (`tests/world/`): each row is one server, unmodified, with two to four workers under
`reuseport-run`, started as `tests/world/servers/` says. `0/3630` is: no request failed of 3,630.

- **listeners**: of one worker.
- **fresh**, **keep-alive**: three reloads under 8 clients, with a connection for each request, or one for all.
  Where it is not HTTP/1, a connection is closed by its client after 50 requests, so within `--quiet-timeout`; one that
  never ends loses what is under way when its worker ends (README, Limits).
- **kill**: SIGKILL of all processes of one worker under both kinds of clients. What a killed worker has accepted is lost with it;
  nothing else may be, and `3/812 (4)` says that four connections were its own.
- **scale**: `scale -1` under both.
- **stop**: TERM to the supervisor under both. A connection that is refused after that is no failure; a request that
  is not answered is.
- **reload**: the median, from the command to its end, under load.

A number in bold is more than may be lost; the remark says whose fault it is and how that was shown. *bare* is the same
server alone, one copy, under the same clients and the same signal. `-` was not measured: the server has no such
connections. Only what speaks HTTP/1 is rescued on kept connections (README, Limits). A row is of its last run, and may be
older than the program: `just world NAME` runs one anew.

| server | version | from | protocol | listeners | fresh | keep-alive | kill | scale | stop | reload | remarks |
| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |
";

pub(crate) fn write(path: &Path, servers: &[Server], report: &Report) -> io::Result<()> {
    let old = fs::read_to_string(path).unwrap_or_default();
    let mut page = HEAD.to_owned();
    for server in servers {
        let line = if server.name == report.name {
            Some(row(server, report))
        } else {
            let start = format!("| {} |", server.name);
            old.lines()
                .find(|line| line.starts_with(&start))
                .map(|line| format!("{line}\n"))
        };
        page.extend(line);
    }
    // In one step: a run that is ended leaves a whole page.
    let new = path.with_extension("md.new");
    fs::write(&new, page)?;
    fs::rename(new, path)
}

fn row(server: &Server, report: &Report) -> String {
    let Server { name, .. } = server;
    let (from, protocol) = (server.origin(), server.protocol());
    if report.verdict() == Verdict::Skipped {
        let reason = report.skipped.as_deref().unwrap_or_default();
        return format!(
            "| {name} | - | {from} | {protocol} | - | - | - | - | - | - | - | skipped: {} |\n",
            plain(reason)
        );
    }
    let cells =
        ["fresh", "keep-alive", "kill", "scale", "stop"].map(|name| cell(report.check(name)));
    let reload = report
        .median_reload_ms()
        .map_or("-".into(), |ms| format!("{ms} ms"));
    let mut remarks: Vec<String> = server.remark.iter().cloned().collect();
    remarks.extend(report.remarks.iter().cloned());
    let troubles = report.checks.iter().filter_map(|check| {
        let trouble = check.trouble.as_ref()?;
        Some(format!("{}: {trouble}", check.name))
    });
    remarks.extend(troubles);
    format!(
        "| {name} | {} | {from} | {protocol} | {} | {} | {reload} | {} |\n",
        report.version,
        report.listeners,
        cells.join(" | "),
        plain(&remarks.join("; ")),
    )
}

fn cell(check: Option<&Check>) -> String {
    let Some(check) = check else {
        return "-".into();
    };
    let mut cell = check.cell();
    if !check.passed() {
        cell = format!("**{cell}**");
    }
    if check.allowed > 0 {
        cell += &format!(" ({})", check.allowed);
    }
    cell
}

fn plain(text: &str) -> String {
    let text = text.trim().replace(['\n', '|'], " ");
    text.chars().take(600).collect()
}
