//! Which listener is at which index of a group, as far as that can be known.
//!
//! The kernel's rules (`net/core/sock_reuseport.c`): a socket that starts to listen takes the next index;
//! when one leaves, **the last one moves to its index**. So for listeners that must leave:
//!
//! ```text
//!   0   1   2   3   4   5      1. attach `before`: right throughout, so only indexes from which
//!  old old new new NEW NEW        nobody moves: two leave, so the last two (4, 5) may move
//!   ▲   ▲           │   │      2. close both, the highest index first: NEW moves to 1 and 0
//!   └───┴───────────┴───┘      3. attach a program for what is left (0, 1, 2, 3)
//! ```
//!
//! Between 1 and 2 the leavers are hidden from the kernel's search, which can meet one without its
//! program while it closes ([`hide`](crate::sys::steering::hide)), and every packet that may still run
//! the program before, or have found a leaver, must be through ([`fence`](crate::sys::steering::fence)).
//!
//! Several listeners may leave unseen (their workers shut them down), in an order that nobody reported.
//! Whatever the order was, the indexes that they leave behind are taken by the same ones from behind;
//! only which listener is at which of them is open, and every way is possible. So the layout is kept as
//! *classes*: a class has as many indexes as members, and any member may be at any of its indexes. What
//! is known is a class of one. An index may be steered to when all members of its class are live. Nothing
//! grows with the number of orders.
//!
//! The hazard that remains is a group with one live listener at the last index and two or more that are
//! not live: it must move, and no index is right before and after. [`Layout::removal`] says so, and the
//! leavers have to stay, without harm, until a second listener is live beside the first: in a reload when
//! all are ready, before the old generation is left out.

use std::collections::{BTreeMap, BTreeSet};

use crate::fleet::ListenerId;
use crate::supervisor::steering::spread::Target;

/// The listeners that are live, each with its weight. A listener without a weight (0) is not live.
type Live = BTreeMap<ListenerId, u32>;

/// Named by a number that is not used again in the same layout.
type Class = u64;

/// Which listener is at which index of one group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Layout {
    /// The class at each index.
    indexes: Vec<Class>,
    class_of: BTreeMap<ListenerId, Class>,
    members_of: BTreeMap<Class, BTreeSet<ListenerId>>,
    newest: Class,
}

/// How to take listeners out of their group while others serve.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Removal {
    /// To be closed one after the other, in this order.
    pub listeners: Vec<ListenerId>,
    /// To be attached before the first is closed; right until all have left, and then. Empty only when
    /// nobody else is live: then the program that is attached stays.
    pub before: Vec<Target>,
}

impl Layout {
    /// How many listeners are in the group.
    pub fn len(&self) -> usize {
        self.indexes.len()
    }

    /// Whether nobody is in the group.
    pub fn is_empty(&self) -> bool {
        self.indexes.is_empty()
    }

    /// Whether a listener is in the group.
    pub fn contains(&self, id: ListenerId) -> bool {
        self.class_of.contains_key(&id)
    }

    /// All listeners of the group, in the order of their ids.
    pub fn members(&self) -> impl Iterator<Item = ListenerId> {
        self.class_of.keys().copied()
    }

    /// The index of a listener; `None` if it is not in the group, or its index is not known.
    pub fn index_of(&self, id: ListenerId) -> Option<u32> {
        let class = self.class_of.get(&id)?;
        let is_known = self.members_of.get(class)?.len() == 1;
        let index = self.indexes.iter().position(|at| at == class)?;
        u32::try_from(index).ok().filter(|_| is_known)
    }

    /// The listener at an index; `None` if there is none, or it is not known.
    pub fn listener_at(&self, index: u32) -> Option<ListenerId> {
        let class = self.indexes.get(usize::try_from(index).ok()?)?;
        let members = self.members_of.get(class)?;
        members.first().copied().filter(|_| members.len() == 1)
    }

    /// A listener has started to listen: it has the next index. One that is there already is not moved,
    /// as a second `listen()` gives no second index.
    pub fn joined(&mut self, id: ListenerId) {
        if self.contains(id) {
            return;
        }
        self.newest += 1;
        self.indexes.push(self.newest);
        self.class_of.insert(id, self.newest);
        self.members_of.insert(self.newest, BTreeSet::from([id]));
    }

    /// Listeners have left, one after the other in an order that need not be known. Those that are not
    /// in the group are passed over.
    ///
    /// The classes that lose a member or an index become one. From a known layout this keeps all that can
    /// be known.
    pub fn left(&mut self, ids: &[ListenerId]) {
        let mut touched: BTreeSet<Class> = ids.iter().filter_map(|id| self.forget(*id)).collect();
        touched.extend(self.indexes.drain(self.class_of.len()..));
        let Some(kept) = touched.pop_first() else {
            return;
        };
        touched
            .into_iter()
            .for_each(|class| self.merge(class, kept));
        if self.members_of.get(&kept).is_some_and(BTreeSet::is_empty) {
            self.members_of.remove(&kept);
        }
    }

