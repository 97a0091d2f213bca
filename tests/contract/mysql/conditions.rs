//! Pushed conditions against the same condition worked out here: exact ones keep the same rows, supersets at least those.

use std::cmp::Ordering;
use std::sync::Arc;

use bigdecimal::BigDecimal;
use tributary::stores::predicate::{ColumnRef, Comparison};
use tributary::stores::value::Value;
use tributary::stores::{Predicate, Pushdown, Table};

use super::{Room, column, read, scan_of, texts};

const OPERATORS: [Comparison; 6] = [
    Comparison::Equal,
    Comparison::NotEqual,
    Comparison::Less,
    Comparison::LessOrEqual,
    Comparison::Greater,
    Comparison::GreaterOrEqual,
];

fn holds(op: Comparison, order: Ordering) -> bool {
    match op {
        Comparison::Equal => order.is_eq(),
        Comparison::NotEqual => order.is_ne(),
        Comparison::Less => order.is_lt(),
        Comparison::LessOrEqual => order.is_le(),
        Comparison::Greater => order.is_gt(),
        Comparison::GreaterOrEqual => order.is_ge(),
    }
}

/// Postgres' comparison of two values of one type, text by bytes.
fn compare(left: &Value, right: &Value) -> Ordering {
    match (left, right) {
        (Value::Int(left), Value::Int(right)) => left.cmp(right),
        (Value::Float(left), Value::Float(right)) => left.partial_cmp(right).unwrap(),
        (Value::Decimal { unscaled: left, scale: l }, Value::Decimal { unscaled: right, scale: r }) => {
            let number = |unscaled: i128, scale: u8| BigDecimal::new(unscaled.into(), scale.into());
            number(*left, *l).cmp(&number(*right, *r))
        }
        (Value::Text(left), Value::Text(right)) => left.as_bytes().cmp(right.as_bytes()),
        (Value::Bytes(left), Value::Bytes(right)) => left.cmp(right),
        (Value::Date(left), Value::Date(right)) => left.cmp(right),
        (Value::Timestamp(left), Value::Timestamp(right)) | (Value::TimestampTz(left), Value::TimestampTz(right)) => {
            left.cmp(right)
        }
        _ => panic!("{left:?} and {right:?} are of different types"),
    }
}

/// How many conditions the store judged each way.
#[derive(Debug, Default)]
struct Tally {
    exact: usize,
    superset: usize,
    refused: usize,
}

/// Runs one condition pushed and compares it with the rows that should be kept.
async fn check(room: &Room, table: &Arc<Table>, predicate: &Predicate, expected: &[String], tally: &mut Tally) {
    let (kept, exact) = match room.store.pushdown(table, predicate) {
        Pushdown::Exact(kept) => (kept, true),
        Pushdown::Superset(kept) => (kept, false),
        Pushdown::Refused(_) => {
            tally.refused += 1;
            return;
        }
    };
    let batch = read(&room.store, table, &scan_of(table, vec![0], vec![kept]))
        .await
        .unwrap_or_else(|error| panic!("{predicate:?}: {error}"));
    // No order is promised.
    let mut found = texts(&batch, 0);
    found.sort_by_key(|id| id.parse::<u64>().unwrap());
    if exact {
        tally.exact += 1;
        assert_eq!(found, expected, "{predicate:?}");
    } else {
        tally.superset += 1;
        let missing: Vec<&String> = expected.iter().filter(|id| !found.contains(id)).collect();
        assert!(missing.is_empty(), "{predicate:?} misses {missing:?}");
    }
}

/// All operators and lists of all `probes` on column `c`, whose row `i` holds `stored[i]`; the last row is NULL.
async fn check_all(room: &Room, name: &str, stored: &[Value], probes: &[Value]) -> Tally {
    let table = room.table(name).await;
    let target = column(&table, "c");
    let ids = |keep: &dyn Fn(&Value) -> bool| -> Vec<String> {
        stored.iter().enumerate().filter(|(_, value)| keep(value)).map(|(id, _)| id.to_string()).collect()
    };
    let mut tally = Tally::default();
    for probe in probes {
        for op in OPERATORS {
            let predicate = Predicate::Compare { column: target.clone(), op, value: probe.clone() };
            check(room, &table, &predicate, &ids(&|value| holds(op, compare(value, probe))), &mut tally).await;
        }
    }
    for negated in [false, true] {
        for list in probes.windows(2) {
            let predicate = Predicate::In { column: target.clone(), values: list.to_vec(), negated };
            let expected = ids(&|value| list.iter().any(|probe| compare(value, probe).is_eq()) != negated);
            check(room, &table, &predicate, &expected, &mut tally).await;
        }
        let predicate = Predicate::IsNull { column: target.clone(), negated };
        let expected = if negated { ids(&|_| true) } else { vec![stored.len().to_string()] };
        check(room, &table, &predicate, &expected, &mut tally).await;
    }
    tally
}

