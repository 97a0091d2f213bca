//! How many rows a logical plan gives, and how many different values its columns have. Pure guesses, see [`crate::federation::estimate`].

use std::sync::Arc;

use datafusion::catalog::TableProvider;
use datafusion::datasource::source_as_provider;
use datafusion::logical_expr::utils::split_conjunction;
use datafusion::logical_expr::{
    Aggregate, BinaryExpr, Expr, FetchType, Filter, Join, JoinType, Limit, LogicalPlan, Operator, Projection, TableScan,
};

use super::super::estimate;
use super::super::provider::StoredTable;
use super::super::pushdown::to_predicate;

/// Rows of a relation that no store holds: a system relation, a list of values.
const ROWS_ELSEWHERE: f64 = 100.0;
/// The part of rows that have a partner when nothing is known.
const MATCHED: f64 = 0.5;
/// The part of rows without a partner that an anti join is taken to keep at least.
const UNMATCHED_LEAST: f64 = 0.1;

/// What a plan gives.
#[derive(Debug, Clone)]
pub(super) struct Cardinality {
    /// Rows.
    pub(super) rows: f64,
    /// Rows before any condition: values are drawn from so many.
    pub(super) domain: f64,
    /// Different values of each column before any condition; `None` when not known.
    pub(super) distinct: Vec<Option<f64>>,
}

impl Cardinality {
    fn unknown(plan: &LogicalPlan, rows: f64) -> Self {
        Self { rows, domain: rows, distinct: vec![None; plan.schema().fields().len()] }
    }

    fn with_rows(self, rows: f64) -> Self {
        Self { rows: rows.max(1.0), ..self }
    }

    /// Different values of a column; a guess when nothing is known.
    pub(super) fn distinct(&self, column: usize) -> f64 {
        let guess = || (self.domain / 10.0).max(self.domain.min(200.0));
        self.known(column).unwrap_or_else(guess).clamp(1.0, self.domain.max(1.0))
    }

    /// Different values of a column of which something is known.
    pub(super) fn known(&self, column: usize) -> Option<f64> {
        self.distinct.get(column).copied().flatten()
    }
}

/// The table of a store behind a scan.
pub(super) fn stored(scan: &TableScan) -> Option<Arc<dyn TableProvider>> {
    source_as_provider(&scan.source).ok().filter(|provider| as_stored(provider).is_some())
}

/// The provider as what it is.
pub(super) fn as_stored(provider: &Arc<dyn TableProvider>) -> Option<&StoredTable> {
    (provider.as_ref() as &dyn std::any::Any).downcast_ref::<StoredTable>()
}

/// How deep a plan is looked into: what is below is unknown.
const DEPTH_MAX: usize = 100;

/// Estimates a plan bottom-up.
pub(super) fn of(plan: &LogicalPlan) -> Cardinality {
    Estimator { depth: 0 }.of(plan)
}

struct Estimator {
    depth: usize,
}

impl Estimator {
    fn of(&mut self, plan: &LogicalPlan) -> Cardinality {
        if self.depth >= DEPTH_MAX {
            return Cardinality::unknown(plan, estimate::ROWS_UNKNOWN);
        }
        self.depth += 1;
        let found = self.of_node(plan);
        self.depth -= 1;
        found
    }

    fn of_node(&mut self, plan: &LogicalPlan) -> Cardinality {
        match plan {
            LogicalPlan::TableScan(scan) => of_scan(scan, &[]),
            LogicalPlan::Filter(filter) => self.of_filter(filter),
            LogicalPlan::Projection(projection) => self.of_projection(projection),
            LogicalPlan::SubqueryAlias(alias) => self.of(&alias.input),
            LogicalPlan::Sort(sort) => limited(self.of(&sort.input), sort.fetch),
            LogicalPlan::Limit(limit) => self.of_limit(limit),
            LogicalPlan::Aggregate(aggregate) => self.of_aggregate(plan, aggregate),
            LogicalPlan::Join(join) => self.of_join(plan, join),
            LogicalPlan::Union(union) => {
                let rows = union.inputs.iter().map(|input| self.of(input).rows).sum();
                Cardinality::unknown(plan, rows)
            }
            LogicalPlan::EmptyRelation(_) => Cardinality::unknown(plan, 1.0),
            LogicalPlan::Values(values) => Cardinality::unknown(plan, values.values.len() as f64),
            other => {
                let rows = other.inputs().into_iter().map(|input| self.of(input).rows).fold(0.0, f64::max);
                Cardinality::unknown(plan, if rows > 0.0 { rows } else { ROWS_ELSEWHERE })
            }
        }
    }

    fn of_filter(&mut self, filter: &Filter) -> Cardinality {
        let conditions = split_conjunction(&filter.predicate);
        let mut below = filter.input.as_ref();
        while let LogicalPlan::SubqueryAlias(alias) = below {
            below = &alias.input;
        }
        if let LogicalPlan::TableScan(scan) = below {
            return of_scan(scan, &conditions);
        }
        let input = self.of(&filter.input);
        let kept: f64 = conditions.iter().map(|condition| kept_by(condition, &filter.input, &input)).product();
        let rows = input.rows * kept;
        input.with_rows(rows)
    }

