//! Workers of another user than the supervisor's.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::process::Command;

use nix::sys::signal::Signal;

use crate::harness::{Builder, fixture};
use crate::rig::load::Load;
use crate::support::*;

/// The user of most workers here, which every host has.
const NOBODY: u32 = 65534;

/// A supervisor of root's whose workers are nobody; none, after saying so, for who is not root.
fn of_nobody(options: &[&str], behaviour: &[&str]) -> Option<Builder> {
    let user = NOBODY.to_string();
    let options = [&["--user", &user, "--group", &user], options].concat();
    is_root().then(|| enterable(scripted(&options, behaviour)))
}

/// Others may look for NOTIFY_SOCKET in the test's directory, and no more.
fn enterable(builder: Builder) -> Builder {
    fs::set_permissions(builder.directory(), fs::Permissions::from_mode(0o711)).unwrap();
    builder
}

fn ids(pid: i32, name: &str) -> Vec<u32> {
    let text = status_field(pid, name).unwrap();
    text.split_whitespace()
        .map(|id| id.parse().unwrap())
        .collect()
}

fn capabilities(pid: i32, set: &str) -> u64 {
    u64::from_str_radix(&status_field(pid, set).unwrap(), 16).unwrap()
}

#[test]
fn a_worker_has_nothing_of_roots() {
    let Some(builder) = of_nobody(&["-n", "1"], &[]) else {
        return;
    };
    // Whoever starts a supervisor may give it what outlives a change of user, and leave files open.
    let wrapper = r#"exec 9< /proc/self/mem
        exec setpriv --groups=0,1,2 --inh-caps=+net_admin,+chown --ambient-caps=+net_admin "$@""#;
    let supervisor = builder.through_shell(wrapper).start();
    let worker = pids(&supervisor.wait_serving(1))[0];
    assert_eq!(ids(worker, "Uid"), [NOBODY; 4]);
    assert_eq!(ids(worker, "Gid"), [NOBODY; 4]);
    assert_eq!(ids(worker, "Groups"), [NOBODY]);
    for set in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
        assert_eq!(capabilities(worker, set), 0, "{set}");
    }
    // The supervisor is what it was.
    let own = supervisor.pid();
    assert_eq!(ids(own, "Uid"), [0; 4]);
    assert_ne!(capabilities(own, "CapAmb"), 0);
    // Setuid programs still work in a worker.
    assert_eq!(status_field(worker, "NoNewPrivs").as_deref(), Some("0"));
    assert_eq!(capabilities(worker, "CapBnd"), capabilities(own, "CapBnd"));
    assert_eq!(status_field(worker, "Seccomp").as_deref(), Some("2"));
    let inherited = Path::new("/proc").join(own.to_string()).join("fd/9");
    assert!(inherited.exists(), "the supervisor has it");
    let mut numbers: Vec<i32> = fs::read_dir(format!("/proc/{worker}/fd"))
        .unwrap()
        .map(|entry| {
            entry
                .unwrap()
                .file_name()
                .to_str()
                .unwrap()
                .parse()
                .unwrap()
        })
        .collect();
    numbers.sort_unstable();
    assert_eq!(numbers, [0, 1, 2, 3], "the three and its listener");
}

#[test]
fn the_environment_is_the_users() {
    let Some(builder) = of_nobody(&["-n", "1"], &[]) else {
        return;
    };
    let builder = builder
        .env("HOME", "/root")
        .env("SHELL", "/bin/of-root")
        .env("XDG_RUNTIME_DIR", "/run/user/0")
        .env("KEPT", "yes");
    let supervisor = builder.start();
    let environment = environment(pids(&supervisor.wait_serving(1))[0]);
    let account = nix::unistd::User::from_uid(NOBODY.into()).unwrap().unwrap();
    for name in ["USER", "LOGNAME"] {
        assert_eq!(value(&environment, name), Some(account.name.as_str()));
    }
    assert_ne!(value(&environment, "HOME"), Some("/root"));
    assert_ne!(value(&environment, "SHELL"), Some("/bin/of-root"));
    assert_eq!(value(&environment, "XDG_RUNTIME_DIR"), None);
    assert_eq!(value(&environment, "KEPT"), Some("yes"));
}

