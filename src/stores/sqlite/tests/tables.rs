//! Discovery and types.

use super::*;
use crate::error::Diagnose;
use crate::pgtype::PgType;
use crate::stores::schema::{Action, Collation, Generated, TableKind};

#[tokio::test]
async fn tables_keys_and_estimates_are_found() {
    let fixture = Fixture::new(
        "CREATE TABLE customer (id INTEGER PRIMARY KEY, email TEXT NOT NULL UNIQUE COLLATE NOCASE, tier TEXT DEFAULT 'new');
         CREATE TABLE \"odd \"\"name\"\" ünï\" (\"select\" INT, \"a'b\" TEXT, \"x y\" REAL, PRIMARY KEY (\"a'b\", \"select\")) WITHOUT ROWID;
         CREATE TABLE bill (no INTEGER PRIMARY KEY AUTOINCREMENT, customer INT REFERENCES customer ON DELETE SET NULL
                            ON UPDATE CASCADE, total DECIMAL(10,2) CHECK (total >= 0),
                            twice GENERATED ALWAYS AS (total * 2) VIRTUAL, paid ANY, CHECK (customer <> no),
                            CONSTRAINT \"not \"\"two\"\"\" CHECK (no <> 2)) STRICT;
         CREATE TABLE empty (a);
         CREATE INDEX bill_by_total ON bill (total, customer);
         CREATE UNIQUE INDEX partly ON bill (customer) WHERE customer > 5;
         CREATE INDEX computed ON bill (total + 1);
         CREATE VIEW rich AS SELECT email, count(*) AS n FROM customer GROUP BY email;
         INSERT INTO customer (id, email) VALUES (1, 'a'), (41, 'b');"
            .replace("total DECIMAL(10,2)", "total REAL")
            .replace("twice GENERATED", "twice REAL GENERATED")
            .as_str(),
        "",
    )
    .await;
    let schema = fixture.store.discover().await.unwrap();
    assert!(schema.server_version.starts_with("SQLite 3."));
    let names: Vec<&str> = schema.tables.iter().map(|table| table.id.name.as_str()).collect();
    assert_eq!(names, ["bill", "customer", "empty", "odd \"name\" ünï", "rich"]);

    let customer = find(&schema, "customer");
    assert_eq!(customer.primary_key.as_ref().unwrap().columns, [0]);
    assert_eq!(customer.unique_keys[0].name, "customer_email_key");
    assert_eq!(customer.row_estimate, Some(41));
    assert_eq!(customer.columns[0].generated, Generated::ByDefault);
    assert!(!customer.columns[0].field.is_nullable());
    assert!(!customer.columns[1].field.is_nullable());
    assert_eq!(customer.columns[1].collation, Collation::Loose("NOCASE".to_owned()));
    assert_eq!(customer.columns[2].collation, Collation::Bytes);
    assert_eq!(customer.columns[2].default.as_deref(), Some("'new'"));

    let bill = find(&schema, "bill");
    assert_eq!(bill.columns[3].generated, Generated::Always);
    assert_eq!(
        bill.indexes.iter().map(|key| (key.name.as_str(), key.columns.clone())).collect::<Vec<_>>(),
        [("bill_by_total", vec![2, 1])]
    );
    assert!(bill.unique_keys.is_empty());
    assert_eq!(bill.foreign_keys[0].references.name, "customer");
    assert_eq!(bill.foreign_keys[0].referenced_columns, ["id"]);
    assert_eq!((bill.foreign_keys[0].on_update, bill.foreign_keys[0].on_delete), (Action::Cascade, Action::SetNull));
    let checks: Vec<_> =
        bill.checks.iter().map(|check| (check.name.as_str(), check.expression.as_str(), &check.columns[..])).collect();
    let of_table = [("bill_check", "customer <> no", &[0, 1][..]), ("not \"two\"", "no <> 2", &[0][..])];
    assert_eq!(checks, [[("bill_total_check", "total >= 0", &[2][..])].as_slice(), &of_table].concat());

    let odd = find(&schema, "odd \"name\" ünï");
    assert_eq!(odd.primary_key.as_ref().unwrap().columns, [1, 0]);
    assert!(!odd.columns[0].field.is_nullable() && odd.columns[2].field.is_nullable());
    assert_eq!(odd.row_estimate, None);
    assert_eq!(find(&schema, "rich").kind, TableKind::View);
    assert_eq!(find(&schema, "empty").columns[0].pg_type(), PgType::TEXT);
}

#[tokio::test]
async fn conditions_without_names_get_those_of_postgres() {
    let fixture = Fixture::new(
        "CREATE TABLE t (a INT CHECK (\"a\" > 0) CHECK (a <> 5), b INT CHECK (a < b), CHECK (\"b\" BETWEEN 1 AND 9), CHECK (a + b < 9),
                         CHECK (a < 8), CONSTRAINT t_a_check2 CHECK (1))",
        "",
    )
    .await;
    let schema = fixture.store.discover().await.unwrap();
    let table = find(&schema, "t");
    let names: Vec<&str> = table.checks.iter().map(|check| check.name.as_str()).collect();
    assert_eq!(names, ["t_a_check", "t_a_check1", "t_check", "t_b_check", "t_check1", "t_a_check3", "t_a_check2"]);
}

