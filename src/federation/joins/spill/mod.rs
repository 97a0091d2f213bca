//! A hash join whose first side may be larger than the memory that is left.
//!
//! ```text
//! read the first side ─ it fits → the engine's own hash join over it
//!                      └ it does not → both sides on disk, apart by the hash of their keys → bucket by bucket the same join again
//! ```
//!
//! **Invariants:** rows that can match are in buckets of the same number, so that the joins of all buckets together are the join, of every
//! kind but one (an anti join that NULLs may empty looks at all rows at once, and stays with the engine, as do joins of recursive terms). What the engine's join tells of its keys
//! (`dynamic.rs`) it tells in either case: a partition that goes to disk ends its part of the engine's join first, so that no other waits for it.
//! So does one that nobody asks for rows: a join above reads no second side where its own first side is empty. Where rows of a partition
//! are to stay in it, they do so from disk too.

mod buckets;
mod leaves;
mod unopened;

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::RecordBatch;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::utils::memory::RecordBatchMemoryCounter;
use datafusion::common::{JoinType, Statistics};
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryLimit, MemoryReservation};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::DynamicFilterPhysicalExpr;
use datafusion::physical_plan::execution_plan::{ChildrenPropertiesMode, PlanProperties, ReplaceChildrenOptions};
use datafusion::physical_plan::joins::{HashJoinExec, PartitionMode};
use datafusion::physical_plan::metrics::{ExecutionPlanMetricsSet, MetricsSet, SpillMetrics};
use datafusion::physical_plan::statistics::StatisticsArgs;
use datafusion::physical_plan::stream::{EmptyRecordBatchStream, RecordBatchStreamAdapter};
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties, Partitioning};
use futures::future::{BoxFuture, Shared};
use futures::{FutureExt, StreamExt, TryStreamExt};

use self::buckets::{Buckets, Files, manager};
use self::leaves::{Bucket, Gate, Given, Passage};
use self::unopened::Unopened;
use super::dynamic::{address, repeated};

/// How often a bucket is divided again. Rows of one key stay together however often that is: what does not fit then is refused.
const LEVELS_MAX: usize = 4;
/// Bytes that the engine's table takes for a row besides the row itself.
const ROW_BYTES: usize = 24;
/// One first side may take this part of the pool, and all operators together that part, before it goes to disk: others need some too.
const OWN_PART: usize = 2;
const ALL_PARTS: (usize, usize) = (7, 10);

/// A hash join that goes to disk when its first side does not fit into memory.
pub struct SpillingJoinExec {
    /// What is joined, and how.
    join: Arc<HashJoinExec>,
    /// The same join over what was read, which tells of its keys.
    inner: Arc<HashJoinExec>,
    given: Arc<Given>,
    gate: Arc<Gate>,
    /// How often the rows were divided already.
    level: usize,
    /// Where all partitions of the second side meet one first side, it is read once.
    common: Arc<Mutex<Option<Common>>>,
    metrics: ExecutionPlanMetricsSet,
}

type Common = Shared<BoxFuture<'static, std::result::Result<Arc<Mutex<Option<Gathered>>>, Arc<DataFusionError>>>>;

/// The first side.
enum Gathered {
    Fits(Vec<RecordBatch>),
    OnDisk(Vec<Files>),
}

/// Puts every hash join of a finished plan behind memory that may run out, but those of recursive terms: these run again and again, and
/// each time the engine makes its own joins new, whose first sides change.
///
/// # Errors
/// What building the new nodes fails with.
pub fn bound(plan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    let repeated = repeated(&plan);
    let bounded = plan.transform_up(|node| {
        if repeated.contains(&address(&node)) {
            return Ok(Transformed::no(node));
        }
        let Some(join) = (node.as_ref() as &dyn std::any::Any).downcast_ref::<HashJoinExec>() else {
            return Ok(Transformed::no(node));
        };
        // One that NULLs may empty is no join of buckets, and buckets come in no order. Partitions of a common first side wait for those
        // that nobody asks for in the engine's own join (`Gate::new`); those of others do not.
        let is_ordered = join.properties().output_ordering().is_some();
        if join.null_aware || is_ordered && *join.partition_mode() != PartitionMode::CollectLeft {
            return Ok(Transformed::no(node));
        }
        let level = if is_ordered { LEVELS_MAX } else { 0 };
        Ok(Transformed::yes(Arc::new(SpillingJoinExec::new(join, level)?) as Arc<dyn ExecutionPlan>))
    })?;
    Ok(bounded.data)
}

