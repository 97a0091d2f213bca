//! sqlx as a writer, in binary throughout: typed values, long lists of rows, transactions in transactions.

use std::collections::BTreeSet;

use sqlx::postgres::{PgConnection, Postgres};
use sqlx::{AssertSqlSafe, Connection, QueryBuilder, Row};

use super::Stage;
use super::rust_sqlx::{code, connect};

const STORES: [&str; 2] = ["shop", "notes"];
const ROWS: i64 = 500;

/// Runs a statement and returns the number of its rows.
async fn run(connection: &mut PgConnection, sql: String) -> Result<u64, sqlx::Error> {
    sqlx::query(AssertSqlSafe(sql)).execute(connection).await.map(|done| done.rows_affected())
}

/// Leaves the row `a` in the store's table.
async fn fill(connection: &mut PgConnection, store: &str) {
    run(connection, format!("DELETE FROM {store}.bins")).await.unwrap();
    run(connection, format!("DELETE FROM {store}.parts")).await.unwrap();
    assert_eq!(run(connection, format!("INSERT INTO {store}.parts (code) VALUES ('a')")).await.unwrap(), 1);
}

async fn codes(connection: &mut PgConnection, store: &str) -> Vec<String> {
    let sql = format!("SELECT code FROM {store}.parts ORDER BY code");
    sqlx::query_scalar(AssertSqlSafe(sql)).fetch_all(connection).await.unwrap()
}

fn constraint(error: &sqlx::Error) -> Option<&str> {
    error.as_database_error().and_then(|told| told.constraint())
}

