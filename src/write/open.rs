//! Transactions of this process that have not ended in every store, and the names of their branches: those under way here, and those
//! that whoever looks after the stores ends later.
//!
//! A round of the recovery lists what the stores hold first, and looks each name up here afterwards: a name is entered before its store
//! is asked to prepare, so one that was listed and is unknown here is of nobody who could still decide, and is rolled back.
//!
//! **Invariants:** a name leaves what is under way only when its store has ended it, or together with its fate, or when its
//! transaction is rolled back; a task that dies leaves with what was certain when it died.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::log::{Fate, Left, Named};
use crate::stores::StoreName;
use crate::stores::commit::{BranchId, Gid, LogId, MarkId};

/// Most marks that wait for being removed; later ones stay in their stores.
const MARKS_MAX: usize = 100_000;

/// What is known here of a branch that a store has listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// Its transaction is under way here, and nobody else ends it.
    UnderWay,
    /// Its transaction ends so.
    Left(Left),
    /// Nothing: where its log is ours, it is to be rolled back.
    Unknown,
}

/// All of them.
#[derive(Debug, Default)]
pub struct Open(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    under_way: BTreeMap<Gid, Vec<Named>>,
    left: BTreeMap<Gid, Left>,
    /// The names of both, by what stores list.
    names: BTreeMap<BranchId, Gid>,
    /// What was found open in a log that was taken, and is under way here.
    found: BTreeMap<Gid, Left>,
    marks: VecDeque<(StoreName, MarkId)>,
}

impl Inner {
    fn leave(&mut self, gid: Gid) -> Vec<Named> {
        let branches = self.under_way.remove(&gid).unwrap_or_default();
        for branch in &branches {
            self.names.remove(&branch.id);
        }
        branches
    }

    fn keep(&mut self, left: Left) {
        self.names.extend(left.branches.iter().map(|branch| (branch.id, left.gid)));
        self.left.insert(left.gid, left);
    }
}

impl Open {
    /// What a log had in it when it was opened.
    pub fn new(left: Vec<Left>) -> Arc<Self> {
        let open = Self::default();
        left.into_iter().for_each(|left| open.inner().keep(left));
        Arc::new(open)
    }

    /// What was found open in a log that was taken. What is under way here counts once that is over: nothing of it may be in the log
    /// any more then, or what its task could not tell it.
    pub fn adopt(&self, left: Left) {
        let mut inner = self.inner();
        if inner.under_way.contains_key(&left.gid) {
            inner.found.insert(left.gid, left);
        } else if !inner.left.contains_key(&left.gid) {
            inner.keep(left);
        }
    }

    /// A transaction begins; no store has been asked yet.
    pub fn enter(self: &Arc<Self>, gid: Gid, branches: Vec<Named>) -> UnderWay {
        let mut inner = self.inner();
        inner.names.extend(branches.iter().map(|branch| (branch.id, gid)));
        inner.under_way.insert(gid, branches);
        UnderWay { open: Arc::clone(self), gid, fate: Fate::Abort, mark: None }
    }

    /// What is known of a branch that was listed before this is asked.
    pub fn standing(&self, id: &BranchId) -> Standing {
        let inner = self.inner();
        let Some(gid) = inner.names.get(id) else { return Standing::Unknown };
        inner.left.get(gid).map_or(Standing::UnderWay, |left| Standing::Left(left.clone()))
    }

    /// Whether a transaction is under way here.
    pub fn is_under_way(&self, gid: Gid) -> bool {
        self.inner().under_way.contains_key(&gid)
    }

    /// The transactions that are to be ended.
    pub fn left(&self) -> Vec<Left> {
        self.inner().left.values().cloned().collect()
    }

    /// Whether nothing is to be ended.
    pub fn has_left(&self) -> bool {
        !self.inner().left.is_empty()
    }

    /// The logs of everything that is under way or to be ended here, and of the marks that may be removed.
    pub fn logs(&self) -> BTreeSet<LogId> {
        let inner = self.inner();
        let gids = inner.under_way.keys().chain(inner.left.keys()).chain(inner.found.keys());
        let marks = inner.marks.iter().map(|(_, mark)| mark.gid.log);
        gids.map(|gid| gid.log).chain(inner.names.keys().map(|id| id.log)).chain(marks).collect()
    }

    /// More is known of how a transaction ends.
    pub fn decided(&self, gid: Gid, fate: Fate) {
        if let Some(left) = self.inner().left.get_mut(&gid) {
            left.fate = fate;
        }
    }

    /// A transaction has ended in every store, and the log has been told.
    pub fn done(&self, gid: Gid) {
        let mut inner = self.inner();
        if let Some(left) = inner.left.remove(&gid) {
            for branch in &left.branches {
                inner.names.remove(&branch.id);
            }
        }
    }

    /// A mark of a transaction whose `Done` was given to the log. It may be removed once that is on disk: what was given to the log
    /// before a forced record is.
    pub fn forget_later(&self, store: StoreName, mark: MarkId) {
        let mut inner = self.inner();
        if inner.marks.len() < MARKS_MAX {
            inner.marks.push_back((store, mark));
        }
    }

