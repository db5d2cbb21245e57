//! What a reload starts: options, files and links as they are then; and what is gone back to.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use nix::sys::signal::Signal;
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use reuseport_run::wire::control::Status;

use crate::harness::{Builder, Supervisor, fixture};
use crate::support::*;

/// A supervisor whose command and more are in a file. Braces in it mean what they mean in commands.
fn configured(options: &[&str], text: &str) -> Builder {
    let builder = Supervisor::builder()
        .args(["--config", "{dir}/conf.toml"])
        .args(options.iter().copied());
    let text = with_server(&builder, text);
    builder.file("conf.toml", &text)
}

/// `{server}` is the scripted server with its port.
fn with_server(builder: &Builder, text: &str) -> String {
    text.replace("{server}", &server(builder.port()))
}

fn server(port: u16) -> String {
    let program = fixture("misbehave").display().to_string();
    format!("command = [{program:?}, \"--port\", \"{port}\"]")
}

fn rewrite(supervisor: &Supervisor, text: &str) {
    let text = text.replace("{server}", &server(supervisor.port()));
    supervisor.write("conf.toml", &text);
}

/// A variable of every worker, which all have the same.
fn variable(supervisor: &Supervisor, workers: usize, name: &str) -> Option<String> {
    let status = supervisor.wait_serving(workers);
    let found = pids(&status)
        .into_iter()
        .map(|pid| value(&environment(pid), name).map(str::to_owned));
    let found: Vec<_> = found.collect();
    assert!(found.iter().all(|it| *it == found[0]), "{found:?}");
    found[0].clone()
}

fn reloaded_by_signal(supervisor: &Supervisor) {
    let seen = supervisor.lines().len();
    supervisor.signal(Signal::SIGHUP);
    supervisor.wait_line_after(seen, "reload: done, ");
}

#[test]
fn the_file_is_read_anew_at_each_reload() {
    let text = "workers = 2\n{server}\n[environment]\nVERSION = \"1\"\n";
    let supervisor = configured(&[], text).start();
    assert_eq!(variable(&supervisor, 2, "VERSION").as_deref(), Some("1"));

    rewrite(
        &supervisor,
        "workers = 3\n{server}\n[environment]\nVERSION = 2\nMORE = true\n",
    );
    let (told, _) = without_loss(light(supervisor.address()), || {
        supervisor.ctl_ok(["reload"])
    });
    assert!(told.contains("3 workers of generation 2"), "{told}");
    assert_eq!(variable(&supervisor, 3, "VERSION").as_deref(), Some("2"));
    assert_eq!(variable(&supervisor, 3, "MORE").as_deref(), Some("true"));

    rewrite(&supervisor, "workers = 1\n{server}\n");
    let ((), _) = without_loss(light(supervisor.address()), || {
        reloaded_by_signal(&supervisor);
    });
    assert_eq!(variable(&supervisor, 1, "VERSION"), None);
}

#[test]
fn a_file_that_makes_no_sense_changes_nothing() {
    let supervisor = configured(&[], "workers = 2\n{server}\n").start();
    let before = pids(&supervisor.wait_serving(2));
    for (text, why) in [
        (
            "workers = 2\nwrokers = 3\n{server}\n",
            "line 2, column 1: wrokers is not an option",
        ),
        ("workers = none\n{server}\n", "line 1, column 11: "),
        (
            "workers = 0\n{server}\n",
            "line 1, column 11: workers = 0: give a whole number",
        ),
        ("workers = 2\n", "COMMAND is missing"),
        (
            "soak = \"1s\"\nstrategy = \"rolling\"\n{server}\n",
            "leave out one of the two",
        ),
        (
            "{server}\n[environment]\nNOTIFY_SOCKET = \"/x\"\n",
            "is set by reuseport-run itself",
        ),
    ] {
        rewrite(&supervisor, text);
        let output = supervisor.ctl(["reload"]);
        assert_eq!(output.status.code(), Some(1), "{text}");
        let said = sentence(&output);
        assert!(
            said.contains("reload failed: ") && said.contains(why),
            "{said}"
        );
        assert!(said.contains("the old generation serves on"), "{said}");
    }
    let file = supervisor.directory().join("conf.toml");
    fs::remove_file(&file).unwrap();
    assert!(sentence(&supervisor.ctl(["reload"])).contains("it cannot be opened: No such file"));
    // Nobody writes to it.
    mkfifo(&file, Mode::S_IRUSR).unwrap();
    assert!(sentence(&supervisor.ctl(["reload"])).contains("it is not a regular file"));
    let seen = supervisor.lines().len();
    supervisor.signal(Signal::SIGHUP);
    supervisor.wait_line_after(seen, "it is not a regular file");

    let status = supervisor.wait_serving(2);
    assert_eq!(pids(&status), before);
    assert_eq!((status.reloads, status.reloads_failed), (0, 9));
}

