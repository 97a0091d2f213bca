//! Edits that carry rows: from the batches of a query or the cells of VALUES, every value assigned to its column, cut to what a store takes
//! at a time.

use std::fmt;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions, UInt32Array, new_empty_array};
use arrow::compute::{concat_batches, filter_record_batch, take};
use arrow::datatypes::{Field, Schema};
use arrow::error::ArrowError;
use datafusion::error::DataFusionError;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::execution::memory_pool::MemoryReservation;
use datafusion::scalar::ScalarValue;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};

use super::super::digits::Ready;
use super::super::engine::Engine;
use super::super::error::diagnose;
use super::super::semantics::assign_array;
use super::super::semantics::settings::SessionValues;
use super::super::semantics::typed::Typed;
use super::Work;
use super::beside::Beside;
use super::distinct::{Distinct, Repeated};
use super::target::Target;
use super::upsert::{Race, Upsert};
use crate::error::{Diagnosis, sqlstate};
use crate::pgtype::PgType;
use crate::stores::edit::{self, Conflict, ConflictAction, ConflictTarget, DeleteRows, Edit, Insert, UpdateRows};
use crate::stores::{Connector, Refusal};

/// An edit has no more rows than take about this many bytes.
const EDIT_BYTES: usize = 4 << 20;

/// Rows that are read or computed, and become edits.
pub struct Rows {
    /// Whether rows of the target are read that must not change before they are edited.
    pub locks: bool,
    /// Whether all rows are read before the first edit: an edit must not be seen by what it is made of, and a store reads and writes
    /// one after the other.
    pub gathers: bool,
    source: Source,
    beside: Option<Beside>,
    race: Option<Race>,
}

enum Source {
    /// Nothing is left to be read.
    Ready(Vec<Edit>),
    /// The rows of a query.
    Query(Box<Ready>, Box<Maker>),
    /// The cells of VALUES that must be computed.
    Cells(Box<Ready>, OfCells),
    /// Rows to be inserted, some of which update others.
    Upsert(Box<Rows>, Box<Upsert>),
}

/// Makes edits of computed cells.
pub(super) type OfCells = Box<dyn FnOnce(RecordBatch) -> Result<Vec<Edit>, Diagnosis> + Send>;

impl fmt::Debug for Rows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rows").field("locks", &self.locks).field("gathers", &self.gathers).finish_non_exhaustive()
    }
}

impl Rows {
    /// The rows of a query. Those that lock are gathered.
    pub(super) fn of_query(query: Ready, maker: Maker, locks: bool, gathers: bool) -> Self {
        Self { locks, gathers: gathers || locks, source: Source::Query(Box::new(query), Box::new(maker)), beside: None, race: None }
    }

    /// Edits of the one row of cells that a query computes.
    pub(super) fn of_cells(query: Ready, edits: OfCells) -> Self {
        Self { locks: false, gathers: true, source: Source::Cells(Box::new(query), edits), beside: None, race: None }
    }

    /// The same, which are rows of the target that must not change before.
    pub(super) fn locking(self) -> Self {
        Self { locks: true, ..self }
    }

    /// The same, of which something is kept beside the rows.
    pub(super) fn beside(self, beside: Beside) -> Self {
        Self { beside: Some(beside), ..self }
    }

    /// What is kept beside the rows once they have become edits; [`super::PlannedWrite::returning`] asks for it.
    pub fn kept(&self) -> Option<Beside> {
        self.beside.clone()
    }

    /// Rows to be inserted, or to update those that they meet.
    pub(super) fn of_upsert(proposed: Work, upsert: Upsert) -> Option<Self> {
        let proposed = match proposed {
            Work::Nothing => return None,
            Work::Edit(edit) => Self { locks: true, gathers: true, source: Source::Ready(vec![*edit]), beside: None, race: None },
            Work::Rows(rows) => rows,
        };
        let race = Some(upsert.race());
        let source = Source::Upsert(Box::new(proposed), Box::new(upsert));
        Some(Self { locks: true, gathers: true, source, beside: None, race })
    }

    /// What others may do to the rows between they are looked for and inserted.
    pub fn race(&self) -> Option<Race> {
        self.race.clone()
    }

