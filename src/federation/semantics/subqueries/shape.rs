//! The forms of correlated subqueries that the engine's optimiser turns into joins by itself.
//!
//! Only forms whose rewriting is right in every case are named here; what looks like one of them and is not (NOT IN with outer
//! references, a LIMIT below EXISTS of a pulled-up condition, HAVING) is made a join in this room.

use datafusion::common::Column;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::error::Result;
use datafusion::logical_expr::expr::{Exists, InSubquery, SetComparison};
use datafusion::logical_expr::utils::split_conjunction;
use datafusion::logical_expr::{BinaryExpr, Expr, Join, JoinType, LogicalPlan, Operator};
use datafusion::scalar::ScalarValue;

use super::attach::plan_of;
use super::domain::is_random_node;
use super::lateral::subquery_of;
use super::{has_subqueries, has_subquery, references};

/// Whether the engine makes a semi or anti join of a condition of WHERE, or a join of the scalar subqueries in it.
pub(super) fn is_condition_of_engine(condition: &Expr) -> Result<bool> {
    match condition {
        Expr::Not(inner) => match inner.as_ref() {
            Expr::Exists(Exists { subquery, .. }) => is_chain(&subquery.subquery),
            Expr::InSubquery(member) => is_member_of_engine(member, true),
            _ => is_comparison_of_engine(condition),
        },
        Expr::Exists(Exists { subquery, .. }) => is_chain(&subquery.subquery),
        Expr::InSubquery(member) => is_member_of_engine(member, false),
        _ => is_comparison_of_engine(condition),
    }
}

/// Whether the engine makes joins of the scalar subqueries in an output column, and there are no others.
pub(super) fn is_output_of_engine(expr: &Expr) -> Result<bool> {
    let is_compared = expr.exists(|part| Ok(matches!(part, Expr::SetComparison(_))))?;
    Ok(!is_compared && is_comparison_of_engine(expr)?)
}

fn is_member_of_engine(member: &InSubquery, is_denied: bool) -> Result<bool> {
    let is_plain = !has_subquery(&member.expr);
    // Whether a NULL is among the values is asked of all of them, not of those for one outer row.
    let is_anti = member.negated != is_denied;
    let plan = &member.subquery.subquery;
    Ok(is_plain && if is_anti { references(plan)?.is_empty() } else { is_chain(plan)? })
}

