//! Which listeners of an endpoint's group get the new connections.
//!
//! ```text
//!  the fleet ── live listeners ──► a backend ── what the kernel understands ──► the group
//!                                   ebpf: maps that a program reads
//!                                   cbpf: a program that names indexes
//!                                   unsteered: nothing
//! ```
//! A backend is told of every listener: when it joins its group, whether it is live, when it must leave.
//! The listeners themselves are those of `Listeners`; a backend asks for a socket where it needs one, and has a
//! listener closed at the moment when that is safe.
//!
//! The hazard: what a group does in between. A listener that joined must get nothing before it is live, a
//! packet may be under way by the selection before, and a listener that is being closed is met by some
//! packets for a moment more. So the order is always: select, fence, look, close.
//!
//! | file | what it does |
//! | --- | --- |
//! | `choice` | which backend this kernel allows |
//! | `ebpf` | eBPF: keys, maps, one program |
//! | `cbpf` | classic BPF: layout, programs, removals |
//! | `unsteered` | no selection |
//! | `spread` | the choice among the live listeners, the same in both programs |
//! | `probe_rule`, `probe_connection` | how a probe reaches the listener that it is for |
//! | `leaving`, `closing` | the listeners that leave, and what closing one takes |
//! | `fence` | waits until no packet is under way by a former selection |

pub mod cbpf;
pub(super) mod choice;
mod closing;
pub mod ebpf;
pub(super) mod fence;
mod leaving;
pub(super) mod probe_connection;
pub mod probe_rule;
pub mod spread;
mod unsteered;

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::net::SocketAddr;

use super::listeners::Listeners;
use crate::fleet::{Endpoint, ListenerId};
pub(super) use closing::refuse;
use fence::Fences;

/// The listeners that new connections go to, each with its weight.
pub(super) type Live = BTreeMap<ListenerId, u32>;

/// A way to have the kernel give new connections to some listeners of a group, and to no others.
pub(super) trait Backend: Debug {
    /// A listener has begun to listen, for the first time or again. Unless it is live, it gets nothing.
    fn joined(&mut self, listeners: &mut Listeners, id: ListenerId);

    /// New connections go to these listeners, and to no others of their groups. A group of which none is
    /// live stays as it is: a queue that waits for a replacement is better than a reset.
    fn select(&mut self, listeners: &mut Listeners, live: &Live);

    /// These listeners may leave their groups by themselves from now on, at any time and in any order: their
    /// workers are told to stop, and may shut them down. Whoever is live goes on getting all that comes.
    fn expect_departures(&mut self, listeners: &mut Listeners, ids: &[ListenerId]);

    /// New connections are given to nobody from now on, and the handshakes that have begun come to their end. Where
    /// that cannot be had, all stays as it is.
    fn keep_out(&mut self, listeners: &mut Listeners);

    /// A listener was shut down, and has left its group by itself.
    fn reconcile(&mut self, listeners: &mut Listeners);

    /// A listener must leave its group: it gets nothing from now on, and is closed by
    /// [`Self::proceed`] as soon as that sends no connection astray.
    fn remove(&mut self, listeners: &mut Listeners, id: ListenerId);

    /// Closes what must leave and can. To be called when something has changed, or a fence has passed.
    fn proceed(&mut self, listeners: &mut Listeners, fences: &mut Fences);

    /// Whether listeners are about to be closed that only wait for a fence.
    fn is_removing(&self) -> bool;

    /// The listener that a connection from this source is given now; none where that is not known.
    fn chosen(&self, endpoint: &Endpoint, source: SocketAddr) -> Option<ListenerId>;

    /// How many connections a listener was given, ever, modulo 2^32; none where that is not counted. Without `CAP_BPF`
    /// nothing counts them.
    fn count(&self, _: &Listeners, _: ListenerId) -> Option<u32> {
        None
    }

    /// The source ports of this host from which a [probe](super::workers::probe) with [`PROBE_HOPS`](probe_rule::PROBE_HOPS)
    /// reaches this listener, live or not; 0 stands for any. None where the listener cannot be told from
    /// the others of its group.
    fn probe_ports(&self, listeners: &Listeners, id: ListenerId) -> Vec<u16>;
}

/// The backend of `--steering`, as [`choice::chosen`] has settled it.
pub(super) fn backend(
    steering: crate::config::Steering,
    counting: ebpf::Counting,
) -> Box<dyn Backend> {
    use crate::config::Steering;
    match steering {
        Steering::Ebpf => Box::new(ebpf::Ebpf::new(counting)),
        Steering::Auto | Steering::Cbpf => Box::<cbpf::Cbpf>::default(),
        Steering::None => Box::<unsteered::Unsteered>::default(),
    }
}
