//! Functions and operators that MongoDB computes as PostgreSQL does, errors included.
//!
//! Integers are added as decimals, which hold every result exactly, and are then looked at for PostgreSQL's range. Decimals
//! have 34 digits: a result at or above the number that would need more is an error (22003), because it may have been
//! rounded; any smaller one is exact.

use mongodb::bson::{Bson, doc};

use super::cast::{bounds, checked};
use super::cell::{Cell, Kind, Value, all_of, either, is_null, one_of};
use super::expression::{DIGITS, common_kind, value, with_values};
use super::{decimal, raise};
use crate::stores::fragment::{Expression, Function, Node, Refusal};
use crate::stores::value as plain;

/// Digits of a decimal of the server.
pub(super) const DIGITS_MAX: i32 = 34;
/// More digits after the point leave too few before it.
const SCALE_MAX: u8 = 20;

const LOCAL: &str = "the function is computed here";
const OPERANDS: &str = "the operation over these types is computed here";
/// What the error says when a result has more digits than the server computes with.
pub(super) const WIDE: &str = "numeric field overflow: MongoDB computes with 34 digits";

/// A call of a function of the list.
pub(super) fn call(
    expression: &Expression,
    function: Function,
    arguments: &[Expression],
    cells: &[Cell],
) -> Result<Value, Refusal> {
    let values = arguments.iter().map(|argument| value(argument, cells)).collect::<Result<Vec<_>, _>>()?;
    let found = match function {
        Function::Add | Function::Subtract | Function::Multiply => arithmetic(expression, function, &values),
        Function::Modulo => modulo(&values, arguments),
        Function::Negate | Function::Absolute => signed(expression, function, &values),
        Function::Floor | Function::Ceiling | Function::Truncate => whole(function, &values),
        Function::Coalesce => coalesce(&values),
        Function::NullIf => null_if(&values),
        Function::Greatest | Function::Least => extreme(function, &values),
        _ => text(function, &values, arguments),
    };
    found.map_err(|rule| Refusal::new(expression, rule))
}

/// `body` over the values, NULL when one of them is.
fn strict(values: &[Value], kind: Kind, body: impl FnOnce(&[Bson]) -> Bson) -> Value {
    let nullable = values.iter().any(|value| value.nullable);
    let bson = with_values(values, |used| {
        let nulls: Vec<Bson> = used.iter().zip(values).filter(|(_, value)| value.nullable).map(|(used, _)| is_null(used)).collect();
        let body = body(used);
        if nulls.is_empty() { body } else { either(one_of(nulls), Bson::Null, body) }
    });
    Value { bson, kind, nullable }
}

fn operator(function: Function) -> &'static str {
    match function {
        Function::Subtract => "$subtract",
        Function::Multiply => "$multiply",
        _ => "$add",
    }
}

fn arithmetic(expression: &Expression, function: Function, values: &[Value]) -> Result<Value, &'static str> {
    let [left, right] = values else { return Err(LOCAL) };
    if left.is_null() || right.is_null() {
        return Err("an operand is NULL");
    }
    match (left.kind, right.kind) {
        (Kind::Int, Kind::Int) => {
            let (least, most, rule) = bounds(expression.pg_type).ok_or(OPERANDS)?;
            let sum = strict(values, Kind::Int, |used| {
                let decimals: Vec<Bson> = used.iter().map(|used| Bson::Document(doc! { "$toDecimal": used })).collect();
                Bson::Document(doc! { operator(function): decimals })
            });
            Ok(checked(sum, Kind::Int, (least, most), rule))
        }
        (Kind::Decimal { scale: one }, Kind::Decimal { scale: other }) => {
            let scale = if function == Function::Multiply { one + other } else { one.max(other) };
            let result = strict(values, Kind::Decimal { scale }, |used| Bson::Document(doc! { operator(function): used.to_vec() }));
            exact(result, scale)
        }
        (Kind::Float, Kind::Float) => Ok(strict(values, Kind::Float, |used| float(function, used))),
        _ => Err(OPERANDS),
    }
}

/// A decimal that is exact, or an error: what has more digits than fit is not below the bound, rounded or not.
pub(super) fn exact(given: Value, scale: u8) -> Result<Value, &'static str> {
    if scale > SCALE_MAX {
        return Err("the result has many digits after the point");
    }
    let end = DIGITS_MAX - i32::from(scale);
    let (least, most) = (decimal(-1, end).ok_or(OPERANDS)?, decimal(1, end).ok_or(OPERANDS)?);
    let nullable = given.nullable;
    let kind = given.kind;
    let bson = with_values(&[given], |used| {
        let number = used.first().cloned().unwrap_or(Bson::Null);
        let inside =
            all_of(vec![Bson::Document(doc! { "$gt": [&number, least] }), Bson::Document(doc! { "$lt": [&number, most] })]);
        let passes = if nullable { one_of(vec![is_null(&number), inside]) } else { inside };
        either(passes, number.clone(), raise::beyond(WIDE, number))
    });
    Ok(Value { bson, kind, nullable })
}

