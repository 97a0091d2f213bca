//! Computed keys of orders as columns of their own.
//!
//! The engine checks that rows come in the order that a node needs by what it knows of the bounds of each part of a key. It stops
//! with an error where two parts of a comparison have bounds of different types, which it takes functions and CASE to have, and
//! then calls rows unsorted that it has just sorted. Of a column it asks nothing: keys that hold an operator are computed before.
//! Keys of aggregates that say nothing more are left out, and keys of joins name their columns wholly.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, DFSchema};
use datafusion::error::Result;
use datafusion::logical_expr::expr_rewriter::normalize_col;
use datafusion::logical_expr::{Aggregate, Expr, Join, LogicalPlan, Projection, Sort, SortExpr, Window};

use super::ast::HIDDEN;
use super::semantics::resolve::{is_one, without_repetitions};

/// Computes the keys of a plan's orders that hold operators below the nodes that order by them. What stores run is not looked at.
///
/// # Errors
/// What building the new nodes fails with.
pub fn keys_as_columns(plan: LogicalPlan) -> Result<LogicalPlan> {
    Ok(plan.transform_up_with_subqueries(node)?.data)
}

fn node(plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    let schema = Arc::clone(plan.schema());
    let mut keys = Keys::default();
    let (plan, inputs) = match plan {
        LogicalPlan::Sort(Sort { expr, input, fetch }) => {
            let inputs = input.schema().fields().len();
            keys.all = inputs == 0;
            let expr = keys.of(expr);
            let input = keys.beside(input)?;
            (LogicalPlan::Sort(Sort { expr, input, fetch }), inputs)
        }
        LogicalPlan::Window(node) if node.window_expr.iter().any(|call| needs_columns(call, &node.input)) => {
            let inputs = node.input.schema().fields().len();
            keys.all = inputs == 0;
            let calls = keys.in_calls(node.window_expr)?;
            (LogicalPlan::Window(Window::try_new(calls, keys.beside(node.input)?)?), inputs)
        }
        LogicalPlan::Aggregate(node)
            if node.aggr_expr.iter().any(|call| needs_columns(call, &node.input) || is_ordered_twice(call)) =>
        {
            keys.all = node.input.schema().fields().is_empty();
            let calls = keys.in_calls(node.aggr_expr)?;
            let inputs = schema.fields().len();
            (LogicalPlan::Aggregate(Aggregate::try_new(keys.beside(node.input)?, node.group_expr, calls)?), inputs)
        }
        LogicalPlan::Join(join) if join.on.iter().any(|(left, right)| left.try_as_col().and(right.try_as_col()).is_none()) => {
            return with_whole_names(join).map(|join| Transformed::yes(LogicalPlan::Join(join)));
        }
        other => return Ok(Transformed::no(other)),
    };
    if keys.exprs.is_empty() && plan.schema() == &schema {
        return Ok(Transformed::no(plan));
    }
    Ok(Transformed::yes(without(plan, &schema, inputs, keys.exprs.len())?))
}

/// A join whose computed keys name columns with their relations. The engine computes such keys below the join and looks for them by a name
/// that it makes of the columns', which has the relation there and here not.
fn with_whole_names(join: Join) -> Result<Join> {
    let Join { left, right, on, .. } = join;
    let keys = on.into_iter().map(|(of_left, of_right)| Ok((normalize_col(of_left, &left)?, normalize_col(of_right, &right)?)));
    let on = keys.collect::<Result<Vec<_>>>()?;
    Ok(Join { left, right, on, ..join })
}

/// Keys that are computed below a node, with the names they get there.
#[derive(Default)]
struct Keys {
    exprs: Vec<(Expr, String)>,
    /// Whether every key is computed there, and not only what holds an operator: of rows without columns the engine's sorts lose the
    /// number.
    all: bool,
}

impl Keys {
    fn of(&mut self, order: Vec<SortExpr>) -> Vec<SortExpr> {
        order.into_iter().map(|sort| SortExpr { expr: self.column(sort.expr), ..sort }).collect()
    }

    /// The column of a key, or the key where it may stay.
    fn column(&mut self, key: Expr) -> Expr {
        if self.all || holds_operator(&key) { self.added(key) } else { key }
    }

    fn added(&mut self, key: Expr) -> Expr {
        if let Some((_, name)) = self.exprs.iter().find(|(known, _)| *known == key) {
            return Expr::Column(Column::from_name(name));
        }
        let name = format!("order{HIDDEN}{}", self.exprs.len());
        self.exprs.push((key, name.clone()));
        Expr::Column(Column::from_name(name))
    }

    fn in_calls(&mut self, calls: Vec<Expr>) -> Result<Vec<Expr>> {
        let mut replace = |part: Expr| {
            Ok(Transformed::yes(match part {
                Expr::WindowFunction(mut call) => {
                    call.params.order_by = self.of(call.params.order_by);
                    call.params.partition_by = call.params.partition_by.into_iter().map(|key| self.column(key)).collect();
                    Expr::WindowFunction(call)
                }
                Expr::AggregateFunction(mut call) => {
                    call.params.order_by = without_repetitions(self.of(call.params.order_by));
                    Expr::AggregateFunction(call)
                }
                other => return Ok(Transformed::no(other)),
            }))
        };
        calls.into_iter().map(|call| Ok(call.transform_up(&mut replace)?.data)).collect()
    }

