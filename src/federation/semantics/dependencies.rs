//! What determines what: the engine's conclusions from keys, held back where they are wrong.
//!
//! A key of a table determines the table's columns, also above a join. Of an aggregation over a join the engine concludes that the
//! key determines all of its columns, those of the other side too, and that it occurs once. It would then leave sort keys,
//! group keys and DISTINCT out: `SELECT DISTINCT a.id, b.x FROM a CROSS JOIN b ORDER BY 1, 2` came sorted by the first only.
//!
//! The planner for its part groups by every column of a table whose key is grouped by, as the SELECT list may name them all. Those that
//! nothing names are taken back ([`UnusedGroups`]), before typed keys hide that they are columns: each would be read from its store.

use std::collections::BTreeSet;
use std::sync::Arc;

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema, FunctionalDependencies};
use datafusion::error::Result;
use datafusion::logical_expr::utils::grouping_set_to_exprlist;
use datafusion::logical_expr::{Aggregate, Distinct, Expr, LogicalPlan, Projection};
use datafusion::optimizer::AnalyzerRule;
use datafusion::optimizer::eliminate_duplicated_expr::EliminateDuplicatedExpr;
use datafusion::optimizer::optimize_projections::OptimizeProjections;
use datafusion::optimizer::optimizer::ApplyOrder;
use datafusion::optimizer::replace_distinct_aggregate::ReplaceDistinctWithAggregate;
use datafusion::optimizer::{OptimizerConfig, OptimizerRule};

type Rule = Arc<dyn OptimizerRule + Send + Sync>;

/// The rules that conclude from dependencies, under the names of those that they stand for.
pub(super) fn rules() -> Vec<Rule> {
    vec![
        Arc::new(Cautious { rule: EliminateDuplicatedExpr::new() }),
        Arc::new(Cautious { rule: ReplaceDistinctWithAggregate::new() }),
        Arc::new(Cautious { rule: OptimizeProjections::new() }),
    ]
}

/// A rule of the engine that sees dependencies only where they hold.
#[derive(Debug)]
struct Cautious<R> {
    rule: R,
}

impl<R: OptimizerRule> OptimizerRule for Cautious<R> {
    fn name(&self) -> &str {
        self.rule.name()
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        self.rule.apply_order()
    }

    fn rewrite(&self, plan: LogicalPlan, config: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        if self.apply_order().is_none() {
            let plan = plan.transform_up_with_subqueries(|node| Ok(Transformed::no(unrelated(node)?)))?.data;
            return self.rule.rewrite(plan, config);
        }
        match plan {
            // Keys of a sort are left out for no other reason.
            LogicalPlan::Sort(sort) if !is_sound(&sort.input) => Ok(Transformed::no(LogicalPlan::Sort(sort))),
            plan => self.rule.rewrite(unrelated(plan)?, config),
        }
    }
}

/// Takes columns out of GROUP BY that the other columns determine and nothing above names.
#[derive(Debug)]
pub(super) struct UnusedGroups;

impl AnalyzerRule for UnusedGroups {
    fn name(&self) -> &str {
        "unused_groups"
    }

    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        let narrow = |node: LogicalPlan| {
            let LogicalPlan::Projection(projection) = node else { return Ok(Transformed::no(node)) };
            let Some(input) = without_unused_groups(&projection.input, named_by(&projection.expr)?)? else {
                return Ok(Transformed::no(LogicalPlan::Projection(projection)));
            };
            let Projection { expr, schema, .. } = projection;
            Ok(Transformed::yes(LogicalPlan::Projection(Projection::try_new_with_schema(expr, Arc::new(input), schema)?)))
        };
        Ok(plan.transform_up_with_subqueries(narrow)?.data)
    }
}