fn is_infinite(value: &Bson) -> Bson {
    Bson::Document(doc! { "$eq": [{ "$abs": value }, f64::INFINITY] })
}

/// PostgreSQL refuses results that are infinite, or zero, only because they are too large or too small.
fn float(function: Function, used: &[Bson]) -> Bson {
    let result = Bson::String("$$result".to_owned());
    let finite: Vec<Bson> = used.iter().map(|used| Bson::Document(doc! { "$not": [is_infinite(used)] })).collect();
    let overflow = all_of(std::iter::once(is_infinite(&result)).chain(finite).collect());
    let mut checked = either(overflow, raise::beyond("value out of range: overflow", result.clone()), result.clone());
    if function == Function::Multiply {
        let not_zero = |used: &Bson| Bson::Document(doc! { "$ne": [used, 0.0] });
        let zero = Bson::Document(doc! { "$eq": [&result, 0.0] });
        let underflow = all_of(std::iter::once(zero).chain(used.iter().map(not_zero)).collect());
        checked = either(underflow, raise::beyond("value out of range: underflow", result), checked);
    }
    Bson::Document(doc! { "$let": { "vars": { "result": { operator(function): used.to_vec() } }, "in": checked } })
}

/// The remainder by a constant; the only divisors with trouble are 0 and -1.
fn modulo(values: &[Value], arguments: &[Expression]) -> Result<Value, &'static str> {
    let ([left, right], [_, divisor]) = (values, arguments) else { return Err(LOCAL) };
    let Node::Literal(Some(plain::Value::Int(number))) = divisor.node else { return Err(OPERANDS) };
    if left.kind != Kind::Int || right.kind != Kind::Int || matches!(number, 0 | -1) {
        return Err(OPERANDS);
    }
    Ok(strict(values, Kind::Int, |used| Bson::Document(doc! { "$mod": used.to_vec() })))
}

fn signed(expression: &Expression, function: Function, values: &[Value]) -> Result<Value, &'static str> {
    let [operand] = values else { return Err(LOCAL) };
    let apply = |used: Bson, one: Bson| {
        let call = if function == Function::Negate {
            doc! { "$multiply": [one, used] }
        } else {
            doc! { "$abs": used }
        };
        Bson::Document(call)
    };
    let one = decimal(-1, 0).ok_or(LOCAL)?;
    let first = |used: &[Bson]| used.first().cloned().unwrap_or(Bson::Null);
    match operand.kind {
        Kind::Int => {
            let (least, most, rule) = bounds(expression.pg_type).ok_or(OPERANDS)?;
            let result = strict(values, Kind::Int, |used| apply(Bson::Document(doc! { "$toDecimal": first(used) }), one));
            Ok(checked(result, Kind::Int, (least, most), rule))
        }
        kind @ Kind::Decimal { .. } => Ok(strict(values, kind, |used| apply(first(used), one))),
        Kind::Float => Ok(strict(values, Kind::Float, |used| apply(first(used), Bson::Double(-1.0)))),
        _ => Err(OPERANDS),
    }
}

fn whole(function: Function, values: &[Value]) -> Result<Value, &'static str> {
    let ([operand], true) = (values, values.iter().all(|value| value.kind == Kind::Float)) else { return Err(OPERANDS) };
    let operator = match function {
        Function::Floor => "$floor",
        Function::Ceiling => "$ceil",
        _ => "$trunc",
    };
    // Null gives null.
    Ok(Value { bson: Bson::Document(doc! { operator: &operand.bson }), ..operand.clone() })
}

fn coalesce(values: &[Value]) -> Result<Value, &'static str> {
    let kind = common_kind(values).ok_or(DIGITS)?;
    let nullable = values.iter().all(|value| value.nullable);
    let all: Vec<Bson> = values.iter().map(|value| value.bson.clone()).collect();
    let bson = match all.as_slice() {
        [] => return Err(LOCAL),
        [only] => only.clone(),
        _ => Bson::Document(doc! { "$ifNull": all }),
    };
    Ok(Value { bson, kind, nullable })
}

fn null_if(values: &[Value]) -> Result<Value, &'static str> {
    let [left, right] = values else { return Err(LOCAL) };
    if left.kind != right.kind || left.is_null() || right.is_null() {
        return Err(OPERANDS);
    }
    // Two nulls are equal here, and give NULL, as one of them would.
    let bson = with_values(values, |used| {
        either(Bson::Document(doc! { "$eq": used.to_vec() }), Bson::Null, used.first().cloned().unwrap_or(Bson::Null))
    });
    Ok(Value { bson, kind: left.kind, nullable: true })
}

