//! Constants of the engine as store-neutral values. Pure.

use datafusion::scalar::ScalarValue;

use crate::pgtype::PgType;
use crate::stores::value::Value;

/// The value of a literal whose Postgres type is known, `Some(None)` for NULL; `None` for types that have no store-neutral form.
pub(super) fn value(literal: &ScalarValue, pg_type: PgType) -> Option<Option<Value>> {
    if literal.is_null() {
        return Some(None);
    }
    Some(Some(match (literal, pg_type.oid) {
        (ScalarValue::Boolean(Some(truth)), 16) => Value::Bool(*truth),
        (ScalarValue::Int16(Some(number)), 21) => Value::Int(i64::from(*number)),
        (ScalarValue::Int32(Some(number)), 23) => Value::Int(i64::from(*number)),
        (ScalarValue::Int64(Some(number)), 20 | 26) => Value::Int(*number),
        (ScalarValue::Float32(Some(number)), 700) => Value::Float(f64::from(*number)),
        (ScalarValue::Float64(Some(number)), 701) => Value::Float(*number),
        (ScalarValue::Decimal128(Some(unscaled), _, scale), 1700) => {
            Value::Decimal { unscaled: *unscaled, scale: u8::try_from(*scale).ok()? }
        }
        (ScalarValue::Utf8(Some(text)), 1700) => Value::Numeric(text.clone()),
        (ScalarValue::Utf8(Some(text)), 19 | 25 | 705 | 1042 | 1043 | 2950) => Value::Text(text.clone()),
        (ScalarValue::Binary(Some(bytes)), 17) => Value::Bytes(bytes.clone()),
        (ScalarValue::Date32(Some(days)), 1082) => Value::Date(*days),
        (ScalarValue::Time64Microsecond(Some(micros)), 1083) => Value::Time(*micros),
        (ScalarValue::TimestampMicrosecond(Some(micros), None), 1114) => Value::Timestamp(*micros),
        (ScalarValue::TimestampMicrosecond(Some(micros), Some(_)), 1184) => Value::TimestampTz(*micros),
        _ => return None,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constants_keep_their_type_and_value() {
        let rows = [
            (ScalarValue::Int32(Some(7)), PgType::INT4, Some(Some(Value::Int(7)))),
            (ScalarValue::Int32(None), PgType::INT4, Some(None)),
            (ScalarValue::from("1.50"), PgType::NUMERIC, Some(Some(Value::Numeric("1.50".to_owned())))),
            (ScalarValue::Decimal128(Some(150), 5, 2), PgType::NUMERIC, Some(Some(Value::Decimal { unscaled: 150, scale: 2 }))),
            (ScalarValue::from("a"), PgType::UNKNOWN, Some(Some(Value::Text("a".to_owned())))),
            (ScalarValue::from("{}"), PgType::JSONB, None),
            (ScalarValue::Int64(Some(7)), PgType::NUMERIC, None),
            (ScalarValue::IntervalYearMonth(Some(1)), PgType::INTERVAL, None),
        ];
        for (literal, pg_type, expected) in rows {
            assert_eq!(value(&literal, pg_type), expected, "{literal:?}");
        }
    }
}
