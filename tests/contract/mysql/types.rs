//! Every native type both ways: what a literal of the server reads as, and whether the value read finds its row again.

use tributary::error::Diagnose;
use tributary::pgtype::PgField;
use tributary::stores::predicate::{ColumnRef, Comparison};
use tributary::stores::schema::TableId;
use tributary::stores::value::Value;
use tributary::stores::{Predicate, Pushdown};

use super::super::suite::walk::{Tally, Visit, as_arrow, both_ways, came_everywhere};
use super::{Room, read, read_all, scan_of, texts};

/// `(declared type, [(literal, as Arrow shows its carrier)])`
pub const TYPES: &[(&str, &[(&str, &str)])] = &[
    ("tinyint", &[("-128", "-128"), ("127", "127"), ("0", "0")]),
    ("tinyint unsigned", &[("255", "255")]),
    ("boolean", &[("true", "1"), ("5", "5")]),
    ("smallint", &[("-32768", "-32768"), ("32767", "32767")]),
    ("smallint unsigned", &[("65535", "65535")]),
    ("mediumint", &[("-8388608", "-8388608"), ("8388607", "8388607")]),
    ("mediumint unsigned", &[("16777215", "16777215")]),
    ("int", &[("-2147483648", "-2147483648"), ("2147483647", "2147483647")]),
    ("int unsigned zerofill", &[("4294967295", "4294967295"), ("7", "7")]),
    ("bigint", &[("-9223372036854775808", "-9223372036854775808"), ("9223372036854775807", "9223372036854775807")]),
    (
        "bigint unsigned",
        &[("18446744073709551615", "18446744073709551615"), ("0", "0"), ("9223372036854775808", "9223372036854775808")],
    ),
    ("decimal(10,2)", &[("-123.45", "-123.45"), ("0.05", "0.05"), ("99999999.99", "99999999.99")]),
    ("decimal(38,0)", &[("-99999999999999999999999999999999999999", "-99999999999999999999999999999999999999")]),
    (
        "decimal(65,30)",
        &[
            (
                "-99999999999999999999999999999999999.999999999999999999999999999999",
                "-99999999999999999999999999999999999.999999999999999999999999999999",
            ),
            ("0", "0.000000000000000000000000000000"),
        ],
    ),
    ("decimal(39,1) unsigned zerofill", &[("5.5", "5.5")]),
    ("float", &[("0.1", "0.1"), ("-3.4028234e38", "-3.4028235e38"), ("1.17549435e-38", "1.1754944e-38")]),
    ("double", &[("0.1", "0.1"), ("1.7976931348623157e308", "1.7976931348623157e308"), ("-0.0", "0.0")]),
    ("bit(1)", &[("b'1'", "1"), ("b'0'", "0")]),
    ("bit(10)", &[("b'1010000001'", "1010000001"), ("1", "0000000001")]),
    ("bit(64)", &[("18446744073709551615", "1111111111111111111111111111111111111111111111111111111111111111")]),
    ("char(5)", &[("'ab  '", "ab"), ("'😀\\'", "😀\\"), ("''", "")]),
    ("varchar(30)", &[("'it''s \"q\" `b`'", "it's \"q\" `b`"), ("'trail  '", "trail  "), ("'ü😀名'", "ü😀名")]),
    ("varchar(30) character set latin1", &[("'Grüße €'", "Grüße €")]),
    ("varchar(30) character set utf16", &[("'名😀'", "名😀")]),
    ("tinytext", &[("'a'", "a")]),
    ("text", &[("'line\nbreak\ttab'", "line\nbreak\ttab")]),
    ("mediumtext", &[("repeat('x', 3)", "xxx")]),
    ("longtext", &[("'long'", "long")]),
    ("enum('small','it''s','back\\slash')", &[("'it''s'", "it's"), ("'back\\slash'", "back\\slash"), ("1", "small")]),
    ("set('x','y','z')", &[("'z,x'", "x,z"), ("''", "")]),
    ("json", &[("'{\"a\": [1, null]}'", "{\"a\": [1, null]}")]),
    ("binary(4)", &[("x'00ff'", "00ff0000")]),
    ("varbinary(9)", &[("x'00ff27'", "00ff27"), ("''", "")]),
    ("tinyblob", &[("x'01'", "01")]),
    ("blob", &[("x'fffe'", "fffe")]),
    ("mediumblob", &[("x'02'", "02")]),
    ("longblob", &[("x'03'", "03")]),
    ("uuid", &[("'123E4567-E89B-12D3-A456-426655440000'", "123e4567-e89b-12d3-a456-426655440000")]),
    ("inet4", &[("'192.168.0.1'", "192.168.0.1")]),
    ("inet6", &[("'2001:DB8::1'", "2001:db8::1"), ("'::ffff:10.0.0.1'", "::ffff:10.0.0.1")]),
    ("year", &[("1901", "1901"), ("2155", "2155"), ("'0000'", "0")]),
    (
        "date",
        &[
            ("'1000-01-01'", "1000-01-01"),
            ("'9999-12-31'", "9999-12-31"),
            ("'1969-12-31'", "1969-12-31"),
            ("'0001-01-01'", "0001-01-01"),
        ],
    ),
    ("datetime", &[("'1969-12-31 23:59:59'", "1969-12-31T23:59:59"), ("'2024-02-29 00:00:00'", "2024-02-29T00:00:00")]),
    (
        "datetime(6)",
        &[
            ("'9999-12-31 23:59:59.999999'", "9999-12-31T23:59:59.999999"),
            ("'1000-01-01 00:00:00.000001'", "1000-01-01T00:00:00.000001"),
        ],
    ),
    ("timestamp null", &[("'1970-01-01 00:00:01'", "1970-01-01T00:00:01Z")]),
    ("timestamp(3) null", &[("'2038-01-19 03:14:07.999'", "2038-01-19T03:14:07.999Z")]),
    (
        "time",
        &[
            ("'838:59:59'", "838 hours 59 mins 59.000000000 secs"),
            ("'-838:59:59'", "-838 hours -59 mins -59.000000000 secs"),
            ("'00:00:00'", "0 secs"),
        ],
    ),
    ("time(6)", &[("'-00:00:00.000001'", "-0.000001000 secs"), ("'23:59:59.999999'", "23 hours 59 mins 59.999999000 secs")]),
];