/// Nothing but comparisons with scalar subqueries that are one aggregate over equalities, or have no outer references.
fn is_comparison_of_engine(condition: &Expr) -> Result<bool> {
    let mut is_fine = true;
    condition.apply(|part| {
        is_fine &= match part {
            Expr::ScalarSubquery(subquery) => {
                let plan = &subquery.subquery;
                references(plan)?.is_empty() || is_aggregate(plan)? && has_own_names(plan)?
            }
            Expr::SetComparison(comparison) => is_quantified_of_engine(comparison)?,
            other => plan_of(other).is_none(),
        };
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(is_fine)
}

/// The engine compares inside the subquery, where it would take a column of the outer row for one of the same table there. Without
/// outer references only the value is carried out of the subquery, under a name of its own ([`super::Rewriter::with_own_value`]).
fn is_quantified_of_engine(comparison: &SetComparison) -> Result<bool> {
    let plan = &comparison.subquery.subquery;
    if references(plan)?.is_empty() {
        return Ok(true);
    }
    let columns = comparison.expr.column_refs();
    let is_hidden = plan.exists(|node| Ok(columns.iter().any(|column| node.schema().has_column(column))))?;
    Ok(!is_hidden && is_chain(plan)?)
}

/// No outer references, or only in conditions above which nothing counts, groups or cuts rows. What the engine carries up from inside a
/// derived table it would not find again under the table's name.
fn is_chain(plan: &LogicalPlan) -> Result<bool> {
    Ok(is_filtered(plan)? && has_own_names(plan)?)
}

fn is_filtered(plan: &LogicalPlan) -> Result<bool> {
    if references(plan)?.is_empty() {
        return Ok(true);
    }
    Ok(match plan {
        _ if is_random_node(plan) => false,
        LogicalPlan::Filter(node) => !has_subquery(&node.predicate) && is_filtered(&node.input)?,
        LogicalPlan::Projection(node) => {
            !node.expr.iter().any(|expr| expr.contains_outer() || has_subquery(expr)) && is_filtered(&node.input)?
        }
        _ => false,
    })
}

/// One row of aggregates over rows that equal the outer row in some columns.
fn is_aggregate(plan: &LogicalPlan) -> Result<bool> {
    Ok(match plan {
        LogicalPlan::Projection(node) => {
            !node.expr.iter().any(|expr| expr.contains_outer() || has_subquery(expr)) && is_aggregate(&node.input)?
        }
        LogicalPlan::Aggregate(node) => {
            let is_plain = !node.aggr_expr.iter().any(|expr| expr.contains_outer() || has_subquery(expr));
            node.group_expr.is_empty() && is_plain && is_equal_chain(&node.input)?
        }
        _ => false,
    })
}

fn is_equal_chain(plan: &LogicalPlan) -> Result<bool> {
    if references(plan)?.is_empty() {
        return Ok(true);
    }
    let is_column = |expr: &Expr| match expr {
        Expr::Cast(cast) => matches!(cast.expr.as_ref(), Expr::Column(_)),
        other => matches!(other, Expr::Column(_)),
    };
    let is_equality = |condition: &&Expr| match condition {
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) => {
            is_column(left) && !right.any_column_refs() || is_column(right) && !left.any_column_refs()
        }
        _ => false,
    };
    Ok(match plan {
        LogicalPlan::Filter(node) => {
            let conditions = split_conjunction(&node.predicate);
            let is_fine = conditions.iter().filter(|condition| condition.contains_outer()).all(is_equality);
            is_fine && !has_subquery(&node.predicate) && is_equal_chain(&node.input)?
        }
        LogicalPlan::Projection(node) => {
            !node.expr.iter().any(|expr| expr.contains_outer() || has_subquery(expr)) && is_equal_chain(&node.input)?
        }
        LogicalPlan::SubqueryAlias(node) => is_equal_chain(&node.input)?,
        _ => false,
    })
}

/// Whether the columns that conditions read of a correlated subquery can stand beside its outputs: the engine carries them along
/// under their own names. The outputs of the subquery itself are called otherwise ([`super::Rewriter::with_own_names`]).
fn has_own_names(plan: &LogicalPlan) -> Result<bool> {
    let input = match plan {
        LogicalPlan::Projection(node) => &node.input,
        other => other,
    };
    Ok(carried(input)?.is_some())
}

/// The columns that the engine carries along to compare them with an outer row; `None` where an output is called as one of them.
fn carried(plan: &LogicalPlan) -> Result<Option<Vec<Column>>> {
    if references(plan)?.is_empty() {
        return Ok(Some(Vec::new()));
    }
    let Some(input) = plan.inputs().first().copied() else { return Ok(None) };
    let Some(mut columns) = carried(input)? else { return Ok(None) };
    match plan {
        LogicalPlan::Filter(node) => {
            let conditions = split_conjunction(&node.predicate).into_iter().filter(|condition| condition.contains_outer());
            columns.extend(conditions.flat_map(Expr::column_refs).cloned());
        }
        LogicalPlan::Projection(node) => {
            let is_other =
                |expr: &Expr, name: &str| columns.iter().any(|column| column.name == name && expr.try_as_col() != Some(column));
            if node.expr.iter().zip(node.schema.fields()).any(|(expr, field)| is_other(expr, field.name())) {
                return Ok(None);
            }
        }
        LogicalPlan::SubqueryAlias(node) => {
            columns = columns.into_iter().map(|column| Column::new(Some(node.alias.clone()), column.name)).collect();
        }
        _ => {}
    }
    Ok(Some(columns))
}

/// Whether the engine makes a plain join of a LATERAL subquery: conditions only, nothing counted, no ON of its own.
pub(super) fn is_lateral_of_engine(join: &Join) -> Result<bool> {
    let Some((subquery, _)) = subquery_of(&join.right) else { return Ok(false) };
    let is_direct = match join.right.as_ref() {
        LogicalPlan::Subquery(_) => true,
        LogicalPlan::SubqueryAlias(node) => matches!(node.input.as_ref(), LogicalPlan::Subquery(_)),
        _ => false,
    };
    let is_true = |filter: &Expr| matches!(filter, Expr::Literal(ScalarValue::Boolean(Some(true)), _));
    let is_plain = join.on.is_empty() && join.filter.as_ref().is_none_or(is_true);
    let is_inner = matches!(join.join_type, JoinType::Inner | JoinType::Left);
    Ok(is_direct
        && is_plain
        && is_inner
        && !references(subquery)?.is_empty()
        && !has_subqueries(subquery)?
        && is_filtered(subquery)?
        && carried(subquery)?.is_some())
}
