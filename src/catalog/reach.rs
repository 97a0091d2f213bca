//! Whether stores answer now: what statements have met, and what a ping says when somebody asks.
//!
//! ```text
//! a failed connection or scan ─┐
//! rows that arrived ───────────┼→ Reach ← tributary.stores, health
//! ask → a ping per store ──────┘
//! ```
//!
//! **Invariants:** no statement waits for a ping; a store is pinged once at a time, and only when its state was asked for and is older
//! than [`FRESH`]; a busy store counts as it did before. Not here: stores that could not be discovered, whose names are not known
//! (`discover.rs`).

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::error::Diagnose;
use crate::stores::{Connector, StoreError, StoreName};

/// How long the answer to a ping is told without another.
const FRESH: Duration = Duration::from_secs(5);

/// How long a ping may take. Longer than the usual wait for a free connection, which is no sign that a store is away.
const PING_LIMIT: Duration = Duration::from_secs(15);

/// Connectors by store.
pub(super) type Connectors = BTreeMap<StoreName, Arc<dyn Connector>>;

/// What is known of the stores' answering.
#[derive(Debug, Default)]
pub struct Reach {
    seen: Mutex<AllSeen>,
    /// How many stores are away, so that a statement that met none of them looks no further.
    away: AtomicUsize,
    asked: Notify,
    answered: watch::Sender<()>,
}

#[derive(Debug, Default)]
struct AllSeen {
    /// Counts the times that all connectors were replaced; a ping of an earlier one says nothing.
    generation: u64,
    stores: BTreeMap<StoreName, Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    /// When a ping was last answered, or found that it is not.
    checked: Option<Instant>,
    /// Whether a ping is on its way.
    pinging: bool,
    away: Option<StoreError>,
}

/// What an answer says of the store that gave it.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Answers,
    Away,
    /// Its connections are busy, or the question was given up.
    Unknown,
}

fn verdict(answer: Result<&(), &StoreError>) -> Verdict {
    match answer {
        // A server that is being shut down or started says so.
        Err(StoreError::Remote { sqlstate, .. }) if sqlstate.starts_with("57P") => Verdict::Away,
        Ok(()) | Err(StoreError::Remote { .. } | StoreError::Value { .. } | StoreError::SchemaChanged { .. }) => Verdict::Answers,
        Err(StoreError::Unreachable { .. } | StoreError::ConnectionLost { .. } | StoreError::OutcomeUnknown { .. }) => {
            Verdict::Away
        }
        Err(error @ StoreError::Deadline { .. }) if !error.is_crowded() => Verdict::Away,
        Err(
            StoreError::Deadline { .. }
            | StoreError::Crowded { .. }
            | StoreError::Cancelled
            | StoreError::Unsupported { .. }
            | StoreError::ReadOnly { .. },
        ) => Verdict::Unknown,
    }
}

impl Reach {
    /// A statement has opened the store or read rows of it.
    pub fn succeeded(&self, store: &StoreName) {
        if self.away.load(Ordering::Relaxed) > 0 {
            self.settle(&mut self.lock(), store, None);
        }
    }

    /// A statement has failed on the store. One that could not connect marks it as away; a lost connection may be the only one
    /// lost, and is looked into.
    pub fn failed(&self, store: &StoreName, error: &StoreError) {
        if verdict(Err(error)) != Verdict::Away {
            return;
        }
        let mut seen = self.lock();
        if matches!(error, StoreError::Unreachable { .. }) {
            self.settle(&mut seen, store, Some(error.clone()));
        }
        seen.stores.entry(store.clone()).or_default().checked = None;
        drop(seen);
        self.ask();
    }

    /// Why a store is away, as far as is known.
    pub fn away(&self, store: &StoreName) -> Option<StoreError> {
        self.lock().stores.get(store).and_then(|seen| seen.away.clone())
    }

    /// Has stores pinged whose state is not fresh. Waits for nothing.
    pub fn ask(&self) {
        self.asked.notify_one();
    }

    /// Forgets everything, because the stores have other connectors now.
    pub(super) fn forget(&self) {
        let mut seen = self.lock();
        *seen = AllSeen { generation: seen.generation + 1, stores: BTreeMap::new() };
        self.away.store(0, Ordering::Relaxed);
    }

    /// Asks, and waits until the state of all `connectors` is fresh, at most for `limit`.
    pub(super) async fn settled(&self, connectors: &Connectors, limit: Duration) {
        let mut answered = self.answered.subscribe();
        self.ask();
        let fresh = async {
            while !connectors.keys().all(|store| self.lock().stores.get(store).is_some_and(Seen::is_fresh)) {
                if answered.changed().await.is_err() {
                    return;
                }
            }
        };
        // What has not been answered by then is told as it was known.
        let _late = tokio::time::timeout(limit, fresh).await;
    }