    /// The input with the keys behind its columns.
    fn beside(&self, input: Arc<LogicalPlan>) -> Result<Arc<LogicalPlan>> {
        if self.exprs.is_empty() {
            return Ok(input);
        }
        let mut exprs: Vec<Expr> = input.schema().columns().into_iter().map(Expr::Column).collect();
        exprs.extend(self.exprs.iter().map(|(key, name)| key.clone().alias(name)));
        Ok(Arc::new(LogicalPlan::Projection(Projection::try_new(exprs, input)?)))
    }
}

/// The columns of a node as `wanted` names them: `added` ones stand behind the first `inputs`.
fn without(plan: LogicalPlan, wanted: &DFSchema, inputs: usize, added: usize) -> Result<LogicalPlan> {
    let mut columns = plan.schema().columns();
    if columns.len() > wanted.fields().len() {
        columns.drain(inputs..inputs + added);
    }
    let named = columns.into_iter().zip(wanted.columns()).map(|(column, wanted)| {
        if column == wanted { Expr::Column(column) } else { Expr::Column(column).alias_qualified(wanted.relation, wanted.name) }
    });
    Ok(LogicalPlan::Projection(Projection::try_new(named.collect(), Arc::new(plan))?))
}

/// Whether a call over the rows of a node has a key that is computed below: one that holds an operator, and any where the rows have no
/// columns.
fn needs_columns(call: &Expr, input: &LogicalPlan) -> bool {
    let is_meant = |key: &Expr| input.schema().fields().is_empty() || holds_operator(key);
    let found = call.exists(|part| {
        Ok(match part {
            Expr::WindowFunction(call) => {
                call.params.order_by.iter().map(|sort| &sort.expr).chain(&call.params.partition_by).any(is_meant)
            }
            Expr::AggregateFunction(call) => call.params.order_by.iter().any(|sort| is_meant(&sort.expr)),
            _ => false,
        })
    });
    found.unwrap_or(false)
}

/// Whether an aggregate is ordered by one expression twice, as different ones of the client may have become when they were
/// simplified: the engine's aggregates stop with a panic over such orders.
fn is_ordered_twice(call: &Expr) -> bool {
    let repeats =
        |keys: &[SortExpr]| keys.iter().enumerate().any(|(place, key)| keys[..place].iter().any(|known| is_one(known, key)));
    let found = call.exists(|part| Ok(matches!(part, Expr::AggregateFunction(call) if repeats(&call.params.order_by))));
    found.unwrap_or(false)
}

/// Whether the engine works out bounds for a part of the expression.
fn holds_operator(expr: &Expr) -> bool {
    let is_operator = |part: &Expr| matches!(part, Expr::BinaryExpr(_) | Expr::Between(_) | Expr::Not(_) | Expr::Negative(_));
    expr.exists(|part| Ok(is_operator(part))).unwrap_or(true)
}

#[cfg(test)]
mod tests {
    use datafusion::functions::math::expr_fn::random;
    use datafusion::functions_aggregate::expr_fn::array_agg;
    use datafusion::functions_window::expr_fn::row_number;
    use datafusion::logical_expr::{ExprFunctionExt, LogicalPlanBuilder, lit};

    use super::*;

    #[test]
    fn rows_without_columns_are_ordered_by_columns_all_the_same() {
        let rows = LogicalPlanBuilder::empty(true).build().unwrap();
        let sort = Sort { expr: vec![SortExpr::new(lit(1), true, false)], input: Arc::new(rows), fetch: Some(5) };
        let plan = keys_as_columns(LogicalPlan::Sort(sort)).unwrap();
        let LogicalPlan::Projection(outer) = plan else { panic!("{plan}") };
        assert!(outer.expr.is_empty());
        let LogicalPlan::Sort(sort) = outer.input.as_ref() else { panic!("{}", outer.input) };
        let keys: Vec<Expr> = sort.expr.iter().map(|key| key.expr.clone()).collect();
        let columns: Vec<Expr> = sort.input.schema().columns().into_iter().map(Expr::Column).collect();
        assert_eq!((keys.len(), sort.fetch), (1, Some(5)));
        assert_eq!(keys, columns);
    }

    #[test]
    fn calls_over_rows_without_columns_are_ordered_by_columns_all_the_same() {
        let rows = Arc::new(LogicalPlanBuilder::empty(true).build().unwrap());
        let call = row_number().order_by(vec![SortExpr::new(random(), true, false)]).build().unwrap();
        let plan = LogicalPlan::Window(Window::try_new(vec![call], Arc::clone(&rows)).unwrap());
        let schema = Arc::clone(plan.schema());
        let LogicalPlan::Projection(outer) = keys_as_columns(plan).unwrap() else { panic!() };
        assert_eq!(outer.schema.fields().len(), schema.fields().len());
        let LogicalPlan::Window(window) = outer.input.as_ref() else { panic!("{}", outer.input) };
        assert_eq!(window.input.schema().fields().len(), 1, "{}", window.input);

        let call = array_agg(random()).order_by(vec![SortExpr::new(random(), true, false)]).build().unwrap();
        let plan = LogicalPlan::Aggregate(Aggregate::try_new(rows, Vec::new(), vec![call]).unwrap());
        let plan = keys_as_columns(plan).unwrap();
        let LogicalPlan::Projection(outer) = &plan else { panic!("{plan}") };
        let LogicalPlan::Aggregate(aggregate) = outer.input.as_ref() else { panic!("{}", outer.input) };
        assert_eq!(aggregate.input.schema().fields().len(), 1, "{}", aggregate.input);
        assert_eq!(keys_as_columns(plan.clone()).unwrap(), plan);
    }
}
