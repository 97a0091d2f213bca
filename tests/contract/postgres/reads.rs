//! Discovery, filters, limits, snapshots.

use arrow::array::AsArray;
use arrow::datatypes::Int32Type;
use futures::TryStreamExt;
use tributary::error::Diagnose;
use tributary::stores::connector::{Purpose, ScanLimits, Serial};
use tributary::stores::predicate::{ColumnRef, Comparison};
use tributary::stores::schema::{Action, Collation, Generated, TableKind};
use tributary::stores::value::Value;
use tributary::stores::{Predicate, Pushdown};

use super::{Fixture, row_count, scan_of};

#[tokio::test]
async fn discovery_finds_tables_keys_comments_and_estimates() {
    let mut fixture = Fixture::new().await;
    fixture
        .run(
            "CREATE SCHEMA \"Odd \"\"ns\";
             CREATE TABLE \"Odd \"\"ns\".\"Ta'ble\\\" (\"SELECT\" int PRIMARY KEY, \"a\"\"b\" text);
             CREATE TABLE parent (id int GENERATED ALWAYS AS IDENTITY, gone int, code text COLLATE \"C\" UNIQUE, n serial,
               double_n int GENERATED ALWAYS AS (n * 2) STORED, note text DEFAULT 'x', PRIMARY KEY (code, id));
             ALTER TABLE parent DROP COLUMN gone;
             COMMENT ON TABLE parent IS 'the parent'; COMMENT ON COLUMN parent.note IS 'a note';
             CREATE TABLE child (code text CHECK (length(code) < 9), id int, CONSTRAINT up FOREIGN KEY (code, id) REFERENCES parent
               (code, id) ON UPDATE CASCADE ON DELETE SET NULL, CONSTRAINT pair CHECK (id > 0 AND code <> ''));
             CREATE INDEX by_id ON child (id); CREATE INDEX by_lower ON child (lower(code));
             CREATE UNIQUE INDEX some_ids ON child (id) WHERE id > 5;
             CREATE VIEW v AS SELECT * FROM parent; CREATE MATERIALIZED VIEW m AS SELECT 1 AS one;
             CREATE TABLE parts (id int) PARTITION BY RANGE (id);
             CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (0) TO (100);
             INSERT INTO parts SELECT generate_series(0, 49); ANALYZE parts_1;
             CREATE COLLATION nd (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
             CREATE COLLATION ling (provider = icu, locale = 'en');
             CREATE TABLE words (plain text, ci text COLLATE nd, en text COLLATE ling, pad char(3)); CREATE TABLE none ()",
        )
        .await;
    let schema = fixture.connector.discover().await.unwrap();
    let named = |name: &str| schema.tables.iter().find(|table| table.id.name == name).unwrap();
    assert!(schema.server_version.chars().next().unwrap().is_ascii_digit());
    let odd = named("Ta'ble\\");
    assert_eq!((odd.id.namespace.as_str(), odd.columns[1].name()), ("Odd \"ns", "a\"b"));
    let parent = named("parent");
    let names: Vec<&str> = parent.columns.iter().map(|column| column.name()).collect();
    assert_eq!(names, ["id", "code", "n", "double_n", "note"]);
    let generated: Vec<Generated> = parent.columns.iter().map(|column| column.generated).collect();
    assert_eq!(generated, [Generated::Always, Generated::No, Generated::ByDefault, Generated::Always, Generated::No]);
    assert_eq!(parent.columns[4].default.as_deref(), Some("'x'::text"));
    assert_eq!((parent.comment.as_deref(), parent.columns[4].comment.as_deref()), (Some("the parent"), Some("a note")));
    assert_eq!(parent.primary_key.as_ref().unwrap().columns, [1, 0]);
    assert_eq!(parent.unique_keys[0].columns, [1]);
    assert!(!parent.columns[1].field.is_nullable() && parent.columns[4].field.is_nullable());
    let child = named("child");
    assert_eq!(child.indexes.iter().map(|key| key.name.as_str()).collect::<Vec<_>>(), ["by_id"]);
    assert!(child.unique_keys.is_empty());
    assert_eq!(child.foreign_keys[0].references.name, "parent");
    assert_eq!(child.foreign_keys[0].referenced_columns, ["code", "id"]);
    assert_eq!((child.foreign_keys[0].on_update, child.foreign_keys[0].on_delete), (Action::Cascade, Action::SetNull));
    let checks: Vec<_> =
        child.checks.iter().map(|check| (check.name.as_str(), check.expression.as_str(), &check.columns[..])).collect();
    let pair = ("pair", "((id > 0) AND (code <> ''::text))", &[0, 1][..]);
    assert_eq!(checks, [("child_code_check", "(length(code) < 9)", &[0][..]), pair]);
    assert_eq!(
        (named("v").kind, named("m").kind, named("parts").kind),
        (TableKind::View, TableKind::MaterializedView, TableKind::Table)
    );
    assert_eq!(
        (named("parts").row_estimate, named("parts_1").row_estimate, named("child").row_estimate),
        (Some(50), Some(50), None)
    );
    let collations: Vec<Collation> = named("words").columns.iter().map(|column| column.collation.clone()).collect();
    assert_eq!(collations[0], Collation::Bytes);
    let expected = (&Collation::Loose("public.nd".to_owned()), &Collation::Linguistic("public.ling".to_owned()));
    assert_eq!((&collations[1], &collations[2]), expected);
    assert!(matches!(collations[3], Collation::Loose(_)));
    assert!(named("none").columns.is_empty());
}

#[tokio::test]
async fn odd_names_empty_tables_and_no_columns() {
    let mut fixture = Fixture::new().await;
    fixture.run("CREATE TABLE \"Ta'b\"\"le\\\" (\"a\"\"b\" text, \"c'd\\\" int)").await;
    let table = fixture.table("Ta'b\"le\\").await;
    assert_eq!(row_count(&fixture.read(&table, Vec::new()).await.unwrap()), 0);
    fixture.run("INSERT INTO \"Ta'b\"\"le\\\" SELECT 'x', n FROM generate_series(1, 10) n").await;
    let below = Predicate::Compare { column: ColumnRef::of(1), op: Comparison::Less, value: Value::Int(4) };
    assert_eq!(row_count(&fixture.read(&table, vec![below.clone()]).await.unwrap()), 3);
    let branch = fixture.connector.open(Purpose::Statement { scans: 1 }).await.unwrap();
    let mut scan = scan_of(&table, vec![below]);
    scan.columns.clear();
    let batches: Vec<_> = branch.scan(&table, &scan, ScanLimits::default()).await.unwrap().try_collect().await.unwrap();
    assert_eq!((row_count(&batches), batches[0].num_columns()), (3, 0));
    scan.filter.clear();
    scan.limit = Some(7);
    let limits = ScanLimits { batch_rows: 3, ..ScanLimits::default() };
    let batches: Vec<_> = branch.scan(&table, &scan, limits).await.unwrap().try_collect().await.unwrap();
    assert_eq!(batches.iter().map(|batch| batch.num_rows()).collect::<Vec<_>>(), [3, 3, 1]);
}

#[tokio::test]
async fn batches_close_at_their_byte_limit() {
    let mut fixture = Fixture::new().await;
    fixture.run("CREATE TABLE t AS SELECT n, repeat('x', 10000) AS filler FROM generate_series(1, 100) n").await;
    let table = fixture.table("t").await;
    let branch = fixture.connector.open(Purpose::Statement { scans: 1 }).await.unwrap();
    let limits = ScanLimits { batch_rows: 8_192, batch_bytes: 100_000 };
    let batches: Vec<_> = branch.scan(&table, &scan_of(&table, Vec::new()), limits).await.unwrap().try_collect().await.unwrap();
    assert_eq!(batches.iter().map(|batch| batch.num_rows()).collect::<Vec<_>>(), [10; 10]);
}

#[tokio::test]
async fn hostile_texts_as_filter_values_find_only_themselves() {
    let mut fixture = Fixture::new().await;
    let texts = [
        "\\' or 1=1 -- ",
        "a''b",
        "'",
        "''",
        "\\",
        "\\\\",
        "$1",
        "$$x$$",
        "a\"b",
        "%_",
        "E'x'",
        "\u{feff}ž🐎",
        ") TO PROGRAM 'x' --",
    ];
    fixture.run("CREATE TABLE t (id int, v text)").await;
    for (id, text) in texts.iter().enumerate() {
        let insert = "INSERT INTO t VALUES ($1, $2)";
        sqlx::query(insert).bind(i32::try_from(id).unwrap()).bind(*text).execute(&mut fixture.plain).await.unwrap();
    }
    let table = fixture.table("t").await;
    for (id, text) in texts.iter().enumerate() {
        let column = ColumnRef::of(1);
        let value = Value::Text((*text).to_owned());
        let pattern: String = text.chars().flat_map(|c| ['\\', c]).collect();
        let predicates = [
            Predicate::Compare { column: column.clone(), op: Comparison::Equal, value: value.clone() },
            Predicate::In { column: column.clone(), values: vec![value], negated: false },
            Predicate::Like { column, pattern, negated: false, case_insensitive: false },
        ];
        for predicate in predicates {
            assert_eq!(fixture.connector.pushdown(&table, &predicate), Pushdown::Exact(predicate.clone()));
            let batches = fixture.read(&table, vec![predicate.clone()]).await.unwrap();
            let ids: Vec<i32> =
                batches.iter().flat_map(|batch| batch.column(0).as_primitive::<Int32Type>().values().to_vec()).collect();
            assert_eq!(ids, [i32::try_from(id).unwrap()], "{predicate:?}");
        }
    }
    let nul = Predicate::Compare { column: ColumnRef::of(1), op: Comparison::Equal, value: Value::Text("a\0b".to_owned()) };
    assert!(matches!(fixture.connector.pushdown(&table, &nul), Pushdown::Refused(_)));
    assert_eq!(fixture.read(&table, vec![nul]).await.unwrap_err().sqlstate(), "22023");
}

#[tokio::test]
async fn pushed_comparisons_answer_by_bytes_under_every_collation() {
    let mut fixture = Fixture::new().await;
    fixture
        .run(
            "CREATE COLLATION nd (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
             CREATE COLLATION ling (provider = icu, locale = 'en');
             CREATE TABLE t (c text, en text COLLATE ling, ci text COLLATE nd, f float8);
             INSERT INTO t SELECT w, w, w, CASE w WHEN 'a' THEN 'NaN' WHEN 'B' THEN '-0' ELSE '1' END::float8
               FROM unnest(ARRAY['a', 'A', 'B', 'b', 'Z', 'ž', NULL]) w",
        )
        .await;
    let table = fixture.table("t").await;
    for column in 0..3 {
        for op in [Comparison::Less, Comparison::GreaterOrEqual, Comparison::NotEqual, Comparison::Equal] {
            let predicate = Predicate::Compare { column: ColumnRef::of(column), op, value: Value::Text("a".to_owned()) };
            let expected =
                fixture.ask(&format!("SELECT count(*)::text FROM t WHERE c COLLATE \"C\" {} 'a'", op.sql())).await.unwrap();
            let found = row_count(&fixture.read(&table, vec![predicate.clone()]).await.unwrap()).to_string();
            match fixture.connector.pushdown(&table, &predicate) {
                Pushdown::Exact(_) => assert_eq!(found, expected, "column {column} {op:?}"),
                Pushdown::Superset(_) => assert!(column == 2 && found == "2" && op == Comparison::Equal),
                Pushdown::Refused(reason) => panic!("{reason}"),
            }
        }
    }
    for (op, value, expected) in [(Comparison::Equal, f64::NAN, 1), (Comparison::Greater, 1.0, 1), (Comparison::Equal, 0.0, 1)] {
        let predicate = Predicate::Compare { column: ColumnRef::of(3), op, value: Value::Float(value) };
        assert_eq!(row_count(&fixture.read(&table, vec![predicate]).await.unwrap()), expected, "{op:?} {value}");
    }
}

#[tokio::test]
async fn scans_of_one_statement_share_a_snapshot() {
    let mut fixture = Fixture::new().await;
    fixture.run("CREATE TABLE t AS SELECT generate_series(1, 1000) AS id").await;
    let table = fixture.table("t").await;
    let scan = scan_of(&table, Vec::new());
    let purposes = [
        (Purpose::Statement { scans: 2 }, true),
        (Purpose::Transaction { read_only: true, repeatable: true }, true),
        (Purpose::Transaction { read_only: false, repeatable: true }, true),
        (Purpose::Serializable(Serial::Write), true),
        (Purpose::Serializable(Serial::Read), true),
        (Purpose::Serializable(Serial::ReadDeferred), true),
        (Purpose::Transaction { read_only: true, repeatable: false }, false),
    ];
    for (purpose, shared) in purposes {
        let branch = fixture.connector.open(purpose).await.unwrap();
        assert_eq!(branch.shared_snapshot().is_ok(), shared);
        let first: Vec<_> = branch.scan(&table, &scan, ScanLimits::default()).await.unwrap().try_collect().await.unwrap();
        fixture.run("INSERT INTO t VALUES (0)").await;
        let second: Vec<_> = branch.scan(&table, &scan, ScanLimits::default()).await.unwrap().try_collect().await.unwrap();
        let expected = row_count(&first) + usize::from(!shared);
        assert_eq!(row_count(&second), expected, "{purpose:?}");
        branch.commit().await.unwrap();
        if shared {
            let error = branch.scan(&table, &scan, ScanLimits::default()).await.err().unwrap();
            assert_eq!(error.sqlstate(), "25P01");
        }
    }
}

#[tokio::test]
async fn explain_shows_placeholders() {
    let mut fixture = Fixture::new().await;
    fixture.run("CREATE TABLE t (a int, b money)").await;
    let table = fixture.table("t").await;
    let predicate = Predicate::Compare { column: ColumnRef::of(0), op: Comparison::Equal, value: Value::Int(7) };
    let mut scan = scan_of(&table, vec![predicate]);
    scan.limit = Some(5);
    let shown = fixture.connector.describe_scan(&table, &scan);
    assert_eq!(shown, "SELECT \"a\", \"b\"::pg_catalog.text FROM \"public\".\"t\" WHERE \"a\" = $1 LIMIT 5");
    assert_eq!(fixture.connector.describe_with_values(&table, &scan).1, " -- '7'::int8");
}
