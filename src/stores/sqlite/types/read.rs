//! Readers: one per type, chosen once per column, that check each cell and grow an Arrow array. `numeric` is in
//! `decimal.rs`.

use arrow::array::{
    ArrayRef, BinaryBuilder, BooleanBuilder, Date32Builder, Float64Builder, Int64Builder, StringBuilder, Time64MicrosecondBuilder,
    TimestampMicrosecondBuilder,
};
use arrow::datatypes::Field;

use super::super::super::builders::Refill;
use super::super::super::document::scalar;
use super::{is_any, moment};
use crate::error::sqlstate;
use crate::pgtype::{PgField, PgType, UTC};

/// One cell as SQLite holds it. Text is in UTF-8 by SQLite's word, which is checked here.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Cell<'a> {
    /// NULL
    Null,
    /// INTEGER
    Int(i64),
    /// REAL; never NaN, which SQLite stores as NULL.
    Real(f64),
    /// TEXT
    Text(&'a [u8]),
    /// BLOB
    Blob(&'a [u8]),
}

/// A cell that does not fit its column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// SQLSTATE of the failure.
    pub sqlstate: &'static str,
    /// The broken rule as a clause.
    pub rule: String,
}

impl Fault {
    pub(super) fn kind(cell: Cell<'_>, wanted: &str) -> Self {
        let found = match cell {
            Cell::Null => "NULL",
            Cell::Int(_) => "an integer",
            Cell::Real(_) => "a real number",
            Cell::Text(_) => "text",
            Cell::Blob(_) => "a blob",
        };
        Self { sqlstate: sqlstate::INVALID_TEXT_REPRESENTATION, rule: format!("is {found} that is not {wanted}") }
    }

    pub(super) fn range(wanted: &str) -> Self {
        Self { sqlstate: sqlstate::NUMERIC_VALUE_OUT_OF_RANGE, rule: format!("is out of range for {wanted}") }
    }
}

