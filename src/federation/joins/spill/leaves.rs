//! The inputs of the engine's own join inside a join that may spill: rows that were read already, a gate before the second side, files.

use std::fmt;
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

/// The second side, before the engine's own join.
pub(super) struct Gate {
    input: Arc<dyn ExecutionPlan>,
    properties: Arc<PlanProperties>,
    passage: Passage,
    handed: Vec<Mutex<Option<SendableRecordBatchStream>>>,
}

/// How the second side comes through the gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Passage {
    /// Partition by partition, as the join asks for them.
    Asked,
    /// Partition by partition, as they are handed over; one that is not handed over has no rows here.
    Handed,
}

impl Gate {
    /// Before `input`. With `counts_one` the join takes it for a single partition, whichever it is asked for: the engine's join tells of
    /// the keys of a first side that all partitions have in common only when as many partitions as it counts have read it.
    pub(super) fn new(input: Arc<dyn ExecutionPlan>, passage: Passage, counts_one: bool) -> Self {
        let handed = (0..input.output_partitioning().partition_count()).map(|_| Mutex::default()).collect();
        let properties = if counts_one {
            let single = Partitioning::UnknownPartitioning(1);
            Arc::new(PlanProperties::clone(input.properties()).with_partitioning(single))
        } else {
            Arc::clone(input.properties())
        };
        Self { input, properties, passage, handed }
    }

    /// Hands a partition over, before it is executed.
    pub(super) fn hand(&self, partition: usize, rows: SendableRecordBatchStream) {
        if let Some(slot) = self.handed.get(partition) {
            *slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(rows);
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

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gate").field("input", &self.input).field("passage", &self.passage).finish_non_exhaustive()
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
        &self.properties
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
        let counts_one = self.properties.output_partitioning().partition_count() != self.handed.len();
        let passage = self.passage;
        Ok(children.into_iter().next().map_or(self, |input| Arc::new(Self::new(input, passage, counts_one))))
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        self.replace_children(children, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        if self.passage == Passage::Asked {
            return self.input.execute(partition, context);
        }
        let handed = self.handed.get(partition).and_then(|slot| slot.lock().unwrap_or_else(PoisonError::into_inner).take());
        Ok(handed.unwrap_or_else(|| Box::pin(EmptyRecordBatchStream::new(self.schema()))))
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
