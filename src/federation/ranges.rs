//! Scans that are read as ranges side by side: which, in how many, and one stream made of them.
//!
//! ```text
//! finished plan → divide (scans that are read to their end) → first batch asked for: of (what joins have told is known) → read
//! ```
//!
//! The ranges are read inside one partition of the plan. The stores' tasks decode side by side all the same, nothing above has to be
//! divided or merged for it, and how many there are may be decided as late as the connections that are free are known.
//!
//! **Invariants:** a division changes no answer: the ranges are of one state ([`Branch::scan_ranges`](crate::stores::Branch::scan_ranges)), and
//! no scan promises an order. A scan that an index makes short stays whole: each range would look through all of the index again.

use std::any::Any;
use std::collections::BTreeSet;
use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::error::Result;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::execution_plan::EmissionType;
use datafusion::physical_plan::sorts::sort::SortExec;
use futures::StreamExt;
use futures::stream::select_all;

use super::branches::Branches;
use super::copy::CopyExec;
use super::estimate;
use super::joins::dynamic::{address, repeated};
use super::scan::{ScanExec, kept_open};
use crate::stores::connector::ScanLimits;
use crate::stores::predicate::Predicate;
use crate::stores::schema::{Division, Key, Table};
use crate::stores::{BatchStream, Scan, StoreError};

/// Pages that a range is worth its connection for: eight megabytes.
const PAGES_EACH: u64 = 1024;
/// Rows that a range is worth it for, where pages are not known.
const ROWS_EACH: u64 = 50_000;
/// The part of the rows that must be wanted. Of less a store may give the rows sooner by itself, by an index that is not known here or by
/// workers of its own, which it does not set on ranges.
const KEPT: f64 = 0.25;
/// The same where a condition is of a column that leads an index: more than half of a table no store reads by it.
const KEPT_INDEXED: f64 = 0.5;
/// The least number of ranges of a table whose rows are looked up: such a row costs MongoDB three that it reads as they lie (measured with
/// 6.0), so that the ranges of this number end in half the time of the whole.
const RANGES_INDEXED: usize = 6;

/// How the rows of a statement are asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Reading {
    /// All of them, one after another.
    #[default]
    Whole,
    /// Some, and perhaps more later: a cursor, or a portal with a bound. Between them the statement keeps what it has taken from the
    /// stores, for as long as the client likes.
    Piecemeal,
}

/// Lets the scans of a finished plan be read as up to `most` ranges, as far as they are read to their end before anybody waits.
///
/// # Errors
/// What building the new nodes fails with.
pub fn divide(plan: Arc<dyn ExecutionPlan>, most: usize, reading: Reading) -> Result<Arc<dyn ExecutionPlan>> {
    if most < 2 {
        return Ok(plan);
    }
    let whole = read_whole(&plan, reading);
    let divided = plan.transform_up(|node| {
        if !whole.contains(&address(&node)) {
            return Ok(Transformed::no(node));
        }
        let leaf: &dyn Any = node.as_ref();
        let scan = leaf.downcast_ref::<ScanExec>().and_then(|scan| scan.divided(most));
        let divided = scan.map(|scan| Arc::new(scan) as Arc<dyn ExecutionPlan>);
        let copy = || leaf.downcast_ref::<CopyExec>()?.divided(most).map(|copy| Arc::new(copy) as Arc<dyn ExecutionPlan>);
        let divided = divided.or_else(copy);
        Ok(divided.map_or(Transformed::no(node), Transformed::yes))
    })?;
    Ok(divided.data)
}

/// The leaves that are read to their end once, by address. A node that stops after some rows ends what is below it, unless something
/// between must have seen all rows first, and so does who reads piecemeal; a recursive term runs again and again.
fn read_whole(plan: &Arc<dyn ExecutionPlan>, reading: Reading) -> BTreeSet<usize> {
    let repeated = repeated(plan);
    let (mut whole, mut ended) = (BTreeSet::new(), repeated);
    let mut pending = vec![(plan, reading == Reading::Piecemeal)];
    while let Some((node, ends_above)) = pending.pop() {
        let stops = node.fetch().is_some();
        let ends = match node.properties().emission_type {
            EmissionType::Final => stops && !(node.as_ref() as &dyn Any).is::<SortExec>(),
            EmissionType::Incremental | EmissionType::Both => stops || ends_above,
        };
        let children = node.children();
        if children.is_empty() {
            let leaves = if ends { &mut ended } else { &mut whole };
            leaves.insert(address(node));
        }
        pending.extend(children.into_iter().map(|child| (child, ends)));
    }
    whole.difference(&ended).copied().collect()
}

