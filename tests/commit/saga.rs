//! Stores that cannot be committed together, one after the other where the session asks for that: SQLite files whose journals are
//! write-ahead logs.

use super::stage::{Lines, Stage, in_file};
use super::{Said, ask, eventually};
use crate::support::proxy::Session;

pub const WAL: Lines<'static> = Lines { server: "", store: "", journal: "wal" };
pub const SAGA: &str = "SET tributary.cross_store_commit = 'saga'";
const SEEN: &str = "SELECT (SELECT balance FROM east.accounts WHERE _id = 1), (SELECT balance FROM west.accounts WHERE _id = 1)";
const FROM: &str = "UPDATE east.accounts SET balance = balance - 5 WHERE _id = 1";
const TO: &str = "UPDATE west.accounts SET balance = balance + 5 WHERE _id = 1";

async fn stage(failpoints: &str) -> Stage {
    Stage::start_with(&["east", "west"], WAL, failpoints).await
}

/// Makes the commit of `west` fail: a reference that is looked at there.
async fn with_references(stage: &Stage) {
    let tables = "CREATE TABLE owner (_id INTEGER PRIMARY KEY); CREATE TABLE dog (_id INTEGER PRIMARY KEY, \
        owner INTEGER REFERENCES owner DEFERRABLE INITIALLY DEFERRED)";
    crate::support::proxy::sqlite(&stage.place.path().join("west.db"), tables).await;
    stage.session().await.answer("CALL tributary.refresh('west')").await;
}

