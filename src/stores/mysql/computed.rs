//! Readers of computed columns, chosen by the form that the server sends and the type that is wanted.
//!
//! The server has result types of its own: a sum of integers is a `decimal`, a truth value an `int`, a product of decimals has
//! the digits of both. A pair that is not listed here is not read at all; a value that the wanted type cannot hold is 22003.

use arrow::array::{ArrayRef, ArrowPrimitiveType, PrimitiveBuilder, new_null_array};
use arrow::datatypes::{
    DataType, Date32Type, Field, Float32Type, Float64Type, Int16Type, Int32Type, Int64Type, IntervalMonthDayNanoType, IntervalUnit,
    TimeUnit, TimestampMicrosecondType, i256,
};

use super::decode::{self, Fault};
use super::reader::{
    self, Reader, bits, bytes_reader, converted_text, decimal_reader, primitive, temporal, text_reader, wide_decimal_reader_by,
};
use super::types::{Policy, Wire};
use crate::error::sqlstate;
use crate::pgtype::{PgField, PgType};

/// A whole number as it is sent.
type Whole = fn(&[u8]) -> Result<i128, Fault>;

/// The reader of a column that is sent as `wire_name` and wanted as `field`; `None` for a pair that is not known.
pub(super) fn reader(wire_name: &str, field: &Field, policy: Policy) -> Option<Box<dyn Reader>> {
    if wire_name == "NULL" {
        return Some(Box::new(Nothing { data_type: field.data_type().clone(), rows: 0 }));
    }
    let (wire, unsigned) = Wire::of(wire_name)?;
    match (wire, field.data_type()) {
        (Wire::Integer(_) | Wire::Decimal, wanted) => number(whole_of(wire, unsigned)?, wire, wanted, field.pg_type()),
        (Wire::Float, DataType::Float32) => Some(primitive::<Float32Type>(decode::float)),
        (Wire::Double, DataType::Float32) => Some(primitive::<Float32Type>(narrow)),
        (Wire::Double, DataType::Float64) => Some(primitive::<Float64Type>(decode::double)),
        (Wire::Moment, DataType::Date32) if wire_name == "DATE" => {
            Some(temporal::<Date32Type>(PrimitiveBuilder::new(), decode::date, policy.zero_date))
        }
        (Wire::Moment, DataType::Timestamp(TimeUnit::Microsecond, zone)) if wire_name != "DATE" => {
            let builder = PrimitiveBuilder::new().with_timezone_opt(zone.clone());
            Some(temporal::<TimestampMicrosecondType>(builder, decode::moment, policy.zero_date))
        }
        (Wire::Span, DataType::Interval(IntervalUnit::MonthDayNano)) => Some(primitive::<IntervalMonthDayNanoType>(decode::span)),
        (Wire::Bits, DataType::Utf8) if field.pg_type().oid == PgType::BIT.oid => {
            Some(bits(usize::try_from(field.pg_type().typmod).ok()?))
        }
        (Wire::Bytes, DataType::Binary) => Some(bytes_reader()),
        (Wire::Bytes, DataType::Utf8) => text(field.pg_type()),
        _ => None,
    }
}

fn text(pg_type: PgType) -> Option<Box<dyn Reader>> {
    match pg_type {
        PgType { oid: 25 | 1043 | 114, .. } => Some(text_reader()),
        PgType::UUID => Some(converted_text(decode::uuid)),
        PgType::INET => Some(converted_text(decode::inet)),
        _ => None,
    }
}

/// How whole numbers of this form are read.
fn whole_of(wire: Wire, unsigned: Option<bool>) -> Option<Whole> {
    Some(match (wire, unsigned) {
        (Wire::Integer(1), Some(false)) => |raw| decode::tiny(raw).map(i128::from),
        (Wire::Integer(1), Some(true)) => |raw| decode::tiny_unsigned(raw).map(i128::from),
        (Wire::Integer(1), None) => of_either_sign,
        (Wire::Integer(2), Some(false)) => |raw| decode::small(raw).map(i128::from),
        // Without a sign only `year`, which has none.
        (Wire::Integer(2), _) => |raw| decode::small_unsigned(raw).map(i128::from),
        (Wire::Integer(4), Some(false)) => |raw| decode::int(raw).map(i128::from),
        (Wire::Integer(4), Some(true)) => |raw| decode::int_unsigned(raw).map(i128::from),
        (Wire::Integer(8), Some(false)) => |raw| decode::big(raw).map(i128::from),
        (Wire::Integer(8), Some(true)) => decode::big_unsigned,
        (Wire::Decimal, _) => |raw| decode::decimal(raw, 0),
        _ => return None,
    })
}

