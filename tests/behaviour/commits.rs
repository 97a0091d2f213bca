//! Transactions that write to several stores, as a session sees them: which are taken, what COMMIT has promised, savepoints, and what is
//! refused before anything is written. What happens when somebody is killed meanwhile is in `commit`.

use tributary::sandbox::{Postgres, Setup};

use super::writes::{code, count};
use super::{endless, eventually};
use crate::support::{self, proxy};
use proxy::{OWNER, Place, Session};

const TABLE: &str = "CREATE TABLE t (n int NOT NULL PRIMARY KEY, v varchar(20) NOT NULL)";
const LAST: &str = "SHOW tributary.last_commit";

/// A file as a store, with the table `t`; its journal is in this mode.
async fn file(place: &Place, name: &str, journal: &str) {
    place.sqlite(name, &format!("PRAGMA journal_mode = {journal}; {TABLE}")).await;
}

async fn in_postgres(place: &Place, name: &str, lines: &str) {
    let postgres = support::postgres().await;
    let database = proxy::fresh(postgres, TABLE).await;
    place.postgres(name, postgres, &database, lines);
}

async fn in_mariadb(place: &Place, name: &str, lines: &str) {
    let mariadb = support::mariadb().await;
    let database = mariadb.fresh_database().await.unwrap();
    let mut owner = endless::direct(mariadb, &database).await;
    sqlx::query(TABLE).execute(&mut owner).await.unwrap();
    place.mariadb(name, mariadb, &database, lines);
}

async fn in_mongodb(place: &Place, name: &str) {
    let mongodb = support::mongodb().await;
    let database = mongodb.fresh_database().await.unwrap();
    endless::client(mongodb).await.database(&database).create_collection("t").await.unwrap();
    let columns = "sample = 0\n[collections.t.columns]\n_id = \"bigint\"\nn = \"bigint\"\nv = \"text\"\n";
    place.mongodb(name, mongodb, &database, columns);
}

fn insert(store: &str, n: i64) -> String {
    format!("INSERT INTO {store}.t (n, v) VALUES ({n}, 'x')")
}

/// How many rows each of the stores has.
async fn counts(session: &Session, stores: &[&str]) -> Vec<String> {
    let mut counts = Vec::new();
    for store in stores {
        counts.push(session.answer(&format!("SELECT count(*) FROM {store}.t")).await);
    }
    counts
}

#[tokio::test]
async fn two_files_are_one_transaction() {
    let place = Place::new();
    for name in ["notes", "shelf", "attic"] {
        file(&place, name, "delete").await;
    }
    let server = place.serve().await;
    let (session, other) = (proxy::connect(&server, OWNER).await, proxy::connect(&server, OWNER).await);
    session.answer("BEGIN").await;
    session.answer("COMMIT").await;
    assert_eq!(session.answer(LAST).await, "none");
    assert_eq!(count(&session, &insert("notes", 1)).await, 1);
    assert_eq!(session.answer(LAST).await, "single store: notes");
    for (end, kept) in [("ROLLBACK", "0"), ("COMMIT", "1")] {
        session.answer("BEGIN").await;
        for store in ["shelf", "attic"] {
            assert_eq!(count(&session, &insert(store, 2)).await, 1, "{store}");
        }
        // It sees its own writes in both, also in one query.
        assert_eq!(session.answer("SELECT a.v FROM shelf.t a JOIN attic.t b USING (n) WHERE n = 2").await, "x");
        assert_eq!(counts(&other, &["shelf", "attic"]).await, ["0", "0"]);
        session.answer(end).await;
        assert_eq!(counts(&other, &["shelf", "attic"]).await, [kept, kept], "{end}");
    }
    assert_eq!(session.answer(LAST).await, "one transaction of attached files: shelf, attic");
    // A statement outside of a block that reads one file and writes another writes to one store.
    assert_eq!(count(&session, "INSERT INTO notes.t SELECT n + 10, v FROM shelf.t").await, 1);
    assert_eq!(session.answer(LAST).await, "single store: notes");
    // Several statements in one text are one transaction.
    let text = format!("{}; {}; {}", insert("notes", 3), insert("shelf", 3), insert("attic", 2));
    assert_eq!(session.failure(&text).await.code, "23505");
    assert_eq!(counts(&session, &["notes", "shelf", "attic"]).await, ["2", "1", "1"]);
    let text = format!("{}; {}; {}", insert("notes", 3), insert("shelf", 3), insert("attic", 3));
    session.answer(&text).await;
    assert_eq!(session.answer(LAST).await, "one transaction of attached files: notes, shelf, attic");
    assert_eq!(counts(&session, &["notes", "shelf", "attic"]).await, ["3", "2", "2"]);
}