    /// Takes the marks that may be removed, at most so many.
    pub fn take_marks(&self, most: usize) -> Vec<(StoreName, MarkId)> {
        let mut inner = self.inner();
        let count = most.min(inner.marks.len());
        inner.marks.drain(..count).collect()
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A transaction under way, until this is dropped. It leaves with the fate that was believed last.
#[derive(Debug)]
pub struct UnderWay {
    open: Arc<Open>,
    gid: Gid,
    fate: Fate,
    mark: Option<StoreName>,
}

impl UnderWay {
    /// What becomes of the transaction if nothing more is heard of this task. Rolled back at first.
    pub fn believe(&mut self, fate: Fate) {
        self.fate = fate;
    }

    /// Whether it is rolled back if nothing more is heard.
    pub fn is_rolled_back(&self) -> bool {
        self.fate == Fate::Abort
    }

    /// There is a mark of the whole transaction in a store, or may be.
    pub fn marked(&mut self, store: &StoreName) {
        self.mark = Some(store.clone());
    }

    /// It has ended in every store.
    pub fn ended(mut self) {
        self.fate = Fate::Abort;
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let fate = std::mem::replace(&mut self.fate, Fate::Abort);
        let mut inner = self.open.inner();
        let branches = inner.leave(self.gid);
        let found = inner.found.remove(&self.gid);
        // Nothing is remembered of what is rolled back: a name that nobody knows is.
        if fate != Fate::Abort {
            inner.keep(Left { gid: self.gid, fate, branches, mark: self.mark.take() });
        } else if let Some(found) = found {
            inner.keep(found);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn begun(open: &Arc<Open>, number: u64) -> (UnderWay, BranchId) {
        let (gid, store) = (Gid { log: LogId(1), number }, StoreName::new("a"));
        let id = gid.of_store(&store);
        (open.enter(gid, vec![Named { store, id }]), id)
    }

    #[test]
    fn names_are_known_until_their_transaction_has_ended() {
        let open = Open::new(Vec::new());
        let (under_way, id) = begun(&open, 1);
        assert_eq!((open.standing(&id), open.is_under_way(Gid { log: LogId(1), number: 1 })), (Standing::UnderWay, true));
        under_way.ended();
        assert_eq!((open.standing(&id), open.has_left()), (Standing::Unknown, false));
        let (under_way, id) = begun(&open, 2);
        drop(under_way);
        assert_eq!(open.standing(&id), Standing::Unknown, "presumed to be rolled back");
        let (mut under_way, id) = begun(&open, 3);
        under_way.marked(&StoreName::new("z"));
        under_way.believe(Fate::Commit);
        drop(under_way);
        let gid = Gid { log: LogId(1), number: 3 };
        let Standing::Left(left) = open.standing(&id) else { panic!("{:?}", open.standing(&id)) };
        assert_eq!((left.fate, left.mark, open.is_under_way(gid)), (Fate::Commit, Some(StoreName::new("z")), false));
        open.done(gid);
        assert_eq!((open.standing(&id), open.left()), (Standing::Unknown, Vec::new()));
    }

    #[test]
    fn a_task_that_dies_leaves_what_it_believed() {
        let open = Open::new(Vec::new());
        let (mut under_way, id) = begun(&open, 1);
        let died = std::panic::catch_unwind(std::panic::AssertUnwindSafe(move || {
            under_way.believe(Fate::Unwritten);
            panic!("a fault");
        }));
        assert!(died.is_err());
        assert!(matches!(open.standing(&id), Standing::Left(Left { fate: Fate::Unwritten, .. })));
        open.decided(Gid { log: LogId(1), number: 1 }, Fate::Commit);
        assert!(matches!(open.standing(&id), Standing::Left(Left { fate: Fate::Commit, .. })));
        assert_eq!(Open::new(open.left()).standing(&id), open.standing(&id));
    }

    #[test]
    fn what_was_found_in_a_log_counts_once_it_is_not_under_way() {
        let open = Open::new(Vec::new());
        let (under_way, id) = begun(&open, 1);
        let gid = Gid { log: LogId(1), number: 1 };
        let found = |fate| Left { gid, fate, branches: vec![Named { store: StoreName::new("a"), id }], mark: None };
        open.adopt(found(Fate::Commit));
        assert_eq!((open.standing(&id), open.has_left()), (Standing::UnderWay, false));
        under_way.ended();
        assert_eq!(open.standing(&id), Standing::Left(found(Fate::Commit)));
        open.adopt(found(Fate::Abort));
        assert_eq!(open.left(), [found(Fate::Commit)], "it is known already");
        open.done(gid);
        assert_eq!(open.standing(&id), Standing::Unknown);
    }

    #[test]
    fn a_log_is_needed_as_long_as_anything_of_it_is_here() {
        let open = Open::new(Vec::new());
        let (mut under_way, _) = begun(&open, 1);
        let (gid, needed) = (Gid { log: LogId(1), number: 1 }, BTreeSet::from([LogId(1)]));
        assert_eq!(open.logs(), needed);
        under_way.believe(Fate::Commit);
        drop(under_way);
        assert_eq!(open.logs(), needed);
        open.forget_later(StoreName::new("a"), MarkId { gid, of: crate::stores::commit::MarkOf::All });
        open.done(gid);
        assert_eq!(open.logs(), needed);
        open.take_marks(1);
        assert!(open.logs().is_empty());
    }

    #[test]
    fn marks_wait_up_to_a_bound() {
        let open = Open::default();
        let mark = |number| MarkId { gid: Gid { log: LogId(1), number }, of: crate::stores::commit::MarkOf::All };
        for number in 0..5 {
            open.forget_later(StoreName::new("a"), mark(number));
        }
        assert_eq!(open.take_marks(2).into_iter().map(|(_, mark)| mark.gid.number).collect::<Vec<_>>(), [0, 1]);
        assert_eq!(open.take_marks(9).len(), 3);
        assert!(open.take_marks(9).is_empty());
    }
}
