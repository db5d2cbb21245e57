//! The rescuer: a process of its own that holds the connections of workers which are about to end,
//! so that no request on them is lost. It knows HTTP/1, and leaves alone whatever is not HTTP/1.
//!
//! ```text
//!              ┌────────── a request waits in it ───────────────────────────────────┐
//!              │                                                                    ▼
//!            frozen ─────── the worker closes it ──────► idle ─── a request ───► relayed ─► closed
//!              │  ▲                                        │ ▲                     │
//!   not HTTP,  │  │ Hold                                   │ └─ accepted from a    └─ 101: a tunnel
//!   or stopping▼  │                                        │    worker's listener
//!            thawed ──────  the worker closes it ──────►   └─ the client closes, or time is up
//!
//!            └── watched connections ──┘                 └──────── adopted connections ────────┘
//! ```
//! The order of events for a retiring worker:
//!
//! 1. The supervisor sends duplicates of the worker's connections. Each is frozen: nobody wakes for
//!    new bytes, which stay in the socket's buffer, while the worker answers what it has read. A
//!    request that comes meanwhile is read from there and sent to the endpoint, which is the new
//!    generation's by now: else the request would wait for all that the worker has still to do. A
//!    connection whose client would not keep its address that way is only watched (`custody`).
//! 2. When nothing is in flight the worker is *idle*. What its sleeping readers would take along when
//!    they die is copied, the readers are stopped, and the worker gets its stop signal.
//! 3. What the worker closes stays open, because the duplicate is the same socket: the connection is
//!    adopted. A request that waits in it, or comes later, is sent to the endpoint, too.
//! 4. What the worker keeps for longer thaws, and is adopted when the worker closes it.
//!
//! The hazards. Bytes that are read from a connection which the worker still has are lost to the
//! worker: so nothing is read before a look at all descriptors of the worker, but for a whole request
//! that the worker has left alone. A close that is held back is a client that waits: so a connection
//! on which the worker has just written is closed with it. And a rescuer that dies leaves frozen
//! connections behind: the supervisor then thaws those that it can still get at
//! ([`tcp::thaw`](crate::sys::tcp::thaw)) and interrupts the readers.
//!
//! What is held must be known to be HTTP/1, by the connection's own bytes or another's of the endpoint
//! (`evidence`, `protocols`). What is known to be something else is closed when the worker lets go of it, since
//! the next request of its client would be lost; what is not known, after a few round trips. What the worker
//! sends without being asked is closed as well: its client waits for more.
//!
//! The words: a connection that the worker may still have is *watched*; one that the worker has let go
//! of is *adopted*. The supervisor *holds* connections by orders, and the rescuer *reports*.
//!
//! Each part uses only parts below it. Events and orders come in at `rescuer`, which hands what one part
//! gives to the next; no part knows of another one in its own row.
//!
//! | part | files | uses |
//! | --- | --- | --- |
//! | the process | `process` | `rescuer` |
//! | the parts put together | `rescuer` | all below |
//! | retiring workers | `retiring_workers`, `retiring_worker` | `watched_connections`, pure rules, `tallies` |
//! | their connections | `watched_connections`, `watched_connection` | `readers`, `process_tree`, `lost_reads`, `waiting_request`, `speech`, `request_tracker`, `protocols` |
//! | adopted connections | `adopted_connections`, `adopted`, `adoption` | `relay`, `client`, `routes`, `hops`, `protocols`, `timers`, `tallies` |
//! | bytes of one rescue | `relay`, `client`, `server_connection` | `routes` |
//! | listeners that are drained | `backlog` | `timers`, `tallies` |
//! | the supervisor | `supervisor_channel` | the wire |
//!
//! | file | what it knows |
//! | --- | --- |
//! | `adopted` | one connection that the worker has let go of |
//! | `adopted_connections` | all of those, and their deadlines |
//! | `adoption` | how a connection is adopted |
//! | `backlog` | what waits in a listener that nobody accepts from |
//! | `client` | the client's end, which the worker may have, too |
//! | `client_activity` | when clients have sent requests: pure |
//! | `close_action` | what follows when the worker closes a connection: pure |
//! | `connection_state` | whether the worker may read what comes on one: pure |
//! | `custody` | whose connections are: pure |
//! | `draining` | accepting what waits in such listeners |
//! | `holding` | taking in what the supervisor sends |
//! | `hops` | how often a request has been passed on: pure |
//! | `event_source` | what an event of the poll is about |
//! | `evidence` | what bytes say of the protocol: pure |
//! | `interruptions` | when blocked readers are looked for: pure |
//! | `adopted_connections/learning` | what their bytes show of what endpoints speak |
//! | `lifetime` | how long the rescuer stays: pure |
//! | `lost_reads` | what a reader took that was killed in its sleep |
//! | `peer_names` | naming a client to the server |
//! | `phase` | how far a worker's retirement is: pure |
//! | `process_tree` | a worker's processes, and where its sockets are |
//! | `protocols` | what each endpoint speaks: pure |
//! | `readers` | the threads that sleep in reads |
//! | `relay` | moves the bytes of one rescue |
//! | `request_tracker` | whether a request is in flight, from what the kernel counts: pure |
//! | `retiring_worker` | one retiring worker |
//! | `retiring_workers` | all of them, and when to look again |
//! | `routes` | where a request is sent |
//! | `server_connection` | the server's end |
//! | `step` | where an adopted connection is, and how it ended |
//! | `speech` | what one connection's bytes have shown of that: pure |
//! | `supervisor_channel` | orders in, reports out |
//! | `tallies` | what became of the connections |
//! | `timers` | one deadline for each connection |
//! | `waiting_request` | a request that the worker has left alone |
//! | `watched_connection` | one connection that the worker may still have |
//! | `watched_connections` | all of those that one worker may have |

mod adopted;
mod adopted_connections;
mod adoption;
mod backlog;
mod client;
mod client_activity;
mod close_action;
mod connection_state;
mod custody;
mod draining;
mod event_source;
mod evidence;
mod holding;
mod hops;
mod interruptions;
mod lifetime;
mod lost_reads;
mod peer_names;
mod phase;
mod process;
mod process_tree;
mod protocols;
mod readers;
mod relay;
mod request_tracker;
mod rescuer;
mod retiring_worker;
mod retiring_workers;
mod routes;
mod server_connection;
mod speech;
mod step;
mod supervisor_channel;
mod tallies;
mod timers;
mod waiting_request;
mod watched_connection;
mod watched_connections;

pub use process::run;

/// The rescuer's `argv[0]`.
pub const NAME: &str = "reuseport-run-rescuer";
