//! Keys of joins: each equality keeps what it says of NULL, is asked for as many rows as it is written for, and none is lost.
//!
//! A join of the engine says for all of its keys whether NULL equals NULL. `a.x IS NOT DISTINCT FROM b.x` becomes a key that does, and a
//! later equality, of WHERE or of a join nearby, was added to it and so found NULL in NULL. Where joins are taken apart to be put
//! together anew, the keys of all of them came under what the topmost says; a key that reads two relations, as in
//! `a.x + b.x = c.x`, was lost where the third met the first before the second; and `a.x = b.x + random()` was asked once for each row
//! of b.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNodeRecursion};
use datafusion::common::{JoinType, NullEquality};
use datafusion::error::Result;
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{Expr, Filter, Join, LogicalPlan, Operator, Projection, binary_expr};
use datafusion::optimizer::eliminate_cross_join::EliminateCrossJoin;
use datafusion::optimizer::extract_equijoin_predicate::ExtractEquijoinPredicate;
use datafusion::optimizer::optimizer::ApplyOrder;
use datafusion::optimizer::{OptimizerConfig, OptimizerRule};

use super::standing::{parted, with_held};

/// The rule that makes keys of equalities in ON.
#[derive(Debug, Default)]
pub(super) struct KeysOfOneKind {
    rule: ExtractEquijoinPredicate,
}

impl OptimizerRule for KeysOfOneKind {
    fn name(&self) -> &str {
        self.rule.name()
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        self.rule.apply_order()
    }

    fn rewrite(&self, plan: LogicalPlan, config: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        let LogicalPlan::Join(mut join) = plan else { return Ok(Transformed::no(plan)) };
        let mut held = Vec::new();
        if let Some(filter) = join.filter.take_if(|filter| filter.is_volatile()) {
            let (standing, rest) = parted(filter);
            (held, join.filter) = (standing, conjunction(rest));
        }
        let keyed = match join.null_equality {
            NullEquality::NullEqualsNull => self.beside_nulls(join, config)?,
            NullEquality::NullEqualsNothing => self.rule.rewrite(LogicalPlan::Join(join), config)?,
        };
        if held.is_empty() { Ok(keyed) } else { keyed.map_data(|plan| with_held(plan, held)) }
    }
}

impl KeysOfOneKind {
    /// A join for whose keys NULL equals NULL: where there are plain equalities too, they are its keys, and the others conditions.
    fn beside_nulls(&self, mut join: Join, config: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        if join.on.is_empty() {
            join.null_equality = NullEquality::NullEqualsNothing;
            return self.rule.rewrite(LogicalPlan::Join(join), config);
        }
        if join.filter.is_none() {
            return Ok(Transformed::no(LogicalPlan::Join(join)));
        }
        let mut plain = join.clone();
        let same =
            std::mem::take(&mut plain.on).into_iter().map(|(one, other)| binary_expr(one, Operator::IsNotDistinctFrom, other));
        plain.filter = conjunction(plain.filter.take().into_iter().chain(same));
        plain.null_equality = NullEquality::NullEqualsNothing;
        match self.rule.rewrite(LogicalPlan::Join(plain), config)?.data {
            LogicalPlan::Join(keyed) if !keyed.on.is_empty() && keyed.null_equality == NullEquality::NullEqualsNothing => {
                Ok(Transformed::yes(LogicalPlan::Join(keyed)))
            }
            _ => Ok(Transformed::no(LogicalPlan::Join(join))),
        }
    }
}

/// The rule that takes inner joins apart and puts them together by their keys, and by equalities of WHERE.
#[derive(Debug, Default)]
pub(super) struct KeysThatMeet {
    rule: EliminateCrossJoin,
}

impl OptimizerRule for KeysThatMeet {
    fn name(&self) -> &str {
        self.rule.name()
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        self.rule.apply_order()
    }

    fn rewrite(&self, plan: LogicalPlan, config: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        let mut found = false;
        plan.apply_with_subqueries(|node| {
            found |= is_special(node);
            Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
        })?;
        if !found {
            return self.rule.rewrite(plan, config);
        }
        self.rule.rewrite(plan.transform_up_with_subqueries(set_apart)?.data, config)
    }
}

