//! Semi joins below the joins they stand on: a row that has no partner is dropped before it is joined, and a semi join between two
//! tables of one store can go to it. Anti joins go below for that reason only: they seldom drop much.
//!
//! Both keep or drop each row of one relation by its columns alone, as a condition does, so that they may be evaluated before inner
//! joins, and other semi and anti joins, as well as after them.

use std::collections::HashSet;
use std::sync::Arc;

use datafusion::common::tree_node::TreeNode;
use datafusion::common::{Column, DFSchema};
use datafusion::error::Result;
use datafusion::logical_expr::{Expr, Join, JoinType, LogicalPlan};

use super::cluster::{is_free, is_plain_projection, is_safe};
use super::order::store_of;

/// How deep a cluster is looked into.
const DEPTH_MAX: usize = 64;

/// The plan with a semi or anti join at its top moved to the relation that it filters; `None` when it stays where it is.
///
/// # Errors
/// What building the new nodes fails with.
pub(super) fn sink(plan: &LogicalPlan) -> Result<Option<LogicalPlan>> {
    let LogicalPlan::Join(join) = plan else { return Ok(None) };
    let kept = match join.join_type {
        JoinType::LeftSemi | JoinType::LeftAnti => &join.left,
        JoinType::RightSemi | JoinType::RightAnti => &join.right,
        _ => return Ok(None),
    };
    let reads = kept_columns(join, kept.schema());
    let safe = join.on.iter().all(|(left, right)| is_safe(left, join.left.schema()) && is_safe(right, join.right.schema()))
        && join.filter.as_ref().is_none_or(|filter| both_schemas(join).is_ok_and(|schema| is_safe(filter, &schema)));
    if !safe || reads.is_empty() || join.null_aware {
        return Ok(None);
    }
    let Some(sunk) = into(kept, join, &reads, 0)? else { return Ok(None) };
    let is_semi = matches!(join.join_type, JoinType::LeftSemi | JoinType::RightSemi);
    Ok((is_semi || sunk.within_store).then_some(sunk.plan))
}

/// A plan with the join moved into it.
struct Sunk {
    plan: LogicalPlan,
    /// Whether the join now stands between relations of one store.
    within_store: bool,
}

/// Which side of a semi or anti join is kept, from 0; `None` for other joins.
fn kept_side(join: &Join) -> Option<usize> {
    match join.join_type {
        JoinType::LeftSemi | JoinType::LeftAnti => Some(0),
        JoinType::RightSemi | JoinType::RightAnti => Some(1),
        _ => None,
    }
}

/// The columns of the kept side that the join reads.
fn kept_columns(join: &Join, kept: &DFSchema) -> HashSet<Column> {
    let keys = join.on.iter().flat_map(|(left, right)| [left, right]);
    let read = keys.chain(&join.filter).flat_map(Expr::column_refs);
    read.filter(|column| kept.has_column(column)).cloned().collect()
}

/// The columns that the filter of a semi join sees: those of both sides.
fn both_schemas(join: &Join) -> Result<DFSchema> {
    join.left.schema().join(join.right.schema())
}

/// The plan with the semi join below its inner joins; `None` when it can go no lower.
fn into(plan: &LogicalPlan, semi: &Join, reads: &HashSet<Column>, depth: usize) -> Result<Option<Sunk>> {
    if depth > DEPTH_MAX {
        return Ok(None);
    }
    let child = match plan {
        LogicalPlan::Join(join) if is_free(join) => {
            let holds = |side: &LogicalPlan| reads.iter().all(|column| side.schema().has_column(column));
            match (holds(&join.left), holds(&join.right)) {
                (true, false) => 0,
                (false, true) => 1,
                _ => return Ok(None),
            }
        }
        LogicalPlan::Join(join) if kept_side(join).is_some() => kept_side(join).unwrap_or_default(),
        // On its way through these alone the semi join would gain nothing, so they count only with an inner join below them.
        LogicalPlan::Projection(projection) if is_plain_projection(projection) => 0,
        LogicalPlan::Filter(filter) if is_safe(&filter.predicate, filter.input.schema()) => 0,
        _ => return Ok(None),
    };
    let Some(below) = plan.inputs().get(child).copied() else { return Ok(None) };
    let changed = match into(below, semi, reads, depth + 1)? {
        Some(changed) => changed,
        None if matches!(plan, LogicalPlan::Join(join) if kept_side(join).is_none()) => {
            let joined = LogicalPlan::Join(over(semi, below)?);
            Sunk { within_store: store_of(&joined).is_some(), plan: joined }
        }
        None => return Ok(None),
    };
    let Sunk { plan: changed, within_store } = changed;
    let mut children: Vec<LogicalPlan> = plan.inputs().into_iter().cloned().collect();
    if let Some(slot) = children.get_mut(child) {
        *slot = changed;
    }
    let mut children = children.into_iter();
    let rebuilt =
        plan.clone().map_children(|own| Ok(datafusion::common::tree_node::Transformed::yes(children.next().unwrap_or(own))))?;
    Ok(Some(Sunk { plan: rebuilt.data, within_store }))
}

