//! Events beside rows: both are there, or neither.

use super::stage::{Lines, Stage, in_file};
use crate::support::proxy::Session;

const EVENTS: Lines<'static> = Lines { server: "", store: "outbox = true\n", journal: "delete" };

/// A session that knows the tables that were made at the start.
async fn session(stage: &Stage, stores: &[&str]) -> Session {
    let session = stage.session().await;
    for store in stores {
        session.answer(&format!("CALL tributary.refresh('{store}')")).await;
    }
    session
}

/// Topics, keys and payloads in a store.
async fn events(session: &Session, store: &str) -> Vec<String> {
    session.rows(&format!("SELECT topic, key, payload FROM {store}.tributary_outbox ORDER BY topic")).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_is_in_postgres_with_its_rows_or_not_at_all() {
    let stage = Stage::start_with(&["pg", "east"], EVENTS, "").await;
    let session = session(&stage, &["pg", "east"]).await;
    let change = "UPDATE pg.accounts SET balance = balance - 1 WHERE _id = 1";
    let emit = |topic: &str| format!("CALL tributary.emit('{topic}', 'k', '{{\"n\": 1}}')");
    session.answer(&format!("BEGIN; {change}; {}", emit("kept"))).await;
    session.answer("COMMIT").await;
    session.answer(&format!("BEGIN; {change}; {}", emit("dropped"))).await;
    session.answer("ROLLBACK").await;
    assert_eq!(events(&session, "pg").await, ["kept|k|{\"n\": 1}"]);
    // The event goes to where the rows go, as one commit.
    session.answer("BEGIN; UPDATE east.accounts SET balance = 7 WHERE _id = 1").await;
    session.answer(&format!("{}; {change}", emit("of a file"))).await;
    session.answer("COMMIT").await;
    assert_eq!(events(&session, "east").await, ["of a file|k|{\"n\": 1}"]);
    assert_eq!(session.answer("SHOW tributary.last_commit").await, "last resource: pg; last: east");
    // Or to where it is told to, and then it is a write there.
    session.answer("BEGIN; CALL tributary.emit('named', NULL, '[]', 'east')").await;
    session.answer("COMMIT").await;
    assert_eq!(session.answer("SHOW tributary.last_commit").await, "single store: east");
    let file = stage.place.path().join("east.db");
    assert_eq!(in_file(&file, "SELECT topic FROM tributary_outbox ORDER BY topic").await, ["named", "of a file"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_cannot_be_is_refused_and_nobody_else_writes_to_the_outbox_of_postgres() {
    let stage = Stage::start_with(&["pg"], EVENTS, "").await;
    let session = session(&stage, &["pg"]).await;
    let change = "UPDATE pg.accounts SET balance = balance - 1 WHERE _id = 1";
    for (sql, code) in [
        ("CALL tributary.emit('t', 'k', 'no json')", "22P02"),
        ("CALL tributary.emit('t', 'k', '{}', 'nowhere')", "42704"),
        ("INSERT INTO pg.tributary_outbox (topic) VALUES ('t')", "42501"),
        ("DELETE FROM pg.tributary_outbox", "42501"),
        ("SELECT tributary.emit('t', 'k', '{}') FROM pg.accounts", "0A000"),
    ] {
        session.answer(&format!("BEGIN; {change}")).await;
        let failure = session.rows(sql).await.unwrap_err();
        session.answer("ROLLBACK").await;
        assert_eq!(failure.code, code, "{sql}: {failure:?}");
    }
    // Nothing says where it belongs.
    session.answer("BEGIN").await;
    assert_eq!(session.rows("SELECT tributary.emit('t', 'k', '{}')").await.unwrap_err().code, "55000");
    // Rows that are locked are not written.
    session.answer("ROLLBACK; BEGIN").await;
    session.answer("SELECT balance FROM pg.accounts WHERE _id = 1 FOR UPDATE").await;
    assert_eq!(session.rows("CALL tributary.emit('t', 'k', '{}')").await.unwrap_err().code, "55000");
    session.answer("ROLLBACK; BEGIN READ ONLY").await;
    assert_eq!(session.rows("CALL tributary.emit('t', 'k', '{}', 'pg')").await.unwrap_err().code, "25006");
    session.answer("ROLLBACK").await;
    assert!(events(&session, "pg").await.is_empty());
    // As a query it gives the event's id.
    session.answer(&format!("BEGIN; {change}")).await;
    let id = session.answer("SELECT tributary.emit('t', 'k', '{}')").await;
    session.answer("COMMIT").await;
    assert_eq!(session.answer(&format!("SELECT topic FROM pg.tributary_outbox WHERE id = '{id}'")).await, "t");
}