    fn of_projection(&mut self, projection: &Projection) -> Cardinality {
        let input = self.of(&projection.input);
        let distinct = projection.expr.iter().map(|expr| {
            let place = place_of(expr, &projection.input)?;
            input.distinct.get(place).copied().flatten()
        });
        Cardinality { rows: input.rows, domain: input.domain, distinct: distinct.collect() }
    }

    fn of_limit(&mut self, limit: &Limit) -> Cardinality {
        let fetch = match limit.get_fetch_type() {
            Ok(FetchType::Literal(fetch)) => fetch,
            _ => None,
        };
        limited(self.of(&limit.input), fetch)
    }

    fn of_aggregate(&mut self, plan: &LogicalPlan, aggregate: &Aggregate) -> Cardinality {
        let input = self.of(&aggregate.input);
        let keys: Vec<f64> = aggregate
            .group_expr
            .iter()
            .map(|expr| place_of(expr, &aggregate.input).map_or(input.rows / 10.0, |place| input.distinct(place)))
            .collect();
        let rows = keys.iter().product::<f64>().min(input.rows).max(1.0);
        let mut distinct: Vec<Option<f64>> = keys.iter().map(|key| Some(key.min(rows).max(1.0))).collect();
        distinct.resize(plan.schema().fields().len(), None);
        Cardinality { rows, domain: rows, distinct }
    }

    fn of_join(&mut self, plan: &LogicalPlan, join: &Join) -> Cardinality {
        let (left, right) = (self.of(&join.left), self.of(&join.right));
        let pairs = join.on.iter().map(|(one, other)| Pair {
            left: place_of(one, &join.left).map(|place| (0, left.distinct(place))),
            right: place_of(other, &join.right).map(|place| (0, right.distinct(place))),
        });
        let pairs: Vec<Pair> = pairs.collect();
        let (left_side, right_side) = (Side::of(&left), Side::of(&right));
        let inner = joined(&left_side, &right_side, &pairs) * unknown_conditions(join.filter.as_ref());
        let rows = match join.join_type {
            JoinType::Inner => inner,
            JoinType::Left => inner.max(left.rows),
            JoinType::Right => inner.max(right.rows),
            JoinType::Full => inner.max(left.rows).max(right.rows),
            JoinType::LeftSemi => left.rows * matched(pairs.iter().map(|pair| pair.left), right.rows),
            JoinType::RightSemi => right.rows * matched(pairs.iter().map(|pair| pair.right), left.rows),
            JoinType::LeftAnti => left.rows * UNMATCHED_LEAST.max(1.0 - matched(pairs.iter().map(|pair| pair.left), right.rows)),
            JoinType::RightAnti => right.rows * UNMATCHED_LEAST.max(1.0 - matched(pairs.iter().map(|pair| pair.right), left.rows)),
            JoinType::LeftMark => left.rows,
            JoinType::RightMark => right.rows,
        };
        let mut distinct = match join.join_type {
            JoinType::RightSemi | JoinType::RightAnti | JoinType::RightMark => right.distinct.clone(),
            JoinType::LeftSemi | JoinType::LeftAnti | JoinType::LeftMark => left.distinct.clone(),
            JoinType::Inner | JoinType::Left | JoinType::Right | JoinType::Full => {
                [left.distinct.clone(), right.distinct.clone()].concat()
            }
        };
        distinct.resize(plan.schema().fields().len(), None);
        Cardinality { rows: rows.max(1.0), domain: left.domain.max(right.domain), distinct }
    }
}

/// A scan under further conditions of a filter above it.
fn of_scan(scan: &TableScan, further: &[&Expr]) -> Cardinality {
    let columns = scan.projected_schema.fields().len();
    let provider = stored(scan);
    let Some(stored) = provider.as_ref().and_then(as_stored) else {
        return Cardinality { rows: ROWS_ELSEWHERE, domain: ROWS_ELSEWHERE, distinct: vec![None; columns] };
    };
    let table = stored.table();
    let mut predicates = Vec::new();
    let mut kept = 1.0;
    // A condition that the store only approximates stands in both places.
    let further = further.iter().copied().filter(|expr| !scan.filters.contains(expr));
    for condition in scan.filters.iter().chain(further) {
        match to_predicate(condition, &table.schema) {
            Some(predicate) => predicates.push(predicate),
            None => kept *= estimate::CONDITION_UNKNOWN,
        }
    }
    let domain = estimate::rows(table);
    let rows = (domain * kept * estimate::kept(table, &predicates)).max(1.0);
    let distinct = match &scan.projection {
        Some(projection) => projection.iter().map(|ordinal| estimate::distinct(table, *ordinal)).collect(),
        None => (0..columns).map(|ordinal| estimate::distinct(table, ordinal)).collect(),
    };
    limited(Cardinality { rows, domain, distinct }, scan.fetch)
}

