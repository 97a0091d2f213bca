//! A store that does not answer, is gone, or is not followed any more: a copy is read by whoever takes it as it is, and nobody else is given
//! anything older than was asked for.

use std::time::{Duration, Instant};

use super::behind::Behind;
use super::copies::{FROM_COPY, FROM_STORE, Named, OF_ANY_AGE, reader, reads_by, served, shown, until_cached, until_copied};
use super::histories::{behind, door, until_ready};
use super::world::{self, TABLES, cached};
use crate::changes::native::Native;
use crate::changes::room::{self, LOG, Room};
use crate::commit::stage::{Lines, SERVERS, START, Stage};
use crate::commit::{Said, ask, eventually};
use crate::support::proxy::{self, OWNER, Place, Session};

/// The bound of these tests, and the time after which everything older is past it.
const BOUND: (&str, &str) = ("max_staleness", "300ms");
const PAST: Duration = Duration::from_millis(300);

fn balance(store: &str) -> String {
    format!("SELECT balance FROM {store}.accounts WHERE _id = 1")
}

fn stale() -> Result<Vec<String>, Said> {
    Err(Said::Code("55000".to_owned()))
}

/// Nobody but who takes anything is given the row of before a moment, once that is longer ago than the bound.
async fn assert_nothing_stale(session: &Session, store: &str, (old, written): (i64, Instant)) {
    let (sql, table): (String, Named<'_>) = (balance(store), (store, "accounts"));
    let before = served(session, table).await;
    reads_by(session, &OF_ANY_AGE).await;
    assert_eq!(ask(session, &sql).await, Ok(vec![old.to_string()]), "{store}: the copy is not read as it is");
    assert!(served(session, table).await > before, "{store}: the copy was not read");
    reads_by(session, &[("consistency", "session"), ("on_stale", "error")]).await;
    assert_eq!(ask(session, &sql).await, Ok(vec![old.to_string()]), "{store}: who has written nothing may read it too");
    tokio::time::sleep((PAST + Duration::from_millis(50)).saturating_sub(written.elapsed())).await;
    for settings in [&[("consistency", "bounded"), BOUND][..], &[("consistency", "strong")], &[("consistency", "session"), BOUND]] {
        reads_by(session, settings).await;
        assert_eq!(ask(session, &sql).await, stale(), "{store}: {settings:?}");
    }
    // Whoever waits is given nothing either, and not for longer than it wants.
    reads_by(session, &[("consistency", "strong"), ("max_staleness", ""), ("on_stale", "wait")]).await;
    session.answer("SET statement_timeout = '400ms'").await;
    let said = ask(session, &sql).await;
    assert!(matches!(&said, Err(Said::Code(code)) if ["57014", "55000"].contains(&code.as_str())), "{store}: {said:?}");
    session.answer("SET statement_timeout = 0").await;
}

/// The store itself is asked, and answers that it cannot be reached.
async fn assert_store_is_asked(session: &Session, store: &str) {
    session.answer("SET statement_timeout = '800ms'").await;
    for settings in [&FROM_STORE[..], &[("consistency", "strong"), ("on_stale", "store")]] {
        reads_by(session, settings).await;
        let said = ask(session, &balance(store)).await;
        let is_away = matches!(&said, Err(Said::Code(code)) if code.starts_with("08") || code.starts_with("57"));
        assert!(is_away, "{store}: {settings:?} gives {said:?}");
    }
    session.answer("SET statement_timeout = 0").await;
}

async fn stage() -> Stage {
    let lines = format!("changes.mode = \"as its kind\"\n{}", cached(&TABLES));
    let lines = Lines { server: "cache.look = \"50ms\"", store: &lines, journal: "wal" };
    let stage = Box::pin(Stage::start_with(&SERVERS, lines, "")).await;
    until_ready(&stage, &SERVERS).await;
    stage
}

/// Writes a number in a store itself, and tells when that was done.
async fn write(stage: &Stage, store: &str, number: i64) -> Instant {
    Behind::new(behind(stage, store).await).keep(number, &[1]).await;
    Instant::now()
}

/// The copy has what was written, and is read again by whoever wants it fresh.
async fn assert_follows(session: &Session, store: &str, number: i64) {
    reads_by(session, &FROM_COPY).await;
    session.answer("SET tributary.max_staleness = ''").await;
    let sql = balance(store);
    eventually("an answer", async || ask(session, &sql).await.ok()).await;
    until_copied(session, (store, "accounts"), &sql, &[number.to_string()]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_mariadb_and_mongodb_that_say_nothing_are_read_as_old_as_was_asked_for() {
    let mut stage = stage().await;
    for (number, store) in (6_000..).zip(SERVERS) {
        let session = reader(stage.address(), &[]).await;
        door(&mut stage, store).unwrap().freeze();
        let written = write(&stage, store, number).await;
        assert_nothing_stale(&session, store, (START, written)).await;
        assert_store_is_asked(&session, store).await;
        door(&mut stage, store).unwrap().mend().await;
        assert_follows(&session, store, number).await;
        let number = number + 1_000;
        write(&stage, store, number).await;
        assert_follows(&session, store, number).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_mariadb_and_mongodb_that_are_killed_are_read_as_old_as_was_asked_for() {
    let mut stage = stage().await;
    for (number, store) in (6_000..).zip(SERVERS) {
        let session = reader(stage.address(), &[]).await;
        write(&stage, store, number).await;
        assert_follows(&session, store, number).await;
        match store {
            "pg" => stage.postgres.as_mut().unwrap().0.kill().await.unwrap(),
            "maria" => stage.mariadb.as_mut().unwrap().0.kill().await.unwrap(),
            _ => stage.mongodb.as_mut().unwrap().0.kill().await.unwrap(),
        }
        let session = reader(stage.address(), &[]).await;
        assert_nothing_stale(&session, store, (number, Instant::now())).await;
        assert_store_is_asked(&session, store).await;
        match store {
            "pg" => stage.postgres.as_mut().unwrap().0.again().await.unwrap(),
            "maria" => stage.mariadb.as_mut().unwrap().0.again().await.unwrap(),
            _ => stage.mongodb.as_mut().unwrap().0.again().await.unwrap(),
        }
        let number = number + 1_000;
        write(&stage, store, number).await;
        assert_follows(&session, store, number).await;
    }
}

/// A store file of a role that may be kept from the log of its server, and the server's owner.
async fn of_a_role() -> (Room, Native, String) {
    let server = room::postgres().await;
    let database = proxy::fresh(server, "SELECT 1").await;
    let role = format!("reader_of_{database}");
    let mut owner = Native::Postgres(proxy::direct(server, &database).await);
    let made = world::statements();
    owner
        .run(&format!(
            "CREATE ROLE \"{role}\" LOGIN REPLICATION PASSWORD 'secret'; GRANT CREATE ON DATABASE \"{database}\" TO \"{role}\"; \
             GRANT USAGE, CREATE ON SCHEMA public TO \"{role}\"; SET ROLE \"{role}\"; {made}; RESET ROLE"
        ))
        .await;
    let place = Place::new();
    place.configure("cache.look = \"50ms\"");
    let login = format!("port = {}\nuser = \"{role}\"\npassword = \"secret\"\ndatabase = \"{database}\"\n", server.port());
    place.write("stores/pg.toml", &format!("kind = \"postgres\"\n{login}{LOG}{}", cached(&TABLES)));
    let room = Box::pin(Room::open(place)).await;
    until_cached(room.session(), "pg", &TABLES).await;
    (room, owner, role)
}

/// Whether PostgreSQL has copies.
async fn has_copies(session: &Session) -> bool {
    for table in TABLES {
        if shown(session, ("pg", table)).await.is_some_and(|shown| shown.state == "cached") {
            return true;
        }
    }
    false
}

/// The feed alone is kept from its server: what is asked of the store is answered all the time.
#[tokio::test(flavor = "multi_thread")]
async fn a_feed_of_postgres_that_is_kept_away_leaves_reads_to_the_store() {
    let (room, mut owner, role) = of_a_role().await;
    let session = proxy::connect(room.server(), OWNER).await;
    let sql = balance("pg");
    owner.run(&format!("ALTER ROLE \"{role}\" NOREPLICATION")).await;
    let ends = format!("SELECT pg_terminate_backend(pid) FROM pg_stat_replication WHERE usename = '{role}'");
    let state = "SELECT state FROM tributary.feeds WHERE store = 'pg' AND coalesce(table_name::text, '') = ''";
    let is_away = async || {
        owner.run(&ends).await;
        (ask(&session, state).await.ok()? != ["streaming"]).then_some(())
    };
    eventually("the end of the feed", is_away).await;
    owner.run("UPDATE accounts SET balance = 6000 WHERE _id = 1").await;
    let written = Instant::now();
    let other = proxy::connect(room.server(), OWNER).await;
    tokio::time::sleep((PAST + Duration::from_millis(50)).saturating_sub(written.elapsed())).await;
    // What is newer than the copy can be had from the store, and from nowhere else.
    for settings in [&[("consistency", "strong")][..], &[("consistency", "bounded"), BOUND], &FROM_STORE] {
        let other = reader(room.server().addresses()[0], settings).await;
        assert_eq!(ask(&other, &sql).await, Ok(vec!["6000".to_owned()]), "{settings:?}");
        if settings != &FROM_STORE[..] {
            reads_by(&other, &[("on_stale", "error")]).await;
            assert_eq!(ask(&other, &sql).await, stale(), "{settings:?}");
        }
    }
    // So can one's own writes.
    other.answer("UPDATE pg.accounts SET balance = 6001 WHERE _id = 1").await;
    assert_eq!(other.answer(&sql).await, "6001");
    other.answer("SET statement_timeout = '400ms'").await;
    for on_stale in ["error", "wait"] {
        reads_by(&other, &[("on_stale", on_stale)]).await;
        // None is loaded anew before the feed is back, so what has one before and behind a read has it meanwhile.
        let certain = async || {
            let before = has_copies(&session).await;
            let said = ask(&other, &sql).await;
            (has_copies(&session).await == before).then_some((before, said))
        };
        let (is_there, said) = eventually("a read beside copies of which it is known whether they are there", certain).await;
        if is_there {
            let is_refused = matches!(&said, Err(Said::Code(code)) if ["55000", "57014"].contains(&code.as_str()));
            assert!(is_refused, "{on_stale}: a copy that is behind, and {said:?}");
        } else {
            // Where no copy is left, a session does not wait for one, and its store may take longer than it has.
            let is_slow = matches!(&said, Err(Said::Code(code)) if code == "57014");
            assert!(is_slow || said == Ok(vec!["6001".to_owned()]), "{on_stale}: {said:?}");
        }
    }
    other.answer("SET statement_timeout = 0").await;
    owner.run(&format!("ALTER ROLE \"{role}\" REPLICATION")).await;
    room.session().answer("CALL tributary.restart_feed('pg')").await;
    reads_by(&other, &FROM_COPY).await;
    eventually("an answer", async || ask(&other, &sql).await.ok()).await;
    until_copied(&other, ("pg", "accounts"), &sql, &["6001".to_owned()]).await;
}
