//! The walk over a store's type table, both ways: what the store shows of its values is what the connector reads, and each
//! value that was read finds its rows again.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::{Array, AsArray, Decimal128Array, Decimal256Array};
use arrow::datatypes::{
    DataType, Date32Type, Float32Type, Float64Type, Int16Type, Int32Type, Int64Type, IntervalMonthDayNanoType,
    Time64MicrosecondType, TimestampMicrosecondType,
};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use tributary::format::{DisplaySettings, bytea, date, float, time, timestamp};
use tributary::pgtype::PgField;
use tributary::stores::predicate::ColumnRef;
use tributary::stores::value::Value;
use tributary::stores::{Connector, Predicate, Table, kind};

use super::oracle::{self, OPERATORS};
pub use super::reading::Tally;
use super::reading::{Filled, keys, read_all};

/// A value of a column as text.
pub type Show = fn(&dyn Array, usize) -> Option<String>;

/// One row of the walk.
pub struct Visit<'a> {
    /// The native type as declared.
    pub native: &'a str,
    /// The oid that clients see.
    pub oid: u32,
    /// A table of an integer key and a column `v` of the type.
    pub table: Arc<Table>,
    /// What its values are, in the order of the keys.
    pub expected: &'a [Option<String>],
    pub show: Show,
}

/// Reads a column, compares, and looks for each of its values. Gives how its conditions were judged.
pub async fn both_ways(connector: &Arc<dyn Connector>, visit: &Visit<'_>) -> Tally {
    let Visit { native, oid, table, expected, show } = visit;
    let place = table.columns.iter().position(|column| column.name() == "v").unwrap_or_else(|| panic!("{native} is not offered"));
    let field = &table.columns[place].field;
    assert_eq!(field.pg_type().oid, *oid, "{native}");
    if !field.data_type().is_nested() {
        assert_eq!(*field.data_type(), field.pg_type().carrier(), "{native}");
    }
    let batches = read_all(connector, table).await.unwrap_or_else(|error| panic!("{native}: {error:?}"));
    let mut shown: Vec<(i64, Option<String>)> = Vec::new();
    for batch in &batches {
        assert_eq!(batch.schema(), table.schema, "{native}");
        for row in 0..batch.num_rows() {
            let key = keys(&[batch.slice(row, 1)])[0];
            shown.push((key, show(batch.column(place).as_ref(), row)));
        }
    }
    shown.sort();
    let shown: Vec<Option<String>> = shown.into_iter().map(|(_, text)| text).collect();
    assert_eq!(shown, *expected, "{native}");

    let filled = Filled::new(connector, table.clone()).await;
    let mut tally = Tally::default();
    for negated in [false, true] {
        filled.check(&Predicate::IsNull { column: ColumnRef::of(place), negated }, &mut tally).await;
    }
    // Without a value in predicates the engine alone compares the type.
    let values: Vec<Value> = filled.rows.iter().filter_map(|row| row[place].clone().flatten()).collect();
    for value in &values {
        assert!(oracle::compare(value, value).is_eq(), "{native}: {value:?}");
        for op in OPERATORS {
            let predicate = Predicate::Compare { column: ColumnRef::of(place), op, value: value.clone() };
            filled.check(&predicate, &mut tally).await;
        }
    }
    tally
}

/// Whether the walk came to every row of the kind's type table. `word` gives the row that a visited type belongs to.
pub fn came_everywhere<'a>(store: &str, visited: impl Iterator<Item = &'a str>, is_row: impl Fn(&str, &str) -> bool) {
    let visited: BTreeSet<&str> = visited.collect();
    let rows = kind(store).unwrap().native_types();
    assert!(rows.len() > 10, "{rows:?}");
    let missed: Vec<&&str> = rows.iter().filter(|row| !visited.iter().any(|native| is_row(native, row))).collect();
    assert!(missed.is_empty(), "the walk has no values of {missed:?}");
}

/// As Arrow shows it.
pub fn as_arrow(array: &dyn Array, row: usize) -> Option<String> {
    let formatter = ArrayFormatter::try_new(array, &FormatOptions::default()).unwrap();
    array.is_valid(row).then(|| formatter.value(row).to_string())
}

/// As PostgreSQL would show it; intervals as months, days and nanoseconds.
pub fn as_postgres(array: &dyn Array, row: usize) -> Option<String> {
    if array.is_null(row) {
        return None;
    }
    let display = DisplaySettings::default();
    let mut out = Vec::new();
    match array.data_type() {
        DataType::Boolean => out.push(if array.as_boolean().value(row) { b't' } else { b'f' }),
        DataType::Int16 => return Some(array.as_primitive::<Int16Type>().value(row).to_string()),
        DataType::Int32 => return Some(array.as_primitive::<Int32Type>().value(row).to_string()),
        DataType::Int64 => return Some(array.as_primitive::<Int64Type>().value(row).to_string()),
        DataType::Float32 => float::write_f32(array.as_primitive::<Float32Type>().value(row), 1, &mut out),
        DataType::Float64 => float::write_f64(array.as_primitive::<Float64Type>().value(row), 1, &mut out),
        DataType::Decimal128(..) => return Some(array.as_any().downcast_ref::<Decimal128Array>()?.value_as_string(row)),
        DataType::Decimal256(..) => return Some(array.as_any().downcast_ref::<Decimal256Array>()?.value_as_string(row)),
        DataType::Utf8 => return Some(array.as_string::<i32>().value(row).to_owned()),
        DataType::Binary => bytea::write_hex(array.as_binary::<i32>().value(row), &mut out),
        DataType::Date32 => date::write(array.as_primitive::<Date32Type>().value(row), &display, &mut out),
        DataType::Time64(_) => time::write(array.as_primitive::<Time64MicrosecondType>().value(row), &mut out),
        DataType::Timestamp(_, None) => {
            timestamp::write(array.as_primitive::<TimestampMicrosecondType>().value(row), &display, &mut out);
        }
        DataType::Timestamp(_, Some(_)) => {
            timestamp::write_tz(array.as_primitive::<TimestampMicrosecondType>().value(row), &display, &mut out);
        }
        DataType::Interval(_) => {
            let value = array.as_primitive::<IntervalMonthDayNanoType>().value(row);
            return Some(format!("{} {} {}", value.months, value.days, value.nanoseconds));
        }
        DataType::List(_) => {
            let list = array.as_list::<i32>().value(row);
            let shown: Vec<String> =
                (0..list.len()).map(|place| as_postgres(list.as_ref(), place).unwrap_or_else(|| "NULL".to_owned())).collect();
            return Some(format!("{{{}}}", shown.join(",")));
        }
        other => panic!("no text for {other}"),
    }
    let text = String::from_utf8(out).unwrap();
    Some(if matches!(array.data_type(), DataType::Binary) && !text.starts_with("\\x") { format!("\\x{text}") } else { text })
}
