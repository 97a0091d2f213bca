//! What a plan makes of the rows that its scans lock for the client. Where it gives back the first rows of one table in an order that the
//! store has too, the store is asked for these only, and locks no others. Rows that others have locked are left out by the store before
//! anything here sees them: where that could change the answer, or would lock rows that are dropped here, the query is refused.

use std::sync::Arc;

use arrow::compute::SortOptions;
use datafusion::physical_expr::PhysicalSortExpr;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_plan::limit::{GlobalLimitExec, LocalLimitExec};
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::sorts::sort_preserving_merge::SortPreservingMergeExec;
use datafusion::physical_plan::{ExecutionPlan, replace_children_if_necessary};

use super::branches::{Branches, Hold};
use super::error::diagnose;
use super::scan::ScanExec;
use crate::error::{Diagnosis, sqlstate};
use crate::stores::lock::{RowLock, SortKey, Waiting};

/// Nodes that give back all rows of their first input, unless they stop, and no others.
const PASSING: [&str; 5] =
    ["CoalescePartitionsExec", "CoalesceBatchesExec", "RepartitionExec", "CooperativeExec", "ScalarSubqueryExec"];

/// The plan whose scans lock no more rows than they have to.
///
/// # Errors
/// 0A000 where rows that others have locked cannot be left out, or fail the query, by what the store sees of it.
pub(super) fn settle(plan: Arc<dyn ExecutionPlan>, branches: &Branches) -> Result<Arc<dyn ExecutionPlan>, Diagnosis> {
    if !branches.locks_rows() {
        return Ok(plan);
    }
    let mut scans = Vec::new();
    gather(&plan, &mut scans);
    for (place, scan) in scans.iter().enumerate() {
        let is_again = |other: &&ScanExec| other.scan().store == scan.scan().store && other.scan().table == scan.scan().table;
        let lock = lock_of(scan, branches).filter(|lock| lock.waiting != Waiting::Wait);
        if let Some(lock) = lock
            && scans.iter().skip(place + 1).any(is_again)
        {
            return Err(refused(lock, "a table that the query reads more than once"));
        }
    }
    part(&plan, &Wanted::All, branches)
}

fn gather<'p>(plan: &'p Arc<dyn ExecutionPlan>, found: &mut Vec<&'p ScanExec>) {
    found.extend(plan.downcast_ref::<ScanExec>());
    for child in plan.children() {
        gather(child, found);
    }
}

/// How the rows of a scan are locked for the client.
fn lock_of(scan: &ScanExec, branches: &Branches) -> Option<RowLock> {
    match branches.hold(&scan.scan().store, &scan.scan().table)? {
        Hold::Locked(lock) => Some(lock),
        Hold::ToChange => None,
    }
}

fn refused(lock: RowLock, what: &str) -> Diagnosis {
    let message = format!("{}{} of {what} is not supported", lock.strength.words(), lock.waiting.words());
    Diagnosis::new(sqlstate::FEATURE_NOT_SUPPORTED, message)
}

/// A part of the plan of which some rows are given back.
fn part(plan: &Arc<dyn ExecutionPlan>, wanted: &Wanted, branches: &Branches) -> Result<Arc<dyn ExecutionPlan>, Diagnosis> {
    if let Some(scan) = plan.downcast_ref::<ScanExec>() {
        let Some(lock) = lock_of(scan, branches) else { return Ok(Arc::clone(plan)) };
        let narrowed = match wanted {
            Wanted::All => return Ok(Arc::clone(plan)),
            Wanted::First(first) => first.of(scan, branches),
            Wanted::Unknown => None,
        };
        return match narrowed {
            Some(scan) => Ok(Arc::new(scan)),
            None if lock.waiting == Waiting::Skip => {
                let detail = "They are dropped by conditions that the store does not evaluate, by joins, or by LIMIT behind an order \
                    that is not the store's, and others would not find them meanwhile.";
                Err(refused(lock, "rows that the query does not give back").with_detail(detail))
            }
            None => Ok(Arc::clone(plan)),
        };
    }
    let children = plan.children();
    if children.is_empty() {
        return Ok(Arc::clone(plan));
    }
    let settled = children.into_iter().enumerate().map(|(place, child)| part(child, &wanted.below(plan.as_ref(), place), branches));
    let settled = settled.collect::<Result<Vec<_>, Diagnosis>>()?;
    replace_children_if_necessary(Arc::clone(plan), settled).map_err(|error| diagnose(&error))
}

/// Which rows of a node are given back.
#[derive(Debug, Clone, PartialEq)]
enum Wanted {
    /// All of them.
    All,
    /// The first ones.
    First(First),
    /// Which ones shows when they have been read.
    Unknown,
}

/// The first rows in an order; any rows without one.
#[derive(Debug, Clone, PartialEq)]
struct First {
    rows: usize,
    order: Vec<Key>,
}

/// An output column by which rows are ordered.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Key {
    column: usize,
    options: SortOptions,
}

/// An order of columns; `None` where something else is in it.
fn keys(order: &[PhysicalSortExpr]) -> Option<Vec<Key>> {
    let key = |sort: &PhysicalSortExpr| {
        let column = sort.expr.downcast_ref::<Column>()?.index();
        Some(Key { column, options: sort.options })
    };
    order.iter().map(key).collect()
}

