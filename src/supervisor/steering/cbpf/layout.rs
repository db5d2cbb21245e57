//! Which listener sits at which index of a group, as far as that can be known.
//!
//! The kernel's rules (`net/core/sock_reuseport.c`): who starts to listen takes the next seat; when one
//! leaves, **the one in the last seat moves into its place**. So for a listener that shall leave:
//!
//! ```text
//!   0   1   2   3        1. attach `before`: right before and after the leave, so never the last
//!  old old new NEW          seat here (2), because NEW will not be there any more
//!  ▲            │        2. close: NEW moves to 0
//!  └────────────┘        3. attach `after` (0, 2): all who are live again
//! ```
//!
//! Between 1 and 2 the leaver is hidden from the kernel's search, which can meet it without its program
//! while it closes ([`hide`](crate::sys::steering::hide)), and every packet that may still run the
//! program before, or have found the leaver, must be through ([`fence`](crate::sys::steering::fence)).
//!
//! Several listeners may leave unseen (their workers shut them down), in an order that nobody told.
//! Whatever the order was, the seats that they leave behind are taken by the same ones from behind,
//! only who sits where is open, and every way is possible. So the layout is kept as *rooms*: a room has
//! as many seats as guests, and any guest may sit on any of its seats. What is known is a room of one.
//! A seat may be steered to when all guests of its room are live. Nothing grows with the number of orders.
//!
//! The hazard that remains is a group with one live listener in the last seat and two or more that are
//! not live: it must move, and no index is right before and after. [`Layout::removal`] says so, and the
//! leaver has to stay, without harm, until a second listener is live beside the first: in a reload when
//! all are ready, before the old generation is left out.

use super::Target;
use crate::fleet::ListenerId;
use std::collections::{BTreeMap, BTreeSet};

/// The listeners that are live, each with its weight. Who has no weight (0) is not live.
type Live = BTreeMap<ListenerId, u32>;

/// Named by a number that is not used again in the same layout.
type Room = u64;

/// Who sits where in one group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Layout {
    seats: Vec<Room>,
    guests: BTreeMap<ListenerId, Room>,
    rooms: Room,
}

/// How to take one listener out of its group while others serve.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Removal {
    /// To be attached before the listener is closed; right before and after. Empty only when nobody
    /// else is live: then the program that is attached stays.
    pub before: Vec<Target>,
    /// To be attached when the listener has left. Empty only when nobody is live.
    pub after: Vec<Target>,
}

impl Layout {
    /// How many listeners are in the group.
    pub fn len(&self) -> usize {
        self.seats.len()
    }

    /// Whether nobody is in the group.
    pub fn is_empty(&self) -> bool {
        self.seats.is_empty()
    }

    /// Everyone in the group, in the order of their names.
    pub fn members(&self) -> impl Iterator<Item = ListenerId> {
        self.guests.keys().copied()
    }

    /// The index of a listener; `None` if it is not in the group, or its seat is not known.
    pub fn index_of(&self, id: ListenerId) -> Option<u32> {
        let room = self.guests.get(&id)?;
        let mut seats = (0_u32..).zip(&self.seats).filter(|(_, of)| *of == room);
        match (seats.next(), seats.next()) {
            (Some((index, _)), None) => Some(index),
            _ => None,
        }
    }

    /// The listener at an index; `None` if there is none, or it is not known.
    pub fn listener_at(&self, index: u32) -> Option<ListenerId> {
        let room = self.seats.get(usize::try_from(index).ok()?)?;
        let mut guests = self.guests.iter().filter(|(_, of)| *of == room);
        match (guests.next(), guests.next()) {
            (Some((id, _)), None) => Some(*id),
            _ => None,
        }
    }

    /// A listener has started to listen: it has the next seat. One that is there already is not moved,
    /// as a second `listen()` is no second seat.
    pub fn joined(&mut self, id: ListenerId) {
        if self.guests.contains_key(&id) {
            return;
        }
        self.rooms += 1;
        self.seats.push(self.rooms);
        self.guests.insert(id, self.rooms);
    }

