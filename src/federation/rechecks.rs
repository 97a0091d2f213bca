//! Conditions that a store was to evaluate, and that the optimiser has changed since.
//!
//! A condition that a store evaluates exactly stands in the scan alone. Rules after the one that put it there go on with it there:
//! `x IS NULL` of a column without NULLs becomes `false`, for which there is no question to a store. Such a condition is
//! checked here; left out it would be lost.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, ScalarValue};
use datafusion::datasource::source_as_provider;
use datafusion::error::Result;
use datafusion::logical_expr::utils::{conjunction, split_conjunction_owned};
use datafusion::logical_expr::{EmptyRelation, Expr, LogicalPlan, LogicalPlanBuilder, Projection, TableScan, TableScanBuilder};

use super::provider::StoredTable;

/// The plan with every condition of a scan that its store does not evaluate exactly checked above the scan.
///
/// # Errors
/// What building new nodes fails with.
pub(super) fn keep_conditions(plan: LogicalPlan) -> Result<LogicalPlan> {
    Ok(kept(plan, &[])?.data)
}

/// `checked`: conditions on the rows of the node that are checked above it.
fn kept(node: LogicalPlan, checked: &[Expr]) -> Result<Transformed<LogicalPlan>> {
    if let LogicalPlan::TableScan(scan) = &node {
        return Ok(match mended(scan, checked)? {
            Some(mended) => Transformed::yes(mended),
            None => Transformed::no(node),
        });
    }
    let checked = match &node {
        LogicalPlan::Filter(filter) => checked.iter().cloned().chain(split_conjunction_owned(filter.predicate.clone())).collect(),
        LogicalPlan::Projection(projection) => {
            checked.iter().map(|condition| below(condition.clone(), projection)).collect::<Result<_>>()?
        }
        _ => Vec::new(),
    };
    let node = node.map_subqueries(|plan| kept(plan, &[]))?;
    node.transform_data(|node| node.map_children(|child| kept(child, &checked)))
}

/// A condition on what a projection gives as one on what it is given.
fn below(condition: Expr, projection: &Projection) -> Result<Expr> {
    let given = |expr: Expr| {
        let Expr::Column(column) = &expr else { return Ok(Transformed::no(expr)) };
        let place = projection.schema.maybe_index_of_column(column);
        Ok(match place.and_then(|place| projection.expr.get(place)) {
            Some(source) => Transformed::new(source.clone().unalias(), true, TreeNodeRecursion::Jump),
            None => Transformed::no(expr),
        })
    };
    condition.transform_down(given).data()
}

/// What reads the same rows with nothing lost; `None` when nothing is. `checked`: conditions that are checked above anyway.
fn mended(scan: &TableScan, checked: &[Expr]) -> Result<Option<LogicalPlan>> {
    let provider = source_as_provider(&scan.source)?;
    let provider: &dyn std::any::Any = provider.as_ref();
    let Some(stored) = provider.downcast_ref::<StoredTable>() else { return Ok(None) };
    let is_lost = |filter: &&Expr| !is_true(filter) && !checked.contains(filter) && !stored.is_exact(filter);
    let lost: Vec<Expr> = scan.filters.iter().filter(is_lost).cloned().collect();
    if lost.iter().any(is_never) {
        let schema = Arc::clone(&scan.projected_schema);
        return Ok(Some(LogicalPlan::EmptyRelation(EmptyRelation { produce_one_row: false, schema })));
    }
    let Some(condition) = conjunction(lost.iter().cloned()) else { return Ok(None) };
    let whole = scan.source.schema();
    let mut read: Vec<usize> = scan.projection.clone().unwrap_or_else(|| (0..whole.fields().len()).collect());
    for column in condition.column_refs() {
        let place = whole.index_of(&column.name)?;
        if !read.contains(&place) {
            read.push(place);
        }
    }
    // A limit holds for the rows that pass; it stands above as well.
    let reader = TableScanBuilder::from(scan.clone()).with_projection(Some(read)).with_fetch(None).build()?;
    let asked = scan.projected_schema.iter().map(|(qualifier, field)| Expr::Column(Column::from((qualifier, field))));
    LogicalPlanBuilder::from(LogicalPlan::TableScan(reader)).filter(condition)?.project(asked)?.build().map(Some)
}

fn is_true(condition: &Expr) -> bool {
    matches!(condition, Expr::Literal(ScalarValue::Boolean(Some(true)), _))
}

/// Whether no row passes.
fn is_never(condition: &Expr) -> bool {
    matches!(condition, Expr::Literal(ScalarValue::Boolean(Some(false) | None) | ScalarValue::Null, _))
}
