//! Semi joins below aggregates: where a join meets the groups of an aggregate with few rows, only those groups are made.
//!
//! `… FROM part LEFT JOIN (SELECT avg(quantity), partkey FROM lineitem GROUP BY partkey) …`, as a correlated subquery becomes one,
//! aggregates all lines although few parts are wanted. The input of the aggregate is joined with a copy of the scan that the
//! wanted keys come from. Groups do not depend on one another, and those left out would have met no row of the join.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema, ExprSchema, JoinConstraint, NullEquality};
use datafusion::error::Result;
use datafusion::logical_expr::{Aggregate, Distinct, Expr, Join, JoinType, LogicalPlan, SubqueryAlias, cast};

use super::cardinality;
use super::sources::{self, Source, equal_columns, is_same_type, under_alias, under_groups, under_projection};
use crate::federation::semantics::aggregates::meaning;
use crate::pgtype::PgField;
use crate::stores::fragment::{Expression, JoinKind, Node};
use crate::stores::predicate::Comparison;
use crate::stores::{Relation, Tables};

/// A source must have so many times fewer rows than the aggregate has groups.
const FEWER: f64 = 10.0;
/// What the copies are called, before their number.
const PREFIX: &str = "__reduced_";
/// A deeper plan is left alone.
const DEPTH_MAX: usize = 200;
/// The most sources that are remembered for the rows of one node.
const GIVEN_MAX: usize = 64;

/// Puts semi joins below the aggregates of a plan whose groups meet few rows.
///
/// # Errors
/// What building the new nodes fails with.
pub(super) fn reduce(plan: LogicalPlan) -> Result<LogicalPlan> {
    let (mut joins, mut groups) = (false, false);
    plan.apply_with_subqueries(|node| {
        joins |= matches!(node, LogicalPlan::Join(_));
        groups |= matches!(node, LogicalPlan::Aggregate(aggregate) if !aggregate.group_expr.is_empty());
        Ok(TreeNodeRecursion::Continue)
    })?;
    if !joins || !groups {
        return Ok(plan);
    }
    let changed = Reducer { copies: 0 }.visit(&plan, &[], 0)?;
    Ok(changed.unwrap_or(plan))
}

/// A node's rows whose `column` has a value that `source` does not have, or NULL, change nothing of the result.
#[derive(Debug, Clone)]
struct Given {
    column: Column,
    source: Source,
}

struct Reducer {
    /// How many copies there are so far.
    copies: usize,
}

impl Reducer {
    /// The changed plan; `None` when it stays as it is.
    fn visit(&mut self, plan: &LogicalPlan, given: &[Given], depth: usize) -> Result<Option<LogicalPlan>> {
        if depth > DEPTH_MAX {
            return Ok(None);
        }
        let below = below(plan, given);
        let mut inputs = Vec::new();
        for (place, input) in plan.inputs().into_iter().enumerate() {
            let given = below.get(place).map_or(&[][..], Vec::as_slice);
            let changed = self.visit(input, &given[..given.len().min(GIVEN_MAX)], depth + 1)?;
            inputs.push(match plan {
                LogicalPlan::Aggregate(aggregate) => self.reduced(aggregate, given, changed)?,
                _ => changed,
            });
        }
        let mut is_changed = inputs.iter().any(Option::is_some);
        let mut inputs = inputs.into_iter();
        let node = plan
            .clone()
            .map_children(|input| Ok(inputs.next().flatten().map_or_else(|| Transformed::no(input), Transformed::yes)))?;
        let node = node.data.map_subqueries(|subquery| {
            let changed = self.visit(&subquery, &[], depth + 1)?;
            Ok(changed.map_or_else(|| Transformed::no(subquery), Transformed::yes))
        })?;
        is_changed |= node.transformed;
        Ok(is_changed.then_some(node.data))
    }

    /// The input of an aggregate for the groups that are wanted, given what already became of it.
    fn reduced(&mut self, aggregate: &Aggregate, given: &[Given], changed: Option<LogicalPlan>) -> Result<Option<LogicalPlan>> {
        let input = changed.as_ref().unwrap_or(&aggregate.input);
        let Some(chosen) = best(aggregate, input, given) else { return Ok(changed) };
        let alias = self.alias(input.schema());
        let copy = SubqueryAlias::try_new(Arc::new(chosen.source.copy()?), alias.as_str())?;
        let key = Column::new(Some(alias), chosen.source.column.name.clone());
        let types = (input.schema().field_from_column(&chosen.column)?.data_type(), chosen.source.field()?.data_type());
        let same = types.0 == types.1;
        let widened = |column: &Column, from: &DataType| {
            let column = Expr::Column(column.clone());
            if same || *from == DataType::Int64 { column } else { cast(column, DataType::Int64) }
        };
        let on = vec![(widened(&chosen.column, types.0), widened(&key, types.1))];
        let (constraint, nulls) = (JoinConstraint::On, NullEquality::NullEqualsNothing);
        let copy = Arc::new(LogicalPlan::SubqueryAlias(copy));
        let join = Join::try_new(Arc::new(input.clone()), copy, on, None, JoinType::LeftSemi, constraint, nulls, false)?;
        Ok(Some(LogicalPlan::Join(join)))
    }

    /// A name that no relation of the input has.
    fn alias(&mut self, input: &DFSchema) -> String {
        loop {
            let alias = format!("{PREFIX}{}", self.copies);
            self.copies += 1;
            if !input.iter().any(|(relation, _)| relation.is_some_and(|relation| relation.table() == alias)) {
                return alias;
            }
        }
    }
}

