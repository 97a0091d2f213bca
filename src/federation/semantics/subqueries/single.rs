//! Which subqueries give one row at most for an outer row.
//!
//! The engine counts rows as well (`LogicalPlan::max_rows`), and wrongly: a relation without columns has none, so that UNION, joins and
//! groups over it have none either; grouping sets have as many as their input; `id = id + 0` finds one row. What is proved here needs no
//! check for a second row, anything else gets one.

use std::collections::BTreeSet;

use datafusion::common::{Constraint, DFSchema};
use datafusion::logical_expr::utils::split_conjunction;
use datafusion::logical_expr::{
    Aggregate, BinaryExpr, Distinct, Expr, FetchType, Join, JoinType, Limit, LogicalPlan, Operator, TableScan,
};

use super::has_subquery;

/// Whether a plan is proved to give one row at most for each row of the queries around it.
pub(super) fn is_single(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::EmptyRelation(_) => true,
        LogicalPlan::Values(node) => node.values.len() <= 1,
        LogicalPlan::Projection(node) => is_single(&node.input),
        LogicalPlan::SubqueryAlias(node) => is_single(&node.input),
        LogicalPlan::Window(node) => is_single(&node.input),
        LogicalPlan::Distinct(Distinct::All(input)) => is_single(input),
        LogicalPlan::Distinct(Distinct::On(node)) => is_single(&node.input),
        LogicalPlan::Sort(node) => node.fetch.is_some_and(|rows| rows <= 1) || is_single(&node.input),
        LogicalPlan::Limit(node) => takes_one(node) || is_single(&node.input),
        LogicalPlan::Filter(node) => is_single(&node.input) || is_unique(plan, BTreeSet::new()),
        LogicalPlan::Aggregate(node) => has_one_group(node),
        LogicalPlan::Join(node) => joins_one(node),
        // Sets, lists of rows, recursion, and what is not known here.
        _ => false,
    }
}

fn takes_one(limit: &Limit) -> bool {
    matches!(limit.get_fetch_type(), Ok(FetchType::Literal(Some(0 | 1))))
}

/// Several grouping sets give a row each, for no rows too.
fn has_one_group(node: &Aggregate) -> bool {
    let is_set = node.group_expr.iter().any(|group| matches!(group, Expr::GroupingSet(_)));
    let is_constant = |group: &Expr| matches!(group, Expr::Literal(..));
    node.group_expr.iter().all(is_constant) || !is_set && is_single(&node.input)
}

fn joins_one(join: &Join) -> bool {
    match join.join_type {
        JoinType::Inner | JoinType::Left | JoinType::Right => is_single(&join.left) && is_single(&join.right),
        // Two rows that do not match stay both.
        JoinType::Full => false,
        JoinType::LeftSemi | JoinType::LeftAnti | JoinType::LeftMark => is_single(&join.left),
        JoinType::RightSemi | JoinType::RightAnti | JoinType::RightMark => is_single(&join.right),
    }
}

/// Whether a table's key holds in the rows of a plan that have one value in each of the columns at `fixed`, and meet the plan's own
/// conditions.
fn is_unique(plan: &LogicalPlan, mut fixed: BTreeSet<usize>) -> bool {
    match plan {
        LogicalPlan::Filter(node) => {
            let schema = node.input.schema();
            fixed.extend(split_conjunction(&node.predicate).into_iter().filter_map(|condition| fixed_by(condition, schema)));
            is_unique(&node.input, fixed)
        }
        LogicalPlan::Projection(node) => {
            let schema = node.input.schema();
            let below = |place: usize| match node.expr.get(place)?.clone().unalias() {
                Expr::Column(column) => schema.maybe_index_of_column(&column),
                _ => None,
            };
            is_unique(&node.input, fixed.into_iter().filter_map(below).collect())
        }
        LogicalPlan::SubqueryAlias(node) => is_unique(&node.input, fixed),
        LogicalPlan::Sort(node) => is_unique(&node.input, fixed),
        LogicalPlan::Limit(node) => is_unique(&node.input, fixed),
        LogicalPlan::TableScan(scan) => has_key(scan, &fixed),
        _ => false,
    }
}

/// The column that a condition leaves one value: what it equals has no column of the rows itself.
fn fixed_by(condition: &Expr, schema: &DFSchema) -> Option<usize> {
    let Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) = condition else { return None };
    let is_one = |expr: &Expr| !expr.any_column_refs() && !has_subquery(expr) && !expr.is_volatile();
    match (left.as_ref(), right.as_ref()) {
        (Expr::Column(column), other) | (other, Expr::Column(column)) if is_one(other) => schema.maybe_index_of_column(column),
        _ => None,
    }
}

