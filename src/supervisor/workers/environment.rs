//! What a worker finds: its environment and its arguments.
//!
//! Our own options and what a supervisor above us passed to us are taken out: `LISTEN_FDS`, for
//! example, speaks of descriptors that the worker does not have. Then come the names under which
//! servers know passed sockets: systemd's (sd_listen_fds(3)), `start_server`'s and einhorn's.
//!
//! With `--user` the variables that speak of a user speak of that one, as with systemd's `User=`.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::config::{Channel, Login, is_set_by_us};
use crate::fleet::{Endpoint, Generation, Slot, WorkerId};
use crate::launcher::FIRST_PASSED;

/// What a worker is told of itself.
#[derive(Clone, Copy, Debug)]
pub(super) struct WorkerEnv<'a> {
    pub(super) slot: Slot,
    pub(super) generation: Generation,
    pub(super) workers: u32,
    /// The endpoints whose listeners are passed, in their order.
    pub(super) passed: &'a [Endpoint],
    /// Where `READY=1` may be sent.
    pub(super) notify: &'a Path,
    /// The kind of channel to us that it has, at the descriptor after those that are passed.
    pub(super) channel: Channel,
    /// What it is called in Node's cluster.
    pub(super) worker: WorkerId,
    /// Variables that were asked for.
    pub(super) given: &'a BTreeMap<OsString, OsString>,
    /// How long it may be silent; none: it need not say that it is well.
    pub(super) watchdog: Option<Duration>,
    /// What is said of its user; none: what is said of ours.
    pub(super) login: Option<&'a Login>,
    /// Whether its user is given by an option.
    pub(super) is_another_user: bool,
}

impl WorkerEnv<'_> {
    pub(super) fn environment(
        &self,
        ours: impl Iterator<Item = (OsString, OsString)>,
    ) -> Vec<(OsString, OsString)> {
        let mut environment: Vec<(OsString, OsString)> = ours
            .filter(|(name, _)| !is_set_by_us(name) && !self.is_of_our_user(name))
            .collect();
        let own = [
            ("REUSEPORT_WORKER", self.slot.to_string().into()),
            ("REUSEPORT_WORKERS", self.workers.to_string().into()),
            ("REUSEPORT_GENERATION", self.generation.to_string().into()),
            ("NOTIFY_SOCKET", self.notify.as_os_str().to_owned()),
        ];
        environment.extend(self.given.clone());
        environment.extend(own.map(|(name, value)| (name.into(), value)));
        // `WATCHDOG_PID` is missing: only the worker's launcher knows it.
        environment.extend(self.watchdog.map(|watchdog| {
            let microseconds = watchdog.as_micros().to_string();
            ("WATCHDOG_USEC".into(), microseconds.into())
        }));
        environment.extend(self.channel_environment());
        environment.extend(self.login.into_iter().flat_map(login_environment));
        environment.extend(
            self.passed_environment()
                .into_iter()
                .map(|(name, value)| (name.into(), value.into())),
        );
        environment
    }

    /// As `child_process.fork` says it; and as Node's cluster does, to whose worker half a number is given.
    fn channel_environment(&self) -> Vec<(OsString, OsString)> {
        let number = FIRST_PASSED as usize + self.passed.len();
        let mut all = match self.channel {
            Channel::None => return Vec::new(),
            Channel::Node | Channel::Cluster => vec![
                ("NODE_CHANNEL_FD", number.to_string()),
                ("NODE_CHANNEL_SERIALIZATION_MODE", "json".to_owned()),
                ("NODE_APP_INSTANCE", self.slot.to_string()),
            ],
        };
        if self.channel == Channel::Cluster {
            all.push(("NODE_UNIQUE_ID", (self.worker.0 + 1).to_string()));
        }
        let all = all.into_iter();
        all.map(|(name, value)| (name.into(), value.into()))
            .collect()
    }

    /// Whether a variable says something of our user that is not true of the worker's.
    fn is_of_our_user(&self, name: &OsStr) -> bool {
        let of_login = ["HOME", "USER", "LOGNAME", "SHELL"];
        // What a session has: directories and sockets that only its user may enter, or should.
        let of_session = [
            "XDG_RUNTIME_DIR",
            "XDG_SESSION_ID",
            "DBUS_SESSION_BUS_ADDRESS",
            "MAIL",
        ];
        let is_one_of = |names: [&str; 4]| names.iter().any(|known| name == *known);
        (self.login.is_some() && is_one_of(of_login))
            || (self.is_another_user && is_one_of(of_session))
    }

    /// `LISTEN_PID` is missing: only the worker's launcher knows it.
    fn passed_environment(&self) -> Vec<(String, String)> {
        let Some(first) = self.passed.first() else {
            return Vec::new();
        };
        let count = self.passed.len();
        let numbered = || self.passed.iter().zip(FIRST_PASSED..);
        let join = |parts: Vec<String>, separator| parts.join(separator);
        let ports = numbered()
            .map(|(endpoint, number)| format!("{endpoint}={number}"))
            .collect();
        let names = self
            .passed
            .iter()
            .map(|endpoint| endpoint.address.port().to_string())
            .collect();
        let mut all = vec![
            ("LISTEN_FDS".into(), count.to_string()),
            ("LISTEN_FDNAMES".into(), join(names, ":")),
            ("SERVER_STARTER_PORT".into(), join(ports, ";")),
            (
                "SERVER_STARTER_GENERATION".into(),
                self.generation.to_string(),
            ),
            ("EINHORN_FD_COUNT".into(), count.to_string()),
            ("PORT".into(), first.address.port().to_string()),
        ];
        all.extend(
            numbered()
                .enumerate()
                .map(|(index, (_, number))| (format!("EINHORN_FD_{index}"), number.to_string())),
        );
        all
    }

    /// The command's arguments, in which `{fd}`, `{port}`, `{worker}` and `{generation}` stand for
    /// the first passed descriptor and so on. Only with passed sockets: elsewhere braces are the
    /// command's own.
    pub(super) fn arguments(&self, arguments: &[OsString]) -> Vec<OsString> {
        let Some(first) = self.passed.first() else {
            return arguments.to_vec();
        };
        let values = [
            ("{fd}", FIRST_PASSED.to_string()),
            ("{port}", first.address.port().to_string()),
            ("{worker}", self.slot.to_string()),
            ("{generation}", self.generation.to_string()),
        ];
        let fill = |argument: &OsString| {
            values.iter().fold(argument.clone(), |text, (name, value)| {
                replace(&text, name, value)
            })
        };
        arguments.iter().map(fill).collect()
    }
}

