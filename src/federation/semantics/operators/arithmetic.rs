//! Checked arithmetic over numbers: integers and floats a batch at a time, `numeric` by value or over the engine's decimals.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Datum as ArrowDatum, Float32Array, Float64Array};
use arrow::compute::kernels::numeric;
use arrow::datatypes::{ArrowPrimitiveType, DataType, Float32Type, Float64Type};
use arrow::error::ArrowError;
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::{ColumnarValue, Expr};
use datafusion::scalar::ScalarValue;

use crate::error::{Diagnosis, sqlstate};
use crate::pgtype::PgType;

use super::super::datum::{Datum, out_of_range};
use super::super::numeric::division_by_zero;
use super::super::typed::{BatchKernel, Call, Kernel, RowKernel, Typed, TypedFunction};
use super::{Decision, How, Operator};

/// Decides an operator over two numeric types given with their ranks in the tower.
pub(super) fn decide(operator: Operator, left: (PgType, u8), right: (PgType, u8)) -> Option<Decision> {
    if operator == Operator::Power {
        let exact = left.1.max(right.1) == 3;
        let pg_type = if exact { PgType::NUMERIC } else { PgType::FLOAT8 };
        let rows = super::super::functions::overloads("power");
        let row = rows.iter().find(|row| row.declared(0) == pg_type)?;
        return Some(Decision { operands: [Some(pg_type); 2], returns: pg_type.into(), how: How::Kernel("power", row.kernel) });
    }
    let (pg_type, rank) = if left.1 >= right.1 { left } else { right };
    let pg_type = PgType::with_typmod(pg_type.oid, -1);
    let kernel: BatchKernel = match (rank, operator) {
        (0..=2, _) => integer_kernel(operator)?,
        (3, _) => {
            return Some(Decision { operands: [None, None], returns: pg_type.into(), how: How::Numeric(name(operator), operator) });
        }
        (_, Operator::Modulo) => return None,
        _ => float_kernel(operator)?,
    };
    // `real` with any other type is computed in double precision.
    let pg_type = if rank >= 4 && left.0.oid != right.0.oid { PgType::FLOAT8 } else { pg_type };
    Some(Decision {
        operands: [Some(pg_type); 2],
        returns: pg_type.into(),
        how: How::Kernel(name(operator), Kernel::Batch(kernel)),
    })
}

pub(super) fn name(operator: Operator) -> &'static str {
    match operator {
        Operator::Add => "pg_add",
        Operator::Subtract => "pg_subtract",
        Operator::Multiply => "pg_multiply",
        Operator::Divide => "pg_divide",
        Operator::Modulo => "pg_modulo",
        Operator::Power => "power",
        Operator::Concat => "concat_operator",
        Operator::Other(name) => name,
    }
}

fn integer_kernel(operator: Operator) -> Option<BatchKernel> {
    Some(match operator {
        Operator::Add => |call, values, _| checked(call, values, numeric::add),
        Operator::Subtract => |call, values, _| checked(call, values, numeric::sub),
        Operator::Multiply => |call, values, _| checked(call, values, numeric::mul),
        Operator::Divide => |call, values, _| checked(call, values, numeric::div),
        Operator::Modulo => |call, values, _| checked(call, values, numeric::rem),
        _ => return None,
    })
}

fn float_kernel(operator: Operator) -> Option<BatchKernel> {
    Some(match operator {
        Operator::Add => |call, values, _| float(call, values, numeric::add, Operator::Add),
        Operator::Subtract => |call, values, _| float(call, values, numeric::sub, Operator::Subtract),
        Operator::Multiply => |call, values, _| float(call, values, numeric::mul, Operator::Multiply),
        Operator::Divide => |call, values, _| float(call, values, numeric::div, Operator::Divide),
        _ => return None,
    })
}

/// The decimal kernel of an operator over carriers whose result fits its carrier.
pub(in super::super) fn decimal_kernel(operator: Operator) -> Option<BatchKernel> {
    match operator {
        Operator::Add | Operator::Subtract | Operator::Multiply => integer_kernel(operator),
        _ => None,
    }
}

