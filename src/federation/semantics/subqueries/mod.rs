//! Subqueries as joins: EXISTS, IN, ANY, ALL and scalar subqueries wherever an expression may stand, and LATERAL.
//!
//! ```text
//! resolved plan → attach (a subquery in an expression → a column of a LEFT JOIN) · lateral (→ a join)
//!     → domain (which values of the outer row the subquery reads) → push (the subquery for all of them at once)
//! ```
//!
//! The engine turns the simple forms into semi joins by itself and cheaper ([`shape`] tells which), and computes a scalar
//! subquery without outer references once; those are left to it. All other forms become joins here, before the optimiser.
//!
//! **Invariants:** a subquery gives for each outer row what it would give if it ran for that row alone: its own LIMIT, its own
//! empty aggregate, its own error for a second row. Columns made here hold [`HIDDEN`](crate::federation::ast::HIDDEN).

mod attach;
mod calls;
mod domain;
mod lateral;
mod levels;
mod operands;
mod push;
mod shape;
mod single;

use std::sync::Arc;

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::expr::Alias;
use datafusion::logical_expr::utils::{conjunction, split_conjunction_owned};
use datafusion::logical_expr::{
    Aggregate, Distinct, DistinctOn, Expr, Filter, Join, JoinType, LogicalPlan, Projection, Sort, SortExpr, Window,
};
use datafusion::optimizer::AnalyzerRule;

use crate::error::{Diagnosis, sqlstate};
use crate::federation::ast::HIDDEN;
use attach::Attached;
pub(super) use levels::refuse_aggregates_of_outer_queries;

/// The analyzer rule; must come after resolution and coercion.
#[derive(Debug, Default)]
pub struct SubqueriesAsJoins;

impl AnalyzerRule for SubqueriesAsJoins {
    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        if has_subqueries(&plan)? { Rewriter { made: 0 }.plan(plan, Within::Statement) } else { Ok(plan) }
    }

    fn name(&self) -> &str {
        "subqueries_as_joins"
    }
}

/// Where a plan stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Within {
    /// In the statement itself: the engine's own rewrites apply.
    Statement,
    /// In a subquery that is pushed over a domain, which finds no references inside other subqueries.
    Subquery,
}

/// The pass, with the number of names it has made.
struct Rewriter {
    made: usize,
}

impl Rewriter {
    /// A number that no other name of this plan has.
    fn number(&mut self) -> usize {
        self.made += 1;
        self.made
    }

    fn plan(&mut self, plan: LogicalPlan, within: Within) -> Result<LogicalPlan> {
        let below = if matches!(plan, LogicalPlan::Subquery(_)) { Within::Subquery } else { within };
        let mut is_changed = false;
        let rewritten = plan.map_children(|child| {
            let schema = Arc::clone(child.schema());
            let child = self.plan(child, below)?;
            is_changed |= child.schema() != &schema;
            Ok(Transformed::yes(child))
        })?;
        let plan = if is_changed { rewritten.data.recompute_schema()? } else { rewritten.data };
        match plan {
            LogicalPlan::Join(join) if lateral::is_lateral(&join) => self.lateral(join, within),
            LogicalPlan::Filter(filter) => self.filter(filter, within),
            LogicalPlan::Join(join) if join.filter.as_ref().is_some_and(has_subquery) => self.condition(join, within),
            plan if plan.expressions().iter().any(has_subquery) => self.outputs(plan, within),
            plan => Ok(plan),
        }
    }

    fn filter(&mut self, filter: Filter, within: Within) -> Result<LogicalPlan> {
        if !has_subquery(&filter.predicate) {
            return Ok(LogicalPlan::Filter(filter));
        }
        let wanted = Arc::clone(filter.input.schema());
        let mut attached = Attached::over(Arc::unwrap_or_clone(filter.input));
        let mut conditions = Vec::new();
        for condition in split_conjunction_owned(filter.predicate) {
            conditions.push(if within == Within::Statement && shape::is_condition_of_engine(&condition)? {
                let condition = self.with_own_operand(&mut attached, condition)?;
                self.below(condition)?
            } else {
                self.attach(&mut attached, condition, within)?
            });
        }
        let condition = conjunction(conditions).ok_or_else(|| lost("a condition"))?;
        only(LogicalPlan::Filter(Filter::try_new(condition, Arc::new(attached.plan))?), &wanted)
    }