    fn forget(&mut self, id: ListenerId) -> Option<Class> {
        let class = self.class_of.remove(&id)?;
        self.members_of.get_mut(&class)?.remove(&id);
        Some(class)
    }

    fn merge(&mut self, class: Class, into: Class) {
        let members = self.members_of.remove(&class).unwrap_or_default();
        self.class_of.extend(members.iter().map(|id| (*id, into)));
        self.members_of.entry(into).or_default().extend(members);
        for at in self.indexes.iter_mut().filter(|at| **at == class) {
            *at = into;
        }
    }

    /// The indexes that hold a live listener whatever the order, each with the least weight that it may
    /// stand for; in the order of the indexes.
    ///
    /// Empty while somebody is live only when listeners that left unseen have mixed up the live and the
    /// others: then the program that is attached is as good as any.
    pub fn targets(&self, live: &BTreeMap<ListenerId, u32>) -> Vec<Target> {
        let weights = self.weights(live);
        let weight = |class| weights.get(class).copied().unwrap_or(0);
        (0_u32..)
            .zip(&self.indexes)
            .map(|(index, class)| Target {
                index,
                weight: weight(class),
            })
            .filter(|target| target.weight > 0)
            .collect()
    }

    /// The least weight of each class's members.
    fn weights(&self, live: &Live) -> BTreeMap<Class, u32> {
        let mut weights = BTreeMap::new();
        for (id, class) in &self.class_of {
            let weight = live.get(id).copied().unwrap_or(0);
            let least = weights.entry(*class).or_insert(weight);
            *least = weight.min(*least);
        }
        weights
    }

    /// How to take as many as can be of `leaving` out at once, which themselves count as not live
    /// whatever `live` says. Those of them that are not in the group are passed over.
    ///
    /// While they leave, the last listeners of the group move to their indexes, so these cannot be
    /// steered to meanwhile. Half of the live ones always can, or fewer leave at once: a thousand that
    /// leave need three programs.
    ///
    /// So many others may leave by themselves meanwhile: `departing`.
    ///
    /// `None` if none can leave now without sending connections to one that is not live, because nobody
    /// live can be named that need not move. Let them stay, and try again when a further listener is live.
    pub fn removal(
        &self,
        leaving: &BTreeSet<ListenerId>,
        live: &BTreeMap<ListenerId, u32>,
        departing: usize,
    ) -> Option<Removal> {
        let order = self.closing_order(leaving);
        let stays_live = |(id, weight): &(&ListenerId, &u32)| {
            self.contains(**id) && !leaving.contains(id) && **weight > 0
        };
        let live: Live = live
            .iter()
            .filter(stays_live)
            .map(|(id, weight)| (*id, *weight))
            .collect();
        if live.is_empty() {
            return (!order.is_empty()).then(|| Removal {
                listeners: order,
                before: Vec::new(),
            });
        }
        let now = self.targets(&live);
        let mut count = order.len();
        while count > 0 {
            let before = unmoved(&now, self.len().saturating_sub(count + departing));
            if before.len() * 2 >= live.len() {
                let listeners = order[..count].to_vec();
                return Some(Removal { listeners, before });
            }
            count /= 2;
        }
        let mut one_by_one = order.iter();
        one_by_one.find_map(|id| self.removal_of_one(*id, &now, &live, departing))
    }

    /// The highest index first: so the listeners that move in are not in the way of the next.
    fn closing_order(&self, leaving: &BTreeSet<ListenerId>) -> Vec<ListenerId> {
        let at: BTreeMap<Class, usize> = self.indexes.iter().copied().zip(0..).collect();
        let place = |id: &ListenerId| at.get(self.class_of.get(id)?).copied();
        let mut order: Vec<ListenerId> = leaving
            .iter()
            .copied()
            .filter(|id| self.contains(*id))
            .collect();
        order.sort_by_key(|id| core::cmp::Reverse(place(id)));
        order
    }

    /// Also where fewer than half of the live ones stay at their indexes, down to one. And where none
    /// does but all who are left are live: the index that the last one moves from is out of range then,
    /// and the kernel chooses among all in the group.
    fn removal_of_one(
        &self,
        id: ListenerId,
        now: &[Target],
        live: &Live,
        departing: usize,
    ) -> Option<Removal> {
        let mut before = unmoved(now, self.len().saturating_sub(1 + departing));
        let others = || self.members().filter(|other| *other != id);
        if before.is_empty() && others().all(|other| live.contains_key(&other)) {
            before = now.to_vec();
        }
        (!before.is_empty()).then(|| Removal {
            listeners: vec![id],
            before,
        })
    }
}

