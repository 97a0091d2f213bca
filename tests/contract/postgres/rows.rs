//! Conditions where PostgreSQL itself answers otherwise than the engine over what it reads: row values, and text that is bytes.

use std::sync::Arc;

use arrow::array::AsArray;
use arrow::datatypes::Int32Type;
use sqlx::{AssertSqlSafe, Executor};
use tributary::error::Diagnose;
use tributary::stores::predicate::{ColumnRef, Comparison};
use tributary::stores::value::Value;
use tributary::stores::{Predicate, Pushdown, Table};

use super::Fixture;
use crate::support::proxy::{self, OWNER, Place};

async fn ids(fixture: &Fixture, table: &Arc<Table>, predicate: &Predicate) -> Vec<i32> {
    let Pushdown::Exact(kept) = fixture.connector.pushdown(table, predicate) else { panic!("{predicate:?} is not exact") };
    let batches = fixture.read(table, vec![kept]).await.unwrap();
    let mut ids: Vec<i32> =
        batches.iter().flat_map(|batch| batch.column(0).as_primitive::<Int32Type>().values().to_vec()).collect();
    ids.sort_unstable();
    ids
}

#[tokio::test]
async fn a_row_of_nulls_is_a_text_and_no_null() {
    let mut fixture = Fixture::new().await;
    fixture
        .run(
            "CREATE TYPE pair AS (a int, b text); CREATE TABLE t (id int, p pair, ps pair[], r record_of);
             INSERT INTO t VALUES (1, NULL, NULL, NULL), (2, ROW(NULL, NULL), ARRAY[NULL::pair], ROW(NULL)),
                 (3, ROW(1, NULL), '{}', ROW(1)), (4, ROW(1, 'x'), ARRAY[ROW(NULL, NULL)::pair], ROW(2))"
                .replace("CREATE TABLE t", "CREATE TABLE record_of (n int); CREATE TABLE t")
                .as_str(),
        )
        .await;
    let table = fixture.table("t").await;
    // What the server says by itself of a row value is neither of the two.
    let own = fixture.ask("SELECT string_agg(id::text, ' ' ORDER BY id) FROM t WHERE p IS NULL").await;
    assert_eq!(own.as_deref(), Some("1 2"));
    let own = fixture.ask("SELECT string_agg(id::text, ' ' ORDER BY id) FROM t WHERE p IS NOT NULL").await;
    assert_eq!(own.as_deref(), Some("4"));
    for column in 1..4 {
        let null = |negated| Predicate::IsNull { column: ColumnRef::of(column), negated };
        assert_eq!(ids(&fixture, &table, &null(false)).await, [1], "column {column}");
        assert_eq!(ids(&fixture, &table, &null(true)).await, [2, 3, 4], "column {column}");
    }
    let batches = fixture.read(&table, Vec::new()).await.unwrap();
    let read: Vec<Option<&str>> = batches[0].column(1).as_string::<i32>().iter().collect();
    assert_eq!(read, [None, Some("(,)"), Some("(1,)"), Some("(1,x)")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn patterns_count_letters_also_where_the_database_counts_bytes() {
    let server = crate::support::postgres().await;
    let mut fixture = Fixture::new().await;
    let database = format!("{}_ascii", fixture.ask("SELECT current_database()::text").await.unwrap());
    fixture.run(&format!("CREATE DATABASE {database} ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0")).await;
    let mut plain = proxy::direct(server, &database).await;
    let words = "CREATE TABLE words (id int, w text); INSERT INTO words VALUES (1, 'žluť'), (2, 'zlut'), (3, NULL), (4, '🐎');
        CREATE TABLE broken (id int, w text); INSERT INTO broken VALUES (1, E'a\\xff')";
    plain.execute(sqlx::raw_sql(AssertSqlSafe(words.to_owned()))).await.unwrap();
    let own: Option<String> =
        sqlx::query_scalar("SELECT string_agg(id::text, ' ') FROM words WHERE w LIKE '_lut'").fetch_one(&mut plain).await.unwrap();
    assert_eq!(own.as_deref(), Some("2"), "the server's own pattern");
    let fixture = Fixture { plain, connector: super::connector(server, &database, server.password(), "").unwrap() };
    let table = fixture.table("words").await;
    let w = ColumnRef::of(1);
    let like = Predicate::Like { column: w.clone(), pattern: "_lu_".to_owned(), negated: false, case_insensitive: false };
    let equal = Predicate::Compare { column: w.clone(), op: Comparison::Equal, value: Value::Text("žluť".to_owned()) };
    for predicate in [like, equal] {
        assert!(matches!(fixture.connector.pushdown(&table, &predicate), Pushdown::Refused(_)), "{predicate:?}");
    }
    assert_eq!(ids(&fixture, &table, &Predicate::IsNull { column: w, negated: false }).await, [3]);
    let error = fixture.read(&fixture.table("broken").await, Vec::new()).await.unwrap_err();
    assert_eq!(error.sqlstate(), "22021", "{error:?}");

    let place = Place::new();
    place.postgres("old", server, &database, "");
    let tributary = place.serve().await;
    let session = proxy::connect(&tributary, OWNER).await;
    for (condition, expected) in [
        ("w LIKE '_lu_'", "1\n2"),
        ("w LIKE '_'", "4"),
        ("w NOT LIKE '____'", "4"),
        ("w = 'žluť'", "1"),
        ("w > 'zz'", "1\n4"),
        ("length(w) = 4", "1\n2"),
    ] {
        assert_eq!(
            session.answer(&format!("SELECT id FROM old.words WHERE {condition} ORDER BY id")).await,
            expected,
            "{condition}"
        );
    }
}
