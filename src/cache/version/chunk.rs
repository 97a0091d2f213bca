//! Where the rows of a state lie: chunks of columns in the order in which rows came, each row under a number that it keeps for life.
//!
//! ```text
//! number ──> chunk with the greatest first number that is not above it ──> place in the chunk, if it is still alive there
//! ```
//!
//! A row that changes dies in its chunk and comes again at the end under another number. Chunks are joined with their neighbours and
//! written anew without the dead; numbers stay, so that no index has to know. A state shares with the one before it all chunks that
//! have not changed, and of those in which rows died all but a mask.
//!
//! **Costs:** a chunk takes in neighbours that are no larger than what it has grown to so far, so that a row is copied about as often as
//! the rows of a chunk can double (13 times); one is written anew when more than half of it is dead, which those deaths have paid for.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, RecordBatch, RecordBatchOptions, new_empty_array};
use arrow::buffer::BooleanBuffer;
use arrow::compute::interleave;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use imbl::OrdMap;

/// Most rows of a chunk.
pub(super) const ROWS_MAX: usize = 8_192;
/// Chunks are not joined into one of more bytes: copies of large values would not pay.
const BYTES_MAX: usize = 64 << 20;

/// Rows that lie together.
#[derive(Clone)]
pub(super) struct Chunk {
    body: Arc<Body>,
    /// Which are alive; `None`: all.
    alive: Option<BooleanBuffer>,
    dead: usize,
}

/// What of a chunk never changes.
struct Body {
    /// The number of the first row.
    first: u64,
    /// The numbers of all rows, where they do not follow one another.
    numbers: Option<Box<[u64]>>,
    batch: RecordBatch,
    bytes: usize,
}

impl Body {
    fn of(numbers: Numbers, batch: RecordBatch) -> Arc<Self> {
        let (first, numbers) = match numbers {
            Numbers::From(first) => (first, None),
            Numbers::These(numbers) => (numbers.first().copied().unwrap_or_default(), Some(numbers)),
        };
        let of_numbers = numbers.as_ref().map_or(0, |numbers| size_of_val::<[u64]>(numbers));
        let bytes = batch.get_array_memory_size() + of_numbers + size_of::<Self>() + size_of::<Chunk>();
        Arc::new(Self { first, numbers, batch, bytes })
    }
}

/// The numbers of the rows of a new chunk.
enum Numbers {
    /// One after the other from here.
    From(u64),
    /// These, in order.
    These(Box<[u64]>),
}

impl Numbers {
    fn of(numbers: Vec<u64>) -> Self {
        let first = numbers.first().copied().unwrap_or_default();
        if (first..).zip(&numbers).all(|(expected, number)| expected == *number) {
            Self::From(first)
        } else {
            Self::These(numbers.into_boxed_slice())
        }
    }
}

impl Chunk {
    fn new(numbers: Numbers, batch: RecordBatch) -> Self {
        Self { body: Body::of(numbers, batch), alive: None, dead: 0 }
    }

    /// Its columns, with the dead rows.
    pub(super) fn columns(&self) -> &[ArrayRef] {
        self.body.batch.columns()
    }

    /// How many rows there are, dead or alive.
    pub(super) fn len(&self) -> usize {
        self.body.batch.num_rows()
    }

    /// How many rows are alive.
    fn living(&self) -> usize {
        self.len().saturating_sub(self.dead)
    }

    fn bytes(&self) -> usize {
        self.body.bytes + self.alive.as_ref().map_or(0, |alive| alive.inner().capacity())
    }

    /// Which of some neighbouring rows are alive; `None`: all.
    pub(super) fn alive(&self, first: usize, rows: usize) -> Option<BooleanArray> {
        let alive = self.alive.as_ref().filter(|alive| first + rows <= alive.len())?.slice(first, rows);
        (alive.count_set_bits() < rows).then(|| BooleanArray::new(alive, None))
    }

    /// Where a row is that is alive.
    fn place(&self, number: u64) -> Option<usize> {
        let place = match &self.body.numbers {
            Some(numbers) => numbers.binary_search(&number).ok()?,
            None => usize::try_from(number.checked_sub(self.body.first)?).ok()?,
        };
        let is_there = place < self.len() && self.alive.as_ref().is_none_or(|alive| alive.value(place));
        is_there.then_some(place)
    }

    /// The places and numbers of the rows that are alive.
    fn survivors(&self) -> impl Iterator<Item = (usize, u64)> {
        let number = move |place: usize| match &self.body.numbers {
            Some(numbers) => numbers.get(place).copied().unwrap_or_default(),
            None => self.body.first + place as u64,
        };
        let is_alive = move |place: &usize| self.alive.as_ref().is_none_or(|alive| alive.value(*place));
        (0..self.len()).filter(is_alive).map(move |place| (place, number(place)))
    }

