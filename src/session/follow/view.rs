//! A subscription to a materialized view while it runs: its rows, where they were asked for, and then how each of its states differs from the
//! one before that was told of. States that come while a client does not ask are told of as one.
//!
//! **Invariants:** what is told of is what turns the rows that were told of before into those of a state that was published; what ends a
//! subscription is told behind the rows before it.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use arrow::array::{RecordBatch, RecordBatchOptions, UInt32Array, new_null_array};
use arrow::buffer::BooleanBuffer;
use arrow::compute::{concat_batches, take_record_batch};
use arrow::datatypes::{Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::row::{OwnedRow, RowConverter, SortField};
use tokio::sync::watch;

use super::super::Shared;
use super::super::output::OutputColumn;
use super::super::rights::{Grounds, may_anything, may_follow};
use super::super::views::position_of;
use super::{Target, start_over};
use crate::cache::TableVersion;
use crate::cache::version::{Difference, Reader};
use crate::catalog::{QualifiedName, SearchPath};
use crate::error::{Diagnosis, sqlstate};
use crate::federation::subscribe::{Change, Delta};
use crate::stores::change::{Known, Operation, Rows, Shape};
use crate::views::ViewReading;

/// Rows of a snapshot in one batch.
const ROWS_AT_ONCE: usize = 1_024;

/// A subscription to a materialized view.
pub struct FollowingView {
    shared: Arc<Shared>,
    target: Target,
    grounds: Grounds,
    moved: watch::Receiver<u64>,
    /// What was told of last.
    told: Arc<TableVersion>,
    /// Where changes of the stores are in that up to.
    position: Option<String>,
    /// How many states have been told of.
    number: u64,
    snapshot: Option<Reader>,
}

/// The rows that a subscription begins with.
pub struct Beginning {
    /// Raised with every state behind them.
    pub moved: watch::Receiver<u64>,
    /// They.
    pub reading: Arc<ViewReading>,
    /// Whether they are told.
    pub is_told: bool,
}

impl FollowingView {
    /// One that tells of what comes behind a state.
    pub fn new(shared: Arc<Shared>, target: Target, grounds: Grounds, beginning: Beginning) -> Self {
        let Beginning { moved, reading, is_told } = beginning;
        let told = Arc::clone(reading.rows());
        let columns: Vec<usize> = (0..target.delta.table.columns.len()).collect();
        let snapshot = is_told.then(|| told.read(&columns, ROWS_AT_ONCE));
        Self { shared, target, grounds, moved, told, position: position_of(&reading), number: 0, snapshot }
    }

    /// The columns of its rows.
    pub fn columns(&self) -> &[OutputColumn] {
        &self.target.delta.columns
    }

    /// The schema of its batches.
    pub fn schema(&self) -> &SchemaRef {
        self.target.delta.schema()
    }

    /// The next rows, waited for.
    ///
    /// # Errors
    /// What has ended it: 42501 for a right that is lost, 55000 where the view does not go on, and what an expression failed with.
    pub async fn next(&mut self) -> Result<RecordBatch, Diagnosis> {
        loop {
            self.check_rights()?;
            if let Some(snapshot) = &mut self.snapshot {
                let Some(rows) = snapshot.next() else {
                    self.snapshot = None;
                    return self.target.delta.mark("snapshot_end", self.position.as_deref(), None);
                };
                let rows = rows.map_err(|error| internal(&error))?;
                let rows = self.target.delta.snapshot(rows)?;
                if rows.num_rows() > 0 {
                    return Ok(rows);
                }
                tokio::task::yield_now().await;
                continue;
            }
            // Both are cancel-safe. Rights that may be lost are looked at first.
            tokio::select! {
                biased;
                () = self.grounds.moved(&self.shared) => continue,
                changed = self.moved.changed() => {
                    changed.map_err(|_gone| start_over("the view is not kept any more"))?;
                }
            }
            if let Some(rows) = self.tell()? {
                return Ok(rows);
            }
        }
    }

    /// Whether the role may still be told of the view, and the name still means one.
    fn check_rights(&mut self) -> Result<(), Diagnosis> {
        if !self.grounds.have_moved(&self.shared) {
            return Ok(());
        }
        let Target { delta, role, .. } = &self.target;
        let roles = self.shared.roles.load_full();
        may_anything(&roles, role, &delta.relation.name)?;
        let (schema, relation) = (Some(delta.relation.schema.clone()), delta.relation.name.clone());
        let name = QualifiedName { database: None, schema, relation };
        let found = self.shared.catalog.snapshot().resolve(&name, &SearchPath::Default);
        let found = found.map_err(|_error| start_over("the view is gone"))?;
        let columns: Vec<usize> = (0..delta.table.columns.len()).collect();
        may_follow(&roles, role, &found, &columns)?;
        let is_same = found
            .body
            .kept()
            .zip(delta.relation.body.kept())
            .is_some_and(|(now, before)| now.materialized.is_some() && now.sql == before.sql && now.columns == before.columns);
        if is_same { Ok(()) } else { Err(start_over("its name means another view now")) }
    }

    /// What the state of now has that is not told of.
    fn tell(&mut self) -> Result<Option<RecordBatch>, Diagnosis> {
        let relation = &self.target.delta.relation;
        // Without rows there is nothing to tell of: the next ones are compared with what was told.
        let Some(reading) = self.shared.views.reading((relation.schema.as_str(), relation.name.as_str())) else { return Ok(None) };
        let rows = Arc::clone(reading.rows());
        if Arc::ptr_eq(&rows, &self.told) {
            return Ok(None);
        }
        let difference = rows.since(&self.told).ok_or_else(|| start_over("its rows were computed anew"))?;
        let changed = changed(&difference, &rows, &self.target).map_err(|error| internal(&error))?;
        self.number += 1;
        (self.told, self.position) = (rows, position_of(&reading));
        let Some(changed) = changed else { return Ok(None) };
        let (position, transaction) = (self.position.clone().unwrap_or_default(), self.number.to_string());
        let change = |row| Change { row, position: position.clone(), transaction: &transaction };
        let changes: Vec<Change<'_>> = (0..changed.operations.len()).map(change).collect();
        self.target.delta.changes(&changed, &changes)
    }
}

fn internal(error: &ArrowError) -> Diagnosis {
    Diagnosis::new(sqlstate::INTERNAL_ERROR, format!("rows of a subscription: {error}"))
}

/// The first columns of rows, under a schema of as many.
fn cut(rows: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, ArrowError> {
    let columns = rows.columns().iter().take(schema.fields().len()).cloned().collect();
    let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
    RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)
}

/// A changed row: where it is among the old ones, and among the new ones.
type Pair = (Option<u32>, Option<u32>);

/// The rows that differ, each with the one of the same key on the other side; `None` where there are none.
fn changed(difference: &Difference, version: &TableVersion, target: &Target) -> Result<Option<Rows>, ArrowError> {
    let key = version.shape().key.as_slice();
    let columns = target.delta.table.columns.len();
    let pairs = pairs(difference, key)?;
    if pairs.is_empty() {
        return Ok(None);
    }
    let whole = version.table().schema.fields().iter().take(columns).map(|field| field.as_ref().clone().with_nullable(true));
    let schema: SchemaRef = Arc::new(Schema::new(whole.collect::<Vec<_>>()));
    let side = |rows: Option<&RecordBatch>, places: Vec<Option<u32>>| -> Result<RecordBatch, ArrowError> {
        let rows = match rows {
            Some(rows) => cut(rows, &schema)?,
            None => RecordBatch::new_empty(Arc::clone(&schema)),
        };
        // A row that is on the other side only is NULL on this one, which an empty batch has no room for.
        let padded = concat_batches(&schema, &[rows, nothing(&schema)?])?;
        let last = u32::try_from(padded.num_rows().saturating_sub(1)).unwrap_or(u32::MAX);
        let places: UInt32Array = places.into_iter().map(|place| place.unwrap_or(last)).collect();
        take_record_batch(&padded, &places)
    };
    let old = side(difference.old.as_ref(), pairs.iter().map(|(old, _)| *old).collect())?;
    let new = side(difference.new.as_ref(), pairs.iter().map(|(_, new)| *new).collect())?;
    let operation = |pair: &Pair| match pair {
        (Some(_), Some(_)) => Operation::Update,
        (None, _) => Operation::Insert,
        (Some(_), None) => Operation::Delete,
    };
    let known = |has: &dyn Fn(&Pair) -> bool| {
        let mask: BooleanBuffer = pairs.iter().map(has).collect();
        Known(vec![Some(mask); columns])
    };
    Ok(Some(Rows {
        shape: Arc::clone(&target.shape),
        operations: pairs.iter().map(operation).collect(),
        new,
        old: Some(old),
        new_known: known(&|(_, new): &Pair| new.is_some()),
        old_known: known(&|(old, _): &Pair| old.is_some()),
        payloads: OnceLock::new(),
    }))
}

/// One row of NULLs.
fn nothing(schema: &SchemaRef) -> Result<RecordBatch, ArrowError> {
    let columns = schema.fields().iter().map(|field| new_null_array(field.data_type(), 1)).collect();
    let options = RecordBatchOptions::new().with_row_count(Some(1));
    RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)
}

