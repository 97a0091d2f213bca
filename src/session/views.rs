//! Materialized views as sessions see them: what a statement reads of one, how it stands, and when its rows are others.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::watch;

use crate::cache::Wants;
use crate::catalog::materialized::{MaterializedViews, Standing};
use crate::error::Diagnosis;
use crate::federation::materialized::{Chosen, Materialized, ViewRows};
use crate::views::{Refreshed, ShownView, ViewDecision, ViewName, ViewReading, ViewState, Views};

/// The materialized views of the server.
#[derive(Clone)]
pub struct ServedViews(Arc<Views>);

impl fmt::Debug for ServedViews {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

fn named((schema, name): (&str, &str)) -> ViewName {
    ViewName { schema: schema.to_owned(), name: name.to_owned() }
}

/// Where changes of each store are in rows up to, where that is known.
pub(super) fn position_of(reading: &ViewReading) -> Option<String> {
    let stores = reading.stores();
    let places = stores.iter().filter_map(|store| Some(format!("{}: {}", store.store, store.place.as_ref()?)));
    let places: Vec<String> = places.collect();
    (!places.is_empty()).then(|| places.join(", "))
}

impl ServedViews {
    /// Those that are kept there.
    pub fn new(views: Arc<Views>) -> Arc<Self> {
        Arc::new(Self(views))
    }

    /// None, ever.
    pub fn none() -> Arc<Self> {
        Self::new(Views::none())
    }

    /// Whether there is no view.
    pub fn are_none(&self) -> bool {
        self.0.is_empty()
    }

    /// Fills one anew, by its schema and name. With `verify` what differs is put right, and the rest stays.
    ///
    /// # Errors
    /// As [`Views::refresh`].
    pub(super) async fn refresh(&self, view: (&str, &str), verify: bool) -> Result<Refreshed, Diagnosis> {
        self.0.refresh(&named(view), verify).await
    }

    /// The rows of one as they are now; `None` where there are none.
    pub(super) fn reading(&self, view: (&str, &str)) -> Option<Arc<ViewReading>> {
        self.0.reading(&named(view))
    }

    /// Raised when the rows of one are others; `None` where there is no such view.
    pub(super) fn moved(&self, view: (&str, &str)) -> Option<watch::Receiver<u64>> {
        self.0.moved(&named(view))
    }
}

impl MaterializedViews for ServedViews {
    fn states(&self) -> Vec<Standing> {
        self.0.shown().into_iter().map(standing).collect()
    }

    fn are_served(&self) -> bool {
        true
    }
}

fn standing(shown: ShownView) -> Standing {
    let position = shown.position();
    let maintained = shown.upkeep.as_ref().map_or_else(|| "not known yet".to_owned(), ToString::to_string);
    // Why rows are not kept says more than how they would be.
    let reason = shown.reason.or_else(|| shown.upkeep.is_some().then(|| format!("maintained {maintained}")));
    Standing {
        schema: shown.name.schema,
        name: shown.name.name,
        state: shown.state.word().to_owned(),
        reason,
        maintained,
        is_populated: shown.state != ViewState::Empty,
        rows: shown.rows,
        bytes: shown.bytes,
        position,
        staleness: shown.staleness,
        served: shown.served,
        fell_through: shown.fell_through,
        waited: shown.waited,
        since: shown.since,
    }
}

#[async_trait]
impl Materialized for ServedViews {
    async fn decide(&self, view: (&str, &str), wants: &Wants) -> Chosen {
        match self.0.decide(&named(view), wants).await {
            ViewDecision::Rows(reading) => Chosen::Rows(ViewRows {
                version: Arc::clone(reading.rows()),
                columns: reading.columns(),
                age: reading.age(),
                position: position_of(&reading),
            }),
            ViewDecision::Query { reason } => Chosen::Query(reason),
            ViewDecision::Refused(told) => Chosen::Refused(told),
        }
    }

    fn maintained(&self, view: (&str, &str)) -> Option<String> {
        self.0.upkeep(&named(view)).map(|upkeep| upkeep.to_string())
    }
}

#[cfg(test)]
mod tests {
    use chrono::Utc;

    use super::*;
    use crate::views::Upkeep;

    #[test]
    fn a_view_tells_how_it_is_kept_where_nothing_keeps_it_back() {
        let shown = |upkeep: Option<Upkeep>, reason: Option<&str>, state| ShownView {
            name: named(("public", "totals")),
            upkeep,
            state,
            reason: reason.map(str::to_owned),
            rows: 1,
            bytes: 2,
            positions: Vec::new(),
            staleness: None,
            served: 3,
            fell_through: 4,
            waited: 5,
            since: Utc::now(),
        };
        let kept = standing(shown(Some(Upkeep::Incremental), None, ViewState::Kept));
        assert_eq!((kept.reason.as_deref(), kept.is_populated), (Some("maintained incrementally"), true));
        assert_eq!((kept.schema.as_str(), kept.name.as_str(), kept.rows), ("public", "totals", 1));
        let waiting = standing(shown(Some(Upkeep::Incremental), Some("its copies are loading"), ViewState::Waiting));
        assert_eq!((waiting.reason.as_deref(), waiting.maintained.as_str()), (Some("its copies are loading"), "incrementally"));
        let empty = standing(shown(None, None, ViewState::Empty));
        assert_eq!((empty.reason, empty.is_populated, empty.maintained.as_str()), (None, false, "not known yet"));
    }

    #[tokio::test]
    async fn where_nothing_is_kept_queries_are_run() {
        let views = ServedViews::none();
        let required = Arc::default();
        let wants = Wants {
            consistency: crate::cache::Consistency::Session,
            max_staleness: None,
            on_stale: crate::cache::OnStale::Store,
            deadline: None,
            session: required,
            shows_as_server: true,
        };
        assert!(matches!(views.decide(("public", "totals"), &wants).await, Chosen::Query(_)));
        assert!(views.are_none() && views.states().is_empty() && views.moved(("public", "totals")).is_none());
    }
}
