//! The inputs of the engine's own join inside a join that may spill: rows that were read already, a gate before the second side, files.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::Result;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{
    Boundedness, ChildrenPropertiesMode, EmissionType, PlanProperties, ReplaceChildrenOptions,
};
use datafusion::physical_plan::spill::SpillManager;
use datafusion::physical_plan::stream::{EmptyRecordBatchStream, RecordBatchStreamAdapter};
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties, Partitioning};
use futures::{StreamExt, TryStreamExt};

use super::buckets::Files;

fn properties(schema: SchemaRef, partitioning: Partitioning) -> Arc<PlanProperties> {
    let equivalence = EquivalenceProperties::new(schema);
    Arc::new(PlanProperties::new(equivalence, partitioning, EmissionType::Incremental, Boundedness::Bounded))
}

type Visit<'a> = &'a mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>;

/// Rows that were read already, each partition once.
pub(super) struct Given {
    properties: Arc<PlanProperties>,
    rows: Vec<Mutex<Vec<RecordBatch>>>,
}

impl Given {
    /// In the place of `input`, also as far as its partitioning goes: a join tells nothing of its keys when it does not know how they are
    /// divided.
    pub(super) fn new(input: &Arc<dyn ExecutionPlan>) -> Self {
        let partitioning = input.output_partitioning().clone();
        let rows = (0..partitioning.partition_count()).map(|_| Mutex::default()).collect();
        Self { properties: properties(input.schema(), partitioning), rows }
    }

    /// Sets the rows of a partition, before it is executed.
    pub(super) fn set(&self, partition: usize, rows: Vec<RecordBatch>) {
        if let Some(slot) = self.rows.get(partition) {
            *slot.lock().unwrap_or_else(PoisonError::into_inner) = rows;
        }
    }
}

/// Lets the second side through, but for partitions that are joined in another way.
#[derive(Debug)]
pub(super) struct Gate {
    input: Arc<dyn ExecutionPlan>,
    closed: Vec<AtomicBool>,
}

impl Gate {
    pub(super) fn new(input: Arc<dyn ExecutionPlan>) -> Self {
        let partitions = input.output_partitioning().partition_count();
        Self { input, closed: (0..partitions).map(|_| AtomicBool::new(false)).collect() }
    }

    /// From now on the partition has no rows here.
    pub(super) fn close(&self, partition: usize) {
        if let Some(closed) = self.closed.get(partition) {
            closed.store(true, Ordering::Release);
        }
    }
}

/// Rows of one bucket.
pub(super) struct Bucket {
    properties: Arc<PlanProperties>,
    manager: SpillManager,
    files: Mutex<Files>,
}

impl Bucket {
    pub(super) fn new(manager: SpillManager, files: Files) -> Self {
        Self {
            properties: properties(Arc::clone(manager.schema()), Partitioning::UnknownPartitioning(1)),
            manager,
            files: Mutex::new(files),
        }
    }
}

impl fmt::Debug for Given {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Given").field("partitions", &self.rows.len()).finish()
    }
}

impl fmt::Debug for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bucket").finish_non_exhaustive()
    }
}

impl DisplayAs for Given {
    fn fmt_as(&self, _t: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Given")
    }
}

impl DisplayAs for Gate {
    fn fmt_as(&self, _t: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Gate")
    }
}

impl DisplayAs for Bucket {
    fn fmt_as(&self, _t: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Bucket")
    }
}

impl ExecutionPlan for Given {
    fn name(&self) -> &str {
        "Given"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    fn apply_expressions(&self, _f: Visit<'_>) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn replace_children(
        self: Arc<Self>,
        _children: Vec<Arc<dyn ExecutionPlan>>,
        _options: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn with_new_children(self: Arc<Self>, _children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn execute(&self, partition: usize, _context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let rows = self.rows.get(partition).map(|slot| std::mem::take(&mut *slot.lock().unwrap_or_else(PoisonError::into_inner)));
        let rows = futures::stream::iter(rows.unwrap_or_default().into_iter().map(Ok));
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), rows)))
    }
}

impl ExecutionPlan for Gate {
    fn name(&self) -> &str {
        "Gate"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.input.properties()
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn apply_expressions(&self, _f: Visit<'_>) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn replace_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
        _options: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(children.into_iter().next().map_or(self, |input| Arc::new(Self::new(input))))
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        self.replace_children(children, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        if self.closed.get(partition).is_some_and(|closed| closed.load(Ordering::Acquire)) {
            return Ok(Box::pin(EmptyRecordBatchStream::new(self.schema())));
        }
        self.input.execute(partition, context)
    }
}

impl ExecutionPlan for Bucket {
    fn name(&self) -> &str {
        "Bucket"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    fn apply_expressions(&self, _f: Visit<'_>) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn replace_children(
        self: Arc<Self>,
        _children: Vec<Arc<dyn ExecutionPlan>>,
        _options: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn with_new_children(self: Arc<Self>, _children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    /// Each file is gone when it has been read.
    fn execute(&self, _partition: usize, _context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let files = std::mem::take(&mut *self.files.lock().unwrap_or_else(PoisonError::into_inner));
        let manager = self.manager.clone();
        let rows = futures::stream::iter(files).map(move |file| manager.read_spill_as_stream_unbuffered(file, None)).try_flatten();
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), rows)))
    }
}
