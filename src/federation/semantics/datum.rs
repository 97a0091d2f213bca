//! One value at a time: reading a row of a column as the type a function declares, and writing results.
//!
//! Reading also performs the implicit widening casts (integer to numeric or float, date to timestamp), so a plan needs no
//! cast node for them.

use std::borrow::Cow;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryBuilder, BooleanBuilder, Date32Builder, Decimal128Builder, Decimal256Builder, Float32Builder,
    Float64Builder, Int16Builder, Int32Builder, Int64Builder, IntervalMonthDayNanoBuilder, ListBuilder, StringBuilder,
    Time64MicrosecondBuilder, TimestampMicrosecondBuilder, new_null_array,
};
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Decimal256Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type,
    IntervalMonthDayNano, IntervalMonthDayNanoType, IntervalUnit, Time64MicrosecondType, TimeUnit, TimestampMicrosecondType,
    UInt8Type, UInt16Type, UInt32Type, UInt64Type, i256,
};
use bigdecimal::num_bigint::{BigInt, Sign};
use datafusion::error::{DataFusionError, Result};
use datafusion::scalar::ScalarValue;

use crate::error::{Diagnosis, sqlstate};
use crate::pgtype::{DATE_INFINITY, DATE_NEGATIVE_INFINITY, PgType, TIMESTAMP_INFINITY, TIMESTAMP_NEGATIVE_INFINITY, UTC};

use super::numeric::Numeric;
use super::typed::Typed;

/// Microseconds of a day.
pub(super) const DAY_US: i64 = 86_400_000_000;

/// A value on its way through a row kernel.
#[derive(Debug, Clone)]
pub(super) enum Datum<'a> {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Numeric(Numeric),
    Text(Cow<'a, str>),
    Bytes(Cow<'a, [u8]>),
    /// Days since 1970-01-01.
    Date(i32),
    /// Microseconds since midnight.
    Time(i64),
    /// Microseconds since 1970-01-01, of either timestamp type.
    Timestamp(i64),
    Interval(IntervalMonthDayNano),
    /// A list as its element array.
    List(ArrayRef),
    /// A list of texts on its way out.
    Texts(Vec<Option<String>>),
}

impl<'a> Datum<'a> {
    pub(super) fn is_null(&self) -> bool {
        matches!(self, Datum::Null)
    }

    /// The same value with texts and bytes of its own.
    pub(super) fn into_owned(self) -> Datum<'static> {
        match self {
            Datum::Text(text) => Datum::Text(Cow::Owned(text.into_owned())),
            Datum::Bytes(bytes) => Datum::Bytes(Cow::Owned(bytes.into_owned())),
            Datum::Bool(value) => Datum::Bool(value),
            Datum::Int(value) => Datum::Int(value),
            Datum::Float(value) => Datum::Float(value),
            Datum::Numeric(value) => Datum::Numeric(value),
            Datum::Date(value) => Datum::Date(value),
            Datum::Time(value) => Datum::Time(value),
            Datum::Timestamp(value) => Datum::Timestamp(value),
            Datum::Interval(value) => Datum::Interval(value),
            Datum::List(items) => Datum::List(items),
            Datum::Texts(texts) => Datum::Texts(texts),
            Datum::Null => Datum::Null,
        }
    }

    pub(super) fn text(value: impl Into<String>) -> Datum<'static> {
        Datum::Text(Cow::Owned(value.into()))
    }

    /// The text of a text argument; empty for anything else, which resolution excludes.
    pub(super) fn as_text(&self) -> &str {
        match self {
            Datum::Text(text) => text,
            _ => "",
        }
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        match self {
            Datum::Bytes(bytes) => bytes,
            Datum::Text(text) => text.as_bytes(),
            _ => &[],
        }
    }

    pub(super) fn as_int(&self) -> i64 {
        match self {
            Datum::Int(value) => *value,
            Datum::Date(value) => i64::from(*value),
            Datum::Time(value) | Datum::Timestamp(value) => *value,
            _ => 0,
        }
    }

    pub(super) fn as_float(&self) -> f64 {
        match self {
            Datum::Float(value) => *value,
            Datum::Int(value) => *value as f64,
            Datum::Numeric(value) => value.to_float(),
            _ => 0.0,
        }
    }

    pub(super) fn as_numeric(&self) -> Numeric {
        match self {
            Datum::Numeric(value) => value.clone(),
            other => Numeric::from_parts(other.as_int(), 0),
        }
    }

    pub(super) fn as_interval(&self) -> IntervalMonthDayNano {
        match self {
            Datum::Interval(value) => *value,
            Datum::Time(value) => IntervalMonthDayNano::new(0, 0, value.saturating_mul(1000)),
            _ => IntervalMonthDayNano::new(0, 0, 0),
        }
    }

    pub(super) fn as_list(&self) -> Option<&ArrayRef> {
        match self {
            Datum::List(items) => Some(items),
            _ => None,
        }
    }
}

