//! Typed keys: bytes whose order and equality are those of a type that its carrier does not order rightly.
//!
//! `typed_key(value)` is `bytea`. Numbers of every carrier share one encoding, so a wide `numeric` compares with an integer.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BinaryBuilder};
use arrow::datatypes::{DataType, IntervalMonthDayNano};
use datafusion::error::Result;
use datafusion::logical_expr::Expr;

use crate::error::{Diagnosis, sqlstate};
use crate::format::json::{self, Node};
use crate::pgtype::{PgType, builtin};

use super::datum::{Column, Datum};
use super::floats;
use super::numeric::Numeric;
use super::typed::{Call, Kernel, Typed, TypedFunction};

/// Whether PostgreSQL compares values of the type at all.
pub(super) fn has_equality(pg_type: PgType) -> bool {
    match pg_type.element() {
        Some(element) => has_equality(element),
        None => !matches!(pg_type.oid, 114 | 142 | 600 | 601 | 602 | 603 | 604 | 628 | 718 | 4072),
    }
}

/// Whether ordering carriers of this type would go wrong.
pub(super) fn is_needed(typed: &Typed, carrier: &DataType) -> bool {
    // Elements that are NULL are above all others, and to the engine below; labels have an order of their own.
    if typed.pg_type.element().is_some() || typed.labels.is_some() {
        return true;
    }
    let pg_type = typed.pg_type;
    match pg_type.oid {
        1700 => *carrier == DataType::Utf8,
        // The engine tells -0 from 0.
        700 | 701 => true,
        650 | 869 | 1042 | 1186 | 1266 | 790 | 3220 | 3614 | 3615 | 3802 => true,
        oid if builtin(oid).is_some() => pg_type.oid >= 3904 && pg_type.oid <= 3926,
        _ => pg_type.is_opaque(),
    }
}

/// Whether telling carriers of this type apart would go wrong. Labels are equal when their texts are.
pub(in super::super) fn is_needed_to_tell_apart(typed: &Typed, carrier: &DataType) -> bool {
    is_needed(typed, carrier) && (typed.labels.is_none() || typed.pg_type.element().is_some())
}

/// `typed_key(expr)`; of a float `float_key(expr)`, which stays a float.
///
/// # Errors
/// 0A000 for types whose order is not built.
pub(in super::super) fn call(expr: Expr, typed: &Typed) -> Result<Expr> {
    if floats::is_float(typed.pg_type) {
        return Ok(floats::call(expr, typed, typed.pg_type.carrier()));
    }
    Ok(function(typed)?.call(vec![expr]))
}

/// The key function of a type.
///
/// # Errors
/// 0A000 for types whose order is not built.
pub(super) fn function(typed: &Typed) -> Result<TypedFunction, Diagnosis> {
    let pg_type = typed.pg_type.element().unwrap_or(typed.pg_type);
    let known = builtin(pg_type.oid).is_some();
    if matches!(pg_type.oid, 3614 | 3615) || (3904..=3926).contains(&pg_type.oid) || (!known && typed.labels.is_none()) {
        let message = format!("comparison of values of type {} is not supported", typed.pg_type);
        return Err(Diagnosis::new(sqlstate::FEATURE_NOT_SUPPORTED, message));
    }
    Ok(TypedFunction::new("typed_key", vec![typed.without_modifier()], PgType::BYTEA.into(), Kernel::Strict(kernel)))
}

/// Values in a form that is equal exactly where PostgreSQL takes the values for equal; `None` for types whose comparison is not built.
///
/// # Errors
/// A value that is none of its type.
pub(in super::super) fn told_apart(array: &ArrayRef, typed: &Typed) -> Result<Option<ArrayRef>> {
    if !is_needed_to_tell_apart(typed, array.data_type()) {
        return Ok(Some(Arc::clone(array)));
    }
    if function(typed).is_err() {
        return Ok(None);
    }
    let column = Column::new(array, Some(typed))?;
    let mut keys = BinaryBuilder::with_capacity(array.len(), 0);
    let mut key = Vec::new();
    for row in 0..array.len() {
        match column.get(row) {
            Datum::Null => keys.append_null(),
            value => {
                key.clear();
                encode(typed, &value, &mut key)?;
                keys.append_value(&key);
            }
        }
    }
    Ok(Some(Arc::new(keys.finish())))
}