/// In how many ranges a scan is best read, at most `most`; 1 where it is read as it is.
pub fn of(table: &Table, scan: &Scan, most: usize) -> usize {
    let Some(division) = table.division else { return 1 };
    // Of rows without columns only the count travels.
    if scan.limit.is_some() || scan.columns.is_empty() {
        return 1;
    }
    let least = if asks_an_index(table, &scan.filter) { KEPT_INDEXED } else { KEPT };
    if estimate::kept(table, &scan.filter) < least {
        return 1;
    }
    let rows = table.row_estimate.unwrap_or(0);
    let worth = match division {
        Division::Pages(pages) => pages / PAGES_EACH,
        Division::Clustered => rows / ROWS_EACH,
        Division::Indexed if most < RANGES_INDEXED => 1,
        Division::Indexed => rows / ROWS_EACH,
    };
    usize::try_from(worth).unwrap_or(usize::MAX).clamp(1, most.max(1))
}

/// Whether a condition is of a column that leads a key or an index.
fn asks_an_index(table: &Table, conditions: &[Predicate]) -> bool {
    let keys = table.primary_key.iter().chain(&table.unique_keys).chain(&table.indexes);
    let leading: BTreeSet<usize> = keys.filter_map(|key: &Key| key.columns.first().copied()).collect();
    conditions.iter().any(|condition| asks_one_of(&leading, condition))
}

fn asks_one_of(columns: &BTreeSet<usize>, condition: &Predicate) -> bool {
    match condition {
        Predicate::Compare { column, .. }
        | Predicate::In { column, .. }
        | Predicate::IsNull { column, .. }
        | Predicate::Like { column, .. } => columns.contains(&column.column),
        Predicate::Rows(rows) => rows.columns.iter().any(|column| columns.contains(&column.column)),
        Predicate::And(parts) | Predicate::Or(parts) => parts.iter().any(|part| asks_one_of(columns, part)),
    }
}

/// Asks the store for the rows of a scan in up to `most` ranges, and tells how many it made of it. Batches come as they are ready; dropping the
/// stream ends all ranges, and an error of one is the last that is given.
pub(super) async fn read(
    table: Arc<Table>,
    scan: Scan,
    branches: Arc<Branches>,
    limits: ScanLimits,
    most: usize,
) -> std::result::Result<(usize, BatchStream), StoreError> {
    let store = scan.store.clone();
    let branch = branches.get(&store).await?;
    let streams = match branch.scan_ranges(&table, &scan, limits, most).await {
        Ok(streams) => streams,
        Err(error) => return kept_open(Err(error), branch, branches, store).map(|stream| (1, stream)),
    };
    let count = streams.len();
    let kept = streams.into_iter().map(|stream| kept_open(Ok(stream), Arc::clone(&branch), Arc::clone(&branches), store.clone()));
    let kept = kept.collect::<std::result::Result<Vec<BatchStream>, StoreError>>()?;
    Ok((count, until_error(select_all(kept).boxed())))
}

/// Ends a stream behind its first error, and with it what the others would still send.
fn until_error(stream: BatchStream) -> BatchStream {
    futures::stream::unfold(Some(stream), |stream| async move {
        let mut stream = stream?;
        let batch = stream.next().await?;
        let rest = batch.is_ok().then_some(stream);
        Some((batch, rest))
    })
    .boxed()
}