    /// Rewrites what stands inside the subqueries of an expression that itself stays as it is.
    fn below(&mut self, expr: Expr) -> Result<Expr> {
        let rewritten = expr.transform_up(|part| {
            let (is_scalar, is_compared) = (matches!(part, Expr::ScalarSubquery(_)), matches!(part, Expr::SetComparison(_)));
            let is_member = matches!(part, Expr::InSubquery(_));
            attach::with_plan(part, |plan| {
                let plan = Arc::unwrap_or_clone(plan);
                let is_alone = references(&plan)?.is_empty();
                let plan = self.plan(plan, if is_alone { Within::Statement } else { Within::Subquery })?;
                let plan = match is_alone {
                    // Of rows that are no SELECT the engine does not find the value.
                    true if is_compared || is_member && plan.head_output_expr()?.is_none() => self.with_own_value(plan)?,
                    true => plan,
                    false => self.with_own_names(plan)?,
                };
                if is_alone && is_scalar { attach::or_null(plan).map(Arc::new) } else { Ok(Arc::new(plan)) }
            })
        })?;
        Ok(rewritten.data)
    }

    /// A correlated subquery whose computed outputs have names of their own: the engine puts the columns that its conditions read
    /// beside them, and a cast or an alias would often be called as one of those.
    fn with_own_names(&mut self, plan: LogicalPlan) -> Result<LogicalPlan> {
        let LogicalPlan::Projection(Projection { expr, input, .. }) = plan else { return Ok(plan) };
        let mut own = |expr: Expr| match expr {
            Expr::Column(_) => expr,
            Expr::Alias(alias) => Expr::Alias(Alias { name: self.output_name(), ..alias }),
            other => other.alias(self.output_name()),
        };
        let exprs = expr.into_iter().map(&mut own).collect();
        Ok(LogicalPlan::Projection(Projection::try_new(exprs, input)?))
    }

    /// The value of ANY, ALL and IN (subquery) under a name that no column of the outer row has.
    fn with_own_value(&mut self, plan: LogicalPlan) -> Result<LogicalPlan> {
        let (qualifier, field) = plan.schema().qualified_field(0);
        let value = Expr::Column(Column::new(qualifier.cloned(), field.name())).alias(self.output_name());
        Ok(LogicalPlan::Projection(Projection::try_new(vec![value], Arc::new(plan))?))
    }

    fn output_name(&mut self) -> String {
        format!("output{HIDDEN}{}", self.number())
    }

    /// The condition of a join. That of an inner join is a filter above it.
    fn condition(&mut self, mut join: Join, within: Within) -> Result<LogicalPlan> {
        let Some(condition) = join.filter.take() else { return Ok(LogicalPlan::Join(join)) };
        let wanted = Arc::clone(&join.schema);
        match join.join_type {
            JoinType::Inner => {
                let filter = Filter::try_new(condition, Arc::new(LogicalPlan::Join(join)))?;
                self.filter(filter, within)
            }
            JoinType::Left | JoinType::Right | JoinType::Full => {
                let mut left = Attached::over(join.left.as_ref().clone());
                let mut right = Attached::over(join.right.as_ref().clone());
                let mut conditions = Vec::new();
                for part in split_conjunction_owned(condition) {
                    conditions.push(if !has_subquery(&part) {
                        part
                    } else if reads_only(&part, join.right.schema())? {
                        self.attach(&mut right, part, within)?
                    } else if reads_only(&part, join.left.schema())? {
                        self.attach(&mut left, part, within)?
                    } else {
                        return Err(unsupported("a subquery over columns of both sides in the ON condition of an outer join"));
                    });
                }
                (join.left, join.right) = (Arc::new(left.plan), Arc::new(right.plan));
                join.filter = conjunction(conditions);
                only(LogicalPlan::Join(join).recompute_schema()?, &wanted)
            }
            _ => Err(unsupported("a subquery over columns of both sides in the ON condition of an outer join")),
        }
    }

