//! Sources of a column: the scans of which it can be told that every value of the column, NULL aside, is among their values of
//! one of their columns. Equalities of joins make the scans of either side sources of both.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::datatypes::{DataType, FieldRef};
use datafusion::common::tree_node::TreeNode;
use datafusion::common::{Column, DFSchema, ExprSchema, NullEquality};
use datafusion::error::Result;
use datafusion::logical_expr::{
    Aggregate, Distinct, Expr, Filter, Join, JoinType, LogicalPlan, Projection, SubqueryAlias, TableScan, TableScanBuilder,
};

use super::cardinality;
use super::order::store_of;
use crate::pgtype::PgField;
use crate::stores::StoreName;

/// The most nodes that are looked at for one column.
const VISITS_MAX: usize = 500;

/// A scan, with the conditions that stand directly on it as far as a copy of them gives the same rows.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Source {
    /// The scan, below its filters.
    pub(super) plan: LogicalPlan,
    /// The column of `plan` that has the values.
    pub(super) column: Column,
    /// Where it is stored.
    pub(super) store: StoreName,
    /// Whether nothing else stands on the scan so far.
    is_whole: bool,
}

impl Source {
    fn of_scan(plan: &LogicalPlan, scan: &TableScan, column: &Column) -> Option<Self> {
        let is_copyable = scan.fetch.is_none() && scan.filters.iter().all(is_copyable);
        let store = store_of(plan).filter(|_| is_copyable && scan.projected_schema.has_column(column))?;
        Some(Self { plan: plan.clone(), column: column.clone(), store, is_whole: true })
    }

    fn below(self) -> Self {
        Self { is_whole: false, ..self }
    }

    fn within(self, plan: &LogicalPlan, column: &Column) -> Self {
        if !self.is_whole {
            return self;
        }
        Self { plan: plan.clone(), column: column.clone(), ..self }
    }

    /// The field of its column.
    pub(super) fn field(&self) -> Result<&FieldRef> {
        self.plan.schema().field_from_column(&self.column)
    }

    /// About how many rows it has; `None` when nobody has counted its table.
    pub(super) fn rows(&self) -> Option<f64> {
        let scan = scan_of(&self.plan)?;
        let provider = cardinality::stored(scan);
        provider.as_ref().and_then(cardinality::as_stored)?.table().row_estimate?;
        Some(cardinality::of(&self.plan).rows)
    }

    /// A copy that reads no columns but its own.
    ///
    /// # Errors
    /// What building the new nodes fails with.
    pub(super) fn copy(&self) -> Result<LogicalPlan> {
        let narrow = narrowed(&self.plan, &HashSet::from([self.column.clone()]))?;
        Ok(LogicalPlan::Projection(Projection::try_new(vec![Expr::Column(self.column.clone())], Arc::new(narrow))?))
    }
}

/// The scan below the filters of a source.
pub(super) fn scan_of(plan: &LogicalPlan) -> Option<&TableScan> {
    match plan {
        LogicalPlan::TableScan(scan) => Some(scan),
        LogicalPlan::Filter(filter) => scan_of(&filter.input),
        LogicalPlan::SubqueryAlias(alias) => scan_of(&alias.input),
        _ => None,
    }
}

/// Whether evaluating a condition a second time gives the same.
fn is_copyable(condition: &Expr) -> bool {
    let depends = |expr: &Expr| {
        matches!(
            expr,
            Expr::ScalarSubquery(_)
                | Expr::InSubquery(_)
                | Expr::Exists(_)
                | Expr::SetComparison(_)
                | Expr::OuterReferenceColumn(..)
                | Expr::Placeholder(_)
        )
    };
    !condition.is_volatile() && condition.exists(|expr| Ok(depends(expr))).is_ok_and(|found| !found)
}

fn narrowed(plan: &LogicalPlan, wanted: &HashSet<Column>) -> Result<LogicalPlan> {
    Ok(match plan {
        LogicalPlan::TableScan(scan) => {
            let all: Vec<usize> = scan.projection.clone().unwrap_or_else(|| (0..scan.source.schema().fields().len()).collect());
            let columns = scan.projected_schema.columns();
            let kept = all.into_iter().zip(columns).filter(|(_, column)| wanted.contains(column)).map(|(ordinal, _)| ordinal);
            let kept = kept.collect();
            LogicalPlan::TableScan(TableScanBuilder::from(scan.clone()).with_projection(Some(kept)).build()?)
        }
        LogicalPlan::Filter(filter) => {
            let read = filter.predicate.column_refs().into_iter().chain(wanted).cloned().collect();
            LogicalPlan::Filter(Filter::try_new(filter.predicate.clone(), Arc::new(narrowed(&filter.input, &read)?))?)
        }
        LogicalPlan::SubqueryAlias(alias) => {
            let below = wanted.iter().filter_map(|column| under_alias(alias, column)).collect();
            LogicalPlan::SubqueryAlias(SubqueryAlias::try_new(Arc::new(narrowed(&alias.input, &below)?), alias.alias.clone())?)
        }
        other => other.clone(),
    })
}

/// The sources of a column of `plan`.
pub(super) fn of(plan: &LogicalPlan, column: &Column) -> Vec<Source> {
    let mut found = Vec::new();
    gather(plan, column, &mut 0, &mut found);
    found
}

