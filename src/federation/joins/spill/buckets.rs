//! Rows on disk, apart by the hash of their keys: rows that can match are in buckets of the same number.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, UInt32Array};
use arrow::compute::{concat_batches, take_record_batch};
use arrow::datatypes::SchemaRef;
use datafusion::common::hash_utils::{RandomState, create_hashes};
use datafusion::error::Result;
use datafusion::execution::{SendableRecordBatchStream, SpillFile};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::spill::SpillManager;
use futures::StreamExt;

/// Buckets of one level.
pub(super) const BUCKETS: usize = 16;
/// Rows wait until a bucket has so many bytes, so that files are few and long.
const BUCKET_BYTES: usize = 256 << 10;

/// The rows of one bucket, as files in order.
pub(super) type Files = Vec<Arc<dyn SpillFile>>;

/// Takes rows and puts them into buckets.
pub(super) struct Buckets {
    manager: SpillManager,
    keys: Vec<Arc<dyn PhysicalExpr>>,
    seed: RandomState,
    waiting: Vec<Vec<RecordBatch>>,
    bytes: Vec<usize>,
    files: Vec<Files>,
}

impl Buckets {
    /// Empty buckets over the hash of `keys`. Every level has a hash of its own, or a bucket could not be divided further.
    pub(super) fn new(manager: SpillManager, keys: Vec<Arc<dyn PhysicalExpr>>, level: usize) -> Self {
        Self {
            manager,
            keys,
            seed: RandomState::with_seed(0x5b_1ade ^ (level as u64)),
            waiting: vec![Vec::new(); BUCKETS],
            bytes: vec![0; BUCKETS],
            files: (0..BUCKETS).map(|_| Vec::new()).collect(),
        }
    }

    /// Puts the rows of a batch where they belong.
    ///
    /// # Errors
    /// What the keys or the disk fail with.
    pub(super) fn push(&mut self, batch: &RecordBatch) -> Result<()> {
        let keys = self.keys.iter().map(|key| key.evaluate(batch)?.into_array(batch.num_rows()));
        let keys = keys.collect::<Result<Vec<ArrayRef>>>()?;
        let mut hashes = vec![0; batch.num_rows()];
        create_hashes(&keys, &self.seed, &mut hashes)?;
        let mut rows: Vec<Vec<u32>> = vec![Vec::new(); BUCKETS];
        for (row, hash) in hashes.iter().enumerate() {
            // The engine's own tables use the low bits of other hashes; any bits of this one will do.
            let bucket = usize::try_from(hash >> 32).unwrap_or(0) % BUCKETS;
            if let (Some(rows), Ok(row)) = (rows.get_mut(bucket), u32::try_from(row)) {
                rows.push(row);
            }
        }
        for (bucket, rows) in rows.into_iter().enumerate().filter(|(_, rows)| !rows.is_empty()) {
            let part = take_record_batch(batch, &UInt32Array::from(rows))?;
            self.put(bucket, part)?;
        }
        Ok(())
    }

    fn put(&mut self, bucket: usize, part: RecordBatch) -> Result<()> {
        let (Some(waiting), Some(bytes)) = (self.waiting.get_mut(bucket), self.bytes.get_mut(bucket)) else { return Ok(()) };
        *bytes += part.get_array_memory_size();
        waiting.push(part);
        if *bytes >= BUCKET_BYTES { self.write(bucket) } else { Ok(()) }
    }

    fn write(&mut self, bucket: usize) -> Result<()> {
        let (Some(waiting), Some(bytes)) = (self.waiting.get_mut(bucket), self.bytes.get_mut(bucket)) else { return Ok(()) };
        let parts = std::mem::take(waiting);
        *bytes = 0;
        if parts.is_empty() {
            return Ok(());
        }
        let whole = concat_batches(self.manager.schema(), &parts)?;
        let file = self.manager.spill_record_batch_and_finish(&[whole], "a join of two stores")?;
        if let (Some(files), Some(file)) = (self.files.get_mut(bucket), file) {
            files.push(file);
        }
        Ok(())
    }

    /// All rows of a stream.
    ///
    /// # Errors
    /// As [`Buckets::push`], and what the stream fails with.
    pub(super) async fn fill(&mut self, mut stream: SendableRecordBatchStream) -> Result<()> {
        while let Some(batch) = stream.next().await {
            self.push(&batch?)?;
        }
        Ok(())
    }

    /// Writes what still waits, and gives the files of each bucket.
    ///
    /// # Errors
    /// What the disk fails with.
    pub(super) fn finish(mut self) -> Result<Vec<Files>> {
        for bucket in 0..BUCKETS {
            self.write(bucket)?;
        }
        Ok(self.files)
    }
}

/// A manager of spill files for rows of a schema.
pub(super) fn manager(
    context: &datafusion::execution::TaskContext,
    metrics: &datafusion::physical_plan::metrics::SpillMetrics,
    schema: SchemaRef,
) -> SpillManager {
    SpillManager::new(context.runtime_env(), metrics.clone(), schema)
}
