//! Which values of the outer row a subquery reads, and how the join finds its way back to that row.
//!
//! A subquery that reads outer columns only in equalities with its own (`r.station_id = s.id`) is computed for all values of
//! its own side. Any other is computed for the distinct values that the outer rows have, for which these are read twice.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema, ExprSchema};
use datafusion::error::Result;
use datafusion::logical_expr::utils::split_conjunction;
use datafusion::logical_expr::{
    BinaryExpr, Distinct, Expr, JoinType, LogicalPlan, Operator, Projection, WindowFrameUnits, WindowFunctionDefinition,
};

use super::super::sets::ProjectSet;
use super::{calls, has_subquery, references, unsupported};
use crate::federation::ast::HIDDEN;

/// What a subquery is computed for.
#[derive(Debug)]
pub(super) struct Domain {
    /// The outer columns that the subquery reads.
    columns: Vec<Column>,
    /// What of the outer row each key must equal.
    outer: Vec<Expr>,
    /// Names of the keys.
    pub(super) names: Vec<String>,
    /// Where the values of the keys come from.
    pub(super) source: Source,
}

/// Where the values of keys come from.
#[derive(Debug)]
pub(super) enum Source {
    /// The subquery's own sides of equalities with outer expressions, key by key.
    Equalities(Vec<Expr>),
    /// The distinct values that outer rows have.
    Rows(LogicalPlan),
}

impl Domain {
    /// The domain of `subquery` over the rows of `outer`; `None` when it reads none of their columns.
    pub(super) fn of(subquery: &LogicalPlan, outer: &LogicalPlan, number: usize) -> Result<Option<Self>> {
        let columns: Vec<Column> = references(subquery)?.into_iter().filter(|column| outer.schema().has_column(column)).collect();
        if columns.is_empty() {
            return Ok(None);
        }
        if subquery.exists(|node| Ok(is_random_node(node)))? {
            return Err(unsupported("a volatile function in a correlated subquery"));
        }
        let name = |place: usize| format!("key{HIDDEN}{number}_{place}");
        if let Some(pairs) = equalities(subquery, &columns)? {
            let names = (0..pairs.len()).map(name).collect();
            let (sides, own): (Vec<Expr>, Vec<Expr>) = pairs.into_iter().unzip();
            let sides = sides.into_iter().map(inward).collect::<Result<_>>()?;
            return Ok(Some(Self { columns, outer: sides, names, source: Source::Equalities(own) }));
        }
        if !is_repeatable(outer)? || has_sums_of_floats(outer, &columns)? {
            return Err(unsupported("a correlated subquery over rows that are not the same when they are read again"));
        }
        // Groups of the engine hold one zero, while outer rows may have both.
        let key = |column: &Column| match is_float(outer, column) {
            true => calls::bits(Expr::Column(column.clone())),
            false => Expr::Column(column.clone()),
        };
        let keys: Vec<Expr> = columns.iter().map(key).collect();
        let names: Vec<String> = (0..keys.len()).map(name).collect();
        let values = keys.iter().zip(&names).map(|(key, name)| key.clone().alias(name));
        let rows = LogicalPlan::Projection(Projection::try_new(values.collect(), Arc::new(outer.clone()))?);
        let source = Source::Rows(LogicalPlan::Distinct(Distinct::All(Arc::new(rows))));
        Ok(Some(Self { outer: keys, columns, names, source }))
    }

    /// Whether an expression reads what the domain stands for.
    pub(super) fn is_read_by(&self, expr: &Expr) -> Result<bool> {
        reads(expr, &self.columns)
    }

    /// Whether a plan does.
    pub(super) fn is_read_in(&self, plan: &LogicalPlan) -> Result<bool> {
        Ok(references(plan)?.iter().any(|column| self.columns.contains(column)))
    }

    /// The expression over keys that stand in `keys`, in their order.
    pub(super) fn inward(&self, expr: Expr, keys: &[Column]) -> Result<Expr> {
        let replaced = expr.transform_up(|part| {
            let Expr::OuterReferenceColumn(field, column) = &part else { return Ok(Transformed::no(part)) };
            let place = self.columns.iter().position(|known| known == column);
            let is_bits = matches!(self.source, Source::Rows(_)) && field.data_type().is_floating();
            Ok(match place.and_then(|place| keys.get(place)) {
                Some(key) if is_bits => Transformed::yes(calls::of_bits(Expr::Column(key.clone()), field)),
                Some(key) => Transformed::yes(Expr::Column(key.clone())),
                None => Transformed::no(part),
            })
        })?;
        Ok(replaced.data)
    }