#[tokio::test]
async fn every_type_reads_as_itself_and_is_found_by_its_value() {
    let mut room = Room::new("").await;
    for (number, (declared, rows)) in TYPES.iter().enumerate() {
        room.run(format!("CREATE TABLE t{number} (id int primary key, v {declared}) CHARACTER SET utf8mb4")).await;
        for (id, (literal, _)) in rows.iter().enumerate() {
            room.run(format!("INSERT INTO t{number} VALUES ({id}, {literal})")).await;
        }
        room.run(format!("INSERT INTO t{number} VALUES (1000, NULL)")).await;
    }
    let schema = room.store.discover().await.unwrap();
    let mut tally = Tally::default();
    for (number, (declared, rows)) in TYPES.iter().enumerate() {
        let id = TableId { namespace: room.database.clone(), name: format!("t{number}") };
        let table = schema.tables.iter().find(|table| table.id == id).unwrap().clone();
        let expected: Vec<_> = rows.iter().map(|(_, shown)| Some((*shown).to_owned())).chain([None]).collect();
        let oid = table.columns[1].pg_type().oid;
        let visit = Visit { native: declared, oid, table, expected: &expected, show: as_arrow };
        tally += Box::pin(both_ways(&room.store, &visit)).await;
    }
    // Refused on purpose: real, bit, json, inet, year 0, interval, and text that latin1 or utf16 may not hold.
    assert!(tally.exact + tally.superset > 350, "{tally:?}");
    let word = |declared: &str| declared.split([' ', '(']).next().unwrap_or_default().to_owned();
    came_everywhere("mysql", TYPES.iter().map(|(declared, _)| *declared), |declared, row| word(declared) == row);
}

#[tokio::test]
async fn types_without_a_mapping_are_named() {
    let mut room = Room::new("").await;
    room.run("CREATE TABLE places (id int primary key, at point, shape geometry)").await;
    room.run("CREATE TABLE only_shapes (shape polygon)").await;
    let schema = room.store.discover().await.unwrap();
    let told: Vec<String> = schema
        .refused
        .iter()
        .filter(|refused| refused.table.namespace == room.database)
        .map(|refused| format!("{}.{} {}", refused.table.name, refused.column.as_deref().unwrap_or("*"), refused.native_type))
        .collect();
    assert_eq!(told, ["only_shapes.shape polygon", "only_shapes.* table", "places.at point", "places.shape geometry"]);
    let table = room.table("places").await;
    assert_eq!(table.columns.len(), 1);
}

#[tokio::test]
async fn zero_dates_follow_the_policy() {
    let strict = Room::new("").await;
    let lenient = super::connector(&strict.server, &strict.database, "zero_date = \"null\"");
    let mut room = strict;
    room.run("CREATE TABLE z (id int primary key, d date not null, dt datetime(3) not null, ts timestamp null)").await;
    room.run("INSERT INTO z VALUES (1, '0000-00-00', '0000-00-00', '0000-00-00'), (2, '2024-00-10', '2024-02-30', NULL)").await;
    room.run("INSERT INTO z VALUES (3, '2024-01-01', '2024-01-01', '2024-01-01')").await;
    let table = room.table("z").await;
    assert!(!table.columns[1].field.is_nullable());
    let error = read_all(&room.store, &table).await.unwrap_err();
    assert_eq!(error.sqlstate(), "22008");
    assert!(error.to_string().starts_with("a value of shop.z.d is a date that no calendar has"), "{error}");
    let name = &table.id;
    let schema = lenient.discover().await.unwrap();
    let table = schema.tables.iter().find(|table| table.id == *name).unwrap();
    assert!(table.columns[1].field.is_nullable());
    let batch = read_all(&lenient, table).await.unwrap();
    assert_eq!(texts(&batch, 1), ["∅", "∅", "2024-01-01"]);
    assert_eq!(texts(&batch, 2), ["∅", "∅", "2024-01-01T00:00:00"]);
    assert_eq!(texts(&batch, 3), ["∅", "∅", "2024-01-01T00:00:00Z"]);
}

