//! The type table, walked over a real server: what it shows by its own output functions is what the connector read.

use arrow::datatypes::DataType;
use tributary::error::Diagnose;
use tributary::pgtype::{PgField, PgType, builtin};

use super::super::suite::walk::{Tally, Visit, as_postgres, both_ways, came_everywhere};
use super::Fixture;

/// The output function's text; `NULL` stays NULL.
const SHOWN: &str = "CASE WHEN v IS NOT NULL THEN format('%s', v) END";
const SHOWN_ARRAY: &str = "CASE WHEN v IS NOT NULL THEN '{' || array_to_string(v, ',', 'NULL') || '}' END";
const SHOWN_INTERVAL: &str = "(extract(year FROM v) * 12 + extract(month FROM v))::int8::text || ' ' || extract(day FROM v)::int8 \
     || ' ' || (extract(hour FROM v)::int8 * 3600000000 + extract(minute FROM v)::int8 * 60000000 \
     + extract(microseconds FROM v)::int8) * 1000";

/// A native type, the oid a client sees, and values over its range.
pub type Row = (&'static str, u32, &'static [&'static str]);

pub const ROWS: &[Row] = &[
    ("boolean", 16, &["true", "false"]),
    ("bytea", 17, &["\\x", "\\x00ff275c", "\\xdeadbeef"]),
    ("\"char\"", 18, &["x", ""]),
    ("name", 19, &["a", "Ž"]),
    ("bigint", 20, &["-9223372036854775808", "9223372036854775807", "0"]),
    ("smallint", 21, &["-32768", "32767"]),
    ("integer", 23, &["-2147483648", "2147483647"]),
    ("text", 25, &["", " a'b\\c\"d ", "žluťoučký 🐎", "NULL"]),
    ("oid", 26, &["0", "4294967295"]),
    ("xid", 28, &["4294967295"]),
    ("json", 114, &["{ \"a\" : 1, \"a\" : 2 }", "null"]),
    ("xml", 142, &["<a>ž</a>"]),
    ("point", 600, &["(1,-2.5)"]),
    ("box", 603, &["(1,1),(0,0)"]),
    ("circle", 718, &["<(0,0),1>"]),
    ("cidr", 650, &["10.0.0.0/8", "192.168.1.0/24", "2001:db8::/32", "::1/128"]),
    ("real", 700, &["1.1", "-0", "NaN", "Infinity", "-Infinity", "3.4028235e38", "1e-45"]),
    ("double precision", 701, &["1.1", "-0", "NaN", "Infinity", "-Infinity", "1.7976931348623157e308", "5e-324"]),
    ("macaddr8", 774, &["08:00:2b:01:02:03:04:05"]),
    ("money", 790, &["-92233720368547758.08", "12.34"]),
    ("macaddr", 829, &["08:00:2b:01:02:03"]),
    ("inet", 869, &["10.0.0.1", "10.0.0.1/8", "::ffff:1.2.3.4", "::", "1:0:0:2::3/64"]),
    ("character(5)", 1042, &["ab", "", "žlu"]),
    ("character varying(10)", 1043, &["", "ab  "]),
    ("date", 1082, &["4713-01-01 BC", "5874897-12-31", "infinity", "-infinity", "1970-01-01", "0001-12-31 BC"]),
    ("time", 1083, &["00:00:00", "24:00:00", "23:59:59.999999"]),
    (
        "timestamp",
        1114,
        &["4713-01-01 00:00:00 BC", "1969-12-31 23:59:59.999999", "294246-12-31 23:59:59", "infinity", "-infinity"],
    ),
    ("timestamptz", 1184, &["4713-01-02 00:00:00+00 BC", "2024-02-29 12:00:00.000001+05:30", "infinity", "-infinity"]),
    ("interval", 1186, &["1 year -2 days +00:00:00.000001", "-178000000 years", "2562047 hours", "0"]),
    ("timetz", 1266, &["04:05:06.789-08:30", "24:00:00+00", "00:00:00+15:59:59"]),
    ("bit(9)", 1560, &["101000011"]),
    ("bit varying", 1562, &["", "1"]),
    (
        "numeric",
        1700,
        &[
            "0",
            "1.10",
            "-0.000000000000000000001",
            "NaN",
            "Infinity",
            "-Infinity",
            "1e50",
            "12345678901234567890123456789012345678901234567890.123",
        ],
    ),
    ("numeric(10,2)", 1700, &["0", "99999999.99", "-0.01", "12345.6", "1000000"]),
    ("numeric(38,10)", 1700, &["9999999999999999999999999999.9999999999", "-0.0000000001"]),
    ("numeric(76,38)", 1700, &["99999999999999999999999999999999999999.99999999999999999999999999999999999999", "-1"]),
    ("numeric(1000,3)", 1700, &["1.5"]),
    ("numeric(3,-2)", 1700, &["12300"]),
    ("numeric(2,4)", 1700, &["0.0012"]),
    ("regproc", 24, &["pg_catalog.now"]),
    ("regclass", 2205, &["pg_catalog.pg_class"]),
    ("regtype", 2206, &["integer"]),
    ("regnamespace", 4089, &["pg_catalog"]),
    ("regrole", 4096, &["pg_monitor"]),
    ("uuid", 2950, &["00112233-4455-6677-8899-AABBCCDDEEFF"]),
    ("pg_lsn", 3220, &["16/B374D848", "0/0"]),
    ("tsvector", 3614, &["'a':1 'b''c':2"]),
    ("jsonb", 3802, &["{\"b\": 1.0, \"a\": \"\\u017e\"}", "null", "[]"]),
    ("int4range", 3904, &["[1,5)", "empty", "(,)"]),
    ("mood", 25, &["sad", "it's"]),
    ("price", 1700, &["1.25"]),
    ("pair", 25, &["(1,\"a b\")"]),
    ("integer[]", 1007, &["{}", "{1,NULL,-3}"]),
    ("text[]", 1009, &["{\"\",a,NULL}"]),
    ("numeric(10,2)[]", 1231, &["{1.25,NULL}"]),
    ("timestamptz[]", 1185, &["{infinity,NULL}"]),
    ("inet[]", 1041, &["{10.0.0.1,10.0.0.0/8}"]),
    ("money[]", 791, &["{$1.00}"]),
    ("uuid[]", 2951, &["{00112233-4455-6677-8899-aabbccddeeff}"]),
    ("mood[]", 1009, &["{sad,it's}"]),
    ("pair[]", 1009, &["{\"(1,a)\"}"]),
    ("price[]", 1231, &["{1.25}"]),
];

#[tokio::test]
async fn every_type_reads_as_the_server_shows_it() {
    let mut fixture = Fixture::new().await;
    fixture
        .run("CREATE TYPE mood AS ENUM ('sad', 'it''s'); CREATE DOMAIN price AS numeric(6,2); CREATE TYPE pair AS (a int, b text)")
        .await;
    for (number, (native, _, values)) in ROWS.iter().enumerate() {
        fixture.run(&format!("CREATE TABLE t{number} (id integer, v {native})")).await;
        for (id, value) in values.iter().enumerate() {
            let value = value.replace('\'', "''");
            fixture.run(&format!("INSERT INTO t{number} VALUES ({id}, '{value}')")).await;
        }
        fixture.run(&format!("INSERT INTO t{number} VALUES (-1, NULL)")).await;
    }
    let schema = fixture.connector.discover().await.unwrap();
    let (mut visited, mut tally) = (Vec::new(), Tally::default());
    for (number, (native, oid, values)) in ROWS.iter().enumerate() {
        let table = schema.tables.iter().find(|table| table.id.name == format!("t{number}")).unwrap().clone();
        let field = &table.columns[1].field;
        let shown = match field.data_type() {
            DataType::List(_) => SHOWN_ARRAY,
            DataType::Interval(_) => SHOWN_INTERVAL,
            _ if native.starts_with("reg") => "v::oid::text",
            _ => SHOWN,
        };
        let mut expected = vec![None];
        for id in 0..values.len() {
            expected.push(fixture.ask(&format!("SELECT {shown} FROM t{number} WHERE id = {id}")).await);
        }
        visited.extend(builtin(field.pg_type().oid).map(|known| known.sql_name));
        let visit = Visit { native, oid: *oid, table, expected: &expected, show: as_postgres };
        tally += Box::pin(both_ways(&fixture.connector, &visit)).await;
    }
    came_everywhere("postgres", visited.into_iter(), |visited, row| visited == row);
    assert!(tally.exact > 550, "{tally:?}");
}

#[tokio::test]
async fn values_that_no_carrier_holds_are_refused_by_name() {
    let mut fixture = Fixture::new().await;
    let rows = [
        ("integer[]", "{{1,2},{3,4}}", "0A000"),
        ("integer[]", "[0:1]={1,2}", "0A000"),
        ("timestamp", "294276-12-31 23:59:59", "22008"),
        ("timestamptz", "294248-01-01 00:00:00+00", "22008"),
        ("interval", "2562048 hours", "22008"),
        ("numeric(10,2)", "NaN", "22003"),
    ];
    for (number, (native, value, sqlstate)) in rows.iter().enumerate() {
        fixture.run(&format!("CREATE TABLE t{number} (v {native}); INSERT INTO t{number} VALUES ('{value}')")).await;
        let table = fixture.table(&format!("t{number}")).await;
        let error = fixture.read(&table, Vec::new()).await.unwrap_err();
        assert_eq!(error.sqlstate(), *sqlstate, "{native} {value}");
        assert!(error.to_string().starts_with(&format!("a value of crm.t{number}.v ")), "{error}");
        fixture.run(&format!("DELETE FROM t{number}")).await;
        assert!(fixture.read(&table, Vec::new()).await.unwrap().is_empty(), "the store is usable afterwards");
    }
}

#[tokio::test]
async fn enum_labels_and_domains_are_told() {
    let mut fixture = Fixture::new().await;
    fixture.run("CREATE TYPE mood AS ENUM ('b', 'a'); CREATE DOMAIN short AS varchar(3) NOT NULL DEFAULT 'abc'").await;
    fixture.run("CREATE TABLE t (m mood, d short, e short DEFAULT 'own', f varchar(3))").await;
    let table = fixture.table("t").await;
    assert_eq!(table.columns[0].field.enum_labels(), Some(vec!["b".to_owned(), "a".to_owned()]));
    assert_eq!(table.columns[0].native_type, "public.mood");
    assert_eq!(table.columns[1].pg_type(), PgType::with_typmod(1043, 7));
    assert_eq!(table.columns[1].native_type, "public.short");
    let defaults: Vec<Option<&str>> = table.columns.iter().map(|column| column.default.as_deref()).collect();
    assert_eq!(defaults[..2], [None, Some("'abc'::character varying")], "a domain's default is that of its columns");
    assert!(defaults[2].is_some_and(|default| default.starts_with("'own'")) && defaults[3].is_none(), "{defaults:?}");
}