/// The plan below a SELECT list that names `named`; `None` when nothing of it is in vain.
fn without_unused_groups(plan: &LogicalPlan, mut named: BTreeSet<Column>) -> Result<Option<LogicalPlan>> {
    match plan {
        LogicalPlan::Filter(_) | LogicalPlan::Window(_) => {
            let expressions = plan.expressions();
            named.extend(named_by(&expressions)?);
            let narrowed = plan.inputs().into_iter().map(|input| without_unused_groups(input, named.clone()));
            let Some(Some(input)) = narrowed.collect::<Result<Vec<_>>>()?.pop() else { return Ok(None) };
            plan.with_new_exprs(expressions, vec![input]).map(Some)
        }
        LogicalPlan::Aggregate(aggregate) if keys_hold(&aggregate.input) => {
            let kept = kept_groups(aggregate, &named)?;
            if kept.len() == aggregate.group_expr.len() {
                return Ok(None);
            }
            let narrowed = Aggregate::try_new(Arc::clone(&aggregate.input), kept, aggregate.aggr_expr.clone())?;
            Ok(Some(LogicalPlan::Aggregate(narrowed)))
        }
        _ => Ok(None),
    }
}

/// The columns that expressions name, also from inside subqueries.
fn named_by(expressions: &[Expr]) -> Result<BTreeSet<Column>> {
    let mut named = BTreeSet::new();
    for expression in expressions {
        named.extend(expression.column_refs().into_iter().cloned());
        expression.apply(|inner| {
            let subquery = match inner {
                Expr::ScalarSubquery(subquery) => subquery,
                Expr::Exists(exists) => &exists.subquery,
                Expr::InSubquery(within) => &within.subquery,
                Expr::SetComparison(comparison) => &comparison.subquery,
                _ => return Ok(TreeNodeRecursion::Continue),
            };
            subquery.subquery.apply_with_subqueries(|node| {
                for expression in node.expressions() {
                    expression.apply(|inner| {
                        if let Expr::OuterReferenceColumn(_, column) = inner {
                            named.insert(column.clone());
                        }
                        Ok(TreeNodeRecursion::Continue)
                    })?;
                }
                Ok(TreeNodeRecursion::Continue)
            })
        })?;
    }
    Ok(named)
}

/// The group expressions of an aggregation without the columns that are not named and that those left determine. What the
/// planner has added comes last, and is looked at first.
fn kept_groups(aggregate: &Aggregate, named: &BTreeSet<Column>) -> Result<Vec<Expr>> {
    if matches!(aggregate.group_expr.as_slice(), [Expr::GroupingSet(_)]) {
        return Ok(aggregate.group_expr.clone());
    }
    // The schema has a repeated expression once, so places in it are places among the different ones.
    let groups = grouping_set_to_exprlist(&aggregate.group_expr)?;
    let used: BTreeSet<usize> = named.iter().filter_map(|column| aggregate.schema.maybe_index_of_column(column)).collect();
    let mut kept: Vec<(usize, &Expr)> = groups.iter().copied().enumerate().collect();
    for (place, group) in groups.iter().copied().enumerate().rev() {
        let others: Vec<&Expr> = kept.iter().filter(|(other, _)| *other != place).map(|(_, other)| *other).collect();
        if !used.contains(&place) && is_determined(group, &others, aggregate.input.schema()) {
            kept.retain(|(other, _)| *other != place);
        }
    }
    Ok(kept.into_iter().map(|(_, group)| group.clone()).collect())
}

/// Whether a column is the same in all rows that agree in the other group expressions.
pub(super) fn is_determined(group: &Expr, others: &[&Expr], schema: &DFSchema) -> bool {
    let place = |expr: &Expr| match expr.clone().unalias() {
        Expr::Column(column) => schema.maybe_index_of_column(&column),
        _ => None,
    };
    let Some(index) = place(group) else { return false };
    let others: BTreeSet<usize> = others.iter().filter_map(|other| place(other)).filter(|other| *other != index).collect();
    schema.functional_dependencies().iter().any(|dependence| {
        dependence.target_indices.contains(&index) && dependence.source_indices.iter().all(|source| others.contains(source))
    })
}

/// Whether what the engine concludes from keys holds of the rows of a plan: of tables and their joins, and above no aggregation of a
/// join.
fn keys_hold(plan: &LogicalPlan) -> bool {
    let is_transparent = match plan {
        LogicalPlan::Projection(_)
        | LogicalPlan::Filter(_)
        | LogicalPlan::Sort(_)
        | LogicalPlan::Limit(_)
        | LogicalPlan::SubqueryAlias(_)
        | LogicalPlan::Join(_) => plan.inputs().into_iter().all(keys_hold),
        _ => false,
    };
    is_transparent || is_sound(plan)
}

