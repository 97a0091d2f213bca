//! The rows of a view as states of a table, which readers pin and of which two tell what differs between them.
//!
//! ```text
//! rows that left and came ──> key: columns that no two rows share, or all columns and a number among equal rows ──> TableVersion
//! ```
//!
//! **Invariants:** a state is the one before it with one change, or none at all; equal rows are numbered from 0 without gaps, in a column behind
//! all others that nobody else sees. In either form NULL is one value, and without a key rows are told apart by all of their bits.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, UInt32Array};
use arrow::compute::take;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::row::{RowConverter, SortField};

use super::engine::{Broken, Change, batch_of};
use crate::cache::TableVersion;
use crate::cache::version;
use crate::pgtype::{PgField, PgType};
use crate::stores::change::Shape;
use crate::stores::schema::{Collation, Column, ColumnStatistics, Generated, Table, TableId, TableKind};

/// The column that numbers equal rows. No column of a client has such a name.
const NUMBER: &str = "\u{1f}number";
/// Rows of a batch that are read back.
const BATCH_ROWS: usize = 8_192;
/// What a row takes that is there more than once, besides its bytes, about.
const REPEATED_BYTES: usize = 48;

/// The rows of a view, as they are after the last change.
pub struct Output {
    version: Arc<TableVersion>,
    /// The view's own columns.
    schema: SchemaRef,
    /// Where no key is known.
    numbered: Option<Numbered>,
}

impl fmt::Debug for Output {
    // Without values.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Output").field("version", &self.version).finish_non_exhaustive()
    }
}

/// How rows without a key are told apart.
struct Numbered {
    converter: RowConverter,
    /// How often rows are there that are there more than once.
    repeated: HashMap<Box<[u8]>, u64>,
    bytes: usize,
}

impl Output {
    /// Of a view without rows. `schema` has its columns with the marks of their Postgres types, `key` columns in which no two rows agree.
    ///
    /// # Errors
    /// A type by whose bytes rows cannot be told apart, and a view without columns.
    pub fn new(id: TableId, schema: &SchemaRef, key: Option<&[usize]>) -> Result<Self, ArrowError> {
        if schema.fields().is_empty() {
            return Err(ArrowError::NotYetImplemented("rows of a view without columns cannot be told apart".to_owned()));
        }
        let fields: Vec<Field> = schema.fields().iter().map(|field| field.as_ref().clone().with_nullable(true)).collect();
        let mut columns: Vec<Column> = fields.iter().cloned().map(column).collect();
        let key = key.filter(|key| !key.is_empty()).map(<[usize]>::to_vec);
        let numbered = match &key {
            Some(_) => None,
            None => {
                columns.push(column(Field::new(NUMBER, DataType::Int64, true).with_pg_type(PgType::INT8)));
                let types = fields.iter().map(|field| SortField::new(field.data_type().clone())).collect();
                Some(Numbered { converter: RowConverter::new(types)?, repeated: HashMap::new(), bytes: 0 })
            }
        };
        let (count, is_exact) = (columns.len(), key.is_none());
        let table = Arc::new(table(id, columns));
        let shape = Shape::of(&table, key.unwrap_or_else(|| (0..count).collect()), vec![true; count]);
        let version = Arc::new(TableVersion::of_view(&table, &shape, is_exact)?);
        Ok(Self { version, schema: Arc::new(Schema::new(fields)), numbered })
    }

    /// The state after the last change. Behind the view's columns it may have one more.
    pub fn version(&self) -> &Arc<TableVersion> {
        &self.version
    }

    /// The view's columns, which are the first ones of its states.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// About how much memory it takes, in bytes.
    pub fn bytes(&self) -> usize {
        self.version.bytes() + self.numbered.as_ref().map_or(0, |numbered| numbered.bytes)
    }

    /// Takes rows out and others in.
    ///
    /// # Errors
    /// A row that leaves and is not there, two rows under one key, and rows of other columns. Nothing has changed then.
    pub fn apply(&mut self, change: &Change) -> Result<(), Broken> {
        let mut next = Next { version: TableVersion::clone(&self.version), counts: HashMap::new() };
        // All that leave go first, so that who comes finds their keys free.
        for (batches, comes) in [(&change.removed, false), (&change.added, true)] {
            for batch in batches {
                let batch = batch_of(&self.schema, batch.columns().to_vec(), batch.num_rows())?;
                match &self.numbered {
                    Some(numbered) => numbered.apply(&mut next, &batch, comes)?,
                    None => next.exchange(&batch, comes)?,
                }
            }
        }
        if let Some(numbered) = &mut self.numbered {
            numbered.count(next.counts);
        }
        self.version = Arc::new(next.version);
        Ok(())
    }

