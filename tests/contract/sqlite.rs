//! SQLite's type table walked, and its dates filtered through Tributary. What is special to its connector besides is tested
//! beside it (`src/stores/sqlite/tests`), the rest by the suite.

mod changes;
mod documents;
mod marks;
mod together;
mod writes;

use std::path::Path;
use std::sync::Arc;

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, ConnectOptions, Executor};
use tributary::pgtype::PgType;
use tributary::stores::{Connector, StoreName, kind};

use super::suite::walk::{Tally, Visit, as_postgres, both_ways, came_everywhere};
use crate::support::proxy::{self, OWNER, Place};
use crate::support::secrets::NoSecrets;

/// A declared type, what clients see of it, and `(literal, as PostgreSQL shows it)`.
pub type Row = (&'static str, PgType, &'static [(&'static str, &'static str)]);

const WHOLE: &[(&str, &str)] =
    &[("-9223372036854775808", "-9223372036854775808"), ("9223372036854775807", "9223372036854775807"), ("0", "0"), ("5.0", "5")];
const REALS: &[(&str, &str)] = &[
    ("1.5", "1.5"),
    ("-0.25", "-0.25"),
    ("9e999", "Infinity"),
    ("-9e999", "-Infinity"),
    ("9007199254740992", "9.007199254740992e+15"),
    ("'2.5'", "2.5"),
];
const WORDS: &[(&str, &str)] = &[
    ("''", ""),
    ("'it''s \"q\"'", "it's \"q\""),
    ("'žluťoučký 🐎'", "žluťoučký 🐎"),
    ("'a '", "a "),
    ("7", "7"),
    ("'NULL'", "NULL"),
];
const RAW: &[(&str, &str)] = &[("x''", "\\x"), ("x'00ff275c'", "\\x00ff275c")];
const TRUTHS: &[(&str, &str)] = &[("true", "t"), ("0", "f"), ("'1'", "t")];
const NUMBERS: &[(&str, &str)] = &[("0", "0"), ("'1e2'", "100"), ("0.1", "0.1"), ("-12345678901234567", "-12345678901234567")];
const SHAPED: &[(&str, &str)] = &[("19.99", "19.99"), ("-5", "-5.00"), ("99999999.99", "99999999.99"), ("0.05", "0.05")];
const DAYS: &[(&str, &str)] = &[
    ("'2024-02-29'", "2024-02-29"),
    ("'0001-01-01'", "0001-01-01"),
    ("'9999-12-31'", "9999-12-31"),
    ("1700006400", "2023-11-15"),
    ("2440587.5", "1970-01-01"),
];
const TIMES: &[(&str, &str)] = &[("'00:00'", "00:00:00"), ("'23:59:59.999999'", "23:59:59.999999"), ("'24:00:00'", "24:00:00")];
const MOMENTS: &[(&str, &str)] = &[
    ("'1969-12-31 23:59:59.999999'", "1969-12-31 23:59:59.999999"),
    ("'2024-02-29T12:00'", "2024-02-29 12:00:00"),
    ("1700000000", "2023-11-14 22:13:20"),
    ("0", "1970-01-01 00:00:00"),
    ("2440588.25", "1970-01-01 18:00:00"),
];
const ZONED: &[(&str, &str)] = &[
    ("'2024-01-01 02:00:00+02:00'", "2024-01-01 00:00:00+00"),
    ("'2024-01-01T00:00:00Z'", "2024-01-01 00:00:00+00"),
    ("1700000000", "2023-11-14 22:13:20+00"),
];
const JSON: &[(&str, &str)] =
    &[("'{\"a\": [1, null]}'", "{\"a\": [1, null]}"), ("jsonb('{\"a\": 1}')", "{\"a\":1}"), ("'null'", "null")];
const UUIDS: &[(&str, &str)] = &[
    ("'00112233-4455-6677-8899-aabbccddeeff'", "00112233-4455-6677-8899-aabbccddeeff"),
    ("'00112233-4455-6677-8899-AABBCCDDEEFF'", "00112233-4455-6677-8899-aabbccddeeff"),
    ("x'ffffffffffffffffffffffffffffffff'", "ffffffff-ffff-ffff-ffff-ffffffffffff"),
];

