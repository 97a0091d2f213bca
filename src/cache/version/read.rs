//! What is read of a state: all rows in batches, or some by their keys.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::compute::filter_record_batch;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use arrow::row::Row;

use super::TableVersion;
use super::chunk::{Chunk, picked};
use super::key::lacks_value;

impl TableVersion {
    /// The rows with some columns, by ordinals, in batches of at most `batch_rows` under the schema that `Table::project` gives. The
    /// state is kept for as long as the reader is.
    pub fn read(self: &Arc<Self>, columns: &[usize], batch_rows: usize) -> Reader {
        Reader {
            version: Arc::clone(self),
            schema: self.table.project(columns),
            columns: columns.to_vec(),
            rows_max: batch_rows.max(1),
            chunk: 0,
            row: 0,
        }
    }

    /// The rows that have some of these keys, each once, in the order of the keys: `keys` has the columns of the key, in its order.
    ///
    /// # Errors
    /// Keys with other columns, and columns that are not there.
    pub fn look_up(&self, keys: &RecordBatch, columns: &[usize]) -> Result<RecordBatch, ArrowError> {
        let bytes = self.keys.bytes(keys.columns())?;
        let (mut seen, mut cells) = (HashSet::new(), Vec::new());
        let mut chunks: Vec<&Chunk> = Vec::new();
        let mut places: HashMap<u64, usize> = HashMap::new();
        for (row, key) in bytes.iter().enumerate() {
            let number = if lacks_value(keys.columns(), row) { None } else { self.index.get(key.data()) };
            let Some(number) = number.filter(|number| seen.insert(**number)) else { continue };
            let lost = || ArrowError::ComputeError("the copy has lost a row that its index knows".to_owned());
            let (first, chunk, place) = self.chunks.find(*number).ok_or_else(lost)?;
            let at = *places.entry(first).or_insert(chunks.len());
            if at == chunks.len() {
                chunks.push(chunk);
            }
            cells.push((at, place));
        }
        picked(&chunks, &cells, columns, &self.table.project(columns))
    }

    /// The number of the row that has a key, for as long as the state is held; `key` has one value for each column of the key, in its order.
    ///
    /// # Errors
    /// A key with other columns.
    pub fn number_of(&self, key: &[ArrayRef]) -> Result<Option<u64>, ArrowError> {
        if lacks_value(key, 0) {
            return Ok(None);
        }
        let bytes = self.keys.bytes(key)?;
        Ok(bytes.iter().next().and_then(|key| self.index.get(key.data()).copied()))
    }

    /// Where a row is by its number: all columns of the table, and its place in them. `None` where there is no such row.
    pub fn at(&self, number: u64) -> Option<(&[ArrayRef], usize)> {
        let (_, chunk, place) = self.chunks.find(number)?;
        Some((chunk.columns(), place))
    }

    /// Whether there is a row with a key, which is one of the rows of `keys`: the columns of the key, in its order.
    ///
    /// # Errors
    /// Keys with other columns.
    pub fn has(&self, keys: &RecordBatch, row: usize) -> Result<bool, ArrowError> {
        if row >= keys.num_rows() || lacks_value(keys.columns(), row) {
            return Ok(false);
        }
        let bytes = self.keys.bytes(keys.slice(row, 1).columns())?;
        Ok(self.index.get(bytes.row(0).data()).is_some())
    }

    /// For each of these keys, whether there is a row that has it; of what a view gives, also under NULL.
    ///
    /// # Errors
    /// Keys with other columns.
    pub fn stand(&self, keys: &RecordBatch) -> Result<Vec<bool>, ArrowError> {
        let bytes = self.keys.bytes(keys.columns())?;
        let stands =
            |(row, key): (usize, Row<'_>)| !self.keys.lacks_value(keys.columns(), row) && self.index.get(key.data()).is_some();
        Ok(bytes.iter().enumerate().map(stands).collect())
    }
}

/// Reads a state of a table in batches.
#[derive(Debug)]
pub struct Reader {
    version: Arc<TableVersion>,
    columns: Vec<usize>,
    schema: SchemaRef,
    rows_max: usize,
    /// The chunk that is read is the first that does not begin below this number.
    chunk: u64,
    /// The next row of that chunk.
    row: usize,
}

impl Reader {
    /// The schema of all batches.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// The living ones of some neighbouring rows of a chunk.
    fn piece(&self, chunk: &Chunk, first: usize, rows: usize) -> Result<RecordBatch, ArrowError> {
        let lacks = || ArrowError::InvalidArgumentError("the table has no such column".to_owned());
        let column = |ordinal: &usize| chunk.columns().get(*ordinal).map(|array| array.slice(first, rows)).ok_or_else(lacks);
        let columns = self.columns.iter().map(column).collect::<Result<Vec<_>, _>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let batch = RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)?;
        match chunk.alive(first, rows) {
            Some(alive) => filter_record_batch(&batch, &alive),
            None => Ok(batch),
        }
    }
}

impl Iterator for Reader {
    type Item = Result<RecordBatch, ArrowError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let (first, chunk) = self.version.chunks.not_below(self.chunk)?;
            self.chunk = first;
            let (start, rows) = (self.row, self.rows_max.min(chunk.len().saturating_sub(self.row)));
            if rows == 0 {
                (self.chunk, self.row) = (first + 1, 0);
                continue;
            }
            self.row += rows;
            match self.piece(chunk, start, rows) {
                Ok(batch) if batch.num_rows() == 0 => {}
                piece => return Some(piece),
            }
        }
    }
}
