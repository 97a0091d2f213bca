//! Readers: one per type, chosen once per column, that check each cell and grow an Arrow array. `numeric` is in
//! `decimal.rs`.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryBuilder, BooleanBuilder, Date32Builder, Float64Builder, Int16Builder, Int32Builder, Int64Builder,
    StringBuilder, Time64MicrosecondBuilder, TimestampMicrosecondBuilder,
};
use arrow::datatypes::Field;

use super::super::super::builders::{Refill, TextsBuilder};
use super::super::super::document::scalar;
use super::super::scan::Held;
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
    #[cold]
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

    #[cold]
    pub(super) fn range(wanted: &str) -> Self {
        Self { sqlstate: sqlstate::NUMERIC_VALUE_OUT_OF_RANGE, rule: format!("is out of range for {wanted}") }
    }

    #[cold]
    fn moment(cell: Cell<'_>, wanted: &str) -> Self {
        Self { sqlstate: sqlstate::INVALID_DATETIME_FORMAT, ..Self::kind(cell, wanted) }
    }

    #[cold]
    fn repertoire(rule: String) -> Self {
        Self { sqlstate: sqlstate::CHARACTER_NOT_IN_REPERTOIRE, rule }
    }

    #[cold]
    fn unreadable() -> Self {
        Self { sqlstate: sqlstate::OUT_OF_MEMORY, rule: "could not be read: SQLite is out of memory".to_owned() }
    }
}

/// What appending gives: about how many bytes the cell takes. The fault is boxed so that both fit registers.
pub(super) type Appended = Result<usize, Box<Fault>>;

