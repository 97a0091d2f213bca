//! System relations as data: columns with types, and a function that makes rows of cells.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayBuilder, Int16Builder, Int64Builder, ListBuilder, StringBuilder};
use arrow::array::{
    ArrayRef, BooleanArray, Float32Array, Int16Array, Int32Array, Int64Array, IntervalMonthDayNanoArray, RecordBatch,
    RecordBatchOptions, StringArray, TimestampMicrosecondArray, new_null_array,
};
use arrow::datatypes::{DataType, Field, IntervalMonthDayNano, IntervalUnit, Schema, SchemaRef, TimeUnit};
use chrono::{DateTime, Utc};

use crate::catalog::discover::{SystemBody, SystemRelation};
use crate::catalog::snapshot::{RowFunction, SessionFacts, Snapshot};
use crate::error::{Diagnosis, sqlstate};
use crate::pgtype::{PgField, PgType};

/// One value of a system relation.
#[derive(Debug, Clone, PartialEq)]
pub enum Cell {
    /// `NULL`
    Null,
    /// `boolean`
    Bool(bool),
    /// Any integer type, `oid`.
    Int(i64),
    /// `timestamptz`, in microseconds since 1970.
    Moment(i64),
    /// `interval` of a time that has passed.
    Lasting(Duration),
    /// `real`
    Real(f32),
    /// Any text type.
    Text(String),
    /// `text[]`, `name[]`
    Texts(Vec<String>),
    /// `int2[]`, `oid[]`
    Ints(Vec<i64>),
}

impl From<bool> for Cell {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<&str> for Cell {
    fn from(value: &str) -> Self {
        Self::Text(value.to_owned())
    }
}

impl From<String> for Cell {
    fn from(value: String) -> Self {
        Self::Text(value)
    }
}

impl From<i32> for Cell {
    fn from(value: i32) -> Self {
        Self::Int(i64::from(value))
    }
}

impl From<u32> for Cell {
    fn from(value: u32) -> Self {
        Self::Int(i64::from(value))
    }
}

impl From<i16> for Cell {
    fn from(value: i16) -> Self {
        Self::Int(i64::from(value))
    }
}

impl From<i64> for Cell {
    fn from(value: i64) -> Self {
        Self::Int(value)
    }
}

impl From<DateTime<Utc>> for Cell {
    fn from(value: DateTime<Utc>) -> Self {
        Self::Moment(value.timestamp_micros())
    }
}

impl From<Duration> for Cell {
    fn from(value: Duration) -> Self {
        Self::Lasting(value)
    }
}

impl From<&[i16]> for Cell {
    fn from(values: &[i16]) -> Self {
        Self::Ints(values.iter().map(|value| i64::from(*value)).collect())
    }
}

impl<T: Into<Cell>> From<Option<T>> for Cell {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

/// A row of cells from anything that is one.
#[macro_export]
#[doc(hidden)]
macro_rules! cells {
    ($($value:expr),* $(,)?) => { vec![$($crate::catalog::system::table::Cell::from($value)),*] };
}

/// Makes the rows of a system relation.
pub type MakeRows = fn(&Snapshot, &SessionFacts) -> Vec<Vec<Cell>>;

/// A system relation.
pub struct SystemTable {
    columns: &'static [(&'static str, PgType)],
    rows: MakeRows,
    is_live: bool,
}

/// `name[]`
pub const NAMES: PgType = PgType { oid: 1003, typmod: -1 };
/// `text[]`
pub const TEXTS: PgType = PgType { oid: 1009, typmod: -1 };
/// `int2vector`
pub const INT2VECTOR: PgType = PgType { oid: 22, typmod: -1 };
/// `oidvector`
pub const OIDVECTOR: PgType = PgType { oid: 30, typmod: -1 };
/// `int2[]`
pub const INT2S: PgType = PgType { oid: 1005, typmod: -1 };
/// `oid[]`
pub const OIDS: PgType = PgType { oid: 1028, typmod: -1 };

/// A system relation with a fixed object id (0 lets the catalog choose).
pub fn relation(
    schema: &'static str,
    name: &'static str,
    oid: u32,
    columns: &'static [(&'static str, PgType)],
    rows: MakeRows,
) -> SystemRelation {
    SystemRelation {
        schema,
        name: name.to_owned(),
        oid,
        body: SystemBody::Rows(Arc::new(SystemTable { columns, rows, is_live: false })),
    }
}

/// A system relation whose rows may be others at every statement.
pub fn live(
    schema: &'static str,
    name: &'static str,
    columns: &'static [(&'static str, PgType)],
    rows: MakeRows,
) -> SystemRelation {
    let table = SystemTable { columns, rows, is_live: true };
    SystemRelation { schema, name: name.to_owned(), oid: 0, body: SystemBody::Rows(Arc::new(table)) }
}

