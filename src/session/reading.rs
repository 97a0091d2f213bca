//! What the reads of a session must contain: what a statement asks of copies, and what is noted of what the session has written and seen.
//!
//! ```text
//! settings + Past → Wants → Branches (one decision for a store and statement) → a copy, or the store
//! rows that were read in a store → Seen → Past            the end of a transaction → Past
//! ```
//!
//! **Invariants:** everything is noted before the client is told what came of it; what is noted is never older than what was written or
//! seen, so that a later read of a copy contains it; a statement that writes reads no copies.

mod token;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::future::join_all;

use super::settings::{CONSISTENCY, Freshness, MAX_STALENESS};
use super::{Session, Shared};
use crate::cache::{Caches, Consistency, Required, Wants};
use crate::catalog::Snapshot;
use crate::error::{Diagnosis, sqlstate};
use crate::federation::branches::{BranchKind, Branches};
use crate::stores::position::Position;
use crate::stores::schema::TableId;
use crate::stores::{StoreError, StoreName};
use crate::write::commit::Committed;

/// What is noted of a store.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Mark {
    /// Everything up to there.
    At(Position),
    /// Everything until now: a position is asked for when one is needed.
    Unknown,
    /// The same, of a store that may have more to commit than has been told.
    Fence,
}

/// What a session has written and seen.
#[derive(Debug, Clone)]
pub struct Past {
    caches: Arc<Caches>,
    required: Arc<Required>,
    /// Stores of which a position would have to be asked for before all of it could be told to others.
    unasked: Arc<Mutex<BTreeSet<StoreName>>>,
}

impl Past {
    /// Of a session that begins.
    pub(super) fn new(caches: &Arc<Caches>) -> Self {
        Self { caches: Arc::clone(caches), required: Arc::default(), unasked: Arc::default() }
    }

    fn unasked(&self) -> MutexGuard<'_, BTreeSet<StoreName>> {
        // What a panic left behind is still a set of names.
        self.unasked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn mark(&self, store: &StoreName, mark: Mark) {
        match mark {
            Mark::At(position) => return self.required.raise(store, position),
            Mark::Unknown => self.required.unknown(store),
            Mark::Fence => self.required.fence(store),
        }
        let mut unasked = self.unasked();
        if !unasked.contains(store) {
            unasked.insert(store.clone());
        }
    }

    /// The client is about to be told what these stores have, and not their copies. Where nothing of a store is cached nothing is noted: a
    /// copy that is filled later has what was there before.
    pub(super) fn heard_of<'s>(&self, stores: impl IntoIterator<Item = &'s StoreName>) {
        let cached = stores.into_iter().filter(|store| self.caches.wants(store));
        cached.for_each(|store| self.mark(store, Mark::Unknown));
    }

    /// The same of what a statement has read until now.
    pub(super) fn read(&self, branches: &Branches) {
        if !self.caches.is_empty() {
            self.heard_of(&branches.read_directly());
        }
    }

    /// Takes note of what rows are read through `branches`.
    pub(super) fn through(&self, branches: &Arc<Branches>) -> Seen {
        Seen { past: self.clone(), source: Source::Branches(Arc::clone(branches)) }
    }

    /// Takes note of rows that are read of one store.
    pub(super) fn of_store(&self, store: &StoreName) -> Seen {
        Seen { past: self.clone(), source: Source::Store(store.clone()) }
    }

    /// A transaction has ended, or has been given up, that has had these stores open to write: what it has read there counts too. `asked`
    /// says whether it was to be kept.
    pub(super) fn ended(&self, stores: &[StoreName], asked: bool, outcome: &Result<Committed, Diagnosis>) {
        stores.iter().for_each(|store| self.mark(store, mark_of(store, asked, outcome)));
    }

    /// What a transaction holds in these stores is given up.
    pub(super) fn given_up(&self, stores: &[StoreName]) {
        self.heard_of(stores);
    }

    /// A store has committed a statement by itself, or may have.
    pub(super) fn by_itself(&self, store: &StoreName, failed: Option<&Diagnosis>) {
        self.mark(store, if failed.is_some_and(is_unknown) { Mark::Fence } else { Mark::Unknown });
    }

    /// The token of all of it. Stores are asked for positions where that is due.
    ///
    /// # Errors
    /// What a store answered: without its position the token would promise less. 54000 for more than a token may hold.
    async fn token<A>(&self, ask: impl Fn(StoreName) -> A) -> Result<String, Diagnosis>
    where
        A: Future<Output = Result<Position, StoreError>>,
    {
        let unasked: Vec<StoreName> = self.unasked().iter().cloned().collect();
        let answers = join_all(unasked.iter().cloned().map(ask)).await;
        for (store, answer) in unasked.iter().zip(answers) {
            match answer {
                Ok(position) => {
                    self.required.raise(store, position);
                    self.unasked().remove(store);
                }
                // Nobody has copies of a store that is not followed.
                Err(StoreError::Unsupported { .. }) => {}
                Err(error) => return Err(Diagnosis::of(&error)),
            }
        }
        token::encode(&self.required.positions())
    }

    /// Adds a token to what is required: `SET tributary.token`. An empty text forgets all that was required until now.
    ///
    /// # Errors
    /// 22023 for what is no token, 54000 for one that is too long, or is with what is required already; nothing has changed then.
    pub(super) fn take_token(&self, text: &str) -> Result<(), Diagnosis> {
        if text.is_empty() {
            self.required.clear();
            self.unasked().clear();
            return Ok(());
        }
        let given = token::decode(text)?;
        token::union(self.required.positions(), &given)?;
        for (store, positions) in given {
            positions.into_iter().for_each(|position| self.required.raise(&store, position));
        }
        Ok(())
    }
}