fn kernel<'a>(call: &Call<'_>, a: &[Datum<'a>]) -> Result<Datum<'a>, Diagnosis> {
    let typed = call.arguments.first().cloned().unwrap_or_else(|| PgType::TEXT.into());
    let mut out = Vec::with_capacity(16);
    encode(&typed, &a[0], &mut out)?;
    Ok(Datum::Bytes(out.into()))
}

/// The canonical text of the value whose key was computed at planning time: of `numeric` and `character(n)`, whose keys tell
/// all that a comparison may ask. `None` for other types.
pub(in super::super) fn decode(pg_type: PgType, key: &[u8]) -> Option<String> {
    match pg_type.oid {
        1042 => String::from_utf8(key.to_vec()).ok(),
        1700 => decode_numeric(key),
        _ => None,
    }
}

/// The opposite of [`encode_numeric`], without the trailing zeros that no comparison sees.
fn decode_numeric(key: &[u8]) -> Option<String> {
    let (class, body) = key.split_first()?;
    let (sign, body) = match class {
        0 => return Some("-Infinity".to_owned()),
        2 => return Some("0".to_owned()),
        4 => return Some("Infinity".to_owned()),
        5 => return Some("NaN".to_owned()),
        1 => ("-", body.strip_suffix(&[0xff])?.iter().map(|byte| !byte).collect()),
        3 => ("", body.to_vec()),
        _ => return None,
    };
    let (exponent, digits) = body.split_first_chunk::<8>()?;
    let exponent = (u64::from_be_bytes(*exponent) ^ (1 << 63)) as i64;
    let digits = std::str::from_utf8(digits).ok()?;
    let length = i64::try_from(digits.len()).ok()?;
    let zeros = |count: i64| usize::try_from(count).ok().filter(|count| *count <= DECODED_ZEROS_MAX).map(|count| "0".repeat(count));
    let text = if exponent <= 0 {
        format!("0.{}{digits}", zeros(-exponent)?)
    } else if exponent >= length {
        format!("{digits}{}", zeros(exponent - length)?)
    } else {
        let (whole, fraction) = digits.split_at_checked(usize::try_from(exponent).ok()?)?;
        format!("{whole}.{fraction}")
    };
    Some(format!("{sign}{text}"))
}

/// Zeros that a decoded number may be written with.
const DECODED_ZEROS_MAX: usize = 1_000;

/// Appends the key of one value.
pub(super) fn encode(typed: &Typed, value: &Datum<'_>, out: &mut Vec<u8>) -> Result<(), Diagnosis> {
    if let (Some(element), Datum::List(items)) = (typed.pg_type.element(), value) {
        let element = Typed { pg_type: element, labels: typed.labels.clone() };
        return encode_list(&element, items, out);
    }
    match (typed.pg_type.oid, value) {
        (1186, Datum::Interval(value)) => out.extend(interval_key(*value)),
        (_, Datum::Numeric(value)) => encode_numeric(value, out),
        (1042, Datum::Text(text)) => out.extend(text.trim_end_matches(' ').as_bytes()),
        (3802, Datum::Text(text)) => encode_json_text(text, out)?,
        (650 | 869, Datum::Text(text)) => encode_network(text, out)?,
        (1266, Datum::Text(text)) => encode_zoned_time(text, out)?,
        (790, Datum::Text(text)) => encode_money(text, out)?,
        (3220, Datum::Text(text)) => encode_log_position(text, out)?,
        (_, Datum::Text(text)) => match &typed.labels {
            Some(labels) => encode_label(labels, text, out)?,
            None => out.extend(text.as_bytes()),
        },
        (_, Datum::Int(value)) => out.extend(ordered(*value)),
        (_, Datum::Date(value)) => out.extend(ordered(i64::from(*value))),
        (_, Datum::Time(value) | Datum::Timestamp(value)) => out.extend(ordered(*value)),
        (_, Datum::Bool(value)) => out.push(u8::from(*value)),
        (_, Datum::Bytes(bytes)) => out.extend(bytes.iter()),
        (_, Datum::Float(value)) => out.extend(ordered_float(*value)),
        (_, other) => return Err(Diagnosis::new(sqlstate::INTERNAL_ERROR, format!("no key for {other:?}"))),
    }
    Ok(())
}

fn ordered(value: i64) -> [u8; 8] {
    ((value as u64) ^ (1 << 63)).to_be_bytes()
}

fn ordered_float(value: f64) -> [u8; 8] {
    let bits = floats::canonical(value).to_bits();
    let flipped = if bits >> 63 == 1 { !bits } else { bits | (1 << 63) };
    flipped.to_be_bytes()
}

/// A month counts thirty days and a day 24 hours, as `interval_cmp` has it.
fn interval_key(value: IntervalMonthDayNano) -> [u8; 16] {
    let days = i128::from(value.months) * 30 + i128::from(value.days);
    let total = days * 86_400_000_000_000 + i128::from(value.nanoseconds);
    ((total as u128) ^ (1 << 127)).to_be_bytes()
}

/// Sign class, then for finite values the exponent and the digits without trailing zeros; negative values inverted.
fn encode_numeric(value: &Numeric, out: &mut Vec<u8>) {
    let finite = match value {
        Numeric::NegativeInfinity => return out.push(0),
        Numeric::Infinity => return out.push(4),
        Numeric::NotANumber => return out.push(5),
        Numeric::Finite(finite) => finite,
    };
    let (digits, scale) = finite.as_bigint_and_scale();
    let text = digits.magnitude().to_string();
    let significant = text.trim_end_matches('0');
    if significant.is_empty() {
        return out.push(2);
    }
    let exponent = i64::try_from(text.len()).unwrap_or(i64::MAX) - scale;
    let mut body = ordered(exponent).to_vec();
    body.extend(significant.bytes());
    if digits.sign() == bigdecimal::num_bigint::Sign::Minus {
        out.push(1);
        out.extend(body.iter().map(|byte| !byte));
        // Closes the digits, so that of two negative values the longer is the smaller.
        out.push(0xff);
    } else {
        out.push(3);
        out.extend(body);
    }
}

/// Element by element, NULL above all values, then the shorter first.
fn encode_list(element: &Typed, items: &ArrayRef, out: &mut Vec<u8>) -> Result<(), Diagnosis> {
    let wrap = |error: datafusion::error::DataFusionError| Diagnosis::new(sqlstate::INTERNAL_ERROR, error.strip_backtrace());
    let items = Arc::clone(items);
    let column = Column::new(&items, Some(element)).map_err(wrap)?;
    let mut part = Vec::new();
    for row in 0..items.len() {
        match column.get(row) {
            Datum::Null => out.push(2),
            value => {
                part.clear();
                encode(element, &value, &mut part)?;
                out.push(1);
                escape(&part, out);
            }
        }
    }
    out.push(0);
    Ok(())
}

/// Makes a key embeddable: a zero byte is followed by 0xff, the end is two zero bytes.
fn escape(part: &[u8], out: &mut Vec<u8>) {
    for byte in part {
        out.push(*byte);
        if *byte == 0 {
            out.push(0xff);
        }
    }
    out.extend([0, 0]);
}

fn bad(pg_type: &str, text: &str) -> Diagnosis {
    crate::format::fault::invalid(pg_type, text)
}

fn encode_label(labels: &str, text: &str, out: &mut Vec<u8>) -> Result<(), Diagnosis> {
    let labels: Vec<String> = serde_json::from_str(labels).unwrap_or_default();
    match labels.iter().position(|label| label == text) {
        Some(place) => {
            out.extend(ordered(i64::try_from(place).unwrap_or(i64::MAX)));
            Ok(())
        }
        None => Err(Diagnosis::new(sqlstate::INVALID_TEXT_REPRESENTATION, format!("invalid input value for enum: \"{text}\""))),
    }
}

fn encode_json_text(text: &str, out: &mut Vec<u8>) -> Result<(), Diagnosis> {
    encode_json(&json::read(text)?, true, out)
}

/// The order of `jsonb`: object > array > boolean > number > string > null; containers by size first, objects then by
/// their members in stored order (shorter keys first). An empty array at the top is below everything, for historical reasons.
fn encode_json(value: &Node, top: bool, out: &mut Vec<u8>) -> Result<(), Diagnosis> {
    match value {
        Node::Null => out.push(10),
        Node::Text(text) => {
            out.push(20);
            escape(text.as_bytes(), out);
        }
        Node::Number(number) => {
            out.push(30);
            let mut key = Vec::new();
            let canonical = crate::format::numeric::read(number)?.to_string();
            encode_numeric(&Numeric::from_canonical(&canonical).unwrap_or(Numeric::NotANumber), &mut key);
            escape(&key, out);
        }
        Node::Bool(value) => out.extend([40, u8::from(*value)]),
        Node::Array(items) if items.is_empty() && top => out.push(5),
        Node::Array(items) => {
            out.push(50);
            out.extend(ordered(i64::try_from(items.len()).unwrap_or(i64::MAX)));
            for item in items {
                encode_json(item, false, out)?;
            }
        }
        Node::Object(members) => {
            let members = json::members(members);
            out.push(60);
            out.extend(ordered(i64::try_from(members.len()).unwrap_or(i64::MAX)));
            for (name, member) in members {
                escape(name.as_bytes(), out);
                encode_json(member, false, out)?;
            }
        }
    }
    Ok(())
}

/// Family, network bytes, prefix length, host bytes.
fn encode_network(text: &str, out: &mut Vec<u8>) -> Result<(), Diagnosis> {
    let (host, bits) = match text.split_once('/') {
        Some((host, bits)) => (host, Some(bits)),
        None => (text, None),
    };
    let address: std::net::IpAddr = host.parse().ok().ok_or_else(|| bad("inet", text))?;
    let (family, bytes): (u8, Vec<u8>) = match address {
        std::net::IpAddr::V4(address) => (4, address.octets().to_vec()),
        std::net::IpAddr::V6(address) => (6, address.octets().to_vec()),
    };
    let full = u8::try_from(bytes.len() * 8).unwrap_or(128);
    let bits = match bits {
        Some(bits) => bits.parse::<u8>().ok().filter(|bits| *bits <= full).ok_or_else(|| bad("inet", text))?,
        None => full,
    };
    out.push(family);
    out.extend(bytes.iter().enumerate().map(|(index, byte)| {
        let kept = usize::from(bits).saturating_sub(index * 8).min(8);
        if kept == 0 { 0 } else { byte & (0xff_u8 << (8 - kept)) }
    }));
    out.push(bits);
    out.extend(bytes);
    Ok(())
}

/// By instant of the day, then by zone.
fn encode_zoned_time(text: &str, out: &mut Vec<u8>) -> Result<(), Diagnosis> {
    let parts = || -> Option<(i64, i64)> {
        let split = text.rfind(['+', '-'])?;
        let (clock, zone) = text.split_at(split);
        let seconds = |text: &str| -> Option<f64> {
            let mut total = 0.0;
            for (part, weight) in text.split(':').zip([3600.0, 60.0, 1.0]) {
                total += part.parse::<f64>().ok()? * weight;
            }
            Some(total)
        };
        let east = seconds(zone.get(1..)?)? * if zone.starts_with('-') { -1.0 } else { 1.0 };
        Some(((seconds(clock)? * 1e6).round() as i64, east as i64))
    };
    let (clock, east) = parts().ok_or_else(|| bad("time with time zone", text))?;
    out.extend(ordered(clock - east * 1_000_000));
    // PostgreSQL stores zones westwards, so a more eastern zone is the smaller.
    out.extend(ordered(-east));
    Ok(())
}

fn encode_money(text: &str, out: &mut Vec<u8>) -> Result<(), Diagnosis> {
    let negative = text.contains('-') || text.starts_with('(');
    let digits: String = text.chars().filter(char::is_ascii_digit).collect();
    let value: i64 = digits.parse().ok().ok_or_else(|| bad("money", text))?;
    out.extend(ordered(if negative { -value } else { value }));
    Ok(())
}

fn encode_log_position(text: &str, out: &mut Vec<u8>) -> Result<(), Diagnosis> {
    let parse = || -> Option<u64> {
        let (high, low) = text.split_once('/')?;
        Some((u64::from_str_radix(high, 16).ok()? << 32) | u64::from_str_radix(low, 16).ok()?)
    };
    out.extend(parse().ok_or_else(|| bad("pg_lsn", text))?.to_be_bytes());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(pg_type: PgType, text: &str) -> Vec<u8> {
        let mut out = Vec::new();
        let value = match pg_type.oid {
            1700 => Datum::Numeric(Numeric::from_canonical(text).unwrap()),
            _ => Datum::text(text),
        };
        encode(&pg_type.into(), &value, &mut out).unwrap();
        out
    }

    fn check_order(pg_type: PgType, ascending: &[&str]) {
        for pair in ascending.windows(2) {
            assert!(key(pg_type, pair[0]) < key(pg_type, pair[1]), "{pg_type}: {} < {}", pair[0], pair[1]);
        }
    }

    #[test]
    fn keys_order_like_postgres() {
        check_order(
            PgType::NUMERIC,
            &[
                "-Infinity",
                "-100",
                "-99.5",
                "-10.01",
                "-10",
                "-0.1",
                "-0.01",
                "0",
                "0.001",
                "0.1",
                "9",
                "10",
                "10.5",
                "1e30",
                "Infinity",
                "NaN",
            ],
        );
        check_order(
            PgType::INET,
            &["10.0.0.0/8", "10.0.0.0/16", "10.0.0.1", "10.1.0.0/16", "192.168.1.1/24", "192.168.1.1", "::1"],
        );
        check_order(
            PgType::JSONB,
            &[
                "[]",
                "null",
                "\"a\"",
                "\"b\"",
                "1",
                "2.5",
                "10",
                "false",
                "true",
                "[1]",
                "[1, 2]",
                "{}",
                "{\"aa\": 1}",
                "{\"b\": 1}",
                "{\"a\": 1, \"b\": 2}",
            ],
        );
        check_order(PgType::JSONB, &["12345678901234567890.1", "12345678901234567890.2", "12345678901234567891"]);
        check_order(PgType::TIMETZ, &["10:00:00+02", "09:00:00+00", "10:00:00+00", "23:00:00-05"]);
        check_order(PgType::with_typmod(790, -1), &["-$5.00", "$1.00", "$9.00", "$10.00"]);
    }

    #[test]
    fn keys_of_constants_are_read_back() {
        for text in ["0", "1", "-1", "10.5", "-10.01", "0.001", "-0.25", "1200", "NaN", "Infinity", "-Infinity", "123456789012.5"] {
            assert_eq!(decode(PgType::NUMERIC, &key(PgType::NUMERIC, text)).as_deref(), Some(text));
        }
        assert_eq!(decode(PgType::NUMERIC, &key(PgType::NUMERIC, "1.500")).as_deref(), Some("1.5"));
        assert_eq!(decode(PgType::BPCHAR, &key(PgType::BPCHAR, "ab  ")).as_deref(), Some("ab"));
        assert_eq!(decode(PgType::JSONB, &key(PgType::JSONB, "1")), None);
        assert_eq!(decode(PgType::NUMERIC, b"\x03abc"), None);
    }

    #[test]
    fn equal_values_have_equal_keys() {
        assert_eq!(key(PgType::NUMERIC, "1.0"), key(PgType::NUMERIC, "1.000"));
        assert_eq!(key(PgType::NUMERIC, "-0.00"), key(PgType::NUMERIC, "0"));
        assert_eq!(key(PgType::BPCHAR, "ab  "), key(PgType::BPCHAR, "ab"));
        assert_eq!(key(PgType::JSONB, "{\"a\":1,\"b\":2}"), key(PgType::JSONB, "{\"b\": 2.0, \"a\": 1}"));
        assert_eq!(key(PgType::JSONB, "{\"a\":1,\"a\":2}"), key(PgType::JSONB, "{\"a\": 2.000}"));
    }

    #[test]
    fn intervals_compare_by_thirty_day_months() {
        let month = interval_key(IntervalMonthDayNano::new(1, 0, 0));
        assert_eq!(month, interval_key(IntervalMonthDayNano::new(0, 30, 0)));
        assert!(interval_key(IntervalMonthDayNano::new(0, -1, 0)) < interval_key(IntervalMonthDayNano::new(0, 0, 1)));
        assert!(month < interval_key(IntervalMonthDayNano::new(0, 30, 1)));
    }

    #[test]
    fn values_are_told_apart_as_postgres_does() {
        let floats: ArrayRef = Arc::new(arrow::array::Float64Array::from(vec![0.0, -0.0, f64::NAN, -f64::NAN, 1.0]));
        let texts = |values: &[&str]| -> ArrayRef { Arc::new(arrow::array::StringArray::from(values.to_vec())) };
        let cases = [
            (floats, PgType::FLOAT8),
            (texts(&["1.0", "1.000", "NaN", "NaN", "10"]), PgType::NUMERIC),
            (texts(&["a", "a  ", "", "  ", "b"]), PgType::BPCHAR),
        ];
        for (array, pg_type) in cases {
            let form = told_apart(&array, &pg_type.into()).unwrap().unwrap();
            let same = |left: usize, right: usize| form.slice(left, 1).as_ref() == form.slice(right, 1).as_ref();
            assert!(same(0, 1) && same(2, 3) && !same(0, 2) && !same(0, 4), "{pg_type}");
        }
        let plain = texts(&["a", "a "]);
        assert_eq!(&told_apart(&plain, &PgType::TEXT.into()).unwrap().unwrap(), &plain);
        assert!(told_apart(&plain, &PgType::with_typmod(3614, -1).into()).unwrap().is_none());
    }
}