/// Whether the rule must not see a node as it is.
fn is_special(node: &LogicalPlan) -> bool {
    match node {
        LogicalPlan::Filter(filter) => is_inner_join(&filter.input) && filter.predicate.is_volatile(),
        LogicalPlan::Join(join) if join.join_type == JoinType::Inner => {
            stands_alone(join) || join.on.iter().any(|(one, other)| !is_of_one(join, one, other))
        }
        _ => false,
    }
}

/// Joins that are not to be taken apart with others below a projection of all of their columns, keys of several relations as
/// conditions, and conditions that give another value each time above the others.
fn set_apart(node: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    if !is_special(&node) {
        return Ok(Transformed::no(node));
    }
    Ok(Transformed::yes(match node {
        LogicalPlan::Filter(Filter { predicate, input, .. }) => {
            let (standing, moving) = parted(predicate);
            let below = match conjunction(moving) {
                Some(predicate) => Arc::new(LogicalPlan::Filter(Filter::try_new(predicate, input)?)),
                None => fenced(input),
            };
            match conjunction(standing) {
                Some(predicate) => LogicalPlan::Filter(Filter::try_new(predicate, below)?),
                None => Arc::unwrap_or_clone(below),
            }
        }
        LogicalPlan::Join(mut join) if stands_alone(&join) => {
            (join.left, join.right) = (fenced(join.left), fenced(join.right));
            Arc::unwrap_or_clone(fenced(Arc::new(LogicalPlan::Join(join))))
        }
        LogicalPlan::Join(mut join) => {
            let all = std::mem::take(&mut join.on);
            let (keys, others): (Vec<_>, Vec<_>) = all.into_iter().partition(|(one, other)| is_of_one(&join, one, other));
            join.on = keys;
            let others = others.into_iter().map(|(one, other)| one.eq(other));
            join.filter = conjunction(join.filter.take().into_iter().chain(others));
            LogicalPlan::Join(join)
        }
        other => other,
    }))
}

/// Whether the keys or conditions of a join are not to be mixed with those of its neighbours.
fn stands_alone(join: &Join) -> bool {
    let has_nulls = join.null_equality == NullEquality::NullEqualsNull && !join.on.is_empty();
    let mut parts = join.on.iter().flat_map(|(one, other)| [one, other]).chain(&join.filter);
    has_nulls || parts.any(Expr::is_volatile)
}

/// Whether each side of a key reads one relation of those that the rule takes a join apart into.
fn is_of_one(join: &Join, one: &Expr, other: &Expr) -> bool {
    is_within_one(&join.left, one) && is_within_one(&join.right, other)
}

fn is_within_one(plan: &LogicalPlan, key: &Expr) -> bool {
    match plan {
        LogicalPlan::Join(join) if join.join_type == JoinType::Inner => {
            is_within_one(&join.left, key) || is_within_one(&join.right, key)
        }
        other => key.column_refs().into_iter().all(|column| other.schema().has_column(column)),
    }
}

fn is_inner_join(plan: &LogicalPlan) -> bool {
    matches!(plan, LogicalPlan::Join(join) if join.join_type == JoinType::Inner)
}

