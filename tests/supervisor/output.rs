//! What workers write, and who reads it.

use std::fs::{self, File};
use std::io::{self, Read};
use std::sync::Arc;

use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

use crate::harness::{Builder, Supervisor, fixture};
use crate::rig::output_lines::OutputLines;
use crate::support::*;

/// A supervisor whose workers first run a shell script, then serve.
fn after(options: &[&str], script: &str) -> Builder {
    let program = fixture("misbehave").display().to_string();
    let script = format!("{script}\nexec \"$0\" --port {{port}}");
    Supervisor::builder()
        .args(options.iter().copied())
        .command(["sh", "-c", &script, &program])
}

#[test]
fn it_is_passed_on() {
    let supervisor = after(&["-n", "1"], "echo to output; echo to errors >&2").start();
    supervisor.wait_serving(1);
    supervisor.wait_line("to errors");
    supervisor.wait_for("its output", || {
        supervisor
            .output()
            .contains(&"to output".to_owned())
            .then_some(())
    });
}

#[test]
fn each_line_can_be_prefixed_with_who_wrote_it() {
    // Pieces of a line are put together, and one that never ends is ended with its writer.
    let script =
        "echo whole; echo errors >&2; printf 'in '; printf 'pieces\\n'; printf 'un\\nended'";
    let supervisor = after(&["-n", "2", "--log-prefix"], script).start();
    supervisor.wait_serving(2);
    supervisor.ctl_ok(["reload"]);
    for name in ["1.0", "1.1", "2.0", "2.1"] {
        supervisor.wait_line(&format!("[{name}] errors"));
        for line in ["whole", "in pieces", "un"] {
            let line = format!("[{name}] {line}");
            supervisor.wait_for(&line, || supervisor.output().contains(&line).then_some(()));
        }
    }
    for name in ["1.0", "1.1"] {
        let line = format!("[{name}] ended");
        supervisor.wait_for(&line, || supervisor.output().contains(&line).then_some(()));
    }
    assert!(supervisor.output().iter().all(|line| line.starts_with('[')));
}

/// A supervisor whose standard error is a pipe that nobody reads yet.
fn unread(options: &[&str], script: &str) -> Supervisor {
    let builder = after(options, script);
    mkfifo(
        &builder.directory().join("pipe"),
        Mode::S_IRUSR | Mode::S_IWUSR,
    )
    .unwrap();
    builder.through_shell(r#"exec "$@" 2<>{dir}/pipe"#).start()
}

#[test]
fn a_reader_that_does_not_read_stops_nothing_and_hears_what_it_missed() {
    // More than the pipe and what the supervisor keeps.
    let script = "seq 1 200000 >&2";
    let supervisor = unread(&["-n", "1"], script);
    supervisor.wait_serving(1);
    supervisor.ctl_ok(["reload"]);
    supervisor.wait_serving(1);
    let output_lines = Arc::new(OutputLines::default());
    output_lines.follow(File::open(supervisor.directory().join("pipe")).unwrap());
    let has = |words: &str| {
        output_lines
            .lines()
            .iter()
            .any(|line| line.contains(words))
            .then_some(())
    };
    supervisor.wait_for("the notice", || {
        has("lines of output were lost here: their reader was too slow")
    });
    supervisor.ctl_ok(["reload"]);
    supervisor.wait_for("what is written since", || {
        has("reload: done, 1 worker of generation 3 serves")
    });
}

#[test]
fn a_slow_reader_loses_nothing() {
    let supervisor = unread(
        &["-n", "1"],
        "echo begin >&2; seq 1 10000 >&2; echo end >&2",
    );
    let output_lines = Arc::new(OutputLines::default());
    output_lines.follow(Slow(
        File::open(supervisor.directory().join("pipe")).unwrap(),
    ));
    supervisor.wait_for("its end", || {
        output_lines
            .lines()
            .contains(&"end".to_owned())
            .then_some(())
    });
    let lines = output_lines.lines();
    let numbers: Vec<u32> = lines.iter().filter_map(|line| line.parse().ok()).collect();
    assert!(
        numbers.iter().copied().eq(1..=10_000),
        "{} of 10000",
        numbers.len()
    );
}

/// Takes a little at a time.
struct Slow(File);

impl Read for Slow {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = buffer.len().min(512);
        std::thread::yield_now();
        self.0.read(&mut buffer[..most])
    }
}

#[test]
fn nobody_to_write_to_is_harmless() {
    let closed = after(&["-n", "1"], "echo x >&2").through_shell(r#"exec "$@" 2>&- >&-"#);
    serves_and_reloads(closed.start());
    let builder = after(&["-n", "1"], "echo x >&2");
    mkfifo(
        &builder.directory().join("pipe"),
        Mode::S_IRUSR | Mode::S_IWUSR,
    )
    .unwrap();
    // A reader that goes at once.
    let gone = builder.through_shell(r#": <{dir}/pipe & exec "$@" 2>{dir}/pipe"#);
    serves_and_reloads(gone.start());
}

fn serves_and_reloads(supervisor: Supervisor) {
    supervisor.wait_serving(1);
    supervisor.ctl_ok(["reload"]);
    assert_eq!(ask(supervisor.address()).unwrap(), "2.0");
}

#[test]
fn last_words_without_an_end_are_told() {
    let builder = Supervisor::builder().args(["-n", "1"]);
    let sentence = refusal(
        builder
            .command(["sh", "-c", "printf 'no end' >&2; exit 6"])
            .start(),
    );
    assert!(sentence.ends_with("it wrote: no end"), "{sentence}");
}

#[test]
fn last_words_cannot_steer_a_terminal_or_fake_a_line() {
    let builder = Supervisor::builder().args(["-n", "1"]);
    let script = r"printf '\033[2Jone\r\n\ntwo\n' >&2; exit 6";
    let sentence = refusal(builder.command(["sh", "-c", script]).start());
    assert!(sentence.contains("it wrote:  [2Jone | two"), "{sentence:?}");
}

#[test]
fn the_log_may_go_to_a_file() {
    let supervisor = after(&["-n", "1"], "echo from a worker >&2")
        .through_shell(r#"exec "$@" 2>{dir}/log"#)
        .start();
    supervisor.wait_serving(1);
    supervisor.wait_for("the log", || {
        let text = fs::read_to_string(supervisor.directory().join("log")).unwrap();
        (text.contains("from a worker") && text.contains("start: done")).then_some(())
    });
}