pub const ROWS: &[Row] = &[
    ("BOOLEAN", PgType::BOOL, TRUTHS),
    ("BOOL", PgType::BOOL, TRUTHS),
    ("NUMERIC", PgType::NUMERIC, NUMBERS),
    ("DECIMAL", PgType::NUMERIC, NUMBERS),
    ("DEC", PgType::NUMERIC, NUMBERS),
    ("NUM", PgType::NUMERIC, NUMBERS),
    ("NUMBER", PgType::NUMERIC, NUMBERS),
    ("DECIMAL(10,2)", PgType::numeric(10, 2), SHAPED),
    ("numeric(60, 2)", PgType::numeric(60, 2), SHAPED),
    ("BYTEA", PgType::BYTEA, RAW),
    ("BINARY", PgType::BYTEA, RAW),
    ("VARBINARY(20)", PgType::BYTEA, RAW),
    ("BLOB", PgType::BYTEA, RAW),
    ("DATE", PgType::DATE, DAYS),
    ("TIME", PgType::TIME, TIMES),
    ("time without time zone", PgType::TIME, TIMES),
    ("DATETIME", PgType::TIMESTAMP, MOMENTS),
    ("TIMESTAMP", PgType::TIMESTAMP, MOMENTS),
    ("timestamp without time zone", PgType::TIMESTAMP, MOMENTS),
    ("TIMESTAMPTZ", PgType::TIMESTAMPTZ, ZONED),
    ("DATETIMETZ", PgType::TIMESTAMPTZ, ZONED),
    ("timestamp with time zone", PgType::TIMESTAMPTZ, ZONED),
    ("JSON", PgType::JSON, JSON),
    ("JSONB", PgType::JSON, JSON),
    ("UUID", PgType::UUID, UUIDS),
    ("GUID", PgType::UUID, UUIDS),
    ("UNSIGNED BIG INT", PgType::INT8, WHOLE),
    ("VARCHAR(5)", PgType::TEXT, WORDS),
    ("CLOB", PgType::TEXT, WORDS),
    ("TEXT", PgType::TEXT, WORDS),
    ("TEXT COLLATE NOCASE", PgType::TEXT, WORDS),
    ("REAL", PgType::FLOAT8, REALS),
    ("FLOAT", PgType::FLOAT8, REALS),
    ("DOUBLE PRECISION", PgType::FLOAT8, REALS),
    // No type, and one that nobody knows.
    ("", PgType::TEXT, &[("7", "7"), ("0.1", "0.1"), ("'x'", "x")]),
    ("STRING", PgType::TEXT, &[("7", "7"), ("'x'", "x")]),
];

async fn file(statements: &str) -> (tempfile::TempDir, SqliteConnection, Arc<dyn Connector>) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("shop.db");
    let mut plain = SqliteConnectOptions::new().filename(&path).create_if_missing(true).connect().await.unwrap();
    plain.execute(sqlx::raw_sql(AssertSqlSafe(statements.to_owned()))).await.unwrap();
    let connector = connector(&path, "");
    (directory, plain, connector)
}

fn connector(path: &Path, options: &str) -> Arc<dyn Connector> {
    named("shop", path, options)
}

fn named(name: &str, path: &Path, options: &str) -> Arc<dyn Connector> {
    let table = toml::from_str(&format!("path = '{}'\n{options}", path.display())).unwrap();
    kind("sqlite").unwrap().parse(&StoreName::new(name), &format!("stores.{name}"), &table, &NoSecrets).unwrap()
}