/// A column read row by row as a declared type.
pub(super) struct Column<'a> {
    array: &'a ArrayRef,
    wanted: PgType,
}

impl<'a> Column<'a> {
    /// Wraps an array. Without a declared type values come as their carrier says.
    pub(super) fn new(array: &'a ArrayRef, declared: Option<&Typed>) -> Result<Self> {
        let wanted = declared.map_or_else(|| PgType::from_arrow(array.data_type()), |typed| typed.pg_type);
        Ok(Self { array, wanted })
    }

    /// The value of a row.
    pub(super) fn get(&self, row: usize) -> Datum<'a> {
        if self.array.is_null(row) {
            return Datum::Null;
        }
        let raw = raw(self.array, row);
        match (self.wanted.oid, raw) {
            (1700, Datum::Int(value)) => Datum::Numeric(Numeric::from_parts(value, 0)),
            (1700, Datum::Text(text)) => Datum::Numeric(Numeric::from_canonical(&text).unwrap_or(Numeric::NotANumber)),
            (700 | 701, Datum::Int(value)) => Datum::Float(value as f64),
            (700 | 701, Datum::Numeric(value)) => Datum::Float(value.to_float()),
            (700 | 701, Datum::Text(text)) => {
                Datum::Float(Numeric::from_canonical(&text).unwrap_or(Numeric::NotANumber).to_float())
            }
            (1114 | 1184, Datum::Date(days)) => Datum::Timestamp(date_to_timestamp(days)),
            (1186, Datum::Time(value)) => Datum::Interval(IntervalMonthDayNano::new(0, 0, value.saturating_mul(1000))),
            (_, value) => value,
        }
    }
}

/// Midnight of a date; infinities stay infinite, dates beyond the range saturate to them.
pub(super) fn date_to_timestamp(days: i32) -> i64 {
    match days {
        DATE_INFINITY => TIMESTAMP_INFINITY,
        DATE_NEGATIVE_INFINITY => TIMESTAMP_NEGATIVE_INFINITY,
        days => i64::from(days).saturating_mul(DAY_US),
    }
}

fn raw(array: &ArrayRef, row: usize) -> Datum<'_> {
    match array.data_type() {
        // A column of untyped NULLs has no bits that say so.
        DataType::Null => Datum::Null,
        DataType::Boolean => Datum::Bool(array.as_boolean().value(row)),
        DataType::Int8 => Datum::Int(i64::from(array.as_primitive::<Int8Type>().value(row))),
        DataType::Int16 => Datum::Int(i64::from(array.as_primitive::<Int16Type>().value(row))),
        DataType::Int32 => Datum::Int(i64::from(array.as_primitive::<Int32Type>().value(row))),
        DataType::Int64 => Datum::Int(array.as_primitive::<Int64Type>().value(row)),
        DataType::UInt8 => Datum::Int(i64::from(array.as_primitive::<UInt8Type>().value(row))),
        DataType::UInt16 => Datum::Int(i64::from(array.as_primitive::<UInt16Type>().value(row))),
        DataType::UInt32 => Datum::Int(i64::from(array.as_primitive::<UInt32Type>().value(row))),
        DataType::UInt64 => Datum::Numeric(Numeric::from_parts(array.as_primitive::<UInt64Type>().value(row), 0)),
        DataType::Float32 => Datum::Float(f64::from(array.as_primitive::<Float32Type>().value(row))),
        DataType::Float64 => Datum::Float(array.as_primitive::<Float64Type>().value(row)),
        DataType::Decimal128(_, scale) => {
            Datum::Numeric(Numeric::from_parts(array.as_primitive::<Decimal128Type>().value(row), i64::from(*scale)))
        }
        DataType::Decimal256(_, scale) => {
            let bytes = array.as_primitive::<Decimal256Type>().value(row).to_le_bytes();
            Datum::Numeric(Numeric::from_parts(BigInt::from_signed_bytes_le(&bytes), i64::from(*scale)))
        }
        DataType::Utf8 => Datum::Text(Cow::Borrowed(array.as_string::<i32>().value(row))),
        DataType::LargeUtf8 => Datum::Text(Cow::Borrowed(array.as_string::<i64>().value(row))),
        DataType::Utf8View => Datum::Text(Cow::Borrowed(array.as_string_view().value(row))),
        DataType::Binary => Datum::Bytes(Cow::Borrowed(array.as_binary::<i32>().value(row))),
        DataType::LargeBinary => Datum::Bytes(Cow::Borrowed(array.as_binary::<i64>().value(row))),
        DataType::BinaryView => Datum::Bytes(Cow::Borrowed(array.as_binary_view().value(row))),
        DataType::Date32 => Datum::Date(array.as_primitive::<Date32Type>().value(row)),
        DataType::Time64(TimeUnit::Microsecond) => Datum::Time(array.as_primitive::<Time64MicrosecondType>().value(row)),
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            Datum::Timestamp(array.as_primitive::<TimestampMicrosecondType>().value(row))
        }
        DataType::Interval(IntervalUnit::MonthDayNano) => {
            Datum::Interval(array.as_primitive::<IntervalMonthDayNanoType>().value(row))
        }
        DataType::List(_) => Datum::List(array.as_list::<i32>().value(row)),
        DataType::LargeList(_) => Datum::List(array.as_list::<i64>().value(row)),
        _ => unusual(array, row),
    }
}

