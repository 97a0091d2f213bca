//! Every pushed predicate against the same predicate evaluated here over everything that a scan without filter reads.

use std::cmp::Ordering;
use std::str::FromStr;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Decimal128Array, Float64Array, Int64Array, RecordBatch, StringArray,
    TimestampMicrosecondArray,
};
use bigdecimal::BigDecimal;
use mongodb::bson::oid::ObjectId;
use mongodb::bson::spec::BinarySubtype;
use mongodb::bson::{Binary, Bson, DateTime, Decimal128, Document, Regex, Timestamp, doc};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tributary::pgtype::{PgField, PgType};
use tributary::stores::Table;
use tributary::stores::predicate::{ColumnRef, Comparison, Predicate, Pushdown};
use tributary::stores::value::Value;

use super::{World, ordinal, scan};

pub(super) const COLUMNS: &str = "
t = \"text\"
i = \"bigint\"
f = \"double precision\"
n = \"numeric\"
d = \"numeric(38,2)\"
b = \"boolean\"
w = \"timestamptz\"
o = \"objectId\"
u = \"uuid\"
x = \"bytea\"
m = \"mixed\"
l = \"bigint[]\"
s = { a = \"bigint\", t = \"text\", in = { w = \"timestamptz\" } }
";
/// Columns and places of one run.
struct Plan {
    on_mismatch: &'static str,
    declared: &'static str,
    names: &'static [&'static str],
    places: &'static [&'static str],
}

pub(super) const NAMES: [&str; 13] = ["t", "i", "f", "n", "d", "b", "w", "o", "u", "x", "m", "l", "s"];
const DOCUMENTS: usize = 1500;
const PREDICATES: usize = 900;

fn decimal(text: &str) -> Bson {
    Bson::Decimal128(Decimal128::from_str(text).unwrap())
}

fn object_id(byte: u8) -> ObjectId {
    ObjectId::from_bytes([byte; 12])
}

fn uuid(byte: u8) -> Bson {
    Bson::Binary(Binary { subtype: BinarySubtype::Uuid, bytes: vec![byte; 16] })
}

fn date(millis: i64) -> Bson {
    Bson::DateTime(DateTime::from_millis(millis))
}

const TEXTS: [&str; 12] = ["", "a", "ab", "abc", "abd", "B", "ü", "zz", "5", "{\"$gt\": \"\"}", "$a", "100%_\\"];

/// Values that fit a column, and some at the edge of fitting.
pub(super) fn pool(name: &str) -> Vec<Bson> {
    let mut pool: Vec<Bson> = match name {
        "t" => TEXTS.iter().map(|text| Bson::from(*text)).chain([Bson::from("a\0b"), Bson::Symbol("ab".to_owned())]).collect(),
        "i" => vec![
            0_i64.into(),
            5_i32.into(),
            (-5_i64).into(),
            i64::MAX.into(),
            i64::MIN.into(),
            5.0.into(),
            5.5.into(),
            1e18.into(),
            1_000_000_000_000_000_000_i64.into(),
            decimal("5"),
            decimal("5.5"),
            f64::NAN.into(),
            f64::INFINITY.into(),
        ],
        "f" => vec![
            0.0.into(),
            (-0.0).into(),
            5.0.into(),
            5.5.into(),
            f64::NAN.into(),
            f64::INFINITY.into(),
            f64::NEG_INFINITY.into(),
            5_i32.into(),
            ((1_i64 << 53) + 1).into(),
            (1_i64 << 53).into(),
            decimal("5"),
            decimal("0.1"),
            0.1.into(),
            f64::MAX.into(),
            f64::MIN_POSITIVE.into(),
        ],
        "n" | "d" => vec![
            decimal("0.1"),
            0.1.into(),
            0.3.into(),
            7_i32.into(),
            decimal("7.00"),
            decimal("1E+30"),
            decimal("NaN"),
            decimal("-Infinity"),
            decimal("Infinity"),
            decimal("1E+400"),
            1e308.into(),
            f64::NAN.into(),
            decimal("0.12"),
            decimal("0.123"),
            i64::MAX.into(),
            decimal("-0"),
            decimal("12345678901234567890.12"),
            0.30000000000000004.into(),
        ],
        other => other_pool(other),
    };
    if name == "m" {
        pool.extend(["t", "i", "w", "o", "s", "l"].into_iter().flat_map(self::pool));
    }
    pool
}