    /// The pairs of a join between outer rows and rows with `keys`.
    pub(super) fn pairs(&self, outer: &DFSchema, keys: &[Column]) -> Result<Vec<(Expr, Expr)>> {
        let pairs = self.outer.iter().cloned().zip(keys.iter().cloned().map(Expr::Column));
        match self.source {
            Source::Equalities(_) => Ok(pairs.collect()),
            Source::Rows(_) => same(pairs.collect(), outer),
        }
    }
}

/// The pairs of a join on values that are the same, NULL included.
pub(super) fn same(pairs: Vec<(Expr, Expr)>, left: &DFSchema) -> Result<Vec<(Expr, Expr)>> {
    let is_plain = |expr: &Expr| match expr {
        Expr::Column(column) => {
            left.field_from_column(column).is_ok_and(|field| !field.is_nullable() && !field.data_type().is_floating())
        }
        _ => false,
    };
    let (mut plain, nullable): (Vec<_>, Vec<_>) = pairs.into_iter().partition(|(expr, _)| is_plain(expr));
    if !nullable.is_empty() {
        let (left, right) = nullable.into_iter().unzip();
        plain.push((calls::identity(left), calls::identity(right)));
    }
    Ok(plain)
}

fn reads(expr: &Expr, columns: &[Column]) -> Result<bool> {
    expr.exists(|part| Ok(matches!(part, Expr::OuterReferenceColumn(_, column) if columns.contains(column))))
}

fn inward(expr: Expr) -> Result<Expr> {
    let plain = expr.transform_up(|part| match part {
        Expr::OuterReferenceColumn(_, column) => Ok(Transformed::yes(Expr::Column(column))),
        other => Ok(Transformed::no(other)),
    })?;
    Ok(plain.data)
}

/// Outer and own sides of the equalities in which alone `plan` reads `columns`, when all stand in one condition whose values
/// every node above keeps apart by them.
fn equalities(plan: &LogicalPlan, columns: &[Column]) -> Result<Option<Vec<(Expr, Expr)>>> {
    let is_free =
        |plan: &LogicalPlan| Ok::<_, datafusion::error::DataFusionError>(!references(plan)?.iter().any(|c| columns.contains(c)));
    if let LogicalPlan::Filter(filter) = plan
        && !is_free(plan)?
        && is_free(&filter.input)?
    {
        let mut pairs = Vec::new();
        for condition in split_conjunction(&filter.predicate) {
            if !reads(condition, columns)? {
                continue;
            }
            let Some(pair) = equality(condition, columns)? else { return Ok(None) };
            pairs.push(pair);
        }
        return Ok((!pairs.is_empty()).then_some(pairs));
    }
    for expr in plan.expressions() {
        if reads(&expr, columns)? || has_subquery(&expr) && !is_free(plan)? && subquery_reads(&expr, columns)? {
            return Ok(None);
        }
    }
    match plan {
        LogicalPlan::Aggregate(node) if node.group_expr.is_empty() => Ok(None),
        LogicalPlan::Projection(_)
        | LogicalPlan::Filter(_)
        | LogicalPlan::Sort(_)
        | LogicalPlan::Limit(_)
        | LogicalPlan::Distinct(_)
        | LogicalPlan::SubqueryAlias(_)
        | LogicalPlan::Window(_)
        | LogicalPlan::Aggregate(_) => match plan.inputs().first() {
            Some(input) => equalities(input, columns),
            None => Ok(None),
        },
        LogicalPlan::Extension(_) => match ProjectSet::of(plan) {
            Some(set) => equalities(set.input(), columns),
            None => Ok(None),
        },
        LogicalPlan::Join(join) => match (join.join_type, is_free(&join.left)?, is_free(&join.right)?) {
            (JoinType::Inner | JoinType::Left | JoinType::LeftSemi | JoinType::LeftAnti, false, true) => {
                equalities(&join.left, columns)
            }
            (JoinType::Inner, true, false) => equalities(&join.right, columns),
            _ => Ok(None),
        },
        _ => Ok(None),
    }
}

