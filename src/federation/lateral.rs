//! `FROM t, unnest(t.tags) AS x(tag)`: the planner makes a subquery that refers outward, which nothing can run. Calling the
//! function for each row of `t`, beside its columns, is the same. Other lateral subqueries are left to the optimiser.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, TableReference};
use datafusion::error::Result;
use datafusion::logical_expr::{Expr, Join, JoinType, LogicalPlan, LogicalPlanBuilder, Projection};
use datafusion::scalar::ScalarValue;

use super::semantics::sets::{Empty, ProjectSet};

/// Rewrites every such join of the plan.
///
/// # Errors
/// What building the new nodes fails with.
pub(super) fn beside(plan: LogicalPlan) -> Result<LogicalPlan> {
    let rewritten = plan.transform_up_with_subqueries(|node| match &node {
        LogicalPlan::Join(join) if join.on.is_empty() => match rewrite(join)? {
            Some(plan) => Ok(Transformed::yes(plan)),
            None => Ok(Transformed::no(node)),
        },
        _ => Ok(Transformed::no(node)),
    })?;
    Ok(rewritten.data)
}

fn rewrite(join: &Join) -> Result<Option<LogicalPlan>> {
    let Some(item) = Item::of(&join.right) else { return Ok(None) };
    let is_plain = join.filter.as_ref().is_none_or(is_true);
    Ok(match join.join_type {
        JoinType::Inner => {
            let beside = item.over(&join.left, Empty::Dropped)?;
            match join.filter.as_ref().filter(|filter| !is_true(filter)) {
                Some(filter) => Some(LogicalPlanBuilder::from(beside).filter(filter.clone())?.build()?),
                None => Some(beside),
            }
        }
        // A row without a partner has NULL in all columns, which holds only where they are the calls' own.
        JoinType::Left if is_plain && item.is_bare() => Some(item.over(&join.left, Empty::Kept)?),
        _ => None,
    })
}

fn is_true(filter: &Expr) -> bool {
    matches!(filter, Expr::Literal(ScalarValue::Boolean(Some(true)), _))
}

/// Calls over outer columns: projections above a set node over a relation of one row without columns.
pub(super) struct Item<'p> {
    alias: Option<TableReference>,
    set: &'p ProjectSet,
    /// Names and values of the columns, over those of the set node.
    columns: Vec<(String, Expr)>,
}

impl<'p> Item<'p> {
    fn of(right: &'p LogicalPlan) -> Option<Self> {
        Self::below(right, false)
    }

    /// The calls that a subquery of an expression reads from.
    pub(super) fn under(plan: &'p LogicalPlan) -> Option<Self> {
        Self::below(plan, true)
    }

    fn below(plan: &'p LogicalPlan, mut is_lateral: bool) -> Option<Self> {
        let (mut node, mut alias) = (plan, None);
        let mut columns: Option<Vec<(String, Expr)>> = None;
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
                    columns = Some(match columns {
                        None => outputs(projection),
                        Some(above) => compose(above, projection)?,
                    });
                    node = &projection.input;
                }
                other => {
                    let set = ProjectSet::of(other).filter(|_| is_lateral)?;
                    let LogicalPlan::EmptyRelation(empty) = set.input().as_ref() else { return None };
                    return columns.filter(|_| empty.produce_one_row).map(|columns| Self { alias, set, columns });
                }
            }
        }
    }

    fn is_bare(&self) -> bool {
        self.columns.iter().all(|(_, expr)| matches!(expr, Expr::Column(_)))
    }

    /// The value of one of its columns, over those of the set node.
    pub(super) fn value_of(&self, column: &Column) -> Option<Expr> {
        let is_own = column.relation.is_none() || column.relation == self.alias;
        let found = self.columns.iter().find(|(name, _)| is_own && *name == column.name);
        found.map(|(_, expr)| expr.clone())
    }

    /// The calls alone over `left`, and the column that numbers what they give for a row and is NULL where that is nothing;
    /// called `mark` when there is none yet.
    pub(super) fn counted(&self, left: Arc<LogicalPlan>, empty: Empty, mark: String) -> Result<(LogicalPlan, Column)> {
        let calls = self.set.calls().iter().cloned().map(inward).collect::<Result<Vec<_>>>()?;
        let set = self.set.clone().counted(mark);
        let mark = Column::from_name(set.ordinality().unwrap_or_default());
        Ok((set.over(left, calls, empty)?.into_plan(), mark))
    }

    /// The same over `left`, whose columns go along.
    fn over(&self, left: &Arc<LogicalPlan>, empty: Empty) -> Result<LogicalPlan> {
        let calls = self.set.calls().iter().cloned().map(inward).collect::<Result<Vec<_>>>()?;
        let set = self.set.over(Arc::clone(left), calls, empty)?.into_plan();
        let mut outputs: Vec<Expr> = left.schema().columns().into_iter().map(Expr::Column).collect();
        for (name, expr) in &self.columns {
            outputs.push(inward(expr.clone())?.alias_qualified(self.alias.clone(), name));
        }
        Ok(LogicalPlan::Projection(Projection::try_new(outputs, Arc::new(set))?))
    }
}

fn outputs(projection: &Projection) -> Vec<(String, Expr)> {
    let names = projection.schema.fields().iter().map(|field| field.name().clone());
    names.zip(projection.expr.iter().map(|expr| expr.clone().unalias())).collect()
}

/// Expressions over a projection as expressions over what is below it; `None` for a column that is not the projection's.
fn compose(above: Vec<(String, Expr)>, projection: &Projection) -> Option<Vec<(String, Expr)>> {
    let below = outputs(projection);
    let composed = above.into_iter().map(|(name, expr)| {
        let mut is_known = true;
        let expr = expr.transform_up(|part| {
            let Expr::Column(column) = &part else { return Ok(Transformed::no(part)) };
            let found = projection.schema.maybe_index_of_column(column).and_then(|index| below.get(index));
            is_known &= found.is_some();
            Ok(found.map_or_else(|| Transformed::no(part.clone()), |(_, expr)| Transformed::yes(expr.clone())))
        });
        expr.ok().filter(|_| is_known).map(|expr| (name, expr.data))
    });
    composed.collect()
}

/// References outward become references to the columns beside.
pub(super) fn inward(expr: Expr) -> Result<Expr> {
    let plain = expr.transform_up(|inner| match inner {
        Expr::OuterReferenceColumn(_, column) => Ok(Transformed::yes(Expr::Column(column))),
        other => Ok(Transformed::no(other)),
    })?;
    Ok(plain.data)
}
