//! Conditions that equal columns hand on. Where `a = b` and `b = c`, the rows of `a`'s table need a partner among those of `c`'s,
//! though the query does not join the two: when both are in one store and the conditions on `c` leave few rows, a semi join there
//! drops the others before they are joined to anything elsewhere.

use datafusion::arrow::datatypes::DataType;
use datafusion::common::tree_node::TreeNode;
use datafusion::common::{Column, JoinConstraint, NullEquality};
use datafusion::error::Result;
use datafusion::logical_expr::{Expr, Join, JoinType, LogicalPlan};

use super::order::Part;

/// The largest part of the rows that may be left for a semi join to be worth it.
const SHARE_MOST: f64 = 0.5;
/// The fewest rows that it must drop.
const DROPPED_LEAST: f64 = 1000.0;

/// The columns that `equalities` make equal, in classes. Only integers of one type: the equality of others may depend on how they are
/// compared.
pub(super) fn classes<'e>(equalities: impl Iterator<Item = &'e (Expr, Expr)>, parts: &[Part]) -> Vec<Vec<Column>> {
    let type_of = |column: &Column| {
        let of_part = |part: &Part| {
            let schema = part.plan.schema();
            schema.maybe_index_of_column(column).map(|place| schema.field(place).data_type().clone())
        };
        parts.iter().find_map(of_part)
    };
    let mut classes: Vec<Vec<Column>> = Vec::new();
    for (one, other) in equalities {
        let (Expr::Column(one), Expr::Column(other)) = (one, other) else { continue };
        let is_whole = |data_type: &DataType| matches!(data_type, DataType::Int16 | DataType::Int32 | DataType::Int64);
        if type_of(one) != type_of(other) || !type_of(one).is_some_and(|data_type| is_whole(&data_type)) {
            continue;
        }
        let touched = |class: &mut Vec<Column>| class.contains(one) || class.contains(other);
        let mut merged: Vec<Column> = classes.extract_if(.., touched).flatten().collect();
        for column in [one, other] {
            if !merged.contains(column) {
                merged.push(column.clone());
            }
        }
        classes.push(merged);
    }
    classes
}

/// The part with the semi join that drops the most rows; `None` when none drops enough. `values` tells how many different values a
/// column has before any condition.
///
/// # Errors
/// What building the join fails with.
pub(super) fn narrowed<'p>(
    part: &Part,
    others: impl Iterator<Item = &'p Part>,
    classes: &[Vec<Column>],
    values: &dyn Fn(&Column) -> Option<f64>,
) -> Result<Option<Part>> {
    let Some(store) = &part.store else { return Ok(None) };
    let mut best: Option<(f64, (&Column, &Column), &Part)> = None;
    for other in others {
        if other.store.as_ref() != Some(store) || !other.relations.is_disjoint(&part.relations) || !is_repeatable(&other.plan) {
            continue;
        }
        for class in classes {
            let of = |plan: &LogicalPlan| class.iter().find(|column| plan.schema().has_column(column));
            let (Some(own), Some(theirs)) = (of(&part.plan), of(&other.plan)) else { continue };
            let Some(all) = values(theirs) else { continue };
            let share = (other.rows / all.max(1.0)).min(1.0);
            if best.as_ref().is_none_or(|(least, ..)| share < *least) {
                best = Some((share, (own, theirs), other));
            }
        }
    }
    let is_worth = |share: f64| share <= SHARE_MOST && part.rows * (1.0 - share) >= DROPPED_LEAST;
    let Some((share, (own, theirs), other)) = best.filter(|(share, ..)| is_worth(*share)) else { return Ok(None) };
    let on = vec![(Expr::Column(own.clone()), Expr::Column(theirs.clone()))];
    let (left, right) = (part.plan.clone().into(), other.plan.clone().into());
    let (constraint, nulls) = (JoinConstraint::On, NullEquality::NullEqualsNothing);
    let joined = Join::try_new(left, right, on, None, JoinType::LeftSemi, constraint, nulls, false)?;
    Ok(Some(Part { plan: LogicalPlan::Join(joined), rows: (part.rows * share).max(1.0), ..part.clone() }))
}

/// Whether a plan gives the same rows when it is read a second time.
fn is_repeatable(plan: &LogicalPlan) -> bool {
    let changes = |node: &LogicalPlan| {
        let plain = match node {
            LogicalPlan::TableScan(scan) => scan.fetch.is_none(),
            LogicalPlan::Filter(_) | LogicalPlan::Projection(_) | LogicalPlan::SubqueryAlias(_) | LogicalPlan::Join(_) => true,
            _ => false,
        };
        Ok(!plain || node.expressions().iter().any(Expr::is_volatile))
    };
    !plan.exists(changes).unwrap_or(true)
}