/// The targets from which nobody moves while the group shrinks to `length`.
fn unmoved(targets: &[Target], length: usize) -> Vec<Target> {
    let stays = |target: &&Target| usize::try_from(target.index).is_ok_and(|index| index < length);
    targets.iter().filter(stays).copied().collect()
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

    /// What is attached before one leaves, and after.
    fn removal(names: &[u64], leaver: u64, alive: &[u64]) -> Option<(Vec<u32>, Vec<u32>)> {
        let (mut layout, live) = (layout(names), live(alive));
        let removal = layout.removal(&ids(&[leaver]).into_iter().collect(), &live, 0)?;
        layout.left(&removal.listeners);
        let after = live.into_iter().filter(|(id, _)| *id != ListenerId(leaver));
        Some((
            indexes(&removal.before),
            indexes(&layout.targets(&after.collect())),
        ))
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

    /// How many programs it takes until all of these have left.
    fn programs(names: &[u64], leaving: &[u64], alive: &[u64]) -> (usize, usize) {
        let (mut layout, live) = (layout(names), live(alive));
        let mut leaving: BTreeSet<ListenerId> = ids(leaving).into_iter().collect();
        let (mut programs, mut fewest) = (0, usize::MAX);
        while let Some(removal) = layout.removal(&leaving, &live, 0) {
            programs += 1;
            fewest = fewest.min(removal.before.len());
            for id in removal.listeners {
                layout.left(&[id]);
                leaving.remove(&id);
            }
        }
        assert!(leaving.is_empty(), "{} stay", leaving.len());
        (programs, fewest)
    }

    #[test]
    fn all_that_leave_together_leave_in_two_halves_while_half_of_the_live_serve() {
        for size in [2_u64, 3, 4, 100, 1_000] {
            let names: Vec<u64> = (0..2 * size).collect();
            let (old, new) = names.split_at(size as usize);
            let (programs, fewest) = programs(&names, old, new);
            assert!(programs <= 3, "{programs} for {size}");
            assert!(fewest >= size as usize / 2, "{fewest} of {size}");
        }
        let names: Vec<u64> = (0..1_000).collect();
        assert_eq!(programs(&names, &names[1..], &names[..1]), (1, 1));
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

        /// Takes some that are not live out, as many as leave at once; the answers are looked at before the
        /// first close, after each and at the end.
        fn remove(&mut self, choices: &[usize]) -> Result<(), TestCaseError> {
            let chosen = choices.iter().filter_map(|choice| self.pick(*choice));
            let leaving: BTreeSet<_> = chosen.filter(|id| !self.live.contains_key(id)).collect();
            let Some(removal) = self.layout.removal(&leaving, &self.live, 0) else {
                return Ok(());
            };
            prop_assert!(removal.listeners.iter().all(|id| leaving.contains(id)));
            self.group.attach(&removal.before);
            let right = |group: &Group, live: &Live| {
                prop_assert!(group.right(live), "{:?} in {group:?}", removal);
                Ok(())
            };
            right(&self.group, &self.live)?;
            for id in &removal.listeners {
                self.group.leave(*id);
                right(&self.group, &self.live)?;
                self.layout.left(&[*id]);
            }
            self.steer();
            right(&self.group, &self.live)
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
                    3 => world.remove(&choices)?,
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
                world.remove(&[choice])?;
            }
            prop_assert_eq!(world.group.order.len() as u64, new);
            prop_assert_eq!(world.group.answers(), world.live.keys().copied().collect());
        }

        /// As many guards as may leave by themselves are at the end. Whatever the order of these and of those that are
        /// closed meanwhile, nobody but the live is an answer.
        #[test]
        fn behind_guards_others_may_leave_in_any_order(
            old in 2_u64..6, new in 1_u64..6, leaves in any::<u8>(), closes in any::<u8>(),
            order in proptest::collection::vec(any::<usize>(), 16),
        ) {
            let chosen = |bits: u8| (0..old).filter(move |n| bits >> n & 1 == 1);
            let departing: BTreeSet<_> = chosen(leaves).map(ListenerId).collect();
            let leaving: BTreeSet<_> = chosen(closes & !leaves).map(ListenerId).collect();
            let mut world = World::default();
            (0..old + new + departing.len() as u64).for_each(|_| world.join());
            world.live = (old..old + new).map(|id| (ListenerId(id), 1)).collect();
            world.steer();
            let removal = world.layout.removal(&leaving, &world.live, departing.len());
            let closed = removal.map_or_else(Vec::new, |removal| {
                world.group.attach(&removal.before);
                removal.listeners
            });
            let mut closed = closed.into_iter().peekable();
            let mut departing: Vec<_> = departing.into_iter().collect();
            for choice in order {
                prop_assert!(world.group.right(&world.live), "{world:?}");
                let both = !departing.is_empty() && closed.peek().is_some();
                if departing.is_empty() || (both && choice % 2 == 0) {
                    closed.next().into_iter().for_each(|id| world.group.leave(id));
                } else {
                    world.group.leave(departing.swap_remove(choice % departing.len()));
                }
            }
            prop_assert!(world.group.right(&world.live), "{world:?}");
        }
    }
}