impl SpillingJoinExec {
    fn new(join: &HashJoinExec, level: usize) -> Result<Self> {
        let given = Arc::new(Given::new(join.left()));
        let is_common = *join.partition_mode() == PartitionMode::CollectLeft;
        let passage = if is_common && !has_places(join) { Passage::Asked } else { Passage::Handed };
        let gate = Arc::new(Gate::new(Arc::clone(join.right()), passage, is_common && is_by_second(join)));
        let children: Vec<Arc<dyn ExecutionPlan>> = vec![Arc::<Given>::clone(&given), Arc::<Gate>::clone(&gate)];
        let inner = Arc::new(join.builder().with_new_children(children)?.recompute_properties().build()?);
        let same = vec![Arc::clone(join.left()), Arc::clone(join.right())];
        let join = Arc::new(join.builder().with_new_children(same)?.build()?);
        let (common, metrics) = (Arc::default(), ExecutionPlanMetricsSet::new());
        Ok(Self { join, inner, given, gate, level, common, metrics })
    }

    fn is_common(&self) -> bool {
        *self.join.partition_mode() == PartitionMode::CollectLeft
    }

    fn keys(&self, of_first: bool) -> Vec<Arc<dyn PhysicalExpr>> {
        self.join.on().iter().map(|(first, second)| Arc::clone(if of_first { first } else { second })).collect()
    }

