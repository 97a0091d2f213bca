//! Document values as relaxed extended JSON (MongoDB Extended JSON v2): the text of mixed columns and of `_doc`.

use std::fmt::Write;

use base64::Engine;
use chrono::DateTime;

use super::value::{Decimal, DocumentValue, Fields, Mismatch};

/// Appends a value.
///
/// # Errors
/// Bytes that cannot be read.
pub fn write(value: &DocumentValue<'_>, text: &mut String) -> Result<(), Box<Mismatch>> {
    match value {
        DocumentValue::Null => text.push_str("null"),
        DocumentValue::Bool(truth) => text.push_str(if *truth { "true" } else { "false" }),
        DocumentValue::Int(number) => text.push_str(itoa::Buffer::new().format(*number)),
        DocumentValue::Double(number) => write_double(*number, text),
        DocumentValue::Decimal(decimal) => {
            text.push_str("{\"$numberDecimal\":\"");
            write_decimal(*decimal, text);
            text.push_str("\"}");
        }
        DocumentValue::Date(millis) => write_date(*millis, text),
        DocumentValue::ObjectId(bytes) => {
            text.push_str("{\"$oid\":\"");
            write_hex(bytes, text);
            text.push_str("\"}");
        }
        DocumentValue::Uuid(bytes) => write_binary(bytes, 4, text),
        DocumentValue::Binary(bytes, subtype) => write_binary(bytes, *subtype, text),
        DocumentValue::Text(content) => write_text(content, text),
        DocumentValue::Document(fields) => write_document(*fields, text)?,
        DocumentValue::List(elements) => {
            text.push('[');
            let mut first = true;
            elements.visit(&mut |element| {
                text.push_str(if std::mem::take(&mut first) { "" } else { "," });
                write(&element, text)
            })?;
            text.push(']');
        }
        DocumentValue::Other(_, extended) => text.push_str(extended),
    }
    Ok(())
}

/// Appends a whole document.
///
/// # Errors
/// Bytes that cannot be read.
pub fn write_document(document: &dyn Fields, text: &mut String) -> Result<(), Box<Mismatch>> {
    text.push('{');
    let mut first = true;
    document.visit(&mut |name, value| {
        text.push_str(if std::mem::take(&mut first) { "" } else { "," });
        write_text(name, text);
        text.push(':');
        write(&value, text)
    })?;
    text.push('}');
    Ok(())
}

fn push(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    // `fmt::Write` into a `String` cannot fail.
    let _ = text.write_fmt(arguments);
}

/// Appends a JSON string.
pub fn write_text(content: &str, text: &mut String) {
    text.push('"');
    for character in content.chars() {
        match character {
            '"' => text.push_str("\\\""),
            '\\' => text.push_str("\\\\"),
            '\n' => text.push_str("\\n"),
            '\r' => text.push_str("\\r"),
            '\t' => text.push_str("\\t"),
            control if control < ' ' => push(text, format_args!("\\u{:04x}", u32::from(control))),
            other => text.push(other),
        }
    }
    text.push('"');
}

fn write_double(number: f64, text: &mut String) {
    if number.is_nan() {
        text.push_str("{\"$numberDouble\":\"NaN\"}");
    } else if number.is_infinite() {
        push(text, format_args!("{{\"$numberDouble\":\"{}Infinity\"}}", if number < 0.0 { "-" } else { "" }));
    } else {
        // `{:?}` is the shortest text that reads back as the same double, and always has a point or an exponent.
        push(text, format_args!("{number:?}"));
    }
}

/// Appends a decimal as plain digits, in Postgres' spelling of the values without digits.
pub fn write_decimal(decimal: Decimal, text: &mut String) {
    match decimal {
        Decimal::NaN => text.push_str("NaN"),
        Decimal::Infinity => text.push_str("Infinity"),
        Decimal::NegativeInfinity => text.push_str("-Infinity"),
        Decimal::Finite { unscaled, exponent } => {
            text.push_str(if unscaled < 0 { "-" } else { "" });
            let digits = unscaled.unsigned_abs().to_string();
            let Ok(scale) = usize::try_from(-i64::from(exponent)) else {
                text.push_str(&digits);
                if unscaled != 0 {
                    (0..exponent).for_each(|_| text.push('0'));
                }
                return;
            };
            let padding = (scale + 1).saturating_sub(digits.len());
            let padded = format!("{}{digits}", "0".repeat(padding));
            let (whole, fraction) = padded.split_at(padded.len() - scale);
            text.push_str(whole);
            if scale > 0 {
                text.push('.');
                text.push_str(fraction);
            }
        }
    }
}