async fn fill(room: &mut Room, name: &str, declared: &str, literals: &[&str]) {
    // The index on the column lets the server take the ways that convert constants to the column's type.
    room.run(format!("CREATE TABLE {name} (id int primary key, c {declared}, KEY (c)) CHARACTER SET utf8mb4")).await;
    for (id, literal) in literals.iter().chain(&["NULL"]).enumerate() {
        room.run(format!("INSERT INTO {name} VALUES ({id}, {literal})")).await;
    }
}

fn quoted(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| format!("'{}'", text.replace('\'', "''"))).collect()
}

/// Texts on which collations differ from bytes, and texts that try to leave their quotes.
const TEXTS: &[&str] = &[
    "",
    "a",
    "A",
    "ä",
    "b",
    "B",
    "a ",
    "a  ",
    " a",
    "ab",
    "Abc",
    "abc",
    "ABC",
    "ß",
    "ss",
    "z",
    "~",
    "é",
    "e",
    "e\u{301}",
    "名",
    "it's",
    "a''b",
    "\\' or 1=1 -- ",
    "\"; DROP TABLE x; --",
    "`",
    "%",
    "_",
    "100%",
    "a\\b",
    "tab\there",
    "?",
    ":x",
];

#[tokio::test]
async fn text_conditions_agree_with_bytes_on_every_kind_of_collation() {
    let mut room = Room::new("").await;
    // (declared, kept exactly at least once, how many of the texts the character set can store)
    let kinds = [
        ("loose_ci", "varchar(40) COLLATE utf8mb4_general_ci"),
        ("loose_uca", "varchar(40) COLLATE utf8mb4_unicode_ci"),
        ("padded", "varchar(40) COLLATE utf8mb4_bin"),
        ("exact", "varchar(40) COLLATE utf8mb4_nopad_bin"),
        ("three", "varchar(40) CHARACTER SET utf8mb3"),
        ("three_bin", "varchar(40) CHARACTER SET utf8mb3 COLLATE utf8mb3_nopad_bin"),
    ];
    for (name, declared) in kinds {
        let literals = quoted(TEXTS);
        fill(&mut room, name, declared, &literals.iter().map(String::as_str).collect::<Vec<_>>()).await;
        let stored: Vec<Value> = TEXTS.iter().map(|text| Value::Text((*text).to_owned())).collect();
        let mut probes = stored.clone();
        probes.push(Value::Text("😀".to_owned()));
        let tally = check_all(&room, name, &stored, &probes).await;
        assert!(tally.exact > 100, "{name}: {tally:?}");
    }
}

#[tokio::test]
async fn text_of_other_character_sets_and_fixed_width() {
    let mut room = Room::new("").await;
    let stored_texts = ["", "a", "A", "ab", "it's", "ü", "z"];
    let literals = quoted(&stored_texts);
    let literals: Vec<&str> = literals.iter().map(String::as_str).collect();
    let stored: Vec<Value> = stored_texts.iter().map(|text| Value::Text((*text).to_owned())).collect();
    let mut probes = stored.clone();
    probes.extend(["a ", "Ω", "😀", "ß"].map(|text| Value::Text(text.to_owned())));
    for (name, declared) in [
        ("latin", "varchar(9) CHARACTER SET latin1"),
        ("latin_bin", "varchar(9) CHARACTER SET latin1 COLLATE latin1_nopad_bin"),
        ("fixed", "char(9) COLLATE utf8mb4_general_ci"),
        ("fixed_exact", "char(9) COLLATE utf8mb4_nopad_bin"),
        ("wide", "varchar(9) CHARACTER SET utf16"),
    ] {
        fill(&mut room, name, declared, &literals).await;
        let tally = check_all(&room, name, &stored, &probes).await;
        assert!(tally.exact + tally.superset > 10, "{name}: {tally:?}");
    }
    let labels = ["ab", "a", "z"];
    fill(&mut room, "labels", "enum('z','a','ab') COLLATE utf8mb4_nopad_bin", &["'ab'", "'a'", "'z'"]).await;
    let stored = labels.map(|text| Value::Text(text.to_owned()));
    let tally = check_all(&room, "labels", &stored, &stored).await;
    assert!(tally.exact >= 6 && tally.refused >= 12, "{tally:?}");
}