#[tokio::test]
async fn savepoints_of_two_files_go_back_in_both() {
    let place = Place::new();
    for name in ["notes", "shelf"] {
        file(&place, name, "delete").await;
    }
    let server = place.serve().await;
    let session = proxy::connect(&server, OWNER).await;
    let seen = async || counts(&session, &["notes", "shelf"]).await;
    session.answer("BEGIN; SAVEPOINT first").await;
    session.answer(&insert("notes", 1)).await;
    session.answer("SAVEPOINT before").await;
    // The second file comes behind two savepoints.
    session.answer(&insert("shelf", 1)).await;
    session.answer("SAVEPOINT both").await;
    session.answer(&insert("notes", 2)).await;
    session.answer(&insert("shelf", 2)).await;
    assert_eq!(code(&session, &insert("shelf", 1)).await, "23505");
    session.answer("ROLLBACK TO both").await;
    assert_eq!(seen().await, ["1", "1"]);
    session.answer("ROLLBACK TO before").await;
    assert_eq!(seen().await, ["1", "0"]);
    session.answer(&insert("shelf", 3)).await;
    session.answer("RELEASE before; COMMIT").await;
    assert_eq!(seen().await, ["1", "1"]);
    session.answer("BEGIN; SAVEPOINT s").await;
    session.answer(&insert("shelf", 4)).await;
    session.answer(&insert("notes", 4)).await;
    session.answer("ROLLBACK TO s; COMMIT").await;
    assert_eq!(seen().await, ["1", "1"]);
}