#[test]
fn what_takes_a_restart_is_named_and_stays_as_it_is() {
    let supervisor = configured(&[], "name = \"web\"\nworkers = 1\n{server}\n").start();
    supervisor.wait_serving(1);
    rewrite(
        &supervisor,
        "name = \"other\"\nqueues = 1\nsteering = \"none\"\nworkers = 2\n{server}\n",
    );
    supervisor.ctl_ok(["reload"]);
    let line = supervisor.wait_line("takes a restart of reuseport-run: ");
    assert!(line.ends_with("--name, --queues, --steering"), "{line}");
    let status = supervisor.wait_serving(2);
    assert_eq!(status.name, "web");
    assert_ne!(status.steering, "none");
}

#[test]
fn a_number_that_somebody_asked_for_stays_until_the_file_has_another() {
    let supervisor = configured(&[], "workers = 1\n{server}\n").start();
    supervisor.wait_serving(1);
    supervisor.ctl_ok(["scale", "3"]);
    supervisor.ctl_ok(["reload"]);
    supervisor.wait_serving(3);
    rewrite(&supervisor, "workers = 2\n{server}\n");
    supervisor.ctl_ok(["reload"]);
    supervisor.wait_serving(2);
    supervisor.ctl_ok(["rollback"]);
    supervisor.wait_serving(1);
}

#[test]
fn variables_come_from_files_too_and_the_stronger_source_wins() {
    let text = "workers = 1\nenv = [\"C=option\"]\n{server}\n[environment]\nB = \"table\"\nC = \"table\"\n";
    let builder = configured(&["--env-file", "{dir}/variables"], text)
        .env("A", "inherited")
        .file("variables", "# of all\nA=file\nB=file\nD='a b'\n");
    let supervisor = builder.start();
    let of = |name| variable(&supervisor, 1, name);
    assert_eq!(of("A").as_deref(), Some("file"));
    assert_eq!(of("B").as_deref(), Some("table"));
    assert_eq!(of("C").as_deref(), Some("option"));
    assert_eq!(of("D").as_deref(), Some("a b"));
    supervisor.write("variables", "A=new\n");
    supervisor.ctl_ok(["reload"]);
    assert_eq!(of("A").as_deref(), Some("new"));
    supervisor.write("variables", "A=new\nB\n");
    let said = sentence(&supervisor.ctl(["reload"]));
    assert!(
        said.contains("variables, line 2: give NAME=VALUE"),
        "{said}"
    );
}

#[test]
fn what_a_reload_is_given_holds_until_it_is_dropped() {
    let supervisor = configured(&[], "workers = 1\n{server}\n[environment]\nA = 1\n").start();
    let of = |name| variable(&supervisor, 1, name);
    assert_eq!(of("A").as_deref(), Some("1"));
    supervisor.ctl_ok(["reload", "--env", "A=2", "--env", "SECRET=hidden"]);
    assert_eq!(of("A").as_deref(), Some("2"));
    // A command that cannot be started is not remembered.
    let output = supervisor.ctl(["reload", "--command", "/nowhere/server", "--port", "1"]);
    assert_eq!(output.status.code(), Some(1));
    reloaded_by_signal(&supervisor);
    assert_eq!(of("A").as_deref(), Some("2"));
    let output = supervisor.ctl(["reload", "--env", "LISTEN_FDS=1"]);
    assert!(
        sentence(&output).contains("--env LISTEN_FDS: LISTEN_FDS is set by reuseport-run itself")
    );
    supervisor.ctl_ok(["reload", "--as-configured", "--env", "B=3"]);
    assert_eq!(of("A").as_deref(), Some("1"));
    assert_eq!(of("B").as_deref(), Some("3"));
    let told = supervisor.lines().join("\n");
    assert!(
        told.contains("SECRET") && !told.contains("hidden"),
        "{told}"
    );
}

#[test]
fn a_command_and_a_directory_can_be_given_with_a_reload() {
    let supervisor = scripted(&["-n", "2"], &[]).start();
    supervisor.wait_serving(2);
    let directory = supervisor.directory().join("other");
    fs::create_dir(&directory).unwrap();
    let (directory, port) = (
        directory.display().to_string(),
        supervisor.port().to_string(),
    );
    let program = fixture("misbehave").display().to_string();
    let words = [
        "reload",
        "--chdir",
        &directory,
        "--command",
        &program,
        "--port",
        &port,
        "--drain-on-term",
    ];
    let (_, _) = without_loss(light(supervisor.address()), || supervisor.ctl_ok(words));
    for pid in pids(&supervisor.wait_serving(2)) {
        assert_eq!(link(pid, "cwd"), Path::new(&directory));
        let command = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap();
        assert!(command.contains("--drain-on-term"), "{command}");
    }
    // The old workers stop as they were to, and what served before them serves again.
    supervisor.ctl_ok(["rollback"]);
    for pid in pids(&supervisor.wait_serving(2)) {
        assert_ne!(link(pid, "cwd"), Path::new(&directory));
        let command = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap();
        assert!(!command.contains("--drain-on-term"), "{command}");
    }
}