#[tokio::test]
async fn patterns_keep_at_least_what_postgres_keeps() {
    let mut room = Room::new("").await;
    let literals = quoted(TEXTS);
    let literals: Vec<&str> = literals.iter().map(String::as_str).collect();
    // (pattern, the texts it matches by Postgres' rules)
    type Matches = fn(&str) -> bool;
    let rows: [(&str, Matches); 8] = [
        ("a%", |text| text.starts_with('a')),
        ("%b", |text| text.ends_with('b')),
        ("_", |text| text.chars().count() == 1),
        ("a\\\\b", |text| text == "a\\b"),
        ("100\\%", |text| text == "100%"),
        ("a ", |text| text == "a "),
        ("", str::is_empty),
        ("%!%", |text| text.contains('!')),
    ];
    for (name, declared) in [("ci", "varchar(40) COLLATE utf8mb4_unicode_ci"), ("exact", "varchar(40) COLLATE utf8mb4_nopad_bin")] {
        fill(&mut room, name, declared, &literals).await;
        let table = room.table(name).await;
        let mut tally = Tally::default();
        for (pattern, matches) in rows {
            for negated in [false, true] {
                let expected: Vec<String> =
                    TEXTS.iter().enumerate().filter(|(_, text)| matches(text) != negated).map(|(id, _)| id.to_string()).collect();
                let target = column(&table, "c");
                let like = Predicate::Like { column: target, pattern: pattern.to_owned(), negated, case_insensitive: false };
                check(&room, &table, &like, &expected, &mut tally).await;
            }
        }
        let all_sent = if name == "exact" { (tally.exact, tally.refused) == (16, 0) } else { tally.superset == 8 };
        assert!(all_sent, "{name}: {tally:?}");
    }
}

#[tokio::test]
async fn numbers_compare_as_in_postgres() {
    let mut room = Room::new("").await;
    let int = Value::Int;
    let decimal = |unscaled, scale| Value::Decimal { unscaled, scale };
    let edges = [i64::MIN, -1, 0, 1, 2, 127, 255, 4_294_967_295, i64::MAX].map(int);
    fill(&mut room, "i8", "bigint", &["-9223372036854775808", "-1", "0", "2", "9223372036854775807"]).await;
    let tally = check_all(&room, "i8", &[i64::MIN, -1, 0, 2, i64::MAX].map(int), &edges).await;
    assert_eq!((tally.superset, tally.refused), (0, 0));
    fill(&mut room, "u4", "int unsigned", &["0", "1", "4294967295"]).await;
    let tally = check_all(&room, "u4", &[0, 1, 4_294_967_295].map(int), &edges).await;
    assert!(tally.superset == 0 && tally.exact > 40 && tally.refused > 15, "{tally:?}");
    fill(&mut room, "i1", "tinyint", &["-128", "0", "127"]).await;
    let tally = check_all(&room, "i1", &[-128, 0, 127].map(int), &edges).await;
    assert!(tally.superset == 0 && tally.exact > 30 && tally.refused > 20, "{tally:?}");
    fill(&mut room, "y", "year", &["1901", "2024", "'0000'"]).await;
    let tally = check_all(&room, "y", &[1901, 2024, 0].map(int), &[0, 24, 1901, 2024, 2155].map(int)).await;
    assert!(tally.exact > 15 && tally.refused > 10, "{tally:?}");
    let unsigned = [0, 1, 9_223_372_036_854_775_807, 9_223_372_036_854_775_808, 18_446_744_073_709_551_615];
    let literals = unsigned.map(|number: i128| number.to_string());
    fill(&mut room, "u8", "bigint unsigned", &literals.each_ref().map(String::as_str)).await;
    let mut probes = unsigned.map(|number| decimal(number, 0)).to_vec();
    probes.extend([decimal(-1, 0), decimal(15, 1), decimal(i128::from(u64::MAX) + 1, 0), decimal(10_i128.pow(37), 37)]);
    let tally = check_all(&room, "u8", &unsigned.map(|number| decimal(number, 0)), &probes).await;
    assert!(tally.superset == 0 && tally.exact > 40, "{tally:?}");
    fill(&mut room, "d", "decimal(12,3)", &["-1.5", "0", "0.001", "123456789.125"]).await;
    let stored = [-1500, 0, 1, 123_456_789_125].map(|number| decimal(number, 3));
    let probes = [
        decimal(-15, 1),
        decimal(0, 0),
        decimal(1, 3),
        decimal(10_001, 7),
        decimal(123_456_789_125, 3),
        decimal(10_i128.pow(37), 0),
        decimal(5, 38),
    ];
    let tally = check_all(&room, "d", &stored, &probes).await;
    // 5e-35 has more digits after the point than the server's decimals.
    assert!(tally.refused > 0 && tally.superset == 0 && tally.exact > 30, "{tally:?}");
    fill(&mut room, "f8", "double", &["-1e300", "-0.0", "0.1", "1e300"]).await;
    let floats = [-1e300, 0.0, 0.1, 1e300].map(Value::Float);
    let tally = check_all(&room, "f8", &floats, &[-1e300, -0.0, 0.0, 0.1, 0.30000000000000004, 1e300].map(Value::Float)).await;
    assert_eq!((tally.superset, tally.refused), (0, 0));
    fill(&mut room, "f4", "float", &["0.1"]).await;
    let tally =
        check_all(&room, "f4", &[Value::Float(f64::from(0.1_f32))], &[Value::Float(f64::from(0.1_f32)), Value::Float(0.1)]).await;
    assert_eq!((tally.exact, tally.superset), (2, 0), "only IS NULL is sent: {tally:?}");
    let bytes = [vec![], vec![0], vec![0, 0], vec![39, 92], vec![255]];
    fill(&mut room, "bytes", "varbinary(9)", &["''", "x'00'", "x'0000'", "x'275c'", "x'ff'"]).await;
    let tally = check_all(&room, "bytes", &bytes.clone().map(Value::Bytes), &bytes.map(Value::Bytes)).await;
    assert_eq!((tally.superset, tally.refused), (0, 0));
}