    /// The edits, in the order of the rows. Nothing is read before the first one is asked for; after an error there are none.
    ///
    /// # Errors
    /// What starting the query failed with; later failures are in the stream: those of reading, and values that their columns do not
    /// take.
    pub fn edits(self, engine: &Engine) -> Result<BoxStream<'static, Result<Edit, Diagnosis>>, Diagnosis> {
        let reservation = engine.reservation("rows to be written");
        match self.source {
            Source::Ready(edits) => Ok(futures::stream::iter(edits.into_iter().map(Ok::<Edit, Diagnosis>)).boxed()),
            Source::Cells(query, make) => {
                let stream = query.run()?;
                let made = futures::stream::once(async move {
                    let cells = Gathered::of(stream, reservation).await?;
                    make(cells.whole()?)
                });
                Ok(flat(made.boxed()))
            }
            Source::Upsert(proposed, upsert) => {
                let proposed = proposed.edits(engine)?;
                let made = futures::stream::once(async move { Box::pin(upsert.edits(proposed, reservation)).await });
                Ok(flat(made.boxed()))
            }
            Source::Query(query, maker) => {
                let stream = query.run()?;
                let batches = if self.gathers {
                    let gathered = futures::stream::once(Gathered::of(stream, reservation));
                    gathered
                        .map_ok(|gathered| futures::stream::iter(gathered.map(Ok::<RecordBatch, Diagnosis>)))
                        .try_flatten()
                        .boxed()
                } else {
                    stream.map_err(|error| diagnose(&error)).boxed()
                };
                let mut maker = maker;
                Ok(flat(batches.map(move |batch| maker.make(&batch?)).boxed()))
            }
        }
    }
}

fn flat(made: BoxStream<'static, Result<Vec<Edit>, Diagnosis>>) -> BoxStream<'static, Result<Edit, Diagnosis>> {
    made.map_ok(|edits| futures::stream::iter(edits.into_iter().map(Ok::<Edit, Diagnosis>))).try_flatten().boxed()
}

/// Batches that are kept in memory, which is accounted for as long as any is left.
pub(super) struct Gathered {
    schema: Arc<Schema>,
    batches: std::vec::IntoIter<RecordBatch>,
    _reservation: MemoryReservation,
}

impl Gathered {
    /// Reads a stream to its end.
    ///
    /// # Errors
    /// 53200 for more than the queries of all sessions may take, and what reading fails with.
    pub(super) async fn of(mut stream: SendableRecordBatchStream, reservation: MemoryReservation) -> Result<Self, Diagnosis> {
        let schema = stream.schema();
        let mut batches = Vec::new();
        while let Some(batch) = stream.next().await {
            let batch = batch.map_err(|error| diagnose(&error))?;
            reservation.try_grow(batch.get_array_memory_size()).map_err(|error| {
                let hint = "A statement that changes rows keeps what it reads of their store: write fewer rows at a time.";
                diagnose(&error).with_hint(hint)
            })?;
            batches.push(batch);
        }
        Ok(Self { schema, batches: batches.into_iter(), _reservation: reservation })
    }

    /// All rows in one batch.
    pub(super) fn whole(self) -> Result<RecordBatch, Diagnosis> {
        concat_batches(&self.schema, self.batches.as_slice()).map_err(told)
    }
}

impl Iterator for Gathered {
    type Item = RecordBatch;

    fn next(&mut self) -> Option<RecordBatch> {
        self.batches.next()
    }
}

/// An error of the columns themselves.
pub(super) fn told(error: ArrowError) -> Diagnosis {
    diagnose(&DataFusionError::from(error))
}

/// What all edits of a statement have in common.
#[derive(Debug, Clone)]
pub(super) struct Common {
    pub(super) target: Target,
    pub(super) verb: &'static str,
    pub(super) connector: Arc<dyn Connector>,
    /// Ordinals of the columns that come back.
    pub(super) returning: Vec<usize>,
    pub(super) session: SessionValues,
    pub(super) values: Vec<ScalarValue>,
    pub(super) parameters: Vec<PgType>,
}

impl Common {
    /// The value of a parameter in the type of a column, as one row.
    pub(super) fn parameter(&self, number: usize, ordinal: usize) -> Result<ArrayRef, Diagnosis> {
        let place = number.checked_sub(1);
        let known = place.and_then(|place| self.values.get(place).zip(self.parameters.get(place)));
        let (value, pg_type) = known.ok_or_else(|| {
            let message = format!("there is no value for parameter ${number}");
            Diagnosis::new(sqlstate::UNDEFINED_PARAMETER, message)
        })?;
        let to = Typed::of_field(&self.target.at(ordinal)?.field);
        let assigned = value.to_array_of_size(1).and_then(|array| assign_array(&array, &(*pg_type).into(), &to, &self.session));
        assigned.map_err(|error| diagnose(&error))
    }

    /// The columns as rows of an edit.
    pub(super) fn batch(&self, ordinals: &[usize], arrays: Vec<ArrayRef>, rows: usize) -> Result<RecordBatch, Diagnosis> {
        let fields: Vec<Field> =
            ordinals.iter().map(|ordinal| self.target.at(*ordinal).map(edit::field)).collect::<Result<_, _>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), arrays, &options).map_err(told)
    }

    /// Whether the store runs an edit.
    ///
    /// # Errors
    /// 0A000 with the reason when it does not.
    pub(super) fn check(&self, edit: &Edit) -> Result<(), Diagnosis> {
        self.connector.accepts_edit(edit).map_err(|refusal| self.refused(&refusal))
    }

    /// 0A000 for what a store does not run.
    pub(super) fn refused(&self, refusal: &Refusal) -> Diagnosis {
        let (verb, table, store) = (self.verb, &self.target.relation.name, &self.target.store);
        let message = format!("this {verb} of table \"{table}\" is not supported by store \"{store}\"");
        Diagnosis::new(sqlstate::FEATURE_NOT_SUPPORTED, message).with_detail(format!("{refusal}."))
    }

    /// An edit in pieces that a store takes at a time; none without rows.
    pub(super) fn pieces(&self, edit: &Edit) -> Vec<Edit> {
        let Some(rows) = edit.rows().filter(|rows| rows.num_rows() > 0) else { return Vec::new() };
        let bytes = rows.get_array_memory_size().max(1);
        let fitting = EDIT_BYTES.saturating_mul(rows.num_rows()) / bytes;
        edit::slice(edit, self.connector.rows_of_edit().min(fitting).max(1))
    }
}

