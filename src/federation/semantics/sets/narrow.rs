//! Takes the columns that nothing above reads out of what a [`ProjectSet`] gives: a document that is taken apart would else
//! be repeated beside each of its parts.
//!
//! The engine's own pruning of columns ends at the node's input, where the calls still need them. This pass runs once, over
//! the optimised plan, after which nothing changes the node's input any more.

use std::collections::HashSet;
use std::sync::Arc;

use datafusion::common::Column;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::error::Result;
use datafusion::logical_expr::{Expr, LogicalPlan};

use super::ProjectSet;

/// Narrows every set node below a node that names the columns it reads.
///
/// # Errors
/// What building the new nodes fails with.
pub fn narrow(plan: LogicalPlan) -> Result<LogicalPlan> {
    let narrowed = plan.transform_down_with_subqueries(|node| {
        let input = match &node {
            LogicalPlan::Projection(projection) => &projection.input,
            LogicalPlan::Aggregate(aggregate) => &aggregate.input,
            _ => return Ok(Transformed::no(node)),
        };
        let found = match read(&node)? {
            Some(columns) => below(input, columns)?,
            None => None,
        };
        match found {
            Some(input) => Ok(Transformed::yes(node.with_new_exprs(node.expressions(), vec![input])?)),
            None => Ok(Transformed::no(node)),
        }
    })?;
    Ok(narrowed.data)
}

/// The columns that a node's expressions read; `None` when a subquery among them may read more.
fn read(node: &LogicalPlan) -> Result<Option<HashSet<Column>>> {
    let mut columns = HashSet::new();
    for expr in node.expressions() {
        let is_opaque = expr.exists(|part| {
            Ok(match part {
                Expr::ScalarSubquery(subquery) => !subquery.outer_ref_columns.is_empty(),
                Expr::Exists(exists) => !exists.subquery.outer_ref_columns.is_empty(),
                Expr::InSubquery(membership) => !membership.subquery.outer_ref_columns.is_empty(),
                Expr::SetComparison(comparison) => !comparison.subquery.outer_ref_columns.is_empty(),
                _ => false,
            })
        })?;
        if is_opaque {
            return Ok(None);
        }
        columns.extend(expr.column_refs().into_iter().cloned());
    }
    Ok(Some(columns))
}

/// The plan without what `wanted` does not name; `None` when nothing changes.
fn below(plan: &LogicalPlan, mut wanted: HashSet<Column>) -> Result<Option<LogicalPlan>> {
    let input = match plan {
        LogicalPlan::Filter(filter) => &filter.input,
        LogicalPlan::Sort(sort) => &sort.input,
        LogicalPlan::Limit(limit) => &limit.input,
        other => return ProjectSet::of(other).map_or(Ok(None), |set| narrowed(set, &wanted)),
    };
    let Some(own) = read(plan)? else { return Ok(None) };
    wanted.extend(own);
    below(input, wanted)?.map(|input| plan.with_new_exprs(plan.expressions(), vec![input])).transpose()
}

fn narrowed(set: &ProjectSet, wanted: &HashSet<Column>) -> Result<Option<LogicalPlan>> {
    let places: HashSet<usize> = wanted.iter().filter_map(|column| set.schema.maybe_index_of_column(column)).collect();
    let kept = set.kept_columns();
    let still: Vec<Column> =
        kept.iter().enumerate().filter(|(place, _)| places.contains(place)).map(|(_, column)| column.clone()).collect();
    let mut inner: HashSet<Column> = still.iter().cloned().collect();
    inner.extend(set.calls().iter().flat_map(Expr::column_refs).cloned());
    let input = below(set.input(), inner)?;
    if still.len() == kept.len() && input.is_none() {
        return Ok(None);
    }
    let input = input.map_or_else(|| Arc::clone(set.input()), Arc::new);
    Ok(Some(set.keeping(input, still)?.into_plan()))
}
