//! Every capability, in both directions: what a store declares it does, and what it does not declare it refuses or does in the
//! way that the contract says.

use std::sync::Arc;

use futures::StreamExt;
use tributary::error::Diagnose;
use tributary::stores::commit::{Gid, LogId, Resolved, Verdict};
use tributary::stores::connector::{Capabilities, KEYS_EACH, ScanLimits};
use tributary::stores::predicate::{ColumnRef, Comparison};
use tributary::stores::value::Value;
use tributary::stores::{Branch, Connector, Predicate, Purpose, Pushdown, Scan, StoreError};

use super::reading::{self, Filled, Tally, seen, whole};
use super::sample::{self, PATTERNS};
use super::world::{Kind, World, until};

pub async fn check(world: &dyn World) {
    let connector = world.open("");
    // All fields by name: a new one does not compile until it is proved here.
    let Capabilities { statement_snapshot, prepare, like, documents, cancel, keys_max } = reading::discovered(&connector).await;
    snapshot_of_a_statement(world, statement_snapshot).await;
    prepared_transactions(world, prepare).await;
    patterns(world, like).await;
    fields_of_documents(world, documents).await;
    cancelling(world, cancel).await;
    keys_of_one_statement(world, keys_max).await;
}

/// Opens a branch for two scans. Where writers of other tests kept the connections' snapshots apart, it is tried again.
async fn for_two_scans(connector: &Arc<dyn Connector>, shared: bool) -> Arc<dyn Branch> {
    let mut tries = 0;
    loop {
        let branch = connector.open(Purpose::Statement { scans: 2 }).await.unwrap();
        tries += 1;
        if branch.shared_snapshot().is_ok() == shared || tries == 50 {
            return branch;
        }
    }
}

async fn snapshot_of_a_statement(world: &dyn World, declared: bool) {
    for table in ["left", "right"] {
        world.make(&sample::of_keys(table, 1)).await;
    }
    let connector = world.open("");
    let left = reading::table(&connector, &world.namespace(), "left").await;
    let right = reading::table(&connector, &world.namespace(), "right").await;
    let branch = for_two_scans(&connector, declared).await;
    assert_eq!(branch.shared_snapshot().is_ok(), declared, "{:?}", branch.shared_snapshot());
    assert_eq!(seen(&connector, &*branch, &left).await, 1);
    for table in ["left", "right"] {
        world.append(table, 2).await;
    }
    assert_eq!(seen(&connector, &*branch, &right).await, if declared { 1 } else { 2 });
    if let Err(reason) = branch.shared_snapshot() {
        assert!(!reason.is_empty(), "EXPLAIN has to say why");
    }
    drop(branch);
    let later = for_two_scans(&connector, declared).await;
    assert_eq!((seen(&connector, &*later, &left).await, seen(&connector, &*later, &right).await), (2, 2));
}

/// What is prepared is in `writes`. Here a transaction that was committed is over: nothing of it waits in the store, and one that only
/// reads has nothing to promise.
async fn prepared_transactions(world: &dyn World, declared: bool) {
    let connector = world.open("");
    connector.in_doubt().await.unwrap();
    let branch = connector.open(Purpose::Transaction { read_only: true, repeatable: true }).await.unwrap();
    assert!(branch.leader().is_none());
    assert_eq!(branch.commit().await.unwrap(), None, "a position that nothing can read is no use");
    drop(branch);
    let unknown = Gid { log: LogId(1), number: 1 }.of_store(connector.name());
    let resolved = connector.resolve(&unknown, Verdict::Abort).await;
    if declared {
        assert_eq!(resolved.unwrap(), Resolved::Gone);
    } else {
        assert!(matches!(resolved, Err(StoreError::Unsupported { .. })), "{resolved:?}");
    }
    until("the end of a transaction", async || world.busy().await == 0).await;
}

async fn patterns(world: &dyn World, declared: bool) {
    world.make(&sample::of_kinds(world, "texts", &[Kind::Text])).await;
    let connector = world.open("");
    let table = reading::table(&connector, &world.namespace(), "texts").await;
    let filled = Filled::new(&connector, table).await;
    let mut tally = Tally::default();
    for pattern in PATTERNS {
        let like =
            |negated| Predicate::Like { column: ColumnRef::of(1), pattern: pattern.to_owned(), negated, case_insensitive: false };
        for predicate in [like(false), like(true)] {
            filled.check(&predicate, &mut tally).await;
        }
    }
    if declared {
        assert_eq!((tally.superset, tally.refused), (0, 0), "{tally:?}");
    } else {
        assert_eq!(tally.exact, 0, "{tally:?}");
    }
}