/// Carriers the engine makes on the way (other time units, dictionaries) are cast to the usual one.
fn unusual(array: &ArrayRef, row: usize) -> Datum<'static> {
    let target = PgType::from_arrow(array.data_type()).carrier();
    if target == *array.data_type() {
        return Datum::Null;
    }
    let Ok(cast) = arrow::compute::cast(&array.slice(row, 1), &target) else { return Datum::Null };
    // The NULL of a dictionary's value shows only here.
    if cast.is_null(0) {
        return Datum::Null;
    }
    raw(&cast, 0).into_owned()
}

/// Collects results in a carrier.
pub(super) enum Writer {
    Bool(BooleanBuilder),
    Int16(Int16Builder),
    Int32(Int32Builder),
    Int64(Int64Builder),
    Float32(Float32Builder),
    Float64(Float64Builder),
    Decimal(Decimal128Builder, i64),
    WideDecimal(Decimal256Builder, i64),
    Text(StringBuilder),
    Bytes(BinaryBuilder),
    Date(Date32Builder),
    Time(Time64MicrosecondBuilder),
    Timestamp(TimestampMicrosecondBuilder),
    Interval(IntervalMonthDayNanoBuilder),
    Texts(ListBuilder<StringBuilder>),
    Lists(DataType, Vec<Option<ArrayRef>>),
    Nulls(usize),
}

impl Writer {
    /// A writer for `rows` values of the carrier.
    pub(super) fn new(carrier: &DataType, rows: usize) -> Result<Self> {
        Ok(match carrier {
            DataType::Boolean => Self::Bool(BooleanBuilder::with_capacity(rows)),
            DataType::Int16 => Self::Int16(Int16Builder::with_capacity(rows)),
            DataType::Int32 => Self::Int32(Int32Builder::with_capacity(rows)),
            DataType::Int64 => Self::Int64(Int64Builder::with_capacity(rows)),
            DataType::Float32 => Self::Float32(Float32Builder::with_capacity(rows)),
            DataType::Float64 => Self::Float64(Float64Builder::with_capacity(rows)),
            DataType::Decimal128(precision, scale) => {
                let builder = Decimal128Builder::with_capacity(rows).with_precision_and_scale(*precision, *scale)?;
                Self::Decimal(builder, i64::from(*scale))
            }
            DataType::Decimal256(precision, scale) => {
                let builder = Decimal256Builder::with_capacity(rows).with_precision_and_scale(*precision, *scale)?;
                Self::WideDecimal(builder, i64::from(*scale))
            }
            DataType::Utf8 => Self::Text(StringBuilder::with_capacity(rows, rows * 8)),
            DataType::Binary => Self::Bytes(BinaryBuilder::with_capacity(rows, rows * 8)),
            DataType::Date32 => Self::Date(Date32Builder::with_capacity(rows)),
            DataType::Time64(TimeUnit::Microsecond) => Self::Time(Time64MicrosecondBuilder::with_capacity(rows)),
            DataType::Timestamp(TimeUnit::Microsecond, None) => Self::Timestamp(TimestampMicrosecondBuilder::with_capacity(rows)),
            DataType::Timestamp(TimeUnit::Microsecond, Some(_)) => {
                Self::Timestamp(TimestampMicrosecondBuilder::with_capacity(rows).with_timezone(UTC))
            }
            DataType::Interval(IntervalUnit::MonthDayNano) => Self::Interval(IntervalMonthDayNanoBuilder::with_capacity(rows)),
            DataType::List(item) if *item.data_type() == DataType::Utf8 => {
                Self::Texts(ListBuilder::new(StringBuilder::new()).with_field(Arc::clone(item)))
            }
            DataType::List(_) => Self::Lists(carrier.clone(), Vec::with_capacity(rows)),
            DataType::Null => Self::Nulls(0),
            other => return Err(DataFusionError::NotImplemented(format!("results of type {other}"))),
        })
    }

