# What is done with the project, each by one name. `just` alone lists it.

# What there is.
default:
    @just --list --unsorted

# Formatting, lints, documentation: all that needs no run.
check:
    cargo fmt --all --check
    cargo clippy --all-targets --locked -- -D warnings
    RUSTDOCFLAGS="-D warnings" cargo doc --no-deps --locked --document-private-items

# All tests, or those whose names contain a word: `just test a_probe_reaches`.
test *NAME:
    cargo test --locked {{NAME}}

# The tests of one file under tests/: `just test-file supervisor crash`.
test-file FILE *NAME:
    cargo build --locked --examples --bins
    cargo test --locked --test {{FILE}} {{NAME}}

# Other simulated worlds than those that the tests try, and more of them: `just worlds 20000`.
worlds COUNT="20000":
    WORLDS={{COUNT}} cargo test --release --lib world

# Reloads of groups of listeners under load, more than the tests make: four closes in each, with both backends and
# over three families, so 10,200 closes a backend for `just closes 850`, in some ten minutes.
closes RELOADS="850":
    STEERING_RELOADS={{RELOADS}} cargo test --release --locked --test steering reloads_lose_nothing -- --nocapture

# A command in a network of its own, with a delay if asked for: `just rig --delay-ms 10 -- COMMAND`.
rig *ARGS:
    cargo run --release --quiet --example rig -- {{ARGS}}

# Reloads and kills of a server under load, counted: `just trial --server node --reloads 20`.
trial *ARGS:
    cargo build --release --quiet --bins --examples
    target/release/examples/trial --supervisor target/release/reuseport-run --ctl target/release/reuseport-ctl {{ARGS}}

# The benchmark of the supervisor itself, or another: `just bench ways --help`.
bench NAME="supervisor" *ARGS:
    cargo bench --locked --bench {{NAME}} -- {{ARGS}}

# Us and others: `just compare --quick`.
compare *ARGS:
    benches/compare {{ARGS}}

# Under other kernels, in a virtual machine: `just kernels reloads=5 6.1`; without names all of them.
kernels *WORDS:
    cargo build --release --quiet --locked --bins --examples
    tests/kernels/run {{WORDS}}

# Every server of the world under the supervisor: `just world nginx puma`, or all, in about an hour. Installs them.
world *WORDS:
    cargo build --release --quiet --locked --bins --examples
    cargo run --release --quiet --locked --example world -- {{WORDS}}

# The parser of exchanges against random bytes; needs nightly and cargo-fuzz.
fuzz SECONDS="60":
    cargo +nightly fuzz run --fuzz-dir tests/fuzz http_exchange -- -max_total_time={{SECONDS}}

# Licences, sources and known vulnerabilities of what we depend on; needs cargo-deny.
deny *CHECKS:
    cargo deny --locked check {{CHECKS}}

# All that has to hold on a clean clone.
ci:
    .ci/run
