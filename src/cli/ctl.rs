//! `reuseport-ctl`: asks a supervisor, and shows what it answers while it answers.
//!
//! The exit code is the answer for scripts: 0 only after the supervisor said that it is done.

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{CommandFactory, FromArgMatches, Parser};

use super::client::{Client, Loss, answers};
use super::exit::{Exit, printable};
use super::find::{Target, connect};
use super::generate::{self, Artefact, Section, generate};
use super::run::Environment;
use super::table::table;
use super::value;
use super::verb::Verb;
use crate::wire::control::{Reply, Request, Status};

/// How long a supervisor that closed the connection on `stop` has to answer, if it is alive.
const STOP_CHECK_TIMEOUT: Duration = Duration::from_secs(2);

const SECTIONS: &[Section] = &[
    Section {
        title: "Exit codes",
        entries: &[
            ("0", "done"),
            ("1", "failed or denied; standard error says why"),
            (
                "2",
                "the arguments make no sense, or several supervisors are running",
            ),
            ("3", "no supervisor: absent, gone, or not permitted"),
        ],
    },
    Section {
        title: "Files",
        entries: &[
            ("/run/reuseport-run/NAME.sock", "supervisors of root"),
            ("$XDG_RUNTIME_DIR/reuseport-run/NAME.sock", "of other users"),
            (
                "$TMPDIR/reuseport-run-UID/NAME.sock",
                "of other users without that (or in /tmp)",
            ),
        ],
    },
    Section {
        title: "Environment",
        entries: &[
            ("REUSEPORT_NAME", "as --name, where neither option is given"),
            ("REUSEPORT_CONTROL", "as --socket, before that"),
        ],
    },
    Section {
        title: "Examples",
        entries: &[
            ("reuseport-ctl status", "what runs, and how it is"),
            (
                "reuseport-ctl reload && echo new",
                "0 when the old workers are gone",
            ),
            ("reuseport-ctl --name web scale +2", "two workers more"),
        ],
    },
];

/// Controls a running reuseport-run
#[derive(Debug, Parser)]
#[command(name = "reuseport-ctl", version, max_term_width = 100)]
#[command(override_usage = "reuseport-ctl [--name NAME | --socket PATH] VERB [ARGS]")]
#[command(subcommand_value_name = "VERB", subcommand_help_heading = "Verbs")]
#[command(disable_help_subcommand = true)]
struct Arguments {
    /// The supervisor of this name, or of $REUSEPORT_NAME; with one running, not needed
    #[arg(long, global = true, value_name = "NAME", value_parser = value::name)]
    name: Option<String>,

    /// The supervisor with this control socket (its --control), or $REUSEPORT_CONTROL
    #[arg(long, global = true, value_name = "PATH", value_hint = clap::ValueHint::FilePath)]
    socket: Option<PathBuf>,

    #[command(subcommand)]
    verb: Option<Verb>,
}

/// Does what `arguments` say (they begin with the program's name) and writes what is answered to
/// `out`. `directory` is where sockets are, see [`runtime_dir::own_directory`](super::runtime_dir::own_directory).
///
/// # Errors
/// An [`Exit`]: code 0 for help and the like, 1 failed or denied, 2 usage, 3 no supervisor.
pub fn run(
    arguments: impl IntoIterator<Item = OsString>,
    environment: Environment<'_>,
    directory: &Path,
    out: &mut dyn Write,
) -> Result<(), Exit> {
    let (target, verb) = parse(arguments, environment)?;
    let request = verb.request()?;
    let mut client = connect(&target, directory)?;
    match converse(&mut client, &verb, &request, out) {
        Ok(outcome) => outcome,
        Err(Loss::Gone) if matches!(verb, Verb::Stop { .. }) => stopped(&client.path, out),
        Err(loss) => Err(loss.into_exit(&client.path)),
    }
}

fn command() -> clap::Command {
    Arguments::command()
        .after_long_help(generate::as_help(SECTIONS))
        .arg(generate::argument())
}

