//! One value of a batch on its way into a store, by the carrier of its type, and the text that PostgreSQL reads it from.
//!
//! What a store other than PostgreSQL is given for a value is its connector's own affair.

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Decimal256Array, Float32Array, Float64Array,
    Int16Array, Int32Array, Int64Array, IntervalMonthDayNanoArray, ListArray, StringArray, Time64MicrosecondArray,
    TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, i256};

use super::relational::Unwritable;
use super::value::Value;
use crate::format::interval::Interval;
use crate::format::{DisplaySettings, array, bytea, date, float, interval, numeric, time, timestamp};
use crate::pgtype::{PgType, builtin};

/// A number with more digits than this is no [`Value::Decimal`].
const DECIMAL_DIGITS: u32 = 38;

const UNKNOWN_ELEMENTS: Unwritable = Unwritable("is an array whose elements have no text");

/// A value.
#[derive(Debug, Clone)]
pub enum Cell<'a> {
    /// NULL
    Null,
    /// `boolean`
    Bool(bool),
    /// All integers, `oid` and the `reg…` types.
    Int(i64),
    /// `real`
    Float4(f32),
    /// `double precision`
    Float8(f64),
    /// Every type that is carried as its text: a `numeric` without a modifier too.
    Text(&'a str),
    /// `bytea`
    Bytes(&'a [u8]),
    /// Days since 1970-01-01; see `pgtype` for infinities.
    Date(i32),
    /// Microseconds since midnight.
    Time(i64),
    /// Microseconds since 1970-01-01 00:00:00; see `pgtype` for infinities.
    Timestamp(i64),
    /// Microseconds since 1970-01-01 00:00:00 UTC; see `pgtype` for infinities.
    TimestampTz(i64),
    /// `numeric(p, s)` as `unscaled × 10^-scale`.
    Decimal {
        /// The digits with sign.
        unscaled: i256,
        /// Digits after the point.
        scale: i8,
    },
    /// `interval`
    Interval {
        /// Months, years included.
        months: i32,
        /// Days.
        days: i32,
        /// Microseconds.
        micros: i64,
    },
    /// The elements of an array; those of one with more dimensions are arrays themselves.
    List(ArrayRef),
}

impl Cell<'_> {
    /// Whether it is NULL.
    pub fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }
}

/// The values of one column of a batch. What the column is made of is looked at once.
#[derive(Debug, Clone, Copy)]
pub struct Cells<'a> {
    array: &'a dyn Array,
    values: Values<'a>,
}