#[tokio::test]
async fn every_type_is_read_as_it_was_written() {
    let fixture = Fixture::new(
        "CREATE TABLE t (i BIGINT, b BOOLEAN, x DOUBLE, s VARCHAR(5), raw BLOB, n NUMERIC, d DECIMAL(10,2), day DATE, at TIME,
                         moment DATETIME, zoned TIMESTAMPTZ, j JSON, u UUID, free);
         INSERT INTO t VALUES
           (9223372036854775807, 1, 1.5, 'longer than five ünï', x'00ff', '1e2', 19.99, '2024-02-29', '23:59:59.5',
            '1969-12-31 23:59:59.999999', '2024-01-01 02:00:00+02:00', '{\"a\": [1]}', '00112233-4455-6677-8899-AABBCCDDEEFF', 7),
           (-9223372036854775808, 0, 9e999, '', x'', 0.1, -5, 2440587.5, '00:00', 0, 2440588.25, jsonb('{\"a\": [1]}'),
            x'00112233445566778899aabbccddeeff', 0.1),
           (NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 'text');",
        "",
    )
    .await;
    let table = fixture.table("t").await;
    let types: Vec<String> = table.columns.iter().map(|column| column.pg_type().to_string()).collect();
    let expected_types = [
        "bigint",
        "boolean",
        "double precision",
        "text",
        "bytea",
        "numeric",
        "numeric(10,2)",
        "date",
        "time without time zone",
        "timestamp without time zone",
        "timestamp with time zone",
        "json",
        "uuid",
        "text",
    ];
    assert_eq!(types, expected_types);
    let rows = fixture.read(&table, vec![]).await.unwrap();
    let uuid = "00112233-4455-6677-8899-aabbccddeeff";
    let first = [
        "9223372036854775807",
        "true",
        "1.5",
        "longer than five ünï",
        "00ff",
        "100",
        "19.99",
        "2024-02-29",
        "23:59:59.500",
        "1969-12-31T23:59:59.999999",
        "2024-01-01T00:00:00Z",
        "{\"a\": [1]}",
        uuid,
        "7",
    ];
    assert_eq!(rows[0], first);
    let second = [
        "-9223372036854775808",
        "false",
        "inf",
        "",
        "",
        "0.1",
        "-5.00",
        "1970-01-01",
        "00:00:00",
        "1970-01-01T00:00:00",
        "1970-01-01T18:00:00Z",
        "{\"a\":[1]}",
        uuid,
        "0.1",
    ];
    assert_eq!(rows[1], second);
    assert_eq!(rows[2].iter().filter(|cell| *cell == "~").count(), 13);
}

