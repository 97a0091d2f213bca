//! Serializable blocks of two sessions: what the store makes of what they have read and written.

use super::writes::{code, count};
use crate::support::{self, proxy};
use proxy::{OWNER, Place};

#[tokio::test(flavor = "multi_thread")]
async fn of_two_serializable_blocks_over_postgres_that_cannot_be_put_in_order_one_fails() {
    let place = Place::new();
    let postgres = support::postgres().await;
    let database = proxy::fresh(postgres, "CREATE TABLE duty (who int PRIMARY KEY, is_on bool)").await;
    place.postgres("shop", postgres, &database, "");
    let server = place.serve().await;
    let (left, right) = (proxy::connect(&server, OWNER).await, proxy::connect(&server, OWNER).await);
    left.answer("INSERT INTO shop.duty VALUES (1, true), (2, true)").await;
    for session in [&left, &right] {
        session.answer("BEGIN ISOLATION LEVEL SERIALIZABLE").await;
        assert_eq!(session.answer("SELECT count(*) FROM shop.duty WHERE is_on").await, "2");
    }
    assert_eq!(count(&left, "UPDATE shop.duty SET is_on = false WHERE who = 1").await, 1);
    left.answer("COMMIT").await;
    let failed = match right.rows("UPDATE shop.duty SET is_on = false WHERE who = 2").await {
        Ok(_) => right.rows("COMMIT").await.unwrap_err().code,
        Err(failure) => failure.code,
    };
    assert_eq!(failed, "40001");
    left.answer("ROLLBACK").await;
    assert_eq!(left.answer("SELECT count(*) FROM shop.duty WHERE is_on").await, "1");
    // A failed read takes nothing of what was before its savepoint.
    right.answer("ROLLBACK").await;
    right.answer("BEGIN ISOLATION LEVEL SERIALIZABLE; SAVEPOINT s").await;
    assert_eq!(code(&right, "SELECT 1 / (who - 1) FROM shop.duty").await, "22012");
    right.answer("ROLLBACK TO s").await;
    assert_eq!(right.answer("SELECT count(*) FROM shop.duty").await, "2");
    assert_eq!(count(&right, "DELETE FROM shop.duty").await, 2);
    right.answer("COMMIT").await;
    assert_eq!(left.answer("SELECT count(*) FROM shop.duty").await, "0");
}
