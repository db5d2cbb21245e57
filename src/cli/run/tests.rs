//! What makes sense, and what does not.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use super::*;
use crate::config::{
    Channel, CheckedBy, CrashLoop, Forwarding, HealthCheck, KillMode, LimitValue,
    ProcessAttributes, Readiness, RescueClients, ServedProtocol, Steering,
};
use crate::fleet::{CpuLimit, Limits, Share};
use crate::sys::limit::Limit;

fn parsed_in(line: &str, environment: &[(&str, &str)]) -> Result<Config, Exit> {
    let environment: BTreeMap<_, _> = environment.iter().copied().collect();
    let words = ["reuseport-run"].into_iter().chain(line.split_whitespace());
    parse(words.map(OsString::from), &|name| {
        environment.get(name).map(OsString::from)
    })
}

fn parsed(line: &str) -> Result<Config, Exit> {
    parsed_in(line, &[])
}

#[test]
fn a_command_is_enough() {
    let config = parsed("./bin/server").unwrap();
    let expected = Config {
        command: vec!["./bin/server".into()],
        workers: available_cpus(),
        queues: None,
        listen: Vec::new(),
        name: "server".to_owned(),
        control: None,
        channel: Channel::None,
        ready: Readiness::Listen,
        ready_host: None,
        health: None,
        steering: Steering::Auto,
        start_timeout: Duration::from_secs(60),
        min_uptime: Duration::ZERO,
        strategy: Strategy::AllAtOnce,
        soak: Duration::ZERO,
        soak_restarts: 0,
        limits: Limits::default(),
        settle_timeout: Duration::from_secs(10),
        quiet_timeout: Duration::from_secs(2),
        rescue: true,
        rescue_timeout: Duration::from_secs(75),
        rescue_max: 65_536,
        rescue_forwarded: Forwarding::No,
        rescue_clients: RescueClients::Auto,
        protocol: ServedProtocol::Auto,
        drain_timeout: Duration::from_secs(30),
        stop_message: None,
        stop_message_timeout: Duration::from_secs(5),
        kill_mode: KillMode::Group,
        pre_stop: Duration::ZERO,
        stop_signal: libc::SIGTERM,
        max_restarts: 10,
        restart_window: Duration::from_secs(60),
        crash_loop: CrashLoop::Hold,
        log_prefix: false,
        log_file: None,
        chdir: None,
        release: Release::default(),
        environment: BTreeMap::new(),
        attributes: ProcessAttributes::default(),
    };
    assert_eq!(config, expected);
}

#[test]
fn workers_are_checked_each_by_itself() {
    let health = |line: &str| parsed(&format!("{line} s")).map(|config| config.health);
    assert_eq!(health("").unwrap(), None);
    let usual = |by| {
        Some(HealthCheck {
            by,
            interval: Duration::from_secs(10),
            timeout: Duration::from_secs(2),
            failures: 3,
            start_period: Duration::ZERO,
        })
    };
    for (line, by) in [
        ("--health tcp", CheckedBy::Tcp),
        ("--health http:/", CheckedBy::Http("/".to_owned())),
        ("-n 4 --queues 4 --health tcp", CheckedBy::Tcp),
        (
            "--ready-host x --health http:/u",
            CheckedBy::Http("/u".to_owned()),
        ),
        ("--health notify", CheckedBy::Notify),
        ("-n 4 --queues 1 --health notify", CheckedBy::Notify),
        ("--steering none --health notify", CheckedBy::Notify),
    ] {
        assert_eq!(health(line).unwrap(), usual(by), "{line}");
    }
    for (line, why) in [
        (
            "--health soon",
            "--health soon: give http:/PATH, such as http:/health",
        ),
        ("--health http:", "give http:/PATH"),
        ("--health http://host/", "give http:/PATH"),
        (
            "--health tcp --health-interval 0",
            "--health-interval 0: give 10ms or more",
        ),
        ("--health tcp --health-interval 9ms", "give 10ms or more"),
        ("--health tcp --health-interval often", "500ms"),
        (
            "--health tcp --health-timeout 0",
            "--health-timeout 0: give a time that is longer than 0",
        ),
        (
            "--health tcp --health-failures 0",
            "--health-failures 0: give a number from 1 to 1000",
        ),
        (
            "--health tcp --health-failures 1001",
            "give a number from 1 to 1000",
        ),
        (
            "--health tcp --health-failures x",
            "give a number from 1 to 1000",
        ),
        ("--health tcp --health-start-period=-1s", "500ms"),
        (
            "--health-interval 1s",
            "--health-interval: no worker is checked: give --health http:/PATH, tcp or notify with it",
        ),
        (
            "--health-timeout 1s",
            "--health-timeout: no worker is checked",
        ),
        (
            "--health-failures 1",
            "--health-failures: no worker is checked",
        ),
        (
            "--health-start-period 1s",
            "--health-start-period: no worker is checked",
        ),
        (
            "--steering none --health http:/up",
            "--health http:/up: with --steering none any worker may answer, so none can be asked by itself: give --health notify",
        ),
        (
            "-n 4 --queues 3 --health tcp",
            "--health tcp: workers that share a queue (--queues 3) answer for each other",
        ),
        (
            "--ready-host x --health tcp",
            "nothing is asked of the workers",
        ),
    ] {
        let exit = health(line).unwrap_err();
        assert_eq!(exit.code, 2, "{line}");
        assert!(exit.text.contains(why), "{line}: {}", exit.text);
    }
}