/// A node that drops or groups equal rows, over an input of which nothing wrong is known.
fn unrelated(plan: LogicalPlan) -> Result<LogicalPlan> {
    Ok(match plan {
        LogicalPlan::Distinct(Distinct::All(input)) => LogicalPlan::Distinct(Distinct::All(forgotten(input)?)),
        LogicalPlan::Aggregate(Aggregate { input, group_expr, aggr_expr, schema, .. }) => {
            LogicalPlan::Aggregate(Aggregate::try_new_with_schema(forgotten(input)?, group_expr, aggr_expr, schema)?)
        }
        other => other,
    })
}

/// The same rows without dependencies, unless these hold.
pub(super) fn forgotten(input: Arc<LogicalPlan>) -> Result<Arc<LogicalPlan>> {
    let schema = input.schema();
    if schema.functional_dependencies().is_empty() || is_sound(&input) {
        return Ok(input);
    }
    let forgetful = schema.as_ref().clone().with_functional_dependencies(FunctionalDependencies::empty())?;
    let columns = schema.columns().into_iter().map(Expr::Column).collect();
    Ok(Arc::new(LogicalPlan::Projection(Projection::try_new_with_schema(columns, input, Arc::new(forgetful))?)))
}

/// Whether a plan reads one relation and gives each of its rows once at most.
fn is_sound(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::TableScan(_) => true,
        LogicalPlan::Projection(_)
        | LogicalPlan::Filter(_)
        | LogicalPlan::Sort(_)
        | LogicalPlan::Limit(_)
        | LogicalPlan::SubqueryAlias(_)
        | LogicalPlan::Window(_)
        | LogicalPlan::Distinct(_)
        | LogicalPlan::Aggregate(_) => plan.inputs().into_iter().all(is_sound),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::{DataType, Field, Schema};
    use datafusion::common::{Constraint, Constraints};
    use datafusion::logical_expr::LogicalPlanBuilder;
    use datafusion::logical_expr::logical_plan::builder::LogicalTableSource;
    use datafusion::prelude::col;

    use super::*;

    /// The groups that are left of some, over a table whose first column is its key, below outputs.
    fn left(groups: Vec<Expr>, shown: Vec<Expr>) -> Vec<String> {
        let fields = ["x", "y", "z"].map(|name| Field::new(name, DataType::Int32, false));
        let key = Constraints::new_unverified(vec![Constraint::PrimaryKey(vec![0])]);
        let source = LogicalTableSource::new(Arc::new(Schema::new(fields.to_vec()))).with_constraints(key);
        let table = LogicalPlanBuilder::scan("a", Arc::new(source), None).unwrap();
        let plan = table.aggregate(groups, Vec::<Expr>::new()).unwrap().project(shown).unwrap().build().unwrap();
        let narrowed = UnusedGroups.analyze(plan, &ConfigOptions::default()).unwrap();
        let LogicalPlan::Projection(projection) = &narrowed else { panic!("{narrowed}") };
        let LogicalPlan::Aggregate(aggregate) = projection.input.as_ref() else { panic!("{narrowed}") };
        aggregate.group_expr.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn groups_that_nothing_names_are_taken_back() {
        let all = || vec![col("a.x"), col("a.y"), col("a.z")];
        assert_eq!(left(all(), vec![col("a.x")]), ["a.x"]);
        assert_eq!(left(all(), vec![col("a.z")]), ["a.x", "a.z"]);
        assert_eq!(left(all(), all()), ["a.x", "a.y", "a.z"]);
    }

    #[test]
    fn a_group_that_is_named_stays_behind_one_that_stands_there_twice() {
        let twice = || vec![col("a.x"), col("a.x"), col("a.z")];
        assert_eq!(left(twice(), vec![col("a.x"), col("a.z")]), ["a.x", "a.z"]);
        assert_eq!(left(twice(), vec![col("a.x")]), ["a.x"]);
        assert_eq!(left(vec![col("a.z"), col("a.z"), col("a.x")], vec![col("a.x")]), ["a.x"]);
    }
}
