//! Events beside rows: both are there, or neither.

use super::bank::settled;
use super::holds::Holds;
use super::saga::SAGA;
use super::stage::{Lines, SERVERS, Stage, in_file, variables};
use super::{Said, ask, eventually};
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
    // Events of one transaction carry one name, and those of others another; of several stores it is that of their commit.
    session.answer(&format!("BEGIN; {change}; {}; {}", emit("first"), emit("second"))).await;
    session.answer("COMMIT").await;
    let names = "SELECT count(*), count(DISTINCT \"transaction\"), count(DISTINCT topic) FROM pg.tributary_outbox \
        WHERE \"transaction\" LIKE 'tributary:%'";
    assert_eq!(session.answer(names).await, "3|2|3");
    let of_both = "SELECT t.guarantee FROM east.tributary_outbox AS o JOIN tributary.transactions AS t ON t.gid = o.\"transaction\" \
        WHERE o.topic = 'of a file'";
    assert_eq!(session.answer(of_both).await, "last resource: pg; last: east");
    assert_eq!(in_file(&file, "SELECT count(DISTINCT \"transaction\") || '' FROM tributary_outbox").await, ["2"]);
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

#[tokio::test(flavor = "multi_thread")]
async fn an_event_is_in_mariadb_or_mongodb_beside_postgres_with_its_rows_or_not_at_all() {
    let stage = Stage::start_with(&SERVERS, EVENTS, "").await;
    let session = session(&stage, &SERVERS).await;
    let emit = |topic: &str| format!("CALL tributary.emit('{topic}', 'k', '{{\"n\": 1}}')");
    for store in ["maria", "mongo"] {
        let change = format!("UPDATE {store}.accounts SET balance = balance - 1 WHERE _id = 1");
        for (topic, end) in [("kept", "COMMIT"), ("dropped", "ROLLBACK")] {
            for sql in ["BEGIN", &change, &emit(topic), end] {
                session.answer(sql).await;
            }
        }
        assert_eq!(events(&session, store).await, ["kept|k|{\"n\": 1}"], "{store}");
        // A statement that fails afterwards takes the event back with it.
        for sql in ["BEGIN", &change, &emit("failed")] {
            session.answer(sql).await;
        }
        assert_eq!(session.rows("SELECT 1 / 0").await.unwrap_err().code, "22012");
        session.answer("COMMIT").await;
        // Outside of a block it is a transaction by itself.
        session.answer(&format!("CALL tributary.emit('alone', NULL, '[1]', '{store}')")).await;
        assert_eq!(session.answer("SHOW tributary.last_commit").await, format!("single store: {store}"));
        assert_eq!(events(&session, store).await, ["alone|~|[1]", "kept|k|{\"n\": 1}"], "{store}");
        assert_eq!(session.failure(&format!("DELETE FROM {store}.tributary_outbox")).await.code, "42501");
    }
    // Rows of one store and an event of another are one commit.
    for (rows, event, told) in [
        ("pg", "maria", "two-phase: pg, maria"),
        ("maria", "mongo", "last resource: maria; last: mongo"),
        ("mongo", "maria", "last resource: maria; last: mongo"),
    ] {
        session.answer("BEGIN").await;
        session.answer(&format!("UPDATE {rows}.accounts SET balance = balance - 1 WHERE _id = 2")).await;
        session.answer(&format!("CALL tributary.emit('of {rows}', 'k', '{{}}', '{event}')")).await;
        session.answer("COMMIT").await;
        assert_eq!(session.answer("SHOW tributary.last_commit").await, told);
        let found = format!("SELECT count(*) FROM {event}.tributary_outbox WHERE topic = 'of {rows}'");
        assert_eq!(session.answer(&found).await, "1");
        let named = format!(
            "SELECT t.guarantee FROM {event}.tributary_outbox AS o JOIN tributary.transactions AS t ON t.gid = o.\"transaction\" \
             WHERE o.topic = 'of {rows}'"
        );
        assert_eq!(session.answer(&named).await, told);
    }
    for store in ["maria", "mongo"] {
        let named =
            format!("SELECT count(DISTINCT \"transaction\") FROM {store}.tributary_outbox WHERE topic IN ('alone', 'kept')");
        assert_eq!(session.answer(&named).await, "2", "{store}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn events_of_postgres_mariadb_and_mongodb_go_with_their_rows_wherever_tributary_is_killed() {
    let holds = Holds::new();
    let mut stage = Stage::start_with(&SERVERS, EVENTS, &holds.failpoints()).await;
    let cases = [
        ("after_prepare", "pg", "maria", false),
        ("before_decision", "maria", "pg", false),
        ("after_decision", "maria", "pg", true),
        ("after_first_commit", "pg", "maria", true),
        ("after_mark", "mongo", "pg", false),
        ("before_last_commit", "mongo", "maria", false),
        ("after_last_commit", "mongo", "maria", true),
        ("before_last_commit", "maria", "mongo", false),
        ("after_last_commit", "maria", "mongo", true),
    ];
    for (number, (point, store, other, is_kept)) in cases.into_iter().enumerate() {
        let writer = session(&stage, &SERVERS).await;
        writer.answer("BEGIN").await;
        for name in [store, other] {
            writer.answer(&format!("INSERT INTO {name}.moves (_id, account, amount) VALUES ({number}, 1, 0)")).await;
        }
        writer.answer(&format!("CALL tributary.emit('{number}', 'k', '{{}}', '{store}')")).await;
        holds.kill(point);
        assert_eq!(ask(&writer, "COMMIT").await, Err(Said::Lost), "{point}");
        eventually(point, async || stage.proxy.has_ended().then_some(())).await;
        holds.clear();
        stage.proxy.again(&variables(&holds.failpoints())).await.unwrap();
        eventually("the end of what was prepared", async || stage.prepared().await.is_empty().then_some(())).await;
        let reader = session(&stage, &SERVERS).await;
        settled(&reader).await;
        let found = format!(
            "SELECT (SELECT count(*) FROM {store}.tributary_outbox WHERE topic = '{number}'), \
             (SELECT count(*) FROM {store}.moves WHERE _id = {number}), (SELECT count(*) FROM {other}.moves WHERE _id = {number})"
        );
        assert_eq!(reader.answer(&found).await, if is_kept { "1|1|1" } else { "0|0|0" }, "{point}: {store}, {other}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_of_a_step_is_undone_by_what_is_said_to_undo_it() {
    let stage = Stage::start_with(&["east", "west"], Lines { journal: "wal", ..EVENTS }, "").await;
    let session = session(&stage, &["east", "west"]).await;
    session.answer(SAGA).await;
    let written = [
        "BEGIN",
        "UPDATE east.accounts SET balance = balance - 5 WHERE _id = 1",
        "CALL tributary.emit('left', 'k', '{}', 'east')",
        "UPDATE west.accounts SET balance = balance + 5 WHERE _id = 1",
    ];
    for sql in written {
        session.answer(sql).await;
    }
    assert_eq!(session.rows("COMMIT").await.unwrap_err().code, "0A000");
    assert!(events(&session, "east").await.is_empty());
    // Of the last step nothing is ever undone.
    for sql in [written[0], written[1], "CALL tributary.emit('told', 'k', '{}', 'west')", "COMMIT"] {
        session.answer(sql).await;
    }
    assert_eq!(session.answer("SHOW tributary.last_commit").await, "saga: east, west");
    assert_eq!(events(&session, "west").await, ["told|k|{}"]);
}
