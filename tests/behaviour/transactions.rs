//! Transaction blocks: one state of the stores, what ends them, and what a failed one refuses.

use futures::TryStreamExt;
use sqlx::{AssertSqlSafe, Executor};

use crate::support::{self, proxy};
use proxy::{OWNER, Place};

#[tokio::test(flavor = "multi_thread")]
async fn a_repeatable_read_block_sees_one_state_while_others_write_to_postgres() {
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

#[tokio::test(flavor = "multi_thread")]
async fn a_repeatable_block_that_goes_back_to_a_savepoint_sees_the_same_state_of_postgres() {
    let place = Place::new();
    let postgres = support::postgres().await;
    let table = "CREATE TABLE stock (n int PRIMARY KEY, t text); INSERT INTO stock VALUES (1, 'a')";
    let database = proxy::fresh(postgres, table).await;
    place.postgres("shop", postgres, &database, "");
    let notes = "PRAGMA journal_mode = wal; CREATE TABLE notes (n INTEGER PRIMARY KEY); INSERT INTO notes VALUES (1);";
    let file = place.sqlite("notes", notes).await;
    let server = place.serve().await;
    let session = proxy::connect(&server, OWNER).await;
    let mut writer = proxy::direct(postgres, &database).await;
    let counts = "SELECT (SELECT count(*) FROM shop.stock), (SELECT count(*) FROM notes.notes)";
    let mut seen = 1;
    for modes in ["REPEATABLE READ", "REPEATABLE READ READ ONLY"] {
        session.answer(&format!("BEGIN ISOLATION LEVEL {modes}")).await;
        assert_eq!(session.answer(counts).await, format!("{seen}|{seen}"));
        session.answer("SAVEPOINT s").await;
        for (number, fails) in ["SELECT 1/0", "SELECT 1 / (n - n) FROM shop.stock", "SELECT nothing"].into_iter().enumerate() {
            assert!(session.rows(fails).await.is_err(), "{fails}");
            let row = seen + 1 + number;
            writer.execute(AssertSqlSafe(format!("INSERT INTO stock VALUES ({row})"))).await.unwrap();
            proxy::sqlite(&file, &format!("INSERT INTO notes VALUES ({row});")).await;
            session.answer("ROLLBACK TO s").await;
            assert_eq!(session.answer(counts).await, format!("{seen}|{seen}"), "{modes}: after {fails}");
        }
        session.answer("COMMIT").await;
        seen += 3;
        assert_eq!(session.answer(counts).await, format!("{seen}|{seen}"));
    }
    // What is written then belongs to the state that was seen before the error.
    session.answer("BEGIN ISOLATION LEVEL REPEATABLE READ").await;
    assert_eq!(session.answer("SELECT t FROM shop.stock WHERE n = 1").await, "a");
    session.answer("SAVEPOINT s").await;
    assert!(session.rows("SELECT 1/0").await.is_err());
    writer.execute("UPDATE stock SET t = 'b' WHERE n = 1").await.unwrap();
    session.answer("ROLLBACK TO s").await;
    assert_eq!(session.rows("UPDATE shop.stock SET t = t || '!' WHERE n = 1").await.unwrap_err().code, "40001");
    session.answer("ROLLBACK").await;
    assert_eq!(session.answer("SELECT t FROM shop.stock WHERE n = 1").await, "b");
}

#[tokio::test]
async fn cursors_and_portals_go_with_the_savepoint_before_them() {
    let place = Place::new();
    let notes = "CREATE TABLE notes (n INTEGER PRIMARY KEY); INSERT INTO notes VALUES (1), (2), (3), (4);";
    place.sqlite("notes", notes).await;
    let server = place.serve().await;
    let mut session = proxy::connect(&server, OWNER).await;
    let declare = |name: &str| format!("DECLARE {name} CURSOR FOR SELECT n FROM notes.notes ORDER BY n");
    session.answer(&format!("BEGIN; {}", declare("early"))).await;
    assert_eq!(session.answer("FETCH early").await, "1");
    session.answer(&format!("SAVEPOINT s; {}", declare("late"))).await;
    assert_eq!(session.answer("FETCH late").await, "1");
    session.answer("ROLLBACK TO s").await;
    assert_eq!(session.rows("FETCH late").await.unwrap_err().code, "34000");
    assert_eq!(session.rows("FETCH early").await.unwrap_err().code, "25P02");
    session.answer("ROLLBACK TO s").await;
    assert_eq!(session.answer("FETCH early").await, "2", "one of before the savepoint outlives the failure");
    // One that was made after a savepoint which is released belongs to the one before that.
    session.answer(&format!("SAVEPOINT inmost; {}; RELEASE inmost", declare("late"))).await;
    assert_eq!(session.answer("FETCH late; FETCH early").await, "1\n3");
    session.answer("ROLLBACK TO s").await;
    assert_eq!(session.rows("FETCH late").await.unwrap_err().code, "34000");
    session.answer("ROLLBACK").await;
    // One that fails while it is read gives no more rows, also when it was made before the savepoint.
    session.answer("BEGIN; DECLARE broken CURSOR FOR SELECT 1 / (n - 1) FROM notes.notes; SAVEPOINT s").await;
    assert_eq!(session.rows("FETCH broken").await.unwrap_err().code, "22012");
    session.answer("ROLLBACK TO s").await;
    assert_eq!(session.rows("FETCH broken").await.unwrap_err().code, "55000");
    session.answer("ROLLBACK").await;

    let mut block = session.transaction().await.unwrap();
    let statement = block.prepare("SELECT n FROM notes.notes ORDER BY n").await.unwrap();
    let early = block.bind(&statement, &[]).await.unwrap();
    assert_eq!(block.query_portal(&early, 1).await.unwrap().len(), 1);
    let inner = block.transaction().await.unwrap();
    let late = inner.bind(&statement, &[]).await.unwrap();
    assert_eq!(inner.query_portal(&late, 1).await.unwrap().len(), 1);
    inner.rollback().await.unwrap();
    let rest = block.query_portal(&early, 2).await.unwrap();
    assert_eq!(rest.iter().map(|row| row.get::<_, i64>(0)).collect::<Vec<_>>(), [2, 3]);
    let gone = block.query_portal(&late, 1).await.unwrap_err();
    assert_eq!(gone.code().map(|code| code.code()), Some("34000"));
    block.rollback().await.unwrap();
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
    assert_eq!(refused.code, "25006", "{refused:?}");
    session.answer("ROLLBACK").await;
    assert_eq!(session.answer("SHOW transaction_read_only").await, "off");
    session.answer("BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ WRITE").await;
    assert_eq!(session.answer("SHOW transaction_isolation").await, "repeatable read");
    session.answer("SELECT 1").await;
    assert_eq!(session.rows("SET TRANSACTION ISOLATION LEVEL READ COMMITTED").await.unwrap_err().code, "25001");
    session.answer("ROLLBACK").await;
    session.answer("BEGIN ISOLATION LEVEL READ UNCOMMITTED").await;
    assert_eq!(session.answer("SHOW transaction_isolation").await, "read uncommitted");
    session.answer("COMMIT").await;
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
    let times = session.rows("SELECT now(); SELECT n FROM notes.notes; SELECT now()").await.unwrap();
    assert_eq!(times.first(), times.last(), "one transaction has one time");
    // An error undoes what the text has set before it; SET LOCAL lasts to the end of the text.
    assert_eq!(session.failure("SET application_name = 'lost'; SELECT 1/0").await.code, "22012");
    assert_eq!(session.answer("SHOW application_name").await, "");
    assert_eq!(session.answer("SET LOCAL application_name = 'here'; SHOW application_name").await, "here");
    assert_eq!(session.answer("SHOW application_name").await, "");
    // BEGIN makes the transaction of the text one that lasts, with what was done before it.
    assert_eq!(session.answer("SET application_name = 'kept'; BEGIN; SHOW application_name").await, "kept");
    session.answer("ROLLBACK").await;
    assert_eq!(session.answer("SHOW application_name").await, "");
    // COMMIT ends it in the middle, and what follows is in the next one.
    assert_eq!(
        session.failure("SET application_name = 'kept'; COMMIT; SET application_name = 'lost'; SELECT 1/0").await.code,
        "22012"
    );
    assert_eq!(session.answer("SHOW application_name; RESET application_name").await, "kept");
    let late = "SELECT 1; BEGIN ISOLATION LEVEL REPEATABLE READ";
    assert_eq!(session.rows(late).await.unwrap_err().code, "25001");
    session.answer("ROLLBACK").await;
    for (sql, code) in [
        ("SELECT 1; SAVEPOINT s", "25P01"),
        ("SELECT 1; COMMIT AND CHAIN", "25P01"),
        ("COMMIT AND CHAIN", "25P01"),
        ("SELECT 1; DISCARD ALL", "25001"),
    ] {
        assert_eq!(session.failure(sql).await.code, code, "{sql}");
    }
    session.answer("").await;
    session.answer(" ; -- nothing\n;").await;
    session.answer("BEGIN").await;
    let now = session.answer("SELECT now()").await;
    assert_eq!(session.answer("SELECT now()").await, now);
    session.answer("END").await;
}

#[tokio::test]
async fn deferrable_is_a_mode_like_the_others() {
    let place = Place::new();
    let server = place.serve().await;
    let session = proxy::connect(&server, OWNER).await;
    let shown = "SHOW transaction_deferrable";
    assert_eq!(session.answer(shown).await, "off");
    session.answer("BEGIN ISOLATION LEVEL SERIALIZABLE, READ ONLY, DEFERRABLE").await;
    assert_eq!(session.answer(&format!("{shown}; SHOW transaction_isolation")).await, "on\nserializable");
    assert_eq!(session.answer("SELECT 1").await, "1");
    assert_eq!(session.rows("SET TRANSACTION NOT DEFERRABLE").await.unwrap_err().code, "25001");
    session.answer("ROLLBACK AND CHAIN").await;
    assert_eq!(session.answer(shown).await, "on");
    session.answer("SET TRANSACTION NOT DEFERRABLE").await;
    assert_eq!(session.answer(shown).await, "off");
    session.answer("COMMIT; SET SESSION CHARACTERISTICS AS TRANSACTION DEFERRABLE").await;
    assert_eq!(session.answer(shown).await, "on");
    session.answer("BEGIN NOT DEFERRABLE").await;
    assert_eq!(session.answer(shown).await, "off");
    session.answer("SET transaction_deferrable = on").await;
    assert_eq!(session.answer(shown).await, "on");
    session.answer("COMMIT").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_text_sees_one_state_of_postgres_where_that_is_the_default() {
    let place = Place::new();
    let postgres = support::postgres().await;
    let database = proxy::fresh(postgres, "CREATE TABLE stock (n int PRIMARY KEY)").await;
    place.postgres("shop", postgres, &database, "");
    let server = place.serve().await;
    let session = proxy::connect(&server, OWNER).await;
    let mut writer = proxy::direct(postgres, &database).await;
    // More rows in the middle than all buffers on the way hold, so that the last statement waits until they are read.
    let count = "SELECT count(*) FROM shop.stock";
    let text = format!("{count}; SELECT repeat('x', 1000) FROM generate_series(1, 50000); {count}");
    for (isolation, grows) in [("read committed", 1), ("repeatable read", 0), ("serializable", 0)] {
        session.answer(&format!("SET default_transaction_isolation = '{isolation}'")).await;
        let mut counts = Vec::new();
        let mut stream = std::pin::pin!(session.simple_query_raw(&text).await.unwrap());
        while let Some(message) = stream.try_next().await.unwrap() {
            let tokio_postgres::SimpleQueryMessage::Row(row) = message else { continue };
            let Ok(found) = row.get(0).unwrap().parse::<i64>() else { continue };
            if counts.is_empty() {
                writer.execute("INSERT INTO stock SELECT count(*) FROM stock").await.unwrap();
            }
            counts.push(found);
        }
        assert_eq!(counts[1] - counts[0], grows, "{isolation}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_serializable_block_reads_one_store_such_as_postgres() {
    let place = Place::new();
    let postgres = support::postgres().await;
    let database = proxy::fresh(postgres, "CREATE TABLE stock (n int PRIMARY KEY); INSERT INTO stock VALUES (1)").await;
    place.postgres("shop", postgres, &database, "");
    place.sqlite("notes", "CREATE TABLE notes (n INTEGER PRIMARY KEY); INSERT INTO notes VALUES (1);").await;
    let server = place.serve().await;
    let session = proxy::connect(&server, OWNER).await;
    let mut writer = proxy::direct(postgres, &database).await;
    session.answer("BEGIN ISOLATION LEVEL SERIALIZABLE").await;
    assert_eq!(session.answer("SHOW transaction_isolation").await, "serializable");
    assert_eq!(session.answer("SELECT count(*) FROM shop.stock").await, "1");
    writer.execute("INSERT INTO stock VALUES (2)").await.unwrap();
    assert_eq!(session.answer("SELECT (SELECT count(*) FROM shop.stock), (SELECT max(n) FROM shop.stock)").await, "1|1");
    assert!(session.answer("SELECT relname FROM pg_class").await.contains("stock"), "the catalog is no store");
    let refused = session.rows("SELECT n FROM notes.notes").await.unwrap_err();
    assert_eq!(refused.code, "0A000");
    assert!(refused.message.contains("\"notes\", \"shop\"") && refused.hint.contains("REPEATABLE READ"), "{refused:?}");
    assert_eq!(session.rows("SELECT 1").await.unwrap_err().code, "25P02");
    session.answer("ROLLBACK").await;
    for sql in ["SELECT n FROM notes.notes", "SELECT count(*) FROM shop.stock"] {
        session.answer("BEGIN; SET TRANSACTION ISOLATION LEVEL SERIALIZABLE").await;
        session.answer(sql).await;
        session.answer("COMMIT").await;
    }
    session.answer("SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL SERIALIZABLE").await;
    session.answer("BEGIN").await;
    let joined = session.rows("SELECT * FROM shop.stock JOIN notes.notes USING (n)").await.unwrap_err();
    assert_eq!(joined.code, "0A000", "{joined:?}");
    session.answer("ROLLBACK").await;
    assert_eq!(session.answer("SELECT count(*) FROM shop.stock JOIN notes.notes USING (n)").await, "1", "no block, no such order");
}
