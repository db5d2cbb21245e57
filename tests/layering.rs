//! The house's rules, read from the source: which layer may know what, and how long things may be.
//!
//! The compiler keeps the privacy of modules, but not their purity. A clock in the fleet would
//! compile, and then one history of events would not give one history of effects any more.

use std::fs;
use std::path::Path;

/// What the layers that must be pure must not name, and why each would do harm.
const IMPURE: &[(&str, &str)] = &[
    (
        "std::process",
        "processes are for the supervisor to start and end",
    ),
    (
        "std::fs",
        "what a file says is an event, read by the supervisor",
    ),
    ("std::thread", "one thread, or effects have no order"),
    ("std::os::", "descriptors are for sys and the supervisor"),
    ("TcpListener", "sockets are for sys"),
    ("TcpStream", "sockets are for sys"),
    ("UdpSocket", "sockets are for sys"),
    ("UnixStream", "sockets are for sys"),
    ("UnixListener", "sockets are for sys"),
    ("libc", "system calls are for sys"),
    ("nix::", "system calls are for sys"),
    ("mio", "waiting is for the supervisor"),
    ("socket2", "sockets are for sys"),
    ("log::", "what is to be logged is an effect"),
    ("Instant", "time is an argument; a clock cannot be replayed"),
    (
        "SystemTime",
        "time is an argument; a clock cannot be replayed",
    ),
    (
        "HashMap",
        "its order is random: one history of events must give one of effects",
    ),
    (
        "HashSet",
        "its order is random: one history of events must give one of effects",
    ),
    ("sleep", "a deadline is an answer of next_deadline()"),
    ("println!", "what is said is an effect"),
];

/// What each layer may use of the crate. Not listed: everything.
const LAYERS: &[(&str, &[&str], &str)] = &[
    (
        "src/fleet/",
        &["crate::fleet"],
        "the rules depend on nothing, so that they can be tested with nothing",
    ),
    (
        "src/wire/",
        &["crate::wire"],
        "formats depend on nothing, so that both ends can use them",
    ),
    (
        "src/sys/",
        &["crate::sys", "crate::wire", "crate::fleet::Endpoint"],
        "the system's edge does what it is told: plain types yes, policy no",
    ),
];

/// The most lines of a file, without its tests, and of a function.
const MAX_FILE_LINES: usize = 300;
const MAX_FUNCTION_LINES: usize = 60;

/// Files that may be longer, up to so many lines, and why.
const LONGER_FILES: &[(&str, usize, &str)] = &[
    (
        "src/cli/option_table.rs",
        600,
        "a table: one entry an option",
    ),
    ("src/fleet/vocabulary.rs", 620, "a table: one entry a word"),
];

/// A file's own code, with the numbers of its lines.
struct Source {
    path: String,
    /// Without comments and without what is only compiled for tests.
    code: Vec<(usize, String)>,
    /// All lines.
    lines: Vec<String>,
    /// Lines up to the tests.
    length: usize,
}

impl Source {
    fn new(path: String, text: &str) -> Self {
        let lines: Vec<String> = text.lines().map(str::to_owned).collect();
        let length = length_without_tests(&lines);
        let code = lines[..length]
            .iter()
            .enumerate()
            .map(|(at, line)| (at + 1, without_comment(line).to_owned()))
            .collect();
        Self {
            path,
            code,
            lines,
            length,
        }
    }

    fn is_under(&self, folder: &str) -> bool {
        self.path.starts_with(folder)
    }
}

/// Where the module of tests at a file's end begins.
fn length_without_tests(lines: &[String]) -> usize {
    let begins_tests = |at: usize| {
        let mut after = lines[at + 1..].iter();
        let first = after.find(|line| !line.starts_with("#["));
        lines[at] == "#[cfg(test)]" && first.is_some_and(|line| line.ends_with('{'))
    };
    (0..lines.len())
        .find(|at| begins_tests(*at))
        .unwrap_or(lines.len())
}

fn without_comment(line: &str) -> &str {
    let is_comment = line.trim_start().starts_with("//");
    let code = if is_comment { "" } else { line };
    code.find(" // ").map_or(code, |at| &code[..at])
}

/// Whether `name` stands in the code as a word of its own, or as its beginning.
fn names(code: &str, name: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    code.match_indices(name).any(|(at, _)| {
        let before = at.checked_sub(1).map(|at| code.as_bytes()[at]);
        let after = code.as_bytes().get(at + name.len()).copied();
        let ends = !name.ends_with(char::is_alphanumeric) || !after.is_some_and(is_word);
        !before.is_some_and(is_word) && ends
    })
}