/// The row kernel of an operator over `numeric` values of any width.
pub(in super::super) fn numeric_kernel(operator: Operator) -> Option<RowKernel> {
    Some(match operator {
        Operator::Add => |_, a| Ok(Datum::Numeric(a[0].as_numeric().add(&a[1].as_numeric())?)),
        Operator::Subtract => |_, a| Ok(Datum::Numeric(a[0].as_numeric().subtract(&a[1].as_numeric())?)),
        Operator::Multiply => |_, a| Ok(Datum::Numeric(a[0].as_numeric().multiply(&a[1].as_numeric())?)),
        Operator::Divide => |_, a| Ok(Datum::Numeric(a[0].as_numeric().divide(&a[1].as_numeric())?)),
        Operator::Modulo => |_, a| Ok(Datum::Numeric(a[0].as_numeric().remainder(&a[1].as_numeric())?)),
        _ => return None,
    })
}

/// `total / count` as PostgreSQL divides `numeric`, NULL over NULL: what an average is made of.
pub(in super::super::super) fn quotient(total: Expr, count: Expr) -> Expr {
    let numeric: Typed = PgType::NUMERIC.into();
    let kernel: RowKernel = |_, a| Ok(Datum::Numeric(a[0].as_numeric().divide(&a[1].as_numeric())?));
    TypedFunction::new("pg_divide", vec![numeric.clone(), numeric.clone()], numeric, Kernel::Strict(kernel))
        .call(vec![total, count])
}

type ArrowKernel = fn(&dyn ArrowDatum, &dyn ArrowDatum) -> Result<ArrayRef, ArrowError>;

/// Runs an Arrow kernel over columns and scalars.
fn apply(values: &[ColumnarValue], kernel: ArrowKernel) -> Result<ColumnarValue, DataFusionError> {
    let [left, right] = values else { return Err(DataFusionError::Internal("an operator has two operands".to_owned())) };
    let run = |left: &dyn ArrowDatum, right: &dyn ArrowDatum| kernel(left, right).map_err(DataFusionError::from);
    Ok(match (left, right) {
        (ColumnarValue::Array(left), ColumnarValue::Array(right)) => ColumnarValue::Array(run(left, right)?),
        (ColumnarValue::Array(left), ColumnarValue::Scalar(right)) => ColumnarValue::Array(run(left, &right.to_scalar()?)?),
        (ColumnarValue::Scalar(left), ColumnarValue::Array(right)) => ColumnarValue::Array(run(&left.to_scalar()?, right)?),
        (ColumnarValue::Scalar(left), ColumnarValue::Scalar(right)) => {
            let (left, right) = (left.to_array_of_size(1)?, right.to_array_of_size(1)?);
            ColumnarValue::Scalar(ScalarValue::try_from_array(&run(&left, &right)?, 0)?)
        }
    })
}

fn checked(call: &Call<'_>, values: &[ColumnarValue], kernel: ArrowKernel) -> Result<ColumnarValue> {
    apply(values, kernel).map_err(|error| match arrow_cause(&error) {
        Some(ArrowError::DivideByZero) => division_by_zero().into(),
        Some(ArrowError::ArithmeticOverflow(_)) => out_of_range(call.returns.pg_type).into(),
        _ => error,
    })
}

fn arrow_cause(error: &DataFusionError) -> Option<&ArrowError> {
    match error {
        DataFusionError::ArrowError(inner, _) => Some(inner.as_ref()),
        _ => None,
    }
}

fn float(call: &Call<'_>, values: &[ColumnarValue], kernel: ArrowKernel, operator: Operator) -> Result<ColumnarValue> {
    let result = apply(values, kernel)?;
    let rows = match &result {
        ColumnarValue::Array(array) => array.len(),
        ColumnarValue::Scalar(_) => 1,
    };
    let [left, right] = values else { return Ok(result) };
    let arrays = [left.to_array(rows)?, right.to_array(rows)?, result.to_array(rows)?];
    match call.returns.pg_type.oid {
        700 => check_floats::<Float32Type>(&arrays, operator)?,
        _ => check_floats::<Float64Type>(&arrays, operator)?,
    }
    Ok(result)
}

/// PostgreSQL refuses a float result that left the range of finite values, and every division by zero.
fn check_floats<T: ArrowPrimitiveType>(arrays: &[ArrayRef; 3], operator: Operator) -> Result<(), Diagnosis>
where
    T::Native: Into<f64>,
{
    let [left, right, result] = arrays;
    let (left, right, result) = (left.as_primitive::<T>(), right.as_primitive::<T>(), result.as_primitive::<T>());
    let range = |word: &str| Diagnosis::new(sqlstate::NUMERIC_VALUE_OUT_OF_RANGE, format!("value out of range: {word}"));
    for row in 0..result.len() {
        if result.is_null(row) {
            continue;
        }
        let (a, b, c): (f64, f64, f64) = (left.value(row).into(), right.value(row).into(), result.value(row).into());
        if operator == Operator::Divide && b == 0.0 && !a.is_nan() {
            return Err(division_by_zero());
        }
        if c.is_infinite() && a.is_finite() && b.is_finite() {
            return Err(range("overflow"));
        }
        let vanishes = match operator {
            Operator::Multiply => a != 0.0 && b != 0.0,
            Operator::Divide => a != 0.0 && b.is_finite(),
            _ => false,
        };
        if c == 0.0 && vanishes {
            return Err(range("underflow"));
        }
    }
    Ok(())
}