    /// The change that makes these the view's rows.
    ///
    /// # Errors
    /// Rows of other columns.
    pub fn difference(&self, rows: &[RecordBatch]) -> Result<Change, Broken> {
        let columns: Vec<usize> = (0..self.schema.fields().len()).collect();
        let fitted = |batch: &RecordBatch| batch_of(&self.schema, batch.columns().to_vec(), batch.num_rows());
        let before = self.version.read(&columns, BATCH_ROWS).collect::<Result<Vec<_>, _>>()?;
        Change::between(before, rows.iter().map(fitted).collect::<Result<Vec<_>, _>>()?)
    }
}

/// A state on its way.
struct Next {
    version: TableVersion,
    /// How often rows are there that were counted anew.
    counts: HashMap<Box<[u8]>, u64>,
}

impl Next {
    fn exchange(&mut self, batch: &RecordBatch, comes: bool) -> Result<(), Broken> {
        let none = batch.slice(0, 0);
        let (removed, added) = if comes { (&none, batch) } else { (batch, &none) };
        let exchanged = self.version.exchanged(removed, added);
        self.version = exchanged.map_err(|version::Broken { reason }| Broken::lost(&reason))?;
        Ok(())
    }
}

impl Numbered {
    /// Takes rows out, or in, each under a number among those that are equal to it.
    fn apply(&self, next: &mut Next, batch: &RecordBatch, comes: bool) -> Result<(), Broken> {
        let encoded = self.converter.convert_columns(batch.columns())?;
        // Each row once: where it stands first, and how often it is there.
        let mut rows: Vec<(u32, u64)> = Vec::new();
        let mut places: HashMap<&[u8], usize> = HashMap::new();
        for (number, row) in (0_u32..).zip(encoded.iter()) {
            let place = *places.entry(row.data()).or_insert(rows.len());
            match rows.get_mut(place) {
                Some((_, times)) => *times += 1,
                None => rows.push((number, 1)),
            }
        }
        let firsts = rows.iter().map(|(number, _)| *number).collect();
        let stand = next.version.stand(&numbered(next.version.table(), batch, firsts, vec![0; rows.len()])?)?;
        let (mut numbers, mut among): (Vec<u32>, Vec<i64>) = (Vec::new(), Vec::new());
        for ((number, times), stands) in rows.iter().zip(stand) {
            let row = encoded.row(*number as usize);
            let known = next.counts.get(row.data()).or_else(|| self.repeated.get(row.data()));
            let before = known.copied().unwrap_or(u64::from(stands));
            let after = if comes { before.checked_add(*times) } else { before.checked_sub(*times) };
            let after = after.ok_or_else(|| Broken::lost("a row left a view that was not there"))?;
            for place in before.min(after)..before.max(after) {
                numbers.push(*number);
                among.push(i64::try_from(place).map_err(|error| Broken::lost(&error.to_string()))?);
            }
            next.counts.insert(row.data().into(), after);
        }
        let batch = numbered(next.version.table(), batch, numbers, among)?;
        next.exchange(&batch, comes)
    }

    /// Keeps how often rows are there now.
    fn count(&mut self, counts: HashMap<Box<[u8]>, u64>) {
        for (row, count) in counts {
            let bytes = row.len() + REPEATED_BYTES;
            let was_repeated = if count > 1 { self.repeated.insert(row, count) } else { self.repeated.remove(&row) };
            match (was_repeated.is_some(), count > 1) {
                (false, true) => self.bytes += bytes,
                (true, false) => self.bytes = self.bytes.saturating_sub(bytes),
                _ => {}
            }
        }
    }
}

/// Rows of a batch, with their numbers among those that are equal to them behind their own columns.
fn numbered(table: &Table, batch: &RecordBatch, rows: Vec<u32>, among: Vec<i64>) -> Result<RecordBatch, ArrowError> {
    let rows = UInt32Array::from(rows);
    let mut columns: Vec<ArrayRef> =
        batch.columns().iter().map(|column| take(column.as_ref(), &rows, None)).collect::<Result<_, _>>()?;
    columns.push(Arc::new(Int64Array::from(among)));
    RecordBatch::try_new(Arc::clone(&table.schema), columns)
}

fn column(field: Field) -> Column {
    Column {
        native_type: field.pg_type().to_string(),
        field,
        default: None,
        generated: Generated::No,
        comment: None,
        collation: Collation::Bytes,
        statistics: ColumnStatistics::default(),
    }
}