/// Every file of the program, but those that are only compiled for tests.
fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    read_folder(root, &root.join("src"), &mut found);
    assert!(found.len() > 30, "only {} files found", found.len());
    found.sort_by(|one, other| one.path.cmp(&other.path));
    found
}

fn read_folder(root: &Path, folder: &Path, found: &mut Vec<Source>) {
    for entry in fs::read_dir(folder).expect("the folder can be read") {
        let path = entry.expect("the entry can be read").path();
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        let is_for_tests = name.ends_with("tests") || name == "world" || name == "interpreter";
        if is_for_tests {
            continue;
        }
        if path.is_dir() {
            read_folder(root, &path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).expect("the file can be read");
            let path = path.strip_prefix(root).expect("it is under the root");
            found.push(Source::new(path.display().to_string(), &text));
        }
    }
}

/// Fails with a line for each breach.
fn expect_none(breaches: &[String]) {
    assert!(breaches.is_empty(), "\n{}", breaches.join("\n"));
}

fn check(rule: impl Fn(&Source) -> Vec<String>) {
    let breaches: Vec<String> = sources().iter().flat_map(rule).collect();
    expect_none(&breaches);
}

// ---- the rules ---------------------------------------------------------------------------------

fn impurities(source: &Source) -> Vec<String> {
    if !source.is_under("src/fleet/") && !source.is_under("src/wire/") {
        return Vec::new();
    }
    let breaches = source.code.iter().flat_map(|(number, code)| {
        let named = IMPURE.iter().filter(|(name, _)| names(code, name));
        named.map(move |(name, why)| {
            let path = &source.path;
            format!("{path}:{number} names `{name}`, and its layer is pure: {why}")
        })
    });
    breaches.collect()
}

fn foreign_layers(source: &Source) -> Vec<String> {
    let layer = LAYERS.iter().find(|(folder, ..)| source.is_under(folder));
    let Some((_, allowed, why)) = layer else {
        return Vec::new();
    };
    let breaches = source.code.iter().flat_map(|(number, code)| {
        let used = code.match_indices("crate::").map(|(at, _)| &code[at..]);
        let foreign = used.filter(|path| !allowed.iter().any(|allowed| names(path, allowed)));
        foreign.map(move |path| {
            let uses = path.trim_end_matches(';');
            format!("{}:{number} uses `{uses}`: {why}", source.path)
        })
    });
    breaches.collect()
}

fn unsafe_outside_sys(source: &Source) -> Vec<String> {
    let is_use = |code: &str| names(code, "unsafe") || code.contains("allow(unsafe_code)");
    let breaches = source.code.iter().filter(|(_, code)| is_use(code));
    breaches
        .filter(|_| !source.is_under("src/sys/"))
        .map(|(number, _)| {
            let path = &source.path;
            format!("{path}:{number} is unsafe: whoever checks what is, looks under src/sys only")
        })
        .collect()
}

fn unsafe_without_reason(source: &Source) -> Vec<String> {
    let blocks = source.code.iter().filter(|(_, code)| names(code, "unsafe"));
    let is_reasoned = |number: usize| {
        let above = number.saturating_sub(8)..number;
        let mut lines = source.lines[above].iter();
        lines.any(|line| line.contains("// SAFETY: "))
    };
    blocks
        .filter(|(number, _)| !is_reasoned(*number))
        .map(|(number, _)| {
            let path = &source.path;
            format!("{path}:{number} is unsafe without a `// SAFETY:` line that says why it is not")
        })
        .collect()
}

fn spawns(source: &Source) -> Vec<String> {
    let makers = [
        ".spawn()",
        "fork(",
        "vfork(",
        "clone3",
        "posix_spawn",
        "process::Command",
    ];
    // The command line's `Command` is clap's, of which there is no `.spawn()`.
    let found = source.code.iter().filter(|(_, code)| {
        makers.iter().any(|maker| match maker.strip_prefix('.') {
            Some(_) => code.contains(maker),
            None => names(code, maker),
        })
    });
    found
        .map(|(number, code)| format!("{}:{number}: {}", source.path, code.trim()))
        .collect()
}

fn unfinished(source: &Source) -> Vec<String> {
    let marks = ["todo!", "unimplemented!", "dbg!"];
    let mut breaches = Vec::new();
    for (at, line) in source.lines.iter().enumerate() {
        for mark in marks.iter().filter(|mark| line.contains(*mark)) {
            let path = &source.path;
            breaches.push(format!("{path}:{}: `{mark}` is not for keeping", at + 1));
        }
    }
    breaches
}

fn too_long(source: &Source) -> Vec<String> {
    let longer = LONGER_FILES.iter().find(|(path, ..)| *path == source.path);
    let most = longer.map_or(MAX_FILE_LINES, |(_, most, _)| *most);
    let breach = format!(
        "{} has {} lines without its tests, and {most} are the most: what has so many has more than one subject",
        source.path, source.length
    );
    (source.length > most)
        .then_some(breach)
        .into_iter()
        .collect()
}

