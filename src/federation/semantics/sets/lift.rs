//! The planner hoists `unnest` out of select lists, GROUP BY and DISTINCT ON; its node becomes a [`ProjectSet`].

use std::sync::Arc;

use datafusion::common::Column;
use datafusion::common::tree_node::Transformed;
use datafusion::error::Result;
use datafusion::logical_expr::{Expr, LogicalPlan, Projection, Unnest};

use super::ProjectSet;
use crate::federation::ast::HIDDEN;

/// Rewrites every unnesting of lists in the plan.
///
/// # Errors
/// What building the new nodes fails with.
pub fn lift(plan: LogicalPlan) -> Result<LogicalPlan> {
    let lifted = plan.transform_up_with_subqueries(|node| match &node {
        LogicalPlan::Unnest(unnest) if unnest.struct_type_columns.is_empty() => match unnest.input.as_ref() {
            LogicalPlan::Projection(below) => lift_one(unnest, below).map(Transformed::yes),
            _ => Ok(Transformed::no(node)),
        },
        _ => Ok(Transformed::no(node)),
    })?;
    Ok(lifted.data)
}

/// The calls run over what is below the projection, and the projection's other expressions over their result.
fn lift_one(unnest: &Unnest, below: &Projection) -> Result<LogicalPlan> {
    let deepest = unnest.list_type_columns.iter().map(|(_, list)| list.depth).max().unwrap_or(0);
    let mut plan = Arc::clone(&below.input);
    for level in 1..=deepest {
        let mut calls = Vec::new();
        for (place, list) in unnest.list_type_columns.iter().filter(|(_, list)| list.depth >= level) {
            let name = |level: usize| match list.depth - level {
                0 => list.output_column.name.clone(),
                _ => format!("{}{HIDDEN}{level}", list.output_column.name),
            };
            let call = match (level, below.expr.get(*place)) {
                (1, Some(expr)) => expr.clone().unalias(),
                _ => Expr::Column(Column::from_name(name(level - 1))),
            };
            calls.push((call, name(level)));
        }
        plan = Arc::new(ProjectSet::new(plan, calls, None)?.into_plan());
    }
    let mut outputs = Vec::with_capacity(unnest.schema.fields().len());
    for (place, (_, field)) in unnest.schema.iter().enumerate() {
        let is_set = unnest.list_type_columns.iter().any(|(_, list)| list.output_column.name == *field.name());
        let from = unnest.dependency_indices.get(place).and_then(|index| below.expr.get(*index));
        outputs.push(match from {
            Some(expr) if !is_set => expr.clone(),
            _ => Expr::Column(Column::from_name(field.name())),
        });
    }
    Ok(LogicalPlan::Projection(Projection::try_new(outputs, plan)?))
}
