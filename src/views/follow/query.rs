//! A view whose query is run after changes of its tables: for the keys of what has changed where these tell, and over all rows else.

use std::sync::Arc;

use arrow::array::RecordBatch;
use datafusion::execution::SendableRecordBatchStream;

use super::super::by_key::{self, Lineages};
use super::super::engine::Change;
use super::super::maintain::Pinned;
use super::super::output::Output;
use super::super::recompute::{self, Failed};
use super::{Keeper, Plan, Readings, Standing, Versions, Way, aside};
use crate::cache::TableVersion;
use crate::error::Diagnosis;
use crate::federation::branches::Branches;
use crate::telemetry::log::Line;

impl Keeper {
    /// The rows over these sets, and whether the query was run for keys alone.
    pub(super) async fn computed(
        &self,
        plan: &Arc<Plan>,
        pinned: &Pinned,
        before: Option<Standing>,
    ) -> Result<(Standing, bool), Failed> {
        let (output, seen) = match before {
            Some(Standing::Whole { output, seen }) => (output, seen),
            _ => (self.output(plan, None)?, Versions::new()),
        };
        if pinned.has_same(&seen) {
            return Ok((Standing::Whole { output, seen }, false));
        }
        let change = match &plan.way {
            // Rows of the stores are of no sets, and nobody knows what has changed since.
            Way::Keys(lineages, _) if !seen.is_empty() => {
                let rows = Arc::clone(output.version());
                let change = Box::pin(self.of_keys((plan, lineages), (&seen, pinned), rows)).await;
                // What fails here is told by the whole query, where it fails as well.
                change.unwrap_or_else(|failed| {
                    self.keys_failed(&failed);
                    None
                })
            }
            _ => None,
        };
        let is_keyed = change.is_some();
        let output = match change {
            Some(change) => applied(output, change).await?,
            None => {
                let wanted = self.rows_of_copies(plan, pinned.readings.clone()).await?;
                self.replaced(plan, output, wanted).await?
            }
        };
        Ok((Standing::Whole { output, seen: pinned.tables.clone() }, is_keyed))
    }

    /// The query is run over all rows, because it could not be run for keys. That is counted, and told of a view once.
    fn keys_failed(&self, failed: &Failed) {
        if self.kept.tally.keyed_failed(failed.word()) {
            let (view, code) = (self.kept.name.to_string(), failed.diagnosis(&self.kept.name.name).sqlstate);
            let (view, why, code) = (Line(&view), failed.word(), Line(&code));
            tracing::warn!(%view, why, sqlstate = %code, "the query of the view failed for changed keys, and is run over all rows");
        }
    }

    /// What becomes of rows with the keys of what has changed; `None` where it takes the whole query.
    async fn of_keys(
        &self,
        (plan, lineages): (&Arc<Plan>, &Arc<Lineages>),
        (seen, pinned): (&Versions, &Pinned),
        rows: Arc<TableVersion>,
    ) -> Result<Option<Change>, Failed> {
        let lineages = Arc::clone(lineages);
        let (seen, now) = (seen.clone(), pinned.tables.clone());
        let keys = aside(move |cancel| by_key::changed(&lineages, (&seen, &now), cancel)).await?;
        let Some(keys) = keys else { return Ok(None) };
        if keys.is_empty() {
            return Ok(Some(Change::default()));
        }
        let (engine, limited) = (&self.ground.engine, (keys.column(), keys.values().to_vec()));
        let ran = plan.query.rows_of_keys(engine, pinned.readings.clone(), limited).await;
        let wanted = self.gathered(plan, ran).await?;
        let schema = Arc::clone(&plan.schema);
        aside(move |cancel| by_key::difference((&rows, &schema), &keys, wanted, cancel)).await
    }

    /// The rows of the query over these sets.
    pub(super) async fn rows_of_copies(&self, plan: &Plan, readings: Readings) -> Result<Vec<RecordBatch>, Failed> {
        let ran = plan.query.rows_of_copies(&self.ground.engine, readings).await;
        self.gathered(plan, ran).await
    }

    /// The rows of a query that runs, if all of them come from copies.
    async fn gathered(
        &self,
        plan: &Plan,
        ran: Result<(SendableRecordBatchStream, Arc<Branches>), Diagnosis>,
    ) -> Result<Vec<RecordBatch>, Failed> {
        let (rows, branches) = ran.map_err(Failed::Query)?;
        let rows = recompute::collected(rows, &plan.schema, self.left()).await;
        // Also what failed did so with rows that are in no set, perhaps.
        if !branches.read_directly().is_empty() {
            return Err(Failed::NotPinned);
        }
        rows
    }

    /// The output with these rows in the place of its own.
    pub(super) async fn replaced(&self, plan: &Plan, output: Output, wanted: Vec<RecordBatch>) -> Result<Output, Failed> {
        let (rows, schema) = (Arc::clone(output.version()), Arc::clone(&plan.schema));
        let change = aside(move |_cancel| recompute::difference(&rows, &schema, wanted)).await?;
        applied(output, change).await
    }
}

/// The output with what has changed.
async fn applied(mut output: Output, change: Change) -> Result<Output, Failed> {
    aside(move |_cancel| {
        if recompute::rows_in(&change) > 0 {
            output.apply(&change).map_err(|error| Failed::Broken(error.to_string()))?;
        }
        Ok(output)
    })
    .await
}
