//! Expressions of a query as the engine computes them, and which of them give for a row the same value whenever it is asked.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use datafusion::common::DFSchema;
use datafusion::common::tree_node::TreeNode;
use datafusion::error::DataFusionError;
use datafusion::logical_expr::execution_props::ExecutionProps;
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::{Expr, Volatility};
use datafusion::physical_expr::{PhysicalExpr, create_physical_expr};

use super::Broken;
use super::zset::Delta;

/// An expression over the columns of a batch.
pub(super) type Computed = Arc<dyn PhysicalExpr>;

/// Makes an expression over rows of a schema.
///
/// # Errors
/// Why it cannot be computed for changed rows alone, as a clause.
pub(super) fn computed(expr: &Expr, schema: &DFSchema, props: &ExecutionProps) -> Result<Computed, String> {
    check(expr)?;
    create_physical_expr(expr, schema, props, &PhysicalPlanningContext::default()).map_err(|error| unplanned(&error))
}

/// That the engine makes nothing of a part of the query outside of a whole plan.
pub(super) fn unplanned(error: &DataFusionError) -> String {
    let text = error.strip_backtrace();
    format!("a part of it cannot be computed by itself ({})", text.lines().next().unwrap_or_default())
}

/// Checks that an expression gives one value for a row, whenever and beside whichever rows it is computed.
///
/// # Errors
/// Why not, as a clause.
pub(super) fn check(expr: &Expr) -> Result<(), String> {
    let mut found = None;
    let walked = expr.exists(|part| {
        found = hindrance(part);
        Ok(found.is_some())
    });
    if let Err(error) = walked {
        return Err(unplanned(&error));
    }
    found.map_or(Ok(()), Err)
}

fn hindrance(part: &Expr) -> Option<String> {
    let reason = match part {
        Expr::ScalarFunction(call) if call.func.signature().volatility != Volatility::Immutable => {
            return Some(format!("{}() gives other values at other times", call.func.name()));
        }
        Expr::ScalarSubquery(_) | Expr::Exists(_) | Expr::InSubquery(_) | Expr::SetComparison(_) => {
            "a subquery in it is answered from all rows"
        }
        Expr::OuterReferenceColumn(..) => "a part of it is computed anew for each row of another",
        Expr::AggregateFunction(_) | Expr::WindowFunction(_) => "a function in it needs all rows",
        Expr::GroupingSet(_) => "rows are in several groups of its grouping sets",
        Expr::Placeholder(_) | Expr::ScalarVariable(..) => "a value in it is not known yet",
        Expr::Unnest(_) => "a function in it gives several rows",
        Expr::HigherOrderFunction(_) | Expr::Lambda(_) | Expr::LambdaVariable(_) => "a function in it takes another one",
        _ => return None,
    };
    Some(reason.to_owned())
}

/// The values of an expression for the rows of a batch.
///
/// # Errors
/// What computing them failed with.
pub(super) fn values(expr: &Computed, batch: &RecordBatch) -> Result<ArrayRef, Broken> {
    Ok(expr.evaluate(batch)?.into_array(batch.num_rows())?)
}

/// Which rows of a batch meet a condition; NULL is no yes.
///
/// # Errors
/// What computing it failed with.
pub(super) fn met(condition: &Computed, batch: &RecordBatch) -> Result<Vec<bool>, Broken> {
    let answers = values(condition, batch)?;
    let answers = answers.as_boolean_opt().ok_or_else(|| Broken::lost("a condition is neither true nor false"))?;
    Ok((0..answers.len()).map(|row| answers.is_valid(row) && answers.value(row)).collect())
}

/// The rows that meet all conditions, each of which is asked for those only that met the ones before it.
///
/// # Errors
/// What computing a condition failed with.
pub(super) fn filtered(deltas: Vec<Delta>, conditions: &[Computed]) -> Result<Vec<Delta>, Broken> {
    let mut kept = Vec::with_capacity(deltas.len());
    for mut delta in deltas {
        for condition in conditions {
            if delta.weights.is_empty() {
                break;
            }
            delta = delta.kept(&met(condition, &delta.batch)?)?;
        }
        if !delta.weights.is_empty() {
            kept.push(delta);
        }
    }
    Ok(kept)
}