fn table(id: TableId, columns: Vec<Column>) -> Table {
    Table {
        id,
        kind: TableKind::MaterializedView,
        schema: Table::arrow_schema(&columns),
        columns,
        primary_key: None,
        unique_keys: Vec::new(),
        foreign_keys: Vec::new(),
        checks: Vec::new(),
        indexes: Vec::new(),
        comment: None,
        row_estimate: None,
        division: None,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use arrow::array::Float64Array;
    use datafusion::scalar::ScalarValue;
    use rand::rngs::StdRng;
    use rand::{Rng, SeedableRng};

    use super::*;

    type Row = (Option<i64>, f64);

    fn schema() -> SchemaRef {
        Arc::new(Schema::new(vec![Field::new("a", DataType::Int64, false), Field::new("f", DataType::Float64, true)]))
    }

    fn batch(rows: &[Row]) -> RecordBatch {
        let columns: Vec<ArrayRef> = vec![
            Arc::new(rows.iter().map(|row| row.0).collect::<Int64Array>()),
            Arc::new(rows.iter().map(|row| Some(row.1)).collect::<Float64Array>()),
        ];
        let fields = vec![Field::new("x", DataType::Int64, true), Field::new("y", DataType::Float64, true)];
        RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap()
    }

    fn change(removed: &[Row], added: &[Row]) -> Change {
        let of = |rows: &[Row]| if rows.is_empty() { Vec::new() } else { vec![batch(rows)] };
        Change { removed: of(removed), added: of(added) }
    }

    fn output(key: Option<&[usize]>) -> Output {
        Output::new(TableId { namespace: "public".to_owned(), name: "v".to_owned() }, &schema(), key).unwrap()
    }

    /// The rows with how often each is there.
    fn contents(version: &Arc<TableVersion>) -> BTreeMap<(Option<i64>, u64), usize> {
        let mut found = BTreeMap::new();
        for batch in version.read(&[0, 1], 100) {
            let batch = batch.unwrap();
            for row in 0..batch.num_rows() {
                let value = |column: usize| ScalarValue::try_from_array(batch.column(column), row).unwrap();
                let (ScalarValue::Int64(a), ScalarValue::Float64(Some(f))) = (value(0), value(1)) else { panic!() };
                *found.entry((a, f.to_bits())).or_default() += 1;
            }
        }
        found
    }

    fn counted(rows: &[Row]) -> BTreeMap<(Option<i64>, u64), usize> {
        let mut counts = BTreeMap::new();
        for (a, f) in rows {
            *counts.entry((*a, f.to_bits())).or_default() += 1;
        }
        counts
    }

    #[test]
    fn equal_rows_come_and_go_by_number_and_rows_that_differ_in_a_bit_stay_apart() {
        let mut output = output(None);
        let rows = [(Some(1), 0.0), (Some(1), 0.0), (Some(1), -0.0), (None, 0.5), (None, 0.5), (None, 0.5)];
        output.apply(&change(&[], &rows)).unwrap();
        assert_eq!(contents(output.version()), counted(&rows));
        output.apply(&change(&[(Some(1), 0.0), (None, 0.5), (None, 0.5)], &[(Some(1), -0.0)])).unwrap();
        assert_eq!(contents(output.version()), counted(&[(Some(1), 0.0), (Some(1), -0.0), (Some(1), -0.0), (None, 0.5)]));
        // More than there are: nothing has changed.
        let before = output.bytes();
        assert!(output.apply(&change(&[(Some(1), 0.0), (Some(1), 0.0)], &[])).is_err());
        assert_eq!((output.version().rows(), output.bytes()), (4, before));
        output.apply(&change(&[(Some(1), 0.0), (Some(1), -0.0), (Some(1), -0.0), (None, 0.5)], &[])).unwrap();
        assert_eq!((output.version().rows(), output.numbered.as_ref().unwrap().bytes), (0, 0));
    }

    #[test]
    fn a_row_takes_the_place_of_the_one_with_its_key() {
        let mut output = output(Some(&[0]));
        output.apply(&change(&[], &[(Some(1), 1.0), (None, 2.0)])).unwrap();
        let before = Arc::clone(output.version());
        output.apply(&change(&[(None, 2.0)], &[(None, 3.0), (Some(2), 4.0)])).unwrap();
        assert_eq!(contents(output.version()), counted(&[(Some(1), 1.0), (None, 3.0), (Some(2), 4.0)]));
        let difference = output.version().since(&before).unwrap();
        assert_eq!((difference.old.unwrap().num_rows(), difference.new.unwrap().num_rows()), (1, 2));
        // What is no key after all is noticed.
        assert!(output.apply(&change(&[], &[(Some(1), 9.0)])).is_err());
        assert!(output.apply(&change(&[(Some(7), 1.0)], &[])).is_err());
        assert_eq!(output.version().rows(), 3);
    }

    #[test]
    fn what_is_computed_anew_differs_by_the_rows_that_have_changed() {
        let mut random = StdRng::seed_from_u64(3);
        let mut output = output(None);
        for _ in 0..50 {
            let mut row = || (Some(random.random_range(0..4)).filter(|a| *a > 0), f64::from(random.random_range(0..3_i32)));
            let rows: Vec<Row> = (0..12).map(|_| row()).collect();
            let change = output.difference(&[batch(&rows[..5]), batch(&rows[5..])]).unwrap();
            let kept = contents(output.version());
            let left: usize = change.removed.iter().map(RecordBatch::num_rows).sum();
            let stays: usize = counted(&rows).iter().map(|(row, count)| *kept.get(row).unwrap_or(&0).min(count)).sum();
            assert_eq!(left, output.version().rows() - stays);
            output.apply(&change).unwrap();
            assert_eq!(contents(output.version()), counted(&rows));
            assert!(output.difference(&[batch(&rows)]).unwrap().is_empty());
        }
    }
}
