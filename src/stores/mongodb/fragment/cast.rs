//! Conversions that MongoDB does as PostgreSQL does, errors included.

use mongodb::bson::{Bson, doc};

use super::cell::{Cell, Kind, Value, all_of, either, is_null};
use super::constant::constant;
use super::expression::{value, with_values};
use super::{decimal, raise};
use crate::pgtype::PgType;
use crate::stores::fragment::{Expression, Node, Refusal};

const REFUSED: &str = "the conversion is done here";

/// `CAST(operand AS …)`.
pub(super) fn cast(expression: &Expression, operand: &Expression, cells: &[Cell]) -> Result<Value, Refusal> {
    let refused = |rule: &'static str| Refusal::new(expression, rule);
    if let Node::Literal(None) = operand.node {
        return constant(expression.pg_type, None).map_err(refused);
    }
    let given = value(operand, cells)?;
    convert(given, operand.pg_type, expression.pg_type).map_err(refused)
}

fn convert(given: Value, from: PgType, to: PgType) -> Result<Value, &'static str> {
    let kind = Kind::of(to).ok_or(REFUSED)?;
    match (given.kind, kind) {
        (Kind::Int, Kind::Int) => Ok(match bounds(to) {
            Some((least, most, rule)) if width(to) < width(from) => checked(given, kind, (least, most), rule),
            _ => given,
        }),
        (Kind::Int, Kind::Decimal { scale }) => {
            let bson = strict(&given, "$toDecimal");
            let whole = Value { bson, kind: Kind::Decimal { scale: 0 }, nullable: given.nullable };
            constrained(whole, to, scale)
        }
        (Kind::Decimal { scale: had }, Kind::Decimal { scale }) if to.numeric_shape().is_none() || had <= scale => {
            constrained(given, to, scale)
        }
        (Kind::Int | Kind::Decimal { .. }, Kind::Float) => {
            Ok(Value { bson: strict(&given, "$toDouble"), kind, nullable: given.nullable })
        }
        (Kind::Int, Kind::Text) if to.typmod < 0 => Ok(Value { bson: strict(&given, "$toString"), kind, nullable: given.nullable }),
        (Kind::Text, Kind::Text) if to.typmod < 0 => Ok(given),
        (Kind::Bool, Kind::Bool) | (Kind::Float, Kind::Float) | (Kind::Moment, Kind::Moment) if to.typmod < 0 => Ok(given),
        (Kind::Day, Kind::Day) | (Kind::Uuid, Kind::Uuid) => Ok(given),
        _ => Err(REFUSED),
    }
}

/// The conversions of the server give null for null.
fn strict(given: &Value, operator: &str) -> Bson {
    Bson::Document(doc! { operator: &given.bson })
}

/// A number under the precision and scale of `numeric(p, s)`. All its digits fit the scale.
fn constrained(given: Value, to: PgType, scale: u8) -> Result<Value, &'static str> {
    let Some((precision, _)) = to.numeric_shape() else { return Ok(given) };
    let whole = i32::from(precision) - i32::from(scale);
    let kind = Kind::Decimal { scale };
    if whole >= 35 {
        // The numbers of the server have 34 digits.
        return Ok(Value { kind, ..given });
    }
    let (least, most) = (decimal(-1, whole).ok_or(REFUSED)?, decimal(1, whole).ok_or(REFUSED)?);
    let nullable = given.nullable;
    let bson = with_values(&[given], |used| {
        let number = used.first().cloned().unwrap_or(Bson::Null);
        let inside =
            all_of(vec![Bson::Document(doc! { "$gt": [&number, least] }), Bson::Document(doc! { "$lt": [&number, most] })]);
        let passes = if nullable { super::cell::one_of(vec![is_null(&number), inside]) } else { inside };
        either(passes, number.clone(), raise::beyond("numeric field overflow", number))
    });
    Ok(Value { bson, kind, nullable })
}

fn width(pg_type: PgType) -> i16 {
    pg_type.typlen()
}

/// The least and greatest value of an integer type, and PostgreSQL's words for what lies beyond.
pub(super) fn bounds(pg_type: PgType) -> Option<(i64, i64, &'static str)> {
    Some(match pg_type {
        PgType::INT2 => (i64::from(i16::MIN), i64::from(i16::MAX), "smallint out of range"),
        PgType::INT4 => (i64::from(i32::MIN), i64::from(i32::MAX), "integer out of range"),
        PgType::INT8 => (i64::MIN, i64::MAX, "bigint out of range"),
        _ => return None,
    })
}

/// An integer that must lie within bounds; decimals become integers.
pub(super) fn checked(given: Value, kind: Kind, (least, most): (i64, i64), rule: &'static str) -> Value {
    let nullable = given.nullable;
    let bson = with_values(&[given], |used| {
        let number = used.first().cloned().unwrap_or(Bson::Null);
        let inside =
            all_of(vec![Bson::Document(doc! { "$gte": [&number, least] }), Bson::Document(doc! { "$lte": [&number, most] })]);
        let found = either(inside, Bson::Document(doc! { "$toLong": &number }), raise::beyond(rule, number.clone()));
        if nullable { either(is_null(&number), Bson::Null, found) } else { found }
    });
    Value { bson, kind, nullable }
}