fn subquery_reads(expr: &Expr, columns: &[Column]) -> Result<bool> {
    let mut found = false;
    expr.apply(|part| {
        if let Some(plan) = super::attach::plan_of(part) {
            found |= references(plan)?.iter().any(|column| columns.contains(column));
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(found)
}

fn equality(condition: &Expr, columns: &[Column]) -> Result<Option<(Expr, Expr)>> {
    let Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) = condition else { return Ok(None) };
    let is_outer = |expr: &Expr| -> Result<bool> {
        let foreign = expr.exists(|part| Ok(matches!(part, Expr::OuterReferenceColumn(_, column) if !columns.contains(column))))?;
        Ok(reads(expr, columns)? && !foreign && !expr.any_column_refs() && !has_subquery(expr) && !expr.is_volatile())
    };
    let is_own = |expr: &Expr| -> Result<bool> { Ok(!expr.contains_outer() && !has_subquery(expr) && !expr.is_volatile()) };
    if is_outer(left)? && is_own(right)? {
        return Ok(Some((left.as_ref().clone(), right.as_ref().clone())));
    }
    if is_outer(right)? && is_own(left)? {
        return Ok(Some((right.as_ref().clone(), left.as_ref().clone())));
    }
    Ok(None)
}

/// Whether reading a plan twice gives the same rows: nothing in it is random or depends on the order in which rows come.
fn is_repeatable(plan: &LogicalPlan) -> Result<bool> {
    let mut is_same = true;
    plan.apply_with_subqueries(|node| {
        let is_random = is_random_node(node);
        let is_cut = match node {
            LogicalPlan::Limit(_) | LogicalPlan::Distinct(Distinct::On(_)) => true,
            LogicalPlan::Window(window) => window.window_expr.iter().any(counts_rows),
            LogicalPlan::Aggregate(node) => node.aggr_expr.iter().any(keeps_order),
            _ => false,
        };
        is_same &= !is_random && !is_cut;
        Ok(if is_same { TreeNodeRecursion::Continue } else { TreeNodeRecursion::Stop })
    })?;
    Ok(is_same)
}

/// Aggregates that put values one after the other.
fn keeps_order(call: &Expr) -> bool {
    let found = call.exists(|part| Ok(matches!(part, Expr::AggregateFunction(call) if call.func.name().ends_with("_agg"))));
    found.unwrap_or(true)
}

/// Whether a node computes something that may be another value the next time. A call of a set-returning function is volatile
/// only so that it stays where it stands; its arguments count.
pub(super) fn is_random_node(node: &LogicalPlan) -> bool {
    match ProjectSet::of(node) {
        None => node.expressions().iter().any(is_random),
        Some(set) => set.calls().iter().any(|call| match call.clone().unalias() {
            Expr::ScalarFunction(call) => call.args.iter().any(is_random),
            other => is_random(&other),
        }),
    }
}

/// Window functions whose value for a row depends on which of equal rows comes first.
fn counts_rows(expr: &Expr) -> bool {
    let is_fixed = |name: &str| matches!(name, "rank" | "dense_rank" | "percent_rank" | "cume_dist");
    let found = expr.exists(|part| {
        Ok(match part {
            Expr::WindowFunction(call) => match &call.fun {
                WindowFunctionDefinition::WindowUDF(function) => !is_fixed(function.name()),
                WindowFunctionDefinition::AggregateUDF(_) => call.params.window_frame.units == WindowFrameUnits::Rows,
            },
            _ => false,
        })
    });
    found.unwrap_or(true)
}

fn is_float(plan: &LogicalPlan, column: &Column) -> bool {
    plan.schema().field_from_column(column).is_ok_and(|field| field.data_type().is_floating())
}

/// Sums of floats depend on the order of their rows in the last digit, so that a second reading may not find the first one.
fn has_sums_of_floats(plan: &LogicalPlan, columns: &[Column]) -> Result<bool> {
    if !columns.iter().any(|column| is_float(plan, column)) {
        return Ok(false);
    }
    plan.exists(|node| Ok(matches!(node, LogicalPlan::Aggregate(_) | LogicalPlan::Window(_))))
}

/// Volatile calls, but those that only are not to be moved.
fn is_random(expr: &Expr) -> bool {
    let found = expr.exists(|part| {
        Ok(matches!(part, Expr::ScalarFunction(call) if !calls::is_fixed(call.func.name())
            && call.func.signature().volatility == datafusion::logical_expr::Volatility::Volatile))
    });
    found.unwrap_or(true)
}