/// Accounts of the test's own, for a supervisor that has a file system of its own; none, after saying so, where that
/// cannot be had.
fn among_accounts(options: &[&str]) -> Option<Builder> {
    if !is_root() {
        return None;
    }
    let can = Command::new("unshare").args(["--mount", "true"]).output();
    if !can.is_ok_and(|output| output.status.success()) {
        skipped("a mount namespace");
        return None;
    }
    let passwd = "root:x:0:0::/root:/bin/sh\nweb:x:4242:4243::/srv/web:/bin/dash\n";
    let group = "root:x:0:\nweb:x:4243:\nlogs:x:4244:web\nother:x:4245:\n";
    let script = r#"mount --bind {dir}/passwd /etc/passwd
        mount --bind {dir}/group /etc/group
        exec "$@""#;
    let builder = scripted(&[&["-n", "1"], options].concat(), &[])
        .file("passwd", passwd)
        .file("group", group)
        .file("accounts", script);
    let script = builder.directory().join("accounts").display().to_string();
    Some(enterable(builder).through(["unshare", "--mount", "sh", &script]))
}

#[test]
fn names_and_numbers_are_looked_up() {
    let named = [Some("web"), Some("/srv/web"), Some("/bin/dash")];
    let cases: [(&[&str], _, _, &[u32], _); 6] = [
        (&["--user", "web"], 4242, 4243, &[4243, 4244], named),
        (&["--user", "4242"], 4242, 4243, &[4243, 4244], named),
        (
            &["--user", "web", "--group", "other"],
            4242,
            4245,
            &[4244, 4245],
            named,
        ),
        (
            &["--user", "web", "--group", "4299"],
            4242,
            4299,
            &[4244, 4299],
            named,
        ),
        (
            &["--user", "5000", "--group", "logs"],
            5000,
            4244,
            &[4244],
            [None; 3],
        ),
        // Root's groups go with the group, but root remains.
        (&["--group", "logs"], 0, 4244, &[4244], [None; 3]),
    ];
    for (options, user, group, groups, [name, home, shell]) in cases {
        let Some(builder) = among_accounts(options) else {
            return;
        };
        let supervisor = builder.start();
        let worker = pids(&supervisor.wait_serving(1))[0];
        assert_eq!(ids(worker, "Uid"), [user; 4], "{options:?}");
        assert_eq!(ids(worker, "Gid"), [group; 4], "{options:?}");
        assert_eq!(ids(worker, "Groups"), groups, "{options:?}");
        if user != 0 {
            let environment = environment(worker);
            assert_eq!(value(&environment, "USER"), name, "{options:?}");
            assert_eq!(value(&environment, "HOME"), home, "{options:?}");
            assert_eq!(value(&environment, "SHELL"), shell, "{options:?}");
        }
    }
}

#[test]
fn a_worker_without_rights_serves_a_port_below_1024() {
    let Some(builder) = of_nobody(&["-n", "2", "--ready", "http:/"], &[]) else {
        return;
    };
    let rig = fixture("rig").display().to_string();
    // In a network of its own port 80 is free; the supervisor itself asks there.
    let program = fixture("misbehave").display().to_string();
    let builder = builder.command([program.as_str(), "--port", "80"]);
    let supervisor = builder.through([rig.as_str(), "--"]).start();
    supervisor.wait_line("serving 0.0.0.0:80");
    let status = supervisor.wait_serving(2);
    for worker in pids(&status) {
        assert_eq!(ids(worker, "Uid"), [NOBODY; 4]);
    }
    supervisor.ctl_ok(["reload"]);
    supervisor.ctl_ok(["stop"]);
}