    /// Adds a value.
    ///
    /// # Errors
    /// 22003 for integers beyond the carrier; an internal error for a value of another type.
    pub(super) fn push(&mut self, value: Datum<'_>) -> Result<()> {
        match (self, value) {
            (Self::Bool(builder), Datum::Bool(value)) => builder.append_value(value),
            (Self::Int16(builder), Datum::Int(value)) => {
                builder.append_value(i16::try_from(value).map_err(|_cause| out_of_range(PgType::INT2))?);
            }
            (Self::Int32(builder), Datum::Int(value)) => {
                builder.append_value(i32::try_from(value).map_err(|_cause| out_of_range(PgType::INT4))?);
            }
            (Self::Int64(builder), Datum::Int(value)) => builder.append_value(value),
            (Self::Float32(builder), Datum::Float(value)) => builder.append_value(value as f32),
            (Self::Float64(builder), Datum::Float(value)) => builder.append_value(value),
            (Self::Decimal(builder, scale), Datum::Numeric(value)) => {
                builder.append_value(value.to_unscaled(*scale).ok_or_else(super::numeric::overflow)?);
            }
            (Self::WideDecimal(builder, scale), Datum::Numeric(value)) => {
                let unscaled = value.to_wide_unscaled(*scale).as_ref().and_then(wide);
                builder.append_value(unscaled.ok_or_else(super::numeric::overflow)?);
            }
            (Self::Text(builder), Datum::Text(value)) => builder.append_value(value),
            (Self::Text(builder), Datum::Numeric(value)) => builder.append_value(value.to_canonical()),
            (Self::Bytes(builder), Datum::Bytes(value)) => builder.append_value(value),
            (Self::Date(builder), Datum::Date(value)) => builder.append_value(value),
            (Self::Time(builder), Datum::Time(value)) => builder.append_value(value),
            (Self::Timestamp(builder), Datum::Timestamp(value)) => builder.append_value(value),
            (Self::Interval(builder), Datum::Interval(value)) => builder.append_value(value),
            (Self::Texts(builder), Datum::Texts(values)) => {
                for value in values {
                    builder.values().append_option(value);
                }
                builder.append(true);
            }
            (Self::Texts(builder), Datum::List(items)) => {
                for item in items.as_string::<i32>() {
                    builder.values().append_option(item);
                }
                builder.append(true);
            }
            (Self::Lists(_, lists), Datum::List(items)) => lists.push(Some(items)),
            (writer, Datum::Null) => writer.push_null(),
            (_, value) => {
                return Err(DataFusionError::Internal(format!("a function returned {value:?}, another type than declared")));
            }
        }
        Ok(())
    }

    fn push_null(&mut self) {
        match self {
            Self::Bool(builder) => builder.append_null(),
            Self::Int16(builder) => builder.append_null(),
            Self::Int32(builder) => builder.append_null(),
            Self::Int64(builder) => builder.append_null(),
            Self::Float32(builder) => builder.append_null(),
            Self::Float64(builder) => builder.append_null(),
            Self::Decimal(builder, _) => builder.append_null(),
            Self::WideDecimal(builder, _) => builder.append_null(),
            Self::Text(builder) => builder.append_null(),
            Self::Bytes(builder) => builder.append_null(),
            Self::Date(builder) => builder.append_null(),
            Self::Time(builder) => builder.append_null(),
            Self::Timestamp(builder) => builder.append_null(),
            Self::Interval(builder) => builder.append_null(),
            Self::Texts(builder) => builder.append(false),
            Self::Lists(_, lists) => lists.push(None),
            Self::Nulls(count) => *count += 1,
        }
    }

