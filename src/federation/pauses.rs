//! Pauses in joins that compare every row with every other: other tasks run in them, and cancel requests and timeouts are heard.
//!
//! The engine's nested loop join compares a batch of its second side with all rows of the first without a pause; a million rows
//! take it most of a minute. Its second side is handed to it in pieces, as large as take some milliseconds, with a pause behind each. A
//! cross join gives a batch after each row of its first side, so that pauses between these do.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Result, Statistics};
use datafusion::execution::{RecordBatchStream, SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::coop::CooperativeExec;
use datafusion::physical_plan::execution_plan::{ChildrenPropertiesMode, PlanProperties, ReplaceChildrenOptions};
use datafusion::physical_plan::joins::{CrossJoinExec, NestedLoopJoinExec};
use datafusion::physical_plan::statistics::{ChildStats, StatisticsArgs};
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, replace_children_if_necessary};
use futures::Stream;

/// A piece that takes longer is followed by a smaller one.
const SLOW: Duration = Duration::from_millis(50);
/// One that takes less is followed by a larger one, without a pause.
const QUICK: Duration = Duration::from_millis(5);
/// Rows of the first piece: the first side may have any number of them. Pieces that are quick grow without a pause.
const FIRST: usize = 1;
/// Rows of a piece at most.
const MOST: usize = 8_192;

/// The name of the node that makes pieces.
pub(super) const PACED: &str = "PacedExec";

/// The rule; must come last, as it hides the second sides of joins from others.
#[derive(Debug)]
pub struct Pauses;

impl PhysicalOptimizerRule for Pauses {
    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, _config: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        let paused = |node: Arc<dyn ExecutionPlan>| {
            if node.is::<CrossJoinExec>() {
                return Ok(Transformed::yes(Arc::new(CooperativeExec::new(node)) as Arc<dyn ExecutionPlan>));
            }
            let Some(join) = node.downcast_ref::<NestedLoopJoinExec>().filter(|join| !join.right().is::<Paced>()) else {
                return Ok(Transformed::no(node));
            };
            let paced: Arc<dyn ExecutionPlan> = Arc::new(Paced { input: Arc::clone(join.right()) });
            let sides = vec![Arc::clone(join.left()), paced];
            Ok(Transformed::yes(replace_children_if_necessary(node, sides)?))
        };
        Ok(plan.transform_up(paused)?.data)
    }

    fn name(&self) -> &str {
        "pauses"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

/// The rows of its input in pieces.
#[derive(Debug)]
struct Paced {
    input: Arc<dyn ExecutionPlan>,
}

impl DisplayAs for Paced {
    fn fmt_as(&self, _t: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(PACED)
    }
}

impl ExecutionPlan for Paced {
    fn name(&self) -> &str {
        PACED
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.input.properties()
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        vec![true]
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn apply_expressions(
        &self,
        _f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn replace_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
        _options: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(children.into_iter().next().map_or(self, |input| Arc::new(Self { input })))
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        self.replace_children(children, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let input = self.input.execute(partition, context)?;
        Ok(Box::pin(Pieces { input, rest: None, rows: FIRST, given: None }))
    }

    fn child_stats_requests(&self, partition: Option<usize>) -> Vec<ChildStats> {
        vec![ChildStats::At(partition)]
    }

    fn statistics_from_inputs(&self, inputs: &[Arc<Statistics>], _args: &StatisticsArgs) -> Result<Arc<Statistics>> {
        Ok(inputs.first().map_or_else(|| Arc::new(Statistics::new_unknown(&self.schema())), Arc::clone))
    }
}

/// Batches cut into pieces whose size follows the time that the last one took.
struct Pieces {
    input: SendableRecordBatchStream,
    rest: Option<RecordBatch>,
    /// Rows of the next piece.
    rows: usize,
    /// When the last piece was given.
    given: Option<Instant>,
}

impl Stream for Pieces {
    type Item = Result<RecordBatch>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let Some(taken) = self.given.take().map(|given| given.elapsed()) {
            self.rows = next_rows(self.rows, taken);
            if taken > QUICK {
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
        }
        let batch = match self.rest.take() {
            Some(batch) => batch,
            None => match ready!(self.input.as_mut().poll_next(context)) {
                Some(Ok(batch)) => batch,
                other => return Poll::Ready(other),
            },
        };
        let rows = self.rows.min(batch.num_rows());
        if rows < batch.num_rows() {
            self.rest = Some(batch.slice(rows, batch.num_rows() - rows));
        }
        self.given = Some(Instant::now());
        Poll::Ready(Some(Ok(batch.slice(0, rows))))
    }
}

impl RecordBatchStream for Pieces {
    fn schema(&self) -> SchemaRef {
        self.input.schema()
    }
}

fn next_rows(rows: usize, taken: Duration) -> usize {
    match taken {
        _ if taken > SLOW => usize::try_from(rows as u128 * SLOW.as_micros() / taken.as_micros()).unwrap_or(rows).max(1),
        _ if taken < QUICK => (rows * 2).min(MOST),
        _ => rows,
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{AsArray, Int32Array};
    use arrow::datatypes::{DataType, Field, Int32Type, Schema};
    use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
    use futures::StreamExt;

    use super::*;

    #[tokio::test]
    async fn pieces_hold_every_row_once_in_order() {
        let schema = Arc::new(Schema::new(vec![Field::new("n", DataType::Int32, false)]));
        let batches: Vec<RecordBatch> = [0..10_000, 10_000..10_000, 10_000..10_001, 10_001..30_000]
            .map(|numbers| {
                RecordBatch::try_new(Arc::clone(&schema), vec![Arc::new(Int32Array::from_iter_values(numbers))]).unwrap()
            })
            .to_vec();
        let stream = RecordBatchStreamAdapter::new(schema, futures::stream::iter(batches.into_iter().map(Ok)));
        let pieces = Pieces { input: Box::pin(stream), rest: None, rows: FIRST, given: None };
        let pieces: Vec<RecordBatch> = pieces.map(|piece| piece.unwrap()).collect().await;
        assert!(pieces.len() > 5 && pieces.iter().all(|piece| piece.num_rows() <= MOST));
        let found = pieces.iter().flat_map(|piece| piece.column(0).as_primitive::<Int32Type>().values().to_vec());
        assert!(found.eq(0..30_000));
    }

    #[test]
    fn pieces_follow_the_time_they_take() {
        let rows = |rows, milliseconds| next_rows(rows, Duration::from_millis(milliseconds));
        assert_eq!((rows(64, 1), rows(64, 20), rows(64, 60), rows(64, 3_200)), (128, 64, 53, 1));
        assert_eq!((rows(MOST, 0), rows(1, 1_000)), (MOST, 1));
    }
}