#[derive(Debug, Clone, Copy)]
enum Values<'a> {
    Bool(&'a BooleanArray),
    Int2(&'a Int16Array),
    Int4(&'a Int32Array),
    Int8(&'a Int64Array),
    Float4(&'a Float32Array),
    Float8(&'a Float64Array),
    Text(&'a StringArray),
    Bytes(&'a BinaryArray),
    Date(&'a Date32Array),
    Time(&'a Time64MicrosecondArray),
    Timestamp(&'a TimestampMicrosecondArray),
    TimestampTz(&'a TimestampMicrosecondArray),
    Decimal(&'a Decimal128Array, i8),
    WideDecimal(&'a Decimal256Array, i8),
    Interval(&'a IntervalMonthDayNanoArray),
    List(&'a ListArray),
}

impl<'a> Cells<'a> {
    /// The values of `array`; `None` when it is not in the carrier of `pg_type`.
    pub fn of(array: &'a dyn Array, pg_type: PgType) -> Option<Self> {
        let data_type = array.data_type();
        // Lists may have more dimensions than their type tells.
        if !matches!(data_type, DataType::List(_)) && *data_type != pg_type.carrier() {
            return None;
        }
        let values = match data_type {
            DataType::Boolean => Values::Bool(array.as_boolean_opt()?),
            DataType::Int16 => Values::Int2(array.as_primitive_opt()?),
            DataType::Int32 => Values::Int4(array.as_primitive_opt()?),
            DataType::Int64 => Values::Int8(array.as_primitive_opt()?),
            DataType::Float32 => Values::Float4(array.as_primitive_opt()?),
            DataType::Float64 => Values::Float8(array.as_primitive_opt()?),
            DataType::Utf8 => Values::Text(array.as_string_opt()?),
            DataType::Binary => Values::Bytes(array.as_binary_opt()?),
            DataType::Date32 => Values::Date(array.as_primitive_opt()?),
            DataType::Time64(_) => Values::Time(array.as_primitive_opt()?),
            DataType::Timestamp(_, None) => Values::Timestamp(array.as_primitive_opt()?),
            DataType::Timestamp(_, Some(_)) => Values::TimestampTz(array.as_primitive_opt()?),
            DataType::Decimal128(_, scale) => Values::Decimal(array.as_primitive_opt()?, *scale),
            DataType::Decimal256(_, scale) => Values::WideDecimal(array.as_primitive_opt()?, *scale),
            DataType::Interval(_) => Values::Interval(array.as_primitive_opt()?),
            DataType::List(_) => Values::List(array.as_list_opt()?),
            _ => return None,
        };
        Some(Self { array, values })
    }

    /// The value of a row. There is none behind the last row.
    pub fn get(&self, row: usize) -> Cell<'a> {
        if row >= self.array.len() || self.array.is_null(row) {
            return Cell::Null;
        }
        match self.values {
            Values::Bool(values) => Cell::Bool(values.value(row)),
            Values::Int2(values) => Cell::Int(values.value(row).into()),
            Values::Int4(values) => Cell::Int(values.value(row).into()),
            Values::Int8(values) => Cell::Int(values.value(row)),
            Values::Float4(values) => Cell::Float4(values.value(row)),
            Values::Float8(values) => Cell::Float8(values.value(row)),
            Values::Text(values) => Cell::Text(values.value(row)),
            Values::Bytes(values) => Cell::Bytes(values.value(row)),
            Values::Date(values) => Cell::Date(values.value(row)),
            Values::Time(values) => Cell::Time(values.value(row)),
            Values::Timestamp(values) => Cell::Timestamp(values.value(row)),
            Values::TimestampTz(values) => Cell::TimestampTz(values.value(row)),
            Values::Decimal(values, scale) => Cell::Decimal { unscaled: i256::from_i128(values.value(row)), scale },
            Values::WideDecimal(values, scale) => Cell::Decimal { unscaled: values.value(row), scale },
            Values::Interval(values) => {
                let value = values.value(row);
                // The carrier counts nanoseconds; values have microseconds.
                Cell::Interval { months: value.months, days: value.days, micros: value.nanoseconds / 1_000 }
            }
            Values::List(values) => Cell::List(values.value(row)),
        }
    }
}

/// Appends the text from which PostgreSQL reads the value as `pg_type`, whatever the order of day and month there: dates in ISO form,
/// moments in UTC, intervals with their words, the shortest digits that give the same float back.
///
/// # Errors
/// NULL, which has no text; a text with a NUL byte, which PostgreSQL cannot hold; elements that have no text.
pub fn write_text(cell: &Cell<'_>, pg_type: PgType, out: &mut String) -> Result<(), Unwritable> {
    let display = DisplaySettings::default();
    let mut text: Vec<u8> = Vec::new();
    match cell {
        Cell::Null => return Err(Unwritable("is NULL, which has no text")),
        Cell::Bool(truth) => out.push(if *truth { 't' } else { 'f' }),
        Cell::Int(number) => out.push_str(itoa::Buffer::new().format(*number)),
        Cell::Text(content) if content.contains('\0') => return Err(Unwritable("holds a NUL byte, which text cannot")),
        Cell::Text(content) => out.push_str(content),
        Cell::List(elements) => return write_list(elements, pg_type, out),
        Cell::Float4(number) => float::write_f32(*number, display.extra_float_digits, &mut text),
        Cell::Float8(number) => float::write_f64(*number, display.extra_float_digits, &mut text),
        Cell::Bytes(bytes) => bytea::write(bytes, display.bytea_output, &mut text),
        Cell::Date(days) => date::write(*days, &display, &mut text),
        Cell::Time(micros) => time::write(*micros, &mut text),
        Cell::Timestamp(micros) => timestamp::write(*micros, &display, &mut text),
        Cell::TimestampTz(micros) => timestamp::write_tz(*micros, &display, &mut text),
        Cell::Decimal { unscaled, scale } => numeric::write_i256(*unscaled, *scale, &mut text),
        Cell::Interval { months, days, micros } => {
            let value = Interval { months: *months, days: *days, micros: *micros };
            interval::write(value, display.interval_style, &mut text);
        }
    }
    out.push_str(std::str::from_utf8(&text).unwrap_or_default());
    Ok(())
}

/// `{1,NULL,"a b"}`, with braces inside for further dimensions. The vectors of the catalog have blanks and no braces.
fn write_list(elements: &ArrayRef, pg_type: PgType, out: &mut String) -> Result<(), Unwritable> {
    let of_element = pg_type.element().unwrap_or_else(|| PgType::from_arrow(elements.data_type()));
    let is_dimension = matches!(elements.data_type(), DataType::List(_)) && !of_element.is_vector();
    let of_element = if is_dimension { pg_type } else { of_element };
    let cells = Cells::of(elements.as_ref(), of_element).ok_or(UNKNOWN_ELEMENTS)?;
    let between = if pg_type.is_vector() { ' ' } else { delimiter(pg_type) };
    out.push_str(if pg_type.is_vector() { "" } else { "{" });
    for row in 0..elements.len() {
        if row > 0 {
            out.push(between);
        }
        let cell = cells.get(row);
        if cell.is_null() {
            out.push_str("NULL");
            continue;
        }
        let start = out.len();
        write_text(&cell, of_element, out)?;
        if !is_dimension && out.get(start..).is_some_and(|text| array::needs_quotes(text.as_bytes())) {
            let plain = out.split_off(start);
            let mut quoted = Vec::with_capacity(plain.len() + 2);
            array::write_quoted(plain.as_bytes(), &mut quoted);
            out.push_str(std::str::from_utf8(&quoted).unwrap_or_default());
        }
    }
    out.push_str(if pg_type.is_vector() { "" } else { "}" });
    Ok(())
}

/// What stands between the elements of an array: `box` is the one type whose values have commas of their own there (`typdelim`).
fn delimiter(array: PgType) -> char {
    let is_box = array.element().and_then(|element| builtin(element.oid)).is_some_and(|row| row.name == "box");
    if is_box { ';' } else { ',' }
}

/// The value as a parameter of a statement; `None` for NULL, intervals and arrays, which are none.
pub fn value(cell: &Cell<'_>, pg_type: PgType) -> Option<Value> {
    match cell {
        Cell::Null | Cell::Interval { .. } | Cell::List(_) => None,
        Cell::Bool(truth) => Some(Value::Bool(*truth)),
        Cell::Int(number) => Some(Value::Int(*number)),
        Cell::Float4(number) => Some(Value::Float(f64::from(*number))),
        Cell::Float8(number) => Some(Value::Float(*number)),
        Cell::Text(content) if pg_type.oid == PgType::NUMERIC.oid => Some(Value::Numeric((*content).to_owned())),
        Cell::Text(content) => Some(Value::Text((*content).to_owned())),
        Cell::Bytes(bytes) => Some(Value::Bytes(bytes.to_vec())),
        Cell::Date(days) => Some(Value::Date(*days)),
        Cell::Time(micros) => Some(Value::Time(*micros)),
        Cell::Timestamp(micros) => Some(Value::Timestamp(*micros)),
        Cell::TimestampTz(micros) => Some(Value::TimestampTz(*micros)),
        Cell::Decimal { unscaled, scale } => Some(decimal(*unscaled, *scale)),
    }
}

/// The cell that a constant is.
pub fn of_value(value: &Value) -> Cell<'_> {
    match value {
        Value::Bool(truth) => Cell::Bool(*truth),
        Value::Int(number) => Cell::Int(*number),
        Value::Float(number) => Cell::Float8(*number),
        Value::Decimal { unscaled, scale } => {
            Cell::Decimal { unscaled: i256::from_i128(*unscaled), scale: i8::try_from(*scale).unwrap_or(i8::MAX) }
        }
        Value::Numeric(content) | Value::Text(content) => Cell::Text(content),
        Value::Bytes(bytes) => Cell::Bytes(bytes),
        Value::Date(days) => Cell::Date(*days),
        Value::Time(micros) => Cell::Time(*micros),
        Value::Timestamp(micros) => Cell::Timestamp(*micros),
        Value::TimestampTz(micros) => Cell::TimestampTz(*micros),
    }
}

fn decimal(unscaled: i256, scale: i8) -> Value {
    let small = unscaled.to_i128().filter(|digits| digits.unsigned_abs() < 10_u128.pow(DECIMAL_DIGITS));
    let places = u8::try_from(scale).ok().filter(|places| u32::from(*places) <= DECIMAL_DIGITS);
    if let (Some(unscaled), Some(scale)) = (small, places) {
        return Value::Decimal { unscaled, scale };
    }
    let mut text = Vec::new();
    numeric::write_i256(unscaled, scale, &mut text);
    Value::Numeric(String::from_utf8(text).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::new_empty_array;
    use datafusion::scalar::ScalarValue;

    use super::*;
    use crate::format::scalar;
    use crate::pgtype::{BUILTINS, UTC};

    /// Texts of each type, and of others at its edges. Each is written as the type's own output would be.
    const SAMPLES: &[(&str, &[&str])] = &[
        ("bool", &["t", "f"]),
        ("bytea", &["\\x", "\\x00ff5c22277d"]),
        ("char", &["a", "'"]),
        ("name", &["pg_class"]),
        ("int8", &["-9223372036854775808", "0", "9223372036854775807"]),
        ("int2", &["-32768", "32767"]),
        ("int4", &["-2147483648", "2147483647"]),
        ("regproc", &["1242"]),
        ("text", &["", "NULL", "a''b", "\\' or 1=1 -- ", "{a,\"b\\c\"}", " lead and trail\t", "line\nbreak", "ünï 名"]),
        ("oid", &["0", "4294967295"]),
        ("xid", &["7"]),
        ("json", &["{\"a\": [1, \"x,y\"],  \"b\":\"\\\\\"}"]),
        ("xml", &["<a b=\"c\">x</a>"]),
        ("point", &["(1,2)"]),
        ("lseg", &["[(1,2),(3,4)]"]),
        ("path", &["((1,2),(3,4))"]),
        ("box", &["(3,4),(1,2)"]),
        ("polygon", &["((1,2),(3,4))"]),
        ("line", &["{1,2,3}"]),
        ("cidr", &["10.0.0.0/8"]),
        ("float4", &["1.1754944e-38", "0.1", "1e+06", "NaN", "Infinity", "-Infinity", "-0"]),
        ("float8", &["5e-324", "1.7976931348623157e+308", "0.1", "1e+15", "NaN", "Infinity", "-Infinity", "-0"]),
        ("circle", &["<(1,2),3>"]),
        ("macaddr8", &["08:00:2b:01:02:03:04:05"]),
        ("money", &["-$1,234.50"]),
        ("macaddr", &["08:00:2b:01:02:03"]),
        ("inet", &["192.168.1.5/24", "::1"]),
        ("bpchar", &["ab "]),
        ("varchar", &["ab"]),
        ("date", &["0044-03-15 BC", "0099-01-01", "5874897-12-31", "infinity", "-infinity"]),
        ("time", &["00:00:00", "23:59:59.999999", "24:00:00"]),
        ("timestamp", &["0044-03-15 12:00:00 BC", "294246-12-31 23:59:59.999999", "infinity", "-infinity"]),
        ("timestamptz", &["2020-02-29 12:34:56.000001+00", "0001-01-01 00:00:00+00", "infinity", "-infinity"]),
        ("interval", &["-1 years -2 mons +3 days -04:05:06.789", "00:00:00", "178000000 years", "-00:00:00.000001"]),
        ("timetz", &["12:00:00.5-07:30"]),
        ("bit", &["101"]),
        ("varbit", &["0"]),
        ("numeric", &["NaN", "Infinity", "-12345678901234567890123456789012345678901234567890123456789012345678901234567890.50"]),
        ("regclass", &["1259"]),
        ("regtype", &["23"]),
        ("uuid", &["00000000-0000-0000-0000-0000000000ff"]),
        ("pg_lsn", &["16/B374D848"]),
        ("tsvector", &["'a':1 'b':2"]),
        ("tsquery", &["'a' & 'b'"]),
        ("jsonb", &["{\"a\": [1, \"x,y\"]}"]),
        ("int4range", &["[1,5)"]),
        ("numrange", &["(,1.50]"]),
        ("tsrange", &["[\"2020-01-01 00:00:00\",\"2020-01-02 00:00:00\")"]),
        ("tstzrange", &["[\"2020-01-01 00:00:00+00\",\"2020-01-02 00:00:00+00\")"]),
        ("daterange", &["[2020-01-01,2020-01-02)"]),
        ("int8range", &["empty"]),
        ("jsonpath", &["$.\"a\""]),
        ("regnamespace", &["11"]),
        ("regrole", &["10"]),
    ];

    fn written(array: &ArrayRef, pg_type: PgType) -> Result<String, Unwritable> {
        let mut out = String::new();
        write_text(&Cells::of(array.as_ref(), pg_type).unwrap().get(0), pg_type, &mut out).map(|()| out)
    }

    fn read(pg_type: PgType, text: &str) -> ScalarValue {
        scalar::read(pg_type, text, &DisplaySettings::default()).unwrap_or_else(|error| panic!("{pg_type} {text:?}: {error}"))
    }

    fn plain(oid: u32) -> PgType {
        PgType::with_typmod(oid, -1)
    }

    #[test]
    fn every_type_is_read_back_from_its_text() {
        // No column has these, or none that is a single value.
        let without = ["unknown", "record", "void", "int2vector", "oidvector"];
        for row in BUILTINS.iter().filter(|row| !without.contains(&row.name)) {
            let (_, samples) =
                SAMPLES.iter().find(|(name, _)| *name == row.name).unwrap_or_else(|| panic!("{} has no sample", row.name));
            let mut elements = Vec::new();
            for sample in *samples {
                let value = read(plain(row.oid), sample);
                let text = written(&value.to_array().unwrap(), plain(row.oid)).unwrap();
                assert_eq!(text, *sample, "{}", row.name);
                assert_eq!(read(plain(row.oid), &text), value, "{}", row.name);
                elements.push(value);
            }
            // What reads arrays here takes commas only.
            if row.name != "box" {
                elements.push(scalar::null(plain(row.oid)).unwrap());
                let list = scalar::list(plain(row.array_oid), elements).unwrap();
                let text = written(&list.to_array().unwrap(), plain(row.array_oid)).unwrap();
                assert_eq!(read(plain(row.array_oid), &text), list, "{text}");
            }
        }
    }

    #[test]
    fn modifiers_choose_carriers_with_the_same_text() {
        for (precision, scale, text) in [(5, 2, "-123.45"), (38, 0, "99999999999999999999999999999999999999"), (3, 3, "0.001")] {
            let pg_type = PgType::numeric(precision, scale);
            assert_eq!(written(&read(pg_type, text).to_array().unwrap(), pg_type).unwrap(), text);
        }
        let wide = PgType::numeric(76, 10);
        let text = "-123456789012345678901234567890123456789012345678901234567890123456.0123456789";
        assert_eq!(written(&read(wide, text).to_array().unwrap(), wide).unwrap(), text);
    }

    #[test]
    fn elements_keep_to_themselves() {
        let array = |name: &str| plain(BUILTINS.iter().find(|row| row.name == name).unwrap().array_oid);
        let rows = [
            ("text", vec!["a,b", "", "null", "q\"\\", "plain"], "{\"a,b\",\"\",\"null\",\"q\\\"\\\\\",plain}"),
            ("box", vec!["(3,4),(1,2)", "(1,1),(0,0)"], "{\"(3,4),(1,2)\";\"(1,1),(0,0)\"}"),
            ("timestamp", vec!["2020-01-01 00:00:00"], "{\"2020-01-01 00:00:00\"}"),
            ("bool", vec!["t", "f"], "{t,f}"),
            ("int4", vec![], "{}"),
        ];
        for (name, elements, expected) in rows {
            let of_element = array(name).element().unwrap();
            let values = elements.into_iter().map(|text| read(of_element, text)).collect();
            let list = scalar::list(array(name), values).unwrap();
            assert_eq!(written(&list.to_array().unwrap(), array(name)).unwrap(), expected);
        }
    }

    #[test]
    fn dimensions_nest_and_vectors_have_no_braces() {
        let inner = ListArray::from_iter_primitive::<arrow::datatypes::Int16Type, _, _>([
            Some(vec![Some(1), None]),
            Some(vec![Some(-3), Some(4)]),
        ]);
        let offsets = arrow::buffer::OffsetBuffer::from_lengths([2]);
        let field = Arc::new(arrow::datatypes::Field::new("item", inner.data_type().clone(), true));
        let outer: ArrayRef = Arc::new(ListArray::new(field, offsets, Arc::new(inner.clone()), None));
        assert_eq!(written(&outer, PgType::INT2.array().unwrap()).unwrap(), "{{1,NULL},{-3,4}}");
        let vectors: ArrayRef = Arc::new(inner);
        let mut text = String::new();
        let second = Cells::of(vectors.as_ref(), plain(22)).unwrap().get(1);
        write_text(&second, plain(22), &mut text).unwrap();
        assert_eq!(text, "-3 4");
        assert_eq!(written(&outer, plain(1006)).unwrap(), "{\"1 NULL\",\"-3 4\"}");
    }

    #[test]
    fn what_has_no_text_is_refused() {
        let texts: ArrayRef = Arc::new(StringArray::from(vec![Some("a\0b"), None]));
        let cells = Cells::of(texts.as_ref(), PgType::TEXT).unwrap();
        for row in [0, 1, 2] {
            assert!(write_text(&cells.get(row), PgType::TEXT, &mut String::new()).is_err(), "{row}");
        }
        assert!(cells.get(1).is_null() && cells.get(2).is_null());
        // Carriers of other types.
        assert!(Cells::of(new_empty_array(&DataType::Float16).as_ref(), PgType::FLOAT4).is_none());
        assert!(Cells::of(new_empty_array(&DataType::Int32).as_ref(), PgType::INT8).is_none());
        let zoned = new_empty_array(&DataType::Timestamp(arrow::datatypes::TimeUnit::Microsecond, Some(UTC.into())));
        assert!(Cells::of(zoned.as_ref(), PgType::TIMESTAMP).is_none());
    }

    #[test]
    fn parameters_are_the_same_values() {
        let parameter = |pg_type: PgType, text: &str| {
            let array = read(pg_type, text).to_array().unwrap();
            value(&Cells::of(array.as_ref(), pg_type).unwrap().get(0), pg_type)
        };
        let digits = "9".repeat(39);
        let rows = [
            (PgType::BOOL, "t", Some(Value::Bool(true))),
            (PgType::INT2, "-3", Some(Value::Int(-3))),
            (PgType::FLOAT4, "0.5", Some(Value::Float(0.5))),
            (PgType::TEXT, "1.5", Some(Value::Text("1.5".to_owned()))),
            (
                PgType::UUID,
                "00000000-0000-0000-0000-0000000000ff",
                Some(Value::Text("00000000-0000-0000-0000-0000000000ff".to_owned())),
            ),
            (PgType::NUMERIC, "1.50", Some(Value::Numeric("1.50".to_owned()))),
            (PgType::numeric(5, 2), "-1.5", Some(Value::Decimal { unscaled: -150, scale: 2 })),
            (PgType::numeric(39, 0), digits.as_str(), Some(Value::Numeric(digits.clone()))),
            (PgType::BYTEA, "\\x0001", Some(Value::Bytes(vec![0, 1]))),
            (PgType::DATE, "1970-01-03", Some(Value::Date(2))),
            (PgType::TIME, "00:00:01", Some(Value::Time(1_000_000))),
            (PgType::TIMESTAMP, "1970-01-01 00:00:01", Some(Value::Timestamp(1_000_000))),
            (PgType::TIMESTAMPTZ, "1970-01-01 01:00:00+01", Some(Value::TimestampTz(0))),
            (PgType::INTERVAL, "1 day", None),
            (PgType::INT4.array().unwrap(), "{1}", None),
        ];
        for (pg_type, text, expected) in rows {
            assert_eq!(parameter(pg_type, text), expected, "{pg_type} {text}");
            let again = expected.as_ref().map(|known| value(&of_value(known), pg_type));
            assert_eq!(again.flatten(), expected, "{pg_type} {text} as a cell again");
        }
    }
}
