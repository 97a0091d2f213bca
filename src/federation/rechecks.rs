//! Conditions that a store was to evaluate, and that the optimiser has changed since.
//!
//! A condition that a store evaluates exactly stands in the scan alone. Rules after the one that put it there go on with it there:
//! `x IS NULL` of a column without NULLs becomes `false`, for which there is no question to a store. Such a condition is
//! checked here; left out it would be lost.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNodeRecursion};
use datafusion::common::{Column, ScalarValue};
use datafusion::datasource::source_as_provider;
use datafusion::error::Result;
use datafusion::logical_expr::utils::{conjunction, split_conjunction};
use datafusion::logical_expr::{EmptyRelation, Expr, LogicalPlan, LogicalPlanBuilder, TableScan, TableScanBuilder};

use super::provider::StoredTable;

/// The plan with every condition of a scan that its store does not evaluate exactly checked above the scan.
///
/// # Errors
/// What building new nodes fails with.
pub(super) fn keep_conditions(plan: LogicalPlan) -> Result<LogicalPlan> {
    let kept = plan.transform_down_with_subqueries(|node| {
        let (scan, checked) = match &node {
            LogicalPlan::TableScan(scan) => (scan, Vec::new()),
            LogicalPlan::Filter(filter) => match filter.input.as_ref() {
                LogicalPlan::TableScan(scan) => (scan, split_conjunction(&filter.predicate)),
                _ => return Ok(Transformed::no(node)),
            },
            _ => return Ok(Transformed::no(node)),
        };
        let Some(mended) = mended(scan, &checked)? else {
            return Ok(Transformed::new(node, false, TreeNodeRecursion::Jump));
        };
        let mended = match node {
            LogicalPlan::Filter(mut filter) => {
                filter.input = Arc::new(mended);
                LogicalPlan::Filter(filter)
            }
            _ => mended,
        };
        Ok(Transformed::new(mended, true, TreeNodeRecursion::Jump))
    })?;
    Ok(kept.data)
}

/// What reads the same rows with nothing lost; `None` when nothing is. `checked`: conditions that are checked above anyway.
fn mended(scan: &TableScan, checked: &[&Expr]) -> Result<Option<LogicalPlan>> {
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
    let left: Vec<Expr> = scan.filters.iter().filter(|filter| !lost.contains(filter)).cloned().collect();
    let whole = scan.source.schema();
    let mut read: Vec<usize> = scan.projection.clone().unwrap_or_else(|| (0..whole.fields().len()).collect());
    for column in condition.column_refs() {
        let place = whole.index_of(&column.name)?;
        if !read.contains(&place) {
            read.push(place);
        }
    }
    // A limit holds for the rows that pass; it stands above as well.
    let reader = TableScanBuilder::from(scan.clone()).with_projection(Some(read)).with_filters(left).with_fetch(None).build()?;
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
