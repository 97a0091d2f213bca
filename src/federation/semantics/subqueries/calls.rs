//! The functions that joins made of subqueries need: which rows are the same, floats as keys, and that there is only one row.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Float64Array, Int64Array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Float64Type, Int64Type};
use arrow::row::{RowConverter, SortField};
use datafusion::error::Result;
use datafusion::logical_expr::{ColumnarValue, Expr, Volatility};

use crate::error::{Diagnosis, sqlstate};
use crate::pgtype::PgType;

use super::super::typed::{Call, Kernel, Typed, TypedFunction};

/// Bytes that are equal exactly where all of the values are the same, NULL included. A join on them needs no equality that
/// takes NULL for equal, which the optimiser would extend to other conditions of the join.
pub(super) fn identity(values: Vec<Expr>) -> Expr {
    let types = vec![Typed::from(PgType::BYTEA); values.len()];
    let function = TypedFunction::new("row_identity", types, PgType::BYTEA.into(), Kernel::Batch(identify));
    function.with_carrier(DataType::Binary).call(values)
}

fn identify(_: &Call<'_>, values: &[ColumnarValue], rows: usize) -> Result<ColumnarValue> {
    let arrays = values.iter().map(|value| value.to_array(rows)).collect::<Result<Vec<ArrayRef>>>()?;
    let fields = arrays.iter().map(|array| SortField::new(array.data_type().clone())).collect();
    let encoded = RowConverter::new(fields)?.convert_columns(&arrays)?;
    Ok(ColumnarValue::Array(Arc::new(encoded.try_into_binary()?)))
}

/// The bits of a float as an integer, which groups of the engine keep as they are: -0 and 0 stay two values.
pub(super) fn bits(value: Expr) -> Expr {
    let function = TypedFunction::new("float_bits", vec![PgType::FLOAT8.into()], PgType::INT8.into(), Kernel::Batch(to_bits));
    function.with_carrier(DataType::Int64).call(vec![value])
}

fn to_bits(_: &Call<'_>, values: &[ColumnarValue], rows: usize) -> Result<ColumnarValue> {
    let [value] = values else { return Err(super::lost("a float")) };
    let floats = cast(&value.to_array(rows)?, &DataType::Float64)?;
    let bits: Int64Array = floats.as_primitive::<Float64Type>().unary(|float| float.to_bits().cast_signed());
    Ok(ColumnarValue::Array(Arc::new(bits)))
}

/// The float of such bits, as the field has it.
pub(super) fn of_bits(key: Expr, field: &Field) -> Expr {
    let kernel = match field.data_type() {
        DataType::Float32 => of_bits_single,
        _ => of_bits_double,
    };
    let function = TypedFunction::new("float_of_bits", vec![PgType::INT8.into()], Typed::of_field(field), Kernel::Batch(kernel));
    function.with_carrier(field.data_type().clone()).call(vec![key])
}

fn of_bits_double(_: &Call<'_>, values: &[ColumnarValue], rows: usize) -> Result<ColumnarValue> {
    Ok(ColumnarValue::Array(Arc::new(doubles(values, rows)?)))
}

fn of_bits_single(_: &Call<'_>, values: &[ColumnarValue], rows: usize) -> Result<ColumnarValue> {
    Ok(ColumnarValue::Array(cast(&doubles(values, rows)?, &DataType::Float32)?))
}

fn doubles(values: &[ColumnarValue], rows: usize) -> Result<Float64Array> {
    let [value] = values else { return Err(super::lost("the bits of a float")) };
    Ok(value.to_array(rows)?.as_primitive::<Int64Type>().unary(|bits| f64::from_bits(bits.cast_unsigned())))
}

/// `value`, which is NULL where its subquery has no row. The engine takes a scalar subquery for as little NULL as its column is,
/// and answers `IS NULL` without looking.
pub(super) fn or_null(value: Expr, typed: Typed, carrier: DataType) -> Expr {
    let kernel = Kernel::Batch(|_, values, _| values.first().cloned().ok_or_else(|| super::lost("a value")));
    let function = TypedFunction::new(OR_NULL, vec![typed.clone()], typed, kernel).with_carrier(carrier);
    function.with_volatility(Volatility::Volatile).call(vec![value])
}

/// Whether a function is volatile only so that the optimiser leaves it where it stands.
pub(super) fn is_fixed(name: &str) -> bool {
    matches!(name, OR_NULL | ONLY_ROW)
}

const OR_NULL: &str = "or_null";
const ONLY_ROW: &str = "only_row";

/// `value`, the first of `count` rows; a second one is an error. It is computed where it stands and never moved below a join,
/// where it would complain about rows that no outer row asks for.
pub(super) fn only_row(value: Expr, count: Expr, typed: Typed, carrier: DataType) -> Expr {
    let types = vec![typed.clone(), PgType::INT8.into()];
    let function = TypedFunction::new(ONLY_ROW, types, typed, Kernel::Batch(check)).with_carrier(carrier);
    function.with_volatility(Volatility::Volatile).call(vec![value, count])
}

fn check(_: &Call<'_>, values: &[ColumnarValue], rows: usize) -> Result<ColumnarValue> {
    let [value, count] = values else { return Err(super::lost("a row count")) };
    let counts = count.to_array(rows)?;
    if counts.as_primitive::<Int64Type>().iter().flatten().any(|count| count > 1) {
        let message = "more than one row returned by a subquery used as an expression";
        return Err(Diagnosis::new(sqlstate::CARDINALITY_VIOLATION, message).into());
    }
    Ok(value.clone())
}

#[cfg(test)]
mod tests {
    use arrow::array::{BinaryArray, Int64Array, StringArray};

    use super::*;
    use crate::federation::semantics::settings::SessionValues;
    use crate::federation::semantics::typed::Kept;

    fn call<T>(with: impl FnOnce(&Call<'_>) -> T) -> T {
        with(&Call { arguments: &[], returns: &PgType::TEXT.into(), session: SessionValues::default(), kept: Kept::default() })
    }

    #[test]
    fn the_same_values_have_the_same_bytes_and_null_is_a_value() {
        let texts: ArrayRef = Arc::new(StringArray::from(vec![Some("a"), None, Some("a"), None, Some("")]));
        let numbers: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), Some(2), Some(1), Some(2), None]));
        let made = call(|call| identify(call, &[ColumnarValue::Array(texts), ColumnarValue::Array(numbers)], 5)).unwrap();
        let ColumnarValue::Array(made) = made else { panic!("{made:?}") };
        let made: &BinaryArray = made.as_binary();
        assert_eq!(made.null_count(), 0);
        assert_eq!((made.value(0), made.value(1)), (made.value(2), made.value(3)));
        assert!(made.value(0) != made.value(1) && made.value(1) != made.value(4));
    }

    #[test]
    fn a_second_row_is_an_error() {
        let value = || ColumnarValue::Array(Arc::new(StringArray::from(vec!["a", "b"])) as ArrayRef);
        let counts = |counts: [Option<i64>; 2]| ColumnarValue::Array(Arc::new(Int64Array::from(counts.to_vec())) as ArrayRef);
        assert!(call(|call| check(call, &[value(), counts([Some(1), None])], 2)).is_ok());
        let error = call(|call| check(call, &[value(), counts([Some(1), Some(2)])], 2)).unwrap_err();
        assert!(error.to_string().contains("more than one row"), "{error}");
    }
}