impl Wanted {
    /// Which rows of an input are given back where these are given back of a node.
    fn below(&self, node: &dyn ExecutionPlan, place: usize) -> Self {
        if place > 0 {
            return Self::Unknown;
        }
        if let Some(projection) = node.downcast_ref::<ProjectionExec>() {
            let origin = |output: usize| {
                let projected = projection.expr().get(output)?;
                projected.expr.downcast_ref::<Column>().map(Column::index)
            };
            return self.by_origin(&origin);
        }
        if let Some(sort) = node.downcast_ref::<SortExec>() {
            return self.first(sort.fetch(), keys(sort.expr()));
        }
        if let Some(merge) = node.downcast_ref::<SortPreservingMergeExec>() {
            return self.first(merge.fetch(), keys(merge.expr()));
        }
        if let Some(limit) = node.downcast_ref::<GlobalLimitExec>() {
            // Rows before an offset are locked too.
            return match limit.skip() {
                0 => self.first(limit.fetch(), Some(Vec::new())),
                skip if *self == Self::All => self.first(limit.fetch().map(|fetch| fetch.saturating_add(skip)), Some(Vec::new())),
                _ => Self::Unknown,
            };
        }
        if let Some(limit) = node.downcast_ref::<LocalLimitExec>() {
            return self.first(Some(limit.fetch()), Some(Vec::new()));
        }
        if PASSING.contains(&node.name()) { self.first(node.fetch(), Some(Vec::new())) } else { Self::Unknown }
    }

    /// The same behind a node that orders by columns, or not at all, and stops after some rows. `None` is an order of something else.
    fn first(&self, rows: Option<usize>, order: Option<Vec<Key>>) -> Self {
        match (self, rows, order) {
            (Self::All, None, _) => Self::All,
            (Self::All, Some(rows), Some(order)) => Self::First(First { rows, order }),
            (Self::First(first), rows, Some(order)) if first.order.is_empty() || first.order == order => {
                Self::First(First { rows: rows.map_or(first.rows, |rows| rows.min(first.rows)), order })
            }
            // What is ordered again keeps nothing of its order.
            (Self::First(first), None, _) if !first.order.is_empty() => self.clone(),
            (Self::Unknown | Self::First(_), _, _) | (Self::All, Some(_), None) => Self::Unknown,
        }
    }

    /// The same in the columns of an input.
    fn by_origin(&self, origin: &dyn Fn(usize) -> Option<usize>) -> Self {
        let Self::First(first) = self else { return self.clone() };
        let order = first.order.iter().map(|key| Some(Key { column: origin(key.column)?, ..*key }));
        order.collect::<Option<Vec<_>>>().map_or(Self::Unknown, |order| Self::First(First { order, ..*first }))
    }
}

impl First {
    /// The scan of these rows; `None` when its store does not know which they are.
    fn of(&self, scan: &ScanExec, branches: &Branches) -> Option<ScanExec> {
        let asked = scan.scan();
        let key = |key: &Key| {
            let column = *asked.columns.get(key.column)?;
            Some(SortKey { column, descending: key.options.descending, nulls_first: key.options.nulls_first })
        };
        let order = self.order.iter().map(key).collect::<Option<Vec<_>>>()?;
        let connector = branches.connector(&asked.store)?;
        if !order.iter().all(|key| connector.sorts_locked(scan.table(), key)) {
            return None;
        }
        scan.locking_first(u64::try_from(self.rows).ok()?, order.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(column: usize) -> Key {
        Key { column, options: SortOptions { descending: false, nulls_first: false } }
    }

    fn first(rows: usize, order: &[usize]) -> Wanted {
        Wanted::First(First { rows, order: order.iter().copied().map(key).collect() })
    }

    #[test]
    fn the_first_rows_are_those_of_the_outermost_order() {
        let by = |columns: &[usize]| Some(columns.iter().copied().map(key).collect::<Vec<_>>());
        for (wanted, rows, order, expected) in [
            (Wanted::All, None, by(&[1]), Wanted::All),
            (Wanted::All, None, None, Wanted::All),
            (Wanted::All, Some(3), by(&[1]), first(3, &[1])),
            (Wanted::All, Some(3), by(&[]), first(3, &[])),
            (Wanted::All, Some(3), None, Wanted::Unknown),
            (first(3, &[]), None, by(&[1]), first(3, &[1])),
            (first(3, &[]), Some(5), by(&[1]), first(3, &[1])),
            (first(3, &[]), None, None, Wanted::Unknown),
            (first(3, &[1]), Some(2), by(&[1]), first(2, &[1])),
            (first(3, &[1]), None, by(&[]), first(3, &[1])),
            (first(3, &[1]), None, by(&[2]), first(3, &[1])),
            (first(3, &[1]), Some(5), by(&[2]), Wanted::Unknown),
            (first(3, &[1]), Some(5), by(&[]), Wanted::Unknown),
            (Wanted::Unknown, None, by(&[]), Wanted::Unknown),
        ] {
            assert_eq!(wanted.first(rows, order.clone()), expected, "{wanted:?} {rows:?} {order:?}");
        }
    }

    #[test]
    fn orders_are_followed_through_projections() {
        let origin = |output: usize| [Some(4), None, Some(2)].get(output).copied().flatten();
        assert_eq!(first(1, &[2, 0]).by_origin(&origin), first(1, &[2, 4]));
        assert_eq!(first(1, &[0, 1]).by_origin(&origin), Wanted::Unknown);
        assert_eq!(Wanted::All.by_origin(&origin), Wanted::All);
    }
}