    /// A node whose expressions make columns or an order.
    fn outputs(&mut self, plan: LogicalPlan, within: Within) -> Result<LogicalPlan> {
        let wanted = Arc::clone(plan.schema());
        match plan {
            LogicalPlan::Projection(node) => {
                let mut attached = Attached::over(Arc::unwrap_or_clone(node.input));
                let mut exprs = Vec::with_capacity(node.expr.len());
                for expr in node.expr {
                    exprs.push(if within == Within::Statement && shape::is_output_of_engine(&expr)? {
                        self.below(expr)?
                    } else {
                        self.attach(&mut attached, expr, within)?
                    });
                }
                let exprs =
                    exprs.into_iter().zip(wanted.iter()).map(|(expr, (qualifier, field))| named(expr, qualifier, field.name()));
                Ok(LogicalPlan::Projection(Projection::try_new(exprs.collect(), Arc::new(attached.plan))?))
            }
            LogicalPlan::Aggregate(node) => {
                let mut attached = Attached::over(Arc::unwrap_or_clone(node.input));
                let groups = self.attach_all(&mut attached, node.group_expr, within)?;
                let calls = self.attach_all(&mut attached, node.aggr_expr, within)?;
                renamed(LogicalPlan::Aggregate(Aggregate::try_new(Arc::new(attached.plan), groups, calls)?), &wanted, 0, &[])
            }
            LogicalPlan::Window(node) => {
                let before = node.input.schema().fields().len();
                let mut attached = Attached::over(Arc::unwrap_or_clone(node.input));
                let calls = self.attach_all(&mut attached, node.window_expr, within)?;
                let inputs = attached.plan.schema().fields().len();
                let window = LogicalPlan::Window(Window::try_new(calls, Arc::new(attached.plan))?);
                push::window_outputs(window, &wanted, (before, inputs), &[])
            }
            LogicalPlan::Sort(node) => {
                let mut attached = Attached::over(Arc::unwrap_or_clone(node.input));
                let mut keys = Vec::with_capacity(node.expr.len());
                for key in node.expr {
                    keys.push(SortExpr { expr: self.attach(&mut attached, key.expr, within)?, ..key });
                }
                only(LogicalPlan::Sort(Sort { expr: keys, input: Arc::new(attached.plan), fetch: node.fetch }), &wanted)
            }
            LogicalPlan::Distinct(Distinct::On(node)) => {
                let mut attached = Attached::over(Arc::unwrap_or_clone(node.input));
                let on = self.attach_all(&mut attached, node.on_expr, within)?;
                let select = self.attach_all(&mut attached, node.select_expr, within)?;
                let select =
                    select.into_iter().zip(wanted.iter()).map(|(expr, (qualifier, field))| named(expr, qualifier, field.name()));
                let select = select.collect();
                let mut sort = Vec::new();
                for key in node.sort_expr.into_iter().flatten() {
                    sort.push(SortExpr { expr: self.attach(&mut attached, key.expr, within)?, ..key });
                }
                let sort = (!sort.is_empty()).then_some(sort);
                Ok(LogicalPlan::Distinct(Distinct::On(DistinctOn::try_new(on, select, sort, Arc::new(attached.plan))?)))
            }
            LogicalPlan::Limit(_) => Err(unsupported("a subquery in LIMIT")),
            other => {
                let rewritten = other.map_expressions(|expr| Ok(Transformed::yes(self.below(expr)?)))?.data;
                Ok(rewritten)
            }
        }
    }

    fn attach_all(&mut self, attached: &mut Attached, exprs: Vec<Expr>, within: Within) -> Result<Vec<Expr>> {
        exprs.into_iter().map(|expr| self.attach(attached, expr, within)).collect()
    }
}

