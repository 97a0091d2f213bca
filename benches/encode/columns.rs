//! The columns that are encoded, made by a fixed rule.

use std::sync::Arc;

use arrow::array::{ArrayRef, Decimal128Array, Float64Array, Int32Array, Int64Array, StringArray, TimestampMicrosecondArray};
use tributary::pgtype::PgType;

use super::measure::must;

const ROWS: i32 = 8_192;

/// A column with its Postgres type.
pub struct Column {
    /// The type's name.
    pub name: &'static str,
    /// The type that is announced.
    pub pg_type: PgType,
    /// The values.
    pub array: ArrayRef,
}

/// Spreads row numbers over all magnitudes of 64 bits (the finaliser of splitmix64).
fn scatter(row: i32) -> i64 {
    let mut value = i64::from(row).wrapping_mul(-7_046_029_254_386_353_131);
    value = (value ^ (value >> 30)).wrapping_mul(-4_658_895_280_553_007_687);
    value >> (row.rem_euclid(48))
}

fn column<T>(make: impl Fn(i32) -> T) -> Vec<Option<T>> {
    (0..ROWS).map(|row| (row % 17 != 16).then(|| make(row))).collect()
}

/// Every column.
pub fn all() -> Vec<Column> {
    let cents = Decimal128Array::from(column(|row| i128::from(scatter(row) % 1_000_000_000_000_000)));
    let text = column(|row| format!("row {:x} {}", scatter(row), "é".repeat(usize::from(row % 3 == 0))));
    let moments = column(|row| scatter(row).rem_euclid(4_000_000_000_000_000));
    let array = |name, pg_type, array| Column { name, pg_type, array };
    vec![
        array("int4", PgType::INT4, Arc::new(Int32Array::from(column(|row| scatter(row) as i32)))),
        array("int8", PgType::INT8, Arc::new(Int64Array::from(column(scatter)))),
        array("float8", PgType::FLOAT8, Arc::new(Float64Array::from(column(|row| scatter(row) as f64 / 1_000.0)))),
        array("text", PgType::TEXT, Arc::new(StringArray::from(text))),
        array("numeric(18,2)", PgType::numeric(18, 2), Arc::new(must(cents.with_precision_and_scale(18, 2)))),
        array("timestamp", PgType::TIMESTAMP, Arc::new(TimestampMicrosecondArray::from(moments))),
    ]
}
