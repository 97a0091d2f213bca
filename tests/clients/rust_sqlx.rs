//! sqlx over TLS: typed rows, statement cache, streaming, transactions.

use futures::TryStreamExt;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgDatabaseError, PgSslMode};
use sqlx::{Connection, Row};

use super::Stage;
use crate::support::proxy::{DATABASE, OWNER, PASSWORD};

pub(super) async fn connect(stage: &Stage) -> PgConnection {
    let login = PgConnectOptions::new_without_pgpass()
        .host("localhost")
        .port(stage.port())
        .username(OWNER)
        .database(DATABASE)
        .ssl_mode(PgSslMode::VerifyFull)
        .ssl_root_cert(stage.place.authority());
    let refused = PgConnection::connect_with(&login.clone().password("wrong")).await.unwrap_err();
    assert_eq!(code(&refused), "28P01");
    PgConnection::connect_with(&login.password(PASSWORD)).await.unwrap()
}

pub(super) fn code(error: &sqlx::Error) -> &str {
    let told = error.as_database_error().unwrap_or_else(|| panic!("{error}"));
    told.downcast_ref::<PgDatabaseError>().code()
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlx_reads_and_sends_typed_values() {
    let stage = Stage::set().await;
    let mut connection = connect(&stage).await;
    let row = sqlx::query(
        "SELECT $1::int8 + 1, $2::text || '!', $3::bool, $4::float8, $5::bytea, $6::int4[], $7::text::jsonb::text, $8::int4",
    )
    .bind(41_i64)
    .bind("naïve 🦀")
    .bind(true)
    .bind(-0.1_f64)
    .bind(&[0_u8, 255, 16][..])
    .bind(vec![Some(1_i32), None, Some(3)])
    .bind("[\"a\",\"é\"]")
    .bind(None::<i32>)
    .fetch_one(&mut connection)
    .await
    .unwrap();
    assert_eq!((row.get::<i64, _>(0), row.get::<&str, _>(1), row.get::<bool, _>(2)), (42, "naïve 🦀!", true));
    assert_eq!((row.get::<f64, _>(3), row.get::<Vec<u8>, _>(4)), (-0.1, vec![0, 255, 16]));
    assert_eq!(row.get::<Vec<Option<i32>>, _>(5), [Some(1), None, Some(3)]);
    assert_eq!(row.get::<&str, _>(6), "[\"a\", \"é\"]");
    assert_eq!(row.get::<Option<i32>, _>(7), None);
    let stored = sqlx::query("SELECT small, big, words, tags FROM shop.kinds WHERE id = $1")
        .bind(1_i32)
        .fetch_one(&mut connection)
        .await
        .unwrap();
    assert_eq!((stored.get::<i16, _>(0), stored.get::<i64, _>(1), stored.get::<&str, _>(2)), (i16::MIN, i64::MAX, "naïve 漢字 🦀"));
    assert_eq!(stored.get::<Vec<Option<String>>, _>(3), [Some("a b".to_owned()), Some("c\"d".to_owned()), None]);
    let square = "SELECT square FROM notes.numbers WHERE id = $1";
    for n in 1_i64..=20 {
        let found: i64 = sqlx::query_scalar(square).bind(n).fetch_one(&mut connection).await.unwrap();
        assert_eq!(found, n * n);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlx_streams_and_goes_on_after_errors() {
    let stage = Stage::set().await;
    let mut connection = connect(&stage).await;
    let (mut seen, mut total) = (0_u64, 0_i64);
    let mut rows = sqlx::query("SELECT id, square FROM notes.numbers ORDER BY id").fetch(&mut connection);
    while let Some(row) = rows.try_next().await.unwrap() {
        seen += 1;
        total += row.get::<i64, _>(1);
    }
    drop(rows);
    assert_eq!((seen, total), (200_000, 200_000 * 200_001 * 400_001 / 6));
    for (sql, expected) in [
        ("SELECT * FROM nowhere", "42P01"),
        ("SELECT nothing FROM shop.orders", "42703"),
        ("SELECT 1/0", "22012"),
        ("CREATE TABLE shop.orders (n int)", "42P07"),
    ] {
        let error = sqlx::query(sql).execute(&mut connection).await.unwrap_err();
        assert_eq!(code(&error), expected, "{sql}");
    }
    let mut transaction = connection.begin().await.unwrap();
    let error = sqlx::query("SELECT 1/0").execute(&mut *transaction).await.unwrap_err();
    assert_eq!(code(&error), "22012");
    let error = sqlx::query("SELECT 1").execute(&mut *transaction).await.unwrap_err();
    assert_eq!(code(&error), "25P02");
    transaction.rollback().await.unwrap();
    let found: i64 = sqlx::query_scalar("SELECT count(*) FROM shop.orders").fetch_one(&mut connection).await.unwrap();
    assert_eq!(found, 2);
    connection.close().await.unwrap();
}
