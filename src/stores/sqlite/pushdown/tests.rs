//! Tests of push-down decisions and their SQL; what SQLite then answers is tested live in `sqlite/tests`.

use std::sync::Arc;

use super::super::super::document::{DocumentField, DocumentOptions, OnMismatch};
use super::super::super::predicate::Rows;
use super::super::super::relational::{Dialect, write_all};
use super::super::super::schema::{Generated, TableId};
use super::super::types;
use super::*;

fn column(name: &str, declared: &str, collation: Collation, proven: bool) -> Column {
    Column {
        field: types::field(name, declared, true, proven),
        native_type: declared.to_owned(),
        default: None,
        generated: Generated::No,
        comment: None,
        collation,
        statistics: crate::stores::schema::ColumnStatistics::default(),
    }
}

fn table(kind: TableKind) -> Table {
    let loose = || Collation::Loose("NOCASE".to_owned());
    let mut columns = vec![
        column("n", "BIGINT", Collation::Bytes, false),
        column("id", "INTEGER", Collation::Bytes, true),
        column("s", "TEXT", Collation::Bytes, false),
        column("ci", "TEXT", loose(), false),
        column("price", "DECIMAL(10,2)", Collation::Bytes, false),
        column("u", "UUID", Collation::Bytes, false),
        column("b", "BLOB", Collation::Bytes, false),
        column("at", "TIMESTAMP", Collation::Bytes, false),
        column("any", "", Collation::Bytes, false),
        column("x", "REAL", Collation::Bytes, false),
    ];
    let field = |name: &str, kind| DocumentField { name: name.to_owned(), kind };
    let nested = DocumentType::Struct(vec![field("zip", DocumentType::Text)]);
    let fields = [field("rating", DocumentType::Int), field("address", nested), field("score", DocumentType::Double)];
    columns.extend(embedded::expand(&column("doc", "JSON", Collation::Bytes, false), &[], &fields, &DocumentOptions::default()).0);
    let lenient = DocumentOptions { on_mismatch: OnMismatch::Null, ..DocumentOptions::default() };
    columns.extend(
        embedded::expand(&column("loose", "JSON", Collation::Bytes, false), &[], &[field("maybe", DocumentType::Int)], &lenient).0,
    );
    Table {
        id: TableId { namespace: "main".to_owned(), name: "t".to_owned() },
        kind,
        schema: Table::arrow_schema(&columns),
        columns,
        primary_key: None,
        unique_keys: Vec::new(),
        foreign_keys: Vec::new(),
        checks: Vec::new(),
        indexes: Vec::new(),
        comment: None,
        row_estimate: None,
        division: None,
    }
}

fn compare(column: usize, op: Comparison, value: Value) -> Predicate {
    Predicate::Compare { column: ColumnRef::of(column), op, value }
}

fn text(value: &str) -> Value {
    Value::Text(value.to_owned())
}

fn not_in(column: usize, values: &[&str]) -> Predicate {
    Predicate::In { column: ColumnRef::of(column), values: values.iter().map(|value| text(value)).collect(), negated: true }
}

/// `E`xact, `S`uperset or `R`efused, with the SQL of what is pushed.
fn check(table: &Table, predicate: &Predicate, expected: &str) {
    let (letter, pushed) = match pushdown(table, predicate) {
        Pushdown::Exact(predicate) => ("E", Some(predicate)),
        Pushdown::Superset(predicate) => ("S", Some(predicate)),
        Pushdown::Refused(_) => ("R", None),
    };
    let mut sql = Sql::bound(Dialect::Sqlite);
    write_all(pushed.as_slice(), &Columns { table }, &mut sql).unwrap();
    assert_eq!(format!("{letter}{}", sql.text().replace(" WHERE", "")), expected, "{predicate:?}");
}

