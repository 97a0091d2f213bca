//! The auditor over real stores: it compares rows while others write and finds nothing, and it finds what no log has told.

use std::time::Duration;

use super::copies::{FROM_COPY, OF_ANY_AGE, reader, until_cached};
use super::world::{self, TABLES, World};
use crate::changes::check::Deed;
use crate::commit::eventually;
use crate::commit::stage::ACCOUNTS;
use crate::support::proxy::Session;

/// For how long others write.
const WHILE: Duration = Duration::from_secs(2);
/// How often `accounts` is compared meanwhile, at least.
const CHECKS: u64 = 3;

/// The same world, whose auditor looks all the time.
async fn audited(mut world: World) -> World {
    world.room.stop().await;
    world.room.place.configure("cache.audit = \"20ms\"");
    Box::pin(world.room.start()).await;
    until_cached(world.room.session(), world.store, &TABLES).await;
    world
}

/// What was found of `accounts`.
#[derive(Debug)]
struct Found {
    checks: u64,
    rows: u64,
    divergences: u64,
    /// In words.
    what: String,
}

async fn found(session: &Session, store: &str) -> Found {
    let sql = format!(
        "SELECT checks, rows, divergences, coalesce(found, '') FROM tributary.divergence \
         WHERE schema_name::text = '{store}' AND table_name::text = 'accounts'"
    );
    let row = session.answer(&sql).await;
    let fields: Vec<&str> = row.splitn(4, '|').collect();
    let number = |place: usize| fields[place].parse().unwrap();
    Found { checks: number(0), rows: number(1), divergences: number(2), what: fields[3].to_owned() }
}

/// Waits until `accounts` has been compared so often again.
async fn compared(session: &Session, store: &str, more: u64) -> Found {
    let before = found(session, store).await.checks;
    eventually(&format!("{more} looks of the auditor at {store}"), async || {
        Some(found(session, store).await).filter(|found| found.checks >= before + more)
    })
    .await
}

/// Behind Tributary and through it rows come, change, and go, and some of that is undone.
async fn finds_nothing(world: World) {
    let mut world = audited(world).await;
    let (store, end) = (world.store, tokio::time::Instant::now() + WHILE);
    let before = found(world.room.session(), store).await.checks;
    for turn in 0.. {
        let enough = found(world.room.session(), store).await.checks >= before + CHECKS;
        if enough && tokio::time::Instant::now() > end {
            break;
        }
        let key = 1 + turn % ACCOUNTS;
        world.does(Deed::Put { key, value: 10_000 + turn }).await;
        world.does(Deed::Put { key: 500 + turn % 7, value: turn }).await;
        world.undoes(Deed::Put { key, value: -1 }).await;
        world.does(Deed::Delete { key: 500 + turn % 7 }).await;
        let through = format!("UPDATE {store}.accounts SET balance = balance + 1 WHERE _id = {key}");
        world.room.session().answer(&through).await;
        *world.rows.get_mut(&key).unwrap() += 1;
    }
    let found = compared(world.room.session(), store, 2).await;
    assert!(found.divergences == 0 && found.what.is_empty(), "{store}: {found:?}");
    // Each look has seen some of the accounts.
    assert!(found.rows > found.checks, "{store}: {found:?}");
    let of_copy = world.reader(&FROM_COPY).await;
    let all = format!("SELECT _id, balance FROM {store}.accounts ORDER BY _id");
    assert_eq!(of_copy.rows(&all).await.unwrap(), world.listed());
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_found_in_copies_of_postgres_while_others_write() {
    Box::pin(finds_nothing(world::of_postgres().await)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_found_in_copies_of_mariadb_while_others_write() {
    Box::pin(finds_nothing(world::of_mariadb().await)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_found_in_copies_of_mongodb_while_others_write() {
    Box::pin(finds_nothing(world::of_mongodb().await)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_found_in_copies_of_a_file_while_others_write() {
    Box::pin(finds_nothing(world::of_sqlite().await)).await;
}

/// What no log tells of is found, told in counts, and mended.
async fn finds(world: World, untold: &[&str]) {
    let mut world = audited(world).await;
    let store = world.store;
    compared(world.room.session(), store, 2).await;
    for statement in untold {
        world.native.run(statement).await;
    }
    let found = eventually(&format!("a divergence of {store}"), async || {
        Some(found(world.room.session(), store).await).filter(|found| found.divergences > 0)
    })
    .await;
    assert!(found.what.starts_with("1 with other values in the copy"), "{store}: {found:?}");
    assert!(!found.what.contains("77777"), "a value is told: {found:?}");
    // Copies do not learn of it by any event, so that only loading them again brings it.
    let session = reader(world.address(), &OF_ANY_AGE).await;
    let sql = format!("SELECT balance FROM {store}.accounts WHERE _id = 2");
    eventually(&format!("the mended copy of {store}"), async || (session.answer(&sql).await == "77777").then_some(())).await;
    until_cached(world.room.session(), store, &TABLES).await;
    assert_eq!(super::copies::copied(&session, (store, "accounts"), &sql).await, ["77777"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_postgres_has_published_nowhere_is_found() {
    let publishes = |what: &str| {
        format!(
            "DO $$ DECLARE name text; BEGIN SELECT pubname INTO STRICT name FROM pg_publication; \
             EXECUTE format('ALTER PUBLICATION %I SET (publish = ''{what}'')', name); END $$"
        )
    };
    let (less, all) = (publishes("insert"), publishes("insert, update, delete, truncate"));
    let untold = [less.as_str(), "UPDATE accounts SET balance = 77777 WHERE _id = 2", all.as_str()];
    Box::pin(finds(world::of_postgres().await, &untold)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_in_the_binlog_of_mariadb_is_found() {
    let untold = ["SET sql_log_bin = 0", "UPDATE accounts SET balance = 77777 WHERE _id = 2", "SET sql_log_bin = 1"];
    Box::pin(finds(world::of_mariadb().await, &untold)).await;
}
