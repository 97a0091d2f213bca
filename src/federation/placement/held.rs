//! What a level of `tributary.pushdown` keeps from the stores, for `EXPLAIN`.

use std::collections::BTreeSet;

use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::datasource::source_as_provider;
use datafusion::error::Result;
use datafusion::logical_expr::{Expr, LogicalPlan};

use super::{Level, Residual};
use crate::federation::provider::StoredTable;
use crate::stores::Refusal;

/// A residual for each store of a plan with more in it than the level lets stores do.
pub(super) fn back(plan: &LogicalPlan, level: Level) -> Result<Vec<Residual>> {
    let (operation, subject) = match level {
        Level::Full => return Ok(Vec::new()),
        Level::Scans => ("Anything but filters and limits of single tables", "tributary.pushdown = scans"),
        Level::None => ("Anything but columns of single tables", "tributary.pushdown = none"),
    };
    if is_one_table(plan, level) {
        return Ok(Vec::new());
    }
    let mut stores = BTreeSet::new();
    plan.apply_with_subqueries(|node| {
        if let LogicalPlan::TableScan(scan) = node {
            let provider = source_as_provider(&scan.source)?;
            let provider: &dyn std::any::Any = provider.as_ref();
            stores.extend(provider.downcast_ref::<StoredTable>().map(|stored| stored.store().to_string()));
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    let residual = |store| {
        let refusal = Refusal::new(subject, "the session is set so");
        Residual { operation, checked: None, store, refusal }
    };
    Ok(stores.into_iter().map(residual).collect())
}

/// Whether a plan is no more than what a level asks of one table.
fn is_one_table(plan: &LogicalPlan, level: Level) -> bool {
    let is_column = |expr: &Expr| match expr {
        Expr::Column(_) => true,
        Expr::Alias(alias) => matches!(alias.expr.as_ref(), Expr::Column(_)),
        _ => false,
    };
    match plan {
        LogicalPlan::TableScan(_) => true,
        LogicalPlan::SubqueryAlias(alias) => is_one_table(&alias.input, level),
        LogicalPlan::Projection(projection) => projection.expr.iter().all(is_column) && is_one_table(&projection.input, level),
        LogicalPlan::Limit(limit) => level == Level::Scans && is_one_table(&limit.input, level),
        _ => false,
    }
}