#[tokio::test]
async fn cells_that_do_not_fit_are_errors_that_name_their_column() {
    let rows = [
        ("BIGINT", "'abc'", "22P02"),
        ("BIGINT", "1.5", "22P02"),
        ("BIGINT", "1e30", "22003"),
        ("BOOLEAN", "2", "22P02"),
        ("DOUBLE", "'abc'", "22P02"),
        ("TEXT", "x'ff'", "22P02"),
        ("TEXT", "CAST(x'ff' AS TEXT)", "22021"),
        ("TEXT", "'a' || char(0) || 'b'", "22021"),
        ("BLOB", "'text'", "22P02"),
        ("DECIMAL(4,2)", "123.45", "22003"),
        ("DECIMAL(4,2)", "1.005", "22003"),
        ("DATE", "20240101", "22007"),
        ("DATETIME", "1700000000000", "22007"),
        ("DATETIME", "2440588.0", "22007"),
        ("DATETIME", "'2024-01-01 00:00:00+02:00'", "22007"),
        ("TIME", "'24:01'", "22007"),
        ("JSON", "'{a: 1}'", "22P02"),
        ("UUID", "'nope'", "22P02"),
    ];
    for (declared, value, sqlstate) in rows {
        let sql = format!("CREATE TABLE t (before INT, c {declared}); INSERT INTO t VALUES (1, {value});");
        let fixture = Fixture::new(&sql, "").await;
        let table = fixture.table("t").await;
        let error = fixture.read(&table, vec![]).await.unwrap_err();
        assert_eq!(error.sqlstate(), sqlstate, "{declared} {value}: {error}");
        assert!(error.to_string().contains("shop.t.c"), "{error}");
    }
}

#[tokio::test]
async fn guarantees_are_claimed_only_where_sqlite_gives_them() {
    let fixture = Fixture::new(
        "PRAGMA encoding = 'UTF-16le';
         CREATE TABLE falling (id INTEGER PRIMARY KEY DESC, s TEXT);
         CREATE TABLE strict (id INTEGER PRIMARY KEY, n INT, s TEXT, free ANY) STRICT;
         INSERT INTO falling VALUES (NULL, 'ünï'), ('text', '名');
         INSERT INTO strict VALUES (1, 2, '\u{ff5e}', 'x'), (2, 3, '\u{1f600}', 5);
         CREATE VIEW totals AS SELECT count(*) AS n, sum(n) AS total, max(s) AS s, CAST(avg(n) AS REAL) AS mean FROM strict;",
        "",
    )
    .await;
    let falling = fixture.table("falling").await;
    assert!(falling.columns[0].field.is_nullable());
    let strict = fixture.table("strict").await;
    let exact = |table: &Table, predicate: &Predicate| matches!(fixture.store.pushdown(table, predicate), Pushdown::Exact(_));
    let above = |column, value| Predicate::Compare { column: ColumnRef::of(column), op: Comparison::Greater, value };
    assert!(!exact(&falling, &above(0, Value::Int(0))));
    assert!(exact(&strict, &above(0, Value::Int(0))) && exact(&strict, &above(1, Value::Int(0))));
    // UTF-16 sorts U+FF5E above U+1F600 and UTF-8 below it.
    let order = fixture.store.pushdown(&strict, &above(2, Value::Text("x".to_owned())));
    assert!(matches!(order, Pushdown::Refused(_)), "{order:?}");
    let emoji = pushed(fixture.store.as_ref(), &strict, &equal(2, Value::Text("\u{1f600}".to_owned())));
    assert_eq!(fixture.read(&strict, vec![emoji]).await.unwrap(), [["2", "3", "\u{1f600}", "5"]]);
    // A NULL key is read as such, and a text in an integer column is an error rather than a guess.
    let error = fixture.read(&falling, vec![]).await.unwrap_err();
    assert!(error.to_string().contains("shop.falling.id"), "{error}");
    let totals = fixture.table("totals").await;
    // The view's own `max` follows the file's order, which is the reason for the refusal above.
    let rows = fixture.read(&totals, vec![]).await.unwrap();
    assert_eq!(rows, [["2", "5", "\u{ff5e}", "2.5"]], "{:?}", totals.schema);
}