#[cfg(test)]
mod tests {
    use arrow::compute::SortOptions;
    use arrow::datatypes::{DataType, Field};
    use datafusion::physical_expr::expressions::Column as PhysicalColumn;
    use datafusion::physical_expr::{LexOrdering, PhysicalSortExpr};
    use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
    use datafusion::physical_plan::displayable;
    use datafusion::physical_plan::limit::GlobalLimitExec;

    use super::*;
    use crate::stores::StoreName;
    use crate::stores::predicate::{ColumnRef, Comparison};
    use crate::stores::schema::{Collation, Column, ColumnStatistics, Generated, TableId, TableKind};
    use crate::stores::value::Value;

    fn table(division: Option<Division>, rows: u64) -> Table {
        let ranged = ColumnStatistics { range: Some((0.0, 100.0)), null_fraction: Some(0.0), ..ColumnStatistics::default() };
        let column = |name: &str| Column {
            field: Field::new(name, DataType::Int64, false),
            native_type: String::new(),
            default: None,
            generated: Generated::No,
            comment: None,
            collation: Collation::Bytes,
            statistics: ranged,
        };
        let columns = vec![column("id"), column("n")];
        let key = Key { name: String::new(), columns: vec![0], proven: true };
        Table {
            id: TableId { namespace: "public".to_owned(), name: "t".to_owned() },
            kind: TableKind::Table,
            primary_key: Some(key),
            unique_keys: Vec::new(),
            foreign_keys: Vec::new(),
            checks: Vec::new(),
            indexes: Vec::new(),
            comment: None,
            row_estimate: Some(rows),
            division,
            schema: Table::arrow_schema(&columns),
            columns,
        }
    }

    fn large() -> Table {
        table(Some(Division::Pages(100 * PAGES_EACH)), 10_000_000)
    }

    fn scan(filter: Vec<Predicate>) -> Scan {
        let id = TableId { namespace: "public".to_owned(), name: "t".to_owned() };
        Scan { store: StoreName::new("s"), table: id, columns: vec![0, 1], filter, limit: None }
    }

    fn above(column: usize, value: i64) -> Predicate {
        Predicate::Compare { column: ColumnRef::of(column), op: Comparison::Greater, value: Value::Int(value) }
    }

    #[test]
    fn large_tables_are_divided_as_far_as_it_is_worth() {
        let rows = [
            (None, 4, 1),
            (Some(Division::Pages(2 * PAGES_EACH - 1)), 4, 1),
            (Some(Division::Pages(2 * PAGES_EACH)), 4, 2),
            (Some(Division::Pages(3 * PAGES_EACH)), 4, 3),
            (Some(Division::Pages(100 * PAGES_EACH)), 4, 4),
            (Some(Division::Pages(100 * PAGES_EACH)), 1, 1),
            (Some(Division::Pages(100 * PAGES_EACH)), 0, 1),
            (Some(Division::Clustered), 4, 4),
            (Some(Division::Indexed), 4, 1),
            (Some(Division::Indexed), 8, 8),
        ];
        for (division, most, expected) in rows {
            assert_eq!(of(&table(division, 10_000_000), &scan(Vec::new()), most), expected, "{division:?} in {most}");
        }
        assert_eq!(of(&table(Some(Division::Clustered), 2 * ROWS_EACH - 1), &scan(Vec::new()), 4), 1);
        assert_eq!(of(&table(Some(Division::Clustered), 2 * ROWS_EACH), &scan(Vec::new()), 4), 2);
    }

    #[test]
    fn short_scans_stay_whole() {
        let list =
            |values: i64| Predicate::In { column: ColumnRef::of(1), values: (0..values).map(Value::Int).collect(), negated: false };
        // Above 40 of 0 to 100 are six tenths, above 60 four tenths, above 80 two tenths.
        let rows = [
            (vec![above(0, 40)], 4),
            (vec![above(0, 60)], 1),
            (vec![above(1, 60)], 4),
            (vec![above(1, 80)], 1),
            (vec![Predicate::And(vec![above(1, 10), above(0, 60)])], 1),
            (vec![Predicate::Or(vec![above(1, 10), above(0, 60)])], 4),
            (vec![list(10)], 1),
            (vec![list(150)], 4),
        ];
        for (filter, expected) in rows {
            assert_eq!(of(&large(), &scan(filter.clone()), 4), expected, "{filter:?}");
        }
        assert_eq!(of(&large(), &Scan { limit: Some(5), ..scan(Vec::new()) }, 4), 1);
        assert_eq!(of(&large(), &Scan { columns: Vec::new(), ..scan(Vec::new()) }, 4), 1);
    }

