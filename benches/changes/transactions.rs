//! From a commit of MongoDB's to the client that listens, of transactions of several documents. Nothing in a change stream ends one: it is
//! over when something else comes, or when the server says that nothing more is there, for which it waits as long as the feed asks
//! (`max_await_time`, `AWAIT` in `src/stores/mongodb/changes/stream/patience.rs`).

use std::collections::HashMap;
use std::time::{Duration, Instant};

use mongodb::bson::{Document, doc};
use mongodb::{ClientSession, Collection};
use serde_json::json;
use tributary::task::OwnedTask;

use super::latency::{PATIENCE, hear};
use super::measure::{Verdicts, must, say};
use super::numbers::quantiles;
use super::results::Results;
use super::stores::Stores;

/// The `max_await_time` of a feed that does not rest, and what every notification has besides, in milliseconds.
const AWAIT: f64 = 100.0;
const BESIDES: f64 = 5.0;
/// From one transaction to the next: longer than that, so that none is ended by the next one, and less than what has a feed rest.
const APART: Duration = Duration::from_millis(250);
/// Transactions before anything counts, and those that do.
const WARMING: u64 = 20;
const COUNTED: u64 = 200;
/// Documents of each.
const DOCUMENTS: u64 = 2;
/// The first key, above those of single writes.
const FIRST: u64 = 1_000_000_000;

/// Measures transactions and judges them.
pub async fn judge(stores: &Stores, verdicts: &mut Verdicts, results: &mut Results) {
    let listener = stores.listener("mongodb.notes").await;
    let hearing = OwnedTask::spawn(hear(listener, (WARMING + COUNTED) * DOCUMENTS));
    // A session is of one client, and so are the collections that it writes to.
    let database = stores.mongodb();
    let notes: Collection<Document> = database.collection("notes");
    let mut session = must(database.client().start_session().await);
    let mut clock = tokio::time::interval(APART);
    let mut done = Vec::new();
    for number in 0..WARMING + COUNTED {
        clock.tick().await;
        let began = Instant::now();
        write(&mut session, &notes, number).await;
        done.push((number, began.elapsed(), Instant::now()));
    }
    let heard = tokio::time::timeout(PATIENCE, hearing.join()).await;
    let heard = must(heard.map_err(|_late| "mongodb: not every transaction was heard of".to_owned()));
    let heard = must(heard.ok_or("nobody listens any more"));
    let counted = || done.iter().filter(|(number, ..)| *number >= WARMING);
    let after: Vec<f64> = counted().filter_map(|(number, _, done)| Some(ms(last(&heard, *number)?, *done))).collect();
    let (p50, p99) = quantiles(&after);
    let own = quantiles(&counted().map(|(_, took, _)| took.as_secs_f64() * 1e3).collect::<Vec<_>>());
    verdicts.judge(
        p99 <= AWAIT + BESIDES,
        &format!(
            "mongodb, transactions: a commit is heard of after {p50:.2} ms, 99 of 100 within {p99:.2} ms, at most {} ms",
            AWAIT + BESIDES
        ),
    );
    say(format_args!("      the transaction itself took {:.2} ms (99 of 100: {:.2})", own.0, own.1));
    let figures = json!({
        "transactions": after.len(), "max_await_time_ms": AWAIT, "p50_ms": p50, "p99_ms": p99, "write_p50_ms": own.0, "write_p99_ms": own.1
    });
    results.put("heard_mongodb_transactions", figures);
}

/// The keys of a transaction.
fn keys(number: u64) -> impl Iterator<Item = i64> {
    let first = FIRST + number * DOCUMENTS;
    (first..first + DOCUMENTS).map(|key| i64::try_from(key).unwrap_or_default())
}

/// When the last document of a transaction was heard of.
fn last(heard: &HashMap<i64, Instant>, number: u64) -> Option<Instant> {
    let times: Option<Vec<Instant>> = keys(number).map(|key| heard.get(&key).copied()).collect();
    times?.into_iter().max()
}

/// From one moment to a later one; one that is earlier took no time.
fn ms(later: Instant, earlier: Instant) -> f64 {
    later.saturating_duration_since(earlier).as_secs_f64() * 1e3
}

/// A transaction, committed.
async fn write(session: &mut ClientSession, notes: &Collection<Document>, number: u64) {
    must(session.start_transaction().await);
    for key in keys(number) {
        must(notes.insert_one(doc! { "_id": key, "n": key % 17 }).session(&mut *session).await.map(drop));
    }
    must(session.commit_transaction().await);
}
