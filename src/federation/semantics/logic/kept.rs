//! A value that is computed for the rows that pass a filter, and NULL for the others.

use std::sync::Arc;

use arrow::array::{Array, AsArray, UInt32Array, new_null_array};
use arrow::compute::{cast, take};
use arrow::datatypes::{DataType, FieldRef};
use datafusion::common::DFSchema;
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::expr::{HigherOrderFunction, Lambda};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ExprSchemable, HigherOrderFunctionArgs, HigherOrderReturnFieldArgs, HigherOrderSignature, HigherOrderUDF,
    HigherOrderUDFImpl, LambdaArgument, LambdaParametersProgress, ValueOrLambda, Volatility,
};

use super::super::resolve::lazy::for_rows;
use super::super::typed::Typed;
use super::super::types::expr_type;

/// The value where the filter is true.
///
/// # Errors
/// What telling the type of the value fails with.
pub(super) fn call(filter: Expr, value: Expr, schema: &DFSchema) -> Result<Expr> {
    let (typed, carrier) = (expr_type(&value, schema)?, value.get_type(schema)?);
    let function = Kept { typed, carrier, signature: HigherOrderSignature::variadic_any(Volatility::Immutable) };
    let arguments = vec![filter, Expr::Lambda(Lambda::new(Vec::new(), value))];
    Ok(Expr::HigherOrderFunction(HigherOrderFunction::new(Arc::new(HigherOrderUDF::new_from_impl(function)), arguments)))
}

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Kept {
    typed: Typed,
    carrier: DataType,
    signature: HigherOrderSignature,
}

impl HigherOrderUDFImpl for Kept {
    fn name(&self) -> &str {
        "kept"
    }

    fn signature(&self) -> &HigherOrderSignature {
        &self.signature
    }

    fn lambda_parameters(
        &self,
        _step: usize,
        fields: &[ValueOrLambda<FieldRef, Option<FieldRef>>],
    ) -> Result<LambdaParametersProgress> {
        let lambdas = fields.iter().filter(|field| matches!(field, ValueOrLambda::Lambda(_)));
        Ok(LambdaParametersProgress::Complete(lambdas.map(|_| Vec::new()).collect()))
    }

    fn return_field_from_args(&self, _arguments: HigherOrderReturnFieldArgs<'_>) -> Result<FieldRef> {
        Ok(self.typed.field(self.name(), self.carrier.clone()))
    }

    fn clear_null_values(&self) -> bool {
        false
    }

    fn short_circuits(&self) -> bool {
        true
    }

    fn conditional_arguments<'a>(&self, arguments: &'a [Expr]) -> Option<(Vec<&'a Expr>, Vec<&'a Expr>)> {
        let (first, rest) = arguments.split_first()?;
        Some((vec![first], rest.iter().collect()))
    }

    fn invoke_with_args(&self, arguments: HigherOrderFunctionArgs) -> Result<ColumnarValue> {
        let rows = arguments.number_rows;
        let [filter, value]: [ValueOrLambda<ColumnarValue, LambdaArgument>; 2] = arguments
            .args
            .try_into()
            .map_err(|_wrong_number| DataFusionError::Internal("a value is kept by one filter".to_owned()))?;
        let all: Vec<u32> = (0..u32::try_from(rows).unwrap_or(u32::MAX)).collect();
        let filter = for_rows(filter, &all)?;
        let Some(filter) = filter.as_boolean_opt() else {
            return Err(DataFusionError::Internal("a filter is no condition".to_owned()));
        };
        let passes = |row: &usize| filter.is_valid(*row) && filter.value(*row);
        let passing: Vec<u32> = (0..rows).filter(passes).filter_map(|row| u32::try_from(row).ok()).collect();
        if passing.is_empty() {
            return Ok(ColumnarValue::Array(new_null_array(&self.carrier, rows)));
        }
        let values = for_rows(value, &passing)?;
        let mut next: u32 = 0;
        let place = |row: usize| {
            passes(&row).then(|| {
                next += 1;
                next - 1
            })
        };
        let places: UInt32Array = (0..rows).map(place).collect();
        let spread = take(&values, &places, None)?;
        Ok(ColumnarValue::Array(if *spread.data_type() == self.carrier { spread } else { cast(&spread, &self.carrier)? }))
    }
}