/// What is given of the inputs of a node when so much is given of itself.
fn below(plan: &LogicalPlan, given: &[Given]) -> Vec<Vec<Given>> {
    let moved = |to: &dyn Fn(&Column) -> Option<Column>| -> Vec<Vec<Given>> {
        let moved = given.iter().filter_map(|known| Some(Given { column: to(&known.column)?, source: known.source.clone() }));
        vec![moved.collect()]
    };
    match plan {
        LogicalPlan::Projection(projection) => moved(&|column| under_projection(projection, column).cloned()),
        LogicalPlan::SubqueryAlias(alias) => moved(&|column| under_alias(alias, column)),
        LogicalPlan::Aggregate(aggregate) => moved(&|column| under_groups(aggregate, column).cloned()),
        LogicalPlan::Filter(filter) if !filter.predicate.is_volatile() => vec![given.to_vec()],
        LogicalPlan::Sort(sort) if sort.fetch.is_none() => vec![given.to_vec()],
        LogicalPlan::Distinct(Distinct::All(_)) => vec![given.to_vec()],
        LogicalPlan::Join(join) => below_join(join, given).to_vec(),
        _ => Vec::new(),
    }
}

/// What is given of both sides of a join: what is given of it, where a row of the side is lost with what it would have made, and
/// what the equalities say, where a row of the side counts only by its partners.
fn below_join(join: &Join, given: &[Given]) -> [Vec<Given>; 2] {
    use JoinType::{Full, Inner, Left, LeftAnti, LeftMark, LeftSemi, Right, RightAnti, RightMark, RightSemi};
    let kept = match join.join_type {
        Inner => [true, true],
        Left | LeftSemi | LeftAnti | LeftMark => [true, false],
        Right | RightSemi | RightAnti | RightMark => [false, true],
        Full => [false, false],
    };
    let partners_only = match join.join_type {
        Inner | LeftSemi | RightSemi => [true, true],
        Left | LeftAnti => [false, true],
        Right | RightAnti => [true, false],
        Full | LeftMark | RightMark => [false, false],
    };
    let sides = [&join.left, &join.right];
    let mut found = [Vec::new(), Vec::new()];
    for ((found, kept), side) in found.iter_mut().zip(kept).zip(sides) {
        found.extend(given.iter().filter(|known| kept && side.schema().has_column(&known.column)).cloned());
    }
    let [left, right] = &mut found;
    let own = [left.clone(), right.clone()];
    for (one, other) in equal_columns(join) {
        let across = |from: &LogicalPlan, own: &[Given], column: &Column, to: &Column| {
            let known = own.iter().filter(|known| known.column == *column).map(|known| known.source.clone());
            let sources = known.chain(sources::of(from, column));
            sources.map(|source| Given { column: to.clone(), source }).collect::<Vec<_>>()
        };
        if partners_only[0] {
            left.extend(across(&join.right, &own[1], other, one));
        }
        if partners_only[1] {
            right.extend(across(&join.left, &own[0], one, other));
        }
    }
    found
}

/// The source that leaves the fewest groups of an aggregate over `input`, if it is worth its semi join. What has been reduced by it
/// already has no more groups than it has rows.
fn best<'g>(aggregate: &Aggregate, input: &LogicalPlan, given: &'g [Given]) -> Option<&'g Given> {
    if given.is_empty() || !aggregate.aggr_expr.iter().all(is_orderless) {
        return None;
    }
    let known = cardinality::of(input);
    let part = |given: &Given| {
        let place = input.schema().maybe_index_of_column(&given.column)?;
        let own = sources::of(input, &given.column);
        let is_near = own.iter().any(|own| own.store == given.source.store);
        if !is_near || !is_same_type(input.schema().field(place), given.source.field().ok()?) || !takes_semi_joins(&given.source) {
            return None;
        }
        // Not the rows that joins are guessed to leave: guesses over several joins can be off by orders of magnitude.
        let groups = own.iter().filter_map(Source::rows).fold(known.known(place)?, f64::min);
        let part = given.source.rows()? / groups.max(1.0);
        (part * FEWER <= 1.0).then_some(part)
    };
    let ranked = given.iter().filter_map(|given| Some((part(given)?, given)));
    ranked.min_by(|(one, _), (other, _)| one.total_cmp(other)).map(|(_, given)| given)
}

/// Whether an aggregate says the same of rows in any order.
fn is_orderless(expr: &Expr) -> bool {
    match expr {
        Expr::Alias(alias) => is_orderless(&alias.expr),
        Expr::AggregateFunction(call) => {
            matches!(meaning(&call.func).0, "count" | "sum" | "avg" | "min" | "max" | "bool_and" | "bool_or")
        }
        _ => false,
    }
}

/// Whether the store would run a semi join by the key: otherwise an aggregate that it could have run would stay here.
fn takes_semi_joins(source: &Source) -> bool {
    let asked = || {
        let scan = sources::scan_of(&source.plan)?;
        let provider = cardinality::stored(scan)?;
        let stored = cardinality::as_stored(&provider)?;
        let (connector, table) = (stored.connector()?, stored.table());
        let ordinal = table.columns.iter().position(|column| *column.field.name() == source.column.name)?;
        let pg_type = table.columns.get(ordinal)?.field.pg_type();
        let (scan, _) = stored.scan_of(Some(&vec![ordinal]), &[]);
        let side = |place| Box::new(Expression::column(place, pg_type));
        let equality = Node::Compare { op: Comparison::Equal, left: side(0), right: side(1) };
        let read = || Box::new(Relation::Table(scan.clone()));
        let condition = Some(Expression::condition(equality));
        let join = Relation::Join { left: read(), right: read(), kind: JoinKind::Semi, condition };
        let tables = Tables::from([(table.id.clone(), Arc::clone(table))]);
        Some(connector.accepts(&join, &tables).is_ok())
    };
    asked().unwrap_or(false)
}

#[cfg(test)]
mod tests;