fn has_key(scan: &TableScan, fixed: &BTreeSet<usize>) -> bool {
    let in_table = |place: &usize| match &scan.projection {
        Some(columns) => columns.get(*place).copied(),
        None => Some(*place),
    };
    let fixed: BTreeSet<usize> = fixed.iter().filter_map(in_table).collect();
    scan.source.constraints().is_some_and(|constraints| {
        constraints.iter().any(|constraint| match constraint {
            Constraint::PrimaryKey(columns) | Constraint::Unique(columns) => {
                !columns.is_empty() && columns.iter().all(|column| fixed.contains(column))
            }
        })
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::datatypes::{DataType, Field, Schema};
    use datafusion::common::Constraints;
    use datafusion::datasource::{MemTable, provider_as_source};
    use datafusion::functions_aggregate::count::count;
    use datafusion::logical_expr::{LogicalPlanBuilder, col, lit, rollup};

    use super::*;

    /// The columns `a`, `b` and `c`, of which the first two together are a key.
    fn table(name: &str) -> LogicalPlanBuilder {
        let fields: Vec<Field> = ["a", "b", "c"].map(|name| Field::new(name, DataType::Int64, false)).to_vec();
        let rows = MemTable::try_new(Arc::new(Schema::new(fields)), vec![vec![]]).unwrap();
        let key = Constraints::new_unverified(vec![Constraint::PrimaryKey(vec![0, 1])]);
        LogicalPlanBuilder::scan(name, provider_as_source(Arc::new(rows.with_constraints(key))), None).unwrap()
    }

    fn one_row() -> LogicalPlanBuilder {
        LogicalPlanBuilder::empty(true).project(vec![lit(1_i64).alias("x")]).unwrap()
    }

    fn check(plan: LogicalPlanBuilder, expected: bool) {
        let plan = plan.build().unwrap();
        assert_eq!(is_single(&plan), expected, "{}", plan.display_indent());
    }

    #[test]
    fn relations_of_one_row_are_single_and_lists_of_them_are_not() {
        check(one_row(), true);
        check(one_row().filter(col("x").gt(lit(0_i64))).unwrap().alias("t").unwrap(), true);
        check(one_row().union(one_row().build().unwrap()).unwrap(), false);
        check(LogicalPlanBuilder::values(vec![vec![lit(1_i64)]]).unwrap(), true);
        check(LogicalPlanBuilder::values(vec![vec![lit(1_i64)], vec![lit(2_i64)]]).unwrap(), false);
        check(table("t"), false);
        check(table("t").limit(0, Some(1)).unwrap(), true);
        check(table("t").limit(5, Some(2)).unwrap(), false);
        check(table("t").limit(1, None).unwrap(), false);
        check(one_row().cross_join(table("t").build().unwrap()).unwrap(), false);
        let named = |name: &str| one_row().alias(name).unwrap();
        check(named("l").cross_join(named("r").build().unwrap()).unwrap(), true);
    }

    #[test]
    fn one_group_is_single_and_grouping_sets_are_not() {
        let calls = || vec![count(col("c"))];
        check(table("t").aggregate(Vec::<Expr>::new(), calls()).unwrap(), true);
        check(table("t").aggregate(vec![lit(1_i64)], calls()).unwrap(), true);
        check(table("t").aggregate(vec![col("c")], calls()).unwrap(), false);
        check(one_row().aggregate(vec![col("x")], Vec::<Expr>::new()).unwrap(), true);
        check(one_row().aggregate(vec![rollup(vec![col("x")])], Vec::<Expr>::new()).unwrap(), false);
    }

    #[test]
    fn a_key_that_conditions_fix_is_single() {
        let (a, b) = (|| col("a").eq(lit(1_i64)), || lit(2_i64).eq(col("b")));
        check(table("t").filter(a().and(b())).unwrap(), true);
        check(table("t").filter(a()).unwrap().filter(b()).unwrap(), true);
        check(table("t").filter(a()).unwrap(), false);
        check(table("t").filter(a().or(b())).unwrap(), false);
        check(table("t").filter(a().and(col("c").eq(lit(2_i64)))).unwrap(), false);
        // The other side varies with the rows.
        check(table("t").filter(a().and(col("b").eq(col("b") + lit(0_i64)))).unwrap(), false);
        let named = |exprs: Vec<Expr>| table("t").project(exprs).unwrap().alias("s").unwrap().filter(a().and(b())).unwrap();
        check(named(vec![col("c"), col("b"), col("a")]), true);
        check(named(vec![col("b").alias("a"), col("a").alias("b")]), true);
        check(named(vec![col("c").alias("a"), col("b")]), false);
        check(named(vec![(col("a") * lit(0_i64)).alias("a"), col("b")]), false);
        let other = table("u").project(vec![col("c").alias("d")]).unwrap().build().unwrap();
        let twice = table("t").cross_join(other).unwrap();
        check(twice.filter(a().and(b())).unwrap(), false);
    }
}