#[test]
fn workers_are_replaced_within_bounds() {
    let rolling = |line: &str| {
        let parsed = parsed(&format!("-n 8 --strategy rolling {line} s"));
        parsed.map(|config| config.strategy)
    };
    let bounds = |surge, unavailable| Strategy::Rolling(Bounds { surge, unavailable });
    let (one, none) = (Share::Count(1), Share::Count(0));
    assert_eq!(rolling("").unwrap(), bounds(one, none));
    let line = "--max-surge 25% --max-unavailable 2";
    let given = bounds(Share::Percent(25), Share::Count(2));
    assert_eq!(rolling(line).unwrap(), given);
    assert_eq!(
        rolling("--max-surge 0 --max-unavailable 1").unwrap(),
        bounds(none, one)
    );
    for (line, why) in [
        ("--max-surge 0", "give --max-surge 1"),
        // An eighth of eight is none when a tenth is asked for.
        ("--max-surge 0 --max-unavailable 10%", "give --max-surge 1"),
        ("--max-surge 101%", "0% to 100%"),
        ("--max-surge 5000", "up to 4096"),
        ("--max-surge -1", "up to 4096"),
        ("--max-unavailable half", "0% to 100%"),
        (
            "--queues 2",
            "4 workers share a queue (--queues) and are replaced together: give --max-surge 4",
        ),
        ("--soak 1s", "leave out one of the two"),
        (
            "--steering none --max-surge 0 --max-unavailable 1",
            "would be lost: give 1 or more",
        ),
    ] {
        let said = rolling(line).unwrap_err().text;
        assert!(said.contains(why), "{line}: {said}");
    }
    let alone = parsed("-n 1 --strategy rolling --max-surge 0 --max-unavailable 1 s");
    assert!(
        alone
            .unwrap_err()
            .text
            .contains("of 1 none could be replaced")
    );
}

#[test]
fn limits_that_make_no_sense_are_told() {
    let window = |line: &str| parsed(line).unwrap().limits.max_cpu;
    let a_minute = CpuLimit {
        percent: 250,
        window: Duration::from_secs(60),
    };
    assert_eq!(window("--max-cpu 250 s"), Some(a_minute));
    assert_eq!(window("s"), None);
    let counted = parsed("--max-connections-served 500 s").unwrap();
    assert_eq!(counted.limits.max_connections, Some(500));
    for (line, why) in [
        ("--max-rss 0", "a number of bytes that is not 0"),
        ("--max-rss 0K", "a number of bytes that is not 0"),
        ("--max-rss 5X", "such as 500M"),
        ("--max-rss +5M", "such as 500M"),
        ("--max-rss 99999999999G", "such as 500M"),
        ("--max-cpu 0", "1% or more, such as 90%"),
        ("--max-cpu 1.5", "1% or more"),
        ("--max-cpu-window 5s", "give --max-cpu with it"),
        (
            "--max-cpu 5% --max-cpu-window 999ms",
            "--max-cpu-window 999ms: give 1s or more",
        ),
        ("--max-cpu 5% --max-cpu-window 8d", "at most 7 days"),
        ("--max-age 0", "longer than 0"),
        ("--max-age soon", "give a time"),
        ("--max-connections-served 0", "from 1 to 2147483648"),
        ("--max-connections-served many", "from 1 to 2147483648"),
        (
            "--max-connections-served 5 --steering cbpf",
            "with --steering cbpf there is none: leave out one of the two",
        ),
        (
            "--max-connections-served 5 --steering none",
            "with --steering none there is none: leave out one of the two",
        ),
    ] {
        let exit = parsed(&format!("{line} s")).unwrap_err();
        assert!(exit.text.contains(why), "{line}: {}", exit.text);
        assert_eq!(exit.code, 2, "{line}");
    }
}

