//! The options of `reuseport-run`: the parser, the help, the names of environment variables and of keys in the file are
//! all made from one table (`option_table`).

use clap::builder::ValueParser;
use clap::{Arg, ArgAction, Command, ValueHint};

use super::any_text::AnyText;
use super::generate;
use super::option_table::{CONTROL, OPTIONS};
use super::sections::SECTIONS;

/// One option.
pub(crate) struct Opt {
    /// Its long name, which is also its key in the file.
    pub(crate) name: &'static str,
    pub(super) short: Option<char>,
    pub(super) value: &'static str,
    pub(super) group: &'static str,
    pub(crate) default: Option<&'static str>,
    /// May be given more than once: a list in the file, commas in the environment.
    pub(crate) repeats: bool,
    /// Needs no value on the command line: then it is `true`.
    pub(super) flag: bool,
    pub(super) choices: &'static [&'static str],
    /// One line.
    pub(super) help: &'static str,
    /// What `--help` says after it.
    pub(super) more: &'static str,
}

/// The whole command line, as clap knows it.
pub(crate) fn command() -> Command {
    Command::new("reuseport-run")
        .version(env!("CARGO_PKG_VERSION"))
        .about("Runs n copies of any server on one port, replaces them without losing a connection")
        .long_about(
            "Runs n copies of any server on one port, replaces them without losing a connection.\n\n\
             Every copy listens with a socket of its own, and the kernel spreads the connections. \
             A reload starts new copies beside the old ones; when all of them are ready, new \
             connections go to them, and the old ones finish what they have. The server needs no \
             change, and no root, unless workers shall be of another user.",
        )
        .override_usage("reuseport-run [OPTIONS] [--] COMMAND [ARGS]...")
        .after_help("--help says more: values, signals, exit codes, files, examples.")
        .after_long_help(generate::as_help(SECTIONS))
        .max_term_width(100)
        .arg(positional())
        .args(OPTIONS.iter().map(argument))
        .arg(config_file())
        .arg(probe())
        .arg(generate::argument())
}

fn probe() -> Arg {
    Arg::new("probe")
        .long("probe")
        .action(ArgAction::SetTrue)
        .help("Print what this host allows and what follows, and exit")
        .long_help(
            "Print what this host allows and what follows, and exit: with code 0 if servers can be run here, with \
             code 1 if they cannot. Try it as the user and in the container that shall run them. No command is \
             needed.",
        )
}

fn positional() -> Arg {
    Arg::new("command")
        .value_name("COMMAND")
        .help("The server and its arguments; all that follows it is its own")
        .long_help(
            "The server and its arguments. All that follows COMMAND is passed on, options too. It \
             may stand in the file instead, as command = [\"./server\", \"--flag\"].",
        )
        .value_parser(ValueParser::os_string())
        .value_hint(ValueHint::CommandWithArguments)
        .num_args(1..)
        .trailing_var_arg(true)
}

fn config_file() -> Arg {
    Arg::new("config")
        .long("config")
        .value_name("FILE")
        .help_heading(CONTROL)
        .help("Read options from this TOML file")
        .value_parser(ValueParser::os_string())
        .value_hint(ValueHint::FilePath)
}

fn argument(opt: &Opt) -> Arg {
    let arg = Arg::new(opt.name)
        .long(opt.name)
        .short(opt.short)
        .value_name(opt.value)
        .help_heading(opt.group)
        .help(opt.help)
        .long_help(long_help(opt))
        .value_hint(hint(opt.value))
        .value_parser(AnyText(opt.choices))
        .hide_possible_values(true)
        .allow_negative_numbers(true)
        .default_value(opt.default);
    match opt {
        Opt { repeats: true, .. } => arg.action(ArgAction::Append),
        Opt { flag: true, .. } => arg
            .num_args(0..=1)
            .require_equals(true)
            .default_missing_value("true"),
        _ => arg,
    }
}

fn long_help(opt: &Opt) -> String {
    match opt.more {
        "" => opt.help.to_owned(),
        more => format!("{}.\n{more}", opt.help),
    }
}

fn hint(value: &str) -> ValueHint {
    match value {
        "DIR" => ValueHint::DirPath,
        "PATH" => ValueHint::FilePath,
        "USER" => ValueHint::Username,
        _ => ValueHint::Other,
    }
}
