//! The auditor over real stores: it compares rows while others write and finds nothing, and it finds what no log has told.

use std::time::Duration;

use sqlx::Row;

use super::copies::{FROM_COPY, OF_ANY_AGE, reader, until_cached};
use super::world::{self, TABLES, World};
use crate::changes::check::Deed;
use crate::changes::native::Native;
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

/// What no log tells: a row has another value, there is a new one, and one is gone.
const UNTOLD: &str = "UPDATE accounts SET balance = 77777 WHERE _id = 2; INSERT INTO accounts VALUES (900, 77777); \
    DELETE FROM accounts WHERE _id = 3";

/// What no log tells of is found, told in counts, and mended. `untold` are statements that do [`UNTOLD`] in one transaction.
async fn finds(mut world: World, untold: &[&str]) {
    let store = world.store;
    compared(world.room.session(), store, 2).await;
    for statement in untold {
        world.native.run(statement).await;
    }
    let found = eventually(&format!("a divergence of {store}"), async || {
        Some(found(world.room.session(), store).await).filter(|found| found.divergences > 0)
    })
    .await;
    let expected = "1 not in the copy, 1 in the copy only, 1 with other values in the copy, of ";
    assert!(found.divergences == 3 && found.what.starts_with(expected), "{store}: {found:?}");
    assert!(!found.what.contains("77777"), "a value is told: {found:?}");
    // Copies do not learn of it by any event, so that only loading them again brings it.
    let session = reader(world.address(), &OF_ANY_AGE).await;
    let sql = format!("SELECT _id, balance FROM {store}.accounts WHERE _id IN (2, 3, 900) ORDER BY _id");
    let mended = async || (session.answer(&sql).await == "2|77777\n900|77777").then_some(());
    eventually(&format!("the mended copy of {store}"), mended).await;
    until_cached(world.room.session(), store, &TABLES).await;
    assert_eq!(super::copies::copied(&session, (store, "accounts"), &sql).await, ["2|77777", "900|77777"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_postgres_has_published_nowhere_is_found() {
    let publishes = |what: &str| {
        format!(
            "DO $$ DECLARE name text; BEGIN SELECT pubname INTO STRICT name FROM pg_publication; \
             EXECUTE format('ALTER PUBLICATION %I SET (publish = ''{what}'')', name); END $$"
        )
    };
    let (less, all) = (publishes("truncate"), publishes("insert, update, delete, truncate"));
    let world = audited(world::of_postgres().await).await;
    Box::pin(finds(world, &[less.as_str(), "BEGIN", UNTOLD, "COMMIT", all.as_str()])).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_in_the_binlog_of_mariadb_is_found() {
    let world = audited(world::of_mariadb().await).await;
    Box::pin(finds(world, &["SET sql_log_bin = 0", "BEGIN", UNTOLD, "COMMIT", "SET sql_log_bin = 1"])).await;
}

/// Whoever looks at the triggers before and behind it finds them as they were.
#[tokio::test(flavor = "multi_thread")]
async fn what_no_trigger_of_a_file_has_run_for_is_found() {
    let mut world = audited(world::of_sqlite().await).await;
    let Native::Sqlite(connection) = &mut world.native else { panic!("this is no file") };
    let triggers = "SELECT name, sql FROM sqlite_schema WHERE type = 'trigger' AND tbl_name = 'accounts' ORDER BY rowid";
    let triggers = sqlx::raw_sql(triggers).fetch_all(connection).await.unwrap();
    assert_eq!(triggers.len(), 3, "the table has not the triggers of its feed");
    let each = |place: usize| triggers.iter().map(move |row| row.get::<String, _>(place));
    let dropped: Vec<String> = each(0).map(|name| format!("DROP TRIGGER \"{name}\"")).collect();
    let made: Vec<String> = each(1).collect();
    let (dropped, made) = (dropped.join("; "), made.join("; "));
    Box::pin(finds(world, &["BEGIN IMMEDIATE", dropped.as_str(), UNTOLD, made.as_str(), "COMMIT"])).await;
}
