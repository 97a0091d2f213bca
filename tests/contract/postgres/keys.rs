//! Which indexes are keys, and which keys the planner may rely on.

use super::Fixture;

/// Names, columns and whether it is proven, of the primary key and the unique keys.
async fn keys(fixture: &Fixture, table: &str) -> Vec<(String, Vec<usize>, bool)> {
    let table = fixture.table(table).await;
    let keys = table.primary_key.iter().chain(&table.unique_keys);
    keys.map(|key| (key.name.clone(), key.columns.clone(), key.proven)).collect()
}

fn key(name: &str, columns: &[usize], proven: bool) -> (String, Vec<usize>, bool) {
    (name.to_owned(), columns.to_vec(), proven)
}

#[tokio::test]
async fn a_unique_index_is_a_key_only_where_no_rows_can_agree() {
    let mut fixture = Fixture::new().await;
    fixture
        .run(
            "CREATE TABLE t (a int NOT NULL, b int NOT NULL, c int, d int NOT NULL, e text NOT NULL, f int NOT NULL);
             CREATE UNIQUE INDEX carrying ON t (f) INCLUDE (c);
             CREATE UNIQUE INDEX computed ON t (lower(e));
             CREATE UNIQUE INDEX nullable ON t (a, c);
             CREATE UNIQUE INDEX pair ON t (b, a);
             CREATE UNIQUE INDEX partial ON t (b) WHERE b > 0;
             ALTER TABLE t ADD CONSTRAINT later UNIQUE (d) DEFERRABLE;
             ALTER TABLE t ADD CONSTRAINT now UNIQUE (e);
             CREATE TABLE late (id int PRIMARY KEY DEFERRABLE INITIALLY DEFERRED);
             CREATE TABLE repeated (n int NOT NULL); INSERT INTO repeated VALUES (1), (1);
             CREATE MATERIALIZED VIEW seen AS SELECT 1 AS one; CREATE UNIQUE INDEX of_view ON seen (one);
             CREATE TABLE parts (id int NOT NULL, n int) PARTITION BY RANGE (id);
             CREATE TABLE low PARTITION OF parts FOR VALUES FROM (0) TO (9); CREATE UNIQUE INDEX whole ON parts (id)",
        )
        .await;
    let expected =
        [key("carrying", &[5], true), key("now", &[4], true), key("nullable", &[0, 2], false), key("pair", &[1, 0], true)];
    assert_eq!(keys(&fixture, "t").await, expected);
    assert!(keys(&fixture, "late").await.is_empty(), "until the end of a transaction rows may agree");
    // An index that could not be built stays behind and keeps nothing.
    let failed = sqlx::raw_sql("CREATE UNIQUE INDEX CONCURRENTLY broken ON repeated (n)").execute(&mut fixture.plain).await;
    assert!(failed.is_err());
    let left = fixture.ask("SELECT indisvalid::text FROM pg_index WHERE indexrelid = 'broken'::regclass").await;
    assert_eq!(left.as_deref(), Some("false"));
    assert!(keys(&fixture, "repeated").await.is_empty());
    // Columns of a materialized view may be NULL.
    assert_eq!(keys(&fixture, "seen").await, [key("of_view", &[0], false)]);
    assert_eq!(keys(&fixture, "parts").await, [key("whole", &[0], true)]);
}

#[tokio::test]
async fn a_table_that_shows_rows_of_others_has_no_proven_key() {
    let mut fixture = Fixture::new().await;
    fixture.run("CREATE TABLE base (id int PRIMARY KEY, n int NOT NULL UNIQUE); CREATE TABLE more () INHERITS (base)").await;
    fixture.run("INSERT INTO base VALUES (1, 1); INSERT INTO more VALUES (1, 1)").await;
    assert_eq!(keys(&fixture, "base").await, [key("base_pkey", &[0], false), key("base_n_key", &[1], false)]);
    fixture.run("DROP TABLE more").await;
    assert_eq!(keys(&fixture, "base").await, [key("base_pkey", &[0], true), key("base_n_key", &[1], true)]);
}
