//! What a session has written and seen, as positions of stores that later reads must contain.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;

use crate::stores::position::{Coverage, Position};
use crate::stores::{Connector, StoreName};

/// Most positions of one store that are kept. Where there would be more, one that is behind all of them is asked for.
const POSITIONS_MAX: usize = 8;

/// What a session has written and seen: for each store the positions that later reads must contain.
#[derive(Debug, Default)]
pub struct Required {
    stores: Mutex<BTreeMap<StoreName, Needs>>,
}

/// The same of one store.
#[derive(Debug, Default)]
struct Needs {
    /// None of them is known to be behind another.
    positions: Vec<Position>,
    /// What it has seen of copies. Later sets of this process have it.
    seen: Option<Arc<Position>>,
    /// Raised when something was done at a position that is not known.
    unknown: u64,
    /// Up to which of those a position was asked for.
    settled: u64,
    /// Whether something of an unknown outcome may still be committed: no position that was asked for is known to be behind it.
    is_fenced: bool,
    /// When a transaction of its own was known to be committed last, of which it may have been told before.
    wrote: Option<Instant>,
}

impl Needs {
    fn is_unsettled(&self) -> bool {
        self.is_fenced || self.unknown != self.settled
    }

    fn add(&mut self, position: Position) {
        if self.positions.contains(&position) {
            return;
        }
        if self.positions.len() >= POSITIONS_MAX {
            // Whatever is asked for now is behind all of them.
            self.positions.remove(0);
            self.unknown += 1;
        }
        self.positions.push(position);
    }
}

impl Required {
    fn stores(&self) -> MutexGuard<'_, BTreeMap<StoreName, Needs>> {
        // What a panic left behind are whole positions.
        self.stores.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Later reads must contain a position of a store.
    pub fn raise(&self, store: &StoreName, position: Position) {
        self.stores().entry(store.clone()).or_default().add(position);
    }

    /// The same, where the connector is at hand: positions that it has as behind this one are dropped.
    pub fn raise_by(&self, connector: &dyn Connector, position: Position) {
        let mut stores = self.stores();
        let needs = stores.entry(connector.name().clone()).or_default();
        if needs.positions.iter().any(|known| connector.covers(known, &position) == Coverage::Covered) {
            return;
        }
        needs.positions.retain(|known| connector.covers(&position, known) != Coverage::Covered);
        needs.add(position);
    }

    /// Something was read or written in the store at a position that nobody has asked for: the next read of a copy asks for one.
    pub fn unknown(&self, store: &StoreName) {
        self.stores().entry(store.clone()).or_default().unknown += 1;
    }

    /// A transaction may still be committed in the store, as far as is known: every read of a copy asks for a position from now on, until
    /// [`Required::clear`].
    pub fn fence(&self, store: &StoreName) {
        let mut stores = self.stores();
        let needs = stores.entry(store.clone()).or_default();
        needs.unknown += 1;
        needs.is_fenced = true;
    }

    /// A transaction of the session is committed in the store: what was read there since now has it.
    pub fn wrote(&self, store: &StoreName) {
        self.stores().entry(store.clone()).or_default().wrote = Some(Instant::now());
    }

    /// Whether what was read in stores since `began` has all that the session has committed there. `is_read`: whether a store was read.
    pub fn is_written_before(&self, began: Instant, is_read: impl Fn(&StoreName) -> bool) -> bool {
        let is_before = |needs: &Needs| !needs.is_fenced && needs.wrote.is_none_or(|wrote| wrote <= began);
        self.stores().iter().all(|(store, needs)| !is_read(store) || is_before(needs))
    }

    /// The positions that another session must contain to see no less than this one, as far as they have been asked for
    /// ([`Caches::settle`](super::Caches::settle)).
    pub fn positions(&self) -> BTreeMap<StoreName, Vec<Position>> {
        let stores = self.stores();
        let all = stores.iter().map(|(store, needs)| {
            let seen = needs.seen.as_deref().filter(|seen| !needs.positions.contains(seen));
            (store.clone(), needs.positions.iter().chain(seen).cloned().collect::<Vec<_>>())
        });
        all.filter(|(_, positions)| !positions.is_empty()).collect()
    }

