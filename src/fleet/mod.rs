//! Decides. Pure: no clock, descriptor, pid, log, thread or randomness; events in, effects out,
//! time as an argument. Every rule is here, and is tested without a process.
//!
//! Read [`vocabulary`] first: it is the whole contract. Then the parts, each of which keeps its own facts and
//! answers questions about them; then the rules, which need several parts.
//!
//! | part | what it knows |
//! | --- | --- |
//! | `policy` | the numbers that the rules go by |
//! | `phase`, `worker`, `workers` | where each worker is in its life; what is due, who has a listener, what is live |
//! | `listener` | how a worker has a listener, and whether the next one owes it |
//! | `health` | when a worker is checked, how that went, and how far it was taken away |
//! | `live` | which listeners get new connections |
//! | `slots` | empty slots and what is kept for them; how often workers died |
//! | `listener_sets` | which workers share listeners |
//! | `deployments` | what the generations are made by |
//! | `rollout` | the change that is under way |
//! | `usage` | what workers use, as it was seen |
//! | `recyclings` | workers that are to be recycled, and how many were |
//! | `retirements` | workers on their way out, by the change that replaced them |
//! | `pending_requests` | what signals and clients asked for meanwhile |
//! | `shutdown` | how far the end has come |
//!
//! All of it is plain data: it can be saved and restored between two events.

mod change_result;
mod change_view;
mod check_failure;
mod deployments;
mod health;
mod jitter;
mod listener;
mod listener_sets;
mod live;
mod name;
mod pending_requests;
mod phase;
mod policy;
mod recycle_reason;
mod recyclings;
mod retirements;
mod rollout;
mod rules;
mod shutdown;
mod slots;
mod stop_order;
#[cfg(test)]
mod tests;
mod usage;
pub mod vocabulary;
mod worker;
mod worker_event;
mod workers;
#[cfg(test)]
mod world;

pub use change_view::{ChangeView, WaitsFor};
pub use policy::{
    Bounds, CheckBy, CpuLimit, HealthChecks, Limits, Policy, ReadyWhen, Share, Strategy,
};
pub use recyclings::RecyclingTally;
pub use rules::Fleet;
pub use rules::status::{HealthView, WorkerView};
pub use usage::UsageView;
pub use vocabulary::*;
