//! What the stores hold, and whose the names are.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures::future::join_all;
use rand::Rng as _;

use super::{Connectors, LIVING};
use crate::error::{Diagnose as _, sqlstate};
use crate::stores::StoreName;
use crate::stores::commit::{InDoubt, LogId};
use crate::telemetry::log::Line;
use crate::write::log::table::TableLog;

/// The longest that a store may take to list its branches; its own deadline is mostly shorter.
const LIST_MAX: Duration = Duration::from_secs(30);
/// Logs of others that are looked at in one round.
const LOGS_MAX: usize = 100;

/// What every store has answered, or why it has not.
#[derive(Debug)]
pub(super) struct Seen {
    pub at: DateTime<Utc>,
    pub lists: BTreeMap<StoreName, Result<Vec<InDoubt>, String>>,
}

impl Seen {
    /// Every branch with its store.
    pub fn all(&self) -> impl Iterator<Item = (&StoreName, &InDoubt)> {
        self.lists.iter().flat_map(|(store, list)| list.iter().flatten().map(move |branch| (store, branch)))
    }
}

/// Asks all stores, side by side.
pub(super) async fn list(stores: &Connectors) -> Seen {
    let at = Utc::now();
    let asked = stores.iter().map(|(store, connector)| async move {
        let listed = match tokio::time::timeout(LIST_MAX, connector.in_doubt()).await {
            Ok(listed) => listed.map_err(|error| error.to_string()),
            Err(_elapsed) => Err("it has not answered in time".to_owned()),
        };
        (store.clone(), listed)
    });
    Seen { at, lists: join_all(asked).await.into_iter().collect() }
}

/// Over whose names is decided here.
#[derive(Debug, Default)]
pub(super) struct Logs {
    ours: BTreeSet<LogId>,
    /// Logs whose instances live.
    living: BTreeSet<LogId>,
}

impl Logs {
    pub fn of_one(log: LogId) -> Self {
        Self { ours: BTreeSet::from([log]), living: BTreeSet::new() }
    }

    pub fn are_ours(&self, log: LogId) -> bool {
        self.ours.contains(&log)
    }

    /// What keeps a name of another log from being ended.
    pub fn reason(&self, log: LogId) -> &'static str {
        if self.living.contains(&log) { LIVING } else { "it is decided by the log that its name carries" }
    }
}

/// Which of the logs in the names, of what is open here, and of those with something in them are ours: those that we hold, and prove to
/// hold after the stores have listed the names, and those that nobody holds and we take now. Gives back also those that were ours and
/// are not to be asked for any more.
pub(super) async fn logs(table: &TableLog, seen: &Seen, open: BTreeSet<LogId>) -> (Logs, BTreeSet<LogId>) {
    let mut named: BTreeSet<LogId> = seen.all().map(|(_, branch)| branch.id.log).chain(table.lost()).chain(open).collect();
    // What has no prepared branch is named nowhere else.
    match table.with_records().await {
        Ok(more) => named.extend(more),
        Err(error) => tracing::debug!(error = %Line(&error.to_string()), "it is not known in which logs something is open"),
    }
    let (mut logs, mut given_up) = (Logs::default(), BTreeSet::new());
    let (held, mut others): (Vec<LogId>, Vec<LogId>) = named.into_iter().partition(|log| table.holds(*log));
    for log in held {
        if table.still_holds(log).await {
            logs.ours.insert(log);
        }
    }
    if others.len() > LOGS_MAX {
        // Each has its turn.
        let first = rand::rng().random_range(0..others.len());
        others.rotate_left(first);
    }
    for log in others.into_iter().take(LOGS_MAX) {
        match table.take_over(log).await {
            Ok(()) => {
                tracing::info!(%log, "the log of commits of an instance that is gone was taken over");
                logs.ours.insert(log);
            }
            Err(error) if error.sqlstate() == sqlstate::OBJECT_IN_USE => drop(logs.living.insert(log)),
            Err(error) if error.sqlstate() == sqlstate::UNDEFINED_OBJECT => drop(given_up.insert(log)),
            Err(error) => tracing::debug!(%log, error = %Line(&error.to_string()), "a log of commits was not taken over"),
        }
    }
    (logs, given_up)
}