fn link(pid: i32, name: &str) -> PathBuf {
    fs::read_link(format!("/proc/{pid}/{name}")).unwrap()
}

/// Makes a release: a directory with a server of its own.
fn release(root: &Path, name: &str) {
    let directory = root.join(name);
    fs::create_dir(&directory).unwrap();
    copy(&fixture("misbehave"), &directory.join("server"));
}

/// `current` leads to this release from now on.
fn deploy(root: &Path, name: &str) {
    symlink(name, root.join("next")).unwrap();
    fs::rename(root.join("next"), root.join("current")).unwrap();
}

/// A crash, a reload and a roll back while a link to the release is moved.
fn follows_the_link(start: impl FnOnce(Builder) -> Supervisor) {
    let builder = Supervisor::builder().args(["-n", "1"]);
    let root = fs::canonicalize(builder.directory()).unwrap();
    release(&root, "1");
    release(&root, "2");
    deploy(&root, "1");
    let supervisor = start(builder);
    let runs = |worker: u64, name: &str| {
        let serves = |status: &Status| {
            let mut workers = status.workers.iter();
            workers.any(|it| it.id == worker && it.phase == "serving")
        };
        let status = supervisor.wait_status(|status| serves(status) && status.phase == "serving");
        let pid = pids(&status)[0];
        assert_eq!(link(pid, "exe"), root.join(name).join("server"));
        pid
    };
    let first = runs(0, "1");
    deploy(&root, "2");
    // Half of the deployment is there: who comes after a crash is of the same release as the others.
    send(first, Signal::SIGKILL);
    runs(1, "1");
    supervisor.ctl_ok(["reload"]);
    let second = runs(2, "2");
    send(second, Signal::SIGKILL);
    runs(3, "2");
    supervisor.ctl_ok(["rollback"]);
    runs(4, "1");
}

#[test]
fn a_link_in_the_directory_is_resolved_at_each_reload() {
    follows_the_link(|builder| {
        let builder = builder.args(["--chdir", "{dir}/current"]);
        builder.command(["./server", "--port", "{port}"]).start()
    });
}

#[test]
fn a_link_in_the_path_of_the_command_is_resolved_at_each_reload() {
    follows_the_link(|builder| {
        let command = ["{dir}/current/server", "--port", "{port}"];
        builder.command(command).start()
    });
}

#[test]
fn a_link_by_which_the_directory_was_entered_is_resolved_at_each_reload() {
    follows_the_link(|builder| {
        let builder = builder.through_shell(r#"cd {dir}/current; exec "$@""#);
        builder.command(["./server", "--port", "{port}"]).start()
    });
}

#[test]
fn a_release_that_is_gone_fails_the_reload() {
    let builder = Supervisor::builder().args(["-n", "1", "--chdir", "{dir}/current"]);
    let root = fs::canonicalize(builder.directory()).unwrap();
    release(&root, "1");
    deploy(&root, "1");
    let supervisor = builder.command(["./server", "--port", "{port}"]).start();
    let before = pids(&supervisor.wait_serving(1));
    deploy(&root, "2");
    let said = sentence(&supervisor.ctl(["reload"]));
    assert!(
        said.contains("cannot change to ") && said.contains("current"),
        "{said}"
    );
    assert_eq!(pids(&supervisor.wait_serving(1)), before);
}

#[test]
fn there_is_nothing_to_go_back_to_before_a_reload() {
    let supervisor = scripted(&["-n", "1"], &[]).start();
    supervisor.wait_serving(1);
    let said = sentence(&supervisor.ctl(["rollback"]));
    assert!(
        said.contains("no reload has succeeded since the start"),
        "{said}"
    );
}

#[test]
fn an_old_worker_is_told_to_stop_as_it_was_to() {
    let text = "workers = 1\nstop-signal = \"USR1\"\ndrain-timeout = \"20s\"\n{server}\n";
    let supervisor = configured(&[], text).start();
    supervisor.wait_serving(1);
    rewrite(
        &supervisor,
        "workers = 1\nstop-signal = \"INT\"\n{server}\n",
    );
    supervisor.ctl_ok(["reload"]);
    supervisor.wait_line("generation 1, slot 0): gone, was killed by signal 10");
    supervisor.ctl_ok(["reload"]);
    supervisor.wait_line("generation 2, slot 0): gone, was killed by signal 2");
}
