//! Conditions of a statement that is not planned, over rows of a copy.
//!
//! Only columns whose carriers compare as their types do are known here, as in `fast/condition`.

use std::sync::Arc;

use arrow::datatypes::{DataType, TimeUnit};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::Operator;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{BinaryExpr, Column, InListExpr, IsNotNullExpr, IsNullExpr, Literal};
use datafusion::physical_expr::utils::conjunction_opt;
use datafusion::scalar::ScalarValue;

use crate::stores::Table;
use crate::stores::predicate::{ColumnRef, Comparison, Predicate};
use crate::stores::value::Value;

/// All conditions as one over the columns of `read`, ordinals of the table's; `None` when there are none.
///
/// # Errors
/// What is not known here.
pub(super) fn all(conditions: &[Predicate], table: &Table, read: &[usize]) -> Result<Option<Arc<dyn PhysicalExpr>>> {
    let schema = table.project(read);
    let one = |condition: &Predicate| -> Result<Arc<dyn PhysicalExpr>> {
        Ok(match condition {
            Predicate::Compare { column, op, value } => {
                let (column, data_type) = column_of(column, table, read)?;
                Arc::new(BinaryExpr::new(column, operator(*op), literal(value, &data_type)?))
            }
            Predicate::In { column, values, negated } => {
                let (column, data_type) = column_of(column, table, read)?;
                let list = values.iter().map(|value| literal(value, &data_type)).collect::<Result<Vec<_>>>()?;
                Arc::new(InListExpr::try_new(column, list, *negated, &schema)?)
            }
            Predicate::IsNull { column, negated: false } => Arc::new(IsNullExpr::new(column_of(column, table, read)?.0)),
            Predicate::IsNull { column, negated: true } => Arc::new(IsNotNullExpr::new(column_of(column, table, read)?.0)),
            _ => return Err(unknown()),
        })
    };
    let all = conditions.iter().map(one).collect::<Result<Vec<_>>>()?;
    Ok(conjunction_opt(all))
}

fn unknown() -> DataFusionError {
    DataFusionError::Internal("a condition that is not known of copies".to_owned())
}

/// The column as one of those that are read, and its carrier.
fn column_of(column: &ColumnRef, table: &Table, read: &[usize]) -> Result<(Arc<dyn PhysicalExpr>, DataType)> {
    let place = read.iter().position(|ordinal| *ordinal == column.column && column.path.is_empty());
    let (Some(place), Some(found)) = (place, table.columns.get(column.column)) else { return Err(unknown()) };
    Ok((Arc::new(Column::new(found.name(), place)), found.field.data_type().clone()))
}

fn operator(op: Comparison) -> Operator {
    match op {
        Comparison::Equal => Operator::Eq,
        Comparison::NotEqual => Operator::NotEq,
        Comparison::Less => Operator::Lt,
        Comparison::LessOrEqual => Operator::LtEq,
        Comparison::Greater => Operator::Gt,
        Comparison::GreaterOrEqual => Operator::GtEq,
    }
}

/// A value of the column's own carrier.
fn literal(value: &Value, data_type: &DataType) -> Result<Arc<dyn PhysicalExpr>> {
    let scalar = match (value, data_type) {
        (Value::Bool(truth), DataType::Boolean) => ScalarValue::Boolean(Some(*truth)),
        (Value::Int(number), DataType::Int16) => ScalarValue::Int16(Some(i16::try_from(*number).map_err(unfit)?)),
        (Value::Int(number), DataType::Int32) => ScalarValue::Int32(Some(i32::try_from(*number).map_err(unfit)?)),
        (Value::Int(number), DataType::Int64) => ScalarValue::Int64(Some(*number)),
        (Value::Text(text), DataType::Utf8) => ScalarValue::Utf8(Some(text.clone())),
        (Value::Date(days), DataType::Date32) => ScalarValue::Date32(Some(*days)),
        (Value::Timestamp(micros), DataType::Timestamp(TimeUnit::Microsecond, None)) => {
            ScalarValue::TimestampMicrosecond(Some(*micros), None)
        }
        (Value::TimestampTz(micros), DataType::Timestamp(TimeUnit::Microsecond, Some(zone))) => {
            ScalarValue::TimestampMicrosecond(Some(*micros), Some(Arc::clone(zone)))
        }
        _ => return Err(unknown()),
    };
    Ok(Arc::new(Literal::new(scalar)))
}

fn unfit(error: std::num::TryFromIntError) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}