/// A byte of which the driver does not tell whether it has a sign.
fn of_either_sign(raw: &[u8]) -> Result<i128, Fault> {
    match decode::tiny(raw)? {
        number if number >= 0 => Ok(number.into()),
        _ => Err(Fault { sqlstate: sqlstate::FDW_ERROR, rule: "may or may not have a sign".to_owned() }),
    }
}

fn number(whole: Whole, wire: Wire, wanted: &DataType, pg_type: PgType) -> Option<Box<dyn Reader>> {
    match wanted {
        DataType::Boolean => Some(reader::truths_by(move |raw| Ok(whole(raw)? != 0))),
        DataType::Int16 => Some(integers::<Int16Type>(whole)),
        DataType::Int32 => Some(integers::<Int32Type>(whole)),
        DataType::Int64 => Some(integers::<Int64Type>(whole)),
        DataType::Decimal128(precision, scale) if *scale >= 0 => {
            let limit = 10_i128.checked_pow(u32::from(*precision))?;
            let fits = move |number: i128| if number.abs() < limit { Ok(number) } else { Err(out_of_range()) };
            Some(match wire {
                Wire::Decimal => decimal_reader(*precision, *scale, move |raw, scale| {
                    decode::scaled_decimal(raw, scale)?.to_i128().ok_or_else(out_of_range).and_then(fits)
                }),
                _ => decimal_reader(*precision, *scale, move |raw, scale| {
                    let power = u32::try_from(scale).ok().and_then(|scale| 10_i128.checked_pow(scale));
                    power.and_then(|power| whole(raw).ok()?.checked_mul(power)).ok_or_else(out_of_range).and_then(fits)
                }),
            })
        }
        DataType::Decimal256(precision, scale) if *scale >= 0 && wire == Wire::Decimal => {
            let limit = i256::from_i128(10).checked_pow(u32::from(*precision))?;
            Some(wide_decimal_reader_by(*precision, *scale, move |raw, scale| {
                let number = decode::scaled_decimal(raw, scale)?;
                if number.wrapping_abs() < limit { Ok(number) } else { Err(out_of_range()) }
            }))
        }
        DataType::Utf8 if pg_type.oid == PgType::NUMERIC.oid => Some(match wire {
            Wire::Decimal => converted_text(decode::plain_decimal),
            _ => reader::converted_text_by(move |raw| Ok(whole(raw)?.to_string())),
        }),
        _ => None,
    }
}

fn integers<T: ArrowPrimitiveType>(whole: Whole) -> Box<dyn Reader>
where
    T::Native: TryFrom<i128>,
{
    primitive::<T>(move |raw| T::Native::try_from(whole(raw)?).map_err(|_too_large| out_of_range()))
}

fn out_of_range() -> Fault {
    Fault { sqlstate: sqlstate::NUMERIC_VALUE_OUT_OF_RANGE, rule: "is out of range for its type".to_owned() }
}

/// A `float` that the server computed with as a `double`.
fn narrow(raw: &[u8]) -> Result<f32, Fault> {
    let wide = decode::double(raw)?;
    #[expect(clippy::cast_possible_truncation, reason = "a number that does not survive it is refused below")]
    let number = wide as f32;
    if f64::from(number).to_bits() == wide.to_bits() { Ok(number) } else { Err(out_of_range()) }
}

/// A column that holds nothing but NULL.
struct Nothing {
    data_type: DataType,
    rows: usize,
}

impl Reader for Nothing {
    fn push(&mut self, raw: Option<&[u8]>) -> Result<(), Fault> {
        self.rows += 1;
        match raw {
            None => Ok(()),
            Some(_) => Err(Fault { sqlstate: sqlstate::FDW_ERROR, rule: "was announced as NULL and has a value".to_owned() }),
        }
    }

    fn finish(&mut self) -> ArrayRef {
        new_null_array(&self.data_type, std::mem::take(&mut self.rows))
    }
}

#[cfg(test)]
mod tests {
    use arrow::util::display::array_value_to_string;

    use super::super::options::ZeroDate;
    use super::*;

    const POLICY: Policy = Policy { zero_date: ZeroDate::Error, tinyint1_is_bool: true };

    /// The value as it is shown, the SQLSTATE of the fault, or `unread` for a pair that has no reader.
    fn shown(wire_name: &str, pg_type: PgType, raw: &[u8]) -> String {
        let field = Field::new("c", pg_type.carrier(), true).with_pg_type(pg_type);
        let Some(mut reader) = reader(wire_name, &field, POLICY) else { return "unread".to_owned() };
        if let Err(fault) = reader.push(Some(raw)) {
            return fault.sqlstate.to_owned();
        }
        reader.push(None).unwrap();
        let array = reader.finish();
        assert_eq!((array.len(), array.data_type(), array.is_null(1)), (2, field.data_type(), true));
        array_value_to_string(&array, 0).unwrap()
    }

