//! The rows of a [`super::ProjectSet`], a bounded batch at a time.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, ListArray, RecordBatch, RecordBatchOptions, UInt32Array};
use arrow::buffer::OffsetBuffer;
use arrow::compute::take;
use arrow::datatypes::{DataType, Field, SchemaRef};
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::SendableRecordBatchStream;
use datafusion::logical_expr::ColumnarValue;
use futures::stream::{BoxStream, try_unfold};
use futures::{StreamExt, TryStreamExt};

use super::super::datum::{Column, Datum, Writer};
use super::super::settings::SessionValues;
use super::Empty;
use super::physical::SourceExpr;
use super::series::{Series, SeriesCall};

/// Bytes after which an output batch takes no further row.
const BATCH_BYTES_MAX: usize = 4 << 20;

/// How input batches are multiplied.
pub(super) struct Expander {
    /// Places of the input's columns that go along.
    pub(super) kept: Vec<usize>,
    pub(super) sources: Vec<SourceExpr>,
    pub(super) is_counted: bool,
    pub(super) empty: Empty,
    pub(super) schema: SchemaRef,
    pub(super) session: SessionValues,
    pub(super) batch_rows: usize,
}

/// The multiplied rows of `input`, in its order.
pub(super) fn expand(input: SendableRecordBatchStream, expander: Expander) -> BoxStream<'static, Result<RecordBatch>> {
    let state = (input, expander, None::<Expansion>);
    try_unfold(state, |(mut input, expander, mut open)| async move {
        loop {
            if let Some(mut expansion) = open.take() {
                let batch = expansion.fill(&expander)?;
                let rest = (!expansion.is_ended()).then_some(expansion);
                if batch.num_rows() > 0 {
                    return Ok(Some((batch, (input, expander, rest))));
                }
                open = rest;
                continue;
            }
            match input.try_next().await? {
                Some(batch) => open = Some(Expansion::new(batch, &expander)?),
                None => return Ok(None),
            }
        }
    })
    .boxed()
}

/// One input batch on its way.
struct Expansion {
    batch: RecordBatch,
    sources: Vec<Source>,
    row: usize,
    /// Rows that the current input row has given; `None` before its sources are opened.
    given: Option<i64>,
    /// About how many bytes an output row of the current input row takes.
    row_bytes: usize,
}

/// The rows of one output batch: where each comes from, and its number.
#[derive(Default)]
struct Places {
    parents: Vec<u32>,
    numbers: Vec<Option<i64>>,
}

impl Expansion {
    fn new(batch: RecordBatch, expander: &Expander) -> Result<Self> {
        let sources = expander.sources.iter().map(|source| Source::new(source, &batch)).collect::<Result<Vec<_>>>()?;
        let batch = batch.project(&expander.kept)?;
        Ok(Self { batch, sources, row: 0, given: None, row_bytes: 0 })
    }

    fn is_ended(&self) -> bool {
        self.row >= self.batch.num_rows()
    }

    fn fill(&mut self, expander: &Expander) -> Result<RecordBatch> {
        let (mut places, mut bytes) = (Places::default(), 0_usize);
        while places.parents.len() < expander.batch_rows && bytes < BATCH_BYTES_MAX && !self.is_ended() {
            let given = match self.given {
                Some(given) => given,
                None => {
                    for source in &mut self.sources {
                        source.open(self.row, &expander.session)?;
                    }
                    let kept = self.batch.columns().iter().map(|column| bytes_of(column, self.row, 1)).sum::<usize>();
                    self.row_bytes = kept + self.sources.iter().map(Source::value_bytes).sum::<usize>();
                    0
                }
            };
            let has_value = self.sources.iter().any(Source::has_value);
            let is_kept = expander.empty == Empty::Kept && given == 0;
            if has_value || is_kept {
                for source in &mut self.sources {
                    source.push()?;
                }
                bytes += self.row_bytes;
                places.parents.push(u32::try_from(self.row).unwrap_or(u32::MAX));
                places.numbers.push(has_value.then_some(given + 1));
            }
            if has_value {
                self.given = Some(given + 1);
            } else {
                self.given = None;
                self.row += 1;
            }
        }
        self.gather(places, expander)
    }

    fn gather(&mut self, places: Places, expander: &Expander) -> Result<RecordBatch> {
        let rows = places.parents.len();
        let parents = UInt32Array::from(places.parents);
        let kept = self.batch.columns().iter().map(|column| Ok(take(column, &parents, None)?));
        let mut columns = kept.collect::<Result<Vec<ArrayRef>>>()?;
        for source in &mut self.sources {
            columns.push(source.finish()?);
        }
        if expander.is_counted {
            columns.push(Arc::new(Int64Array::from(places.numbers)));
        }
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        Ok(RecordBatch::try_new_with_options(Arc::clone(&expander.schema), columns, &options)?)
    }
}

/// The values of one call over one input batch.
enum Source {
    /// The lists, the part of them that the current row still has, and what the output batch takes.
    List { lists: ListArray, is_constant: bool, at: u32, end: u32, picks: Vec<Option<u32>> },
    /// The arguments of all rows, the current row's series, and the output batch's values.
    Series { call: Arc<SeriesCall>, arguments: Vec<(ArrayRef, bool)>, current: Option<Series>, values: Box<Values> },
}