/// Grows one Arrow array from the cells of one column.
pub trait Read: Send {
    /// Adds a cell and returns about how many bytes it takes.
    ///
    /// # Errors
    /// A cell that the column cannot hold without loss.
    fn append(&mut self, cell: Cell<'_>) -> Result<usize, Fault>;

    /// The array of the cells so far; the reader is empty then.
    fn finish(&mut self) -> ArrayRef;
}

/// A reader made of an Arrow builder and the function that fills it, which is part of its type so that a cell costs one
/// indirect call and not two.
struct Reader<B, A> {
    builder: B,
    add: A,
}

impl<B, A> Read for Reader<B, A>
where
    B: Refill + Send,
    A: Fn(&mut B, Cell<'_>) -> Result<usize, Fault> + Send,
{
    fn append(&mut self, cell: Cell<'_>) -> Result<usize, Fault> {
        (self.add)(&mut self.builder, cell)
    }

    fn finish(&mut self) -> ArrayRef {
        self.builder.take()
    }
}

fn boxed<B, A>(builder: B, add: A) -> Box<dyn Read>
where
    B: Refill + Send + 'static,
    A: Fn(&mut B, Cell<'_>) -> Result<usize, Fault> + Send + 'static,
{
    Box::new(Reader { builder, add })
}

/// The reader of a column; `None` when its type has none, which discovery never produces.
pub fn reader(field: &Field) -> Option<Box<dyn Read>> {
    if is_any(field) {
        return Some(boxed(StringBuilder::new(), add_any));
    }
    Some(match (field.pg_type(), field.data_type()) {
        (PgType::BOOL, _) => boxed(BooleanBuilder::new(), add_bool),
        (PgType::INT8, _) => boxed(Int64Builder::new(), add_int),
        (PgType::FLOAT8, _) => boxed(Float64Builder::new(), add_double),
        (PgType::TEXT, _) => boxed(StringBuilder::new(), add_text),
        (PgType::BYTEA, _) => boxed(BinaryBuilder::new(), add_blob),
        (PgType::DATE, _) => boxed(Date32Builder::new(), add_date),
        (PgType::TIME, _) => boxed(Time64MicrosecondBuilder::new(), add_time),
        (PgType::TIMESTAMP, _) => boxed(TimestampMicrosecondBuilder::new(), add_timestamp),
        (PgType::TIMESTAMPTZ, _) => boxed(TimestampMicrosecondBuilder::new().with_timezone(UTC), add_timestamptz),
        (PgType::JSON, _) => boxed(StringBuilder::new(), add_json),
        (PgType::UUID, _) => boxed(StringBuilder::new(), add_uuid),
        (pg_type @ PgType { oid: 1700, .. }, carrier) => return super::decimal::reader(pg_type, carrier),
        _ => return None,
    })
}

fn add_bool(builder: &mut BooleanBuilder, cell: Cell<'_>) -> Result<usize, Fault> {
    match cell {
        Cell::Int(number @ (0 | 1)) => builder.append_value(number == 1),
        Cell::Null => builder.append_null(),
        Cell::Int(_) | Cell::Real(_) | Cell::Text(_) | Cell::Blob(_) => return Err(Fault::kind(cell, "a boolean (0 or 1)")),
    }
    Ok(1)
}

fn add_int(builder: &mut Int64Builder, cell: Cell<'_>) -> Result<usize, Fault> {
    match cell {
        Cell::Int(number) => builder.append_value(number),
        Cell::Null => builder.append_null(),
        // The cast is exact: the number is whole and below 2^53.
        Cell::Real(number) if number.fract() == 0.0 && number.abs() <= EXACT_DOUBLE as f64 => builder.append_value(number as i64),
        Cell::Real(number) if number.abs() >= EXACT_DOUBLE as f64 => return Err(Fault::range("bigint")),
        Cell::Real(_) | Cell::Text(_) | Cell::Blob(_) => return Err(Fault::kind(cell, "a bigint")),
    }
    Ok(8)
}

/// Doubles hold every whole number up to this size.
pub const EXACT_DOUBLE: i64 = 1 << 53;

fn add_double(builder: &mut Float64Builder, cell: Cell<'_>) -> Result<usize, Fault> {
    match cell {
        Cell::Real(number) => builder.append_value(number),
        Cell::Null => builder.append_null(),
        Cell::Int(number) if (-EXACT_DOUBLE..=EXACT_DOUBLE).contains(&number) => builder.append_value(number as f64),
        Cell::Int(_) => return Err(Fault::range("double precision without loss")),
        Cell::Text(_) | Cell::Blob(_) => return Err(Fault::kind(cell, "a double precision")),
    }
    Ok(8)
}

fn valid_text(bytes: &[u8]) -> Result<&str, Fault> {
    let bad = |rule: &str| Fault { sqlstate: sqlstate::CHARACTER_NOT_IN_REPERTOIRE, rule: rule.to_owned() };
    let text = std::str::from_utf8(bytes).map_err(|at| bad(&format!("is not valid UTF-8 at byte {}", at.valid_up_to())))?;
    if bytes.contains(&0) { Err(bad("holds a NUL byte, which text cannot")) } else { Ok(text) }
}

fn add_text(builder: &mut StringBuilder, cell: Cell<'_>) -> Result<usize, Fault> {
    match cell {
        Cell::Text(bytes) => builder.append_value(valid_text(bytes)?),
        Cell::Null => builder.append_null(),
        Cell::Int(_) | Cell::Real(_) | Cell::Blob(_) => return Err(Fault::kind(cell, "a text")),
    }
    Ok(size(cell))
}

/// Columns without a promise: numbers as their digits, so that nothing is lost but the kind.
fn add_any(builder: &mut StringBuilder, cell: Cell<'_>) -> Result<usize, Fault> {
    match cell {
        Cell::Int(number) => builder.append_value(itoa::Buffer::new().format(number)),
        // `{:?}` is the shortest text that reads back as the same number.
        Cell::Real(number) => builder.append_value(format!("{number:?}")),
        Cell::Null | Cell::Text(_) | Cell::Blob(_) => return add_text(builder, cell),
    }
    Ok(16)
}

fn size(cell: Cell<'_>) -> usize {
    match cell {
        Cell::Text(bytes) | Cell::Blob(bytes) => bytes.len() + 4,
        Cell::Null | Cell::Int(_) | Cell::Real(_) => 4,
    }
}

fn add_blob(builder: &mut BinaryBuilder, cell: Cell<'_>) -> Result<usize, Fault> {
    match cell {
        Cell::Blob(bytes) => builder.append_value(bytes),
        Cell::Null => builder.append_null(),
        Cell::Int(_) | Cell::Real(_) | Cell::Text(_) => return Err(Fault::kind(cell, "a blob")),
    }
    Ok(size(cell))
}

/// The moment of a cell in microseconds: `None` inside for NULL.
fn micros(cell: Cell<'_>, of_text: fn(&[u8]) -> Option<i64>, wanted: &str) -> Result<Option<i64>, Fault> {
    let micros = match cell {
        Cell::Null => return Ok(None),
        Cell::Text(text) => of_text(text),
        Cell::Int(seconds) => moment::moment_of_int(seconds),
        Cell::Real(julian) => moment::moment_of_real(julian),
        Cell::Blob(_) => None,
    };
    micros.map(Some).ok_or_else(|| Fault { sqlstate: sqlstate::INVALID_DATETIME_FORMAT, ..Fault::kind(cell, wanted) })
}

fn add_timestamp(builder: &mut TimestampMicrosecondBuilder, cell: Cell<'_>) -> Result<usize, Fault> {
    builder.append_option(micros(cell, moment::timestamp_of_text, "a timestamp without time zone")?);
    Ok(8)
}

fn add_timestamptz(builder: &mut TimestampMicrosecondBuilder, cell: Cell<'_>) -> Result<usize, Fault> {
    builder.append_option(micros(cell, moment::timestamptz_of_text, "a timestamp with time zone")?);
    Ok(8)
}

fn add_date(builder: &mut Date32Builder, cell: Cell<'_>) -> Result<usize, Fault> {
    let days = match cell {
        Cell::Null => {
            builder.append_null();
            return Ok(4);
        }
        Cell::Text(text) => moment::date_of_text(text),
        Cell::Int(seconds) => moment::moment_of_int(seconds).and_then(moment::date_of_micros),
        Cell::Real(julian) => moment::moment_of_real(julian).and_then(moment::date_of_micros),
        Cell::Blob(_) => None,
    };
    let fault = || Fault { sqlstate: sqlstate::INVALID_DATETIME_FORMAT, ..Fault::kind(cell, "a date") };
    builder.append_value(days.ok_or_else(fault)?);
    Ok(4)
}

fn add_time(builder: &mut Time64MicrosecondBuilder, cell: Cell<'_>) -> Result<usize, Fault> {
    let time = match cell {
        Cell::Null => None,
        Cell::Text(text) => Some(moment::time_of_text(text)),
        Cell::Int(_) | Cell::Real(_) | Cell::Blob(_) => Some(None),
    };
    let fault = || Fault { sqlstate: sqlstate::INVALID_DATETIME_FORMAT, ..Fault::kind(cell, "a time") };
    builder.append_option(time.map(|time| time.ok_or_else(fault)).transpose()?);
    Ok(8)
}

fn add_json(builder: &mut StringBuilder, cell: Cell<'_>) -> Result<usize, Fault> {
    if let Cell::Text(bytes) = cell
        && let Err(error) = serde_json::from_slice::<serde::de::IgnoredAny>(bytes)
    {
        let rule = format!("is not valid JSON (line {}, column {})", error.line(), error.column());
        return Err(Fault { sqlstate: sqlstate::INVALID_TEXT_REPRESENTATION, rule });
    }
    add_text(builder, cell)
}

/// UUIDs are 16 bytes, or 36 characters in one case; push-down looks for exactly these forms.
fn add_uuid(builder: &mut StringBuilder, cell: Cell<'_>) -> Result<usize, Fault> {
    let uuid = match cell {
        Cell::Null => {
            builder.append_null();
            return Ok(4);
        }
        Cell::Blob(bytes) => <[u8; 16]>::try_from(bytes).ok(),
        Cell::Text(bytes) => uuid_of_text(bytes),
        Cell::Int(_) | Cell::Real(_) => None,
    };
    let mut text = String::with_capacity(36);
    scalar::write_uuid(&uuid.ok_or_else(|| Fault::kind(cell, "a uuid"))?, &mut text);
    builder.append_value(text);
    Ok(40)
}

fn uuid_of_text(bytes: &[u8]) -> Option<[u8; 16]> {
    let mixed = bytes.iter().any(u8::is_ascii_lowercase) && bytes.iter().any(u8::is_ascii_uppercase);
    std::str::from_utf8(bytes).ok().filter(|_| !mixed).and_then(scalar::parse_uuid)
}