fn parse(
    arguments: impl IntoIterator<Item = OsString>,
    environment: Environment<'_>,
) -> Result<(Target, Verb), Exit> {
    let matches = command().try_get_matches_from(arguments)?;
    if let Some(what) = matches.get_one::<Artefact>("generate") {
        return Err(generate(*what, command(), SECTIONS));
    }
    let arguments = Arguments::from_arg_matches(&matches)?;
    let target = match (arguments.name, arguments.socket) {
        (Some(_), Some(_)) => {
            return Err(Exit::usage(
                "--name and --socket: give one of them, not both",
            ));
        }
        (Some(name), None) => Target::Name(name),
        (None, Some(path)) => Target::Socket(path),
        (None, None) => target_in(environment)?,
    };
    let verb = arguments.verb.ok_or_else(|| {
        Exit::usage(
            "VERB is missing: give status, reload, pause, promote, rollback, stop, scale or restart",
        )
    })?;
    Ok((target, verb))
}

/// What the environment says, as for `reuseport-run`: the socket's path says more than the name.
fn target_in(environment: Environment<'_>) -> Result<Target, Exit> {
    let given = |name| environment(name).filter(|text| !text.is_empty());
    if let Some(path) = given("REUSEPORT_CONTROL") {
        return Ok(Target::Socket(path.into()));
    }
    let Some(name) = given("REUSEPORT_NAME") else {
        return Ok(Target::TheOnlyOne);
    };
    let name = value::name(&name.to_string_lossy());
    let name = name.map_err(|reason| Exit::usage(format!("REUSEPORT_NAME: {reason}")))?;
    Ok(Target::Name(name))
}

/// Asks and listens to the end. The inner result is what the supervisor said, or that what it
/// said could not be shown.
fn converse(
    client: &mut Client,
    verb: &Verb,
    request: &Request,
    out: &mut dyn Write,
) -> Result<Result<(), Exit>, Loss> {
    let deadline = verb.deadline();
    client.send(request)?;
    loop {
        let reply = client.receive(deadline)?;
        let enough = reply.is_final() || is_enough(verb, &reply);
        match show(reply, verb, out) {
            Ok(()) if !enough => {}
            outcome => return Ok(outcome),
        }
    }
}

fn is_enough(verb: &Verb, reply: &Reply) -> bool {
    let Reply::Phase { phase, .. } = reply else {
        return false;
    };
    // The trial itself takes as long as it takes.
    let is_served = phase == "serving" || phase == "canary";
    matches!(verb, Verb::Reload(reload) if reload.no_wait) && is_served
}

fn show(reply: Reply, verb: &Verb, out: &mut dyn Write) -> Result<(), Exit> {
    match reply {
        Reply::Phase {
            after_ms,
            phase,
            detail,
        } => put(out, &format!("{after_ms:>8} ms  {phase:<10}  {detail}")),
        Reply::Done { message } => put(out, &message),
        Reply::Status(status) => put(out, &shown(&status, verb)?),
        Reply::Failed { message } | Reply::Denied { message } => Err(Exit::failed(message)),
    }
}

fn shown(status: &Status, verb: &Verb) -> Result<String, Exit> {
    match verb {
        Verb::Status { json: true } => serde_json::to_string(status)
            .map_err(|error| Exit::failed(format!("cannot write the status as JSON: {error}"))),
        _ => Ok(table(status)),
    }
}

/// The connection ended on `stop`. That is success if the supervisor is gone, and only then.
fn stopped(path: &Path, out: &mut dyn Write) -> Result<(), Exit> {
    match answers(path, STOP_CHECK_TIMEOUT) {
        true => Err(Loss::Gone.into_exit(path)),
        false => put(out, "stopped: the supervisor is gone, without a last word"),
    }
}

