//! COALESCE whose parts are computed once each, and only for the rows that reach them.
//!
//! The engine writes COALESCE as a CASE that names every part but the last twice. A part that is large, or that gives another
//! value each time, must not be copied: nested copies double with every level, and what was tested would not be what is
//! given. Here the first part is an argument, and each other one a function without parameters that is called for the rows
//! still missing.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, NullArray, UInt32Array};
use arrow::compute::{cast, interleave, take};
use arrow::datatypes::{DataType, FieldRef};
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::expr::{HigherOrderFunction, Lambda};
use datafusion::logical_expr::{
    ColumnarValue, Expr, HigherOrderFunctionArgs, HigherOrderReturnFieldArgs, HigherOrderSignature, HigherOrderUDF,
    HigherOrderUDFImpl, LambdaArgument, LambdaParametersProgress, ValueOrLambda, Volatility,
};

use super::super::typed::Typed;

/// Parts of an expression that may be copied.
const COPIED_MAX: usize = 6;

/// Whether copies of the expression cost nothing that counts, and are all the same.
pub(super) fn is_copied(expr: &Expr) -> bool {
    let mut parts = 0;
    let walked = expr.apply(|part| {
        parts += 1;
        let is_query = matches!(part, Expr::ScalarSubquery(_) | Expr::Exists(_) | Expr::InSubquery(_) | Expr::SetComparison(_));
        Ok(if is_query || parts > COPIED_MAX { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    });
    matches!(walked, Ok(TreeNodeRecursion::Continue)) && !expr.is_volatile()
}

/// `COALESCE(parts…)` of parts that have one type and one carrier.
pub(super) fn coalesce(parts: Vec<Expr>, typed: &Typed, carrier: DataType) -> Expr {
    let mut arguments: Vec<Expr> = Vec::with_capacity(parts.len());
    for part in parts {
        // COALESCE of COALESCE is one of them all.
        for part in flat(part, typed) {
            let lambda = |body| Expr::Lambda(Lambda::new(Vec::new(), body));
            arguments.push(if arguments.is_empty() { part } else { lambda(part) });
        }
    }
    let function =
        FirstValue { typed: typed.clone(), carrier, signature: HigherOrderSignature::variadic_any(Volatility::Immutable) };
    Expr::HigherOrderFunction(HigherOrderFunction::new(Arc::new(HigherOrderUDF::new_from_impl(function)), arguments))
}

fn flat(part: Expr, typed: &Typed) -> Vec<Expr> {
    match part {
        Expr::HigherOrderFunction(call) if called_by(&call).is_some_and(|function| function.typed == *typed) => {
            let body = |argument| match argument {
                Expr::Lambda(lambda) => *lambda.body,
                value => value,
            };
            call.args.into_iter().map(body).collect()
        }
        other => vec![other],
    }
}

fn called_by(call: &HigherOrderFunction) -> Option<&FirstValue> {
    let function: &dyn std::any::Any = call.func.inner().as_ref();
    function.downcast_ref::<FirstValue>()
}

/// Type and carrier of the call that [`coalesce`] makes.
pub(in super::super) fn known(expr: &Expr) -> Option<(&Typed, &DataType)> {
    match expr {
        Expr::HigherOrderFunction(call) => called_by(call).map(|function| (&function.typed, &function.carrier)),
        _ => None,
    }
}

/// The parts of the call that [`coalesce`] makes.
pub(in super::super::super) fn parts(call: &HigherOrderFunction) -> Option<Vec<&Expr>> {
    called_by(call)?;
    let parts = call.args.iter().map(|argument| match argument {
        Expr::Lambda(lambda) => lambda.body.as_ref(),
        value => value,
    });
    Some(parts.collect())
}

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct FirstValue {
    typed: Typed,
    carrier: DataType,
    signature: HigherOrderSignature,
}

impl HigherOrderUDFImpl for FirstValue {
    fn name(&self) -> &str {
        "coalesce"
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
        Ok(self.typed.field("coalesce", self.carrier.clone()))
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
        let mut found: Vec<ArrayRef> = Vec::with_capacity(arguments.args.len());
        // Where the value of each row is, and the rows that have none yet.
        let mut places: Vec<(usize, usize)> = (0..rows).map(|row| (0, row)).collect();
        let mut missing: Vec<u32> = (0..u32::try_from(rows).unwrap_or(u32::MAX)).collect();
        for argument in arguments.args {
            if missing.is_empty() && !found.is_empty() {
                break;
            }
            let values = self.computed(argument, &missing)?;
            let number = found.len();
            for (place, row) in missing.iter().enumerate() {
                if let Some(at) = places.get_mut(*row as usize) {
                    *at = (number, place);
                }
            }
            let mut place = 0;
            missing.retain(|_| {
                place += 1;
                values.is_null(place - 1)
            });
            found.push(values);
        }
        let arrays: Vec<&dyn Array> = found.iter().map(AsRef::as_ref).collect();
        Ok(ColumnarValue::Array(interleave(&arrays, &places)?))
    }
}

impl FirstValue {
    /// A part's values for some rows.
    fn computed(&self, argument: ValueOrLambda<ColumnarValue, LambdaArgument>, rows: &[u32]) -> Result<ArrayRef> {
        let values = for_rows(argument, rows)?;
        Ok(if *values.data_type() == self.carrier { values } else { cast(&values, &self.carrier)? })
    }
}

/// The values of an argument for some rows, in their order. What is no function has been computed for all rows, which these are.
pub(in super::super) fn for_rows(argument: ValueOrLambda<ColumnarValue, LambdaArgument>, rows: &[u32]) -> Result<ArrayRef> {
    let value = match argument {
        ValueOrLambda::Value(value) => value,
        ValueOrLambda::Lambda(part) => {
            let places = UInt32Array::from(rows.to_vec());
            let count = || Ok(Arc::new(NullArray::new(places.len())) as ArrayRef);
            part.evaluate(&[&count], |captured| {
                captured.iter().map(|column| Ok(take(column, &places, None)?)).collect::<Result<Vec<_>>>()
            })?
        }
    };
    let values = value.into_array(rows.len())?;
    if values.len() != rows.len() {
        return Err(DataFusionError::Internal("a part that is computed for some rows has another number of them".to_owned()));
    }
    Ok(values)
}