    /// Reads the first side, into memory or onto the disk.
    fn gather(&self, partition: usize, context: &Arc<TaskContext>) -> Result<BoxFuture<'static, Result<Gathered>>> {
        let mut stream = self.join.left().execute(partition, Arc::clone(context))?;
        let reservation = MemoryConsumer::new(format!("SpillingJoinInput[{partition}]")).register(context.memory_pool());
        let metrics = SpillMetrics::new(&self.metrics, partition);
        let manager = manager(context, &metrics, self.join.left().schema());
        let (keys, level, context) = (self.keys(true), self.level, Arc::clone(context));
        let work = async move {
            let (mut rows, mut counter) = (Vec::new(), RecordBatchMemoryCounter::new());
            while let Some(batch) = stream.next().await {
                let batch = batch?;
                let is_last = level >= LEVELS_MAX || !context.runtime_env().disk_manager.tmp_files_enabled();
                let fits = if is_last {
                    // There is no way out any more, but what is read still counts.
                    reservation.try_grow(bytes_of(&batch, &mut counter))?;
                    true
                } else {
                    fits(&reservation, bytes_of(&batch, &mut counter), &context)
                };
                rows.push(batch);
                if fits {
                    continue;
                }
                let mut buckets = Buckets::new(manager, keys, level);
                for batch in rows.drain(..) {
                    buckets.push(&batch)?;
                }
                reservation.free();
                buckets.fill(stream).await?;
                return buckets.finish().map(Gathered::OnDisk);
            }
            // The engine's join counts them from here on.
            Ok(Gathered::Fits(rows))
        };
        Ok(work.boxed())
    }

    /// The first side of all partitions.
    fn common(&self, context: &Arc<TaskContext>) -> Result<Common> {
        let mut common = self.common.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = &*common {
            return Ok(known.clone());
        }
        let work = self
            .gather(0, context)?
            .map(|gathered| gathered.map(|gathered| Arc::new(Mutex::new(Some(gathered)))).map_err(Arc::new));
        let shared = work.boxed().shared();
        *common = Some(shared.clone());
        Ok(shared)
    }

    /// One partition of a join whose partitions know nothing of each other.
    async fn apart(unopened: Unopened, second: SendableRecordBatchStream, gathered: Gathered) -> Result<SendableRecordBatchStream> {
        match gathered {
            Gathered::Fits(rows) => unopened.open(rows, second),
            Gathered::OnDisk(first) => {
                let (this, partition, context) = unopened.leave();
                this.from_disk(first, second, partition, context).await
            }
        }
    }

    /// One partition of a join of which all have the same first side. From disk each of them joins its own second side where rows are to
    /// stay in their partitions, which is handed over then; else the first of them joins the second sides of all.
    async fn together(
        self: Arc<Self>,
        common: Common,
        second: Option<SendableRecordBatchStream>,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        let gathered = common.await.map_err(DataFusionError::Shared)?;
        let files = {
            let mut gathered = gathered.lock().unwrap_or_else(PoisonError::into_inner);
            match gathered.take() {
                Some(Gathered::Fits(rows)) => {
                    // The first to come takes the rows; it may be before or after another that they are read.
                    if !rows.is_empty() {
                        self.given.set(0, rows);
                    }
                    *gathered = Some(Gathered::Fits(Vec::new()));
                    None
                }
                Some(Gathered::OnDisk(files)) if second.is_some() => {
                    *gathered = Some(Gathered::OnDisk(files.clone()));
                    Some(files)
                }
                Some(Gathered::OnDisk(files)) if partition == 0 => Some(files),
                other => {
                    // What is left for the first partition stays; another one has nothing to do.
                    *gathered = other;
                    Some(Vec::new())
                }
            }
        };
        let Some(files) = files else {
            if let Some(second) = second {
                self.gate.hand(partition, second);
            }
            return self.inner.execute(partition, context);
        };
        let second = match second {
            Some(second) => second,
            None if partition != 0 => return Ok(Box::pin(EmptyRecordBatchStream::new(self.schema()))),
            None => self.all_second(&context)?,
        };
        // Nobody will tell of these keys.
        for filter in self.join.dynamic_expressions_produced() {
            if let Some(filter) = (filter.as_ref() as &dyn std::any::Any).downcast_ref::<DynamicFilterPhysicalExpr>() {
                filter.mark_complete();
            }
        }
        self.from_disk(files, second, partition, context).await
    }

    /// The second sides of all partitions.
    fn all_second(&self, context: &Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let partitions = self.join.right().output_partitioning().partition_count();
        let second = (0..partitions).map(|partition| self.join.right().execute(partition, Arc::clone(context)));
        let second = futures::stream::select_all(second.collect::<Result<Vec<_>>>()?);
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.join.right().schema(), second)))
    }

    /// Puts the second side onto the disk too, and joins bucket by bucket.
    async fn from_disk(
        self: Arc<Self>,
        first: Vec<Files>,
        second: SendableRecordBatchStream,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        let metrics = SpillMetrics::new(&self.metrics, partition);
        let (left, right) = (self.join.left().schema(), self.join.right().schema());
        let (of_first, of_second) = (manager(&context, &metrics, left), manager(&context, &metrics, right));
        let mut buckets = Buckets::new(of_second.clone(), self.keys(false), self.level);
        buckets.fill(second).await?;
        let pairs: Vec<(Files, Files)> = first.into_iter().zip(buckets.finish()?).collect();
        let schema = self.schema();
        let limit = self.join.fetch().unwrap_or(usize::MAX);
        let joined = futures::stream::iter(pairs).map(move |(first, second)| {
            let first: Arc<dyn ExecutionPlan> = Arc::new(Bucket::new(of_first.clone(), first));
            let second: Arc<dyn ExecutionPlan> = Arc::new(Bucket::new(of_second.clone(), second));
            let part = self.join.builder().with_partition_mode(PartitionMode::CollectLeft).reset_state();
            let part = part.with_new_children(vec![first, second])?.recompute_properties().build()?;
            Arc::new(Self::new(&part, self.level + 1)?).execute(0, Arc::clone(&context))
        });
        let rows = first_rows(joined.try_flatten().boxed(), limit);
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, rows)))
    }
}

/// Whether all that a row of the second side comes to is known where it meets the first side: nothing is left for the last partition.
fn is_by_second(join: &HashJoinExec) -> bool {
    use JoinType::{Inner, Right, RightAnti, RightMark, RightSemi};
    matches!(join.join_type(), Inner | Right | RightAnti | RightMark | RightSemi)
}

/// Whether the rows of a join with a common first side are in its partitions by their values, on which joins above rely. These may also
/// leave a partition out.
fn has_places(join: &HashJoinExec) -> bool {
    use Partitioning::{RoundRobinBatch, UnknownPartitioning};
    is_by_second(join) && !matches!(join.right().output_partitioning(), RoundRobinBatch(_) | UnknownPartitioning(_))
}

