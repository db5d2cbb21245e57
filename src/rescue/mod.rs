//! The rescuer: a process of its own that holds the connections of workers which are about to end,
//! so that no request on them is lost. It knows HTTP/1; whatever is not that it leaves alone.
//!
//! ```text
//!              ┌────────── a request waits in it ───────────────────────────────────┐
//!              │                                                                    ▼
//!            frozen ─────── the worker closes it ──────► orphan ── a request ──► relayed ─► closed
//!              │  ▲                                        │ ▲                     │
//!   not HTTP,  │  │ Take                                   │ └─ accepted from a    └─ 101: a tunnel
//!   or told    ▼  │                                        │    worker's queue
//!            thawed ──────  the worker closes it ──────►   └─ the client closes, or time is up
//! ```
//! The order of events for a retiring worker:
//!
//! 1. The supervisor sends duplicates of its connections. Each is frozen: nobody wakes for new
//!    bytes, which stay in the socket's buffer, while the worker answers what it has read. A request
//!    that comes meanwhile is taken from there and sent to the endpoint, which is the new
//!    generation's by now: or it would wait for all that the worker has still to do.
//! 2. When nothing is in flight the worker is *quiet*. What its sleeping readers would take along
//!    when they die is copied, they are stopped, and it gets its stop signal.
//! 3. What it closes stays open, because the duplicate is the same socket: an connection. A request that
//!    waits in it, or comes later, is sent to the endpoint, too.
//! 4. What it keeps for longer thaws, is its own, and becomes an orphan when it is closed.
//!
//! The hazards. Bytes that are read from a connection that the worker still has are lost to it: so
//! nothing is read before a look at all its descriptors, but for a whole request that it has left
//! alone. A close that we hold back is a client that
//! waits: so a connection on which the worker has just spoken is closed with it. And a rescuer that
//! dies leaves frozen connections behind: the supervisor then thaws what it can still fetch
//! ([`tcp::thaw`](crate::sys::tcp::thaw)) and interrupts the readers.
//!
//! | file | what it does |
//! | --- | --- |
//! | `process` | the loop: readiness and time |
//! | `orders` | what the supervisor wants |
//! | `worker` | one retiring worker and what it still has |
//! | `watch` | looks at what workers have: the frost, the quiet, the closes |
//! | `request_tracker` | whether a request is in flight, from what the kernel counts |
//! | `close_action` | what becomes of a connection that the worker has closed |
//! | `waiting` | requests that come while the worker becomes quiet |
//! | `lost_reads` | what a reader took that was killed in its sleep |
//! | `adoption` | how connections become ours alone |
//! | `client` | the client's end, which the worker may have, too |
//! | `adopted` | connections that are ours alone |
//! | `relay` | moves the bytes of one rescue |
//! | `report` | what the supervisor is told |
//! | `backlog` | accepts what waits in a listener nobody accepts from |
//! | `route` | where a request is sent |
//! | `timers` | one deadline for each connection |

mod adopted;
mod adoption;
mod backlog;
mod client;
mod close_action;
mod lost_reads;
mod orders;
mod process;
mod relay;
mod report;
mod request_tracker;
mod route;
mod timers;
mod waiting;
mod watch;
mod worker;

pub use process::run;

/// The rescuer's `argv[0]`.
pub const NAME: &str = "reuseport-run-rescuer";
