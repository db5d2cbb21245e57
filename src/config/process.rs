//! What a worker's process is given beside its descriptors and its environment.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::sys::limit::Limit;

/// What the launcher sets between fork and exec, the same for all workers. What is none stays as the supervisor has it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessAttributes {
    /// The nice value, -20 to 19.
    pub nice: Option<i32>,
    /// The bits that files made by the worker do not get.
    pub umask: Option<u32>,
    /// Limits, at most one of each kind.
    pub limits: Vec<LimitValue>,
    /// Whom the kernel kills first without memory, -1000 to 1000.
    pub oom_score_adj: Option<i32>,
    /// Whether each slot has one CPU.
    pub is_pinned: bool,
    /// Whom it belongs to; none: to the supervisor's user.
    pub identity: Option<Identity>,
    /// What its environment says of its user. The launcher has no need of it: the supervisor makes the environment.
    #[serde(skip)]
    pub login: Option<Login>,
}

impl ProcessAttributes {
    /// The workers' user, where an option says whom they belong to.
    pub fn user(&self) -> Option<u32> {
        self.identity.as_ref().map(|identity| identity.user)
    }

    /// The value of a limit, if it is to be set.
    pub fn limit(&self, limit: Limit) -> Option<LimitValue> {
        let mut all = self.limits.iter().copied();
        all.find(|value| value.limit == limit)
    }
}

/// A limit and what it is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LimitValue {
    /// Which.
    pub limit: Limit,
    /// Where the kernel begins to refuse.
    pub soft: u64,
    /// How far the worker may raise that; never below `soft`.
    pub hard: u64,
}

/// A user and its groups, in numbers. The names were looked up once, before anything was started: a worker that
/// replaces a crashed one must not wait for a directory server, nor become somebody else.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The user.
    pub user: u32,
    /// The group.
    pub group: u32,
    /// All groups, `group` among them.
    pub groups: Vec<u32>,
    /// How the user is called in messages.
    pub name: String,
}

/// What the environment says of a user, as a login does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Login {
    /// `USER` and `LOGNAME`; none: the user has no account.
    pub name: Option<String>,
    /// `HOME`.
    pub home: Option<PathBuf>,
    /// `SHELL`.
    pub shell: Option<PathBuf>,
}