/// What edits that are known come to.
///
/// # Errors
/// 0A000 for those that the store does not run, 21000 for rows that would update one row twice.
pub(super) fn work(common: &Common, edits: &[Edit], engine: &Engine) -> Result<Work, Diagnosis> {
    let mut pieces = ready(common, edits, engine.reservation("keys to be written"))?;
    Ok(match pieces.len() {
        0 => Work::Nothing,
        1 => pieces.pop().map_or(Work::Nothing, |edit| Work::Edit(Box::new(edit))),
        _ => Work::Rows(Rows { locks: false, gathers: false, source: Source::Ready(pieces), beside: None, race: None }),
    })
}

/// The pieces of edits that are known.
///
/// # Errors
/// As [`work`].
pub(super) fn ready(common: &Common, edits: &[Edit], reservation: MemoryReservation) -> Result<Vec<Edit>, Diagnosis> {
    let mut pieces = Vec::with_capacity(edits.len());
    for edit in edits {
        common.check(edit)?;
        pieces.extend(common.pieces(edit));
    }
    check_together(common, &pieces, reservation)?;
    Ok(pieces)
}

/// Refuses rows that would update one row twice: a store notices them inside one edit only, and not every store compares keys as
/// PostgreSQL does.
fn check_together(common: &Common, pieces: &[Edit], reservation: MemoryReservation) -> Result<(), Diagnosis> {
    let Some(Edit::Insert(Insert { conflict: Some(conflict), .. })) = pieces.first() else { return Ok(()) };
    let Some(key) = updated_by(conflict) else { return Ok(()) };
    if pieces.iter().filter_map(Edit::rows).map(RecordBatch::num_rows).sum::<usize>() < 2 {
        return Ok(());
    }
    let mut distinct = Distinct::new(common, key, Repeated::Refused, reservation)?;
    if pieces.len() < 2 && distinct.is_plain {
        return Ok(());
    }
    for piece in pieces {
        let Edit::Insert(Insert { columns, rows, .. }) = piece else { continue };
        let places = places_of(key, columns);
        if pieces.len() > 1 {
            distinct.check_exact()?;
            check_given(places.is_some())?;
        }
        if let Some(places) = places {
            distinct.places = places;
            distinct.kept(rows)?;
        }
    }
    Ok(())
}