    #[test]
    fn numbers_are_read_in_the_form_in_which_they_were_computed() {
        let five = 5_i64.to_le_bytes();
        let rows: [(&str, PgType, &[u8], &str); 24] = [
            ("DECIMAL", PgType::INT8, b"12", "12"),
            ("DECIMAL", PgType::INT8, b"-9223372036854775808", "-9223372036854775808"),
            ("DECIMAL", PgType::INT8, b"9223372036854775808", "22003"),
            ("DECIMAL", PgType::INT8, b"12.0", "HV000"),
            ("BIGINT", PgType::INT4, &five, "5"),
            ("BIGINT", PgType::INT4, &i64::MAX.to_le_bytes(), "22003"),
            ("BIGINT UNSIGNED", PgType::INT8, &[0xff; 8], "22003"),
            ("BIGINT UNSIGNED", PgType::numeric(20, 0), &[0xff; 8], "18446744073709551615"),
            ("BIGINT", PgType::NUMERIC, &five, "5"),
            ("BIGINT", PgType::numeric(5, 2), &five, "5.00"),
            ("BIGINT", PgType::numeric(5, 2), &1000_i64.to_le_bytes(), "22003"),
            ("DECIMAL", PgType::numeric(5, 2), b"1.5", "1.50"),
            ("DECIMAL", PgType::numeric(5, 2), b"1.500", "1.50"),
            ("DECIMAL", PgType::numeric(5, 2), b"1.505", "22003"),
            ("DECIMAL", PgType::numeric(5, 2), b"1000.00", "22003"),
            ("DECIMAL", PgType::numeric(40, 2), b"-1.5", "-1.50"),
            ("DECIMAL", PgType::NUMERIC, b"-001.50", "-1.50"),
            ("DECIMAL", PgType::NUMERIC, b"0.00", "0.00"),
            ("INT", PgType::BOOL, &[1, 0, 0, 0], "true"),
            ("BOOLEAN", PgType::INT4, &[0x7f], "127"),
            ("BOOLEAN", PgType::INT4, &[0xff], "HV000"),
            ("DOUBLE", PgType::FLOAT4, &0.5_f64.to_le_bytes(), "0.5"),
            ("DOUBLE", PgType::FLOAT4, &0.1_f64.to_le_bytes(), "22003"),
            ("DOUBLE", PgType::FLOAT8, &0.1_f64.to_le_bytes(), "0.1"),
        ];
        for (wire_name, pg_type, raw, expected) in rows {
            assert_eq!(shown(wire_name, pg_type, raw), expected, "{wire_name} {pg_type} {raw:?}");
        }
    }

    #[test]
    fn other_values_are_read_only_as_what_they_are() {
        let day: &[u8] = &[4, 0xe8, 0x07, 1, 2];
        let rows: [(&str, PgType, &[u8], &str); 15] = [
            ("VARCHAR", PgType::TEXT, b"a ", "a "),
            ("LONGBLOB", PgType::TEXT, b"a", "a"),
            ("VARCHAR", PgType::BYTEA, b"a", "61"),
            ("VARCHAR", PgType::INT4, b"1", "unread"),
            ("VARCHAR", PgType::NUMERIC, b"1", "unread"),
            ("BIGINT", PgType::TEXT, &[0; 8], "unread"),
            ("DECIMAL", PgType::FLOAT8, b"1.5", "unread"),
            ("DOUBLE", PgType::NUMERIC, &[0; 8], "unread"),
            ("FLOAT", PgType::FLOAT8, &[0; 4], "unread"),
            ("DATE", PgType::DATE, day, "2024-01-02"),
            ("DATETIME", PgType::DATE, day, "unread"),
            ("DATE", PgType::TIMESTAMP, day, "unread"),
            ("DATETIME", PgType::TIMESTAMP, day, "2024-01-02T00:00:00"),
            ("DATETIME", PgType::TIMESTAMPTZ, &[0], "22008"),
            ("NULL", PgType::INT4, &[1], "HV000"),
        ];
        for (wire_name, pg_type, raw, expected) in rows {
            assert_eq!(shown(wire_name, pg_type, raw), expected, "{wire_name} {pg_type} {raw:?}");
        }
        let field = Field::new("c", DataType::Int32, true);
        let mut nothing = reader("NULL", &field, POLICY).unwrap();
        nothing.push(None).unwrap();
        let array = nothing.finish();
        assert_eq!((array.len(), array.null_count(), array.data_type()), (1, 1, &DataType::Int32));
    }
}
