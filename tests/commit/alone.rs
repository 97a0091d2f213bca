//! What MariaDB has answered to be committed, of one store alone, when it is killed right behind the answer.

use super::eventually;
use super::stage::Stage;
use super::storm::{kill, revive};
use crate::support::proxy::Session;

/// Ways to add a row, in which `%` is its key.
const WAYS: [&[&str]; 5] = [
    &["BEGIN", "INSERT INTO maria.moves VALUES (%, 1, 1)", "COMMIT"],
    // A block that had read before it wrote.
    &[
        "BEGIN ISOLATION LEVEL REPEATABLE READ",
        "SELECT v FROM maria.lists WHERE _id = 1",
        "INSERT INTO maria.moves VALUES (%, 1, 1)",
        "COMMIT",
    ],
    &[
        "BEGIN ISOLATION LEVEL SERIALIZABLE",
        "SELECT v FROM maria.lists WHERE _id = 1",
        "INSERT INTO maria.moves VALUES (%, 1, 1)",
        "COMMIT",
    ],
    &["INSERT INTO maria.moves VALUES (%, 1, 1)"],
    // A statement that is a transaction with the reading of its rows.
    &["INSERT INTO maria.moves VALUES (%, 1, 1) RETURNING account"],
];
/// A server that loses commits does not lose each of them.
const ROUNDS: usize = 2;

/// Waits until the store takes statements again, on connections that have not been broken.
async fn awake(session: &Session) {
    eventually("the store after its start", async || session.rows("UPDATE maria.accounts SET balance = balance").await.ok()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_mariadb_alone_has_committed_outlives_its_kill() {
    let mut stage = Stage::start(&["maria"], "").await;
    let session = stage.session().await;
    for (key, way) in WAYS.iter().cycle().take(ROUNDS * WAYS.len()).enumerate() {
        awake(&session).await;
        for sql in *way {
            session.answer(&sql.replace('%', &key.to_string())).await;
        }
        kill(&mut stage, "maria").await;
        revive(&mut stage, "maria").await;
        let mut connection = stage.in_mariadb().await;
        let kept = sqlx::query_scalar::<sqlx::MySql, i64>("SELECT count(*) FROM moves WHERE _id = ?");
        let kept = kept.bind(i64::try_from(key).unwrap()).fetch_one(&mut connection).await.unwrap();
        assert_eq!(kept, 1, "{key}: {way:?}");
        assert_eq!(stage.prepared().await, Vec::<String>::new(), "{key}: {way:?}");
    }
}
