//! A partition of a join that may spill, before anybody has asked it for rows.

use std::sync::Arc;

use arrow::array::RecordBatch;
use datafusion::error::Result;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::ExecutionPlan;

use super::SpillingJoinExec;

/// A partition of the engine's join that is not executed yet. The others wait until all of them have told of their keys: one that is
/// dropped tells that its keys will not be known.
pub(super) struct Unopened {
    join: Arc<SpillingJoinExec>,
    partition: usize,
    context: Arc<TaskContext>,
    is_opened: bool,
}

impl Unopened {
    pub(super) fn new(join: Arc<SpillingJoinExec>, partition: usize, context: Arc<TaskContext>) -> Self {
        Self { join, partition, context, is_opened: false }
    }

    /// Executes it over what was read of its first side, and its second side.
    ///
    /// # Errors
    /// What the engine's join fails with.
    pub(super) fn open(mut self, first: Vec<RecordBatch>, second: SendableRecordBatchStream) -> Result<SendableRecordBatchStream> {
        self.is_opened = true;
        self.join.given.set(self.partition, first);
        self.join.gate.hand(self.partition, second);
        self.join.inner.execute(self.partition, Arc::clone(&self.context))
    }

    /// What it is of; the partition is dropped.
    pub(super) fn leave(self) -> (Arc<SpillingJoinExec>, usize, Arc<TaskContext>) {
        (Arc::clone(&self.join), self.partition, Arc::clone(&self.context))
    }
}

impl Drop for Unopened {
    fn drop(&mut self) {
        if !self.is_opened {
            // The engine's stream tells when it is dropped. Neither side was handed over, so that nothing else is executed.
            drop(self.join.inner.execute(self.partition, Arc::clone(&self.context)));
        }
    }
}