async fn fields_of_documents(world: &dyn World, declared: bool) {
    let lines = world.make_documents().await;
    let opened = world.parse(super::world::At::default(), &lines);
    assert_eq!(opened.is_ok(), declared, "the options of documents");
    let Ok(connector) = opened else { return };
    let table = reading::table(&connector, &world.namespace(), "docs").await;
    let ordinal = table.columns.iter().position(|column| column.name() == "o").unwrap();
    assert!(table.columns[ordinal].field.data_type().is_nested(), "{:?}", table.columns[ordinal]);
    let field = ColumnRef { column: ordinal, path: vec!["a".to_owned()] };
    let above = Predicate::Compare { column: field.clone(), op: Comparison::Greater, value: Value::Int(5) };
    let missing = Predicate::IsNull { column: field, negated: false };
    for (predicate, expected) in [(above, &[2][..]), (missing, &[3, 4])] {
        let kept = match connector.pushdown(&table, &predicate) {
            Pushdown::Exact(kept) | Pushdown::Superset(kept) => kept,
            // A field that is missing, null or no object may be more than a store tells apart.
            Pushdown::Refused(_) if matches!(predicate, Predicate::IsNull { .. }) => continue,
            Pushdown::Refused(reason) => panic!("{predicate:?}: {reason}"),
        };
        let scan = Scan { columns: vec![0], ..whole(&connector, &table, vec![kept]) };
        let found = reading::keys(&reading::read(&connector, &table, &scan).await.unwrap());
        assert!(expected.iter().all(|key| found.contains(key)), "{predicate:?}: {found:?}");
        assert!(found.len() < 4, "{predicate:?} filters nothing");
    }
}

/// A query that sends nothing for minutes, and one that would send for long, both left.
async fn cancelling(world: &dyn World, declared: bool) {
    let lines = world.make_slow().await;
    world.make_big().await;
    let connector = world.open(&lines);
    let slow = reading::table(&connector, &world.namespace(), "slow").await;
    let big = reading::table(&connector, &world.namespace(), "big").await;
    until("quiet", async || world.busy().await == 0).await;
    let branch = connector.open(reading::ALONE).await.unwrap();
    let scan = whole(&connector, &slow, Vec::new());
    {
        // Some stores hold back even the start of their answer until there are rows.
        let first = async { branch.scan(&slow, &scan, ScanLimits::default()).await?.next().await.transpose() };
        tokio::pin!(first);
        tokio::select! {
            early = &mut first => panic!("the slow query has answered {early:?}"),
            () = until("the slow query", async || world.busy().await > 0) => {}
        }
    }
    drop(branch);
    if !declared {
        // It may run on, but nobody waits for it.
        connector.ping().await.unwrap();
        return;
    }
    until("the end of the slow query", async || world.busy().await == 0).await;
    let branch = connector.open(reading::ALONE).await.unwrap();
    let limits = ScanLimits { batch_rows: 100, ..ScanLimits::default() };
    let mut stream = branch.scan(&big, &whole(&connector, &big, Vec::new()), limits).await.unwrap();
    assert!(stream.next().await.unwrap().unwrap().num_rows() > 0);
    assert!(world.busy().await > 0, "the whole answer has been read ahead");
    drop((stream, branch));
    until("the end of the dropped scan", async || world.busy().await == 0).await;
    let all = reading::read_all(&connector, &big).await.unwrap();
    assert_eq!(reading::count(&all), super::world::BIG, "the store goes on");
    connector.close().await;
    assert_eq!(connector.ping().await.unwrap_err().sqlstate(), "08001");
}

/// A list of as many keys as the store says it takes finds the rows that there are, without an answer that is about right.
async fn keys_of_one_statement(world: &dyn World, declared: usize) {
    assert!(declared >= KEYS_EACH, "every store takes {KEYS_EACH} keys");
    world.make(&sample::of_keys("listed", 3)).await;
    let connector = world.open("");
    let table = reading::table(&connector, &world.namespace(), "listed").await;
    // The keys of the sample count from 1, and so do all but the last of these.
    let values = (2..=i64::try_from(declared).unwrap() + 1).map(Value::Int).collect();
    let list = Predicate::In { column: ColumnRef::of(0), values, negated: false };
    let (Pushdown::Exact(kept) | Pushdown::Superset(kept)) = connector.pushdown(&table, &list) else {
        panic!("{declared} keys are not taken")
    };
    let found = reading::keys(&reading::read(&connector, &table, &whole(&connector, &table, vec![kept])).await.unwrap());
    assert_eq!(found, [2, 3]);
}