fn extreme(function: Function, values: &[Value]) -> Result<Value, &'static str> {
    let kind = common_kind(values).ok_or(DIGITS)?;
    if kind == Kind::Float {
        return Err("NaN is above all other floats");
    }
    let operator = if function == Function::Greatest { "$max" } else { "$min" };
    let all: Vec<Bson> = values.iter().map(|value| value.bson.clone()).collect();
    let nullable = values.iter().all(|value| value.nullable);
    Ok(Value { bson: Bson::Document(doc! { operator: all }), kind, nullable })
}

/// The constant integer of an argument.
fn number(argument: Option<&Expression>) -> Option<i64> {
    match argument.map(|argument| &argument.node) {
        Some(Node::Literal(Some(plain::Value::Int(number)))) => Some(*number),
        _ => None,
    }
}

/// The constant text of an argument, when it has a letter.
fn letters(argument: Option<&Expression>) -> Option<&str> {
    match argument.map(|argument| &argument.node) {
        Some(Node::Literal(Some(plain::Value::Text(text)))) if !text.is_empty() => Some(text),
        _ => None,
    }
}

fn text(function: Function, values: &[Value], arguments: &[Expression]) -> Result<Value, &'static str> {
    let Some(subject) = values.first() else { return Err(LOCAL) };
    if subject.kind != Kind::Text || subject.is_null() {
        return Err(LOCAL);
    }
    let texts = values.iter().all(|value| value.kind == Kind::Text && !value.is_null());
    let doc = Bson::Document;
    let one = std::slice::from_ref(subject);
    Ok(match (function, arguments.len()) {
        (Function::Concat, 2) if texts => strict(values, Kind::Text, |used| doc(doc! { "$concat": used.to_vec() })),
        (Function::Length, 1) => strict(one, Kind::Int, |used| doc(doc! { "$strLenCP": used[0].clone() })),
        (Function::OctetLength, 1) => strict(one, Kind::Int, |used| doc(doc! { "$strLenBytes": used[0].clone() })),
        (Function::Position, 2) if texts => {
            strict(values, Kind::Int, |used| doc(doc! { "$add": [{ "$indexOfCP": used.to_vec() }, 1_i64] }))
        }
        (Function::StartsWith, 2) if texts => strict(values, Kind::Bool, |used| {
            // Looked for in the first bytes only, of which a character may be cut: nothing else is asked for.
            doc(doc! { "$eq": [{ "$indexOfBytes": [&used[0], &used[1], 0_i64, { "$strLenBytes": &used[1] }] }, 0_i64] })
        }),
        (Function::Replace, 3) if texts && letters(arguments.get(1)).is_some() => strict(values, Kind::Text, |used| {
            doc(doc! { "$replaceAll": { "input": &used[0], "find": &used[1], "replacement": &used[2] } })
        }),
        (Function::Trim | Function::TrimStart | Function::TrimEnd, 1 | 2) => return trim(function, one, arguments),
        (Function::Left | Function::Right | Function::Substring, 2 | 3) => return part(function, one, arguments),
        _ => return Err(LOCAL),
    })
}

fn trim(function: Function, one: &[Value], arguments: &[Expression]) -> Result<Value, &'static str> {
    let letters = if arguments.len() == 1 { " " } else { letters(arguments.get(1)).ok_or(LOCAL)? };
    let operator = match function {
        Function::TrimStart => "$ltrim",
        Function::TrimEnd => "$rtrim",
        _ => "$trim",
    };
    Ok(strict(one, Kind::Text, |used| {
        Bson::Document(doc! { operator: { "input": &used[0], "chars": super::cell::literal(letters) } })
    }))
}

/// A part of a text by constant places, in characters.
fn part(function: Function, one: &[Value], arguments: &[Expression]) -> Result<Value, &'static str> {
    const FAR: i64 = 1 << 30;
    let place = number(arguments.get(1)).filter(|place| (-FAR..FAR).contains(place)).ok_or("a place that is no constant")?;
    let count = match arguments.get(2) {
        None => None,
        some => Some(number(some).filter(|count| (0..FAR).contains(count)).ok_or("a length that is no constant")?),
    };
    let doc = Bson::Document;
    Ok(match function {
        Function::Left if place >= 0 && count.is_none() => {
            strict(one, Kind::Text, |used| doc(doc! { "$substrCP": [&used[0], 0_i64, place] }))
        }
        Function::Right if place >= 0 && count.is_none() => strict(one, Kind::Text, |used| {
            let start = doc(doc! { "$max": [0_i64, { "$subtract": [{ "$strLenCP": &used[0] }, place] }] });
            doc(doc! { "$substrCP": [&used[0], start, place] })
        }),
        Function::Substring => {
            // Places before the first character count towards the length.
            let start = place.max(1);
            let length = count.map(|count| (place + count - start).max(0));
            strict(one, Kind::Text, |used| {
                let length = length.map_or_else(|| doc(doc! { "$strLenCP": &used[0] }), Bson::Int64);
                doc(doc! { "$substrCP": [&used[0], start - 1, length] })
            })
        }
        _ => return Err(LOCAL),
    })
}