#[tokio::test]
async fn every_type_reads_as_it_was_written_and_is_found_by_its_value() {
    let mut statements = String::new();
    for (number, (declared, _, values)) in ROWS.iter().enumerate() {
        statements.push_str(&format!("CREATE TABLE t{number} (id INTEGER PRIMARY KEY, v {declared});"));
        for (literal, _) in *values {
            statements.push_str(&format!("INSERT INTO t{number} VALUES (NULL, {literal});"));
        }
        statements.push_str(&format!("INSERT INTO t{number} VALUES (NULL, NULL);"));
    }
    let (_directory, _plain, connector) = file(&statements).await;
    let schema = connector.discover().await.unwrap();
    let mut tally = Tally::default();
    for (number, (declared, pg_type, values)) in ROWS.iter().enumerate() {
        let table = schema.tables.iter().find(|table| table.id.name == format!("t{number}")).unwrap().clone();
        assert_eq!(table.columns[1].pg_type(), *pg_type, "{declared}");
        let expected: Vec<_> = values.iter().map(|(_, shown)| Some((*shown).to_owned())).chain([None]).collect();
        let visit = Visit { native: declared, oid: pg_type.oid, table, expected: &expected, show: as_postgres };
        tally += Box::pin(both_ways(&connector, &visit)).await;
    }
    let names = |declared: &str| declared.split('(').next().unwrap_or_default().to_uppercase();
    // Names stand for themselves; the words of affinities stand in other names.
    came_everywhere("sqlite", ROWS.iter().map(|(declared, ..)| *declared), |declared, row| {
        let is_affinity = ["INT", "CHAR", "CLOB", "TEXT", "BLOB", "REAL", "FLOA", "DOUB"].contains(&row);
        names(declared) == row || (is_affinity && names(declared).contains(row))
    });
    assert!(tally.exact > 100 && tally.superset > 100, "{tally:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn dates_are_filtered_in_every_form_they_are_stored_in() {
    let place = Place::new();
    let visits = "CREATE TABLE visits (id INTEGER PRIMARY KEY, day DATE);
        INSERT INTO visits VALUES (1, '2024-02-29'), (2, 1709164800), (3, 2460369.5), (4, '1969-12-31'), (5, NULL), (6, '9999-12-31'),
            (7, '0001-01-01');
        CREATE TABLE odd (id INTEGER PRIMARY KEY, day DATE); INSERT INTO odd VALUES (1, '2024-02-29'), (2, '29.02.2024');";
    place.sqlite("notes", visits).await;
    let server = place.serve().await;
    let session = proxy::connect(&server, OWNER).await;
    let rows = [
        ("day = '2024-02-29'", "1 2 3"),
        ("'2024-02-29'::date = day", "1 2 3"),
        ("day <> date '2024-02-29'", "4 6 7"),
        ("day < '1970-01-01'", "4 7"),
        ("day <= '1969-12-31'", "4 7"),
        ("day > '2024-02-28'", "1 2 3 6"),
        ("day >= '2024-02-29'", "1 2 3 6"),
        ("day BETWEEN '2024-01-01' AND '2024-12-31'", "1 2 3"),
        ("day IN ('1969-12-31', '0001-01-01')", "4 7"),
        ("day NOT IN ('1969-12-31', '2024-02-29')", "6 7"),
        ("day IS NULL", "5"),
        ("day IS NOT NULL AND id > 5", "6 7"),
        ("NOT (day < '2024-01-01')", "1 2 3 6"),
        ("day IS NULL OR day > '9000-01-01'", "5 6"),
        ("day IS NOT DISTINCT FROM NULL OR id = 1", "1 5"),
        ("extract(year FROM day) = 2024", "1 2 3"),
        ("day + 1 = '2024-03-01'", "1 2 3"),
        ("day = (SELECT max(day) FROM notes.visits WHERE day < '9999-12-31')", "1 2 3"),
        (
            "day = '2024-02-29' AND id IN (SELECT w.id FROM notes.visits v JOIN notes.visits w ON v.day = w.day AND v.id = 1)",
            "1 2 3",
        ),
    ];
    for (condition, expected) in rows {
        let answer = session.answer(&format!("SELECT id FROM notes.visits WHERE {condition} ORDER BY id")).await;
        assert_eq!(answer.replace('\n', " "), expected, "{condition}");
    }
    assert_eq!(session.answer("SELECT id FROM notes.visits ORDER BY day DESC NULLS LAST, id LIMIT 2").await, "6\n1");
    // A text that is no date is an error for whoever looks at it, not a row that is silently left out.
    let failure = session.failure("SELECT id FROM notes.odd WHERE day = '2024-02-29'").await;
    assert_eq!(failure.code, "22007", "{failure:?}");
    assert_eq!(session.answer("SELECT id FROM notes.odd WHERE day IS NOT NULL ORDER BY id").await, "1\n2");
    assert_eq!(session.failure("SELECT id FROM notes.visits WHERE day = '2024-02-30'").await.code, "22008");
}