    /// Stores where something was done at a position that is not known.
    pub fn unsettled(&self) -> Vec<StoreName> {
        let stores = self.stores();
        stores.iter().filter(|(_, needs)| needs.is_unsettled()).map(|(store, _)| store.clone()).collect()
    }

    /// Nothing is required any more.
    pub fn clear(&self) {
        self.stores().clear();
    }

    /// What is to be asked for: a mark to settle it with. `None`: nothing.
    pub(super) fn unsettled_at(&self, store: &StoreName) -> Option<u64> {
        self.stores().get(store).filter(|needs| needs.is_unsettled()).map(|needs| needs.unknown)
    }

    /// A position that was asked for after the mark was taken.
    pub(super) fn settle(&self, connector: &dyn Connector, mark: u64, position: &Position) {
        self.raise_by(connector, position.clone());
        let mut stores = self.stores();
        if let Some(needs) = stores.get_mut(connector.name()) {
            // Whatever the store has now is at or before this one: what is of another history will not come.
            needs.positions.retain(|known| connector.covers(position, known) != Coverage::Incomparable);
            // What was cleared in between is not to be found settled.
            needs.settled = needs.settled.max(mark.min(needs.unknown));
        }
    }

    /// How `applied` stands to everything that is required. What it covers is dropped, as later sets have it too.
    pub(super) fn judge(&self, connector: &dyn Connector, applied: Option<&Arc<Position>>) -> Coverage {
        let mut stores = self.stores();
        let Some(needs) = stores.get_mut(connector.name()).filter(|needs| !needs.positions.is_empty()) else {
            return Coverage::Covered;
        };
        let Some(applied) = applied else { return Coverage::Behind };
        let mut worst = Coverage::Covered;
        needs.positions.retain(|wanted| match connector.covers(applied, wanted) {
            Coverage::Covered => false,
            Coverage::Behind => {
                worst = Coverage::Behind;
                true
            }
            Coverage::Incomparable => {
                if worst == Coverage::Covered {
                    worst = Coverage::Incomparable;
                }
                true
            }
        });
        // For whom this session tells its positions to.
        needs.seen = Some(Arc::clone(applied));
        worst
    }

    /// How `applied` stands to everything that is required, and to what was seen of copies; nothing is dropped.
    pub(super) fn coverage(&self, connector: &dyn Connector, applied: &Position) -> Coverage {
        let stores = self.stores();
        let Some(needs) = stores.get(connector.name()) else { return Coverage::Covered };
        let all = needs.positions.iter().chain(needs.seen.as_deref());
        all.fold(Coverage::Covered, |worst, wanted| match (worst, connector.covers(applied, wanted)) {
            (Coverage::Behind, _) | (_, Coverage::Behind) => Coverage::Behind,
            (Coverage::Incomparable, _) | (_, Coverage::Incomparable) => Coverage::Incomparable,
            (Coverage::Covered, Coverage::Covered) => Coverage::Covered,
        })
    }

    /// Whether a set has all that is required, as far as that is known without asking anybody; it counts as seen then. `covers` tells whether it
    /// has a position.
    pub(super) fn admits(
        &self,
        store: &StoreName,
        position: Option<&Arc<Position>>,
        covers: impl Fn(&Position, &Position) -> Coverage,
    ) -> bool {
        let mut stores = self.stores();
        let Some(needs) = stores.get_mut(store) else {
            drop(stores);
            self.see(store, position);
            return true;
        };
        let has = |wanted: &Position| position.is_some_and(|position| covers(position, wanted) == Coverage::Covered);
        let is_met = !needs.is_unsettled() && needs.positions.iter().all(has);
        if let (true, Some(position)) = (is_met, position) {
            // Later sets have it too.
            needs.positions.clear();
            if !needs.seen.as_ref().is_some_and(|seen| Arc::ptr_eq(seen, position)) {
                needs.seen = Some(Arc::clone(position));
            }
        }
        is_met
    }