fn long_functions(source: &Source) -> Vec<String> {
    let heads = source.code.iter().filter(|(_, code)| is_head(code));
    let lengths = heads.map(|(number, _)| (number, length_of(source, *number)));
    lengths
        .filter(|(_, length)| *length > MAX_FUNCTION_LINES)
        .map(|(number, length)| {
            let path = &source.path;
            format!(
                "{path}:{number} begins a function of {length} lines, and {MAX_FUNCTION_LINES} are \
                 the most: give its parts names"
            )
        })
        .collect()
}

/// Whether a function begins here.
fn is_head(code: &str) -> bool {
    let mut words = code.split_whitespace();
    let is_before = |word: &&str| {
        word.starts_with("pub") || ["in", "const", "unsafe", "extern", "\"C\""].contains(word)
    };
    words.find(|word| !is_before(word)) == Some("fn")
}

/// The lines from a function's first to the brace that ends it, which rustfmt puts below its first
/// letter.
fn length_of(source: &Source, number: usize) -> usize {
    let head = &source.lines[number - 1];
    let end = head.len() - head.trim_start().len();
    let end = format!("{}}}", " ".repeat(end));
    let mut lines = source.lines[number - 1..].iter();
    lines.position(|line| *line == end).map_or(1, |at| at + 1)
}

#[test]
fn fleet_and_wire_are_pure() {
    check(impurities);
}

#[test]
fn each_layer_knows_only_those_below() {
    check(foreign_layers);
}

#[test]
fn only_sys_is_unsafe() {
    check(unsafe_outside_sys);
}

#[test]
fn whatever_is_unsafe_says_why_it_is_not() {
    check(unsafe_without_reason);
}

#[test]
fn processes_are_made_in_one_place() {
    let found: Vec<String> = sources().iter().flat_map(spawns).collect();
    let (here, elsewhere): (Vec<String>, _) = found
        .into_iter()
        .partition(|place| place.starts_with("src/sys/process.rs"));
    let spawns = here.iter().filter(|place| place.contains(".spawn()"));
    assert_eq!(
        spawns.count(),
        1,
        "one place that starts a process: {here:#?}"
    );
    let elsewhere: Vec<String> = elsewhere
        .into_iter()
        .map(|place| format!("{place}\n    makes a process; that is for src/sys/process.rs, which also sees to its end"))
        .collect();
    expect_none(&elsewhere);
}

#[test]
fn nothing_is_left_unfinished() {
    check(unfinished);
}

#[test]
fn files_are_short() {
    check(too_long);
}

#[test]
fn functions_are_short() {
    check(long_functions);
}

/// A rule that sees nothing keeps nothing.
#[test]
fn the_rules_see_what_they_forbid() {
    let source = |path: &str, text: &str| Source::new(path.to_owned(), text);
    let clock = source("src/fleet/x.rs", "use std::time::Instant;\n// Instant");
    assert_eq!(impurities(&clock).len(), 1);
    let innocent = source(
        "src/fleet/x.rs",
        "use core::net::SocketAddr;\nlet dialog::Unix = 1;",
    );
    assert!(impurities(&innocent).is_empty());
    let test = source(
        "src/fleet/x.rs",
        "#[cfg(test)]\n#[allow(x)]\nmod tests {\n    Instant\n}",
    );
    assert!(impurities(&test).is_empty());
    let policy = source(
        "src/sys/x.rs",
        "use crate::fleet::Fleet;\nuse crate::wire::diag;",
    );
    assert_eq!(foreign_layers(&policy).len(), 1);
    let block = source("src/wire/x.rs", "unsafe { x() }");
    assert_eq!(unsafe_outside_sys(&block).len(), 1);
    assert_eq!(unsafe_without_reason(&block).len(), 1);
    let reasoned = source("src/sys/x.rs", "// SAFETY: it is.\nunsafe { x() }");
    assert!(unsafe_without_reason(&reasoned).is_empty());
    assert_eq!(
        spawns(&source("src/x.rs", "Command::new(a).spawn()")).len(),
        1
    );
    assert_eq!(unfinished(&source("src/x.rs", "todo!()")).len(), 1);
    assert_eq!(too_long(&source("src/x.rs", &"\n".repeat(301))).len(), 1);
    let long = format!("    fn x() {{\n{}    }}", "\n".repeat(59));
    assert_eq!(long_functions(&source("src/x.rs", &long)).len(), 1);
    let short = format!("    fn x() {{\n{}    }}", "\n".repeat(58));
    assert!(long_functions(&source("src/x.rs", &short)).is_empty());
}