#[tokio::test]
async fn repeatable_blocks_write_to_two_files_that_they_have_read() {
    let place = Place::new();
    for name in ["notes", "shelf"] {
        file(&place, name, "delete").await;
    }
    let server = place.serve().await;
    let session = proxy::connect(&server, OWNER).await;
    session.answer("BEGIN ISOLATION LEVEL REPEATABLE READ").await;
    assert_eq!(counts(&session, &["notes", "shelf"]).await, ["0", "0"]);
    session.answer(&insert("notes", 1)).await;
    session.answer(&insert("shelf", 1)).await;
    assert_eq!(counts(&session, &["notes", "shelf"]).await, ["1", "1"]);
    session.answer("COMMIT").await;
    assert_eq!(session.answer(LAST).await, "one transaction of attached files: notes, shelf");
    // One store is all that a serializable block has.
    session.answer("BEGIN ISOLATION LEVEL SERIALIZABLE").await;
    session.answer(&insert("notes", 2)).await;
    assert_eq!(code(&session, &insert("shelf", 2)).await, "0A000");
    session.answer("ROLLBACK").await;
    assert_eq!(counts(&session, &["notes", "shelf"]).await, ["1", "1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_commit_has_promised_over_postgres_mariadb_mongodb_and_a_file() {
    let place = Place::new();
    in_postgres(&place, "shop", "").await;
    in_mariadb(&place, "crm", "").await;
    in_mongodb(&place, "field").await;
    file(&place, "notes", "delete").await;
    let server = place.serve().await;
    let session = proxy::connect(&server, OWNER).await;
    for (number, (stores, said)) in [
        (&["shop"][..], "single store: shop"),
        (&["crm"], "single store: crm"),
        (&["field"], "single store: field"),
        (&["shop", "crm"], "two-phase: shop, crm"),
        (&["crm", "shop"], "two-phase: crm, shop"),
        (&["field", "crm"], "last resource: crm; last: field"),
        (&["shop", "field", "crm"], "last resource: shop, crm; last: field"),
        (&["notes", "shop"], "last resource: shop; last: notes"),
    ]
    .into_iter()
    .enumerate()
    {
        let n = i64::try_from(number).unwrap() + 1;
        let key = |store: &str| if store == "field" { "_id, n" } else { "n" };
        let value = |store: &str| if store == "field" { format!("{n}, {n}") } else { n.to_string() };
        for (end, found) in [("ROLLBACK", "0"), ("COMMIT", "1")] {
            session.answer("BEGIN").await;
            for store in stores {
                session.answer(&format!("INSERT INTO {store}.t ({}, v) VALUES ({}, 'x')", key(store), value(store))).await;
            }
            session.answer(end).await;
            for store in stores {
                let rows = session.answer(&format!("SELECT count(*) FROM {store}.t WHERE n = {n}")).await;
                assert_eq!(rows, found, "{end} of {stores:?} in {store}");
            }
        }
        assert_eq!(session.answer(LAST).await, said);
    }
    let shown = "SELECT DISTINCT state, guarantee FROM tributary.transactions ORDER BY 2";
    let ended = async || session.rows(shown).await.unwrap().iter().all(|row| row.starts_with("committed|")).then_some(());
    eventually("the end of all transactions", ended).await;
    assert!(session.answer(shown).await.contains("committed|two-phase: crm, shop"));
    let guest = proxy::connect(&server, proxy::GUEST).await;
    assert_eq!(guest.answer("SELECT count(*) FROM tributary.transactions").await, "0", "those of others");
    // A branch that has only met no row has nothing to keep.
    session.answer("BEGIN").await;
    session.answer("UPDATE crm.t SET v = 'y' WHERE n = -1").await;
    session.answer(&insert("shop", 100)).await;
    session.answer("COMMIT").await;
    assert_eq!(session.answer("SELECT count(*) FROM shop.t WHERE n = 100").await, "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_stores_that_cannot_be_prepared_one_goes_with_postgres_and_mongodb_is_refused() {
    let place = Place::new();
    in_postgres(&place, "shop", "").await;
    in_mongodb(&place, "field").await;
    file(&place, "notes", "delete").await;
    let server = place.serve().await;
    let session = proxy::connect(&server, OWNER).await;
    session.answer("BEGIN").await;
    session.answer(&insert("shop", 1)).await;
    session.answer(&insert("notes", 1)).await;
    // Reading it is no matter.
    assert_eq!(session.answer("SELECT count(*) FROM field.t").await, "0");
    let failure = session.rows("INSERT INTO field.t (_id, n, v) VALUES (1, 1, 'x')").await.unwrap_err();
    assert_eq!(failure.code, "0A000");
    assert_eq!(failure.message, "a transaction cannot write to store \"field\" beside \"shop\" and \"notes\"");
    let detail = "Neither \"notes\" nor \"field\" can be prepared, and only one such store can take part.";
    assert!(failure.detail.starts_with(detail), "{failure:?}");
    assert!(failure.hint.contains("tributary.cross_store_commit = 'saga'"), "{failure:?}");
    assert_eq!(code(&session, "SELECT 1").await, "25P02");
    session.answer("COMMIT").await;
    assert_eq!(counts(&session, &["shop", "notes", "field"]).await, ["0", "0", "0"]);
    // Behind a savepoint the block goes on without the third.
    session.answer("BEGIN").await;
    session.answer(&insert("shop", 1)).await;
    session.answer(&insert("notes", 1)).await;
    session.answer("SAVEPOINT s").await;
    assert_eq!(code(&session, "INSERT INTO field.t (_id, n, v) VALUES (1, 1, 'x')").await, "0A000");
    session.answer("ROLLBACK TO s; COMMIT").await;
    assert_eq!(session.answer(LAST).await, "last resource: shop; last: notes");
    assert_eq!(counts(&session, &["shop", "notes", "field"]).await, ["1", "1", "0"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_postgres_that_refuses_to_prepare_takes_mariadb_back_with_it() {
    let place = Place::new();
    let postgres = support::postgres().await;
    let tables = format!(
        "{TABLE}; CREATE TABLE owner (id int PRIMARY KEY); \
         CREATE TABLE dog (id int PRIMARY KEY, owner int REFERENCES owner DEFERRABLE INITIALLY DEFERRED)"
    );
    let database = proxy::fresh(postgres, &tables).await;
    place.postgres("shop", postgres, &database, "");
    in_mariadb(&place, "crm", "").await;
    let server = place.serve().await;
    let session = proxy::connect(&server, OWNER).await;
    session.answer("BEGIN").await;
    session.answer(&insert("crm", 1)).await;
    session.answer("INSERT INTO shop.dog VALUES (1, 1)").await;
    let failure = session.failure("COMMIT").await;
    assert_eq!((failure.code.as_str(), failure.detail.contains("Everything was rolled back.")), ("23503", true), "{failure:?}");
    assert_eq!(session.answer("SELECT (SELECT count(*) FROM shop.dog), (SELECT count(*) FROM crm.t)").await, "0|0");
    // Nothing holds the row.
    assert_eq!(count(&session, &insert("crm", 1)).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_sessions_share_few_connections_to_postgres_and_mariadb() {
    let place = Place::new();
    in_postgres(&place, "shop", "pool.size = 2\npool.wait = \"60s\"\n").await;
    in_mariadb(&place, "crm", "pool.size = 2\npool.wait = \"60s\"\n").await;
    let server = place.serve().await;
    let sessions = futures::future::join_all((0..16).map(|_| proxy::connect(&server, OWNER))).await;
    let work = sessions.iter().zip(1_i64..).map(|(session, number)| async move {
        for round in 0..5 {
            let n = number * 100 + round;
            session.answer("BEGIN").await;
            session.answer(&insert("shop", n)).await;
            session.answer(&insert("crm", n)).await;
            session.answer("COMMIT").await;
        }
    });
    futures::future::join_all(work).await;
    assert_eq!(counts(&sessions[0], &["shop", "crm"]).await, ["80", "80"]);
    server.stop().await;
}

#[tokio::test]
async fn settings_of_commits_are_shown_and_checked() {
    let place = Place::new();
    let server = place.serve().await;
    let session = proxy::connect(&server, OWNER).await;
    assert_eq!(session.answer("SHOW tributary.cross_store_commit").await, "atomic");
    session.answer("SET tributary.cross_store_commit = 'saga'").await;
    assert_eq!(session.answer("SHOW tributary.cross_store_commit").await, "saga");
    assert_eq!(session.failure("SET tributary.cross_store_commit = 'perhaps'").await.code, "22023");
    assert_eq!(session.failure("SET tributary.last_commit = 'mine'").await.code, "55P02");
    let all = session.rows("SHOW ALL").await.unwrap();
    assert!(all.iter().any(|row| row.starts_with("tributary.last_commit|")), "{all:?}");
    for sql in ["CALL tributary.resolve('nothing', 'commit')", "CALL tributary.resolve('tributary:0:0', 'commit')"] {
        assert!(["22023", "22P02", "42704"].contains(&session.failure(sql).await.code.as_str()), "{sql}");
    }
    // Who may not decide is told of.
    let guest = proxy::connect(&server, proxy::GUEST).await;
    assert_eq!(guest.failure("CALL tributary.resolve('tributary:0:0', 'commit')").await.code, "42501");
    let file = place.path().join(".state/audit.jsonl");
    let is_it = |line: &str| line.contains("\"resolve\"") && line.contains("\"42501\"");
    let told = async || std::fs::read_to_string(&file).unwrap_or_default().lines().any(is_it).then_some(());
    eventually("the line of who was refused", told).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_postgres_that_prepares_nothing_decides_for_mariadb() {
    let place = Place::new();
    let arguments = ["-c", "max_prepared_transactions=0"].map(str::to_owned).to_vec();
    let postgres = Postgres::start_with(&Setup { arguments, ..support::throwaway() }).await.unwrap();
    let database = proxy::fresh(&postgres, TABLE).await;
    place.postgres("shop", &postgres, &database, "");
    in_mariadb(&place, "crm", "").await;
    file(&place, "notes", "delete").await;
    let server = place.serve().await;
    let session = proxy::connect(&server, OWNER).await;
    session.answer("BEGIN").await;
    session.answer(&insert("shop", 1)).await;
    session.answer(&insert("crm", 1)).await;
    session.answer("COMMIT").await;
    assert_eq!(session.answer(LAST).await, "last resource: crm; last: shop");
    session.answer("BEGIN").await;
    session.answer(&insert("shop", 2)).await;
    let failure = session.rows(&insert("notes", 2)).await.unwrap_err();
    assert_eq!((failure.code.as_str(), failure.hint.contains("max_prepared_transactions")), ("0A000", true), "{failure:?}");
    session.answer("ROLLBACK").await;
    assert_eq!(counts(&session, &["shop", "crm", "notes"]).await, ["1", "1", "0"]);
    server.stop().await;
}

/// What a repeatable block has read fixes how its store can take part.
#[tokio::test(flavor = "multi_thread")]
async fn repeatable_blocks_that_have_read_postgres_or_mariadb_commit_with_others_or_not_with_mongodb() {
    let place = Place::new();
    in_postgres(&place, "shop", "").await;
    in_mariadb(&place, "crm", "").await;
    in_mongodb(&place, "field").await;
    let server = place.serve().await;
    let session = proxy::connect(&server, OWNER).await;
    let begin = async |read: &[&str]| {
        session.answer("BEGIN ISOLATION LEVEL REPEATABLE READ").await;
        counts(&session, read).await
    };
    assert_eq!(begin(&["shop"]).await, ["0"]);
    session.answer(&insert("shop", 1)).await;
    session.answer(&insert("crm", 1)).await;
    assert_eq!(counts(&session, &["shop", "crm"]).await, ["1", "1"]);
    session.answer("COMMIT").await;
    assert_eq!(session.answer(LAST).await, "two-phase: shop, crm");
    // MariaDB cannot begin a transaction that can be prepared with a state that was read before.
    assert_eq!(begin(&["shop", "crm"]).await, ["1", "1"]);
    session.answer(&insert("crm", 2)).await;
    session.answer(&insert("shop", 2)).await;
    session.answer("COMMIT").await;
    assert_eq!(session.answer(LAST).await, "last resource: shop; last: crm");
    begin(&["crm"]).await;
    session.answer(&insert("crm", 3)).await;
    let failure = session.rows("INSERT INTO field.t (_id, n, v) VALUES (1, 1, 'x')").await.unwrap_err();
    assert_eq!(failure.code, "0A000");
    assert!(failure.detail.starts_with("Neither \"crm\" nor \"field\" can be prepared"), "{failure:?}");
    session.answer("ROLLBACK").await;
    assert_eq!(counts(&session, &["shop", "crm", "field"]).await, ["2", "2", "0"]);
}
