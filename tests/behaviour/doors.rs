//! Doors to the machine that must stay closed, and statements that are refused rather than half done.

use crate::support::proxy::{self, GUEST, OWNER, Place};

const REFUSED: &[(&str, &[&str])] = &[
    ("CREATE EXTERNAL TABLE t STORED AS CSV LOCATION '/etc/passwd'", &["42501"]),
    ("CREATE EXTERNAL TABLE t (a int) STORED AS PARQUET LOCATION 'http://localhost/x'", &["42501"]),
    ("COPY shop.items TO '/tmp/items.csv'", &["42501"]),
    ("COPY (SELECT * FROM shop.items) TO '/tmp/items.csv'", &["42501", "0A000"]),
    ("COPY shop.items FROM '/etc/passwd'", &["42501"]),
    ("COPY shop.items TO PROGRAM 'cat'", &["42501"]),
    ("COPY shop.items FROM PROGRAM 'id'", &["42501"]),
    ("COPY shop.items FROM STDIN", &["25006"]),
    ("CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'", &["0A000"]),
    ("CREATE FUNCTION f(double) RETURNS double RETURN $1 + 1", &["0A000", "42601"]),
    ("CREATE TABLE t (a int)", &["0A000"]),
    ("CREATE TABLE t AS SELECT 1", &["0A000"]),
    ("CREATE TEMP VIEW v AS SELECT 1", &["0A000"]),
    ("CREATE VIEW pg_catalog.v AS SELECT 1", &["42501"]),
    ("CREATE SCHEMA s", &["0A000"]),
    ("CREATE DATABASE d", &["0A000"]),
    ("CREATE ROLE r", &["0A000"]),
    ("CREATE TABLE shop.t (a int)", &["25006"]),
    ("ALTER TABLE shop.items ADD COLUMN x int", &["25006"]),
    ("CREATE INDEX i ON shop.items (name)", &["25006"]),
    ("DROP TABLE shop.items", &["25006"]),
    ("DROP SCHEMA shop", &["0A000"]),
    ("TRUNCATE shop.items", &["25006"]),
    ("INSERT INTO shop.items VALUES (9, 'x')", &["25006"]),
    ("UPDATE shop.items SET name = 'x'", &["25006"]),
    ("DELETE FROM shop.items", &["25006"]),
    ("WITH x AS (SELECT 1) DELETE FROM shop.items", &["25006"]),
    ("INSERT INTO pg_catalog.pg_class DEFAULT VALUES", &["42501"]),
    ("UPDATE tributary.stores SET name = 'x'", &["42501"]),
    ("WITH gone AS (DELETE FROM shop.items RETURNING *) SELECT * FROM gone", &["0A000", "42601"]),
    ("EXPLAIN ANALYZE DELETE FROM shop.items", &["0A000"]),
    ("PREPARE p AS TRUNCATE shop.items", &["42601"]),
    ("EXECUTE changing", &["25006"]),
    ("MERGE INTO shop.items USING shop.items AS o ON items.id = o.id WHEN MATCHED THEN DELETE", &["25006"]),
    ("COPY (DELETE FROM shop.items RETURNING id) TO STDOUT", &["0A000"]),
    ("SELECT * INTO t FROM shop.items", &["0A000"]),
    ("SELECT * FROM shop.items FOR UPDATE", &["25006"]),
    ("SELECT * FROM (SELECT * FROM shop.items FOR UPDATE) AS s", &["0A000"]),
    ("SET datafusion.execution.batch_size = 1", &["42501"]),
    ("SET datafusion.catalog.information_schema = true", &["42501"]),
    ("RESET datafusion.execution.batch_size", &["42501", "42704"]),
    ("SHOW datafusion.execution.batch_size", &["42704"]),
    ("SELECT * FROM information_schema.df_settings", &["42P01"]),
    ("LOAD 'library'", &["0A000", "42601"]),
    ("DO $$ BEGIN END $$", &["0A000", "42601"]),
    ("VACUUM", &["0A000"]),
    ("CALL something()", &["42883"]),
    ("SELECT * FROM read_csv('/etc/passwd')", &["42883"]),
    ("SELECT * FROM read_parquet('/etc/passwd')", &["42883"]),
    ("SELECT * FROM read_json('/etc/passwd')", &["42883"]),
    ("SELECT * FROM '/etc/passwd'", &["42601", "42P01"]),
    ("SELECT * FROM \"/etc/passwd\"", &["42P01"]),
    ("SELECT * FROM \"file:///etc/passwd.csv\"", &["42P01"]),
    ("SELECT pg_read_file('/etc/passwd')", &["42883"]),
    ("SELECT pg_read_binary_file('/etc/passwd')", &["42883"]),
    ("SELECT pg_ls_dir('/')", &["42883"]),
    ("SELECT * FROM pg_ls_dir('/')", &["42883"]),
    ("SELECT lo_import('/etc/passwd')", &["42883"]),
    ("SELECT readfile('/etc/passwd')", &["42883"]),
    ("SELECT load_file('/etc/passwd')", &["42883"]),
    ("SELECT pg_terminate_backend(1)", &["42883", "42501"]),
    ("SELECT set_config('search_path', 'x', false)", &["0A000"]),
    ("SET ROLE root", &["42501"]),
    ("SET SESSION AUTHORIZATION root", &["0A000", "42501"]),
];

#[tokio::test]
async fn closed_doors_are_refused_and_nothing_changes() {
    let place = Place::new();
    let file =
        place.sqlite("shop", "CREATE TABLE items (id INTEGER PRIMARY KEY, name TEXT); INSERT INTO items VALUES (1, 'a');").await;
    place.write("stores/shop.toml", "kind = \"sqlite\"\npath = \"shop.db\"\nread_only = true\n");
    let server = place.serve().await;
    let session = proxy::connect(&server, OWNER).await;
    let before = std::fs::read(&file).unwrap();
    // What it would do is asked when it runs.
    session.answer("PREPARE changing AS DELETE FROM shop.items").await;
    let mut wrong = Vec::new();
    for (sql, codes) in REFUSED {
        let failure = session.failure(sql).await;
        if !codes.contains(&failure.code.as_str()) {
            wrong.push(format!("{sql}: wanted {codes:?}, got {failure:?}"));
        }
        let extended = session.query(*sql, &[]).await.unwrap_err();
        if extended.code().is_none_or(|code| !codes.contains(&code.code())) {
            wrong.push(format!("{sql}, extended: wanted {codes:?}, got {extended:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(session.answer("SELECT * FROM shop.items").await, "1|a");
    assert_eq!(std::fs::read(&file).unwrap(), before);
}

#[tokio::test]
async fn only_a_superuser_refreshes() {
    let place = Place::new();
    place.sqlite("shop", "CREATE TABLE items (id INTEGER PRIMARY KEY);").await;
    let server = place.serve().await;
    let guest = proxy::connect(&server, GUEST).await;
    assert_eq!(guest.failure("CALL tributary.refresh('shop')").await.code, "42501");
    let owner = proxy::connect(&server, OWNER).await;
    assert_eq!(owner.failure("CALL tributary.refresh('nothing')").await.code, "42704");
    owner.answer("CALL tributary.refresh('shop')").await;
}
