//! What follows the options in `reuseport-run --help` and in the manual page.

use super::generate::Section;

/// Sections that follow the options in `--help` and in the manual page.
pub(crate) const SECTIONS: &[Section] = &[
    Section {
        title: "Values",
        entries: &[
            (
                "TIME",
                "500ms, 2s, 1m 30s; a bare number is seconds; at most 7 days",
            ),
            (
                "order",
                "command line, then environment, then file, then default",
            ),
            (
                "REUSEPORT_*",
                "any option from the environment: REUSEPORT_WORKERS=4,",
            ),
            ("", "REUSEPORT_DRAIN_TIMEOUT=10s; set to nothing is not set"),
            (
                "--config FILE",
                "TOML, the long names as keys: workers = 4,",
            ),
            (
                "",
                "listen = [\"8080\"], command = [\"./server\", \"--flag\"]",
            ),
        ],
    },
    Section {
        title: "Signals",
        entries: &[
            (
                "HUP, USR2",
                "reload: replace all workers, lose no connection",
            ),
            ("TERM, INT", "stop after --pre-stop, let workers drain"),
            ("INT again", "stop at once (TERM again changes nothing)"),
            ("QUIT", "stop at once"),
            ("TTIN, TTOU", "one worker more, one fewer"),
            ("USR1", "open log files again"),
        ],
    },
    Section {
        title: "Exit codes",
        entries: &[
            ("0", "stopped as asked"),
            ("2", "the options make no sense; nothing was started"),
            ("3", "the first generation could not be started"),
            ("4", "crash loop"),
            ("128+N", "ended by signal N"),
        ],
    },
    Section {
        title: "Files",
        entries: &[
            ("/run/reuseport-run/", "control sockets of root"),
            ("$XDG_RUNTIME_DIR/reuseport-run/", "of other users"),
            (
                "$TMPDIR/reuseport-run-UID/",
                "of other users without that (or in /tmp)",
            ),
        ],
    },
    Section {
        title: "Examples",
        entries: &[
            (
                "reuseport-run -n 4 ./server --port 8080",
                "four copies on one port",
            ),
            (
                "reuseport-run --listen 8080 uvicorn --fd {fd} app:app",
                "pass a socket",
            ),
            ("reuseport-ctl reload", "replace them, lose nothing"),
        ],
    },
];