/// The negated value, checked.
pub(in super::super) fn negate_kernel(pg_type: PgType) -> Option<Kernel> {
    Some(match pg_type.oid {
        20 | 21 | 23 => {
            Kernel::Strict(|call, a| a[0].as_int().checked_neg().map(Datum::Int).ok_or_else(|| out_of_range(call.returns.pg_type)))
        }
        700 | 701 => Kernel::Batch(|_, values, rows| negate_floats(values, rows)),
        1700 => Kernel::Strict(|_, a| Ok(Datum::Numeric(a[0].as_numeric().negate()))),
        1186 => Kernel::Strict(|_, a| {
            let value = a[0].as_interval();
            Ok(Datum::Interval(arrow::datatypes::IntervalMonthDayNano::new(
                value.months.wrapping_neg(),
                value.days.wrapping_neg(),
                value.nanoseconds.wrapping_neg(),
            )))
        }),
        _ => return None,
    })
}

fn negate_floats(values: &[ColumnarValue], rows: usize) -> Result<ColumnarValue> {
    let Some(value) = values.first() else { return Err(DataFusionError::Internal("negation has one operand".to_owned())) };
    let scalar = matches!(value, ColumnarValue::Scalar(_));
    let array = value.to_array(if scalar { 1 } else { rows })?;
    let negated: ArrayRef = match array.data_type() {
        DataType::Float32 => Arc::new(array.as_primitive::<Float32Type>().unary::<_, Float32Type>(|value| -value) as Float32Array),
        _ => Arc::new(array.as_primitive::<Float64Type>().unary::<_, Float64Type>(|value| -value) as Float64Array),
    };
    Ok(if scalar { ColumnarValue::Scalar(ScalarValue::try_from_array(&negated, 0)?) } else { ColumnarValue::Array(negated) })
}

/// Precision and scale of an integer or decimal operand; a literal counts its own digits.
pub(in super::super) fn decimal_shape(carrier: &DataType, literal: Option<&ScalarValue>) -> Option<(u8, i8)> {
    let digits = |value: i128| u8::try_from(value.unsigned_abs().to_string().len()).unwrap_or(38);
    match literal {
        Some(ScalarValue::Int16(Some(value))) => return Some((digits(i128::from(*value)), 0)),
        Some(ScalarValue::Int32(Some(value))) => return Some((digits(i128::from(*value)), 0)),
        Some(ScalarValue::Int64(Some(value))) => return Some((digits(i128::from(*value)), 0)),
        _ => {}
    }
    match carrier {
        DataType::Int16 => Some((5, 0)),
        DataType::Int32 => Some((10, 0)),
        DataType::Int64 => Some((19, 0)),
        DataType::Decimal128(precision, scale) if *scale >= 0 => Some((*precision, *scale)),
        _ => None,
    }
}

/// The carrier of an engine decimal operation whose result surely fits and has PostgreSQL's scale.
pub(in super::super) fn decimal_result(operator: Operator, left: Option<(u8, i8)>, right: Option<(u8, i8)>) -> Option<DataType> {
    let ((left, left_scale), (right, right_scale)) = (left?, right?);
    let (left_whole, right_whole) = (i16::from(left) - i16::from(left_scale), i16::from(right) - i16::from(right_scale));
    let (precision, scale) = match operator {
        Operator::Add | Operator::Subtract => {
            let scale = left_scale.max(right_scale);
            (left_whole.max(right_whole) + i16::from(scale) + 1, scale)
        }
        // The engine gives a product one digit more than it needs.
        Operator::Multiply => (i16::from(left) + i16::from(right) + 1, left_scale.checked_add(right_scale)?),
        _ => return None,
    };
    let precision = u8::try_from(precision).ok().filter(|precision| *precision <= 38)?;
    Some(DataType::Decimal128(precision, scale))
}
