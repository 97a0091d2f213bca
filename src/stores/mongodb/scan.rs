//! Reads a collection into Arrow: the find command, raw batches fetched one ahead, documents walked once.
//!
//! ```text
//! task: cursor → raw batch → channel of one (a full one makes the cursor wait)
//! stream: raw batch → DocumentBuilder → Arrow batches
//! ```
//! Dropping the stream ends the task and with it the cursor: a getMore in flight loses its connection, which makes the
//! server stop it, and the driver sends killCursors on another one.

mod gathered;

use std::collections::VecDeque;
use std::sync::Arc;

use arrow::array::{Array, RecordBatch, RecordBatchOptions};
use arrow::datatypes::{Schema, SchemaRef};
use futures::StreamExt;
use mongodb::bson::raw::{RawArray, RawBsonRef, RawDocumentBuf};
use mongodb::bson::{Bson, Document, doc};
use mongodb::options::{AggregateOptions, Collation, FindOptions, Hint};
use mongodb::raw_batch_cursor::{RawBatch, RawBatchCursor, SessionRawBatchCursor};
use mongodb::{ClientSession, Collection};
use tokio::sync::mpsc;

pub(super) use gathered::{Gathered, gather, stream_gathered, stream_gathered_pipeline};

use super::columns::ID;
use super::fragment::{Output, Pipeline, carried};
use super::pool::Pool;
use super::pushdown::{Mismatch, addressable, filter_document};
use super::raw::{self, BsonFields};
use crate::error::sqlstate;
use crate::stores::StoreError;
use crate::stores::connector::{BatchStream, Scan, ScanLimits};
use crate::stores::document::build::Conversion;
use crate::stores::document::schema::{DOCUMENT_COLUMN, type_of_field};
use crate::stores::document::value::Mismatch as Misfit;
use crate::stores::document::{DocumentBuilder, DocumentField, OnMismatch};
use crate::stores::schema::{Table, TableId, TableKind};

/// What is sent to the server for one scan.
#[derive(Debug, Clone)]
pub(super) enum Query {
    /// Documents with the fields that the scan needs.
    Find(Document, Box<FindOptions>),
    /// What a pipeline makes of the documents: how many there are, for scans without columns, or a part of a plan.
    Pipeline(Vec<Document>, Box<AggregateOptions>),
}

impl Query {
    /// The query of a scan.
    pub(super) fn of(table: &Table, scan: &Scan, on_mismatch: OnMismatch) -> Self {
        let filter = filter_document(table, Mismatch::of(on_mismatch), &scan.filter);
        let limit = scan.limit.and_then(|limit| i64::try_from(limit).ok());
        // A view has its own collation, which the server does not let us override.
        let collation = (table.kind != TableKind::View).then(|| Collation::builder().locale("simple").build());
        if scan.columns.is_empty() {
            let mut stages = vec![doc! { "$match": filter }];
            stages.extend(limit.map(|limit| doc! { "$limit": limit }));
            stages.push(doc! { "$count": "n" });
            let mut options = AggregateOptions::default();
            options.collation = collation;
            return Self::Pipeline(stages, Box::new(options));
        }
        let mut options = FindOptions::default();
        options.projection = projection(table, &scan.columns);
        options.collation = collation;
        options.limit = limit;
        Self::Find(filter, Box::new(options))
    }

    /// The query of a part of a plan.
    pub(super) fn of_pipeline(pipeline: &Pipeline) -> Self {
        let mut options = AggregateOptions::default();
        options.collation = pipeline.collation.then(|| Collation::builder().locale("simple").build());
        // Sorts and groups that outgrow the server's memory go to its disk.
        options.allow_disk_use = Some(true);
        Self::Pipeline(pipeline.stages.clone(), Box::new(options))
    }

    /// The query of a part of the documents, by `_id`: from the first to before the end. The bounds are those of the index over `_id`, in
    /// which the keys of all types have their place; a condition would be met by keys of its own type only. Pipelines have no such bounds.
    pub(super) fn within_keys(mut self, first: Option<Bson>, end: Option<Bson>) -> Self {
        if let Self::Find(_, options) = &mut self {
            options.hint = Some(Hint::Keys(doc! { "_id": 1 }));
            options.min = first.map(|first| doc! { "_id": first });
            options.max = end.map(|end| doc! { "_id": end });
        }
        self
    }

    /// The query of other documents.
    pub(super) fn with_filter(mut self, chosen: Document) -> Self {
        match &mut self {
            Self::Find(filter, _) => *filter = chosen,
            Self::Pipeline(stages, _) => stages.insert(0, doc! { "$match": chosen }),
        }
        self
    }

