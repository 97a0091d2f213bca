//! Floats as the engine may compare them: one zero, one NaN.
//!
//! The engine orders floats by the `totalOrder` of IEEE 754, which tells -0 from 0 and one NaN from another. To PostgreSQL the
//! zeros are equal, all NaNs are equal, and NaN is the greatest value (manual, "Floating-Point Types"). Over canonical values
//! both orders are the same, so `float_key` makes comparisons, sort keys, group keys and join keys right at the price of one
//! addition; values that are shown stay as they are.

use std::cmp::Ordering;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Float32Array, Float64Array, ListArray};
use arrow::datatypes::{DataType, Float32Type, Float64Type};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::{ColumnarValue, Expr};
use datafusion::scalar::ScalarValue;

use crate::pgtype::PgType;

use super::datum::first_scalar;
use super::typed::{Call, Kernel, Typed, TypedFunction};

/// The function's name. A condition over `float_key(column)` is the condition PostgreSQL has over the column, so that pushdown
/// looks through it.
pub const NAME: &str = "float_key";

/// Whether values are floats.
pub(super) fn is_float(pg_type: PgType) -> bool {
    matches!(pg_type.oid, 700 | 701)
}

/// Whether values are floats or arrays of them.
pub(super) fn holds_floats(pg_type: PgType) -> bool {
    is_float(pg_type.element().unwrap_or(pg_type))
}

/// `float_key(expr)` over a carrier of floats; literals are computed at once, keys stay themselves.
pub(in super::super) fn call(expr: Expr, typed: &Typed, carrier: DataType) -> Expr {
    match expr {
        Expr::Literal(ScalarValue::Float64(Some(value)), metadata) => {
            Expr::Literal(ScalarValue::Float64(Some(canonical(value))), metadata)
        }
        Expr::Literal(ScalarValue::Float32(Some(value)), metadata) => {
            Expr::Literal(ScalarValue::Float32(Some(canonical_single(value))), metadata)
        }
        key if is_key(&key) => key,
        expr => {
            let typed = typed.without_modifier();
            let function = TypedFunction::new(NAME, vec![typed.clone()], typed, Kernel::Batch(kernel));
            function.with_carrier(carrier).call(vec![expr])
        }
    }
}

/// Whether the expression is already what [`call`] makes.
pub(super) fn is_key(expr: &Expr) -> bool {
    matches!(expr, Expr::ScalarFunction(call) if call.func.name() == NAME)
}

/// The one value that stands for all that are equal to it.
pub(super) fn canonical(value: f64) -> f64 {
    // -0 + 0 is 0 under rounding to nearest; the quiet NaN without a sign is above infinity in the total order.
    if value.is_nan() { f64::from_bits(0x7ff8_0000_0000_0000) } else { value + 0.0 }
}

fn canonical_single(value: f32) -> f32 {
    if value.is_nan() { f32::from_bits(0x7fc0_0000) } else { value + 0.0 }
}

/// PostgreSQL's order of two floats.
pub(super) fn compare(left: f64, right: f64) -> Ordering {
    canonical(left).total_cmp(&canonical(right))
}

fn kernel(_: &Call<'_>, values: &[ColumnarValue], _rows: usize) -> Result<ColumnarValue> {
    match values.first() {
        Some(ColumnarValue::Array(array)) => canonical_array(array).map(ColumnarValue::Array),
        Some(ColumnarValue::Scalar(scalar)) => {
            let array = canonical_array(&scalar.to_array_of_size(1)?)?;
            Ok(ColumnarValue::Scalar(first_scalar(&array)?))
        }
        None => Err(DataFusionError::Internal("a key has one argument".to_owned())),
    }
}

fn canonical_array(array: &ArrayRef) -> Result<ArrayRef> {
    Ok(match array.data_type() {
        DataType::Float64 => Arc::new(array.as_primitive::<Float64Type>().unary::<_, Float64Type>(canonical) as Float64Array),
        DataType::Float32 => {
            Arc::new(array.as_primitive::<Float32Type>().unary::<_, Float32Type>(canonical_single) as Float32Array)
        }
        DataType::List(item) => {
            let list = array.as_list::<i32>();
            let values = canonical_array(list.values())?;
            Arc::new(ListArray::try_new(Arc::clone(item), list.offsets().clone(), values, list.nulls().cloned())?)
        }
        _ => Arc::clone(array),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zeros_and_nans_are_equal_and_nan_is_the_greatest() {
        let ascending = [f64::NEG_INFINITY, -1.0, -0.0, f64::MIN_POSITIVE, f64::INFINITY, f64::NAN];
        for pair in ascending.windows(2) {
            assert_eq!(compare(pair[0], pair[1]), Ordering::Less, "{pair:?}");
        }
        assert_eq!(compare(0.0, -0.0), Ordering::Equal);
        assert_eq!(compare(f64::NAN, -f64::NAN), Ordering::Equal);
        assert_eq!(compare(f64::from_bits(0x7ff0_0000_0000_0001), f64::INFINITY), Ordering::Greater);
    }

    #[test]
    fn columns_and_lists_of_columns_become_canonical() {
        let floats: ArrayRef = Arc::new(Float32Array::from(vec![Some(-0.0), None, Some(-f32::NAN), Some(1.5)]));
        let bits =
            |array: &ArrayRef| array.as_primitive::<Float32Type>().iter().map(|value| value.map(f32::to_bits)).collect::<Vec<_>>();
        let expected = vec![Some(0), None, Some(0x7fc0_0000), Some(1.5_f32.to_bits())];
        assert_eq!(bits(&canonical_array(&floats).unwrap()), expected);
        let list = ListArray::new(
            Arc::new(arrow::datatypes::Field::new("item", DataType::Float32, true)),
            arrow::buffer::OffsetBuffer::from_lengths([4]),
            floats,
            None,
        );
        let list: ArrayRef = Arc::new(list);
        assert_eq!(bits(canonical_array(&list).unwrap().as_list::<i32>().values()), expected);
    }
}