#[tokio::test]
async fn documents_become_columns_that_can_be_filtered() {
    let fixture = Fixture::new(
        "CREATE TABLE review (id INTEGER PRIMARY KEY, doc JSON NOT NULL, at DATE);
         INSERT INTO review (doc) VALUES
           ('{\"id\": \"r1\", \"rating\": 5, \"author\": {\"name\": \"Ada\", \"age\": 36}, \"tags\": [\"a\", \"b\"]}'),
           ('{\"id\": \"r2\", \"rating\": 3, \"author\": {\"name\": \"Bob''s\"}, \"score\": 0.5}'),
           (jsonb('{\"rating\": 4}'));",
        "[tables.review]\ndocument = \"doc\"\ninclude_document = true",
    )
    .await;
    let schema = fixture.store.discover().await.unwrap();
    assert!(schema.refused.is_empty(), "{:?}", schema.refused);
    let table = find(&schema, "review");
    let names: Vec<&str> = table.columns.iter().map(|column| column.name()).collect();
    assert_eq!(names, ["id", "at", "doc_id", "rating", "author", "tags", "score", "_doc"]);
    assert_eq!(table.columns[3].pg_type(), PgType::INT8);
    let rows = fixture.read(&table, vec![]).await.unwrap();
    assert_eq!(rows[0][2..6], ["r1", "5", "{name: Ada, age: 36}", "[a, b]"]);
    assert_eq!(rows[2][2..], ["~", "4", "~", "~", "~", "{\"rating\":4}"]);

    let at_least = Predicate::Compare { column: ColumnRef::of(3), op: Comparison::GreaterOrEqual, value: Value::Int(4) };
    let kept = fixture.read(&table, vec![pushed(fixture.store.as_ref(), &table, &at_least)]).await.unwrap();
    assert_eq!(kept.iter().map(|row| row[3].as_str()).collect::<Vec<_>>(), ["5", "4"]);
    let name = ColumnRef { column: 4, path: vec!["name".to_owned()] };
    let named = Predicate::Compare { column: name, op: Comparison::Equal, value: Value::Text("Bob's".to_owned()) };
    let kept = fixture.read(&table, vec![pushed(fixture.store.as_ref(), &table, &named)]).await.unwrap();
    assert_eq!(kept.len(), 1);

    let reordered = Scan { columns: vec![7, 0, 6, 3], limit: Some(2), ..all_of(&table) };
    let branch = fixture.store.open(STATEMENT).await.unwrap();
    let rows = show(&collect(branch.as_ref(), &table, &reordered).await.unwrap());
    assert_eq!((rows.len(), rows[1][1].as_str(), rows[1][2].as_str(), rows[1][3].as_str()), (2, "2", "0.5", "3"));
}

#[tokio::test]
async fn a_repeated_field_is_read_as_sqlite_finds_it() {
    let sql =
        "CREATE TABLE d (id INTEGER PRIMARY KEY, doc TEXT); INSERT INTO d (doc) VALUES ('{\"n\": 1, \"n\": 2}'), ('{\"n\": 2}');";
    let fixture = Fixture::new(sql, "[tables.d]\ndocument = \"doc\"").await;
    let table = fixture.table("d").await;
    assert_eq!(fixture.read(&table, vec![]).await.unwrap(), [["1", "1"], ["2", "2"]]);
    let one = Predicate::Compare { column: ColumnRef::of(1), op: Comparison::Equal, value: Value::Int(1) };
    let kept = fixture.read(&table, vec![pushed(fixture.store.as_ref(), &table, &one)]).await.unwrap();
    assert_eq!(kept, [["1", "1"]]);
}

#[tokio::test]
async fn a_document_that_does_not_fit_follows_its_rule() {
    let sql = "CREATE TABLE d (doc TEXT); INSERT INTO d VALUES ('{\"n\": 1}'), ('{\"n\": 2}');";
    for (rule, expected) in [("error", None), ("null", Some(["1", "2", "~", "~"]))] {
        let mut fixture = Fixture::new(sql, &format!("[tables.d]\ndocument = \"doc\"\non_mismatch = \"{rule}\"")).await;
        let table = fixture.table("d").await;
        run(&mut fixture.writer, "INSERT INTO d VALUES ('{\"n\": \"x\"}'), ('[1]')").await;
        match (fixture.read(&table, vec![]).await, expected) {
            (Ok(rows), Some(expected)) => assert_eq!(rows.concat(), expected),
            (Err(error), None) => {
                assert_eq!(error.sqlstate(), "22P02");
                assert!(error.to_string().contains("shop.d.doc.n"), "{error}");
            }
            (other, _) => panic!("{rule}: {other:?}"),
        }
        // A second discovery sees the new documents and widens the column.
        assert_eq!(fixture.table("d").await.columns[0].pg_type(), PgType::TEXT);
    }
}