/// Prints lines at once. That nobody reads them changes nothing of what was asked for, so it is
/// no failure.
fn put(out: &mut dyn Write, text: &str) -> Result<(), Exit> {
    let text = printable(text.trim_end());
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Exit::failed(format!("cannot write the answer: {error}")))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::cli::reload::ReloadArguments;
    use crate::wire::control::Scale;

    fn parsed(line: &str) -> Result<(Target, Verb), Exit> {
        parsed_in(line, &|_| None)
    }

    fn parsed_in(line: &str, environment: Environment<'_>) -> Result<(Target, Verb), Exit> {
        let words = ["reuseport-ctl"].into_iter().chain(line.split_whitespace());
        parse(words.map(OsString::from), environment)
    }

    #[test]
    fn the_environment_says_which_where_the_line_does_not() {
        let name = |name: &str| (name == "REUSEPORT_NAME").then(|| OsString::from("web"));
        let both = |name: &str| match name {
            "REUSEPORT_CONTROL" => Some(OsString::from("/s")),
            _ => Some(OsString::from("web")),
        };
        let target = |line, environment| parsed_in(line, environment).unwrap().0;
        assert_eq!(target("status", &name), Target::Name("web".to_owned()));
        assert_eq!(target("status", &both), Target::Socket("/s".into()));
        let api = Target::Name("api".to_owned());
        assert_eq!(target("--name api status", &both), api);
        let empty = |_: &str| Some(OsString::new());
        assert_eq!(target("status", &empty), Target::TheOnlyOne);
        let bad = |name: &str| (name == "REUSEPORT_NAME").then(|| OsString::from("a/b"));
        let exit = parsed_in("status", &bad).unwrap_err();
        assert_eq!(exit.code, 2);
        assert!(exit.text.contains("REUSEPORT_NAME: "), "{}", exit.text);
    }

    #[test]
    fn verbs() {
        let to = |to| Verb::Scale { to };
        let reload = |no_wait, wait| {
            Verb::Reload(ReloadArguments {
                no_wait,
                wait,
                ..ReloadArguments::default()
            })
        };
        let tried = Verb::Reload(ReloadArguments {
            canary: Some(10),
            canary_workers: Some(2),
            hold: Some(Duration::from_secs(30)),
            ..ReloadArguments::default()
        });
        let accepting = Verb::Reload(ReloadArguments {
            accept_changes: true,
            ..ReloadArguments::default()
        });
        let other = Verb::Reload(ReloadArguments {
            env: vec![("A".into(), "b=c".into())],
            chdir: Some("/srv".into()),
            command: Some(vec!["./x".into(), "--env".into(), "y".into()]),
            ..ReloadArguments::default()
        });
        for (line, verb) in [
            ("status", Verb::Status { json: false }),
            ("status --json", Verb::Status { json: true }),
            ("reload", reload(false, false)),
            ("reload --no-wait", reload(true, false)),
            ("reload --wait", reload(false, true)),
            ("reload --accept-changes", accepting),
            ("reload --canary 10% --canary-workers 2 --for 30s", tried),
            (
                "reload --env A=b=c --chdir /srv --command ./x --env y",
                other,
            ),
            ("pause", Verb::Pause),
            ("promote", Verb::Promote),
            ("rollback", Verb::Rollback),
            ("stop", Verb::Stop { now: false }),
            ("stop --now", Verb::Stop { now: true }),
            ("scale 4", to(Scale::Exactly(4))),
            ("scale +2", to(Scale::Up(2))),
            ("scale -1", to(Scale::Down(1))),
            ("restart 17", Verb::Restart { worker: 17 }),
        ] {
            assert_eq!(parsed(line).unwrap(), (Target::TheOnlyOne, verb), "{line}");
        }
    }

    #[test]
    fn targets() {
        let name = Target::Name("web".to_owned());
        assert_eq!(parsed("--name web status").unwrap().0, name);
        assert_eq!(parsed("status --name web").unwrap().0, name);
        assert_eq!(parsed("scale --name web -1").unwrap().0, name);
        assert_eq!(
            parsed("--socket /s stop").unwrap().0,
            Target::Socket(PathBuf::from("/s"))
        );
    }

    #[test]
    fn what_makes_no_sense_is_told() {
        for (line, words) in [
            ("", "VERB is missing"),
            ("sttus", "sttus is not a verb"),
            (
                "status --jsn",
                "--jsn is not an option; did you mean --json?",
            ),
            ("reload --env A", "--env A: give NAME=VALUE"),
            ("reload --env =b", "--env =b: give NAME=VALUE"),
            ("reload --command", "its value is missing"),
            ("scale", "N|+N|-N"),
            ("scale 0", "N|+N|-N> 0: give N, +N or -N"),
            ("scale -0", "with N from 1 to 4096"),
            ("scale ++1", "with N from 1 to 4096"),
            ("scale 5000", "with N from 1 to 4096"),
            ("scale --now", "with N from 1 to 4096"),
            ("restart x", "<WORKER> x: "),
            ("restart -1", "-1 is not an option"),
            ("--name a/b status", "--name a/b: give a name"),
            ("--name a --socket b status", "give one of them"),
            ("--name", "--name <NAME>: its value is missing"),
            (
                "--generate ps status",
                "--generate ps: give one of man, bash",
            ),
        ] {
            let exit = parsed(line).unwrap_err();
            assert_eq!(exit.code, 2, "{line}");
            assert!(exit.text.contains(words), "{line}: {}", exit.text);
            assert!(!exit.text.contains('\n'), "{line}: {}", exit.text);
        }
    }
}
