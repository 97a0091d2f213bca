//! Conditions worked out here with Postgres' semantics: three-valued logic, text by bytes, NaN above all other floats. What a
//! store is pushed is compared with this.

use std::cmp::Ordering;
use std::str::FromStr;

use arrow::array::{Array, AsArray};
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Decimal256Type, Float32Type, Float64Type, Int16Type, Int32Type, Int64Type,
    Time64MicrosecondType, TimestampMicrosecondType,
};
use bigdecimal::BigDecimal;
use tributary::pgtype::PgType;
use tributary::stores::Predicate;
use tributary::stores::predicate::{ColumnRef, Comparison, Rows};
use tributary::stores::value::Value;

/// All comparison operators.
pub const OPERATORS: [Comparison; 6] = [
    Comparison::Equal,
    Comparison::NotEqual,
    Comparison::Less,
    Comparison::LessOrEqual,
    Comparison::Greater,
    Comparison::GreaterOrEqual,
];

/// The value of a cell: `None` is NULL. A carrier that no [`Value`] stands for gives `Some(None)`.
pub fn value(array: &dyn Array, row: usize, pg_type: PgType) -> Option<Option<Value>> {
    if array.is_null(row) {
        return None;
    }
    Some(match array.data_type() {
        DataType::Boolean => Some(Value::Bool(array.as_boolean().value(row))),
        DataType::Int16 => Some(Value::Int(array.as_primitive::<Int16Type>().value(row).into())),
        DataType::Int32 => Some(Value::Int(array.as_primitive::<Int32Type>().value(row).into())),
        DataType::Int64 => Some(Value::Int(array.as_primitive::<Int64Type>().value(row))),
        DataType::Float32 => Some(Value::Float(array.as_primitive::<Float32Type>().value(row).into())),
        DataType::Float64 => Some(Value::Float(array.as_primitive::<Float64Type>().value(row))),
        DataType::Decimal128(_, scale) => {
            let unscaled = array.as_primitive::<Decimal128Type>().value(row);
            Some(Value::Decimal { unscaled, scale: u8::try_from(*scale).unwrap() })
        }
        DataType::Decimal256(..) => Some(Value::Numeric(array.as_primitive::<Decimal256Type>().value_as_string(row))),
        DataType::Utf8 if pg_type.oid == PgType::NUMERIC.oid => {
            Some(Value::Numeric(array.as_string::<i32>().value(row).to_owned()))
        }
        DataType::Utf8 => Some(Value::Text(array.as_string::<i32>().value(row).to_owned())),
        DataType::Binary => Some(Value::Bytes(array.as_binary::<i32>().value(row).to_vec())),
        DataType::Date32 => Some(Value::Date(array.as_primitive::<Date32Type>().value(row))),
        DataType::Time64(_) => Some(Value::Time(array.as_primitive::<Time64MicrosecondType>().value(row))),
        DataType::Timestamp(_, None) => Some(Value::Timestamp(array.as_primitive::<TimestampMicrosecondType>().value(row))),
        DataType::Timestamp(_, Some(_)) => Some(Value::TimestampTz(array.as_primitive::<TimestampMicrosecondType>().value(row))),
        _ => None,
    })
}

/// What a condition is asked about: the value of a column, as [`value`] gives it.
pub type Cells<'a> = &'a dyn Fn(&ColumnRef) -> Option<Option<Value>>;

/// Whether a row satisfies a condition; `None` is NULL.
pub fn holds(cells: Cells<'_>, predicate: &Predicate) -> Option<bool> {
    let known = |column: &ColumnRef| cells(column).map(|value| value.expect("a value that is compared"));
    match predicate {
        Predicate::And(parts) => all(parts.iter().map(|part| holds(cells, part))),
        Predicate::Or(parts) => all(parts.iter().map(|part| holds(cells, part).map(|truth| !truth))).map(|truth| !truth),
        Predicate::IsNull { column, negated } => Some(cells(column).is_some() == *negated),
        Predicate::Compare { column, op, value } => Some(satisfies(*op, compare(&known(column)?, value))),
        Predicate::In { column, values, negated } => {
            let left = known(column)?;
            Some(values.iter().any(|value| compare(&left, value).is_eq()) != *negated)
        }
        Predicate::Rows(rows) => {
            let is_row = |row: &Vec<Value>| {
                let pairs = rows.columns.iter().zip(row);
                all(pairs.map(|(column, value)| Some(compare(&known(column)?, value).is_eq())))
            };
            all(rows.rows.iter().map(|row| is_row(row).map(|truth| !truth))).map(|truth| !truth)
        }
        Predicate::Like { column, pattern, negated, case_insensitive } => {
            let fold = |text: &str| if *case_insensitive { text.to_lowercase() } else { text.to_owned() };
            let Value::Text(text) = known(column)? else { panic!("LIKE is for text") };
            let text: Vec<char> = fold(&text).chars().collect();
            let pattern: Vec<char> = fold(pattern).chars().collect();
            Some(like(&text, &pattern) != *negated)
        }
    }
}

/// `AND`: false wins over NULL.
fn all(parts: impl Iterator<Item = Option<bool>>) -> Option<bool> {
    let parts: Vec<Option<bool>> = parts.collect();
    if parts.contains(&Some(false)) { Some(false) } else { parts.into_iter().collect::<Option<Vec<_>>>().map(|_| true) }
}

