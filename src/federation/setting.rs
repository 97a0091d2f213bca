//! What a statement is planned with, besides its text.

use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::generic::PlanMode;
use super::placement::Level;
use super::ranges::Reading;
use crate::catalog::snapshot::SessionFacts;
use crate::catalog::{SearchPath, Snapshot};
use crate::format::DisplaySettings;

/// What a statement is planned with, besides its text.
#[derive(Debug, Clone)]
pub struct Setting {
    /// The names that exist.
    pub snapshot: Arc<Snapshot>,
    /// Where unqualified names are looked up.
    pub path: SearchPath,
    /// What system relations may know of the session.
    pub facts: Arc<SessionFacts>,
    /// `now()`: the start of the transaction.
    pub now: DateTime<Utc>,
    /// When the statement began.
    pub statement_start: DateTime<Utc>,
    /// The session's `TimeZone`, as the engine spells it.
    pub time_zone: String,
    /// The settings under which texts are read and written.
    pub display: DisplaySettings,
    /// How much of a plan goes to the stores.
    pub pushdown: Level,
    /// The values of all settings that results depend on: the plan of another session serves under the same ones only.
    pub affecting: Arc<[String]>,
    /// Whether a plan of another session may serve.
    pub shares_plans: bool,
    /// Whether an execution is planned for its values.
    pub plan_mode: PlanMode,
    /// How its rows are asked for.
    pub reading: Reading,
    /// Whether rows that a statement changes are told to their stores one by one wherever they can be, so that each can be undone.
    pub rows_only: bool,
}

impl Setting {
    /// The setting of the server itself: default path and styles, no session.
    pub fn of_server(snapshot: Arc<Snapshot>) -> Self {
        let now = Utc::now();
        let (time_zone, display) = ("UTC".to_owned(), DisplaySettings::default());
        let (path, pushdown) = (SearchPath::Default, Level::default());
        let (facts, affecting, shares_plans) = (Arc::default(), Arc::default(), false);
        let (plan_mode, reading) = (PlanMode::default(), Reading::default());
        Self {
            snapshot,
            path,
            facts,
            now,
            statement_start: now,
            time_zone,
            display,
            pushdown,
            affecting,
            shares_plans,
            plan_mode,
            reading,
            rows_only: false,
        }
    }
}