fn write_date(millis: i64, text: &mut String) {
    // The specification uses the readable form for the years 1970 to 9999 only.
    match DateTime::from_timestamp_millis(millis).filter(|_| (0..253_402_300_800_000).contains(&millis)) {
        Some(moment) => {
            let shape = if millis % 1000 == 0 { "%Y-%m-%dT%H:%M:%SZ" } else { "%Y-%m-%dT%H:%M:%S%.3fZ" };
            push(text, format_args!("{{\"$date\":\"{}\"}}", moment.format(shape)));
        }
        None => push(text, format_args!("{{\"$date\":{{\"$numberLong\":\"{millis}\"}}}}")),
    }
}

/// Appends bytes as lower-case hexadecimal digits.
pub fn write_hex(bytes: &[u8], text: &mut String) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for byte in bytes {
        for half in [byte >> 4, byte & 15] {
            text.push(DIGITS.get(usize::from(half)).map_or('0', |digit| char::from(*digit)));
        }
    }
}

fn write_binary(bytes: &[u8], subtype: u8, text: &mut String) {
    text.push_str("{\"$binary\":{\"base64\":\"");
    base64::engine::general_purpose::STANDARD.encode_string(bytes, text);
    push(text, format_args!("\",\"subType\":\"{subtype:02x}\"}}}}"));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stores::document::json::document_value;

    fn check(value: &DocumentValue<'_>, expected: &str) {
        let mut text = String::new();
        write(value, &mut text).unwrap();
        assert_eq!(text, expected);
        serde_json::from_str::<serde_json::Value>(&text).unwrap();
    }

    #[test]
    fn every_kind_of_value_has_its_extended_json() {
        let decimal = |unscaled, exponent| DocumentValue::Decimal(Decimal::Finite { unscaled, exponent });
        check(&DocumentValue::Double(5.0), "5.0");
        check(&DocumentValue::Double(1e300), "1e300");
        check(&DocumentValue::Double(f64::NAN), "{\"$numberDouble\":\"NaN\"}");
        check(&DocumentValue::Double(f64::NEG_INFINITY), "{\"$numberDouble\":\"-Infinity\"}");
        check(&decimal(-105, -2), "{\"$numberDecimal\":\"-1.05\"}");
        check(&decimal(5, -3), "{\"$numberDecimal\":\"0.005\"}");
        check(&decimal(5, 3), "{\"$numberDecimal\":\"5000\"}");
        check(&decimal(0, 3), "{\"$numberDecimal\":\"0\"}");
        check(&DocumentValue::Date(0), "{\"$date\":\"1970-01-01T00:00:00Z\"}");
        check(&DocumentValue::Date(1_001), "{\"$date\":\"1970-01-01T00:00:01.001Z\"}");
        check(&DocumentValue::Date(-1), "{\"$date\":{\"$numberLong\":\"-1\"}}");
        check(&DocumentValue::ObjectId([0xab; 12]), "{\"$oid\":\"abababababababababababab\"}");
        check(&DocumentValue::Binary(b"hi", 0), "{\"$binary\":{\"base64\":\"aGk=\",\"subType\":\"00\"}}");
        check(&DocumentValue::Text("a\"\\\n\u{1}ü"), "\"a\\\"\\\\\\n\\u0001ü\"");
    }

    #[test]
    fn json_reads_back_as_itself() {
        let value = serde_json::json!({"a": [1, 2.5, null, "x"], "b": {"c": true, "": {}}});
        check(&document_value(&value), "{\"a\":[1,2.5,null,\"x\"],\"b\":{\"c\":true,\"\":{}}}");
    }
}