    /// The same without rows that were alive.
    fn without(&self, places: &[usize]) -> Self {
        let mut dies = vec![false; self.len()];
        for place in places {
            if let Some(dies) = dies.get_mut(*place) {
                *dies = true;
            }
        }
        let is_alive = |place: usize| {
            let was = self.alive.as_ref().is_none_or(|alive| alive.value(place));
            was && !dies.get(place).copied().unwrap_or_default()
        };
        let alive = BooleanBuffer::collect_bool(self.len(), is_alive);
        let dead = self.len() - alive.count_set_bits();
        Self { body: Arc::clone(&self.body), alive: Some(alive), dead }
    }
}

/// Some row of some columns: which of the sources, and which row of it.
pub(super) type Cell = (usize, usize);

/// A column out of cells of others of its kind.
///
/// # Errors
/// Columns of different types, and more bytes than a column may have.
pub(super) fn gathered(sources: &[Vec<ArrayRef>], column: usize, cells: &[Cell]) -> Result<ArrayRef, ArrowError> {
    let lacks = || ArrowError::InvalidArgumentError("rows lack a column".to_owned());
    let values: Option<Vec<&dyn Array>> = sources.iter().map(|source| source.get(column).map(|array| &**array)).collect();
    let mut array = interleave(&values.ok_or_else(lacks)?, cells)?;
    array.shrink_to_fit();
    Ok(array)
}

/// The chunks of a state.
#[derive(Clone)]
pub(super) struct Chunks {
    /// By the number of their first row.
    by_first: OrdMap<u64, Chunk>,
    /// The number of the next row.
    next: u64,
    bytes: usize,
    schema: SchemaRef,
}

impl Chunks {
    /// None yet, of rows with this schema.
    pub(super) fn new(schema: &SchemaRef) -> Self {
        Self { by_first: OrdMap::new(), next: 0, bytes: 0, schema: Arc::clone(schema) }
    }

    /// About how much memory they take.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// What of chunks states share: something that tells each from the others, and its bytes.
    pub(super) fn bodies(&self) -> impl Iterator<Item = (usize, usize)> {
        self.by_first.values().map(|chunk| (Arc::as_ptr(&chunk.body).addr(), chunk.body.bytes))
    }

