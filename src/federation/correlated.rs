//! `SELECT (SELECT count(*) FROM unnest(t.tags) AS u WHERE u > 'a') FROM t`, and EXISTS over the same: a subquery over a
//! function of the row around it, which no join can bring in. The function is called beside the rows, and what it gives is
//! aggregated by the number of its row:
//!
//! ```text
//! t → row numbers → the calls (a row without elements stays, marked) → aggregates by row number → t's columns and the result
//! ```
//!
//! Other forms (without an aggregate, with LIMIT, over several functions) are left to the optimiser, which refuses them.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, DFSchema};
use datafusion::error::Result;
use datafusion::functions_aggregate::count::count_udaf;
use datafusion::functions_aggregate::first_last::first_value_udaf;
use datafusion::functions_window::expr_fn::row_number;
use datafusion::logical_expr::expr::{AggregateFunction, Cast};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::{Aggregate, Expr, Filter, LogicalPlan, LogicalPlanBuilder, Projection, Subquery, lit};

use super::ast::HIDDEN;
use super::lateral::{Item, inward};
use super::semantics::sets::Empty;
use crate::pgtype::PgField;

/// Rewrites every such subquery of the plan's select lists and conditions.
///
/// # Errors
/// What building the new nodes fails with.
pub(super) fn beside_rows(plan: LogicalPlan) -> Result<LogicalPlan> {
    let mut number = 0;
    let rewritten = plan.transform_up_with_subqueries(|node| {
        let input = match &node {
            LogicalPlan::Projection(projection) => &projection.input,
            LogicalPlan::Filter(filter) => &filter.input,
            _ => return Ok(Transformed::no(node)),
        };
        let mut rows = Rows { input: Arc::clone(input), number: &mut number };
        let names = NamePreserver::new(&node);
        let mut exprs = Vec::new();
        for expr in node.expressions() {
            let name = names.save(&expr);
            exprs.push(name.restore(rows.without_subqueries(expr)?));
        }
        if Arc::ptr_eq(&rows.input, input) {
            return Ok(Transformed::no(node));
        }
        let below = Arc::clone(&rows.input);
        Ok(Transformed::yes(match (&node, exprs.pop()) {
            (LogicalPlan::Filter(filter), Some(predicate)) => {
                let columns = filter.input.schema().columns().into_iter().map(Expr::Column).collect();
                let filtered = LogicalPlan::Filter(Filter::try_new(predicate, below)?);
                LogicalPlan::Projection(Projection::try_new(columns, Arc::new(filtered))?)
            }
            (_, last) => {
                exprs.extend(last);
                LogicalPlan::Projection(Projection::try_new(exprs, below)?)
            }
        }))
    })?;
    Ok(rewritten.data)
}

/// The rows around the subqueries, with a column for each result so far.
struct Rows<'n> {
    input: Arc<LogicalPlan>,
    number: &'n mut usize,
}

impl Rows<'_> {
    fn without_subqueries(&mut self, expr: Expr) -> Result<Expr> {
        let replaced = expr.transform_down(|part| {
            let found = match &part {
                Expr::ScalarSubquery(subquery) => match Folded::of(subquery, self.input.schema()) {
                    Some(folded) => Some(self.aggregated(&folded)?),
                    None => None,
                },
                Expr::Exists(exists) => match Folded::of_existence(&exists.subquery, self.input.schema()) {
                    Some(folded) => {
                        let count = self.aggregated(&folded)?;
                        Some(if exists.negated { count.eq(lit(0_i64)) } else { count.gt(lit(0_i64)) })
                    }
                    None => None,
                },
                _ => None,
            };
            Ok(found.map_or_else(|| Transformed::no(part), Transformed::yes))
        })?;
        Ok(replaced.data)
    }

    /// Adds the aggregates of a subquery to the rows; gives its result over them.
    fn aggregated(&mut self, folded: &Folded<'_>) -> Result<Expr> {
        *self.number += 1;
        let name = |what: &str, place: usize| format!("{what}{HIDDEN}{}{HIDDEN}{place}", self.number);
        let row = Expr::Column(Column::from_name(name("row", 0)));
        let numbered =
            LogicalPlanBuilder::from(self.input.as_ref().clone()).window([row_number().alias(name("row", 0))])?.build()?;
        let (set, mark) = folded.item.counted(Arc::new(numbered), Empty::Kept, name("mark", 0))?;
        let mut wanted = Expr::Column(mark).is_not_null();
        for condition in &folded.conditions {
            wanted = wanted.and(folded.over_rows(condition.clone())?);
        }
        let schema = Arc::clone(self.input.schema());
        let mut calls = Vec::with_capacity(schema.fields().len() + folded.aggregates.len());
        for (place, column) in schema.columns().into_iter().enumerate() {
            calls.push(first_value(Expr::Column(column)).alias(name("kept", place)));
        }
        for (place, (_, call)) in folded.aggregates.iter().enumerate() {
            let Expr::AggregateFunction(mut call) = folded.over_rows(Expr::AggregateFunction(call.clone()))? else { continue };
            let filter = call.params.filter.take().map_or_else(|| wanted.clone(), |filter| wanted.clone().and(*filter));
            call.params.filter = Some(Box::new(filter));
            calls.push(Expr::AggregateFunction(call).alias(name("result", place)));
        }
        let grouped = LogicalPlan::Aggregate(Aggregate::try_new(Arc::new(set), vec![row], calls)?);
        let mut outputs = Vec::with_capacity(grouped.schema().fields().len());
        for (place, (qualifier, field)) in schema.iter().enumerate() {
            let mut value = Expr::Column(Column::from_name(name("kept", place)));
            if field.pg_type().typmod != -1 {
                // An aggregate has no modifier, the column does.
                value = Expr::Cast(Cast::new_from_field(Box::new(value), Arc::clone(field)));
            }
            outputs.push(value.alias_qualified(qualifier.cloned(), field.name()));
        }
        let results = (0..folded.aggregates.len()).map(|place| Column::from_name(name("result", place)));
        let results: Vec<Column> = results.collect();
        outputs.extend(results.iter().cloned().map(Expr::Column));
        self.input = Arc::new(LogicalPlan::Projection(Projection::try_new(outputs, Arc::new(grouped))?));
        folded.result_over(&results)
    }
}