    /// The query with its bounds: rows of one reply, time in the server.
    fn bounded(mut self, pool: &Pool, limits: ScanLimits) -> Self {
        match &mut self {
            Self::Find(_, options) => {
                options.batch_size = u32::try_from(limits.batch_rows).ok();
                options.max_time = Some(pool.query_timeout());
            }
            Self::Pipeline(_, options) => {
                options.batch_size = u32::try_from(limits.batch_rows).ok();
                options.max_time = Some(pool.query_timeout());
            }
        }
        self
    }

    async fn alone(self, collection: &Collection<RawDocumentBuf>) -> mongodb::error::Result<RawBatchCursor> {
        match self {
            Self::Find(filter, options) => collection.find(filter).with_options(*options).batch().await,
            Self::Pipeline(stages, options) => collection.aggregate(stages).with_options(*options).batch().await,
        }
    }

    async fn within(
        self,
        collection: &Collection<RawDocumentBuf>,
        session: &mut ClientSession,
    ) -> mongodb::error::Result<SessionRawBatchCursor> {
        match self {
            Self::Find(filter, options) => collection.find(filter).with_options(*options).session(session).batch().await,
            Self::Pipeline(stages, options) => collection.aggregate(stages).with_options(*options).session(session).batch().await,
        }
    }
}

/// The top-level fields that the columns need; `None` when one of them cannot be named, or is the document itself.
fn projection(table: &Table, ordinals: &[usize]) -> Option<Document> {
    let mut projection = Document::new();
    for ordinal in ordinals {
        let name = table.columns.get(*ordinal)?.name();
        if name == DOCUMENT_COLUMN {
            return None;
        }
        projection.insert(addressable(name).ok()?, 1);
    }
    if !projection.contains_key(ID) {
        projection.insert(ID, 0);
    }
    Some(projection)
}

/// Which session a scan reads in.
pub(super) enum Session {
    /// None: the newest state, batch by batch.
    Alone,
    /// One of its own, at a snapshot.
    Own(Box<ClientSession>),
}

enum Documents {
    Alone(RawBatchCursor),
    Own(SessionRawBatchCursor, Box<ClientSession>),
}

impl Documents {
    async fn open(query: Query, collection: &Collection<RawDocumentBuf>, session: Session) -> mongodb::error::Result<Self> {
        Ok(match session {
            Session::Alone => Self::Alone(query.alone(collection).await?),
            Session::Own(mut session) => Self::Own(query.within(collection, &mut session).await?, session),
        })
    }

    async fn next(&mut self) -> mongodb::error::Result<Option<RawBatch>> {
        match self {
            Self::Alone(cursor) => cursor.next().await.transpose(),
            Self::Own(cursor, session) => cursor.stream(session).next().await.transpose(),
        }
    }
}

/// An opened scan, whose first answer has come.
pub(super) struct Opened(Documents);

/// Sends the query. The driver's own error is kept, because the caller decides what it means for the snapshot.
pub(super) async fn open(
    pool: &Pool,
    collection: &Collection<RawDocumentBuf>,
    query: Query,
    limits: ScanLimits,
    session: Session,
) -> Result<mongodb::error::Result<Opened>, StoreError> {
    let opening = Documents::open(query.bounded(pool, limits), collection, session);
    match tokio::time::timeout(pool.patience(), opening).await {
        Ok(opened) => Ok(opened.map(Opened)),
        Err(_) => Err(pool.context.deadline("the first rows")),
    }
}

/// What the fetching task hands over. The end is said, so that a task that died is not taken for the end of the rows.
enum Fetched {
    Batch(RawBatch),
    End,
}

/// Turns an opened scan into Arrow batches.
pub(super) fn stream(
    pool: Arc<Pool>,
    opened: Opened,
    table: &Arc<Table>,
    scan: &Scan,
    limits: ScanLimits,
    on_mismatch: OnMismatch,
) -> Result<BatchStream, StoreError> {
    let decoder = Decoder::of_scan(&pool, table, scan, limits, on_mismatch);
    Ok(batches(pool, opened, decoder, Watched::of(&table.id)))
}

/// Turns the answer of a pipeline into Arrow batches of `schema`.
pub(super) fn stream_pipeline(
    pool: Arc<Pool>,
    opened: Opened,
    pipeline: Pipeline,
    schema: &SchemaRef,
    limits: ScanLimits,
) -> BatchStream {
    let watched = Watched::of_pipeline(&pipeline);
    let decoder = Decoder::of_pipeline(&pool, pipeline, schema, limits);
    batches(pool, opened, decoder, watched)
}

