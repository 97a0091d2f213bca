//! AND and OR whose parts are computed one after the other, each for the rows that are still open.

use std::sync::Arc;

use arrow::array::{Array, AsArray, BooleanArray};
use arrow::datatypes::{DataType, FieldRef};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::expr::{HigherOrderFunction, Lambda};
use datafusion::logical_expr::{
    ColumnarValue, Expr, HigherOrderFunctionArgs, HigherOrderReturnFieldArgs, HigherOrderSignature, HigherOrderUDF,
    HigherOrderUDFImpl, LambdaParametersProgress, Operator, ValueOrLambda, Volatility,
};

use super::super::resolve::lazy::for_rows;
use super::super::typed::Typed;
use crate::pgtype::PgType;

/// The parts joined by AND or OR. Of a condition, a row that no part can keep any more is open no longer.
pub(super) fn call(parts: Vec<Expr>, op: Operator, is_condition: bool) -> Expr {
    let of_part = |(place, part): (usize, Expr)| match place {
        0 => part,
        _ => Expr::Lambda(Lambda::new(Vec::new(), part)),
    };
    let arguments = parts.into_iter().enumerate().map(of_part).collect();
    let function =
        Chain { is_or: op == Operator::Or, is_condition, signature: HigherOrderSignature::variadic_any(Volatility::Immutable) };
    Expr::HigherOrderFunction(HigherOrderFunction::new(Arc::new(HigherOrderUDF::new_from_impl(function)), arguments))
}

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Chain {
    is_or: bool,
    is_condition: bool,
    signature: HigherOrderSignature,
}

impl Chain {
    /// What is known of a row after one more part.
    fn after(&self, known: Option<bool>, part: Option<bool>) -> Option<bool> {
        if part == Some(self.is_or) { part } else { known.and(part) }
    }

    /// Whether no further part changes anything for a row.
    fn is_decided(&self, known: Option<bool>) -> bool {
        match known {
            Some(known) => known == self.is_or,
            None => self.is_condition && !self.is_or,
        }
    }
}

impl HigherOrderUDFImpl for Chain {
    fn name(&self) -> &str {
        if self.is_or { "or" } else { "and" }
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
        Ok(Typed::from(PgType::BOOL).field(self.name(), DataType::Boolean))
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
        let mut known: Vec<Option<bool>> = vec![Some(!self.is_or); arguments.number_rows];
        let mut open: Vec<u32> = (0..u32::try_from(known.len()).unwrap_or(u32::MAX)).collect();
        for argument in arguments.args {
            if open.is_empty() {
                break;
            }
            let found = for_rows(argument, &open)?;
            let Some(found) = found.as_boolean_opt() else {
                return Err(DataFusionError::Internal(format!("a part of {} is no condition", self.name())));
            };
            let mut place = 0;
            open.retain(|row| {
                let part = found.is_valid(place).then(|| found.value(place));
                place += 1;
                match known.get_mut(*row as usize) {
                    Some(known) => {
                        *known = self.after(*known, part);
                        !self.is_decided(*known)
                    }
                    None => false,
                }
            });
        }
        Ok(ColumnarValue::Array(Arc::new(BooleanArray::from(known))))
    }
}