#[tokio::test]
async fn moments_compare_to_the_microsecond_over_the_whole_range() {
    let mut room = Room::new("").await;
    let dates = [-719_162, -1, 0, 19_723, 2_932_896];
    fill(&mut room, "d", "date", &["'0001-01-01'", "'1969-12-31'", "'1970-01-01'", "'2024-01-01'", "'9999-12-31'"]).await;
    let mut probes = dates.map(Value::Date).to_vec();
    probes.extend([Value::Date(i32::MAX), Value::Date(i32::MIN), Value::Date(19_724), Value::Date(3_000_000)]);
    let tally = check_all(&room, "d", &dates.map(Value::Date), &probes).await;
    assert!(tally.exact >= 6 && tally.superset >= 25 && tally.refused >= 18, "{tally:?}");
    let stored = [-1, 0, 1_704_067_200_123_456, 253_402_300_799_999_999].map(Value::Timestamp);
    let literals = ["'1969-12-31 23:59:59.999999'", "'1970-01-01'", "'2024-01-01 00:00:00.123456'", "'9999-12-31 23:59:59.999999'"];
    fill(&mut room, "dt", "datetime(6)", &literals).await;
    let mut probes = stored.to_vec();
    probes
        .extend([1_704_067_200_123_457, 1_704_067_200_000_000, i64::MAX, i64::MIN, -62_135_596_800_000_000].map(Value::Timestamp));
    let tally = check_all(&room, "dt", &stored, &probes).await;
    assert!(tally.exact >= 7, "{tally:?}");
    let stored = [1_000_000, 1_704_067_200_123_456, 2_147_483_647_999_999].map(Value::TimestampTz);
    let literals = ["'1970-01-01 00:00:01'", "'2024-01-01 00:00:00.123456'", "'2038-01-19 03:14:07.999999'"];
    fill(&mut room, "ts", "timestamp(6) null", &literals).await;
    // The far ones lie outside what the server's timestamp can hold.
    let mut probes = stored.to_vec();
    probes.extend([-62_135_596_800_000_000, -1, 0, 4_000_000_000_000_000, 253_402_300_799_999_999].map(Value::TimestampTz));
    let tally = check_all(&room, "ts", &stored, &probes).await;
    assert!(tally.exact >= 8, "{tally:?}");
}

#[tokio::test]
async fn zero_dates_never_hide_rows() {
    let room = Room::new("").await;
    let lenient = super::connector(&room.server, &room.database, "zero_date = \"null\"");
    let mut room = Room { store: lenient, ..room };
    room.run("CREATE TABLE z (id int primary key, c date, KEY (c))").await;
    room.run("INSERT INTO z VALUES (0, '2024-01-10'), (1, '0000-00-00'), (2, '2024-00-10'), (3, NULL)").await;
    let table = room.table("z").await;
    let target = ColumnRef::of(1);
    let day = Value::Date(19_732);
    let mut tally = Tally::default();
    for op in OPERATORS {
        let expected = if holds(op, Ordering::Equal) { vec!["0".to_owned()] } else { vec![] };
        let predicate = Predicate::Compare { column: target.clone(), op, value: day.clone() };
        check(&room, &table, &predicate, &expected, &mut tally).await;
    }
    let null = |negated| Predicate::IsNull { column: target.clone(), negated };
    check(&room, &table, &null(false), &["1".to_owned(), "2".to_owned(), "3".to_owned()], &mut tally).await;
    check(&room, &table, &null(true), &["0".to_owned()], &mut tally).await;
    assert_eq!((tally.exact, tally.superset, tally.refused), (1, 6, 1));
}