async fn at_rest(session: &Session) {
    let open = "SELECT count(*) FROM tributary.transactions WHERE state NOT IN ('committed', 'rolled back')";
    eventually("the end of all transactions", async || (session.answer(open).await == "0").then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn files_with_write_ahead_logs_are_refused_together_unless_steps_are_asked_for() {
    let stage = stage("").await;
    let session = stage.session().await;
    session.answer("BEGIN").await;
    session.answer(FROM).await;
    let refused = session.rows(TO).await.unwrap_err();
    assert_eq!(refused.code, "0A000");
    assert!(refused.message.ends_with("is in mode wal"), "{refused:?}");
    session.answer("ROLLBACK").await;
    session.answer(SAGA).await;
    for (undone, expected) in [(false, "995|1005"), (true, "990|1010")] {
        session.answer("BEGIN").await;
        session.answer(FROM).await;
        if undone {
            // Said by hand, it is what is kept for the worst.
            session.answer("CALL tributary.compensate('UPDATE east.accounts SET balance = balance + 5 WHERE _id = 1')").await;
        }
        session.answer(TO).await;
        session.answer("COMMIT").await;
        assert_eq!(session.answer("SHOW tributary.last_commit").await, "saga: east, west");
        assert_eq!(session.answer(SEEN).await, expected);
    }
    at_rest(&session).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_that_is_refused_takes_those_before_it_back() {
    let stage = stage("").await;
    with_references(&stage).await;
    let session = stage.session().await;
    session.answer(SAGA).await;
    let insert = "INSERT INTO east.moves VALUES (1, 1, 5), (2, 1, 6)";
    let delete = "DELETE FROM east.accounts WHERE _id = 3";
    for by_hand in [false, true] {
        session.answer("BEGIN").await;
        session.answer(FROM).await;
        if by_hand {
            session.answer("CALL tributary.compensate('UPDATE east.accounts SET balance = balance + 5 WHERE _id = 1')").await;
        } else {
            session.answer(insert).await;
            session.answer(delete).await;
        }
        session.answer("INSERT INTO west.dog VALUES (1, 1)").await;
        let refused = session.rows("COMMIT").await.unwrap_err();
        assert_eq!((refused.code.as_str(), refused.detail.contains("compensated")), ("23503", true), "{refused:?}");
        at_rest(&session).await;
        assert_eq!(session.answer("SELECT count(*), sum(balance) FROM east.accounts").await, "12|12000");
        assert_eq!(session.answer("SELECT count(*) FROM east.moves").await, "0");
        assert_eq!(session.answer("SELECT count(*) FROM west.dog").await, "0");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn steps_that_were_committed_when_tributary_was_killed_are_taken_back_at_the_next_start() {
    let mut stage = stage("saga_step=kill@1").await;
    let session = stage.session().await;
    session.answer(SAGA).await;
    session.answer("BEGIN").await;
    session.answer(FROM).await;
    session.answer(TO).await;
    assert_eq!(ask(&session, "COMMIT").await, Err(Said::Lost));
    eventually("the end of Tributary", async || stage.proxy.has_ended().then_some(())).await;
    // The first step is there, and only that.
    let balance = "SELECT CAST(balance AS TEXT) FROM accounts WHERE _id = 1";
    assert_eq!(in_file(&stage.place.path().join("east.db"), balance).await, ["995"]);
    assert_eq!(in_file(&stage.place.path().join("west.db"), balance).await, ["1000"]);
    stage.proxy.again(&[]).await.unwrap();
    let session = stage.session().await;
    at_rest(&session).await;
    assert_eq!(session.answer(SEEN).await, "1000|1000");
    // Once, also when it starts again.
    stage.proxy.again(&[]).await.unwrap();
    let session = stage.session().await;
    at_rest(&session).await;
    assert_eq!(session.answer(SEEN).await, "1000|1000");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_taken_back_is_shown_until_somebody_helps() {
    let mut stage = stage("").await;
    with_references(&stage).await;
    let mut session = stage.session().await;
    session.answer(SAGA).await;
    session.answer("BEGIN").await;
    session.answer(FROM).await;
    // Fails whenever it is run.
    session.answer("CALL tributary.compensate('UPDATE east.accounts SET balance = balance / (balance - balance)')").await;
    session.answer("INSERT INTO west.dog VALUES (1, 1)").await;
    assert!(ask(&session, "COMMIT").await.is_err());
    let said = session.answer("SHOW tributary.last_commit").await;
    let shown = "SELECT gid FROM tributary.in_doubt WHERE state = 'compensation failed'";
    let gid = eventually("the step that is stuck", async || session.rows(shown).await.unwrap().pop()).await;
    assert_eq!(said, format!("saga, not undone: {gid}"));
    let state =
        format!("SELECT state, array_to_string(pending, ','), error IS NOT NULL FROM tributary.transactions WHERE gid = '{gid}'");
    let stuck = "SELECT branch, store FROM tributary.in_doubt WHERE state = 'compensation failed'";
    for is_restarted in [false, true] {
        if is_restarted {
            stage.proxy.again(&[]).await.unwrap();
            session = stage.session().await;
            eventually("the step that is stuck", async || session.rows(shown).await.unwrap().pop()).await;
        }
        assert_eq!(session.answer(stuck).await, format!("{gid}/0|east"), "restarted: {is_restarted}");
        assert_eq!(session.answer(&state).await, "compensating|east|t", "restarted: {is_restarted}");
        for word in ["rollback", "commit"] {
            let refused = session.failure(&format!("CALL tributary.resolve('{gid}', '{word}')")).await;
            assert_eq!((refused.code.as_str(), refused.detail.contains("store \"east\"")), ("55000", true), "{refused:?}");
            assert!(refused.hint.contains("retry") && refused.hint.contains("forget"), "{refused:?}");
        }
    }
    assert_eq!(session.answer("SELECT balance FROM east.accounts WHERE _id = 1").await, "995");
    session.answer("UPDATE east.accounts SET balance = 1000 WHERE _id = 1").await;
    session.answer(&format!("CALL tributary.resolve('{gid}', 'forget')")).await;
    // Both are written down, with who is meant and what was said.
    let audit = || std::fs::read_to_string(stage.place.path().join(".state/audit.jsonl")).unwrap_or_default();
    for (event, more) in [("\"stuck\"", "\"store\":\"east\""), ("\"resolve\"", "\"word\":\"forget\"")] {
        let is_told = |line: &str| [event, more, gid.as_str()].iter().all(|part| line.contains(part));
        eventually(event, async || audit().lines().any(is_told).then_some(())).await;
    }
    eventually("an empty list", async || session.rows(shown).await.unwrap().is_empty().then_some(())).await;
    at_rest(&session).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_are_taken_back_as_triggers_have_made_them_and_not_where_others_may_have_gone_with_them() {
    let stage = stage("").await;
    with_references(&stage).await;
    let tables = "CREATE TABLE tag (_id bigint NOT NULL PRIMARY KEY, v TEXT NOT NULL); INSERT INTO tag VALUES (1, 'one'); \
        CREATE TRIGGER added AFTER INSERT ON tag BEGIN UPDATE tag SET v = v || '!' WHERE _id = NEW._id; END; \
        CREATE TRIGGER changed AFTER UPDATE OF v ON tag WHEN NEW.v = 'two' \
        BEGIN UPDATE tag SET v = 'TWO' WHERE _id = NEW._id; END; \
        CREATE TABLE keeper (_id bigint NOT NULL PRIMARY KEY); INSERT INTO keeper VALUES (1); \
        CREATE TABLE pet (_id bigint NOT NULL PRIMARY KEY, keeper bigint REFERENCES keeper ON DELETE CASCADE); \
        INSERT INTO pet VALUES (1, 1)";
    crate::support::proxy::sqlite(&stage.place.path().join("east.db"), tables).await;
    let session = stage.session().await;
    session.answer("CALL tributary.refresh('east')").await;
    session.answer(SAGA).await;
    session.answer("BEGIN").await;
    session.answer("INSERT INTO east.tag VALUES (2, 'x')").await;
    session.answer("UPDATE east.tag SET v = 'two' WHERE _id = 1").await;
    assert_eq!(session.answer("SELECT v FROM east.tag ORDER BY _id").await, "TWO\nx!");
    session.answer("INSERT INTO west.dog VALUES (1, 1)").await;
    let refused = session.rows("COMMIT").await.unwrap_err();
    assert_eq!((refused.code.as_str(), refused.detail.contains("compensated")), ("23503", true), "{refused:?}");
    assert_eq!(session.answer("SELECT v FROM east.tag").await, "one");
    session.answer("BEGIN").await;
    session.answer("DELETE FROM east.keeper").await;
    session.answer(TO).await;
    let refused = session.rows("COMMIT").await.unwrap_err();
    assert_eq!((refused.code.as_str(), refused.message.contains("compensation")), ("0A000", true), "{refused:?}");
    assert_eq!(session.answer("SELECT (SELECT count(*) FROM east.keeper), (SELECT count(*) FROM east.pet)").await, "1|1");
    assert_eq!(session.answer(SEEN).await, "1000|1000");
    at_rest(&session).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_with_a_key_is_never_committed_in_steps() {
    let keyed = Lines { store: "idempotency = true\n", ..WAL };
    let stage = Stage::start_with(&["east", "west"], keyed, "").await;
    let session = stage.session().await;
    session.answer(SAGA).await;
    for _ in 0..2 {
        session.answer("SET tributary.idempotency_key = 'k'").await;
        session.answer("BEGIN").await;
        session.answer(FROM).await;
        assert_eq!(session.rows(TO).await.unwrap_err().code, "0A000");
        session.answer("ROLLBACK").await;
        assert_eq!(session.answer(SEEN).await, "1000|1000");
    }
    // One store is no saga.
    for _ in 0..2 {
        session.answer("SET tributary.idempotency_key = 'k'").await;
        session.answer(FROM).await;
        assert_eq!(session.answer(SEEN).await, "995|1000");
    }
    assert_eq!(session.answer("SHOW tributary.last_commit").await, "repeated: k");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_said_to_undo_a_write_is_looked_at_at_once() {
    let stage = stage("").await;
    let session = stage.session().await;
    session.answer(SAGA).await;
    for (sql, code) in [
        ("CALL tributary.compensate('UPDATE east.accounts SET')", "42601"),
        ("CALL tributary.compensate('SELECT 1')", "22023"),
        ("CALL tributary.compensate('DELETE FROM east.moves; DELETE FROM east.lists')", "22023"),
        ("CALL tributary.compensate('DELETE FROM west.moves')", "55000"),
        ("CALL tributary.compensate('DELETE FROM east.moves WHERE _id = $1')", "42P02"),
        ("CALL tributary.compensate('DELETE FROM east.nothing')", "42P01"),
    ] {
        session.answer("BEGIN").await;
        session.answer(FROM).await;
        let failure = session.rows(sql).await.unwrap_err();
        session.answer("ROLLBACK").await;
        assert_eq!(failure.code, code, "{sql}: {failure:?}");
    }
    session.answer("BEGIN").await;
    let nothing = session.rows("CALL tributary.compensate('DELETE FROM east.moves')").await.unwrap_err();
    assert_eq!(nothing.code, "55000", "nothing was written yet");
    session.answer("ROLLBACK").await;
    assert_eq!(session.answer(SEEN).await, "1000|1000");
}