    /// How many chunks there are.
    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        self.by_first.len()
    }

    /// How many rows they hold, with the dead.
    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        self.by_first.values().map(Chunk::len).sum()
    }

    /// The chunk whose first number is the greatest that is not above this one, with that number.
    pub(super) fn not_above(&self, number: u64) -> Option<(u64, &Chunk)> {
        self.by_first.get_prev(&number).map(|(first, chunk)| (*first, chunk))
    }

    /// Above the numbers of all rows.
    pub(super) fn end(&self) -> u64 {
        self.next
    }

    /// The chunk whose first number is the smallest that is not below this one, with that number.
    pub(super) fn not_below(&self, number: u64) -> Option<(u64, &Chunk)> {
        self.by_first.get_next(&number).map(|(first, chunk)| (*first, chunk))
    }

    /// The chunk of a row that is alive, under its first number, and the row's place in it.
    pub(super) fn find(&self, number: u64) -> Option<(u64, &Chunk, usize)> {
        let (first, chunk) = self.by_first.get_prev(&number)?;
        Some((*first, chunk, chunk.place(number)?))
    }

    /// Takes rows out.
    ///
    /// # Errors
    /// That what is left of chunks cannot be joined.
    pub(super) fn remove(&mut self, numbers: &[u64]) -> Result<(), ArrowError> {
        let mut dying: BTreeMap<u64, Vec<usize>> = BTreeMap::new();
        for number in numbers {
            if let Some((first, _, place)) = self.find(*number) {
                dying.entry(first).or_default().push(place);
            }
        }
        let mut sparse = Vec::new();
        for (first, places) in dying {
            let Some(chunk) = self.by_first.get(&first).map(|chunk| chunk.without(&places)) else { continue };
            if chunk.dead * 2 > chunk.len() {
                sparse.push(first);
            }
            self.put(first, chunk);
        }
        // One that was joined with another before its turn is not there under its number any more, or is dense.
        for first in sparse {
            self.settle(first)?;
        }
        Ok(())
    }

    /// Adds rows, of which there are at most [`ROWS_MAX`], and gives the number of the first; the others follow it.
    ///
    /// # Errors
    /// Columns that are not of the schema, and NULL where it allows none.
    pub(super) fn append(&mut self, columns: Vec<ArrayRef>, rows: usize) -> Result<u64, ArrowError> {
        let first = self.next;
        let batch = self.batch(columns, rows)?;
        self.next += rows as u64;
        if rows > 0 {
            self.put(first, Chunk::new(Numbers::From(first), batch));
            self.settle(first)?;
        }
        Ok(first)
    }

    fn batch(&self, columns: Vec<ArrayRef>, rows: usize) -> Result<RecordBatch, ArrowError> {
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)
    }

    fn put(&mut self, first: u64, chunk: Chunk) {
        self.bytes += chunk.bytes();
        let before = self.by_first.insert(first, chunk);
        self.bytes = self.bytes.saturating_sub(before.map_or(0, |before| before.bytes()));
    }

    fn take(&mut self, first: u64) -> Option<Chunk> {
        let chunk = self.by_first.remove(&first)?;
        self.bytes = self.bytes.saturating_sub(chunk.bytes());
        Some(chunk)
    }

    /// Joins a chunk with neighbours that are no larger, and leaves out the dead where there are many.
    fn settle(&mut self, first: u64) -> Result<(), ArrowError> {
        let Some(chunk) = self.by_first.get(&first) else { return Ok(()) };
        if chunk.living() == 0 {
            self.take(first);
            return Ok(());
        }
        let is_sparse = chunk.dead * 2 > chunk.len();
        let together = self.neighbours(first, chunk);
        if together.len() == 1 && !is_sparse {
            return Ok(());
        }
        let (mut sources, mut cells, mut numbers) = (Vec::with_capacity(together.len()), Vec::new(), Vec::new());
        for chunk in together.iter().filter_map(|first| self.by_first.get(first)) {
            for (place, number) in chunk.survivors() {
                cells.push((sources.len(), place));
                numbers.push(number);
            }
            sources.push(chunk.columns().to_vec());
        }
        let columns = (0..self.schema.fields().len()).map(|column| gathered(&sources, column, &cells));
        let batch = self.batch(columns.collect::<Result<_, _>>()?, cells.len())?;
        for first in &together {
            self.take(*first);
        }
        let joined = Chunk::new(Numbers::of(numbers), batch);
        self.put(joined.body.first, joined);
        Ok(())
    }

    /// The first numbers of a chunk and of those around it that it takes in, in order.
    fn neighbours(&self, first: u64, chunk: &Chunk) -> Vec<u64> {
        let (mut rows, mut bytes) = (chunk.living(), chunk.body.bytes);
        let mut together = VecDeque::from([first]);
        let (mut lowest, mut highest) = (first, first);
        loop {
            let fits = |near: &Chunk| {
                let living = near.living();
                living <= rows && rows + living <= ROWS_MAX && bytes + near.body.bytes <= BYTES_MAX
            };
            let below = lowest.checked_sub(1).and_then(|number| self.by_first.get_prev(&number));
            if let Some((number, near)) = below.filter(|(_, near)| fits(near)) {
                (rows, bytes, lowest) = (rows + near.living(), bytes + near.body.bytes, *number);
                together.push_front(lowest);
                continue;
            }
            let above = highest.checked_add(1).and_then(|number| self.by_first.get_next(&number));
            let Some((number, near)) = above.filter(|(_, near)| fits(near)) else { return together.into() };
            (rows, bytes, highest) = (rows + near.living(), bytes + near.body.bytes, *number);
            together.push_back(highest);
        }
    }
}

/// A batch of rows out of chunks, which may be none.
///
/// # Errors
/// Columns that are not there.
pub(super) fn picked(chunks: &[&Chunk], cells: &[Cell], columns: &[usize], schema: &SchemaRef) -> Result<RecordBatch, ArrowError> {
    let lacks = || ArrowError::InvalidArgumentError("the table has no such column".to_owned());
    let column = |ordinal: &usize| -> Result<ArrayRef, ArrowError> {
        let values: Option<Vec<&dyn Array>> =
            chunks.iter().map(|chunk| chunk.columns().get(*ordinal).map(|array| &**array)).collect();
        let values = values.ok_or_else(lacks)?;
        match (values.as_slice(), cells) {
            // Nothing is copied for one row, which is what most look-ups find.
            ([value], [(_, row)]) => Ok(value.slice(*row, 1)),
            _ => interleave(&values, cells),
        }
    };
    let columns = if cells.is_empty() {
        schema.fields().iter().map(|field| Ok(new_empty_array(field.data_type()))).collect::<Result<Vec<_>, ArrowError>>()?
    } else {
        columns.iter().map(column).collect::<Result<Vec<_>, _>>()?
    };
    let options = RecordBatchOptions::new().with_row_count(Some(cells.len()));
    RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)
}
