//! Lookups by key in PostgreSQL: what stays prepared on a connection, and how a change of the table is noticed.

use sqlx::Executor;
use tributary::server::Server;

use super::eventually;
use crate::support::{self, proxy};
use proxy::{Failure, OWNER, Place};

/// With one connection for scans, a view over what its session has prepared tells of the lookups.
const TABLES: &str = "CREATE TABLE item (id int PRIMARY KEY, a int, b int, c int, d int, e int, f int, name varchar(20));
    INSERT INTO item SELECT n, n, n, n, n, n, n, 'x' FROM generate_series(1, 3) AS n;
    CREATE VIEW kept AS SELECT statement FROM pg_catalog.pg_prepared_statements";

/// As many as a connection keeps.
const KEPT_MAX: usize = 32;

async fn stage(place: &Place) -> (Server, String) {
    let postgres = support::postgres().await;
    let database = proxy::fresh(postgres, TABLES).await;
    place.postgres("shop", postgres, &database, "pool.size = 1\n");
    (place.serve().await, database)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lookup_is_prepared_once_in_postgres() {
    let place = Place::new();
    let (server, database) = stage(&place).await;
    let session = proxy::connect(&server, OWNER).await;
    let lookup = session.prepare("SELECT name FROM shop.item WHERE id = $1").await.unwrap();
    let name = async || session.query_one(&lookup, &[&1_i32]).await.map(|row| row.get::<_, String>(0)).map_err(Failure::of);
    for _ in 0..20 {
        assert_eq!(name().await.as_deref(), Ok("x"));
    }
    let kept = session.rows("SELECT statement FROM shop.kept").await.unwrap();
    assert_eq!(kept.len(), 1, "{kept:?}");

    // The server refuses a plan whose result has changed; discovery told the same type but for its length.
    let mut owner = proxy::direct(support::postgres().await, &database).await;
    owner.execute("ALTER TABLE item ALTER COLUMN name TYPE varchar(30)").await.unwrap();
    assert_eq!(name().await.as_deref(), Ok("x"));
    owner.execute("ALTER TABLE item RENAME TO gone; CREATE TABLE item (LIKE gone INCLUDING ALL); INSERT INTO item SELECT 1, 1, 1, 1, 1, 1, 1, 'new'").await.unwrap();
    assert_eq!(name().await.as_deref(), Ok("new"));

    for chosen in 1..=2 * KEPT_MAX {
        let columns = ["a", "b", "c", "d", "e", "f", "name"].into_iter().enumerate();
        let columns: Vec<&str> = columns.filter(|(place, _)| chosen & (1 << place) != 0).map(|(_, column)| column).collect();
        let lookup = session.prepare(&format!("SELECT {} FROM shop.item WHERE id = $1", columns.join(", "))).await.unwrap();
        assert_eq!(session.query_one(&lookup, &[&1_i32]).await.unwrap().len(), columns.len());
    }
    let kept = session.rows("SELECT statement FROM shop.kept").await.unwrap().len();
    assert_eq!(kept, KEPT_MAX);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_has_gone_from_postgres_cuts_no_rows() {
    let place = Place::new();
    let (server, database) = stage(&place).await;
    let session = proxy::connect(&server, OWNER).await;
    let lookup = session.prepare("SELECT name FROM shop.item WHERE id = $1").await.unwrap();
    assert_eq!(session.query(&lookup, &[&1_i32]).await.unwrap().len(), 1);
    let mut owner = proxy::direct(support::postgres().await, &database).await;
    owner.execute("ALTER TABLE item DROP CONSTRAINT item_pkey; INSERT INTO item SELECT * FROM item WHERE id = 1").await.unwrap();
    let failure = Failure::of(session.query(&lookup, &[&1_i32]).await.unwrap_err());
    assert_eq!(failure.code, "HV000", "{failure:?}");
    eventually("both rows", async || {
        let rows = session.query(&lookup, &[&1_i32]).await.map(|rows| rows.len()).map_err(Failure::of);
        assert_ne!(rows.as_ref().ok(), Some(&1), "half of the rows");
        (rows == Ok(2)).then_some(())
    })
    .await;
    server.stop().await;
}