#[test]
fn every_option() {
    let line = "-n 3 --queues 3 --listen 80 --listen [::]:81 --name web --control /c --ready http:/up --ready-host shop.example \
                --steering cbpf --start-timeout 1s --min-uptime 9s --soak 11s --soak-restarts 2 --max-age 12s --max-rss 300M --max-cpu 90% --max-cpu-window 13s \
                --health http:/well --health-interval 13s --health-timeout 14s --health-failures 15 --health-start-period 16s --settle-timeout 2 --quiet-timeout 3s \
                --drain-timeout 1m --channel cluster --stop-message shutdown --stop-message-timeout 17s --kill-mode tree --pre-stop 500ms --stop-signal QUIT --max-restarts 6 \
                --restart-window 7s --crash-loop exit --no-rescue --rescue-timeout 8s --rescue-max 9 --rescue-forwarded forwarded --rescue-clients all --protocol opaque --log-prefix --log-file /l --chdir /d --env A=b=c \
                --nice 19 --umask 027 --rlimit nofile=64:128 --rlimit core=0 --oom-score-adj 1000 --pin -- s -n 9 --name";
    let endpoint = |address: &str| Endpoint {
        address: address.parse().unwrap(),
        v6_only: false,
    };
    let limit = |limit, soft, hard| LimitValue { limit, soft, hard };
    let expected = Config {
        command: ["s", "-n", "9", "--name"].map(OsString::from).to_vec(),
        workers: 3,
        queues: Some(3),
        listen: vec![endpoint("0.0.0.0:80"), endpoint("[::]:81")],
        name: "web".to_owned(),
        control: Some("/c".into()),
        channel: Channel::Cluster,
        ready: Readiness::Http("/up".to_owned()),
        ready_host: Some("shop.example".to_owned()),
        health: Some(HealthCheck {
            by: CheckedBy::Http("/well".to_owned()),
            interval: Duration::from_secs(13),
            timeout: Duration::from_secs(14),
            failures: 15,
            start_period: Duration::from_secs(16),
        }),
        steering: Steering::Cbpf,
        start_timeout: Duration::from_secs(1),
        min_uptime: Duration::from_secs(9),
        strategy: Strategy::AllAtOnce,
        soak: Duration::from_secs(11),
        soak_restarts: 2,
        limits: Limits {
            max_rss: Some(300 << 20),
            max_cpu: Some(CpuLimit {
                percent: 90,
                window: Duration::from_secs(13),
            }),
            max_age: Some(Duration::from_secs(12)),
            max_connections: None,
        },
        settle_timeout: Duration::from_secs(2),
        quiet_timeout: Duration::from_secs(3),
        rescue: false,
        rescue_timeout: Duration::from_secs(8),
        rescue_max: 9,
        rescue_forwarded: Forwarding::Forwarded,
        rescue_clients: RescueClients::All,
        protocol: ServedProtocol::Opaque,
        drain_timeout: Duration::from_secs(60),
        stop_message: Some("shutdown".to_owned()),
        stop_message_timeout: Duration::from_secs(17),
        kill_mode: KillMode::Tree,
        pre_stop: Duration::from_millis(500),
        stop_signal: libc::SIGQUIT,
        max_restarts: 6,
        restart_window: Duration::from_secs(7),
        crash_loop: CrashLoop::Exit,
        log_prefix: true,
        log_file: Some("/l".into()),
        chdir: Some("/d".into()),
        release: Release {
            directory: Some("/d".into()),
            program: None,
        },
        environment: BTreeMap::from([("A".into(), "b=c".into())]),
        // Who a worker can be depends on who we are: see `account`.
        attributes: ProcessAttributes {
            nice: Some(19),
            umask: Some(0o27),
            limits: vec![limit(Limit::Nofile, 64, 128), limit(Limit::Core, 0, 0)],
            oom_score_adj: Some(1000),
            is_pinned: true,
            ..ProcessAttributes::default()
        },
    };
    assert_eq!(parsed(line).unwrap(), expected);
}

#[test]
fn what_follows_the_command_is_its_own() {
    let config = parsed("-n 2 server -n 5 --listen x -- --help").unwrap();
    assert_eq!(config.workers, 2);
    assert_eq!(config.command.len(), 7);
}