fn like(text: &[char], pattern: &[char]) -> bool {
    match pattern {
        [] => text.is_empty(),
        ['%', rest @ ..] => (0..=text.len()).any(|skip| like(&text[skip..], rest)),
        ['_', rest @ ..] => !text.is_empty() && like(&text[1..], rest),
        ['\\', literal, rest @ ..] | [literal, rest @ ..] => text.first() == Some(literal) && like(&text[1..], rest),
    }
}

/// Whether an order is one that an operator asks for.
pub fn satisfies(op: Comparison, order: Ordering) -> bool {
    match op {
        Comparison::Equal => order.is_eq(),
        Comparison::NotEqual => order.is_ne(),
        Comparison::Less => order.is_lt(),
        Comparison::LessOrEqual => order.is_le(),
        Comparison::Greater => order.is_gt(),
        Comparison::GreaterOrEqual => order.is_ge(),
    }
}

/// The order of two values of one type.
pub fn compare(left: &Value, right: &Value) -> Ordering {
    match (left, right) {
        (Value::Bool(left), Value::Bool(right)) => left.cmp(right),
        (Value::Int(left), Value::Int(right)) => left.cmp(right),
        (Value::Float(left), Value::Float(right)) => left.partial_cmp(right).unwrap_or_else(|| left.is_nan().cmp(&right.is_nan())),
        (Value::Decimal { unscaled: left, scale }, Value::Decimal { unscaled: right, scale: same }) if scale == same => {
            left.cmp(right)
        }
        (Value::Text(left), Value::Text(right)) => left.as_bytes().cmp(right.as_bytes()),
        (Value::Bytes(left), Value::Bytes(right)) => left.cmp(right),
        (Value::Date(left), Value::Date(right)) => left.cmp(right),
        (Value::Time(left), Value::Time(right))
        | (Value::Timestamp(left), Value::Timestamp(right))
        | (Value::TimestampTz(left), Value::TimestampTz(right)) => left.cmp(right),
        _ => numbers(&digits(left), &digits(right)),
    }
}

fn digits(value: &Value) -> String {
    match value {
        Value::Int(number) => number.to_string(),
        Value::Decimal { unscaled, scale } => format!("{unscaled}e-{scale}"),
        Value::Numeric(text) => text.clone(),
        other => panic!("{other:?} is compared with a value of another type"),
    }
}

fn numbers(left: &str, right: &str) -> Ordering {
    let rank = |text: &str| match text {
        "-Infinity" => 0,
        "Infinity" => 2,
        "NaN" => 3,
        _ => 1,
    };
    rank(left).cmp(&rank(right)).then_with(|| match rank(left) {
        1 => BigDecimal::from_str(left).unwrap().cmp(&BigDecimal::from_str(right).unwrap()),
        _ => Ordering::Equal,
    })
}

#[test]
fn the_oracle_itself_follows_the_rules() {
    let value = |column: &ColumnRef| match column.column {
        0 => None,
        1 => Some(Some(Value::Int(5))),
        _ => Some(Some(Value::Text("a%b".to_owned()))),
    };
    let equal =
        |column, number| Predicate::Compare { column: ColumnRef::of(column), op: Comparison::Equal, value: Value::Int(number) };
    let rows = |columns: [usize; 2], rows: &[[i64; 2]]| {
        let rows = rows.iter().map(|row| row.map(Value::Int).to_vec()).collect();
        Predicate::Rows(Rows { columns: columns.map(ColumnRef::of).to_vec(), rows })
    };
    let pattern = |pattern: &str| Predicate::Like {
        column: ColumnRef::of(2),
        pattern: pattern.to_owned(),
        negated: false,
        case_insensitive: false,
    };
    let rows = [
        (equal(0, 5), None),
        (equal(1, 5), Some(true)),
        (Predicate::And(vec![equal(0, 5), equal(1, 6)]), Some(false)),
        (rows([1, 1], &[[5, 5], [5, 6]]), Some(true)),
        (rows([1, 1], &[[5, 6]]), Some(false)),
        (rows([0, 1], &[[5, 5]]), None),
        (rows([0, 1], &[[5, 6]]), Some(false)),
        (Predicate::And(vec![equal(0, 5), equal(1, 5)]), None),
        (Predicate::Or(vec![equal(0, 5), equal(1, 5)]), Some(true)),
        (Predicate::Or(vec![equal(0, 5), equal(1, 6)]), None),
        (Predicate::In { column: ColumnRef::of(0), values: vec![Value::Int(1)], negated: true }, None),
        (Predicate::IsNull { column: ColumnRef::of(0), negated: false }, Some(true)),
        (pattern("a\\%_"), Some(true)),
        (pattern("a\\_%"), Some(false)),
    ];
    for (predicate, expected) in rows {
        assert_eq!(holds(&value, &predicate), expected, "{predicate:?}");
    }
    assert_eq!(compare(&Value::Float(f64::NAN), &Value::Float(f64::INFINITY)), Ordering::Greater);
    assert_eq!(compare(&Value::Numeric("1e2".to_owned()), &Value::Decimal { unscaled: 1000, scale: 1 }), Ordering::Equal);
}