/// Refuses rows in several edits whose keys the store makes: what they meet is known to nobody.
pub(super) fn check_given(is_given: bool) -> Result<(), Diagnosis> {
    if is_given {
        return Ok(());
    }
    let message = "ON CONFLICT DO UPDATE of rows that leave the key to its default is not supported beside others";
    Err(Diagnosis::new(sqlstate::FEATURE_NOT_SUPPORTED, message)
        .with_hint("Insert fewer rows at a time, those with a key by themselves."))
}

/// The key by which an insert finds the rows that it updates; `None` when it updates none.
fn updated_by(conflict: &Conflict) -> Option<&[usize]> {
    match (&conflict.target, &conflict.action) {
        (ConflictTarget::Columns(key), ConflictAction::Update(_)) => Some(key.as_slice()),
        _ => None,
    }
}

/// Where the columns of a key are among those of rows; `None` when rows get some of them from the store.
pub(super) fn places_of(key: &[usize], columns: &[usize]) -> Option<Vec<usize>> {
    key.iter().map(|ordinal| columns.iter().position(|column| column == ordinal)).collect()
}

/// Which edits rows become.
#[derive(Debug, Clone)]
pub(super) enum RowForm {
    Insert { columns: Vec<usize>, conflict: Option<Conflict> },
    Update { key: Vec<usize>, set: Vec<usize> },
    Delete { key: Vec<usize> },
}

impl RowForm {
    /// The ordinals of the columns of such an edit's rows.
    fn columns(&self) -> Vec<usize> {
        match self {
            Self::Insert { columns, .. } => columns.clone(),
            Self::Update { key, set } => key.iter().chain(set).copied().collect(),
            Self::Delete { key } => key.clone(),
        }
    }

    /// The columns of the key as they are after the edit of some rows.
    fn keys_after(&self, rows: &RecordBatch) -> Result<RecordBatch, Diagnosis> {
        let places: Vec<usize> = match self {
            Self::Update { key, set } => {
                let after = |(place, ordinal): (usize, &usize)| {
                    set.iter().position(|set| set == ordinal).map_or(place, |at| key.len() + at)
                };
                key.iter().enumerate().map(after).collect()
            }
            Self::Delete { key } => (0..key.len()).collect(),
            Self::Insert { .. } => Vec::new(),
        };
        rows.project(&places).map_err(told)
    }

    /// The edit of some rows.
    pub(super) fn edit(&self, common: &Common, rows: RecordBatch) -> Edit {
        let (store, table) = (common.target.store.clone(), Arc::clone(&common.target.table));
        let returning = common.returning.clone();
        match self {
            Self::Insert { columns, conflict } => {
                let (columns, paths) = common.target.written(columns);
                Edit::Insert(Insert { store, table, columns, paths, rows, conflict: conflict.clone(), returning })
            }
            Self::Update { key, set } => {
                let (set, paths) = common.target.written(set);
                Edit::UpdateRows(UpdateRows { store, table, key: key.clone(), set, paths, rows, returning })
            }
            Self::Delete { key } => Edit::DeleteRows(DeleteRows { store, table, key: key.clone(), rows, returning }),
        }
    }
}

/// Where the values of a column come from.
pub(super) enum Input {
    /// An output of the query, of this type.
    Output(usize, Typed),
    /// One value in the type of the column.
    Constant(ArrayRef),
}

/// Makes edits of batches.
pub(super) struct Maker {
    common: Common,
    form: RowForm,
    columns: Vec<usize>,
    inputs: Vec<Input>,
    distinct: Option<Distinct>,
    /// Outputs of the query that stand beside the rows, and who keeps them.
    beside: Option<(Vec<usize>, Beside)>,
    /// Whether rows may be updated that are found by a key which the store makes.
    lacks_key: bool,
    /// How many edits there were.
    made: usize,
}