/// The collections that must still be there when they seem to be empty.
#[derive(Default)]
pub(super) struct Watched {
    tables: Vec<TableId>,
    /// Whether a row of nothing but zeros and NULLs is what an empty collection gives.
    always_rows: bool,
}

impl Watched {
    /// Those of a scan of one.
    pub(super) fn of(table: &TableId) -> Self {
        Self { tables: vec![table.clone()], always_rows: false }
    }

    /// Those of a part of a plan.
    pub(super) fn of_pipeline(pipeline: &Pipeline) -> Self {
        Self { tables: pipeline.tables.clone(), always_rows: pipeline.always_rows }
    }
}

fn batches(pool: Arc<Pool>, opened: Opened, decoder: Decoder, watched: Watched) -> BatchStream {
    // A full channel makes the cursor wait: one batch is being used, one is ready.
    let (sender, receiver) = mpsc::channel(1);
    let task = crate::task::OwnedTask::spawn(fetch(pool.clone(), opened.0, watched, sender));
    let reading = Reading { pool, decoder, receiver, ready: VecDeque::new(), _task: task };
    let batches = futures::stream::unfold(Some(reading), |reading| async move {
        let mut reading = reading?;
        match reading.next().await {
            Ok(Some(batch)) => Some((Ok(batch), Some(reading))),
            Ok(None) => None,
            Err(error) => Some((Err(error), None)),
        }
    });
    batches.boxed()
}

async fn fetch(pool: Arc<Pool>, mut documents: Documents, watched: Watched, sender: mpsc::Sender<Result<Fetched, StoreError>>) {
    let mut empty = true;
    // The place is taken before the batch is fetched, so that no more than one waits.
    while let Ok(place) = sender.reserve().await {
        let next = pool.within("rows", documents.next()).await;
        let fetched = match next {
            Ok(Some(batch)) => {
                empty = empty && batch.doc_slices().is_ok_and(|documents| says_nothing(documents, watched.always_rows));
                Ok(Fetched::Batch(batch))
            }
            Ok(None) if empty => still_there(&pool, &watched.tables).await.map(|()| Fetched::End),
            Ok(None) => Ok(Fetched::End),
            Err(error) => Err(error),
        };
        let last = !matches!(fetched, Ok(Fetched::Batch(_)));
        place.send(fetched);
        if last {
            return;
        }
    }
}

/// Whether a batch is what an empty collection gives: no documents, or, of a pipeline that always has rows, only zeros.
fn says_nothing(documents: &RawArray, always_rows: bool) -> bool {
    if !always_rows {
        return documents.is_empty();
    }
    let nothing = |value: RawBsonRef<'_>| match value {
        RawBsonRef::Null => true,
        value => count_of(value) == Some(0),
    };
    raw::documents(documents)
        .all(|document| document.is_ok_and(|document| document.iter().all(|field| field.is_ok_and(|(_, value)| nothing(value)))))
}

/// A dropped collection answers like an empty one.
pub(super) async fn still_there(pool: &Pool, tables: &[TableId]) -> Result<(), StoreError> {
    for table in tables {
        if !super::schema::exists(pool, table).await? {
            return Err(StoreError::SchemaChanged {
                store: pool.context.store.clone(),
                table: table.name.clone(),
                difference: "The collection does not exist any more.".to_owned(),
            });
        }
    }
    Ok(())
}

struct Reading {
    pool: Arc<Pool>,
    decoder: Decoder,
    receiver: mpsc::Receiver<Result<Fetched, StoreError>>,
    ready: VecDeque<RecordBatch>,
    /// Fetches until it is dropped.
    _task: crate::task::OwnedTask<()>,
}

impl Reading {
    async fn next(&mut self) -> Result<Option<RecordBatch>, StoreError> {
        loop {
            if let Some(batch) = self.ready.pop_front() {
                return Ok(Some(batch));
            }
            if let Some(batch) = self.decoder.counted()? {
                return Ok(Some(batch));
            }
            match self.receiver.recv().await {
                Some(Ok(Fetched::Batch(batch))) => self.decoder.decode(&batch, &mut self.ready)?,
                Some(Ok(Fetched::End)) => return Ok(None),
                Some(Err(error)) => return Err(error),
                None => return Err(self.pool.context.malformed()),
            }
        }
    }
}

/// Turns raw batches into Arrow batches of the columns that were asked for.
struct Decoder {
    pool: Arc<Pool>,
    /// The collection, for errors.
    table: String,
    limits: ScanLimits,
    schema: SchemaRef,
    form: DecoderForm,
    /// The collection and column of each field of a pipeline, for errors; none for scans, whose fields are columns.
    origins: Vec<Option<(String, String)>>,
    /// Rows of a count that have not been given yet.
    left: usize,
}