/// The semi join over another plan in the place of the side that it keeps.
fn over(semi: &Join, kept: &LogicalPlan) -> Result<Join> {
    let kept = Arc::new(kept.clone());
    let (left, right) = match semi.join_type {
        JoinType::LeftSemi | JoinType::LeftAnti => (kept, Arc::clone(&semi.right)),
        _ => (Arc::clone(&semi.left), kept),
    };
    let (on, filter) = (semi.on.clone(), semi.filter.clone());
    Join::try_new(left, right, on, filter, semi.join_type, semi.join_constraint, semi.null_equality, semi.null_aware)
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::{DataType, Field, Schema};
    use datafusion::logical_expr::{LogicalPlanBuilder, table_scan};
    use datafusion::prelude::col;

    use super::*;

    fn table(name: &str) -> LogicalPlanBuilder {
        let schema = Schema::new(vec![Field::new("x", DataType::Int32, true), Field::new("y", DataType::Int32, true)]);
        table_scan(Some(name), &schema, None).unwrap()
    }

    fn joined() -> LogicalPlanBuilder {
        let built = table("a").join(table("b").build().unwrap(), JoinType::Inner, (vec!["a.x"], vec!["b.x"]), None).unwrap();
        built.join(table("c").build().unwrap(), JoinType::Inner, (vec!["b.y"], vec!["c.y"]), None).unwrap()
    }

    fn semi(keys: (Vec<&str>, Vec<&str>)) -> LogicalPlan {
        joined().join(table("d").build().unwrap(), JoinType::LeftSemi, keys, None).unwrap().build().unwrap()
    }

    #[test]
    fn a_semi_join_goes_to_the_relation_that_it_reads() {
        let sunk = sink(&semi((vec!["b.y"], vec!["d.y"]))).unwrap().unwrap();
        let lines: Vec<String> = sunk.display_indent().to_string().lines().map(|line| line.trim_start().to_owned()).collect();
        let expected = [
            "Inner Join: b.y = c.y",
            "Inner Join: a.x = b.x",
            "TableScan: a",
            "LeftSemi Join: b.y = d.y",
            "TableScan: b",
            "TableScan: d",
            "TableScan: c",
        ];
        assert_eq!(lines, expected);
    }

    #[test]
    fn one_that_reads_several_goes_as_far_as_they_are_together() {
        let sunk = sink(&semi((vec!["a.y", "b.y"], vec!["d.x", "d.y"]))).unwrap().unwrap();
        let LogicalPlan::Join(top) = &sunk else { panic!() };
        assert!(matches!(top.left.as_ref(), LogicalPlan::Join(join) if join.join_type == JoinType::LeftSemi), "{sunk}");
        assert!(sink(&semi((vec!["a.y", "c.x"], vec!["d.x", "d.y"]))).unwrap().is_none());
    }

    #[test]
    fn other_joins_stay() {
        let anti = joined().join(table("d").build().unwrap(), JoinType::LeftAnti, (vec!["b.y"], vec!["d.y"]), None).unwrap();
        assert!(sink(&anti.build().unwrap()).unwrap().is_none());
        let plain = table("a").join(table("d").build().unwrap(), JoinType::LeftSemi, (vec!["a.y"], vec!["d.y"]), None).unwrap();
        assert!(sink(&plain.build().unwrap()).unwrap().is_none());
        let filtered = table("a").filter(col("a.x").gt(col("a.y"))).unwrap();
        let filtered = filtered.join(table("d").build().unwrap(), JoinType::LeftSemi, (vec!["a.y"], vec!["d.y"]), None).unwrap();
        assert!(sink(&filtered.build().unwrap()).unwrap().is_none());
    }
}