    fn leaf() -> Arc<dyn ExecutionPlan> {
        Arc::new(ScanExec::new(Arc::new(large()), scan(Vec::new()), ("SELECT".to_owned(), String::new())))
    }

    fn sorted(input: Arc<dyn ExecutionPlan>, fetch: Option<usize>) -> Arc<dyn ExecutionPlan> {
        let key = PhysicalSortExpr::new(Arc::new(PhysicalColumn::new("id", 0)), SortOptions::default());
        Arc::new(SortExec::new(LexOrdering::new([key]).unwrap(), input).with_fetch(fetch))
    }

    fn limited(input: Arc<dyn ExecutionPlan>) -> Arc<dyn ExecutionPlan> {
        Arc::new(GlobalLimitExec::new(input, 0, Some(5)))
    }

    #[test]
    fn scans_that_end_early_stay_whole() {
        let merged = |input| Arc::new(CoalescePartitionsExec::new(input)) as Arc<dyn ExecutionPlan>;
        let rows = [
            (leaf(), true),
            (merged(leaf()), true),
            (limited(leaf()), false),
            (limited(merged(leaf())), false),
            // Sorting sees all rows, whatever ends above it.
            (sorted(leaf(), Some(5)), true),
            (limited(sorted(leaf(), None)), true),
            (sorted(limited(leaf()), None), false),
        ];
        for (plan, expected) in rows {
            let before = displayable(plan.as_ref()).indent(false).to_string();
            assert!(!before.contains("ranges="), "{before}");
            let after = divided(Arc::clone(&plan), 3, Reading::Whole);
            assert_eq!(after.contains("store=s, ranges=3, asked=SELECT"), expected, "{after}");
            assert_eq!(divided(plan, 1, Reading::Whole), before);
        }
    }

    fn divided(plan: Arc<dyn ExecutionPlan>, most: usize, reading: Reading) -> String {
        displayable(divide(plan, most, reading).unwrap().as_ref()).indent(false).to_string()
    }

    /// What is sorted has been read before the first row comes.
    #[test]
    fn scans_that_are_read_piecemeal_stay_whole() {
        let merged = |input| Arc::new(CoalescePartitionsExec::new(input)) as Arc<dyn ExecutionPlan>;
        for (plan, expected) in
            [(leaf(), false), (merged(leaf()), false), (sorted(leaf(), None), true), (merged(sorted(leaf(), None)), true)]
        {
            let shown = divided(plan, 3, Reading::Piecemeal);
            assert_eq!(shown.contains("ranges=3"), expected, "{shown}");
        }
    }

    #[test]
    fn a_leaf_in_two_places_is_divided_only_if_both_read_it_whole() {
        use datafusion::physical_plan::union::UnionExec;

        let shared = leaf();
        let both = UnionExec::try_new(vec![limited(Arc::clone(&shared)), shared]).unwrap();
        let shown = divided(both, 2, Reading::Whole);
        assert!(!shown.contains("ranges="), "{shown}");
        let apart = UnionExec::try_new(vec![limited(leaf()), leaf()]).unwrap();
        let shown = divided(apart, 2, Reading::Whole);
        assert_eq!(shown.matches("ranges=2").count(), 1, "{shown}");
    }

    #[tokio::test]
    async fn nothing_follows_an_error() {
        let lost = || StoreError::Cancelled;
        let batch = || arrow::array::RecordBatch::new_empty(Arc::new(arrow::datatypes::Schema::empty()));
        let stream = futures::stream::iter([Ok(batch()), Err(lost()), Ok(batch())]).boxed();
        let ended: Vec<bool> = until_error(stream).map(|batch| batch.is_ok()).collect().await;
        assert_eq!(ended, [true, false]);
    }
}