fn login_environment(login: &Login) -> impl Iterator<Item = (OsString, OsString)> {
    let path = |path: &Option<PathBuf>| path.clone().map(OsString::from);
    let name = login.name.as_ref().map(OsString::from);
    let all = [
        ("USER", name.clone()),
        ("LOGNAME", name),
        ("HOME", path(&login.home)),
        ("SHELL", path(&login.shell)),
    ];
    let known = all.into_iter();
    known.filter_map(|(name, value)| Some((name.into(), value?)))
}

fn replace(text: &OsStr, name: &str, value: &str) -> OsString {
    let (mut rest, mut filled) = (text.as_bytes(), Vec::new());
    while let Some(at) = rest
        .windows(name.len())
        .position(|window| window == name.as_bytes())
    {
        filled.extend_from_slice(&rest[..at]);
        filled.extend_from_slice(value.as_bytes());
        rest = &rest[at + name.len()..];
    }
    filled.extend_from_slice(rest);
    OsString::from_vec(filled)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    static NONE: BTreeMap<OsString, OsString> = BTreeMap::new();

    fn env(passed: &[Endpoint]) -> WorkerEnv<'_> {
        WorkerEnv {
            slot: Slot(2),
            generation: Generation(7),
            workers: 4,
            passed,
            notify: Path::new("/run/n"),
            channel: Channel::None,
            worker: WorkerId(5),
            given: &NONE,
            watchdog: None,
            login: None,
            is_another_user: false,
        }
    }

    fn endpoint(address: &str) -> Endpoint {
        Endpoint {
            address: address.parse().unwrap(),
            v6_only: false,
        }
    }

    fn value(environment: &[(OsString, OsString)], name: &str) -> Option<String> {
        environment
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.to_string_lossy().into_owned())
    }

    #[test]
    fn what_was_meant_for_us_does_not_reach_the_worker() {
        let ours = [
            "REUSEPORT_LISTEN",
            "LISTEN_FDS",
            "LISTEN_PID",
            "NOTIFY_SOCKET",
            "WATCHDOG_USEC",
            "PATH",
        ];
        let environment =
            env(&[]).environment(ours.iter().map(|name| ((*name).into(), "x".into())));
        assert_eq!(value(&environment, "PATH").as_deref(), Some("x"));
        assert_eq!(
            value(&environment, "NOTIFY_SOCKET").as_deref(),
            Some("/run/n")
        );
        assert_eq!(
            value(&environment, "REUSEPORT_WORKER").as_deref(),
            Some("2")
        );
        for name in [
            "REUSEPORT_LISTEN",
            "LISTEN_FDS",
            "LISTEN_PID",
            "WATCHDOG_USEC",
        ] {
            assert_eq!(value(&environment, name), None, "{name}");
        }
    }

    #[test]
    fn who_must_say_that_it_is_well_is_told_how_often() {
        let watched = WorkerEnv {
            watchdog: Some(Duration::from_millis(12_000)),
            ..env(&[])
        };
        let environment = watched.environment([("WATCHDOG_USEC".into(), "x".into())].into_iter());
        let told = |(name, _): &&(OsString, OsString)| name == "WATCHDOG_USEC";
        assert_eq!(environment.iter().filter(told).count(), 1);
        assert_eq!(
            value(&environment, "WATCHDOG_USEC").as_deref(),
            Some("12000000")
        );
    }

    #[test]
    fn what_is_said_of_a_user_is_said_of_the_workers() {
        let ours = || {
            let names = [
                "HOME",
                "USER",
                "LOGNAME",
                "SHELL",
                "MAIL",
                "XDG_RUNTIME_DIR",
                "LANG",
            ];
            names.into_iter().map(|name| (name.into(), "root's".into()))
        };
        let told = |login, is_another_user| {
            let env = WorkerEnv {
                login,
                is_another_user,
                ..env(&[])
            };
            let mut told = env.environment(ours());
            told.retain(|(name, _)| ours().any(|(known, _): (OsString, OsString)| known == *name));
            told.sort();
            let shown = |(name, value): (OsString, OsString)| {
                format!("{}={}", name.display(), value.display())
            };
            told.into_iter().map(shown).collect::<Vec<_>>()
        };
        assert_eq!(told(None, false).len(), 7);
        let web = Login {
            name: Some("web".into()),
            home: Some("/srv".into()),
            shell: None,
        };
        let expected = ["HOME=/srv", "LANG=root's", "LOGNAME=web", "USER=web"];
        assert_eq!(told(Some(&web), true), expected);
        // A number without an account.
        let nobody = Login::default();
        assert_eq!(told(Some(&nobody), true), ["LANG=root's"]);
        // The same user: its session is the worker's, too.
        let session = told(Some(&web), false);
        assert!(
            session.contains(&"XDG_RUNTIME_DIR=root's".to_owned()),
            "{session:?}"
        );
        assert!(!session.contains(&"SHELL=root's".to_owned()), "{session:?}");
    }

    #[test]
    fn passed_sockets_go_by_all_their_names() {
        let passed = [endpoint("0.0.0.0:8080"), endpoint("[::1]:81")];
        let environment = env(&passed).environment(std::iter::empty());
        let expected = [
            ("LISTEN_FDS", "2"),
            ("LISTEN_FDNAMES", "8080:81"),
            ("SERVER_STARTER_PORT", "0.0.0.0:8080=3;[::1]:81=4"),
            ("SERVER_STARTER_GENERATION", "7"),
            ("EINHORN_FD_COUNT", "2"),
            ("EINHORN_FD_0", "3"),
            ("EINHORN_FD_1", "4"),
            ("PORT", "8080"),
        ];
        for (name, expected) in expected {
            assert_eq!(
                value(&environment, name).as_deref(),
                Some(expected),
                "{name}"
            );
        }
    }

    #[test]
    fn braces_are_filled_only_with_passed_sockets() {
        let arguments = [
            "--fd={fd}",
            "{worker}/{generation}",
            "{port}{port}",
            "{other}",
        ]
        .map(OsString::from);
        assert_eq!(env(&[]).arguments(&arguments), arguments);
        let passed = [endpoint("127.0.0.1:99")];
        assert_eq!(
            env(&passed).arguments(&arguments),
            ["--fd=3", "2/7", "9999", "{other}"].map(OsString::from)
        );
    }
}