fn gather(plan: &LogicalPlan, column: &Column, visits: &mut usize, found: &mut Vec<Source>) {
    *visits += 1;
    if *visits > VISITS_MAX {
        return;
    }
    let first = found.len();
    let mut below = |plan: &LogicalPlan, column: &Column| gather(plan, column, visits, found);
    match plan {
        LogicalPlan::TableScan(scan) => found.extend(Source::of_scan(plan, scan, column)),
        LogicalPlan::SubqueryAlias(alias) => {
            if let Some(inner) = under_alias(alias, column) {
                below(&alias.input, &inner);
            }
        }
        LogicalPlan::Filter(filter) => below(&filter.input, column),
        LogicalPlan::Projection(projection) => {
            if let Some(inner) = under_projection(projection, column) {
                below(&projection.input, inner);
            }
        }
        LogicalPlan::Aggregate(aggregate) => {
            if let Some(inner) = under_groups(aggregate, column) {
                below(&aggregate.input, inner);
            }
        }
        LogicalPlan::Join(join) => of_join(join, column, &mut below),
        LogicalPlan::Sort(_) | LogicalPlan::Limit(_) | LogicalPlan::Distinct(Distinct::All(_)) | LogicalPlan::Window(_) => {
            plan.inputs().into_iter().filter(|input| input.schema().has_column(column)).for_each(|input| below(input, column));
        }
        _ => {}
    }
    let keeps = match plan {
        LogicalPlan::TableScan(_) | LogicalPlan::SubqueryAlias(_) => true,
        LogicalPlan::Filter(filter) => is_copyable(&filter.predicate),
        _ => false,
    };
    let changed: Vec<Source> = found.drain(first..).collect();
    found.extend(changed.into_iter().map(|source| if keeps { source.within(plan, column) } else { source.below() }));
}

fn of_join(join: &Join, column: &Column, below: &mut dyn FnMut(&LogicalPlan, &Column)) {
    // A column of the side that is not kept may be called the same.
    let (left, right) = match join.join_type {
        JoinType::LeftSemi | JoinType::LeftAnti | JoinType::LeftMark => (true, false),
        JoinType::RightSemi | JoinType::RightAnti | JoinType::RightMark => (false, true),
        JoinType::Inner | JoinType::Left | JoinType::Right | JoinType::Full => (true, true),
    };
    if left && join.left.schema().has_column(column) {
        below(&join.left, column);
    }
    if right && join.right.schema().has_column(column) {
        below(&join.right, column);
    }
    if !matches!(join.join_type, JoinType::Inner | JoinType::LeftSemi | JoinType::RightSemi) {
        return;
    }
    for (one, other) in equal_columns(join) {
        if left && one == column {
            below(&join.right, other);
        } else if right && other == column {
            below(&join.left, one);
        }
    }
}

/// The pairs of plain columns that a join takes for equal where their values are: in one type, or in integers of any size.
/// Nothing where NULL is more than a value that equals nothing.
pub(super) fn equal_columns(join: &Join) -> Vec<(&Column, &Column)> {
    if join.null_equality != NullEquality::NullEqualsNothing || join.null_aware {
        return Vec::new();
    }
    let pairs = join
        .on
        .iter()
        .filter_map(|(one, other)| Some((plain_column(one, join.left.schema())?, plain_column(other, join.right.schema())?)));
    pairs
        .filter(|(one, other)| {
            let fields = (join.left.schema().field_from_column(one), join.right.schema().field_from_column(other));
            matches!(fields, (Ok(one), Ok(other)) if is_same_type(one, other))
        })
        .collect()
}

/// The column that an expression is, or that it makes a wider integer of.
fn plain_column<'e>(expr: &'e Expr, schema: &DFSchema) -> Option<&'e Column> {
    match expr {
        Expr::Column(column) => Some(column),
        Expr::Alias(alias) => plain_column(&alias.expr, schema),
        Expr::Cast(cast) => {
            let column = plain_column(&cast.expr, schema)?;
            let from = schema.field_from_column(column).ok().and_then(|field| integer_bytes(field.data_type()))?;
            (integer_bytes(cast.field.data_type())? >= from).then_some(column)
        }
        _ => None,
    }
}

fn integer_bytes(data_type: &DataType) -> Option<usize> {
    matches!(data_type, DataType::Int16 | DataType::Int32 | DataType::Int64).then(|| data_type.primitive_width()).flatten()
}

/// Whether values of two fields are equal exactly when one column of either type would say so.
pub(super) fn is_same_type(one: &FieldRef, other: &FieldRef) -> bool {
    let integers = integer_bytes(one.data_type()).is_some() && integer_bytes(other.data_type()).is_some();
    integers || one.data_type() == other.data_type() && one.pg_type().oid == other.pg_type().oid
}

/// What a column of an alias is called below it.
pub(super) fn under_alias(alias: &SubqueryAlias, column: &Column) -> Option<Column> {
    let place = alias.schema.maybe_index_of_column(column)?;
    Some(Column::from(alias.input.schema().qualified_field(place)))
}

/// The column below a projection whose values a column above it has.
pub(super) fn under_projection<'p>(projection: &'p Projection, column: &Column) -> Option<&'p Column> {
    bare(projection.expr.get(projection.schema.maybe_index_of_column(column)?)?)
}

/// The column below an aggregate whose values a group key has; `None` for grouping sets.
pub(super) fn under_groups<'p>(aggregate: &'p Aggregate, column: &Column) -> Option<&'p Column> {
    if aggregate.group_expr.iter().any(|expr| matches!(expr, Expr::GroupingSet(_))) {
        return None;
    }
    bare(aggregate.group_expr.get(aggregate.schema.maybe_index_of_column(column)?)?)
}

fn bare(expr: &Expr) -> Option<&Column> {
    match expr {
        Expr::Column(column) => Some(column),
        Expr::Alias(alias) => bare(&alias.expr),
        _ => None,
    }
}