    /// Listeners have left, one after the other in an order that need not be known. Those who are not
    /// in the group are passed over.
    ///
    /// The rooms that lose a guest or a seat become one. From a known layout this keeps all that can be known.
    pub fn left(&mut self, ids: &[ListenerId]) {
        let mut touched: BTreeSet<Room> =
            ids.iter().filter_map(|id| self.guests.remove(id)).collect();
        touched.extend(self.seats.drain(self.guests.len()..));
        let Some(&kept) = touched.first() else { return };
        let seats = self.seats.iter_mut();
        for room in seats
            .chain(self.guests.values_mut())
            .filter(|room| touched.contains(room))
        {
            *room = kept;
        }
    }

    /// The indexes that hold a live listener whatever the order, each with the least weight that it may
    /// stand for; in the order of the indexes.
    ///
    /// Empty while somebody is live only when who leaves unseen has mixed up the live and the others:
    /// then the program that is attached is as good as any.
    pub fn targets(&self, live: &BTreeMap<ListenerId, u32>) -> Vec<Target> {
        let weights = self.weights(live);
        let weight = |room| weights.get(room).copied().unwrap_or(0);
        (0_u32..)
            .zip(&self.seats)
            .map(|(index, room)| Target {
                index,
                weight: weight(room),
            })
            .filter(|target| target.weight > 0)
            .collect()
    }

    /// The least weight of each room's guests.
    fn weights(&self, live: &Live) -> BTreeMap<Room, u32> {
        let mut weights = BTreeMap::new();
        for (id, room) in &self.guests {
            let weight = live.get(id).copied().unwrap_or(0);
            let least = weights.entry(*room).or_insert(weight);
            *least = weight.min(*least);
        }
        weights
    }

    /// How to take `id` out, which itself counts as not live whatever `live` says.
    ///
    /// `None` if it cannot be done now without sending connections to one that is not live, because
    /// nobody live can be named that need not move. Let it stay, and try again when a further listener is live.
    pub fn removal(&self, id: ListenerId, live: &BTreeMap<ListenerId, u32>) -> Option<Removal> {
        let mut rest = self.clone();
        rest.left(&[id]);
        let live: Live = live
            .iter()
            .filter(|(other, weight)| rest.guests.contains_key(other) && **weight > 0)
            .map(|(other, weight)| (*other, *weight))
            .collect();
        let (now, after) = (self.targets(&live), rest.targets(&live));
        let mut before = in_both(&now, &after);
        if before.is_empty() && rest.guests.keys().all(|other| live.contains_key(other)) {
            before = now
                .into_iter()
                .filter(|target| rest.is_beyond(target.index))
                .collect();
        }
        (!before.is_empty() || live.is_empty()).then_some(Removal { before, after })
    }

    /// Whether an index is out of range: the kernel then chooses by a hash among all in the group.
    fn is_beyond(&self, index: u32) -> bool {
        usize::try_from(index).is_ok_and(|index| index >= self.seats.len())
    }
}

