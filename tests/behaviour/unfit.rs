//! Values that do not fit their column and are read as NULL (`on_mismatch`, `zero_date`): no statement that writes takes them for NULL.
//!
//! In each store the row 1 has a value, 2 has NULL, and 3 a value that its column cannot have.

use mongodb::Client;
use mongodb::bson::{Bson, Document, doc};
use sqlx::mysql::MySqlConnection;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{Connection, Executor};

use crate::support;
use crate::support::proxy::{self, OWNER, Place, Session};

/// What means the rows whose `c` is NULL, in every way in which a statement that writes may say so.
const STATEMENTS: [&str; 8] = [
    "DELETE FROM s.t WHERE c IS NULL",
    "DELETE FROM s.t WHERE c IS NULL RETURNING _id",
    "UPDATE s.t SET label = 'taken' WHERE c IS NULL",
    "UPDATE s.t SET label = 'taken' WHERE c IS NOT DISTINCT FROM NULL",
    "UPDATE s.t SET label = 'taken' WHERE coalesce(c::text, 'none') = 'none'",
    "DELETE FROM s.t USING (VALUES (2), (3)) v (w) WHERE _id = v.w AND c IS NULL",
    "DELETE FROM s.t WHERE _id IN (SELECT u._id FROM s.t u WHERE u.c IS NULL)",
    "MERGE INTO s.t USING (VALUES (2), (3)) v (w) ON _id = v.w AND c IS NULL WHEN MATCHED THEN DELETE",
];

/// Each statement spares the row, or fails and says why; by its key the row can be changed like any other.
async fn are_spared(session: &Session) {
    assert_eq!(session.answer("SELECT _id FROM s.t WHERE c IS NULL ORDER BY _id").await, "2\n3");
    for sql in STATEMENTS {
        session.answer("BEGIN").await;
        match session.rows(sql).await {
            Ok(_) => {
                assert_eq!(session.answer("SELECT label FROM s.t WHERE _id = 3").await, "unfit", "{sql}");
                assert_eq!(session.answer("SELECT count(*) FROM s.t WHERE _id = 2 AND label = 'none'").await, "0", "{sql}");
            }
            Err(failure) => assert!(failure.code == "0A000" || failure.code.starts_with("22"), "{sql}: {failure:?}"),
        }
        session.answer("ROLLBACK").await;
    }
    assert_eq!(session.answer("SELECT _id, label FROM s.t ORDER BY _id").await, "1|fits\n2|none\n3|unfit");
    session.answer("UPDATE s.t SET label = 'changed' WHERE _id = 3").await;
    session.answer("DELETE FROM s.t WHERE _id = 1").await;
    assert_eq!(session.answer("SELECT _id, label FROM s.t ORDER BY _id").await, "2|none\n3|changed");
}

#[tokio::test(flavor = "multi_thread")]
async fn fields_of_documents_in_sqlite_are_not_null_for_writes() {
    let place = Place::new();
    let tables = "CREATE TABLE t (_id INTEGER PRIMARY KEY, label TEXT, doc JSON);
        INSERT INTO t VALUES (1, 'fits', '{\"c\": 1}'), (2, 'none', '{\"c\": null}'), (3, 'unfit', '{\"c\": \"abc\"}')";
    let file = place.sqlite("s", tables).await;
    let options = "kind = \"sqlite\"\npath = \"s.db\"\n[tables.t]\ndocument = \"doc\"\non_mismatch = \"null\"\n\
                   [tables.t.columns]\nc = \"bigint\"\n";
    place.write("stores/s.toml", options);
    let server = place.serve().await;
    are_spared(&proxy::connect(&server, OWNER).await).await;
    let mut connection = SqliteConnection::connect_with(&SqliteConnectOptions::new().filename(file)).await.unwrap();
    let left: String =
        sqlx::query_scalar("SELECT CAST(doc AS TEXT) FROM t WHERE _id = 3").fetch_one(&mut connection).await.unwrap();
    assert_eq!(left, "{\"c\": \"abc\"}");
}

#[tokio::test(flavor = "multi_thread")]
async fn zero_dates_of_mariadb_are_not_null_for_writes() {
    let place = Place::new();
    let mariadb = support::mariadb().await;
    let database = mariadb.fresh_database().await.unwrap();
    let mut connection = MySqlConnection::connect_with(&mariadb.mysql_options().database(&database)).await.unwrap();
    for sql in [
        "SET sql_mode = ''",
        "CREATE TABLE t (_id bigint PRIMARY KEY, c date, label varchar(20) COLLATE utf8mb4_nopad_bin) CHARACTER SET utf8mb4",
        "INSERT INTO t VALUES (1, '2024-01-01', 'fits'), (2, NULL, 'none'), (3, '0000-00-00', 'unfit')",
    ] {
        connection.execute(sql).await.unwrap();
    }
    place.mariadb("s", mariadb, &database, "zero_date = \"null\"");
    let server = place.serve().await;
    are_spared(&proxy::connect(&server, OWNER).await).await;
    let left: String = sqlx::query_scalar("SELECT CONVERT(CAST(c AS CHAR) USING utf8mb4) FROM t WHERE _id = 3")
        .fetch_one(&mut connection)
        .await
        .unwrap();
    assert_eq!(left, "0000-00-00");
}

#[tokio::test(flavor = "multi_thread")]
async fn values_of_other_types_in_mongodb_are_not_null_for_writes() {
    let place = Place::new();
    let mongodb = support::mongodb().await;
    let database = mongodb.fresh_database().await.unwrap();
    let (host, port, user, password) = (mongodb.host(), mongodb.port(), mongodb.user(), mongodb.password());
    let url = format!("mongodb://{user}:{password}@{host}:{port}/?authSource=admin&directConnection=true");
    let documents = Client::with_uri_str(url).await.unwrap().database(&database).collection::<Document>("t");
    let rows = [
        doc! { "_id": 1_i64, "c": 1_i64, "label": "fits" },
        doc! { "_id": 2_i64, "c": Bson::Null, "label": "none" },
        doc! { "_id": 3_i64, "c": "abc", "label": "unfit" },
    ];
    documents.insert_many(rows).await.unwrap();
    let options = "on_mismatch = \"null\"\n[collections.t.columns]\nc = \"bigint\"\nlabel = \"text\"";
    place.mongodb("s", mongodb, &database, options);
    let server = place.serve().await;
    are_spared(&proxy::connect(&server, OWNER).await).await;
    let left = documents.find_one(doc! { "_id": 3_i64 }).await.unwrap().unwrap();
    assert_eq!(left, doc! { "_id": 3_i64, "c": "abc", "label": "changed" });
}
