//! How views are kept and how they stand, as views of the system and metrics tell it.

use std::fmt;
use std::time::Duration;

use chrono::{DateTime, Utc};

use super::ViewName;
use crate::stores::StoreName;
use crate::telemetry::log::Line;

/// How a reason begins for which nothing is tried again before somebody has done something.
pub(super) const TOO_LARGE: &str = "it would take more than materialized views may";

/// What keeps the rows of a view up to date.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Upkeep {
    /// Each change of its tables.
    Incremental,
    /// Its query for the keys of rows that have changed, and over all rows where a change has no such keys.
    Key {
        /// The column of the view in which the keys are, the first of several.
        column: String,
        /// Tables of whose rows no key is known, and whose changes take the whole query.
        whole: Vec<String>,
        /// Why not each change, as a clause.
        reason: String,
    },
    /// Its query, over the copies of its tables after they have changed.
    Whole {
        /// Why not each change, as a clause.
        reason: String,
    },
    /// `REFRESH` alone.
    Refresh {
        /// Why nothing else does, as a clause.
        reason: String,
    },
}

impl fmt::Display for Upkeep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Incremental => f.write_str("incrementally"),
            Self::Key { column, whole, reason } if whole.is_empty() => write!(f, "by key ({column}): {reason}"),
            Self::Key { column, whole, reason } => {
                write!(f, "by key ({column}); changes of {} take the whole query: {reason}", whole.join(", "))
            }
            Self::Whole { reason } => write!(f, "whole: {reason}"),
            Self::Refresh { reason } => write!(f, "by REFRESH only: {reason}"),
        }
    }
}

/// How a view stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ViewState {
    /// Its rows are being computed for the first time.
    Filling,
    /// Its rows are there.
    Kept,
    /// Its rows are not there, and its query is run instead, until something has come or somebody has done something.
    Waiting,
    /// It was never filled, or was emptied.
    Empty,
}

impl ViewState {
    /// All of them, for metrics.
    pub const ALL: [Self; 4] = [Self::Filling, Self::Kept, Self::Waiting, Self::Empty];

    /// The word that operators see.
    pub fn word(self) -> &'static str {
        match self {
            Self::Filling => "filling",
            Self::Kept => "kept",
            Self::Waiting => "waiting",
            Self::Empty => "not-populated",
        }
    }
}

/// A view as it stands now.
#[derive(Debug, Clone)]
pub struct ShownView {
    /// Its name.
    pub name: ViewName,
    /// How it is kept; `None` while that is not known.
    pub upkeep: Option<Upkeep>,
    /// How it stands.
    pub state: ViewState,
    /// Why, as a clause.
    pub reason: Option<String>,
    /// How many rows it has.
    pub rows: u64,
    /// How many bytes of memory it takes with what keeps it up to date, about.
    pub bytes: u64,
    /// For each store the place of the last entry among its events that is in it, where one came since its copies were loaded.
    pub positions: Vec<(StoreName, Option<String>)>,
    /// At most so old is what it shows; `None` where that is not known.
    pub staleness: Option<Duration>,
    /// How often it was read.
    pub served: u64,
    /// How often its query was run instead.
    pub fell_through: u64,
    /// How often a read has waited for it.
    pub waited: u64,
    /// Since when it stands so.
    pub since: DateTime<Utc>,
}

impl ShownView {
    /// Its positions as one text.
    pub fn position(&self) -> Option<String> {
        let each = |(store, place): &(StoreName, Option<String>)| place.as_ref().map(|place| format!("{store}: {place}"));
        let all: Vec<String> = self.positions.iter().filter_map(each).collect();
        (!all.is_empty()).then(|| all.join(", "))
    }
}

/// How a view stands, as its task tells it.
#[derive(Debug, Clone)]
pub(super) struct Stand {
    pub(super) state: ViewState,
    pub(super) reason: Option<String>,
    pub(super) since: DateTime<Utc>,
    pub(super) bytes: u64,
}

impl Stand {
    pub(super) fn new(state: ViewState) -> Self {
        Self { state, reason: None, since: Utc::now(), bytes: 0 }
    }