/// Grows one Arrow array from the cells of one column.
pub trait Read: Send {
    /// Adds a cell and returns about how many bytes it takes.
    ///
    /// # Errors
    /// A cell that the column cannot hold without loss.
    fn append(&mut self, cell: Cell<'_>) -> Result<usize, Box<Fault>>;

    /// Adds a cell from where SQLite holds it. What it is, is looked at inside the reader, where nearly always only one answer
    /// has anything to do.
    ///
    /// # Errors
    /// As [`Read::append`], and when SQLite has no memory to give the cell.
    fn append_held(&mut self, held: Held<'_>) -> Result<usize, Box<Fault>> {
        match held.cell() {
            Some(cell) => self.append(cell),
            None => Err(Fault::unreadable().into()),
        }
    }

    /// The array of the cells so far; the reader is empty then.
    ///
    /// # Errors
    /// A text that is none: bytes are looked at for all cells together.
    fn finish(&mut self) -> Result<ArrayRef, Box<Fault>>;
}

/// What a reader fills.
pub(super) trait Builder: Send {
    /// The array built so far; the builder is empty then.
    fn array(&mut self) -> Result<ArrayRef, Box<Fault>>;
}

impl<B: Refill + Send> Builder for B {
    fn array(&mut self) -> Result<ArrayRef, Box<Fault>> {
        Ok(self.take())
    }
}

/// Texts as Postgres has them: UTF-8 without NUL.
struct Texts(TextsBuilder);

impl Texts {
    fn new() -> Self {
        Self(TextsBuilder::with_capacity(0, 0))
    }
}

impl Builder for Texts {
    fn array(&mut self) -> Result<ArrayRef, Box<Fault>> {
        let bad = |at: usize| Fault::repertoire(format!("is not valid UTF-8 at byte {at}"));
        let array = self.0.take().map_err(|not_utf8| bad(not_utf8.valid_up_to))?;
        if array.value_data().contains(&0) {
            return Err(Fault::repertoire("holds a NUL byte, which text cannot".to_owned()).into());
        }
        Ok(Arc::new(array))
    }
}

/// A reader made of a builder and the function that fills it, which is part of its type so that a cell costs one indirect call
/// and not two.
struct Reader<B, A> {
    builder: B,
    add: A,
}

impl<B, A> Read for Reader<B, A>
where
    B: Builder,
    A: Fn(&mut B, Cell<'_>) -> Appended + Send,
{
    #[inline(always)]
    fn append(&mut self, cell: Cell<'_>) -> Appended {
        (self.add)(&mut self.builder, cell)
    }

    fn finish(&mut self) -> Result<ArrayRef, Box<Fault>> {
        self.builder.array()
    }
}

fn boxed<B, A>(builder: B, add: A) -> Box<dyn Read>
where
    B: Builder + 'static,
    A: Fn(&mut B, Cell<'_>) -> Appended + Send + 'static,
{
    Box::new(Reader { builder, add })
}

/// The reader of a column; `None` when its type has none, which discovery never produces.
pub fn reader(field: &Field) -> Option<Box<dyn Read>> {
    if is_any(field) {
        return Some(boxed(Texts::new(), add_any));
    }
    Some(match (field.pg_type(), field.data_type()) {
        (PgType::BOOL, _) => boxed(BooleanBuilder::new(), add_bool),
        (PgType::INT8, _) => boxed(Int64Builder::new(), add_int),
        (PgType::INT4, _) => boxed(Int32Builder::new(), add_short),
        (PgType::INT2, _) => boxed(Int16Builder::new(), add_small),
        (PgType::FLOAT8, _) => boxed(Float64Builder::new(), add_double),
        (PgType::TEXT, _) => boxed(Texts::new(), add_text),
        (PgType::BYTEA, _) => boxed(BinaryBuilder::new(), add_blob),
        (PgType::DATE, _) => boxed(Date32Builder::new(), add_date),
        (PgType::TIME, _) => boxed(Time64MicrosecondBuilder::new(), add_time),
        (PgType::TIMESTAMP, _) => boxed(TimestampMicrosecondBuilder::new(), add_timestamp),
        (PgType::TIMESTAMPTZ, _) => boxed(TimestampMicrosecondBuilder::new().with_timezone(UTC), add_timestamptz),
        (PgType::JSON, _) => boxed(Texts::new(), add_json),
        (PgType::UUID, _) => boxed(StringBuilder::new(), add_uuid),
        (pg_type @ PgType { oid: 1700, .. }, carrier) => return super::decimal::reader(pg_type, carrier),
        _ => return None,
    })
}

fn add_bool(builder: &mut BooleanBuilder, cell: Cell<'_>) -> Appended {
    match cell {
        Cell::Int(number @ (0 | 1)) => builder.append_value(number == 1),
        Cell::Null => builder.append_null(),
        Cell::Int(_) | Cell::Real(_) | Cell::Text(_) | Cell::Blob(_) => return Err(Fault::kind(cell, "a boolean (0 or 1)").into()),
    }
    Ok(1)
}

fn add_int(builder: &mut Int64Builder, cell: Cell<'_>) -> Appended {
    match cell {
        Cell::Int(number) => builder.append_value(number),
        Cell::Null => builder.append_null(),
        // The cast is exact: the number is whole and below 2^53.
        Cell::Real(number) if number.fract() == 0.0 && number.abs() <= EXACT_DOUBLE as f64 => builder.append_value(number as i64),
        Cell::Real(number) if number.abs() >= EXACT_DOUBLE as f64 => return Err(Fault::range("bigint").into()),
        Cell::Real(_) | Cell::Text(_) | Cell::Blob(_) => return Err(Fault::kind(cell, "a bigint").into()),
    }
    Ok(8)
}

/// No column is declared as this type: it is computed.
fn add_short(builder: &mut Int32Builder, cell: Cell<'_>) -> Appended {
    match cell {
        Cell::Int(number) => builder.append_value(i32::try_from(number).map_err(|_long| Fault::range("integer"))?),
        Cell::Null => builder.append_null(),
        Cell::Real(_) | Cell::Text(_) | Cell::Blob(_) => return Err(Fault::kind(cell, "an integer of 32 bits").into()),
    }
    Ok(4)
}

/// No column is declared as this type either.
fn add_small(builder: &mut Int16Builder, cell: Cell<'_>) -> Appended {
    match cell {
        Cell::Int(number) => builder.append_value(i16::try_from(number).map_err(|_long| Fault::range("smallint"))?),
        Cell::Null => builder.append_null(),
        Cell::Real(_) | Cell::Text(_) | Cell::Blob(_) => return Err(Fault::kind(cell, "an integer of 16 bits").into()),
    }
    Ok(2)
}

/// Doubles hold every whole number up to this size.
pub const EXACT_DOUBLE: i64 = 1 << 53;

fn add_double(builder: &mut Float64Builder, cell: Cell<'_>) -> Appended {
    match cell {
        Cell::Real(number) => builder.append_value(number),
        Cell::Null => builder.append_null(),
        Cell::Int(number) if (-EXACT_DOUBLE..=EXACT_DOUBLE).contains(&number) => builder.append_value(number as f64),
        Cell::Int(_) => return Err(Fault::range("double precision without loss").into()),
        Cell::Text(_) | Cell::Blob(_) => return Err(Fault::kind(cell, "a double precision").into()),
    }
    Ok(8)
}

/// What the bytes hold, [`Texts`] finds out.
fn add_text(builder: &mut Texts, cell: Cell<'_>) -> Appended {
    match cell {
        Cell::Text(bytes) => builder.0.append_value(bytes),
        Cell::Null => builder.0.append_null(),
        Cell::Int(_) | Cell::Real(_) | Cell::Blob(_) => return Err(Fault::kind(cell, "a text").into()),
    }
    Ok(size(cell))
}

/// Columns without a promise: numbers as their digits, so that nothing is lost but the kind.
fn add_any(builder: &mut Texts, cell: Cell<'_>) -> Appended {
    match cell {
        Cell::Int(number) => builder.0.append_value(itoa::Buffer::new().format(number).as_bytes()),
        // `{:?}` is the shortest text that reads back as the same number.
        Cell::Real(number) => builder.0.append_value(format!("{number:?}").as_bytes()),
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

fn add_blob(builder: &mut BinaryBuilder, cell: Cell<'_>) -> Appended {
    match cell {
        Cell::Blob(bytes) => builder.append_value(bytes),
        Cell::Null => builder.append_null(),
        Cell::Int(_) | Cell::Real(_) | Cell::Text(_) => return Err(Fault::kind(cell, "a blob").into()),
    }
    Ok(size(cell))
}

/// The moment of a cell in microseconds: `None` inside for NULL.
#[inline(always)]
fn micros(cell: Cell<'_>, of_text: impl Fn(&[u8]) -> Option<i64>, wanted: &str) -> Result<Option<i64>, Box<Fault>> {
    let micros = match cell {
        Cell::Null => return Ok(None),
        Cell::Text(text) => of_text(text),
        Cell::Int(seconds) => moment::moment_of_int(seconds),
        Cell::Real(julian) => moment::moment_of_real(julian),
        Cell::Blob(_) => None,
    };
    match micros {
        Some(micros) => Ok(Some(micros)),
        None => Err(Fault::moment(cell, wanted).into()),
    }
}

fn add_timestamp(builder: &mut TimestampMicrosecondBuilder, cell: Cell<'_>) -> Appended {
    builder.append_option(micros(cell, moment::timestamp_of_text, "a timestamp without time zone")?);
    Ok(8)
}

fn add_timestamptz(builder: &mut TimestampMicrosecondBuilder, cell: Cell<'_>) -> Appended {
    builder.append_option(micros(cell, moment::timestamptz_of_text, "a timestamp with time zone")?);
    Ok(8)
}

fn add_date(builder: &mut Date32Builder, cell: Cell<'_>) -> Appended {
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
    builder.append_value(days.ok_or_else(|| Fault::moment(cell, "a date"))?);
    Ok(4)
}

fn add_time(builder: &mut Time64MicrosecondBuilder, cell: Cell<'_>) -> Appended {
    let time = match cell {
        Cell::Null => None,
        Cell::Text(text) => Some(moment::time_of_text(text)),
        Cell::Int(_) | Cell::Real(_) | Cell::Blob(_) => Some(None),
    };
    builder.append_option(time.map(|time| time.ok_or_else(|| Fault::moment(cell, "a time"))).transpose()?);
    Ok(8)
}

fn add_json(builder: &mut Texts, cell: Cell<'_>) -> Appended {
    if let Cell::Text(bytes) = cell
        && let Err(error) = serde_json::from_slice::<serde::de::IgnoredAny>(bytes)
    {
        let rule = format!("is not valid JSON (line {}, column {})", error.line(), error.column());
        return Err(Fault { sqlstate: sqlstate::INVALID_TEXT_REPRESENTATION, rule }.into());
    }
    add_text(builder, cell)
}

/// UUIDs are 16 bytes, or 36 characters in one case; push-down looks for exactly these forms.
fn add_uuid(builder: &mut StringBuilder, cell: Cell<'_>) -> Appended {
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