/// An inner join below a projection that changes nothing; anything else as it is.
fn fenced(plan: Arc<LogicalPlan>) -> Arc<LogicalPlan> {
    if !is_inner_join(&plan) {
        return plan;
    }
    let schema = Arc::clone(plan.schema());
    Arc::new(LogicalPlan::Projection(Projection::new_from_schema(plan, schema)))
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::{DataType, Field, Schema};
    use datafusion::logical_expr::{LogicalPlanBuilder, table_scan};
    use datafusion::optimizer::OptimizerContext;
    use datafusion::prelude::{col, lit, random};

    use super::*;
    use datafusion::common::tree_node::TreeNode;

    fn table(name: &str) -> LogicalPlanBuilder {
        let schema = Schema::new(vec![Field::new("x", DataType::Int32, true), Field::new("y", DataType::Int32, true)]);
        table_scan(Some(name), &schema, None).unwrap()
    }

    fn joined(left: LogicalPlanBuilder, right: &str, on: Vec<Expr>) -> LogicalPlanBuilder {
        left.join_on(table(right).build().unwrap(), JoinType::Inner, on).unwrap()
    }

    fn keyed(plan: LogicalPlanBuilder) -> LogicalPlan {
        let rule = KeysOfOneKind::default();
        let plan = plan.build().unwrap();
        plan.transform_up(|node| rule.rewrite(node, &OptimizerContext::new())).unwrap().data
    }

    fn lines(plan: &LogicalPlan) -> Vec<String> {
        plan.display_indent().to_string().lines().map(|line| line.trim_start().to_owned()).collect()
    }

    fn same(one: &str, other: &str) -> Expr {
        binary_expr(col(one), Operator::IsNotDistinctFrom, col(other))
    }

    fn key_kinds(plan: &LogicalPlan) -> Vec<(usize, NullEquality)> {
        let mut found = Vec::new();
        plan.apply(|node| {
            if let LogicalPlan::Join(join) = node {
                found.push((join.on.len(), join.null_equality));
            }
            Ok(TreeNodeRecursion::Continue)
        })
        .unwrap();
        found
    }

    #[test]
    fn keys_for_which_null_equals_null_take_no_others() {
        let plan = keyed(joined(table("a"), "b", vec![same("a.x", "b.x")]));
        assert_eq!(key_kinds(&plan), [(1, NullEquality::NullEqualsNull)]);
        let LogicalPlan::Join(mut join) = plan else { panic!() };
        join.filter = Some(col("a.y").eq(col("b.y")));
        let again = KeysOfOneKind::default().rewrite(LogicalPlan::Join(join), &OptimizerContext::new()).unwrap().data;
        let expected = "Inner Join: a.y = b.y Filter: a.x IS NOT DISTINCT FROM b.x";
        assert_eq!(lines(&again)[0], expected);
        assert_eq!(key_kinds(&again), [(1, NullEquality::NullEqualsNothing)]);
        let both = keyed(joined(table("a"), "b", vec![same("a.x", "b.x"), col("a.y").eq(col("b.y"))]));
        assert_eq!(lines(&both)[0], expected);
    }

    #[test]
    fn what_changes_each_time_is_no_key() {
        let plan = keyed(joined(table("a"), "b", vec![col("a.y").eq(col("b.y")), col("a.x").eq(col("b.x") + random())]));
        assert_eq!(lines(&plan)[0], "Inner Join: a.y = b.y Filter: a.x = b.x + random()");
    }

    fn met(plan: LogicalPlan) -> LogicalPlan {
        KeysThatMeet::default().rewrite(plan, &OptimizerContext::new()).unwrap().data
    }

    #[test]
    fn joins_of_both_kinds_stay_apart() {
        let inner = keyed(joined(table("a"), "b", vec![same("a.x", "b.x")]));
        let outer = joined(LogicalPlanBuilder::from(inner), "c", vec![col("b.y").eq(col("c.y"))]);
        let plan = LogicalPlanBuilder::from(keyed(outer)).filter(col("a.y").eq(col("b.y"))).unwrap().build().unwrap();
        let expected = [(1, NullEquality::NullEqualsNothing), (1, NullEquality::NullEqualsNull)];
        assert_eq!(key_kinds(&met(plan)), expected);
    }

    #[test]
    fn keys_of_several_relations_are_not_lost() {
        let cross = joined(table("a"), "b", vec![lit(true)]);
        let on = vec![(col("a.x") + col("b.x")).eq(col("c.x")), col("a.y").eq(col("c.y"))];
        let plan = keyed(joined(cross, "c", on));
        assert_eq!(key_kinds(&plan)[0].0, 2);
        assert!(met(plan).display_indent().to_string().contains("a.x + b.x = c.x"));
    }

    #[test]
    fn conditions_that_change_each_time_are_no_keys_of_joins_below() {
        let cross = joined(table("a"), "b", vec![lit(true)]);
        let plan = cross.filter(col("a.x").eq(col("b.x") + random())).unwrap().build().unwrap();
        assert_eq!(key_kinds(&met(plan)), [(0, NullEquality::NullEqualsNothing)]);
    }
}