#[tokio::test]
async fn documents_are_filtered_as_they_are_read() {
    let sql = "CREATE TABLE d (id INTEGER PRIMARY KEY, doc TEXT);
        INSERT INTO d (doc) VALUES ('{\"a\": 5, \"a\": 6, \"x\": 51.24817837550540}'), ('{\"a\": 6, \"x\": 0.5}'), (NULL)";
    for rule in ["error", "null"] {
        let mut fixture = Fixture::new(sql, &format!("[tables.d]\ndocument = \"doc\"\non_mismatch = \"{rule}\"")).await;
        let table = fixture.table("d").await;
        let a = table.columns.iter().position(|column| column.name() == "a").unwrap();
        let five = pushed(fixture.store.as_ref(), &table, &equal(a, Value::Int(5)));
        let rows = fixture.read(&table, vec![five.clone()]).await.unwrap();
        assert_eq!(rows, [["1", "5", "51.2481783755054"]], "the first of repeated names counts, and no digit is lost");
        // What is no JSON meets the rule of the column, whatever the filter.
        run(&mut fixture.writer, "INSERT INTO d (doc) VALUES ('{broken'), (x'00ff')").await;
        match (rule, fixture.read(&table, vec![five]).await) {
            ("null", rows) => assert_eq!(rows.unwrap().len(), 1),
            (_, rows) => assert_eq!(rows.unwrap_err().sqlstate(), "22P02"),
        }
        let everything = fixture.read(&table, vec![]).await;
        assert_eq!(everything.is_ok(), rule == "null", "{everything:?}");
    }
}

#[tokio::test]
async fn keys_are_proven_only_where_sqlite_keeps_them() {
    let sql = "CREATE TABLE a (id INTEGER PRIMARY KEY);
        CREATE TABLE b (id TEXT PRIMARY KEY);
        CREATE TABLE c (id BIGINT PRIMARY KEY NOT NULL);
        CREATE TABLE d (x INTEGER, y INT, PRIMARY KEY (x, y)) STRICT, WITHOUT ROWID;
        CREATE TABLE e (id UUID PRIMARY KEY) WITHOUT ROWID";
    let fixture = Fixture::new(sql, "").await;
    for (name, expected) in [("a", true), ("b", false), ("c", false), ("d", true), ("e", false)] {
        assert_eq!(fixture.table(name).await.primary_key.as_ref().unwrap().proven, expected, "{name}");
    }
}

#[tokio::test]
async fn numbers_of_views_are_compared_by_the_engine() {
    let sql = "CREATE TABLE t (p DECIMAL(10, 2)); INSERT INTO t VALUES (8);
        CREATE VIEW v AS SELECT p FROM t";
    let fixture = Fixture::new(sql, "").await;
    let nine = equal(0, Value::Decimal { unscaled: 900, scale: 2 });
    let view = fixture.table("v").await;
    assert_eq!(fixture.read(&view, vec![]).await.unwrap(), [["8.00"]]);
    assert!(matches!(fixture.store.pushdown(&view, &nine), Pushdown::Refused(_)));
    let table = fixture.table("t").await;
    assert!(matches!(fixture.store.pushdown(&table, &nine), Pushdown::Superset(_)));
}

#[tokio::test]
async fn wrong_options_and_missing_files_are_told() {
    let text = "surprise = 1\n[pool]\nsize = 0\n[tables.x]\nsample = 5\n[tables.y]\ndocument = \"d\"\non_mismatch = \"maybe\"";
    let problems = KIND.parse(&StoreName::new("s"), "stores.s", &toml::from_str(text).unwrap(), &Here).unwrap_err();
    let shown: Vec<String> = problems.iter().map(|problem| problem.path.clone()).collect();
    for path in ["stores.s.surprise", "stores.s.path", "stores.s.pool.size", "stores.s.tables.x", "stores.s.tables.y.on_mismatch"] {
        assert!(shown.iter().any(|found| found == path), "{path} in {shown:?}");
    }
    let gone = connector(Path::new("/nowhere/at/all.db"), "");
    let error = gone.discover().await.unwrap_err();
    assert!(matches!(error, StoreError::Unreachable { .. }), "{error:?}");
    assert_eq!(error.sqlstate(), "08001");
    let directory = tempfile::tempdir().unwrap();
    let not_a_database = directory.path().join("file");
    std::fs::write(&not_a_database, "this is not a database, however long it may be").unwrap();
    assert!(connector(&not_a_database, "").ping().await.is_err());
}
