//! Statements that change rows, as a session sees them: counts and tags, blocks and savepoints, what is refused, and what is left in
//! the store afterwards, which is always read by another session than the one that wrote.

use std::path::Path;

use mongodb::bson::{Bson, doc};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{Connection, Executor};
use tokio_postgres::SimpleQueryMessage;
use tributary::server::Server;

use super::endless;
use crate::support::{self, proxy};
use proxy::{OWNER, Place, Session};

const NOTES: &str = "PRAGMA journal_mode = wal;
    CREATE TABLE notes (n INTEGER PRIMARY KEY, t TEXT NOT NULL DEFAULT 'none', points INTEGER);
    INSERT INTO notes VALUES (1, 'one', 10), (2, 'two', 20);";

/// What a database file itself holds.
async fn stored(file: &Path, sql: &'static str) -> Vec<String> {
    let options = SqliteConnectOptions::new().filename(file);
    let mut connection = SqliteConnection::connect_with(&options).await.unwrap();
    let rows = sqlx::query_scalar(sql).fetch_all(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    rows
}

const ALL: &str = "SELECT n || '|' || t || '|' || coalesce(points, '~') FROM notes ORDER BY n";

/// The count in the tag of the last statement of a text.
pub(super) async fn count(session: &Session, sql: &str) -> u64 {
    let messages = session.simple_query(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    match messages.last() {
        Some(SimpleQueryMessage::CommandComplete(count)) => *count,
        other => panic!("{sql}: {other:?}"),
    }
}

/// The code of what a statement fails with; the session may be in a failed block then.
pub(super) async fn code(session: &Session, sql: &str) -> String {
    match session.rows(sql).await {
        Ok(rows) => panic!("{sql} gave {rows:?}"),
        Err(failure) => failure.code,
    }
}

#[tokio::test]
async fn a_statement_of_its_own_is_kept_and_counted() {
    let place = Place::new();
    let file = place.sqlite("notes", NOTES).await;
    let server = place.serve().await;
    let session = proxy::connect(&server, OWNER).await;
    assert_eq!(count(&session, "INSERT INTO notes.notes VALUES (3, 'three', 30), (4, 'four', NULL)").await, 2);
    assert_eq!(count(&session, "INSERT INTO notes.notes (n) VALUES (5)").await, 1);
    assert_eq!(count(&session, "UPDATE notes.notes SET points = points + 1 WHERE n IN (1, 2, 9)").await, 2);
    assert_eq!(count(&session, "DELETE FROM notes.notes WHERE n = 4").await, 1);
    assert_eq!(count(&session, "DELETE FROM notes.notes WHERE false").await, 0);
    assert_eq!(count(&session, "UPDATE notes.notes SET t = 'x' WHERE 1 = 0").await, 0);
    assert_eq!(stored(&file, ALL).await, ["1|one|11", "2|two|21", "3|three|30", "5|none|~"]);
    let rows = session.answer("INSERT INTO notes.notes VALUES (6, 'six', 60) RETURNING n, upper(t), points * 2 AS twice").await;
    assert_eq!(rows, "6|SIX|120");
    assert_eq!(session.answer("DELETE FROM notes.notes WHERE n > 4 RETURNING *").await, "5|none|~\n6|six|60");
    assert_eq!(session.answer("SELECT n FROM notes.notes").await, "1\n2\n3");
    assert_eq!(stored(&file, ALL).await, ["1|one|11", "2|two|21", "3|three|30"]);
}

#[tokio::test]
async fn a_statement_that_fails_has_changed_nothing() {
    let place = Place::new();
    let file = place.sqlite("notes", NOTES).await;
    let server = place.serve().await;
    let session = proxy::connect(&server, OWNER).await;
    // More rows than one edit has; the last one meets a row that exists.
    let many =
        "INSERT INTO notes.notes SELECT CASE WHEN i = 2000 THEN 1 ELSE i + 10 END, 'many', i FROM generate_series(1, 2000) AS i";
    for (sql, expected) in [
        (many, "23505"),
        ("INSERT INTO notes.notes VALUES (7, 'seven', 70), (1, 'again', 0)", "23505"),
        ("INSERT INTO notes.notes VALUES (7, NULL, 70)", "23502"),
        ("INSERT INTO notes.notes VALUES (1, 'one', 10) RETURNING points / (n - 1)", "23505"),
        ("INSERT INTO notes.notes VALUES (7, 'seven', 70) RETURNING points / (n - 7)", "22012"),
        ("UPDATE notes.notes SET points = points / (n - 2)", "22012"),
        ("INSERT INTO notes.notes VALUES ('seven')", "22P02"),
        ("INSERT INTO notes.notes (nothing) VALUES (1)", "42703"),
        ("INSERT INTO notes.notes (n) VALUES (1, 2)", "42601"),
        ("UPDATE notes.notes SET t = 'x' WHERE nothing = 1", "42703"),
        ("DELETE FROM notes.nowhere", "42P01"),
        ("INSERT INTO notes.notes VALUES ($1)", "42P02"),
    ] {
        assert_eq!(session.failure(sql).await.code, expected, "{sql}");
    }
    assert_eq!(stored(&file, ALL).await, ["1|one|10", "2|two|20"]);
    let failure = session.failure("INSERT INTO notes.notes (n, nothing) VALUES (1, 2)").await;
    assert_eq!(failure.position, Some(29), "{failure:?}");
    let failure = session.failure("UPDATE notes.notes SET t = 'x' WHERE nothing = 1").await;
    assert_eq!(failure.position, Some(38), "{failure:?}");
}

#[tokio::test]
async fn a_block_sees_what_it_writes_and_others_see_it_when_it_is_committed() {
    let place = Place::new();
    let file = place.sqlite("notes", NOTES).await;
    let server = place.serve().await;
    let (session, other) = (proxy::connect(&server, OWNER).await, proxy::connect(&server, OWNER).await);
    for begin in ["BEGIN", "BEGIN ISOLATION LEVEL REPEATABLE READ", "BEGIN ISOLATION LEVEL SERIALIZABLE"] {
        for (end, kept) in [("ROLLBACK", false), ("COMMIT", true)] {
            session.answer(begin).await;
            assert_eq!(count(&session, "INSERT INTO notes.notes VALUES (3, 'three', 30)").await, 1, "{begin}");
            assert_eq!(count(&session, "UPDATE notes.notes SET t = 'III' WHERE n = 3").await, 1, "{begin}");
            assert_eq!(session.answer("SELECT t FROM notes.notes WHERE n = 3").await, "III", "{begin}");
            assert_eq!(session.answer("SELECT count(*), max(n) FROM notes.notes").await, "3|3", "{begin}");
            let prepared = session.query("SELECT points FROM notes.notes WHERE n = $1", &[&3_i64]).await.unwrap();
            assert_eq!(prepared.first().map(|row| row.get::<_, i64>(0)), Some(30), "{begin}");
            assert_eq!(other.answer("SELECT count(*) FROM notes.notes").await, "2", "{begin}");
            session.answer(end).await;
            assert_eq!(other.answer("SELECT count(*) FROM notes.notes").await, if kept { "3" } else { "2" }, "{begin} {end}");
        }
        assert_eq!(stored(&file, ALL).await, ["1|one|10", "2|two|20", "3|III|30"]);
        assert_eq!(count(&other, "DELETE FROM notes.notes WHERE n = 3").await, 1);
    }
}

#[tokio::test]
async fn repeatable_and_serializable_blocks_write_where_they_have_read() {
    let place = Place::new();
    let file = place.sqlite("notes", NOTES).await;
    place.sqlite("shelf", "CREATE TABLE books (b INTEGER PRIMARY KEY); INSERT INTO books VALUES (1);").await;
    let server = place.serve().await;
    let session = proxy::connect(&server, OWNER).await;
    session.answer("BEGIN ISOLATION LEVEL REPEATABLE READ").await;
    assert_eq!(session.answer("SELECT count(*) FROM notes.notes, shelf.books").await, "2");
    assert_eq!(count(&session, "INSERT INTO notes.notes SELECT b + 2, 'new', b FROM shelf.books").await, 1);
    assert_eq!(session.answer("SELECT max(n) FROM notes.notes").await, "3");
    session.answer("COMMIT").await;
    assert_eq!(stored(&file, ALL).await, ["1|one|10", "2|two|20", "3|new|1"]);
    session.answer("BEGIN ISOLATION LEVEL SERIALIZABLE").await;
    session.answer("SELECT count(*) FROM shelf.books").await;
    assert_eq!(code(&session, "DELETE FROM notes.notes WHERE n = 3").await, "0A000");
    session.answer("ROLLBACK").await;
    session.answer("BEGIN ISOLATION LEVEL SERIALIZABLE").await;
    assert_eq!(session.answer("SELECT count(*) FROM notes.notes").await, "3");
    session.answer("SAVEPOINT s").await;
    assert_eq!(count(&session, "INSERT INTO notes.notes VALUES (4, 'serial', 4)").await, 1);
    assert_eq!(session.answer("SELECT count(*) FROM notes.notes").await, "4");
    session.answer("ROLLBACK TO s").await;
    assert_eq!(count(&session, "UPDATE notes.notes SET t = 'serial' WHERE n = 3").await, 1);
    session.answer("COMMIT").await;
    assert_eq!(stored(&file, ALL).await, ["1|one|10", "2|two|20", "3|serial|1"]);
    // What somebody else has written since, it has not seen.
    let other = proxy::connect(&server, OWNER).await;
    session.answer("BEGIN ISOLATION LEVEL SERIALIZABLE").await;
    assert_eq!(session.answer("SELECT count(*) FROM notes.notes").await, "3");
    assert_eq!(count(&other, "UPDATE notes.notes SET points = 11 WHERE n = 1").await, 1);
    assert_eq!(code(&session, "UPDATE notes.notes SET points = 21 WHERE n = 2").await, "40001");
    session.answer("ROLLBACK").await;
    session.answer("BEGIN ISOLATION LEVEL SERIALIZABLE").await;
    assert_eq!(count(&session, "DELETE FROM notes.notes WHERE n = 3").await, 1);
    assert_eq!(session.answer("SELECT count(*) FROM notes.notes").await, "2");
    assert_eq!(code(&session, "SELECT count(*) FROM shelf.books").await, "0A000");
    session.answer("ROLLBACK").await;
    assert_eq!(stored(&file, ALL).await.len(), 3);
}

#[tokio::test]
async fn savepoints_undo_what_was_written_after_them() {
    let place = Place::new();
    let file = place.sqlite("notes", NOTES).await;
    let server = place.serve().await;
    let session = proxy::connect(&server, OWNER).await;
    session.answer("BEGIN; SAVEPOINT early").await;
    assert_eq!(count(&session, "INSERT INTO notes.notes (n) VALUES (3)").await, 1);
    session.answer("SAVEPOINT s").await;
    assert_eq!(count(&session, "INSERT INTO notes.notes (n) VALUES (4)").await, 1);
    assert_eq!(code(&session, "INSERT INTO notes.notes (n) VALUES (1)").await, "23505");
    assert_eq!(code(&session, "SELECT 1").await, "25P02");
    session.answer("ROLLBACK TO s").await;
    assert_eq!(session.answer("SELECT max(n) FROM notes.notes").await, "3");
    // The same savepoint once more, after an error that no store has seen.
    assert_eq!(count(&session, "INSERT INTO notes.notes (n) VALUES (5)").await, 1);
    assert_eq!(code(&session, "SELECT 1/0").await, "22012");
    session.answer("ROLLBACK TO s; RELEASE s").await;
    assert_eq!(count(&session, "INSERT INTO notes.notes (n) VALUES (6)").await, 1);
    session.answer("COMMIT").await;
    assert_eq!(stored(&file, "SELECT CAST(n AS TEXT) FROM notes ORDER BY n").await, ["1", "2", "3", "6"]);
    session.answer("BEGIN; SAVEPOINT early").await;
    assert_eq!(count(&session, "DELETE FROM notes.notes").await, 4);
    session.answer("ROLLBACK TO early").await;
    assert_eq!(count(&session, "DELETE FROM notes.notes WHERE n = 6").await, 1);
    session.answer("COMMIT").await;
    assert_eq!(stored(&file, "SELECT CAST(n AS TEXT) FROM notes ORDER BY n").await, ["1", "2", "3"]);
    // A block that fails without one keeps nothing, and its COMMIT says so.
    session.answer("BEGIN").await;
    assert_eq!(count(&session, "DELETE FROM notes.notes").await, 3);
    assert_eq!(code(&session, "SELECT 1/0").await, "22012");
    session.answer("COMMIT").await;
    assert_eq!(stored(&file, "SELECT CAST(n AS TEXT) FROM notes ORDER BY n").await.len(), 3);
}

#[tokio::test]
async fn a_text_of_several_statements_is_kept_as_a_whole_or_not_at_all() {
    let place = Place::new();
    let file = place.sqlite("notes", NOTES).await;
    let server = place.serve().await;
    let session = proxy::connect(&server, OWNER).await;
    let insert = |n: u8| format!("INSERT INTO notes.notes (n) VALUES ({n})");
    assert_eq!(session.failure(&format!("{}; SELECT 1/0", insert(3))).await.code, "22012");
    assert_eq!(session.failure(&format!("{}; {}", insert(3), insert(1))).await.code, "23505");
    assert_eq!(stored(&file, ALL).await.len(), 2);
    session.answer(&format!("{}; {}", insert(3), insert(4))).await;
    assert_eq!(stored(&file, ALL).await.len(), 4);
    // COMMIT keeps what stands before it, whatever comes after.
    assert_eq!(session.failure(&format!("{}; COMMIT; {}; SELECT 1/0", insert(5), insert(6))).await.code, "22012");
    assert_eq!(stored(&file, "SELECT CAST(max(n) AS TEXT) FROM notes").await, ["5"]);
}

#[tokio::test]
async fn a_second_store_that_cannot_be_committed_with_the_first_is_refused_before_anything_is_written_to_it() {
    let place = Place::new();
    let notes = place.sqlite("notes", NOTES).await;
    let shelf = place.sqlite("shelf", "CREATE TABLE books (b INTEGER PRIMARY KEY); INSERT INTO books VALUES (1);").await;
    let server = place.serve().await;
    let session = proxy::connect(&server, OWNER).await;
    session.answer("BEGIN").await;
    assert_eq!(count(&session, "DELETE FROM notes.notes WHERE n = 1").await, 1);
    // Others may be read beside it.
    assert_eq!(session.answer("SELECT b FROM shelf.books").await, "1");
    let failure = session.rows("INSERT INTO shelf.books VALUES (2)").await.unwrap_err();
    let told = "stores \"notes\" and \"shelf\" cannot be committed together: the journal of \"notes\" is in mode wal";
    assert_eq!((failure.code.as_str(), failure.message.as_str()), ("0A000", told));
    assert!(failure.detail.contains("journal_mode"), "{failure:?}");
    assert_eq!(code(&session, "SELECT 1").await, "25P02");
    session.answer("COMMIT").await;
    assert_eq!(stored(&notes, ALL).await.len(), 2);
    assert_eq!(stored(&shelf, "SELECT CAST(b AS TEXT) FROM books").await, ["1"]);
    let text = "DELETE FROM notes.notes WHERE n = 1; DELETE FROM shelf.books";
    assert_eq!(session.failure(text).await.code, "0A000");
    assert_eq!((stored(&notes, ALL).await.len(), stored(&shelf, "SELECT CAST(b AS TEXT) FROM books").await.len()), (2, 1));
    // One after the other each has a transaction of its own.
    assert_eq!(count(&session, "DELETE FROM notes.notes WHERE n = 1").await, 1);
    assert_eq!(count(&session, "DELETE FROM shelf.books").await, 1);
}

async fn reader(place: &Place) -> (Server, Session) {
    place.add_role("reader");
    let path = place.path().join("tributary.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    place.write("tributary.toml", &format!("{text}read_only = true\n"));
    let server = place.serve().await;
    let session = proxy::connect(&server, "reader").await;
    (server, session)
}

#[tokio::test]
async fn who_only_reads_is_told_so() {
    let place = Place::new();
    let file = place.sqlite("notes", NOTES).await;
    place.sqlite("fixed", NOTES).await;
    place.write("stores/fixed.toml", "kind = \"sqlite\"\npath = \"fixed.db\"\nread_only = true\n");
    place.write("views/sums.sql", "SELECT sum(points) AS total FROM notes.notes");
    let (server, session) = reader(&place).await;
    let writes = ["INSERT INTO notes.notes (n) VALUES (3)", "UPDATE notes.notes SET t = 'x'", "DELETE FROM notes.notes"];
    for sql in writes {
        assert_eq!(session.failure(sql).await.code, "42501", "{sql}");
    }
    let failure = session.failure(writes[0]).await;
    assert_eq!(failure.message, "permission denied for table notes");
    let owner = proxy::connect(&server, OWNER).await;
    for (settings, undone) in
        [("BEGIN READ ONLY", "ROLLBACK"), ("SET default_transaction_read_only = on", "RESET default_transaction_read_only")]
    {
        for (sql, verb) in writes.into_iter().zip(["INSERT", "UPDATE", "DELETE"]) {
            owner.answer(settings).await;
            let failure = owner.rows(sql).await.unwrap_err();
            assert_eq!(failure.code, "25006", "{settings}");
            assert_eq!(failure.message, format!("cannot execute {verb} in a read-only transaction"));
            owner.answer(undone).await;
        }
    }
    for (sql, expected) in [
        ("DELETE FROM fixed.notes", "25006"),
        ("DELETE FROM fixed.notes WHERE false", "25006"),
        ("INSERT INTO public.sums VALUES (1)", "55000"),
        ("DELETE FROM pg_catalog.pg_class", "42501"),
    ] {
        assert_eq!(owner.failure(sql).await.code, expected, "{sql}");
    }
    assert_eq!(stored(&file, ALL).await, ["1|one|10", "2|two|20"]);
    assert_eq!(session.answer("SELECT count(*) FROM notes.notes").await, "2");
}

#[tokio::test]
async fn prepared_writes_run_again_and_follow_their_table() {
    let place = Place::new();
    let file = place.sqlite("notes", NOTES).await;
    let server = place.serve().await;
    let session = proxy::connect(&server, OWNER).await;
    let insert = session.prepare("INSERT INTO notes.notes (n, t) VALUES ($1, $2)").await.unwrap();
    for (n, t) in [(3_i64, "three"), (4, "it's \\' or 1=1 --")] {
        assert_eq!(session.execute(&insert, &[&n, &t]).await.unwrap(), 1);
    }
    let returning = session.prepare("UPDATE notes.notes SET points = $2 WHERE n = $1 RETURNING t").await.unwrap();
    let rows = session.query(&returning, &[&4_i64, &40_i64]).await.unwrap();
    assert_eq!(rows.iter().map(|row| row.get::<_, String>(0)).collect::<Vec<_>>(), ["it's \\' or 1=1 --"]);
    proxy::sqlite(&file, "ALTER TABLE notes ADD COLUMN late TEXT DEFAULT 'later'").await;
    session.answer("CALL tributary.refresh('notes')").await;
    assert_eq!(session.execute(&insert, &[&5_i64, &"five"]).await.unwrap(), 1);
    assert_eq!(stored(&file, "SELECT n || t || late FROM notes WHERE n = 5").await, ["5fivelater"]);
    session.answer("PREPARE gone (bigint) AS DELETE FROM notes.notes WHERE n = $1").await;
    assert_eq!(count(&session, "EXECUTE gone (5)").await, 1);
    assert_eq!(count(&session, "EXECUTE gone (5)").await, 0);
    assert_eq!(session.failure("EXECUTE gone (1, 2)").await.code, "42601");
    session.answer("BEGIN READ ONLY").await;
    assert_eq!(code(&session, "EXECUTE gone (1)").await, "25006");
    session.answer("ROLLBACK").await;
    let all = session.prepare("DELETE FROM notes.notes WHERE n = 4 RETURNING *").await.unwrap();
    proxy::sqlite(&file, "ALTER TABLE notes ADD COLUMN latest TEXT").await;
    session.answer("CALL tributary.refresh('notes')").await;
    let changed = session.query(&all, &[]).await.unwrap_err();
    assert_eq!(changed.code().map(|code| code.code()), Some("0A000"));
    assert_eq!(stored(&file, "SELECT CAST(n AS TEXT) FROM notes ORDER BY n").await, ["1", "2", "3", "4"]);
}

#[tokio::test]
async fn rows_that_would_update_one_row_twice_are_found_across_edits() {
    let place = Place::new();
    let file =
        place.sqlite("notes", "CREATE TABLE ratios (r REAL PRIMARY KEY, t TEXT); INSERT INTO ratios VALUES (7, 'kept');").await;
    let server = place.serve().await;
    let session = proxy::connect(&server, OWNER).await;
    // More rows than one edit has: the first and the last key are one, as zeros of both signs are.
    let upsert = |last: &str| {
        format!(
            "INSERT INTO notes.ratios SELECT CASE WHEN i = 1200 THEN '{last}'::float8 ELSE i::float8 END, 'new'
             FROM generate_series(0, 1200) AS i ON CONFLICT (r) DO UPDATE SET t = excluded.t"
        )
    };
    assert_eq!(session.failure(&upsert("-0")).await.code, "21000");
    assert_eq!(stored(&file, "SELECT t FROM ratios").await, ["kept"]);
    assert_eq!(count(&session, &upsert("0.5")).await, 1201);
    assert_eq!(stored(&file, "SELECT CAST(count(*) AS TEXT) FROM ratios WHERE t = 'new'").await, ["1201"]);
    let values = "INSERT INTO notes.ratios VALUES ('0', 'a'), ('-0', 'b') ON CONFLICT (r) DO UPDATE SET t = excluded.t";
    assert_eq!(session.failure(values).await.code, "21000");
    assert_eq!(stored(&file, "SELECT t FROM ratios WHERE r = 0").await, ["new"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_waits_for_a_lock_in_postgres_can_be_stopped() {
    let place = Place::new();
    let postgres = support::postgres().await;
    let table = "CREATE TABLE stock (n int PRIMARY KEY, t text); INSERT INTO stock VALUES (1, 'a'), (2, 'b')";
    let database = proxy::fresh(postgres, table).await;
    place.postgres("shop", postgres, &database, "");
    let server = place.serve().await;
    let session = proxy::connect(&server, OWNER).await;
    let mut holder = proxy::direct(postgres, &database).await;
    holder.execute("BEGIN").await.unwrap();
    holder.execute("UPDATE stock SET t = 'held' WHERE n = 1").await.unwrap();
    session.answer("SET statement_timeout = '300ms'").await;
    let failure = session.failure("UPDATE shop.stock SET t = 'x' WHERE n = 1").await;
    assert_eq!((failure.code.as_str(), failure.message.as_str()), ("57014", "canceling statement due to statement timeout"));
    session.answer("RESET statement_timeout").await;
    let mut waiting = std::pin::pin!(session.rows("UPDATE shop.stock SET t = 'x'"));
    let failure = loop {
        match tokio::time::timeout(std::time::Duration::from_millis(100), &mut waiting).await {
            Ok(outcome) => break outcome.unwrap_err(),
            Err(_elapsed) => session.cancel().await,
        }
    };
    assert_eq!((failure.code.as_str(), failure.message.as_str()), ("57014", "canceling statement due to user request"));
    holder.execute("ROLLBACK").await.unwrap();
    assert_eq!(session.answer("SELECT t FROM shop.stock ORDER BY n").await, "a\nb");
    assert_eq!(count(&session, "UPDATE shop.stock SET t = 'x'").await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_postgres_refuses_has_kept_nothing() {
    let place = Place::new();
    let postgres = support::postgres().await;
    let tables = "CREATE TABLE owner (id int PRIMARY KEY);
        CREATE TABLE dog (id int PRIMARY KEY, owner int REFERENCES owner DEFERRABLE INITIALLY DEFERRED)";
    let database = proxy::fresh(postgres, tables).await;
    place.postgres("shop", postgres, &database, "");
    let server = place.serve().await;
    let session = proxy::connect(&server, OWNER).await;
    session.answer("BEGIN; SET application_name = 'lost'").await;
    assert_eq!(count(&session, "INSERT INTO shop.dog VALUES (1, 1)").await, 1);
    assert_eq!(session.failure("COMMIT").await.code, "23503");
    assert_eq!(session.answer("SHOW application_name").await, "");
    session.answer("BEGIN").await;
    assert_eq!(count(&session, "INSERT INTO shop.dog VALUES (1, 1)").await, 1);
    assert_eq!(session.failure("COMMIT AND CHAIN").await.code, "23503");
    assert_eq!(session.failure("INSERT INTO shop.dog VALUES (1, 1)").await.code, "23503");
    let returning = "INSERT INTO shop.dog VALUES (1, 1) RETURNING id";
    assert_eq!(session.failure(returning).await.code, "23503");
    let refused = session.query(returning, &[]).await.unwrap_err();
    assert_eq!(refused.code().map(|code| code.code()), Some("23503"));
    assert_eq!(session.answer("SELECT count(*) FROM shop.dog").await, "0");
    session.answer("BEGIN").await;
    assert_eq!(count(&session, "INSERT INTO shop.dog VALUES (1, 1)").await, 1);
    assert_eq!(count(&session, "INSERT INTO shop.owner VALUES (1)").await, 1);
    session.answer("COMMIT").await;
    assert_eq!(session.answer("SELECT count(*) FROM shop.dog JOIN shop.owner ON dog.owner = owner.id").await, "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_repeatable_blocks_that_change_one_row_in_postgres_are_not_both_committed() {
    let place = Place::new();
    let postgres = support::postgres().await;
    let table = "CREATE TABLE stock (n int PRIMARY KEY, left_over int); INSERT INTO stock VALUES (1, 10)";
    let database = proxy::fresh(postgres, table).await;
    place.postgres("shop", postgres, &database, "");
    let server = place.serve().await;
    let (first, second) = (proxy::connect(&server, OWNER).await, proxy::connect(&server, OWNER).await);
    for session in [&first, &second] {
        session.answer("BEGIN ISOLATION LEVEL REPEATABLE READ").await;
        assert_eq!(session.answer("SELECT left_over FROM shop.stock").await, "10");
    }
    let take = "UPDATE shop.stock SET left_over = left_over - 1 WHERE n = 1";
    assert_eq!(count(&first, take).await, 1);
    assert_eq!(first.answer("SELECT left_over FROM shop.stock").await, "9");
    first.answer("COMMIT").await;
    assert_eq!(code(&second, take).await, "40001");
    second.answer("ROLLBACK").await;
    // Committed reads take the newest row, so that nothing is lost.
    for session in [&first, &second] {
        assert_eq!(count(session, take).await, 1);
    }
    assert_eq!(first.answer("SELECT left_over FROM shop.stock").await, "7");
}

#[tokio::test]
async fn what_was_written_to_a_store_that_is_closed_meanwhile_is_never_called_kept() {
    let place = Place::new();
    place.configure("[limits]\ndrain_grace = \"1s\"");
    let file = place.sqlite("notes", NOTES).await;
    let server = place.serve().await;
    let session = proxy::connect(&server, OWNER).await;
    for (number, next) in
        ["INSERT INTO notes.notes (n) VALUES (4)", "UPDATE notes.notes SET t = 'x'", "TABLE notes.notes", "COMMIT"]
            .into_iter()
            .enumerate()
    {
        session.answer("BEGIN; SAVEPOINT s").await;
        assert_eq!(count(&session, "INSERT INTO notes.notes (n) VALUES (3)").await, 1);
        server.reload().await.unwrap();
        // Waits until the file is no longer locked.
        proxy::sqlite(&file, &format!("UPDATE notes SET points = {number} WHERE n = 1")).await;
        let failure = session.rows(next).await.unwrap_err();
        assert!(failure.code.starts_with("08"), "{next}: {failure:?}");
        if next != "COMMIT" {
            assert!(code(&session, "ROLLBACK TO s").await.starts_with("08"), "{next}");
            assert_eq!(code(&session, "SELECT 1").await, "25P02");
            session.answer("COMMIT").await;
        }
        assert_eq!(stored(&file, "SELECT CAST(n AS TEXT) FROM notes ORDER BY n").await, ["1", "2"], "{next}");
    }
    assert_eq!(count(&session, "INSERT INTO notes.notes (n) VALUES (3)").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_written_through_a_lost_connection_to_postgres_is_never_called_kept() {
    let place = Place::new();
    let postgres = support::postgres().await;
    let database = proxy::fresh(postgres, "CREATE TABLE stock (n int PRIMARY KEY); INSERT INTO stock VALUES (1)").await;
    place.postgres("shop", postgres, &database, "");
    let server = place.serve().await;
    let (session, other) = (proxy::connect(&server, OWNER).await, proxy::connect(&server, OWNER).await);
    let mut owner = proxy::direct(postgres, &database).await;
    let all =
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()";
    let left = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND xact_start IS NOT NULL
        AND pid <> pg_backend_pid()";
    for next in ["TABLE shop.stock", "INSERT INTO shop.stock VALUES (3)", "UPDATE shop.stock SET n = n + 10", "COMMIT"] {
        session.answer("BEGIN; SAVEPOINT s").await;
        assert_eq!(count(&session, "INSERT INTO shop.stock VALUES (2)").await, 1);
        owner.execute(all).await.unwrap();
        while sqlx::query_scalar::<_, i64>(left).fetch_one(&mut owner).await.unwrap() > 0 {
            tokio::task::yield_now().await;
        }
        let failure = session.rows(next).await.unwrap_err();
        assert!(failure.code.starts_with("08"), "{next}: {failure:?}");
        if next != "COMMIT" {
            assert!(code(&session, "ROLLBACK TO s").await.starts_with("08"), "{next}");
            session.answer("COMMIT").await;
        }
        assert_eq!(other.answer("SELECT n FROM shop.stock").await, "1", "{next}");
    }
    // Nothing is to be kept, so that nothing can fail.
    session.answer("BEGIN ISOLATION LEVEL REPEATABLE READ").await;
    assert_eq!(session.answer("SELECT n FROM shop.stock").await, "1");
    owner.execute(all).await.unwrap();
    session.answer("ROLLBACK").await;
    assert_eq!(session.answer("SELECT n FROM shop.stock").await, "1");
}

/// The square of the number below has more digits than decimals of the server.
#[tokio::test(flavor = "multi_thread")]
async fn what_needs_more_digits_than_mongodb_has_is_computed_here_before_it_is_written() {
    let place = Place::new();
    let mongodb = support::mongodb().await;
    let database = mongodb.fresh_database().await.unwrap();
    let client = endless::client(mongodb).await;
    let cost = Bson::Decimal128("1234567890123456789012345678901234".parse().unwrap());
    client.database(&database).collection("sums").insert_one(doc! { "_id": 1_i64, "cost": cost, "got": "no" }).await.unwrap();
    place.mongodb("field", mongodb, &database, "");
    let file = place.sqlite("notes", NOTES).await;
    let server = place.serve().await;
    let session = proxy::connect(&server, OWNER).await;
    let square = "1524157875323883675049535156256666792303015211342784374345526722756";
    let sum = "SELECT sum(cost * cost)::text FROM field.sums";
    assert_eq!(session.answer(sum).await, square);
    assert_eq!(count(&session, "INSERT INTO notes.notes (n, t) SELECT 3, sum(cost * cost)::text FROM field.sums").await, 1);
    assert_eq!(count(&session, &format!("INSERT INTO notes.notes (n, t) VALUES (4, ({sum}))")).await, 1);
    assert_eq!(stored(&file, "SELECT t FROM notes WHERE n > 2").await, [square, square]);
    assert_eq!(count(&session, &format!("UPDATE notes.notes SET points = 0 WHERE t = ({sum})")).await, 2);
    assert_eq!(count(&session, "UPDATE field.sums SET got = 'yes' WHERE cost * cost > 1 AND got = 'no'").await, 1);
    // In a transaction of the server such a failure would be its end.
    session.answer("BEGIN").await;
    assert_eq!(count(&session, "UPDATE field.sums SET cost = 1 - cost WHERE _id = 1").await, 1);
    assert_eq!(session.answer("SELECT sum((1 - cost) * (1 - cost))::text FROM field.sums").await, square);
    session.answer("ROLLBACK").await;
    assert_eq!(session.answer("SELECT got FROM field.sums").await, "yes");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_postgres_has_given_up_changes_no_other_rows() {
    let place = Place::new();
    let postgres = support::postgres().await;
    let table = "CREATE TABLE stock (id int PRIMARY KEY, n int, v int); INSERT INTO stock VALUES (1, 9, 0), (2, 9, 0)";
    let database = proxy::fresh(postgres, table).await;
    place.postgres("shop", postgres, &database, "");
    let server = place.serve().await;
    let session = proxy::connect(&server, OWNER).await;
    let changes = [
        "UPDATE shop.stock SET v = 99 FROM (VALUES (1), (2)) AS o (id) WHERE o.id = stock.id AND stock.n = 9",
        "DELETE FROM shop.stock USING (VALUES (1), (2)) AS o (id) WHERE o.id = stock.id AND stock.n = 9",
    ];
    assert_eq!(count(&session, changes[0]).await, 2);
    let mut owner = proxy::direct(postgres, &database).await;
    owner.execute("ALTER TABLE stock DROP CONSTRAINT stock_pkey").await.unwrap();
    owner.execute("INSERT INTO stock VALUES (1, NULL, 0)").await.unwrap();
    for sql in changes {
        let failure = session.failure(sql).await;
        // The catalog is read again after the first failure, and then knows no key.
        assert!(["HV000", "0A000"].contains(&failure.code.as_str()), "{} {}", failure.code, failure.message);
        let rows = "SELECT id, n, v FROM shop.stock ORDER BY id, n";
        assert_eq!(session.answer(rows).await, "1|9|99\n1|~|0\n2|9|99");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_writes_to_mariadb_while_its_cursor_reads_from_it() {
    let place = Place::new();
    let mariadb = support::mariadb().await;
    let database = mariadb.fresh_database().await.unwrap();
    let mut owner = endless::direct(mariadb, &database).await;
    for sql in [
        "CREATE TABLE stock (n int PRIMARY KEY, filler varchar(300))",
        "INSERT INTO stock SELECT seq, repeat('x', 300) FROM seq_1_to_100000",
    ] {
        owner.execute(sql).await.unwrap();
    }
    place.mariadb("shop", mariadb, &database, "pool.size = 1\n");
    let server = place.serve().await;
    let session = proxy::connect(&server, OWNER).await;
    session.answer("BEGIN; DECLARE k CURSOR FOR SELECT n, filler FROM shop.stock").await;
    assert_eq!(session.rows("FETCH 5 FROM k").await.unwrap().len(), 5);
    assert_eq!(count(&session, "INSERT INTO shop.stock VALUES (-1, 'new')").await, 1);
    assert_eq!(session.rows("FETCH 5 FROM k").await.unwrap().len(), 5);
    session.answer("COMMIT").await;
    assert_eq!(session.answer("SELECT filler FROM shop.stock WHERE n = -1").await, "new");
    server.stop().await;
}

#[tokio::test]
async fn a_key_that_names_no_rows_is_told() {
    let place = Place::new();
    let readings = "CREATE TABLE readings (station BIGINT NOT NULL, day DATE NOT NULL, level INTEGER, PRIMARY KEY (station, day))";
    place.sqlite("notes", readings).await;
    let server = place.serve().await;
    let session = proxy::connect(&server, OWNER).await;
    for sql in [
        "UPDATE notes.readings SET level = 1 WHERE day = '2024-02-29'",
        "DELETE FROM notes.readings WHERE day = '2024-02-29'",
        "MERGE INTO notes.readings r USING notes.readings s ON r.day = s.day WHEN MATCHED THEN DELETE",
    ] {
        let failure = session.failure(sql).await;
        let told = "Its key (station bigint, day date) does not do: the store may hold one value in several forms, or none.";
        assert_eq!((failure.code.as_str(), failure.detail.as_str()), ("0A000", told), "{sql}");
    }
}
