//! Reads in a transaction: to their end before the first row is given.

use std::collections::VecDeque;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use futures::StreamExt;
use mongodb::bson::raw::RawDocumentBuf;
use mongodb::raw_batch_cursor::RawBatch;
use mongodb::{ClientSession, Collection};

use super::super::fragment::Pipeline;
use super::super::pool::Pool;
use super::{Decoder, Query, Watched, says_nothing, still_there};
use crate::error::sqlstate;
use crate::stores::StoreError;
use crate::stores::connector::{BatchStream, GATHER_BYTES_MAX, Scan, ScanLimits};
use crate::stores::document::OnMismatch;
use crate::stores::schema::Table;

/// All answers to a query of a transaction. They are read to their end at once: what is written later must not show in them, and a
/// reader that goes away must not take the connection of the transaction with it.
pub(in super::super) struct Gathered(Vec<RawBatch>);

/// Runs a query in a session's transaction.
///
/// # Errors
/// What the server answered; more than [`GATHER_BYTES_MAX`] is 53200.
pub(in super::super) async fn gather(
    pool: &Pool,
    collection: &Collection<RawDocumentBuf>,
    query: Query,
    limits: ScanLimits,
    watched: &Watched,
    session: &mut ClientSession,
) -> Result<Gathered, StoreError> {
    let opening = query.bounded(pool, limits).within(collection, &mut *session);
    let mut cursor = pool.within("the first rows", opening).await?;
    let (mut batches, mut bytes, mut empty) = (Vec::new(), 0_usize, true);
    loop {
        let next = pool.within("rows", async { cursor.stream(&mut *session).next().await.transpose() }).await?;
        let Some(batch) = next else { break };
        empty = empty && batch.doc_slices().is_ok_and(|documents| says_nothing(documents, watched.always_rows));
        bytes += batch.doc_slices().map_or(0, |documents| documents.as_bytes().len());
        if bytes > GATHER_BYTES_MAX {
            let message = "too many rows are read from a store that the transaction writes";
            return Err(StoreError::remote(&pool.context.store, sqlstate::OUT_OF_MEMORY, message.to_owned()));
        }
        batches.push(batch);
    }
    if empty {
        still_there(pool, &watched.tables).await?;
    }
    Ok(Gathered(batches))
}

/// Turns gathered answers into Arrow batches.
pub(in super::super) fn stream_gathered(
    pool: &Arc<Pool>,
    gathered: Gathered,
    table: &Arc<Table>,
    scan: &Scan,
    limits: ScanLimits,
    on_mismatch: OnMismatch,
) -> BatchStream {
    let decoder = Decoder::of_scan(pool, table, scan, limits, on_mismatch);
    handed_over(gathered, decoder)
}

/// The same of a pipeline.
pub(in super::super) fn stream_gathered_pipeline(
    pool: &Arc<Pool>,
    gathered: Gathered,
    pipeline: Pipeline,
    schema: &SchemaRef,
    limits: ScanLimits,
) -> BatchStream {
    let decoder = Decoder::of_pipeline(pool, pipeline, schema, limits);
    handed_over(gathered, decoder)
}

fn handed_over(gathered: Gathered, mut decoder: Decoder) -> BatchStream {
    let batches = futures::stream::iter(gathered.0).map(move |batch| -> Result<VecDeque<RecordBatch>, StoreError> {
        let mut ready = VecDeque::new();
        decoder.decode(&batch, &mut ready)?;
        while let Some(counted) = decoder.counted()? {
            ready.push_back(counted);
        }
        Ok(ready)
    });
    batches.flat_map(|ready| futures::stream::iter(each(ready))).boxed()
}

/// The batches one by one, or the error in their place.
fn each(ready: Result<VecDeque<RecordBatch>, StoreError>) -> Vec<Result<RecordBatch, StoreError>> {
    match ready {
        Ok(batches) => batches.into_iter().map(Ok).collect(),
        Err(error) => vec![Err(error)],
    }
}