fn other_pool(name: &str) -> Vec<Bson> {
    match name {
        "b" => vec![true.into(), false.into()],
        "w" => vec![
            date(0),
            date(1),
            date(-1),
            date(1_000),
            date(i64::MAX),
            date(i64::MIN),
            date(-210_866_803_200_000),
            date(-210_866_803_200_001),
        ],
        "o" => vec![object_id(0).into(), object_id(0x9a).into(), object_id(0xa9).into(), object_id(0xff).into()],
        "u" => vec![uuid(0), uuid(0x9a), uuid(0xff), Bson::Binary(Binary { subtype: BinarySubtype::Generic, bytes: vec![1; 16] })],
        "x" => vec![uuid(1), Bson::Binary(Binary { subtype: BinarySubtype::Generic, bytes: vec![1, 2] })],
        "l" => vec![
            Bson::Array(vec![]),
            Bson::Array(vec![1.into(), Bson::Null]),
            Bson::Array(vec![5.into(), 9.into()]),
            Bson::Array(vec!["x".into()]),
        ],
        "s" => vec![
            doc! { "a": 5, "t": "ab" }.into(),
            doc! { "a": "x" }.into(),
            doc! {}.into(),
            doc! { "a": [5, 9], "t": Bson::Null }.into(),
            Bson::Array(vec![doc! { "a": 5, "t": "ab" }.into()]),
            doc! { "in": { "w": date(1) } }.into(),
            doc! { "in": 5, "t": ["ab"] }.into(),
            Bson::Array(vec![Bson::Null]),
            doc! { "in": [{ "w": date(1) }], "a": 7_i64 }.into(),
        ],
        _ => Vec::new(),
    }
}

/// Values that fit nothing or anything.
pub(super) fn stray(rng: &mut StdRng) -> Bson {
    let strays = [
        Bson::Null,
        Bson::Null,
        Bson::Undefined,
        "x".into(),
        5.into(),
        5.5.into(),
        true.into(),
        object_id(1).into(),
        doc! { "a": 5 }.into(),
        date(1),
        Bson::Array(vec![5.into(), "ab".into(), Bson::Null, true.into(), date(1), 0.1.into(), object_id(0).into(), uuid(0)]),
        Bson::Array(vec![Bson::Array(vec![5.into()])]),
        Bson::MinKey,
        Bson::MaxKey,
        Bson::RegularExpression(Regex { pattern: "ab".try_into().unwrap(), options: "".try_into().unwrap() }),
        Bson::Timestamp(Timestamp { time: 1, increment: 1 }),
    ];
    strays[rng.random_range(0..strays.len())].clone()
}

