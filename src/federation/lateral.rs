//! `FROM t, unnest(t.tags) AS x(tag)`: the planner makes a subquery that refers outward, which nothing can run. Unnesting the
//! column beside the others of `t` is the same. `LEFT JOIN … ON true` keeps the rows of `t` whose list is empty. Other lateral
//! subqueries are left to the optimiser.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, NullHandling, TableReference};
use datafusion::error::Result;
use datafusion::logical_expr::{Expr, Join, JoinType, LogicalPlan, LogicalPlanBuilder, Projection, Unnest};
use datafusion::scalar::ScalarValue;

/// Rewrites every such join of the plan.
///
/// # Errors
/// What building the new nodes fails with.
pub(super) fn unnest_beside(plan: LogicalPlan) -> Result<LogicalPlan> {
    let rewritten = plan.transform_up_with_subqueries(|node| match &node {
        LogicalPlan::Join(join) if join.on.is_empty() && (join.join_type == JoinType::Inner || keeps_all(join)) => {
            let Some(chain) = Chain::of(&join.right) else { return Ok(Transformed::no(node)) };
            let keeps_all = keeps_all(join);
            let beside = chain.over(&join.left, keeps_all)?;
            let filtered = match &join.filter {
                Some(filter) if !keeps_all => LogicalPlanBuilder::from(beside).filter(filter.clone())?.build()?,
                _ => beside,
            };
            Ok(Transformed::yes(filtered))
        }
        _ => Ok(Transformed::no(node)),
    })?;
    Ok(rewritten.data)
}

/// `LEFT JOIN … ON true`
fn keeps_all(join: &Join) -> bool {
    join.join_type == JoinType::Left && matches!(&join.filter, None | Some(Expr::Literal(ScalarValue::Boolean(Some(true)), _)))
}

/// An unnesting of outer columns: projections below and above it, over a relation of one row without columns.
struct Chain<'p> {
    alias: Option<TableReference>,
    /// From the top down.
    above: Vec<&'p Projection>,
    unnest: &'p Unnest,
    below: &'p Projection,
}

impl<'p> Chain<'p> {
    fn of(right: &'p LogicalPlan) -> Option<Self> {
        let (mut node, mut alias, mut above, mut is_lateral) = (right, None, Vec::new(), false);
        loop {
            match node {
                LogicalPlan::SubqueryAlias(inner) => {
                    // An alias of an alias: the outer one is the one that names.
                    alias = alias.or_else(|| Some(inner.alias.clone()));
                    node = &inner.input;
                }
                LogicalPlan::Subquery(inner) => {
                    is_lateral = true;
                    node = &inner.subquery;
                }
                LogicalPlan::Projection(projection) => {
                    above.push(projection);
                    node = &projection.input;
                }
                LogicalPlan::Unnest(unnest) if is_lateral && unnest.struct_type_columns.is_empty() => {
                    let LogicalPlan::Projection(below) = unnest.input.as_ref() else { return None };
                    let LogicalPlan::EmptyRelation(empty) = below.input.as_ref() else { return None };
                    return (empty.produce_one_row && !above.is_empty()).then_some(Self { alias, above, unnest, below });
                }
                _ => return None,
            }
        }
    }

    /// The same over `left`, whose columns go along; rows without elements too when `keeps_all`.
    fn over(&self, left: &Arc<LogicalPlan>, keeps_all: bool) -> Result<LogicalPlan> {
        let kept: Vec<Expr> = left.schema().columns().into_iter().map(Expr::Column).collect();
        let beside = |plan: LogicalPlan, own: Vec<Expr>| {
            LogicalPlanBuilder::from(plan).project(kept.iter().cloned().chain(own).collect::<Vec<_>>())?.build()
        };
        let own = self.below.expr.iter().cloned().map(inward).collect::<Result<Vec<_>>>()?;
        let mut options = self.unnest.options.clone();
        if keeps_all {
            options.null_handling = NullHandling::PreserveAndExpandEmpty;
        }
        let mut plan = beside(left.as_ref().clone(), own)?;
        let unnested: Vec<Column> = self.unnest.exec_columns.clone();
        plan = LogicalPlanBuilder::from(plan).unnest_columns_with_options(unnested, options)?.build()?;
        for (place, projection) in self.above.iter().enumerate().rev() {
            let own = projection.expr.iter().cloned().map(inward).collect::<Result<Vec<_>>>()?;
            let own = if place == 0 { self.named(projection, own) } else { own };
            plan = beside(plan, own)?;
        }
        Ok(plan)
    }

    /// The outermost columns with the alias that the rest of the statement knows them by.
    fn named(&self, projection: &Projection, own: Vec<Expr>) -> Vec<Expr> {
        let names = projection.schema.fields().iter().map(|field| field.name().clone());
        own.into_iter().zip(names).map(|(expr, name)| expr.unalias().alias_qualified(self.alias.clone(), name)).collect()
    }
}

/// References outward become references to the columns beside.
fn inward(expr: Expr) -> Result<Expr> {
    let plain = expr.transform_up(|inner| match inner {
        Expr::OuterReferenceColumn(_, column) => Ok(Transformed::yes(Expr::Column(column))),
        other => Ok(Transformed::no(other)),
    })?;
    Ok(plain.data)
}
