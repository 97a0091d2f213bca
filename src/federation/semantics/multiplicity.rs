//! How often rows occur: the engine's rule that takes joins for lookups, held back where their number counts.
//!
//! Below DISTINCT and below groups without aggregates it keeps one row of the several that a join makes of one, and leaves outer
//! joins out. `SELECT DISTINCT random() FROM a JOIN b …` computes another value for each of them, and a condition that gives another
//! answer each time has more than one chance. It also takes a side of a join for one with unique keys where the engine concludes
//! that wrongly: of the groups of a join (see [`super::dependencies`]).

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, Dependency, JoinType};
use datafusion::error::Result;
use datafusion::logical_expr::{Expr, Limit, LogicalPlan, Projection};
use datafusion::optimizer::eliminate_join::EliminateJoin;
use datafusion::optimizer::optimizer::ApplyOrder;
use datafusion::optimizer::{OptimizerConfig, OptimizerRule};

use super::dependencies::forgotten;

/// The engine's rule, over plans that tell it where rows are counted.
#[derive(Debug, Default)]
pub(super) struct CountedRows {
    rule: EliminateJoin,
}

impl OptimizerRule for CountedRows {
    fn name(&self) -> &str {
        self.rule.name()
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        self.rule.apply_order()
    }

    fn rewrite(&self, plan: LogicalPlan, config: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        let mut has_joins = false;
        plan.apply_with_subqueries(|node| {
            has_joins |= matches!(node, LogicalPlan::Join(_));
            Ok(if has_joins { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
        })?;
        if !has_joins {
            return Ok(Transformed::no(plan));
        }
        let told = plan.transform_up_with_subqueries(told)?;
        let rewritten = self.rule.rewrite(told.data, config)?;
        if !told.transformed {
            return Ok(rewritten);
        }
        let is_changed = rewritten.transformed;
        let bare = rewritten.data.transform_up_with_subqueries(untold)?;
        Ok(Transformed::new_transformed(bare.data, is_changed))
    }
}

/// A node with what tells the rule more about its inputs: a LIMIT of all rows, below which rows count, where it computes what changes
/// each time; and no dependencies that do not hold for the sides of joins.
fn told(node: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    let node = match node {
        LogicalPlan::Join(mut join) if is_lookup(join.join_type) && !join.on.is_empty() => {
            let (left, right) = (without_false_keys(&join.left)?, without_false_keys(&join.right)?);
            let is_changed = left.is_some() || right.is_some();
            join.left = left.unwrap_or(join.left);
            join.right = right.unwrap_or(join.right);
            Transformed::new_transformed(LogicalPlan::Join(join), is_changed)
        }
        other => Transformed::no(other),
    };
    let mut changes = false;
    node.data.apply_expressions(|expr| {
        changes |= expr.is_volatile();
        Ok(if changes { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    })?;
    if !changes || matches!(node.data, LogicalPlan::Extension(_)) {
        return Ok(node);
    }
    node.transform_data(|node| {
        node.map_children(|input| {
            Ok(Transformed::yes(LogicalPlan::Limit(Limit { skip: None, fetch: None, input: Arc::new(input) })))
        })
    })
}

/// Whether the rule may make a join of this type a lookup, or leave it out.
fn is_lookup(join_type: JoinType) -> bool {
    matches!(join_type, JoinType::Inner | JoinType::Left | JoinType::Right)
}

/// The side of a join below a projection that knows no keys; `None` when what is known of its keys holds.
fn without_false_keys(side: &Arc<LogicalPlan>) -> Result<Option<Arc<LogicalPlan>>> {
    if !side.schema().functional_dependencies().iter().any(|known| known.mode == Dependency::Single) {
        return Ok(None);
    }
    let bare = forgotten(Arc::clone(side))?;
    Ok((!Arc::ptr_eq(&bare, side)).then_some(bare))
}

/// A node without what [`told`] has put there.
fn untold(node: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    Ok(match node {
        LogicalPlan::Limit(Limit { skip: None, fetch: None, input }) => Transformed::yes(Arc::unwrap_or_clone(input)),
        LogicalPlan::Projection(projection) if is_in_vain(&projection) => Transformed::yes(Arc::unwrap_or_clone(projection.input)),
        other => Transformed::no(other),
    })
}

/// Whether a projection gives what it is given, and only knows less of it.
fn is_in_vain(projection: &Projection) -> bool {
    let (input, output) = (projection.input.schema(), &projection.schema);
    let is_same = |(expr, column): (&Expr, &Column)| matches!(expr, Expr::Column(own) if own == column);
    output.functional_dependencies().is_empty()
        && !input.functional_dependencies().is_empty()
        && input.fields() == output.fields()
        && projection.expr.iter().zip(&input.columns()).all(is_same)
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::{DataType, Field, Schema};
    use datafusion::common::{Constraint, Constraints};
    use datafusion::logical_expr::logical_plan::builder::LogicalTableSource;
    use datafusion::logical_expr::{LogicalPlanBuilder, table_scan};
    use datafusion::optimizer::OptimizerContext;
    use datafusion::prelude::{col, lit, random};

    use super::*;

    fn table(name: &str) -> LogicalPlanBuilder {
        let schema = Schema::new(vec![Field::new("x", DataType::Int32, false), Field::new("y", DataType::Int32, true)]);
        table_scan(Some(name), &schema, None).unwrap()
    }

    fn joined() -> LogicalPlanBuilder {
        table("a").join(table("b").build().unwrap(), JoinType::Inner, (vec!["a.x"], vec!["b.x"]), None).unwrap()
    }

    fn first_join(plan: LogicalPlanBuilder) -> JoinType {
        let rule = CountedRows::default();
        let rewritten = rule.rewrite(plan.build().unwrap(), &OptimizerContext::new()).unwrap().data;
        let mut found = None;
        rewritten
            .apply(|node| {
                assert!(!matches!(node, LogicalPlan::Limit(_)), "{node}");
                if let LogicalPlan::Join(join) = node {
                    found = found.or(Some(join.join_type));
                }
                Ok(TreeNodeRecursion::Continue)
            })
            .unwrap();
        found.unwrap()
    }

    #[test]
    fn rows_count_below_what_changes_each_time() {
        assert_eq!(first_join(joined().project(vec![col("a.y")]).unwrap().distinct().unwrap()), JoinType::LeftSemi);
        let values = joined().project(vec![col("a.y"), random()]).unwrap();
        assert_eq!(first_join(values.distinct().unwrap()), JoinType::Inner);
        let chances = joined().filter(random().lt(lit(0.5))).unwrap().project(vec![col("a.y")]).unwrap();
        assert_eq!(first_join(chances.distinct().unwrap()), JoinType::Inner);
    }

    /// A table whose first column is its key.
    fn keyed(name: &str) -> LogicalPlanBuilder {
        let schema = Schema::new(vec![Field::new("x", DataType::Int32, false), Field::new("y", DataType::Int32, true)]);
        let key = Constraints::new_unverified(vec![Constraint::PrimaryKey(vec![0])]);
        let source = LogicalTableSource::new(Arc::new(schema)).with_constraints(key);
        LogicalPlanBuilder::scan(name, Arc::new(source), None).unwrap()
    }

    #[test]
    fn a_key_of_one_side_is_none_of_the_groups_of_a_join() {
        let pairs = keyed("c").cross_join(table("d").build().unwrap()).unwrap();
        let groups = pairs.aggregate(vec![col("c.x"), col("d.y")], Vec::<Expr>::new()).unwrap().alias("g").unwrap();
        let own = keyed("c").aggregate(vec![col("c.x"), col("c.y")], Vec::<Expr>::new()).unwrap().alias("g").unwrap();
        for (groups, expected) in [(groups, JoinType::Inner), (own, JoinType::LeftSemi)] {
            let keys = (vec!["a.x"], vec!["g.x"]);
            let plan = table("a").join(groups.build().unwrap(), JoinType::Inner, keys, None).unwrap();
            assert_eq!(first_join(plan.project(vec![col("a.y")]).unwrap()), expected);
        }
    }
}
