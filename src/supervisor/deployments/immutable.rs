//! What cannot change without a restart: who finds the supervisor, where, and what its sockets are.

use crate::config::{Config, Steering};

/// The options that were given otherwise at the start; the steering that was asked for then need not be the one that is
/// in effect.
pub(super) fn changed(given: &Config, steering: Steering, read: &Config) -> Vec<&'static str> {
    let user = |config: &Config| config.attributes.identity.clone();
    let all = [
        ("--name", given.name != read.name),
        ("--control", given.control != read.control),
        ("--log-file", given.log_file != read.log_file),
        ("--queues", given.queues != read.queues),
        ("--listen", given.listen != read.listen),
        ("--steering", steering != read.steering),
        ("--protocol", given.protocol != read.protocol),
        ("--no-rescue", given.rescue != read.rescue),
        (
            "--rescue-clients",
            given.rescue_clients != read.rescue_clients,
        ),
        ("--max-connections-served", counts(read) && !counts(given)),
        ("--user or --group", user(given) != user(read)),
    ];
    let changed = all.into_iter().filter(|(_, is_changed)| *is_changed);
    changed.map(|(name, _)| name).collect()
}

/// Puts what is in effect in the place of what was read.
pub(super) fn keep(in_effect: &Config, read: &mut Config) {
    read.name.clone_from(&in_effect.name);
    read.control.clone_from(&in_effect.control);
    read.log_file.clone_from(&in_effect.log_file);
    read.queues = in_effect.queues;
    read.listen.clone_from(&in_effect.listen);
    read.steering = in_effect.steering;
    read.protocol = in_effect.protocol;
    read.rescue = in_effect.rescue;
    read.rescue_clients = in_effect.rescue_clients;
    if !counts(in_effect) {
        read.limits.max_connections = None;
    }
    let attributes = &in_effect.attributes;
    read.attributes.identity.clone_from(&attributes.identity);
    read.attributes.login.clone_from(&attributes.login);
}

/// Whether the program that steers counts connections: it cannot learn that later.
fn counts(config: &Config) -> bool {
    config.limits.max_connections.is_some()
}
