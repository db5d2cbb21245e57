//! Every option of `reuseport-run`, in one table.

use super::options::Opt;

const PLAIN: Opt = Opt {
    name: "",
    short: None,
    value: "TIME",
    group: "",
    default: None,
    repeats: false,
    flag: false,
    choices: &[],
    help: "",
    more: "",
};

const WORKERS: &str = "Workers";
const HEALTH: &str = "Health";
const PROCESS: &str = "Process";
const SOCKETS: &str = "Sockets";
const RELOAD: &str = "Reload and stop";
const CRASHES: &str = "Crashes";
const RECYCLING: &str = "Recycling";
const OUTPUT: &str = "Output";
pub(super) const CONTROL: &str = "Control";

/// The options that have a meaning in every layer, in the order of the help.
pub(crate) const OPTIONS: &[Opt] = &[
    Opt {
        name: "workers",
        short: Some('n'),
        value: "N",
        group: WORKERS,
        help: "Copies of the command, 1 to 4096 [default: one per CPU]",
        more: "CPUs are those that this process may use: its affinity and its control group's \
               quota count.",
        ..PLAIN
    },
    Opt {
        name: "chdir",
        value: "DIR",
        group: WORKERS,
        help: "Start workers in this directory",
        more: "Symbolic links in it and in the command's path are resolved at the start and at each reload, \
               so a link to the current release takes effect at the next reload; a worker that is replaced \
               after a crash is what the others of its generation are, and a roll back starts the release \
               that served before. Links in arguments are the command's own: start it by a relative path.",
        ..PLAIN
    },
    Opt {
        name: "env",
        value: "NAME=VALUE",
        group: WORKERS,
        repeats: true,
        help: "Set a variable for the workers [repeatable]",
        more: "They have those of reuseport-run, then those of --env-file, then those of the file's \
               [environment], then these. Read anew at each reload.",
        ..PLAIN
    },
    Opt {
        name: "env-file",
        value: "FILE",
        group: WORKERS,
        repeats: true,
        help: "Set variables from a file, NAME=VALUE a line [repeatable]",
        more: "Empty lines, and those that begin with # or ;, say nothing; quotes around a whole value are \
               taken away. Nothing else has a meaning: no $, no \\, no export. Read anew at each reload.",
        ..PLAIN
    },
    Opt {
        name: "channel",
        value: "KIND",
        group: WORKERS,
        default: Some("none"),
        choices: &["none", "node", "cluster"],
        help: "How workers talk with the supervisor: none, node, cluster",
        more: "node: as a program of Node does with the one that forked it: process.send is there, and \
               process.send('ready') makes a worker ready with --ready channel.\n\
               cluster: as a worker of Node's cluster does with its primary: a program that forks its workers \
               runs unmodified, and only its worker half; each worker listens by a socket of its own, and its stop \
               is cluster.worker.disconnect().",
        ..PLAIN
    },
    Opt {
        name: "ready",
        value: "WHEN",
        group: WORKERS,
        default: Some("listen"),
        choices: &["listen", "notify", "channel", "http:/"],
        help: "When a worker is ready: listen, notify, channel, http:/PATH",
        more: "listen: it listens on every address of the service (reload --accept-changes lets it change).\n\
               notify: that, and it sent READY=1 to $NOTIFY_SOCKET.\n\
               channel: that, and it sent \"ready\" over its --channel, as by process.send('ready').\n\
               http:/PATH: that, and it answers GET of the path with a status from 200 to 399.",
        ..PLAIN
    },
    Opt {
        name: "ready-host",
        value: "NAME",
        group: WORKERS,
        help: "The Host that http:/PATH asks for [default: the address listened on]",
        more: "For servers that answer for certain hosts only. The default is what the worker listens on, with the \
               port; localhost where that is a loopback or wildcard address. NAME is sent as it is: give \
               NAME:PORT if the server wants the port, too.",
        ..PLAIN
    },
    Opt {
        name: "start-timeout",
        group: WORKERS,
        default: Some("60s"),
        help: "A worker that is not ready after this has failed",
        ..PLAIN
    },
    Opt {
        name: "min-uptime",
        group: WORKERS,
        default: Some("0s"),
        help: "How long new workers must have been ready when they take over",
        more: "They are looked at again at its end: each must be alive and have its listeners open. \
               A reload to a version that dies a second after it has listened fails with 2s, and \
               the old workers serve on. With 0 they are looked at once, when all are ready.",
        ..PLAIN
    },
    Opt {
        name: "health",
        value: "HOW",
        group: HEALTH,
        choices: &["http:/", "tcp", "notify"],
        help: "Check workers that serve: http:/PATH, tcp or notify [default: not at all]",
        more: "http:/PATH: it answers GET of the path with a status from 200 to 399.\n\
               tcp: it accepts a connection.\n\
               notify: it sends WATCHDOG=1 to $NOTIFY_SOCKET, at least each $WATCHDOG_USEC (interval and timeout \
               together), as with systemd's WatchdogSec=; WATCHDOG=trigger makes it unhealthy at once.\n\
               Each worker is asked by itself, through the port of the service. One that is unhealthy gets no new \
               connections, what waits for it is answered by others, and it is replaced: only while another passes its \
               checks. Where all fail, nothing changes. In a soak or a canary's trial it ends the reload.",
        ..PLAIN
    },
    Opt {
        name: "health-interval",
        group: HEALTH,
        help: "How often each worker is checked, 10ms or more [default: 10s]",
        more: "Each worker has its own moment in the interval, so that they do not all answer at once.",
        ..PLAIN
    },
    Opt {
        name: "health-timeout",
        group: HEALTH,
        help: "A check that is not passed after this has failed [default: 2s]",
        ..PLAIN
    },
    Opt {
        name: "health-failures",
        value: "N",
        group: HEALTH,
        help: "A worker is unhealthy after so many failures in a row [default: 3]",
        more: "One is enough where all threads of a worker are stopped (SIGSTOP).",
        ..PLAIN
    },
    Opt {
        name: "health-start-period",
        group: HEALTH,
        help: "Failures so soon after a worker was ready are not counted [default: 0s]",
        ..PLAIN
    },
    Opt {
        name: "user",
        value: "USER",
        group: PROCESS,
        help: "The user of workers, a name or a number; needs root",
        more: "The supervisor stays root and binds for them, so ports below 1024 need no right of theirs. They have \
               the user's groups and no capability; setuid programs such as sudo work. HOME, USER, LOGNAME and \
               SHELL are the user's. It is looked up once, at the start.",
        ..PLAIN
    },
    Opt {
        name: "group",
        value: "GROUP",
        group: PROCESS,
        help: "The group of workers [default: that of --user]",
        more: "A name or a number; needs root. The other groups are those that --user is in, and none without --user.",
        ..PLAIN
    },
    Opt {
        name: "umask",
        value: "MODE",
        group: PROCESS,
        help: "The file mode creation mask of workers, in octal: 027",
        ..PLAIN
    },
    Opt {
        name: "rlimit",
        value: "NAME=SOFT[:HARD]",
        group: PROCESS,
        repeats: true,
        help: "A limit of each worker: nofile=65536, core=0:unlimited",
        more: "The names are those of setrlimit(2): as, core, cpu, data, fsize, locks, memlock, msgqueue, nice, nofile, \
               nproc, rss, rtprio, rttime, sigpending, stack. A value is a number (of bytes also with K, M or G), or \
               unlimited. SOFT alone is both. To raise a hard limit takes root. May be given more than once; in the \
               environment, with commas.",
        ..PLAIN
    },
    Opt {
        name: "nice",
        value: "N",
        group: PROCESS,
        help: "The nice value of workers, -20 to 19",
        more: "A lower one than the supervisor's takes root (CAP_SYS_NICE).",
        ..PLAIN
    },
    Opt {
        name: "oom-score-adj",
        value: "N",
        group: PROCESS,
        help: "Who is killed first without memory, -1000 to 1000",
        more: "1000 is a worker that goes first, -1000 one that is never killed. A lower one than the supervisor's \
               takes root (CAP_SYS_RESOURCE).",
        ..PLAIN
    },
    Opt {
        name: "pin",
        value: "BOOL",
        group: PROCESS,
        default: Some("false"),
        flag: true,
        help: "Let each worker run on one CPU only",
        more: "Slot i has CPU i of those that the supervisor may use, and it begins anew where there are more slots.",
        ..PLAIN
    },
    Opt {
        name: "listen",
        value: "ADDR",
        group: SOCKETS,
        repeats: true,
        help: "Make this socket for the workers: PORT, ADDR:PORT or [V6]:PORT",
        more: "Only for servers that take a socket from systemd, Server::Starter or Einhorn, or \
               in their arguments as {fd}. Others bind as they always do and need no --listen. \
               PORT alone is 0.0.0.0:PORT; [::]:PORT takes IPv4 and IPv6. May be given more \
               than once; in the environment, with commas.",
        ..PLAIN
    },
    Opt {
        name: "queues",
        value: "K",
        group: SOCKETS,
        help: "Sockets that the workers share on each address [default: one each]",
        more: "1 is one queue for all: a connection goes to whoever is free, which is best where \
               workers serve one request at a time or some requests take long. A socket for each \
               worker is best for asynchronous servers with keep-alive: with a shared one, epoll \
               without EPOLLEXCLUSIVE wakes all its workers for each connection. Whatever \
               replaces, adds or removes a worker of a shared queue replaces all its workers.",
        ..PLAIN
    },
    Opt {
        name: "steering",
        value: "HOW",
        group: SOCKETS,
        default: Some("auto"),
        choices: &["auto", "ebpf", "cbpf", "none"],
        help: "How new connections are kept from old workers: auto, ebpf, cbpf or none",
        more: "auto: ebpf where it is permitted, else cbpf where the kernel is safe with it, else \
               none and a warning.\n\
               ebpf: an eBPF program that reads maps; nothing is replaced under load. Needs CAP_BPF, \
               which the supervisor keeps to itself.\n\
               cbpf: a classic BPF program on the sockets; needs no privilege. A kernel without \
               the fix of CVE-2026-52910 can crash when a program is replaced under load.\n\
               none: all generations share the sockets, and old workers take connections until \
               they stop. A BPF program of the server's own is let be.",
        ..PLAIN
    },
    Opt {
        name: "strategy",
        value: "HOW",
        group: RELOAD,
        default: Some("all"),
        choices: &["all", "rolling"],
        help: "How a reload replaces workers: all at once, or rolling",
        more: "all: the new workers start beside the old ones, and take over in one step.\n\
               rolling: some after the others, within --max-surge and --max-unavailable, where memory or CPUs do not \
               suffice for twice as many. The next begin when the ones before are gone. If one fails, those that were \
               replaced so far are replaced again by the old version, and the reload has failed.",
        ..PLAIN
    },
    Opt {
        name: "max-surge",
        value: "N|P%",
        group: RELOAD,
        default: Some("1"),
        help: "How many more workers than are wanted may run while rolling",
        more: "Of a percentage, part of a worker counts as one. 0: a worker leaves before another starts in its place, \
               as far as --max-unavailable allows.",
        ..PLAIN
    },
    Opt {
        name: "max-unavailable",
        value: "N|P%",
        group: RELOAD,
        default: Some("0"),
        help: "How many workers may be missing while rolling",
        more: "Of a percentage, part of a worker counts as none. One worker serves at all times.",
        ..PLAIN
    },
    Opt {
        name: "soak",
        group: RELOAD,
        default: Some("0s"),
        help: "How long replaced workers stand by, in case that new ones fail",
        more: "After the new workers have taken over, the old ones stay for this time: they get no new connections, and go \
               on with those that they have. When a new worker dies, the old ones have all new connections again at \
               once, the new ones end as old ones do, and the reload has failed. reuseport-ctl promote ends the time \
               early, reuseport-ctl rollback goes back. Both generations are in memory meanwhile.",
        ..PLAIN
    },
    Opt {
        name: "soak-restarts",
        value: "N",
        group: RELOAD,
        default: Some("0"),
        help: "Crashes of new workers that are let pass while old ones stand by",
        ..PLAIN
    },
    Opt {
        name: "settle-timeout",
        group: RELOAD,
        default: Some("10s"),
        help: "Longest wait for the handshakes of old workers",
        ..PLAIN
    },
    Opt {
        name: "quiet-timeout",
        group: RELOAD,
        default: Some("2s"),
        help: "Longest wait for old workers' connections to end",
        more: "An old worker with none loses nothing when it is told to stop. 0 tells it at once.",
        ..PLAIN
    },
    Opt {
        name: "no-rescue",
        value: "BOOL",
        group: RELOAD,
        default: Some("false"),
        flag: true,
        help: "Do not rescue requests on connections of old workers",
        more: "Else a request that arrives on a keep-alive connection whose worker has stopped is \
               answered by a new worker. HTTP/1 without TLS only.",
        ..PLAIN
    },
    Opt {
        name: "rescue-timeout",
        group: RELOAD,
        default: Some("75s"),
        help: "How long an idle connection of an old worker is kept",
        ..PLAIN
    },
    Opt {
        name: "rescue-max",
        value: "N",
        group: RELOAD,
        default: Some("65536"),
        help: "The most connections that are kept for one reload",
        ..PLAIN
    },
    Opt {
        name: "rescue-forwarded",
        value: "HOW",
        group: RELOAD,
        default: Some("no"),
        choices: &["no", "forwarded", "x-forwarded-for"],
        help: "The header line that names the client of a rescued request",
        more: "It is added to requests that do not keep their client's address (--rescue-clients all). Where the \
               client has such a line of its own, it is added in any case, after the client's.",
        ..PLAIN
    },
    Opt {
        name: "rescue-clients",
        value: "WHOSE",
        group: RELOAD,
        default: Some("auto"),
        choices: &["auto", "local", "all"],
        help: "Whose requests are rescued: auto, local or all",
        more: "local: those of clients on this host, a reverse proxy among them: they keep their address. The \
               connections of other clients are left to their worker, which closes them when it stops.\n\
               all: those of clients on other hosts too. The server sees this host's address in place of theirs: do \
               not use it where the server lets in, limits or trusts clients by their address.\n\
               auto: all, and each client keeps its address, where the supervisor may name clients to the server \
               (root, or CAP_BPF and CAP_NET_ADMIN, with cgroup v2); else local.",
        ..PLAIN
    },
    Opt {
        name: "protocol",
        group: RELOAD,
        value: "WHAT",
        default: Some("auto"),
        choices: &["auto", "http1", "opaque"],
        help: "What the server speaks: auto, http1 or opaque",
        more: "A connection that its worker has let go of is kept for the client's next request only where that is \
               plain HTTP/1, which can be answered by another worker.\n\
               auto: what is seen of each address: its clients' requests, and the answer to --ready http:/PATH. \
               Where nothing was seen, such a connection is closed after a few round trips.\n\
               http1: HTTP/1 without TLS. Where that is wrong, clients wait for --rescue-timeout, and lose their \
               next request.\n\
               opaque: TLS, HTTP/2 or anything else. No request is rescued: connections are waited for until \
               --quiet-timeout, and end with their worker.",
        ..PLAIN
    },
    Opt {
        name: "drain-timeout",
        group: RELOAD,
        default: Some("30s"),
        help: "Longest wait for a stopped worker to exit; then kill",
        more: "It starts with the stop signal, or the message before it. 0 kills at once.",
        ..PLAIN
    },
    Opt {
        name: "stop-message",
        value: "TEXT",
        group: RELOAD,
        help: "What a worker hears over its --channel when it is to stop, before the stop signal",
        more: "As process.on('message') of Node has it: a string. With --channel cluster the default is what \
               cluster.worker.disconnect() does, by which a worker closes its servers and ends with its last connection.",
        ..PLAIN
    },
    Opt {
        name: "stop-message-timeout",
        group: RELOAD,
        default: Some("5s"),
        help: "How long after that message the stop signal comes, if the worker is still there",
        ..PLAIN
    },
    Opt {
        name: "kill-mode",
        value: "WHAT",
        group: RELOAD,
        default: Some("group"),
        choices: &["group", "tree"],
        help: "What is killed of a worker: its group, or its tree",
        more: "group: its process group; processes that have left it are named in the log.\n\
               tree: those, too, when the worker has gone.",
        ..PLAIN
    },
    Opt {
        name: "pre-stop",
        group: RELOAD,
        default: Some("0s"),
        help: "Go on serving for so long after being told to stop",
        more: "For load balancers that need time to notice. A second TERM or stop does not cut it short; INT, QUIT \
               and stop --now do.",
        ..PLAIN
    },
    Opt {
        name: "stop-signal",
        value: "SIGNAL",
        group: RELOAD,
        default: Some("TERM"),
        help: "What tells a worker to stop: a name or a number",
        more: "TERM, SIGTERM and 15 are the same. KILL and STOP are refused: no worker can obey \
               them.",
        ..PLAIN
    },
    Opt {
        name: "max-restarts",
        value: "N",
        group: CRASHES,
        default: Some("10"),
        help: "Restarts of one slot's worker; a crash more is a loop",
        more: "Counted within --restart-window.",
        ..PLAIN
    },
    Opt {
        name: "restart-window",
        group: CRASHES,
        default: Some("60s"),
        help: "For how long a crash counts",
        ..PLAIN
    },
    Opt {
        name: "crash-loop",
        value: "WHAT",
        group: CRASHES,
        default: Some("hold"),
        choices: &["hold", "exit"],
        help: "What a crash loop leads to: hold or exit",
        more: "hold: the slot stays empty until the next reload or restart, and the others serve \
               on; when all are empty, exit.\n\
               exit: stop everything and exit with code 4.",
        ..PLAIN
    },
    Opt {
        name: "max-rss",
        value: "SIZE",
        group: RECYCLING,
        help: "Replace a worker whose processes have so much memory",
        more: "Bytes, with K, M or G behind it for 1024 and so on: 500M. What is in RAM of all processes of the worker, summed \
               up; what they share is counted for each. Looked at once a second. A worker that has as much when it is \
               ready has failed to start.",
        ..PLAIN
    },
    Opt {
        name: "max-cpu",
        value: "P%",
        group: RECYCLING,
        help: "Replace a worker that uses so much of the CPUs",
        more: "100% is one CPU; all processes of the worker, on average over --max-cpu-window.",
        ..PLAIN
    },
    Opt {
        name: "max-cpu-window",
        group: RECYCLING,
        help: "Over how long that is averaged [default: 60s]",
        ..PLAIN
    },
    Opt {
        name: "max-age",
        group: RECYCLING,
        help: "Replace a worker that has served for so long",
        more: "From when it was ready. Up to a tenth is added, another part for each worker, so that not all are replaced \
               at once; and one is replaced after the other, as by reuseport-ctl restart.",
        ..PLAIN
    },
    Opt {
        name: "max-connections-served",
        value: "N",
        group: RECYCLING,
        help: "Replace a worker that was given so many connections",
        more: "Connections, not requests, as the steering program gives them out: needs eBPF (root, or CAP_BPF). Of those of a \
               queue that several workers share, each counts its part.",
        ..PLAIN
    },
    Opt {
        name: "log-prefix",
        value: "BOOL",
        group: OUTPUT,
        default: Some("false"),
        flag: true,
        help: "Put [generation.slot] before every line of output",
        ..PLAIN
    },
    Opt {
        name: "log-file",
        value: "PATH",
        group: OUTPUT,
        help: "Append the log and all output to this file",
        more: "After it was moved away, the signal USR1 makes a new one.",
        ..PLAIN
    },
    Opt {
        name: "name",
        value: "NAME",
        group: CONTROL,
        help: "What this supervisor is called [default: the command's file name]",
        more: "In the log, and for reuseport-ctl --name. At most 64 bytes, no '/'.",
        ..PLAIN
    },
    Opt {
        name: "control",
        value: "PATH",
        group: CONTROL,
        help: "The control socket [default: NAME.sock, see Files in --help]",
        more: "At most 107 bytes: the kernel takes no longer one.",
        ..PLAIN
    },
];