/// The indexes that both have, with the lesser weight.
fn in_both(now: &[Target], after: &[Target]) -> Vec<Target> {
    let after: BTreeMap<u32, u32> = after
        .iter()
        .map(|target| (target.index, target.weight))
        .collect();
    now.iter()
        .filter_map(|target| {
            let weight = *after.get(&target.index)?;
            Some(Target {
                weight: weight.min(target.weight),
                ..*target
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    fn ids(names: &[u64]) -> Vec<ListenerId> {
        names.iter().copied().map(ListenerId).collect()
    }

    fn layout(names: &[u64]) -> Layout {
        let mut layout = Layout::default();
        ids(names).into_iter().for_each(|id| layout.joined(id));
        layout
    }

    fn live(names: &[u64]) -> Live {
        ids(names).into_iter().map(|id| (id, 1)).collect()
    }

    fn indexes(targets: &[Target]) -> Vec<u32> {
        targets.iter().map(|target| target.index).collect()
    }

    fn removal(names: &[u64], leaver: u64, alive: &[u64]) -> Option<(Vec<u32>, Vec<u32>)> {
        let removal = layout(names).removal(ListenerId(leaver), &live(alive))?;
        Some((indexes(&removal.before), indexes(&removal.after)))
    }

    #[test]
    fn the_last_moves_into_the_place_of_the_leaver() {
        let mut layout = layout(&[1, 2, 3, 4]);
        layout.left(&ids(&[2]));
        let order: Vec<_> = (0..4).map(|index| layout.listener_at(index)).collect();
        assert_eq!(
            order,
            [
                Some(ListenerId(1)),
                Some(ListenerId(4)),
                Some(ListenerId(3)),
                None
            ]
        );
        assert_eq!(layout.index_of(ListenerId(4)), Some(1));
    }

    #[test]
    fn the_mover_is_left_out_while_it_moves() {
        assert_eq!(
            removal(&[1, 2, 3, 4], 1, &[3, 4]),
            Some((vec![2], vec![0, 2]))
        );
    }

    #[test]
    fn nobody_moves_when_the_last_leaves() {
        assert_eq!(
            removal(&[1, 2, 3], 3, &[1, 2]),
            Some((vec![0, 1], vec![0, 1]))
        );
        assert_eq!(removal(&[1, 2, 3], 3, &[1]), Some((vec![0], vec![0])));
    }

    #[test]
    fn one_that_is_not_live_may_move_and_is_not_a_target() {
        assert_eq!(removal(&[1, 2, 3], 1, &[2]), Some((vec![1], vec![1])));
    }

    #[test]
    fn the_only_other_one_is_reached_at_its_old_index() {
        assert_eq!(removal(&[1, 2], 1, &[2]), Some((vec![1], vec![0])));
    }

    #[test]
    fn a_live_leaver_is_not_a_target() {
        assert_eq!(
            removal(&[1, 2, 3], 1, &[1, 2, 3]),
            Some((vec![1], vec![0, 1]))
        );
    }

    #[test]
    fn nobody_live_has_nothing_to_protect() {
        assert_eq!(removal(&[1, 2, 3], 1, &[]), Some((vec![], vec![])));
        assert_eq!(removal(&[1, 2], 2, &[2]), Some((vec![], vec![])));
        assert_eq!(removal(&[1], 1, &[1]), Some((vec![], vec![])));
    }

    #[test]
    fn the_only_live_one_cannot_move_past_another() {
        assert_eq!(removal(&[1, 2, 3], 1, &[3]), None);
        assert_eq!(
            removal(&[1, 2, 3, 4], 1, &[3, 4]),
            Some((vec![2], vec![0, 2]))
        );
        assert_eq!(removal(&[4, 2, 3], 2, &[3, 4]), Some((vec![0], vec![0, 1])));
    }

    #[test]
    fn weights_that_may_be_either_are_the_lesser() {
        let mut layout = layout(&[1, 2, 3, 4, 5]);
        layout.left(&ids(&[1, 2]));
        let weights = [(3, 7), (4, 5), (5, 2)].map(|(id, weight)| (ListenerId(id), weight));
        let targets = layout.targets(&weights.into());
        assert_eq!(
            targets,
            [(0, 2), (1, 2), (2, 7)].map(|(index, weight)| Target { index, weight })
        );
        assert_eq!(layout.listener_at(0), None);
        assert_eq!(layout.index_of(ListenerId(5)), None);
        assert_eq!(layout.index_of(ListenerId(3)), Some(2));
    }

    #[test]
    fn who_is_named_twice_or_never_came_changes_nothing() {
        let mut changed = layout(&[1, 2, 3]);
        changed.joined(ListenerId(2));
        changed.left(&ids(&[9]));
        assert_eq!(changed, layout(&[1, 2, 3]));
        changed.left(&ids(&[3, 3]));
        assert_eq!(changed.len(), 2);
    }

    /// All orders in which a group may be when `leavers` have left `order`, by trying every way.
    fn all_ways(order: &[ListenerId], leavers: &[ListenerId]) -> BTreeSet<Vec<ListenerId>> {
        let mut ways = BTreeSet::new();
        if leavers.is_empty() {
            ways.insert(order.to_vec());
        }
        for leaver in leavers {
            let mut next = order.to_vec();
            next.swap_remove(next.iter().position(|id| id == leaver).unwrap());
            let others: Vec<_> = leavers.iter().copied().filter(|id| id != leaver).collect();
            ways.extend(all_ways(&next, &others));
        }
        ways
    }

    fn live_in_all(ways: &BTreeSet<Vec<ListenerId>>, live: &Live) -> Vec<u32> {
        let length = ways.first().map_or(0, Vec::len);
        (0..length)
            .filter(|&index| ways.iter().all(|order| live.contains_key(&order[index])))
            .map(|index| u32::try_from(index).unwrap())
            .collect()
    }

    /// The kernel's group with a program on it.
    #[derive(Debug, Default)]
    struct Group {
        order: Vec<ListenerId>,
        program: Vec<u32>,
    }

    impl Group {
        /// An empty set of targets cannot be compiled, so it leaves the program as it is.
        fn attach(&mut self, targets: &[Target]) {
            if !targets.is_empty() {
                self.program = indexes(targets);
            }
        }

        fn leave(&mut self, id: ListenerId) {
            self.order
                .swap_remove(self.order.iter().position(|other| *other == id).unwrap());
        }

        fn answers(&self) -> BTreeSet<ListenerId> {
            let one = |&index: &u32| match self.order.get(index as usize) {
                Some(id) => vec![*id],
                None => self.order.clone(),
            };
            self.program.iter().flat_map(one).collect()
        }

        fn right(&self, live: &Live) -> bool {
            let exists = self.order.iter().any(|id| live.contains_key(id));
            !exists || self.answers().iter().all(|id| live.contains_key(id))
        }
    }

    /// A group, what is believed of it, and who is live.
    #[derive(Debug, Default)]
    struct World {
        group: Group,
        layout: Layout,
        live: Live,
        next: u64,
    }

    impl World {
        fn join(&mut self) {
            let id = ListenerId(self.next);
            self.next += 1;
            self.group.order.push(id);
            self.layout.joined(id);
            self.live.insert(id, 1);
            self.steer();
        }

        fn steer(&mut self) {
            self.group.attach(&self.layout.targets(&self.live));
        }

        /// Whether some live one can be named; who vanishes can make that impossible for a time.
        fn sure(&self) -> bool {
            !self.layout.targets(&self.live).is_empty()
        }

        fn pick(&self, choice: usize) -> Option<ListenerId> {
            let count = self.group.order.len();
            (count > 0).then(|| self.group.order[choice % count])
        }

        /// Steers away from one, unless it is the last that is live.
        fn retire(&mut self, choice: usize) {
            let Some(id) = self.pick(choice).filter(|_| self.live.len() > 1) else {
                return;
            };
            let mut live = self.live.clone();
            live.remove(&id);
            if !self.layout.targets(&live).is_empty() {
                self.live = live;
                self.steer();
            }
        }

        /// Some who are not live leave unseen, as the caller finds out later.
        fn vanish(&mut self, choices: &[usize]) {
            let gone: BTreeSet<_> = choices
                .iter()
                .filter_map(|&choice| self.pick(choice))
                .collect();
            let gone: Vec<_> = gone
                .into_iter()
                .filter(|id| !self.live.contains_key(id))
                .collect();
            gone.iter().rev().for_each(|id| self.group.leave(*id));
            self.layout.left(&gone);
            self.steer();
        }

        /// Takes one who is not live out; the answers are looked at before, between and after.
        fn remove(&mut self, choice: usize) -> Result<(), TestCaseError> {
            let retired = self.pick(choice).filter(|id| !self.live.contains_key(id));
            let Some(id) = retired else { return Ok(()) };
            let Some(Removal { before, after }) = self.layout.removal(id, &self.live) else {
                return Ok(());
            };
            self.group.attach(&before);
            prop_assert!(
                self.group.right(&self.live),
                "before: {:?}",
                self.group.order
            );
            self.group.leave(id);
            prop_assert!(
                self.group.right(&self.live),
                "between: {:?}",
                self.group.order
            );
            self.layout.left(&[id]);
            self.group.attach(&after);
            Ok(())
        }
    }

    proptest! {
        #[test]
        fn from_a_known_order_all_that_can_be_known_is(
            size in 1_u64..8, leaves in any::<u8>(), lives in any::<u8>(),
        ) {
            let names: Vec<u64> = (0..size).collect();
            let chosen = |bits: u8| names.iter().copied().filter(move |n| bits >> n & 1 == 1).collect::<Vec<_>>();
            let (leavers, live) = (ids(&chosen(leaves)), live(&chosen(lives)));
            let ways = all_ways(&ids(&names), &leavers);
            let mut layout = layout(&names);
            layout.left(&leavers);
            prop_assert_eq!(indexes(&layout.targets(&live)), live_in_all(&ways, &live));
        }

        #[test]
        fn whatever_happens_no_target_can_be_one_that_is_not_live(
            steps in proptest::collection::vec((any::<bool>(), any::<u64>()), 1..9), lives in any::<u64>(),
        ) {
            let (mut layout, mut ways, mut next) = (layout(&[]), BTreeSet::from([vec![]]), 0);
            for (join, choice) in steps {
                if join || layout.is_empty() {
                    ways = ways.into_iter().map(|way| [way, ids(&[next])].concat()).collect();
                    layout.joined(ListenerId(next));
                    next += 1;
                } else {
                    let members = layout.members().filter(|id| choice >> id.0 & 1 == 1);
                    let leavers: Vec<_> = members.take(3).collect();
                    ways = ways.iter().flat_map(|way| all_ways(way, &leavers)).collect();
                    layout.left(&leavers);
                }
                let live = layout.members().filter(|id| lives >> id.0 & 1 == 1).map(|id| (id, 1)).collect();
                let safe = live_in_all(&ways, &live);
                prop_assert!(indexes(&layout.targets(&live)).iter().all(|index| safe.contains(index)));
            }
        }

        #[test]
        fn no_answer_is_ever_wrong(
            steps in proptest::collection::vec((0..5, any::<[usize; 3]>()), 1..60),
        ) {
            let mut world = World::default();
            for (step, choices) in steps {
                match step {
                    0 => world.join(),
                    1 | 2 => world.retire(choices[0]),
                    3 => world.remove(choices[0])?,
                    _ => world.vanish(&choices),
                }
                prop_assert!(!world.sure() || world.group.right(&world.live), "{world:?}");
            }
        }

        #[test]
        fn in_the_end_all_who_are_live_are_answers(
            old in 1_u64..6, new in 2_u64..6, choices in proptest::collection::vec(any::<usize>(), 60),
        ) {
            let mut world = World::default();
            (0..old + new).for_each(|_| world.join());
            world.live = (old..old + new).map(|id| (ListenerId(id), 1)).collect();
            world.steer();
            let by_index = (0..old + new).rev().map(|index| index as usize);
            for choice in choices.into_iter().chain(by_index) {
                world.remove(choice)?;
            }
            prop_assert_eq!(world.group.order.len() as u64, new);
            prop_assert_eq!(world.group.answers(), world.live.keys().copied().collect());
        }
    }
}