#[tokio::test]
async fn tinyint_1_is_a_boolean_on_request() {
    let mut room = Room::new("tinyint1 = \"bool\"").await;
    room.run("CREATE TABLE b (id int primary key, t boolean)").await;
    room.run("INSERT INTO b VALUES (1, 0), (2, 1), (3, 5), (4, NULL)").await;
    let table = room.table("b").await;
    assert_eq!(texts(&read_all(&room.store, &table).await.unwrap(), 1), ["false", "true", "true", "∅"]);
    for (truth, op, expected) in [
        (true, Comparison::Equal, vec!["2", "3"]),
        (true, Comparison::NotEqual, vec!["1"]),
        (true, Comparison::Less, vec!["1"]),
        (false, Comparison::GreaterOrEqual, vec!["1", "2", "3"]),
    ] {
        let predicate = Predicate::Compare { column: ColumnRef::of(1), op, value: Value::Bool(truth) };
        let Pushdown::Exact(kept) = room.store.pushdown(&table, &predicate) else { panic!("{predicate:?} is exact") };
        let batch = read(&room.store, &table, &scan_of(&table, vec![0], vec![kept])).await.unwrap();
        assert_eq!(texts(&batch, 0), expected);
    }
}

#[tokio::test]
async fn discovery_tells_keys_defaults_comments_and_who_makes_values() {
    use tributary::stores::schema::{Action, Collation, Generated, Key, TableKind};
    let mut room = Room::new("").await;
    room.run("CREATE TABLE parent (a int, b int, PRIMARY KEY (b, a)) COMMENT 'the ''parent'''").await;
    room.run(
        "CREATE TABLE child (id int unsigned auto_increment primary key, a int, b int, email varchar(50) NOT NULL DEFAULT 'x' \
         COMMENT 'where to write', long_text text, twice int AS (a * 2) STORED, kind enum('k','l') CHARACTER SET utf8mb4 COLLATE \
         utf8mb4_nopad_bin, UNIQUE KEY by_email (email), UNIQUE KEY by_prefix (long_text(5)), KEY by_a (a), FULLTEXT KEY words \
         (long_text), CONSTRAINT to_parent FOREIGN KEY (b, a) REFERENCES parent (b, a) ON DELETE CASCADE ON UPDATE RESTRICT, doc json, \
         size int CHECK (size > 0), CONSTRAINT sizes CHECK (size < 100 OR email = 'big')) CHARACTER SET utf8mb4",
    )
    .await;
    room.run("CREATE VIEW shown AS SELECT id, email FROM child").await;
    room.run("CREATE SEQUENCE numbers").await;
    let parent = room.table("parent").await;
    assert_eq!(parent.primary_key, Some(Key { name: "PRIMARY".to_owned(), columns: vec![1, 0], proven: true }));
    assert_eq!(parent.comment.as_deref(), Some("the 'parent'"));
    let child = room.table("child").await;
    assert_eq!(child.unique_keys, [Key { name: "by_email".to_owned(), columns: vec![3], proven: true }]);
    assert!(child.indexes.contains(&Key { name: "by_a".to_owned(), columns: vec![1], proven: false }));
    assert!(!child.indexes.iter().any(|key| key.name == "words"));
    let key = &child.foreign_keys[0];
    assert_eq!((key.name.as_str(), &key.columns[..], key.references.name.as_str()), ("to_parent", &[2, 1][..], "parent"));
    assert_eq!(key.referenced_columns, ["b", "a"]);
    assert_eq!((key.on_update, key.on_delete), (Action::Restrict, Action::Cascade));
    let mut checks: Vec<_> = child.checks.iter().map(|check| (check.name.as_str(), &check.columns[..])).collect();
    checks.sort_unstable();
    assert_eq!(checks, [("child_size_check", &[8][..]), ("sizes", &[3, 8][..])], "the check behind a JSON column is none");
    assert!(child.checks.iter().any(|check| check.expression == "\"size\" > 0"), "{:?}", child.checks);
    let (email, kind) = (&child.columns[3], &child.columns[6]);
    assert_eq!((email.default.as_deref(), email.comment.as_deref()), (Some("'x'"), Some("where to write")));
    assert!(matches!(email.collation, Collation::Loose(_)) && !email.field.is_nullable());
    assert_eq!(kind.field.enum_labels().unwrap(), ["k", "l"]);
    assert_eq!(kind.collation, Collation::Bytes);
    assert_eq!((child.columns[0].generated, child.columns[5].generated), (Generated::ByDefault, Generated::Always));
    let view = room.table("shown").await;
    assert_eq!((view.kind, view.comment.as_deref(), view.columns[0].field.is_nullable()), (TableKind::View, None, true));
    let schema = room.store.discover().await.unwrap();
    assert!(schema.server_version.contains("MariaDB"));
    assert!(!schema.tables.iter().any(|table| table.id.namespace == "mysql" || table.id.name == "numbers"));
}
