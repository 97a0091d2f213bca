//! Transaction blocks: one state of the stores, what ends them, and what a failed one refuses.

use sqlx::Executor;

use crate::support::{self, proxy};
use proxy::{OWNER, Place};

#[tokio::test(flavor = "multi_thread")]
async fn a_repeatable_read_block_sees_one_state_while_others_write() {
    let place = Place::new();
    let postgres = support::postgres().await;
    let database = proxy::fresh(postgres, "CREATE TABLE stock (n int PRIMARY KEY); INSERT INTO stock VALUES (1)").await;
    place.postgres("shop", postgres, &database, "");
    let file = place
        .sqlite("notes", "PRAGMA journal_mode = wal; CREATE TABLE notes (n INTEGER PRIMARY KEY); INSERT INTO notes VALUES (1);")
        .await;
    let server = place.serve().await;
    let session = proxy::connect(&server, OWNER).await;
    let counts = "SELECT (SELECT count(*) FROM shop.stock), (SELECT count(*) FROM notes.notes)";
    let mut writer = proxy::direct(postgres, &database).await;
    session.answer("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await;
    assert_eq!(session.answer(counts).await, "1|1");
    writer.execute("INSERT INTO stock VALUES (2)").await.unwrap();
    proxy::sqlite(&file, "INSERT INTO notes VALUES (2);").await;
    assert_eq!(session.answer(counts).await, "1|1");
    assert_eq!(session.answer("SELECT max(n) FROM shop.stock").await, "1");
    session.answer("COMMIT").await;
    assert_eq!(session.answer(counts).await, "2|2");
    session.answer("BEGIN").await;
    assert_eq!(session.answer(counts).await, "2|2");
    writer.execute("INSERT INTO stock VALUES (3)").await.unwrap();
    proxy::sqlite(&file, "INSERT INTO notes VALUES (3);").await;
    assert_eq!(session.answer(counts).await, "3|3", "read committed sees what others have committed");
    session.answer("ROLLBACK").await;
}

#[tokio::test]
async fn blocks_fail_as_a_whole_and_end_as_asked() {
    let place = Place::new();
    place.sqlite("notes", "CREATE TABLE notes (n INTEGER PRIMARY KEY); INSERT INTO notes VALUES (1);").await;
    let server = place.serve().await;
    let session = proxy::connect(&server, OWNER).await;
    session.answer("BEGIN").await;
    assert_eq!(session.answer("SELECT n FROM notes.notes").await, "1");
    assert_eq!(session.rows("SELECT 1/0").await.unwrap_err().code, "22012");
    for sql in ["SELECT 1", "SHOW TimeZone", "SET TimeZone = 'UTC'", "BEGIN", "SAVEPOINT s", "PREPARE p AS SELECT 1"] {
        assert_eq!(session.rows(sql).await.unwrap_err().code, "25P02", "{sql}");
    }
    let extended = session.query("SELECT 1", &[]).await.unwrap_err();
    assert_eq!(extended.code().map(|code| code.code()), Some("25P02"));
    session.answer("COMMIT").await;
    assert_eq!(session.answer("SELECT 1").await, "1");
    session.answer("BEGIN; SAVEPOINT s").await;
    assert_eq!(session.rows("SELECT 1/0").await.unwrap_err().code, "22012");
    session.answer("ROLLBACK TO SAVEPOINT s").await;
    assert_eq!(session.answer("SELECT n FROM notes.notes").await, "1");
    session.answer("RELEASE SAVEPOINT s").await;
    assert_eq!(session.rows("ROLLBACK TO s").await.unwrap_err().code, "3B001");
    session.answer("ROLLBACK").await;
    session.answer("COMMIT").await;
    session.answer("BEGIN READ ONLY").await;
    assert_eq!(session.answer("SHOW transaction_read_only").await, "on");
    let refused = session.rows("INSERT INTO notes.notes VALUES (2)").await.unwrap_err();
    assert!(["25006", "0A000"].contains(&refused.code.as_str()), "{refused:?}");
    session.answer("ROLLBACK").await;
    assert_eq!(session.answer("SHOW transaction_read_only").await, "off");
    session.answer("BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ WRITE").await;
    assert_eq!(session.answer("SHOW transaction_isolation").await, "repeatable read");
    session.answer("SELECT 1").await;
    assert_eq!(session.rows("SET TRANSACTION ISOLATION LEVEL READ COMMITTED").await.unwrap_err().code, "25001");
    session.answer("ROLLBACK").await;
}

#[tokio::test]
async fn a_multi_statement_text_is_one_transaction() {
    let place = Place::new();
    place.sqlite("notes", "CREATE TABLE notes (n INTEGER PRIMARY KEY); INSERT INTO notes VALUES (1);").await;
    let server = place.serve().await;
    let session = proxy::connect(&server, OWNER).await;
    assert_eq!(session.answer("SELECT 1; SELECT n + 1 FROM notes.notes; SELECT 3").await, "1\n2\n3");
    assert_eq!(session.failure("SELECT 1; SELECT 1/0; SELECT 3").await.code, "22012");
    assert_eq!(session.failure("SELECT 1; SELEC 2").await.code, "42601");
    session.answer("").await;
    session.answer(" ; -- nothing\n;").await;
    session.answer("BEGIN").await;
    let now = session.answer("SELECT now()").await;
    assert_eq!(session.answer("SELECT now()").await, now);
    session.answer("END").await;
}
