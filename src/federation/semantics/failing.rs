//! Window functions that fail for every row, because a count that no row has a part in is none. Where there are no rows PostgreSQL does
//! not look at the count, so the failure is a call among the arguments, which are computed for rows that there are.

use arrow::datatypes::DataType;
use datafusion::error::Result;
use datafusion::logical_expr::{ColumnarValue, Expr, Volatility};

use super::typed::{BatchKernel, Call, Kernel, Typed, TypedFunction};
use crate::error::{Diagnosis, sqlstate};

/// PostgreSQL's `ERRCODE_INVALID_ARGUMENT_FOR_NTILE`.
const INVALID_NTILE: &str = "22014";
/// PostgreSQL's `ERRCODE_INVALID_ARGUMENT_FOR_NTH_VALUE`.
const INVALID_NTH_VALUE: &str = "22016";

/// A value of a type, in place of which each row gets the error of `ntile(0)`.
pub(super) fn ntile(value: Expr, typed: Typed, carrier: DataType) -> Expr {
    failing("failing_ntile", fail_ntile, value, (typed, carrier))
}

/// The same with the error of `nth_value(x, 0)`.
pub(super) fn nth_value(value: Expr, typed: Typed, carrier: DataType) -> Expr {
    failing("failing_nth_value", fail_nth_value, value, (typed, carrier))
}

/// It counts as another value each time, so that nobody computes it before there are rows.
fn failing(name: &'static str, kernel: BatchKernel, value: Expr, (typed, carrier): (Typed, DataType)) -> Expr {
    let function = TypedFunction::new(name, vec![typed.clone()], typed, Kernel::Batch(kernel)).with_carrier(carrier);
    function.with_volatility(Volatility::Volatile).call(vec![value])
}

fn fail_ntile(_: &Call<'_>, values: &[ColumnarValue], rows: usize) -> Result<ColumnarValue> {
    fail(values, rows, INVALID_NTILE, "ntile")
}

fn fail_nth_value(_: &Call<'_>, values: &[ColumnarValue], rows: usize) -> Result<ColumnarValue> {
    fail(values, rows, INVALID_NTH_VALUE, "nth_value")
}

fn fail(values: &[ColumnarValue], rows: usize, code: &str, name: &str) -> Result<ColumnarValue> {
    if rows > 0 {
        return Err(Diagnosis::new(code, format!("argument of {name} must be greater than zero")).into());
    }
    values.first().cloned().ok_or_else(|| Diagnosis::new(sqlstate::INTERNAL_ERROR, "a value is missing").into())
}

#[cfg(test)]
mod tests {
    use datafusion::scalar::ScalarValue;

    use super::*;

    #[test]
    fn only_rows_fail() {
        let value = [ColumnarValue::Scalar(ScalarValue::Int32(None))];
        assert!(fail(&value, 0, INVALID_NTILE, "ntile").is_ok());
        let error = fail(&value, 1, INVALID_NTILE, "ntile").unwrap_err();
        assert!(error.to_string().contains("argument of ntile must be greater than zero"), "{error}");
    }
}