/// What a condition over a derived relation keeps.
fn kept_by(condition: &Expr, plan: &LogicalPlan, input: &Cardinality) -> f64 {
    let Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) = condition else { return estimate::CONDITION_UNKNOWN };
    let column = match (left.as_ref(), right.as_ref()) {
        (Expr::Literal(..), side) | (side, Expr::Literal(..)) => place_of(side, plan),
        _ => None,
    };
    column.map_or(estimate::CONDITION_UNKNOWN, |column| 1.0 / input.distinct(column))
}

/// The column of `plan` that an expression gives as it is, or as another type or key of the same value.
pub(super) fn place_of(expr: &Expr, plan: &LogicalPlan) -> Option<usize> {
    plan.schema().maybe_index_of_column(column_of(expr)?)
}

/// The one column whose values an expression tells apart as the column does.
pub(super) fn column_of(expr: &Expr) -> Option<&datafusion::common::Column> {
    match expr {
        Expr::Column(column) => Some(column),
        Expr::Alias(alias) => column_of(&alias.expr),
        Expr::Cast(cast) => column_of(&cast.expr),
        Expr::ScalarFunction(call) if matches!(call.func.name(), "float_key" | "typed_key") => column_of(call.args.first()?),
        _ => None,
    }
}

fn limited(input: Cardinality, fetch: Option<usize>) -> Cardinality {
    let rows = fetch.map_or(input.rows, |fetch| input.rows.min(fetch as f64));
    input.with_rows(rows)
}

fn unknown_conditions(filter: Option<&Expr>) -> f64 {
    let count = filter.map_or(0, |filter| split_conjunction(filter).len());
    estimate::CONDITION_UNKNOWN.powi(i32::try_from(count).unwrap_or(i32::MAX))
}

/// The part of rows whose keys are among those of so many rows on the other side.
fn matched(keys: impl Iterator<Item = Option<(usize, f64)>>, others: f64) -> f64 {
    keys.flatten().map(|(_, distinct)| (others / distinct).min(1.0)).reduce(f64::min).unwrap_or(MATCHED)
}

/// One side of a join: its rows, and the domains of the relations in it.
#[derive(Debug, Clone)]
pub(super) struct Side {
    /// Rows of the side.
    pub(super) rows: f64,
    /// Rows of each relation before any condition.
    pub(super) domains: Vec<f64>,
}

impl Side {
    fn of(cardinality: &Cardinality) -> Self {
        Self { rows: cardinality.rows, domains: vec![cardinality.domain] }
    }

    /// How many different combinations of key values the side may have: of one relation never more than its rows. Also whether that
    /// was the bound.
    fn combinations(&self, keys: impl Iterator<Item = Option<(usize, f64)>>) -> (f64, bool) {
        let mut by_relation = vec![1.0; self.domains.len()];
        for (relation, distinct) in keys.flatten() {
            if let Some(product) = by_relation.get_mut(relation) {
                *product *= distinct;
            }
        }
        let bounded = by_relation.iter().zip(&self.domains).any(|(product, domain)| product > domain);
        (by_relation.iter().zip(&self.domains).map(|(product, domain)| product.min(*domain)).product(), bounded)
    }
}

/// A pair of expressions that must be equal: on each side the relation it is of and its different values, as far as known.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pair {
    /// In the left side.
    pub(super) left: Option<(usize, f64)>,
    /// In the right side.
    pub(super) right: Option<(usize, f64)>,
}

/// The rows of an inner join: every value of the side with fewer values is taken to be among those of the other.
pub(super) fn joined(left: &Side, right: &Side, pairs: &[Pair]) -> f64 {
    let (one, one_bounded) = left.combinations(pairs.iter().map(|pair| pair.left));
    let (other, other_bounded) = right.combinations(pairs.iter().map(|pair| pair.right));
    // Where both are bounded the columns depend on each other, and the smaller relation is the one that they are the key of.
    let combinations = if one_bounded && other_bounded { one.min(other) } else { one.max(other) };
    (left.rows * right.rows / combinations.max(1.0)).max(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn joins_by_a_key_keep_the_rows_that_refer_to_it() {
        let side = |rows, domain| Side { rows, domains: vec![domain] };
        let pair = |left, right| Pair { left: Some((0, left)), right: Some((0, right)) };
        let rows = [
            // Each of a million rows refers to one of 1000, of which ten are left.
            (side(1e6, 1e6), side(10.0, 1000.0), vec![pair(1000.0, 1000.0)], 10_000.0),
            // A key of two columns has no more combinations than the table has rows.
            (side(6e6, 6e6), side(8e5, 8e5), vec![pair(2e5, 2e5), pair(1e4, 1e4)], 6e6),
            // Without a pair it is the product.
            (side(20.0, 20.0), side(30.0, 30.0), vec![], 600.0),
            (side(20.0, 20.0), side(30.0, 30.0), vec![Pair { left: None, right: None }], 600.0),
        ];
        for (left, right, pairs, expected) in rows {
            let found = joined(&left, &right, &pairs);
            assert!((found - expected).abs() < expected * 1e-9, "{found} is not {expected}");
        }
    }
}