#[test]
fn what_makes_no_sense_is_told() {
    let long = format!("--control /{} s", "c".repeat(107));
    let long_name = format!("/bin/{}", "n".repeat(65));
    for (line, words) in [
        ("", "COMMAND is missing: give the server"),
        ("-n 0 s", "--workers 0: give a whole number from 1 to 4096"),
        (
            "-n 100000 s",
            "--workers 100000: give a whole number from 1 to 4096",
        ),
        (
            "--queues 0 s",
            "--queues 0: give a whole number from 1 to 4096",
        ),
        ("-n -1 s", "--workers -1: give a whole number"),
        ("-n four s", "--workers four: give a whole number"),
        ("-n", "--workers <N>: its value is missing"),
        (
            "--wrokers 4 s",
            "--wrokers is not an option; did you mean --workers?",
        ),
        ("--zzz s", "--zzz is not an option; --help lists"),
        (
            "--listen localhost:80 s",
            "--listen localhost:80: give PORT, ADDRESS:PORT",
        ),
        ("--listen 0 s", "--listen 0: give a port from 1 to 65535"),
        (
            "--listen 80 --listen 0.0.0.0:80 s",
            "--listen 0.0.0.0:80: it is given twice",
        ),
        ("--name a/b s", "--name a/b: give a name of 1 to 64 bytes"),
        ("--name .. s", "--name ..: give a name"),
        (&long_name, "cannot be a name: give --name"),
        ("/", "cannot be a name: give --name"),
        (
            &long,
            "a socket's path may have 107 bytes, this one has 108",
        ),
        (
            "--ready-host x s",
            "--ready-host x: nothing is asked of the workers: give --ready http:/PATH",
        ),
        (
            "--ready http:/ --ready-host a/b s",
            "--ready-host a/b: give a host's name or address",
        ),
        (
            "--ready channel s",
            "--ready channel: workers have no channel to say it over: give --channel node or cluster",
        ),
        (
            "--stop-message bye s",
            "--stop-message: workers have no channel to hear it over: give --channel node or cluster",
        ),
        (
            "--channel deno s",
            "--channel deno: give none, node or cluster",
        ),
        (
            "--ready soon s",
            "--ready soon: give listen, notify, channel or http:/PATH",
        ),
        (
            "--steering xdp s",
            "--steering xdp: give auto, ebpf, cbpf or none",
        ),
        (
            "--start-timeout 0 s",
            "--start-timeout 0: give a time that is longer than 0",
        ),
        (
            "--drain-timeout 8d s",
            "--drain-timeout 8d: give a time such as",
        ),
        (
            "--drain-timeout -5 s",
            "--drain-timeout -5: give a time such as",
        ),
        (
            "--stop-signal KILL s",
            "--stop-signal KILL: no worker can obey",
        ),
        (
            "--nice 20 s",
            "--nice 20: give a whole number from -20 to 19",
        ),
        ("--umask 888 s", "--umask 888: give an octal number"),
        (
            "--oom-score-adj 1001 s",
            "--oom-score-adj 1001: give a whole number from -1000",
        ),
        (
            "--rlimit nofile s",
            "--rlimit nofile: give NAME=SOFT or NAME=SOFT:HARD",
        ),
        (
            "--rlimit nofile=15 s",
            "--rlimit nofile=15: no worker can run with so few descriptors; give at least 16",
        ),
        (
            "--listen 80 --rlimit nofile=16 s",
            "--rlimit nofile=16: no worker can run with so few descriptors; give at least 17",
        ),
        (
            "--rlimit core=0 --rlimit core=1 s",
            "--rlimit core: it is given twice",
        ),
        ("--pin=2 s", "--pin 2: give true or false"),
        (
            "--user no-such-user s",
            "--user no-such-user: there is no such user",
        ),
        (
            "--group no-such-group s",
            "--group no-such-group: there is no such group",
        ),
        (
            "--user root --group no-such-group s",
            "--group no-such-group: there is no such group",
        ),
        (
            "--max-restarts x s",
            "--max-restarts x: give a whole number from 0",
        ),
        (
            "--crash-loop wait s",
            "--crash-loop wait: give hold or exit",
        ),
        (
            "--log-prefix=maybe s",
            "--log-prefix maybe: give true or false",
        ),
        (
            "--config /nowhere s",
            "--config /nowhere: it cannot be opened: No such file",
        ),
        ("--config / s", "--config /: it is not a regular file"),
        ("--env A s", "--env A: give NAME=VALUE"),
        ("--env =1 s", "--env =1: give NAME=VALUE"),
        (
            "--env LISTEN_PID=1 s",
            "--env LISTEN_PID=1: LISTEN_PID is set by reuseport-run itself",
        ),
        (
            "--env-file /nowhere s",
            "--env-file /nowhere: it cannot be opened: No such file",
        ),
        (
            "--env-file /dev s",
            "--env-file /dev: it is not a regular file",
        ),
        (
            "--generate ps",
            "--generate ps: give one of man, bash, zsh, fish",
        ),
        ("-n 1 -n 2 s", "cannot be used multiple times"),
    ] {
        let exit = parsed(line).unwrap_err();
        assert_eq!(exit.code, 2, "{line}");
        assert!(exit.text.contains(words), "{line}: {}", exit.text);
        assert!(!exit.text.contains('\n'), "{line}: {}", exit.text);
    }
}