/// What follows for a store from the end of a transaction.
fn mark_of(store: &StoreName, asked: bool, outcome: &Result<Committed, Diagnosis>) -> Mark {
    match outcome {
        // It has promised to commit and has not said that it has: it follows.
        Ok(committed) if committed.late.contains(store) || committed.missing.contains(store) => Mark::Fence,
        Ok(committed) => {
            let own = committed.positions.iter().find(|position| position.store == *store);
            own.map_or(Mark::Unknown, |position| Mark::At(position.clone()))
        }
        Err(error) if asked && is_unknown(error) => Mark::Fence,
        Err(_) => Mark::Unknown,
    }
}

/// Whether an error leaves open what its store has committed.
fn is_unknown(error: &Diagnosis) -> bool {
    error.sqlstate.starts_with("08")
}

/// Takes note of where rows come from, while they are read.
#[derive(Debug, Clone)]
pub struct Seen {
    past: Past,
    source: Source,
}

/// Where rows come from.
#[derive(Debug, Clone)]
enum Source {
    /// The stores that these have read.
    Branches(Arc<Branches>),
    /// This one.
    Store(StoreName),
}

impl Seen {
    /// Some of the rows have been read, or none are left: the client is about to be told.
    pub(super) fn note(&self) {
        match &self.source {
            Source::Branches(branches) => self.past.read(branches),
            Source::Store(store) => self.past.heard_of([store]),
        }
    }
}

/// Where a store is now, in the terms of its feed.
async fn position(shared: Arc<Shared>, snapshot: Arc<Snapshot>, store: StoreName) -> Result<Position, StoreError> {
    let none = || StoreError::Unsupported { store: store.to_string(), feature: "feeds of changes" };
    let follow = shared.feeds.follow(&store).ok_or_else(none)?;
    let connector = snapshot.connectors.get(&store).ok_or_else(none)?;
    connector.position(shared.feeds.instance(), &follow).await
}

impl Shared {
    /// The branches of a statement that only reads: of copies too, where `wants` says what they must have.
    pub(super) fn reading(&self, snapshot: &Snapshot, wants: Option<&Arc<Wants>>) -> Branches {
        let branches = self.branches(snapshot, BranchKind::Statement);
        match wants {
            Some(wants) => branches.with_copies(Arc::clone(&self.caches), Arc::clone(wants)),
            None => branches,
        }
    }
}

impl Session {
    /// What later reads must contain, for another session: `SHOW tributary.token`.
    ///
    /// # Errors
    /// What a store answered that was asked where it is; 54000 for more than a token may hold.
    pub(super) async fn token(&mut self) -> Result<String, Diagnosis> {
        let (shared, snapshot) = (Arc::clone(&self.shared), self.snapshot());
        self.past.token(|store| position(Arc::clone(&shared), Arc::clone(&snapshot), store)).await
    }

    /// The branches of the next statement, which only reads.
    ///
    /// # Errors
    /// 22023 for a bound of staleness without its measure.
    pub(super) fn branches(&mut self, snapshot: &Snapshot) -> Result<Arc<Branches>, Diagnosis> {
        let (waits, wants) = (self.lock_waits(), self.wants()?);
        Ok(match &mut self.block {
            Some(block) => {
                (block.used, block.waits) = (true, waits);
                block.statement_branches(snapshot, &self.shared, wants.as_ref())
            }
            None => Arc::new(self.shared.reading(snapshot, wants.as_ref())),
        })
    }