    /// Pings stores when asked, until `stop`. `current` tells the connectors of the moment.
    pub(super) async fn probe(&self, current: impl Fn() -> Connectors, stop: CancellationToken) {
        let mut pings = FuturesUnordered::new();
        loop {
            // Cancel-safe: a notification that is not seen stays, and pings on their way stay in their set.
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.asked.notified() => {
                    let (generation, due) = self.due(current());
                    pings.extend(due.into_iter().map(|(store, connector)| async move {
                        let answer = tokio::time::timeout(PING_LIMIT, connector.ping()).await;
                        let answer = answer.unwrap_or_else(|_late| Err(unanswered(&store)));
                        (generation, store, answer)
                    }));
                }
                Some((generation, store, answer)) = pings.next() => self.pinged(generation, &store, answer),
            }
        }
    }

    fn due(&self, connectors: Connectors) -> (u64, Connectors) {
        let mut seen = self.lock();
        let mut is_due = |store: &StoreName| {
            let seen = seen.stores.entry(store.clone()).or_default();
            let due = !seen.pinging && !seen.is_fresh();
            seen.pinging |= due;
            due
        };
        let due = connectors.into_iter().filter(|(store, _)| is_due(store)).collect();
        (seen.generation, due)
    }

    fn pinged(&self, generation: u64, store: &StoreName, answer: Result<(), StoreError>) {
        let mut seen = self.lock();
        if seen.generation == generation {
            let known = seen.stores.entry(store.clone()).or_default();
            (known.pinging, known.checked) = (false, Some(Instant::now()));
            match verdict(answer.as_ref()) {
                Verdict::Answers => self.settle(&mut seen, store, None),
                Verdict::Away => self.settle(&mut seen, store, answer.err()),
                Verdict::Unknown => {}
            }
        }
        drop(seen);
        self.answered.send_replace(());
    }

    fn settle(&self, seen: &mut AllSeen, store: &StoreName, away: Option<StoreError>) {
        let known = seen.stores.entry(store.clone()).or_default();
        match (&known.away, &away) {
            (None, Some(error)) => {
                tracing::warn!(store = %store, error = %error, reason = error.detail(), "store is away");
                self.away.fetch_add(1, Ordering::Relaxed);
            }
            (Some(_), None) => {
                tracing::info!(store = %store, "store is back");
                self.away.fetch_sub(1, Ordering::Relaxed);
            }
            (None, None) | (Some(_), Some(_)) => {}
        }
        known.away = away;
    }

    fn lock(&self) -> MutexGuard<'_, AllSeen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn unanswered(store: &StoreName) -> StoreError {
    let limit_ms = u64::try_from(PING_LIMIT.as_millis()).unwrap_or(u64::MAX);
    StoreError::Deadline { store: store.to_string(), limit_ms, waiting_for: "the answer to a ping" }
}

impl Seen {
    fn is_fresh(&self) -> bool {
        self.checked.is_some_and(|at| at.elapsed() < FRESH)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unreachable() -> StoreError {
        StoreError::Unreachable { store: "shop".to_owned(), reason: "connection refused".to_owned() }
    }

    fn late(waiting_for: &'static str) -> StoreError {
        StoreError::Deadline { store: "shop".to_owned(), limit_ms: 1, waiting_for }
    }

    #[test]
    fn answers_are_judged() {
        let remote = |sqlstate: &str| StoreError::Remote {
            store: "shop".to_owned(),
            sqlstate: sqlstate.to_owned(),
            message: String::new(),
            detail: None,
            constraint: None,
            site: None,
        };
        let rows = [
            (Ok(()), Verdict::Answers),
            (Err(remote("42501")), Verdict::Answers),
            (Err(remote("57P01")), Verdict::Away),
            (Err(unreachable()), Verdict::Away),
            (Err(late("the answer to a statement")), Verdict::Away),
            (Err(late(StoreError::FREE_CONNECTION)), Verdict::Unknown),
            (Err(late(StoreError::FREE_LOCK)), Verdict::Unknown),
            (Err(StoreError::Cancelled), Verdict::Unknown),
            (Err(StoreError::OutcomeUnknown { store: "shop".to_owned(), reason: String::new() }), Verdict::Away),
            (Err(StoreError::ReadOnly { store: "shop".to_owned() }), Verdict::Unknown),
            (Err(StoreError::Crowded { store: "shop".to_owned(), limit_ms: 100 }), Verdict::Unknown),
        ];
        for (answer, expected) in rows {
            assert_eq!(verdict(answer.as_ref()), expected, "{answer:?}");
        }
    }

    #[tokio::test]
    async fn failures_mark_a_store_and_successes_mark_it_back() {
        let (reach, shop, crm) = (Reach::default(), StoreName::new("shop"), StoreName::new("crm"));
        let lost = StoreError::ConnectionLost { store: "shop".to_owned(), reason: String::new() };
        reach.failed(&shop, &lost);
        assert!(reach.away(&shop).is_none(), "one connection was lost");
        reach.failed(&shop, &unreachable());
        assert!(reach.away(&shop).is_some() && reach.away(&crm).is_none());
        reach.failed(&shop, &late(StoreError::FREE_CONNECTION));
        reach.succeeded(&crm);
        assert!(reach.away(&shop).is_some());
        reach.succeeded(&shop);
        assert!(reach.away(&shop).is_none());
        assert_eq!(reach.away.load(Ordering::Relaxed), 0);
    }

    #[tokio::test]
    async fn an_answer_to_a_replaced_connector_says_nothing() {
        let (reach, shop) = (Reach::default(), StoreName::new("shop"));
        reach.pinged(0, &shop, Err(unreachable()));
        assert!(reach.away(&shop).is_some());
        reach.forget();
        assert!(reach.away(&shop).is_none());
        reach.pinged(0, &shop, Err(unreachable()));
        assert!(reach.away(&shop).is_none());
        reach.pinged(1, &shop, Ok(()));
        assert!(reach.lock().stores[&shop].is_fresh());
    }
}