    /// One log line for each change of the state, and for each time that the view is given up.
    pub(super) fn set(&mut self, name: &ViewName, state: ViewState, reason: Option<&str>) {
        let is_given_up = reason.is_some_and(|reason| reason.starts_with(TOO_LARGE));
        let has_changed = self.state != state || is_given_up && self.reason.as_deref() != reason;
        self.reason = reason.map(str::to_owned);
        if state != ViewState::Kept {
            self.bytes = 0;
        }
        if !has_changed {
            return;
        }
        (self.state, self.since) = (state, Utc::now());
        let (name, reason) = (name.to_string(), reason.unwrap_or_default());
        let (view, reason) = (Line(&name), Line(reason));
        match state {
            ViewState::Filling => tracing::debug!(%view, "the rows of the view are being computed"),
            ViewState::Kept => tracing::info!(%view, "the rows of the view are kept"),
            ViewState::Waiting if is_given_up => tracing::warn!(%view, %reason, "the view has no rows, and its query is run"),
            ViewState::Waiting => tracing::info!(%view, %reason, "the rows of the view are not kept now"),
            ViewState::Empty => tracing::info!(%view, "the view has no rows until it is refreshed"),
        }
    }
}

#[cfg(test)]
mod tests {
    use tracing::Level;

    use super::*;
    use crate::telemetry::heard::Heard;
    use crate::views::recompute::Failed;

    #[test]
    fn how_a_view_is_kept_is_told_with_the_reason() {
        let reason = || "a window function needs all rows".to_owned();
        assert_eq!(Upkeep::Incremental.to_string(), "incrementally");
        let by_key = |whole: &[&str]| {
            let whole = whole.iter().map(|table| (*table).to_owned()).collect();
            Upkeep::Key { column: "region".to_owned(), whole, reason: reason() }.to_string()
        };
        assert_eq!(by_key(&[]), "by key (region): a window function needs all rows");
        let told = "by key (region); changes of pg.a, file.b take the whole query: a window function needs all rows";
        assert_eq!(by_key(&["pg.a", "file.b"]), told);
        assert_eq!(Upkeep::Whole { reason: reason() }.to_string(), "whole: a window function needs all rows");
        assert_eq!(Upkeep::Refresh { reason: reason() }.to_string(), "by REFRESH only: a window function needs all rows");
    }

    #[test]
    fn a_view_that_is_given_up_is_a_warning_and_one_that_waits_for_its_tables_is_none() {
        let name = ViewName { schema: "public".to_owned(), name: "v".to_owned() };
        let mut stand = Stand::new(ViewState::Filling);
        let (heard, _hearing) = Heard::here();
        stand.set(&name, ViewState::Kept, None);
        stand.set(&name, ViewState::Waiting, Some("a table has no copy now"));
        assert_eq!(heard.of(Level::WARN), Vec::<String>::new());
        assert_eq!(heard.of(Level::INFO).len(), 2);
        let reason = Failed::TooLarge(7).reason();
        stand.set(&name, ViewState::Waiting, Some(&reason));
        stand.set(&name, ViewState::Waiting, Some(&reason));
        let told = heard.of(Level::WARN);
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].contains("view=public.v") && told[0].contains("(7 bytes are left of cache.memory)"), "{told:?}");
    }

    #[test]
    fn a_position_is_told_for_each_store_that_has_one() {
        let shop = (StoreName::new("shop"), Some("3.4".to_owned()));
        let mut shown = ShownView {
            name: ViewName { schema: "public".to_owned(), name: "v".to_owned() },
            upkeep: None,
            state: ViewState::Kept,
            reason: None,
            rows: 0,
            bytes: 0,
            positions: vec![(StoreName::new("crm"), None), shop],
            staleness: None,
            served: 0,
            fell_through: 0,
            waited: 0,
            since: Utc::now(),
        };
        assert_eq!(shown.position().as_deref(), Some("shop: 3.4"));
        shown.positions.pop();
        assert_eq!(shown.position(), None);
    }
}