/// The rows of both sides by their keys: those that went first, then the others in the order in which they are.
fn pairs(difference: &Difference, key: &[usize]) -> Result<Vec<Pair>, ArrowError> {
    let old = keys(difference.old.as_ref(), key)?;
    let new = keys(difference.new.as_ref(), key)?;
    let numbered = |keys: Vec<OwnedRow>| (0_u32..).zip(keys);
    let by_key: HashMap<OwnedRow, u32> = numbered(new.clone()).map(|(row, key)| (key, row)).collect();
    let mut before: HashMap<OwnedRow, u32> = HashMap::with_capacity(old.len());
    let mut pairs = Vec::new();
    for (row, key) in numbered(old) {
        if by_key.contains_key(&key) {
            before.insert(key, row);
        } else {
            pairs.push((Some(row), None));
        }
    }
    pairs.extend(numbered(new).map(|(row, key)| (before.get(&key).copied(), Some(row))));
    Ok(pairs)
}

fn keys(rows: Option<&RecordBatch>, key: &[usize]) -> Result<Vec<OwnedRow>, ArrowError> {
    let Some(rows) = rows else { return Ok(Vec::new()) };
    let rows = rows.project(key)?;
    let fields = rows.schema().fields().iter().map(|field| SortField::new(field.data_type().clone())).collect();
    let converter = RowConverter::new(fields)?;
    let converted = converter.convert_columns(rows.columns())?;
    Ok(converted.iter().map(|row| row.owned()).collect())
}