enum DecoderForm {
    /// Fields into a builder; `order` tells which built array goes where.
    Rows { builder: Box<DocumentBuilder>, order: Vec<usize> },
    /// The answer of `$count`.
    Count,
}

impl Decoder {
    fn of_scan(pool: &Arc<Pool>, table: &Arc<Table>, scan: &Scan, limits: ScanLimits, on_mismatch: OnMismatch) -> Self {
        let schema = table.project(&scan.columns);
        let form = if scan.columns.is_empty() { DecoderForm::Count } else { rows(&schema, on_mismatch) };
        Self { pool: pool.clone(), table: table.id.name.clone(), limits, schema, form, origins: Vec::new(), left: 0 }
    }

    fn of_pipeline(pool: &Arc<Pool>, pipeline: Pipeline, schema: &SchemaRef, limits: ScanLimits) -> Self {
        let Output { fields, on_mismatch, origins } = pipeline.output;
        let builder = DocumentBuilder::new(&fields, false, Conversion { on_mismatch, texts: false });
        let form = DecoderForm::Rows { builder: Box::new(builder), order: (0..fields.len()).collect() };
        Self { pool: pool.clone(), table: pipeline.table.name, limits, schema: schema.clone(), form, origins, left: 0 }
    }

    fn decode(&mut self, batch: &RawBatch, ready: &mut VecDeque<RecordBatch>) -> Result<(), StoreError> {
        let documents = batch.doc_slices().map_err(|error| self.pool.context.translate(&error))?;
        for document in raw::documents(documents) {
            let Ok(document) = document else { return Err(self.pool.context.malformed()) };
            let DecoderForm::Rows { builder, .. } = &mut self.form else {
                let counted = document.get("n").ok().flatten().and_then(count_of);
                let counted = counted.ok_or_else(|| self.pool.context.malformed())?;
                self.left = usize::try_from(counted).unwrap_or(usize::MAX);
                return Ok(());
            };
            let appended = builder.append(&BsonFields(document));
            let full = builder.rows() >= self.limits.batch_rows || builder.bytes() >= self.limits.batch_bytes;
            appended.map_err(|misfit| self.misfit(&misfit))?;
            if full {
                ready.push_back(self.finish()?);
            }
        }
        if matches!(&self.form, DecoderForm::Rows { builder, .. } if builder.rows() > 0) {
            ready.push_back(self.finish()?);
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<RecordBatch, StoreError> {
        let DecoderForm::Rows { builder, order } = &mut self.form else { return Err(self.pool.context.malformed()) };
        let rows = builder.rows();
        let built = builder.finish().map_err(|error| too_large(&self.pool, &self.table, &error))?;
        let placed = order.iter().filter_map(|place| built.get(*place)).zip(self.schema.fields());
        let arrays: Result<Vec<_>, _> = placed.map(|(array, field)| carried(array, field.data_type())).collect();
        let arrays = arrays.map_err(|error| out_of_range(&self.pool, &error))?;
        let broken = self.schema.fields().iter().zip(&arrays).find(|(field, array)| !field.is_nullable() && array.null_count() > 0);
        if let Some((field, _)) = broken {
            let rule = "has another type than the collection's key; declare it as mixed".to_owned();
            let misfit = Misfit::new(sqlstate::INVALID_TEXT_REPRESENTATION, rule).inside(field.name());
            return Err(self.misfit(&misfit));
        }
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        RecordBatch::try_new_with_options(self.schema.clone(), arrays, &options)
            .map_err(|error| too_large(&self.pool, &self.table, &error))
    }

    /// The next batch of counted rows, which hold nothing but a number; `None` when all have been given.
    fn counted(&mut self) -> Result<Option<RecordBatch>, StoreError> {
        let rows = self.left.min(self.limits.batch_rows.max(1));
        if rows == 0 {
            return Ok(None);
        }
        self.left -= rows;
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let batch = RecordBatch::try_new_with_options(Arc::new(Schema::empty()), Vec::new(), &options);
        batch.map(Some).map_err(|error| too_large(&self.pool, &self.table, &error))
    }

    fn misfit(&self, misfit: &Misfit) -> StoreError {
        let (field, below) =
            misfit.path.split_once('.').map_or((misfit.path.as_str(), None), |(field, below)| (field, Some(below)));
        let place = field.strip_prefix('c').and_then(|place| place.parse::<usize>().ok());
        let origin = place.and_then(|place| self.origins.get(place)).and_then(Option::as_ref);
        let (table, column) = match (origin, below) {
            (Some((table, column)), Some(below)) => (table.clone(), format!("{column}.{below}")),
            (Some((table, column)), None) => (table.clone(), column.clone()),
            (None, _) if misfit.path.is_empty() => (self.table.clone(), DOCUMENT_COLUMN.to_owned()),
            (None, _) => (self.table.clone(), misfit.path.clone()),
        };
        StoreError::Value {
            store: self.pool.context.store.clone(),
            table,
            column,
            sqlstate: misfit.sqlstate,
            rule: misfit.rule.clone(),
        }
    }
}

fn rows(schema: &Schema, on_mismatch: OnMismatch) -> DecoderForm {
    let mut fields: Vec<DocumentField> = Vec::with_capacity(schema.fields().len());
    let mut order = Vec::with_capacity(schema.fields().len());
    let with_document = schema.fields().iter().any(|field| field.name() == DOCUMENT_COLUMN);
    let last = schema.fields().len() - usize::from(with_document);
    for field in schema.fields() {
        match type_of_field(field) {
            _ if field.name() == DOCUMENT_COLUMN => order.push(last),
            Some(kind) => {
                order.push(fields.len());
                fields.push(DocumentField { name: field.name().clone(), kind });
            }
            // Discovery makes no other fields.
            None => order.push(usize::MAX),
        }
    }
    let conversion = Conversion { on_mismatch, texts: false };
    DecoderForm::Rows { builder: Box::new(DocumentBuilder::new(&fields, with_document, conversion)), order }
}

fn count_of(value: RawBsonRef<'_>) -> Option<u64> {
    match value {
        RawBsonRef::Int32(number) => u64::try_from(number).ok(),
        RawBsonRef::Int64(number) => u64::try_from(number).ok(),
        _ => None,
    }
}

fn too_large(pool: &Pool, table: &str, error: &arrow::error::ArrowError) -> StoreError {
    tracing::debug!(%error, "a batch could not be built");
    StoreError::Value {
        store: pool.context.store.clone(),
        table: table.to_owned(),
        column: "*".to_owned(),
        sqlstate: sqlstate::PROGRAM_LIMIT_EXCEEDED,
        rule: "does not fit one batch".to_owned(),
    }
}

/// A computed value that the carrier of its column cannot hold.
fn out_of_range(pool: &Pool, error: &arrow::error::ArrowError) -> StoreError {
    tracing::debug!(%error, "a computed value does not fit its column");
    StoreError::Remote {
        store: pool.context.store.clone(),
        sqlstate: sqlstate::NUMERIC_VALUE_OUT_OF_RANGE.to_owned(),
        message: "value out of range".to_owned(),
        detail: None,
        constraint: None,
        site: None,
    }
}

/// The command that the scan sends, as relaxed extended JSON with `?` for values, and the values.
pub(super) fn describe(table: &Table, scan: &Scan, on_mismatch: OnMismatch) -> (String, String) {
    let shown = |collation: &Option<Collation>| collation.as_ref().map(|_| doc! { "locale": "simple" });
    let (mut command, mut values) = (Document::new(), Vec::new());
    match Query::of(table, scan, on_mismatch) {
        Query::Find(filter, options) => {
            super::pushdown::values_of(&filter, &mut values);
            command.insert("find", &table.id.name);
            command.insert("filter", super::pushdown::without_values(&filter));
            options.projection.map(|projection| command.insert("projection", projection));
            options.limit.map(|limit| command.insert("limit", limit));
            shown(&options.collation).map(|collation| command.insert("collation", collation));
        }
        Query::Pipeline(mut stages, options) => {
            command.insert("aggregate", &table.id.name);
            for stage in &mut stages {
                if let Ok(filter) = stage.get_document("$match") {
                    super::pushdown::values_of(filter, &mut values);
                    *stage = doc! { "$match": super::pushdown::without_values(filter) };
                }
            }
            command.insert("pipeline", stages);
            shown(&options.collation).map(|collation| command.insert("collation", collation));
        }
    }
    (super::types::relaxed_json(&command), shown_values(values))
}

/// The most letters of the values that are shown: lists of keys may be megabytes.
const SHOWN_MAX: usize = 500;

/// Values as they are shown behind their command.
fn shown_values(values: Vec<Bson>) -> String {
    if values.is_empty() {
        return String::new();
    }
    let text = super::types::relaxed_json(&doc! { "parameters": values });
    match text.char_indices().nth(SHOWN_MAX).and_then(|(end, _)| text.get(..end)) {
        Some(start) => format!(" {start}…"),
        None => format!(" {text}"),
    }
}