/// Values of one output batch.
struct Values {
    carrier: DataType,
    writer: Writer,
}

/// Bytes of some rows of an array.
fn bytes_of(array: &dyn Array, from: usize, rows: usize) -> usize {
    array.slice(from, rows).to_data().get_slice_memory_size().unwrap_or_default()
}

fn lost(what: &str) -> DataFusionError {
    DataFusionError::Internal(format!("a set-returning function gave {what}"))
}

/// Lists of lists as lists of the inner lists' elements.
fn without_level(lists: &ListArray) -> Result<ListArray> {
    let inner = lists.values().as_list_opt::<i32>().ok_or_else(|| lost("no list of lists"))?;
    let offset = |place: &i32| usize::try_from(*place).ok().and_then(|place| inner.value_offsets().get(place).copied());
    let offsets: Option<Vec<i32>> = lists.value_offsets().iter().map(offset).collect();
    let offsets = OffsetBuffer::new(offsets.ok_or_else(|| lost("too few lists"))?.into());
    let item = Arc::new(Field::new("item", inner.value_type(), true));
    Ok(ListArray::try_new(item, offsets, Arc::clone(inner.values()), lists.nulls().cloned())?)
}

/// The value as an array, and whether its one row stands for all rows.
fn evaluated(value: ColumnarValue) -> Result<(ArrayRef, bool)> {
    Ok(match value {
        ColumnarValue::Array(array) => (array, false),
        ColumnarValue::Scalar(scalar) => (scalar.to_array_of_size(1)?, true),
    })
}

impl Source {
    fn new(source: &SourceExpr, batch: &RecordBatch) -> Result<Self> {
        Ok(match source {
            SourceExpr::List(list, levels) => {
                let (array, is_constant) = evaluated(list.evaluate(batch)?)?;
                let mut lists = array.as_list_opt::<i32>().ok_or_else(|| lost("no list"))?.clone();
                for _ in 0..*levels {
                    lists = without_level(&lists)?;
                }
                Self::List { lists, is_constant, at: 0, end: 0, picks: Vec::new() }
            }
            SourceExpr::Series(call, arguments) => {
                let arguments = arguments.iter().map(|argument| evaluated(argument.evaluate(batch)?));
                let arguments = arguments.collect::<Result<Vec<_>>>()?;
                let carrier = call.returns.carrier();
                let values = Box::new(Values { writer: Writer::new(&carrier, 0)?, carrier });
                Self::Series { call: Arc::clone(call), arguments, current: None, values }
            }
        })
    }

    fn open(&mut self, row: usize, session: &SessionValues) -> Result<()> {
        match self {
            Self::List { lists, is_constant, at, end, .. } => {
                let row = if *is_constant { 0 } else { row };
                let position = |place: usize| lists.value_offsets().get(place).and_then(|offset| u32::try_from(*offset).ok());
                let (Some(start), Some(stop)) = (position(row), position(row + 1)) else { return Err(lost("too few lists")) };
                // A NULL list may have offsets of its own.
                (*at, *end) = if lists.is_null(row) { (0, 0) } else { (start, stop) };
            }
            Self::Series { call, arguments, current, .. } => {
                let mut values: Vec<Datum<'_>> = Vec::with_capacity(arguments.len());
                for (index, (array, is_constant)) in arguments.iter().enumerate() {
                    let column = Column::new(array, call.reads.get(index))?;
                    values.push(column.get(if *is_constant { 0 } else { row }));
                }
                *current = call.open(&values, session)?;
            }
        }
        Ok(())
    }

    /// About how many bytes each value of the current row takes.
    fn value_bytes(&self) -> usize {
        match self {
            Self::List { lists, at, end, .. } => {
                let (from, rows) = (*at as usize, end.saturating_sub(*at) as usize);
                bytes_of(lists.values(), from, rows).checked_div(rows).unwrap_or_default()
            }
            Self::Series { .. } => size_of::<i64>(),
        }
    }

    fn has_value(&self) -> bool {
        match self {
            Self::List { at, end, .. } => at < end,
            Self::Series { current, .. } => current.as_ref().is_some_and(|series| !series.is_ended()),
        }
    }

    /// The next value, or NULL.
    fn push(&mut self) -> Result<()> {
        match self {
            Self::List { at, end, picks, .. } => {
                picks.push((*at < *end).then_some(*at));
                *at += u32::from(*at < *end);
                Ok(())
            }
            Self::Series { current, values, .. } => {
                let value = match current {
                    Some(series) => series.take()?,
                    None => Datum::Null,
                };
                values.writer.push(value)
            }
        }
    }

    /// The values pushed since the last call.
    fn finish(&mut self) -> Result<ArrayRef> {
        match self {
            Self::List { lists, picks, .. } => {
                let picks = UInt32Array::from(std::mem::take(picks));
                Ok(take(lists.values(), &picks, None)?)
            }
            Self::Series { values, .. } => {
                let fresh = Writer::new(&values.carrier, 0)?;
                std::mem::replace(&mut values.writer, fresh).finish()
            }
        }
    }
}