    /// The collected column.
    pub(super) fn finish(self) -> Result<ArrayRef> {
        Ok(match self {
            Self::Bool(mut builder) => Arc::new(builder.finish()),
            Self::Int16(mut builder) => Arc::new(builder.finish()),
            Self::Int32(mut builder) => Arc::new(builder.finish()),
            Self::Int64(mut builder) => Arc::new(builder.finish()),
            Self::Float32(mut builder) => Arc::new(builder.finish()),
            Self::Float64(mut builder) => Arc::new(builder.finish()),
            Self::Decimal(mut builder, _) => Arc::new(builder.finish()),
            Self::WideDecimal(mut builder, _) => Arc::new(builder.finish()),
            Self::Text(mut builder) => Arc::new(builder.finish()),
            Self::Bytes(mut builder) => Arc::new(builder.finish()),
            Self::Date(mut builder) => Arc::new(builder.finish()),
            Self::Time(mut builder) => Arc::new(builder.finish()),
            Self::Timestamp(mut builder) => Arc::new(builder.finish()),
            Self::Interval(mut builder) => Arc::new(builder.finish()),
            Self::Texts(mut builder) => Arc::new(builder.finish()),
            Self::Lists(carrier, lists) => collect_lists(&carrier, lists)?,
            Self::Nulls(count) => new_null_array(&DataType::Null, count),
        })
    }
}

/// A number of 256 bits, where it is no larger.
fn wide(number: &BigInt) -> Option<i256> {
    let bytes = number.to_signed_bytes_le();
    let mut filled = [if number.sign() == Sign::Minus { 0xff } else { 0 }; 32];
    filled.get_mut(..bytes.len())?.copy_from_slice(&bytes);
    Some(i256::from_le_bytes(filled))
}

fn collect_lists(carrier: &DataType, lists: Vec<Option<ArrayRef>>) -> Result<ArrayRef> {
    let DataType::List(item) = carrier else { return Ok(new_null_array(carrier, lists.len())) };
    let lengths = lists.iter().map(|list| list.as_ref().map_or(0, |items| items.len()));
    let offsets = arrow::buffer::OffsetBuffer::from_lengths(lengths);
    let nulls = arrow::buffer::NullBuffer::from_iter(lists.iter().map(Option::is_some));
    let parts = lists.iter().flatten().map(|items| arrow::compute::cast(items, item.data_type())).collect::<Result<Vec<_>, _>>()?;
    let parts: Vec<&dyn Array> = parts.iter().map(AsRef::as_ref).collect();
    let values = if parts.is_empty() { new_null_array(item.data_type(), 0) } else { arrow::compute::concat(&parts)? };
    Ok(Arc::new(arrow::array::ListArray::try_new(Arc::clone(item), offsets, values, Some(nulls))?))
}

/// The first value of an array as a scalar. `ScalarValue::try_from_array` forgets the metadata of list items, which is part
/// of the type.
pub(super) fn first_scalar(array: &ArrayRef) -> Result<ScalarValue> {
    match array.as_list_opt::<i32>() {
        Some(list) => Ok(ScalarValue::List(Arc::new(list.slice(0, 1)))),
        None => ScalarValue::try_from_array(array, 0),
    }
}

/// 22003 as PostgreSQL words it for a type.
pub(super) fn out_of_range(pg_type: PgType) -> Diagnosis {
    Diagnosis::new(sqlstate::NUMERIC_VALUE_OUT_OF_RANGE, format!("{pg_type} out of range"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wide_numbers_keep_their_digits_and_sign() {
        let carrier = DataType::Decimal256(40, 10);
        for text in [
            "123456789012345678901234567890.1234567890",
            "-0.0000000001",
            "0.0000000000",
            "-999999999999999999999999999999.9999999999",
        ] {
            let mut writer = Writer::new(&carrier, 1).unwrap();
            writer.push(Datum::Numeric(Numeric::from_canonical(text).unwrap())).unwrap();
            writer.push(Datum::Null).unwrap();
            let array = writer.finish().unwrap();
            let Datum::Numeric(found) = raw(&array, 0) else { panic!("{text}") };
            assert_eq!((found.to_canonical(), array.is_null(1)), (text.to_owned(), true));
        }
        let mut writer = Writer::new(&carrier, 1).unwrap();
        assert!(writer.push(Datum::Numeric(Numeric::NotANumber)).is_err());
        let edge: BigInt = BigInt::from(1) << 255;
        assert_eq!(wide(&edge), None);
        assert_eq!(wide(&-edge), Some(i256::MIN));
    }
}