#[test]
fn every_option_from_the_environment() {
    for opt in OPTIONS {
        let exit = parsed_in("s", &[(variable(opt.name).as_str(), "\0/")]);
        let exit = exit.expect_err(opt.name);
        let origin = format!("{}=", variable(opt.name));
        assert!(exit.text.starts_with(&origin), "{}", exit.text);
    }
    let config = parsed_in("s", &[("REUSEPORT_LISTEN", "80,[::]:81")]).unwrap();
    assert_eq!(config.listen.len(), 2);
    let config = parsed_in("s", &[("REUSEPORT_WORKERS", "")]).unwrap();
    assert_eq!(config.workers, available_cpus());
}

#[test]
fn the_strongest_source_wins() {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(
        &file,
        "workers = 2\nlisten = [81, 82]\ncommand = [\"f\", \"-x\"]\n",
    )
    .unwrap();
    let path = file.path().to_str().unwrap();
    let in_environment = [
        ("REUSEPORT_CONFIG", path),
        ("REUSEPORT_WORKERS", "3"),
        ("REUSEPORT_LISTEN", "83"),
    ];

    let config = parsed_in("", &in_environment[..1]).unwrap();
    assert_eq!((config.workers, config.listen.len()), (2, 2));
    assert_eq!((config.command.len(), config.name.as_str()), (2, "f"));

    let config = parsed_in("", &in_environment).unwrap();
    assert_eq!((config.workers, config.listen.len()), (3, 1));

    let config = parsed_in("-n 4 --listen 84 --listen 85 s", &in_environment).unwrap();
    assert_eq!((config.workers, config.listen.len()), (4, 2));
    assert_eq!(config.listen[0].address.port(), 84);
    assert_eq!(config.command, ["s"]);

    let config = parsed(&format!("--config {path}")).unwrap();
    assert_eq!(config.workers, 2);
}

#[test]
fn the_command_line_overrides_a_bad_value_of_a_weaker_source() {
    let broken = [
        ("REUSEPORT_WORKERS", "none"),
        ("REUSEPORT_LOG_PREFIX", "true"),
    ];
    assert!(
        parsed_in("s", &broken)
            .unwrap_err()
            .text
            .starts_with("REUSEPORT_WORKERS=none: ")
    );
    let config = parsed_in("-n 4 --log-prefix=false s", &broken).unwrap();
    assert_eq!((config.workers, config.log_prefix), (4, false));
}

#[test]
fn what_is_wrong_in_the_file_is_told_with_its_line() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let path = file.path().to_str().unwrap();
    for (text, words) in [
        (
            "workers = 4\nwrokers = 5\n",
            "line 2, column 1: wrokers is not an option",
        ),
        (
            "\n\nworkers = 0\ncommand = [\"s\"]\n",
            "line 3, column 11: workers = 0: give a whole number from 1 to 4096",
        ),
        ("command = []\n", "COMMAND is missing"),
        ("command = [\"\"]\n", "COMMAND is empty"),
        (
            "command = [\"a\\u0000\"]\n",
            "line 1, column 11: command = a\0: it has a NUL byte",
        ),
    ] {
        fs::write(&file, text).unwrap();
        let exit = parsed(&format!("--config {path}")).unwrap_err();
        assert_eq!(exit.code, 2);
        assert!(exit.text.contains(words), "{text:?}: {}", exit.text);
    }
}

#[test]
fn help_and_manual_know_every_option() {
    let asked = [
        "-h",
        "--help",
        "--generate man",
        "--generate bash",
        "--generate fish",
    ];
    for line in asked.into_iter().chain(["--generate zsh"]) {
        let exit = parsed(line).unwrap_err();
        assert_eq!(exit.code, 0);
        let text = exit.text.replace('\\', "");
        for name in OPTIONS.iter().map(|opt| opt.name).chain(["config"]) {
            let fish = format!("-l {name} ");
            let found = text.contains(&format!("--{name}")) || text.contains(&fish);
            assert!(found, "{line} does not know --{name}");
        }
    }
    let version = parsed("--version").unwrap_err();
    assert_eq!(
        (version.code, version.text.trim()),
        (0, "reuseport-run 0.1.0")
    );
}
