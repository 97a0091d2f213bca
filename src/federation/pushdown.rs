//! From engine expressions to row conditions that a store may evaluate. Pure.
//!
//! Only shapes whose meaning is the same in a [`Predicate`] are translated: a column (or a field below one) compared with a
//! literal of the column's own carrier. Everything else gives `None` and stays with the engine, including anything with an
//! outer reference or a subquery (`federation.md` §1.2).

use arrow::datatypes::{DataType, Schema};
use datafusion::logical_expr::expr::{InList, Like, ScalarFunction};
use datafusion::logical_expr::{Between, BinaryExpr, Expr, Operator};
use datafusion::scalar::ScalarValue;

use crate::stores::predicate::{ColumnRef, Comparison, Predicate};
use crate::stores::value::Value;

/// The longest `IN` list that is sent to a store.
pub const IN_LIST_MAX: usize = 20_000;

/// Translates one conjunct over the columns of `schema`, the table's own schema.
pub fn to_predicate(expr: &Expr, schema: &Schema) -> Option<Predicate> {
    match expr {
        Expr::BinaryExpr(binary) => from_binary(binary, schema),
        Expr::IsNull(inner) => Some(Predicate::IsNull { column: column(inner, schema)?.0, negated: false }),
        Expr::IsNotNull(inner) => Some(Predicate::IsNull { column: column(inner, schema)?.0, negated: true }),
        Expr::InList(list) => from_in_list(list, schema),
        Expr::Between(between) => from_between(between, schema),
        Expr::Like(like) => from_like(like, schema),
        Expr::Not(inner) => from_not(inner, schema),
        Expr::Column(_) => truth(expr, schema, true),
        _ => None,
    }
}

fn from_binary(binary: &BinaryExpr, schema: &Schema) -> Option<Predicate> {
    match binary.op {
        Operator::And => Some(Predicate::And(vec![to_predicate(&binary.left, schema)?, to_predicate(&binary.right, schema)?])),
        Operator::Or => Some(Predicate::Or(vec![to_predicate(&binary.left, schema)?, to_predicate(&binary.right, schema)?])),
        op => {
            let op = comparison(op)?;
            match (literal(&binary.left), literal(&binary.right)) {
                (None, Some(value)) => compare(&binary.left, op, value, schema),
                (Some(value), None) => compare(&binary.right, flip(op), value, schema),
                _ => None,
            }
        }
    }
}

fn compare(side: &Expr, op: Comparison, literal: &ScalarValue, schema: &Schema) -> Option<Predicate> {
    let (column, data_type) = column(side, schema)?;
    Some(Predicate::Compare { column, op, value: value(literal, &data_type)? })
}

fn from_in_list(list: &InList, schema: &Schema) -> Option<Predicate> {
    let (column, data_type) = column(&list.expr, schema)?;
    if list.list.is_empty() || list.list.len() > IN_LIST_MAX {
        return None;
    }
    let values: Option<Vec<Value>> = list.list.iter().map(|item| value(literal(item)?, &data_type)).collect();
    Some(Predicate::In { column, values: values?, negated: list.negated })
}

fn from_between(between: &Between, schema: &Schema) -> Option<Predicate> {
    let (low, high) = (literal(&between.low)?, literal(&between.high)?);
    let parts = if between.negated {
        vec![compare(&between.expr, Comparison::Less, low, schema)?, compare(&between.expr, Comparison::Greater, high, schema)?]
    } else {
        vec![
            compare(&between.expr, Comparison::GreaterOrEqual, low, schema)?,
            compare(&between.expr, Comparison::LessOrEqual, high, schema)?,
        ]
    };
    Some(if between.negated { Predicate::Or(parts) } else { Predicate::And(parts) })
}

fn from_like(like: &Like, schema: &Schema) -> Option<Predicate> {
    let (column, data_type) = column(&like.expr, schema)?;
    if !matches!(data_type, DataType::Utf8) || !matches!(like.escape_char, None | Some('\\')) {
        return None;
    }
    let Value::Text(pattern) = value(literal(&like.pattern)?, &data_type)? else { return None };
    Some(Predicate::Like { column, pattern, negated: like.negated, case_insensitive: like.case_insensitive })
}

fn from_not(inner: &Expr, schema: &Schema) -> Option<Predicate> {
    match inner {
        Expr::Column(_) => truth(inner, schema, false),
        _ => None,
    }
}

/// A boolean column standing for itself.
fn truth(expr: &Expr, schema: &Schema, wanted: bool) -> Option<Predicate> {
    let (column, data_type) = column(expr, schema)?;
    (data_type == DataType::Boolean).then_some(Predicate::Compare { column, op: Comparison::Equal, value: Value::Bool(wanted) })
}

/// A column, or a chain of struct fields below one, with its Arrow type.
fn column(expr: &Expr, schema: &Schema) -> Option<(ColumnRef, DataType)> {
    match expr {
        Expr::Column(column) => {
            let (ordinal, field) = schema.column_with_name(&column.name)?;
            Some((ColumnRef::of(ordinal), field.data_type().clone()))
        }
        Expr::ScalarFunction(ScalarFunction { func, args }) if func.name() == "get_field" => {
            let (first, fields) = args.split_first()?;
            let (mut found, mut data_type) = column(first, schema)?;
            for field in fields {
                let Some(ScalarValue::Utf8(Some(name))) = literal(field) else { return None };
                let DataType::Struct(children) = &data_type else { return None };
                let child = children.iter().find(|child| child.name() == name)?;
                found.path.push(name.clone());
                data_type = child.data_type().clone();
            }
            Some((found, data_type))
        }
        Expr::Alias(alias) => column(&alias.expr, schema),
        _ => None,
    }
}