#[test]
fn conditions_are_exact_only_where_misfits_cannot_be_kept() {
    use Comparison::{Equal, Greater, GreaterOrEqual, Less, NotEqual};
    let table = Arc::new(table(TableKind::Table));
    let wide = Value::Decimal { unscaled: 1 << 60, scale: 0 };
    let rows = [
        (compare(0, Equal, Value::Int(5)), "E t.\"n\" = ?1"),
        (compare(0, Less, Value::Int(5)), "S t.\"n\" < ?1"),
        (compare(1, Less, Value::Int(5)), "E t.\"id\" < ?1"),
        (compare(0, Equal, text("5")), "R"),
        (compare(2, Equal, text("a")), "E t.\"s\" = ?1"),
        (compare(2, Less, text("a")), "E t.\"s\" < ?1"),
        (compare(2, Greater, text("a")), "S t.\"s\" > ?1"),
        (compare(2, Equal, text("a\0b")), "R"),
        (compare(3, Equal, text("a")), "S t.\"ci\" = ?1"),
        (compare(3, Less, text("a")), "E t.\"ci\" COLLATE BINARY < ?1"),
        (compare(3, NotEqual, text("a")), "S t.\"ci\" COLLATE BINARY <> ?1"),
        (compare(4, Less, Value::Decimal { unscaled: 1999, scale: 2 }), "S t.\"price\" <= ?1"),
        (compare(4, NotEqual, Value::Int(1)), "R"),
        (compare(4, Equal, wide), "R"),
        // Its nearest double is the number before it.
        (compare(4, Equal, Value::Decimal { unscaled: (1 << 53) + 1, scale: 0 }), "R"),
        (compare(4, Equal, Value::Decimal { unscaled: (1 << 53) - 1, scale: 0 }), "S t.\"price\" = ?1"),
        (compare(5, Equal, text("00112233-4455-6677-8899-aabbccddeeff")), "E t.\"u\" IN (?1, ?2, ?3)"),
        (compare(5, NotEqual, text("00112233-4455-6677-8899-aabbccddeeff")), "R"),
        (compare(6, GreaterOrEqual, Value::Bytes(vec![1])), "E t.\"b\" >= ?1"),
        (compare(6, Less, Value::Bytes(vec![1])), "S t.\"b\" < ?1"),
        (compare(7, Equal, Value::Timestamp(0)), "R"),
        (compare(8, Equal, text("a")), "R"),
        (compare(9, Equal, Value::Float(f64::NAN)), "R"),
        (compare(9, Equal, Value::Float(1.5)), "S t.\"x\" = ?1"),
        (Predicate::IsNull { column: ColumnRef::of(8), negated: true }, "E t.\"any\" IS NOT NULL"),
        (Predicate::In { column: ColumnRef::of(0), values: vec![], negated: false }, "R"),
        (compare(99, Equal, Value::Int(1)), "R"),
        (not_in(2, &["a", "b"]), "S t.\"s\" NOT IN (?1, ?2)"),
        (not_in(3, &["a", "b"]), "S (t.\"ci\" COLLATE BINARY <> ?1 AND t.\"ci\" COLLATE BINARY <> ?2)"),
        (not_in(3, &["a"; PARTS_MAX + 1]), "R"),
    ];
    for (predicate, expected) in rows {
        check(&table, &predicate, expected);
    }
}

#[test]
fn like_minds_case_and_views_are_never_exact() {
    let like = |case_insensitive| Predicate::Like {
        column: ColumnRef::of(2),
        pattern: "a\\%b%".to_owned(),
        negated: false,
        case_insensitive,
    };
    check(&table(TableKind::Table), &like(false), "S t.\"s\" GLOB ?1");
    check(&table(TableKind::Table), &like(true), "R");
    check(&table(TableKind::View), &compare(0, Comparison::Equal, Value::Int(5)), "S t.\"n\" = ?1");
    check(&table(TableKind::View), &compare(3, Comparison::Equal, text("a")), "S t.\"ci\" COLLATE BINARY = ?1");
}

#[test]
fn junctions_keep_what_they_can() {
    let good = compare(0, Comparison::Equal, Value::Int(5));
    let bad = compare(7, Comparison::Equal, Value::Timestamp(0));
    let table = table(TableKind::Table);
    check(&table, &Predicate::And(vec![good.clone(), good.clone()]), "E (t.\"n\" = ?1 AND t.\"n\" = ?2)");
    check(&table, &Predicate::And(vec![good.clone(), bad.clone()]), "S (t.\"n\" = ?1)");
    check(&table, &Predicate::And(vec![bad.clone()]), "R");
    check(&table, &Predicate::Or(vec![good.clone(), bad]), "R");
    check(&table, &Predicate::Or(vec![good.clone(), good.clone()]), "E (t.\"n\" = ?1 OR t.\"n\" = ?2)");
    check(&table, &Predicate::Or(vec![good; PARTS_MAX + 1]), "R");
}

