//! Keys of transactions that a client sends again because it lost the answer: they have happened once.

use super::bank::settled;
use super::stage::{Lines, Stage, variables};
use super::{Said, ask, eventually};
use crate::support::proxy::Session;

const KEYED: Lines<'static> = Lines { server: "", store: "idempotency = true\n", journal: "delete" };
const SEEN: &str = "SELECT (SELECT balance FROM pg.accounts WHERE _id = 1), (SELECT balance FROM maria.accounts WHERE _id = 1)";

/// Moves money from PostgreSQL to MariaDB under a key, and says how COMMIT is answered.
async fn transfer(session: &Session, key: &str, amount: i64) -> Result<Vec<String>, Said> {
    for sql in [
        format!("SET tributary.idempotency_key = '{key}'"),
        "BEGIN".to_owned(),
        format!("UPDATE pg.accounts SET balance = balance - {amount} WHERE _id = 1"),
        format!("UPDATE maria.accounts SET balance = balance + {amount} WHERE _id = 1"),
    ] {
        ask(session, &sql).await?;
    }
    ask(session, "COMMIT").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_of_postgres_and_mariadb_whose_answer_was_lost_happens_once() {
    for (point, is_kept) in [("after_decision", true), ("after_first_commit", true), ("after_prepare", false)] {
        let mut stage = Stage::start_with(&["pg", "maria"], KEYED, &format!("{point}=kill@1")).await;
        let session = stage.session().await;
        assert_eq!(transfer(&session, "k1", 5).await, Err(Said::Lost), "{point}");
        stage.proxy.again(&variables("")).await.unwrap();
        eventually("the end of what was prepared", async || stage.prepared().await.is_empty().then_some(())).await;
        let session = stage.session().await;
        settled(&session).await;
        let expected = if is_kept { "995|1005" } else { "1000|1000" };
        assert_eq!(session.answer(SEEN).await, expected, "{point}");
        // Sent again it says what it said, or would have said, and is there once.
        assert_eq!(transfer(&session, "k1", 5).await, Ok(Vec::new()), "{point}");
        assert_eq!(session.answer(SEEN).await, "995|1005", "{point}");
        assert_eq!(transfer(&session, "k1", 5).await, Ok(Vec::new()), "{point}");
        assert_eq!(session.answer("SHOW tributary.last_commit").await, "repeated: k1");
        assert_eq!(session.answer(SEEN).await, "995|1005", "{point}");
        // Another transaction under the key is none of them.
        assert_eq!(transfer(&session, "k1", 6).await, Err(Said::Code("22023".to_owned())), "{point}");
        session.answer("ROLLBACK").await;
        assert_eq!(transfer(&session, "k2", 6).await, Ok(Vec::new()), "{point}");
        assert_eq!(session.answer(SEEN).await, "989|1011", "{point}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_that_send_one_key_to_postgres_at_once_one_waits_and_repeats() {
    let stage = Stage::start_with(&["pg", "maria"], KEYED, "").await;
    let (first, second) = (stage.session().await, stage.session().await);
    for _ in 0..5 {
        let before = first.answer("SELECT balance FROM pg.accounts WHERE _id = 1").await.parse::<i64>().unwrap();
        let key = format!("at {before}");
        let (one, other) = tokio::join!(transfer(&first, &key, 1), transfer(&second, &key, 1));
        assert_eq!((one, other), (Ok(Vec::new()), Ok(Vec::new())));
        let said = [first.answer("SHOW tributary.last_commit").await, second.answer("SHOW tributary.last_commit").await];
        let repeated = said.iter().filter(|said| **said == format!("repeated: {key}")).count();
        assert_eq!(repeated, 1, "{said:?}");
        let after = first.answer("SELECT balance FROM pg.accounts WHERE _id = 1").await.parse::<i64>().unwrap();
        assert_eq!(after, before - 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_of_postgres_answers_with_the_tags_of_the_first_time() {
    let stage = Stage::start_with(&["pg"], KEYED, "").await;
    let session = stage.session().await;
    let key = async |key: &str| session.answer(&format!("SET tributary.idempotency_key = '{key}'")).await;
    let change = "UPDATE pg.accounts SET balance = balance + 1 WHERE _id < 4";
    let by_client = session.prepare("UPDATE pg.accounts SET balance = balance + $1 WHERE _id = 9").await.unwrap();
    for _ in 0..3 {
        key("three").await;
        assert_eq!(session.execute(change, &[]).await.unwrap(), 3);
        key("one").await;
        assert_eq!(session.execute(&by_client, &[&7_i64]).await.unwrap(), 1);
    }
    let seen = "SELECT balance FROM pg.accounts WHERE _id IN (1, 9) ORDER BY _id";
    assert_eq!(session.answer(seen).await, "1001\n1007");
    // Other parameters are another statement.
    key("one").await;
    let refused = session.execute(&by_client, &[&8_i64]).await.unwrap_err();
    assert_eq!(refused.code().map(|code| code.code()), Some("22023"));
    // So is the same EXECUTE of something that was prepared anew, and a statement under other settings.
    session.answer("PREPARE p AS UPDATE pg.accounts SET balance = balance + $1 WHERE _id = 10").await;
    for _ in 0..2 {
        key("prepared").await;
        session.answer("EXECUTE p (1)").await;
    }
    session.answer("DEALLOCATE p; PREPARE p AS UPDATE pg.accounts SET balance = balance - $1 WHERE _id = 10").await;
    key("prepared").await;
    assert_eq!(session.failure("EXECUTE p (1)").await.code, "22023");
    session.answer("SET TimeZone = 'Asia/Tokyo'").await;
    key("three").await;
    assert_eq!(session.failure(change).await.code, "22023");
    session.answer("RESET TimeZone").await;
    assert_eq!(session.answer("SELECT balance FROM pg.accounts WHERE _id = 10").await, "1001");
    // The key was for that transaction alone.
    assert_eq!(session.execute(&by_client, &[&7_i64]).await.unwrap(), 1);
    assert_eq!(session.answer(seen).await, "1001\n1014");
    // What was rolled back has not happened.
    session.answer("SET tributary.idempotency_key = 'back'; BEGIN").await;
    session.answer(change).await;
    session.answer("ROLLBACK").await;
    key("back").await;
    assert_eq!(session.execute(change, &[]).await.unwrap(), 3);
    assert_eq!(session.answer(seen).await, "1002\n1014");
    // A repetition that goes on, stops early or does something else is another transaction.
    let second = "UPDATE pg.accounts SET balance = balance + 2 WHERE _id = 12";
    for (repeats, statements, expected) in [
        (false, &[change, second][..], None),
        (true, &[change, second], None),
        (true, &[change, second, change], Some("22023")),
        (true, &[change], Some("22023")),
        (true, &[second, change], Some("22023")),
    ] {
        session.answer("SET tributary.idempotency_key = 'two'; BEGIN").await;
        let mut failed = None;
        for sql in statements.iter().copied().chain(["COMMIT"]) {
            failed = failed.or(ask(&session, sql).await.err());
        }
        session.answer("ROLLBACK").await;
        let expected = expected.map(|code: &str| Said::Code(code.to_owned()));
        assert_eq!(failed, expected, "{statements:?}, as a repetition: {repeats}");
    }
    let seen = "SELECT balance FROM pg.accounts WHERE _id IN (1, 12) ORDER BY _id";
    assert_eq!(session.answer(seen).await, "1003\n1002");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_was_looked_for_in_postgres_is_not_looked_for_in_mariadb() {
    let stage = Stage::start_with(&["pg", "maria"], KEYED, "").await;
    let session = stage.session().await;
    session.answer("SET tributary.idempotency_key = 'k'").await;
    session.answer("BEGIN; SAVEPOINT s").await;
    session.answer("UPDATE pg.accounts SET balance = balance - 1 WHERE _id = 1").await;
    session.answer("ROLLBACK TO s").await;
    let refused = session.rows("UPDATE maria.accounts SET balance = balance + 1 WHERE _id = 1").await.unwrap_err();
    assert_eq!((refused.code.as_str(), refused.message.contains("\"pg\"")), ("55000", true), "{refused:?}");
    session.answer("ROLLBACK").await;
    assert_eq!(session.answer(SEEN).await, "1000|1000");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_failed_behind_a_savepoint_of_postgres_fails_again_the_same_way() {
    let stage = Stage::start_with(&["pg"], KEYED, "").await;
    let session = stage.session().await;
    for last in ["single store: pg", "repeated: k"] {
        session.answer("SET tributary.idempotency_key = 'k'").await;
        session.answer("BEGIN").await;
        session.answer("INSERT INTO pg.moves VALUES (1, 1, 1)").await;
        session.answer("SAVEPOINT s").await;
        assert_eq!(session.rows("INSERT INTO pg.moves VALUES (1, 2, 2)").await.unwrap_err().code, "23505", "{last}");
        session.answer("ROLLBACK TO s").await;
        session.answer("INSERT INTO pg.moves VALUES (2, 2, 2)").await;
        session.answer("COMMIT").await;
        assert_eq!(session.answer("SHOW tributary.last_commit").await, last);
        assert_eq!(session.answer("SELECT _id, account FROM pg.moves ORDER BY _id").await, "1|1\n2|2");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_key_of_postgres_cannot_answer_again_is_refused_before_it_is_sent() {
    let stage = Stage::start_with(&["pg"], KEYED, "").await;
    let session = stage.session().await;
    for sql in ["DELETE FROM pg.accounts RETURNING _id", "COPY pg.moves FROM STDIN"] {
        session.answer("SET tributary.idempotency_key = 'k'").await;
        assert_eq!(session.failure(sql).await.code, "0A000", "{sql}");
    }
    assert_eq!(session.answer("SELECT count(*) FROM pg.accounts").await, "12");
    assert_eq!(session.failure(&format!("SET tributary.idempotency_key = '{}'", "k".repeat(201))).await.code, "22023");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_goes_with_the_statement_of_postgres_that_failed_before_it_began() {
    let stage = Stage::start_with(&["pg"], KEYED, "").await;
    let session = stage.session().await;
    for sql in ["UPDATE pg.nothing SET balance = 0", "UPDATE pg.accounts SET nothing = 0", "UPDATE"] {
        session.answer("SET tributary.idempotency_key = 'k'").await;
        session.failure(sql).await;
        assert_eq!(session.answer("SHOW tributary.idempotency_key").await, "", "{sql}");
        let shown = "SELECT count(*) FROM pg_settings WHERE name = 'tributary.idempotency_key' AND setting = ''";
        assert_eq!(session.answer(shown).await, "1", "{sql}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_for_a_store_that_keeps_none_is_refused() {
    let stage = Stage::start(&["east"], "").await;
    let session = stage.session().await;
    session.answer("SET tributary.idempotency_key = 'k'").await;
    let refused = session.failure("UPDATE east.accounts SET balance = 0").await;
    assert_eq!(refused.code, "55000");
    assert!(format!("{refused:?}").contains("idempotency"), "{refused:?}");
    assert_eq!(session.answer("SELECT sum(balance) FROM east.accounts").await, "12000");
}