    /// A set was read.
    pub(super) fn see(&self, store: &StoreName, position: Option<&Arc<Position>>) {
        if let Some(position) = position {
            self.stores().entry(store.clone()).or_default().seen = Some(Arc::clone(position));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::changes::fakes::{FakeStore, position_of};

    #[test]
    fn positions_that_are_behind_others_are_dropped_and_the_list_has_an_end() {
        let (required, store) = (Required::default(), FakeStore::new("shop"));
        let name = store.name().clone();
        let at = |number| position_of(&name, number);
        required.raise_by(&*store, at(3));
        required.raise_by(&*store, at(5));
        required.raise_by(&*store, at(4));
        assert_eq!(required.positions(), BTreeMap::from([(name.clone(), vec![at(5)])]));
        assert!(required.unsettled().is_empty());
        for number in 10..10 + u64::try_from(POSITIONS_MAX).unwrap() {
            required.raise(&name, at(number));
        }
        let positions = required.positions().remove(&name).unwrap();
        assert_eq!((positions.len(), positions[0].clone()), (POSITIONS_MAX, at(10)));
        assert_eq!(required.unsettled(), std::slice::from_ref(&name), "what was dropped is asked for");
        required.clear();
        assert!(required.positions().is_empty() && required.unsettled().is_empty());
    }

    #[test]
    fn what_was_read_before_the_session_wrote_has_not_got_it() {
        let (required, shop, crm) = (Required::default(), StoreName::new("shop"), StoreName::new("crm"));
        let before = Instant::now();
        let is_shop = |store: &StoreName| *store == shop;
        assert!(required.is_written_before(before, is_shop));
        while Instant::now() == before {}
        required.wrote(&shop);
        assert!(!required.is_written_before(before, is_shop) && required.is_written_before(Instant::now(), is_shop));
        assert!(required.is_written_before(before, |store| *store == crm), "it has read another store");
        // Nobody knows when that is committed.
        required.fence(&crm);
        assert!(!required.is_written_before(Instant::now(), |_store| true));
        required.clear();
        assert!(required.is_written_before(before, |_store| true));
    }

    #[test]
    fn what_is_covered_is_dropped_and_what_cannot_be_compared_is_not() {
        let (required, store) = (Required::default(), FakeStore::new("shop"));
        let name = store.name().clone();
        let applied = |number| Arc::new(position_of(&name, number));
        assert_eq!(required.judge(&*store, None), Coverage::Covered, "nothing is required");
        required.raise(&name, position_of(&name, 3));
        assert_eq!(required.judge(&*store, None), Coverage::Behind);
        assert_eq!(required.judge(&*store, Some(&applied(2))), Coverage::Behind);
        required.raise(&name, Position { store: name.clone(), token: b"other".to_vec() });
        assert_eq!(required.judge(&*store, Some(&applied(3))), Coverage::Incomparable);
        assert_eq!(required.judge(&*store, Some(&applied(9))), Coverage::Incomparable);
        // What was seen is told to others.
        assert!(required.positions()[&name].contains(&position_of(&name, 9)));
    }

    #[test]
    fn results_must_have_what_copies_have_shown_too() {
        let (required, store) = (Required::default(), FakeStore::new("shop"));
        let name = store.name().clone();
        let at = |number| position_of(&name, number);
        assert_eq!(required.coverage(&*store, &at(1)), Coverage::Covered);
        required.raise(&name, at(3));
        assert_eq!((required.coverage(&*store, &at(2)), required.coverage(&*store, &at(3))), (Coverage::Behind, Coverage::Covered));
        // A copy that has it takes it out of what is required, and was seen.
        assert_eq!(required.judge(&*store, Some(&Arc::new(at(5)))), Coverage::Covered);
        assert_eq!((required.coverage(&*store, &at(4)), required.coverage(&*store, &at(5))), (Coverage::Behind, Coverage::Covered));
        required.raise(&name, Position { store: name.clone(), token: b"other".to_vec() });
        assert_eq!(required.coverage(&*store, &at(9)), Coverage::Incomparable);
    }

    #[test]
    fn what_comes_while_a_position_is_asked_for_is_asked_for_again() {
        let (required, store) = (Required::default(), FakeStore::new("shop"));
        let name = store.name().clone();
        assert_eq!(required.unsettled_at(&name), None);
        required.unknown(&name);
        let mark = required.unsettled_at(&name).unwrap();
        required.unknown(&name);
        required.settle(&*store, mark, &position_of(&name, 3));
        let later = required.unsettled_at(&name).unwrap();
        assert_ne!(mark, later);
        required.settle(&*store, later, &position_of(&name, 4));
        assert_eq!(required.unsettled_at(&name), None);
        assert_eq!(required.positions()[&name], [position_of(&name, 4)]);
    }

    #[test]
    fn behind_a_fence_every_read_asks() {
        let (required, store) = (Required::default(), FakeStore::new("shop"));
        let name = store.name().clone();
        required.fence(&name);
        for number in 3..6 {
            let mark = required.unsettled_at(&name).unwrap();
            required.settle(&*store, mark, &position_of(&name, number));
            assert_eq!(required.unsettled(), std::slice::from_ref(&name));
        }
        required.clear();
        assert_eq!(required.unsettled_at(&name), None);
    }

    /// What a session may have done.
    type Done = (&'static str, fn(&Required, &FakeStore));

    #[test]
    fn what_is_admitted_without_asking_is_what_a_judgement_without_a_question_admits() {
        let states: [Done; 12] = [
            ("nothing", |_, _| {}),
            ("one position", |required, store| required.raise(store.name(), position_of(store.name(), 3))),
            ("several", |required, store| {
                required.raise(store.name(), position_of(store.name(), 3));
                required.raise(store.name(), position_of(store.name(), 5));
            }),
            ("a copy was seen", |required, store| {
                required.see(store.name(), Some(&Arc::new(position_of(store.name(), 2))));
            }),
            ("another history", |required, store| {
                required.raise(store.name(), position_of(store.name(), 3));
                required.raise(store.name(), Position { store: store.name().clone(), token: b"other".to_vec() });
            }),
            ("something unknown", |required, store| required.unknown(store.name())),
            ("something unknown behind a position", |required, store| {
                required.raise(store.name(), position_of(store.name(), 3));
                required.unknown(store.name());
            }),
            ("asked for", |required, store| {
                required.unknown(store.name());
                required.settle(store, 1, &position_of(store.name(), 4));
            }),
            ("asked for too early", |required, store| {
                required.unknown(store.name());
                required.settle(store, 1, &position_of(store.name(), 4));
                required.unknown(store.name());
            }),
            ("fenced", |required, store| required.fence(store.name())),
            ("fenced and asked for", |required, store| {
                required.fence(store.name());
                required.settle(store, 1, &position_of(store.name(), 1));
            }),
            ("forgotten", |required, store| {
                required.raise(store.name(), position_of(store.name(), 9));
                required.fence(store.name());
                required.clear();
            }),
        ];
        let mut counts = (0, 0);
        for (what, did) in states {
            for number in [None, Some(2), Some(4), Some(20)] {
                let store = FakeStore::new("shop");
                let name = store.name();
                let applied = number.map(|number| Arc::new(position_of(name, number)));
                let (asked, judged) = (Required::default(), Required::default());
                did(&asked, &store);
                did(&judged, &store);
                let before = (asked.positions(), asked.unsettled());
                let is_admitted = asked.admits(name, applied.as_ref(), |position, wanted| store.covers(position, wanted));
                let is_judged = judged.unsettled_at(name).is_none() && judged.judge(&*store, applied.as_ref()) == Coverage::Covered;
                assert_eq!(is_admitted, is_judged, "{what}, at {number:?}");
                if is_admitted {
                    judged.see(name, applied.as_ref());
                    assert_eq!(asked.positions(), judged.positions(), "{what}, at {number:?}");
                    counts.0 += 1;
                } else {
                    assert_eq!((asked.positions(), asked.unsettled()), before, "{what}, at {number:?}");
                    counts.1 += 1;
                }
            }
        }
        assert!(counts.0 > 10 && counts.1 > 10, "{counts:?}");
    }
}