#[test]
fn a_collation_that_counts_is_used_where_it_is_exact() {
    use Comparison::{Equal, Greater, LessOrEqual, NotEqual};
    let like = Predicate::Like { column: ColumnRef::of(3), pattern: "a%".to_owned(), negated: false, case_insensitive: false };
    // What is pushed of a column whose cells may be of other kinds, and of one whose cells may not.
    let rows = [
        (compare(3, Equal, text("a")), "E t.\"ci\" = ?1", "E t.\"ci\" = ?1"),
        (compare(3, LessOrEqual, text("a")), "E t.\"ci\" <= ?1", "E t.\"ci\" <= ?1"),
        (compare(3, Greater, text("a")), "S t.\"ci\" COLLATE BINARY > ?1", "E t.\"ci\" > ?1"),
        (compare(3, NotEqual, text("a")), "S t.\"ci\" COLLATE BINARY <> ?1", "E t.\"ci\" <> ?1"),
        (
            not_in(3, &["a", "b"]),
            "S (t.\"ci\" COLLATE BINARY <> ?1 AND t.\"ci\" COLLATE BINARY <> ?2)",
            "E t.\"ci\" NOT IN (?1, ?2)",
        ),
        (like, "S t.\"ci\" GLOB ?1", "E t.\"ci\" GLOB ?1"),
    ];
    for (predicate, unsure, proven) in rows {
        for (is_proven, expected) in [(false, unsure), (true, proven)] {
            let mut table = table(TableKind::Table);
            table.columns[3] = column("ci", "TEXT", Collation::Native { name: "NOCASE".to_owned(), is_loose: true }, is_proven);
            check(&table, &predicate, expected);
        }
    }
}

#[test]
fn rows_are_as_exact_as_the_lists_of_their_columns() {
    let table = table(TableKind::Table);
    let rows = |columns: [usize; 2], rows: Vec<[Value; 2]>| {
        let rows = rows.into_iter().map(|row| row.to_vec()).collect();
        Predicate::Rows(Rows { columns: columns.map(ColumnRef::of).to_vec(), rows })
    };
    let two = || vec![[Value::Int(1), text("a")], [Value::Int(2), text("b")]];
    check(&table, &rows([0, 2], two()), "E (t.\"n\", t.\"s\") IN (VALUES (?1, ?2), (?3, ?4))");
    check(&table, &rows([1, 3], two()), "S (t.\"id\", t.\"ci\") IN (VALUES (?1, ?2), (?3, ?4))");
    // Each form of a uuid is looked for, so that these are alternatives.
    let uuid = || text("00112233-4455-6677-8899-aabbccddeeff");
    check(&table, &rows([0, 5], vec![[Value::Int(1), uuid()]]), "E ((t.\"n\" = ?1 AND t.\"u\" IN (?2, ?3, ?4)))");
    check(&table, &rows([0, 5], vec![[Value::Int(1), uuid()]; PARTS_MAX + 1]), "R");
    // Fields of documents are reached one by one; of moments nothing is known.
    let field = "S ((t.\"n\" = ?1 AND json_extract(t.\"doc\", ?2) = ?3))";
    check(&table, &rows([0, 10], vec![[Value::Int(1), Value::Int(3)]]), field);
    check(&table, &rows([0, 7], vec![[Value::Int(1), Value::Timestamp(0)]]), "S ((t.\"n\" = ?1))");
    let wide = vec![[Value::Int(1), text("a")]; 5_001];
    check(&table, &rows([0, 2], wide), "R");
}

#[test]
fn document_fields_are_reached_by_bound_paths() {
    let table = table(TableKind::Table);
    let zip = ColumnRef { column: 11, path: vec!["zip".to_owned()] };
    let equal = Predicate::Compare { column: zip, op: Comparison::Equal, value: text("8001") };
    check(&table, &compare(10, Comparison::Greater, Value::Int(3)), "S json_extract(t.\"doc\", ?1) > ?2");
    check(&table, &equal, "S json_extract(t.\"doc\", ?1) = ?2");
    check(
        &table,
        &compare(12, Comparison::Equal, Value::Float(0.5)),
        "S (json_extract(t.\"doc\", ?1) >= ?2 AND json_extract(t.\"doc\", ?3) <= ?4)",
    );
    check(&table, &compare(11, Comparison::Equal, text("x")), "R");
    check(&table, &Predicate::IsNull { column: ColumnRef::of(10), negated: false }, "S json_extract(t.\"doc\", ?1) IS NULL");
    check(&table, &Predicate::IsNull { column: ColumnRef::of(13), negated: false }, "R");
}