impl Maker {
    /// A maker of edits of a form, whose columns have these inputs.
    ///
    /// # Errors
    /// 0A000 when the store does not run such edits.
    pub(super) fn new(common: Common, form: RowForm, inputs: Vec<Input>) -> Result<Self, Diagnosis> {
        let columns = form.columns();
        let arrays = columns.iter().map(|ordinal| {
            let field = edit::field(common.target.at(*ordinal)?);
            Ok(new_empty_array(field.data_type()))
        });
        let empty = common.batch(&columns, arrays.collect::<Result<_, Diagnosis>>()?, 0)?;
        common.check(&form.edit(&common, empty))?;
        Ok(Self { common, form, columns, inputs, distinct: None, beside: None, lacks_key: false, made: 0 })
    }

    /// The same, which refuses rows that would update one row twice.
    pub(super) fn minding_conflicts(mut self, engine: &Engine) -> Result<Self, Diagnosis> {
        if let RowForm::Insert { columns, conflict: Some(conflict) } = &self.form
            && let Some(key) = updated_by(conflict)
        {
            let Some(places) = places_of(key, columns) else { return Ok(Self { lacks_key: true, ..self }) };
            let reservation = engine.reservation("keys to be written");
            let mut distinct = Distinct::new(&self.common, key, Repeated::Refused, reservation)?;
            distinct.places = places;
            self.distinct = Some(distinct);
        }
        Ok(self)
    }

    /// The same, which takes the first row of each key only.
    pub(super) fn once_each(mut self, engine: &Engine) -> Result<Self, Diagnosis> {
        let key = match &self.form {
            RowForm::Update { key, .. } | RowForm::Delete { key } => key.clone(),
            RowForm::Insert { .. } => return Ok(self),
        };
        let reservation = engine.reservation("keys to be written");
        self.distinct = Some(Distinct::new(&self.common, &key, Repeated::LeftOut, reservation)?);
        Ok(self)
    }

    /// The same, which keeps some outputs of the query beside the rows that are edited.
    pub(super) fn keeping(self, places: Vec<usize>, beside: Beside) -> Self {
        Self { beside: Some((places, beside)), ..self }
    }

    /// The edits of the rows of a batch.
    ///
    /// # Errors
    /// Values that their columns do not take, and rows that would update one row twice.
    pub(super) fn make(&mut self, batch: &RecordBatch) -> Result<Vec<Edit>, Diagnosis> {
        let mut arrays = Vec::with_capacity(self.columns.len());
        for (ordinal, input) in self.columns.iter().zip(&self.inputs) {
            arrays.push(self.column(*ordinal, input, batch)?);
        }
        let mut rows = self.common.batch(&self.columns, arrays, batch.num_rows())?;
        let mut beside = match &self.beside {
            Some((places, _)) => Some(batch.project(places).map_err(told)?),
            None => None,
        };
        if let Some(distinct) = &mut self.distinct
            && let Some(kept) = distinct.kept(&rows)?
        {
            rows = filter_record_batch(&rows, &kept).map_err(told)?;
            beside = beside.map(|beside| filter_record_batch(&beside, &kept)).transpose().map_err(told)?;
        }
        if let (Some((_, keeper)), Some(beside)) = (&self.beside, beside) {
            keeper.keep(&self.form.keys_after(&rows)?, beside)?;
        }
        let edits = self.common.pieces(&self.form.edit(&self.common, rows));
        self.made += edits.len();
        if self.made > 1 {
            check_given(!self.lacks_key)?;
            if let Some(distinct) = &self.distinct {
                distinct.check_exact()?;
            }
        }
        Ok(edits)
    }

    fn column(&self, ordinal: usize, input: &Input, batch: &RecordBatch) -> Result<ArrayRef, Diagnosis> {
        match input {
            Input::Constant(value) => {
                let first = UInt32Array::from(vec![0; batch.num_rows()]);
                take(value, &first, None).map_err(told)
            }
            Input::Output(place, from) => {
                let array = batch.columns().get(*place);
                let array = array.ok_or_else(|| Diagnosis::new(sqlstate::INTERNAL_ERROR, "rows to be written lack a column"))?;
                let to = Typed::of_field(&self.common.target.at(ordinal)?.field);
                assign_array(array, from, &to, &self.common.session).map_err(|error| diagnose(&error))
            }
        }
    }
}
