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
    session.answer("SET tributary.idempotency_key = 'k'").await;
    assert_eq!(session.failure("COPY pg.moves FROM STDIN").await.code, "0A000");
    // More rows than are kept: nothing is written.
    session.answer("SET tributary.idempotency_key = 'many'").await;
    let many = "INSERT INTO pg.moves SELECT n, n, n FROM generate_series(1, 5000) AS g (n) RETURNING *";
    assert_eq!(session.failure(many).await.code, "54000");
    assert_eq!(session.answer("SELECT count(*) FROM pg.moves").await, "0");
    assert_eq!(session.answer("SELECT count(*) FROM pg.accounts").await, "12");
    assert_eq!(session.failure(&format!("SET tributary.idempotency_key = '{}'", "k".repeat(201))).await.code, "22023");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_of_postgres_gives_the_rows_of_the_first_time_again() {
    let stage = Stage::start_with(&["pg"], KEYED, "").await;
    let session = stage.session().await;
    let change = "UPDATE pg.accounts SET balance = balance + 1 WHERE _id < 3 RETURNING _id, balance, now() IS NULL AS never";
    let mut said = Vec::new();
    for _ in 0..3 {
        session.answer("SET tributary.idempotency_key = 'rows'").await;
        let mut rows = session.rows(change).await.unwrap();
        rows.sort();
        said.push(rows);
    }
    assert_eq!(said, vec![["1|1001|f", "2|1001|f"]; 3]);
    assert_eq!(session.answer("SHOW tributary.last_commit").await, "repeated: rows");
    assert_eq!(session.answer("SELECT balance FROM pg.accounts WHERE _id = 1").await, "1001");
    // By the extended protocol, in a block, with what came before and after, and with no row at all.
    let insert = session.prepare("INSERT INTO pg.moves VALUES ($1, $2, 3) RETURNING _id, amount").await.unwrap();
    for last in ["single store: pg", "repeated: block"] {
        session.answer("SET tributary.idempotency_key = 'block'").await;
        session.answer("BEGIN").await;
        session.answer("UPDATE pg.accounts SET balance = 0 WHERE _id = 12").await;
        let rows = session.query(&insert, &[&7_i64, &8_i64]).await.unwrap();
        assert_eq!((rows.len(), rows[0].get::<_, i64>(0), rows[0].get::<_, i64>(1)), (1, 7, 3), "{last}");
        assert!(session.rows("DELETE FROM pg.moves WHERE _id = 99 RETURNING *").await.unwrap().is_empty());
        session.answer("COMMIT").await;
        assert_eq!(session.answer("SHOW tributary.last_commit").await, last);
    }
    assert_eq!(session.answer("SELECT _id, account, amount FROM pg.moves").await, "7|8|3");
}

/// Moves money between two stores under a key, which the first one keeps.
async fn between(session: &Session, (home, other): (&str, &str), key: &str, amount: i64) -> Result<Vec<String>, Said> {
    for sql in [
        format!("SET tributary.idempotency_key = '{key}'"),
        "BEGIN".to_owned(),
        format!("UPDATE {home}.accounts SET balance = balance - {amount} WHERE _id = 1"),
        format!("UPDATE {other}.accounts SET balance = balance + {amount} WHERE _id = 1"),
    ] {
        ask(session, &sql).await?;
    }
    ask(session, "COMMIT").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_whose_key_is_in_mariadb_mongodb_or_a_file_happens_once_beside_postgres() {
    for (home, point) in [("maria", "after_decision"), ("mongo", "after_last_commit"), ("east", "after_last_commit")] {
        let mut stage = Stage::start_with(&[home, "pg"], KEYED, &format!("{point}=kill@1")).await;
        let session = stage.session().await;
        assert_eq!(between(&session, (home, "pg"), "k1", 5).await, Err(Said::Lost), "{home}");
        stage.proxy.again(&variables("")).await.unwrap();
        eventually("the end of what was prepared", async || stage.prepared().await.is_empty().then_some(())).await;
        let session = stage.session().await;
        settled(&session).await;
        let seen =
            format!("SELECT (SELECT balance FROM {home}.accounts WHERE _id = 1), (SELECT balance FROM pg.accounts WHERE _id = 1)");
        assert_eq!(session.answer(&seen).await, "995|1005", "{home}");
        assert_eq!(between(&session, (home, "pg"), "k1", 5).await, Ok(Vec::new()), "{home}");
        assert_eq!(session.answer("SHOW tributary.last_commit").await, "repeated: k1", "{home}");
        assert_eq!(session.answer(&seen).await, "995|1005", "{home}");
        assert_eq!(between(&session, (home, "pg"), "k1", 6).await, Err(Said::Code("22023".to_owned())), "{home}");
        session.answer("ROLLBACK").await;
        assert_eq!(session.answer(&seen).await, "995|1005", "{home}");
    }
}

/// Adds a move under a key in a block, and gives its rows.
async fn add(session: &Session, store: &str, (key, id): (&str, i64)) -> Result<Vec<String>, Said> {
    ask(session, &format!("SET tributary.idempotency_key = '{key}'")).await?;
    ask(session, "BEGIN").await?;
    let rows = ask(session, &format!("INSERT INTO {store}.moves VALUES ({id}, 1, 10) RETURNING _id, amount")).await?;
    ask(session, "COMMIT").await.map(|_committed| rows)
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_of_mariadb_mongodb_and_a_file_are_waited_for_and_taken_back() {
    for store in ["maria", "mongo", "east"] {
        let stage = Stage::start_with(&[store], KEYED, "").await;
        let (first, second) = (stage.session().await, stage.session().await);
        let count = format!("SELECT count(*) FROM {store}.moves");
        for id in 1..=3 {
            let key = format!("k{id}");
            let (one, other) = tokio::join!(add(&first, store, (key.as_str(), id)), add(&second, store, (key.as_str(), id)));
            let expected = Ok(vec![format!("{id}|10")]);
            assert_eq!((&one, &other), (&expected, &expected), "{store}");
            let said = [first.answer("SHOW tributary.last_commit").await, second.answer("SHOW tributary.last_commit").await];
            let repeated = said.iter().filter(|said| **said == format!("repeated: {key}")).count();
            assert_eq!(repeated, 1, "{store}: {said:?}");
            assert_eq!(first.answer(&count).await, id.to_string(), "{store}");
        }
        // Another statement under a key that is known.
        assert_eq!(add(&first, store, ("k1", 9)).await, Err(Said::Code("22023".to_owned())), "{store}");
        first.answer("ROLLBACK").await;
        // What was rolled back has not happened, and runs again.
        first.answer("SET tributary.idempotency_key = 'back'").await;
        first.answer("BEGIN").await;
        first.answer(&format!("INSERT INTO {store}.moves VALUES (7, 1, 10) RETURNING _id, amount")).await;
        first.answer("ROLLBACK").await;
        assert_eq!(first.answer(&count).await, "3", "{store}");
        for last in [format!("single store: {store}"), "repeated: back".to_owned()] {
            assert_eq!(add(&first, store, ("back", 7)).await, Ok(vec!["7|10".to_owned()]), "{store}");
            assert_eq!(first.answer("SHOW tributary.last_commit").await, last);
        }
        assert_eq!(first.answer(&count).await, "4", "{store}");
    }
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