/// A form that nothing here computes, in the words of PostgreSQL's grammar.
fn unsupported(what: &str) -> DataFusionError {
    Diagnosis::new(sqlstate::FEATURE_NOT_SUPPORTED, format!("{what} is not supported")).into()
}

fn lost(what: &str) -> DataFusionError {
    DataFusionError::Internal(format!("{what} was lost while a subquery was made a join"))
}

/// Whether an expression holds a subquery.
fn has_subquery(expr: &Expr) -> bool {
    let found = expr.exists(|part| {
        Ok(matches!(part, Expr::ScalarSubquery(_) | Expr::Exists(_) | Expr::InSubquery(_) | Expr::SetComparison(_)))
    });
    found.unwrap_or(false)
}

fn has_subqueries(plan: &LogicalPlan) -> Result<bool> {
    let mut found = false;
    plan.apply(|node| {
        found |= matches!(node, LogicalPlan::Subquery(_)) || node.expressions().iter().any(has_subquery);
        Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    })?;
    Ok(found)
}

/// The columns of enclosing queries that a plan reads, each once. What a subquery inside it reads of the plan's own rows is not among
/// them: a name means the innermost column that has it.
fn references(plan: &LogicalPlan) -> Result<Vec<Column>> {
    let mut found = Vec::new();
    plan.apply(|node| {
        let inputs = node.inputs();
        let is_own = |column: &Column| inputs.iter().any(|input| input.schema().has_column(column));
        node.apply_expressions(|expr| {
            expr.apply(|part| {
                let read = match (part, attach::plan_of(part)) {
                    (Expr::OuterReferenceColumn(_, column), _) => vec![column.clone()],
                    (_, Some(inner)) => references(inner)?.into_iter().filter(|column| !is_own(column)).collect(),
                    _ => Vec::new(),
                };
                for column in read {
                    if !found.contains(&column) {
                        found.push(column);
                    }
                }
                Ok(TreeNodeRecursion::Continue)
            })
        })
    })?;
    Ok(found)
}

/// Whether all columns of an expression, and those that its subqueries read of it, are of one schema.
fn reads_only(expr: &Expr, schema: &DFSchema) -> Result<bool> {
    let mut is_known = expr.column_refs().iter().all(|column| schema.has_column(column));
    expr.apply(|part| {
        if let Some(plan) = attach::plan_of(part) {
            is_known &= references(plan)?.iter().all(|column| schema.has_column(column));
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(is_known)
}

/// An expression under the name of an output.
fn named(expr: Expr, qualifier: Option<&datafusion::common::TableReference>, name: &str) -> Expr {
    match expr.unalias() {
        Expr::Column(column) if column.relation.as_ref() == qualifier && column.name == name => Expr::Column(column),
        other => other.alias_qualified(qualifier.cloned(), name),
    }
}

/// Only the columns of `wanted`, by name.
fn only(plan: LogicalPlan, wanted: &DFSchema) -> Result<LogicalPlan> {
    if plan.schema().fields().len() == wanted.fields().len() {
        return Ok(plan);
    }
    let columns = wanted.columns().into_iter().map(Expr::Column).collect();
    Ok(LogicalPlan::Projection(Projection::try_new(columns, Arc::new(plan))?))
}

/// The columns from the place `first` on under the names of `wanted`, and `keys` beside them.
fn renamed(plan: LogicalPlan, wanted: &DFSchema, first: usize, keys: &[Column]) -> Result<LogicalPlan> {
    let columns = plan.schema().columns();
    let mut exprs = Vec::with_capacity(wanted.fields().len() + keys.len());
    for ((qualifier, field), column) in wanted.iter().zip(columns.iter().skip(first)) {
        exprs.push(named(Expr::Column(column.clone()), qualifier, field.name()));
    }
    exprs.extend(keys.iter().cloned().map(Expr::Column));
    let is_same =
        exprs.len() == columns.len() && exprs.iter().zip(&columns).all(|(expr, column)| expr.try_as_col() == Some(column));
    if is_same {
        return Ok(plan);
    }
    Ok(LogicalPlan::Projection(Projection::try_new(exprs, Arc::new(plan))?))
}