/// Ends a stream after so many rows.
fn first_rows(
    stream: futures::stream::BoxStream<'static, Result<RecordBatch>>,
    limit: usize,
) -> impl futures::Stream<Item = Result<RecordBatch>> + Send {
    futures::stream::unfold((stream, limit), |(mut stream, left)| async move {
        if left == 0 {
            return None;
        }
        match stream.next().await? {
            Ok(batch) => {
                let batch = if batch.num_rows() > left { batch.slice(0, left) } else { batch };
                let left = left - batch.num_rows();
                Some((Ok(batch), (stream, left)))
            }
            Err(error) => Some((Err(error), (stream, 0))),
        }
    })
}

/// What a further batch of the first side takes, with its part of the engine's table. Columns that were read from a file share
/// one buffer, which counts once.
fn bytes_of(batch: &RecordBatch, counter: &mut RecordBatchMemoryCounter) -> usize {
    counter.count_batch(batch) + batch.num_rows() * ROW_BYTES
}

/// Counts a further batch of the first side; false when the first side had better go to disk.
fn fits(reservation: &MemoryReservation, bytes: usize, context: &TaskContext) -> bool {
    if reservation.try_grow(bytes).is_err() {
        return false;
    }
    let pool = context.memory_pool();
    let MemoryLimit::Finite(limit) = pool.memory_limit() else { return true };
    // The engine copies the rows into one batch when it has them all.
    reservation.size().saturating_mul(OWN_PART) <= limit && pool.reserved() <= limit / ALL_PARTS.1 * ALL_PARTS.0
}

impl fmt::Debug for SpillingJoinExec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SpillingJoinExec").field("join", &self.join).field("level", &self.level).finish_non_exhaustive()
    }
}

impl DisplayAs for SpillingJoinExec {
    /// To the reader of a plan it is the join that it is.
    fn fmt_as(&self, t: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.join.fmt_as(t, f)
    }
}

impl ExecutionPlan for SpillingJoinExec {
    fn name(&self) -> &str {
        self.join.name()
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.join.properties()
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![self.join.left(), self.join.right()]
    }

    fn apply_expressions(
        &self,
        f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        self.join.apply_expressions(f)
    }

    fn dynamic_expressions_produced(&self) -> Vec<Arc<dyn PhysicalExpr>> {
        self.join.dynamic_expressions_produced()
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        vec![false, false]
    }

    fn replace_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
        _options: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let join = self.join.builder().with_new_children(children)?.recompute_properties().build()?;
        Ok(Arc::new(Self::new(&join, self.level)?))
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        self.replace_children(children, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let this = Arc::new(self.share());
        let schema = self.schema();
        let opened = if self.is_common() {
            let common = self.common(&context)?;
            let second = has_places(&self.join).then(|| self.join.right().execute(partition, Arc::clone(&context))).transpose()?;
            this.together(common, second, partition, context).boxed()
        } else {
            let gathered = self.gather(partition, &context)?;
            // As the engine does: joins in there hear of it too when nobody asks for this partition.
            let second = self.join.right().execute(partition, Arc::clone(&context))?;
            let unopened = Unopened::new(this, partition, context);
            async move { Self::apart(unopened, second, gathered.await?).await }.boxed()
        };
        let rows = futures::stream::once(opened).try_flatten();
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, rows)))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        let mut all = self.join.metrics().unwrap_or_default();
        self.metrics.clone_inner().iter().for_each(|metric| all.push(Arc::clone(metric)));
        Some(all)
    }

    fn fetch(&self) -> Option<usize> {
        self.join.fetch()
    }

    fn statistics_from_inputs(&self, inputs: &[Arc<Statistics>], args: &StatisticsArgs) -> Result<Arc<Statistics>> {
        self.join.statistics_from_inputs(inputs, args)
    }
}

impl SpillingJoinExec {
    /// Another handle of the same join: what is common to its partitions stays common.
    fn share(&self) -> Self {
        Self {
            join: Arc::clone(&self.join),
            inner: Arc::clone(&self.inner),
            given: Arc::clone(&self.given),
            gate: Arc::clone(&self.gate),
            level: self.level,
            common: Arc::clone(&self.common),
            metrics: self.metrics.clone(),
        }
    }
}
