//! REFRESH: rows from the stores, or from copies anew; and whether rows are those of their query.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::super::Refreshed;
use super::super::maintain::Pinned;
use super::super::recompute::{self, Failed};
use super::super::serve::State;
use super::super::status::ViewState;
use super::{Keeper, Keeping, Plan, Standing, Versions, aside};
use crate::cache::TableVersion;
use crate::error::Diagnosis;
use crate::telemetry::log::Line;

impl Keeper {
    /// The rows of a view that only REFRESH fills, from the stores.
    pub(super) async fn fill(&mut self, plan: &Arc<Plan>) -> Result<(), Failed> {
        let began = tokio::time::Instant::now();
        self.stands_filling();
        let rows = plan.query.rows_of_stores(&self.ground.engine).await.map_err(Failed::Query)?;
        let most = self.left();
        let wanted = recompute::collected(rows, &plan.schema, most).await?;
        let output = match self.standing.take() {
            Some(Standing::Whole { output, .. }) => output,
            _ => self.output(plan, None)?,
        };
        let output = self.replaced(plan, output, wanted).await?;
        let rows = Arc::clone(output.version());
        self.check_unique(&rows).await?;
        let bytes = u64::try_from(output.bytes()).unwrap_or(u64::MAX);
        if bytes > most {
            return Err(Failed::TooLarge(most));
        }
        if self.is_outdated(plan).await {
            return Err(Failed::Lost);
        }
        self.views.memory.set(&self.kept.name, bytes);
        self.kept.publish(State { rows, columns: plan.schema.fields().len(), readings: BTreeMap::new(), began });
        (self.standing, self.is_filled, self.due) = (Some(Standing::Whole { output, seen: Versions::new() }), true, None);
        self.has_failed = false;
        self.backoff.reset();
        self.kept.tally.built.add(1);
        self.kept.stands(ViewState::Kept, None);
        self.kept.measure(bytes);
        Ok(())
    }

    pub(super) async fn check_unique(&self, rows: &Arc<TableVersion>) -> Result<(), Failed> {
        let (rows, indexes) = (Arc::clone(rows), self.asked.borrow().indexes.clone());
        aside(move |_cancel| recompute::check_unique(&rows, &indexes)).await
    }

    /// `REFRESH`
    pub(super) async fn refresh(&mut self, verify: bool) -> Result<Refreshed, Diagnosis> {
        // What it means now is what it is filled with.
        self.make_plan().await;
        let Some(plan) = self.plan.clone() else {
            let failed = Failed::Broken("it cannot be planned".to_owned());
            return Err(self.planned().await.err().unwrap_or_else(|| failed.diagnosis(&self.kept.name.name)));
        };
        (self.due, self.is_given_up, self.changed) = (None, false, None);
        let mut keeping = self.look(&plan);
        if let (Keeping::Unknown, Some(sets)) = (&keeping, &mut self.sets) {
            // Whoever was told just now what is wanted asks for it in a moment. Cancel-safe.
            tokio::time::timeout(self.views.pace.poll, sets.changed()).await.ok();
            keeping = self.look(&plan);
        }
        let refreshed = match keeping {
            Keeping::Refresh => self.fill(&plan).await.map(|()| self.refreshed(None)),
            Keeping::Unknown => Ok(waiting("its tables are not asked to be cached yet".to_owned())),
            Keeping::Copies => match self.pinned(&plan) {
                Ok(pinned) => self.rebuild(&plan, &pinned, verify).await,
                Err(reason) => Ok(waiting(reason)),
            },
        };
        let refreshed = refreshed.map_err(|failed| failed.diagnosis(&self.kept.name.name))?;
        if !self.kept.is_populated() {
            self.kept.populate();
            self.views.tell_wanted();
        }
        Ok(refreshed)
    }

    /// What came of one that has made rows.
    fn refreshed(&self, differed: Option<u64>) -> Refreshed {
        let rows = self.standing.as_ref().map(|standing| standing.output().version().rows());
        Refreshed { rows: rows.map(|rows| u64::try_from(rows).unwrap_or(u64::MAX)), differed, waits: None }
    }

    /// Computes everything from these sets, unless it was asked to verify and the rows are those of the query.
    async fn rebuild(&mut self, plan: &Arc<Plan>, pinned: &Pinned, verify: bool) -> Result<Refreshed, Failed> {
        let differed = if verify { self.differing(plan).await? } else { None };
        if differed == Some(0) {
            return Ok(self.refreshed(differed));
        }
        if let Some(rows) = differed {
            let view = self.kept.name.to_string();
            let view = Line(&view);
            if plan.is_of_order {
                tracing::info!(%view, rows, "rows of the view, which depend on an order, were others than now; it is computed anew");
            } else {
                tracing::error!(%view, rows, "rows of the view were not those of its query; it is computed anew");
                self.kept.tally.differed.add(rows);
            }
        }
        self.forget();
        if let Err(failed) = self.compute(plan, pinned).await {
            self.failed(&failed);
            return Err(failed);
        }
        // Of rows that may be others each time nothing has gone wrong.
        Ok(self.refreshed(differed.filter(|_rows| !plan.is_of_order)))
    }

    /// How many rows of the state are not those of the query over the very sets that it was made of, or are missing; `None` without a state.
    async fn differing(&self, plan: &Arc<Plan>) -> Result<Option<u64>, Failed> {
        let Some(state) = self.kept.state().filter(|state| !state.readings.is_empty()) else { return Ok(None) };
        let wanted = self.rows_of_copies(plan, state.readings.clone()).await?;
        let schema = Arc::clone(&plan.schema);
        let compared = aside(move |_cancel| recompute::difference(&state.rows, &schema, wanted)).await?;
        Ok(Some(recompute::rows_in(&compared)))
    }
}

/// What came of a REFRESH of a view whose rows come by themselves.
fn waiting(reason: String) -> Refreshed {
    Refreshed { rows: None, differed: None, waits: Some(reason) }
}
