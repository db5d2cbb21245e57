//! The datagrams by which a service tells of itself, as in sd_notify(3): lines of `NAME=VALUE`.
//!
//! They come from the worker, or from anything that the worker starts, so they are not trusted: what is
//! not known is passed over, and what is shown to a person is bounded and without control characters.

/// The longest status that is kept, in characters.
pub const MAX_STATUS: usize = 256;

/// Something that a service told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// It has started, or finished its reload.
    Ready,
    /// It has begun to reload its configuration.
    Reloading,
    /// It has begun to stop.
    Stopping,
    /// It is alive.
    Watchdog,
    /// It asks to be treated as if it had not said that it is alive in time.
    WatchdogTrigger,
    /// What it does, in a line for a person: at most [`MAX_STATUS`] characters, none of them a control
    /// character.
    Status(String),
    /// Its main process.
    MainPid(u32),
    /// It waits until the descriptor that comes along is closed: all that it said before was read then
    /// (sd_notify_barrier(3)).
    Barrier,
    /// Something that we have no use for.
    Other,
}

/// Reads one datagram: a notice for each line that is not empty, in their order.
pub fn parse(datagram: &[u8]) -> Vec<Notice> {
    let lines = datagram.split(|byte| *byte == b'\n');
    lines
        .filter(|line| !line.is_empty())
        .map(parse_line)
        .collect()
}

fn parse_line(line: &[u8]) -> Notice {
    if let Some(status) = line.strip_prefix(b"STATUS=") {
        return Notice::Status(for_a_person(status));
    }
    match line {
        b"READY=1" => Notice::Ready,
        b"RELOADING=1" => Notice::Reloading,
        b"STOPPING=1" => Notice::Stopping,
        b"WATCHDOG=1" => Notice::Watchdog,
        b"BARRIER=1" => Notice::Barrier,
        b"WATCHDOG=trigger" => Notice::WatchdogTrigger,
        _ => parse_main_pid(line).map_or(Notice::Other, Notice::MainPid),
    }
}

fn parse_main_pid(line: &[u8]) -> Option<u32> {
    let value = core::str::from_utf8(line.strip_prefix(b"MAINPID=")?).ok()?;
    value.parse().ok().filter(|pid| *pid > 0)
}

/// The text as it may be put on a terminal or into a log: an escape sequence in it could otherwise
/// rewrite what is there.
fn for_a_person(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    let shown = |c: char| {
        if c.is_control() {
            char::REPLACEMENT_CHARACTER
        } else {
            c
        }
    };
    text.chars().take(MAX_STATUS).map(shown).collect()
}

/// One datagram that tells all of these, a line each. A newline in a value would make two lines of it,
/// so it becomes a space.
pub fn compose(notices: &[(&str, &str)]) -> Vec<u8> {
    let line = |(name, value): &(&str, &str)| format!("{name}={}\n", value.replace('\n', " "));
    notices.iter().map(line).collect::<String>().into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn each_line_is_a_notice() {
        let datagram = b"READY=1\nSTATUS=up and well\n\nMAINPID=77\nRELOADING=1\nSTOPPING=1\nWATCHDOG=1\nWATCHDOG=trigger";
        let expected = [
            Notice::Ready,
            Notice::Status("up and well".to_owned()),
            Notice::MainPid(77),
            Notice::Reloading,
            Notice::Stopping,
            Notice::Watchdog,
            Notice::WatchdogTrigger,
        ];
        assert_eq!(parse(datagram), expected);
    }

    #[test]
    fn what_is_not_known_is_passed_over() {
        for line in [
            "READY=0",
            "READY=",
            "READY",
            "=",
            "FDSTORE=1",
            "MAINPID=0",
            "MAINPID=-1",
            "MAINPID=99999999999",
        ] {
            assert_eq!(parse(line.as_bytes()), [Notice::Other], "{line}");
        }
    }

    #[test]
    fn a_status_cannot_write_to_the_terminal_at_will() {
        let told = parse(b"STATUS=\x1b[2Jgone\r");
        assert_eq!(told, [Notice::Status("\u{fffd}[2Jgone\u{fffd}".to_owned())]);
    }

    #[test]
    fn what_is_composed_is_understood() {
        let datagram = compose(&[("READY", "1"), ("STATUS", "two\nREADY=1"), ("MAINPID", "5")]);
        let status = Notice::Status("two READY=1".to_owned());
        assert_eq!(
            parse(&datagram),
            [Notice::Ready, status, Notice::MainPid(5)]
        );
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in any::<Vec<u8>>()) {
            parse(&bytes);
        }

        #[test]
        fn a_status_is_bounded(text in ".{0,600}") {
            for notice in parse(&compose(&[("STATUS", &text)])) {
                let Notice::Status(status) = notice else {
                    panic!("{notice:?}");
                };
                prop_assert!(status.chars().count() <= MAX_STATUS);
                prop_assert!(!status.chars().any(char::is_control));
            }
        }
    }
}
