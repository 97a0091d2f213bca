//! The values that tables are filled with and conditions ask for: edges of every kind, and texts that try to be more.

use tributary::stores::value::Value;

use super::world::{Kind, Sample, World};

/// Texts on which collations differ from bytes, and texts that try to leave their quotes.
pub const TEXTS: [&str; 24] = [
    "",
    "a",
    "A",
    "ab",
    "b",
    "B",
    "a ",
    " a",
    "ž",
    "e\u{301}",
    "\u{ff5e}",
    "\u{1f600}",
    "it's",
    "a''b",
    "\\' or 1=1 -- ",
    "\"; DROP TABLE t; --",
    "\\",
    "$1",
    "?1",
    "100%_",
    "{\"$gt\": \"\"}",
    "$where",
    "tab\there\nline",
    "NULL",
];

/// Patterns of `LIKE`.
pub const PATTERNS: [&str; 9] = ["a%", "%b", "_", "%", "", "\\\\%", "100\\%\\_", "%'%", "A_"];

fn texts(all: &[&str]) -> Vec<Value> {
    all.iter().map(|text| Value::Text((*text).to_owned())).collect()
}

/// Values of a kind, as far as a store can hold them.
pub fn values(world: &dyn World, kind: Kind) -> Vec<Value> {
    let all: Vec<Value> = match kind {
        Kind::Bool => [true, false].map(Value::Bool).into(),
        Kind::Int => [0, 1, -1, 5, 127, 4_294_967_296, i64::MAX, i64::MIN].map(Value::Int).into(),
        Kind::Float => [0.0, -0.0, 0.1, 1.5, -1.5, f64::MAX, -1e300, 5e-324, f64::NAN, f64::INFINITY, f64::NEG_INFINITY]
            .map(Value::Float)
            .into(),
        Kind::Decimal => {
            [0, 10, -10, 1999, 2000, 9_999_999_999, -9_999_999_999].map(|unscaled| Value::Decimal { unscaled, scale: 2 }).into()
        }
        Kind::Text => texts(&TEXTS),
        Kind::Bytes => [vec![], vec![0], vec![0, 0], b"'\\".to_vec(), vec![255, 0]].map(Value::Bytes).into(),
        Kind::Date => [-354_285, -1, 0, 1, 19_782, 2_932_896].map(Value::Date).into(),
        Kind::Time => [0, 1, 43_200_000_000, 86_399_999_999].map(Value::Time).into(),
        Kind::Timestamp => [-30_610_224_000_000_000, -1, 0, 1_709_164_800_000_000, 1_709_164_800_123_456, 253_402_300_799_999_999]
            .map(Value::Timestamp)
            .into(),
        Kind::TimestampTz => {
            [1_000_000, 1_709_164_800_000_000, 1_709_164_800_123_000, 2_147_483_647_000_000].map(Value::TimestampTz).into()
        }
        Kind::Uuid => texts(&[
            "00000000-0000-0000-0000-000000000000",
            "00112233-4455-6677-8899-aabbccddeeff",
            "ffffffff-ffff-ffff-ffff-ffffffffffff",
        ]),
    };
    all.into_iter().filter(|value| world.holds(kind, value)).collect()
}

/// Values to ask for: those that are stored, and some that are not.
pub fn probes(world: &dyn World, kind: Kind) -> Vec<Value> {
    let mut probes = values(world, kind);
    probes.extend(match kind {
        Kind::Int => [2, -2, i64::MAX - 1].map(Value::Int).to_vec(),
        Kind::Float => [0.2, 1e300].map(Value::Float).to_vec(),
        Kind::Decimal => vec![Value::Decimal { unscaled: 5, scale: 3 }, Value::Decimal { unscaled: 20, scale: 0 }, Value::Int(20)],
        Kind::Text => texts(&["aa", "zz", "ss", "\u{10ffff}"]),
        Kind::Bytes => vec![Value::Bytes(vec![1])],
        Kind::Date => [2, -719_162].map(Value::Date).to_vec(),
        Kind::Time => vec![Value::Time(2)],
        Kind::Timestamp => vec![Value::Timestamp(1_709_164_800_123_457)],
        Kind::TimestampTz => vec![Value::TimestampTz(1_709_164_800_123_001)],
        Kind::Uuid => texts(&["80000000-0000-0000-0000-000000000000"]),
        Kind::Bool => Vec::new(),
    });
    probes
}

/// A table with a column of each of these kinds: as many rows as the longest pool has values, the others repeating, then one
/// row of NULLs.
pub fn of_kinds(world: &dyn World, table: &str, kinds: &[Kind]) -> Sample {
    let pools: Vec<Vec<Value>> = kinds.iter().map(|kind| values(world, *kind)).collect();
    let longest = pools.iter().map(Vec::len).max().unwrap_or(0);
    let mut rows: Vec<Vec<Option<Value>>> =
        (0..longest).map(|row| pools.iter().map(|pool| Some(pool[row % pool.len()].clone())).collect()).collect();
    rows.push(vec![None; kinds.len()]);
    let columns = kinds.iter().map(|kind| (kind.column(), *kind)).collect();
    Sample { table: table.to_owned(), columns, rows }
}

/// A table of keys alone.
pub fn of_keys(table: &str, rows: usize) -> Sample {
    Sample { table: table.to_owned(), columns: Vec::new(), rows: vec![Vec::new(); rows] }
}