/// The shape under which the rows of a view are told of: all its columns, and as its key those that are unique, as far as they are its own.
pub fn shape_of(delta: &Delta, rows: &TableVersion) -> Arc<Shape> {
    let columns = delta.table.columns.len();
    let key = rows.shape().key.iter().copied().filter(|column| *column < columns).collect();
    Shape::of(&delta.table, key, vec![true; columns])
}

#[cfg(test)]
mod tests {
    use arrow::array::{Array as _, ArrayRef, Int64Array};
    use arrow::datatypes::{DataType, Field};

    use super::*;

    fn rows(values: &[(i64, i64)]) -> Option<RecordBatch> {
        let field = |name: &str| Field::new(name, DataType::Int64, true);
        let schema = Arc::new(Schema::new(vec![field("k"), field("v")]));
        let column = |pick: fn(&(i64, i64)) -> i64| Arc::new(values.iter().map(pick).collect::<Int64Array>()) as ArrayRef;
        (!values.is_empty()).then(|| RecordBatch::try_new(schema, vec![column(|row| row.0), column(|row| row.1)]).unwrap())
    }

    #[test]
    fn rows_are_paired_by_their_keys() {
        let difference = Difference { old: rows(&[(1, 10), (2, 20), (3, 30)]), new: rows(&[(4, 40), (2, 21)]) };
        let by_first = pairs(&difference, &[0]).unwrap();
        assert_eq!(by_first, [(Some(0), None), (Some(2), None), (None, Some(0)), (Some(1), Some(1))]);
        // Where all columns are the key nothing is the same row with another value.
        let by_both = pairs(&difference, &[0, 1]).unwrap();
        assert_eq!(by_both, [(Some(0), None), (Some(1), None), (Some(2), None), (None, Some(0)), (None, Some(1))]);
        assert!(pairs(&Difference::default(), &[0]).unwrap().is_empty());
        let gone = Difference { old: rows(&[(1, 10)]), new: None };
        assert_eq!(pairs(&gone, &[0]).unwrap(), [(Some(0), None)]);
    }

    #[test]
    fn a_side_has_a_row_of_nulls_for_what_is_not_there() {
        let batch = rows(&[(1, 10)]).unwrap();
        let schema = batch.schema();
        let nulls = nothing(&schema).unwrap();
        assert_eq!((nulls.num_rows(), nulls.column(0).null_count()), (1, 1));
        assert_eq!(cut(&batch, &Arc::new(schema.project(&[0]).unwrap())).unwrap().num_columns(), 1);
    }
}