pub(super) fn documents(rng: &mut StdRng, names: &[&'static str]) -> Vec<Document> {
    let pools: Vec<(&str, Vec<Bson>)> = names.iter().map(|name| (*name, pool(name))).collect();
    (0..DOCUMENTS)
        .map(|number| {
            let mut document = doc! { "_id": i64::try_from(number).unwrap() };
            for (name, pool) in &pools {
                match rng.random_range(0..10) {
                    0 | 1 => {}
                    2 | 3 => drop(document.insert(*name, stray(rng))),
                    _ => drop(document.insert(*name, pool[rng.random_range(0..pool.len())].clone())),
                }
            }
            document
        })
        .collect()
}

fn literals(name: &str) -> Vec<Value> {
    let text = |texts: &[&str]| texts.iter().map(|text| Value::Text((*text).to_owned())).collect::<Vec<_>>();
    match name {
        "t" | "s.t" | "m" => text(&TEXTS),
        "i" | "s.a" => [0, 5, -5, 6, i64::MAX, i64::MIN, 1_000_000_000_000_000_000].map(Value::Int).to_vec(),
        "f" => [0.0, -0.0, 5.0, 5.5, f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 9_007_199_254_740_992.0, 0.1]
            .map(Value::Float)
            .to_vec(),
        "n" | "d" => {
            let mut all = vec![
                Value::Decimal { unscaled: 1, scale: 1 },
                Value::Decimal { unscaled: 3, scale: 1 },
                Value::Decimal { unscaled: 700, scale: 2 },
                Value::Decimal { unscaled: 12, scale: 2 },
                Value::Decimal { unscaled: 0, scale: 0 },
                Value::Decimal { unscaled: 1_234_567_890_123_456_789_012, scale: 2 },
            ];
            if name == "n" {
                all.extend(["NaN", "Infinity", "-Infinity"].map(|text| Value::Numeric(text.to_owned())));
                all.push(Value::Numeric(format!("1{}", "0".repeat(400))));
                all.push(Value::Numeric(format!("1{}", "0".repeat(308))));
            }
            all
        }
        "b" => vec![Value::Bool(true), Value::Bool(false)],
        "w" | "s.in.w" => [0, 1, 999, 1_000, -1, -1_000, 1_000_000, i64::MAX, i64::MIN].map(Value::TimestampTz).to_vec(),
        "o" => text(&[
            "000000000000000000000000",
            "9a9a9a9a9a9a9a9a9a9a9a9a",
            "A9A9A9A9A9A9A9A9A9A9A9A9",
            "a9a9a9a9a9a9a9a9a9a9a9a9",
            "x",
            "",
        ]),
        "u" => text(&[
            "00000000-0000-0000-0000-000000000000",
            "9a9a9a9a-9a9a-9a9a-9a9a-9a9a9a9a9a9a",
            "80000000-0000-0000-0000-000000000000",
        ]),
        "x" => vec![Value::Bytes(vec![1, 2])],
        _ => Vec::new(),
    }
}

const PATTERNS: [&str; 9] = ["ab%", "a%", "%b%", "ab", "_b", "\\$a", "100\\%%", "%", "%gt\"%"];
pub(super) const PLACES: [&str; 16] = ["t", "i", "f", "n", "d", "b", "w", "o", "u", "x", "m", "l", "s", "s.a", "s.t", "s.in.w"];

fn reference(table: &Table, place: &str) -> ColumnRef {
    let mut parts = place.split('.');
    let column = ordinal(table, parts.next().unwrap());
    ColumnRef { column, path: parts.map(str::to_owned).collect() }
}

pub(super) fn predicate(rng: &mut StdRng, table: &Table, places: &[&str], depth: usize) -> Predicate {
    if depth < 2 && rng.random_range(0..4) == 0 {
        let parts = (0..rng.random_range(1..4)).map(|_| predicate(rng, table, places, depth + 1)).collect();
        return if rng.random_bool(0.5) { Predicate::And(parts) } else { Predicate::Or(parts) };
    }
    let place = places[rng.random_range(0..places.len())];
    let column = reference(table, place);
    let literals = literals(place);
    let pick = |rng: &mut StdRng| literals[rng.random_range(0..literals.len())].clone();
    match rng.random_range(0..10) {
        _ if literals.is_empty() => Predicate::IsNull { column, negated: rng.random_bool(0.5) },
        0 => Predicate::IsNull { column, negated: false },
        1 => Predicate::IsNull { column, negated: true },
        2 | 3 => {
            let values = (0..rng.random_range(1..5)).map(|_| pick(rng)).collect();
            Predicate::In { column, values, negated: rng.random_bool(0.4) }
        }
        4 if matches!(place, "t" | "s.t" | "m") => {
            let pattern = PATTERNS[rng.random_range(0..PATTERNS.len())].to_owned();
            Predicate::Like { column, pattern, negated: rng.random_bool(0.2), case_insensitive: rng.random_bool(0.1) }
        }
        _ => {
            use Comparison::{Equal, Greater, GreaterOrEqual, Less, LessOrEqual, NotEqual};
            let ops = [Equal, NotEqual, Less, LessOrEqual, Greater, GreaterOrEqual];
            Predicate::Compare { column, op: ops[rng.random_range(0..ops.len())], value: pick(rng) }
        }
    }
}

/// Three-valued evaluation with Postgres semantics over what a scan read.
pub(super) fn holds(table: &Table, batch: &RecordBatch, row: usize, predicate: &Predicate) -> Option<bool> {
    match predicate {
        Predicate::And(parts) => {
            let parts: Vec<_> = parts.iter().map(|part| holds(table, batch, row, part)).collect();
            if parts.contains(&Some(false)) { Some(false) } else { parts.into_iter().collect::<Option<Vec<_>>>().map(|_| true) }
        }
        Predicate::Or(parts) => {
            let parts: Vec<_> = parts.iter().map(|part| holds(table, batch, row, part)).collect();
            if parts.contains(&Some(true)) { Some(true) } else { parts.into_iter().collect::<Option<Vec<_>>>().map(|_| false) }
        }
        Predicate::Rows(rows) => holds(table, batch, row, &rows.alternatives()),
        Predicate::IsNull { column, negated } => {
            let (array, valid) = cell(table, batch, row, column);
            Some((valid && array.is_valid(row)) == *negated)
        }
        Predicate::Compare { column, op, value } => {
            let ordering = compare(table, batch, row, column, value)?;
            Some(match op {
                Comparison::Equal => ordering.is_eq(),
                Comparison::NotEqual => ordering.is_ne(),
                Comparison::Less => ordering.is_lt(),
                Comparison::LessOrEqual => ordering.is_le(),
                Comparison::Greater => ordering.is_gt(),
                Comparison::GreaterOrEqual => ordering.is_ge(),
            })
        }
        Predicate::In { column, values, negated } => {
            let mut found = false;
            for value in values {
                found |= compare(table, batch, row, column, value)?.is_eq();
            }
            Some(found != *negated)
        }
        Predicate::Like { column, pattern, negated, case_insensitive } => {
            let (array, valid) = cell(table, batch, row, column);
            if !valid || array.is_null(row) {
                return None;
            }
            let fold = |text: &str| if *case_insensitive { text.to_lowercase() } else { text.to_owned() };
            let text: Vec<char> = fold(array.as_string::<i32>().value(row)).chars().collect();
            let pattern: Vec<char> = fold(pattern).chars().collect();
            Some(like(&text, &pattern) != *negated)
        }
    }
}

fn like(text: &[char], pattern: &[char]) -> bool {
    match pattern {
        [] => text.is_empty(),
        ['%', rest @ ..] => (0..=text.len()).any(|skip| like(&text[skip..], rest)),
        ['_', rest @ ..] => !text.is_empty() && like(&text[1..], rest),
        ['\\', literal, rest @ ..] | [literal, rest @ ..] => text.first() == Some(literal) && like(&text[1..], rest),
    }
}

/// The array that holds the value, and whether the documents around it are there.
fn cell(table: &Table, batch: &RecordBatch, row: usize, column: &ColumnRef) -> (ArrayRef, bool) {
    let name = table.columns[column.column].name();
    let mut array = batch.column_by_name(name).unwrap().clone();
    let mut valid = true;
    for field in &column.path {
        valid &= array.is_valid(row);
        array = array.as_struct().column_by_name(field).unwrap().clone();
    }
    (array, valid)
}

fn compare(table: &Table, batch: &RecordBatch, row: usize, column: &ColumnRef, value: &Value) -> Option<Ordering> {
    let (array, valid) = cell(table, batch, row, column);
    if !valid || array.is_null(row) {
        return None;
    }
    let any = array.as_any();
    let numeric = column.path.is_empty() && table.columns[column.column].field.pg_type() == PgType::NUMERIC;
    if let Some(array) = any.downcast_ref::<StringArray>() {
        return Some(match value {
            Value::Text(text) => array.value(row).as_bytes().cmp(text.as_bytes()),
            value if numeric => numbers(array.value(row), &digits(value)),
            other => panic!("{other:?} against text"),
        });
    }
    if let Some(array) = any.downcast_ref::<Decimal128Array>() {
        return Some(numbers(&array.value_as_string(row), &digits(value)));
    }
    Some(match (any.downcast_ref::<Int64Array>(), value) {
        (Some(array), Value::Int(number)) => array.value(row).cmp(number),
        _ => match value {
            Value::Float(number) => floats(any.downcast_ref::<Float64Array>().unwrap().value(row), *number),
            Value::Bool(truth) => any.downcast_ref::<BooleanArray>().unwrap().value(row).cmp(truth),
            Value::TimestampTz(micros) => any.downcast_ref::<TimestampMicrosecondArray>().unwrap().value(row).cmp(micros),
            Value::Bytes(bytes) => array.as_binary::<i32>().value(row).cmp(bytes.as_slice()),
            other => panic!("{other:?}"),
        },
    })
}

/// NaN equals itself and is above everything; zeros are equal.
pub(super) fn floats(left: f64, right: f64) -> Ordering {
    left.partial_cmp(&right).unwrap_or_else(|| left.is_nan().cmp(&right.is_nan()))
}

fn digits(value: &Value) -> String {
    match value {
        Value::Decimal { unscaled, scale } => format!("{unscaled}e-{scale}"),
        Value::Numeric(text) => text.clone(),
        other => panic!("{other:?} is no number"),
    }
}

pub(super) fn numbers(left: &str, right: &str) -> Ordering {
    let rank = |text: &str| match text {
        "-Infinity" => 0,
        "Infinity" => 2,
        "NaN" => 3,
        _ => 1,
    };
    rank(left).cmp(&rank(right)).then_with(|| match rank(left) {
        1 => BigDecimal::from_str(left).unwrap().cmp(&BigDecimal::from_str(right).unwrap()),
        _ => Ordering::Equal,
    })
}

fn ids(batches: &[RecordBatch]) -> Vec<i64> {
    let column = |batch: &RecordBatch| batch.column_by_name("_id").unwrap().as_any().downcast_ref::<Int64Array>().unwrap().clone();
    let mut ids: Vec<i64> = batches.iter().flat_map(|batch| column(batch).values().to_vec()).collect();
    ids.sort_unstable();
    ids
}

async fn pushed_filters_agree(seed: u64, plan: &Plan) {
    let mut rng = StdRng::seed_from_u64(seed);
    let options =
        format!("on_mismatch = \"{}\"\nsample = 0\n[collections.c.columns]\n_id = \"bigint\"{}", plan.on_mismatch, plan.declared);
    let world = World::new(&options).await;
    world.fill("c", documents(&mut rng, plan.names)).await;
    let table = world.table("c").await;
    let columns: Vec<&str> = std::iter::once("_id").chain(plan.names.iter().copied()).collect();
    let all = world.read(&table, &columns, Vec::new()).await.unwrap();
    let (mut exact, mut superset) = (0, 0);
    for _ in 0..PREDICATES {
        let predicate = predicate(&mut rng, &table, plan.places, 0);
        let mut expected = Vec::new();
        for batch in &all {
            let id = batch.column(0).as_any().downcast_ref::<Int64Array>().unwrap();
            let kept = (0..batch.num_rows()).filter(|row| holds(&table, batch, *row, &predicate) == Some(true));
            expected.extend(kept.map(|row| id.value(row)));
        }
        expected.sort_unstable();
        let (pushed, is_exact) = match world.connector.pushdown(&table, &predicate) {
            Pushdown::Exact(pushed) => (pushed, true),
            Pushdown::Superset(pushed) => (pushed, false),
            Pushdown::Refused(_) => continue,
        };
        let sent = world.connector.describe_scan(&table, &scan(&table, &["_id"], vec![pushed.clone()]));
        let found = ids(&world.read(&table, &["_id"], vec![pushed.clone()]).await.unwrap());
        if is_exact {
            exact += 1;
            assert_eq!(found, expected, "{predicate:?}\n{sent}");
            let counted = world.read(&table, &[], vec![pushed]).await.unwrap();
            assert_eq!(super::row_count(&counted), expected.len(), "{predicate:?}\n{sent}");
        } else {
            superset += 1;
            let missing: Vec<_> = expected.iter().filter(|id| found.binary_search(id).is_err()).collect();
            assert!(missing.is_empty(), "{predicate:?}\n{sent}\nmisses {missing:?}");
        }
    }
    assert!(superset > PREDICATES / 4, "{exact} exact and {superset} superset filters");
    assert!(exact > PREDICATES / 20 || plan.on_mismatch != "null", "{exact} exact and {superset} superset filters");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pushed_filters_agree_with_local_ones_when_misfits_are_null() {
    let plan = Plan { on_mismatch: "null", declared: COLUMNS, names: &NAMES, places: &PLACES };
    pushed_filters_agree(20_261_121, &plan).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pushed_filters_agree_with_local_ones_when_misfits_are_text() {
    let plan = Plan {
        on_mismatch: "text",
        declared: "\nt = \"text\"\no = \"objectId\"\nm = \"mixed\"\n",
        names: &["t", "o", "m"],
        places: &["t", "o", "m"],
    };
    pushed_filters_agree(42, &plan).await;
}

/// A filter that also looks for broken values still finds a key by its index.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_is_found_by_its_index() {
    for on_mismatch in ["null", "error", "text"] {
        let world = World::new(&format!("on_mismatch = \"{on_mismatch}\"\n")).await;
        world.fill("c", (0..2_000_u32).map(|number| doc! { "_id": ObjectId::from_parts(number, [0; 5], [0; 3]) }).collect()).await;
        let table = world.table("c").await;
        world.database.run_command(doc! { "profile": 2 }).await.unwrap();
        let key = ObjectId::from_parts(77, [0; 5], [0; 3]).to_hex();
        let predicate = Predicate::Compare { column: ColumnRef::of(0), op: Comparison::Equal, value: Value::Text(key.clone()) };
        let (Pushdown::Exact(pushed) | Pushdown::Superset(pushed)) = world.connector.pushdown(&table, &predicate) else {
            panic!("refused")
        };
        assert_eq!(world.rows(&table, &["_id"], vec![pushed]).await, [[key]]);
        let namespace = format!("{}.c", world.database.name());
        let profile = world.database.collection::<Document>("system.profile");
        let entry = profile.find_one(doc! { "ns": namespace, "op": "query" }).await.unwrap().unwrap();
        assert!(entry.get_i32("docsExamined").unwrap() < 5, "{on_mismatch}: {}", entry.get_str("planSummary").unwrap());
    }
}

/// Where a misfit is an error, a filter on its column may not hide it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn filters_do_not_hide_values_that_are_errors() {
    let mut rng = StdRng::seed_from_u64(7);
    let options = format!("on_mismatch = \"error\"\n[collections.c.columns]\n_id = \"bigint\"{COLUMNS}");
    let world = World::new(&options).await;
    let collection = world.fill("c", vec![doc! { "_id": 0_i64 }]).await;
    let table = world.table("c").await;
    let mut noticed = 0;
    for round in 0..120 {
        let place = PLACES[round % PLACES.len()];
        let top = place.split('.').next().unwrap();
        if matches!(place, "m" | "l" | "s") {
            continue;
        }
        let stray = if rng.random_bool(0.5) {
            stray(&mut rng)
        } else {
            let all = pool(top);
            all[rng.random_range(0..all.len())].clone()
        };
        collection.replace_one(doc! { "_id": 0_i64 }, doc! { "_id": 0_i64, top: stray.clone() }).await.unwrap();
        let broken = world.read(&table, &[top], Vec::new()).await.is_err();
        for _ in 0..8 {
            let column = reference(&table, place);
            let literals = literals(place);
            let tested = Predicate::Compare {
                column: column.clone(),
                op: [Comparison::Equal, Comparison::NotEqual, Comparison::Less, Comparison::GreaterOrEqual][rng.random_range(0..4)],
                value: literals[rng.random_range(0..literals.len())].clone(),
            };
            let predicate = if rng.random_bool(0.2) { Predicate::IsNull { column, negated: rng.random_bool(0.5) } } else { tested };
            let Pushdown::Superset(pushed) = world.connector.pushdown(&table, &predicate) else { continue };
            let sent = world.connector.describe_scan(&table, &scan(&table, &[top], vec![pushed.clone()]));
            let found = world.read(&table, &[top], vec![pushed]).await;
            // A broken sibling inside the same document is outside the tested field.
            let tested_broken = broken && (place == top || broken_at(&world, &table, place).await);
            if tested_broken {
                noticed += 1;
                assert!(found.is_err(), "{stray:?} hidden by {predicate:?}\n{sent}");
            }
        }
    }
    assert!(noticed > 50, "{noticed} broken values noticed");
}

async fn broken_at(world: &World, table: &std::sync::Arc<Table>, place: &str) -> bool {
    let (_, field) = place.split_once('.').unwrap();
    match world.read(table, &["s"], Vec::new()).await {
        Err(error) => {
            let text = error.to_string();
            text.contains(&format!("s.{field} ")) || text.contains("docs.c.s ")
        }
        Ok(_) => false,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fields_that_cannot_be_named_are_read_but_not_filtered() {
    let world = World::new("").await;
    let insert = doc! { "_id": 1, "$a": "x", "b.c": "y", "plain": "z" };
    // The server lets such names in only through paths that take documents as they are.
    let command = doc! { "insert": "odd", "documents": [insert] };
    world.database.run_command(command).await.unwrap();
    let table = world.table("odd").await;
    assert_eq!(world.rows(&table, &["b.c", "plain"], Vec::new()).await, [["y", "z"]]);
    for name in ["$a", "b.c"] {
        let predicate = Predicate::Compare {
            column: ColumnRef::of(ordinal(&table, name)),
            op: Comparison::Equal,
            value: Value::Text("y".to_owned()),
        };
        assert!(matches!(world.connector.pushdown(&table, &predicate), Pushdown::Refused(_)), "{name}");
    }
}