/// A system relation that never has rows here.
pub fn empty(schema: &'static str, name: &'static str, oid: u32, columns: &'static [(&'static str, PgType)]) -> SystemRelation {
    relation(schema, name, oid, columns, |_, _| Vec::new())
}

/// The Arrow schema of such columns.
pub fn schema_of(columns: &[(&str, PgType)]) -> SchemaRef {
    let fields = columns.iter().map(|(name, pg_type)| Field::new(*name, pg_type.carrier(), true).with_pg_type(*pg_type));
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

impl RowFunction for SystemTable {
    fn schema(&self) -> SchemaRef {
        schema_of(self.columns)
    }

    fn rows(&self, snapshot: &Snapshot, facts: &SessionFacts) -> Result<RecordBatch, Diagnosis> {
        let rows = (self.rows)(snapshot, facts);
        let schema = self.schema();
        let arrays = schema.fields().iter().enumerate().map(|(place, field)| column(field.data_type(), &rows, place));
        let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
        RecordBatch::try_new_with_options(Arc::clone(&schema), arrays.collect(), &options)
            .map_err(|error| Diagnosis::new(sqlstate::INTERNAL_ERROR, error.to_string()))
    }

    fn is_live(&self) -> bool {
        self.is_live
    }
}

fn column(data_type: &DataType, rows: &[Vec<Cell>], place: usize) -> ArrayRef {
    let cells = || rows.iter().map(|row| row.get(place).unwrap_or(&Cell::Null));
    let integers = || cells().map(|cell| if let Cell::Int(value) = cell { Some(*value) } else { None });
    match data_type {
        DataType::Boolean => {
            Arc::new(cells().map(|cell| if let Cell::Bool(value) = cell { Some(*value) } else { None }).collect::<BooleanArray>())
        }
        DataType::Int16 => Arc::new(integers().map(|value| i16::try_from(value?).ok()).collect::<Int16Array>()),
        DataType::Int32 => Arc::new(integers().map(|value| i32::try_from(value?).ok()).collect::<Int32Array>()),
        DataType::Int64 => Arc::new(integers().collect::<Int64Array>()),
        DataType::Float32 => {
            Arc::new(cells().map(|cell| if let Cell::Real(value) = cell { Some(*value) } else { None }).collect::<Float32Array>())
        }
        DataType::List(item) => list(item, cells()),
        DataType::Timestamp(TimeUnit::Microsecond, zone) => {
            let moments = cells().map(|cell| if let Cell::Moment(value) = cell { Some(*value) } else { None });
            Arc::new(moments.collect::<TimestampMicrosecondArray>().with_timezone_opt(zone.clone()))
        }
        DataType::Interval(IntervalUnit::MonthDayNano) => {
            let span = |lasting: &Duration| IntervalMonthDayNano::new(0, 0, i64::try_from(lasting.as_nanos()).unwrap_or(i64::MAX));
            let spans = cells().map(|cell| if let Cell::Lasting(value) = cell { Some(span(value)) } else { None });
            Arc::new(spans.collect::<IntervalMonthDayNanoArray>())
        }
        // No type travels as one of another unit.
        DataType::Timestamp(..) => new_null_array(data_type, rows.len()),
        _ => Arc::new(
            cells().map(|cell| if let Cell::Text(value) = cell { Some(value.as_str()) } else { None }).collect::<StringArray>(),
        ),
    }
}

fn list<'a>(item: &Arc<Field>, cells: impl Iterator<Item = &'a Cell>) -> ArrayRef {
    match item.data_type() {
        DataType::Int16 => fill(ListBuilder::new(Int16Builder::new()).with_field(Arc::clone(item)), cells, |builder, cell| {
            if let Cell::Ints(values) = cell {
                values.iter().for_each(|value| builder.append_option(i16::try_from(*value).ok()));
            }
        }),
        DataType::Int64 => fill(ListBuilder::new(Int64Builder::new()).with_field(Arc::clone(item)), cells, |builder, cell| {
            if let Cell::Ints(values) = cell {
                values.iter().for_each(|value| builder.append_value(*value));
            }
        }),
        _ => fill(ListBuilder::new(StringBuilder::new()).with_field(Arc::clone(item)), cells, |builder, cell| {
            if let Cell::Texts(values) = cell {
                values.iter().for_each(|value| builder.append_value(value));
            }
        }),
    }
}

fn fill<'a, B: ArrayBuilder>(
    mut builder: ListBuilder<B>,
    cells: impl Iterator<Item = &'a Cell>,
    append: fn(&mut B, &Cell),
) -> ArrayRef {
    for cell in cells {
        append(builder.values(), cell);
        builder.append(matches!(cell, Cell::Ints(_) | Cell::Texts(_)));
    }
    Arc::new(builder.finish())
}
