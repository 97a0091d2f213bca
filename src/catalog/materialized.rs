//! Materialized views as system relations tell of them: how they stand is known to who keeps their rows, and is asked for from here.

use std::fmt;
use std::time::Duration;

use chrono::{DateTime, Utc};

/// A materialized view as it stands now.
#[derive(Debug, Clone)]
pub struct Standing {
    /// Its schema.
    pub schema: String,
    /// Its name.
    pub name: String,
    /// How it stands, in a word.
    pub state: String,
    /// Why, as a clause.
    pub reason: Option<String>,
    /// How its rows are kept up to date, as `EXPLAIN` tells it.
    pub maintained: String,
    /// Whether it has been filled, so that it can be read.
    pub is_populated: bool,
    /// How many rows it has.
    pub rows: u64,
    /// How many bytes of memory it takes, about.
    pub bytes: u64,
    /// The place in each of its stores up to which changes are in it, where that is known.
    pub position: Option<String>,
    /// At most so old is what it shows; `None` where that is not known.
    pub staleness: Option<Duration>,
    /// How often its rows were read.
    pub served: u64,
    /// How often its query was run though it has rows.
    pub fell_through: u64,
    /// How often a read has waited for it.
    pub waited: u64,
    /// Since when it stands so.
    pub since: DateTime<Utc>,
}

/// Who keeps the rows of materialized views.
pub trait MaterializedViews: fmt::Debug + Send + Sync {
    /// All of them, in the order of their schemas and names.
    fn states(&self) -> Vec<Standing>;

    /// Whether statements may be answered with their rows. Elsewhere a materialized view is planned as its query is.
    fn are_served(&self) -> bool;
}

/// Nobody does.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoViews;

impl MaterializedViews for NoViews {
    fn states(&self) -> Vec<Standing> {
        Vec::new()
    }

    fn are_served(&self) -> bool {
        false
    }
}
