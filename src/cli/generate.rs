//! Manual pages and shell completions, made from what the parser knows (`--generate`).

use std::io;

use clap::builder::EnumValueParser;
use clap::{Arg, Command, ValueEnum};
use clap_complete::{Shell, aot};
use clap_mangen::Man;
use clap_mangen::roff::{Inline, Roff, bold, roman};

use super::exit::Exit;

/// What can be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Artefact {
    /// A manual page, for section 1.
    Man,
    /// Completions for bash.
    Bash,
    /// Completions for zsh.
    Zsh,
    /// Completions for fish.
    Fish,
}

/// A part of the help that is not about one option: terms and what they mean. An entry with an
/// empty term goes on with the one before it.
pub(crate) struct Section {
    pub(crate) title: &'static str,
    pub(crate) entries: &'static [(&'static str, &'static str)],
}

/// The option itself; not in `-h`, since it is needed once, when the program is packaged.
pub(crate) fn argument() -> Arg {
    let help = "Print a manual page or shell completions, and exit: man, bash, zsh or fish";
    Arg::new("generate")
        .long("generate")
        .value_name("WHAT")
        .help(help)
        .long_help(help)
        .hide_possible_values(true)
        .value_parser(EnumValueParser::<Artefact>::new())
        .hide_short_help(true)
}

/// The sections as text, in two columns.
pub(crate) fn as_help(sections: &[Section]) -> String {
    let parts: Vec<String> = sections.iter().map(section_as_help).collect();
    parts.join("\n\n")
}

fn section_as_help(section: &Section) -> String {
    let width = section
        .entries
        .iter()
        .map(|(term, _)| term.len())
        .max()
        .unwrap_or(0);
    let lines = section
        .entries
        .iter()
        .map(|(term, text)| format!("\n  {term:width$}  {text}"));
    format!("{}:{}", section.title, lines.collect::<String>())
}

/// Makes it. The answer is an [`Exit`] with code 0.
pub(crate) fn generate(what: Artefact, command: Command, sections: &[Section]) -> Exit {
    match what {
        Artefact::Man => manual(command, sections)
            .unwrap_or_else(|error| Exit::failed(format!("cannot make the manual page: {error}"))),
        Artefact::Bash => completions(Shell::Bash, command),
        Artefact::Zsh => completions(Shell::Zsh, command),
        Artefact::Fish => completions(Shell::Fish, command),
    }
}

fn completions(shell: Shell, mut command: Command) -> Exit {
    let name = command.get_name().to_owned();
    let mut script = Vec::new();
    aot::generate(shell, &mut command, name, &mut script);
    Exit::answer(String::from_utf8_lossy(&script))
}

fn manual(mut command: Command, sections: &[Section]) -> io::Result<Exit> {
    command.build();
    let man = Man::new(command.clone()).manual("User Commands");
    let mut page = Vec::new();
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    synopsis(&command).to_writer(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    verbs(&command).to_writer(&mut page)?;
    for section in sections {
        as_roff(section).to_writer(&mut page)?;
    }
    Ok(Exit::answer(String::from_utf8_lossy(&page)))
}

/// The usage line as the help has it: one line, not every option.
fn synopsis(command: &Command) -> Roff {
    let usage = command.clone().render_usage().to_string();
    let usage = usage.trim_start_matches("Usage: ").trim();
    let mut roff = Roff::new();
    roff.control("SH", ["SYNOPSIS"]).text([roman(usage)]);
    roff
}

/// The verbs with their arguments; a page for each would be too little for a page.
fn verbs(command: &Command) -> Roff {
    let mut roff = Roff::new();
    let mut verbs = command
        .get_subcommands()
        .filter(|verb| verb.get_name() != "help")
        .peekable();
    if verbs.peek().is_some() {
        roff.control("SH", ["VERBS"]);
    }
    for verb in verbs {
        let about = verb
            .get_long_about()
            .or(verb.get_about())
            .map(ToString::to_string);
        roff.control("TP", []).text([bold(verb.get_name())]);
        roff.text([roman(about.unwrap_or_default())]);
        roff.control("RS", []);
        verb.get_arguments()
            .filter(|arg| is_own(arg))
            .for_each(|arg| entry(&mut roff, arg));
        roff.control("RE", []);
    }
    roff
}

fn is_own(arg: &Arg) -> bool {
    !arg.is_global_set() && arg.get_id() != "help"
}

fn entry(roff: &mut Roff, arg: &Arg) {
    let help = arg
        .get_long_help()
        .or(arg.get_help())
        .map(ToString::to_string);
    roff.control("TP", []).text([bold(arg.to_string())]);
    roff.text([roman(help.unwrap_or_default())]);
}

fn as_roff(section: &Section) -> Roff {
    let mut roff = Roff::new();
    roff.control("SH", [section.title.to_uppercase().as_str()]);
    for (term, text) in section.entries {
        if !term.is_empty() {
            roff.control("TP", []).text([bold(*term)]);
        }
        roff.text([Inline::from(*text)]);
    }
    roff
}