fn first_value(expr: Expr) -> Expr {
    Expr::AggregateFunction(AggregateFunction::new_udf(first_value_udaf(), vec![expr], false, None, Vec::new(), None))
}

/// A subquery that gives one row: aggregates without groups over the rows of a function that meet conditions.
struct Folded<'p> {
    item: Item<'p>,
    conditions: Vec<Expr>,
    /// The calls under the names the result knows them by.
    aggregates: Vec<(Column, AggregateFunction)>,
    result: Expr,
}

impl<'p> Folded<'p> {
    fn of(subquery: &'p Subquery, around: &DFSchema) -> Option<Self> {
        let (result, input) = match subquery.subquery.as_ref() {
            LogicalPlan::Projection(projection) => match projection.expr.as_slice() {
                [only] => (only.clone().unalias(), projection.input.as_ref()),
                _ => return None,
            },
            _ => return None,
        };
        let LogicalPlan::Aggregate(aggregate) = input else { return None };
        let columns = aggregate.schema.columns();
        let calls = aggregate.aggr_expr.iter().zip(columns).map(|(call, column)| match call.clone().unalias() {
            Expr::AggregateFunction(call) => Some((column, call)),
            _ => None,
        });
        let aggregates: Vec<_> = calls.collect::<Option<_>>()?;
        let (item, conditions) = source(&aggregate.input)?;
        let folded = Self { item, conditions, aggregates, result };
        let is_plain = aggregate.group_expr.is_empty() && !subquery.outer_ref_columns.is_empty();
        (is_plain && knows_all(subquery, around)).then_some(folded)
    }

    fn of_existence(subquery: &'p Subquery, around: &DFSchema) -> Option<Self> {
        let input = match subquery.subquery.as_ref() {
            LogicalPlan::Projection(projection) => projection.input.as_ref(),
            other => other,
        };
        let (item, conditions) = source(input)?;
        let count = AggregateFunction::new_udf(count_udaf(), vec![lit(1_i64)], false, None, Vec::new(), None);
        let column = Column::from_name("count");
        let result = Expr::Column(column.clone());
        let folded = Self { item, conditions, aggregates: vec![(column, count)], result };
        (!subquery.outer_ref_columns.is_empty() && knows_all(subquery, around)).then_some(folded)
    }

    /// An expression of the subquery, over the rows that the calls were made beside.
    fn over_rows(&self, expr: Expr) -> Result<Expr> {
        let replaced = expr.transform_up(|part| match &part {
            Expr::Column(column) => Ok(self.item.value_of(column).map_or_else(|| Transformed::no(part), Transformed::yes)),
            _ => Ok(Transformed::no(part)),
        })?;
        inward(replaced.data)
    }

    /// The result over the columns that hold the aggregates.
    fn result_over(&self, results: &[Column]) -> Result<Expr> {
        let replaced = self.result.clone().transform_up(|part| {
            let Expr::Column(column) = &part else { return Ok(Transformed::no(part)) };
            let found = self.aggregates.iter().position(|(name, _)| name == column);
            let found = found.and_then(|place| results.get(place)).map(|result| Expr::Column(result.clone()));
            Ok(found.map_or_else(|| Transformed::no(part), Transformed::yes))
        })?;
        inward(replaced.data)
    }
}

/// Whether all that a subquery reads of the queries around it are columns of the rows next around it.
fn knows_all(subquery: &Subquery, around: &DFSchema) -> bool {
    subquery.outer_ref_columns.iter().all(|column| match column {
        Expr::OuterReferenceColumn(_, column) => around.maybe_index_of_column(column).is_some(),
        _ => false,
    })
}

/// The function below conditions that hold no subquery themselves.
fn source(plan: &LogicalPlan) -> Option<(Item<'_>, Vec<Expr>)> {
    let (mut node, mut conditions) = (plan, Vec::new());
    while let LogicalPlan::Filter(filter) = node {
        let holds_query = filter.predicate.exists(|part| {
            Ok(matches!(part, Expr::ScalarSubquery(_) | Expr::Exists(_) | Expr::InSubquery(_) | Expr::SetComparison(_)))
        });
        if holds_query.unwrap_or(true) {
            return None;
        }
        conditions.push(filter.predicate.clone());
        node = &filter.input;
    }
    Some((Item::under(node)?, conditions))
}