/// One INSERT of many rows; the one at `broken` has the code of the row before it.
async fn insert_many(connection: &mut PgConnection, store: &str, broken: Option<i64>) -> Result<u64, sqlx::Error> {
    let mut list = QueryBuilder::<Postgres>::new(format!("INSERT INTO {store}.parts (code, amount) "));
    list.push_values(0..ROWS, |mut row, n| {
        let named = if broken == Some(n) { n - 1 } else { n };
        row.push_bind(format!("code {named:03}")).push_bind(n);
    });
    list.build().execute(connection).await.map(|done| done.rows_affected())
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlx_writes_typed_values() {
    let stage = Stage::for_writes().await;
    let mut connection = connect(&stage).await;
    for store in STORES {
        let insert = format!(
            "INSERT INTO {store}.kinds (id, big, yes, whole, words, bytes) VALUES ($1, $2, $3, $4, $5, $6) \
             RETURNING id, big, yes, whole, words, bytes"
        );
        for id in 0_i64..20 {
            let row = sqlx::query(AssertSqlSafe(insert.clone()))
                .bind(id)
                .bind(i64::MIN)
                .bind(true)
                .bind(-0.1_f64)
                .bind("naïve 漢字 🦀 '\"\\")
                .bind(vec![0_u8, 255, 16])
                .fetch_one(&mut connection)
                .await
                .unwrap();
            assert_eq!((row.get::<i64, _>(0), row.get::<i64, _>(1), row.get::<bool, _>(2)), (id, i64::MIN, true));
            assert_eq!((row.get::<f64, _>(3), row.get::<&str, _>(4)), (-0.1, "naïve 漢字 🦀 '\"\\"));
            assert_eq!(row.get::<Vec<u8>, _>(5), [0, 255, 16]);
        }
        let update = format!("UPDATE {store}.kinds SET big = $1, words = $2 WHERE id >= $3");
        let updated = sqlx::query(AssertSqlSafe(update)).bind(None::<i64>).bind(None::<String>).bind(10_i64);
        assert_eq!(updated.execute(&mut connection).await.unwrap().rows_affected(), 10);
        let nothing = format!("SELECT count(*) FROM {store}.kinds WHERE big IS NULL AND words IS NULL");
        let found: i64 = sqlx::query_scalar(AssertSqlSafe(nothing)).fetch_one(&mut connection).await.unwrap();
        assert_eq!(found, 10);
    }
    let arrays = "UPDATE shop.kinds SET small = $1, numbers = $2, tags = $3 WHERE id = 0 RETURNING small, numbers, tags";
    let tags = vec![Some("a b".to_owned()), Some("c\"d".to_owned()), None];
    let given = sqlx::query(arrays).bind(i16::MIN).bind(vec![Some(1_i32), None, Some(3)]).bind(tags.clone());
    let row = given.fetch_one(&mut connection).await.unwrap();
    assert_eq!((row.get::<i16, _>(0), row.get::<Vec<Option<i32>>, _>(1)), (i16::MIN, vec![Some(1), None, Some(3)]));
    assert_eq!(row.get::<Vec<Option<String>>, _>(2), tags);
    connection.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlx_writes_many_rows_and_returns_them() {
    let stage = Stage::for_writes().await;
    let mut connection = connect(&stage).await;
    for store in STORES {
        fill(&mut connection, store).await;
        assert_eq!(insert_many(&mut connection, store, None).await.unwrap(), 500);
        let update = format!("UPDATE {store}.parts SET amount = amount + $1 WHERE code LIKE 'code 01%' RETURNING id, code, amount");
        let rows = sqlx::query(AssertSqlSafe(update)).bind(1000_i64).fetch_all(&mut connection).await.unwrap();
        let amounts: BTreeSet<i64> = rows.iter().map(|row| row.get("amount")).collect();
        assert_eq!(amounts, (1010..1020).collect::<BTreeSet<i64>>());
        let ids: Vec<i64> = rows.iter().map(|row| row.get("id")).collect();
        let delete = format!("DELETE FROM {store}.parts WHERE id = ANY($1)");
        let deleted = sqlx::query(AssertSqlSafe(delete)).bind(ids).execute(&mut connection).await.unwrap();
        assert_eq!(deleted.rows_affected(), 10);
        assert_eq!(run(&mut connection, format!("DELETE FROM {store}.parts WHERE amount > 1000")).await.unwrap(), 0);

        let upsert = format!(
            "INSERT INTO {store}.parts (code, amount) SELECT * FROM unnest($1::text[], $2::int8[]) \
             ON CONFLICT (code) DO UPDATE SET amount = excluded.amount"
        );
        let names: Vec<String> = (0..20).map(|n| format!("code {n:03}")).collect();
        let upserted = sqlx::query(AssertSqlSafe(upsert)).bind(names).bind(vec![7_i64; 20]).execute(&mut connection).await.unwrap();
        assert_eq!(upserted.rows_affected(), 20);
        let skipped = format!("INSERT INTO {store}.parts (code) VALUES ('a'), ('b') ON CONFLICT DO NOTHING");
        assert_eq!(run(&mut connection, skipped).await.unwrap(), 1);
        let seven = format!("SELECT count(*), sum(amount)::int8 FROM {store}.parts WHERE amount = 7");
        let row = sqlx::query(AssertSqlSafe(seven)).fetch_one(&mut connection).await.unwrap();
        assert_eq!((row.get::<i64, _>(0), row.get::<i64, _>(1)), (20, 140));
    }
    connection.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlx_nests_transactions_and_leaves_nothing_of_what_failed() {
    let stage = Stage::for_writes().await;
    let mut connection = connect(&stage).await;
    for store in STORES {
        fill(&mut connection, store).await;
        let error = insert_many(&mut connection, store, Some(300)).await.unwrap_err();
        assert_eq!((code(&error), constraint(&error)), ("23505", Some("parts_code_key")));
        let error = run(&mut connection, format!("UPDATE {store}.parts SET amount = -1")).await.unwrap_err();
        assert_eq!((code(&error), constraint(&error)), ("23514", Some("parts_amount_check")));
        let error = run(&mut connection, format!("UPDATE {store}.parts SET code = NULL")).await.unwrap_err();
        assert_eq!(code(&error), "23502");
        let error = run(&mut connection, format!("INSERT INTO {store}.bins (part) VALUES (-1)")).await.unwrap_err();
        assert_eq!(code(&error), "23503");
        assert_eq!(codes(&mut connection, store).await, ["a"]);

        let mut outer = connection.begin().await.unwrap();
        run(&mut outer, format!("INSERT INTO {store}.parts (code) VALUES ('b')")).await.unwrap();
        let mut inner = outer.begin().await.unwrap();
        run(&mut inner, format!("DELETE FROM {store}.parts WHERE code = 'b'")).await.unwrap();
        let error = insert_many(&mut inner, store, Some(1)).await.unwrap_err();
        assert_eq!(code(&error), "23505");
        inner.rollback().await.unwrap();
        let mut inner = outer.begin().await.unwrap();
        run(&mut inner, format!("INSERT INTO {store}.parts (code) VALUES ('c')")).await.unwrap();
        inner.commit().await.unwrap();
        assert_eq!(codes(&mut outer, store).await, ["a", "b", "c"]);
        outer.commit().await.unwrap();
        assert_eq!(codes(&mut connection, store).await, ["a", "b", "c"]);

        // One that is dropped is rolled back before the connection's next statement.
        let mut dropped = connection.begin().await.unwrap();
        assert_eq!(insert_many(&mut dropped, store, None).await.unwrap(), 500);
        assert_eq!(run(&mut dropped, format!("DELETE FROM {store}.parts")).await.unwrap(), 503);
        drop(dropped);
        assert_eq!(codes(&mut connection, store).await, ["a", "b", "c"]);
    }
    connection.close().await.unwrap();
}
