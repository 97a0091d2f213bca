//! What a session may rely on while everything works: its own writes, no way back in time, bounds of age, and `strong`.

use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tributary::sandbox::{MariaDb, Postgres};
use tributary::task::OwnedTask;

use super::behind::Behind;
use super::copies::{FROM_COPY, served, until_cached};
use super::world::{self, TABLES, World, cached};
use crate::changes::follow::until_streaming;
use crate::changes::native::Native;
use crate::changes::room::{self, LOG, Room};
use crate::commit::stage::START;
use crate::commit::{Said, ask, eventually};
use crate::support::proxy::{self, Place};

/// How often each thing is tried.
const TURNS: u64 = 30;

fn balance(store: &str, key: i64) -> String {
    format!("SELECT balance FROM {store}.accounts WHERE _id = {key}")
}

/// A session that waits for copies reads each of its writes from one, by either protocol.
async fn own_writes(world: World) {
    let store = world.store;
    let session = world.reader(&[("on_stale", "wait")]).await;
    assert_eq!(session.answer("SHOW tributary.consistency").await, "session");
    let prepared = session.prepare(&format!("SELECT balance FROM {store}.accounts WHERE _id = $1")).await.unwrap();
    let before = served(&session, (store, "accounts")).await;
    for turn in 0..TURNS {
        let value = 5_000 + i64::try_from(turn).unwrap();
        let update = format!("UPDATE {store}.accounts SET balance = {value} WHERE _id = 1");
        if turn % 3 == 0 {
            session.answer("BEGIN").await;
            session.answer(&update).await;
            assert_eq!(session.answer(&balance(store, 1)).await, value.to_string(), "{store} in its block");
            session.answer("COMMIT").await;
        } else {
            session.answer(&update).await;
        }
        let found: i64 = session.query_one(&prepared, &[&1_i64]).await.unwrap().get(0);
        assert_eq!(found, value, "{store}, prepared");
        assert_eq!(session.answer(&balance(store, 1)).await, value.to_string(), "{store}");
    }
    let after = served(&session, (store, "accounts")).await;
    assert!(after >= before + 2 * TURNS, "{store}: {before}, then {after}");
    // Without waiting it may be either, and is as right.
    let session = world.reader(&[]).await;
    for value in 6_000..6_000 + i64::try_from(TURNS).unwrap() {
        session.answer(&format!("UPDATE {store}.accounts SET balance = {value} WHERE _id = 2")).await;
        assert_eq!(session.answer(&balance(store, 2)).await, value.to_string(), "{store}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_reads_its_own_writes_to_postgres_from_the_copy() {
    Box::pin(own_writes(world::of_postgres().await)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_reads_its_own_writes_to_mariadb_from_the_copy() {
    Box::pin(own_writes(world::of_mariadb().await)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_reads_its_own_writes_to_mongodb_from_the_copy() {
    Box::pin(own_writes(world::of_mongodb().await)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_reads_its_own_writes_to_a_file_from_the_copy() {
    Box::pin(own_writes(world::of_sqlite().await)).await;
}

/// PostgreSQL and MariaDB behind one Tributary.
async fn of_both(postgres: &Postgres, mariadb: &MariaDb) -> Room {
    let place = Place::new();
    let database = proxy::fresh(postgres, &world::statements()).await;
    place.postgres("pg", postgres, &database, &format!("{LOG}{}", cached(&TABLES)));
    let database = mariadb.fresh_database().await.unwrap();
    let options = mariadb.mysql_options().database(&database);
    let connection = <sqlx::mysql::MySqlConnection as sqlx::Connection>::connect_with(&options).await.unwrap();
    Native::MariaDb(connection).run(&world::statements()).await;
    let own = format!("changes.tables = [\"{database}.*\"]\n");
    place.mariadb("maria", mariadb, &database, &format!("{own}{LOG}{}", cached(&TABLES)));
    let room = Box::pin(Room::open(place)).await;
    for store in ["pg", "maria"] {
        until_streaming(room.session(), store, &TABLES).await;
        until_cached(room.session(), store, &TABLES).await;
    }
    room
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_reads_what_it_has_written_to_postgres_and_mariadb_in_one_transaction() {
    let room = Box::pin(of_both(room::postgres().await, room::mariadb().await)).await;
    let address = room.server().addresses()[0];
    for settings in [&[("on_stale", "wait")][..], &[]] {
        let session = super::copies::reader(address, settings).await;
        let before = served(&session, ("pg", "accounts")).await + served(&session, ("maria", "accounts")).await;
        for value in 7_000..7_000 + i64::try_from(TURNS).unwrap() {
            session.answer("BEGIN").await;
            for store in ["pg", "maria"] {
                session.answer(&format!("UPDATE {store}.accounts SET balance = {value} WHERE _id = 1")).await;
            }
            session.answer("COMMIT").await;
            let both = "SELECT p.balance, m.balance FROM pg.accounts p JOIN maria.accounts m ON m._id = p._id WHERE p._id = 1";
            assert_eq!(session.answer(both).await, format!("{value}|{value}"), "{settings:?}");
        }
        let after = served(&session, ("pg", "accounts")).await + served(&session, ("maria", "accounts")).await;
        assert!(settings.is_empty() || after >= before + 2 * TURNS, "{before}, then {after}");
    }
}

/// A writer that gives key 1 larger and larger numbers until it is stopped.
fn counting(mut behind: Behind, stop: CancellationToken) -> OwnedTask<i64> {
    OwnedTask::spawn(async move {
        let mut number = START;
        while !stop.is_cancelled() {
            number += 1;
            behind.keep(number, &[1]).await;
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        number
    })
}

/// What a session has seen in the store it sees in copies too.
async fn no_way_back(world: World) {
    let store = world.store;
    let (address, stop) = (world.address(), CancellationToken::new());
    let (_room, behind) = world.into_writer();
    let writer = counting(behind, stop.clone());
    let session = super::copies::reader(address, &[("max_staleness", "5s")]).await;
    let mut last = 0;
    for turn in 0..TURNS {
        for (consistency, on_stale) in [
            ("store", "store"),
            ("session", "wait"),
            ("store", "store"),
            ("strong", "wait"),
            ("bounded", "wait"),
            ("session", "store"),
        ] {
            session.answer(&format!("SET tributary.consistency = '{consistency}'; SET tributary.on_stale = '{on_stale}'")).await;
            let found: i64 = session.answer(&balance(store, 1)).await.parse().unwrap();
            // A copy may have what the store itself shows an instant later, so that a read of the store alone may go back (docs/caching.md,
            // Limits). `gap` tries what is loaded in that moment, and not this.
            assert!(consistency == "store" || found >= last, "{store}, {turn}: {found} by {consistency} behind {last}");
            last = found;
        }
    }
    stop.cancel();
    let number = writer.join().await.expect("the writer has failed");
    assert!(last <= number && last > START, "{store}: {last} of {number}");
    let session = super::copies::reader(address, &FROM_COPY).await;
    assert_eq!(session.answer(&balance(store, 1)).await, number.to_string());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_session_has_seen_in_postgres_it_sees_in_copies() {
    Box::pin(no_way_back(world::of_postgres().await)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_session_has_seen_in_mariadb_it_sees_in_copies() {
    Box::pin(no_way_back(world::of_mariadb().await)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_session_has_seen_in_mongodb_it_sees_in_copies() {
    Box::pin(no_way_back(world::of_mongodb().await)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_session_has_seen_in_a_file_it_sees_in_copies() {
    Box::pin(no_way_back(world::of_sqlite().await)).await;
}

/// Whoever reads strongly sees what was committed before, by whomever.
async fn strong(world: World) {
    let store = world.store;
    let address = world.address();
    let (_room, mut behind) = world.into_writer();
    let waits = super::copies::reader(address, &FROM_COPY).await;
    let falls = super::copies::reader(address, &[("consistency", "strong")]).await;
    let before = served(&waits, (store, "accounts")).await;
    for turn in 0..TURNS {
        let number = 5_000 + i64::try_from(turn).unwrap();
        behind.keep(number, &[1, 2]).await;
        assert_eq!(waits.answer(&balance(store, 1)).await, number.to_string(), "{store}");
        assert_eq!(falls.answer(&balance(store, 2)).await, number.to_string(), "{store}");
    }
    assert!(served(&waits, (store, "accounts")).await >= before + TURNS, "{store}: not of the copy");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_strong_read_of_postgres_sees_what_was_committed_before() {
    Box::pin(strong(world::of_postgres().await)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_strong_read_of_mariadb_sees_what_was_committed_before() {
    Box::pin(strong(world::of_mariadb().await)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_strong_read_of_mongodb_sees_what_was_committed_before() {
    Box::pin(strong(world::of_mongodb().await)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_strong_read_of_a_file_sees_what_was_committed_before() {
    Box::pin(strong(world::of_sqlite().await)).await;
}

/// A copy of an idle store stays as fresh as it is looked at, and is read within a bound; one that is behind is not.
async fn bounded(world: World) {
    let store = world.store;
    let session = world.reader(&[("consistency", "bounded"), ("max_staleness", "2s"), ("on_stale", "error")]).await;
    let sql = balance(store, 3);
    let before = served(&session, (store, "accounts")).await;
    // Nobody writes: the bound alone is what makes it fresh.
    let late = Duration::from_millis(2_500);
    tokio::time::sleep(late).await;
    let from_copy = async || {
        let answer = ask(&session, &sql).await;
        assert!(answer.is_err() || answer == Ok(vec![START.to_string()]), "{answer:?}");
        (served(&session, (store, "accounts")).await > before).then_some(())
    };
    eventually("a read of the copy within its bound", from_copy).await;
    let session = world.reader(&[]).await;
    session.answer("SET tributary.consistency = 'bounded'").await;
    assert_eq!(ask(&session, &sql).await, Err(Said::Code("22023".to_owned())), "a bound without its size");
    // A bound that nothing can meet asks the store for where it stands. What was kept a bound ago is seen, which a copy mostly lacks then.
    let session = world.reader(&[("consistency", "bounded"), ("max_staleness", "1ms"), ("on_stale", "store")]).await;
    assert_eq!(session.answer(&sql).await, START.to_string());
    let (_room, mut behind) = world.into_writer();
    for turn in 0..TURNS {
        let number = 5_000 + i64::try_from(turn).unwrap();
        behind.keep(number, &[3]).await;
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert_eq!(session.answer(&sql).await, number.to_string(), "{store}, {turn}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_of_postgres_is_read_within_a_bound_and_never_past_it() {
    Box::pin(bounded(world::of_postgres().await)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_of_mariadb_is_read_within_a_bound_and_never_past_it() {
    Box::pin(bounded(world::of_mariadb().await)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_of_mongodb_is_read_within_a_bound_and_never_past_it() {
    Box::pin(bounded(world::of_mongodb().await)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_of_a_file_is_read_within_a_bound_and_never_past_it() {
    Box::pin(bounded(world::of_sqlite().await)).await;
}
