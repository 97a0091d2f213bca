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

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;

use super::settings::{CONSISTENCY, Freshness, MAX_STALENESS};
use super::{Session, Shared};
use crate::cache::{Caches, Consistency, OnStale, Required, Wants};
use crate::catalog::Snapshot;
use crate::error::{Diagnosis, sqlstate};
use crate::federation::branches::{BranchKind, Branches};
use crate::federation::ranges::Reading as Pace;
use crate::format::DisplaySettings;
use crate::stores::position::Position;
use crate::stores::{Connector, StoreName};
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
}

impl Past {
    /// Of a session that begins.
    pub(super) fn new(caches: &Arc<Caches>) -> Self {
        Self { caches: Arc::clone(caches), required: Arc::default() }
    }

    /// The client is about to be told what these stores have, and not their copies. Of a store without a feed nothing is noted: nobody has
    /// copies of it. Where nothing of one is cached here, another instance may cache it, to which a token goes.
    pub(super) fn heard_of<'s>(&self, stores: impl IntoIterator<Item = &'s StoreName>) {
        let cached = stores.into_iter().filter(|store| self.caches.notes(store));
        cached.for_each(|store| self.required.unknown(store));
    }

    /// The same of what a statement has read until now. Stores that its block writes to are read in no copy before it ends, and are noted
    /// then.
    pub(super) fn read(&self, branches: &Branches) {
        if self.caches.has_feeds() {
            let direct = branches.read_directly();
            self.heard_of(direct.iter().filter(|store| !branches.writes_to(store)));
        }
    }

    /// The same of a statement that has ended, with this error where it failed: one that tells nothing of what is there requires nothing.
    pub(super) fn read_until(&self, branches: &Branches, failed: Option<&Diagnosis>) {
        if !failed.is_some_and(is_mute) {
            self.read(branches);
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

    /// A transaction has ended that has had these stores open to write: what it has read there counts too. `asked` says whether it was to
    /// be kept.
    pub(super) fn ended(&self, stores: &[Arc<dyn Connector>], asked: bool, outcome: &Result<Committed, Diagnosis>) {
        for connector in stores {
            match mark_of(connector.name(), asked, outcome) {
                Mark::At(position) => self.required.raise_by(connector.as_ref(), position),
                Mark::Unknown => self.required.unknown(connector.name()),
                Mark::Fence => self.required.fence(connector.name()),
            }
            if asked && outcome.is_ok() {
                self.required.wrote(connector.name());
            }
        }
    }

    /// What a transaction holds in these stores is given up: what it has read there was seen all the same.
    pub(super) fn given_up(&self, stores: &[Arc<dyn Connector>]) {
        self.heard_of(stores.iter().map(|connector| connector.name()));
    }

    /// A store has committed a statement by itself, or may have.
    pub(super) fn by_itself(&self, store: &StoreName, failed: Option<&Diagnosis>) {
        if failed.is_some_and(is_unknown) {
            self.required.fence(store);
        } else {
            self.required.unknown(store);
        }
        if failed.is_none() {
            self.required.wrote(store);
        }
    }

    /// The token of all of it. `settle` has a store asked where it is.
    ///
    /// # Errors
    /// What `settle` failed with: without its position the token would promise less. 54000 for more than a token may hold.
    async fn token<A>(&self, settle: impl Fn(StoreName) -> A) -> Result<String, Diagnosis>
    where
        A: Future<Output = Result<(), Diagnosis>>,
    {
        for settled in join_all(self.required.unsettled().into_iter().map(settle)).await {
            settled?;
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

/// Whether an error that ends a read tells nothing of what is in the stores: one of them was not reached, or stopped answering. Rows that
/// were given before it are noted already.
fn is_mute(error: &Diagnosis) -> bool {
    [sqlstate::UNABLE_TO_CONNECT, sqlstate::CONNECTION_FAILURE].contains(&error.sqlstate.as_str())
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

    /// The same; with the error where that is what the client is about to be told. One that tells nothing of what is there requires nothing.
    pub(super) fn note_end(&self, failed: Option<&Diagnosis>) {
        if !failed.is_some_and(is_mute) {
            self.note();
        }
    }
}

/// Has a store asked for a position behind everything that a session has done there.
async fn settle(shared: Arc<Shared>, snapshot: Arc<Snapshot>, past: Past, store: StoreName) -> Result<(), Diagnosis> {
    if shared.caches.wants(&store) {
        return if shared.caches.settle(&store, &past.required).await { Ok(()) } else { Err(unsaid(&store)) };
    }
    // Another instance may have copies where this one has none; nobody has some of a store that is not followed.
    let followed = shared.feeds.follow(&store).zip(snapshot.connectors.get(&store));
    let Some((follow, connector)) = followed else { return Ok(()) };
    let position = connector.position(shared.feeds.instance(), &follow).await.map_err(|error| Diagnosis::of(&error))?;
    past.required.raise_by(connector.as_ref(), position);
    Ok(())
}

fn unsaid(store: &StoreName) -> Diagnosis {
    Diagnosis::new(sqlstate::CANNOT_CONNECT_NOW, format!("store \"{store}\" has not said where it is"))
        .with_detail("Without its position the token would promise less than the session has seen.")
        .with_hint("Try again in a moment.")
}

impl Shared {
    /// The branches of a statement that only reads: of copies and the rows of views too, where `wants` says what they must have.
    pub(super) fn reading(&self, snapshot: &Snapshot, wants: Option<&Arc<Wants>>) -> Branches {
        let branches = self.branches(snapshot, BranchKind::Statement);
        match wants {
            Some(wants) => {
                let views = Arc::clone(&self.views);
                branches.with_copies(Arc::clone(&self.caches), Arc::clone(wants)).with_views(views, Arc::clone(wants))
            }
            None => branches,
        }
    }
}

impl Session {
    /// What later reads must contain, for another session: `SHOW tributary.token`.
    ///
    /// # Errors
    /// What a store answered that was asked where it is, 57P03 where it has not answered; 54000 for more than a token may hold.
    pub(super) async fn token(&mut self) -> Result<String, Diagnosis> {
        let (shared, snapshot, past) = (Arc::clone(&self.shared), self.snapshot(), self.past.clone());
        past.token(|store| settle(Arc::clone(&shared), Arc::clone(&snapshot), past.clone(), store)).await
    }

    /// The branches of the next statement, which only reads.
    ///
    /// # Errors
    /// 22023 for a bound of staleness without its measure.
    pub(super) fn branches(&mut self, snapshot: &Snapshot) -> Result<Arc<Branches>, Diagnosis> {
        self.branches_for(snapshot, Pace::Whole)
    }

    /// The same of a statement that is read so: piece by piece it would keep its state of the copies for as long as the client likes, which
    /// no bound of theirs counts, so that it reads the stores.
    ///
    /// # Errors
    /// As [`Session::branches`].
    pub(super) fn branches_for(&mut self, snapshot: &Snapshot, pace: Pace) -> Result<Arc<Branches>, Diagnosis> {
        let (waits, wants) = (self.lock_waits(), self.wants()?.filter(|_| pace == Pace::Whole));
        Ok(match &mut self.block {
            Some(block) => {
                (block.used, block.waits) = (true, waits);
                block.statement_branches(snapshot, &self.shared, wants.as_ref())
            }
            None => {
                let wants = wants.filter(|_| !self.series.is_full());
                let branches = self.shared.reading(snapshot, wants.as_ref());
                Arc::new(match self.series.noted().filter(|_| wants.is_some()) {
                    Some(noted) => branches.noting(noted),
                    None => branches,
                })
            }
        })
    }

    /// What a statement asks of copies that are read at once, outside of any block; `None` where it may read none.
    pub(super) fn wants_at_once(&self) -> Option<Wants> {
        let Freshness { consistency, max_staleness, on_stale } = self.settings.freshness();
        let is_told = consistency != Consistency::Bounded || max_staleness.is_some();
        is_told.then(|| self.wants_of((consistency, max_staleness, on_stale)))
    }

    fn wants_of(&self, (consistency, max_staleness, on_stale): (Consistency, Option<Duration>, OnStale)) -> Wants {
        let (deadline, session) = (self.guard.deadline, Arc::clone(&self.past.required));
        let shows_as_server = *self.settings.shown_as() == DisplaySettings::default();
        Wants { consistency, max_staleness, on_stale, deadline, session, shows_as_server }
    }

    /// What the next statement asks of copies and of the rows of views; `None` where it reads none.
    fn wants(&self) -> Result<Option<Arc<Wants>>, Diagnosis> {
        let (wants, shared) = (self.wants_of_results()?, &self.shared);
        Ok(wants.filter(|_| !(shared.caches.is_empty() && shared.views.are_none())))
    }

    /// The same of results that are kept, which are there also where no table is cached.
    ///
    /// # Errors
    /// 22023 for a bound of staleness without its measure.
    pub(super) fn wants_of_results(&self) -> Result<Option<Arc<Wants>>, Diagnosis> {
        let Freshness { consistency, max_staleness, on_stale } = self.settings.freshness();
        if consistency == Consistency::Bounded && max_staleness.is_none() {
            let message = format!("{CONSISTENCY} = bounded needs {MAX_STALENESS}");
            return Err(Diagnosis::new(sqlstate::INVALID_PARAMETER_VALUE, message)
                .with_hint(format!("Set it before reading: SET {MAX_STALENESS} = '1s'.")));
        }
        let shared = &self.shared;
        let has_any = !(shared.caches.is_empty() && shared.views.are_none() && shared.catalog.result_rules().is_empty());
        if consistency == Consistency::Store || !has_any {
            return Ok(None);
        }
        Ok(Some(Arc::new(self.wants_of((consistency, max_staleness, on_stale)))))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::cache::{CacheEntry, CacheSettings};
    use crate::changes::Feeds;
    use crate::changes::fakes::{FakeStore, position_of, table_of};
    use crate::stores::commit::{Gid, LogId};
    use crate::write::commit::{Guarantee, unknown};

    fn names(names: &[&str]) -> Vec<StoreName> {
        names.iter().map(|name| StoreName::new(name)).collect()
    }

    fn stores(names: &[&str]) -> Vec<Arc<dyn Connector>> {
        let store = |name: &&str| -> Arc<dyn Connector> { FakeStore::new(name) };
        names.iter().map(store).collect()
    }

    fn position(store: &str, number: u64) -> Position {
        position_of(&StoreName::new(store), number)
    }

    fn committed(positions: &[(&str, u64)]) -> Committed {
        let positions = positions.iter().map(|(store, number)| position(store, *number)).collect();
        Committed::of(Guarantee::Saga(names(&["a", "b"])), None, positions)
    }

    /// Of a session where nothing is cached.
    fn past() -> Past {
        Past::new(&Caches::none())
    }

    /// The positions of a store that are required.
    fn required(past: &Past, store: &str) -> Vec<Position> {
        past.required.positions().remove(&StoreName::new(store)).unwrap_or_default()
    }

    /// The token of what a session has done, where nobody follows any store.
    async fn told(past: &Past) -> String {
        past.token(|_store| std::future::ready(Ok(()))).await.unwrap()
    }

    #[test]
    fn a_commit_marks_each_store_by_what_is_known_of_it() {
        let a = StoreName::new("a");
        let mark = |asked, outcome: Result<Committed, Diagnosis>| mark_of(&a, asked, &outcome);
        let failed = |code: &str| Err(Diagnosis::new(code, "failed"));
        assert_eq!(mark(true, Ok(committed(&[("b", 2), ("a", 1)]))), Mark::At(position("a", 1)));
        // Of stores that share a connection one tells.
        assert_eq!(mark(true, Ok(committed(&[("b", 2)]))), Mark::Unknown);
        let late = Committed { late: names(&["a"]), ..committed(&[("a", 1)]) };
        assert_eq!(mark(true, Ok(late)), Mark::Fence);
        let missing = Committed { missing: names(&["a"]), ..committed(&[]) };
        assert_eq!(mark(true, Ok(missing)), Mark::Fence);
        assert_eq!(mark(true, failed(sqlstate::TRANSACTION_RESOLUTION_UNKNOWN)), Mark::Fence);
        assert_eq!(mark(true, Err(unknown(Gid { log: LogId(1), number: 2 }))), Mark::Fence);
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
        assert_eq!(past.required.unsettled(), names(&["b"]));
        // A later commit takes the place of those before.
        past.ended(&stores(&["a"]), true, &Ok(committed(&[("a", 2)])));
        assert_eq!(required(&past, "a"), [position("a", 2)]);
        let is_a = |store: &StoreName| store.as_str() == "a";
        let now = tokio::time::Instant::now();
        assert!(past.required.is_written_before(now, is_a));
        while tokio::time::Instant::now() == now {}
        past.ended(&stores(&["a"]), false, &Ok(committed(&[])));
        past.ended(&stores(&["a"]), true, &Err(Diagnosis::new(sqlstate::SERIALIZATION_FAILURE, "failed")));
        assert!(past.required.is_written_before(now, is_a), "nothing was kept");
        past.by_itself(&StoreName::new("a"), None);
        assert!(!past.required.is_written_before(now, is_a));
        past.by_itself(&StoreName::new("c"), None);
        past.by_itself(&StoreName::new("d"), Some(&Diagnosis::new(sqlstate::TRANSACTION_RESOLUTION_UNKNOWN, "lost")));
        past.by_itself(&StoreName::new("e"), Some(&Diagnosis::new(sqlstate::UNIQUE_VIOLATION, "twice")));
        assert_eq!(past.required.unsettled(), names(&["a", "b", "c", "d", "e"]));
    }

    #[test]
    fn reads_are_noted_of_stores_with_cached_tables() {
        let bare = past();
        bare.heard_of(&names(&["a"]));
        bare.through(&Arc::new(Branches::none())).note();
        bare.of_store(&StoreName::new("a")).note();
        bare.given_up(&stores(&["a"]));
        assert!(bare.required.unsettled().is_empty());
        let caches = Caches::new(Feeds::none(), CacheSettings::default());
        let entry = |connector: Arc<dyn Connector>| CacheEntry {
            connector,
            tables: vec![table_of("orders")],
            kept_back: Vec::new(),
            labels: Arc::new(|_table| None),
        };
        caches.replace(stores(&["a", "b"]).into_iter().map(entry).collect());
        let past = Past::new(&caches);
        past.of_store(&StoreName::new("c")).note();
        assert!(past.required.unsettled().is_empty());
        past.of_store(&StoreName::new("a")).note();
        assert_eq!(past.required.unsettled(), names(&["a"]));
        past.given_up(&stores(&["b", "c"]));
        assert_eq!(past.required.unsettled(), names(&["a", "b"]));
        // A read that has not come to its store has seen nothing; an error of what is there tells something.
        let (failing, store) = (Past::new(&caches), StoreName::new("a"));
        for code in [sqlstate::UNABLE_TO_CONNECT, sqlstate::CONNECTION_FAILURE] {
            failing.of_store(&store).note_end(Some(&Diagnosis::new(code, "away")));
        }
        assert!(failing.required.unsettled().is_empty());
        failing.of_store(&store).note_end(Some(&Diagnosis::new(sqlstate::DIVISION_BY_ZERO, "division by zero")));
        assert_eq!(failing.required.unsettled(), names(&["a"]));
        failing.required.clear();
        failing.of_store(&store).note_end(None);
        assert_eq!(failing.required.unsettled(), names(&["a"]), "no rows are an answer too");
    }

    #[tokio::test]
    async fn a_token_carries_what_is_required_to_another_session() {
        let (one, other) = (past(), past());
        one.ended(&stores(&["a", "b"]), true, &Ok(committed(&[("a", 1), ("b", 2)])));
        other.ended(&stores(&["c"]), true, &Ok(committed(&[("c", 3)])));
        other.take_token(&told(&one).await).unwrap();
        assert_eq!(required(&other, "a"), [position("a", 1)]);
        assert_eq!(required(&other, "b"), [position("b", 2)]);
        assert_eq!(required(&other, "c"), [position("c", 3)], "what it has done itself stays");
        let before = other.required.positions();
        assert_eq!(other.take_token("no token").unwrap_err().sqlstate, "22023");
        assert_eq!(other.required.positions(), before);
        // A token of nothing takes nothing away; no token forgets.
        other.take_token(&told(&past()).await).unwrap();
        assert_eq!(other.required.positions(), before);
        other.by_itself(&StoreName::new("d"), None);
        other.take_token("").unwrap();
        assert!(other.required.positions().is_empty() && other.required.unsettled().is_empty());
    }

    #[tokio::test]
    async fn stores_are_asked_where_they_are_before_a_token_is_told() {
        let (past, asked) = (past(), Mutex::new(Vec::new()));
        past.ended(&stores(&["a", "b"]), true, &Ok(committed(&[("a", 1)])));
        let answer = |store: StoreName| {
            past.required.raise(&store, position(store.as_str(), 7));
            asked.lock().unwrap().push(store);
            std::future::ready(Ok(()))
        };
        let carried = token::decode(&past.token(answer).await.unwrap()).unwrap();
        let expected = [("a", 1), ("b", 7)].map(|(store, number)| (StoreName::new(store), vec![position(store, number)]));
        assert_eq!(carried, expected.into_iter().collect());
        assert_eq!(asked.into_inner().unwrap(), names(&["b"]));
        // A store that does not answer is not left out.
        let failed = past.token(|store| std::future::ready(Err(unsaid(&store)))).await.unwrap_err();
        assert_eq!(failed.sqlstate, "57P03");
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