/// Reloads, a crash and a stop, under load on fresh and on kept connections.
fn assert_loses_nothing(steering: &str) {
    let options = ["-n", "2", "--steering", steering];
    let Some(builder) = of_nobody(&options, &["--drain-on-term"]) else {
        return;
    };
    let supervisor = builder.env("REUSEPORT_LOG", "debug").start();
    let first = pids(&supervisor.wait_serving(2));
    let kept = Load::start(light(supervisor.address()).keep_alive()).unwrap();
    without_loss(light(supervisor.address()), || {
        for _ in 0..3 {
            supervisor.ctl_ok(["reload"]);
        }
    });
    assert!(kept.wait_answered(30, std::time::Duration::from_secs(30)));
    let outcome = kept.stop();
    assert_eq!(outcome.failures(), 0, "{outcome:#?}");
    let status = supervisor.wait_serving(2);
    let workers = pids(&status);
    assert!(first.iter().all(|pid| !workers.contains(pid)));
    // It was idle, so nothing is lost, and its successor has its listener.
    send(workers[0], Signal::SIGKILL);
    supervisor.wait_status(|status| {
        let pids = pids(status);
        pids.len() == 2 && !pids.contains(&workers[0]) && status.phase == "serving"
    });
    for worker in pids(&supervisor.wait_serving(2)) {
        assert_eq!(ids(worker, "Uid"), [NOBODY; 4]);
    }
    without_loss(light(supervisor.address()), || ());
    supervisor.ctl_ok(["stop"]);
    let lines = supervisor.lines();
    let trouble = [
        "cannot add a guard",
        "it hides from us",
        "cannot see whether",
        "cannot keep",
    ];
    let troubled = |line: &&String| trouble.iter().any(|words| line.contains(words));
    let found: Vec<&String> = lines.iter().filter(troubled).collect();
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn reloads_lose_nothing_with_ebpf() {
    assert_loses_nothing("auto");
}

#[test]
fn reloads_lose_nothing_with_classic_programs() {
    // Guards join the workers' listeners there, and must be of the user whose these are.
    assert_loses_nothing("cbpf");
}

#[test]
fn a_worker_ends_with_the_supervisor() {
    let Some(builder) = of_nobody(&["-n", "2"], &[]) else {
        return;
    };
    let mut supervisor = builder.start();
    supervisor.wait_serving(2);
    supervisor.signal(Signal::SIGKILL);
    assert_eq!(supervisor.wait_exit(), 128 + 9);
    supervisor.wait_nobody();
}

#[test]
fn only_the_workers_user_may_notify() {
    let options = ["-n", "2", "--ready", "notify"];
    let Some(builder) = of_nobody(&options, &["--notify", "/proc/self/stat"]) else {
        return;
    };
    let supervisor = builder.start();
    supervisor.wait_serving(2);
    let owner = |name: &str| {
        let found = fs::symlink_metadata(supervisor.directory().join(name)).ok()?;
        Some((found.uid(), found.mode() & 0o777))
    };
    assert_eq!(owner("ctl.sock"), Some((0, 0o600)));
    assert_eq!(owner("ctl.sock.notify"), Some((NOBODY, 0o600)));
    // One that is made again is the same.
    fs::remove_file(supervisor.directory().join("ctl.sock.notify")).unwrap();
    supervisor.wait_line("made the socket");
    assert_eq!(owner("ctl.sock.notify"), Some((NOBODY, 0o600)));
    supervisor.ctl_ok(["reload"]);
}

#[test]
fn a_socket_that_cannot_be_reached_is_named_or_not_told_of() {
    let behaviour = ["--notify", "/proc/self/stat"];
    let closed = |builder: Builder| {
        fs::set_permissions(builder.directory(), fs::Permissions::from_mode(0o700)).unwrap();
        builder
    };
    let Some(builder) = of_nobody(&["-n", "1", "--ready", "notify"], &behaviour) else {
        return;
    };
    let sentence = refusal(closed(builder).start());
    assert!(
        sentence.contains("cannot reach NOTIFY_SOCKET"),
        "{sentence}"
    );
    assert!(
        sentence.contains("give a --control in a directory"),
        "{sentence}"
    );
    let builder = of_nobody(&["-n", "1"], &[]).unwrap();
    let supervisor = closed(builder).start();
    let environment = environment(pids(&supervisor.wait_serving(1))[0]);
    assert_eq!(value(&environment, "NOTIFY_SOCKET"), None);
}

#[test]
fn standard_error_can_be_opened_again() {
    let Some(builder) = of_nobody(&["-n", "1", "--log-prefix"], &[]) else {
        return;
    };
    let program = fixture("misbehave").display().to_string();
    let script = r#"echo one > /dev/stderr; echo two > /dev/stdout; exec "$0" --port {port}"#;
    let supervisor = builder.command(["sh", "-c", script, &program]).start();
    supervisor.wait_line("[1.0] one");
    supervisor.wait_for("its output", || {
        supervisor
            .output()
            .contains(&"[1.0] two".to_owned())
            .then_some(())
    });
}

#[test]
fn what_only_root_may_is_not_done_for_a_worker() {
    let Some(builder) = of_nobody(&["-n", "1", "--chdir", "{dir}/closed"], &[]) else {
        return;
    };
    let make = |builder: &Builder, name: &str| {
        let path = builder.directory().join(name);
        fs::create_dir(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
        path
    };
    make(&builder, "closed");
    let sentence = refusal(builder.start());
    let user = nix::unistd::User::from_uid(NOBODY.into())
        .unwrap()
        .unwrap()
        .name;
    let expected = format!("/closed as user {user}: Permission denied");
    assert!(sentence.contains(&expected), "{sentence}");

    let builder = of_nobody(&["-n", "1"], &[]).unwrap();
    let closed = make(&builder, "closed");
    fs::copy("/bin/true", closed.join("server")).unwrap();
    let sentence = refusal(builder.command(["{dir}/closed/server"]).start());
    let expected = format!("may user {user} execute it, and enter its directory");
    assert!(sentence.contains(&expected), "{sentence}");
}

#[test]
fn too_many_processes_of_the_user_are_named() {
    let Some(builder) = of_nobody(&["-n", "1", "--rlimit", "nproc=0"], &[]) else {
        return;
    };
    let sentence = refusal(builder.start());
    assert!(sentence.contains("raise --rlimit nproc"), "{sentence}");
}

/// Root's supervisor without some capabilities, as containers have it.
fn without(capabilities: &str, options: &[&str], behaviour: &[&str]) -> Option<Builder> {
    let bounding = format!("--bounding-set=-{capabilities}");
    let builder = of_nobody(options, behaviour)?;
    Some(builder.through(["setpriv", &bounding]))
}

#[test]
fn a_root_that_may_not_is_told_before_anything_is_started() {
    for name in ["setuid", "setgid", "kill"] {
        let Some(builder) = without(name, &["-n", "1"], &[]) else {
            return;
        };
        let (code, line) = complaint(builder);
        let name = name.to_uppercase();
        assert_eq!(code, 2, "{line}");
        assert!(line.contains(&format!("it takes CAP_{name}, ")), "{line}");
        assert!(line.contains(&format!("--cap-add {name}")), "{line}");
    }
    // Whom it cannot look into it can give a socket, but not answer a bind.
    let builder = without("sys_ptrace", &["-n", "1"], &[]).unwrap();
    let (code, line) = complaint(builder);
    assert_eq!(code, 3, "{line}");
    assert!(
        line.contains("cannot look at what workers of user"),
        "{line}"
    );
    assert!(line.contains("--cap-add SYS_PTRACE"), "{line}");
    let options = ["-n", "2", "--listen", "0.0.0.0:{port}"];
    let supervisor = without("sys_ptrace", &options, &["--take"])
        .unwrap()
        .start();
    supervisor.wait_serving(2);
    supervisor.ctl_ok(["reload"]);
    ask(supervisor.address()).unwrap();
}

#[test]
fn who_is_not_root_is_told_so() {
    for (options, sentence) in [
        (
            ["--user", "root"],
            "--user root: only root can start workers of another user",
        ),
        (
            ["--group", "root"],
            "--group root: only root can start workers of another",
        ),
    ] {
        let options = [&["-n", "1"], &options[..]].concat();
        let builder = scripted(&options, &[]);
        let (code, line) = complaint(match nix::unistd::geteuid().is_root() {
            true => as_nobody(builder, 0o777, &[]),
            false => builder,
        });
        assert_eq!(code, 2, "{line}");
        assert!(line.contains(sentence), "{line}");
    }
}

#[test]
fn who_is_not_root_may_be_itself() {
    let user = match nix::unistd::geteuid() {
        root if root.is_root() => NOBODY,
        own => own.as_raw(),
    };
    let builder = scripted(&["-n", "1", "--user", &user.to_string()], &[]).env("SHELL", "/bin/x");
    let supervisor = match nix::unistd::geteuid().is_root() {
        true => as_nobody(builder, 0o777, &[]),
        false => builder,
    };
    let supervisor = supervisor.start();
    let worker = pids(&supervisor.wait_serving(1))[0];
    assert_eq!(ids(worker, "Uid"), [user; 4]);
    let environment = environment(worker);
    assert_ne!(value(&environment, "SHELL"), Some("/bin/x"));
    assert!(value(&environment, "NOTIFY_SOCKET").is_some());
}