    /// Whether a statement by itself would be answered from a copy of a table, if that is fresh enough.
    pub(super) fn is_offered(&self, store: &StoreName, table: &TableId) -> bool {
        self.settings.freshness().consistency != Consistency::Store && self.shared.caches.offered(store, table)
    }

    /// What the next statement asks of copies; `None` where it reads none.
    fn wants(&self) -> Result<Option<Arc<Wants>>, Diagnosis> {
        let Freshness { consistency, max_staleness, on_stale } = self.settings.freshness();
        if consistency == Consistency::Bounded && max_staleness.is_none() {
            let message = format!("{CONSISTENCY} = bounded needs {MAX_STALENESS}");
            return Err(Diagnosis::new(sqlstate::INVALID_PARAMETER_VALUE, message)
                .with_hint(format!("Set it before reading: SET {MAX_STALENESS} = '1s'.")));
        }
        if consistency == Consistency::Store || self.shared.caches.is_empty() {
            return Ok(None);
        }
        let (deadline, session) = (self.guard.deadline, Arc::clone(&self.past.required));
        Ok(Some(Arc::new(Wants { consistency, max_staleness, on_stale, deadline, session })))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::{CacheEntry, CacheSettings};
    use crate::changes::Feeds;
    use crate::changes::fakes::{FakeStore, table_of};
    use crate::stores::Connector;
    use crate::write::commit::{Guarantee, unknown};

    fn position(store: &str, token: u8) -> Position {
        Position { store: StoreName::new(store), token: vec![token] }
    }

    fn stores(names: &[&str]) -> Vec<StoreName> {
        names.iter().map(|name| StoreName::new(name)).collect()
    }

    fn committed(positions: &[(&str, u8)]) -> Committed {
        let positions = positions.iter().map(|(store, token)| position(store, *token)).collect();
        Committed::of(Guarantee::Saga(stores(&["a", "b"])), None, positions)
    }

    fn past() -> Past {
        Past::new(&Caches::none())
    }

    fn unasked(past: &Past) -> Vec<String> {
        past.unasked().iter().map(StoreName::to_string).collect()
    }

    /// The positions of a store that are required.
    fn required(past: &Past, store: &str) -> Vec<Position> {
        past.required.positions().remove(&StoreName::new(store)).unwrap_or_default()
    }

    #[test]
    fn a_commit_marks_each_store_by_what_is_known_of_it() {
        let a = StoreName::new("a");
        let mark = |asked, outcome: Result<Committed, Diagnosis>| mark_of(&a, asked, &outcome);
        let failed = |code: &str| Err(Diagnosis::new(code, "failed"));
        assert_eq!(mark(true, Ok(committed(&[("b", 2), ("a", 1)]))), Mark::At(position("a", 1)));
        // Of stores that share a connection one tells.
        assert_eq!(mark(true, Ok(committed(&[("b", 2)]))), Mark::Unknown);
        let late = Committed { late: stores(&["a"]), ..committed(&[("a", 1)]) };
        assert_eq!(mark(true, Ok(late)), Mark::Fence);
        let missing = Committed { missing: stores(&["a"]), ..committed(&[]) };
        assert_eq!(mark(true, Ok(missing)), Mark::Fence);
        assert_eq!(mark(true, failed(sqlstate::TRANSACTION_RESOLUTION_UNKNOWN)), Mark::Fence);
        let gid = crate::stores::commit::Gid { log: crate::stores::commit::LogId(1), number: 2 };
        assert_eq!(mark(true, Err(unknown(gid))), Mark::Fence);
        assert_eq!(mark(true, failed(sqlstate::CONNECTION_FAILURE)), Mark::Fence);
        // What was rolled back had read something.
        assert_eq!(mark(true, failed(sqlstate::SERIALIZATION_FAILURE)), Mark::Unknown);
        assert_eq!(mark(false, Ok(committed(&[]))), Mark::Unknown);
        assert_eq!(mark(false, failed(sqlstate::CONNECTION_FAILURE)), Mark::Unknown);
    }

    #[test]
    fn positions_are_required_and_what_has_none_is_asked_for_later() {
        let past = past();
        past.ended(&stores(&["a", "b"]), true, &Ok(committed(&[("a", 1)])));
        assert_eq!((required(&past, "a"), required(&past, "b")), (vec![position("a", 1)], Vec::new()));
        assert_eq!(unasked(&past), ["b"]);
        past.by_itself(&StoreName::new("c"), None);
        past.by_itself(&StoreName::new("d"), Some(&Diagnosis::new(sqlstate::TRANSACTION_RESOLUTION_UNKNOWN, "lost")));
        assert_eq!(unasked(&past), ["b", "c", "d"]);
    }

    #[test]
    fn reads_are_noted_of_stores_with_cached_tables() {
        let past = past();
        past.heard_of(&stores(&["a"]));
        past.of_store(&StoreName::new("a")).note();
        past.through(&Arc::new(Branches::none())).note();
        past.given_up(&stores(&["a"]));
        assert!(unasked(&past).is_empty());
        let caches = Caches::new(Feeds::none(), CacheSettings::default());
        let connector: Arc<dyn Connector> = FakeStore::new("a");
        let tables = vec![table_of("orders")];
        caches.replace(vec![CacheEntry { connector, tables, kept_back: Vec::new(), labels: Arc::new(|_table| None) }]);
        let past = Past::new(&caches);
        past.of_store(&StoreName::new("b")).note();
        assert!(unasked(&past).is_empty());
        past.of_store(&StoreName::new("a")).note();
        assert_eq!(unasked(&past), ["a"]);
    }

    /// The token of what a session has done, where nobody follows any store.
    async fn token(past: &Past) -> String {
        let unsupported = |store: StoreName| StoreError::Unsupported { store: store.to_string(), feature: "feeds of changes" };
        past.token(|store| std::future::ready(Err(unsupported(store)))).await.unwrap()
    }

    #[tokio::test]
    async fn a_token_carries_what_is_required_to_another_session() {
        let (one, other) = (past(), past());
        one.ended(&stores(&["a", "b"]), true, &Ok(committed(&[("a", 1), ("b", 2)])));
        other.ended(&stores(&["c"]), true, &Ok(committed(&[("c", 3)])));
        other.take_token(&token(&one).await).unwrap();
        assert_eq!(required(&other, "a"), [position("a", 1)]);
        assert_eq!(required(&other, "b"), [position("b", 2)]);
        assert_eq!(required(&other, "c"), [position("c", 3)], "what it has done itself stays");
        let before = other.required.positions();
        assert_eq!(other.take_token("no token").unwrap_err().sqlstate, "22023");
        assert_eq!(other.required.positions(), before);
        // A token of nothing takes nothing away; no token forgets.
        other.take_token(&token(&past()).await).unwrap();
        assert_eq!(other.required.positions(), before);
        other.by_itself(&StoreName::new("d"), None);
        other.take_token("").unwrap();
        assert!(other.required.positions().is_empty() && unasked(&other).is_empty());
    }

    #[tokio::test]
    async fn a_token_has_the_positions_that_stores_are_asked_for() {
        let past = past();
        past.ended(&stores(&["a", "b"]), true, &Ok(committed(&[("a", 1)])));
        let told = past.token(|store| std::future::ready(Ok(position(store.as_str(), 7)))).await.unwrap();
        let carried = token::decode(&told).unwrap();
        let expected = [("a", 1), ("b", 7)].map(|(store, token)| (StoreName::new(store), vec![position(store, token)]));
        assert_eq!(carried, expected.into_iter().collect());
        assert!(unasked(&past).is_empty(), "nobody is asked twice");
        // A store that does not answer is not left out.
        past.by_itself(&StoreName::new("c"), None);
        let lost = StoreError::ConnectionLost { store: "c".to_owned(), reason: "Reset.".to_owned() };
        let failed = past.token(|_store| std::future::ready(Err(lost.clone()))).await.unwrap_err();
        assert_eq!((failed.sqlstate.as_str(), unasked(&past)), ("08006", vec!["c".to_owned()]));
    }

    #[tokio::test]
    async fn a_token_says_nothing_of_stores_that_nobody_follows() {
        let past = past();
        past.by_itself(&StoreName::new("a"), None);
        assert!(token::decode(&token(&past).await).unwrap().is_empty());
        assert_eq!(unasked(&past), ["a"], "it may be followed later");
    }

    #[test]
    fn tokens_do_not_add_up_without_end() {
        let past = past();
        let mut taken = 0;
        let refused = loop {
            let store = format!("s{taken}");
            let given = [(StoreName::new(&store), vec![position(&store, 1)])].into_iter().collect();
            if let Err(refused) = past.take_token(&token::encode(&given).unwrap()) {
                break refused;
            }
            taken += 1;
            assert!(taken <= token::STORES_MAX, "a bound holds");
        };
        assert_eq!((refused.sqlstate.as_str(), taken), ("54000", token::STORES_MAX));
        assert_eq!(past.required.positions().len(), token::STORES_MAX);
    }
}