fn literal(expr: &Expr) -> Option<&ScalarValue> {
    match expr {
        Expr::Literal(value, _) => Some(value),
        Expr::Alias(alias) => literal(&alias.expr),
        _ => None,
    }
}

fn comparison(op: Operator) -> Option<Comparison> {
    Some(match op {
        Operator::Eq => Comparison::Equal,
        Operator::NotEq => Comparison::NotEqual,
        Operator::Lt => Comparison::Less,
        Operator::LtEq => Comparison::LessOrEqual,
        Operator::Gt => Comparison::Greater,
        Operator::GtEq => Comparison::GreaterOrEqual,
        _ => return None,
    })
}

fn flip(op: Comparison) -> Comparison {
    match op {
        Comparison::Less => Comparison::Greater,
        Comparison::LessOrEqual => Comparison::GreaterOrEqual,
        Comparison::Greater => Comparison::Less,
        Comparison::GreaterOrEqual => Comparison::LessOrEqual,
        Comparison::Equal => Comparison::Equal,
        Comparison::NotEqual => Comparison::NotEqual,
    }
}

/// A literal as a store-neutral value; only when its type is the column's own, so that no conversion can change it.
fn value(literal: &ScalarValue, column: &DataType) -> Option<Value> {
    if literal.data_type() != *column {
        return None;
    }
    Some(match literal {
        ScalarValue::Boolean(Some(truth)) => Value::Bool(*truth),
        ScalarValue::Int16(Some(number)) => Value::Int(i64::from(*number)),
        ScalarValue::Int32(Some(number)) => Value::Int(i64::from(*number)),
        ScalarValue::Int64(Some(number)) => Value::Int(*number),
        ScalarValue::Float32(Some(number)) => Value::Float(f64::from(*number)),
        ScalarValue::Float64(Some(number)) => Value::Float(*number),
        ScalarValue::Decimal128(Some(unscaled), _, scale) => {
            Value::Decimal { unscaled: *unscaled, scale: u8::try_from(*scale).ok()? }
        }
        ScalarValue::Utf8(Some(text)) => Value::Text(text.clone()),
        ScalarValue::Binary(Some(bytes)) => Value::Bytes(bytes.clone()),
        ScalarValue::Date32(Some(days)) => Value::Date(*days),
        ScalarValue::Time64Microsecond(Some(micros)) => Value::Time(*micros),
        ScalarValue::TimestampMicrosecond(Some(micros), None) => Value::Timestamp(*micros),
        ScalarValue::TimestampMicrosecond(Some(micros), Some(_)) => Value::TimestampTz(*micros),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::datatypes::Field;
    use datafusion::prelude::{col, lit};

    use super::*;

    fn schema() -> Schema {
        let address = DataType::Struct(vec![Arc::new(Field::new("city", DataType::Utf8, true))].into());
        Schema::new(vec![
            Field::new("id", DataType::Int64, false),
            Field::new("name", DataType::Utf8, true),
            Field::new("open", DataType::Boolean, true),
            Field::new("address", address, true),
        ])
    }

    fn check(expr: &Expr, expected: Option<Predicate>) {
        assert_eq!(to_predicate(expr, &schema()), expected, "{expr}");
    }

    fn compare(column: usize, op: Comparison, value: Value) -> Predicate {
        Predicate::Compare { column: ColumnRef::of(column), op, value }
    }

    #[test]
    fn comparisons_with_literals_of_the_same_type_are_translated() {
        check(&col("id").gt(lit(5_i64)), Some(compare(0, Comparison::Greater, Value::Int(5))));
        check(&lit(5_i64).gt(col("id")), Some(compare(0, Comparison::Less, Value::Int(5))));
        check(&col("id").gt(lit(5_i32)), None);
        check(&col("id").eq(col("id")), None);
        check(&col("open"), Some(compare(2, Comparison::Equal, Value::Bool(true))));
        check(&Expr::Not(Box::new(col("open"))), Some(compare(2, Comparison::Equal, Value::Bool(false))));
        check(&Expr::Not(Box::new(col("id").gt(lit(5_i64)))), None);
        check(&(col("id") + lit(1_i64)).gt(lit(5_i64)), None);
    }

    #[test]
    fn nested_fields_lists_and_patterns_are_translated() {
        let city = datafusion::functions::core::expr_fn::get_field(col("address"), "city");
        let path = ColumnRef { column: 3, path: vec!["city".to_owned()] };
        check(&city.is_null(), Some(Predicate::IsNull { column: path, negated: false }));
        let list = vec![lit("a"), lit("b")];
        let values = vec![Value::Text("a".to_owned()), Value::Text("b".to_owned())];
        check(&col("name").in_list(list, true), Some(Predicate::In { column: ColumnRef::of(1), values, negated: true }));
        check(&col("name").in_list(vec![lit("a"), lit(ScalarValue::Utf8(None))], false), None);
        let like = Predicate::Like { column: ColumnRef::of(1), pattern: "a%".to_owned(), negated: false, case_insensitive: false };
        check(&col("name").like(lit("a%")), Some(like));
    }
}
